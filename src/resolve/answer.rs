//! A solution in the words that people, JSON and the lock use: the stack that was chosen, and the facts that decided.

use std::collections::BTreeMap;

use pep440_rs::Version;

use crate::catalog::{Accelerator, Vendor};
use crate::oci::Platform;
use crate::version::{CudnnVersion, DriverVersion, PythonVersion, ToolkitVersion};

use super::bases::BaseRow;
use super::builds::row_label;
use super::evidence::Code;
use super::solver::Solution;
use super::stack::{self, StackModel};
use super::variable::{Value, Variable};

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

/// A solution as an answer.
pub(super) fn answer(model: &StackModel<'_>, solution: &Solution) -> StackAnswer {
    let python = solution.get(&Variable::Python).and_then(Value::number);
    let python = python.and_then(|number| number.to_string().parse().ok());
    let python = python.unwrap_or(PythonVersion { major: 3, minor: 0 });
    let base_rank = solution.get(&Variable::Base).and_then(Value::rank).unwrap_or(0);
    let base = model.bases[base_rank.min(model.bases.len() - 1)].clone();
    let chosen = chosen_builds(model, solution);
    let frameworks: Vec<ChosenFramework> =
        chosen.iter().map(|(family, row)| chosen_framework(model, family, row)).collect();
    let mut because = reasons(model, solution, &chosen);
    let system_cuda = chosen.iter().any(|(_, row)| row.build.needs_system_cuda);
    let base_reason = base_reason(&base, python, &frameworks, system_cuda, model);
    because.push((base_reason.clone(), base.source.clone()));
    // A wheel for any toolkit of a major says less than one that was built with a release of it.
    let of_wheels = frameworks.iter().filter_map(|framework| framework.toolkit.as_ref());
    let of_wheels = of_wheels.rev().max_by_key(|toolkit| toolkit.dotted().components().len().min(2));
    let cuda = base.toolkit.as_ref().or(of_wheels).map(ToolkitVersion::major_minor);
    let of_wheels = frameworks.iter().find_map(|framework| framework.cudnn.as_ref());
    let of_base = base.cudnn.as_ref();
    let cudnn = if system_cuda { of_base.or(of_wheels) } else { of_wheels.or(of_base) }.map(CudnnVersion::to_string);
    let targets = model.targets.iter().map(|target| ChosenTarget {
        name: target.name.clone(),
        gpu: target.gpu.map(|gpu| gpu.name.clone()),
        vendor: target.gpu.map(|gpu| {
            match gpu.vendor {
                Vendor::Nvidia => "nvidia",
                Vendor::Amd => "amd",
            }
            .to_owned()
        }),
        compute_capability: target.gpu.and_then(|gpu| gpu.compute_capability.as_ref().map(ToString::to_string)),
        platform: target.platform,
    });
    StackAnswer {
        python,
        accelerator: model.accelerator(),
        cuda,
        cudnn,
        driver_minimum: (0..model.targets.len())
            .filter_map(|index| minimum_driver(model, &chosen, solution, index))
            .max(),
        base,
        base_reason,
        frameworks,
        targets: targets.collect(),
        platforms: model.platforms.clone(),
        because,
    }
}

/// The builds of a solution: those of the spec in its order, then those that packages brought in.
fn chosen_builds<'a>(model: &StackModel<'a>, solution: &Solution) -> Vec<(&'a str, stack::Row<'a>)> {
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
    chosen
}

fn chosen_framework(model: &StackModel<'_>, family: &str, row: &stack::Row<'_>) -> ChosenFramework {
    let asked = model.spec.frameworks.iter().find(|framework| framework.family.value == family);
    let companions = asked.map(|framework| framework.with.as_slice()).unwrap_or_default();
    let newest = |name: &str| row.release.companions.get(name)?.iter().max().cloned();
    // Wheels of one build may compute on a GPU for one platform and on the processor for another.
    let on_platforms = model.platforms.iter().filter_map(|platform| row.build.accelerator_on(*platform));
    let accelerator = on_platforms.max().unwrap_or(row.build.accelerator);
    let has_cuda = accelerator == Accelerator::Cuda;
    ChosenFramework {
        family: family.to_owned(),
        package: model.families.get(family).map(|table| table.package.to_owned()).unwrap_or_default(),
        version: row.release.version.clone(),
        build: row.build.name.clone(),
        index: row.build.index.clone(),
        accelerator,
        toolkit: row.build.toolkit.clone().filter(|_| has_cuda),
        cudnn: row.build.cudnn.clone().filter(|_| has_cuda),
        companions: companions
            .iter()
            .filter_map(|companion| Some((companion.value.clone(), newest(&companion.value)?)))
            .collect(),
    }
}

/// Why these builds: that each is the newest that suits, and what it asks of Python and of drivers.
fn reasons(model: &StackModel<'_>, solution: &Solution, chosen: &[(&str, stack::Row<'_>)]) -> Vec<(String, String)> {
    let mut because: Vec<(String, String)> = Vec::new();
    for (family, row) in chosen {
        let asked = model.spec.frameworks.iter().find(|framework| framework.family.value == *family);
        let source = row.source();
        let of = asked.map(asked_versions).unwrap_or_default();
        because
            .push((format!("{} is the newest{of} that suits every target", row_label(family, row)), source.to_owned()));
        let variable = Variable::Build((*family).to_owned());
        let Some(rank) = solution.get(&variable) else { continue };
        for edge in model.edges(&variable, rank) {
            let telling = match edge.to {
                Variable::Driver(_) => true,
                Variable::Python => edge.evidence.code == Code::NoWheelForPython,
                _ => false,
            };
            let fact = (edge.evidence.fact, edge.evidence.source);
            if telling && !because.contains(&fact) {
                because.push(fact);
            }
        }
    }
    because
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
