//! Packages that the catalog knows decide the stack, whoever asks for them.

use super::packages::{World, refusal as refused_packages, solve, versions};
use super::stack::{answer, refusal};
use super::*;

#[test]
fn a_listed_package_is_a_wish_for_its_framework() {
    for (packages, expected) in [
        ("'torch==2.8.0'", "torch 2.8.0 cu128 / python 3.13 / driver 525.60.13 / debian 13 (trixie)"),
        ("'torch<2.8'", "torch 2.5.0 cu124 / python 3.12 / driver 525.60.13 / python:3.12-slim-bookworm"),
        ("'torch==2.8.0+cu118'", "torch 2.8.0 cu118 / python 3.13 / driver 450.80.02 / debian 13 (trixie)"),
        ("Torch, 'torch!=2.8.0'", "torch 2.5.0 cu124 / python 3.12 / driver 525.60.13 / python:3.12-slim-bookworm"),
        (
            "'torch<2.8; python_version >= \\'3\\''",
            "torch 2.5.0 cu124 / python 3.12 / driver 525.60.13 / python:3.12-slim-bookworm",
        ),
        // A marker that may not hold is the package solve's business.
        ("'torch<2.8; python_version < \\'3.13\\''", "python 3.13 / debian 13 (trixie)"),
        // A package that needs the system's toolkit.
        (
            "kernels-cuda12",
            "kernels 1.0 cu12 / python 3.12 / driver 525.60.13 / nvidia/cuda:12.4.0-runtime-ubuntu22.04",
        ),
        // One that pins another framework.
        ("serving", "serving 3.0 cu128 / torch 2.8.0 cu128 / python 3.13 / driver 525.60.13 / debian 13 (trixie)"),
        ("nothing-known", "python 3.13 / debian 13 (trixie)"),
    ] {
        let packages = packages.replace("\\'", "''");
        assert_eq!(answer(&format!("targets: [{{gpu: Mid}}]\npackages: [{packages}]\n")), expected, "{packages}");
    }
}

#[test]
fn a_listed_package_without_code_for_the_card_is_refused_at_its_line() {
    insta::assert_snapshot!(refusal("targets: [{gpu: Old}]\npackages:\n  - numpy\n  - torch==2.5.0\n"), @r"
    driver_branch_ends: pytorch 2.5.0 (cu124), built with CUDA 12.4, needs driver 525.60.13 or newer (line 2)
    help: with `torch==2.8.0` there is an answer: pytorch 2.8.0 (cu118), Python 3.13
    ");
    insta::assert_snapshot!(refusal("targets: [{gpu: New}]\npackages: [serving<3]\n"), @r"
    cc_not_supported: serving 2.0 (cu124) holds code for compute capability 7.5, and New has 12.0 (line 3)
    help: with `serving==3.0` there is an answer: serving 3.0 (cu128), pytorch 2.8.0 (cu128), Python 3.13
    ");
}

#[test]
fn extras_select_the_build_and_without_them_the_targets_do() {
    for (targets, package, expected) in [
        ("cpu", "flow", "flow 1.0 cpu / python 3.13 / debian 13 (trixie)"),
        ("cpu", "flow[cuda12]", "flow 1.0 cu12 / python 3.13 / debian 13 (trixie)"),
        ("{gpu: Mid}", "flow", "flow 1.0 cu12 / python 3.13 / driver 525.60.13 / debian 13 (trixie)"),
        ("{gpu: Mid}", "flow[plots]", "flow 1.0 cu12 / python 3.13 / driver 525.60.13 / debian 13 (trixie)"),
    ] {
        assert_eq!(answer(&format!("targets: [{targets}]\npackages: ['{package}']\n")), expected, "{package}");
    }
}

#[test]
fn constraints_bound_the_frameworks_too() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("requirements.txt"), "torch\n-c bounds.txt\n").expect("a file");
    std::fs::write(folder.path().join("bounds.txt"), "torch<2.8\nflow<1\n").expect("a file");
    let text = "name: test\npackages: [{file: requirements.txt}]\n";
    let spec = Spec::parse(&folder.path().join("spec.yaml"), text, folder.path()).expect("a spec");
    let answer = resolve_stack(&spec, &catalog(), &Preferences::default()).expect("an answer");
    assert_eq!(summary(&answer), "torch 2.5.0 cu124 / python 3.12 / python:3.12-slim-bookworm");
}

fn torch_world() -> World {
    World::default().wheel("torch", "2.5.0", &[]).wheel("torch", "2.8.0", &[]).file(
        "pytorch-cu118",
        "torch-2.8.0+cu118-py3-none-any.whl",
        "torch",
        "2.8.0+cu118",
        "",
        None,
        &[],
    )
}

#[test]
fn the_build_decides_index_and_version_of_a_package_that_others_bring_in() {
    let world = torch_world().wheel("trainer", "1.0", &["torch>=2"]);
    for (card, expected) in
        [("Mid", "torch 2.8.0, trainer 1.0 on 3.13"), ("Old", "torch 2.8.0+cu118, trainer 1.0 on 3.13")]
    {
        assert_eq!(versions(&world, &format!("targets: [{{gpu: {card}}}]\npackages: [trainer]\n")), expected, "{card}");
    }
    let resolution = solve(&world, "targets: [{gpu: Old}]\npackages: [trainer]\n", &Preferences::default());
    let stack = resolution.expect("an answer").stack;
    assert_eq!(summary(&stack), "torch 2.8.0 cu118 / python 3.13 / driver 450.80.02 / debian 13 (trixie)");
}

#[test]
fn a_package_for_the_processor_stays_plain_where_no_build_serves_the_card() {
    let world = World::default()
        .wheel("layers", "1.0", &["flow"])
        .wheel("flow", "1.0", &["plugin; extra == 'cuda12'"])
        .wheel("plugin", "1.0", &[]);
    let of = |card: &str| versions(&world, &format!("targets: [{{gpu: {card}}}]\npackages: [layers]\n"));
    assert_eq!(of("Mid"), "flow 1.0, layers 1.0, plugin 1.0 on 3.13");
    assert_eq!(of("Red"), "flow 1.0, layers 1.0 on 3.13");
    // Asked for by name it is to compute on the card.
    let text = refusal("targets: [{gpu: Red}]\npackages: [flow]\n");
    assert!(text.contains("no_accelerator_build: flow 1.0 (cu12) is for CUDA, and Red needs a ROCm build"), "{text}");
}

#[test]
fn a_release_newer_than_the_catalog_is_allowed_and_the_answer_says_so() {
    let told = "the catalog does not know torch 2.9.0: whether it runs on the targets is not checked";
    let world = torch_world().wheel("torch", "2.9.0", &[]).wheel("trainer", "1.0", &["torch>=2.9"]);
    for packages in ["trainer", "trainer, torch", "'torch==2.9.0'"] {
        let body = format!("targets: [{{gpu: Mid}}]\npackages: [{packages}]\n");
        let resolution = solve(&world, &body, &Preferences::default());
        let resolution = resolution.unwrap_or_else(|error| panic!("{packages}: {}", conflict(&error)));
        assert_eq!(resolution.platforms[0].wheels["torch"].version.to_string(), "2.9.0", "{packages}");
        assert_eq!(resolution.stack.frameworks, [], "{packages}");
        assert!(resolution.stack.because.iter().any(|(fact, _)| fact == told), "{:?}", resolution.stack.because);
    }
    // What the catalog knows goes before what it does not.
    assert_eq!(versions(&world, "targets: [{gpu: Mid}]\npackages: [torch]\n"), "torch 2.8.0 on 3.13");
    let alone = stack_of("targets: [{gpu: Mid}]\npackages: ['torch>=2.9']\n").expect("an answer");
    let told =
        "the catalog knows no release of torch that meets `torch>=2.9`: whether it runs on the targets is not checked";
    assert_eq!(alone.because.last().map(|(fact, _)| fact.as_str()), Some(told));
}

#[test]
fn what_two_packages_ask_of_a_framework_is_met_or_explained() {
    let world = torch_world().wheel("old", "1.0", &["torch<2.8"]).wheel("new", "1.0", &["torch>=2.8"]);
    insta::assert_snapshot!(refused_packages(&world, "targets: [{gpu: Mid}]\npython: '3.12'\npackages: [old, new]\n"), @r"
    pin_conflict: old 1.0 requires `torch<2.8` (line 4)
    pin_conflict: new 1.0 requires `torch>=2.8` (line 4)
    help: without `old` there is an answer: new 1.0
    help: without `new` there is an answer: old 1.0
    ");
}
