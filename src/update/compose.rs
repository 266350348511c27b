//! New releases of a framework, as entries in the catalog's own words.
//!
//! Which builds to look for is read from the newest curated releases: each of their builds is asked for under the new
//! version. What upstream does not tell (machine code, a toolkit that is the system's) comes from that build and makes the
//! new one `unverified`.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::Version;

use super::Finding;
use super::compare::{Ranges, entry_of, home, made_for, observe, pair, wishes, words};
use super::cuda;
use super::edit::Editor;
use super::observe::{Bound, Observation, Reader};
use super::wheels::Wheels;
use crate::catalog::{Accelerator, Build, Catalog, CudnnNeed, Framework, Release};
use crate::oci::Platform;
use crate::version::{PythonVersion, ToolkitVersion};

/// How many of the newest releases say which builds a family has: now and then one of them lacks a build.
const MODELS: usize = 3;

/// Inserts what is newer than the newest curated release.
pub(super) fn releases(
    framework: &Framework,
    catalog: &Catalog,
    reader: &Reader<'_>,
    editor: &mut Editor<'_>,
    findings: &mut Vec<Finding>,
) {
    let Some(newest) = framework.releases.first() else { return };
    let models = models(framework);
    let packages: BTreeSet<String> =
        models.iter().flat_map(|(_, build)| wishes(build)).map(|wish| wish.package).collect();
    let versions: BTreeSet<Version> =
        packages.iter().flat_map(|package| reader.versions(home(framework), package)).collect();
    let new: Vec<Version> = versions.into_iter().filter(|version| *version > newest.version).collect();
    if new.is_empty() {
        return;
    }
    let companions: BTreeMap<&String, Ranges> = framework
        .companions
        .iter()
        .map(|companion| (companion, reader.ranges_on(home(framework), companion, &framework.package)))
        .collect();
    for version in new {
        let Some(draft) = Draft::of(framework, &version, &models, reader) else { continue };
        let name = entry_of(framework, &version);
        let lines = draft.lines(framework, catalog, &companions, reader, &name, findings);
        cuda::add_pythons(&draft.pythons(), catalog, reader, editor);
        editor.insert_release(&framework.family, &name, &lines, &|other| {
            other.parse::<Version>().ok().map(|other| other.cmp(&version))
        });
    }
}

/// The builds of the newest releases, each kind once, with the release it was taken from.
fn models(framework: &Framework) -> Vec<(&Release, &Build)> {
    let mut models: Vec<(&Release, &Build)> = Vec::new();
    let kind = |release: &Release, build: &Build| (build.index.clone(), renamed(build, &release.version, "VERSION"));
    for release in framework.releases.iter().take(MODELS) {
        for build in &release.builds {
            if !models.iter().any(|(of, model)| kind(of, model) == kind(release, build)) {
                models.push((release, build));
            }
        }
    }
    models
}

/// A build's requirements with another version in the place of its release's.
fn renamed(build: &Build, from: &Version, to: &str) -> Vec<String> {
    build.requirements.iter().map(|text| text.replace(&format!("=={from}"), &format!("=={to}"))).collect()
}

struct Draft<'a> {
    version: Version,
    builds: Vec<DraftBuild<'a>>,
}

struct DraftBuild<'a> {
    /// Where the rest of the facts comes from.
    model: &'a Build,
    model_version: &'a Version,
    name: String,
    requirements: Vec<String>,
    observation: Observation,
}

impl<'a> Draft<'a> {
    /// `None` if upstream has no build of that version.
    fn of(
        framework: &Framework,
        version: &Version,
        models: &[(&'a Release, &'a Build)],
        reader: &Reader<'_>,
    ) -> Option<Self> {
        let mut builds: Vec<DraftBuild<'a>> = Vec::new();
        for (release, model) in models {
            let requirements = renamed(model, &release.version, &version.to_string());
            let asked = Build { requirements: requirements.clone(), ..(*model).clone() };
            let Some(observation) = observe(&asked, reader).filter(|seen| !seen.platforms.is_empty()) else { continue };
            let name = build_name(model, &observation);
            let model_version = &release.version;
            builds.push(DraftBuild { model, model_version, name, requirements, observation });
        }
        let is_main = |build: &DraftBuild<'_>| {
            wishes(build.model).iter().any(|wish| wish.package == framework.package)
                && build.model.index == home(framework)
        };
        // A version of a helper package alone is no release of the family.
        let has_main = framework.releases.first().is_some_and(|newest| {
            !newest.builds.iter().any(|build| wishes(build).iter().any(|wish| wish.package == framework.package))
        }) || builds.iter().any(is_main);
        (has_main && !builds.is_empty()).then(|| Self { version: version.clone(), builds })
    }

    fn pythons(&self) -> BTreeSet<PythonVersion> {
        let wheels = self.builds.iter().flat_map(|build| build.observation.platforms.values());
        wheels.flat_map(|wheels| wheels.pythons.iter().copied()).collect()
    }

    /// What the builds have in common: the default build's reach, else the first one's.
    fn common(&self) -> BTreeMap<Platform, Wheels> {
        let default = self.builds.iter().find(|build| build.model.default).or_else(|| self.builds.first());
        default.map(|build| build.observation.platforms.clone()).unwrap_or_default()
    }

    fn lines(
        &self,
        framework: &Framework,
        catalog: &Catalog,
        companions: &BTreeMap<&String, Ranges>,
        reader: &Reader<'_>,
        name: &str,
        findings: &mut Vec<Finding>,
    ) -> Vec<String> {
        let mut lines = vec![format!("version: \"{}\"", self.version)];
        let main = self.builds.iter().find(|build| build.model.default).or_else(|| self.builds.first());
        if let Some(range) = main.and_then(|build| build.observation.requires_python.as_ref()) {
            let text: Vec<String> = range.iter().map(|part| part.to_string().replace(' ', "")).collect();
            lines.push(format!("requires_python: \"{}\"", text.join(",")));
        }
        let mut listed = Vec::new();
        for companion in &framework.companions {
            let pinned = main.and_then(|build| build.observation.pins.get(companion)).cloned();
            let versions = match pinned {
                Some(version) => vec![version],
                None => companions.get(companion).map(|ranges| going_with(&self.version, ranges)).unwrap_or_default(),
            };
            if !versions.is_empty() {
                listed.push(format!("{companion}: \"{}\"", words(versions)));
            }
        }
        if !listed.is_empty() {
            lines.push(format!("companions: {{{}}}", listed.join(", ")));
        }
        let packages: BTreeSet<String> =
            self.builds.iter().flat_map(|build| wishes(build.model)).map(|wish| wish.package).collect();
        let packages: Vec<String> = packages.into_iter().collect();
        let source = format!(
            "{} {}: names and METADATA of the wheels on the package index, read {}",
            packages.join(", "),
            self.version,
            reader.checked
        );
        lines.push(format!("source: \"{source}\""));
        let common = self.common();
        if !common.is_empty() {
            lines.push("platforms:".to_owned());
            for (platform, wheels) in &common {
                let pythons = words(&wheels.pythons);
                lines.push(format!("  {platform}: {{pythons: \"{pythons}\", glibc: \"{}\"}}", pair(wheels.glibc)));
            }
        }
        lines.push("builds:".to_owned());
        for build in &self.builds {
            lines.push(format!("  - {}", build.row(framework, catalog, &common, &source, name, findings)));
        }
        lines
    }
}

/// Companions made for the release; where they do not say, the newest that accepts it.
fn going_with(version: &Version, ranges: &Ranges) -> Vec<Version> {
    let exact = made_for(version, ranges);
    if !exact.is_empty() {
        return exact;
    }
    let accepts =
        |range: &Option<_>| range.as_ref().is_none_or(|range: &pep440_rs::VersionSpecifiers| range.contains(version));
    ranges.iter().find(|(_, range)| accepts(range)).map(|(companion, _)| companion.clone()).into_iter().collect()
}

impl DraftBuild<'_> {
    fn row(
        &self,
        framework: &Framework,
        catalog: &Catalog,
        common: &BTreeMap<Platform, Wheels>,
        source: &str,
        release: &str,
        findings: &mut Vec<Finding>,
    ) -> String {
        let model = self.model;
        let mut cells = vec![format!("name: {}", self.name)];
        let mut cell = |key: &str, value: String| cells.push(format!("{key}: {value}"));
        let mut carried = Vec::new();
        if model.default {
            cell("default", "true".to_owned());
        }
        if model.index != "default" {
            cell("index", model.index.clone());
        }
        let toolkit = self.toolkit();
        if let Some(toolkit) = &toolkit {
            cell("toolkit", format!("\"{toolkit}\""));
            if !self.observation.toolkit.as_ref().is_some_and(|bound| bound.exact) {
                carried.push("toolkit");
            }
        }
        if let Some(cudnn) = self.cudnn() {
            cell("cudnn", format!("\"{cudnn}\""));
            if self.observation.cudnn.is_none() {
                carried.push("cuDNN");
            }
        }
        if let Some(rocm) = &model.rocm {
            cell("rocm", format!("\"{rocm}\""));
        }
        let kept: Vec<Platform> = self.platforms().into_keys().collect();
        if !kept.iter().eq(common.keys()) {
            cell("only", words(&kept));
        }
        let differing = self.differing(common);
        if !differing.is_empty() {
            cell("platforms", format!("{{{}}}", differing.join(", ")));
        }
        let compiled = toolkit.as_ref().and_then(|toolkit| catalog.toolkit(toolkit));
        let builds_for = |capability: &crate::version::ComputeCapability| {
            compiled.is_none_or(|toolkit| toolkit.compiles_for(capability))
        };
        let sass: Vec<_> = model.sass.iter().filter(|capability| builds_for(capability)).collect();
        let ptx: Vec<_> = model.ptx.iter().filter(|capability| builds_for(capability)).collect();
        if !sass.is_empty() {
            cell("sass", format!("\"{}\"", words(sass)));
        }
        if !ptx.is_empty() {
            cell("ptx", format!("\"{}\"", words(ptx)));
        }
        if !model.gfx.is_empty() {
            cell("gfx", words(&model.gfx));
        }
        if model.accelerator != Accelerator::Cpu {
            carried.push("machine code");
        }
        if model.needs_system_cuda {
            cell("needs_system_cuda", "true".to_owned());
        }
        let usual = framework.requirements.get(&self.name).or_else(|| framework.requirements.get("*"));
        let version = |text: &String| text.replace("{version}", &self.release_version());
        let usual: Vec<String> = usual.into_iter().flatten().map(version).collect();
        if usual != self.requirements {
            let quoted: Vec<String> = self.requirements.iter().map(|text| format!("\"{text}\"")).collect();
            cell("requirements", format!("[{}]", quoted.join(", ")));
        }
        if !carried.is_empty() {
            let carried = format!("{} carried over from {}", carried.join(", "), self.model_version);
            cell("source", format!("\"{source}; {carried}\""));
            cell("unverified", "true".to_owned());
            findings.push(Finding::CarriedOver { entry: format!("{release} {}", self.name), fact: carried });
        }
        format!("{{{}}}", cells.join(", "))
    }

    fn release_version(&self) -> String {
        let wish = self.requirements.first().and_then(|text| super::observe::Wish::parse(text));
        wish.map(|wish| wish.version.to_string()).unwrap_or_default()
    }

    /// The platforms that upstream has and on which the model's build computes on its cards, or at all.
    fn platforms(&self) -> BTreeMap<Platform, Wheels> {
        let listed = |platform: &Platform| {
            self.model.accelerator != Accelerator::Cuda || self.model.platforms.contains_key(platform)
        };
        let platforms = self.observation.platforms.iter().filter(|(platform, _)| listed(platform));
        platforms.map(|(platform, wheels)| (*platform, wheels.clone())).collect()
    }

    /// What is not as the release has it, and what the model says of single platforms.
    fn differing(&self, common: &BTreeMap<Platform, Wheels>) -> Vec<String> {
        let mut texts = Vec::new();
        for (platform, wheels) in self.platforms() {
            let mut cells = Vec::new();
            let usual = common.get(&platform);
            if usual.is_none_or(|usual| usual.pythons != wheels.pythons) {
                cells.push(format!("pythons: \"{}\"", words(&wheels.pythons)));
            }
            if usual.is_none_or(|usual| usual.glibc != wheels.glibc) {
                cells.push(format!("glibc: \"{}\"", pair(wheels.glibc)));
            }
            if let Some(model) = self.model.platforms.get(&platform) {
                if let Some(accelerator) = model.accelerator {
                    cells.push(format!("accelerator: {}", accelerator_word(accelerator)));
                }
                if !model.sass.is_empty() {
                    cells.push(format!("sass: \"{}\"", words(&model.sass)));
                }
                if !model.ptx.is_empty() {
                    cells.push(format!("ptx: \"{}\"", words(&model.ptx)));
                }
            }
            if !cells.is_empty() {
                texts.push(format!("{platform}: {{{}}}", cells.join(", ")));
            }
        }
        texts
    }

    /// The pinned toolkit as precise as the model's; the model's own where only a range is known.
    fn toolkit(&self) -> Option<ToolkitVersion> {
        match &self.observation.toolkit {
            Some(bound) if bound.exact => line_of(bound).parse().ok(),
            _ => self.model.toolkit.clone(),
        }
    }

    fn cudnn(&self) -> Option<CudnnNeed> {
        let model = self.model.cudnn.clone();
        let of_torch_alone = model.is_none() && self.observation.cudnn_of_torch;
        if self.model.accelerator != Accelerator::Cuda || of_torch_alone {
            return None;
        }
        match &self.observation.cudnn {
            Some(bound) if bound.version.release().len() > 2 || !bound.exact => {
                let version = bound.version.to_string().parse().ok();
                version.map(|version| CudnnNeed { version, or_newer: !bound.exact }).or(model)
            }
            _ => model,
        }
    }
}

fn accelerator_word(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Cpu => "cpu",
        Accelerator::Cuda => "cuda",
        Accelerator::Rocm => "rocm",
    }
}

/// `13.2` of a bound on `13.2.1`.
fn line_of(bound: &Bound) -> String {
    let numbers: Vec<String> = bound.version.release().iter().take(2).map(ToString::to_string).collect();
    numbers.join(".")
}

/// The model's name, or the one that follows from the new toolkit where the model's follows from its own.
fn build_name(model: &Build, observation: &Observation) -> String {
    let (Some(old), Some(bound)) = (&model.toolkit, observation.toolkit.as_ref().filter(|bound| bound.exact)) else {
        return model.name.clone();
    };
    let part = |index: usize| bound.version.release().get(index).copied().unwrap_or(0);
    if model.name == format!("cu{}{}", old.major(), old.minor()) {
        format!("cu{}{}", part(0), part(1))
    } else if model.name == format!("cu{}", old.major()) {
        format!("cu{}", part(0))
    } else {
        model.name.clone()
    }
}
