//! CUDA toolkits, what driver each asks for, and cuDNN.

use serde::{Deserialize, Serialize};

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
