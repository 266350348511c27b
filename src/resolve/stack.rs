//! The stack's side of the problem: targets, framework builds, Python, base and driver as tables and edges.
//!
//! Built once from the spec and the catalog; everything the solver asks is then a look-up. The rules (a CUDA build needs
//! the floor driver of its major; a cubin runs within its major; PTX needs the toolkit's own driver; wheels exist for
//! certain Python lines only) are the catalog's entries, quoted here as evidence.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Accelerator, Build, Catalog, PythonStatus, Release, Vendor};
use crate::diagnostic::suggestion;
use crate::oci::Platform;
use crate::spec::Spec;
use crate::version::{CudnnVersion, Dotted, PythonVersion, ToolkitVersion};

use super::Error;
use super::bases::BaseRow;
use super::cudnn::Limit;
use super::distributions::{Distribution, UNKNOWN};
use super::evidence::Edge;
use super::numbers::{number, python_value, zero};
use super::targets::{TargetFacts, card_value, target_facts};
use super::variable::{Value, Variable};
use super::wishes::asks_for;

/// One build of one release.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The release.
    pub release: &'a Release,
    /// The build.
    pub build: &'a Build,
}

impl<'a> Row<'a> {
    /// Citation of the build, or of its release where the build has none of its own.
    pub fn source(&self) -> &'a str {
        if self.build.source.is_empty() { &self.release.source } else { &self.build.source }
    }
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
    /// Packages that install builds of these families, by normalised name.
    pub distributions: BTreeMap<String, Distribution<'a>>,
    /// Families that the spec asks for, by name.
    pub asked: BTreeSet<&'a str>,
    /// Bases, worst first.
    pub bases: Vec<BaseRow>,
    /// Python lines, oldest first.
    pub pythons: Vec<PythonVersion>,
    /// Families that may use a toolkit in the base, by name; found when first asked for.
    pub(super) users_of_toolkit: OnceCell<Vec<String>>,
    /// Releases of cuDNN that an environment may hold, oldest first.
    pub(super) cudnn: Vec<CudnnVersion>,
    /// What the spec and the cards leave of cuDNN's packages.
    pub(super) cudnn_limits: Vec<Limit>,
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
            let Some(known) = catalog.framework(&framework.family.value) else {
                return Err(Error::UnknownFramework {
                    family: framework.family.value.clone(),
                    known: catalog.frameworks.iter().map(|known| known.family.clone()).collect(),
                    origin: framework.family.origin.clone(),
                });
            };
            for companion in framework.with.iter().filter(|companion| !known.companions.contains(&companion.value)) {
                let names = known.companions.iter().map(String::as_str);
                if let Some(suggestion) = suggestion(&companion.value, names) {
                    return Err(Error::UnknownCompanion {
                        family: known.family.clone(),
                        companion: companion.value.clone(),
                        suggestion: suggestion.to_owned(),
                        origin: companion.origin.clone(),
                    });
                }
            }
        }
        let has_gpu = targets.iter().any(|target| target.gpu.is_some());
        let pinned_cuda = spec.cuda.as_ref().map(|cuda| cuda.value.major_minor());
        // A build is two entries of one name where a platform's wheels are on another index: the one that serves is meant.
        let serves = |build: &Build| platforms.iter().all(|platform| build.platforms.contains_key(platform));
        let is_meant = |release: &Release, build: &Build| {
            serves(build) || !release.builds.iter().any(|other| other.name == build.name && serves(other))
        };
        let families: BTreeMap<&str, FamilyTable<'_>> = catalog
            .frameworks
            .iter()
            .map(|framework| {
                let mut rows: Vec<Row<'_>> = framework
                    .releases
                    .iter()
                    .flat_map(|release| release.builds.iter().map(move |build| Row { release, build }))
                    .filter(|row| is_meant(row.release, row.build))
                    .collect();
                rows.sort_by_cached_key(|&Row { release, build }| {
                    let toolkit = build.toolkit.as_ref();
                    (
                        &release.version,
                        toolkit.is_some_and(|toolkit| Some(toolkit.major_minor()) == pinned_cuda),
                        build.index == "default",
                        !has_gpu && build.accelerator == Accelerator::Cpu,
                        !build.needs_system_cuda,
                        build.default,
                        toolkit.map(ToolkitVersion::dotted),
                        &build.rocm,
                    )
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
        let distributions = super::distributions::distributions(&families);
        let asked = super::distributions::asked_families(spec, &distributions);
        let bases = super::bases::rows(spec, catalog);
        let cudnn = super::cudnn::releases(catalog, families.values().flat_map(|table| table.rows.iter().copied()));
        let cudnn_limits = super::cudnn::limits(spec, &targets, catalog);
        Ok(Self {
            spec,
            catalog,
            targets,
            platforms,
            families,
            distributions,
            asked,
            bases,
            pythons,
            users_of_toolkit: OnceCell::new(),
            cudnn,
            cudnn_limits,
        })
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
            Variable::Build(family) => {
                let known = ranks(self.families.get(family.as_str())?.rows.len());
                std::iter::once(UNKNOWN).chain(known).collect()
            }
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
            Variable::ToolkitUse => self.toolkit_uses(),
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
            Variable::WheelCudnn => self.cudnn.iter().map(|release| Value::Number(release.dotted().clone())).collect(),
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
                let base = self.bases.get(*rank as usize);
                let edges = |base: &BaseRow| {
                    let mut edges = base.edges(&self.platforms);
                    edges.extend(self.base_driver_edges(base));
                    edges
                };
                base.map(edges).unwrap_or_default()
            }
            (Variable::Toolkit, toolkit) => Self::toolkit_value_edge(toolkit).into_iter().collect(),
            (Variable::ToolkitUse, Value::Rank(rank)) => self.toolkit_use_edge(*rank as usize).into_iter().collect(),
            (Variable::PinnedCuda, _) => self.pinned_cuda_edges(),
            (Variable::WheelCudnn, release) => self.cuda_of_cudnn(release).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

fn ranks(count: usize) -> Vec<Value> {
    (0..count as u32).map(Value::Rank).collect()
}
