//! A card, a machine, a driver: what runs on it.

use serde_json::{Value, json};

use super::super::cuda::{Branch, Floor, Toolkit};
use super::super::framework::{Accelerator, Build, Framework, Release, Support};
use super::super::{Catalog, Gpu, Instance, Vendor};
use super::View;
use super::list::drivers;
use super::table::{fields, join, mark, optional, sources, spell, table, unconfirmed};
use crate::version::{ComputeCapability, DriverBranch, DriverVersion, ToolkitVersion};

/// A CUDA major on a card.
struct Major<'a> {
    floor: &'a Floor,
    /// Oldest driver that carries it and knows the card.
    driver: &'a DriverVersion,
    /// Oldest toolkit with code for the card.
    first: &'a ToolkitVersion,
    /// Newest such toolkit.
    last: &'a ToolkitVersion,
}

/// The newest release of a framework that runs somewhere, with the builds that do.
struct Newest<'a> {
    framework: &'a Framework,
    release: &'a Release,
    builds: Vec<(&'a Build, Support)>,
}

/// `show gpu L4`.
pub(super) fn gpu(catalog: &Catalog, gpu: &Gpu) -> View {
    let majors = majors(catalog, gpu);
    let spelled_majors = majors.iter().map(|major| {
        let toolkits = match major.first == major.last {
            true => major.first.to_string(),
            false => format!("{} to {}", major.first, major.last),
        };
        (format!("cuda {}", major.floor.major), format!("toolkit {toolkits}, driver {} or newer", major.driver))
    });
    let spelled_majors: Vec<(String, String)> = spelled_majors.collect();
    let instances = instances_with(catalog, gpu);
    let known_drivers = match (gpu.vendor, drivers(gpu)) {
        (Vendor::Nvidia, text) if text.is_empty() => "every one that is listed".to_owned(),
        (_, text) => text,
    };
    let mut rows = vec![
        ("card", format!("{} ({}, {})", gpu.name, spell(gpu.vendor), spell(gpu.class))),
        ("also called", gpu.aliases.join(", ")),
        ("compute capability", optional(gpu.compute_capability.as_ref())),
        ("instruction set", gpu.gfx.clone().unwrap_or_default()),
        ("memory gb", join(&gpu.memory_gb, " or ")),
        ("host", gpu.host.map(|host| format!("{host} only")).unwrap_or_default()),
        ("driver", known_drivers),
    ];
    rows.extend(spelled_majors.iter().map(|(major, toolkits)| (major.as_str(), toolkits.clone())));
    rows.push(("instances", instances.join(" ")));
    rows.push(("unverified", unconfirmed(gpu.unverified)));
    let mut text = fields(&rows);
    let newest = newest_releases(catalog, |build| support(catalog, gpu, build));
    if !newest.is_empty() {
        text += &format!("\nnewest releases that run on it\n{}", releases(&newest));
    }
    text += &format!("\n{}", sources([gpu.source.as_str()]));
    let mut json = json!(gpu);
    let majors: Vec<Value> = majors
        .iter()
        .map(|major| json!({"major": major.floor.major, "first_toolkit": major.first, "last_toolkit": major.last, "driver": major.driver}))
        .collect();
    add(&mut json, [("cuda", json!(majors)), ("instances", json!(instances)), ("frameworks", releases_json(&newest))]);
    View { text, json }
}

/// CUDA majors, newest first, that have machine code for a card and a driver that knows it.
fn majors<'a>(catalog: &'a Catalog, gpu: &'a Gpu) -> Vec<Major<'a>> {
    let Some(capability) = &gpu.compute_capability else { return Vec::new() };
    let has_driver = |floor: &&Floor| gpu.last_driver_branch.is_none_or(|last| last.includes(&floor.driver));
    let major = |floor: &'a Floor| {
        let fits = |toolkit: &&Toolkit| {
            toolkit.version.major() == floor.major
                && toolkit.compute_capabilities.iter().any(|own| runs(own, capability))
        };
        let mut toolkits = catalog.cuda.toolkits.iter().filter(fits).map(|toolkit| &toolkit.version);
        let last = toolkits.next()?;
        let driver = gpu.minimum_driver.as_ref().map_or(&floor.driver, |first| first.max(&floor.driver));
        Some(Major { floor, driver, first: toolkits.next_back().unwrap_or(last), last })
    };
    catalog.cuda.floors.iter().filter(has_driver).filter_map(major).collect()
}

/// Machine code for a.b runs on a.c with c >= b.
fn runs(built: &ComputeCapability, card: &ComputeCapability) -> bool {
    built.major() == card.major() && built.minor() <= card.minor()
}

/// Machines with a card, as a spec names them.
fn instances_with(catalog: &Catalog, gpu: &Gpu) -> Vec<String> {
    let is_same = |name: &str| catalog.gpu(name).is_some_and(|found| found.name == gpu.name);
    let fixed = catalog.instances.iter().filter(|instance| instance.gpu.as_deref().is_some_and(is_same));
    let mut names: Vec<String> = fixed.map(|instance| format!("{}/{}", instance.cloud, instance.name)).collect();
    for attachable in catalog.attachable_gpus.iter().filter(|attachable| is_same(&attachable.gpu)) {
        let families = catalog.machine_families.iter().filter(|family| family.attachable.contains(&attachable.name));
        names.extend(families.map(|family| format!("{}/{}*+{}", family.cloud, family.prefix, attachable.name)));
    }
    names
}

/// How a build reaches a card, through a driver that knows both.
fn support(catalog: &Catalog, gpu: &Gpu, build: &Build) -> Support {
    match (build.accelerator, &gpu.compute_capability, &gpu.gfx) {
        (Accelerator::Cuda, Some(capability), _) => {
            let Some(floor) = build.toolkit.as_ref().and_then(|toolkit| catalog.floor(toolkit.major())) else {
                return Support::No;
            };
            let known = gpu.last_driver_branch.is_none_or(|last| last.includes(&floor.driver));
            let on_platforms = build.platforms.keys().map(|platform| build.runs_on_platform(*platform, capability));
            if known { on_platforms.max().unwrap_or(Support::No) } else { Support::No }
        }
        (Accelerator::Rocm, _, Some(gfx)) if build.runs_on_gfx(gfx) != Some(false) => Support::Sass,
        _ => Support::No,
    }
}

fn newest_releases(catalog: &Catalog, support: impl Fn(&Build) -> Support) -> Vec<Newest<'_>> {
    let newest = |framework| {
        let framework: &Framework = framework;
        framework.releases.iter().filter(|release| !release.yanked).find_map(|release| {
            let builds = release.builds.iter().map(|build| (build, support(build)));
            let builds: Vec<_> = builds.filter(|(_, support)| *support != Support::No).collect();
            (!builds.is_empty()).then_some(Newest { framework, release, builds })
        })
    };
    catalog.frameworks.iter().filter_map(newest).collect()
}

fn releases(newest: &[Newest<'_>]) -> String {
    let rows = newest.iter().map(|newest| {
        let builds = newest.builds.iter().map(|(build, support)| match support {
            Support::Ptx => format!("{} (by PTX)", build.name),
            _ => build.name.clone(),
        });
        let marks = newest.builds.iter().all(|(build, _)| build.unverified);
        vec![newest.framework.package.clone(), newest.release.version.to_string(), join(builds, ", "), mark(marks)]
    });
    table(&["package", "release", "builds", ""], rows)
}

fn releases_json(newest: &[Newest<'_>]) -> Value {
    let entries = newest.iter().map(|newest| {
        let builds = newest.builds.iter().map(|(build, support)| {
            json!({"name": build.name, "index": build.index, "support": support, "unverified": build.unverified})
        });
        json!({
            "family": newest.framework.family,
            "package": newest.framework.package,
            "version": newest.release.version,
            "builds": builds.collect::<Vec<_>>(),
        })
    });
    entries.collect()
}

/// `show instance aws/g4dn.xlarge`: the machine, then its card.
pub(super) fn instance(catalog: &Catalog, instance: &Instance) -> View {
    let cards = match (&instance.gpu, instance.fractional) {
        (None, _) => "none".to_owned(),
        (Some(gpu), true) => format!("a part of one {gpu}, through the cloud's vGPU driver"),
        (Some(gpu), false) => format!("{} x {gpu}", instance.gpu_count),
    };
    let mut text = fields(&[
        ("instance", format!("{}/{}", instance.cloud, instance.name)),
        ("platform", instance.platform.to_string()),
        ("cards", cards),
        ("unverified", unconfirmed(instance.unverified)),
    ]);
    text += &sources([instance.source.as_str()]);
    let mut json = json!(instance);
    if let Some(card) = instance.gpu.as_deref().and_then(|name| catalog.gpu(name)) {
        let card = gpu(catalog, card);
        text += &format!("\n{}", card.text);
        add(&mut json, [("card", card.json)]);
    }
    View { text, json }
}

/// `show driver 535.104.05`; a branch, `R535`, stands for its newest driver.
pub(super) fn driver(catalog: &Catalog, driver: &DriverVersion, is_branch: bool) -> View {
    let number = DriverBranch(driver.major());
    let branch = catalog.cuda.branches.iter().find(|branch| branch.branch == number);
    let reaches = |needed: &DriverVersion| if is_branch { number.includes(needed) } else { needed <= driver };
    let floors: Vec<&Floor> = catalog.cuda.floors.iter().filter(|floor| reaches(&floor.driver)).collect();
    let compiles = |toolkit: &&Toolkit| toolkit.driver.as_ref().is_some_and(reaches);
    let newest = catalog.cuda.toolkits.iter().find(compiles);
    let promise = |branch: &Branch| {
        let end = branch.eol.as_ref().map(|eol| format!(", supported until {eol}")).unwrap_or_default();
        format!("{} ({}{end}){}", branch.branch, branch.kind, if branch.unverified { ", unverified" } else { "" })
    };
    let majors = join(floors.iter().map(|floor| format!("{} (needs {})", floor.major, floor.driver)), ", ");
    let left = |gpu: &&Gpu| gpu.last_driver_branch.is_some_and(|last| last < number);
    let ahead = |gpu: &&Gpu| gpu.minimum_driver.as_ref().is_some_and(|first| !reaches(first));
    let names = |gpus: Vec<&Gpu>| join(gpus.iter().map(|gpu| gpu.name.as_str()), ", ");
    let dropped: Vec<&Gpu> = catalog.gpus.iter().filter(left).collect();
    let unknown: Vec<&Gpu> = catalog.gpus.iter().filter(ahead).collect();
    let spelled = if is_branch { number.to_string() } else { driver.to_string() };
    let mut text = fields(&[
        ("driver", spelled),
        ("branch", branch.map(promise).unwrap_or_default()),
        (
            "newest cuda",
            newest.map(|toolkit| format!("{}, compiled code and PTX", toolkit.version)).unwrap_or_default(),
        ),
        ("cuda majors", if majors.is_empty() { "none that is listed".to_owned() } else { majors }),
        ("no longer knows", names(dropped.clone())),
        ("does not know yet", names(unknown.clone())),
    ]);
    let has_floor = |build: &Build| {
        let toolkit = build.toolkit.as_ref();
        toolkit.is_some_and(|toolkit| floors.iter().any(|floor| floor.major == toolkit.major()))
    };
    let newest_of = newest_releases(catalog, |build| if has_floor(build) { Support::Sass } else { Support::No });
    if !newest_of.is_empty() {
        text += &format!("\nnewest releases that run on it\n{}", releases(&newest_of));
    }
    let cited = floors.iter().map(|floor| floor.source.as_str());
    let cited =
        cited.chain(branch.map(|branch| branch.source.as_str())).chain(newest.map(|toolkit| toolkit.source.as_str()));
    text += &format!("\n{}", sources(cited));
    let json = json!({
        "driver": driver,
        "branch": branch,
        "newest_toolkit": newest.map(|toolkit| &toolkit.version),
        "cuda_majors": floors,
        "no_longer_knows": dropped.iter().map(|gpu| &gpu.name).collect::<Vec<_>>(),
        "does_not_know_yet": unknown.iter().map(|gpu| &gpu.name).collect::<Vec<_>>(),
        "frameworks": releases_json(&newest_of),
    });
    View { text, json }
}

/// Adds what follows from an entry behind its own fields.
pub(super) fn add<const N: usize>(entry: &mut Value, derived: [(&str, Value); N]) {
    if let Some(fields) = entry.as_object_mut() {
        fields.extend(derived.map(|(name, value)| (name.to_owned(), value)));
    }
}
