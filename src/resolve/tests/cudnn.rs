//! One environment holds one cuDNN: pins and ranges of builds, the spec's own pin, and the cards.

use crate::catalog::Catalog;

use super::super::{Preferences, Resolution, StackAnswer, resolve, resolve_stack};
use super::packages::World;
use super::{answered, conflict, refused, spec};

fn catalog() -> Catalog {
    Catalog::from_texts(&[("cudnn.yaml", include_str!("cudnn.yaml"))]).expect("the invented catalog")
}

fn solve(body: &str) -> Result<StackAnswer, super::super::Error> {
    resolve_stack(&spec(body), &catalog(), &Preferences::default())
}

/// `ranging 2.0 cu130 / … with cuDNN 9.28.1.4`.
fn answer(body: &str) -> String {
    let answer = answered(solve(body));
    let builds: Vec<String> =
        answer.frameworks.iter().map(|chosen| format!("{} {}", chosen.version, chosen.build)).collect();
    format!("{} with cuDNN {}", builds.join(", "), answer.cudnn.unwrap_or_default())
}

fn refusal(body: &str) -> String {
    refused(solve(body))
}

/// A conflict's lines for people.
fn told(body: &str) -> String {
    let Err(error) = solve(body) else { panic!("there is an answer") };
    std::iter::once(error.to_string()).chain(crate::diagnostic::Hint::notes(&error)).collect::<Vec<_>>().join("\n")
}

const CENTER: &str = "targets: [{gpu: Center}]\n";
const ELDER: &str = "targets: [{gpu: Elder}]\n";

#[test]
fn builds_that_pin_different_releases_exclude_each_other() {
    let both = format!("{CENTER}frameworks:\n  pinning: '1.0'\n  ranging: '1.0'\n");
    insta::assert_snapshot!(refusal(&both), @r#"
    cudnn_mismatch: pinning 1.0 (cu124) requires cuDNN 8.9.7.29, and an environment holds one cuDNN (line 4)
    cudnn_mismatch: ranging 1.0 (cu124) requires cuDNN 9.0 or newer, and an environment holds one cuDNN (line 5)
    help: with `pinning: "2.0"` (or as new as 3.0) there is an answer: pinning 2.0 (cu124), ranging 1.0 (cu124), Python 3.11
    "#);
    insta::assert_snapshot!(told(&both), @r"
    no environment meets this spec: no builds of pinning `==1.0.*` and ranging `==1.0.*` share a cuDNN
    the spec asks for pinning `==1.0.*` [spec.yaml:4]
    the spec asks for ranging `==1.0.*` [spec.yaml:5]
    ranging 1.0 (cu124) requires cuDNN 9.0 or newer [the other page]
    pinning 1.0 (cu124) brings cuDNN 8.9.7.29 [an invented world]
    one environment holds one cuDNN
    ");
}

#[test]
fn a_range_follows_a_pin_inside_it() {
    let both = |pinning: &str, ranging: &str| {
        answer(&format!("{CENTER}frameworks: {{pinning: '{pinning}', ranging: '{ranging}'}}\n"))
    };
    assert_eq!(both("3.0", "2.0"), "3.0 cu124, 2.0 cu124 with cuDNN 9.10.2.21");
    assert_eq!(both("2.0", "1.0"), "2.0 cu124, 1.0 cu124 with cuDNN 9.1.0.70");
    // 2.0 pins what the newest of the other does not take.
    assert_eq!(both("2.0", ">=1"), "2.0 cu124, 1.0 cu124 with cuDNN 9.1.0.70");
}

#[test]
fn a_range_takes_the_newest_release_for_its_cuda() {
    assert_eq!(answer(&format!("{CENTER}frameworks: {{ranging: '2.0'}}\n")), "2.0 cu130 with cuDNN 9.28.1.4");
    assert_eq!(
        answer(&format!("{CENTER}frameworks: {{ranging: {{version: '2.0', build: cu124}}}}\n")),
        "2.0 cu124 with cuDNN 9.28.0.42"
    );
}

#[test]
fn a_pin_of_the_spec_may_lie_anywhere_in_a_range() {
    let pinned = |pin: &str, version: &str| {
        format!("{CENTER}cudnn: '{pin}'\nframeworks: {{ranging: {{version: '{version}', build: cu124}}}}\n")
    };
    assert_eq!(answer(&pinned("9.12", "2.0")), "2.0 cu124 with cuDNN 9.12.0.46");
    assert_eq!(answer(&pinned("9", "2.0")), "2.0 cu124 with cuDNN 9.28.0.42");
    assert_eq!(answer(&pinned("9.8", "2.0")), "2.0 cu124 with cuDNN 9.8.0.87");
    insta::assert_snapshot!(refusal(&pinned("9.1", "2.0")), @r#"
    cudnn_mismatch: ranging 2.0 (cu124) takes cuDNN 9.8 or newer (line 3)
    help: with `ranging: "1.0"` there is an answer: ranging 1.0 (cu124), Python 3.11
    help: without `cudnn: "9.1"` there is an answer: ranging 2.0 (cu124), Python 3.11
    "#);
    insta::assert_snapshot!(refusal(&pinned("8", "1.0")), @r#"
    cudnn_mismatch: ranging 1.0 (cu124) takes cuDNN 9.0 or newer (line 3)
    help: without `cudnn: "8"` there is an answer: ranging 1.0 (cu124), Python 3.11
    "#);
    // There is no such release.
    insta::assert_snapshot!(refusal(&pinned("9.9", "2.0")), @r#"
    cudnn_mismatch: no release 9.9 of cuDNN is known
    cudnn_mismatch: ranging 2.0 (cu124) requires cuDNN 9.8 or newer, and an environment holds one cuDNN (line 4)
    pin_conflict: the spec pins cuDNN 9.9 (line 3)
    help: without `cudnn: "9.9"` there is an answer: ranging 2.0 (cu124), Python 3.11
    "#);
}

#[test]
fn a_card_holds_cudnn_back() {
    assert_eq!(
        answer(&format!("{ELDER}frameworks: {{ranging: '2.0'}}\n")),
        "2.0 cu124 with cuDNN 9.10.2.21",
        "9.11 and newer has no kernels for it"
    );
    insta::assert_snapshot!(
        refusal(&format!("{ELDER}cudnn: '9.12'\nframeworks: {{ranging: {{version: '2.0', build: cu124}}}}\n")),
        @r#"
        cc_not_supported: cuDNN 9.11 and newer has no kernels for compute capability 7.0, that of Elder (line 4)
        cudnn_mismatch: ranging 2.0 (cu124) requires cuDNN 9.8 or newer, and an environment holds one cuDNN (line 4)
        pin_conflict: the spec pins cuDNN 9.12 (line 3)
        help: without `cudnn: "9.12"` there is an answer: ranging 2.0 (cu124), Python 3.11
        "#
    );
}

fn world() -> World {
    World::default()
        .wheel("ranging", "2.0", &["nvidia-cudnn-cu12<10,>=9.8; extra == 'cuda'"])
        .wheel("nvidia-cudnn-cu12", "9.8.0.87", &[])
        .wheel("nvidia-cudnn-cu12", "9.10.2.21", &[])
        .wheel("nvidia-cudnn-cu12", "9.12.0.46", &[])
        .wheel("nvidia-cudnn-cu12", "9.30.0.1", &[])
}

fn with_packages(body: &str) -> Result<Resolution, super::super::Error> {
    let full = |line: crate::version::PythonVersion, _: &super::super::BaseRow, _| {
        Ok(pep440_rs::Version::new([u64::from(line.major), u64::from(line.minor), 2]))
    };
    resolve(&spec(body), &catalog(), &world(), &Preferences::default(), &full)
}

#[test]
fn pin_and_card_hold_the_package_too_and_the_answer_tells_what_was_taken() {
    for (asked, expected) in [
        (format!("{CENTER}frameworks: {{ranging: {{build: cu124}}}}\n"), "9.30.0.1"),
        (format!("{CENTER}cudnn: '9.12'\nframeworks: {{ranging: {{build: cu124}}}}\n"), "9.12.0.46"),
        (format!("{ELDER}frameworks: {{ranging: '2.0'}}\n"), "9.10.2.21"),
        (format!("{ELDER}packages: ['ranging[cuda]']\n"), "9.10.2.21"),
    ] {
        let resolution = with_packages(&asked).unwrap_or_else(|error| panic!("{asked}: {}", conflict(&error)));
        assert_eq!(resolution.platforms[0].wheels["nvidia-cudnn-cu12"].version.to_string(), expected, "{asked}");
        assert_eq!(resolution.stack.cudnn.as_deref(), Some(expected), "{asked}");
    }
    let Err(error) = with_packages(&format!("{ELDER}packages: ['nvidia-cudnn-cu12>9.11']\n")) else {
        panic!("there is an answer")
    };
    insta::assert_snapshot!(conflict(&error), @r"
    cc_not_supported: cuDNN 9.11 and newer has no kernels for compute capability 7.0, that of Elder (line 2)
    help: without the bound on `nvidia-cudnn-cu12` there is an answer: nvidia-cudnn-cu12 9.10.2.21
    ");
}
