//! What a build asks of a target's card and of the driver beside it.
//!
//! The rules are the catalog's, each with its document: machine code stays within a major (`sass`), PTX goes forward with a
//! driver of its toolkit (`ptx`), a driver of the major's floor is enough for machine code (`minor-version-compatibility`)
//! unless an `nvidia/cuda` base brings `cuda-compat` for a datacenter card (`forward-compatibility`), cuDNN leaves old cards
//! behind (`cudnn-old-cards`), and ROCm runs on the kernel drivers it was tested with (`rocm-driver`). Where two rules refuse
//! one card, both are said.

use pubgrub::Ranges;

use crate::catalog::{Accelerator, Build, Gpu, GpuClass, Support, Vendor};
use crate::diagnostic::Origin;
use crate::oci::Platform;
use crate::spec::BaseChoice;
use crate::version::{ComputeCapability, DriverBranch, DriverVersion, ToolkitVersion};

use super::bases::BaseRow;
use super::cudnn;
use super::evidence::{Code, Edge, Evidence};
use super::stack::{Row, StackModel};
use super::targets::{TargetFacts, driver_code};
use super::variable::{Value, Variable, one_of};

/// One target in the eyes of one build.
struct Meeting<'a> {
    index: usize,
    target: &'a TargetFacts<'a>,
    gpu: &'a Gpu,
    row: &'a Row<'a>,
    label: &'a str,
}

impl Meeting<'_> {
    /// The card cannot be served, for this reason.
    fn refusal(&self, code: Code, fact: String, source: &str) -> Edge {
        Edge {
            to: Variable::Card(self.index),
            values: Ranges::empty(),
            evidence: Evidence { code, fact, source: source.to_owned(), origin: None },
        }
    }

    /// The same where the machine rather than the build is what one would change.
    fn refusal_of_machine(&self, code: Code, fact: String, source: &str) -> Edge {
        let mut edge = self.refusal(code, fact, source);
        edge.evidence.origin.clone_from(&self.target.origin);
        edge
    }

    fn driver_from(&self, driver: &DriverVersion, code: Code, fact: String, source: &str) -> Edge {
        Edge {
            to: Variable::Driver(self.index),
            values: Ranges::higher_than(Value::Number(driver.dotted().clone())),
            evidence: Evidence { code, fact, source: source.to_owned(), origin: None },
        }
    }
}

impl StackModel<'_> {
    /// What `row` needs of the card of target `index`.
    pub(super) fn card_edges(
        &self,
        index: usize,
        target: &TargetFacts<'_>,
        gpu: &Gpu,
        row: &Row<'_>,
        label: &str,
    ) -> Vec<Edge> {
        let meeting = Meeting { index, target, gpu, row, label };
        let accelerator = row.build.accelerator_on(target.platform).unwrap_or(row.build.accelerator);
        match (gpu.vendor, accelerator) {
            (Vendor::Nvidia, Accelerator::Cuda) => match &gpu.compute_capability {
                // A platform without wheels is a reason of its own.
                Some(capability) if row.build.platforms.contains_key(&target.platform) => {
                    self.cuda_edges(&meeting, capability)
                }
                _ => Vec::new(),
            },
            (Vendor::Amd, Accelerator::Rocm) => self.rocm_edges(&meeting),
            (vendor, _) => {
                let needed = if vendor == Vendor::Nvidia { "CUDA" } else { "ROCm" };
                let wheel = match accelerator {
                    Accelerator::Cpu => "for processors only",
                    Accelerator::Cuda => "for CUDA",
                    Accelerator::Rocm => "for ROCm",
                };
                let fact = format!("{label} is {wheel}, and {} needs a {needed} build", gpu.name);
                vec![meeting.refusal(Code::NoAcceleratorBuild, fact, row.source())]
            }
        }
    }

    fn cuda_edges(&self, meeting: &Meeting<'_>, capability: &ComputeCapability) -> Vec<Edge> {
        let Meeting { target, gpu, row, label, .. } = *meeting;
        let toolkit = row.build.toolkit.as_ref();
        let support = row.build.runs_on_card(target.platform, gpu);
        if support == Support::No {
            let mut refusals = vec![self.no_code(meeting, capability)];
            refusals.extend(toolkit.and_then(|toolkit| self.too_old_for(meeting, toolkit)));
            return refusals;
        }
        let mut edges: Vec<Edge> = self.old_for_cudnn(meeting, capability).into_iter().collect();
        let Some(toolkit) = toolkit else { return edges };
        if support == Support::Ptx
            && let Some(driver) = self.catalog.ptx_driver(toolkit)
        {
            let rule = self.catalog.rule("ptx").map_or(row.source(), |rule| &rule.source);
            let fact = format!(
                "{label}, built with CUDA {toolkit}, needs driver {driver} or newer (its code for this card is PTX, \
                 compiled by the driver)"
            );
            edges.push(meeting.driver_from(driver, driver_code(target), fact, rule));
        } else if let Some((driver, source)) = self.floor(toolkit.major()) {
            edges.extend(self.floor_edges(meeting, toolkit, driver, source));
        }
        edges
    }

    /// The floor of the toolkit's major, or what takes its place under an `nvidia/cuda` base.
    fn floor_edges(
        &self,
        meeting: &Meeting<'_>,
        toolkit: &ToolkitVersion,
        driver: &DriverVersion,
        source: &str,
    ) -> Vec<Edge> {
        let Meeting { target, gpu, label, .. } = *meeting;
        let fact = format!("{label}, built with CUDA {toolkit}, needs driver {driver} or newer");
        let compat = self.compat_bases(target, gpu, toolkit.major());
        let (Some(bases), Some(installed), Some(rule)) =
            (compat, &target.driver, self.catalog.rule("forward-compatibility"))
        else {
            return vec![meeting.driver_from(driver, driver_code(target), fact, source)];
        };
        let branch = DriverBranch(installed.major());
        if self.spec.base.value != BaseChoice::Cuda {
            let hint =
                format!("{fact}; `base: cuda` would bring cuda-compat, with which {branch} is enough for {}", gpu.name);
            return vec![meeting.driver_from(driver, driver_code(target), hint, source)];
        }
        let base = Edge {
            to: Variable::Base,
            values: one_of(bases.into_iter().map(Value::Rank)),
            evidence: Evidence {
                code: Code::DriverBelowFloor,
                fact: format!("{fact}, or a base whose cuda-compat takes {branch}"),
                source: rule.source.clone(),
                origin: None,
            },
        };
        let fact = format!("{label}, built with CUDA {toolkit}, runs on {branch} with the cuda-compat of its base");
        vec![base, meeting.driver_from(installed, Code::DriverBelowFloor, fact, &rule.source)]
    }

    /// Ranks of the bases whose `cuda-compat` lets the driver that the spec names run code of a CUDA major whose floor it
    /// misses; `None` if the driver needs no help or no base gives any.
    pub(super) fn compat_bases(&self, target: &TargetFacts<'_>, gpu: &Gpu, major: u64) -> Option<Vec<u32>> {
        let installed = target.driver.as_ref()?;
        let floor = self.catalog.floor(major)?;
        if installed >= &floor.driver || gpu.class != GpuClass::Datacenter {
            return None;
        }
        // Libraries newer than a card's last branch know the card no more, whoever brings them.
        if gpu.last_driver_branch.is_some_and(|last| last.0 < floor.driver.major()) {
            return None;
        }
        let branch = DriverBranch(installed.major());
        let serves = |base: &BaseRow| {
            base.kind == "cuda"
                && base.compat.contains(&branch)
                && base.toolkit.as_ref().is_some_and(|toolkit| toolkit.major() >= major)
        };
        let ranks: Vec<u32> =
            (0u32..).zip(&self.bases).filter(|(_, base)| serves(base)).map(|(rank, _)| rank).collect();
        (!ranks.is_empty()).then_some(ranks)
    }

    /// Why a build has no code for a card: its toolkit dropped the card, or nobody compiled for it.
    fn no_code(&self, meeting: &Meeting<'_>, capability: &ComputeCapability) -> Edge {
        let Meeting { target, gpu, row, label, .. } = *meeting;
        let toolkit = row.build.toolkit.as_ref();
        let known = toolkit.and_then(|toolkit| Some((toolkit, self.documented_toolkit(toolkit)?)));
        let removed =
            known.filter(|(_, known)| known.compute_capabilities.iter().all(|compiled| capability < compiled));
        if let Some((toolkit, known)) = removed {
            let fact = format!(
                "{label} is built with CUDA {toolkit}, which no longer compiles for compute capability {capability}, \
                 that of {}",
                gpu.name
            );
            return meeting.refusal(Code::CcRemovedFromToolkit, fact, &known.source);
        }
        let held = describe_capabilities(row.build, target.platform);
        let fact = format!("{label} holds code for compute capability {held}, and {} has {capability}", gpu.name);
        let rule = self.catalog.rule("tegra").filter(|_| {
            gpu.class == GpuClass::Embedded && row.build.runs_on_platform(target.platform, capability) != Support::No
        });
        match rule {
            Some(rule) => {
                let fact = format!("{fact}, a module that runs machine code of its own capability only");
                meeting.refusal(Code::CcNotSupported, fact, &rule.source)
            }
            None => meeting.refusal(Code::CcNotSupported, fact, row.source()),
        }
    }

    /// A card whose drivers all miss the floor of the toolkit's major.
    fn too_old_for(&self, meeting: &Meeting<'_>, toolkit: &ToolkitVersion) -> Option<Edge> {
        let Meeting { target, gpu, label, .. } = *meeting;
        let (driver, source) = self.floor(toolkit.major())?;
        let built = format!("{label}, built with CUDA {toolkit}, needs driver {driver} or newer");
        if let Some(branch) = gpu.last_driver_branch.filter(|branch| branch.0 < driver.major()) {
            let fact = format!("{built}, and the last branch for {} is {branch}", gpu.name);
            return Some(meeting.refusal_of_machine(Code::DriverBranchEnds, fact, source));
        }
        let installed = target.driver.as_ref().filter(|installed| *installed < driver)?;
        let fact = format!("{built}, and target `{}` has {installed}", target.name);
        Some(meeting.refusal_of_machine(Code::DriverBelowFloor, fact, source))
    }

    /// What is left of a build's cuDNN where newer releases have no kernels for the card.
    fn old_for_cudnn(&self, meeting: &Meeting<'_>, capability: &ComputeCapability) -> Option<Edge> {
        let (end, older) = self.cudnn_of_card(meeting.row, meeting.gpu, capability)?;
        if let Some(older) = older {
            return Some(older);
        }
        let need = meeting.row.build.cudnn.as_ref()?;
        let floor = self.catalog.cudnn_floor(&need.version).unwrap_or(end);
        let fact = format!(
            "{} brings {}, which supports compute capability {} and newer, and {} has {capability}",
            meeting.label,
            cudnn::described(need),
            floor.compute_capability,
            meeting.gpu.name
        );
        Some(meeting.refusal(Code::CcNotSupported, fact, &floor.source))
    }

    fn rocm_edges(&self, meeting: &Meeting<'_>) -> Vec<Edge> {
        let Meeting { target, gpu, row, label, .. } = *meeting;
        let mut edges = Vec::new();
        if let Some(gfx) = &gpu.gfx
            && row.build.runs_on_gfx(gfx) == Some(false)
        {
            let fact = format!("{label} holds code for {}, and {} is {gfx}", row.build.gfx.join(", "), gpu.name);
            edges.push(meeting.refusal(Code::CcNotSupported, fact, row.source()));
        }
        let named_release = row.build.rocm.as_ref().filter(|rocm| rocm.components().len() > 1);
        let tested = target.driver.as_ref().and_then(|driver| self.catalog.rocm_driver(driver));
        if let (Some(rocm), Some(tested), Some(newest)) =
            (named_release, tested, tested.and_then(|tested| tested.user_space.last()))
            && !tested.user_space.iter().any(|release| rocm.starts_with(release))
        {
            let releases: Vec<String> = tested.user_space.iter().map(ToString::to_string).collect();
            let fact =
                format!("{label} is ROCm {rocm}, and driver {} runs ROCm {}", tested.driver, releases.join(", "));
            let code = if rocm > newest { Code::DriverBelowFloor } else { Code::Unsatisfiable };
            edges.push(meeting.refusal_of_machine(code, fact, &tested.source));
        }
        edges
    }

    /// What a pinned system toolkit needs of the machines: the driver of its major, and a card it still compiles for.
    pub(super) fn pinned_cuda_edges(&self) -> Vec<Edge> {
        let Some(cuda) = &self.spec.cuda else { return Vec::new() };
        let mut edges = Vec::new();
        for (index, target) in self.targets.iter().enumerate() {
            let Some(gpu) = target.gpu.filter(|gpu| gpu.vendor == Vendor::Nvidia) else { continue };
            let edge = |to, values, code, fact, source: &str, origin: Option<&Origin>| Edge {
                to,
                values,
                evidence: Evidence { code, fact, source: source.to_owned(), origin: origin.cloned() },
            };
            let machine = target.origin.as_ref();
            if let Some((driver, source)) = self.floor(cuda.value.major()) {
                let fact = format!("CUDA {} needs driver {driver} or newer", cuda.value);
                let ended = gpu.last_driver_branch.filter(|branch| branch.0 < driver.major());
                let compat = self.compat_bases(target, gpu, cuda.value.major());
                let compat = compat.filter(|_| self.spec.base.value == BaseChoice::Cuda);
                if let Some(branch) = ended {
                    let fact = format!("{fact}, and the last branch for {} is {branch}", gpu.name);
                    edges.push(edge(
                        Variable::Card(index),
                        Ranges::empty(),
                        Code::DriverBranchEnds,
                        fact,
                        source,
                        machine,
                    ));
                } else if let (Some(bases), Some(installed), Some(rule)) =
                    (compat, &target.driver, self.catalog.rule("forward-compatibility"))
                {
                    let fact = format!("{fact}, or a base whose cuda-compat takes {}", DriverBranch(installed.major()));
                    let values = one_of(bases.into_iter().map(Value::Rank));
                    edges.push(edge(Variable::Base, values, driver_code(target), fact, &rule.source, None));
                } else {
                    let values = Ranges::higher_than(Value::Number(driver.dotted().clone()));
                    edges.push(edge(Variable::Driver(index), values, driver_code(target), fact, source, None));
                }
            }
            if let (Some(known), Some(capability)) = (self.documented_toolkit(&cuda.value), &gpu.compute_capability)
                && known.compute_capabilities.iter().all(|compiled| capability < compiled)
            {
                let fact = format!(
                    "CUDA {} no longer compiles for compute capability {capability}, that of {}",
                    cuda.value, gpu.name
                );
                edges.push(edge(
                    Variable::Card(index),
                    Ranges::empty(),
                    Code::CcRemovedFromToolkit,
                    fact,
                    &known.source,
                    None,
                ));
            }
        }
        edges
    }

    /// A driver in the spec that the card cannot have: older than the card, or newer than the last branch that knows it.
    pub(super) fn unknown_to_driver(&self, index: usize, target: &TargetFacts<'_>, gpu: &Gpu) -> Option<Edge> {
        let installed = target.driver.as_ref()?;
        let (values, code, fact, source) = match (&gpu.minimum_driver, gpu.last_driver_branch) {
            (Some(first), _) if installed < first => {
                let toolkit = self.catalog.cuda.toolkits.iter().find(|toolkit| toolkit.driver.as_ref() == Some(first));
                let source = toolkit.map_or(&gpu.source, |toolkit| &toolkit.source);
                let values = Ranges::higher_than(Value::Number(first.dotted().clone()));
                let fact = format!("{} is known to driver {first} and newer", gpu.name);
                (values, Code::DriverBelowFloor, fact, source)
            }
            (_, Some(last)) if !last.includes(installed) => {
                let source = self.catalog.rule("last-driver-branch").map_or(&gpu.source, |rule| &rule.source);
                let fact = format!("the last driver branch for {} is {last}", gpu.name);
                (super::targets::up_to_branch(last), Code::DriverBranchEnds, fact, source)
            }
            _ => return None,
        };
        let evidence = Evidence { code, fact, source: source.clone(), origin: target.origin.clone() };
        Some(Edge { to: Variable::Driver(index), values, evidence })
    }

    /// The floor of a CUDA major and the document that says so.
    pub(super) fn floor(&self, major: u64) -> Option<(&DriverVersion, &str)> {
        let floor = self.catalog.floor(major)?;
        Some((&floor.driver, &floor.source))
    }
}

pub(super) fn describe_capabilities(build: &Build, platform: Platform) -> String {
    let (sass, ptx) = build.code_on(platform).unwrap_or_default();
    let mut names: Vec<String> = sass.iter().map(ToString::to_string).collect();
    names.extend(ptx.iter().filter(|ptx| !sass.contains(ptx)).map(|ptx| format!("{ptx} (PTX)")));
    if names.is_empty() { "none that is known".to_owned() } else { names.join(", ") }
}
