//! Which wheels of an environment need which others, by their METADATA.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use pep440_rs::Version;
use pep508_rs::{ExtraName, MarkerEnvironment, Requirement, VerbatimUrl, VersionOrUrl};

use crate::lock::{LockedPlatform, LockedWheel};
use crate::oci::Digest;
use crate::packaging::{License, Metadata, marker_environment};
use crate::version::PythonVersion;
use crate::version::wheel_tag::normalize_name;

/// Extras of one distribution that are looked at; real ones have a few dozen.
const EXTRAS_LIMIT: usize = 200;

/// What a wheel says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    metadata: Metadata,
    /// Its licence, if it declares one.
    pub(super) license: Option<License>,
}

impl About {
    /// Reads a METADATA file; `None` if it cannot be read.
    pub fn read(metadata: &[u8]) -> Option<Self> {
        Some(Self { metadata: Metadata::parse(metadata).ok()?, license: License::of_metadata(metadata) })
    }
}

/// For each wheel, the positions of those it needs. Which extras were asked for is not in a lock: what an extra brings counts
/// if all of it is there.
pub(super) fn dependencies(
    platform: &LockedPlatform,
    python: PythonVersion,
    about: &BTreeMap<Digest, About>,
) -> Vec<BTreeSet<usize>> {
    let markers = marker_environment(platform.name, python, &full_version(platform, python));
    let places: BTreeMap<String, (usize, Option<Version>)> = platform
        .wheels
        .iter()
        .enumerate()
        .map(|(at, wheel)| (normalize_name(&wheel.name), (at, Version::from_str(&wheel.version).ok())))
        .collect();
    let of = |wheel: &LockedWheel| about.get(&wheel.digest).map(|about| needed(&about.metadata, &markers, &places));
    let mut all: Vec<BTreeSet<usize>> = platform.wheels.iter().map(|wheel| of(wheel).unwrap_or_default()).collect();
    for (at, needed) in all.iter_mut().enumerate() {
        needed.remove(&at);
    }
    all
}

fn needed(
    metadata: &Metadata,
    markers: &MarkerEnvironment,
    places: &BTreeMap<String, (usize, Option<Version>)>,
) -> BTreeSet<usize> {
    let met = |requirement: &Requirement<VerbatimUrl>| {
        let (at, version) = places.get(&normalize_name(requirement.name.as_ref()))?;
        let fits = match (&requirement.version_or_url, version) {
            (Some(VersionOrUrl::VersionSpecifier(wanted)), Some(version)) => wanted.contains(version),
            _ => true,
        };
        fits.then_some(*at)
    };
    let (always, optional): (Vec<_>, Vec<_>) =
        metadata.requires_dist.iter().partition(|requirement| requirement.evaluate_markers(markers, &[]));
    let mut found: BTreeSet<usize> = always.into_iter().filter_map(met).collect();
    for extra in metadata.provides_extra.iter().take(EXTRAS_LIMIT) {
        let Ok(extra) = ExtraName::new(extra.clone()) else { continue };
        let brought =
            optional.iter().filter(|requirement| requirement.evaluate_markers(markers, std::slice::from_ref(&extra)));
        if let Some(all) = brought.map(|requirement| met(requirement)).collect::<Option<Vec<usize>>>() {
            found.extend(all);
        }
    }
    found
}

/// The interpreter's release, as far as the lock tells it: markers seldom look further than the line.
fn full_version(platform: &LockedPlatform, python: PythonVersion) -> Version {
    let package = format!("python{python}");
    let locked = platform.debs.iter().find(|deb| deb.name == package).and_then(|deb| {
        let upstream = deb.version.split_once(':').map_or(deb.version.as_str(), |(_, rest)| rest);
        let digits = upstream.split(|character: char| !character.is_ascii_digit() && character != '.').next();
        Version::from_str(digits.unwrap_or_default()).ok()
    });
    locked.unwrap_or_else(|| Version::new([u64::from(python.major), u64::from(python.minor), 0]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lock, wheel};
    use super::*;

    fn names(metadata: &[(&str, &str, &str)]) -> Vec<Vec<String>> {
        let mut platform = lock().platforms.remove(0);
        platform.wheels = metadata.iter().map(|(name, version, _)| wheel(name, version)).collect();
        let about = metadata.iter().map(|(name, version, headers)| {
            let text = format!("Name: {name}\nVersion: {version}\n{headers}\n");
            (wheel(name, version).digest, About::read(text.as_bytes()).expect("METADATA"))
        });
        let about = about.collect();
        let found = dependencies(&platform, "3.11".parse().expect("a version"), &about);
        found.iter().map(|needed| needed.iter().map(|at| platform.wheels[*at].name.clone()).collect()).collect()
    }

    #[test]
    fn a_requirement_counts_where_its_marker_holds() {
        let found = names(&[
            (
                "a",
                "1",
                "Requires-Dist: b>=1\nRequires-Dist: c ; python_version < '3.8'\nRequires-Dist: gone\nRequires-Dist: a",
            ),
            ("b", "1", "Requires-Dist: C.C ; sys_platform == 'linux'"),
            ("c-c", "1", "Requires-Dist: a"),
        ]);
        assert_eq!(found, [vec!["b"], vec!["c-c"], vec!["a"]]);
    }

    #[test]
    fn an_extra_counts_if_all_of_it_is_there() {
        let found = names(&[
            (
                "a",
                "1",
                "Provides-Extra: one\nProvides-Extra: two\nRequires-Dist: b ; extra == 'one'\n\
                 Requires-Dist: c ; extra == 'two'\nRequires-Dist: gone ; extra == 'two'",
            ),
            ("b", "1", ""),
            ("c", "1", ""),
        ]);
        assert_eq!(found, [vec!["b"], vec![], vec![]]);
        let other_version =
            names(&[("a", "1", "Provides-Extra: x\nRequires-Dist: b>2 ; extra == 'x'"), ("b", "1", "")]);
        assert_eq!(other_version, [Vec::<String>::new(), vec![]]);
    }

    #[test]
    fn the_interpreters_release_is_read_from_its_package() {
        let mut platform = lock().platforms.remove(0);
        let line: PythonVersion = "3.11".parse().expect("a version");
        platform.debs[0].name = "python3.11".to_owned();
        platform.debs[0].version = "3.11.2-6+deb12u3".to_owned();
        assert_eq!(full_version(&platform, line).to_string(), "3.11.2");
        platform.debs.clear();
        assert_eq!(full_version(&platform, line).to_string(), "3.11.0");
    }
}
