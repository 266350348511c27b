//! What the requirements of a conflict meet in: the package or the framework of which they ask what excludes each other, or what
//! does not exist.

use pep440_rs::Version;

use super::conflict::Line;
use super::evidence::Evidence;
use super::packages;
use super::reading::Step;
use super::served::listed;
use super::solver::Problem;
use super::variable::{Value, Values, Variable};

/// Up to this many versions are listed.
const VERSIONS: usize = 4;
/// Up to this many needs stand before the last one, where no two of them exclude each other.
const NEEDS: usize = 2;

/// Requirements on one thing that exclude each other.
pub(super) struct Clash {
    /// Two of them, as one sentence.
    pub(super) headline: String,
    /// What there is of the thing.
    pub(super) exists: Option<Line>,
}

/// One requirement: its sentence, and what it allows.
type Need<'p> = (&'p str, Values);

/// Where the requirements of a proof clash; `None` if that is told by the steps alone.
pub(super) fn found(asks: &[(Variable, Evidence)], steps: &[Step], problem: &Problem<'_>) -> Option<Clash> {
    problem.packages?;
    if let Some(headline) = nothing_there(asks, steps) {
        return Some(Clash { headline, exists: None });
    }
    let asked = problem.edges(&Variable::Spec, &Value::Only).ok()?.ok()?;
    let bound = |(to, ask): &(Variable, Evidence)| {
        let edge = asked.iter().find(|edge| edge.to == *to && edge.evidence == *ask)?;
        (edge.values != Values::full()).then(|| edge.values.clone())
    };
    // The last one is the deepest: requirements on others are the way to it.
    let clash = steps.iter().rev().map(|step| &step.to).chain(asks.iter().map(|(to, _)| to)).find_map(|to| {
        if !matches!(to, Variable::Distribution(_) | Variable::Build(_)) || steps.iter().any(|step| step.from == *to) {
            return None;
        }
        let of_packages = steps.iter().filter(|step| step.to == *to && is_of_package(&step.from));
        let of_packages = of_packages.filter_map(|step| need(step, problem));
        let of_spec = asks.iter().filter(|(asked, _)| asked == to);
        let of_spec = of_spec.filter_map(|ask| Some((ask.1.fact.as_str(), bound(ask)?)));
        let mut needs: Vec<Need<'_>> = of_packages.chain(of_spec).collect();
        needs.dedup_by(|one, other| one.0 == other.0);
        Some((to, told(&needs, &existing(to, problem))?))
    });
    let (to, headline) = clash?;
    Some(Clash { headline, exists: exists(to, problem) })
}

/// `` b 1.0 requires `c>=2`, and no version of c is in that range ``: who asks for what does not exist.
fn nothing_there(asks: &[(Variable, Evidence)], steps: &[Step]) -> Option<String> {
    let missing = steps.iter().find(|step| step.from == step.to && matches!(step.to, Variable::Distribution(_)))?;
    let (_, Evidence { fact, .. }) = missing.evidence.first()?;
    let is_of_another = |step: &&Step| step.to == missing.to && step.from != missing.from && is_of_package(&step.from);
    let of_packages = steps.iter().filter(is_of_another);
    let mut needs: Vec<&str> = of_packages.filter_map(newest_need).map(|(_, need)| need.fact.as_str()).collect();
    // What the spec asks for stands beside the caret, unless the fact speaks of its range.
    if fact.starts_with("no version of ") {
        needs.extend(asks.iter().filter(|(to, _)| *to == missing.to).map(|(_, ask)| ask.fact.as_str()));
    }
    match needs.as_slice() {
        [only] => Some(format!("{only}, and {fact}")),
        _ => None,
    }
}

fn is_of_package(variable: &Variable) -> bool {
    matches!(variable, Variable::Distribution(_) | Variable::Extra(..))
}

/// What the newest final version needs, else the newest.
fn newest_need(step: &Step) -> Option<&(Value, Evidence)> {
    let is_final = |value: &Value| value.release().is_some_and(|version| !version.any_prerelease());
    step.evidence.iter().find(|(value, _)| is_final(value)).or(step.evidence.first())
}

fn need<'p>(step: &'p Step, problem: &Problem<'_>) -> Option<Need<'p>> {
    let (value, evidence) = newest_need(step)?;
    let edges = problem.edges(&step.from, value).ok().and_then(Result::ok).unwrap_or_default();
    let edge = edges.into_iter().find(|edge| edge.to == step.to && edge.evidence == *evidence)?;
    Some((&evidence.fact, edge.values))
}

/// Two needs that nothing meets together; the first few where it takes more than two to leave nothing.
fn told(needs: &[Need<'_>], existing: &[Value]) -> Option<String> {
    let pairs = needs.iter().enumerate().flat_map(|(at, one)| needs[at + 1..].iter().map(move |other| (one, other)));
    let mut pairs = pairs.filter(|((_, one), (_, other))| {
        let both = one.intersection(other);
        !existing.iter().any(|value| both.contains(value))
    });
    if let Some(((one, _), (other, _))) = pairs.next() {
        return Some(format!("{one}, and {other}"));
    }
    match needs {
        [] | [_] => None,
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().take(NEEDS).map(|(fact, _)| *fact).collect();
            Some(format!("{}, and {}", first.join(", "), last.0))
        }
    }
}

/// The values that there are at all.
fn existing(to: &Variable, problem: &Problem<'_>) -> Vec<Value> {
    let (Variable::Distribution(name), Some(packages)) = (to, problem.packages) else {
        return problem.stack_values(to).unwrap_or_default();
    };
    let offer = packages.offer(name).ok();
    let versions = offer.iter().flat_map(|offer| offer.candidates.keys().chain(offer.yanked.keys()));
    versions.map(|version| Value::Release(version.clone())).collect()
}

/// `` the index has num 1.0 and 2.0 for Python 3.13 ``.
fn exists(to: &Variable, problem: &Problem<'_>) -> Option<Line> {
    let Variable::Distribution(name) = to else { return None };
    let known = problem.packages?;
    let offer = known.offer(name).ok()?;
    let finals: Vec<&Version> = offer.candidates.keys().filter(|version| !version.any_prerelease()).collect();
    let index = packages::named_index(&offer.candidates.values().next()?.index)?;
    let python = known.environment.python;
    let fact = match finals.as_slice() {
        [] => return None,
        [first, .., last] if finals.len() > VERSIONS => {
            format!("{index} has {} releases of {name} for Python {python}, from {first} to {last}", finals.len())
        }
        few => {
            let few: Vec<String> = few.iter().map(ToString::to_string).collect();
            format!("{index} has {name} {} for Python {python}", listed(&few))
        }
    };
    Some(Line { fact, sources: vec!["package index".to_owned()] })
}
