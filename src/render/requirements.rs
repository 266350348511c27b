//! Locked wheels as requirements files with hashes, one file per package index, because pip takes one index for a whole
//! file and a package must come from the index it was locked from. Wheels that no index holds are in a file of their own.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::lock::LockedWheel;
use crate::oci::{Digest, Platform};
use crate::plan::{Plan, Step};
use crate::version::WheelPlace;
use crate::version::wheel_tag::machine_name;

/// Name that the lock gives to the machine's own index.
const DEFAULT_INDEX: &str = "default";

/// Name that the lock gives to wheels that no index holds.
const DIRECT: &str = "direct";
/// Where the build sees the spec's folder.
const PROJECT: &str = "/project";

/// One requirements file.
#[derive(Debug, Serialize)]
pub(super) struct Requirements {
    /// File name: `requirements.txt`, `requirements-INDEX.txt`.
    pub(super) file: String,
    /// Index name.
    pub(super) index: String,
    /// Build argument that holds the index's address; none for the default index, which pip's configuration names.
    pub(super) argument: Option<String>,
    /// The argument as a shell expands it, with a message if it is missing.
    pub(super) address: Option<String>,
    /// Whether wheels of it lie in the spec's folder, which the build sees as `/project`.
    pub(super) project: bool,
    /// Packages, sorted by name and version.
    pub(super) pins: Vec<Pin>,
}

/// One package at one version.
#[derive(Debug, Serialize)]
pub(super) struct Pin {
    name: String,
    version: String,
    /// Address of the wheel, if no index holds it.
    url: Option<String>,
    /// Environment marker, if not every platform has it.
    marker: Option<String>,
    /// `sha256:…` of each platform's file.
    hashes: Vec<Digest>,
}

/// The requirements of all platforms together; the first file is the default index's and may be empty.
pub(super) fn from_plans(plans: &[Plan]) -> Vec<Requirements> {
    type Wanted = (String, String, Option<WheelPlace>);
    type Pinned = BTreeMap<Wanted, (BTreeSet<Platform>, BTreeSet<Digest>)>;
    let mut indexes: BTreeMap<&str, Pinned> = BTreeMap::from([(DEFAULT_INDEX, Pinned::new())]);
    for plan in plans {
        for LockedWheel { name, version, index, url, digest, .. } in wheels(plan) {
            let pins = indexes.entry(index).or_default();
            let (platforms, digests) = pins.entry((name.clone(), version.clone(), url.clone())).or_default();
            platforms.insert(plan.platform);
            digests.insert(*digest);
        }
    }
    let all: BTreeSet<Platform> = plans.iter().map(|plan| plan.platform).collect();
    let mut slugs = BTreeSet::new();
    let mut files: Vec<Requirements> = indexes
        .into_iter()
        .map(|(index, pinned)| {
            let project = pinned.keys().any(|(_, _, place)| matches!(place, Some(WheelPlace::File(_))));
            let pins = pinned
                .into_iter()
                .map(|((name, version, place), (platforms, hashes))| {
                    let marker = (platforms != all).then(|| marker(&platforms));
                    let url = place.map(|place| match place {
                        WheelPlace::Url(url) => url.to_string(),
                        WheelPlace::File(path) => format!("file://{PROJECT}/{path}"),
                    });
                    Pin { name, version, url, marker, hashes: hashes.into_iter().collect() }
                })
                .collect();
            if index == DEFAULT_INDEX {
                let file = "requirements.txt".to_owned();
                return Requirements { file, index: index.to_owned(), argument: None, address: None, project, pins };
            }
            if index == DIRECT {
                let file = format!("requirements-{}.txt", unique_slug(index, &mut slugs));
                return Requirements { file, index: index.to_owned(), argument: None, address: None, project, pins };
            }
            let slug = unique_slug(index, &mut slugs);
            let argument = format!("INDEX_{}_URL", slug.to_uppercase().replace('-', "_"));
            Requirements {
                file: format!("requirements-{slug}.txt"),
                index: index.to_owned(),
                address: Some(format!("${{{argument}:?is a build argument}}")),
                argument: Some(argument),
                project,
                pins,
            }
        })
        .collect();
    let order = |file: &Requirements| (file.index != DEFAULT_INDEX, file.file.clone());
    files.sort_by_key(order);
    files
}

/// Whether any platform's lock has this distribution.
pub(super) fn contains(plans: &[Plan], name: &str) -> bool {
    plans.iter().any(|plan| wheels(plan).any(|wheel| wheel.name == name))
}

fn wheels(plan: &Plan) -> impl Iterator<Item = &LockedWheel> {
    plan.steps.iter().flat_map(|step| match step {
        Step::Wheels(wheels) => wheels.as_slice(),
        _ => &[],
    })
}

fn marker(platforms: &BTreeSet<Platform>) -> String {
    let machine =
        |platform: &Platform| format!("platform_machine == \"{}\"", machine_name(platform.architecture_name()));
    platforms.iter().map(machine).collect::<Vec<_>>().join(" or ")
}

/// The index's name in letters, digits and `-`, for file names and build arguments, told apart from earlier ones.
fn unique_slug(index: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    let slug: String = index.chars().map(plain).collect();
    let mut candidate = slug.clone();
    let mut count = 1;
    while !taken.insert(candidate.clone()) {
        count += 1;
        candidate = format!("{slug}-{count}");
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alike_indexes_keep_apart() {
        let mut taken = BTreeSet::new();
        assert_eq!(unique_slug("pytorch-cu121", &mut taken), "pytorch-cu121");
        assert_eq!(unique_slug("Acme.Internal", &mut taken), "acme-internal");
        assert_eq!(unique_slug("acme_internal", &mut taken), "acme-internal-2");
    }
}
