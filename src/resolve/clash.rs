//! What the requirements of a conflict meet in: the package or the framework of which they ask what excludes each other.

use pep440_rs::Version;

use super::conflict::Line;
use super::evidence::Evidence;
use super::reading::Step;
use super::served::listed;
use super::solver::Problem;
use super::variable::{Value, Values, Variable};

/// Up to this many versions are listed.
const VERSIONS: usize = 4;

/// Requirements on one thing that exclude each other.
pub(super) struct Clash {
    /// Two of them, as one sentence.
    pub(super) headline: String,
    /// What there is of the thing.
    pub(super) exists: Option<Line>,
}

/// Where the requirements of a proof clash; `None` if it is about something that does not exist at all.
pub(super) fn found(asks: &[(Variable, Evidence)], steps: &[Step], problem: &Problem<'_>) -> Option<Clash> {
    problem.packages?;
    let asked = problem.edges(&Variable::Spec, &Value::Only).ok()?.ok()?;
    let bounds = |(to, ask): &&(Variable, Evidence)| {
        asked.iter().any(|edge| edge.to == *to && edge.evidence == *ask && edge.values != Values::full())
    };
    // The last one is the deepest: requirements on others are the way to it.
    let clash = steps.iter().rev().map(|step| &step.to).chain(asks.iter().map(|(to, _)| to)).find_map(|to| {
        if !matches!(to, Variable::Distribution(_) | Variable::Build(_)) || steps.iter().any(|step| step.from == *to) {
            return None;
        }
        let by_packages = steps.iter().filter(|step| step.to == *to && is_of_package(&step.from)).filter_map(told);
        let by_spec = asks.iter().filter(|(asked, _)| asked == to).filter(bounds).map(|(_, ask)| ask.fact.as_str());
        let mut facts: Vec<&str> = by_packages.chain(by_spec).collect();
        facts.dedup();
        match facts.as_slice() {
            [first, .., last] => Some((to, format!("{first}, and {last}"))),
            _ => None,
        }
    });
    let (to, headline) = clash?;
    Some(Clash { headline, exists: exists(to, problem) })
}

fn is_of_package(variable: &Variable) -> bool {
    matches!(variable, Variable::Distribution(_) | Variable::Extra(..))
}

/// The need of the newest final version, else of the newest.
fn told(step: &Step) -> Option<&str> {
    let is_final = |value: &Value| value.release().is_some_and(|version| !version.any_prerelease());
    let mut evidence = step.evidence.iter();
    let found = evidence.clone().find(|(value, _)| is_final(value)).or_else(|| evidence.next());
    found.map(|(_, evidence)| evidence.fact.as_str())
}

/// `` the index has num 1.0 and 2.0 for Python 3.13 ``.
fn exists(to: &Variable, problem: &Problem<'_>) -> Option<Line> {
    let Variable::Distribution(name) = to else { return None };
    let packages = problem.packages?;
    let offer = packages.offer(name).ok()?;
    let finals: Vec<&Version> = offer.candidates.keys().filter(|version| !version.any_prerelease()).collect();
    let index = packages.named_index(&offer.candidates.values().next()?.index)?;
    let python = packages.environment.python;
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
