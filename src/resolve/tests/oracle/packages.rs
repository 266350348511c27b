//! Python packages: the solver's answers against every assignment of versions to names, over random indexes.
//!
//! An index is written as pages of the simple API and METADATA files, so that reading them is part of the test. What counts
//! as an answer follows PEP 440, 508, 592 and the module's own promise: wheels only, no pre-release unless it is asked for or
//! nothing else exists, nothing withdrawn unless it is pinned.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestCaseError;

use crate::catalog::Catalog;
use crate::diagnostic::Failure;
use crate::packaging::{Metadata, Project, ProjectFile, parse_json};
use crate::resolve::{BaseRow, Error, PackageSource, Preferences, Resolution, resolve};
use crate::spec::{FilePin, Spec};
use crate::version::PythonVersion;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Oldest first; the last one is a release candidate.
const VERSIONS: [&str; 4] = ["1.0", "1.1", "2.0", "2.1rc1"];
const PYTHONS: [&str; 2] = ["3.11", "3.12"];
const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

const CATALOG: &str = r#"
format: "1.0.0"
pythons:
  - {version: "3.11", status: final, source: doc}
  - {version: "3.12", status: final, source: doc}
debian:
  - {suite: old, release: "11", python: "3.11", glibc: "2.36", source: doc}
  - {suite: new, release: "12", python: "3.12", glibc: "2.36", source: doc}
"#;

#[derive(Clone)]
struct Index {
    /// By name: releases with different versions, oldest first.
    projects: BTreeMap<&'static str, Vec<Release>>,
}

#[derive(Debug, Clone)]
struct Release {
    /// Index into [`VERSIONS`].
    version: usize,
    is_yanked: bool,
    requires_python: Option<&'static str>,
    files: Files,
    requires: Vec<Requirement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    /// A wheel for everything.
    Any,
    /// A wheel for one Python line on one platform.
    One(&'static str, &'static str),
    /// A source distribution.
    Source,
}

#[derive(Debug, Clone)]
struct Requirement {
    name: &'static str,
    /// Asks for the extra `x` of `name`.
    with_extra: bool,
    range: &'static Range,
    /// Holds for this Python line only.
    python: Option<&'static str>,
    /// Comes with the extra `x` of the one who requires.
    of_extra: bool,
}

/// A range: its text, what it takes of [`VERSIONS`], and whether it is one version in full.
#[derive(Debug)]
struct Range {
    text: &'static str,
    takes: [bool; 4],
    is_pin: bool,
}

static RANGES: [Range; 9] = [
    Range { text: "", takes: [true, true, true, true], is_pin: false },
    Range { text: ">=1.1", takes: [false, true, true, true], is_pin: false },
    Range { text: "<2", takes: [true, true, false, false], is_pin: false },
    Range { text: "!=2.0", takes: [true, true, false, true], is_pin: false },
    Range { text: "==1.0", takes: [true, false, false, false], is_pin: true },
    Range { text: "==2.0", takes: [false, false, true, false], is_pin: true },
    Range { text: ">=2.1rc1", takes: [false, false, false, true], is_pin: false },
    Range { text: "==2.1rc1", takes: [false, false, false, true], is_pin: true },
    Range { text: "==1.1", takes: [false, true, false, false], is_pin: true },
];

#[derive(Clone)]
struct Question {
    index: Index,
    packages: Vec<Requirement>,
    platforms: Vec<&'static str>,
    python: Option<&'static str>,
}

impl Requirement {
    fn to_text(&self) -> String {
        let extra = if self.with_extra { "[x]" } else { "" };
        let mut markers: Vec<String> = Vec::new();
        markers.extend(self.python.map(|line| format!("python_version == '{line}'")));
        markers.extend(self.of_extra.then(|| "extra == 'x'".to_owned()));
        let markers = if markers.is_empty() { String::new() } else { format!(" ; {}", markers.join(" and ")) };
        format!("{}{extra}{}{markers}", self.name, self.range.text)
    }
}

impl Release {
    fn filename(&self, name: &str) -> String {
        let version = VERSIONS[self.version];
        match self.files {
            Files::Any => format!("{name}-{version}-py3-none-any.whl"),
            Files::One(python, platform) => {
                let tag = python.replace('.', "");
                let machine = if platform == PLATFORMS[0] { "x86_64" } else { "aarch64" };
                format!("{name}-{version}-cp{tag}-cp{tag}-manylinux_2_17_{machine}.whl")
            }
            Files::Source => format!("{name}-{version}.tar.gz"),
        }
    }

    fn metadata(&self, name: &str) -> String {
        let requires = self.requires.iter().map(|requirement| format!("Requires-Dist: {}\n", requirement.to_text()));
        let requires: String = requires.collect();
        let version = VERSIONS[self.version];
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: x\n{requires}")
    }

    /// Whether there is a wheel for this environment.
    fn is_installable(&self, python: &str, platform: &str) -> bool {
        let fits = match self.files {
            Files::Any => true,
            Files::One(line, on) => line == python && on == platform,
            Files::Source => false,
        };
        fits && self.requires_python.is_none_or(|oldest| super::rules::is_at_least(python, oldest))
    }
}

impl PackageSource for Index {
    fn project(&self, _: &str, name: &str) -> Result<Option<Arc<Project>>, Failure> {
        let Some(releases) = self.projects.get(name).filter(|releases| !releases.is_empty()) else { return Ok(None) };
        let files = releases.iter().map(|release| {
            let filename = release.filename(name);
            let required = release.requires_python.map(|oldest| format!(">={oldest}"));
            serde_json::json!({
                "filename": filename,
                "url": format!("https://index.invalid/{filename}"),
                "hashes": {},
                "requires-python": required,
                "yanked": release.is_yanked,
            })
        });
        let files: Vec<serde_json::Value> = files.collect();
        let page = serde_json::json!({"meta": {"api-version": "1.1"}, "name": name, "files": files});
        let base = "https://index.invalid/".parse().expect("a URL");
        Ok(Some(Arc::new(parse_json(page.to_string().as_bytes(), &base, name).expect("a page"))))
    }

    fn wheel(&self, pin: &FilePin) -> Result<ProjectFile, Failure> {
        unreachable!("no spec of these worlds names a place: {pin:?}")
    }

    fn metadata(&self, _: &str, file: &ProjectFile) -> Result<Result<Arc<Metadata>, String>, Failure> {
        let name = file.filename.split('-').next().unwrap_or_default();
        let release = self.projects[name].iter().find(|release| release.filename(name) == file.filename);
        let text = release.expect("a file of this index").metadata(name);
        Ok(Ok(Arc::new(Metadata::parse(text.as_bytes()).expect("metadata"))))
    }

    fn prefetch(&self, _: Vec<(String, String)>) {}
}

impl Question {
    fn to_yaml(&self) -> String {
        let packages: Vec<String> =
            self.packages.iter().map(|package| format!("  - \"{}\"\n", package.to_text())).collect();
        let python = self.python.map(|python| format!("python: \"{python}\"\n")).unwrap_or_default();
        format!("name: test\nplatforms: [{}]\n{python}packages:\n{}", self.platforms.join(", "), packages.concat())
    }

    /// Versions by name for one environment, for every answer there is.
    fn answers(&self, python: &str, platform: &str) -> Vec<Assignment> {
        let choices = NAMES.map(|name| self.index.projects.get(name).map_or(0, Vec::len));
        let mut answers: Vec<Assignment> = Vec::new();
        let count: usize = choices.iter().map(|count| count + 1).product();
        for number in 0..count {
            let mut rest = number;
            let mut assignment = Assignment::new();
            for (name, releases) in NAMES.iter().zip(choices) {
                if let Some(index) = (rest % (releases + 1)).checked_sub(1) {
                    assignment.insert(*name, self.index.projects[name][index].version);
                }
                rest /= releases + 1;
            }
            if self.is_answer(&assignment, python, platform) {
                answers.push(assignment);
            }
        }
        answers
    }

    /// Whether everything that is asked for, by the spec and by what is in, is in and nothing else.
    fn is_answer(&self, assignment: &Assignment, python: &str, platform: &str) -> bool {
        let mut open: Vec<&Requirement> = self.packages.iter().collect();
        let mut seen: Vec<(&str, bool)> = Vec::new();
        while let Some(requirement) = open.pop() {
            if requirement.python.is_some_and(|line| line != python) {
                continue;
            }
            let Some(version) = assignment.get(requirement.name) else { return false };
            if !requirement.range.takes[*version] {
                return false;
            }
            for extra in [false, true] {
                if (!extra || requirement.with_extra) && !seen.contains(&(requirement.name, extra)) {
                    seen.push((requirement.name, extra));
                    let release = self.release(requirement.name, *version);
                    open.extend(release.requires.iter().filter(|required| required.of_extra == extra));
                }
            }
        }
        let pinned = |name: &str| {
            let holds = |package: &&Requirement| package.python.is_none_or(|line| line == python);
            self.packages.iter().filter(holds).any(|package| package.name == name && package.range.is_pin)
        };
        assignment.iter().all(|(name, version)| {
            seen.iter().any(|(seen, _)| seen == name)
                && self.release(name, *version).is_installable(python, platform)
                && (!self.release(name, *version).is_yanked || pinned(name))
        })
    }

    fn release(&self, name: &str, version: usize) -> &Release {
        let mut releases = self.index.projects[name].iter();
        releases.find(|release| release.version == version).expect("a release of this index")
    }

    fn solve(&self, preferences: &Preferences) -> Result<Resolution, Error> {
        let catalog = Catalog::from_texts(&[("world.yaml", CATALOG)]).expect("the catalog");
        let spec = Spec::parse(Path::new("spec.yaml"), &self.to_yaml(), Path::new("/nonexistent"));
        let spec = spec.unwrap_or_else(|error| panic!("{error}\n{}", self.to_yaml()));
        let full = |line: PythonVersion, _: &BaseRow, _| Ok(format!("{line}.4").parse().expect("a version"));
        resolve(&spec, &catalog, &self.index, preferences, &full)
    }
}

/// Index into [`VERSIONS`] by name.
type Assignment = BTreeMap<&'static str, usize>;

/// As a person would write it down.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n--- index")?;
        for (name, releases) in &self.index.projects {
            for release in releases {
                let yanked = if release.is_yanked { " yanked" } else { "" };
                let python = release.requires_python.map(|oldest| format!(" python>={oldest}")).unwrap_or_default();
                let requires: Vec<String> = release.requires.iter().map(Requirement::to_text).collect();
                writeln!(f, "{}{yanked}{python} requires {requires:?}", release.filename(name))?;
            }
        }
        write!(f, "--- spec\n{}", self.to_yaml())
    }
}

fn assigned(wheels: &BTreeMap<String, crate::resolve::Candidate>) -> Assignment {
    let version = |text: String| VERSIONS.iter().position(|known| *known == text).expect("a version of this index");
    let name = |text: &str| NAMES.into_iter().find(|known| *known == text).expect("a name of this index");
    wheels.iter().map(|(key, wheel)| (name(key), version(wheel.version.to_string()))).collect()
}

fn requirement(of_package: bool) -> impl Strategy<Value = Requirement> {
    let python = prop_oneof![5 => Just(None), 1 => select(&PYTHONS[..]).prop_map(Some)];
    let rarely = || prop_oneof![4 => Just(false), 1 => Just(true)];
    (select(&NAMES[..]), rarely(), 0..RANGES.len(), python, rarely()).prop_map(
        move |(name, with_extra, range, python, of_extra)| Requirement {
            name,
            with_extra,
            range: &RANGES[range],
            python,
            of_extra: of_extra && of_package,
        },
    )
}

fn release(version: usize) -> BoxedStrategy<Release> {
    let files = prop_oneof![
        6 => Just(Files::Any),
        1 => (select(&PYTHONS[..]), select(&PLATFORMS[..])).prop_map(|(python, platform)| Files::One(python, platform)),
        1 => Just(Files::Source),
    ];
    let is_yanked = prop_oneof![2 => Just(false), 1 => Just(version == 1)];
    let requires_python = prop_oneof![5 => Just(None), 1 => select(&["3.12", "3.13"][..]).prop_map(Some)];
    (is_yanked, requires_python, files, vec(requirement(true), 0..=2))
        .prop_map(move |(is_yanked, requires_python, files, requires)| Release {
            version,
            is_yanked,
            requires_python,
            files,
            requires,
        })
        .boxed()
}

fn question() -> impl Strategy<Value = Question> {
    let project = || [0, 1, 2, 3].map(|version| option::weighted(0.6, release(version)));
    let projects = [0; NAMES.len()].map(|_| project());
    let packages = vec(requirement(false), 1..=3);
    (projects, packages, subsequence(PLATFORMS.to_vec(), 1..=2), option::of(select(&PYTHONS[..]))).prop_map(
        |(projects, packages, platforms, python)| {
            let releases = NAMES.into_iter().zip(projects).map(|(name, releases)| {
                let mut releases: Vec<Release> = releases.into_iter().flatten().collect();
                for release in &mut releases {
                    for required in &mut release.requires {
                        // What a package requires of itself is another extra, never another version.
                        if required.name == name {
                            required.range = &RANGES[0];
                        }
                    }
                }
                (name, releases)
            });
            Question { index: Index { projects: releases.collect() }, packages, platforms, python }
        },
    )
}

fn check(question: &Question) -> Result<(), TestCaseError> {
    let lines = || PYTHONS.into_iter().rev().filter(|line| question.python.is_none_or(|asked| asked == *line));
    let solvable = |line: &str| question.platforms.iter().all(|platform| !question.answers(line, platform).is_empty());
    let newest = lines().find(|line| solvable(line));
    match question.solve(&Preferences::default()) {
        Ok(resolution) => {
            let python = resolution.stack.python.to_string();
            prop_assert_eq!(newest, Some(python.as_str()), "the newest Python with an answer");
            for chosen in &resolution.platforms {
                let assignment = assigned(&chosen.wheels);
                let fits = question.is_answer(&assignment, &python, &chosen.platform.to_string());
                prop_assert!(fits, "no answer by the rules: {assignment:?}");
            }
            keeps_what_is_locked(question, &python)
        }
        Err(Error::Conflict(conflict)) => {
            prop_assert_eq!(newest, None, "{:#?}", conflict.reasons);
            prop_assert!(!conflict.reasons.is_empty(), "a conflict without reasons");
            Ok(())
        }
        Err(error) => Err(TestCaseError::fail(error.to_string())),
    }
}

/// A lock of any answer is kept, version for version.
fn keeps_what_is_locked(question: &Question, python: &str) -> Result<(), TestCaseError> {
    let [platform] = question.platforms.as_slice() else { return Ok(()) };
    let answers = question.answers(python, platform);
    for locked in answers.iter().take(3) {
        let mut preferences = Preferences { python: python.parse().ok(), ..Preferences::default() };
        let version = |index: usize| VERSIONS[index].parse().expect("a version");
        preferences.packages = locked.iter().map(|(name, index)| ((*name).to_owned(), version(*index))).collect();
        let resolution = question.solve(&preferences).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&assigned(&resolution.platforms[0].wheels), locked, "what was locked");
    }
    Ok(())
}

proptest! {
    #![proptest_config(super::cases(256))]

    #[test]
    fn packages_are_answered_exactly_when_enumeration_finds_an_answer(question in question()) {
        check(&question)?;
    }
}
