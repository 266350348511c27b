//! The rules between builds, cards and drivers, and between frameworks that need each other.

use super::super::StackAnswer;
use super::{answered, conflict, refused, stack_in, summary};

fn solve(body: &str) -> Result<StackAnswer, super::super::Error> {
    stack_in(include_str!("cards.yaml"), body)
}

fn answer(body: &str) -> String {
    summary(&answered(solve(body)))
}

/// The reasons without the help.
fn refusal(body: &str) -> String {
    refused(solve(body)).split_inclusive('\n').filter(|line| !line.starts_with("help: ")).collect()
}

#[test]
fn a_card_is_refused_with_every_reason_that_is_true() {
    insta::assert_snapshot!(refusal("targets: [{gpu: Elder}]\nframeworks:\n  base: {version: '2.0', build: cu124}\n"), @r"
    cc_removed_from_toolkit: base 2.0 (cu124) is built with CUDA 12.4, which no longer compiles for compute capability 3.5, that of Elder (line 4)
    driver_branch_ends: base 2.0 (cu124), built with CUDA 12.4, needs driver 525.1 or newer, and the last branch for Elder is R470 (line 2)
    ");
    insta::assert_snapshot!(refusal("targets: [{gpu: Elder}]\ncuda: '12.4'\n"), @r"
    cc_removed_from_toolkit: CUDA 12.4 no longer compiles for compute capability 3.5, that of Elder (line 3)
    driver_branch_ends: CUDA 12.4 needs driver 525.1 or newer, and the last branch for Elder is R470 (line 2)
    ");
}

#[test]
fn cudnn_leaves_old_cards_behind() {
    assert_eq!(
        answer("targets: [{gpu: Elder}]\nframeworks: {base: '<2'}\n"),
        "base 0.9 cu118 / python 3.11 / driver 450.1 / debian 12 (twelve)"
    );
    insta::assert_snapshot!(refusal("targets: [{gpu: Elder}]\nframeworks: {base: '1.0'}\n"), @r"
    cc_not_supported: base 1.0 (cu118) brings cuDNN 9.1, which supports compute capability 5.0 and newer, and Elder has 3.5 (line 3)
    ");
}

#[test]
fn a_driver_newer_than_the_last_that_knows_the_card_is_refused() {
    insta::assert_snapshot!(refusal("targets: [{gpu: Elder, driver: '480.1'}]\nframeworks: {base: '0.9'}\n"), @r"
    driver_branch_ends: the last driver branch for Elder is R470 (line 2)
    pin_conflict: target `Elder` has driver 480.1 (line 2)
    ");
}

#[test]
fn a_module_runs_code_of_its_own_capability_only() {
    let platform = "platforms: [linux/amd64]\nframeworks: {base: {version: '2.0', build: cu124}}\n";
    assert!(answer(&format!("targets: [{{gpu: Gamer}}]\n{platform}")).starts_with("base 2.0 cu124"));
    insta::assert_snapshot!(refusal(&format!("targets: [{{gpu: Module}}]\n{platform}")), @r"
    cc_not_supported: base 2.0 (cu124) holds code for compute capability 5.0, 8.0, and Module has 8.7, a module that runs machine code of its own capability only (line 4)
    ");
}

#[test]
fn compat_libraries_of_a_base_help_old_drivers_of_datacenter_cards() {
    let asked = |gpu: &str, driver: &str, base: &str| {
        format!("targets: [{{gpu: {gpu}, driver: '{driver}'}}]\nbase: {base}\nframeworks: {{base: '2.0'}}\n")
    };
    assert_eq!(
        answer(&asked("Center", "470.5", "cuda")),
        "base 2.0 cu124 / python 3.11 / driver 470.5 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"
    );
    insta::assert_snapshot!(refusal(&asked("Center", "470.5", "auto")), @r"
    driver_below_floor: base 2.0 (cu124), built with CUDA 12.4, needs driver 525.1 or newer; `base: cuda` would bring cuda-compat, with which R470 is enough for Center (line 2)
    ");
    for (gpu, driver) in [("Gamer", "470.5"), ("Center", "480.1")] {
        let reasons = refusal(&asked(gpu, driver, "cuda"));
        assert!(reasons.starts_with("driver_below_floor: base 2.0 (cu124), built with CUDA 12.4, needs driver 525.1"));
    }
    assert_eq!(
        answer("targets: [{gpu: Center, driver: '470.5'}]\nbase: cuda\ncuda: '12.4'\n"),
        "python 3.11 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"
    );
}

#[test]
fn rocm_runs_on_the_kernel_drivers_it_was_tested_with() {
    assert_eq!(
        answer("targets: [{gpu: Red, driver: '6.1.3'}]\nframeworks: {base: '>=1'}\n"),
        "base 1.0 rocm6.2 / python 3.11 / debian 12 (twelve)"
    );
    insta::assert_snapshot!(refusal("targets: [{gpu: Red, driver: '6.1.3'}]\nframeworks: {base: '2.0'}\n"), @"driver_below_floor: base 2.0 (rocm6.4) is ROCm 6.4, and driver 6.1 runs ROCm 6.0, 6.1, 6.2 (line 2)");
    // Of another driver nothing is known.
    assert!(
        answer("targets: [{gpu: Red, driver: '5.2'}]\nframeworks: {base: '2.0'}\n").starts_with("base 2.0 rocm6.4")
    );
}

/// The help without the reasons.
fn help(body: &str) -> String {
    let Err(error) = solve(body) else { panic!("there is an answer") };
    let text = conflict(&error);
    text.split_inclusive('\n').filter(|line| line.starts_with("help: ")).collect()
}

#[test]
fn amd_cards_are_offered_amd_drivers() {
    let asked = |driver: &str, version: &str, build: &str| {
        format!(
            "targets: [{{gpu: Red, driver: '{driver}'}}]\nframeworks: {{base: {{version: '{version}', build: {build}}}}}\n"
        )
    };
    insta::assert_snapshot!(help(&asked("6.1", "2.0", "rocm6.4")), @r#"
    help: with `base: "1.0"` there is an answer: base 1.0 (rocm6.2), Python 3.11
    help: update the driver of `Red` to 30.30: base 2.0 (rocm6.4), Python 3.11
    "#);
    insta::assert_snapshot!(help(&asked("30.30", "1.0", "rocm6.2")), @r#"
    help: with `base: "2.0"` there is an answer: base 2.0 (rocm6.4), Python 3.11
    help: change the driver of `Red` to 6.1: base 1.0 (rocm6.2), Python 3.11
    "#);
}

#[test]
fn what_is_known_of_an_amd_driver_is_told() {
    let told = |driver: &str| {
        let body = format!("targets: [{{gpu: Red, driver: '{driver}'}}]\nframeworks: {{base: '2.0'}}\n");
        let because = solve(&body).expect("an answer").because;
        because.into_iter().map(|(fact, _)| fact).find(|fact| fact.contains("driver")).unwrap_or_default()
    };
    insta::assert_snapshot!(told("30.30"), @"driver 30.30 of target `Red` runs ROCm 6.3, 6.4");
    insta::assert_snapshot!(told("5.2"), @"the catalog does not know driver 5.2 of target `Red`: whether it runs this ROCm is not checked");
}

#[test]
fn a_driver_that_left_the_card_behind_is_to_be_changed_for_an_older_one() {
    insta::assert_snapshot!(help("targets: [{gpu: Elder, driver: '480.1'}]\nframeworks: {base: '0.9'}\n"), @"help: install an older driver on `Elder`, up to R470, the last branch for it, such as 470.256.02: base 0.9 (cu118), Python 3.11");
    insta::assert_snapshot!(help("targets: [{gpu: Center, driver: '440.1'}]\nframeworks: {base: '0.9'}\n"), @"help: update the driver of `Center` to 450.1 or newer: base 0.9 (cu118), Python 3.11");
}

#[test]
fn a_framework_brings_in_what_it_needs() {
    assert_eq!(
        answer("targets: [{gpu: Center}]\nframeworks: {top: '1.0'}\n"),
        "top 1.0 cu124 / base 2.0 cu124 / python 3.11 / driver 525.1 / debian 12 (twelve)"
    );
    assert_eq!(
        answer("targets: [{gpu: Center}]\nframeworks: {top: '2.0'}\n"),
        "top 2.0 cu11 / base 1.0 cu118 / python 3.11 / driver 450.1 / debian 12 (twelve)"
    );
    let answer = solve("targets: [{gpu: Center}]\nframeworks: {top: '2.0'}\n").expect("an answer");
    assert_eq!(answer.cuda.as_deref(), Some("11.8"), "the release that one was built with, not the major of the other");
    insta::assert_snapshot!(refusal("targets: [{gpu: Center}]\nframeworks: {top: '2.0', base: '2.0'}\n"), @r"
    pin_conflict: top 2.0 (cu11) requires base `<2` (line 3)
    ");
}

#[test]
fn a_release_without_wheels_says_so_twice() {
    insta::assert_snapshot!(refusal("targets: [{gpu: Center}]\nframeworks: {top: '3.0'}\n"), @r"
    no_wheel_for_python: top 3.0 (source) has no wheel for any Python (line 3)
    no_build_for_platform: top 3.0 (source) is only a source distribution; a wheel has to be built where torch and nvcc are, and be put on an index of your own (line 3)
    ");
}

#[test]
fn a_wheel_that_nobody_published_can_be_built_elsewhere() {
    insta::assert_snapshot!(help("targets: [{gpu: Center}]\nframeworks: {top: '3.0', base: '2.0'}\n"), @r#"
    help: build the wheel once where torch and nvcc are (`pip wheel --no-deps --no-build-isolation top==3.0`), put it beside the spec and list `top @ file:FILE.whl` under `packages:` instead; the rest has an answer: base 2.0 (cu124), Python 3.11
    help: with `top: "1.0"` there is an answer: base 2.0 (cu124), top 1.0 (cu124), Python 3.11
    "#);
    insta::assert_snapshot!(help("targets: [{gpu: Center}]\nframeworks: {base: '2.0'}\npackages: ['top>2']\n"), @r"
    help: build the wheel once where torch and nvcc are (`pip wheel --no-deps --no-build-isolation top==3.0`), put it beside the spec and list `top @ file:FILE.whl` under `packages:` instead; the rest has an answer: base 2.0 (cu124), Python 3.11
    help: with `top==1.0` there is an answer: base 2.0 (cu124), top 1.0 (cu124), Python 3.11
    ");
    // Without it there is no answer either.
    insta::assert_snapshot!(help("targets: [{gpu: Gamer, driver: '470.1'}]\nframeworks: {top: '3.0', base: '2.0'}\n"), @r#"
    help: with `base: "1.0"` and `top: "2.0"` there is an answer: base 1.0 (cu118), top 2.0 (cu11), Python 3.11
    help: with driver 525.1 or newer on `Gamer` and `top: "1.0"` there is an answer: base 2.0 (cu124), top 1.0 (cu124), Python 3.11
    "#);
}

#[test]
fn the_system_that_the_spec_names_is_what_a_named_base_is() {
    let asked = |os: &str, framework: &str| format!("base: registry.example/own:1\n{os}frameworks: {{{framework}}}\n");
    let because = |os: &str| {
        let answer = solve(&asked(os, "base: '1.0'")).expect("an answer");
        let facts = answer
            .because
            .iter()
            .filter(|(fact, _)| fact.contains("glibc"))
            .map(|(fact, source)| format!("{fact} [{source}]"));
        format!("{}; {}", answer.base.os(), facts.collect::<String>())
    };
    insta::assert_snapshot!(because("os: debian 12\n"), @"debian 12; the spec says that base registry.example/own:1 is debian 12, which has glibc 2.36 [an invented world]");
    insta::assert_snapshot!(because("os: debian 10\n"), @"debian 10; nothing is known of debian 10, which base registry.example/own:1 is: glibc 2.28 is assumed [spec]");
    insta::assert_snapshot!(because(""), @"unknown; nothing is known of base registry.example/own:1 without `os:`: glibc 2.28 is assumed [spec]");
    insta::assert_snapshot!(refusal(&asked("os: ubuntu 20.04\n", "late: '1.0'")), @r"
    glibc_too_old: late 1.0 (cpu) needs glibc 2.35 or newer (line 4)
    glibc_too_old: the spec says that base registry.example/own:1 is ubuntu 20.04, which has glibc 2.31 (line 2)
    glibc_too_old: base nvidia/cuda:11.0.1-cudnn8-runtime-ubuntu20.04 has glibc 2.31 (line 3)
    ");
    insta::assert_snapshot!(refusal(&asked("", "late: '1.0'")), @r"
    glibc_too_old: late 1.0 (cpu) needs glibc 2.35 or newer (line 3)
    glibc_too_old: nothing is known of base registry.example/own:1 without `os:`: glibc 2.28 is assumed (line 2)
    ");
    assert!(solve(&asked("os: debian 12\n", "late: '1.0'")).is_ok());
}

#[test]
fn a_system_toolkit_is_the_tested_one_where_nothing_else_has_a_say() {
    assert!(
        answer("targets: [{gpu: Center}]\nframeworks: {flow: '2.0'}\n").ends_with("11.0.1-cudnn8-runtime-ubuntu20.04")
    );
    assert!(
        answer("targets: [{gpu: Center}]\nos: ubuntu 22.04\nframeworks: {flow: '2.0'}\n")
            .ends_with("11.8.0-cudnn8-runtime-ubuntu22.04")
    );
    assert!(
        answer("targets: [{gpu: Center}]\ncuda: '11.8'\nframeworks: {flow: '2.0'}\n")
            .ends_with("11.8.0-cudnn8-runtime-ubuntu22.04")
    );
    insta::assert_snapshot!(refusal("targets: [{gpu: Center}]\ncuda: '11.8'\nframeworks: {flow: '1.0'}\n"), @r"
    cuda_mismatch: flow 1.0 (cu110) is built with CUDA 11.0 (line 3)
    ");
}

#[test]
fn wheels_for_processors_bring_no_cuda() {
    let cuda = |platforms: &str| solve(&format!("{platforms}frameworks: {{base: '2.0'}}\n")).expect("an answer").cuda;
    assert_eq!(cuda(""), Some("12.4".to_owned()));
    // No base of this world is for arm64 but Debian's.
    assert_eq!(cuda("platforms: [linux/arm64]\n"), None);
}
