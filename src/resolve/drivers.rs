//! Which other driver would do: newer ones where the installed one is too old, older ones where it left the card behind.
//!
//! NVIDIA's drivers run everything that older ones run, up to a card's last branch. AMD's run the ROCm releases around
//! their own, so that a newer one is not always enough, and each is tried by itself.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, Gpu, Vendor};
use crate::spec::{BaseChoice, Spec, Target};
use crate::version::{DriverBranch, DriverVersion};

use super::StackAnswer;
use super::minimal::{Wish, answered, without};
use super::relax::{Offer, result, target_name};

/// The spec with another driver on target `index`.
pub(super) fn with_driver(spec: &Spec, index: usize, other: &DriverVersion) -> Spec {
    let mut changed = spec.clone();
    if let Some(Target::Card { driver, .. }) = changed.targets.get_mut(index).map(|target| &mut target.value) {
        *driver = Some(other.clone());
    }
    changed
}

/// The nearest driver with which the machine would do, of those that the catalog names.
pub(super) fn other_driver(spec: &Spec, catalog: &Catalog, index: usize) -> Option<Offer> {
    let Target::Card { gpu, driver: Some(installed), .. } = &spec.targets.get(index)?.value else { return None };
    let gpu = catalog.gpu(gpu)?;
    match (gpu.vendor, gpu.last_driver_branch) {
        (Vendor::Amd, _) => other_rocm_driver(spec, catalog, index, installed),
        (Vendor::Nvidia, Some(last)) if !last.includes(installed) => older_driver(spec, catalog, index, last),
        (Vendor::Nvidia, last) => newer_driver(spec, catalog, index, installed, last),
    }
}

/// The oldest driver, newer than the installed one and not after the last for the card, that does.
fn newer_driver(
    spec: &Spec,
    catalog: &Catalog,
    index: usize,
    installed: &DriverVersion,
    last: Option<DriverBranch>,
) -> Option<Offer> {
    // What a driver without limits would allow.
    let newest = answered(&without(spec, &BTreeSet::from([Wish::Driver(index)])), catalog)?;
    let mut drivers: Vec<&DriverVersion> = known(catalog).into_iter().collect();
    drivers.retain(|driver| *driver > installed && last.is_none_or(|last| last.includes(driver)));
    let with = |driver: &&DriverVersion| answered(&with_driver(spec, index, driver), catalog);
    // Newer drivers run what older ones run; cuda-compat in a base is for some branches and not for all after them.
    let first = match spec.base.value == BaseChoice::Cuda {
        true => drivers.iter().position(|driver| with(driver).is_some())?,
        false => drivers.partition_point(|driver| with(driver).is_none()),
    };
    let newer = drivers.get(first)?;
    let answer = with(newer)?;
    let newest = Some(newest).filter(|newest| newest.frameworks != answer.frameworks);
    let newest = newest.and_then(|newest| Some((newest.driver_minimum.clone()?, newest)));
    let more = newest.map(|(driver, newest)| format!("; from {driver} on {}", result(&newest)));
    let (name, more) = (target_name(&spec.targets.get(index)?.value), more.unwrap_or_default());
    let text = format!("update the driver of `{name}` to {newer} or newer: {}{more}", result(&answer));
    Some(Offer { text, answer })
}

/// The newest driver that is known of up to the last branch for the card, for a machine with a newer one.
fn older_driver(spec: &Spec, catalog: &Catalog, index: usize, last: DriverBranch) -> Option<Offer> {
    let latest = catalog.cuda.branches.iter().find(|branch| branch.branch == last);
    let latest = latest.and_then(|branch| branch.latest.as_ref());
    let of_toolkits = known(catalog).into_iter().rfind(|driver| last.includes(driver));
    let older = latest.or(of_toolkits)?;
    let answer = answered(&with_driver(spec, index, older), catalog)?;
    let name = target_name(&spec.targets.get(index)?.value);
    let text = format!(
        "install an older driver on `{name}`, up to {last}, the last branch for it, such as {older}: {}",
        result(&answer)
    );
    Some(Offer { text, answer })
}

/// A driver of AMD's that runs a ROCm there is a build for: the next newer one, else the next older one.
fn other_rocm_driver(spec: &Spec, catalog: &Catalog, index: usize, installed: &DriverVersion) -> Option<Offer> {
    let drivers: BTreeSet<&DriverVersion> = catalog.rocm_drivers.iter().map(|row| &row.driver).collect();
    let newer = drivers.iter().filter(|driver| **driver > installed).map(|driver| (*driver, "update"));
    let older = drivers.iter().rev().filter(|driver| **driver < installed).map(|driver| (*driver, "change"));
    newer.chain(older).find_map(|(driver, verb)| {
        let answer = answered(&with_driver(spec, index, driver), catalog)?;
        let name = target_name(&spec.targets.get(index)?.value);
        let text = format!("{verb} the driver of `{name}` to {driver}: {}", result(&answer));
        Some(Offer { text, answer })
    })
}

/// What to have on target `index` for an answer that was found without its driver, `` driver 525.60.13 or newer on `T4` ``, and
/// the spec with that driver, whose answer may be another one: AMD's drivers do not run all that older ones run.
pub(super) fn needed_driver(
    spec: &Spec,
    catalog: &Catalog,
    index: usize,
    answer: &StackAnswer,
) -> Option<(String, Spec)> {
    let target = &spec.targets.get(index)?.value;
    let Target::Card { gpu, .. } = target else { return None };
    let does = |driver: &DriverVersion| answered(&with_driver(spec, index, driver), catalog).is_some();
    let vendor = catalog.gpu(gpu).map(|gpu: &Gpu| gpu.vendor)?;
    let (driver, newer) = match vendor {
        // It is the oldest for all targets together, and this card's drivers may end before it.
        Vendor::Nvidia => (answer.driver_minimum.as_ref().filter(|driver| does(driver))?, " or newer"),
        Vendor::Amd => (catalog.rocm_drivers.iter().map(|row| &row.driver).find(|driver| does(driver))?, ""),
    };
    let text = format!("driver {driver}{newer} on `{}`", target_name(target));
    Some((text, with_driver(spec, index, driver)))
}

/// NVIDIA's drivers that the catalog names, oldest first.
fn known(catalog: &Catalog) -> BTreeSet<&DriverVersion> {
    let toolkits = catalog.cuda.toolkits.iter().filter_map(|toolkit| toolkit.driver.as_ref());
    catalog.cuda.floors.iter().map(|floor| &floor.driver).chain(toolkits).collect()
}
