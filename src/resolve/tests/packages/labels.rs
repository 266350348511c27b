//! Wheels that leave out the label of their build on one platform, beside labelled ones for another: what PyTorch's
//! indexes have for arm64.

use super::*;

const WORLD: &str = r#"
format: "1.0.0"
sources: {doc: "the invented manual"}
gpus:
  - {name: Mid, vendor: nvidia, compute_capability: "7.5", class: datacenter, source: doc}
toolkits:
  - {version: "12.4.0", driver: "550.54.14", compute_capabilities: "7.5", source: doc}
driver_floors:
  - {major: 12, driver: "525.60.13", source: doc}
pythons:
  - {version: "3.13", status: final, source: doc}
debian:
  - {suite: trixie, release: "13", python: "3.13", glibc: "2.41", source: doc}
frameworks:
  - family: pytorch
    package: torch
    companions: [torchvision, torchaudio]
    requirements:
      "*": ["torch=={version}"]
    releases:
      - version: "2.5.1"
        companions: {torchvision: "0.20.1", torchaudio: "2.5.1"}
        source: doc
        platforms:
          linux/amd64: {pythons: "3.13", glibc: "2.17"}
          linux/arm64: {pythons: "3.13", glibc: "2.17", unlabelled: torch torchvision}
        builds:
          - {name: cu121, default: true, toolkit: "12.4", sass: "7.5", platforms: {linux/arm64: {accelerator: cpu}}}
          - {name: cu124, index: pytorch-cu124, toolkit: "12.4", sass: "7.5", platforms: {linux/arm64: {without: torchaudio}}}
"#;

const ARM: &str = "targets: [{gpu: Mid, platform: linux/arm64}]\n";
const BOTH: &str = "targets: [{gpu: Mid}, {gpu: Mid, platform: linux/arm64}]\n";

/// The default index's wheels for arm64 compute on the processor; those of `pytorch-cu124` have no label there.
fn index() -> World {
    let pytorch = ["torch", "torchvision"].into_iter().zip(["2.5.1", "0.20.1"]);
    pytorch.fold(World::default(), |world, (name, version)| {
        let requires: &[&str] = if name == "torch" { &[] } else { &["torch==2.5.1"] };
        let wheel = |label: &str, platform: &str| format!("{name}-{version}{label}-cp313-cp313-{platform}.whl");
        world
            .on("default", &wheel("", "manylinux_2_17_x86_64"), requires)
            .on("default", &wheel("", "manylinux_2_17_aarch64"), requires)
            .on("pytorch-cu124", &wheel("+cu124", "linux_x86_64"), requires)
            .on("pytorch-cu124", &wheel("", "linux_aarch64"), requires)
    })
}

fn solved(world: &World, body: &str, locked: &Preferences) -> Result<Resolution, super::super::super::Error> {
    let catalog = Catalog::from_texts(&[("world.yaml", WORLD)]).expect("the invented catalog");
    resolve(&spec(body), &catalog, world, locked, &full)
}

/// The wheels of each platform as `index file (version)`.
fn wheels(body: &str) -> Vec<Vec<String>> {
    let resolution = match solved(&index(), body, &Preferences::default()) {
        Ok(resolution) => resolution,
        Err(error) => panic!("{}", Failure::from(error).render()),
    };
    let line = |wheel: &crate::resolve::Candidate| {
        format!("{} {} ({})", wheel.index, wheel.file.filename, wheel.own_version())
    };
    resolution.platforms.iter().map(|platform| platform.wheels.values().map(line).collect()).collect()
}

fn refused(world: &World, body: &str) -> String {
    match solved(world, body, &Preferences::default()) {
        Ok(resolution) => panic!("there is an answer: {:?}", resolution.platforms),
        Err(error) => conflict(&error),
    }
}

const AMD64_WHEELS: [&str; 2] = [
    "pytorch-cu124 torch-2.5.1+cu124-cp313-cp313-linux_x86_64.whl (2.5.1+cu124)",
    "pytorch-cu124 torchvision-0.20.1+cu124-cp313-cp313-linux_x86_64.whl (0.20.1+cu124)",
];
const ARM64_WHEELS: [&str; 2] = [
    "pytorch-cu124 torch-2.5.1-cp313-cp313-linux_aarch64.whl (2.5.1)",
    "pytorch-cu124 torchvision-0.20.1-cp313-cp313-linux_aarch64.whl (0.20.1)",
];

#[test]
fn each_platform_gets_the_file_that_its_build_has_there() {
    let frameworks = "frameworks: {pytorch: {version: '2.5.1', with: [torchvision]}}\n";
    assert_eq!(wheels(&format!("{ARM}{frameworks}")), [ARM64_WHEELS]);
    assert_eq!(wheels(&format!("{BOTH}{frameworks}")), [AMD64_WHEELS, ARM64_WHEELS]);
}

#[test]
fn a_build_is_asked_for_by_version_or_label_as_elsewhere() {
    for torch in ["torch", "torch==2.5.1", "torch==2.5.1+cu124"] {
        let found = wheels(&format!("{BOTH}packages: ['{torch}', torchvision]\n"));
        assert_eq!(found, [AMD64_WHEELS, ARM64_WHEELS], "{torch}");
    }
}

#[test]
fn a_wheel_without_label_is_no_build_of_the_default_index_and_the_other_way_round() {
    let plain = [
        "default torch-2.5.1-cp313-cp313-manylinux_2_17_aarch64.whl (2.5.1)",
        "default torchvision-0.20.1-cp313-cp313-manylinux_2_17_aarch64.whl (0.20.1)",
    ];
    assert_eq!(wheels("platforms: [linux/arm64]\npackages: [torch, torchvision]\n"), [plain]);
}

#[test]
fn what_the_index_of_a_build_lacks_is_told_by_index_and_platform() {
    let without = |left_out: &dyn Fn(&str) -> bool| {
        let mut world = index();
        for files in
            world.projects.iter_mut().filter_map(|((index, _), files)| (index == "pytorch-cu124").then_some(files))
        {
            files.retain(|file| !left_out(&file.filename));
        }
        world.projects.retain(|_, files| !files.is_empty());
        world
    };
    let torch = format!("{ARM}frameworks: {{pytorch: '2.5.1'}}\n");
    insta::assert_snapshot!(refused(&without(&|file| file.contains("aarch64")), &torch), @r"
    no_build_for_platform: the index `pytorch-cu124` has no wheel of torch 2.5.1+cu124 for aarch64 Linux, only for x86_64
    no_accelerator_build: pytorch 2.5.1 (cu121) is for processors only, and Mid needs a CUDA build (line 3)
    pin_conflict: pytorch 2.5.1 (cu124) is installed as `torch==2.5.1+cu124` (line 3)
    ");
    let first = |world: &World, body: &str| refused(world, body).lines().next().unwrap_or_default().to_owned();
    insta::assert_snapshot!(first(&without(&|file| file.starts_with("torch-")), &torch), @"no_such_version: the index `pytorch-cu124` has no package `torch`");
    let older =
        without(&|file| file.contains("aarch64")).on("pytorch-cu124", "torch-2.4.0-cp313-cp313-linux_aarch64.whl", &[]);
    insta::assert_snapshot!(first(&older, &torch), @"no_build_for_platform: the index `pytorch-cu124` has no wheel of torch 2.5.1+cu124 for aarch64 Linux, only for x86_64");
    let older = without(&|file| file.starts_with("torch-")).on(
        "pytorch-cu124",
        "torch-2.4.0-cp313-cp313-linux_aarch64.whl",
        &[],
    );
    insta::assert_snapshot!(first(&older, &torch), @"no_such_version: the index `pytorch-cu124` has no such version of torch; the newest is 2.4.0");
    let line =
        without(&|file| file.contains("aarch64")).on("pytorch-cu124", "torch-2.5.1-cp312-cp312-linux_aarch64.whl", &[]);
    insta::assert_snapshot!(first(&line, &torch), @"no_wheel_for_python: torch 2.5.1+cu124 has wheels for Python 3.12, not for Python 3.13");
    let with = format!("{ARM}frameworks: {{pytorch: {{version: '2.5.1', with: [torchvision]}}}}\n");
    let vision = without(&|file| file.starts_with("torchvision-0.20.1-"));
    insta::assert_snapshot!(first(&vision, &with), @"no_build_for_platform: the index `pytorch-cu124` has no wheel of torchvision 0.20.1+cu124 for aarch64 Linux, only for x86_64");
    insta::assert_snapshot!(refused(&vision, &format!("{torch}packages: [torchvision]\n")), @r"
    no_accelerator_build: pytorch 2.5.1 (cu121) is for processors only, and Mid needs a CUDA build
    pin_conflict: torchvision 0.20.1 of the index `default` goes with builds of pytorch from there (line 4)
    ");
}

#[test]
fn a_lock_keeps_what_it_has_under_either_name() {
    let newer = index().on("pytorch-cu124", "torchvision-0.20.2-cp313-cp313-linux_aarch64.whl", &["torch==2.5.1"]);
    let locked = Preferences {
        packages: [("torchvision", "0.20.1")]
            .map(|(name, version)| (name.to_owned(), version.parse().expect("a version")))
            .into(),
        ..Preferences::default()
    };
    let resolution = solved(&newer, &format!("{ARM}packages: [torch, torchvision]\n"), &locked).expect("an answer");
    assert_eq!(
        resolution.platforms[0].wheels["torchvision"].file.filename,
        "torchvision-0.20.1-cp313-cp313-linux_aarch64.whl"
    );
}

#[test]
fn a_companion_that_a_platform_lacks_is_refused_before_an_index_is_asked() {
    let refused = |rest: &str| refused(&World::default(), &format!("{ARM}{rest}"));
    insta::assert_snapshot!(refused("frameworks: {pytorch: {version: '2.5.1', with: [torchaudio]}}\n"), @r"
    no_build_for_platform: pytorch 2.5.1 (cu124) has no wheels of torchaudio for linux/arm64 (line 3)
    no_accelerator_build: pytorch 2.5.1 (cu121) is for processors only, and Mid needs a CUDA build (line 3)
    ");
    let listed = refused("frameworks: {pytorch: '2.5.1'}\npackages: [torchaudio]\n");
    assert!(listed.contains("(cu124) has no wheels of torchaudio for linux/arm64"), "{listed}");
}
