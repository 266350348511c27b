//! Stage 3: which versions fit together.
//!
//! Two questions, one problem. [`resolve_stack`] asks the catalog alone: it is instant and needs no network. [`resolve`]
//! adds the Python packages, asking a [`PackageSource`] for pages and metadata. Markers depend on Python, so the lines the
//! stack leaves open are tried newest first, and each try is one search over stack and packages together; platforms are
//! solved one by one, each preferring the versions of the one before.
//!
//! Choice among answers: what a lock holds first; then the newest release that suits every target, the default index
//! before others, the newest Python, the smallest base. When there is none, [`Conflict`] holds the proof.

mod answer;
mod bases;
mod besides;
mod builds;
mod cards;
mod clash;
mod conflict;
mod cudnn;
mod distributions;
mod drivers;
mod evidence;
mod explain;
mod explain_package;
mod hurried;
mod likely;
mod minimal;
mod numbers;
mod package_changes;
mod package_core;
mod packages;
mod platforms;
mod proof;
mod question;
mod reading;
mod relax;
mod served;
mod solver;
mod stack;
mod targets;
mod toolkit;
mod unbuilt;
mod variable;
mod wishes;
mod world;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::Version;

use crate::catalog::Catalog;
use crate::diagnostic::{Failure, Hint, Origin};
use crate::oci::Platform;
use crate::spec::Spec;
use crate::version::PythonVersion;

pub use answer::{ChosenFramework, ChosenTarget, StackAnswer};
pub use bases::BaseRow;
pub use conflict::{Conflict, Line, Reason};
pub use distributions::packages_of_families;
pub use evidence::{Code, Evidence};
pub use explain::{Cause, Explanation, HeldBack, explain_stack};
pub use explain_package::{PackageExplanation, explain_package};
pub use likely::Likely;
pub use packages::{Candidate, PackageSource};
pub use proof::short_citation;
pub use question::Interpreters;

use answer::answer;
use numbers::python_value;
use question::{PATIENCE, Question};
use relax::OFFERS;
use solver::{Failed, Problem};
use stack::StackModel;
use variable::{Value, Variable};

/// Why there is no resolution.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The answer is no.
    #[error("{0}")]
    Conflict(Box<Conflict>),
    /// The spec names a card the catalog does not know.
    #[error("the catalog knows no card `{name}`")]
    UnknownCard {
        /// As written.
        name: String,
        /// A known one that looks like it.
        suggestion: Option<String>,
        /// Where.
        origin: Option<Origin>,
    },
    /// The spec names a machine the catalog does not know.
    #[error("the catalog knows no machine `{name}`")]
    UnknownInstance {
        /// As written.
        name: String,
        /// A known one that looks like it.
        suggestion: Option<String>,
        /// Clouds the catalog knows.
        clouds: Vec<String>,
        /// Where.
        origin: Option<Origin>,
    },
    /// The spec names a framework family the catalog does not know.
    #[error("the catalog knows no framework `{family}`")]
    UnknownFramework {
        /// As written.
        family: String,
        /// Families that are known.
        known: Vec<String>,
        /// Where.
        origin: Option<Origin>,
    },
    /// A companion of a framework that is nearly one which the catalog knows. Others are packages like any.
    #[error("{family} has no companion `{companion}`")]
    UnknownCompanion {
        /// The framework.
        family: String,
        /// As written.
        companion: String,
        /// The one that it looks like.
        suggestion: String,
        /// Where.
        origin: Option<Origin>,
    },
    /// The source of packages could not be asked.
    #[error("{}", .0.0)]
    Source(Failure),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        let meant = |suggestion: &Option<String>| suggestion.as_ref().map(|found| format!("did you mean `{found}`?"));
        match self {
            Self::Conflict(conflict) => conflict.help(),
            Self::UnknownCard { suggestion, .. } => meant(suggestion)
                .into_iter()
                .chain(["`imgforge catalog list gpus` lists the cards".to_owned()])
                .collect(),
            Self::UnknownInstance { suggestion, clouds, .. } => meant(suggestion)
                .into_iter()
                .chain([
                    format!("`imgforge catalog list instances` lists the machines of {}", clouds.join(", ")),
                    "a machine that is not listed can be named by its card: `{gpu: T4}`".to_owned(),
                ])
                .collect(),
            Self::UnknownFramework { family, known, .. } => {
                let close = crate::diagnostic::suggestion(family, known.iter().map(String::as_str)).map(str::to_owned);
                let names: Vec<String> = known.iter().map(|family| format!("`{family}`")).collect();
                let list = format!("known are {}; anything else can be listed under `packages:`", names.join(", "));
                meant(&close).into_iter().chain([list]).collect()
            }
            Self::UnknownCompanion { companion, suggestion, .. } => vec![
                format!("did you mean `{suggestion}`?"),
                format!("a package that is called `{companion}` can be listed under `packages:`"),
            ],
            Self::Source(failure) => failure.0.help(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Conflict(conflict) => conflict.notes(),
            Self::Source(failure) => failure.0.notes(),
            _ => Vec::new(),
        }
    }
    fn origin(&self) -> Option<Origin> {
        match self {
            Self::Conflict(conflict) => conflict.origin(),
            Self::UnknownCard { origin, .. }
            | Self::UnknownInstance { origin, .. }
            | Self::UnknownFramework { origin, .. }
            | Self::UnknownCompanion { origin, .. } => origin.clone(),
            Self::Source(failure) => failure.0.origin(),
        }
    }
    fn exit_code(&self) -> u8 {
        match self {
            Self::Conflict(_) => 1,
            Self::Source(failure) => failure.exit_code(),
            _ => 2,
        }
    }
    fn json(&self) -> Option<serde_json::Value> {
        match self {
            Self::Conflict(conflict) => conflict.json(),
            _ => None,
        }
    }
}

/// What to keep from an earlier decision where it still suits.
#[derive(Debug, Clone, Default)]
pub struct Preferences {
    /// Package versions by normalised name.
    pub packages: BTreeMap<String, Version>,
    /// Family to version and build name.
    pub frameworks: BTreeMap<String, (Version, String)>,
    /// Python line.
    pub python: Option<PythonVersion>,
    /// Base: a Debian suite or an image reference.
    pub base: Option<String>,
    /// Packages of which platforms hold different versions, by platform; these come before `packages`.
    pub platform_packages: BTreeMap<Platform, BTreeMap<String, Version>>,
    /// Families and packages that are to become newer: they choose before the others, which keep what they can.
    pub upgraded: BTreeSet<String>,
}

/// The packages of one platform.
#[derive(Debug, Clone)]
pub struct PlatformPackages {
    /// Platform.
    pub platform: Platform,
    /// Normalised name to the wheel chosen.
    pub wheels: BTreeMap<String, Candidate>,
    /// What a person should know of this choice, as sentences.
    pub warnings: Vec<String>,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The stack.
    pub stack: StackAnswer,
    /// Packages per platform.
    pub platforms: Vec<PlatformPackages>,
}

/// The platforms that a spec's image is made for: those it names, else those of its targets.
pub fn platforms_of(spec: &Spec, catalog: &Catalog) -> Result<Vec<Platform>, Error> {
    StackModel::new(spec, catalog).map(|model| model.platforms)
}

/// The stack from the catalog alone; the spec's packages are not looked at.
pub fn resolve_stack(spec: &Spec, catalog: &Catalog, preferences: &Preferences) -> Result<StackAnswer, Error> {
    let model = StackModel::new(spec, catalog)?;
    match solve_stack(&model, preferences, None) {
        Ok(answer) => Ok(answer),
        Err(Failed::Source(error)) => Err(source_error(error)),
        Err(Failed::Proof(proof)) => {
            let preferred = BTreeMap::new();
            let problem = Problem::new(&model, None, &preferred);
            let mut conflict = Conflict::from_proof(&proof, &problem);
            conflict.help = relax::suggestions(spec, catalog);
            Err(Error::Conflict(Box::new(conflict)))
        }
    }
}

/// Stack and packages together.
pub fn resolve(
    spec: &Spec,
    catalog: &Catalog,
    source: &dyn PackageSource,
    preferences: &Preferences,
    interpreters: &dyn Interpreters,
) -> Result<Resolution, Error> {
    let question = Question { catalog, source, preferences, interpreters };
    let conflict = match question.answer(spec)? {
        Ok(resolution) => return Ok(resolution),
        Err(conflict) => conflict,
    };
    let mut conflict = question.in_a_hurry(PATIENCE, |retries| {
        let mut told = package_core::of_core(&question, retries, spec, conflict);
        told.help = package_changes::suggestions(&question, retries, spec, &told, OFFERS);
        told
    });
    conflict.help.extend(conflict.standing_help());
    Err(Error::Conflict(Box::new(conflict)))
}

fn source_error(error: packages::SourceError) -> Error {
    Error::Source(error.0)
}

/// Preferences as values of the stack's variables.
fn preferred_values(model: &StackModel<'_>, preferences: &Preferences) -> BTreeMap<Variable, Value> {
    let mut preferred = BTreeMap::new();
    for (family, (version, build)) in &preferences.frameworks {
        let rows = model.families.get(family.as_str()).map(|table| table.rows.as_slice()).unwrap_or_default();
        let rank = rows.iter().position(|row| row.release.version == *version && row.build.name == *build);
        if let Some(rank) = rank {
            preferred.insert(Variable::Build(family.clone()), Value::Rank(rank as u32));
        }
    }
    if let Some(python) = preferences.python {
        preferred.insert(Variable::Python, python_value(python));
    }
    let is_locked = |row: &BaseRow| {
        preferences.base.is_some() && row.suite.as_ref().or(row.reference.as_ref()) == preferences.base.as_ref()
    };
    if let Some(rank) = model.bases.iter().position(is_locked) {
        preferred.insert(Variable::Toolkit, model.bases[rank].toolkit_value());
        preferred.insert(Variable::Base, Value::Rank(rank as u32));
    }
    preferred
}

/// The stack of a spec. Python and base of the lock stay as long as there is an answer with them.
fn solve_stack(
    model: &StackModel<'_>,
    preferences: &Preferences,
    python: Option<PythonVersion>,
) -> Result<StackAnswer, Failed> {
    let preferred = preferred_values(model, preferences);
    let problem = |kept: &[Variable]| {
        let mut problem = Problem::new(model, None, &preferred);
        problem.upgraded.clone_from(&preferences.upgraded);
        for variable in kept {
            problem.fixed.extend(preferred.get(variable).map(|value| (variable.clone(), vec![value.clone()])));
        }
        if let Some(python) = python {
            problem.fixed.insert(Variable::Python, vec![python_value(python)]);
        }
        problem
    };
    let both = [Variable::Python, Variable::Base];
    let mut keeping =
        [&both[..], &both[..1]].into_iter().filter(|kept| kept.iter().all(|kept| preferred.contains_key(kept)));
    let kept = keeping.find_map(|kept| problem(kept).solve().ok());
    let solution = match kept {
        Some(solution) => solution,
        None => problem(&[]).solve()?,
    };
    let found = answer(model, &solution, &preferred);
    let base_kept = preferred.get(&Variable::Base).is_some_and(|locked| solution.get(&Variable::Base) == Some(locked));
    let free = python.is_none() && preferences.python.is_none();
    Ok(match base_kept {
        true => found,
        false => on_the_archives_python(model, &preferred, &solution, &found, free).unwrap_or(found),
    })
}

/// The same builds on a base that has the Python line itself, carried or in the archive of its Ubuntu: the line chosen, or,
/// where Python is `free`, the newest such line. `None` if the base found has its Python or no other will do.
fn on_the_archives_python(
    model: &StackModel<'_>,
    preferred: &BTreeMap<Variable, Value>,
    solution: &solver::Solution,
    found: &StackAnswer,
    free: bool,
) -> Option<StackAnswer> {
    found.base.archive_python.filter(|own| *own != found.python)?;
    let mut lines: Vec<PythonVersion> =
        model.bases.iter().filter_map(|base| base.python.or(base.archive_python)).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.retain(|line| free || *line == found.python);
    lines.sort_by_key(|line| (*line == found.python, *line));
    lines.into_iter().rev().find_map(|line| {
        let mut problem = Problem::new(model, None, preferred);
        for (variable, value) in solution.iter() {
            if matches!(variable, Variable::Build(_)) {
                problem.fixed.insert(variable.clone(), vec![value.clone()]);
            }
        }
        let own = |base: &BaseRow| base.python.or(base.archive_python) == Some(line);
        let bases = model.bases.iter().enumerate().filter(|(_, base)| own(base));
        problem.fixed.insert(Variable::Base, bases.map(|(rank, _)| Value::Rank(rank as u32)).collect());
        problem.fixed.insert(Variable::Python, vec![python_value(line)]);
        problem.solve().ok().map(|solution| answer(model, &solution, preferred))
    })
}
