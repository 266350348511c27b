//! A solution in the words that people, JSON and the lock use: the stack that was chosen, and the facts that decided.

use std::collections::BTreeMap;

use pep440_rs::Version;

use crate::catalog::{Accelerator, Build, CudnnNeed, Vendor};
use crate::oci::Platform;
use crate::version::{CudnnVersion, DriverVersion, PythonVersion, ToolkitVersion};

use super::bases::BaseRow;
use super::builds::row_label;
use super::cudnn;
use super::evidence::{Code, Evidence};
use super::solver::Solution;
use super::stack::{self, StackModel};
use super::targets::TargetFacts;
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
    /// cuDNN it asks for.
    pub cudnn: Option<CudnnNeed>,
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
    /// Frameworks that the spec asks for, by family, then those that packages brought in.
    pub frameworks: Vec<ChosenFramework>,
    /// Targets.
    pub targets: Vec<ChosenTarget>,
    /// Platforms in order.
    pub platforms: Vec<Platform>,
    /// Facts that decided, with their sources.
    pub because: Vec<(String, String)>,
}

/// A solution as an answer.
pub(super) fn answer(
    model: &StackModel<'_>,
    solution: &Solution,
    preferred: &BTreeMap<Variable, Value>,
) -> StackAnswer {
    let python = solution.get(&Variable::Python).and_then(Value::number);
    let python = python.and_then(|number| number.to_string().parse().ok());
    let python = python.unwrap_or(PythonVersion { major: 3, minor: 0 });
    let base_rank = solution.get(&Variable::Base).and_then(Value::rank).unwrap_or(0);
    let base = model.bases[base_rank.min(model.bases.len() - 1)].clone();
    let chosen = chosen_builds(model, solution);
    let frameworks: Vec<ChosenFramework> =
        chosen.iter().map(|(family, row)| chosen_framework(model, family, row)).collect();
    let system_cuda = chosen.iter().any(|(_, row)| model.uses_system_cuda(row));
    let base_reason = base_reason(&base, python, &frameworks, system_cuda, model);
    // A wheel for any toolkit of a major says less than one that was built with a release of it.
    let of_wheels = frameworks.iter().filter_map(|framework| framework.toolkit.as_ref());
    let of_wheels = of_wheels.rev().max_by_key(|toolkit| toolkit.dotted().components().len().min(2));
    let cuda = base.toolkit.as_ref().or(of_wheels).map(ToolkitVersion::major_minor);
    let of_wheels = cudnn_of_wheels(model, &chosen, solution);
    let of_base = base.cudnn.as_ref().map(CudnnVersion::to_string);
    let cudnn = if system_cuda { of_base.or(of_wheels.clone()) } else { of_wheels.clone().or(of_base) };
    let drivers: Vec<Vec<DriverFact>> =
        (0..model.targets.len()).map(|index| driver_facts(model, &chosen, solution, index)).collect();
    let driver_minimum = drivers.iter().flatten().map(|fact| fact.driver.clone()).max();
    let mut because = reasons(model, solution, &chosen, preferred);
    because.push(python_fact(model, python, solution, preferred, &base));
    because.extend(libraries_facts(model, &chosen, &base));
    because.extend(of_wheels.and_then(|cudnn| cudnn_fact(model, &chosen, &cudnn)));
    because.extend(telling_driver_facts(&drivers));
    because.extend(rocm_driver_facts(model, &chosen));
    because.push((base_reason.clone(), base.source.clone()));
    because.push(glibc_fact(&base));
    because.extend(smaller_builds(model, &chosen));
    because.extend(model.unknown_listed().into_iter().map(|(name, asked)| {
        let fact = format!(
            "the catalog knows no release of {name} that meets {asked}: whether it runs on the targets is not checked"
        );
        (fact, "catalog".to_owned())
    }));
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
        driver_minimum,
        base,
        base_reason,
        frameworks,
        targets: targets.collect(),
        platforms: model.platforms.clone(),
        because,
    }
}

/// The builds of a solution: those of the spec by family, then those that packages brought in.
fn chosen_builds<'a>(model: &StackModel<'a>, solution: &Solution) -> Vec<(&'a str, stack::Row<'a>)> {
    let mut chosen: Vec<(&str, stack::Row<'_>)> = solution
        .iter()
        .filter_map(|(variable, value)| match variable {
            Variable::Build(family) => {
                let family = model.families.get_key_value(family.as_str()).map(|(family, _)| *family)?;
                let row = model.row(family, value.rank()?)?;
                // A build for any toolkit, brought in by another package, is a library like others: triton beside torch.
                let tells = model.asked.contains(family)
                    || row.build.toolkit.is_some()
                    || row.build.accelerator != Accelerator::Cuda;
                tells.then_some((family, row))
            }
            _ => None,
        })
        .collect();
    chosen.sort_by_key(|(family, _)| (model.order_of(family), *family));
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

/// Why these builds: that each is what the lock holds, what another build requires, or the newest that suits; and what wheels
/// it has.
fn reasons(
    model: &StackModel<'_>,
    solution: &Solution,
    chosen: &[(&str, stack::Row<'_>)],
    preferred: &BTreeMap<Variable, Value>,
) -> Vec<(String, String)> {
    let mut because: Vec<(String, String)> = Vec::new();
    for (family, row) in chosen {
        let source = row.source();
        let label = row_label(family, row);
        let variable = Variable::Build((*family).to_owned());
        let Some(rank) = solution.get(&variable) else { continue };
        let required = chosen.iter().find_map(|(other, row)| {
            let edges = model.row_edges(other, row);
            edges.into_iter().find(|edge| edge.to == variable).map(|edge| edge.evidence)
        });
        let asked = model.spec.frameworks.iter().find(|framework| framework.family.value == *family);
        let asked = asked.map(asked_versions).or_else(|| model.listed_versions(family));
        let fact = match (required, preferred.get(&variable) == Some(rank), asked) {
            (Some(required), _, _) => (format!("{}, and {label} suits every target", required.fact), required.source),
            (None, true, _) => (format!("the lock holds {label}, and it suits every target"), source.to_owned()),
            (None, false, Some(of)) => {
                (format!("{label} is the newest{of} that suits every target"), source.to_owned())
            }
            (None, false, None) => {
                (format!("{label} is the newest that suits every target and the packages"), source.to_owned())
            }
        };
        because.push(fact);
        let wheels = model.edges(&variable, rank).into_iter().map(|edge| edge.evidence);
        for evidence in wheels.filter(|evidence| evidence.code == Code::NoWheelForPython) {
            let fact = (evidence.fact, evidence.source);
            if !because.contains(&fact) {
                because.push(fact);
            }
        }
    }
    because
}

/// Why this Python line.
fn python_fact(
    model: &StackModel<'_>,
    python: PythonVersion,
    solution: &Solution,
    preferred: &BTreeMap<Variable, Value>,
    base: &BaseRow,
) -> (String, String) {
    let source = model.catalog.python(python).map_or("catalog", |line| line.source.as_str()).to_owned();
    let locked = preferred.get(&Variable::Python);
    if locked.is_some() && locked == solution.get(&Variable::Python) {
        return (format!("the lock holds Python {python}, and it suits everything"), source);
    }
    let of = model.spec.python.as_ref().map(|asked| format!(" of `{}`", asked.value)).unwrap_or_default();
    let from_archive = if base.archive_python == Some(python) {
        format!(" and is in the archive of {}", base.os())
    } else {
        String::new()
    };
    (format!("Python {python} is the newest line{of} that suits everything{from_archive}"), source)
}

/// The cuDNN that the builds bring: the version of its package, or, before packages are solved, the newest that the catalog
/// knows to suit.
fn cudnn_of_wheels(model: &StackModel<'_>, chosen: &[(&str, stack::Row<'_>)], solution: &Solution) -> Option<String> {
    chosen.iter().find_map(|(_, row)| model.brings_cudnn(row))?;
    let package = solution.get(&Variable::WheelCuda).map(StackModel::cudnn_package);
    let installed = package.and_then(|package| Some(solution.get(&package)?.release()?.to_string()));
    installed.or_else(|| Some(solution.get(&Variable::WheelCudnn)?.number()?.to_string()))
}

/// Why this cuDNN, where no build pins it.
fn cudnn_fact(model: &StackModel<'_>, chosen: &[(&str, stack::Row<'_>)], cudnn: &str) -> Option<(String, String)> {
    let mut needs = chosen.iter().filter_map(|(_, row)| model.brings_cudnn(row));
    let known = model.catalog.cuda.cudnn.iter().find(|release| release.version.to_string() == cudnn);
    let source = known.map_or("package index", |known| known.source.as_str());
    let is_free = needs.all(|need| need.or_newer);
    is_free.then(|| (format!("cuDNN {cudnn} is the newest that suits the builds and the cards"), source.to_owned()))
}

/// Where `cuda` and `cudnn` come from: the base's toolkit before that of the wheels.
fn libraries_facts(model: &StackModel<'_>, chosen: &[(&str, stack::Row<'_>)], base: &BaseRow) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    if let Some(toolkit) = &base.toolkit {
        let cudnn = base.cudnn.as_ref().map(|cudnn| format!(" and cuDNN {cudnn}")).unwrap_or_default();
        facts.push((format!("base {} has the CUDA toolkit {toolkit}{cudnn}", base.label()), base.source.clone()));
    }
    for (family, row) in chosen.iter().filter(|(_, row)| !model.uses_system_cuda(row)) {
        let Some(toolkit) = &row.build.toolkit else { continue };
        let cudnn = row.build.cudnn.as_ref().map(|need| match need.or_newer {
            true => format!(", and takes {}", cudnn::described(need)),
            false => format!(" and {}", cudnn::described(need)),
        });
        let cudnn = cudnn.unwrap_or_default();
        facts
            .push((format!("{} is built with CUDA {toolkit}{cudnn}", row_label(family, row)), row.source().to_owned()));
    }
    facts
}

fn glibc_fact(base: &BaseRow) -> (String, String) {
    (base.glibc_fact(), base.source.clone())
}

/// Builds without CUDA that a machine without a card could do with. The default index's own stays the choice, since it is
/// what every other tool installs; that there is another is worth a line.
fn smaller_builds(model: &StackModel<'_>, chosen: &[(&str, stack::Row<'_>)]) -> Vec<(String, String)> {
    if model.accelerator() != "cpu" {
        return Vec::new();
    }
    let serves = |build: &&Build| {
        build.accelerator == Accelerator::Cpu
            && model.platforms.iter().all(|platform| build.platforms.contains_key(platform))
    };
    chosen
        .iter()
        .filter(|(_, row)| row.build.accelerator == Accelerator::Cuda)
        .filter_map(|(family, row)| {
            let smaller = row.release.builds.iter().find(serves)?;
            let source = if smaller.source.is_empty() { &row.release.source } else { &smaller.source };
            let fact = format!(
                "no target has a card, and {family} {} has a build `{}` without CUDA libraries: `{family}: {{build: {}}}` under \
                 `frameworks:` takes it",
                row.release.version, smaller.name, smaller.name
            );
            Some((fact, source.clone()))
        })
        .collect()
}

/// What is said of a version of a known package that is of no release that the catalog does not have.
pub(super) fn unknown_release(release: &str) -> (String, String) {
    let fact = format!("the catalog does not know {release}: whether it runs on the targets is not checked");
    (fact, "catalog".to_owned())
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

/// Something that asks for a driver on a target.
struct DriverFact {
    driver: DriverVersion,
    fact: String,
    source: String,
    /// Whether the card asks, not the software.
    of_card: bool,
}

/// What asks for a driver on a target: its builds, the pinned toolkit or that of the base, and then its card too. Not what the machine has.
fn driver_facts(
    model: &StackModel<'_>,
    chosen: &[(&str, stack::Row<'_>)],
    solution: &Solution,
    index: usize,
) -> Vec<DriverFact> {
    let mut facts: Vec<DriverFact> = Vec::new();
    let builds = chosen.iter().map(|(family, _)| Variable::Build((*family).to_owned()));
    for variable in builds.chain([Variable::PinnedCuda, Variable::Base]) {
        let Some(value) = solution.get(&variable) else { continue };
        for edge in model.edges(&variable, value).into_iter().filter(|edge| edge.to == Variable::Driver(index)) {
            if let Some((std::ops::Bound::Included(Value::Number(low)), _)) = edge.values.bounding_range()
                && let Ok(driver) = low.to_string().parse()
            {
                let Evidence { fact, source, .. } = edge.evidence;
                facts.push(DriverFact { driver, fact, source, of_card: false });
            }
        }
    }
    let card = model.targets.get(index).and_then(|target| target.gpu);
    if let Some((gpu, first)) = card.and_then(|gpu| Some((gpu, gpu.minimum_driver.clone()?)))
        && !facts.is_empty()
    {
        let fact = format!("{} is known to driver {first} and newer", gpu.name);
        facts.push(DriverFact { driver: first, fact, source: gpu.source.clone(), of_card: true });
    }
    facts
}

/// What software asks of drivers, and of the cards those that ask for more.
fn telling_driver_facts(drivers: &[Vec<DriverFact>]) -> Vec<(String, String)> {
    let mut telling: Vec<(String, String)> = Vec::new();
    for facts in drivers {
        let software = facts.iter().filter(|fact| !fact.of_card).map(|fact| &fact.driver).max();
        for fact in facts.iter().filter(|fact| !fact.of_card || Some(&fact.driver) > software) {
            let entry = (fact.fact.clone(), fact.source.clone());
            if !telling.contains(&entry) {
                telling.push(entry);
            }
        }
    }
    telling
}

/// What is known of the AMD drivers that the spec names, where a build computes with ROCm.
fn rocm_driver_facts(model: &StackModel<'_>, chosen: &[(&str, stack::Row<'_>)]) -> Vec<(String, String)> {
    if chosen.iter().all(|(_, row)| row.build.accelerator != Accelerator::Rocm) {
        return Vec::new();
    }
    let of_amd = model.targets.iter().filter(|target| target.gpu.is_some_and(|gpu| gpu.vendor == Vendor::Amd));
    let installed = of_amd.filter_map(|target| Some((target, target.driver.as_ref()?)));
    let fact = |(target, driver): (&TargetFacts<'_>, &DriverVersion)| {
        if let Some(known) = model.catalog.rocm_driver(driver) {
            let releases: Vec<String> = known.user_space.iter().map(ToString::to_string).collect();
            let fact = format!("driver {} of target `{}` runs ROCm {}", known.driver, target.name, releases.join(", "));
            return (fact, known.source.clone());
        }
        let fact = format!(
            "the catalog does not know driver {driver} of target `{}`: whether it runs this ROCm is not checked",
            target.name
        );
        (fact, "catalog".to_owned())
    };
    installed.map(fact).collect()
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
        "cuda" => {
            let why = if model.spec.cuda.is_some() {
                format!("the spec pins a system CUDA toolkit, which {label} has")
            } else if system_cuda {
                format!("a framework needs a system CUDA toolkit, which {label} has")
            } else {
                format!("{label} is the smallest base that the spec allows")
            };
            format!("{why}; {}", origin_of_python(base, python))
        }
        _ if brings_cuda => {
            format!(
                "the wheels bring their own CUDA libraries, so {label} with Python {python} is enough: CUDA is in the image once"
            )
        }
        _ => format!("{label} is the smallest base with Python {python}"),
    }
}

/// Where an image without a Python would get it.
fn origin_of_python(base: &BaseRow, python: PythonVersion) -> String {
    let os = base.os();
    match base.archive_python {
        Some(own) if own == python => format!("it carries no Python, and the archive of {os} has {python}"),
        Some(own) => format!(
            "it carries no Python, and the archive of {os} has {own}, so Python {python} would have to come from elsewhere"
        ),
        None => format!("it carries no Python, so Python {python} would have to be put in"),
    }
}
