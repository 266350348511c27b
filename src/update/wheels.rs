//! What the names of a release's wheels say: for which platforms, Python lines and glibc.
//!
//! A wheel for every Python (`py3-none`, `cp39-abi3`) promises lines that nobody has tried. Which of them count, a person
//! decides as far as METADATA leaves it open: lines that are not released yet, and all of them where it has no `Requires-Python`.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::{Version, VersionSpecifiers};

use crate::catalog::{Catalog, PythonStatus};
use crate::oci::Platform;
use crate::packaging::{Project, ProjectFile};
use crate::version::PythonVersion;
use crate::version::wheel_tag::{WheelFilename, machine_name};

/// Linux platforms that images can be made for.
pub(super) const PLATFORMS: [Platform; 2] = [Platform::AMD64, Platform::ARM64];

/// A wheel that says `any` and is larger than this, in bytes, holds compiled libraries all the same: bitsandbytes did until
/// 0.42, with 92 MB. Pure parts of the frameworks listed have 3 MB at most.
const LARGEST_PURE: u64 = 16 << 20;

/// Where `py3` begins.
const ANY_PYTHON: PythonVersion = PythonVersion { major: 3, minor: 0 };

/// Python lines that a wheel for every Python may mean, ascending.
pub(super) struct Lines {
    released: Vec<PythonVersion>,
    coming: Vec<PythonVersion>,
}

/// A release's reach on one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wheels {
    /// Lines that have a wheel.
    pub(super) pythons: BTreeSet<PythonVersion>,
    /// Of those and of others, the lines that the catalog may have or not.
    pub(super) open: BTreeSet<PythonVersion>,
    /// Oldest glibc that all of these Pythons' wheels run on; `(0, 0)` if the names do not tell.
    pub(super) glibc: (u32, u32),
}

impl Lines {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let with = |status: PythonStatus| {
            let lines = catalog.pythons.iter().filter(|line| line.status == status);
            let mut lines: Vec<PythonVersion> = lines.map(|line| line.version).collect();
            lines.sort_unstable();
            lines
        };
        Self { released: with(PythonStatus::Final), coming: with(PythonStatus::Prerelease) }
    }
}

impl Wheels {
    /// Whether a list of lines is one that these wheels allow.
    pub(super) fn agree_with(&self, listed: &[PythonVersion]) -> bool {
        self.required().all(|line| listed.contains(line))
            && listed.iter().all(|line| self.pythons.contains(line) || self.open.contains(line))
    }

    /// The lines of these that `other`, which is installed with them, has as well.
    pub(super) fn narrow(&mut self, other: &Self) {
        let required: BTreeSet<_> =
            self.required().filter(|line| other.required().any(|own| own == *line)).copied().collect();
        let has = |wheels: &Self, line: &PythonVersion| wheels.pythons.contains(line) || wheels.open.contains(line);
        self.pythons.retain(|line| other.pythons.contains(line));
        let all = self.pythons.union(&self.open).filter(|line| has(other, line));
        self.open = all.filter(|line| !required.contains(line)).copied().collect();
    }

    pub(super) fn within(mut self, range: Option<&VersionSpecifiers>) -> Self {
        self.pythons.retain(|python| admits(range, *python));
        self.open.retain(|python| admits(range, *python));
        self
    }

    fn required(&self) -> impl Iterator<Item = &PythonVersion> {
        self.pythons.difference(&self.open)
    }
}

/// What both of two parts have wheels for.
pub(super) fn intersection(
    one: &BTreeMap<Platform, Wheels>,
    other: &BTreeMap<Platform, Wheels>,
) -> BTreeMap<Platform, Wheels> {
    let both = one.iter().filter_map(|(platform, left)| {
        let right = other.get(platform)?;
        let mut wheels = Wheels { glibc: left.glibc.max(right.glibc), ..left.clone() };
        wheels.narrow(right);
        (!wheels.pythons.is_empty()).then_some((*platform, wheels))
    });
    both.collect()
}

/// Whether a wheel can be installed on Linux.
pub(super) fn is_for_linux(wheel: &WheelFilename) -> bool {
    wheel.platform_tags.iter().any(|tag| tag == "any")
        || PLATFORMS.iter().any(|platform| wheel.linux_glibc(machine_name(platform.architecture_name())).is_some())
}

/// Whether a wheel says that it is for every platform and is too large for that to be true.
pub(super) fn hides_machine_code(file: &ProjectFile) -> bool {
    let says_any = file.wheel().is_some_and(|wheel| wheel.platform_tags.iter().any(|tag| tag == "any"));
    says_any && file.size.is_some_and(|size| size > LARGEST_PURE)
}

/// The wheels of a version. Labels only count where there are some.
pub(super) fn files_of<'p>(project: &'p Project, version: &Version, label: Option<&str>) -> Vec<&'p ProjectFile> {
    let is_version = |file: &&ProjectFile| {
        let found = file.version.as_ref().is_some_and(|found| found.clone().without_local() == *version);
        found && file.wheel().is_some_and(is_for_linux)
    };
    let local = |file: &ProjectFile| {
        let local = file.version.as_ref().map(Version::local).unwrap_or_default();
        local.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
    };
    let files: Vec<&ProjectFile> = project.files.iter().filter(is_version).collect();
    let fits = |file: &&ProjectFile| {
        let local = local(file);
        local.is_empty() || label.is_some_and(|label| label == local)
    };
    files.into_iter().filter(fits).collect()
}

/// The wheel whose METADATA stands for the release: for amd64, and for the newest Python line.
pub(super) fn representative<'p>(files: &[&'p ProjectFile]) -> Option<&'p ProjectFile> {
    let rank = |file: &&&ProjectFile| {
        let wheel = file.wheel();
        let amd64 = wheel.is_some_and(|wheel| wheel.linux_glibc("x86_64").is_some());
        let line = wheel.and_then(|wheel| wheel.cpython_lines().into_iter().max());
        (amd64, line, std::cmp::Reverse(file.filename.clone()))
    };
    files.iter().filter(|file| file.wheel().is_some_and(|wheel| !is_free_threaded(wheel))).max_by_key(rank).copied()
}

/// Python lines and glibc by platform; empty if all wheels are pure.
pub(super) fn reach(
    files: &[&ProjectFile],
    lines: &Lines,
    range: Option<&VersionSpecifiers>,
) -> BTreeMap<Platform, Wheels> {
    let mut platforms = BTreeMap::new();
    for platform in PLATFORMS {
        let machine = machine_name(platform.architecture_name());
        let mut oldest: BTreeMap<PythonVersion, (u32, u32)> = BTreeMap::new();
        let (mut named, mut open) = (BTreeSet::new(), BTreeSet::new());
        for wheel in files.iter().filter_map(|file| file.wheel()).filter(|wheel| !is_free_threaded(wheel)) {
            let Some(glibc) = wheel.linux_glibc(machine) else { continue };
            let mut add = |python: PythonVersion| {
                oldest.entry(python).and_modify(|known| *known = glibc.min(*known)).or_insert(glibc);
            };
            let allowed = |line: &&PythonVersion| admits(range, **line);
            match since(wheel) {
                None => wheel.cpython_lines().iter().filter(allowed).for_each(|line| {
                    named.insert(*line);
                    add(*line);
                }),
                Some(since) => {
                    let from = |line: &&PythonVersion| **line >= since;
                    lines.released.iter().filter(allowed).filter(from).for_each(|line| add(*line));
                    open.extend(lines.coming.iter().filter(allowed).filter(from));
                    if range.is_none() && since == ANY_PYTHON {
                        open.extend(&lines.released);
                    }
                }
            }
        }
        if let Some(glibc) = oldest.values().copied().max() {
            open.retain(|line| !named.contains(line));
            platforms.insert(platform, Wheels { pythons: oldest.into_keys().collect(), open, glibc });
        }
    }
    platforms
}

/// The line that a wheel for every later Python begins with, 3.0 for `py3`; `None` for a wheel of single lines.
fn since(wheel: &WheelFilename) -> Option<PythonVersion> {
    if let Some(first) = wheel.cpython_lines().into_iter().min() {
        return wheel.abi_tags.iter().any(|tag| tag == "abi3").then_some(first);
    }
    let minors = wheel.python_tags.iter().filter_map(|tag| tag.strip_prefix("py3"));
    let lines = minors.filter_map(|minor| match minor {
        "" => Some(ANY_PYTHON),
        minor => Some(PythonVersion { major: 3, minor: minor.parse().ok()? }),
    });
    lines.min()
}

fn is_free_threaded(wheel: &WheelFilename) -> bool {
    wheel.abi_tags.iter().all(|tag| tag.starts_with("cp") && tag.ends_with('t'))
}

/// Whether a range allows some release of the line.
pub(super) fn admits(range: Option<&VersionSpecifiers>, python: PythonVersion) -> bool {
    let late = Version::new([u64::from(python.major), u64::from(python.minor), 999]);
    range.is_none_or(|range| range.contains(&late))
}
