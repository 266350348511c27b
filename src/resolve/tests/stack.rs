//! The stack alone.

use super::*;

pub(super) fn answer(body: &str) -> String {
    summary(&answered(stack_of(body)))
}

pub(super) fn refusal(body: &str) -> String {
    refused(stack_of(body))
}

#[test]
fn without_wishes_the_newest_python_on_the_smallest_base_is_taken() {
    assert_eq!(answer(""), "python 3.13 / debian 13 (trixie)");
}

#[test]
fn the_newest_release_that_suits_every_target_is_taken() {
    assert_eq!(
        answer("targets: [sky/mid.large]\nframeworks: {pytorch: \">=2\"}\n"),
        "torch 2.8.0 cu128 / python 3.13 / driver 525.60.13 / debian 13 (trixie)"
    );
    // The old card has no code in cu128: the build with CUDA 11 serves both, and its floor is lower.
    assert_eq!(
        answer("targets: [{gpu: Old}, {gpu: Mid}]\nframeworks: {pytorch: \">=2\"}\n"),
        "torch 2.8.0 cu118 / python 3.13 / driver 450.80.02 / debian 13 (trixie)"
    );
}

#[test]
fn a_python_that_debian_lacks_comes_from_a_slim_image() {
    assert_eq!(answer("python: \"3.12\"\n"), "python 3.12 / python:3.12-slim-bookworm");
}

#[test]
fn the_framework_decides_python_where_the_spec_does_not() {
    assert_eq!(
        answer("targets: [{gpu: Mid}]\nframeworks: {pytorch: \"2.5.0\"}\n"),
        "torch 2.5.0 cu124 / python 3.12 / driver 525.60.13 / python:3.12-slim-bookworm"
    );
}

#[test]
fn amd_cards_get_the_rocm_build() {
    assert_eq!(
        answer("targets: [{gpu: Red}]\nframeworks: {pytorch: \">=2\"}\n"),
        "torch 2.5.0 rocm6.2 / python 3.12 / python:3.12-slim-bookworm"
    );
}

#[test]
fn a_pinned_toolkit_means_a_cuda_image_and_builds_of_its_major() {
    assert_eq!(
        answer("targets: [{gpu: Mid}]\ncuda: \"12.4\"\nframeworks: {pytorch: \"2.8.0\"}\n"),
        "torch 2.8.0 cu128 / python 3.12 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"
    );
    let text =
        refusal("targets: [{gpu: Mid}]\ncuda: \"12.4\"\nframeworks: {pytorch: {version: \"2.8.0\", build: cu118}}\n");
    insta::assert_snapshot!(text, @r#"
    cuda_mismatch: pytorch 2.8.0 (cu118) is built with CUDA 11.8 (line 3)
    help: without `build: cu118` there is an answer: pytorch 2.8.0 (cu128), Python 3.12
    help: without `cuda: "12.4"` there is an answer: pytorch 2.8.0 (cu118), Python 3.13
    "#);
}

#[test]
fn ptx_needs_the_toolkits_own_driver() {
    assert_eq!(
        answer("targets: [{gpu: New}]\nframeworks: {pytorch: \"2.5.0\"}\n"),
        "torch 2.5.0 cu124 / python 3.12 / driver 550.54.14 / python:3.12-slim-bookworm"
    );
}

#[test]
fn a_driver_below_the_floor_is_refused_with_the_driver_that_would_do() {
    let text = refusal("targets:\n  - {gpu: Mid, driver: \"470.82.01\"}\nframeworks: {pytorch: \"2.5.0\"}\n");
    insta::assert_snapshot!(text, @r#"
    driver_below_floor: pytorch 2.5.0 (cu124), built with CUDA 12.4, needs driver 525.60.13 or newer (line 3)
    help: with `pytorch: "2.8.0"` there is an answer: pytorch 2.8.0 (cu118), Python 3.13
    help: update the driver of `Mid` to 525.60.13 or newer: pytorch 2.5.0 (cu124), Python 3.12
    "#);
}

#[test]
fn a_card_whose_driver_branch_ended_bounds_cuda() {
    let text = refusal("targets: [{gpu: Old}]\nframeworks: {pytorch: \"2.5.0\"}\n");
    insta::assert_snapshot!(text, @r#"
    driver_branch_ends: pytorch 2.5.0 (cu124), built with CUDA 12.4, needs driver 525.60.13 or newer (line 2)
    help: with `pytorch: "2.8.0"` there is an answer: pytorch 2.8.0 (cu118), Python 3.13
    "#);
}

#[test]
fn a_python_without_wheels_is_refused_with_the_line_that_asked() {
    let text = refusal("targets: [{gpu: Mid}]\npython: \"3.13\"\nframeworks:\n  pytorch: \"2.5.0\"\n");
    insta::assert_snapshot!(text, @r#"
    no_wheel_for_python: pytorch 2.5.0 (cu124) has wheels for Python 3.11 to 3.12 (line 3)
    help: with `pytorch: "2.8.0"` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    help: with `python: "3.12"` there is an answer: pytorch 2.5.0 (cu124), Python 3.12
    "#);
}

#[test]
fn a_build_for_processors_does_not_serve_a_card() {
    let text = refusal("targets: [{gpu: Mid}]\nframeworks: {pytorch: {version: \"2.5.0\", build: cpu}}\n");
    insta::assert_snapshot!(text, @r#"
    no_accelerator_build: pytorch 2.5.0 (cpu) is for processors only, and Mid needs a CUDA build (line 3)
    help: without `build: cpu` there is an answer: pytorch 2.5.0 (cu124), Python 3.12
    help: with `pytorch: "2.8.0"` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    "#);
}

#[test]
fn a_platform_without_wheels_is_refused() {
    let text = refusal("targets: [sky/arm.large]\nframeworks: {pytorch: \"2.8.0\"}\n");
    insta::assert_snapshot!(text, @r"
    no_build_for_platform: pytorch 2.8.0 (cu128) has no wheels for linux/arm64 (line 3)
    no_build_for_platform: pytorch 2.8.0 (cu118) has no wheels for linux/arm64 (line 3)
    ");
}

#[test]
fn a_version_nobody_released_is_named() {
    let text = refusal("frameworks: {pytorch: \"2.9\"}\n");
    insta::assert_snapshot!(text, @r#"
    no_such_version: the spec asks for pytorch `==2.9.*`, and the newest release known is 2.8.0 (line 2)
    help: with `pytorch: "2.8.0"` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    "#);
}

#[test]
fn a_base_that_lacks_the_python_is_refused() {
    let text = refusal("base: debian\npython: \"3.12\"\n");
    insta::assert_snapshot!(text, @r#"
    no_such_image: the spec asks for Python `==3.12.*`, and no base of kind `debian` carries that: those known carry 3.11, 3.13 (line 3)
    help: with `python: "3.13"` there is an answer: Python 3.13
    help: with `base: auto` there is an answer: Python 3.12, on python:3.12-slim-bookworm
    "#);
}

/// A conflict's lines for people.
fn told(body: &str) -> String {
    let Err(error) = stack_of(body) else { panic!("there is an answer") };
    let help = error.help().into_iter().map(|help| format!("help: {help}"));
    std::iter::once(error.to_string()).chain(error.notes()).chain(help).collect::<Vec<_>>().join("\n")
}

#[test]
fn lines_that_contradict_each_other_are_not_told_as_one() {
    let text = told("python: '3.13'\nframeworks: {pytorch: 2.8.0}\npackages: ['torch==2.5.0']\n");
    insta::assert_snapshot!(text, @r"
    no environment meets this spec: pytorch 2.5.0 (cu124) has wheels for Python 3.11 to 3.12
    the spec asks for Python `==3.13.*` [spec.yaml:2]
    the spec asks for `torch==2.5.0` [spec.yaml:4]
    Python `==3.13.*` goes only with pytorch 2.8.0 (cu128, cu118): pytorch 2.5.0 (cu124, cpu) has wheels for Python 3.11 to 3.12 [the invented manual]
    besides, the spec asks for pytorch `==2.8.0`, and the spec asks for `torch==2.5.0` [spec.yaml:3]
    help: with `torch==2.8.0` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    ");
}

#[test]
fn each_target_tells_what_it_leaves() {
    let text = told("targets: [{gpu: Old}, {gpu: New}, {gpu: Mid}]\nframeworks: {pytorch: \">=2\"}\n");
    insta::assert_snapshot!(text, @r#"
    no environment meets this spec: no build of pytorch `>=2` runs on `Old`, `New` and `Mid`
    the spec asks for pytorch `>=2` [spec.yaml:3]
    `Old` (compute capability 5.2, drivers up to R470) runs pytorch 2.8.0 (cu118): pytorch 2.8.0 (cu128) is built with CUDA 12.8, which no longer compiles for it; pytorch 2.5.0 (cu124), built with CUDA 12.4, needs driver 525.60.13 or newer [the invented manual]
    `New` (compute capability 12.0) runs pytorch 2.8.0 (cu128), 2.5.0 (cu124): pytorch 2.8.0 (cu118) holds code for 5.0, 7.5 only [the invented manual]
    help: split it into 2 specs: `Old` and `Mid` with pytorch 2.8.0 (cu118), Python 3.13; `New` with pytorch 2.8.0 (cu128), Python 3.13
    help: without the target `Old` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    help: without the target `New` there is an answer: pytorch 2.8.0 (cu118), Python 3.13
    "#);
}

#[test]
fn a_wish_tells_what_it_leaves_of_the_table() {
    let text = told("targets: [{gpu: Mid}]\ncudnn: '9.8'\npython: \"3.13\"\nframeworks:\n  pytorch: \"2.5.0\"\n");
    insta::assert_snapshot!(text, @r#"
    no environment meets this spec: pytorch 2.5.0 (cu124) has wheels for Python 3.11 to 3.12
    the spec asks for Python `==3.13.*` [spec.yaml:4]
    the spec asks for pytorch `==2.5.0` [spec.yaml:6]
    Python `==3.13.*` goes only with pytorch 2.8.0 (cu128, cu118): pytorch 2.5.0 (cu124) has wheels for Python 3.11 to 3.12 [the invented manual]
    besides, pytorch 2.5.0 (cu124) is built with cuDNN 9.1.0.70 [spec.yaml:3; the invented manual]
    help: with `pytorch: "2.8.0"` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    "#);
}

#[test]
fn two_changes_are_offered_where_none_helps_alone() {
    let text = told(
        "base: debian\npython: \"3.12\"\ntargets: [{gpu: Mid}]\nframeworks: {pytorch: {version: \"2.8.0\", build: cu124}}\n",
    );
    insta::assert_snapshot!(text, @r#"
    no environment meets this spec: the spec asks for pytorch `==2.8.0`, build `cu124`, and the builds known are cu128, cu118
    the spec asks for pytorch `==2.8.0`, build `cu124`, and the builds known are cu128, cu118 [spec.yaml:5]
    besides, the spec asks for Python `==3.12.*`, and no base of kind `debian` carries that: those known carry 3.11, 3.13 [spec.yaml:3]
    help: with `python: "3.13"` and without `build: cu124` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    help: with `base: auto` and without `build: cu124` there is an answer: pytorch 2.8.0 (cu128), Python 3.12, on python:3.12-slim-bookworm
    "#);
}

#[test]
fn no_fault_of_a_spec_hides_another() {
    let text = refused(stack_of(
        "targets: [{gpu: Old, driver: '470.82.01'}]\npython: '3.13'\ncudnn: '8'\nframeworks: {pytorch: '2.5.0'}\n",
    ));
    for fault in ["no_wheel_for_python", "cudnn_mismatch", "driver_branch_ends"] {
        assert!(text.contains(fault), "no {fault} in\n{text}");
    }
}

#[test]
fn unknown_names_come_with_a_suggestion() {
    let error = stack_of("targets: [sky/mid.lage]\n").expect_err("unknown machine");
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.help()[0], "did you mean `sky/mid.large`?");
    let error = stack_of("targets: [{gpu: Midd}]\n").expect_err("unknown card");
    assert_eq!(error.help()[0], "did you mean `Mid`?");
}

#[test]
fn what_a_lock_holds_stays_while_it_suits() {
    let spec = spec("targets: [{gpu: Mid}]\nframeworks: {pytorch: \">=2\"}\n");
    let version = "2.5.0".parse().expect("a version");
    let mut preferences = Preferences::default();
    preferences.frameworks.insert("pytorch".to_owned(), (version, "cu124".to_owned()));
    preferences.python = "3.11".parse().ok();
    let answer = resolve_stack(&spec, &catalog(), &preferences).expect("an answer");
    assert_eq!(summary(&answer), "torch 2.5.0 cu124 / python 3.11 / driver 525.60.13 / debian 12 (bookworm)");
}

fn because(body: &str) -> Vec<String> {
    let answer = stack_of(body).unwrap_or_else(|error| panic!("{}", Failure::from(error).render()));
    assert!(answer.because.iter().all(|(_, source)| !source.is_empty()), "{:?}", answer.because);
    answer.because.into_iter().map(|(fact, _)| fact).collect()
}

#[test]
fn a_cuda_image_is_the_one_whose_archive_has_the_python() {
    for (python, expected) in [
        // Nobody asks for a line, and 3.12 is the newest that an Ubuntu with this toolkit has.
        ("", "python 3.12 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"),
        ("python: '>=3.11'\n", "python 3.12 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"),
        ("python: '3.11'\n", "python 3.11 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu20.04"),
        ("python: '3.13'\n", "python 3.13 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"),
    ] {
        assert_eq!(answer(&format!("targets: [{{gpu: Mid}}]\ncuda: '12.4'\n{python}")), expected, "{python}");
    }
    let reason =
        |python: &str| stack_of(&format!("cuda: '12.4'\npython: '{python}'\n")).expect("an answer").base_reason;
    insta::assert_snapshot!(reason("3.11"), @"the spec pins a system CUDA toolkit, which nvidia/cuda:12.4.0-runtime-ubuntu20.04 has; it carries no Python, and the archive of ubuntu 20.04 has 3.11");
    insta::assert_snapshot!(reason("3.13"), @"the spec pins a system CUDA toolkit, which nvidia/cuda:12.4.0-runtime-ubuntu22.04 has; it carries no Python, and the archive of ubuntu 22.04 has 3.12, so Python 3.13 would have to come from elsewhere");
}

#[test]
fn a_cuda_image_is_one_that_starts_on_the_targets_driver() {
    let with = |driver: &str| format!("targets: [{{gpu: Mid, driver: '{driver}'}}]\nbase: cuda\npython: '3.12'\n");
    assert_eq!(answer(&with("550.54.14")), "python 3.12 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu22.04");
    insta::assert_snapshot!(refusal(&with("470.82.01")), @r"
    driver_below_floor: base nvidia/cuda:12.4.0-runtime-ubuntu22.04 has CUDA 12.4.0, which needs driver 525.60.13 or newer (line 2)
    driver_below_floor: base nvidia/cuda:12.4.0-runtime-ubuntu20.04 has CUDA 12.4.0, which needs driver 525.60.13 or newer (line 2)
    driver_below_floor: base nvidia/cuda:12.4.0-cudnn-runtime-ubuntu22.04 has CUDA 12.4.0, which needs driver 525.60.13 or newer (line 2)
    help: with `base: auto` there is an answer: Python 3.12, on python:3.12-slim-bookworm
    help: update the driver of `Mid` to 525.60.13 or newer: Python 3.12
    ");
}

#[test]
fn a_python_that_no_base_carries_is_refused_whatever_the_base() {
    for body in ["python: '3.14'\n", "cuda: '12.4'\npython: '3.14'\n", "base: cuda\npython: '3.14'\n"] {
        let text = refusal(body);
        assert!(text.starts_with("no_such_image: the spec asks for Python `==3.14.*`, and no base"), "{body}: {text}");
    }
    insta::assert_snapshot!(refusal("python: '3.14'\n"), @r#"
    no_such_image: the spec asks for Python `==3.14.*`, and no base carries that: those known carry 3.11 to 3.13 (line 2)
    help: with `python: "3.13"` there is an answer: Python 3.13
    "#);
}

#[test]
fn a_build_that_needs_a_toolkit_brings_a_cuda_image_and_nothing_else_does() {
    assert_eq!(
        answer("targets: [{gpu: Mid}]\nframeworks: {kernels: '1.0'}\n"),
        "kernels 1.0 cu12 / python 3.12 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"
    );
    assert_eq!(answer("targets: [{gpu: Mid}]\npython: '3.12'\n"), "python 3.12 / python:3.12-slim-bookworm");
}

#[test]
fn every_value_says_why() {
    insta::assert_snapshot!(because("targets: [{gpu: New}]\nframeworks: {pytorch: '>=2'}\n").join("\n"), @r"
    pytorch 2.8.0 (cu128) is the newest of `>=2` that suits every target
    pytorch 2.8.0 (cu128) has wheels for Python 3.11 to 3.13
    Python 3.13 is the newest line that suits everything
    pytorch 2.8.0 (cu128) is built with CUDA 12.8 and cuDNN 9.8.0.87
    pytorch 2.8.0 (cu128), built with CUDA 12.8, needs driver 525.60.13 or newer
    New is known to driver 540.10 and newer
    the wheels bring their own CUDA libraries, so debian 13 (trixie) with Python 3.13 is enough: CUDA is in the image once
    base debian 13 (trixie) has glibc 2.41
    ");
    assert_eq!(
        answer("targets: [{gpu: New}]\nframeworks: {pytorch: '>=2'}\n"),
        "torch 2.8.0 cu128 / python 3.13 / driver 540.10 / debian 13 (trixie)"
    );
    insta::assert_snapshot!(because("targets: [{gpu: Mid}]\ncuda: '12.4'\npython: '3.11'\n").join("\n"), @r"
    Python 3.11 is the newest line of `==3.11.*` that suits everything and is in the archive of ubuntu 20.04
    base nvidia/cuda:12.4.0-runtime-ubuntu20.04 has the CUDA toolkit 12.4.0
    CUDA 12.4 needs driver 525.60.13 or newer
    the spec pins a system CUDA toolkit, which nvidia/cuda:12.4.0-runtime-ubuntu20.04 has; it carries no Python, and the archive of ubuntu 20.04 has 3.11
    base nvidia/cuda:12.4.0-runtime-ubuntu20.04 has glibc 2.31
    ");
}

#[test]
fn without_a_card_the_default_build_stays_and_the_smaller_one_is_named() {
    assert_eq!(
        answer("frameworks: {pytorch: '2.5.0'}\n"),
        "torch 2.5.0 cu124 / python 3.12 / python:3.12-slim-bookworm"
    );
    let told = because("frameworks: {pytorch: '2.5.0'}\n");
    assert_eq!(
        told.last().map(String::as_str),
        Some(
            "no target has a card, and pytorch 2.5.0 has a build `cpu` without CUDA libraries: `pytorch: {build: cpu}` \
             under `frameworks:` takes it"
        )
    );
    assert!(!because("targets: [cpu, {gpu: Mid}]\nframeworks: {pytorch: '2.5.0'}\n").contains(&told[told.len() - 1]));
}

#[test]
fn versions_between_and_beside_the_releases_name_their_neighbours() {
    for (asked, neighbours) in [
        ("2.5.9", "the nearest releases known are 2.5.0 and 2.8.0"),
        (">2.5,<2.8", "the nearest releases known are 2.5.0 and 2.8.0"),
        (">=2.6,!=2.8.0", "the newest release known is 2.8.0"),
        (">2.8", "the newest release known is 2.8.0"),
        ("<2", "the oldest release known is 2.5.0"),
    ] {
        let text = refusal(&format!("frameworks: {{pytorch: '{asked}'}}\n"));
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("no_such_version: ") && first.ends_with(&format!(", and {neighbours} (line 2)")),
            "{first}"
        );
    }
}

#[test]
fn cards_of_two_vendors_are_refused_in_one_sentence() {
    insta::assert_snapshot!(refusal("targets:\n  - {gpu: Mid}\n  - {gpu: Red}\nframeworks: {pytorch: '>=2'}\n"), @r"
    no_accelerator_build: no build of pytorch computes on NVIDIA and AMD cards: target `Mid` needs CUDA, target `Red` needs ROCm, and one image holds one of them (line 5)
    help: split it into 2 specs: `Mid` with pytorch 2.8.0 (cu128), Python 3.13; `Red` with pytorch 2.5.0 (rocm6.2), Python 3.12
    help: without the target `Mid` there is an answer: pytorch 2.5.0 (rocm6.2), Python 3.12
    help: without the target `Red` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    ");
    // Nothing that computes on a card, no quarrel between cards.
    assert_eq!(answer("targets: [{gpu: Mid}, {gpu: Red}]\n"), "python 3.13 / debian 13 (trixie)");
}
