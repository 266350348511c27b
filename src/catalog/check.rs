//! Is the catalog consistent in itself? Names that lead nowhere, entries without a source, ranges that cannot be.
//!
//! Whether a fact is true no program can tell; that it contradicts another fact one can. The embedded catalog must have no
//! findings, and `imgforge catalog check` asks the same of a user's overlays.

mod frameworks;

use std::collections::BTreeMap;

use super::hardware::{Vendor, fold_name};
use super::{Catalog, CudaFlavour, Gpu};
use crate::version::Dotted;

/// Something wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// Which entry: `instance aws/g4dn.xlarge`.
    pub entry: String,
    /// What is wrong.
    pub problem: String,
}

/// All that is wrong, sorted by entry.
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Findings::default();
    for key in &catalog.duplicates {
        findings.add(key, "declared twice".to_owned());
    }
    sources(catalog, &mut findings);
    hardware(catalog, &mut findings);
    cuda(catalog, &mut findings);
    bases(catalog, &mut findings);
    other_systems(catalog, &mut findings);
    for framework in &catalog.frameworks {
        frameworks::releases(catalog, framework, &mut findings);
    }
    findings.0.sort();
    findings.0.dedup();
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, entry: &str, problem: String) {
        self.0.push(Finding { entry: entry.to_owned(), problem });
    }

    fn add_if(&mut self, wrong: bool, entry: &str, problem: &str) {
        if wrong {
            self.add(entry, problem.to_owned());
        }
    }

    /// A citation has more than one word or is an address; a single word is a name that the file's table lacks.
    fn source(&mut self, entry: &str, source: &str) {
        if source.trim().is_empty() {
            self.add(entry, "no source".to_owned());
        } else if !source.contains([' ', '/', '.']) {
            self.add(entry, format!("source `{source}` is not in the file's table of sources"));
        }
    }
}

fn sources(catalog: &Catalog, findings: &mut Findings) {
    macro_rules! cite {
        ($list:expr, $entry:ident => $name:expr) => {
            for $entry in &$list {
                findings.source(&$name, &$entry.source);
            }
        };
    }
    cite!(catalog.rules, rule => format!("rule {}", rule.name));
    cite!(catalog.gpus, gpu => format!("gpu {}", gpu.name));
    cite!(catalog.instances, instance => format!("instance {}/{}", instance.cloud, instance.name));
    cite!(catalog.machine_families, family => format!("machine family {}/{}", family.cloud, family.prefix));
    cite!(catalog.attachable_gpus, gpu => format!("attachable gpu {}/{}", gpu.cloud, gpu.name));
    cite!(catalog.cuda.toolkits, toolkit => format!("toolkit {}", toolkit.version));
    cite!(catalog.cuda.floors, floor => format!("driver floor {}", floor.major));
    cite!(catalog.cuda.branches, branch => format!("driver branch {}", branch.branch));
    cite!(catalog.cuda.cudnn, cudnn => format!("cudnn {}", cudnn.version));
    cite!(catalog.cuda.cudnn_floors, floor => format!("cudnn floor {}", floor.since));
    cite!(catalog.rocm_drivers, row => format!("rocm driver {}", row.driver));
    cite!(catalog.pythons, line => format!("python {}", line.version));
    cite!(catalog.bases.debian, suite => format!("debian {}", suite.suite));
    cite!(catalog.bases.ubuntu, suite => format!("ubuntu {}", suite.suite));
    cite!(catalog.bases.slim, image => format!("slim image {}", image.reference));
    cite!(catalog.bases.cuda, image => format!("cuda image {}", image.tag));
    cite!(catalog.other_systems, system => format!("other system {}", system.os));
    cite!(catalog.services, service => format!("service {}", service.name));
    for framework in &catalog.frameworks {
        cite!(framework.releases, release => format!("framework {} {}", framework.family, release.version));
        for release in &framework.releases {
            cite!(release.builds, build => format!("framework {} {} {}", framework.family, release.version, build.name));
        }
    }
}

fn hardware(catalog: &Catalog, findings: &mut Findings) {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for gpu in &catalog.gpus {
        let entry = format!("gpu {}", gpu.name);
        card(gpu, &entry, findings);
        for name in std::iter::once(&gpu.name).chain(&gpu.aliases) {
            match owners.insert(fold_name(name), &gpu.name) {
                Some(owner) if owner != gpu.name => findings.add(&entry, format!("`{name}` also names `{owner}`")),
                _ => {}
            }
        }
    }
    for instance in &catalog.instances {
        let entry = format!("instance {}/{}", instance.cloud, instance.name);
        if let Some(gpu) = instance.gpu.as_deref().filter(|gpu| catalog.gpu(gpu).is_none()) {
            findings.add(&entry, format!("no card is called `{gpu}`"));
        }
        findings.add_if(instance.gpu.is_some() != (instance.gpu_count > 0), &entry, "`gpu` and `gpu_count` disagree");
    }
    for gpu in &catalog.attachable_gpus {
        let entry = format!("attachable gpu {}/{}", gpu.cloud, gpu.name);
        if catalog.gpu(&gpu.gpu).is_none() {
            findings.add(&entry, format!("no card is called `{}`", gpu.gpu));
        }
        findings.add_if(gpu.counts.is_empty() || gpu.counts.contains(&0), &entry, "a count of zero cards");
    }
    for family in &catalog.machine_families {
        for name in &family.attachable {
            if !catalog.attachable_gpus.iter().any(|gpu| gpu.cloud == family.cloud && gpu.name == *name) {
                let entry = format!("machine family {}/{}", family.cloud, family.prefix);
                findings.add(&entry, format!("no attachable gpu is called `{name}`"));
            }
        }
    }
}

fn card(gpu: &Gpu, entry: &str, findings: &mut Findings) {
    let (needed, other) = match gpu.vendor {
        Vendor::Nvidia => (gpu.compute_capability.is_some(), gpu.gfx.is_some()),
        Vendor::Amd => (gpu.gfx.is_some(), gpu.compute_capability.is_some()),
    };
    findings.add_if(
        !needed || other,
        entry,
        "an NVIDIA card has a `compute_capability`, an AMD card a `gfx`, none both",
    );
    if let (Some(branch), Some(driver)) = (gpu.last_driver_branch, &gpu.minimum_driver) {
        findings.add_if(!branch.includes(driver), entry, "`minimum_driver` is newer than `last_driver_branch`");
    }
}

fn cuda(catalog: &Catalog, findings: &mut Findings) {
    for toolkit in &catalog.cuda.toolkits {
        let entry = format!("toolkit {}", toolkit.version);
        findings.add_if(toolkit.compute_capabilities.is_empty(), &entry, "compiles for nothing");
        findings.add_if(!toolkit.compute_capabilities.is_sorted(), &entry, "`compute_capabilities` are not ascending");
        findings.add_if(catalog.floor(toolkit.version.major()).is_none(), &entry, "its major has no driver floor");
    }
    for floor in &catalog.cuda.floors {
        let entry = format!("driver floor {}", floor.major);
        let of_major = catalog.cuda.toolkits.iter().filter(|toolkit| toolkit.version.major() == floor.major);
        match of_major.filter_map(|toolkit| toolkit.driver.as_ref()).max() {
            Some(newest) => {
                findings.add_if(floor.driver > *newest, &entry, "above the driver of every toolkit of the major");
            }
            None => findings.add(&entry, "no toolkit of the major has a driver".to_owned()),
        }
        let lower = catalog.cuda.floors.iter().filter(|other| other.major < floor.major);
        findings.add_if(
            lower.clone().any(|other| other.driver >= floor.driver),
            &entry,
            "not above an older major's floor",
        );
    }
    for floor in &catalog.cuda.cudnn_floors {
        let mut older = catalog.cuda.cudnn_floors.iter().filter(|other| other.since < floor.since);
        findings.add_if(
            older.any(|other| other.compute_capability >= floor.compute_capability),
            &format!("cudnn floor {}", floor.since),
            "not above an older release's floor",
        );
    }
    for row in &catalog.rocm_drivers {
        let entry = format!("rocm driver {}", row.driver);
        findings.add_if(row.user_space.is_empty(), &entry, "runs no ROCm");
        findings.add_if(!row.user_space.is_sorted(), &entry, "`user_space` is not ascending");
    }
}

fn bases(catalog: &Catalog, findings: &mut Findings) {
    for image in &catalog.bases.slim {
        let entry = format!("slim image {}", image.reference);
        let known = catalog.bases.debian.iter().any(|suite| suite.suite == image.suite);
        findings.add_if(!known, &entry, "made on a suite that is not listed");
        findings.add_if(image.platforms.is_empty(), &entry, "for no platform");
    }
    for image in &catalog.bases.cuda {
        let entry = format!("cuda image {}", image.tag);
        let toolkit = catalog.toolkit(&image.toolkit);
        findings.add_if(toolkit.is_none(), &entry, "its toolkit is not listed");
        if let Some(own) = toolkit.and_then(|toolkit| toolkit.driver.as_ref()) {
            let needless = image.compat.iter().any(|branch| branch.0 >= own.major());
            findings.add_if(needless, &entry, "`compat` names a branch that needs no help");
        }
        findings.add_if(image.platforms.is_empty(), &entry, "for no platform");
        match catalog.bases.suite(&image.os) {
            None => findings.add(&entry, format!("`{}` is not listed", image.os)),
            Some(suite) => findings.add_if(suite.glibc != image.glibc, &entry, "not the glibc of its operating system"),
        }
    }
    for service in &catalog.services {
        let entry = format!("service {}", service.name);
        let form = service.healthcheck.first().map(String::as_str);
        findings.add_if(
            !matches!(form, None | Some("CMD" | "CMD-SHELL" | "NONE")),
            &entry,
            "a health check starts with CMD, CMD-SHELL or NONE",
        );
        findings.add_if(service.port == 0, &entry, "no port");
        findings.add_if(!service.data.is_sorted_by_key(|data| data.since), &entry, "`data` is not ascending");
    }
}

fn other_systems(catalog: &Catalog, findings: &mut Findings) {
    for system in &catalog.other_systems {
        let entry = format!("other system {}", system.os);
        findings.add_if(catalog.bases.suite(&system.os).is_some(), &entry, "is listed as a base too");
        let numbered = system.os.split_once(' ').is_some_and(|(_, release)| release.parse::<Dotted>().is_ok());
        findings.add_if(!numbered, &entry, "`os` is a name and a number with a space between");
        let listed = system.toolkits();
        findings.add_if(listed.is_empty(), &entry, "has no image");
        for toolkit in listed.iter().filter(|toolkit| catalog.toolkit(toolkit).is_none()) {
            findings.add(&entry, format!("its toolkit {toolkit} is not listed"));
        }
        for toolkit in system.end_of_life.iter().filter(|toolkit| !listed.contains(toolkit)) {
            findings.add(&entry, format!("`end_of_life` names {toolkit}, which it has no image of"));
        }
        for images in &system.images {
            findings.add_if(images.platforms.is_empty(), &entry, "images for no platform");
            for flavour in images.flavours.iter().filter(|flavour| CudaFlavour::of_tag(flavour).is_none()) {
                findings.add(&entry, format!("`{flavour}` is no flavour: expected base, runtime or devel"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small catalog without findings; each test breaks one line of it.
    const SOUND: &str = r#"
format: "1.0.0"
sources: {made: an invented world}
gpus:
  - {name: Alpha, vendor: nvidia, compute_capability: "7.5", class: datacenter, last_driver_branch: R500, minimum_driver: "400.1", source: made}
  - {name: Beta, vendor: amd, gfx: gfx900, class: consumer, source: made}
instances:
  - {cloud: sky, name: one, gpu: Alpha, gpu_count: 1, source: made}
attachable_gpus:
  - {cloud: sky, name: alpha-card, gpu: Alpha, counts: [1, 2], source: made}
machine_families:
  - {cloud: sky, prefix: m-, attachable: [alpha-card], source: made}
toolkits:
  - {version: "12.1.0", driver: "530.1", compute_capabilities: "7.0 7.5 8.0", source: made}
  - {version: "11.1.0", driver: "450.1", compute_capabilities: "7.0 7.5", source: made}
cudnn_floors:
  - {since: "9.5", compute_capability: "7.0", source: made}
  - {since: "9.0", compute_capability: "5.0", source: made}
rocm_drivers:
  - {driver: "6.0", user_space: "5.7 6.0", source: made}
driver_floors:
  - {major: 12, driver: "520.1", source: made}
  - {major: 11, driver: "440.1", source: made}
pythons:
  - {version: "3.11", status: final, source: made}
debian:
  - {suite: twelve, release: "12", python: "3.11", glibc: "2.36", source: made}
ubuntu:
  - {suite: jay, release: "22.04", python: "3.11", glibc: "2.35", source: made}
slim_images:
  - {python: "3.11", suite: twelve, reference: "python:3.11-slim-twelve", platforms: linux/amd64, source: made}
cuda_images:
  - {toolkit: "12.1.0", os: ubuntu 22.04, glibc: "2.35", flavours: base, platforms: linux/amd64, compat: R470 R500, source: made}
other_systems:
  - os: rhino 9
    packages: rpm
    end_of_life: "11.1.0"
    source: made
    images:
      - {toolkits: "11.1.0 12.1.0", flavours: base cudnn8-devel, platforms: linux/amd64}
services:
  - {name: store, image: store, port: 1, healthcheck: [CMD, ping], data: [{since: 0, path: /a}, {since: 2, path: /b}], source: made}
frameworks:
  - family: flow
    package: flow
    companions: [flowvision]
    requirements: {"*": ["flow=={version}"]}
    releases:
      - version: "1.0"
        requires_python: ">=3.11"
        companions: {flowvision: "0.1"}
        source: made
        platforms: {linux/amd64: {pythons: "3.11", glibc: "2.17"}}
        builds:
          - {name: cu121, default: true, toolkit: "12.1", sass: "7.0 7.5", ptx: "8.0"}
          - {name: rocm6, index: flow-rocm6, rocm: "6.0"}
          - {name: cpu, index: flow-cpu}
  - family: speed
    package: flow-speed
    companions: [flow]
    needs: [flow]
    requirements: {"*": ["flow-speed=={version}"]}
    releases:
      - {version: "2.1", requires: {flow: ">=1"}, source: made, builds: [{name: source, accelerator: cuda, source_only: true}]}
      - version: "2.0"
        companions: {flow: "1.0"}
        source: made
        platforms: {linux/amd64: {pythons: "3.11", glibc: "2.17"}}
        builds:
          - {name: cuda, sass: "7.0"}
          - {name: cu12, toolkit: "12.1", sass: "7.0", needs_system_cuda: true, exact_cuda: true}
"#;

    fn findings(text: &str) -> Vec<(String, String)> {
        let catalog = Catalog::from_texts(&[("a.yaml", text)]).expect("a catalog");
        check(&catalog).into_iter().map(|finding| (finding.entry, finding.problem)).collect()
    }

    #[test]
    fn the_embedded_catalog_has_no_findings() {
        assert_eq!(check(&Catalog::load(&[]).expect("the embedded catalog")), []);
    }

    #[test]
    fn the_sound_world_has_no_findings() {
        assert_eq!(findings(SOUND), []);
    }

    #[test]
    fn every_kind_of_mistake_is_found_alone() {
        for (from, to, entry, problem) in [
            (
                "rocm: \"6.0\"",
                "rocm: \"6.0\", source: lost",
                "framework flow 1.0 rocm6",
                "source `lost` is not in the file's table of sources",
            ),
            (
                "{suite: twelve, release: \"12\", python: \"3.11\", glibc: \"2.36\", source: made}",
                "{suite: twelve, release: \"12\", python: \"3.11\", glibc: \"2.36\", source: \"\"}",
                "debian twelve",
                "no source",
            ),
            (
                "gfx: gfx900",
                "compute_capability: \"9.9\"",
                "gpu Beta",
                "an NVIDIA card has a `compute_capability`, an AMD card a `gfx`, none both",
            ),
            ("name: Beta,", "name: Beta, aliases: [NVIDIA Alpha],", "gpu Beta", "`NVIDIA Alpha` also names `Alpha`"),
            (
                "minimum_driver: \"400.1\"",
                "minimum_driver: \"501.1\"",
                "gpu Alpha",
                "`minimum_driver` is newer than `last_driver_branch`",
            ),
            ("name: one, gpu: Alpha", "name: one, gpu: Gamma", "instance sky/one", "no card is called `Gamma`"),
            ("gpu_count: 1", "gpu_count: 0", "instance sky/one", "`gpu` and `gpu_count` disagree"),
            (
                "name: alpha-card, gpu: Alpha",
                "name: alpha-card, gpu: Gamma",
                "attachable gpu sky/alpha-card",
                "no card is called `Gamma`",
            ),
            ("counts: [1, 2]", "counts: [0]", "attachable gpu sky/alpha-card", "a count of zero cards"),
            (
                "attachable: [alpha-card]",
                "attachable: [beta-card]",
                "machine family sky/m-",
                "no attachable gpu is called `beta-card`",
            ),
            (
                "compute_capabilities: \"7.0 7.5\"",
                "compute_capabilities: \"7.5 7.0\"",
                "toolkit 11.1.0",
                "`compute_capabilities` are not ascending",
            ),
            (
                "compute_capabilities: \"7.0 7.5\"",
                "compute_capabilities: \"\"",
                "toolkit 11.1.0",
                "compiles for nothing",
            ),
            (
                "{major: 11, driver: \"440.1\"",
                "{major: 11, driver: \"451.1\"",
                "driver floor 11",
                "above the driver of every toolkit of the major",
            ),
            (
                "{major: 12, driver: \"520.1\"",
                "{major: 12, driver: \"440.1\"",
                "driver floor 12",
                "not above an older major's floor",
            ),
            (
                "  - {major: 11, driver: \"440.1\", source: made}\n",
                "",
                "toolkit 11.1.0",
                "its major has no driver floor",
            ),
            (
                "suite: twelve, reference",
                "suite: ten, reference",
                "slim image python:3.11-slim-twelve",
                "made on a suite that is not listed",
            ),
            (
                "{toolkit: \"12.1.0\", os",
                "{toolkit: \"12.2.0\", os",
                "cuda image 12.2.0-base-ubuntu22.04",
                "its toolkit is not listed",
            ),
            (
                "os: ubuntu 22.04",
                "os: ubuntu 24.04",
                "cuda image 12.1.0-base-ubuntu24.04",
                "`ubuntu 24.04` is not listed",
            ),
            (
                "glibc: \"2.35\", flavours",
                "glibc: \"2.31\", flavours",
                "cuda image 12.1.0-base-ubuntu22.04",
                "not the glibc of its operating system",
            ),
            (
                "since: \"9.5\", compute_capability: \"7.0\"",
                "since: \"9.5\", compute_capability: \"5.0\"",
                "cudnn floor 9.5",
                "not above an older release's floor",
            ),
            ("user_space: \"5.7 6.0\"", "user_space: \"\"", "rocm driver 6.0", "runs no ROCm"),
            ("user_space: \"5.7 6.0\"", "user_space: \"6.0 5.7\"", "rocm driver 6.0", "`user_space` is not ascending"),
            (
                "compat: R470 R500",
                "compat: R470 R530",
                "cuda image 12.1.0-base-ubuntu22.04",
                "`compat` names a branch that needs no help",
            ),
            ("os: rhino 9", "os: rhino9", "other system rhino9", "`os` is a name and a number with a space between"),
            ("os: rhino 9", "os: ubuntu 22.04", "other system ubuntu 22.04", "is listed as a base too"),
            (
                "toolkits: \"11.1.0 12.1.0\"",
                "toolkits: \"11.1.0 12.2.0\"",
                "other system rhino 9",
                "its toolkit 12.2.0 is not listed",
            ),
            (
                "end_of_life: \"11.1.0\"",
                "end_of_life: \"11.2.0\"",
                "other system rhino 9",
                "`end_of_life` names 11.2.0, which it has no image of",
            ),
            (
                "base cudnn8-devel",
                "base cudnn8",
                "other system rhino 9",
                "`cudnn8` is no flavour: expected base, runtime or devel",
            ),
            (
                "cudnn8-devel, platforms: linux/amd64",
                "cudnn8-devel, platforms: \"\"",
                "other system rhino 9",
                "images for no platform",
            ),
            (
                "needs: [flow]",
                "needs: [flax]",
                "framework speed",
                "`needs` names `flax`, which is no companion of the family",
            ),
            (
                "    companions: [flow]\n    needs: [flow]",
                "    companions: [flow, flowvision]\n    needs: [flowvision]",
                "framework speed",
                "`needs` names `flowvision`, which is the main package of no other family",
            ),
            (
                "companions: {flow: \"1.0\"}",
                "companions: {flow: \"1.5\"}",
                "framework speed 2.0",
                "pins flow 1.5, which is not listed",
            ),
            (
                "requires: {flow: \">=1\"}",
                "requires: {flow: \">=3\"}",
                "framework speed 2.1",
                "requires flow `>=3`, which no listed release meets",
            ),
            (
                "requires: {flow: \">=1\"}",
                "requires: {flowvision: \">=0\"}",
                "framework speed 2.1",
                "requires `flowvision`, which is the main package of no other family",
            ),
            (
                "{name: cuda, sass: \"7.0\"}",
                "{name: cuda, sass: \"7.0\", source_only: true}",
                "framework speed 2.0 cuda",
                "a source distribution with wheels",
            ),
            ("needs_system_cuda: true, ", "", "framework speed 2.0 cu12", "`exact_cuda` without `needs_system_cuda`"),
            ("[CMD, ping]", "[ping]", "service store", "a health check starts with CMD, CMD-SHELL or NONE"),
            ("since: 0", "since: 3", "service store", "`data` is not ascending"),
            (
                "companions: {flowvision",
                "companions: {flowaudio",
                "framework flow 1.0",
                "`flowaudio` is no companion of the family",
            ),
            ("toolkit: \"12.1\"", "toolkit: \"12.2\"", "framework flow 1.0 cu121", "toolkit `12.2` is not listed"),
            ("toolkit: \"12.1\", ", "", "framework flow 1.0 cu121", "no `toolkit`"),
            (
                "sass: \"7.0 7.5\"",
                "sass: \"7.0 9.0\"",
                "framework flow 1.0 cu121",
                "toolkit 12.1.0 does not compile for 9.0",
            ),
            ("sass: \"7.0 7.5\", ptx: \"8.0\"", "index: default", "framework flow 1.0 cu121", "no `sass` and no `ptx`"),
            (", rocm: \"6.0\"", "", "framework flow 1.0 rocm6", "no `rocm`"),
            (
                "index: flow-cpu",
                "index: flow-cpu, toolkit: \"12.1\"",
                "framework flow 1.0 cpu",
                "a processor build with GPU code or a toolkit",
            ),
            ("index: flow-cpu", "index: Flow CPU", "framework flow 1.0 cpu", "`index` is not a plain name"),
            ("index: flow-cpu", "index: flow-cpu, default: true", "framework flow 1.0", "more than one default build"),
            (
                "name: cpu, index: flow-cpu",
                "name: rocm6, rocm: \"6.0\", index: flow-rocm6",
                "framework flow 1.0 rocm6",
                "declared twice",
            ),
            ("[\"flow=={version}\"]", "[]", "framework flow 1.0 cpu", "no requirements"),
            (
                "[\"flow=={version}\"]",
                "[\"flow=={version\"]",
                "framework flow 1.0 cpu",
                "`flow=={version` is not a requirement",
            ),
            ("index: flow-cpu", "index: flow-cpu, only: linux/arm64", "framework flow 1.0 cpu", "for no platform"),
            (
                "glibc: \"2.17\"}}",
                "glibc: \"2.17\", unlabelled: flow flowvision flowaudio}}",
                "framework flow 1.0 cpu",
                "`unlabelled` of linux/amd64 names `flowaudio`, which is no package of the release",
            ),
            (
                "glibc: \"2.17\"}}",
                "glibc: \"2.17\", without: flow}}",
                "framework flow 1.0 cpu",
                "`without` of linux/amd64 names `flow`, which is no companion of the release",
            ),
            ("{pythons: \"3.11\"", "{pythons: \"\"", "framework flow 1.0 cpu", "no Python for linux/amd64"),
            ("{pythons: \"3.11\"", "{pythons: \"3.11 3.12\"", "framework flow 1.0 cpu", "Python 3.12 is not listed"),
            (
                "requires_python: \">=3.11\"",
                "requires_python: \">=3.12\"",
                "framework flow 1.0 cpu",
                "`requires_python` excludes Python 3.11",
            ),
            (
                "  - {name: Beta,",
                "  - {name: alpha, vendor: amd, gfx: gfx1, class: consumer, source: made}\n  - {name: Beta,",
                "gpu alpha",
                "declared twice",
            ),
        ] {
            assert!(SOUND.contains(from), "{from}");
            let found = findings(&SOUND.replacen(from, to, 1));
            assert!(found.contains(&(entry.to_owned(), problem.to_owned())), "{to}: {found:?}");
        }
    }
}
