//! A framework, one of its releases, one of its builds.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use super::super::Catalog;
use super::super::framework::{Accelerator, Build, Framework, PlatformSupport, Release};
use super::View;
use super::list::summary;
use super::table::{fields, glibc, join, mark, optional, sources, span, spell, table, unconfirmed};
use crate::version::{ComputeCapability, PythonVersion};

/// `show torch`.
pub(super) fn framework(framework: &Framework) -> View {
    let rows = framework.releases.iter().map(|release| {
        let builds = release.builds.iter().map(build_name);
        let companions =
            release.companions.iter().map(|(package, versions)| format!("{package} {}", join(versions, " ")));
        let note = if release.yanked { "withdrawn" } else { "" };
        let version = release.version.to_string();
        vec![version, span(&pythons(release)), join(builds, ", "), join(companions, ", "), note.to_owned()]
    });
    let text = format!(
        "{} of the family {}\n\n{}",
        framework.package,
        framework.family,
        table(&["release", "python", "builds", "with", ""], rows)
    );
    View { text, json: summary(framework) }
}

fn pythons(release: &Release) -> BTreeSet<PythonVersion> {
    release.builds.iter().flat_map(build_pythons).collect()
}

fn build_pythons(build: &Build) -> impl Iterator<Item = PythonVersion> {
    build.platforms.values().flat_map(|wheels| wheels.pythons.iter().copied())
}

fn build_name(build: &Build) -> String {
    if build.default { format!("{} (default)", build.name) } else { build.name.clone() }
}

/// `show torch 2.5.1`.
pub(super) fn release(catalog: &Catalog, framework: &Framework, release: &Release) -> View {
    let mut text = format!("{} {}", framework.package, release.version);
    text.push_str(if release.yanked { ", withdrawn by its publisher\n" } else { "\n" });
    if let Some(range) = &release.requires_python {
        let _ = writeln!(text, "requires python {range}");
    }
    for (package, versions) in &release.companions {
        let _ = writeln!(text, "with {package} {}", join(versions, ", "));
    }
    text.push('\n');
    let rows = release.builds.iter().map(|build| row(catalog, build));
    let header = ["build", "index", "cuda", "cudnn", "driver", "compute capability", "python", "platforms", ""];
    text.push_str(&table(&header, rows));
    let cited = release.builds.iter().map(|build| build.source.as_str()).chain([release.source.as_str()]);
    let _ = write!(text, "\n{}", sources(cited));
    View { text, json: json!({"family": framework.family, "package": framework.package, "release": release}) }
}

fn row(catalog: &Catalog, build: &Build) -> Vec<String> {
    let platforms = build.platforms.iter().map(|(platform, wheels)| match wheels.accelerator {
        Some(accelerator) => format!("{platform} ({} only)", spell(accelerator)),
        None => platform.to_string(),
    });
    vec![
        build_name(build),
        build.index.clone(),
        computes_with(build),
        optional(build.cudnn.as_ref()),
        driver(catalog, build).unwrap_or_default(),
        code(&build.sass, &build.ptx, &build.gfx),
        span(&build_pythons(build).collect()),
        join(platforms, ", "),
        mark(build.unverified),
    ]
}

/// `12.4`, `rocm 6.2` or nothing.
fn computes_with(build: &Build) -> String {
    match (build.accelerator, &build.rocm) {
        (Accelerator::Rocm, Some(rocm)) => format!("rocm {rocm}"),
        _ => optional(build.toolkit.as_ref()),
    }
}

/// The oldest driver for the build's compiled code.
fn driver(catalog: &Catalog, build: &Build) -> Option<String> {
    catalog.floor(build.toolkit.as_ref()?.major()).map(|floor| floor.driver.to_string())
}

fn code(sass: &[ComputeCapability], ptx: &[ComputeCapability], gfx: &[String]) -> String {
    let sass = sass.iter().map(ToString::to_string);
    let ptx = ptx.iter().map(|ptx| format!("{ptx}+PTX"));
    join(sass.chain(ptx).chain(gfx.iter().cloned()), " ")
}

/// `show torch 2.5.1 cu124`.
pub(super) fn build(catalog: &Catalog, framework: &Framework, release: &Release, build: &Build) -> View {
    let ptx_driver = build.toolkit.as_ref().filter(|_| !build.ptx.is_empty());
    let ptx_driver = ptx_driver.and_then(|toolkit| catalog.ptx_driver(toolkit));
    let system = if build.needs_system_cuda { "the system's own" } else { "" };
    let companions =
        release.companions.iter().map(|(package, versions)| format!("{package} {}", join(versions, " or ")));
    let names = |of: fn(&PlatformSupport) -> &Vec<String>| {
        let told = build.platforms.iter().filter(|(_, wheels)| !of(wheels).is_empty());
        join(told.map(|(platform, wheels)| format!("{} for {platform}", join(of(wheels), ", "))), "; ")
    };
    // The default index's wheels have no label anywhere.
    let unlabelled = if build.default { String::new() } else { names(|wheels| &wheels.unlabelled) };
    let text = fields(&[
        ("build", format!("{} of {} {}", build_name(build), framework.package, release.version)),
        ("installed by", join(&build.requirements, " ")),
        ("index", build.index.clone()),
        ("computes on", spell(build.accelerator)),
        ("cuda", computes_with(build)),
        ("cudnn", optional(build.cudnn.as_ref())),
        ("cuda libraries", system.to_owned()),
        ("compute capability", code(&build.sass, &build.ptx, &build.gfx)),
        ("driver", driver(catalog, build).map(|driver| format!("{driver} or newer")).unwrap_or_default()),
        ("driver for PTX", ptx_driver.map(|driver| format!("{driver} or newer")).unwrap_or_default()),
        ("requires python", optional(release.requires_python.as_ref())),
        ("with", join(companions, ", ")),
        ("without", names(|wheels| &wheels.without)),
        ("no label on", unlabelled),
        ("unverified", unconfirmed(build.unverified)),
    ]);
    let rows = build.platforms.iter().map(|(platform, wheels)| {
        let own = code(&wheels.sass, &wheels.ptx, &[]);
        let accelerator = spell(wheels.accelerator.unwrap_or(build.accelerator));
        let python = span(&wheels.pythons.iter().copied().collect());
        vec![platform.to_string(), python, glibc(wheels.glibc), accelerator, own]
    });
    let platforms = table(&["platform", "python", "glibc", "computes on", "compute capability"], rows);
    let text = format!("{text}\n{platforms}\n{}", sources([build.source.as_str(), release.source.as_str()]));
    let json = json!({
        "family": framework.family,
        "package": framework.package,
        "version": release.version,
        "companions": release.companions,
        "build": build,
    });
    View { text, json }
}
