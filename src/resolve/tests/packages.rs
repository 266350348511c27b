//! Stack and packages together, over an index that exists in memory only.

mod conflicts;
mod explained;
mod indexes;
mod labels;
mod versions;
mod worlds;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use url::Url;

use crate::diagnostic::Failure;
use crate::oci::Digest;
use crate::packaging::{Metadata, MetadataOffer, Project, ProjectFile, classify, parse_specifiers};
use crate::resolve::{PackageSource, Resolution, resolve};
use crate::spec::FilePin;
use crate::version::wheel_tag::WheelFilename;

use super::*;

/// Files by index and project; metadata by file name.
#[derive(Default)]
pub(super) struct World {
    projects: HashMap<(String, String), Vec<ProjectFile>>,
    metadata: HashMap<String, String>,
    /// How often METADATA was asked for.
    asked: Cell<usize>,
}

impl World {
    /// A wheel for every interpreter, with `requires` as its `Requires-Dist` lines.
    pub(super) fn wheel(self, name: &str, version: &str, requires: &[&str]) -> Self {
        self.file(
            "default",
            &format!("{}-{version}-py3-none-any.whl", name.replace('-', "_")),
            name,
            version,
            "",
            None,
            requires,
        )
    }

    #[expect(clippy::too_many_arguments, reason = "one line per fact of a file")]
    pub(super) fn file(
        mut self,
        index: &str,
        filename: &str,
        name: &str,
        version: &str,
        requires_python: &str,
        yanked: Option<&str>,
        requires: &[&str],
    ) -> Self {
        let (kind, parsed) = classify(filename, name);
        let file = ProjectFile {
            filename: filename.to_owned(),
            kind,
            version: parsed,
            url: Url::parse("https://index.invalid/file").expect("a URL"),
            size: Some(1),
            digest: None,
            requires_python: parse_specifiers(requires_python),
            yanked: yanked.map(str::to_owned),
            metadata: MetadataOffer::Unknown,
        };
        self.projects.entry((index.to_owned(), name.to_owned())).or_default().push(file);
        let lines = requires.iter().map(|line| format!("Requires-Dist: {line}\n")).collect::<Vec<_>>().concat();
        self.metadata.insert(filename.to_owned(), format!("Name: {name}\nVersion: {version}\n{lines}"));
        self
    }
}

impl World {
    /// A wheel of any index, with the name and the version of its file name.
    fn on(self, index: &str, filename: &str, requires: &[&str]) -> Self {
        let wheel: WheelFilename = filename.parse().expect("a wheel's name");
        self.file(index, filename, &wheel.name, &wheel.version.to_string(), "", None, requires)
    }

    /// METADATA of a wheel that is there already.
    fn saying(mut self, filename: &str, metadata: &str) -> Self {
        self.metadata.insert(filename.to_owned(), metadata.to_owned());
        self
    }

    /// The digest that its index tells for a file: that of `text`.
    fn hashed(mut self, filename: &str, text: &str) -> Self {
        let files = self.projects.values_mut().flatten();
        let mut named = files.filter(|file| file.filename == filename);
        named.next().expect("a file of the world").digest = Some(Digest::of(text.as_bytes()));
        self
    }
}

impl PackageSource for World {
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure> {
        let files = self.projects.get(&(index.to_owned(), name.to_owned()));
        Ok(files.map(|files| Arc::new(Project { name: name.to_owned(), files: files.clone() })))
    }
    fn wheel(&self, pin: &FilePin) -> Result<ProjectFile, Failure> {
        let filename = pin.place.as_ref().expect("a place").file_name();
        let mut files = self.projects.iter().filter(|((index, _), _)| index == "direct").flat_map(|(_, files)| files);
        Ok(files.find(|file| file.filename == filename).expect("a wheel of the world").clone())
    }
    fn metadata(&self, _: &str, file: &ProjectFile) -> Result<Result<Arc<Metadata>, String>, Failure> {
        self.asked.set(self.asked.get() + 1);
        let text = &self.metadata[&file.filename];
        Ok(Metadata::parse(text.as_bytes()).map(Arc::new).map_err(|error| error.to_string()))
    }
    fn prefetch(&self, requests: Vec<(String, String)>) {
        assert!(requests.iter().all(|(index, _)| index != "direct"), "{requests:?}");
    }
}

/// A world whose index is out of reach: for one project, or after so many answers.
struct Brittle {
    world: World,
    without: &'static str,
    left: Cell<usize>,
}

#[derive(Debug, thiserror::Error)]
#[error("the index is out of reach")]
struct OutOfReach;

impl crate::diagnostic::Hint for OutOfReach {}

impl Brittle {
    fn new(world: World, without: &'static str) -> Self {
        Self { world, without, left: Cell::new(usize::MAX) }
    }
    fn after(world: World, answers: usize) -> Self {
        Self { world, without: "", left: Cell::new(answers) }
    }
    fn answer(&self) -> Result<(), Failure> {
        let left = self.left.get().checked_sub(1).ok_or(OutOfReach)?;
        self.left.set(left);
        Ok(())
    }
}

impl PackageSource for Brittle {
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure> {
        if name == self.without {
            return Err(OutOfReach.into());
        }
        self.answer()?;
        self.world.project(index, name)
    }
    fn wheel(&self, pin: &FilePin) -> Result<ProjectFile, Failure> {
        PackageSource::wheel(&self.world, pin)
    }
    fn metadata(&self, index: &str, file: &ProjectFile) -> Result<Result<Arc<Metadata>, String>, Failure> {
        self.answer()?;
        self.world.metadata(index, file)
    }
    fn prefetch(&self, _: Vec<(String, String)>) {}
}

#[expect(clippy::unnecessary_wraps, reason = "asking a real base may fail")]
fn full(
    line: crate::version::PythonVersion,
    _: &super::super::BaseRow,
    _: crate::oci::Platform,
) -> Result<pep440_rs::Version, Failure> {
    Ok(pep440_rs::Version::new([u64::from(line.major), u64::from(line.minor), 2]))
}

pub(super) fn solve(world: &World, body: &str, preferences: &Preferences) -> Result<Resolution, super::super::Error> {
    resolve(&spec(body), &catalog(), world, preferences, &full)
}

/// `a 1.0, b 2.0 on 3.13`.
pub(super) fn versions(world: &World, body: &str) -> String {
    match solve(world, body, &Preferences::default()) {
        Ok(resolution) => {
            let wheels = &resolution.platforms[0].wheels;
            let wheels: Vec<String> = wheels.iter().map(|(name, wheel)| format!("{name} {}", wheel.version)).collect();
            format!("{} on {}", wheels.join(", "), resolution.stack.python)
        }
        Err(error) => panic!("{}", Failure::from(error).render()),
    }
}

/// The wheels chosen, as `index file`.
fn files(world: &World, body: &str) -> Vec<String> {
    let resolution = match solve(world, body, &Preferences::default()) {
        Ok(resolution) => resolution,
        Err(error) => panic!("{}", Failure::from(error).render()),
    };
    let wheels = resolution.platforms[0].wheels.values();
    wheels.map(|wheel| format!("{} {}", wheel.index, wheel.file.filename)).collect()
}

pub(super) fn refusal(world: &World, body: &str) -> String {
    match solve(world, body, &Preferences::default()) {
        Ok(resolution) => panic!("there is an answer: {:?}", resolution.platforms),
        Err(error) => conflict(&error),
    }
}

#[test]
fn requirements_markers_and_extras_are_followed() {
    let world = World::default()
        .wheel(
            "a",
            "1.0",
            &["b>=1", "c; extra == 'fast'", "never; sys_platform == 'win32'", "old; python_full_version < '3.13.1'"],
        )
        .wheel("b", "1.0", &[])
        .wheel("b", "2.0", &[])
        .wheel("c", "0.5", &["b<2"]);
    assert_eq!(versions(&world, "packages: [a]\n"), "a 1.0, b 2.0 on 3.13");
    assert_eq!(versions(&world, "packages: ['a[fast]']\n"), "a 1.0, b 1.0, c 0.5 on 3.13");
}

#[test]
fn the_search_goes_back_to_an_older_version_when_the_newest_does_not_fit() {
    let world = World::default()
        .wheel("a", "2.0", &["c>=2"])
        .wheel("a", "1.0", &["c>=1"])
        .wheel("b", "1.0", &["c<2"])
        .wheel("c", "1.0", &[])
        .wheel("c", "2.0", &[]);
    assert_eq!(versions(&world, "packages: [a, b]\n"), "a 1.0, b 1.0, c 1.0 on 3.13");
}

#[test]
fn prereleases_and_yanked_files_are_left_out_unless_asked_for() {
    let world = World::default()
        .wheel("a", "1.0", &[])
        .wheel("a", "2.0rc1", &[])
        .file("default", "a-1.5-py3-none-any.whl", "a", "1.5", "", Some("broken"), &[])
        .wheel("only", "0.1a1", &[]);
    assert_eq!(versions(&world, "packages: [a]\n"), "a 1.0 on 3.13");
    assert_eq!(versions(&world, "packages: ['a>=2.0rc1']\n"), "a 2.0rc1 on 3.13");
    assert_eq!(versions(&world, "packages: ['a==1.5']\n"), "a 1.5 on 3.13");
    assert_eq!(versions(&world, "packages: [only]\n"), "only 0.1a1 on 3.13");
}

#[test]
fn a_package_without_a_wheel_for_the_newest_python_moves_python() {
    let world = World::default()
        .file("default", "a-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", "a", "1.0", ">=3.8", None, &[])
        .file("default", "a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", "a", "1.0", ">=3.8", None, &[]);
    assert_eq!(versions(&world, "packages: [a]\n"), "a 1.0 on 3.12");
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages: [a]\n"), @r#"
    no_wheel_for_python: a 1.0 has wheels for Python 3.11 to 3.12, not for Python 3.13 (line 3)
    help: with `python: "3.12"` there is an answer: a 1.0
    "#);
}

#[test]
fn a_source_distribution_alone_is_refused_by_name() {
    let world = World::default().file("default", "a-1.0.tar.gz", "a", "1.0", "", None, &[]);
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages: [a]\n"), @r"
    no_such_version: a 1.0 has only a source distribution, and only wheels are installed (line 3)
    help: build the wheel once (`pip wheel --no-deps a==1.0`), put it beside the spec and write `a @ file:FILE.whl`, or put it on an index of your own under `indexes:`
    ");
}

#[test]
fn a_contradiction_names_both_sides() {
    let world = World::default().wheel("a", "1.0", &["c<2"]).wheel("b", "1.0", &["c>=2"]).wheel("c", "1.0", &[]).wheel(
        "c",
        "2.0",
        &[],
    );
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages:\n  - a\n  - b\n"), @r"
    pin_conflict: a 1.0 requires `c<2` (line 4)
    pin_conflict: b 1.0 requires `c>=2` (line 5)
    help: without `a` there is an answer: b 1.0
    help: without `b` there is an answer: a 1.0
    ");
}

#[test]
fn an_unknown_package_is_named() {
    insta::assert_snapshot!(refusal(&World::default(), "python: '3.13'\npackages: [nowhere]\n"), @r"
    no_such_version: no index has a package `nowhere` (line 3)
    help: check the spelling of `nowhere`, or list the index that has it under `indexes:`
    ");
}

#[test]
fn a_package_may_decide_the_framework_and_the_targets_decide_its_build() {
    let world = World::default()
        .wheel("serve", "1.0", &["torch==2.5.0"])
        .wheel("serve", "2.0", &["torch==2.8.0"])
        .wheel("torch", "2.5.0", &[])
        .wheel("torch", "2.8.0", &[]);
    assert_eq!(versions(&world, "targets: [{gpu: Mid}]\npackages: [serve]\n"), "serve 2.0, torch 2.8.0 on 3.13");
    // torch 2.8.0 of the default index has no code for this card, its driver is too old for CUDA 12, and the index that
    // should have a build with CUDA 11 is empty.
    insta::assert_snapshot!(refusal(&world, "python: '3.11'\ntargets: [{gpu: Old}]\npackages: [serve]\n"), @r"
    driver_branch_ends: pytorch 2.5.0 (cu124), built with CUDA 12.4, needs driver 525.60.13 or newer (line 3)
    no_such_version: the index `pytorch-cu118` has no package `torch`
    cc_removed_from_toolkit: pytorch 2.8.0 (cu128) is built with CUDA 12.8, which no longer compiles for compute capability 5.2, that of Old
    driver_branch_ends: pytorch 2.8.0 (cu128), built with CUDA 12.8, needs driver 525.60.13 or newer, and the last branch for Old is R470 (line 3)
    pin_conflict: serve 2.0 requires `torch==2.8.0` (line 4)
    pin_conflict: serve 1.0 requires `torch==2.5.0` (line 4)
    pin_conflict: pytorch 2.8.0 (cu118) is installed as `torch==2.8.0+cu118`
    ");
}

#[test]
fn builds_of_a_framework_come_from_their_own_index() {
    let world = World::default()
        .wheel("torch", "2.8.0", &[])
        .file("pytorch-cu118", "torch-2.8.0+cu118-py3-none-any.whl", "torch", "2.8.0+cu118", "", None, &["six"])
        .file(
            "pytorch-cu118",
            "torchvision-0.23.0+cu118-py3-none-any.whl",
            "torchvision",
            "0.23.0+cu118",
            "",
            None,
            &["torch==2.8.0"],
        )
        .wheel("torchvision", "0.23.0", &["torch==2.8.0"])
        .wheel("six", "1.16", &[]);
    let body = "targets: [{gpu: Old}]\nframeworks: {pytorch: {version: \"2.8.0\", with: [torchvision]}}\n";
    assert_eq!(versions(&world, body), "six 1.16, torch 2.8.0+cu118, torchvision 0.23.0+cu118 on 3.13");
}

#[test]
fn names_claimed_by_an_index_come_from_there_alone() {
    let world = World::default().wheel("acme-core", "9.0", &[]).file(
        "internal",
        "acme_core-1.0-py3-none-any.whl",
        "acme-core",
        "1.0",
        "",
        None,
        &[],
    );
    let indexes = "indexes:\n  - {name: internal, url: 'https://internal.invalid/simple', packages: ['acme-*']}\n";
    assert_eq!(versions(&world, &format!("{indexes}packages: [acme-core]\n")), "acme-core 1.0 on 3.13");
}

#[test]
fn locked_versions_stay_and_the_second_platform_follows_the_first() {
    let world = World::default()
        .file("default", "a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl", "a", "1.0", "", None, &[])
        .file("default", "a-1.0-cp313-cp313-manylinux_2_17_aarch64.whl", "a", "1.0", "", None, &[])
        .file("default", "a-2.0-cp313-cp313-manylinux_2_17_aarch64.whl", "a", "2.0", "", None, &[])
        .wheel("b", "1.0", &[])
        .wheel("b", "2.0", &[]);
    let mut preferences = Preferences::default();
    preferences.packages.insert("b".to_owned(), "1.0".parse().expect("a version"));
    let body = "platforms: [linux/amd64, linux/arm64]\npackages: [a, b]\n";
    let resolution = solve(&world, body, &preferences).expect("an answer");
    for platform in &resolution.platforms {
        let found: Vec<String> =
            platform.wheels.iter().map(|(name, wheel)| format!("{name} {}", wheel.version)).collect();
        assert_eq!(found, ["a 1.0", "b 1.0"], "{}", platform.platform);
    }
}

#[test]
fn metadata_is_asked_for_once_per_version_that_is_tried() {
    let mut world = World::default().wheel("top", "1.0", &["old<5", "wide"]).wheel("old", "1.0", &[]);
    for number in 1..=40 {
        world = world.wheel("wide", &number.to_string(), &[&format!("old>={}", (number + 1) / 2)]);
        world = world.wheel("old", &number.to_string(), &[]);
    }
    assert_eq!(versions(&world, "python: '3.13'\npackages: [top]\n"), "old 4, top 1.0, wide 8 on 3.13");
    assert!(world.asked.get() < 40, "{}", world.asked.get());
}
