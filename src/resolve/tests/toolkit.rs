//! A toolkit in the base is for the builds that use it, whatever other versions the spec allows.

use super::{answered, refused, stack_in, summary};

/// Python 3.12 is to be had on an image with CUDA only.
const WORLD: &str = r#"
format: "1.0.0"
sources: {made: an invented world}
gpus:
  - {name: Center, vendor: nvidia, compute_capability: "8.0", class: datacenter, source: made}
toolkits:
  - {version: "12.4.0", driver: "550.1", compute_capabilities: "8.0", source: made}
driver_floors:
  - {major: 12, driver: "525.1", source: made}
pythons:
  - {version: "3.12", status: final, source: made}
  - {version: "3.11", status: final, source: made}
debian:
  - {suite: twelve, release: "12", python: "3.11", glibc: "2.36", source: made}
ubuntu:
  - {suite: jammy, release: "22.04", python: "3.12", glibc: "2.35", source: made}
cuda_images:
  - {toolkit: "12.4.0", os: ubuntu 22.04, glibc: "2.35", flavours: runtime, platforms: linux/amd64 linux/arm64, source: made}
frameworks:
  - family: mixed
    package: mixed
    requirements: {"*": ["mixed=={version}"]}
    releases:
      - version: "3.0"
        source: made
        platforms: {linux/amd64: {pythons: "3.12", glibc: "2.17"}}
        builds: [{name: cu124, default: true, toolkit: "12.4", sass: "8.0"}]
      - version: "2.0"
        source: made
        platforms: {linux/amd64: {pythons: "3.12", glibc: "2.17"}, linux/arm64: {pythons: "3.11 3.12", glibc: "2.17", accelerator: cpu}}
        builds: [{name: cu124, default: true, toolkit: "12.4", sass: "8.0", needs_system_cuda: true}]
      - version: "1.0"
        source: made
        platforms: {linux/amd64: {pythons: "3.11", glibc: "2.17"}}
        builds: [{name: cu124, default: true, toolkit: "12.4", sass: "8.0"}]
"#;

fn answer(body: &str) -> String {
    summary(&answered(stack_in(WORLD, body)))
}

fn refusal(body: &str) -> String {
    refused(stack_in(WORLD, body))
}

#[test]
fn the_build_that_is_chosen_decides_whether_the_base_has_a_toolkit() {
    let asked = |version: &str| format!("targets: [{{gpu: Center}}]\nframeworks: {{mixed: '{version}'}}\n");
    // 3.0 brings CUDA along, and with Python 3.12 there is only an image that has CUDA too.
    assert_eq!(
        answer(&asked(">=1")),
        "mixed 2.0 cu124 / python 3.12 / driver 525.1 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"
    );
    assert_eq!(answer(&asked(">=1,!=2.0")), "mixed 1.0 cu124 / python 3.11 / driver 525.1 / debian 12 (twelve)");
    insta::assert_snapshot!(refusal(&asked("3.0")), @r#"
    no_wheel_for_python: mixed 3.0 (cu124) has wheels for Python 3.12 (line 3)
    no_such_image: base debian 12 (twelve) carries Python 3.11
    help: with `mixed: "2.0"` there is an answer: mixed 2.0 (cu124), Python 3.12
    "#);
    insta::assert_snapshot!(refusal(&asked(">=2,!=2.0")), @r#"
    no_wheel_for_python: mixed 3.0 (cu124) has wheels for Python 3.12 (line 3)
    no_such_image: base debian 12 (twelve) carries Python 3.11
    help: with `mixed: "2.0"` there is an answer: mixed 2.0 (cu124), Python 3.12
    "#);
    // Whoever asks for such an image gets it.
    assert_eq!(
        answer(&format!("base: cuda\n{}", asked("3.0"))),
        "mixed 3.0 cu124 / python 3.12 / driver 525.1 / nvidia/cuda:12.4.0-runtime-ubuntu22.04"
    );
}

#[test]
fn wheels_for_processors_use_no_toolkit() {
    assert_eq!(
        answer("platforms: [linux/arm64]\nframeworks: {mixed: '2.0'}\n"),
        "mixed 2.0 cu124 / python 3.11 / debian 12 (twelve)"
    );
}
