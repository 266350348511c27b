//! What a build of a framework asks of the rest: wheels for the Python and the platform, code for every card, a driver, a glibc,
//! and the CUDA and cuDNN that it was made with.

use pubgrub::Ranges;

use crate::catalog::{Accelerator, Build, Gpu, Support, Vendor};
use crate::oci::Platform;
use crate::version::{Dotted, DriverVersion, PythonVersion};

use super::evidence::{Code, Edge, Evidence};
use super::numbers::{describe_lines, number, python_allowed, python_value, within_major};
use super::stack::{Row, StackModel};
use super::targets::{TargetFacts, driver_code};
use super::variable::{Value, Values, Variable, one_of};

impl StackModel<'_> {
    pub(super) fn suits_vendor(&self, build: &Build) -> bool {
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

    pub(super) fn row_edges(&self, family: &str, row: &Row<'_>) -> Vec<Edge> {
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
        for (other, table) in self.families.iter().filter(|(other, _)| **other != family) {
            let Some(versions) = row.release.companions.get(table.package) else { continue };
            let listed: Vec<String> = versions.iter().map(ToString::to_string).collect();
            let matching = table.rows.iter().enumerate().filter(|(_, row)| versions.contains(&row.release.version));
            edges.push(wheels(
                Variable::Build((*other).to_owned()),
                one_of(matching.map(|(rank, _)| Value::Rank(rank as u32))),
                Code::PinConflict,
                format!("{label} requires {} {}", table.package, listed.join(" or ")),
            ));
        }
        self.toolkit_edges(row, &label, &edge, &mut edges);
        edges
    }

    /// Whether a family has builds for accelerators only: those of torch also run on a processor, vLLM's do not.
    pub(super) fn needs_card(&self, family: &str) -> bool {
        self.families.get(family).is_some_and(|table| {
            table.rows.iter().all(|row| {
                row.build.accelerator != Accelerator::Cpu
                    && row.build.platforms.values().all(|wheels| wheels.accelerator != Some(Accelerator::Cpu))
            })
        })
    }

    /// A card with a driver that is older than the card.
    pub(super) fn unknown_to_driver(&self, index: usize, target: &TargetFacts<'_>, gpu: &Gpu) -> Option<Edge> {
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
    pub(super) fn toolkit_edges(
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

    pub(super) fn card_edges(
        &self,
        index: usize,
        target: &TargetFacts<'_>,
        gpu: &Gpu,
        row: &Row<'_>,
        label: &str,
    ) -> Vec<Edge> {
        let mut edges = Vec::new();
        let evidence =
            |code, fact: String, source: &str| Evidence { code, fact, source: source.to_owned(), origin: None };
        let accelerator = row
            .build
            .platforms
            .get(&target.platform)
            .and_then(|support| support.accelerator)
            .unwrap_or(row.build.accelerator);
        let source = row.source();
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
                            minimum = Some((driver.clone(), rule.to_owned(), true));
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

    pub(super) fn floor(&self, major: u64) -> Option<(DriverVersion, String, bool)> {
        let floor = self.catalog.floor(major)?;
        Some((floor.driver.clone(), floor.source.clone(), false))
    }
}

/// `torch 2.5.1 (cu124)`.
pub(super) fn row_label(family: &str, row: &Row<'_>) -> String {
    format!("{family} {} ({})", row.release.version, row.build.name)
}

pub(super) fn describe_capabilities(build: &Build, platform: Platform) -> String {
    let own = build.platforms.get(&platform).filter(|wheels| !wheels.sass.is_empty());
    let (sass, ptx) = own.map_or((&build.sass, &build.ptx), |wheels| (&wheels.sass, &wheels.ptx));
    let mut names: Vec<String> = sass.iter().map(ToString::to_string).collect();
    names.extend(ptx.iter().filter(|ptx| !sass.contains(ptx)).map(|ptx| format!("{ptx} (PTX)")));
    if names.is_empty() { "none that is known".to_owned() } else { names.join(", ") }
}

/// All pins a version meets: 9.1.0.70 meets 9, 9.1, 9.1.0 and 9.1.0.70.
pub(super) fn prefixes_of(version: &Dotted) -> Values {
    let parts: Vec<String> = version.components().iter().map(u64::to_string).collect();
    one_of((1..=parts.len()).map(|count| number(&parts[..count].join("."))))
}
