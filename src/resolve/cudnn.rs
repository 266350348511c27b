//! cuDNN: an environment holds one release of it, which every build that brings it takes, every card, and the spec's pin.
//!
//! NVIDIA's wheels of all CUDA majors put the same files into the same folder, and Python has one version of a package, so
//! two builds that pin different releases exclude each other. Builds that leave CUDA to the system load the base's cuDNN
//! instead (`SystemCudnn`). The rules are the catalog's: `cudnn-major` and `cudnn-old-cards`.

use std::collections::BTreeSet;

use pubgrub::Ranges;

use crate::catalog::{Catalog, CudnnFloor, CudnnNeed, Gpu};
use crate::spec::Spec;
use crate::version::{ComputeCapability, CudnnVersion};

use super::evidence::{Code, Edge, Evidence};
use super::numbers::{number, prefixes_of, starting_with};
use super::served::listed;
use super::stack::{Row, StackModel};
use super::targets::TargetFacts;
use super::variable::{Value, Values, Variable, one_of, specifier_values};
use super::wishes::spec_says;

/// What the packages that hold cuDNN are called, before the CUDA major.
const PACKAGES: &str = "nvidia-cudnn-cu";

/// Versions of cuDNN's packages that an image of this spec may hold, whoever asks for them, and why.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Versions of the package.
    values: Values,
    evidence: Evidence,
}

/// `cuDNN 9.1.0.70`, `cuDNN 9.8 or newer`.
pub(super) fn described(need: &CudnnNeed) -> String {
    let newer = if need.or_newer { " or newer" } else { "" };
    format!("cuDNN {}{newer}", need.version)
}

/// The releases a need takes.
fn values_of(need: &CudnnNeed) -> Values {
    match need.or_newer {
        true => loaded_by(need),
        false => starting_with(need.version.dotted()),
    }
}

/// The releases in a base that a build loads: of the major that it was built with, and no older minor.
pub(super) fn loaded_by(need: &CudnnNeed) -> Values {
    Ranges::between(Value::Number(need.version.dotted().clone()), number(&(need.version.major() + 1).to_string()))
}

/// `cuDNN 8.x`, `cuDNN 8.6 or a newer 8.x`.
pub(super) fn system_cudnn(need: &CudnnNeed) -> String {
    let major = need.version.major();
    match need.version.dotted().components().len() {
        1 => format!("cuDNN {major}.x"),
        _ => format!("cuDNN {} or a newer {major}.x", need.version),
    }
}

/// The pins of a spec that a need can meet: `9.1.0.70` meets 9, 9.1 and itself, `>=9.8` also 9.12.
fn pins_of(need: &CudnnNeed) -> Values {
    prefixes_of(need.version.dotted()).union(&values_of(need))
}

/// Releases of cuDNN that an environment may hold, oldest first: those of the catalog, and what builds pin besides.
pub(super) fn releases<'a>(catalog: &'a Catalog, rows: impl Iterator<Item = Row<'a>>) -> Vec<CudnnVersion> {
    let listed = &catalog.cuda.cudnn;
    let needs = rows.filter_map(|row| row.build.cudnn.as_ref());
    let others = needs.filter(|need| !listed.iter().any(|release| need.takes(&release.version)));
    let versions = listed.iter().map(|release| &release.version).chain(others.map(|need| &need.version));
    versions.cloned().collect::<BTreeSet<CudnnVersion>>().into_iter().collect()
}

/// From which release on cuDNN has no kernels for a card.
fn end_for<'c>(catalog: &'c Catalog, capability: &ComputeCapability) -> Option<&'c CudnnFloor> {
    let left_behind = catalog.cuda.cudnn_floors.iter().filter(|floor| *capability < floor.compute_capability);
    left_behind.min_by(|one, other| one.since.cmp(&other.since))
}

/// `cuDNN 9.11 and newer has no kernels for compute capability 7.0, that of V100`.
fn left_behind(end: &CudnnFloor, capability: &ComputeCapability, gpu: &Gpu) -> Evidence {
    Evidence {
        code: Code::CcNotSupported,
        fact: format!(
            "cuDNN {} and newer has no kernels for compute capability {capability}, that of {}",
            end.since, gpu.name
        ),
        source: end.source.clone(),
        origin: None,
    }
}

/// What the spec's pin and the targets' cards leave of cuDNN's packages.
pub(super) fn limits(spec: &Spec, targets: &[TargetFacts<'_>], catalog: &Catalog) -> Vec<Limit> {
    let mut limits = Vec::new();
    let versions = |specifiers: String| specifiers.parse().ok().map(|specifiers| specifier_values(&specifiers));
    if let Some(pin) = &spec.cudnn
        && let Some(values) = versions(format!("=={}.*", pin.value))
    {
        let says = spec_says(format!("the spec pins cuDNN {}", pin.value), pin.origin.clone());
        limits.push(Limit { values, evidence: Evidence { code: Code::CudnnMismatch, ..says } });
    }
    for target in targets {
        let card = target.gpu.and_then(|gpu| Some((gpu, gpu.compute_capability.as_ref()?)));
        if let Some((gpu, capability)) = card
            && let Some(end) = end_for(catalog, capability)
            && let Some(values) = versions(format!("<{}", end.since))
        {
            let evidence = Evidence { origin: target.origin.clone(), ..left_behind(end, capability, gpu) };
            limits.push(Limit { values, evidence });
        }
    }
    limits
}

impl StackModel<'_> {
    /// What of a package an image of this spec may hold, whoever asks for it; `None` for packages without limits.
    pub(super) fn package_limit(&self, name: &str) -> Option<Values> {
        if self.cudnn_limits.is_empty() || !name.starts_with(PACKAGES) {
            return None;
        }
        Some(self.cudnn_limits.iter().fold(Ranges::full(), |set, limit| set.intersection(&limit.values)))
    }

    /// Why a version of a package is out of its limit.
    pub(super) fn beyond_limit(&self, name: &str, version: &Value) -> Option<Evidence> {
        let mut limits = self.cudnn_limits.iter().filter(|_| name.starts_with(PACKAGES));
        limits.find(|limit| !limit.values.contains(version)).map(|limit| limit.evidence.clone())
    }

    /// The package that holds cuDNN beside builds of a CUDA major.
    pub(super) fn cudnn_package(major: &Value) -> Variable {
        Variable::Distribution(format!("{PACKAGES}{major}"))
    }

    /// What a build needs of the cuDNN that comes with it, on any platform of the image; `None` if it brings none.
    pub(super) fn brings_cudnn<'r>(&self, row: &Row<'r>) -> Option<&'r CudnnNeed> {
        row.build.cudnn.as_ref().filter(|_| self.brings_cuda(row) && !row.build.needs_system_cuda)
    }

    /// What a build needs of cuDNN beside the pin of the spec and the other builds.
    pub(super) fn cudnn_edges(&self, row: &Row<'_>, label: &str, edges: &mut Vec<Edge>) {
        let Some(need) = &row.build.cudnn else { return };
        let source = if row.build.source.is_empty() { &row.release.source } else { &row.build.source };
        let edge = |to, values, fact| Edge {
            to,
            values,
            evidence: Evidence { code: Code::CudnnMismatch, fact, source: source.clone(), origin: None },
        };
        let verb = if need.or_newer { "takes" } else { "is built with" };
        let built = format!("{label} {verb} {}", described(need));
        if self.spec.cudnn.is_some() {
            edges.push(edge(Variable::PinnedCudnn, pins_of(need), built));
        }
        if row.build.needs_system_cuda {
            return;
        }
        let values = values_of(need);
        if let Some(pin) = &self.spec.cudnn {
            // A build that cannot meet the pin is refused above, which says it better.
            let pinned = starting_with(pin.value.dotted());
            if !pinned.is_disjoint(&values) && !values.subset_of(&pinned) {
                let says = spec_says(format!("the spec pins cuDNN {}", pin.value), pin.origin.clone());
                edges.push(Edge { to: Variable::WheelCudnn, values: pinned, evidence: says });
            }
        }
        edges.push(edge(
            Variable::WheelCudnn,
            values,
            format!("{label} requires {}, and an environment holds one cuDNN", described(need)),
        ));
    }

    /// What a card leaves of the cuDNN that a build brings: nothing, or the releases before those without kernels for it.
    pub(super) fn cudnn_of_card(
        &self,
        row: &Row<'_>,
        gpu: &Gpu,
        capability: &ComputeCapability,
    ) -> Option<(&CudnnFloor, Option<Edge>)> {
        let need = row.build.cudnn.as_ref()?;
        let end = end_for(self.catalog, capability)?;
        if need.version >= end.since {
            return Some((end, None));
        }
        let older = Ranges::strictly_lower_than(Value::Number(end.since.dotted().clone()));
        let evidence = left_behind(end, capability, gpu);
        match row.build.needs_system_cuda {
            true => Some((end, Some(Edge { to: Variable::SystemCudnn, values: older, evidence }))),
            false if values_of(need).subset_of(&older) => None,
            false => Some((end, Some(Edge { to: Variable::WheelCudnn, values: older, evidence }))),
        }
    }

    /// The CUDA majors that a release of cuDNN is for; any for one that the catalog does not list.
    pub(super) fn cuda_of_cudnn(&self, release: &Value) -> Option<Edge> {
        let mut known = self.catalog.cuda.cudnn.iter();
        let known = known.find(|known| Some(known.version.dotted()) == release.number())?;
        let majors: Vec<String> = known.cuda_majors.iter().map(u64::to_string).collect();
        Some(Edge {
            to: Variable::WheelCuda,
            values: one_of(majors.iter().map(|major| number(major))),
            evidence: Evidence {
                code: Code::CudnnMismatch,
                fact: format!("cuDNN {} was released for CUDA {}", known.version, listed(&majors)),
                source: known.source.clone(),
                origin: None,
            },
        })
    }
}
