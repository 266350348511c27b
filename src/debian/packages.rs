//! `Packages` indexes as a set: what exists for one architecture, newest first, and who provides which name.

use std::collections::BTreeSet;
use std::io::{self, Read};

use crate::lock::{LockedArchive, LockedDeb};
use crate::oci::Digest;

use super::error::Error;
use super::relation::{Relation, RelationGroup};
use super::stanza::Stanza;
use super::table::{Table, digest_index};
use super::version::DebianVersion;

/// One package of an index. Relations stay text until the resolver needs them.
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
    /// Reads an index entry; `None` if it is of another architecture, lacks what a download needs, or its path leaves the
    /// archive.
    pub(super) fn from_stanza(archive: &str, architecture: &str, stanza: &Stanza) -> Option<Self> {
        let field = |name: &str| stanza.get(name).map(str::to_owned);
        stanza.get("Architecture").filter(|found| *found == "all" || *found == architecture)?;
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

/// All packages of some suites for one architecture. Lookups read from the store, which may be damaged: the error is
/// [`Error::DamagedIndex`], and a new set answers.
#[derive(Debug)]
pub struct PackageSet {
    architecture: String,
    tables: Vec<Table>,
    states: Vec<LockedArchive>,
}

impl PackageSet {
    /// An empty set for `amd64` or `arm64`.
    pub fn new(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), tables: Vec::new(), states: Vec::new() }
    }

    /// `amd64` or `arm64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The states of the suites in it, sorted.
    pub fn states(&self) -> &[LockedArchive] {
        &self.states
    }

    /// Adds a `Packages` file of the archive called `archive`. Entries without what a download needs, and those of other
    /// architectures, are passed over.
    pub fn read(&mut self, archive: &str, source: impl Read) -> io::Result<()> {
        let table = digest_index(source, &self.architecture)?;
        self.tables.push(Table::from_bytes(archive, &self.architecture, table)?);
        Ok(())
    }

    /// Adds what is known of an archive's suite. Of equal versions the one that was added first is in front.
    pub(super) fn add(&mut self, tables: Vec<Table>, state: Option<LockedArchive>) {
        self.tables.extend(tables);
        self.states.extend(state);
        self.states.sort();
    }

    /// Versions of a real package, newest first.
    pub fn versions(&self, name: &str) -> Result<Vec<&Package>, Error> {
        let mut packages = Vec::new();
        for table in &self.tables {
            packages.extend(table.packages(name).map_err(damaged)?);
        }
        packages.sort_by(|left, right| right.version.cmp(&left.version));
        Ok(packages)
    }

    /// Newest versions of the packages that provide `name`: required before optional ones, then by name.
    pub fn providers(&self, name: &str) -> Result<Vec<&Package>, Error> {
        let mut names = BTreeSet::new();
        for table in &self.tables {
            names.extend(table.providers(name).map_err(damaged)?);
        }
        let mut packages = Vec::new();
        for name in names {
            packages.extend(self.versions(&name)?.into_iter().next());
        }
        packages.sort_by_key(|package| (package.priority, &package.name));
        Ok(packages)
    }

    /// All names of real packages, sorted. Reads everything there is: for messages.
    pub fn names(&self) -> Result<BTreeSet<String>, Error> {
        let mut names = BTreeSet::new();
        for table in &self.tables {
            names.extend(table.names().map_err(damaged)?);
        }
        Ok(names)
    }
}

fn damaged(cause: io::Error) -> Error {
    Error::DamagedIndex { cause }
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
        let versions = set.versions("a").expect("read");
        let versions: Vec<_> =
            versions.iter().map(|package| (package.version.as_str(), package.archive.as_str())).collect();
        assert_eq!(versions, [("1.0-1+deb12u1", "debian-security"), ("1.0-1", "debian")]);
        assert_eq!(set.names().expect("read").into_iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!(set.providers("virtual").expect("read").len(), 1);
        assert!(set.providers("a").expect("read").is_empty());
    }
}
