//! Where packages and builds of frameworks meet: a package may decide the build, and a build decides where the
//! framework's own packages come from.
//!
//! A build other than the default one lives on an index of its own, with the build's name as local label
//! (`torch 2.5.1+cu121`). That index serves the framework's main package, its companions, and what its wheels pin exactly
//! and the machine's index has not (ROCm's triton is such a one). For any other name it is never asked. A companion and
//! the main package must be of one build, since their libraries load each other's symbols.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use pep440_rs::{Operator, Version, VersionSpecifiers};
use pep508_rs::{Requirement, VerbatimUrl};

use crate::catalog::Framework;
use crate::packaging::Metadata;
use crate::version::wheel_tag::normalize_name;

use super::super::builds::row_label;
use super::super::distributions::labelled;
use super::super::evidence::{Code, Edge, Evidence};
use super::super::stack::Row;
use super::super::variable::{Value, Values, Variable, one_of, specifier_values};
use super::choice::newest;
use super::offer::Candidate;
use super::requirement::{add_label, package_edges, specifiers};
use super::routes::DEFAULT_INDEX;
use super::{PackageModel, SourceError};

/// What the search has learned about indexes of builds. All are hints about where to look: whether a candidate suits is
/// said by edges.
#[derive(Default)]
pub(super) struct BuildIndexes {
    /// Index of the build decided last, by the names of its framework's companions.
    companions: RefCell<HashMap<String, String>>,
    /// What wheels of such indexes pin, by name: the index and the versions.
    pins: RefCell<HashMap<String, Vec<(String, Values)>>>,
    /// What builds install from such indexes, as long as nobody has looked at what it pins.
    decided: RefCell<Vec<Decided>>,
    /// All that was ever in `decided`.
    noted: RefCell<HashSet<Decided>>,
}

/// A wheel that a build installs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Decided {
    index: String,
    package: String,
    version: Version,
}

impl BuildIndexes {
    /// Remembers what a wheel of a build's own index pins.
    pub(super) fn note_pin(&self, index: &str, requirement: &Requirement<VerbatimUrl>) {
        if let Some((set, _)) = pinned(requirement) {
            let name = normalize_name(requirement.name.as_ref());
            let pin = (index.to_owned(), specifier_values(set));
            let mut pins = self.pins.borrow_mut();
            let known = pins.entry(name).or_default();
            if !known.contains(&pin) {
                known.push(pin);
            }
        }
    }

    /// Remembers what a build installs from an index of its own.
    fn note_decided(&self, index: &str, requirement: &Requirement<VerbatimUrl>) {
        let Some((_, version)) = pinned(requirement) else { return };
        let package = normalize_name(requirement.name.as_ref());
        let decided = Decided { index: index.to_owned(), package, version: version.clone() };
        if self.noted.borrow_mut().insert(decided.clone()) {
            self.decided.borrow_mut().push(decided);
        }
    }
}

/// The specifiers of a requirement that has one version left, and that version.
fn pinned(requirement: &Requirement<VerbatimUrl>) -> Option<(&VersionSpecifiers, &Version)> {
    let set = specifiers(requirement)?;
    let is_pin = |operator: &Operator| matches!(operator, Operator::Equal | Operator::ExactEqual);
    set.iter().find(|one| is_pin(one.operator())).map(|one| (set, one.version()))
}

impl PackageModel<'_> {
    /// A companion from the index of the build that was decided.
    pub(super) fn choose_companion(&self, name: &str, values: &Values) -> Result<Option<Candidate>, SourceError> {
        let index = self.build_indexes.companions.borrow().get(name).cloned();
        let Some(index) = index.filter(|_| self.may_use_build_indexes(name)) else { return Ok(None) };
        let offer = self.offer_of(&index, name)?;
        Ok(self.locked_in(&offer, name, values).or_else(|| newest(&offer, values).cloned()))
    }

    /// A labelled version in the set, from the index of such a build.
    pub(super) fn choose_labelled(&self, name: &str, values: &Values) -> Result<Option<Candidate>, SourceError> {
        for index in self.labelled_indexes(name, values) {
            let offer = self.offer_of(&index, name)?;
            if let Some(candidate) = newest(&offer, values) {
                return Ok(Some(candidate.clone()));
            }
        }
        Ok(None)
    }

    /// What a wheel of a build's own index pins, from the same index.
    pub(super) fn choose_beside_build(&self, name: &str, values: &Values) -> Result<Option<Candidate>, SourceError> {
        if !self.may_use_build_indexes(name) {
            return Ok(None);
        }
        self.read_pins()?;
        let pins = self.build_indexes.pins.borrow().get(name).cloned().unwrap_or_default();
        for (index, pinned) in pins {
            let offer = self.offer_of(&index, name)?;
            if let Some(candidate) = newest(&offer, &values.intersection(&pinned)) {
                return Ok(Some(candidate.clone()));
            }
        }
        Ok(None)
    }

    /// Learns what the wheels pin of the builds decided so far. Somebody may ask for such a package before the search comes
    /// to the framework's own.
    fn read_pins(&self) -> Result<(), SourceError> {
        let decided = std::mem::take(&mut *self.build_indexes.decided.borrow_mut());
        for Decided { index, package, version } in decided {
            let offer = self.offer_of(&index, &package)?;
            let Some(candidate) = offer.candidates.get(&version) else { continue };
            let Ok(metadata) = self.source.metadata(&index, &candidate.file)? else { continue };
            let needed = metadata.requires_dist.iter();
            for requirement in needed.filter(|requirement| requirement.evaluate_markers(&self.markers, &[])) {
                self.build_indexes.note_pin(&index, requirement);
            }
        }
        Ok(())
    }

    /// A name that the spec gave a home comes from nowhere else.
    fn may_use_build_indexes(&self, name: &str) -> bool {
        self.routes.claimed_by(name).is_none() && self.placed(name).is_empty()
    }

    /// Indexes of builds other than the default one whose labelled versions are in the set.
    pub(super) fn labelled_indexes(&self, name: &str, values: &Values) -> Vec<String> {
        let mut indexes = Vec::new();
        if !self.may_use_build_indexes(name) {
            return indexes;
        }
        for (framework, row, version) in self.of_builds(name) {
            let index = &row.build.index;
            // An index is asked only for builds that can suit: it may be out of reach, and would say nothing new.
            let asked = || {
                labelled(version, row.build).is_some_and(|version| values.contains(&Value::Release(version)))
                    && !self.stack.is_excluded(&framework.family, &row)
            };
            if !indexes.contains(index) && asked() {
                indexes.push(index.clone());
            }
        }
        indexes
    }

    /// The versions of a distribution that lie on an index of builds for this platform without label, and as which the
    /// search knows them: with it. So none of them is taken for the default index's, nor that for one of them.
    pub(super) fn labels_left_out(&self, index: &str, name: &str) -> HashMap<Version, Version> {
        if !self.routes.is_of_framework(index) {
            return HashMap::new();
        }
        let leaves_out = |row: &Row<'_>| {
            let wheels = row.build.platforms.get(&self.platform).filter(|_| row.build.index == index);
            wheels.is_some_and(|wheels| wheels.unlabelled.iter().any(|package| package == name))
        };
        let of_index = self.of_builds(name).filter(|(_, row, _)| leaves_out(row));
        of_index.filter_map(|(_, row, version)| Some((version.clone(), labelled(version, row.build)?))).collect()
    }

    /// What builds with an index of their own have of a distribution that is a framework's main package or a companion.
    fn of_builds<'m>(&'m self, name: &'m str) -> impl Iterator<Item = (&'m Framework, Row<'m>, &'m Version)> {
        let releases = self
            .stack
            .catalog
            .frameworks
            .iter()
            .flat_map(|framework| framework.releases.iter().map(move |release| (framework, release)));
        releases.flat_map(move |(framework, release)| {
            let is_main = framework.package == name;
            let main = std::iter::once(&release.version).filter(move |_| is_main);
            let companions = release.companions.get(name).into_iter().flatten().filter(move |_| !is_main);
            let builds = release.builds.iter().filter(|build| build.index != DEFAULT_INDEX);
            let rows = builds.map(move |build| Row { release, build });
            main.chain(companions).flat_map(move |version| rows.clone().map(move |row| (framework, row, version)))
        })
    }

    /// A companion goes with builds of its framework: torchvision must be of the build that torch is.
    pub(super) fn companion_edges(
        &self,
        name: &str,
        candidate: &Candidate,
        metadata: &Metadata,
        source: &str,
    ) -> Vec<Edge> {
        let frameworks = &self.stack.catalog.frameworks;
        if frameworks.iter().any(|framework| framework.package == name) {
            return Vec::new();
        }
        let requires = |package: &str| {
            let mut requirements = metadata.requires_dist.iter();
            requirements.any(|requirement| {
                normalize_name(requirement.name.as_ref()) == package && requirement.evaluate_markers(&self.markers, &[])
            })
        };
        let is_companion = |framework: &&Framework| {
            framework.companions.iter().any(|companion| companion == name) && requires(&framework.package)
        };
        let edges = frameworks.iter().filter(is_companion);
        edges.filter_map(|framework| self.companion_edge(framework, name, candidate, source)).collect()
    }

    fn companion_edge(&self, framework: &Framework, name: &str, candidate: &Candidate, source: &str) -> Option<Edge> {
        let table = self.stack.families.get(framework.family.as_str())?;
        let label = label_of(&candidate.version);
        let index = match self.routes.is_of_framework(&candidate.index) {
            true => candidate.index.as_str(),
            false => DEFAULT_INDEX,
        };
        // A mirror of a build's wheels is known by their label.
        let is_label = |row: &Row<'_>| !label.is_empty() && row.build.name == label;
        let ranks = match table.rows.iter().any(is_label) {
            true => ranks(&table.rows, is_label),
            false => ranks(&table.rows, |row| row.build.index == index),
        };
        let known = table.rows.iter().any(|row| row.build.index != DEFAULT_INDEX);
        (known && !ranks.is_empty()).then(|| {
            let (version, index, family) = (&candidate.version, &candidate.index, &framework.family);
            let fact = format!("{name} {version} of the index `{index}` goes with builds of {family} from there");
            build_edge(framework, ranks, fact, source)
        })
    }

    /// What a framework's build installs: exact versions from its index.
    pub fn framework_edges(&self, family: &str, row: &Row<'_>) -> Vec<Edge> {
        let source = row.source();
        let label = row_label(family, row);
        let mut edges = Vec::new();
        let mut wanted: Vec<String> = row.build.requirements.clone();
        let framework = self.stack.spec.frameworks.iter().find(|framework| framework.family.value == family);
        for companion in framework.map(|framework| framework.with.as_slice()).unwrap_or_default() {
            let versions = row.release.companions.get(&companion.value).map(Vec::as_slice).unwrap_or_default();
            if let Some(newest) = versions.iter().max() {
                wanted.push(format!("{}=={newest}", companion.value));
            } else {
                wanted.push(companion.value.clone());
            }
        }
        for text in wanted {
            let Ok(mut requirement) = text.parse::<Requirement<VerbatimUrl>>() else { continue };
            if row.build.index != DEFAULT_INDEX {
                add_label(&mut requirement, &row.build.name);
                self.build_indexes.note_decided(&row.build.index, &requirement);
            }
            let fact = format!("{label} is installed as `{requirement}`");
            edges.extend(package_edges(&requirement, &fact, source, None));
            edges.extend(self.bounds(&normalize_name(requirement.name.as_ref())));
        }
        self.note_build(family, row);
        self.prefetch(&edges);
        edges
    }

    /// Remembers where the companions of a build are; those that are frameworks of their own decide for themselves.
    fn note_build(&self, family: &str, row: &Row<'_>) {
        let mut known = self.build_indexes.companions.borrow_mut();
        let frameworks = &self.stack.catalog.frameworks;
        let companions = frameworks.iter().find(|framework| framework.family == family).map(|known| &known.companions);
        for companion in companions.into_iter().flatten() {
            if frameworks.iter().any(|framework| framework.package == *companion) {
                continue;
            }
            match row.build.index.as_str() {
                DEFAULT_INDEX => known.remove(companion),
                index => known.insert(companion.clone(), index.to_owned()),
            };
        }
    }
}

/// The builds that a package goes with, as a fact of its metadata.
fn build_edge(framework: &Framework, ranks: Vec<Value>, fact: String, source: &str) -> Edge {
    Edge {
        to: Variable::Build(framework.family.clone()),
        values: one_of(ranks),
        evidence: Evidence { code: Code::PinConflict, fact, source: source.to_owned(), origin: None },
    }
}

/// `cu121` of `2.5.1+cu121`; empty without one.
fn label_of(version: &Version) -> String {
    version.local().iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

fn ranks(rows: &[Row<'_>], takes: impl Fn(&Row<'_>) -> bool) -> Vec<Value> {
    let taken = rows.iter().enumerate().filter(|(_, row)| takes(row));
    taken.map(|(rank, _)| Value::Rank(rank as u32)).collect()
}
