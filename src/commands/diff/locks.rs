//! Two locks side by side, as the decisions they are: stack, frameworks, base, packages, Debian packages, settings of the
//! image and services.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::lock::{Lock, LockedDeb, LockedPlatform, LockedWheel};
use crate::oci::{Digest, Platform};
use crate::progress::human_bytes;

use super::Bytes;
use super::changes::{
    Change, Kind, Package, PackageChange, add_changes, changes, counts, debian_order, flatten, pep440_order,
};
use super::table::{block, row};

/// What two environments differ in.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Sections of plain values, each by its heading.
    pub(super) sections: Vec<(&'static str, Vec<Change>)>,
    pub(super) packages: Vec<PackageChange>,
    pub(super) debs: Vec<PackageChange>,
    pub(super) services: Vec<PackageChange>,
    /// Of all files; nothing if the files are not known.
    pub(super) bytes: Option<Bytes>,
    /// All platforms of both.
    pub(super) platforms: BTreeSet<Platform>,
}

impl Difference {
    /// Of two locks.
    pub(super) fn between(before: &Lock, after: &Lock) -> Self {
        let frameworks = |lock: &Lock| -> BTreeMap<String, String> {
            let frameworks = lock.frameworks.iter().flat_map(|framework| {
                let own = (framework.package.clone(), format!("{} ({})", framework.version, framework.build));
                std::iter::once(own).chain(framework.with.clone())
            });
            frameworks.collect()
        };
        let targets = |lock: &Lock| -> BTreeMap<String, String> {
            let card = |gpu: &Option<String>| gpu.clone().unwrap_or_else(|| "no card".to_owned());
            lock.targets.iter().map(|target| (target.name.clone(), card(&target.gpu))).collect()
        };
        let bases = |lock: &Lock| -> BTreeMap<String, String> {
            let base = |platform: &LockedPlatform| (platform.name.to_string(), describe_base(platform));
            lock.platforms.iter().map(base).collect()
        };
        let settings = |lock: &Lock| {
            let mut values = BTreeMap::from([("name".to_owned(), lock.name.clone())]);
            flatten(&mut values, "", &serde_json::to_value(&lock.image).unwrap_or_default());
            values
        };
        let services = |lock: &Lock| {
            let mut values = BTreeMap::new();
            for service in &lock.services {
                let mut value = serde_json::to_value(service).unwrap_or_default();
                if let Some(fields) = value.as_object_mut() {
                    fields.remove("wheel");
                    fields.remove("kind");
                }
                values.insert(service.kind.clone(), "present".to_owned());
                flatten(&mut values, &service.kind, &value);
            }
            values
        };
        let stack = |lock: &Lock| {
            let mut values = BTreeMap::new();
            flatten(&mut values, "", &serde_json::to_value(&lock.stack).unwrap_or_default());
            values
        };
        let sections = vec![
            ("stack", changes(&stack(before), &stack(after))),
            ("frameworks", changes(&frameworks(before), &frameworks(after))),
            ("targets", changes(&targets(before), &targets(after))),
            ("base", changes(&bases(before), &bases(after))),
            ("image", changes(&settings(before), &settings(after))),
            ("services", changes(&services(before), &services(after))),
        ];
        let platforms: BTreeSet<Platform> =
            before.platforms.iter().chain(&after.platforms).map(|platform| platform.name).collect();
        let of_platform =
            |lock: &Lock, platform: Platform, pick: &dyn Fn(&LockedPlatform) -> BTreeMap<String, Package>| {
                lock.platforms.iter().find(|known| known.name == platform).map(pick).unwrap_or_default()
            };
        let mut difference = Self { sections, platforms, ..Self::default() };
        for platform in difference.platforms.clone() {
            let wheels = |locked: &LockedPlatform| of_wheels(&locked.wheels);
            let (old, new) = (of_platform(before, platform, &wheels), of_platform(after, platform, &wheels));
            add_changes(&mut difference.packages, Some(platform), &old, &new, pep440_order);
            let debs = |locked: &LockedPlatform| of_debs(&locked.debs);
            let (old, new) = (of_platform(before, platform, &debs), of_platform(after, platform, &debs));
            add_changes(&mut difference.debs, Some(platform), &old, &new, debian_order);
        }
        let of_services = |lock: &Lock| {
            let wheels = lock.services.iter().flat_map(|service| &service.wheels);
            of_wheels(&wheels.cloned().collect::<Vec<_>>())
        };
        add_changes(&mut difference.services, None, &of_services(before), &of_services(after), pep440_order);
        difference.bytes = Some(Bytes::between(&files(before), &files(after)));
        difference
    }

    pub(super) fn is_empty(&self) -> bool {
        let packages = [&self.packages, &self.debs, &self.services];
        self.sections.iter().all(|(_, changes)| changes.is_empty()) && packages.iter().all(|list| list.is_empty())
    }

    /// The members of the answer.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let change = |change: &Change| json!({"name": change.name, "before": change.before, "after": change.after});
        let package = |package: &PackageChange| {
            json!({
                "name": package.change.name,
                "change": package.kind.name(),
                "before": package.change.before,
                "after": package.change.after,
                "size_before": package.sizes.0,
                "size_after": package.sizes.1,
                "platforms": package.platforms,
            })
        };
        let packages = |list: &[PackageChange]| list.iter().map(package).collect::<Value>();
        let lists =
            [("packages", &self.packages), ("debs", &self.debs), ("service_packages", &self.services)].into_iter();
        let mut members: Map<String, Value> = lists.map(|(name, list)| (name.to_owned(), packages(list))).collect();
        if let Some(bytes) = &self.bytes {
            members.insert("bytes".to_owned(), bytes.to_json());
        }
        for (heading, changes) in &self.sections {
            members.insert((*heading).to_owned(), changes.iter().map(change).collect());
        }
        members
    }

    /// A block of text for each kind of thing that differs.
    pub(super) fn to_blocks(&self) -> Vec<String> {
        let mut blocks: Vec<String> = Vec::new();
        for (heading, changes) in self.sections.iter().filter(|(_, changes)| !changes.is_empty()) {
            let rows = changes.iter().map(|change| row(change, String::new()));
            blocks.push(block(heading, rows.collect()));
        }
        let packages =
            [("packages", &self.packages), ("debian packages", &self.debs), ("packages of services", &self.services)];
        for (heading, list) in packages.iter().filter(|(_, list)| !list.is_empty()) {
            let rows = list.iter().map(|package| row(&package.change, self.note(package)));
            blocks.push(block(&format!("{heading}: {}", counts(list)), rows.collect()));
        }
        blocks
    }

    /// What stands behind a package's versions: the direction, the size, the platforms where it is not all of them.
    fn note(&self, package: &PackageChange) -> String {
        let mut notes = Vec::new();
        match package.kind {
            Kind::Down => notes.push("older".to_owned()),
            Kind::File => notes.push("same version, another file".to_owned()),
            Kind::Added | Kind::Removed | Kind::Up => {}
        }
        match package.sizes {
            (Some(before), Some(after)) if human_bytes(before) != human_bytes(after) => {
                notes.push(format!("{} -> {}", human_bytes(before), human_bytes(after)));
            }
            (_, Some(size)) | (Some(size), None) => notes.push(human_bytes(size)),
            (None, None) => {}
        }
        if !package.platforms.is_empty() && package.platforms.len() < self.platforms.len() {
            let names: Vec<String> = package.platforms.iter().map(ToString::to_string).collect();
            notes.push(format!("{} only", names.join(", ")));
        }
        notes.join(", ")
    }
}

fn of_wheels(wheels: &[LockedWheel]) -> BTreeMap<String, Package> {
    let package = |wheel: &LockedWheel| Package {
        version: wheel.version.clone(),
        size: Some(wheel.size),
        digest: Some(wheel.digest),
    };
    wheels.iter().map(|wheel| (wheel.name.clone(), package(wheel))).collect()
}

fn of_debs(debs: &[LockedDeb]) -> BTreeMap<String, Package> {
    let package =
        |deb: &LockedDeb| Package { version: deb.version.clone(), size: Some(deb.size), digest: Some(deb.digest) };
    debs.iter().map(|deb| (deb.name.clone(), package(deb))).collect()
}

/// Every file of a lock with its size; one that two platforms share counts once.
fn files(lock: &Lock) -> BTreeMap<Digest, u64> {
    let wheels = lock.platforms.iter().flat_map(|platform| &platform.wheels);
    let wheels = wheels.chain(lock.services.iter().flat_map(|service| &service.wheels));
    let debs = lock.platforms.iter().flat_map(|platform| &platform.debs);
    wheels.map(|wheel| (wheel.digest, wheel.size)).chain(debs.map(|deb| (deb.digest, deb.size))).collect()
}

/// `debian bookworm`, `python:3.12-slim-bookworm@sha256:0123456789ab`.
fn describe_base(platform: &LockedPlatform) -> String {
    let base = &platform.base;
    let name = match (&base.reference, &base.suite) {
        (Some(reference), _) => reference.clone(),
        (None, Some(suite)) => format!("{} {suite}", base.kind),
        (None, None) => base.kind.clone(),
    };
    match &base.digest {
        Some(digest) => format!("{name}@{}", digest.to_string().chars().take(19).collect::<String>()),
        None => name,
    }
}
