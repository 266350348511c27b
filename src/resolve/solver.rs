//! The search: one PubGrub problem whose variables are the stack's and the packages'.
//!
//! No text and no IO here. Decisions go from the top of the stack down: facts, framework builds by the name of
//! their family, Python, base, then packages, those with the fewest choices first, except that what keeps failing is moved forward.
//! Within a variable the tables are ordered from worst to best, so the choice is always the last value that is left.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use pubgrub::{
    Dependencies, DependencyConstraints, DependencyProvider, DerivationTree, External, PackageResolutionStatistics,
    PubGrubError, SelectedDependencies,
};

use super::evidence::Edge;
use super::packages::{Candidate, PackageModel, SourceError};
use super::stack::StackModel;
use super::variable::{Value, Values, Variable};

/// A failed search, as PubGrub proves it.
pub type Proof = DerivationTree<Variable, Values, String>;

/// A problem to solve: the stack alone, or the stack with packages.
pub struct Problem<'a> {
    /// The stack's tables.
    pub stack: &'a StackModel<'a>,
    /// The packages' tables; without them packages are left out.
    pub packages: Option<&'a PackageModel<'a>>,
    /// Stack variables restricted to some of their values, worst first.
    pub fixed: BTreeMap<Variable, Vec<Value>>,
    /// Values of stack variables that a lock holds, to be kept where they still suit.
    pub preferred: &'a BTreeMap<Variable, Value>,
    /// Families and packages that choose before the others of their kind.
    pub upgraded: BTreeSet<String>,
    seen: RefCell<HashMap<Variable, usize>>,
    chosen: RefCell<HashMap<String, Candidate>>,
}

/// An answer: a value for each variable that matters.
pub type Solution = SelectedDependencies<Variable, Value>;

/// Why there is no answer.
pub enum Failed {
    /// There is none.
    Proof(Proof),
    /// The source of packages could not be asked.
    Source(SourceError),
}

impl<'a> Problem<'a> {
    /// A problem with everything in it.
    pub fn new(
        stack: &'a StackModel<'a>,
        packages: Option<&'a PackageModel<'a>>,
        preferred: &'a BTreeMap<Variable, Value>,
    ) -> Self {
        Self {
            stack,
            packages,
            fixed: BTreeMap::new(),
            preferred,
            upgraded: BTreeSet::new(),
            seen: RefCell::default(),
            chosen: RefCell::default(),
        }
    }

    /// Solves it.
    pub fn solve(&self) -> Result<Solution, Failed> {
        pubgrub::resolve(self, Variable::Spec, Value::Only).map_err(|error| match error {
            PubGrubError::NoSolution(proof) => Failed::Proof(proof),
            PubGrubError::ErrorRetrievingDependencies { source, .. }
            | PubGrubError::ErrorChoosingVersion { source, .. }
            | PubGrubError::ErrorInShouldCancel(source) => Failed::Source(source),
        })
    }

    /// What a value needs, with the evidence.
    pub fn edges(&self, variable: &Variable, value: &Value) -> Result<Result<Vec<Edge>, String>, SourceError> {
        match variable {
            Variable::Distribution(name) => self.package_edges(name, None, value),
            Variable::Extra(name, extra) => self.package_edges(name, Some(extra), value),
            Variable::Spec => {
                let mut edges = self.stack.edges(variable, value);
                edges.extend(self.packages.map_or_else(|| self.stack.listed_edges(), PackageModel::spec_edges));
                Ok(Ok(edges))
            }
            Variable::Build(family) => {
                let mut edges = self.stack.edges(variable, value);
                let row = value.rank().and_then(|rank| self.stack.row(family, rank));
                if row.is_none() && self.packages.is_some() {
                    edges.extend(self.stack.unknown_build_edge(family));
                }
                if let (Some(packages), Some(row)) = (self.packages, row) {
                    edges.extend(packages.framework_edges(family, &row));
                }
                Ok(Ok(edges))
            }
            _ => Ok(Ok(self.stack.edges(variable, value))),
        }
    }

    fn package_edges(
        &self,
        name: &str,
        extra: Option<&str>,
        value: &Value,
    ) -> Result<Result<Vec<Edge>, String>, SourceError> {
        let (Some(packages), Some(version)) = (self.packages, value.release()) else { return Ok(Ok(Vec::new())) };
        let key = format!("{name} {version}");
        let known = self.chosen.borrow().get(&key).cloned();
        let candidate = match known {
            Some(candidate) => Some(candidate),
            None => packages.choose(name, &pubgrub::Ranges::singleton(value.clone()))?,
        };
        match candidate {
            Some(candidate) => packages.edges(name, extra, &candidate),
            None => Ok(Err(format!("{name} {version} has no usable wheel"))),
        }
    }

    /// The candidates behind the distributions that were decided, by `name version`.
    pub fn into_candidates(self) -> HashMap<String, Candidate> {
        self.chosen.into_inner()
    }

    /// The values of a stack variable, worst first, as this problem restricts them.
    pub fn stack_values(&self, variable: &Variable) -> Option<Vec<Value>> {
        match self.fixed.get(variable) {
            Some(values) => Some(values.clone()),
            None => self.stack.values(variable),
        }
    }
}

/// Whether a framework's build takes part in a proof.
pub(super) fn is_over_builds(proof: &Proof) -> bool {
    let is_build = |variable: &Variable| matches!(variable, Variable::Build(_));
    match proof {
        Proof::External(External::FromDependencyOf(from, _, to, _)) => is_build(from) || is_build(to),
        Proof::External(External::NoVersions(variable, _) | External::Custom(variable, ..)) => is_build(variable),
        Proof::External(External::NotRoot(..)) => false,
        Proof::Derived(derived) => is_over_builds(&derived.cause1) || is_over_builds(&derived.cause2),
    }
}

impl DependencyProvider for Problem<'_> {
    type P = Variable;
    type V = Value;
    type VS = Values;
    type M = String;
    type Err = SourceError;
    /// Larger first: level of the stack, whether it keeps failing, whether few choices are left, order of the
    /// families' names or of appearance.
    type Priority = (u32, u32, Reverse<usize>, Reverse<usize>);

    fn prioritize(
        &self,
        variable: &Variable,
        values: &Values,
        statistics: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let mut seen = self.seen.borrow_mut();
        let count = seen.len();
        let appearance = *seen.entry(variable.clone()).or_insert(count);
        let order = match variable {
            Variable::Build(family) if self.upgraded.contains(family) => 0,
            Variable::Build(family) => self.stack.order_of(family).saturating_add(1),
            _ => appearance,
        };
        let level = match variable {
            Variable::Spec => 9,
            Variable::Card(_) | Variable::Platform(_) | Variable::PinnedCuda | Variable::PinnedCudnn => 8,
            Variable::Build(_) => 7,
            Variable::Python => 6,
            Variable::Toolkit => 5,
            Variable::Base => 4,
            Variable::Glibc
            | Variable::ToolkitUse
            | Variable::SystemCudnn
            | Variable::WheelCuda
            | Variable::WheelCudnn
            | Variable::Driver(_) => 3,
            Variable::Distribution(name) | Variable::Extra(name, _) => 1 + u32::from(self.upgraded.contains(name)),
        };
        let (conflicts, choices) = match variable {
            Variable::Distribution(name) | Variable::Extra(name, _) => {
                let conflicts = statistics.conflict_count();
                let choices = self.packages.map_or(0, |packages| packages.count(name, values));
                (if conflicts > 4 { conflicts } else { 0 }, usize::from(choices > 1))
            }
            _ => (0, 0),
        };
        (level, conflicts, Reverse(choices), Reverse(order))
    }

    fn choose_version(&self, variable: &Variable, values: &Values) -> Result<Option<Value>, SourceError> {
        if let Variable::Distribution(name) | Variable::Extra(name, _) = variable {
            let Some(packages) = self.packages else { return Ok(None) };
            let candidate = match self.stack.package_limit(name) {
                Some(limit) => packages.choose(name, &values.intersection(&limit))?,
                None => packages.choose(name, values)?,
            };
            return Ok(candidate.map(|candidate| {
                let value = Value::Release(candidate.version.clone());
                self.chosen.borrow_mut().insert(format!("{name} {}", candidate.version), candidate);
                value
            }));
        }
        let known = self.stack_values(variable).unwrap_or_default();
        if let Some(preferred) =
            self.preferred.get(variable).filter(|value| values.contains(value) && known.contains(value))
        {
            return Ok(Some(preferred.clone()));
        }
        Ok(known.into_iter().rev().find(|value| values.contains(value)))
    }

    fn get_dependencies(
        &self,
        variable: &Variable,
        value: &Value,
    ) -> Result<Dependencies<Variable, Values, String>, SourceError> {
        let edges = match self.edges(variable, value)? {
            Ok(edges) => edges,
            Err(reason) => return Ok(Dependencies::Unavailable(reason)),
        };
        // The map that goes back has no order, and what is named first should be decided first.
        let mut seen = self.seen.borrow_mut();
        for edge in &edges {
            let count = seen.len();
            seen.entry(edge.to.clone()).or_insert(count);
        }
        drop(seen);
        let mut constraints: Vec<(Variable, Values)> = Vec::new();
        // A distribution that requires itself (through an extra of its own) asks for nothing new.
        for edge in edges.into_iter().filter(|edge| edge.to != *variable) {
            match constraints.iter_mut().find(|(to, _)| *to == edge.to) {
                Some((_, values)) => *values = values.intersection(&edge.values),
                None => constraints.push((edge.to, edge.values)),
            }
        }
        Ok(Dependencies::Available(constraints.into_iter().collect::<DependencyConstraints<_, _>>()))
    }
}
