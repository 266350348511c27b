//! The closure of some packages: depth first over `Pre-Depends` and `Depends`, the way apt decides simple cases.
//!
//! For each relation: something already there wins; then alternatives in their order, real packages before providers,
//! newer versions before older ones. An alternative whose own closure fails is undone and the next one tried.
//! `Recommends` do not count. The result depends only on the arguments.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::suggestion;
use crate::lock::LockedDeb;

use super::error::Error;
use super::packages::{Package, PackageSet};
use super::relation::{Relation, RelationGroup};
use super::version::DebianVersion;

/// Most packages tried before giving up; a closure of a thousand packages takes little more than a thousand.
const MAX_STEPS: usize = 100_000;

/// A package that somebody asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Name, and version if it matters.
    pub relation: Relation,
    /// Who asked, for messages: "the base", "`system` in the spec".
    pub required_by: String,
}

impl Wanted {
    /// Any version of `name`.
    pub fn named(name: &str, required_by: &str) -> Self {
        Self { relation: Relation::any(name), required_by: required_by.to_owned() }
    }
}

/// A package that a base image has already.
#[derive(Debug, Clone)]
pub struct InstalledPackage {
    /// Package name.
    pub name: String,
    /// Its version.
    pub version: DebianVersion,
    /// Names it provides; a version is given as `=`.
    pub provides: Vec<Relation>,
    /// What it needs.
    pub depends: Vec<RelationGroup>,
    /// What may not be beside it.
    pub conflicts: Vec<Relation>,
}

/// The files to fetch so that `wanted` works beside `installed`, sorted by package name. Packages that are installed and
/// good enough are not among them; one that must become newer is.
pub fn resolve(
    packages: &PackageSet,
    wanted: &[Wanted],
    installed: &[InstalledPackage],
) -> Result<Vec<LockedDeb>, Error> {
    let installed = installed.iter().map(|package| (package.name.as_str(), package)).collect();
    let mut solver = Solver {
        packages,
        installed,
        chosen: BTreeMap::new(),
        journal: Vec::new(),
        upgrading: BTreeSet::new(),
        steps: 0,
    };
    let result = solver.run(wanted);
    if solver.steps > MAX_STEPS {
        let names: Vec<_> = wanted.iter().map(|wanted| format!("`{}`", wanted.relation.name)).collect();
        return Err(Error::TooComplex { wanted: names.join(", ") });
    }
    result?;
    Ok(solver.chosen.values().map(|chosen| chosen.package.to_locked()).collect())
}

/// A package with its relations read.
struct Chosen<'a> {
    package: &'a Package,
    provides: Vec<Relation>,
    conflicts: Vec<Relation>,
}

struct Solver<'a> {
    packages: &'a PackageSet,
    installed: BTreeMap<&'a str, &'a InstalledPackage>,
    chosen: BTreeMap<&'a str, Chosen<'a>>,
    /// Names in the order they were chosen, so that a failed alternative can be undone.
    journal: Vec<&'a str>,
    /// Installed packages being made newer because something conflicts with the installed version.
    upgrading: BTreeSet<&'a str>,
    steps: usize,
}

/// What is there, chosen or installed, in one shape.
struct Present<'p> {
    name: &'p str,
    version: &'p DebianVersion,
    provides: &'p [Relation],
    conflicts: &'p [Relation],
}

impl<'a> Solver<'a> {
    fn run(&mut self, wanted: &[Wanted]) -> Result<(), Error> {
        let mut roots = Vec::new();
        // All roots first: what was asked for by name decides alternatives anywhere below.
        for wanted in wanted {
            let relation = &wanted.relation;
            let group = RelationGroup(vec![relation.clone()]);
            if self.is_satisfied(&group) {
                continue;
            }
            let candidate = self.candidates(&group)?.into_iter().next();
            let Some(package) = candidate else { return Err(self.unknown(wanted)?) };
            let mut chain = vec![wanted.required_by.clone()];
            self.add(package, &mut chain)?;
            roots.push((package, wanted.required_by.clone()));
        }
        for (package, required_by) in roots {
            self.expand(package, &mut vec![required_by])?;
        }
        self.repair_installed()
    }

    /// Makes installed packages newer whose own relations the chosen ones broke, until none is left.
    fn repair_installed(&mut self) -> Result<(), Error> {
        loop {
            let broken = self.installed.values().find_map(|package| {
                let untouched = !self.chosen.contains_key(package.name.as_str());
                let broken = package.depends.iter().find(|group| {
                    let touched = group.0.iter().any(|relation| self.chosen.contains_key(relation.name.as_str()));
                    touched && !self.is_satisfied(group)
                });
                broken.filter(|_| untouched).map(|group| (*package, group))
            });
            let Some((package, group)) = broken else { return Ok(()) };
            let mut chain = vec![format!("the base image's `{}`", package.name)];
            match self.newest(&package.name)? {
                Some(newest) if newest.version > package.version => self.choose(newest, &mut chain)?,
                _ => return Err(self.unsatisfiable(&package.name, group, &chain)?),
            }
        }
    }

    fn present(&self) -> impl Iterator<Item = Present<'_>> {
        let chosen = self.chosen.values().map(|chosen| Present {
            name: &chosen.package.name,
            version: &chosen.package.version,
            provides: &chosen.provides,
            conflicts: &chosen.conflicts,
        });
        let installed = self.installed.values().filter(|package| !self.chosen.contains_key(package.name.as_str()));
        chosen.chain(installed.map(|package| Present {
            name: &package.name,
            version: &package.version,
            provides: &package.provides,
            conflicts: &package.conflicts,
        }))
    }

    /// Whether what is there fulfils one of the alternatives.
    fn is_satisfied(&self, group: &RelationGroup) -> bool {
        group.0.iter().any(|relation| {
            let version = match (self.chosen.get(relation.name.as_str()), self.installed.get(relation.name.as_str())) {
                (Some(chosen), _) => Some(&chosen.package.version),
                (None, installed) => installed.map(|package| &package.version),
            };
            version.is_some_and(|version| relation.allows(version))
                || self.present().any(|present| provides(present.provides, relation))
        })
    }

    /// Packages that would fulfil a relation, in the order to try them.
    fn candidates(&self, group: &RelationGroup) -> Result<Vec<&'a Package>, Error> {
        let packages = self.packages;
        let mut candidates = Vec::new();
        for relation in &group.0 {
            let versions = packages.versions(&relation.name)?.into_iter();
            candidates.extend(versions.filter(|package| relation.allows(&package.version)));
            let providers = packages.providers(&relation.name)?.into_iter();
            candidates.extend(providers.filter(|package| {
                package.name != relation.name && provides(&package.provides(packages.architecture()), relation)
            }));
        }
        candidates.retain(|package| !self.chosen.contains_key(package.name.as_str()));
        Ok(candidates)
    }

    fn newest(&self, name: &str) -> Result<Option<&'a Package>, Error> {
        Ok(self.packages.versions(name)?.into_iter().next())
    }

    fn choose(&mut self, package: &'a Package, chain: &mut Vec<String>) -> Result<(), Error> {
        let mark = self.journal.len();
        let result = self.add(package, chain).and_then(|()| self.expand(package, chain));
        if result.is_err() {
            for name in self.journal.drain(mark..) {
                self.chosen.remove(name);
                self.upgrading.remove(name);
            }
        }
        result
    }

    /// Takes a package, without its dependencies, if nothing there excludes it.
    fn add(&mut self, package: &'a Package, chain: &mut Vec<String>) -> Result<(), Error> {
        self.steps += 1;
        let architecture = self.packages.architecture();
        let chosen =
            Chosen { package, provides: package.provides(architecture), conflicts: package.conflicts(architecture) };
        if self.chosen.contains_key(package.name.as_str()) {
            return Ok(());
        }
        while let Some((conflict, other)) = self.conflict(&chosen, chain) {
            let newer = self.newer_installed(&other)?.filter(|_| self.steps <= MAX_STEPS);
            match newer.filter(|newer| self.upgrading.insert(&newer.name)) {
                Some(newer) => self.choose(newer, chain)?,
                None => return Err(conflict),
            }
        }
        self.journal.push(&package.name);
        self.chosen.insert(&package.name, chosen);
        Ok(())
    }

    /// A newer version of a package that only the base image has so far.
    fn newer_installed(&self, name: &str) -> Result<Option<&'a Package>, Error> {
        let installed = self.installed.get(name).filter(|_| !self.chosen.contains_key(name));
        let Some(installed) = installed else { return Ok(None) };
        Ok(self.newest(name)?.filter(|newest| newest.version > installed.version))
    }

    /// Something there that excludes `new` or is excluded by it, with its name.
    fn conflict(&self, new: &Chosen<'_>, chain: &[String]) -> Option<(Error, String)> {
        for present in self.present().filter(|present| present.name != new.package.name) {
            let excluded = new
                .conflicts
                .iter()
                .find(|relation| matches_package(relation, present.name, present.version, present.provides));
            let excludes = present
                .conflicts
                .iter()
                .find(|relation| matches_package(relation, &new.package.name, &new.package.version, &new.provides));
            let (package, other, relation) = match (excluded, excludes) {
                (Some(relation), _) => (new.package.name.as_str(), present.name, relation),
                (None, Some(relation)) => (present.name, new.package.name.as_str(), relation),
                (None, None) => continue,
            };
            let error = Error::Conflict {
                package: package.to_owned(),
                relation: relation.to_string(),
                other: other.to_owned(),
                chain: chain.to_vec(),
            };
            return Some((error, present.name.to_owned()));
        }
        None
    }

    fn expand(&mut self, package: &'a Package, chain: &mut Vec<String>) -> Result<(), Error> {
        chain.push(format!("`{}`", package.name));
        let groups = package.depends(self.packages.architecture());
        let result = groups.iter().try_for_each(|group| self.satisfy(&package.name, group, chain));
        chain.pop();
        result
    }

    fn satisfy(&mut self, package: &str, group: &RelationGroup, chain: &mut Vec<String>) -> Result<(), Error> {
        if self.is_satisfied(group) {
            return Ok(());
        }
        let mut first_failure = None;
        for candidate in self.candidates(group)? {
            if self.steps > MAX_STEPS {
                break;
            }
            match self.choose(candidate, chain) {
                Ok(()) => return Ok(()),
                // Says nothing about the alternative: the next one would be chosen for no reason.
                Err(error @ Error::DamagedIndex { .. }) => return Err(error),
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        Err(match first_failure {
            Some(error) => error,
            None => self.unsatisfiable(package, group, chain)?,
        })
    }

    fn unsatisfiable(&self, package: &str, group: &RelationGroup, chain: &[String]) -> Result<Error, Error> {
        let mut available = Vec::new();
        for relation in &group.0 {
            let versions = self.packages.versions(&relation.name)?.into_iter();
            available.extend(versions.map(|package| format!("`{}` {}", package.name, package.version)));
        }
        let (package, relation) = (package.to_owned(), group.to_string());
        Ok(Error::Unsatisfiable { package, relation, chain: chain.to_vec(), available })
    }

    fn unknown(&self, wanted: &Wanted) -> Result<Error, Error> {
        let name = &wanted.relation.name;
        if !self.packages.versions(name)?.is_empty() {
            let chain = [wanted.required_by.clone()];
            return self.unsatisfiable(&wanted.required_by, &RelationGroup(vec![wanted.relation.clone()]), &chain);
        }
        let names = self.packages.names()?;
        Ok(Error::UnknownPackage {
            name: name.clone(),
            required_by: wanted.required_by.clone(),
            suggestion: suggestion(name, names.iter().map(String::as_str)).map(str::to_owned),
        })
    }
}

/// Whether one of `provided` fulfils `relation`.
fn provides(provided: &[Relation], relation: &Relation) -> bool {
    provided.iter().any(|provided| {
        provided.name == relation.name
            && relation.allows_provided(provided.version.as_ref().map(|(_, version)| version))
    })
}

fn matches_package(relation: &Relation, name: &str, version: &DebianVersion, provided: &[Relation]) -> bool {
    relation.name == name && relation.allows(version) || provides(provided, relation)
}

#[cfg(test)]
mod tests {
    use super::super::status::installed_packages;
    use super::super::testing::index_entry;
    use super::*;

    fn packages(entries: &[(&str, &str, &str)]) -> PackageSet {
        let mut set = PackageSet::new("amd64");
        for (name, version, more) in entries {
            set.read("debian", index_entry(name, version, more).as_bytes()).expect("readable");
        }
        set
    }

    fn wanted(names: &[&str]) -> Vec<Wanted> {
        names.iter().map(|name| Wanted::named(name, "`system`")).collect()
    }

    /// `name version` of each package chosen.
    fn chosen(set: &PackageSet, names: &[&str], status: &str) -> Result<Vec<String>, Error> {
        let debs = resolve(set, &wanted(names), &installed_packages(status.as_bytes(), "amd64"))?;
        Ok(debs.into_iter().map(|deb| format!("{} {}", deb.name, deb.version)).collect())
    }

    #[test]
    fn follows_depends_and_pre_depends_to_the_end() {
        let set = packages(&[
            ("a", "1", "Depends: b (>= 2), c\n"),
            ("b", "2", "Pre-Depends: d\nRecommends: e\n"),
            ("c", "1", "Depends: a\n"),
            ("d", "1", ""),
            ("e", "1", ""),
        ]);
        assert_eq!(chosen(&set, &["a"], "").expect("resolved"), ["a 1", "b 2", "c 1", "d 1"]);
    }

    #[test]
    fn takes_the_first_alternative_that_works_and_keeps_what_is_there() {
        let set = packages(&[
            ("a", "1", "Depends: missing | broken | c | d\n"),
            ("broken", "1", "Depends: nowhere\n"),
            ("c", "1", "Depends: c-data\n"),
            ("c-data", "1", ""),
            ("d", "1", ""),
        ]);
        assert_eq!(chosen(&set, &["a"], "").expect("resolved"), ["a 1", "c 1", "c-data 1"]);
        assert_eq!(chosen(&set, &["a", "d"], "").expect("resolved"), ["a 1", "d 1"]);
        let status = "Package: d\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n";
        assert_eq!(chosen(&set, &["a"], status).expect("resolved"), ["a 1"]);
    }

    #[test]
    fn prefers_real_packages_then_required_providers() {
        let set = packages(&[
            ("a", "1", "Depends: awk\n"),
            ("gawk", "1", "Priority: optional\nProvides: awk\n"),
            ("mawk", "1", "Priority: required\nProvides: awk\n"),
            ("b", "1", "Depends: real\n"),
            ("real", "1", ""),
            ("also-real", "1", "Priority: required\nProvides: real\n"),
            ("v", "1", "Depends: api (>= 2)\n"),
            ("unversioned", "1", "Priority: required\nProvides: api\n"),
            ("older", "1", "Provides: api (= 1)\n"),
            ("newer", "1", "Provides: api (= 2)\n"),
        ]);
        assert_eq!(chosen(&set, &["a"], "").expect("resolved"), ["a 1", "mawk 1"]);
        assert_eq!(chosen(&set, &["b"], "").expect("resolved"), ["b 1", "real 1"]);
        assert_eq!(chosen(&set, &["v"], "").expect("resolved"), ["newer 1", "v 1"]);
    }

    #[test]
    fn takes_the_newest_version_that_a_relation_allows() {
        let set = packages(&[
            ("a", "1", "Depends: b (<< 2), c:any\n"),
            ("b", "1.5", ""),
            ("b", "1.9", ""),
            ("b", "2", ""),
            ("c", "1", ""),
        ]);
        assert_eq!(chosen(&set, &["a"], "").expect("resolved"), ["a 1", "b 1.9", "c 1"]);
    }

    #[test]
    fn undoes_an_alternative_whose_closure_conflicts() {
        let set = packages(&[
            ("a", "1", "Depends: x | y\n"),
            ("b", "1", ""),
            ("x", "1", "Depends: x-data\n"),
            ("x-data", "1", "Conflicts: b\n"),
            ("y", "1", ""),
        ]);
        assert_eq!(chosen(&set, &["a", "b"], "").expect("resolved"), ["a 1", "b 1", "y 1"]);
    }

    #[test]
    fn says_which_packages_exclude_each_other() {
        let set = packages(&[("a", "1", "Breaks: b (<< 2)\n"), ("b", "1", "")]);
        match chosen(&set, &["a", "b"], "") {
            Err(Error::Conflict { package, relation, other, .. }) => {
                assert_eq!((package.as_str(), relation.as_str(), other.as_str()), ("a", "b (<< 2)", "b"));
            }
            result => panic!("{result:?}"),
        }
        let provider = packages(&[("a", "1", "Provides: mta\nConflicts: mta\n"), ("b", "1", "Provides: mta\n")]);
        assert_eq!(chosen(&provider, &["a"], "").expect("no conflict with itself"), ["a 1"]);
        assert!(matches!(chosen(&provider, &["a", "b"], ""), Err(Error::Conflict { .. })));
    }

    #[test]
    fn explains_what_cannot_be_had() {
        let set = packages(&[("libgl1", "1", "Depends: b\n"), ("b", "1", "Depends: c (>= 3) | d\n"), ("c", "2", "")]);
        match chosen(&set, &["libgl2"], "") {
            Err(Error::UnknownPackage { name, suggestion, .. }) => {
                assert_eq!((name.as_str(), suggestion.as_deref()), ("libgl2", Some("libgl1")));
            }
            result => panic!("{result:?}"),
        }
        match chosen(&set, &["libgl1"], "") {
            Err(Error::Unsatisfiable { package, relation, chain, available }) => {
                assert_eq!((package.as_str(), relation.as_str()), ("b", "c (>= 3) | d"));
                assert_eq!(chain, ["`system`", "`libgl1`", "`b`"]);
                assert_eq!(available, ["`c` 2"]);
            }
            result => panic!("{result:?}"),
        }
    }

    #[test]
    fn makes_installed_packages_newer_only_where_it_must() {
        let set = packages(&[
            ("a-dev", "2", "Depends: a (= 2)\n"),
            ("a", "2", "Breaks: old (<< 2)\n"),
            ("a-data", "2", "Depends: a (= 2)\n"),
            ("old", "2", ""),
            ("untouched", "2", ""),
        ]);
        let installed = |name: &str, more: &str| {
            format!("Package: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n{more}\n")
        };
        let status = [
            installed("a", ""),
            installed("a-data", "Depends: a (= 1)\n"),
            installed("old", ""),
            installed("untouched", ""),
        ]
        .concat();
        assert_eq!(chosen(&set, &["a-dev"], &status).expect("resolved"), ["a 2", "a-data 2", "a-dev 2", "old 2"]);
        assert_eq!(chosen(&set, &["untouched"], &status).expect("resolved"), Vec::<String>::new());
    }

    #[test]
    fn gives_up_on_a_search_without_end() {
        let mut entries = vec![("a".to_owned(), "Depends: l0-0, missing\n".to_owned())];
        for level in 0..40 {
            for side in 0..2 {
                let next = level + 1;
                let depends = if next == 40 {
                    "Depends: missing\n".to_owned()
                } else {
                    format!("Depends: l{next}-0 | l{next}-1\n")
                };
                entries.push((format!("l{level}-{side}"), depends));
            }
        }
        let entries: Vec<_> = entries.iter().map(|(name, more)| (name.as_str(), "1", more.as_str())).collect();
        assert!(matches!(chosen(&packages(&entries), &["a"], ""), Err(Error::TooComplex { .. })));
    }
}
