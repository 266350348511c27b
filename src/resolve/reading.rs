//! A proof taken apart: PubGrub's tree is flattened to its leaves, and each leaf asks the problem again for the evidence behind
//! it, so that there is no second description of the rules which could disagree with the first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use pubgrub::{Derived, External};

use crate::spec::Located;
use crate::version::CudnnVersion;

use super::clash;
use super::conflict::{Conflict, Reason};
use super::evidence::{Code, Edge, Evidence};
use super::packages::Unusable;
use super::proof;
use super::solver::{Problem, Proof};
use super::stack::StackModel;
use super::variable::{Value, Values, Variable};

/// At most this many facts of one kind are listed; a proof should fit a screen.
const FACTS_PER_KIND: usize = 3;

/// A proof taken apart: what the spec asks, and what values need of each other.
#[derive(Default)]
pub(super) struct Reading {
    asks: Vec<(Variable, Evidence)>,
    steps: Vec<Step>,
    only_sources: BTreeMap<String, String>,
    unknown_projects: BTreeSet<String>,
}

impl Reading {
    pub(super) fn new(proof: &Proof, problem: &Problem<'_>) -> Self {
        let mut leaves = Vec::new();
        collect(proof, &mut leaves);
        let asked = problem.edges(&Variable::Spec, &Value::Only).ok().and_then(Result::ok).unwrap_or_default();
        let mut reading = Self::default();
        for leaf in &leaves {
            match leaf {
                External::NotRoot(..) => {}
                External::FromDependencyOf(Variable::Spec, _, to, _) => {
                    for evidence in asked.iter().filter(|edge| edge.to == *to).map(|edge| edge.evidence.clone()) {
                        if !reading.asks.iter().any(|(_, known)| *known == evidence) {
                            reading.asks.push((to.clone(), evidence));
                        }
                    }
                }
                External::FromDependencyOf(from, values, to, _) => {
                    let of_spec = asked.iter().filter(|edge| edge.to == *to);
                    let allowed = of_spec.fold(Values::full(), |set, edge| set.intersection(&edge.values));
                    let found = members(problem, from, values).into_iter().flat_map(|value| {
                        let evidence = binding_evidence(problem, from, &value, to, &allowed);
                        evidence.into_iter().map(move |evidence| (value.clone(), evidence))
                    });
                    reading.add_step(from, to, found.collect());
                }
                External::NoVersions(variable, values) => {
                    // Where versions of the same package are refused by other leaves, this one only says that there are no more.
                    let refused = leaves.iter().any(|leaf| {
                        matches!(leaf, External::FromDependencyOf(from, ..) | External::Custom(from, ..) if from == variable)
                    });
                    if let Some(evidence) = nothing_left(problem, variable, values).filter(|_| !refused) {
                        reading.add_step(variable, variable, vec![(Value::Only, evidence)]);
                        reading.only_sources.extend(only_sources(problem, variable, values));
                        reading.unknown_projects.extend(unknown_project(problem, variable));
                    }
                }
                External::Custom(variable, _, text) => {
                    let evidence = Evidence {
                        code: Code::Unsatisfiable,
                        fact: text.clone(),
                        source: format!("metadata of {variable}"),
                        origin: None,
                    };
                    reading.add_step(variable, variable, vec![(Value::Only, evidence)]);
                }
            }
        }
        for Step { from, evidence, .. } in &mut reading.steps {
            evidence.sort_by_cached_key(|(value, _)| (misses(problem, &asked, from, value), Reverse(value.clone())));
        }
        reading
    }

    fn add_step(&mut self, from: &Variable, to: &Variable, found: Vec<(Value, Evidence)>) {
        let position = self.steps.iter().position(|step| step.from == *from && step.to == *to).unwrap_or_else(|| {
            self.steps.push(Step { from: from.clone(), to: to.clone(), evidence: Vec::new() });
            self.steps.len() - 1
        });
        for entry in found {
            if !self.steps[position].evidence.contains(&entry) {
                self.steps[position].evidence.push(entry);
            }
        }
    }

    /// `whole` is the model of the user's own spec, of which `problem` may be a part.
    pub(super) fn conflict(self, problem: &Problem<'_>, whole: &StackModel<'_>) -> Conflict {
        let mut reasons = self.reasons();
        let mut told = proof::lines(&self.steps, problem, whole);
        if let Some(clash) = clash::found(&self.asks, &self.steps, problem) {
            told.headline.get_or_insert(clash.headline);
            told.lines.extend(clash.exists);
        }
        let of_targets = |to: &Variable| matches!(to, Variable::Card(_) | Variable::Driver(_) | Variable::Platform(_));
        let mut asks: Vec<(Variable, Evidence)> = self.asks;
        asks.retain(|(to, ask)| ask.origin.is_some() || *to != Variable::Base);
        asks.retain(|(_, ask)| ask.origin.is_some() || ask.source != "spec" || ask.code != Code::PinConflict);
        if reasons.is_empty() {
            let reason = |(to, ask): &(Variable, Evidence)| Reason {
                code: ask.code,
                fact: ask.fact.clone(),
                source: ask.source.clone(),
                origin: ask.origin.clone(),
                of: to.clone(),
                to: to.clone(),
            };
            reasons = asks.iter().map(reason).collect();
            if let [(to, one), (other_to, other)] = asks.as_slice()
                && to == other_to
            {
                told.headline.get_or_insert_with(|| format!("{}, and {}", one.fact, other.fact));
            }
        }
        // The core may do without the version, and people look for it.
        let of_spec = whole.edges(&Variable::Spec, &Value::Only);
        for (to, ask) in asks.iter_mut().filter(|(to, _)| matches!(to, Variable::Build(_))) {
            if let Some(edge) = of_spec.iter().find(|edge| edge.to == *to) {
                *ask = edge.evidence.clone();
            }
        }
        // A line for each target says what it has.
        asks.retain(|(to, _)| !(told.of_targets && of_targets(to)));
        Conflict {
            asks: asks.into_iter().map(|(_, evidence)| evidence).collect(),
            reasons,
            proof: told.lines,
            headline: told.headline,
            only_sources: self.only_sources,
            unknown_projects: self.unknown_projects,
            ..Conflict::default()
        }
    }

    fn reasons(&self) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = Vec::new();
        let mut seen = BTreeSet::new();
        for Step { from, to, evidence } in &self.steps {
            let evidence: Vec<&Evidence> = evidence.iter().map(|(_, evidence)| evidence).collect();
            let ask = |variable: &Variable| self.asks.iter().find(|(asked, _)| asked == variable).map(|(_, ask)| ask);
            let origin = ask(to).or_else(|| ask(from)).and_then(|ask| ask.origin.clone());
            for code in evidence.iter().map(|step| step.code).collect::<BTreeSet<_>>() {
                let of_kind: Vec<&Evidence> = evidence.iter().copied().filter(|step| step.code == code).collect();
                let more = of_kind.len().saturating_sub(FACTS_PER_KIND);
                for (position, step) in of_kind.iter().take(FACTS_PER_KIND).enumerate() {
                    let suffix = match more {
                        0 => String::new(),
                        _ if position + 1 == FACTS_PER_KIND => format!("; likewise {}", others(from, more)),
                        _ => String::new(),
                    };
                    let fact = format!("{}{suffix}", step.fact);
                    if seen.insert(fact.clone()) {
                        let origin = step.origin.clone().or_else(|| origin.clone());
                        let (source, of, to) = (step.source.clone(), from.clone(), to.clone());
                        reasons.push(Reason { code, fact, source, origin, of, to });
                    }
                }
            }
        }
        reasons
    }
}

/// What the values of one variable need of another, over all leaves of the proof.
pub(super) struct Step {
    /// The variable whose values need something.
    pub(super) from: Variable,
    /// The variable that is needed; `from` itself where it has no value left.
    pub(super) to: Variable,
    /// The values with the evidence for each, most telling first.
    pub(super) evidence: Vec<(Value, Evidence)>,
}

/// How many of the spec's wishes a base fails: the nearest miss explains most.
fn misses(problem: &Problem<'_>, asked: &[Edge], variable: &Variable, value: &Value) -> usize {
    if *variable != Variable::Base {
        return 0;
    }
    let own = problem.stack.edges(variable, value);
    let fails = |ask: &&Edge| own.iter().any(|edge| edge.to == ask.to && edge.values.is_disjoint(&ask.values));
    asked.iter().filter(fails).count()
}

/// `12 other builds`.
pub(super) fn others(variable: &Variable, count: usize) -> String {
    let (one, many) = match variable {
        Variable::Build(_) => ("other build", "other builds"),
        Variable::Base => ("other base", "other bases"),
        _ => ("older version", "older versions"),
    };
    format!("{count} {}", if count == 1 { one } else { many })
}

fn collect<'p>(proof: &'p Proof, leaves: &mut Vec<&'p External<Variable, Values, String>>) {
    match proof {
        Proof::External(leaf) => leaves.push(leaf),
        Proof::Derived(Derived { cause1, cause2, .. }) => {
            collect(cause1, leaves);
            collect(cause2, leaves);
        }
    }
}

/// The values of a set: the table's for stack variables, the single ones PubGrub collected for packages.
fn members(problem: &Problem<'_>, variable: &Variable, values: &Values) -> Vec<Value> {
    match problem.stack_values(variable) {
        Some(known) => known.into_iter().filter(|value| values.contains(value)).collect(),
        None => values
            .iter()
            .filter_map(|bounds| match bounds {
                (Bound::Included(low), Bound::Included(high)) if low == high => Some(low.clone()),
                _ => None,
            })
            .collect(),
    }
}

/// The evidence of those edges that exclude something the spec allows: `requires Python >=3.8` has no part in a conflict
/// over Python 3.13.
fn binding_evidence(
    problem: &Problem<'_>,
    from: &Variable,
    value: &Value,
    to: &Variable,
    allowed: &Values,
) -> Vec<Evidence> {
    let edges = problem.edges(from, value).ok().and_then(Result::ok).unwrap_or_default();
    let found: Vec<_> = edges.into_iter().filter(|edge| edge.to == *to).collect();
    let binds = |values: &Values| match problem.stack_values(to) {
        Some(known) => known.iter().any(|value| allowed.contains(value) && !values.contains(value)),
        None => !allowed.subset_of(values),
    };
    let binding: Vec<Evidence> =
        found.iter().filter(|edge| binds(&edge.values)).map(|edge| edge.evidence.clone()).collect();
    if binding.is_empty() { found.into_iter().map(|edge| edge.evidence).collect() } else { binding }
}

/// A sentence for a set without members.
fn nothing_left(problem: &Problem<'_>, variable: &Variable, values: &Values) -> Option<Evidence> {
    let evidence = |code, fact: String| Evidence { code, fact, source: "catalog".to_owned(), origin: None };
    match variable {
        Variable::Distribution(name) | Variable::Extra(name, _) => {
            let packages = problem.packages?;
            // There may be versions, which the spec's pin or a card excludes.
            let beyond = packages
                .choose(name, values)
                .ok()
                .flatten()
                .and_then(|candidate| problem.stack.beyond_limit(name, &Value::Release(candidate.version)));
            if beyond.is_some() {
                return beyond;
            }
            let (code, fact) = packages.explain_none(name, values);
            Some(Evidence { code, fact, source: "package index".to_owned(), origin: None })
        }
        Variable::Toolkit => {
            let pinned = problem.stack.spec.cuda.as_ref().map(|cuda| format!(" {}", cuda.value)).unwrap_or_default();
            let mut known: Vec<_> = problem.stack.bases.iter().filter_map(|base| base.toolkit.as_ref()).collect();
            known.sort_by_key(|toolkit| std::cmp::Reverse(toolkit.dotted()));
            let mut known: Vec<String> = known.iter().map(|toolkit| toolkit.major_minor()).collect();
            known.dedup();
            let fact = format!("no base has the CUDA toolkit{pinned}; known are {}", known.join(", "));
            Some(evidence(Code::NoSuchImage, fact))
        }
        Variable::ToolkitUse => {
            let fact = "nothing that the spec asks for uses a CUDA toolkit of the system".to_owned();
            Some(evidence(Code::NoSuchImage, fact))
        }
        Variable::SystemCudnn => Some(evidence(Code::CudnnMismatch, "no base has such a cuDNN".to_owned())),
        Variable::WheelCudnn => {
            let pin = problem.stack.spec.cudnn.as_ref();
            let released = |pin: &&Located<CudnnVersion>| {
                problem.stack.cudnn.iter().any(|release| release.dotted().starts_with(pin.value.dotted()))
            };
            let fact = match pin.filter(|pin| !released(pin)) {
                Some(pin) => format!("no release {} of cuDNN is known", pin.value),
                None => "no release of cuDNN is known that suits all of these".to_owned(),
            };
            Some(evidence(Code::CudnnMismatch, fact))
        }
        Variable::Driver(index) => {
            let target = problem.stack.targets.get(*index)?;
            let code = if target.driver.is_some() { Code::DriverBelowFloor } else { Code::DriverBranchEnds };
            Some(evidence(code, format!("target `{}` can have no such driver", target.name)))
        }
        _ => None,
    }
}

/// Whether nothing but source distributions is in a set, with the newest of them.
fn only_sources(problem: &Problem<'_>, variable: &Variable, values: &Values) -> Option<(String, String)> {
    let Variable::Distribution(name) = variable else { return None };
    let offer = problem.packages?.offer(name).ok()?;
    let mut inside = offer.unusable.iter().rev().filter(|(version, _)| {
        let value = Value::Release((*version).clone());
        values.contains(&value)
    });
    let (version, unusable) = inside.next()?;
    matches!(unusable, Unusable::SdistOnly).then(|| (name.clone(), version.to_string()))
}

/// The name of a package that no index has.
fn unknown_project(problem: &Problem<'_>, variable: &Variable) -> Option<String> {
    let Variable::Distribution(name) = variable else { return None };
    let offer = problem.packages?.offer(name).ok()?;
    (!offer.exists).then(|| name.clone())
}
