//! The shape of the catalog's files and how several of them become one [`Catalog`].
//!
//! Every file may hold any section, so the embedded files and a user's overlays follow one schema and an overlay of one
//! entry is a file of a few lines. An entry of a later layer replaces the one with the same key; releases of a framework are
//! replaced one by one. Short names in `source:` are looked up in the file's own `sources:` table.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::{Version, VersionSpecifiers};
use serde::Deserialize;

use super::base::{CudaFlavour, CudaImage, DebianSuite, PythonLine, Service, SlimImage};
use super::cuda::{Branch, Cudnn, CudnnFloor, CudnnNeed, Floor, RocmDriver, Toolkit};
use super::framework::{Accelerator, Build, Framework, PlatformSupport, Release};
use super::hardware::{AttachableGpu, Gpu, Instance, MachineFamily, fold_name};
use super::other_system::OtherSystem;
use super::{Catalog, Rule, text};
use crate::oci::Platform;
use crate::version::{ComputeCapability, CudnnVersion, Dotted, DriverBranch, PythonVersion, ToolkitVersion};

/// One file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    /// Version of this schema the file was written for.
    pub(super) format: String,
    #[serde(deserialize_with = "text::list::deserialize")]
    sources: BTreeMap<String, String>,
    #[serde(deserialize_with = "text::list::deserialize")]
    rules: Vec<Rule>,
    #[serde(deserialize_with = "text::list::deserialize")]
    gpus: Vec<Gpu>,
    #[serde(deserialize_with = "text::list::deserialize")]
    instances: Vec<Instance>,
    #[serde(deserialize_with = "text::list::deserialize")]
    machine_families: Vec<MachineFamily>,
    #[serde(deserialize_with = "text::list::deserialize")]
    attachable_gpus: Vec<AttachableGpu>,
    #[serde(deserialize_with = "text::list::deserialize")]
    toolkits: Vec<Toolkit>,
    #[serde(deserialize_with = "text::list::deserialize")]
    driver_floors: Vec<Floor>,
    #[serde(deserialize_with = "text::list::deserialize")]
    driver_branches: Vec<Branch>,
    #[serde(deserialize_with = "text::list::deserialize")]
    cudnn: Vec<Cudnn>,
    #[serde(deserialize_with = "text::list::deserialize")]
    cudnn_floors: Vec<CudnnFloor>,
    #[serde(deserialize_with = "text::list::deserialize")]
    rocm_drivers: Vec<RocmDriver>,
    #[serde(deserialize_with = "text::list::deserialize")]
    pythons: Vec<PythonLine>,
    #[serde(deserialize_with = "text::list::deserialize")]
    debian: Vec<DebianSuite>,
    #[serde(deserialize_with = "text::list::deserialize")]
    ubuntu: Vec<DebianSuite>,
    #[serde(deserialize_with = "text::list::deserialize")]
    slim_images: Vec<SlimImage>,
    #[serde(deserialize_with = "text::list::deserialize")]
    cuda_images: Vec<CudaImageRow>,
    #[serde(deserialize_with = "text::list::deserialize")]
    other_systems: Vec<OtherSystem>,
    #[serde(deserialize_with = "text::list::deserialize")]
    services: Vec<Service>,
    #[serde(deserialize_with = "text::list::deserialize")]
    frameworks: Vec<FrameworkSection>,
}

/// All flavours of one toolkit on one operating system.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CudaImageRow {
    toolkit: ToolkitVersion,
    os: String,
    #[serde(with = "text::glibc")]
    glibc: (u32, u32),
    #[serde(default)]
    cudnn: Option<CudnnVersion>,
    /// The middle part of each tag: `base`, `runtime`, `cudnn8-devel`.
    flavours: String,
    #[serde(deserialize_with = "text::words::deserialize")]
    platforms: Vec<Platform>,
    #[serde(default, deserialize_with = "text::words::deserialize")]
    compat: Vec<DriverBranch>,
    #[serde(default)]
    end_of_life: bool,
    source: String,
    #[serde(default)]
    unverified: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameworkSection {
    family: String,
    /// Needed where the family is new.
    #[serde(default)]
    package: Option<String>,
    #[serde(default, deserialize_with = "text::list::deserialize")]
    companions: Vec<String>,
    #[serde(default, deserialize_with = "text::list::deserialize")]
    needs: Vec<String>,
    /// What installs a build, by build name or `*`; `{version}` stands for the release.
    #[serde(default, deserialize_with = "text::list::deserialize")]
    requirements: BTreeMap<String, Vec<String>>,
    #[serde(default, deserialize_with = "text::list::deserialize")]
    releases: Vec<ReleaseSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseSection {
    version: Version,
    #[serde(default)]
    requires_python: Option<VersionSpecifiers>,
    /// Versions of each companion, separated by spaces.
    #[serde(default)]
    companions: BTreeMap<String, String>,
    #[serde(default)]
    requires: BTreeMap<String, VersionSpecifiers>,
    /// What its builds have in common.
    #[serde(default)]
    platforms: BTreeMap<Platform, PlatformSection>,
    builds: Vec<BuildSection>,
    #[serde(default)]
    yanked: bool,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildSection {
    name: String,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    index: Option<String>,
    /// Where the name does not start with `cu`, `rocm` or `cpu`.
    #[serde(default)]
    accelerator: Option<Accelerator>,
    #[serde(default)]
    toolkit: Option<ToolkitVersion>,
    #[serde(default)]
    cudnn: Option<CudnnNeed>,
    #[serde(default)]
    rocm: Option<Dotted>,
    /// The release's platforms it has wheels for, where it has not all of them.
    #[serde(default, deserialize_with = "text::words::deserialize")]
    only: Vec<Platform>,
    /// What differs from the release's.
    #[serde(default)]
    platforms: BTreeMap<Platform, PlatformSection>,
    #[serde(default, deserialize_with = "text::words::deserialize")]
    sass: Vec<ComputeCapability>,
    #[serde(default, deserialize_with = "text::words::deserialize")]
    ptx: Vec<ComputeCapability>,
    #[serde(default, deserialize_with = "text::words::deserialize")]
    gfx: Vec<String>,
    #[serde(default)]
    requirements: Vec<String>,
    #[serde(default)]
    needs_system_cuda: bool,
    #[serde(default)]
    exact_cuda: bool,
    #[serde(default)]
    source_only: bool,
    /// The release's, if the build has none.
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    unverified: bool,
}

/// [`PlatformSupport`] as far as it is said at one place.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PlatformSection {
    #[serde(deserialize_with = "text::words::deserialize")]
    pythons: Vec<PythonVersion>,
    glibc: Option<String>,
    accelerator: Option<Accelerator>,
    #[serde(deserialize_with = "text::words::deserialize")]
    sass: Vec<ComputeCapability>,
    #[serde(deserialize_with = "text::words::deserialize")]
    ptx: Vec<ComputeCapability>,
    #[serde(deserialize_with = "text::words::deserialize")]
    unlabelled: Vec<String>,
    #[serde(deserialize_with = "text::words::deserialize")]
    without: Vec<String>,
}

/// Something in a well-formed file that makes no entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) entry: String,
    pub(super) problem: String,
}

/// Builds a catalog from layers of files.
#[derive(Default)]
pub(super) struct Assembler {
    catalog: Catalog,
    /// Keys of all layers, and of the layer being read.
    known: BTreeSet<String>,
    layer: BTreeSet<String>,
    duplicates: Vec<String>,
    templates: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// Adds an entry, or replaces the one with the same key.
macro_rules! put {
    ($self:ident, $list:expr, $kind:literal, $entry:expr, $key:expr) => {{
        let key_of = $key;
        let entry = $entry;
        let key: String = key_of(&entry);
        if $self.is_new(concat!($kind, " "), &key) {
            $list.push(entry);
        } else if let Some(old) = $list.iter_mut().find(|old| key_of(*old) == key) {
            *old = entry;
        }
    }};
}

impl Assembler {
    /// Starts a layer: from here on equal keys replace those of earlier layers, and are duplicates among themselves.
    pub(super) fn begin_layer(&mut self) {
        self.layer.clear();
    }

    fn is_new(&mut self, kind: &str, key: &str) -> bool {
        let key = format!("{kind}{key}");
        if !self.layer.insert(key.clone()) {
            self.duplicates.push(key.clone());
        }
        self.known.insert(key)
    }

    /// Adds one file.
    pub(super) fn add(&mut self, document: Document) -> Result<(), Malformed> {
        let sources = document.sources;
        let cite = |source: &mut String| {
            if let Some(citation) = sources.get(source.as_str()) {
                source.clone_from(citation);
            }
        };
        macro_rules! put_all {
            ($field:ident, $list:expr, $kind:literal, $key:expr) => {
                for mut entry in document.$field {
                    cite(&mut entry.source);
                    put!(self, $list, $kind, entry, $key);
                }
            };
        }
        put_all!(rules, self.catalog.rules, "rule", |rule: &Rule| rule.name.clone());
        put_all!(gpus, self.catalog.gpus, "gpu", |gpu: &Gpu| fold_name(&gpu.name));
        put_all!(instances, self.catalog.instances, "instance", |instance: &Instance| format!(
            "{}/{}",
            instance.cloud, instance.name
        ));
        put_all!(machine_families, self.catalog.machine_families, "machine family", |family: &MachineFamily| format!(
            "{}/{}",
            family.cloud, family.prefix
        ));
        put_all!(attachable_gpus, self.catalog.attachable_gpus, "attachable gpu", |gpu: &AttachableGpu| format!(
            "{}/{}",
            gpu.cloud, gpu.name
        ));
        put_all!(toolkits, self.catalog.cuda.toolkits, "toolkit", |toolkit: &Toolkit| toolkit.version.to_string());
        put_all!(driver_floors, self.catalog.cuda.floors, "driver floor", |floor: &Floor| floor.major.to_string());
        put_all!(driver_branches, self.catalog.cuda.branches, "driver branch", |branch: &Branch| branch
            .branch
            .to_string());
        put_all!(cudnn, self.catalog.cuda.cudnn, "cudnn", |cudnn: &Cudnn| cudnn.version.to_string());
        put_all!(cudnn_floors, self.catalog.cuda.cudnn_floors, "cudnn floor", |floor: &CudnnFloor| floor
            .since
            .to_string());
        put_all!(rocm_drivers, self.catalog.rocm_drivers, "rocm driver", |row: &RocmDriver| row.driver.to_string());
        put_all!(pythons, self.catalog.pythons, "python", |line: &PythonLine| line.version.to_string());
        put_all!(debian, self.catalog.bases.debian, "debian", |suite: &DebianSuite| suite.suite.clone());
        put_all!(ubuntu, self.catalog.bases.ubuntu, "ubuntu", |suite: &DebianSuite| suite.suite.clone());
        put_all!(slim_images, self.catalog.bases.slim, "slim image", |image: &SlimImage| image.reference.clone());
        put_all!(other_systems, self.catalog.other_systems, "other system", OtherSystem::suffix);
        put_all!(services, self.catalog.services, "service", |service: &Service| service.name.clone());
        for mut row in document.cuda_images {
            cite(&mut row.source);
            for image in row.expand()? {
                put!(self, self.catalog.bases.cuda, "cuda image", image, |image: &CudaImage| image.tag.clone());
            }
        }
        for section in document.frameworks {
            self.add_framework(section, &cite)?;
        }
        Ok(())
    }

    fn add_framework(&mut self, section: FrameworkSection, cite: &dyn Fn(&mut String)) -> Result<(), Malformed> {
        let family = section.family;
        let templates = self.templates.entry(family.clone()).or_default();
        templates.extend(section.requirements);
        let templates = templates.clone();
        let known = self.catalog.frameworks.iter().position(|framework| framework.family == family);
        let position = match (known, section.package) {
            (Some(position), package) => {
                if let (Some(framework), Some(package)) = (self.catalog.frameworks.get_mut(position), package) {
                    framework.package = package;
                }
                position
            }
            (None, Some(package)) => {
                let releases = Vec::new();
                let (companions, needs) = (Vec::new(), Vec::new());
                let requirements = BTreeMap::new();
                self.catalog.frameworks.push(Framework {
                    family: family.clone(),
                    package,
                    companions,
                    needs,
                    requirements,
                    releases,
                });
                self.catalog.frameworks.len() - 1
            }
            (None, None) => {
                let problem = "a new family needs its `package`".to_owned();
                return Err(Malformed { entry: format!("framework {family}"), problem });
            }
        };
        let mut releases = Vec::new();
        for release in section.releases {
            let is_new = self.is_new("framework ", &format!("{family} {}", release.version));
            releases.push((is_new, release.expand(&family, &templates, cite)?));
        }
        if let Some(framework) = self.catalog.frameworks.get_mut(position) {
            framework.requirements = templates;
            for companion in section.companions {
                if !framework.companions.contains(&companion) {
                    framework.companions.push(companion);
                }
            }
            for needed in section.needs {
                if !framework.needs.contains(&needed) {
                    framework.needs.push(needed);
                }
            }
            for (is_new, release) in releases {
                match framework.releases.iter_mut().find(|old| !is_new && old.version == release.version) {
                    Some(old) => *old = release,
                    None => framework.releases.push(release),
                }
            }
        }
        Ok(())
    }

    /// The catalog, in the order its lists promise.
    pub(super) fn finish(self) -> Catalog {
        let mut catalog = self.catalog;
        catalog.duplicates = self.duplicates;
        catalog.instances.sort_by(|left, right| (&left.cloud, &left.name).cmp(&(&right.cloud, &right.name)));
        catalog.cuda.toolkits.sort_by(|left, right| right.version.cmp(&left.version));
        catalog.cuda.floors.sort_by_key(|floor| std::cmp::Reverse(floor.major));
        catalog.cuda.branches.sort_by_key(|branch| std::cmp::Reverse(branch.branch));
        catalog.cuda.cudnn.sort_by(|left, right| right.version.cmp(&left.version));
        catalog.cuda.cudnn_floors.sort_by(|left, right| right.since.cmp(&left.since));
        catalog.pythons.sort_by_key(|line| std::cmp::Reverse(line.version));
        catalog.bases.debian.sort_by_key(|suite| std::cmp::Reverse(suite.glibc));
        catalog.bases.ubuntu.sort_by_key(|suite| std::cmp::Reverse(suite.glibc));
        catalog.bases.slim.sort_by(|left, right| (right.python, &right.suite).cmp(&(left.python, &left.suite)));
        catalog.bases.cuda.sort_by(|left, right| {
            (&right.toolkit, right.glibc, &left.tag).cmp(&(&left.toolkit, left.glibc, &right.tag))
        });
        for framework in &mut catalog.frameworks {
            framework.releases.sort_by(|left, right| right.version.cmp(&left.version));
        }
        catalog.index();
        catalog
    }
}

impl CudaImageRow {
    fn expand(&self) -> Result<Vec<CudaImage>, Malformed> {
        let suffix = self.os.replace(' ', "");
        self.flavours
            .split_whitespace()
            .map(|middle| {
                let tag = format!("{}-{middle}-{suffix}", self.toolkit);
                let cudnn = middle.contains('-').then(|| self.cudnn.clone()).flatten();
                let Some(flavour) = CudaFlavour::of_tag(middle) else {
                    let problem = format!("`{middle}` is no flavour: expected base, runtime or devel");
                    return Err(Malformed { entry: format!("cuda image {tag}"), problem });
                };
                Ok(CudaImage {
                    toolkit: self.toolkit.clone(),
                    cudnn,
                    os: self.os.clone(),
                    glibc: self.glibc,
                    flavour,
                    platforms: self.platforms.clone(),
                    tag,
                    compat: self.compat.clone(),
                    end_of_life: self.end_of_life,
                    source: self.source.clone(),
                    unverified: self.unverified,
                })
            })
            .collect()
    }
}

impl ReleaseSection {
    fn expand(
        self,
        family: &str,
        templates: &BTreeMap<String, Vec<String>>,
        cite: &dyn Fn(&mut String),
    ) -> Result<Release, Malformed> {
        let entry = format!("framework {family} {}", self.version);
        let mut companions = BTreeMap::new();
        for (package, versions) in self.companions {
            let versions = text::parse(&versions).map_err(|problem| Malformed { entry: entry.clone(), problem })?;
            companions.insert(package, versions);
        }
        let mut source = self.source;
        let release_source = source.clone();
        cite(&mut source);
        let mut builds = Vec::with_capacity(self.builds.len());
        for build in self.builds {
            let accelerator = build.accelerator.or_else(|| accelerator_of(&build.name)).ok_or_else(|| Malformed {
                entry: format!("{entry} {}", build.name),
                problem: "the name does not tell the `accelerator`".to_owned(),
            })?;
            let platforms = merge_platforms(&self.platforms, &build.only, build.platforms)
                .map_err(|problem| Malformed { entry: format!("{entry} {}", build.name), problem })?;
            let requirements = match build.requirements.is_empty() {
                false => build.requirements,
                true => templates.get(&build.name).or_else(|| templates.get("*")).cloned().unwrap_or_default(),
            };
            let version = self.version.to_string();
            let mut build_source = build.source.unwrap_or_else(|| release_source.clone());
            cite(&mut build_source);
            builds.push(Build {
                name: build.name,
                default: build.default,
                index: build.index.unwrap_or_else(|| "default".to_owned()),
                accelerator,
                toolkit: build.toolkit,
                cudnn: build.cudnn,
                rocm: build.rocm,
                platforms,
                sass: build.sass,
                ptx: build.ptx,
                gfx: build.gfx,
                requirements: requirements.iter().map(|line| line.replace("{version}", &version)).collect(),
                needs_system_cuda: build.needs_system_cuda,
                exact_cuda: build.exact_cuda,
                source_only: build.source_only,
                source: build_source,
                unverified: build.unverified,
            });
        }
        builds.sort_by_key(|build| !build.default);
        Ok(Release {
            version: self.version,
            requires_python: self.requires_python,
            companions,
            requires: self.requires,
            builds,
            yanked: self.yanked,
            source,
        })
    }
}

/// The platforms of a build: the release's, narrowed to `only`, with the build's own values over them.
fn merge_platforms(
    release: &BTreeMap<Platform, PlatformSection>,
    only: &[Platform],
    build: BTreeMap<Platform, PlatformSection>,
) -> Result<BTreeMap<Platform, PlatformSupport>, String> {
    let mut sections = release.clone();
    for (platform, section) in build {
        let merged = sections.entry(platform).or_default();
        if !section.pythons.is_empty() {
            merged.pythons = section.pythons;
        }
        if !section.sass.is_empty() {
            (merged.sass, merged.ptx) = (section.sass, section.ptx);
        }
        if !section.unlabelled.is_empty() {
            merged.unlabelled = section.unlabelled;
        }
        if !section.without.is_empty() {
            merged.without = section.without;
        }
        merged.glibc = section.glibc.or(merged.glibc.take());
        merged.accelerator = section.accelerator.or(merged.accelerator);
    }
    let mut platforms = BTreeMap::new();
    for (platform, section) in sections {
        if !only.is_empty() && !only.contains(&platform) {
            continue;
        }
        let glibc = section.glibc.ok_or_else(|| format!("no `glibc` for {platform}"))?;
        let glibc = text::parse_glibc(&glibc)?;
        let PlatformSection { pythons, accelerator, sass, ptx, unlabelled, without, .. } = section;
        platforms.insert(platform, PlatformSupport { pythons, glibc, accelerator, sass, ptx, unlabelled, without });
    }
    Ok(platforms)
}

fn accelerator_of(build: &str) -> Option<Accelerator> {
    [("cu", Accelerator::Cuda), ("rocm", Accelerator::Rocm), ("cpu", Accelerator::Cpu)]
        .into_iter()
        .find(|(prefix, _)| build.starts_with(prefix))
        .map(|(_, accelerator)| accelerator)
}
