//! Stage 4: the decision, on disk. The narrow waist of the pipeline: after it nobody asks the catalog or an index again.
//!
//! `imgforge.lock` is TOML beside the spec. It names indexes and archives, not where they live: that is the machine's
//! setting, so a lock works behind any mirror and leaks no private host. The one exception are wheels that the spec names
//! by their place, which the lock repeats. Entries are sorted, one value a line, so that a
//! diff of two locks reads as the change it is.
//!
//! Format history: 1, the first. 2, the state of each archive (`archive` of a platform), and wheels by place (`url`).

mod moment;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pep440_rs::Version;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Hint, Origin};
use crate::oci::tag::TagTemplate;
use crate::oci::{Compression, Digest, Platform};
use crate::resolve::{Preferences, StackAnswer};
use crate::spec::Spec;
use crate::version::wheel_tag::normalize_name;
use crate::version::{PythonVersion, WheelPlace};

pub use moment::{Moment, MomentError};

/// The format this program writes.
pub const FORMAT: u32 = 2;
/// Version of the rules by which bytes of layers are made (tar entries, compression, grouping, what is made beside the files
/// of Debian packages). Part of every layer key. 2: tables of contents, `/etc/ld.so.cache`, accounts of `sysusers.d`. 3: the
/// folder of a wheel's headers has its normalised name, and RECORD the shortest way to a file outside of the library. 4: wheels
/// from 1 MiB are alone, others share 16 layers; streams are copied from 1 KiB; a new user has a number of its own. 5: a layer has
/// each folder that something of it is in; the system's folders stay root's. 6: more of these are known, such as `usr/libexec`.
pub const LAYER_FORMAT: u32 = 6;

/// A whole lock file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`FORMAT`].
    pub format: u32,
    /// [`LAYER_FORMAT`] at the time of locking.
    pub layer_format: u32,
    /// Image name.
    pub name: String,
    /// What the decision was made from.
    pub inputs: Inputs,
    /// The stack, as `resolve` prints it.
    pub stack: Stack,
    /// Frameworks chosen.
    #[serde(rename = "framework", default, skip_serializing_if = "Vec::is_empty")]
    pub frameworks: Vec<LockedFramework>,
    /// Machines the image was resolved for.
    #[serde(rename = "target", default)]
    pub targets: Vec<LockedTarget>,
    /// Run-time settings of the image.
    pub image: ImageSettings,
    /// Services of the Compose stack.
    #[serde(rename = "service", default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<LockedService>,
    /// One section per platform.
    #[serde(rename = "platform")]
    pub platforms: Vec<LockedPlatform>,
}

/// Addresses of the inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// `Spec::digest` of the spec this lock answers.
    pub spec: Digest,
    /// Address of the catalog used.
    pub catalog: Digest,
}

/// The stack below the packages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Python line.
    pub python: PythonVersion,
    /// `cpu`, `cuda` or `rocm`.
    pub accelerator: String,
    /// CUDA the frameworks were built with, or of the system toolkit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuda: Option<String>,
    /// cuDNN, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cudnn: Option<String>,
    /// Oldest NVIDIA driver that runs the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_minimum: Option<String>,
    /// `debian 12`.
    pub os: String,
    /// glibc of the base, `2.36`.
    pub glibc: String,
}

/// One framework.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFramework {
    /// Family: `pytorch`.
    pub family: String,
    /// Main package: `torch`.
    pub package: String,
    /// Its version without local label.
    pub version: String,
    /// `cu124`, `cpu`, `rocm6.2`.
    pub build: String,
    /// Index name.
    pub index: String,
    /// Companions by package name: `torchvision = "0.20.1"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
}

/// One machine of the spec's targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedTarget {
    /// As the spec writes it: `aws/g4dn.xlarge`, `RTX 4090`, `cpu`.
    pub name: String,
    /// Card, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// `nvidia` or `amd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// `7.5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<String>,
    /// Platform of the machine.
    pub platform: Platform,
}

/// What the image's config says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSettings {
    /// Registry and repository without tag, if the spec names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Registry and prefix of the copies of other people's images, if the spec names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// The project's own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Tags, at least one; `{{ digest }}` is still to be filled in, not in the first.
    pub tags: Vec<String>,
    /// Further tags, which are never moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub immutable_tags: Vec<String>,
    /// Of the layers that are made.
    #[serde(default, skip_serializing_if = "Compression::is_default")]
    pub compression: Compression,
    /// Whether the modules of wheels are compiled ahead.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compile: bool,
    /// User name.
    pub user: String,
    /// Working directory.
    pub workdir: String,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Default command.
    pub command: Vec<String>,
    /// Shell commands that need an engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
    /// Environment, the spec's own variables only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Copies: from (relative to the spec's folder), to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<LockedFile>,
}

/// A copy from the project into the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Relative to the spec's folder.
    pub from: String,
    /// Absolute path in the image.
    pub to: String,
}

/// One service. Secrets are never here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedService {
    /// `postgres`, `redis`, `mlflow`.
    pub kind: String,
    /// Image reference with tag, `postgres:16`; absent for `mlflow`, which is made from packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Digest of that image if it could be found out when locking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Seed files, relative to the spec's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seed: Vec<String>,
    /// `mlflow`: `postgres` or `sqlite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// `mlflow`: bucket URL; absent means a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<String>,
    /// `mlflow`: the server's own environment, sorted by name.
    #[serde(rename = "wheel", default, skip_serializing_if = "Vec::is_empty")]
    pub wheels: Vec<LockedWheel>,
}

/// Everything that decides one platform's bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlatform {
    /// `linux/amd64`.
    pub name: Platform,
    /// What the image starts from.
    pub base: LockedBase,
    /// The archives' suites that the packages below were chosen from, sorted.
    #[serde(rename = "archive", default, skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<LockedArchive>,
    /// Debian packages of the base and of `system:`, sorted by package name.
    #[serde(rename = "deb", default, skip_serializing_if = "Vec::is_empty")]
    pub debs: Vec<LockedDeb>,
    /// Python packages, sorted by normalised name.
    #[serde(rename = "wheel", default, skip_serializing_if = "Vec::is_empty")]
    pub wheels: Vec<LockedWheel>,
}

/// The base image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBase {
    /// `debian`, `slim`, `cuda` or `reference`.
    pub kind: String,
    /// Debian suite, `bookworm`, for kind `debian`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Image reference with tag, for the other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Manifest digest of that image for this platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Interpreter inside the base: `/usr/bin/python3.11`.
    pub interpreter: String,
    /// Why this base, one line.
    pub reason: String,
}

/// The state of an archive's suite: what a snapshot service needs to know once the archive has moved on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedArchive {
    /// Archive name of the settings: `debian`.
    pub name: String,
    /// `trixie-updates`.
    pub suite: String,
    /// `Date` of the suite's Release file.
    pub date: Moment,
}

/// One .deb file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedDeb {
    /// Package name.
    pub name: String,
    /// Debian version.
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// Archive name of the settings: `debian`, `debian-security`.
    pub archive: String,
    /// Path below the archive's root: `pool/main/p/python3.11/...deb`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// sha256, 64 hexadecimal digits with `sha256:` in front.
    pub digest: Digest,
}

/// One wheel file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedWheel {
    /// Normalised name.
    pub name: String,
    /// Version with local label.
    pub version: String,
    /// Index name of the settings: `default`, `pytorch-cu121`, a name of the spec; `direct` for a wheel with a `url`.
    pub index: String,
    /// Where a wheel lies that no index holds, as the spec says it: `https://…`, or `file:` and a path from its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<WheelPlace>,
    /// File name.
    pub file: String,
    /// Size in bytes.
    pub size: u64,
    /// sha256 of the file.
    pub digest: Digest,
}

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("there is no lock at `{path}`")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It answers another spec.
    #[error("the lock `{path}` is stale: the spec has changed since")]
    Stale {
        /// The lock.
        path: PathBuf,
    },
    /// It is from before a change of the layers' rules: its layers had other bytes.
    #[error("the lock `{path}` is stale: its layers are of format {found}, and this program makes format {known}")]
    OlderLayers {
        /// The lock.
        path: PathBuf,
        /// Its layer format.
        found: u32,
        /// This program's.
        known: u32,
    },
    /// It is not a lock of a known format.
    #[error("`{path}` is not a lock this program can read: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        cause: String,
        /// Where.
        origin: Option<Origin>,
    },
    /// It was written by a later version.
    #[error("the lock `{path}` has {what} {found}, and this program knows those up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// `format` or `layer format`.
        what: &'static str,
        /// The lock's.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The file system failed.
    #[error("{action} `{path}`: {source}")]
    Io {
        /// The step that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } | Self::Stale { .. } => {
                vec!["run `imgforge lock SPEC`; a `build` without `--locked` does it by itself".to_owned()]
            }
            Self::OlderLayers { .. } => vec![
                "run `imgforge lock SPEC`, which keeps what is locked; a `build` without `--locked` does it by itself"
                    .to_owned(),
                "images that exist stay as they are; new ones have layers with other digests".to_owned(),
            ],
            Self::Unreadable { path, .. } => {
                vec![format!("it is made by a program: remove `{}` and lock again", path.display())]
            }
            Self::Newer { .. } => vec!["use a newer imgforge".to_owned()],
            Self::Io { .. } => Vec::new(),
        }
    }
    fn origin(&self) -> Option<Origin> {
        match self {
            Self::Unreadable { origin, .. } => origin.clone(),
            _ => None,
        }
    }
    fn exit_code(&self) -> u8 {
        match self {
            Self::Missing { .. } | Self::Stale { .. } | Self::OlderLayers { .. } => 1,
            _ => 2,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a field by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The wheels of a list that are not to be upgraded, as names and versions.
fn kept_wheels<'l>(
    wheels: &'l [LockedWheel],
    upgraded: &'l BTreeSet<String>,
) -> impl Iterator<Item = (&'l str, Version)> + 'l {
    let kept = wheels.iter().filter(|wheel| !upgraded.contains(&wheel.name));
    kept.filter_map(|wheel| Some((wheel.name.as_str(), wheel.version.parse().ok()?)))
}

impl Lock {
    /// The file's place: beside the spec.
    pub fn path_for(spec: &Path) -> PathBuf {
        spec.with_file_name("imgforge.lock")
    }

    /// Reads a lock; `None` if there is no file.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { action: "read", path: path.to_owned(), source }),
        };
        Self::parse(path, &text).map(Some)
    }

    /// Reads a lock's text; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            #[serde(default)]
            layer_format: u32,
        }
        let unreadable = |error: toml::de::Error| Error::Unreadable {
            path: path.to_owned(),
            cause: error.message().to_owned(),
            origin: error.span().map(|span| Origin { path: path.to_owned(), text: text.into(), span }),
        };
        let head: Head = toml::from_str(text).map_err(unreadable)?;
        for (what, found, known) in [("format", head.format, FORMAT), ("layer format", head.layer_format, LAYER_FORMAT)]
        {
            if found > known {
                return Err(Error::Newer { path: path.to_owned(), what, found, known });
            }
        }
        toml::from_str(text).map_err(unreadable)
    }

    /// The file's exact text. The same lock always gives the same text.
    pub fn to_text(&self) -> String {
        let body = toml::to_string(self).unwrap_or_else(|_| unreachable!("every field of a lock has a TOML form"));
        format!("# @generated by `imgforge lock`; edit the spec instead.\n\n{body}")
    }

    /// Address of the file's text: the decision's identity, which images carry as a label.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_text().as_bytes())
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        crate::store::write_atomically(path, self.to_text().as_bytes()).map_err(|error| Error::Io {
            action: "write",
            path: path.to_owned(),
            source: error.into_io(),
        })
    }

    /// Whether an image of this spec can be built from it as it is.
    pub fn satisfies(&self, spec: &Spec) -> bool {
        self.check_current(spec, Path::new("")).is_ok()
    }

    /// Why the lock at `path` is not to be built from as it is, if so. One from before a change of the layers' rules would
    /// give other bytes than it did.
    pub fn check_current(&self, spec: &Spec, path: &Path) -> Result<(), Error> {
        let path = path.to_owned();
        match self.layer_format {
            _ if !self.is_of(spec) => Err(Error::Stale { path }),
            LAYER_FORMAT => Ok(()),
            found => Err(Error::OlderLayers { path, found, known: LAYER_FORMAT }),
        }
    }

    /// Whether it was made from this spec. The name counts by itself: it is the folder that is written to, and an edited lock
    /// must not choose another.
    pub fn is_of(&self, spec: &Spec) -> bool {
        self.inputs.spec == spec.digest && self.name == spec.name.value
    }

    /// What a new resolution should keep. `upgraded` names packages and families of frameworks to let go; all of them if `all`.
    pub fn preferences(&self, all: bool, upgraded: &[String]) -> Preferences {
        if all {
            return Preferences::default();
        }
        let upgraded: BTreeSet<String> = upgraded.iter().map(|name| normalize_name(name)).collect();
        let mut preferences = Preferences {
            python: Some(self.stack.python),
            base: self
                .platforms
                .first()
                .and_then(|platform| platform.base.suite.clone().or(platform.base.reference.clone())),
            ..Preferences::default()
        };
        let mut by_platform: BTreeMap<&str, BTreeMap<Platform, Version>> = BTreeMap::new();
        for platform in &self.platforms {
            for (name, version) in kept_wheels(&platform.wheels, &upgraded) {
                preferences.packages.entry(name.to_owned()).or_insert_with(|| version.clone());
                by_platform.entry(name).or_default().insert(platform.name, version);
            }
        }
        for (name, versions) in by_platform {
            let differ = versions.values().any(|version| preferences.packages.get(name) != Some(version));
            for (platform, version) in versions.into_iter().filter(|_| differ) {
                preferences.platform_packages.entry(platform).or_default().insert(name.to_owned(), version);
            }
        }
        for framework in &self.frameworks {
            let released = upgraded.contains(&framework.package) || upgraded.contains(&framework.family);
            if let (false, Ok(version)) = (released, framework.version.parse()) {
                preferences.frameworks.insert(framework.family.clone(), (version, framework.build.clone()));
            }
        }
        preferences.upgraded = upgraded;
        preferences
    }

    /// The same for a service that is an environment of its own: its packages, which may be of other versions than the image's.
    pub fn service_preferences(&self, kind: &str, all: bool, upgraded: &[String]) -> Preferences {
        let kept = self.preferences(all, upgraded);
        let Some(service) = self.services.iter().find(|service| service.kind == kind).filter(|_| !all) else {
            return Preferences { python: kept.python, ..Preferences::default() };
        };
        let wheels = kept_wheels(&service.wheels, &kept.upgraded);
        let packages = wheels.map(|(name, version)| (name.to_owned(), version)).collect();
        Preferences {
            packages,
            python: kept.python,
            base: kept.base,
            upgraded: kept.upgraded,
            ..Preferences::default()
        }
    }

    /// A lock from a resolution and what was found out beside it.
    pub fn from_resolution(
        spec: &Spec,
        catalog: Digest,
        stack: &StackAnswer,
        platforms: Vec<LockedPlatform>,
        services: Vec<LockedService>,
    ) -> Self {
        let framework = |chosen: &crate::resolve::ChosenFramework| LockedFramework {
            family: chosen.family.clone(),
            package: chosen.package.clone(),
            version: chosen.version.to_string(),
            build: chosen.build.clone(),
            index: chosen.index.clone(),
            with: chosen.companions.iter().map(|(name, version)| (name.clone(), version.to_string())).collect(),
        };
        let target = |chosen: &crate::resolve::ChosenTarget| LockedTarget {
            name: chosen.name.clone(),
            gpu: chosen.gpu.clone(),
            vendor: chosen.vendor.clone(),
            compute_capability: chosen.compute_capability.clone(),
            platform: chosen.platform,
        };
        let file = |entry: &crate::spec::FileEntry| LockedFile {
            from: entry.from.value.to_string_lossy().into_owned(),
            to: entry.to.clone(),
        };
        let value = |name: &str| match name {
            "name" => Some(spec.name.value.clone()),
            "version" => spec.image.version.clone(),
            "python" => Some(stack.python.to_string()),
            "cuda" => Some(stack.cuda.clone().unwrap_or_else(|| stack.accelerator.to_owned())),
            family => {
                let chosen = stack.frameworks.iter().find(|chosen| chosen.family == family);
                chosen.map(|chosen| chosen.version.to_string())
            }
        };
        let fill = |templates: &[TagTemplate]| templates.iter().map(|template| template.fill(value)).collect();
        let tags = if spec.image.tags.is_empty() { vec!["latest".to_owned()] } else { fill(&spec.image.tags) };
        Self {
            format: FORMAT,
            layer_format: LAYER_FORMAT,
            name: spec.name.value.clone(),
            inputs: Inputs { spec: spec.digest, catalog },
            stack: Stack {
                python: stack.python,
                accelerator: stack.accelerator.to_owned(),
                cuda: stack.cuda.clone(),
                cudnn: stack.cudnn.clone(),
                driver_minimum: stack.driver_minimum.as_ref().map(ToString::to_string),
                os: stack.base.os(),
                glibc: stack.base.glibc.to_string(),
            },
            frameworks: stack.frameworks.iter().map(framework).collect(),
            targets: stack.targets.iter().map(target).collect(),
            image: ImageSettings {
                repository: spec.image.repository.as_ref().map(|repository| repository.value.clone()),
                mirror: spec.image.mirror.as_ref().map(|mirror| mirror.value.clone()),
                version: spec.image.version.clone(),
                tags,
                immutable_tags: fill(&spec.image.immutable_tags),
                compression: spec.image.compression,
                compile: spec.compile,
                user: spec.user.clone(),
                workdir: spec.workdir.clone().unwrap_or_else(|| "/workspace".to_owned()),
                entrypoint: spec.entrypoint.clone(),
                command: spec.command.clone(),
                run: spec.run.iter().map(|run| run.value.clone()).collect(),
                env: spec.env.clone(),
                files: spec.files.iter().map(file).collect(),
            },
            services,
            platforms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_FORMAT: &str = include_str!("../../tests/cases/render/cpu/imgforge.lock");

    #[test]
    fn locks_of_the_first_format_are_read() {
        assert!(FIRST_FORMAT.contains("\nformat = 1\n"));
        let mut lock = Lock::parse(Path::new("imgforge.lock"), FIRST_FORMAT).expect("readable");
        assert_eq!(lock.platforms[0].archives, []);
        let date = Moment::from_seconds(1_795_377_536);
        let archive = LockedArchive { name: "debian".to_owned(), suite: "trixie".to_owned(), date };
        lock.platforms[0].archives.push(archive);
        let text = lock.to_text();
        let entry = "[[platform.archive]]\nname = \"debian\"\nsuite = \"trixie\"\ndate = \"2026-11-22T19:58:56Z\"\n";
        assert!(text.contains(entry), "{text}");
        assert_eq!(Lock::parse(Path::new("imgforge.lock"), &text).expect("readable"), lock);
        let wrong = text.replace("2026-11-22T19:58:56Z", "yesterday");
        let error = Lock::parse(Path::new("imgforge.lock"), &wrong).expect_err("no time");
        assert!(error.to_string().contains("`yesterday` is not a time like `2026-11-22T19:58:56Z`"), "{error}");
    }

    #[test]
    fn locks_of_a_later_format_are_refused() {
        let text = FIRST_FORMAT.replace("\nformat = 1\n", &format!("\nformat = {}\n", FORMAT + 1));
        assert!(matches!(
            Lock::parse(Path::new("imgforge.lock"), &text),
            Err(Error::Newer { what: "format", found, known: FORMAT, .. }) if found == FORMAT + 1
        ));
    }

    fn read(url: &str) -> Result<LockedWheel, String> {
        let text = format!(
            "name = 'acme'\nversion = '1.0'\nindex = 'direct'\n{url}file = 'acme-1.0-py3-none-any.whl'\nsize = 1\n\
             digest = 'sha256:{}'\n",
            "0".repeat(64)
        );
        toml::from_str(&text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_wheel_by_place_is_written_as_the_spec_says_it() {
        for place in ["file:wheels/acme-1.0-py3-none-any.whl", "https://packages.example.com/acme-1.0-py3-none-any.whl"]
        {
            let wheel = read(&format!("url = '{place}'\n")).expect("readable");
            let text = toml::to_string(&wheel).expect("a form");
            assert!(text.contains(&format!("index = \"direct\"\nurl = \"{place}\"\n")), "{text}");
            assert_eq!(toml::from_str::<LockedWheel>(&text), Ok(wheel));
        }
        assert!(!toml::to_string(&read("").expect("readable")).expect("a form").contains("url"));
    }

    #[test]
    fn a_lock_leads_neither_out_of_the_folder_nor_to_a_secret() {
        let refused = |place: &str| read(&format!("url = '{place}'\n")).expect_err(place);
        assert_eq!(refused("file:../acme.whl"), "the path lies outside the spec's folder");
        assert_eq!(refused("file:///acme.whl"), "the path is absolute");
        assert_eq!(refused("https://me:secret@host.example/a.whl"), "the address holds credentials or a query");
    }
}
