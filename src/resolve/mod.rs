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
mod builds;
mod conflict;
mod evidence;
mod likely;
mod numbers;
mod packages;
mod relax;
mod solver;
mod stack;
mod targets;
mod variable;
mod wishes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use pep440_rs::Version;

use crate::catalog::Catalog;
use crate::diagnostic::{Failure, Hint, Origin};
use crate::oci::Platform;
use crate::spec::Spec;
use crate::version::PythonVersion;

pub use answer::{ChosenFramework, ChosenTarget, StackAnswer};
pub use bases::BaseRow;
pub use conflict::{Conflict, Reason};
pub use evidence::{Code, Evidence};
pub use likely::Likely;
pub use packages::{Candidate, PackageSource};

use answer::answer;
use numbers::python_value;
use packages::PackageModel;
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
            | Self::UnknownFramework { origin, .. } => origin.clone(),
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
}

/// The packages of one platform.
#[derive(Debug, Clone)]
pub struct PlatformPackages {
    /// Platform.
    pub platform: Platform,
    /// Normalised name to the wheel chosen.
    pub wheels: BTreeMap<String, Candidate>,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The stack.
    pub stack: StackAnswer,
    /// Packages per platform.
    pub platforms: Vec<PlatformPackages>,
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

/// Stack and packages together. `full_python` tells the patch release of a line in a base, which some markers look at.
pub fn resolve(
    spec: &Spec,
    catalog: &Catalog,
    source: &dyn PackageSource,
    preferences: &Preferences,
    full_python: &dyn Fn(PythonVersion, &BaseRow, Platform) -> Result<Version, Failure>,
) -> Result<Resolution, Error> {
    let question = Question { catalog, source, preferences, full_python };
    let mut conflict = match question.answer(spec)? {
        Ok(resolution) => return Ok(resolution),
        Err(conflict) => conflict,
    };
    for (changed, sentence) in relax::package_changes(spec, &conflict) {
        if let Ok(Ok(resolution)) = question.answer(&changed) {
            conflict.help.push(sentence(&resolution));
        }
    }
    conflict.help.extend(sdist_help(&conflict));
    Err(Error::Conflict(Box::new(conflict)))
}

/// Everything an answer depends on besides the spec.
struct Question<'a> {
    catalog: &'a Catalog,
    source: &'a dyn PackageSource,
    preferences: &'a Preferences,
    full_python: &'a dyn Fn(PythonVersion, &BaseRow, Platform) -> Result<Version, Failure>,
}

impl Question<'_> {
    /// The answer for a spec, or the conflict over the first Python line that was tried.
    fn answer(&self, spec: &Spec) -> Result<Result<Resolution, Conflict>, Error> {
        let model = StackModel::new(spec, self.catalog)?;
        let first = resolve_stack(spec, self.catalog, self.preferences)?;
        let mut lines: Vec<PythonVersion> =
            model.pythons.iter().rev().copied().filter(|line| *line != first.python).collect();
        lines.insert(0, first.python);
        let mut first_conflict: Option<Conflict> = None;
        let mut tried = Vec::new();
        for line in lines {
            let stack = match solve_stack(&model, self.preferences, Some(line)) {
                Ok(stack) => stack,
                Err(Failed::Source(error)) => return Err(source_error(error)),
                Err(Failed::Proof(_)) => continue,
            };
            let full = |platform| (self.full_python)(line, &stack.base, platform).map_err(Error::Source);
            match solve_packages(&model, self.source, self.preferences, &stack, &full) {
                Ok(Ok(resolution)) => return Ok(Ok(resolution)),
                Ok(Err(conflict)) => {
                    tried.push(line);
                    first_conflict.get_or_insert(conflict);
                }
                // The base of a later line may be out of reach; that must not hide why the first one does not do.
                Err(error) if first_conflict.is_none() => return Err(error),
                Err(_) => {}
            }
        }
        let mut conflict =
            first_conflict.unwrap_or_else(|| Conflict { asks: Vec::new(), reasons: Vec::new(), help: Vec::new() });
        if let [first, others @ ..] = tried.as_slice()
            && !others.is_empty()
        {
            conflict.help.push(format!(
                "this is why Python {first} does not do; Python {} was tried too, without success",
                numbers::describe_lines(others)
            ));
        }
        Ok(Err(conflict))
    }
}

fn sdist_help(conflict: &Conflict) -> Option<String> {
    let sdist = conflict.reasons.iter().any(|reason| reason.fact.contains("only a source distribution"));
    sdist.then(|| {
        "build the wheel once (`pip wheel --no-deps PACKAGE`), put it on an index of your own and list it under `indexes:`"
            .to_owned()
    })
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
    preferred
}

fn solve_stack(
    model: &StackModel<'_>,
    preferences: &Preferences,
    python: Option<PythonVersion>,
) -> Result<StackAnswer, Failed> {
    let preferred = preferred_values(model, preferences);
    let mut problem = Problem::new(model, None, &preferred);
    if let Some(python) = python {
        problem.fixed.insert(Variable::Python, python_value(python));
    }
    let solution = problem.solve()?;
    Ok(answer(model, &solution))
}

/// One Python line: every platform in turn.
fn solve_packages(
    model: &StackModel<'_>,
    source: &dyn PackageSource,
    preferences: &Preferences,
    stack: &StackAnswer,
    full_python: &dyn Fn(Platform) -> Result<Version, Error>,
) -> Result<Result<Resolution, Conflict>, Error> {
    let mut locked = preferences.packages.clone();
    let mut platforms = Vec::new();
    let mut result = None;
    let base = model.bases.iter().position(|base| *base == stack.base);
    let mut preferred = preferred_values(model, preferences);
    for platform in &stack.platforms {
        let full = full_python(*platform)?;
        let packages = PackageModel::new(model, source, *platform, stack.python, &full, &stack.base.glibc, &locked);
        packages.prefetch(&packages.spec_edges());
        let mut problem = Problem::new(model, Some(&packages), &preferred);
        problem.fixed.insert(Variable::Python, python_value(stack.python));
        if let Some(base) = base {
            problem.fixed.insert(Variable::Base, Value::Rank(base as u32));
        }
        let solution = match problem.solve() {
            Ok(solution) => solution,
            Err(Failed::Source(error)) => return Err(source_error(error)),
            Err(Failed::Proof(proof)) => return Ok(Err(Conflict::from_proof(&proof, &problem))),
        };
        let mut wheels = BTreeMap::new();
        let mut builds = BTreeMap::new();
        for (variable, value) in solution.iter() {
            match (variable, value) {
                (Variable::Distribution(name), Value::Release(version)) => {
                    if let Some(candidate) = problem.candidate(name, version) {
                        wheels.insert(name.clone(), candidate);
                    }
                }
                (Variable::Build(_), _) => {
                    builds.insert(variable.clone(), value.clone());
                }
                _ => {}
            }
        }
        if result.is_none() {
            result = Some(answer(model, &solution));
        }
        drop(problem);
        drop(packages);
        locked.extend(wheels.iter().map(|(name, wheel)| (name.clone(), wheel.version.clone())));
        preferred.extend(builds);
        platforms.push(PlatformPackages { platform: *platform, wheels });
    }
    let stack = result.unwrap_or_else(|| stack.clone());
    Ok(Ok(Resolution { stack, platforms }))
}
