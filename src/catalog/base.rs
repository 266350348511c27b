//! What an image stands on: Python lines, base images, and the services beside it.

use serde::{Deserialize, Serialize};

use super::hardware::is_false;
use crate::oci::Platform;
use crate::version::{CudnnVersion, DriverBranch, PythonVersion, ToolkitVersion};

/// Whether a Python line has had its first final release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PythonStatus {
    /// Released.
    Final,
    /// Release candidates at most.
    Prerelease,
}

/// A line of Python.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PythonLine {
    /// `3.11`.
    pub version: PythonVersion,
    /// Released or not.
    pub status: PythonStatus,
    /// Day its security fixes end, `2027-10-31`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eol: Option<String>,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// Base images.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bases {
    /// Suites a base can be assembled from, newest first.
    pub debian: Vec<DebianSuite>,
    /// Releases of Ubuntu that `cuda` images are made on, newest first.
    pub ubuntu: Vec<DebianSuite>,
    /// `python:X.Y-slim`.
    pub slim: Vec<SlimImage>,
    /// `nvidia/cuda`.
    pub cuda: Vec<CudaImage>,
}

/// A suite of Debian or of Ubuntu.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianSuite {
    /// `bookworm`.
    pub suite: String,
    /// `12`, `22.04`.
    pub release: String,
    /// The line of its `python3`.
    pub python: PythonVersion,
    /// The release of its `python3`, `3.11.2`, if it does not change while the suite is stable. Locking starts from it and
    /// holds the archive against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python_release: Option<pep440_rs::Version>,
    /// Its C library.
    #[serde(with = "super::text::glibc")]
    pub glibc: (u32, u32),
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// An image of Docker's `python` repository on Debian with few packages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlimImage {
    /// Its Python.
    pub python: PythonVersion,
    /// [`DebianSuite::suite`] it is made on.
    pub suite: String,
    /// `python:3.12-slim-bookworm`.
    pub reference: String,
    /// Platforms it exists for.
    #[serde(deserialize_with = "super::text::words::deserialize")]
    pub platforms: Vec<Platform>,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// How much of the toolkit an `nvidia/cuda` image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CudaFlavour {
    /// The runtime library and `cuda-compat`.
    Base,
    /// All libraries.
    Runtime,
    /// Libraries, headers and compiler.
    Devel,
}

impl CudaFlavour {
    /// The flavour in the middle of a tag, `cudnn8-devel`, with or without cuDNN before it.
    pub fn of_tag(middle: &str) -> Option<Self> {
        match middle.rsplit_once('-').map_or(middle, |(_, flavour)| flavour) {
            "base" => Some(Self::Base),
            "runtime" => Some(Self::Runtime),
            "devel" => Some(Self::Devel),
            _ => None,
        }
    }
}

/// A tag of `nvidia/cuda`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CudaImage {
    /// `12.4.1`.
    pub toolkit: ToolkitVersion,
    /// cuDNN in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cudnn: Option<CudnnVersion>,
    /// `ubuntu 22.04`.
    pub os: String,
    /// Its C library.
    #[serde(with = "super::text::glibc")]
    pub glibc: (u32, u32),
    /// How much is in it.
    pub flavour: CudaFlavour,
    /// Platforms it exists for.
    pub platforms: Vec<Platform>,
    /// `12.4.1-cudnn-runtime-ubuntu22.04`.
    pub tag: String,
    /// Driver branches below its toolkit's own that its `cuda-compat` libraries serve on datacenter cards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compat: Vec<DriverBranch>,
    /// NVIDIA no longer promises that the tag stays.
    #[serde(skip_serializing_if = "is_false")]
    pub end_of_life: bool,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(skip_serializing_if = "is_false")]
    pub unverified: bool,
}

impl Bases {
    /// The Debian or Ubuntu suite behind `debian 12` or `ubuntu 22.04`.
    pub fn suite(&self, os: &str) -> Option<&DebianSuite> {
        let (distribution, release) = os.split_once(' ')?;
        let suites = match distribution {
            "debian" => &self.debian,
            "ubuntu" => &self.ubuntu,
            _ => return None,
        };
        suites.iter().find(|suite| suite.release == release || suite.suite == release)
    }
}

impl CudaImage {
    /// `nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04`.
    pub fn reference(&self) -> String {
        format!("nvidia/cuda:{}", self.tag)
    }
}

/// A service of a Compose stack that comes from an official image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name in a spec: `postgres`.
    pub name: String,
    /// Repository: `postgres`, `quay.io/minio/minio`.
    pub image: String,
    /// Tag if the spec names no version; `None` if no source names a current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_tag: Option<String>,
    /// Tags that were seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Port it listens on.
    pub port: u16,
    /// Further ports, by what they serve.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub other_ports: std::collections::BTreeMap<String, u16>,
    /// Command line, where the image's own does not start the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Compose `healthcheck.test`; `$` is doubled as Compose wants it. Empty if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub healthcheck: Vec<String>,
    /// Where its data is, by the first major version the path holds for (0: all), ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataPath>,
    /// Variables it does not start without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_environment: Vec<String>,
    /// Variables it understands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// What a user of it should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Citation.
    pub source: String,
    /// Part of the entry has no first-hand source; `note` says which.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// A data folder of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataPath {
    /// First major version of the image it holds for.
    pub since: u32,
    /// The path in the container.
    pub path: String,
}

impl Service {
    /// Where an image tagged `tag` keeps its data; a tag that does not start with a number counts as the newest.
    pub fn data_path(&self, tag: &str) -> Option<&str> {
        let digits: String = tag.chars().take_while(char::is_ascii_digit).collect();
        let major = digits.parse().unwrap_or(u32::MAX);
        self.data.iter().rev().find(|data| data.since <= major).map(|data| data.path.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_path_follows_the_major_version() {
        let service = Service {
            name: "store".into(),
            image: "store".into(),
            default_tag: None,
            tags: Vec::new(),
            port: 1,
            other_ports: std::collections::BTreeMap::new(),
            command: Vec::new(),
            healthcheck: Vec::new(),
            data: vec![DataPath { since: 0, path: "/old".into() }, DataPath { since: 18, path: "/new".into() }],
            required_environment: Vec::new(),
            environment: Vec::new(),
            note: None,
            source: "invented".into(),
            unverified: false,
        };
        let found: Vec<_> = ["17", "17.2-trixie", "18", "18.6", "latest"].map(|tag| service.data_path(tag)).into();
        assert_eq!(found, [Some("/old"), Some("/old"), Some("/new"), Some("/new"), Some("/new")]);
    }
}
