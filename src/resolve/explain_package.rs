//! Why a Python package is in an environment and in which version: the chain of requirements down to it, what excludes newer
//! versions, and what would free it. Indexes are asked through [`PackageSource`], as a resolution asks them.

use std::collections::{BTreeMap, VecDeque};

use pep440_rs::Version;
use pep508_rs::{Requirement, VerbatimUrl};

use crate::catalog::Catalog;
use crate::diagnostic::Failure;
use crate::oci::Platform;
use crate::spec::{Located, Spec};
use crate::version::PythonVersion;
use crate::version::wheel_tag::normalize_name;

use super::evidence::{Code, Evidence};
use super::explain::{CHANGES, Cause, Explanation, HeldBack, ends, first_cause};
use super::numbers::python_value;
use super::packages::PackageModel;
use super::relax;
use super::solver::{Failed, Problem, Proof, Solution};
use super::stack::StackModel;
use super::variable::{Value, Variable};
use super::{
    BaseRow, Conflict, Error, PackageSource, Preferences, Question, StackAnswer, preferred_values, source_error,
};

/// At most this many other requirements are told.
const REQUIREMENTS: usize = 8;
/// At most this many newer releases are looked at.
const RELEASES: usize = 12;

/// Why a Python package is there and in which version, on the first platform. The inner error is the names there are, if the
/// environment has no such package; the outer one the conflict where there is no answer, or the source's failure.
pub fn explain_package(
    spec: &Spec,
    catalog: &Catalog,
    source: &dyn PackageSource,
    preferences: &Preferences,
    full_python: &dyn Fn(PythonVersion, &BaseRow, Platform) -> Result<Version, Failure>,
    name: &str,
) -> Result<Result<Explanation, Vec<String>>, Error> {
    let name = normalize_name(name);
    let question = Question { catalog, source, preferences, full_python };
    let resolution = question.answer(spec)?.map_err(|conflict| Error::Conflict(Box::new(conflict)))?;
    let Some(platform) = resolution.platforms.first() else { return Ok(Err(Vec::new())) };
    let Some(chosen) = platform.wheels.get(&name).cloned() else {
        return Ok(Err(platform.wheels.keys().cloned().collect()));
    };
    let stack = &resolution.stack;
    let full = full_python(stack.python, &stack.base, platform.platform).map_err(Error::Source)?;
    let locked: BTreeMap<String, Version> =
        platform.wheels.iter().map(|(name, wheel)| (name.clone(), wheel.version.clone())).collect();
    let world =
        World { catalog, source, preferences, stack, platform: platform.platform, full: &full, locked: &locked };
    let mut explanation = Explanation {
        subject: name.clone(),
        value: chosen.version.to_string(),
        details: vec![
            ("version", chosen.version.to_string()),
            ("index", chosen.index.clone()),
            ("file", chosen.file.filename.clone()),
        ],
        ..Explanation::default()
    };
    world.ask(spec, &mut |problem, solved| {
        if let Ok(solution) = solved {
            (explanation.chosen_by, explanation.also_required) = chain(problem, solution, &name);
        }
    })?;
    let newer = world.newer(spec, &name, &chosen.version)?;
    if newer.is_empty() {
        explanation.remarks.push("the index has no newer release".to_owned());
    }
    for (version, unusable) in ends(newer) {
        let held = |code, cause| HeldBack { value: version.to_string(), code, cause };
        if let Some((code, fact)) = unusable {
            let cause = Cause { fact, source: "package index".to_owned(), origin: None };
            explanation.held_back.push(held(Some(code), cause));
            continue;
        }
        let forced = with_package(spec, &name, &version);
        let mut conflict = None;
        world.ask(&forced, &mut |problem, solved| {
            if let Err(proof) = solved {
                conflict = Some(Conflict::from_proof(proof, problem));
            }
        })?;
        match conflict {
            None => {
                let fact = "nothing excludes it but what is locked".to_owned();
                let cause = Cause { fact, source: "imgforge.lock".to_owned(), origin: None };
                explanation.held_back.push(held(None, cause));
                let change = format!("{version}: `imgforge lock --upgrade-package {name}` may take it");
                explanation.freed_by.push(change);
            }
            Some(conflict) => {
                let asks = conflict.asks.iter().filter(|ask| ask.origin.is_some());
                let asks: Vec<Cause> = asks.cloned().map(Cause::from).collect();
                // The forced version itself is no reason.
                let asked = format!("{name}=={version}");
                let mut telling = conflict.clone();
                telling.reasons.retain(|reason| !reason.fact.contains(&asked));
                if let Some((code, cause)) = first_cause(&telling, &asks) {
                    explanation.held_back.push(held(code, cause));
                }
                for (changed, sentence) in relax::package_changes(&forced, &conflict) {
                    if explanation.freed_by.len() >= CHANGES {
                        break;
                    }
                    if let Ok(Ok(resolution)) = question.answer(&changed) {
                        explanation.freed_by.push(format!("{version}: {}", sentence(&resolution)));
                    }
                }
            }
        }
    }
    Ok(Ok(explanation))
}

/// The spec with a further requirement.
fn with_package(spec: &Spec, name: &str, version: &Version) -> Spec {
    let mut forced = spec.clone();
    if let Ok(requirement) = format!("{name}=={version}").parse::<Requirement<VerbatimUrl>>() {
        forced.packages.push(Located::default_of(requirement));
    }
    forced
}

/// A version above the chosen one, and why no wheel of it can be used, if none can.
type Newer = (Version, Option<(Code, String)>);

/// One platform of a resolution, to be asked again with something changed.
struct World<'a> {
    catalog: &'a Catalog,
    source: &'a dyn PackageSource,
    preferences: &'a Preferences,
    stack: &'a StackAnswer,
    platform: Platform,
    full: &'a Version,
    locked: &'a BTreeMap<String, Version>,
}

/// What is told of a solved problem: the solution or the proof.
type Hear<'h> = &'h mut dyn FnMut(&Problem<'_>, Result<&Solution, &Proof>);

impl World<'_> {
    /// Solves a variant of the spec for the same Python and base, and hands over problem and outcome.
    fn ask(&self, spec: &Spec, hear: Hear<'_>) -> Result<(), Error> {
        let model = StackModel::new(spec, self.catalog)?;
        let packages = self.packages(&model);
        let preferred = preferred_values(&model, self.preferences);
        let mut problem = Problem::new(&model, Some(&packages), &preferred);
        problem.fixed.insert(Variable::Python, vec![python_value(self.stack.python)]);
        if let Some(base) = model.bases.iter().position(|base| *base == self.stack.base) {
            problem.fixed.insert(Variable::Base, vec![Value::Rank(base as u32)]);
        }
        match problem.solve() {
            Ok(solution) => hear(&problem, Ok(&solution)),
            Err(Failed::Proof(proof)) => hear(&problem, Err(&proof)),
            Err(Failed::Source(error)) => return Err(source_error(error)),
        }
        Ok(())
    }

    fn packages<'m>(&'m self, model: &'m StackModel<'m>) -> PackageModel<'m> {
        let (python, glibc) = (self.stack.python, &self.stack.base.glibc);
        PackageModel::new(model, self.source, self.platform, python, self.full, glibc, self.locked)
    }

    /// Versions above the chosen one, oldest first: each with the reason if no wheel of it can be used at all.
    fn newer(&self, spec: &Spec, name: &str, chosen: &Version) -> Result<Vec<Newer>, Error> {
        let model = StackModel::new(spec, self.catalog)?;
        let packages = self.packages(&model);
        let offer = packages.offer(name).map_err(source_error)?;
        let newer = |version: &&Version| **version > *chosen && !version.any_prerelease() && version.local().is_empty();
        let mut versions: BTreeMap<Version, Option<(Code, String)>> =
            offer.candidates.keys().filter(newer).map(|version| (version.clone(), None)).collect();
        for version in offer.unusable.keys().filter(newer) {
            let only = pubgrub::Ranges::singleton(Value::Release(version.clone()));
            versions.insert(version.clone(), Some(packages.explain_none(name, &only)));
        }
        let mut versions: Vec<_> = versions.into_iter().collect();
        // The newest of a long list matters, and the next ones; the rest are much alike.
        if versions.len() > RELEASES {
            versions.drain(RELEASES - 1..versions.len() - 1);
        }
        Ok(versions)
    }
}

/// The shortest chain of requirements from the spec to a package, and what else requires it.
fn chain(problem: &Problem<'_>, solution: &Solution, name: &str) -> (Vec<Cause>, Vec<Cause>) {
    let is_wanted = |variable: &Variable| match variable {
        Variable::Distribution(found) => found == name,
        _ => false,
    };
    let mut reached: BTreeMap<Variable, Option<(Variable, Evidence)>> = BTreeMap::from([(Variable::Spec, None)]);
    let mut queue = VecDeque::from([Variable::Spec]);
    let mut others: Vec<Cause> = Vec::new();
    while let Some(from) = queue.pop_front() {
        let value = if from == Variable::Spec { Some(&Value::Only) } else { solution.get(&from) };
        let edges = value.and_then(|value| problem.edges(&from, value).ok()).and_then(Result::ok).unwrap_or_default();
        for edge in edges {
            let own_extra =
                matches!((&from, &edge.to), (Variable::Extra(of, _), Variable::Distribution(to)) if of == to);
            if is_wanted(&edge.to) && !own_extra {
                let cause = Cause::from(edge.evidence.clone());
                if !others.contains(&cause) {
                    others.push(cause);
                }
            }
            if !reached.contains_key(&edge.to) {
                reached.insert(edge.to.clone(), Some((from.clone(), edge.evidence)));
                queue.push_back(edge.to);
            }
        }
    }
    let mut steps: Vec<Cause> = Vec::new();
    let mut at = Variable::Distribution(name.to_owned());
    while let Some(Some((from, evidence))) = reached.get(&at) {
        steps.push(evidence.clone().into());
        at = from.clone();
    }
    steps.reverse();
    others.retain(|cause| !steps.contains(cause));
    others.truncate(REQUIREMENTS);
    (steps, others)
}
