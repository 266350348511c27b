//! CUDA toolkits, what driver each asks for, and cuDNN.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hardware::is_false;
use crate::version::{ComputeCapability, CudnnVersion, Dotted, DriverBranch, DriverVersion, ToolkitVersion};

/// What is known about CUDA, newest first in every list.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cuda {
    /// Releases of the toolkit.
    pub toolkits: Vec<Toolkit>,
    /// Oldest driver for each major.
    pub floors: Vec<Floor>,
    /// Releases of cuDNN.
    pub cudnn: Vec<Cudnn>,
    /// Oldest card for each range of cuDNN releases.
    pub cudnn_floors: Vec<CudnnFloor>,
    /// Branches of the driver.
    pub branches: Vec<Branch>,
}

/// A release of the toolkit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolkit {
    /// `12.4.1`.
    pub version: ToolkitVersion,
    /// Driver released with it, the oldest that compiles its PTX. `None` if no source gives it. What runs its compiled code
    /// is [`Floor::driver`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverVersion>,
    /// Compute capabilities it compiles for, ascending.
    #[serde(deserialize_with = "super::text::words::deserialize")]
    pub compute_capabilities: Vec<ComputeCapability>,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

impl Toolkit {
    /// Whether it compiles for exactly this compute capability.
    pub fn compiles_for(&self, compute_capability: &ComputeCapability) -> bool {
        self.compute_capabilities.contains(compute_capability)
    }
}

/// Minor-version compatibility: the oldest driver that runs compiled code of any toolkit of a major.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// `12`.
    pub major: u64,
    /// `525.60.13`.
    pub driver: DriverVersion,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// A branch of the NVIDIA driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// `R580`.
    pub branch: DriverBranch,
    /// NVIDIA's promise for it: `LTS`, `production`, `new feature`.
    pub kind: String,
    /// Newest driver on it that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<DriverVersion>,
    /// End of support, `2028-08` or `2028-08-04`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eol: Option<String>,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// From one release of cuDNN on, until the next floor: the oldest card that it has kernels for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudnnFloor {
    /// First release it holds for: `9.11`.
    pub since: CudnnVersion,
    /// `7.5`.
    pub compute_capability: ComputeCapability,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// A release of AMD's kernel driver and the releases of ROCm that were tested on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RocmDriver {
    /// `6.2`, or `30.30` since the driver has numbers of its own.
    pub driver: DriverVersion,
    /// Releases of ROCm an image may hold, ascending, by their first two numbers.
    #[serde(deserialize_with = "super::text::words::deserialize")]
    pub user_space: Vec<Dotted>,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// A release of cuDNN for one CUDA major.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cudnn {
    /// `9.1.0.70`.
    pub version: CudnnVersion,
    /// CUDA majors it was released for.
    #[serde(deserialize_with = "super::text::words::deserialize")]
    pub cuda_majors: Vec<u64>,
    /// Citation.
    pub source: String,
}

/// What a build asks of cuDNN: `9.1.0.70` is a pin, as far as it is written out; `>=9.8` takes every later release too, of the
/// same major (the catalog's rule `cudnn-major`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudnnNeed {
    /// The pin, or the oldest release that will do.
    pub version: CudnnVersion,
    /// Whether later releases of the major will do as well.
    pub or_newer: bool,
}

impl CudnnNeed {
    /// Whether this release will do.
    pub fn takes(&self, release: &CudnnVersion) -> bool {
        match self.or_newer {
            true => release.major() == self.version.major() && *release >= self.version,
            false => release.dotted().starts_with(self.version.dotted()),
        }
    }
}

impl fmt::Display for CudnnNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.or_newer { ">=" } else { "" })?;
        self.version.fmt(f)
    }
}

impl FromStr for CudnnNeed {
    type Err = <CudnnVersion as FromStr>::Err;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let oldest = text.strip_prefix(">=");
        Ok(Self { version: oldest.unwrap_or(text).trim().parse()?, or_newer: oldest.is_some() })
    }
}

impl Serialize for CudnnNeed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CudnnNeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_a_pin_or_the_oldest_of_its_major() {
        let takes = |need: &str, release: &str| {
            let need: CudnnNeed = need.parse().expect("a need");
            need.takes(&release.parse().expect("a release"))
        };
        for (need, release, expected) in [
            ("9.1.0.70", "9.1.0.70", true),
            ("9.1.0.70", "9.1.1.17", false),
            ("9.1", "9.1.1.17", true),
            ("9", "9.28.0.42", true),
            (">=9.8", "9.8.0.87", true),
            (">=9.8", "9.28.0.42", true),
            (">=9.8", "9.7.1.26", false),
            (">=9.8", "10.0", false),
        ] {
            assert_eq!(takes(need, release), expected, "{release} for {need}");
        }
        assert_eq!(">=9.8".parse::<CudnnNeed>().map(|need| need.to_string()), Ok(">=9.8".to_owned()));
        assert!(">9.8".parse::<CudnnNeed>().is_err());
    }
}
