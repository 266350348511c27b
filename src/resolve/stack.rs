//! The stack's side of the problem: targets, framework builds, Python, base and driver as tables and edges.
//!
//! Built once from the spec and the catalog; everything the solver asks is then a look-up. The rules (a CUDA build needs
//! the floor driver of its major; a cubin runs within its major; PTX needs the toolkit's own driver; wheels exist for
//! certain Python lines only) are the catalog's entries, quoted here as evidence.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::Version;
use pubgrub::Ranges;

use crate::catalog::{Accelerator, Build, Catalog, Gpu, PythonStatus, Release, Support, Toolkit, Vendor};
use crate::diagnostic::Origin;
use crate::oci::Platform;
use crate::spec::{BaseChoice, Spec, Target};
use crate::version::{Dotted, DriverVersion, PythonVersion, ToolkitVersion};

use super::Error;
use super::bases::BaseRow;
use super::evidence::{Code, Edge, Evidence};
use super::variable::{Value, Values, Variable, one_of};

/// One target with what the catalog knows of it.
#[derive(Debug, Clone)]
pub struct TargetFacts<'a> {
    /// As the spec writes it.
    pub name: String,
    /// Where.
    pub origin: Option<Origin>,
    /// Its card.
    pub gpu: Option<&'a Gpu>,
    /// Driver named in the spec.
    pub driver: Option<DriverVersion>,
    /// Processor.
    pub platform: Platform,
    /// Citation of the instance, if the target is one.
    pub source: Option<String>,
}

/// One build of one release.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The release.
    pub release: &'a Release,
    /// The build.
    pub build: &'a Build,
}

/// All builds of a family that may be chosen, worst first.
#[derive(Debug, Clone)]
pub struct FamilyTable<'a> {
    /// Main package, `torch`.
    pub package: &'a str,
    /// Rows by rank.
    pub rows: Vec<Row<'a>>,
}

/// The tables.
#[derive(Debug)]
pub struct StackModel<'a> {
    /// The request.
    pub spec: &'a Spec,
    /// The facts.
    pub catalog: &'a Catalog,
    /// Machines.
    pub targets: Vec<TargetFacts<'a>>,
    /// Platforms the image is made for, in the order of the spec.
    pub platforms: Vec<Platform>,
    /// Families, those of the spec and those packages may bring in.
    pub families: BTreeMap<&'a str, FamilyTable<'a>>,
    /// Bases, worst first.
    pub bases: Vec<BaseRow>,
    /// Python lines, oldest first.
    pub pythons: Vec<PythonVersion>,
}

impl<'a> StackModel<'a> {
    /// Tables for this spec. Fails when the spec names a machine or a card that the catalog does not know.
    pub fn new(spec: &'a Spec, catalog: &'a Catalog) -> Result<Self, Error> {
        let mut platforms: Vec<Platform> = spec.platforms.iter().map(|platform| platform.value).collect();
        let targets = spec
            .targets
            .iter()
            .map(|target| target_facts(target, &platforms, catalog))
            .collect::<Result<Vec<_>, Error>>()?;
        if platforms.is_empty() {
            for target in &targets {
                if !platforms.contains(&target.platform) {
                    platforms.push(target.platform);
                }
            }
        }
        for framework in &spec.frameworks {
            if catalog.framework(&framework.family.value).is_none() {
                return Err(Error::UnknownFramework {
                    family: framework.family.value.clone(),
                    known: catalog.frameworks.iter().map(|known| known.family.clone()).collect(),
                    origin: framework.family.origin.clone(),
                });
            }
        }
        let has_gpu = targets.iter().any(|target| target.gpu.is_some());
        let pinned_cuda = spec.cuda.as_ref().map(|cuda| cuda.value.major_minor());
        let families = catalog
            .frameworks
            .iter()
            .map(|framework| {
                let mut rows: Vec<Row<'_>> = framework
                    .releases
                    .iter()
                    .flat_map(|release| release.builds.iter().map(move |build| Row { release, build }))
                    .collect();
                rows.sort_by(|one, other| {
                    let key = |row: &Row<'a>| {
                        let toolkit = row.build.toolkit.as_ref();
                        (
                            row.release.version.clone(),
                            toolkit.is_some_and(|toolkit| Some(toolkit.major_minor()) == pinned_cuda),
                            row.build.index == "default",
                            !has_gpu && row.build.accelerator == Accelerator::Cpu,
                            !row.build.needs_system_cuda,
                            row.build.default,
                            toolkit.map(|toolkit| toolkit.dotted().clone()),
                            row.build.rocm.clone(),
                        )
                    };
                    key(one).cmp(&key(other))
                });
                (framework.family.as_str(), FamilyTable { package: &framework.package, rows })
            })
            .collect();
        let pythons = catalog
            .pythons
            .iter()
            .filter(|line| (line.status == PythonStatus::Final && !line.unverified) || asks_for(spec, line.version));
        let mut pythons: Vec<PythonVersion> = pythons.map(|line| line.version).collect();
        pythons.sort_unstable();
        Ok(Self { spec, catalog, targets, platforms, families, bases: super::bases::rows(spec, catalog), pythons })
    }

    /// The row of a rank.
    pub fn row(&self, family: &str, rank: usize) -> Option<Row<'a>> {
        self.families.get(family)?.rows.get(rank).copied()
    }

    /// Whether a target has a card of this vendor.
    pub fn has_vendor(&self, vendor: Vendor) -> bool {
        self.targets.iter().any(|target| target.gpu.is_some_and(|gpu| gpu.vendor == vendor))
    }

    /// `cuda`, `rocm` or `cpu`: by the targets' cards.
    pub fn accelerator(&self) -> &'static str {
        if self.has_vendor(Vendor::Nvidia) {
            "cuda"
        } else if self.has_vendor(Vendor::Amd) {
            "rocm"
        } else {
            "cpu"
        }
    }

    /// Every value a variable of the stack can have, worst first. `None` for Python packages.
    pub fn values(&self, variable: &Variable) -> Option<Vec<Value>> {
        Some(match variable {
            Variable::Spec => vec![Value::Only],
            Variable::Card(index) => vec![card_value(self.targets.get(*index)?)],
            Variable::Platform(_) => vec![Value::Only],
            Variable::PinnedCuda => vec![Value::Number(self.spec.cuda.as_ref()?.value.dotted().clone())],
            Variable::PinnedCudnn => vec![Value::Number(self.spec.cudnn.as_ref()?.value.dotted().clone())],
            Variable::Build(family) => ranks(self.families.get(family.as_str())?.rows.len()),
            Variable::Base => ranks(self.bases.len()),
            Variable::Python => self.pythons.iter().map(|python| python_value(*python)).collect(),
            Variable::Glibc => {
                let mut values: Vec<Value> = self.bases.iter().map(|base| Value::Number(base.glibc.clone())).collect();
                values.sort();
                values.dedup();
                values
            }
            Variable::Toolkit => {
                // No toolkit is the best toolkit: CUDA is in the image once, and wheels bring theirs. Then the newest of
                // those that come without compilers.
                let mut toolkits: BTreeMap<Value, bool> = BTreeMap::new();
                for base in &self.bases {
                    *toolkits.entry(base.toolkit_value()).or_default() |= !base.development;
                }
                let mut values: Vec<(bool, bool, Value)> =
                    toolkits.into_iter().map(|(toolkit, slender)| (toolkit == zero(), slender, toolkit)).collect();
                values.sort();
                values.into_iter().map(|(_, _, toolkit)| toolkit).collect()
            }
            Variable::SystemCudnn => {
                let mut values: Vec<Value> = self.bases.iter().map(BaseRow::cudnn_value).collect();
                values.sort();
                values.dedup();
                values
            }
            Variable::WheelCuda => {
                let rows = self.families.values().flat_map(|table| &table.rows);
                let majors = rows.filter_map(|row| Some(row.build.toolkit.as_ref()?.major()));
                let majors: BTreeSet<u64> = majors.collect();
                majors.into_iter().map(|major| number(&major.to_string())).collect()
            }
            Variable::Driver(index) => self.driver_values(self.targets.get(*index)?),
            Variable::Distribution(_) | Variable::Extra(..) => return None,
        })
    }

    /// Drivers a machine may have, newest first: the last value is the best, and the best answer asks for least.
    fn driver_values(&self, target: &TargetFacts<'_>) -> Vec<Value> {
        let mut drivers: Vec<Dotted> = if let Some(driver) = &target.driver {
            vec![driver.dotted().clone()]
        } else {
            let cuda = &self.catalog.cuda;
            let floors = cuda.floors.iter().map(|floor| floor.driver.dotted().clone());
            let own = cuda.toolkits.iter().filter_map(|toolkit| Some(toolkit.driver.as_ref()?.dotted().clone()));
            floors.chain(own).collect()
        };
        drivers.sort();
        drivers.dedup();
        drivers.into_iter().rev().map(Value::Number).collect()
    }

    /// What a value of the stack needs.
    pub fn edges(&self, variable: &Variable, value: &Value) -> Vec<Edge> {
        match (variable, value) {
            (Variable::Spec, _) => self.spec_edges(),
            (Variable::Build(family), Value::Rank(rank)) => {
                self.row(family, *rank as usize).map(|row| self.row_edges(family, &row)).unwrap_or_default()
            }
            (Variable::Base, Value::Rank(rank)) => {
                self.bases.get(*rank as usize).map(|base| base.edges(&self.platforms)).unwrap_or_default()
            }
            (Variable::PinnedCuda, _) => self.pinned_cuda_edges(),
            _ => Vec::new(),
        }
    }

    fn spec_edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (index, target) in self.targets.iter().enumerate() {
            if let Some(gpu) = target.gpu {
                edges.push(Edge {
                    to: Variable::Card(index),
                    values: Ranges::singleton(card_value(target)),
                    evidence: Evidence {
                        code: Code::PinConflict,
                        fact: format!("target `{}` has {}", target.name, describe_card(gpu)),
                        source: target.source.clone().unwrap_or_else(|| gpu.source.clone()),
                        origin: target.origin.clone(),
                    },
                });
                if gpu.vendor == Vendor::Nvidia {
                    edges.extend(driver_edge(index, target, gpu));
                    edges.extend(self.unknown_to_driver(index, target, gpu));
                }
            }
        }
        for target in self.targets.iter().filter(|target| !self.platforms.contains(&target.platform)) {
            edges.push(Edge {
                to: Variable::Platform(target.platform),
                values: Ranges::empty(),
                evidence: Evidence {
                    code: Code::NoBuildForPlatform,
                    fact: format!("target `{}` is {}, for which the spec asks no image", target.name, target.platform),
                    source: target.source.clone().unwrap_or_else(|| "spec".to_owned()),
                    origin: target.origin.clone(),
                },
            });
        }
        for (position, platform) in self.platforms.iter().enumerate() {
            let origin = self.spec.platforms.get(position).and_then(|platform| platform.origin.clone()).or_else(|| {
                self.targets.iter().find(|target| target.platform == *platform).and_then(|target| target.origin.clone())
            });
            edges.push(Edge {
                to: Variable::Platform(*platform),
                values: Ranges::singleton(Value::Only),
                evidence: spec_says(format!("the spec asks for {platform}"), origin),
            });
        }
        if let Some(python) = &self.spec.python {
            let lines: Vec<&PythonVersion> =
                self.pythons.iter().filter(|line| python_allowed(&python.value, **line)).collect();
            let fact = match lines.is_empty() {
                true => format!(
                    "the spec asks for Python `{}`, and known are {}",
                    python.value,
                    describe_lines(&self.pythons)
                ),
                false => format!("the spec asks for Python `{}`", python.value),
            };
            edges.push(Edge {
                to: Variable::Python,
                evidence: Evidence {
                    code: if lines.is_empty() { Code::NoSuchVersion } else { Code::PinConflict },
                    ..spec_says(fact, python.origin.clone())
                },
                values: one_of(lines.into_iter().map(|line| python_value(*line))),
            });
        } else {
            edges.push(Edge {
                to: Variable::Python,
                values: Ranges::full(),
                evidence: spec_says("every image has a Python".to_owned(), None),
            });
        }
        edges.push(self.base_edge());
        if let Some(cuda) = &self.spec.cuda {
            let value = cuda.value.dotted();
            edges.push(Edge {
                to: Variable::PinnedCuda,
                values: Ranges::singleton(Value::Number(value.clone())),
                evidence: spec_says(format!("the spec pins CUDA {value}"), cuda.origin.clone()),
            });
            edges.push(Edge {
                to: Variable::Toolkit,
                values: starting_with(value),
                evidence: Evidence {
                    code: Code::NoSuchImage,
                    ..spec_says(format!("the spec pins the system CUDA toolkit {value}"), cuda.origin.clone())
                },
            });
        }
        let wants_system = self.spec.cuda.is_some() || self.spec.base.value == BaseChoice::Cuda;
        if let Some(cudnn) = self.spec.cudnn.as_ref().filter(|_| wants_system) {
            let value = cudnn.value.dotted();
            edges.push(Edge {
                to: Variable::SystemCudnn,
                values: starting_with(value),
                evidence: spec_says(format!("the spec pins cuDNN {value}"), cudnn.origin.clone()),
            });
        }
        if let Some(cudnn) = &self.spec.cudnn {
            let value = cudnn.value.dotted();
            edges.push(Edge {
                to: Variable::PinnedCudnn,
                values: Ranges::singleton(Value::Number(value.clone())),
                evidence: spec_says(format!("the spec pins cuDNN {value}"), cudnn.origin.clone()),
            });
        }
        for framework in &self.spec.frameworks {
            edges.push(self.framework_edge(framework));
        }
        edges
    }

    /// What a pinned system toolkit needs of the machines: the driver of its major, and a card it still compiles for.
    fn pinned_cuda_edges(&self) -> Vec<Edge> {
        let Some(cuda) = &self.spec.cuda else { return Vec::new() };
        let mut edges = Vec::new();
        let nvidia = self.targets.iter().enumerate().filter_map(|(index, target)| {
            let gpu = target.gpu.filter(|gpu| gpu.vendor == Vendor::Nvidia)?;
            Some((index, target, gpu))
        });
        for (index, target, gpu) in nvidia {
            let floor = self.floor(cuda.value.major());
            let ended = floor.as_ref().is_some_and(|(driver, ..)| {
                gpu.last_driver_branch.is_some_and(|branch| branch.0 < driver.dotted().component(0))
            });
            if let Some((driver, source, _)) = floor {
                edges.push(Edge {
                    to: Variable::Driver(index),
                    values: Ranges::higher_than(Value::Number(driver.dotted().clone())),
                    evidence: Evidence {
                        code: driver_code(target),
                        fact: format!("CUDA {} needs driver {driver} or newer", cuda.value),
                        source,
                        origin: None,
                    },
                });
            }
            if let (Some(known), Some(capability), false) =
                (self.documented_toolkit(&cuda.value), &gpu.compute_capability, ended)
                && known.compute_capabilities.iter().all(|compiled| capability < compiled)
            {
                edges.push(Edge {
                    to: Variable::Card(index),
                    values: Ranges::empty(),
                    evidence: Evidence {
                        code: Code::CcRemovedFromToolkit,
                        fact: format!(
                            "CUDA {} no longer compiles for compute capability {capability}, that of {}",
                            cuda.value, gpu.name
                        ),
                        source: known.source.clone(),
                        origin: None,
                    },
                });
            }
        }
        edges
    }

    /// The toolkit that `version` means, by preference one that the release notes describe in full.
    fn documented_toolkit(&self, version: &ToolkitVersion) -> Option<&Toolkit> {
        let toolkits = &self.catalog.cuda.toolkits;
        toolkits
            .iter()
            .find(|toolkit| toolkit.driver.is_some() && toolkit.version.dotted().starts_with(version.dotted()))
            .or_else(|| self.catalog.toolkit(version))
    }

    fn base_edge(&self) -> Edge {
        let base = &self.spec.base;
        let os = self.spec.os.as_ref();
        let allowed = self.bases.iter().enumerate().filter(|(_, row)| {
            row.is_choice(&base.value) && os.is_none_or(|os| row.is_os(&os.value.distribution, &os.value.release))
        });
        let wish = match (&base.value, os) {
            (BaseChoice::Auto, None) => "the image needs a base".to_owned(),
            (BaseChoice::Auto, Some(os)) => format!("the spec asks for {} {}", os.value.distribution, os.value.release),
            (choice, _) => format!("the spec asks for base `{}`", super::bases::choice_name(choice)),
        };
        let allowed = one_of(allowed.map(|(rank, _)| Value::Rank(rank as u32)));
        let wish = match os.filter(|_| allowed == Ranges::empty()) {
            None => wish,
            Some(os) => {
                let own: BTreeSet<String> =
                    self.bases.iter().filter(|row| row.is_choice(&base.value)).map(BaseRow::os).collect();
                let own: Vec<String> = own.into_iter().collect();
                let (distribution, release) = (&os.value.distribution, &os.value.release);
                format!("the spec asks for {distribution} {release}, and the bases known have {}", own.join(", "))
            }
        };
        let origin = match os {
            Some(os) if allowed == Ranges::empty() => os.origin.clone(),
            _ => base.origin.clone().or_else(|| os.and_then(|os| os.origin.clone())),
        };
        Edge {
            to: Variable::Base,
            values: allowed,
            evidence: Evidence { code: Code::NoSuchImage, ..spec_says(wish, origin) },
        }
    }

    /// The rows a framework entry allows. Builds for another kind of accelerator are left out as long as others remain:
    /// nobody needs to read why a ROCm wheel does not serve an NVIDIA card.
    fn framework_edge(&self, framework: &crate::spec::Framework) -> Edge {
        let family = framework.family.value.as_str();
        let rows = self.families.get(family).map(|table| table.rows.as_slice()).unwrap_or_default();
        let asked_build = framework.build.as_ref().map(|build| build.value.as_str());
        let versions: Vec<(usize, &Row<'_>)> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| version_allowed(&framework.version, row.release))
            .filter(|(_, row)| match asked_build {
                None => true,
                Some("default") => row.build.default,
                Some(name) => row.build.name == name,
            })
            .collect();
        let suited: Vec<&(usize, &Row<'_>)> = versions.iter().filter(|(_, row)| self.suits_vendor(row.build)).collect();
        let ranks: Vec<usize> = match suited.is_empty() {
            true => versions.iter().map(|(rank, _)| *rank).collect(),
            false => suited.iter().map(|(rank, _)| *rank).collect(),
        };
        let build = asked_build.map(|build| format!(", build `{build}`")).unwrap_or_default();
        let version = match framework.version.is_empty() {
            true => String::new(),
            false => format!(" `{}`", framework.version),
        };
        let origin = match asked_build {
            Some(_) if ranks.is_empty() => framework.build.as_ref().and_then(|build| build.origin.clone()),
            _ => framework.version_origin.clone(),
        };
        let none = ranks.is_empty();
        let known = || {
            let matching: Vec<&str> = rows
                .iter()
                .rev()
                .filter(|row| version_allowed(&framework.version, row.release))
                .map(|row| row.build.name.as_str())
                .collect();
            match (matching.is_empty(), rows.last()) {
                (false, _) => format!("the builds known are {}", deduplicated(&matching).join(", ")),
                (true, Some(newest)) => format!("the newest release known is {}", newest.release.version),
                (true, None) => "no release is known".to_owned(),
            }
        };
        let fact = match none {
            true => format!("the spec asks for {family}{version}{build}, and {}", known()),
            false => format!("the spec asks for {family}{version}{build}"),
        };
        Edge {
            to: Variable::Build(family.to_owned()),
            values: one_of(ranks.into_iter().map(|rank| Value::Rank(rank as u32))),
            evidence: Evidence {
                code: if none { Code::NoSuchVersion } else { Code::PinConflict },
                ..spec_says(fact, origin.or_else(|| framework.family.origin.clone()))
            },
        }
    }

    fn suits_vendor(&self, build: &Build) -> bool {
        let (nvidia, amd) = (self.has_vendor(Vendor::Nvidia), self.has_vendor(Vendor::Amd));
        match build.accelerator {
            Accelerator::Cuda => nvidia || !amd,
            Accelerator::Rocm => amd,
            Accelerator::Cpu => !nvidia && !amd,
        }
    }

    /// Whether a build cannot be chosen whatever else is decided: no code for a card, no wheels for a platform.
    pub(super) fn is_excluded(&self, family: &str, row: &Row<'_>) -> bool {
        !self.suits_vendor(row.build) || self.row_edges(family, row).iter().any(|edge| edge.values.is_empty())
    }

    fn row_edges(&self, family: &str, row: &Row<'_>) -> Vec<Edge> {
        let label = row_label(family, row);
        let cited = |source: &str, to, values, code, fact| Edge {
            to,
            values,
            evidence: Evidence { code, fact, source: source.to_owned(), origin: None },
        };
        // What wheels exist is the release's fact; what is in them is the build's.
        let (release, build) = (&row.release.source, &row.build.source);
        let (release, build) = match (release.is_empty(), build.is_empty()) {
            (true, _) => (build, build),
            (false, true) => (release, release),
            (false, false) => (release, build),
        };
        let wheels = |to, values, code, fact| cited(release, to, values, code, fact);
        let edge = |to, values, code, fact| cited(build, to, values, code, fact);
        let mut edges = Vec::new();
        let mut glibc = None;
        let mut lines: Option<Vec<PythonVersion>> = None;
        for platform in &self.platforms {
            let Some(support) = row.build.platforms.get(platform) else {
                edges.push(wheels(
                    Variable::Platform(*platform),
                    Ranges::empty(),
                    Code::NoBuildForPlatform,
                    format!("{label} has no wheels for {platform}"),
                ));
                continue;
            };
            lines = Some(match lines {
                None => support.pythons.clone(),
                Some(lines) => lines.into_iter().filter(|line| support.pythons.contains(line)).collect(),
            });
            glibc = glibc.max(Some(support.glibc));
        }
        if let Some(required) = &row.release.requires_python {
            let allowed = self.pythons.iter().filter(|line| python_allowed(required, **line));
            edges.push(wheels(
                Variable::Python,
                one_of(allowed.map(|line| python_value(*line))),
                Code::RequiresPython,
                format!("{label} requires Python `{required}`"),
            ));
        }
        if let Some(lines) = lines {
            edges.push(wheels(
                Variable::Python,
                one_of(lines.iter().map(|line| python_value(*line))),
                Code::NoWheelForPython,
                format!("{label} has wheels for Python {}", describe_lines(&lines)),
            ));
        }
        if let Some((major, minor)) = glibc {
            edges.push(wheels(
                Variable::Glibc,
                Ranges::higher_than(number(&format!("{major}.{minor}"))),
                Code::GlibcTooOld,
                format!("{label} needs glibc {major}.{minor} or newer"),
            ));
        }
        for (index, target) in self.targets.iter().enumerate() {
            if let Some(gpu) = target.gpu {
                edges.extend(self.card_edges(index, target, gpu, row, &label));
            } else if row.build.accelerator != Accelerator::Cpu && self.needs_card(family) {
                edges.push(edge(
                    Variable::Platform(target.platform),
                    Ranges::empty(),
                    Code::NoAcceleratorBuild,
                    format!("{label} computes on a GPU only, and target `{}` has none", target.name),
                ));
            }
        }
        for framework in &self.spec.frameworks {
            let other = framework.family.value.as_str();
            let Some(table) = self.families.get(other).filter(|_| other != family) else { continue };
            let Some(versions) = row.release.companions.get(table.package) else { continue };
            let listed: Vec<String> = versions.iter().map(ToString::to_string).collect();
            let matching = table.rows.iter().enumerate().filter(|(_, row)| versions.contains(&row.release.version));
            edges.push(wheels(
                Variable::Build(other.to_owned()),
                one_of(matching.map(|(rank, _)| Value::Rank(rank as u32))),
                Code::PinConflict,
                format!("{label} requires {} {}", table.package, listed.join(" or ")),
            ));
        }
        self.toolkit_edges(row, &label, &edge, &mut edges);
        edges
    }

    /// Whether a family has builds for accelerators only: those of torch also run on a processor, vLLM's do not.
    fn needs_card(&self, family: &str) -> bool {
        self.families.get(family).is_some_and(|table| {
            table.rows.iter().all(|row| {
                row.build.accelerator != Accelerator::Cpu
                    && row.build.platforms.values().all(|wheels| wheels.accelerator != Some(Accelerator::Cpu))
            })
        })
    }

    /// A card with a driver that is older than the card.
    fn unknown_to_driver(&self, index: usize, target: &TargetFacts<'_>, gpu: &Gpu) -> Option<Edge> {
        let first = gpu.minimum_driver.as_ref()?;
        target.driver.as_ref().filter(|driver| driver.dotted() < first.dotted())?;
        let toolkit = self.catalog.cuda.toolkits.iter().find(|toolkit| toolkit.driver.as_ref() == Some(first));
        Some(Edge {
            to: Variable::Driver(index),
            values: Ranges::higher_than(Value::Number(first.dotted().clone())),
            evidence: Evidence {
                code: Code::DriverBelowFloor,
                fact: format!("{} is known to driver {first} and newer", gpu.name),
                source: toolkit.map_or_else(|| gpu.source.clone(), |toolkit| toolkit.source.clone()),
                origin: target.origin.clone(),
            },
        })
    }

    /// CUDA and cuDNN: what the spec pins against what the build brings, and builds that need a toolkit in the base.
    fn toolkit_edges(
        &self,
        row: &Row<'_>,
        label: &str,
        edge: &dyn Fn(Variable, Values, Code, String) -> Edge,
        edges: &mut Vec<Edge>,
    ) {
        let Some(toolkit) = &row.build.toolkit else { return };
        if row.build.accelerator != Accelerator::Cuda {
            return;
        }
        edges.push(edge(
            Variable::WheelCuda,
            Ranges::singleton(number(&toolkit.major().to_string())),
            Code::CudaMismatch,
            format!(
                "{label} brings libraries of CUDA {}, and an environment holds those of one major",
                toolkit.major()
            ),
        ));
        if self.spec.cuda.is_some() {
            // Extensions are compiled across minors of one major, never across majors.
            edges.push(edge(
                Variable::PinnedCuda,
                within_major(toolkit.major()),
                Code::CudaMismatch,
                format!("{label} is built with CUDA {toolkit}"),
            ));
        }
        if let (Some(_), Some(cudnn)) = (&self.spec.cudnn, &row.build.cudnn) {
            edges.push(edge(
                Variable::PinnedCudnn,
                prefixes_of(cudnn.dotted()),
                Code::CudnnMismatch,
                format!("{label} is built with cuDNN {cudnn}"),
            ));
        }
        if row.build.needs_system_cuda {
            edges.push(edge(
                Variable::Toolkit,
                within_major(toolkit.major()),
                Code::NoSuchImage,
                format!("{label} needs a CUDA {}.x toolkit in the base", toolkit.major()),
            ));
            if let Some(cudnn) = &row.build.cudnn {
                edges.push(edge(
                    Variable::SystemCudnn,
                    within_major(cudnn.major()),
                    Code::CudnnMismatch,
                    format!("{label} needs cuDNN {}.x in the base", cudnn.major()),
                ));
            }
        }
    }

    fn card_edges(&self, index: usize, target: &TargetFacts<'_>, gpu: &Gpu, row: &Row<'_>, label: &str) -> Vec<Edge> {
        let mut edges = Vec::new();
        let evidence =
            |code, fact: String, source: &str| Evidence { code, fact, source: source.to_owned(), origin: None };
        let accelerator = row
            .build
            .platforms
            .get(&target.platform)
            .and_then(|support| support.accelerator)
            .unwrap_or(row.build.accelerator);
        let source = if row.build.source.is_empty() { &row.release.source } else { &row.build.source };
        let unserved = |code, fact| Edge {
            to: Variable::Card(index),
            values: Ranges::empty(),
            evidence: evidence(code, fact, source),
        };
        match (gpu.vendor, accelerator) {
            (Vendor::Nvidia, Accelerator::Cuda) => {
                let Some(capability) = &gpu.compute_capability else { return edges };
                // A platform without wheels is a reason of its own.
                if !row.build.platforms.contains_key(&target.platform) {
                    return edges;
                }
                let toolkit = row.build.toolkit.as_ref();
                let mut minimum = toolkit.and_then(|toolkit| self.floor(toolkit.major()));
                match row.build.runs_on_platform(target.platform, capability) {
                    Support::Sass => {}
                    Support::Ptx => {
                        let driver = toolkit.and_then(|toolkit| self.catalog.ptx_driver(toolkit));
                        if let Some(driver) = driver {
                            let rule = self.catalog.rule("ptx").map_or(source, |rule| &rule.source);
                            minimum = Some((driver.clone(), rule.clone(), true));
                        }
                    }
                    Support::No => {
                        let known = toolkit.and_then(|toolkit| Some((toolkit, self.documented_toolkit(toolkit)?)));
                        let removed = known.filter(|(_, known)| {
                            known.compute_capabilities.iter().all(|compiled| capability < compiled)
                        });
                        edges.push(match removed {
                            Some((toolkit, known)) => Edge {
                                to: Variable::Card(index),
                                values: Ranges::empty(),
                                evidence: evidence(
                                    Code::CcRemovedFromToolkit,
                                    format!(
                                        "{label} is built with CUDA {toolkit}, which no longer compiles for compute \
                                         capability {capability}, that of {}",
                                        gpu.name
                                    ),
                                    &known.source,
                                ),
                            },
                            None => unserved(
                                Code::CcNotSupported,
                                format!(
                                    "{label} holds code for compute capability {}, and {} has {capability}",
                                    describe_capabilities(row.build, target.platform),
                                    gpu.name
                                ),
                            ),
                        });
                        return edges;
                    }
                }
                if let (Some((driver, source, from_ptx)), Some(toolkit)) = (minimum, toolkit) {
                    let code = driver_code(target);
                    let why = if from_ptx { " (its code for this card is PTX, compiled by the driver)" } else { "" };
                    edges.push(Edge {
                        to: Variable::Driver(index),
                        values: Ranges::higher_than(Value::Number(driver.dotted().clone())),
                        evidence: evidence(
                            code,
                            format!("{label}, built with CUDA {toolkit}, needs driver {driver} or newer{why}"),
                            &source,
                        ),
                    });
                }
            }
            (Vendor::Amd, Accelerator::Rocm) => {
                let fits = gpu.gfx.as_ref().is_none_or(|gfx| row.build.gfx.is_empty() || row.build.gfx.contains(gfx));
                if !fits {
                    let gfx = gpu.gfx.as_deref().unwrap_or("an unknown architecture");
                    let fact =
                        format!("{label} holds code for {}, and {} is {gfx}", row.build.gfx.join(", "), gpu.name);
                    edges.push(unserved(Code::CcNotSupported, fact));
                }
            }
            (vendor, _) => {
                let name = if vendor == Vendor::Nvidia { "CUDA" } else { "ROCm" };
                let wheel = match accelerator {
                    Accelerator::Cpu => "for processors only",
                    Accelerator::Cuda => "for CUDA",
                    Accelerator::Rocm => "for ROCm",
                };
                let fact = format!("{label} is {wheel}, and {} needs a {name} build", gpu.name);
                edges.push(unserved(Code::NoAcceleratorBuild, fact));
            }
        }
        edges
    }

    fn floor(&self, major: u64) -> Option<(DriverVersion, String, bool)> {
        let floor = self.catalog.floor(major)?;
        Some((floor.driver.clone(), floor.source.clone(), false))
    }
}

/// What the catalog knows of a target. A machine that may have either processor has one of `platforms`, those of the spec.
fn target_facts<'a>(
    target: &crate::spec::Located<Target>,
    platforms: &[Platform],
    catalog: &'a Catalog,
) -> Result<TargetFacts<'a>, Error> {
    let origin = target.origin.clone();
    let either = match platforms {
        [first, ..] if !platforms.contains(&Platform::AMD64) => *first,
        _ => Platform::AMD64,
    };
    match &target.value {
        Target::Cpu => {
            Ok(TargetFacts { name: "cpu".to_owned(), origin, gpu: None, driver: None, platform: either, source: None })
        }
        Target::Card { gpu, driver, platform } => {
            let known = catalog.gpu(gpu).ok_or_else(|| Error::UnknownCard {
                name: gpu.clone(),
                suggestion: crate::diagnostic::suggestion(gpu, catalog.gpu_names()).map(str::to_owned),
                origin: origin.clone(),
            })?;
            Ok(TargetFacts {
                name: gpu.clone(),
                origin,
                gpu: Some(known),
                driver: driver.clone(),
                platform: platform.or(known.host).unwrap_or(either),
                source: None,
            })
        }
        Target::Instance { cloud, instance } => {
            let name = format!("{cloud}/{instance}");
            let known = catalog.instance(cloud, instance).ok_or_else(|| Error::UnknownInstance {
                name: name.clone(),
                suggestion: crate::diagnostic::suggestion(instance, catalog.instance_names(cloud))
                    .map(|found| format!("{cloud}/{found}")),
                clouds: catalog.clouds().into_iter().map(str::to_owned).collect(),
                origin: origin.clone(),
            })?;
            let gpu = known.gpu.as_deref().and_then(|gpu| catalog.gpu(gpu));
            Ok(TargetFacts {
                name,
                origin,
                gpu,
                driver: None,
                platform: known.platform,
                source: Some(known.source.clone()),
            })
        }
    }
}

/// The driver a target may have: the one the spec names, or any up to the card's last branch.
fn driver_edge(index: usize, target: &TargetFacts<'_>, gpu: &Gpu) -> Option<Edge> {
    if let Some(driver) = &target.driver {
        return Some(Edge {
            to: Variable::Driver(index),
            values: Ranges::singleton(Value::Number(driver.dotted().clone())),
            evidence: spec_says(format!("target `{}` has driver {driver}", target.name), target.origin.clone()),
        });
    }
    let branch = gpu.last_driver_branch?;
    Some(Edge {
        to: Variable::Driver(index),
        values: Ranges::strictly_lower_than(number(&(branch.0 + 1).to_string())),
        evidence: Evidence {
            code: Code::DriverBranchEnds,
            fact: format!("the last driver branch for {} is {branch}", gpu.name),
            source: gpu.source.clone(),
            origin: target.origin.clone(),
        },
    })
}

/// What it is called when a target's drivers are too old.
fn driver_code(target: &TargetFacts<'_>) -> Code {
    if target.driver.is_some() { Code::DriverBelowFloor } else { Code::DriverBranchEnds }
}

fn spec_says(fact: String, origin: Option<Origin>) -> Evidence {
    Evidence { code: Code::PinConflict, fact, source: "spec".to_owned(), origin }
}

fn asks_for(spec: &Spec, line: PythonVersion) -> bool {
    spec.python.as_ref().is_some_and(|python| {
        python
            .value
            .iter()
            .any(|specifier| specifier.version().release().get(1).is_some_and(|minor| *minor == u64::from(line.minor)))
            && python_allowed(&python.value, line)
    })
}

/// Whether a specifier takes some patch release of a Python line: `>=3.8.1` takes 3.8, `!=3.9.7` takes 3.9.
pub(super) fn python_allowed(specifiers: &pep440_rs::VersionSpecifiers, line: PythonVersion) -> bool {
    let release = |patch: u64| Version::new([u64::from(line.major), u64::from(line.minor), patch]);
    [0, 1, 8, 12, 99].into_iter().any(|patch| specifiers.contains(&release(patch)))
}

fn version_allowed(specifiers: &pep440_rs::VersionSpecifiers, release: &Release) -> bool {
    let exact = specifiers.iter().any(|specifier| *specifier.operator() == pep440_rs::Operator::Equal);
    let asks_prerelease = specifiers.iter().any(|specifier| specifier.version().any_prerelease());
    specifiers.contains(&release.version)
        && (exact || !release.yanked)
        && (asks_prerelease || !release.version.any_prerelease())
}

fn deduplicated<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(name) {
            seen.push(*name);
        }
    }
    seen
}

fn ranks(count: usize) -> Vec<Value> {
    (0..count as u32).map(Value::Rank).collect()
}

fn card_value(target: &TargetFacts<'_>) -> Value {
    match target.gpu.and_then(|gpu| gpu.compute_capability.as_ref()) {
        Some(capability) => Value::Number(capability.dotted().clone()),
        None => Value::Only,
    }
}

/// A value of a literal number of this module's own making.
fn number(text: &str) -> Value {
    match text.parse() {
        Ok(number) => Value::Number(number),
        Err(_) => Value::Only,
    }
}

pub(super) fn zero() -> Value {
    number("0")
}

/// The value of a Python line.
pub fn python_value(line: PythonVersion) -> Value {
    number(&line.to_string())
}

fn within_major(major: u64) -> Values {
    Ranges::between(number(&major.to_string()), number(&(major + 1).to_string()))
}

/// All numbers that begin with the components of `prefix`: 12.4 takes 12.4 and 12.4.1.
fn starting_with(prefix: &Dotted) -> Values {
    let mut upper = prefix.components().to_vec();
    if let Some(last) = upper.last_mut() {
        *last += 1;
    }
    let upper = upper.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
    Ranges::between(Value::Number(prefix.clone()), number(&upper))
}

/// All pins a version meets: 9.1.0.70 meets 9, 9.1, 9.1.0 and 9.1.0.70.
fn prefixes_of(version: &Dotted) -> Values {
    let parts: Vec<String> = version.components().iter().map(u64::to_string).collect();
    one_of((1..=parts.len()).map(|count| number(&parts[..count].join("."))))
}

/// `torch 2.5.1 (cu124)`.
pub(super) fn row_label(family: &str, row: &Row<'_>) -> String {
    format!("{family} {} ({})", row.release.version, row.build.name)
}

pub(super) fn describe_card(gpu: &Gpu) -> String {
    match (&gpu.compute_capability, &gpu.gfx) {
        (Some(capability), _) => format!("a {}, compute capability {capability}", gpu.name),
        (None, Some(gfx)) => format!("a {}, {gfx}", gpu.name),
        (None, None) => format!("a {}", gpu.name),
    }
}

fn describe_capabilities(build: &Build, platform: Platform) -> String {
    let own = build.platforms.get(&platform).filter(|wheels| !wheels.sass.is_empty());
    let (sass, ptx) = own.map_or((&build.sass, &build.ptx), |wheels| (&wheels.sass, &wheels.ptx));
    let mut names: Vec<String> = sass.iter().map(ToString::to_string).collect();
    names.extend(ptx.iter().filter(|ptx| !sass.contains(ptx)).map(|ptx| format!("{ptx} (PTX)")));
    if names.is_empty() { "none that is known".to_owned() } else { names.join(", ") }
}

/// `3.9 to 3.12`, or a list where there are gaps.
pub(super) fn describe_lines(lines: &[PythonVersion]) -> String {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    lines.dedup();
    match lines.as_slice() {
        [] => "none".to_owned(),
        [only] => only.to_string(),
        [first, .., last]
            if lines.windows(2).all(|pair| pair[0].major == pair[1].major && pair[0].minor + 1 == pair[1].minor) =>
        {
            format!("{first} to {last}")
        }
        all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
