//! Findings in frameworks: builds whose parts contradict each other, and ties to other families that lead nowhere.

use std::collections::BTreeSet;

use pep440_rs::Version;
use pep508_rs::{Requirement, VerbatimUrl};

use super::Findings;
use crate::catalog::Catalog;
use crate::catalog::framework::{Accelerator, Build, Framework, Release};
use crate::version::{ComputeCapability, PythonVersion};

/// The name of a build that has no CUDA of its own.
const ANY_CUDA: &str = "cuda";

pub(super) fn releases(catalog: &Catalog, framework: &Framework, findings: &mut Findings) {
    for needed in &framework.needs {
        let entry = format!("framework {}", framework.family);
        if !framework.companions.contains(needed) {
            findings.add(&entry, format!("`needs` names `{needed}`, which is no companion of the family"));
        } else if other_family(catalog, framework, needed).is_none() {
            findings.add(&entry, format!("`needs` names `{needed}`, which is the main package of no other family"));
        }
    }
    for release in &framework.releases {
        let entry = format!("framework {} {}", framework.family, release.version);
        findings.add_if(release.builds.is_empty(), &entry, "no builds");
        let defaults = release.builds.iter().filter(|build| build.default).count();
        findings.add_if(defaults > 1, &entry, "more than one default build");
        for companion in release.companions.keys() {
            if !framework.companions.contains(companion) {
                findings.add(&entry, format!("`{companion}` is no companion of the family"));
            }
        }
        ties(catalog, framework, release, &entry, findings);
        let mut names = BTreeSet::new();
        for build in &release.builds {
            let entry = format!("{entry} {}", build.name);
            findings.add_if(!names.insert((&build.name, &build.index)), &entry, "declared twice");
            accelerator(catalog, build, &entry, findings);
            wheels(catalog, release, build, &entry, findings);
            packages(framework, release, build, &entry, findings);
        }
    }
}

fn other_family<'c>(catalog: &'c Catalog, framework: &Framework, package: &str) -> Option<&'c Framework> {
    catalog.framework_of_package(package).filter(|other| other.family != framework.family)
}

/// What a release says of other families must be about releases that are listed.
fn ties(catalog: &Catalog, framework: &Framework, release: &Release, entry: &str, findings: &mut Findings) {
    for (package, versions) in &release.companions {
        let Some(other) = other_family(catalog, framework, package) else { continue };
        for version in versions {
            if !other.releases.iter().any(|known| known.version == *version) {
                findings.add(entry, format!("pins {package} {version}, which is not listed"));
            }
        }
    }
    for (package, range) in &release.requires {
        match other_family(catalog, framework, package) {
            None => findings.add(entry, format!("requires `{package}`, which is the main package of no other family")),
            Some(other) if !other.releases.iter().any(|known| range.contains(&known.version)) => {
                findings.add(entry, format!("requires {package} `{range}`, which no listed release meets"));
            }
            Some(_) => {}
        }
    }
}

fn accelerator(catalog: &Catalog, build: &Build, entry: &str, findings: &mut Findings) {
    findings.add_if(build.exact_cuda && !build.needs_system_cuda, entry, "`exact_cuda` without `needs_system_cuda`");
    match build.accelerator {
        // Nothing is compiled yet.
        _ if build.source_only => {}
        Accelerator::Cpu => {
            let gpu_code = !build.sass.is_empty() || !build.ptx.is_empty() || !build.gfx.is_empty();
            findings.add_if(gpu_code || build.toolkit.is_some(), entry, "a processor build with GPU code or a toolkit");
        }
        Accelerator::Rocm => findings.add_if(build.rocm.is_none(), entry, "no `rocm`"),
        Accelerator::Cuda => {
            let per_platform = build.platforms.values().flat_map(|wheels| wheels.sass.iter().chain(&wheels.ptx));
            let code: BTreeSet<&ComputeCapability> = build.sass.iter().chain(&build.ptx).chain(per_platform).collect();
            findings.add_if(code.is_empty(), entry, "no `sass` and no `ptx`");
            match build.toolkit.as_ref().map(|version| (version, catalog.toolkit(version))) {
                // Its wheels compile for themselves, beside any CUDA.
                None if build.name == ANY_CUDA => {}
                None => findings.add(entry, "no `toolkit`".to_owned()),
                Some((version, None)) => findings.add(entry, format!("toolkit `{version}` is not listed")),
                Some((_, Some(toolkit))) => {
                    for compute_capability in code {
                        if !toolkit.compiles_for(compute_capability) {
                            let problem =
                                format!("toolkit {} does not compile for {compute_capability}", toolkit.version);
                            findings.add(entry, problem);
                        }
                    }
                }
            }
        }
    }
}

fn wheels(catalog: &Catalog, release: &Release, build: &Build, entry: &str, findings: &mut Findings) {
    findings.add_if(build.default && build.index != "default", entry, "a default build is on the default index");
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-_".contains(letter);
    findings.add_if(build.index.is_empty() || !build.index.chars().all(plain), entry, "`index` is not a plain name");
    findings.add_if(build.requirements.is_empty(), entry, "no requirements");
    for text in &build.requirements {
        if text.parse::<Requirement<VerbatimUrl>>().is_err() {
            findings.add(entry, format!("`{text}` is not a requirement"));
        }
    }
    if build.source_only {
        findings.add_if(!build.platforms.is_empty(), entry, "a source distribution with wheels");
        return;
    }
    findings.add_if(build.platforms.is_empty(), entry, "for no platform");
    for (platform, wheels) in &build.platforms {
        findings.add_if(wheels.pythons.is_empty(), entry, &format!("no Python for {platform}"));
        findings.add_if(!wheels.pythons.is_sorted(), entry, &format!("Python lines for {platform} are not ascending"));
        for python in &wheels.pythons {
            findings.add_if(catalog.python(*python).is_none(), entry, &format!("Python {python} is not listed"));
            let excluded = release.requires_python.as_ref().is_some_and(|range| !range.contains(&last_patch(*python)));
            findings.add_if(excluded, entry, &format!("`requires_python` excludes Python {python}"));
        }
    }
}

/// Packages that a platform of a build speaks of must be of the release.
fn packages(framework: &Framework, release: &Release, build: &Build, entry: &str, findings: &mut Findings) {
    for (platform, wheels) in &build.platforms {
        for name in wheels.without.iter().filter(|name| !release.companions.contains_key(*name)) {
            findings
                .add(entry, format!("`without` of {platform} names `{name}`, which is no companion of the release"));
        }
        let is_known = |name: &&String| **name == framework.package || release.companions.contains_key(*name);
        for name in wheels.unlabelled.iter().filter(|name| !is_known(name)) {
            findings
                .add(entry, format!("`unlabelled` of {platform} names `{name}`, which is no package of the release"));
        }
    }
}

/// A patch release late enough that a range that allows any of the line allows it.
fn last_patch(python: PythonVersion) -> Version {
    Version::new([u64::from(python.major), u64::from(python.minor), 999])
}
