//! Why a Python package is in an environment and in which version: the chain of requirements down to it, what excludes newer
//! versions, and what would free it. Indexes are asked through [`PackageSource`], as a resolution asks them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pep440_rs::Version;
use pep508_rs::{Requirement, VerbatimUrl};

use crate::catalog::Catalog;
use crate::oci::Platform;
use crate::spec::{Located, Spec};
use crate::version::wheel_tag::normalize_name;

use super::evidence::{Code, Evidence};
use super::explain::{CHANGES, Cause, Explanation, HeldBack, ends, first_cause};
use super::package_changes;
use super::package_core;
use super::relax;
use super::solver::{Problem, Solution};
use super::stack::StackModel;
use super::variable::{Value, Values, Variable};
use super::world::World;
use super::{Candidate, Conflict, Error, Interpreters, PATIENCE, PackageSource, Preferences, Question, source_error};

/// At most this many other requirements are told.
const REQUIREMENTS: usize = 8;
/// At most this many packages are named that a newer version would move.
const MOVED: usize = 3;
/// At most this many newer releases are looked at.
const RELEASES: usize = 12;

/// What there is to say of a package, on the platforms of which all of it is true.
#[derive(Debug, Clone)]
pub struct PackageExplanation {
    /// The platforms.
    pub platforms: Vec<Platform>,
    /// The wheel on each of them: what is said of one version is seldom of one file.
    pub files: Vec<String>,
    /// What is true on all of them.
    pub explanation: Explanation,
}

impl PackageExplanation {
    /// Adds what is said of a package on a platform: to what was said before if it is the same.
    pub fn add(known: &mut Vec<Self>, platform: Platform, file: String, explanation: Explanation) {
        match known.iter_mut().find(|same| same.explanation == explanation) {
            Some(same) => {
                same.platforms.push(platform);
                same.files.push(file);
            }
            None => known.push(Self { platforms: vec![platform], files: vec![file], explanation }),
        }
    }
}

/// Why a Python package is there and in which version, on every platform that has it. The inner error is the names there
/// are, if the environment has no such package; the outer one the conflict where there is no answer, or the source's failure.
pub fn explain_package(
    spec: &Spec,
    catalog: &Catalog,
    source: &dyn PackageSource,
    preferences: &Preferences,
    interpreters: &dyn Interpreters,
    name: &str,
) -> Result<Result<Vec<PackageExplanation>, Vec<String>>, Error> {
    let name = normalize_name(name);
    let question = Question { catalog, source, preferences, interpreters };
    let resolution = question.answer(spec)?.map_err(|conflict| Error::Conflict(Box::new(conflict)))?;
    let mut worlds = Vec::new();
    for platform in resolution.platforms.iter().filter(|platform| platform.wheels.contains_key(&name)) {
        let versions = platform.wheels.iter().map(|(name, wheel)| (name.clone(), wheel.version.clone()));
        worlds.push(World::new(&question, &resolution.stack, platform.platform, versions.collect())?);
    }
    let mut explanations = Vec::new();
    question.in_a_hurry(PATIENCE, |retries| {
        for (at, world) in worlds.iter().enumerate() {
            let chosen = resolution.platforms.iter().find(|known| known.platform == world.platform);
            let Some(chosen) = chosen.and_then(|platform| platform.wheels.get(&name)) else { continue };
            let others = worlds.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, world)| world);
            let beside = Beside { others: others.collect(), retries };
            let explanation = world.explain(spec, chosen, &name, &beside)?;
            PackageExplanation::add(&mut explanations, world.platform, chosen.file.filename.clone(), explanation);
        }
        Ok::<(), Error>(())
    })?;
    if explanations.is_empty() {
        let names = resolution.platforms.iter().flat_map(|platform| platform.wheels.keys().cloned());
        return Ok(Err(names.collect::<BTreeSet<_>>().into_iter().collect()));
    }
    Ok(Ok(explanations))
}

/// The spec with a further requirement.
fn with_package(spec: &Spec, name: &str, version: &Version) -> Spec {
    let mut forced = spec.clone();
    if let Ok(requirement) = format!("{name}=={version}").parse::<Requirement<VerbatimUrl>>() {
        forced.packages.push(Located::default_of(requirement));
    }
    forced
}

/// What a platform is explained with.
struct Beside<'w> {
    /// The other platforms.
    others: Vec<&'w World<'w>>,
    /// The question for what is tried.
    retries: &'w Question<'w>,
}

/// A version above the chosen one, and why no wheel of it can be used, if none can.
type Newer = (Version, Option<(Code, String)>);

impl World<'_> {
    /// Why a package is there and in which version.
    fn explain(&self, spec: &Spec, chosen: &Candidate, name: &str, beside: &Beside<'_>) -> Result<Explanation, Error> {
        let mut explanation = Explanation {
            subject: name.to_owned(),
            value: chosen.version.to_string(),
            details: vec![("version", chosen.version.to_string()), ("index", chosen.index.clone())],
            ..Explanation::default()
        };
        let mut needs = Vec::new();
        self.ask(spec, &mut |problem, solved| {
            if let Ok(solution) = solved {
                (explanation.chosen_by, needs) = chain(problem, solution, name);
            }
        })?;
        let also = needs.iter().map(|(cause, _)| cause).filter(|cause| !explanation.chosen_by.contains(cause));
        explanation.also_required = also.take(REQUIREMENTS).cloned().collect();
        let newer = self.newer(spec, name, &chosen.version)?;
        if newer.is_empty() {
            explanation.remarks.push("the index has no newer release".to_owned());
        }
        for (version, unusable) in ends(newer) {
            match self.hold_back(spec, name, &version, unusable, beside, &mut explanation) {
                // What the answer's own packages require is known all the same.
                Err(Error::Source(failure)) => {
                    let excluding = |(_, values): &&(Cause, Values)| !values.contains(&Value::Release(version.clone()));
                    let cause = needs.iter().find(excluding).map(|(cause, _)| cause.clone());
                    let unknown = if cause.is_some() { "would free" } else { "holds back" };
                    let held = |cause| HeldBack { value: version.to_string(), code: Some(Code::PinConflict), cause };
                    explanation.held_back.extend(cause.map(held));
                    let remark = format!("what {unknown} {version} could not be found out: {}", failure.0);
                    explanation.remarks.push(remark);
                }
                held => held?,
            }
        }
        Ok(explanation)
    }

    /// What excludes a newer version, and what would free it. `unusable` is why it cannot be installed here in any case.
    fn hold_back(
        &self,
        spec: &Spec,
        name: &str,
        version: &Version,
        unusable: Option<(Code, String)>,
        beside: &Beside<'_>,
        explanation: &mut Explanation,
    ) -> Result<(), Error> {
        let held = |code, cause| HeldBack { value: version.to_string(), code, cause };
        let forced = with_package(spec, name, version);
        let conflict = match self.try_out(&forced)? {
            Err(conflict) => conflict,
            Ok(versions) => {
                let (cause, change) = self.preference(&forced, name, version, &versions, beside)?;
                explanation.held_back.push(held(None, cause));
                explanation.freed_by.extend(change);
                return Ok(());
            }
        };
        let hurried = self.asked_by(beside.retries);
        let told = package_core::in_world(&hurried, self.question, &forced, conflict.clone(), &conflict);
        let mut conflict = told.ok().flatten().unwrap_or(conflict);
        let mut others = beside.others.iter();
        if others.len() > 0 && others.all(|other| other.try_out(&forced).is_ok_and(|found| found.is_ok())) {
            conflict.platform = Some(self.platform);
        }
        let asked = format!("{name}=={version}");
        let cause = match unusable {
            Some((code, fact)) => Some((Some(code), Cause { fact, source: "package index".to_owned(), origin: None })),
            None => cause_of(&conflict, name, &asked),
        };
        explanation.held_back.extend(cause.map(|(code, cause)| held(code, cause)));
        let more = CHANGES.saturating_sub(explanation.freed_by.len());
        let changes = match beside.retries.answer(&forced) {
            // With another Python or base, which the spec leaves open.
            Ok(Ok(found)) => {
                vec![format!("with `{asked}` in the spec there is an answer: {}", relax::result(&found.stack))]
            }
            Ok(Err(_)) => package_changes::suggestions(self.question, beside.retries, &forced, &conflict, more),
            Err(_) => Vec::new(),
        };
        explanation.freed_by.extend(changes.iter().map(|change| format!("{version}: {change}")));
        Ok(())
    }

    /// Why a version that nothing here excludes was not taken, and what would take it.
    fn preference(
        &self,
        forced: &Spec,
        name: &str,
        version: &Version,
        versions: &BTreeMap<String, Version>,
        beside: &Beside<'_>,
    ) -> Result<(Cause, Option<String>), Error> {
        let cause = |fact: String, source: &str| Cause { fact, source: source.to_owned(), origin: None };
        let preferences = self.question.preferences;
        let mut locked = preferences.platform_packages.get(&self.platform).into_iter().chain([&preferences.packages]);
        if locked.any(|locked| locked.contains_key(name)) {
            let change = format!("{version}: `imgforge lock --upgrade-package {name}` may take it");
            return Ok((cause("nothing excludes it but what is locked".to_owned(), "imgforge.lock"), Some(change)));
        }
        let moved = |(other, now): (&String, &Version)| {
            let before = self.locked.get(other).filter(|before| other != name && *before != now)?;
            Some(format!("{other} {now} instead of {before}"))
        };
        let moved: Vec<String> = versions.iter().filter_map(moved).take(MOVED).collect();
        if !moved.is_empty() {
            let fact = format!("it would do with {}, and what the spec names first is newest", moved.join(", "));
            let freed = beside.retries.answer(forced).is_ok_and(|answer| answer.is_ok());
            let change = format!("{version}: with `{name}=={version}` in the spec there is an answer");
            return Ok((cause(fact, "package index"), freed.then_some(change)));
        }
        for other in &beside.others {
            if other.try_out(forced)?.is_err() {
                let fact = format!("{} has no answer with it, and platforms share a version", other.platform);
                return Ok((cause(fact, "package index"), None));
            }
        }
        Ok((cause("nothing excludes it".to_owned(), "package index"), None))
    }

    /// Versions above the chosen one, oldest first: each with the reason if no wheel of it can be used at all.
    fn newer(&self, spec: &Spec, name: &str, chosen: &Version) -> Result<Vec<Newer>, Error> {
        let model = StackModel::new(spec, self.question.catalog)?;
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

/// The most telling reason of a conflict over a version of `name` that was asked for as `asked`, which itself is no reason: what
/// another package requires of it, else the first one.
fn cause_of(conflict: &Conflict, name: &str, asked: &str) -> Option<(Option<Code>, Cause)> {
    let asks = conflict.asks.iter().filter(|ask| ask.origin.is_some());
    let asks: Vec<Cause> = asks.cloned().map(Cause::from).collect();
    let mut telling = conflict.clone();
    let asked = format!("`{asked}`");
    telling.reasons.retain(|reason| !reason.fact.contains(&asked));
    let is_of_it = |variable: &Variable| matches!(variable, Variable::Distribution(known) if known == name);
    telling.reasons.sort_by_key(|reason| !is_of_it(&reason.to) || is_of_it(&reason.of));
    let (code, mut cause) = first_cause(&telling, &asks)?;
    // Whoever wonders about a requirement far down wants to know for whose sake it is there.
    if let ([only], None) = (asks.as_slice(), &cause.origin) {
        cause.origin.clone_from(&only.origin);
    }
    Some((code, cause))
}

/// The shortest chain of requirements from the spec to a package, and every requirement on it with what that allows.
fn chain(problem: &Problem<'_>, solution: &Solution, name: &str) -> (Vec<Cause>, Vec<(Cause, Values)>) {
    let is_wanted = |variable: &Variable| match variable {
        Variable::Distribution(found) => found == name,
        _ => false,
    };
    let mut reached: BTreeMap<Variable, Option<(Variable, Evidence)>> = BTreeMap::from([(Variable::Spec, None)]);
    let mut queue = VecDeque::from([Variable::Spec]);
    let mut needs: Vec<(Cause, Values)> = Vec::new();
    while let Some(from) = queue.pop_front() {
        let value = if from == Variable::Spec { Some(&Value::Only) } else { solution.get(&from) };
        let edges = value.and_then(|value| problem.edges(&from, value).ok()).and_then(Result::ok).unwrap_or_default();
        for edge in edges {
            let own_extra =
                matches!((&from, &edge.to), (Variable::Extra(of, _), Variable::Distribution(to)) if of == to);
            if is_wanted(&edge.to) && !own_extra {
                let cause = Cause::from(edge.evidence.clone());
                if !needs.iter().any(|(known, _)| *known == cause) {
                    needs.push((cause, edge.values.clone()));
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
    (steps, needs)
}
