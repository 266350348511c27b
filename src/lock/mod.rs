//! Stage 4: the decision, on disk. The narrow waist of the pipeline: after it nobody asks the catalog or an index again.
//!
//! `imgforge.lock` is TOML beside the spec. It names indexes and archives, never URLs: where they live is the machine's
//! setting, so a lock works behind any mirror and leaks no private host. Entries are sorted, one value a line, so that a
//! diff of two locks reads as the change it is.
//!
//! Format history: 1, the first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Platform};
use crate::version::PythonVersion;

/// The format this program writes.
pub const FORMAT: u32 = 1;
/// Version of the rules by which bytes of layers are made (tar entries, compression, grouping). Part of every layer key.
pub const LAYER_FORMAT: u32 = 1;

/// A whole lock file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`FORMAT`].
    pub format: u32,
    /// [`LAYER_FORMAT`] at the time of locking.
    pub layer_format: u32,
    /// What the decision was made from.
    pub inputs: Inputs,
    /// Image name.
    pub name: String,
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
    /// Tags, at least one.
    pub tags: Vec<String>,
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
    /// Index name of the settings: `default`, `pytorch-cu121`, a name of the spec.
    pub index: String,
    /// File name.
    pub file: String,
    /// Size in bytes.
    pub size: u64,
    /// sha256 of the file.
    pub digest: Digest,
}
