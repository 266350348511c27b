//! `Packages` indexes as a set: what exists for one architecture, newest first, and who provides which name.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use crate::lock::LockedDeb;
use crate::oci::Digest;

use super::relation::{Relation, RelationGroup};
use super::stanza::{Stanza, StanzaReader};
use super::version::DebianVersion;

/// One package of an index. Relations stay text until the resolver needs them: an index has sixty thousand packages, a
/// closure a few hundred.
#[derive(Debug, Clone)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// Its version.
    pub version: DebianVersion,
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// Archive name of the settings.
    pub archive: String,
    /// Path below the archive's root.
    pub path: String,
    /// Bytes of the file.
    pub size: u64,
    /// sha256 of the file.
    pub digest: Digest,
    /// `Priority` as a rank: 0 is `required`, 4 and above is `extra` or none.
    pub priority: u8,
    relations: Vec<(&'static str, String)>,
}

/// Fields of a stanza that the resolver reads.
const RELATION_FIELDS: [&str; 5] = ["Pre-Depends", "Depends", "Provides", "Conflicts", "Breaks"];

impl Package {
    /// Reads an index entry; `None` if it lacks what a download needs, or its path leaves the archive.
    fn from_stanza(archive: &str, stanza: &Stanza) -> Option<Self> {
        let field = |name: &str| stanza.get(name).map(str::to_owned);
        let path = field("Filename")?;
        let path = path.strip_prefix("./").unwrap_or(&path);
        if path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return None;
        }
        let relation = |name: &'static str| field(name).map(|text| (name, text.replace('\n', " ")));
        Some(Self {
            name: field("Package")?,
            version: field("Version")?.parse().ok()?,
            architecture: field("Architecture")?,
            archive: archive.to_owned(),
            path: path.to_owned(),
            size: field("Size")?.parse().ok()?,
            digest: Digest::from_hex(&field("SHA256")?).ok()?,
            priority: match stanza.get("Priority") {
                Some("required") => 0,
                Some("important") => 1,
                Some("standard") => 2,
                Some("optional") => 3,
                _ => 4,
            },
            relations: RELATION_FIELDS.into_iter().filter_map(relation).collect(),
        })
    }

    fn relation(&self, name: &str) -> &str {
        self.relations.iter().find(|(field, _)| *field == name).map_or("", |(_, text)| text)
    }

    /// `Pre-Depends` and `Depends`, in this order.
    pub fn depends(&self, architecture: &str) -> Vec<RelationGroup> {
        let mut groups = RelationGroup::parse_field(self.relation("Pre-Depends"), architecture);
        groups.extend(RelationGroup::parse_field(self.relation("Depends"), architecture));
        groups
    }

    /// `Provides`; a version is given as `=`.
    pub fn provides(&self, architecture: &str) -> Vec<Relation> {
        RelationGroup::parse_list(self.relation("Provides"), architecture)
    }

    /// `Conflicts` and `Breaks`: what may not be there beside this package.
    pub fn conflicts(&self, architecture: &str) -> Vec<Relation> {
        let mut relations = RelationGroup::parse_list(self.relation("Conflicts"), architecture);
        relations.extend(RelationGroup::parse_list(self.relation("Breaks"), architecture));
        relations
    }

    /// The lock's entry for this package.
    pub fn to_locked(&self) -> LockedDeb {
        LockedDeb {
            name: self.name.clone(),
            version: self.version.to_string(),
            architecture: self.architecture.clone(),
            archive: self.archive.clone(),
            path: self.path.clone(),
            size: self.size,
            digest: self.digest,
        }
    }
}

/// All packages of some suites for one architecture.
#[derive(Debug, Clone)]
pub struct PackageSet {
    architecture: String,
    by_name: BTreeMap<String, Vec<Package>>,
    providers: BTreeMap<String, Vec<String>>,
}

impl PackageSet {
    /// An empty set for `amd64` or `arm64`.
    pub fn new(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), by_name: BTreeMap::new(), providers: BTreeMap::new() }
    }

    /// `amd64` or `arm64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Reads a `Packages` file of the archive called `archive`. Entries without what a download needs, and those of other
    /// architectures, are passed over.
    pub fn read(&mut self, archive: &str, source: impl BufRead) -> io::Result<()> {
        for stanza in StanzaReader::new(source) {
            if let Some(package) = Package::from_stanza(archive, &stanza?) {
                self.insert(package);
            }
        }
        Ok(())
    }

    /// Adds what another set holds.
    pub fn merge(&mut self, other: Self) {
        for package in other.by_name.into_values().flatten() {
            self.insert(package);
        }
    }

    /// Keeps the versions of a name newest first; of equal versions the one that came first stays in front.
    fn insert(&mut self, package: Package) {
        if package.architecture != "all" && package.architecture != self.architecture {
            return;
        }
        for provided in package.provides(&self.architecture) {
            let providers = self.providers.entry(provided.name).or_default();
            if !providers.contains(&package.name) {
                providers.push(package.name.clone());
            }
        }
        let versions = self.by_name.entry(package.name.clone()).or_default();
        let at = versions.partition_point(|other| other.version >= package.version);
        versions.insert(at, package);
    }

    /// Versions of a real package, newest first.
    pub fn versions(&self, name: &str) -> &[Package] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Newest versions of the packages that provide `name`: required before optional ones, then by name.
    pub fn providers(&self, name: &str) -> Vec<&Package> {
        let names = self.providers.get(name).map_or(&[][..], Vec::as_slice);
        let mut packages: Vec<_> = names.iter().filter_map(|name| self.versions(name).first()).collect();
        packages.sort_by_key(|package| (package.priority, &package.name));
        packages
    }

    /// All names of real packages, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::index_entry;
    use super::*;

    #[test]
    fn keeps_the_newest_in_front_and_passes_over_what_is_unusable() {
        let mut set = PackageSet::new("amd64");
        let old = index_entry("a", "1.0-1", "");
        let new = index_entry("a", "1.0-1+deb12u1", "Provides: virtual (= 2), other\n");
        let outside = old.replace("Filename: pool/", "Filename: ../");
        let foreign = old.replace("Architecture: amd64", "Architecture: i386");
        set.read("debian", format!("{old}\n{outside}\n{foreign}\nPackage: b\n").as_bytes()).expect("readable");
        set.read("debian-security", new.as_bytes()).expect("readable");
        let versions: Vec<_> =
            set.versions("a").iter().map(|package| (package.version.as_str(), package.archive.as_str())).collect();
        assert_eq!(versions, [("1.0-1+deb12u1", "debian-security"), ("1.0-1", "debian")]);
        assert_eq!(set.names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(set.providers("virtual").len(), 1);
        assert!(set.providers("a").is_empty());
    }
}
