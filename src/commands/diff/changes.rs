//! Values and packages before and after.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::debian::DebianVersion;
use crate::oci::{Digest, Platform};

/// One value before and after; `None` where there is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// How a package changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Added,
    Removed,
    Up,
    Down,
    /// The same version in another file.
    File,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Up => "up",
            Self::Down => "down",
            Self::File => "file",
        }
    }
}

/// One package that changed, on some of the platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackageChange {
    pub(super) change: Change,
    pub(super) kind: Kind,
    /// Bytes of the file before and after.
    pub(super) sizes: (Option<u64>, Option<u64>),
    /// Platforms it holds for.
    pub(super) platforms: Vec<Platform>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) version: String,
    /// Of its file, if that is known.
    pub(super) size: Option<u64>,
    pub(super) digest: Option<Digest>,
}

/// The leaves of a value by their paths: `env.OMP_NUM_THREADS`.
pub(super) fn flatten(values: &mut BTreeMap<String, String>, path: &str, value: &Value) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| flatten(values, &below(name), value)),
        Value::Null => {}
        Value::String(text) => {
            values.insert(path.to_owned(), text.clone());
        }
        other => {
            values.insert(path.to_owned(), other.to_string());
        }
    }
}

pub(super) fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing
        .map(|name| Change { name: name.clone(), before: before.get(name).cloned(), after: after.get(name).cloned() })
        .collect()
}

/// Adds what differs on one platform to the list, which holds the same change on several platforms once.
pub(super) fn add_changes(
    list: &mut Vec<PackageChange>,
    platform: Option<Platform>,
    before: &BTreeMap<String, Package>,
    after: &BTreeMap<String, Package>,
    order: fn(&str, &str) -> std::cmp::Ordering,
) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        let kind = match (old, new) {
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
            (Some(old), Some(new)) if old == new => continue,
            (Some(old), Some(new)) if old.version == new.version => Kind::File,
            (Some(old), Some(new)) if order(&old.version, &new.version).is_gt() => Kind::Down,
            _ => Kind::Up,
        };
        let version = |package: Option<&Package>| package.map(|package| package.version.clone());
        let change = Change { name: name.clone(), before: version(old), after: version(new) };
        match list.iter_mut().find(|known| known.change == change && known.kind == kind) {
            Some(known) => known.platforms.extend(platform),
            None => list.push(PackageChange {
                change,
                kind,
                sizes: (old.and_then(|package| package.size), new.and_then(|package| package.size)),
                platforms: platform.into_iter().collect(),
            }),
        }
    }
    list.sort_by(|one, other| one.change.cmp(&other.change));
}

pub(super) fn pep440_order(one: &str, other: &str) -> std::cmp::Ordering {
    let parse = |text: &str| text.parse::<pep440_rs::Version>().ok();
    parse(one).cmp(&parse(other))
}

pub(super) fn debian_order(one: &str, other: &str) -> std::cmp::Ordering {
    let parse = |text: &str| text.parse::<DebianVersion>().ok();
    parse(one).cmp(&parse(other))
}

/// `2 added, 1 removed, 3 newer`.
pub(super) fn counts(list: &[PackageChange]) -> String {
    let words = [
        (Kind::Added, "added"),
        (Kind::Removed, "removed"),
        (Kind::Up, "newer"),
        (Kind::Down, "older"),
        (Kind::File, "in another file"),
    ];
    let count = |kind: Kind| list.iter().filter(|package| package.kind == kind).count();
    let parts = words.iter().filter(|(kind, _)| count(*kind) > 0);
    parts.map(|(kind, word)| format!("{} {word}", count(*kind))).collect::<Vec<_>>().join(", ")
}
