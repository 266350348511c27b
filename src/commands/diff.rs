//! `imgforge diff`: what changes between two locks, in versions and in bytes.
//!
//! A lock is compared as the decision it is: stack, frameworks, base, packages, Debian packages, settings of the image and
//! services. Bytes are those of the files named, and `new` are those that a machine which has everything of A must still
//! fetch for B. Exit code 0 whether they differ or not, as a pager or a script wants it; `--exit-code` makes it 1 where
//! they do, as `git diff` has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::{DiffArgs, Format};
use crate::debian::DebianVersion;
use crate::diagnostic::{Failure, Hint};
use crate::lock::{Lock, LockedDeb, LockedPlatform, LockedWheel};
use crate::oci::{Digest, Platform};
use crate::progress::human_bytes;

use super::named::Named;
use super::{print, print_json};

/// Why an argument cannot be compared.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// It names an image.
    #[error("`{argument}` looks like an image, and only locks can be compared")]
    Image {
        /// As given.
        argument: String,
    },
    /// The spec or the folder has no lock beside it.
    #[error("there is no lock at `{path}`")]
    NoLock {
        /// Where it should be.
        path: PathBuf,
        /// The spec, if that is what was named.
        spec: Option<PathBuf>,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Image { .. } => {
                vec![
                    "give two of these: a lock, a spec with a lock beside it, a folder with `imgforge.lock`".to_owned(),
                ]
            }
            Self::NoLock { spec: Some(spec), .. } => vec![format!("run `imgforge lock {}` first", spec.display())],
            Self::NoLock { spec: None, .. } => vec!["run `imgforge lock SPEC` first".to_owned()],
        }
    }
}

pub(super) fn run(arguments: &DiffArgs) -> Result<u8, Failure> {
    let (before_path, before) = read(&arguments.a)?;
    let (after_path, after) = read(&arguments.b)?;
    let difference = Difference::between(&before, &after);
    match arguments.format {
        Format::Json => print_json(&difference.to_json(&before_path, &after_path)),
        Format::Text => print(&difference.to_text()),
    }
    Ok(u8::from(arguments.exit_code && !difference.is_empty()))
}

/// The lock an argument means: the file itself, or the one beside a spec or in a folder.
fn read(argument: &str) -> Result<(PathBuf, Lock), Failure> {
    let argument = match Named::find(argument)? {
        Named::Path(path) => path,
        Named::Image(_) => return Err(Error::Image { argument: argument.to_owned() }.into()),
    };
    let is_spec = argument.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let path = match (argument.is_dir(), is_spec) {
        (true, _) => argument.join("imgforge.lock"),
        (false, true) => Lock::path_for(&argument),
        (false, false) => argument.clone(),
    };
    match Lock::read(&path)? {
        Some(lock) => Ok((path, lock)),
        None => Err(Error::NoLock { path, spec: is_spec.then_some(argument) }.into()),
    }
}

/// One value before and after; `None` where there is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

/// How a package changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Added,
    Removed,
    Up,
    Down,
    /// The same version in another file.
    File,
}

impl Kind {
    fn name(self) -> &'static str {
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
struct PackageChange {
    change: Change,
    kind: Kind,
    /// Bytes of the file before and after.
    sizes: (Option<u64>, Option<u64>),
    /// Platforms it holds for.
    platforms: Vec<Platform>,
}

/// What a lock says of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    version: String,
    size: u64,
    digest: Digest,
}

#[derive(Debug, Default)]
struct Difference {
    /// Sections of plain values, each by its heading.
    sections: Vec<(&'static str, Vec<Change>)>,
    packages: Vec<PackageChange>,
    debs: Vec<PackageChange>,
    services: Vec<PackageChange>,
    /// Bytes of all files before, after, and of those that are new.
    bytes: (u64, u64, u64),
    /// All platforms of both locks.
    platforms: BTreeSet<Platform>,
}

impl Difference {
    fn between(before: &Lock, after: &Lock) -> Self {
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
        let (old, new) = (files(before), files(after));
        let fresh = new.iter().filter(|(digest, _)| !old.contains_key(digest)).map(|(_, size)| size);
        difference.bytes = (old.values().sum(), new.values().sum(), fresh.sum());
        difference
    }

    fn is_empty(&self) -> bool {
        let packages = [&self.packages, &self.debs, &self.services];
        self.sections.iter().all(|(_, changes)| changes.is_empty()) && packages.iter().all(|list| list.is_empty())
    }

    fn to_json(&self, before: &Path, after: &Path) -> Value {
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
        let packages = |list: &[PackageChange]| list.iter().map(package).collect::<Vec<_>>();
        let mut answer = json!({
            "status": if self.is_empty() { "same" } else { "different" },
            "a": before,
            "b": after,
            "packages": packages(&self.packages),
            "debs": packages(&self.debs),
            "service_packages": packages(&self.services),
            "bytes": {"before": self.bytes.0, "after": self.bytes.1, "new": self.bytes.2},
        });
        if let Some(fields) = answer.as_object_mut() {
            for (heading, changes) in &self.sections {
                fields.insert((*heading).to_owned(), changes.iter().map(change).collect());
            }
        }
        answer
    }

    fn to_text(&self) -> String {
        if self.is_empty() {
            return "no difference".to_owned();
        }
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
        let (before, after, new) = self.bytes;
        blocks.push(format!(
            "files: {} before, {} after; {} to fetch for whoever has the first",
            human_bytes(before),
            human_bytes(after),
            human_bytes(new)
        ));
        blocks.join("\n\n")
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
    let package =
        |wheel: &LockedWheel| Package { version: wheel.version.clone(), size: wheel.size, digest: wheel.digest };
    wheels.iter().map(|wheel| (wheel.name.clone(), package(wheel))).collect()
}

fn of_debs(debs: &[LockedDeb]) -> BTreeMap<String, Package> {
    let package = |deb: &LockedDeb| Package { version: deb.version.clone(), size: deb.size, digest: deb.digest };
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

/// The leaves of a value by their paths: `env.OMP_NUM_THREADS`.
fn flatten(values: &mut BTreeMap<String, String>, path: &str, value: &Value) {
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

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing
        .map(|name| Change { name: name.clone(), before: before.get(name).cloned(), after: after.get(name).cloned() })
        .collect()
}

/// Adds what differs on one platform to the list, which holds the same change on several platforms once.
fn add_changes(
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
                sizes: (old.map(|package| package.size), new.map(|package| package.size)),
                platforms: platform.into_iter().collect(),
            }),
        }
    }
    list.sort_by(|one, other| one.change.cmp(&other.change));
}

fn pep440_order(one: &str, other: &str) -> std::cmp::Ordering {
    let parse = |text: &str| text.parse::<pep440_rs::Version>().ok();
    parse(one).cmp(&parse(other))
}

fn debian_order(one: &str, other: &str) -> std::cmp::Ordering {
    let parse = |text: &str| text.parse::<DebianVersion>().ok();
    parse(one).cmp(&parse(other))
}

/// `2 added, 1 removed, 3 newer`.
fn counts(list: &[PackageChange]) -> String {
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

/// Mark, name, versions, note.
type Cells = [String; 4];

fn row(change: &Change, note: String) -> Cells {
    let (mark, versions) = match (&change.before, &change.after) {
        (None, Some(after)) => ("+", after.clone()),
        (Some(before), None) => ("-", before.clone()),
        (before, after) => {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            ("~", format!("{} -> {}", text(before), text(after)))
        }
    };
    [mark.to_owned(), change.name.clone(), versions, note]
}

/// Rows below a heading, columns aligned.
fn block(heading: &str, rows: Vec<Cells>) -> String {
    /// A longer value pushes only its own row's note to the right.
    const WIDEST: usize = 44;
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        widths.filter(|width| *width <= WIDEST).max().unwrap_or(0)
    };
    let (name, versions) = (width(1), width(2));
    let lines = rows.iter().map(|[mark, title, value, note]| {
        format!("  {mark} {title:<name$}  {value:<versions$}  {note}").trim_end().to_owned()
    });
    std::iter::once(heading.to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}
