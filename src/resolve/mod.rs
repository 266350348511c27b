//! Stage 3: which versions fit together.
//!
//! Two questions, one problem. [`resolve_stack`] asks the catalog alone: it is instant and needs no network. [`resolve`]
//! adds the Python packages, asking a [`PackageSource`] for pages and metadata. Markers depend on Python, so the lines the
//! stack leaves open are tried newest first, and each try is one search over stack and packages together; platforms are
//! solved one by one, each preferring the versions of the one before.
//!
//! Choice among answers: what a lock holds first; then the newest release that suits every target, the default index
//! before others, the newest Python, the smallest base. When there is none, [`Conflict`] holds the proof.

mod bases;
mod conflict;
mod evidence;
mod packages;
mod relax;
mod solver;
mod stack;
mod variable;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use pep440_rs::Version;

use crate::catalog::{Accelerator, Catalog};
use crate::diagnostic::{Failure, Hint, Origin};
use crate::oci::Platform;
use crate::spec::Spec;
use crate::version::{CudnnVersion, Dotted, DriverVersion, PythonVersion, ToolkitVersion};

pub use bases::BaseRow;
pub use conflict::{Conflict, Reason};
pub use evidence::{Code, Evidence};
pub use packages::{Candidate, PackageSource};

use packages::PackageModel;
use solver::{Failed, Problem, Solution};
use stack::{StackModel, python_value, row_label};
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

/// A framework of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenFramework {
    /// `pytorch`.
    pub family: String,
    /// `torch`.
    pub package: String,
    /// Version without label.
    pub version: Version,
    /// `cu124`, `cpu`.
    pub build: String,
    /// Index name.
    pub index: String,
    /// What the build computes on.
    pub accelerator: Accelerator,
    /// CUDA it was built with.
    pub toolkit: Option<ToolkitVersion>,
    /// cuDNN it was built with.
    pub cudnn: Option<CudnnVersion>,
    /// Companions asked for, with the version that belongs to this release.
    pub companions: BTreeMap<String, Version>,
}

/// A target of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenTarget {
    /// As the spec writes it.
    pub name: String,
    /// Card.
    pub gpu: Option<String>,
    /// `nvidia` or `amd`.
    pub vendor: Option<String>,
    /// Compute capability.
    pub compute_capability: Option<String>,
    /// Platform.
    pub platform: Platform,
}

/// The stack's part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct StackAnswer {
    /// Python line.
    pub python: PythonVersion,
    /// `cuda`, `rocm` or `cpu`.
    pub accelerator: &'static str,
    /// CUDA of the frameworks, or the system toolkit.
    pub cuda: Option<String>,
    /// cuDNN of the frameworks.
    pub cudnn: Option<String>,
    /// Oldest driver that runs the image on every NVIDIA target.
    pub driver_minimum: Option<DriverVersion>,
    /// The base.
    pub base: BaseRow,
    /// Why this base.
    pub base_reason: String,
    /// Frameworks in the spec's order, then those that packages brought in.
    pub frameworks: Vec<ChosenFramework>,
    /// Targets.
    pub targets: Vec<ChosenTarget>,
    /// Platforms in order.
    pub platforms: Vec<Platform>,
    /// Facts that decided, with their sources.
    pub because: Vec<(String, String)>,
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
                stack::describe_lines(others)
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

/// A solution in the words of the lock.
fn answer(model: &StackModel<'_>, solution: &Solution) -> StackAnswer {
    let number = |variable: &Variable| solution.get(variable).and_then(Value::number).cloned();
    let python = number(&Variable::Python).and_then(|number| number.to_string().parse().ok());
    let python = python.unwrap_or(PythonVersion { major: 3, minor: 0 });
    let base_rank = solution.get(&Variable::Base).and_then(Value::rank).unwrap_or(0);
    let base = model.bases[base_rank.min(model.bases.len() - 1)].clone();
    let mut because = Vec::new();
    let mut frameworks = Vec::new();
    let order = |family: &str| model.spec.frameworks.iter().position(|asked| asked.family.value == family);
    let mut chosen: Vec<(&str, stack::Row<'_>)> = solution
        .iter()
        .filter_map(|(variable, value)| match variable {
            Variable::Build(family) => {
                let family = model.families.get_key_value(family.as_str()).map(|(family, _)| *family)?;
                Some((family, model.row(family, value.rank()?)?))
            }
            _ => None,
        })
        .collect();
    chosen.sort_by_key(|(family, _)| (order(family).unwrap_or(usize::MAX), *family));
    for (family, row) in &chosen {
        let asked = model.spec.frameworks.iter().find(|framework| framework.family.value == *family);
        let companions = asked.map(|framework| framework.with.as_slice()).unwrap_or_default();
        let companions = companions
            .iter()
            .filter_map(|companion| {
                let newest = row.release.companions.get(&companion.value)?.iter().max()?;
                Some((companion.value.clone(), newest.clone()))
            })
            .collect();
        let source = if row.build.source.is_empty() { &row.release.source } else { &row.build.source };
        let of = asked.map(asked_versions).unwrap_or_default();
        because.push((format!("{} is the newest{of} that suits every target", row_label(family, row)), source.clone()));
        frameworks.push(ChosenFramework {
            family: (*family).to_owned(),
            package: model.families.get(family).map(|table| table.package.to_owned()).unwrap_or_default(),
            version: row.release.version.clone(),
            build: row.build.name.clone(),
            index: row.build.index.clone(),
            accelerator: row.build.accelerator,
            toolkit: row.build.toolkit.clone(),
            cudnn: row.build.cudnn.clone(),
            companions,
        });
        let rank = solution.get(&Variable::Build((*family).to_owned())).cloned().unwrap_or(Value::Only);
        for edge in model.edges(&Variable::Build((*family).to_owned()), &rank) {
            if matches!(edge.to, Variable::Driver(_))
                || (edge.to == Variable::Python && edge.evidence.code == Code::NoWheelForPython)
            {
                let fact = (edge.evidence.fact, edge.evidence.source);
                if !because.contains(&fact) {
                    because.push(fact);
                }
            }
        }
    }
    let driver_minimum =
        (0..model.targets.len()).filter_map(|index| minimum_driver(model, &chosen, solution, index)).max();
    let system_cuda = chosen.iter().any(|(_, row)| row.build.needs_system_cuda);
    let toolkit = base.toolkit.clone();
    let of_frameworks = |pick: &dyn Fn(&ChosenFramework) -> Option<Dotted>| frameworks.iter().filter_map(pick).next();
    let cuda = toolkit.as_ref().map(|toolkit| toolkit.major_minor()).or_else(|| {
        of_frameworks(&|framework| framework.toolkit.as_ref().map(|v| v.dotted().clone())).map(|v| major_minor(&v))
    });
    let of_base = base.cudnn.as_ref().map(|v| v.dotted().clone());
    let of_wheels = of_frameworks(&|framework| framework.cudnn.as_ref().map(|v| v.dotted().clone()));
    let cudnn = if system_cuda { of_base.or(of_wheels) } else { of_wheels.or(of_base) }.map(|v| v.to_string());
    let base_reason = base_reason(&base, python, &frameworks, system_cuda, model);
    because.push((base_reason.clone(), base.source.clone()));
    let targets = model
        .targets
        .iter()
        .map(|target| ChosenTarget {
            name: target.name.clone(),
            gpu: target.gpu.map(|gpu| gpu.name.clone()),
            vendor: target.gpu.map(|gpu| format!("{:?}", gpu.vendor).to_lowercase()),
            compute_capability: target.gpu.and_then(|gpu| gpu.compute_capability.as_ref().map(ToString::to_string)),
            platform: target.platform,
        })
        .collect();
    StackAnswer {
        python,
        accelerator: model.accelerator(),
        cuda,
        cudnn,
        driver_minimum,
        base,
        base_reason,
        frameworks,
        targets,
        platforms: model.platforms.clone(),
        because,
    }
}

/// ` of `>=2.4``: the versions and the build a spec leaves to choose from.
fn asked_versions(framework: &crate::spec::Framework) -> String {
    let version = (!framework.version.is_empty()).then(|| format!("`{}`", framework.version));
    let build = framework.build.as_ref().map(|build| format!("build `{}`", build.value));
    match (version, build) {
        (None, None) => String::new(),
        (Some(one), None) | (None, Some(one)) => format!(" of {one}"),
        (Some(version), Some(build)) => format!(" of {version}, {build}"),
    }
}

/// The lowest driver that every chosen build allows on a target and that knows its card: what they ask for, not what the
/// machine has.
fn minimum_driver(
    model: &StackModel<'_>,
    chosen: &[(&str, stack::Row<'_>)],
    solution: &Solution,
    index: usize,
) -> Option<DriverVersion> {
    let mut floors: Vec<DriverVersion> = Vec::new();
    let builds = chosen.iter().map(|(family, _)| Variable::Build((*family).to_owned()));
    for variable in builds.chain([Variable::PinnedCuda]) {
        let Some(value) = solution.get(&variable) else { continue };
        for edge in model.edges(&variable, value).into_iter().filter(|edge| edge.to == Variable::Driver(index)) {
            if let Some((std::ops::Bound::Included(Value::Number(low)), _)) = edge.values.bounding_range() {
                floors.extend(low.to_string().parse::<DriverVersion>().ok());
            }
        }
    }
    let floor = floors.into_iter().max()?;
    let card = model.targets.get(index)?.gpu?.minimum_driver.clone();
    Some(card.map_or(floor.clone(), |card| card.max(floor)))
}

fn major_minor(version: &Dotted) -> String {
    format!("{}.{}", version.component(0), version.component(1))
}

fn base_reason(
    base: &BaseRow,
    python: PythonVersion,
    frameworks: &[ChosenFramework],
    system_cuda: bool,
    model: &StackModel<'_>,
) -> String {
    let brings_cuda = frameworks.iter().any(|framework| framework.accelerator == Accelerator::Cuda);
    let label = base.label();
    match base.kind {
        "reference" => format!("the spec names {label}"),
        "cuda" if model.spec.cuda.is_some() => format!("the spec pins a system CUDA toolkit, which {label} has"),
        "cuda" if system_cuda => format!("a framework needs a system CUDA toolkit, which {label} has"),
        "cuda" => format!("{label} is the smallest base that the spec allows"),
        _ if brings_cuda => {
            format!(
                "the wheels bring their own CUDA libraries, so {label} with Python {python} is enough: CUDA is in the image once"
            )
        }
        _ => format!("{label} is the smallest base with Python {python}"),
    }
}
