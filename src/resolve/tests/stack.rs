//! The stack alone.

use super::*;

fn answer(body: &str) -> String {
    match stack_of(body) {
        Ok(answer) => summary(&answer),
        Err(error) => panic!("{}", Failure::from(error).render()),
    }
}

fn refusal(body: &str) -> String {
    match stack_of(body) {
        Ok(answer) => panic!("there is an answer: {}", summary(&answer)),
        Err(error) => conflict(&error),
    }
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
        "torch 2.8.0 cu128 / python 3.13 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"
    );
    let text =
        refusal("targets: [{gpu: Mid}]\ncuda: \"12.4\"\nframeworks: {pytorch: {version: \"2.8.0\", build: cu118}}\n");
    insta::assert_snapshot!(text, @r#"
    cuda_mismatch: pytorch 2.8.0 (cu118) is built with CUDA 11.8 (line 3)
    help: without `build: cu118` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
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
    no_such_image: base debian 13 (trixie) carries Python 3.13 (line 3)
    no_such_image: base debian 12 (bookworm) carries Python 3.11 (line 3)
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
    help: with `python: "3.13"` and without `build: cu124` there is an answer: pytorch 2.8.0 (cu128), Python 3.13
    help: with `base: auto` and without `build: cu124` there is an answer: pytorch 2.8.0 (cu128), Python 3.12, on python:3.12-slim-bookworm
    "#);
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
