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
            let candidate = self.candidates(&group).into_iter().next();
            let Some(package) = candidate else { return Err(self.unknown(wanted)) };
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
            match self.packages.versions(&package.name).first() {
                Some(newest) if newest.version > package.version => self.choose(newest, &mut chain)?,
                _ => return Err(self.unsatisfiable(&package.name, group, &chain)),
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
    fn candidates(&self, group: &RelationGroup) -> Vec<&'a Package> {
        let packages = self.packages;
        let mut candidates = Vec::new();
        for relation in &group.0 {
            let real = packages.versions(&relation.name).iter().filter(|package| relation.allows(&package.version));
            candidates.extend(real);
            let providers = packages.providers(&relation.name).into_iter();
            candidates.extend(providers.filter(|package| {
                package.name != relation.name && provides(&package.provides(packages.architecture()), relation)
            }));
        }
        candidates.retain(|package| !self.chosen.contains_key(package.name.as_str()));
        candidates
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
            let newer = self.newer_installed(&other).filter(|_| self.steps <= MAX_STEPS);
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
    fn newer_installed(&self, name: &str) -> Option<&'a Package> {
        let installed = self.installed.get(name).filter(|_| !self.chosen.contains_key(name))?;
        self.packages.versions(name).first().filter(|newest| newest.version > installed.version)
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
        for candidate in self.candidates(group) {
            if self.steps > MAX_STEPS {
                break;
            }
            match self.choose(candidate, chain) {
                Ok(()) => return Ok(()),
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        Err(first_failure.unwrap_or_else(|| self.unsatisfiable(package, group, chain)))
    }

    fn unsatisfiable(&self, package: &str, group: &RelationGroup, chain: &[String]) -> Error {
        let available = group.0.iter().flat_map(|relation| self.packages.versions(&relation.name));
        Error::Unsatisfiable {
            package: package.to_owned(),
            relation: group.to_string(),
            chain: chain.to_vec(),
            available: available.map(|package| format!("`{}` {}", package.name, package.version)).collect(),
        }
    }

    fn unknown(&self, wanted: &Wanted) -> Error {
        let name = &wanted.relation.name;
        if !self.packages.versions(name).is_empty() {
            let chain = [wanted.required_by.clone()];
            return self.unsatisfiable(&wanted.required_by, &RelationGroup(vec![wanted.relation.clone()]), &chain);
        }
        Error::UnknownPackage {
            name: name.clone(),
            required_by: wanted.required_by.clone(),
            suggestion: suggestion(name, self.packages.names()).map(str::to_owned),
        }
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
