//! Why there is no answer, as data: the steps of the proof with their sources, and the spec's lines that asked.
//!
//! For programs every kind of reason is kept ([`Conflict::reasons`]); people get [`Conflict::proof`], a line for each step that
//! is needed, over the smallest part of the spec that has no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::json;

use crate::catalog::Catalog;
use crate::diagnostic::{Hint, Origin};
use crate::oci::Platform;
use crate::spec::Spec;

use super::besides;
use super::evidence::{Code, Evidence};
use super::minimal;
use super::proof;
use super::reading::Reading;
use super::solver::{Failed, Problem, Proof};
use super::stack::StackModel;
use super::variable::Variable;

/// At most this many lines of the spec are told; a part without an answer seldom has more than three.
const ASKS: usize = 10;

/// At most this many other conflicts are told people; the JSON has all of them.
const BESIDES: usize = 3;

/// One step of the proof.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Kind.
    pub code: Code,
    /// One sentence.
    pub fact: String,
    /// Citation.
    pub source: String,
    /// The line of the spec it collides with.
    pub origin: Option<Origin>,
    /// Whose need it is.
    pub(super) of: Variable,
    /// What is needed.
    pub(super) to: Variable,
}

/// One line of the proof as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// One sentence, which may sum up many builds or versions.
    pub fact: String,
    /// Citations; none where the sentence only counts or closes.
    pub sources: Vec<String>,
}

impl Line {
    /// A line that needs no citation.
    pub(super) fn plain(fact: String) -> Self {
        Self { fact, sources: Vec::new() }
    }
}

/// A request that cannot be met.
#[derive(Debug, Clone, Default)]
pub struct Conflict {
    /// What the spec asked for, as far as it takes part.
    pub asks: Vec<Evidence>,
    /// The steps, most telling first; every kind of reason is among them.
    pub reasons: Vec<Reason>,
    /// The steps for people: what each line of the spec and each value needs of the others.
    pub proof: Vec<Line>,
    /// The other conflicts of the spec, a line each.
    pub besides: Vec<Line>,
    /// What was tried besides, for whoever wonders about it.
    pub remarks: Vec<String>,
    /// Changes that were tried and do lead to an answer.
    pub help: Vec<String>,
    /// Packages of which only source distributions exist in the range asked for, with the newest version of those.
    pub only_sources: BTreeMap<String, String>,
    /// Packages that no index has.
    pub unknown_projects: BTreeSet<String>,
    /// The platform that alone has no answer.
    pub(super) platform: Option<Platform>,
    /// What to say first, where no single step does.
    pub(super) headline: Option<String>,
}

impl Conflict {
    /// Reads a proof. `problem` is asked again for the evidence behind each of its leaves.
    pub(super) fn from_proof(proof: &Proof, problem: &Problem<'_>) -> Self {
        let whole = Reading::new(proof, problem);
        let mut conflict = whole.conflict(problem, problem.stack);
        // With packages in it a problem is too costly to solve a dozen times, and its proof is about packages.
        if problem.packages.is_none() && problem.fixed.is_empty() {
            let core = minimal::core(problem.stack, &BTreeSet::new());
            let whole = Some(problem.stack).filter(|whole| !whole.contradicts_itself());
            conflict = match Self::over(&core.spec, problem.stack.catalog, whole) {
                Some(told) => told.with_all_reasons(conflict.reasons),
                None => conflict.in_order(),
            };
            besides::tell(&mut conflict, problem.stack, core.wishes);
            return conflict;
        }
        conflict.in_order()
    }

    /// The conflict over a part of a spec; `whole` is the model of all of it, where all of it is to be told of.
    pub(super) fn over(part: &Spec, catalog: &Catalog, whole: Option<&StackModel<'_>>) -> Option<Self> {
        let model = StackModel::new(part, catalog).ok()?;
        let preferred = BTreeMap::new();
        let problem = Problem::new(&model, None, &preferred);
        let Err(Failed::Proof(proof)) = problem.solve() else { return None };
        Some(Reading::new(&proof, &problem).conflict(&problem, whole.unwrap_or(&model)))
    }

    /// Reads the proof over a part of a spec that has no answer by itself. `model` is that of the whole spec, `whole` the
    /// conflict over it.
    pub(super) fn of_part(proof: &Proof, problem: &Problem<'_>, model: &StackModel<'_>, whole: &Self) -> Self {
        let part = Reading::new(proof, problem).conflict(problem, model);
        let mut part = part.with_all_reasons(whole.reasons.clone());
        part.remarks.clone_from(&whole.remarks);
        part.in_order()
    }

    /// What it comes down to: no single step says more.
    pub(super) fn gist(&self) -> Option<&String> {
        self.headline.as_ref().or(self.reasons.first().map(|reason| &reason.fact))
    }

    /// The telling steps first: what is impossible in itself, before requirements that merely exclude each other.
    pub(super) fn in_order(mut self) -> Self {
        // That some base does not suit says less than what it is needed for.
        self.reasons.sort_by_key(|reason| {
            (matches!(reason.code, Code::PinConflict | Code::Unsatisfiable), reason.of == Variable::Base)
        });
        in_order_of_the_spec(&mut self.reasons);
        self
    }

    /// The reasons of the whole proof, those that this part of it has as well first. The part has fewer wishes, so that more
    /// builds come into question in it than the user asked for; its own reasons count only where the whole was about
    /// something else.
    pub(super) fn with_all_reasons(mut self, whole: Vec<Reason>) -> Self {
        let key = |reason: &Reason| (reason.code, reason.of.clone());
        let own: BTreeSet<(Code, Variable)> = self.reasons.iter().map(key).collect();
        let (telling, others): (Vec<Reason>, Vec<Reason>) =
            whole.into_iter().partition(|reason| own.contains(&key(reason)));
        if !telling.is_empty() {
            self.reasons = telling;
        }
        // What is told first is what the proof is about.
        self = self.in_order();
        self.reasons.extend(Self { reasons: others, ..Self::default() }.in_order().reasons);
        self
    }

    /// Tells another conflict of the spec besides: its reasons for programs, a line for people.
    pub(super) fn add(&mut self, other: &Self) {
        self.add_reasons(&other.reasons);
        let Some(first) = other.reasons.first() else { return };
        let fact = match &other.headline {
            Some(headline) if headline.contains(&first.fact) => headline.clone(),
            Some(headline) => format!("{headline}: {}", first.fact),
            None => first.fact.clone(),
        };
        let place = other.reasons.iter().find_map(|reason| reason.origin.as_ref());
        let place = place.map(|place| format!("{}:{}", place.path.display(), place.line()));
        let sources = place.into_iter().chain((first.source != "spec").then(|| first.source.clone())).collect();
        let line = Line { fact: format!("besides, {fact}"), sources };
        if !self.besides.contains(&line) {
            self.besides.push(line);
        }
    }

    /// Adds reasons that are not known yet.
    pub(super) fn add_reasons(&mut self, reasons: &[Reason]) {
        for reason in reasons {
            let is_known = |known: &Reason| known.fact == reason.fact;
            if !self.reasons.iter().any(is_known) {
                self.reasons.push(reason.clone());
            }
        }
    }

    /// Help that follows from the reasons alone, without trying anything.
    pub(super) fn standing_help(&self) -> Vec<String> {
        let sources = self.only_sources.iter().map(|(name, version)| {
            format!(
                "build the wheel once (`pip wheel --no-deps {name}=={version}`), put it beside the spec and write \
                 `{name} @ file:FILE.whl`, or put it on an index of your own under `indexes:`"
            )
        });
        let unknown = self
            .unknown_projects
            .iter()
            .map(|name| format!("check the spelling of `{name}`, or list the index that has it under `indexes:`"));
        sources.chain(unknown).collect()
    }

    /// The answer as data.
    pub fn to_json(&self) -> serde_json::Value {
        let asks = self.asks.iter().map(|ask| &ask.fact);
        json!({
            "status": "conflict",
            "reasons": self.reasons.iter().map(|reason| json!({
                "code": reason.code.name(),
                "fact": reason.fact,
                "source": reason.source,
                "spec_line": reason.origin.as_ref().map(Origin::line),
            })).collect::<Vec<_>>(),
            "proof": asks.chain(self.proof.iter().chain(&self.besides).map(|line| &line.fact)).collect::<Vec<_>>(),
            "remarks": self.remarks,
            "help": self.help,
        })
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gist() {
            Some(fact) => write!(f, "no environment meets this spec: {fact}"),
            None => f.write_str("no environment meets this spec"),
        }
    }
}

impl std::error::Error for Conflict {}

impl Hint for Conflict {
    fn help(&self) -> Vec<String> {
        self.help.clone()
    }

    fn notes(&self) -> Vec<String> {
        let mut cited = BTreeSet::new();
        let mut cite = |source: &str| match cited.insert(source.to_owned()) {
            true => source.to_owned(),
            false => proof::short_citation(source).to_owned(),
        };
        let mut notes = Vec::new();
        for ask in self.asks.iter().take(ASKS) {
            let place = ask.origin.as_ref().map(|origin| format!("{}:{}", origin.path.display(), origin.line()));
            let source = (ask.source != "spec").then(|| cite(&ask.source));
            let places: Vec<String> = place.into_iter().chain(source).collect();
            notes.push(format!("{} [{}]", ask.fact, places.join("; ")));
        }
        if let Some(more) = self.asks.len().checked_sub(ASKS).filter(|more| *more > 0) {
            notes.push(format!("{more} more lines of the spec; `--format json` has all of them"));
        }
        for line in self.proof.iter().chain(self.besides.iter().take(BESIDES)) {
            let sources: Vec<String> = line.sources.iter().map(|source| cite(source)).collect();
            let sources = if sources.is_empty() { String::new() } else { format!(" [{}]", sources.join("; ")) };
            notes.push(format!("{}{sources}", line.fact));
        }
        if let Some(more) = self.besides.len().checked_sub(BESIDES).filter(|more| *more > 0) {
            let conflicts = if more == 1 { "conflict" } else { "conflicts" };
            notes.push(format!("{more} more {conflicts} besides; `--format json` has all of them"));
        }
        notes.extend(self.remarks.iter().cloned());
        notes
    }

    fn origin(&self) -> Option<Origin> {
        let mut origins = self.reasons.iter().filter_map(|reason| reason.origin.clone());
        origins.next().or_else(|| self.asks.iter().find_map(|ask| ask.origin.clone()))
    }

    fn exit_code(&self) -> u8 {
        1
    }

    fn json(&self) -> Option<serde_json::Value> {
        Some(self.to_json())
    }
}

/// Puts frameworks that exclude each other into the order of the spec's lines: neither is to blame more than the other, and
/// their names have no part in it. A cuDNN that they do not share comes before a CUDA major, which some builds share.
fn in_order_of_the_spec(reasons: &mut [Reason]) {
    let excludes = |reason: &Reason| {
        matches!(reason.code, Code::CudaMismatch | Code::CudnnMismatch) && matches!(reason.of, Variable::Build(_))
    };
    let places: Vec<usize> = (0..reasons.len()).filter(|place| excludes(&reasons[*place])).collect();
    let mut ordered: Vec<Reason> = places.iter().map(|place| reasons[*place].clone()).collect();
    ordered.sort_by_key(|reason| (reason.code == Code::CudaMismatch, reason.origin.as_ref().map(Origin::line)));
    for (place, reason) in places.into_iter().zip(ordered) {
        reasons[place] = reason;
    }
}
