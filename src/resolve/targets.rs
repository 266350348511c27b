//! Targets: what the catalog knows of the machines that the spec names.

use pubgrub::Ranges;

use crate::catalog::{Catalog, Gpu};
use crate::diagnostic::Origin;
use crate::oci::Platform;
use crate::spec::Target;
use crate::version::{DriverBranch, DriverVersion};

use super::Error;
use super::evidence::{Code, Edge, Evidence};
use super::numbers::number;
use super::variable::{Value, Values, Variable};
use super::wishes::spec_says;

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

/// What the catalog knows of a target. A machine that may have either processor has one of `platforms`, those of the spec.
pub(super) fn target_facts<'a>(
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
                suggestion: card_like(gpu, catalog).map(str::to_owned),
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

/// The card that somebody means by `4090`, or by a name written wrong.
fn card_like<'c>(written: &str, catalog: &'c Catalog) -> Option<&'c str> {
    let has_word = |name: &&str| name.split_whitespace().any(|word| word.eq_ignore_ascii_case(written));
    let shortest = catalog.gpu_names().filter(has_word).min_by_key(|name| name.len());
    shortest.or_else(|| crate::diagnostic::suggestion(written, catalog.gpu_names()))
}

/// The driver a target may have: the one the spec names, or any up to the card's last branch.
pub(super) fn driver_edge(index: usize, target: &TargetFacts<'_>, gpu: &Gpu) -> Option<Edge> {
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
        values: up_to_branch(branch),
        evidence: Evidence {
            code: Code::DriverBranchEnds,
            fact: format!("the last driver branch for {} is {branch}", gpu.name),
            source: gpu.source.clone(),
            origin: target.origin.clone(),
        },
    })
}

/// All drivers of a branch and of those before it.
pub(super) fn up_to_branch(branch: DriverBranch) -> Values {
    Ranges::strictly_lower_than(number(&(branch.0 + 1).to_string()))
}

/// What it is called when a target's drivers are too old.
pub(super) fn driver_code(target: &TargetFacts<'_>) -> Code {
    if target.driver.is_some() { Code::DriverBelowFloor } else { Code::DriverBranchEnds }
}

pub(super) fn card_value(target: &TargetFacts<'_>) -> Value {
    match target.gpu.and_then(|gpu| gpu.compute_capability.as_ref()) {
        Some(capability) => Value::Number(capability.dotted().clone()),
        None => Value::Only,
    }
}

pub(super) fn describe_card(gpu: &Gpu) -> String {
    match (&gpu.compute_capability, &gpu.gfx) {
        (Some(capability), _) => format!("a {}, compute capability {capability}", gpu.name),
        (None, Some(gfx)) => format!("a {}, {gfx}", gpu.name),
        (None, None) => format!("a {}", gpu.name),
    }
}
