//! Cards and the machines of the clouds that hold them.

use serde::{Deserialize, Serialize};

use crate::oci::Platform;
use crate::version::{ComputeCapability, DriverBranch, DriverVersion};

/// Who made a card, and so which software stack drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// CUDA.
    Nvidia,
    /// ROCm.
    Amd,
}

/// What market a card is made for. NVIDIA's forward compatibility (`cuda-compat`) is for datacenter cards only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuClass {
    /// Tesla, Instinct and their successors.
    Datacenter,
    /// Quadro, RTX A, RTX PRO, Radeon Pro.
    Workstation,
    /// GeForce, Radeon RX.
    Consumer,
    /// Jetson, and others soldered to their processor.
    Embedded,
}

/// A card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Short marketing name: `T4`, `RTX 4090`, `MI300X`.
    pub name: String,
    /// Other names people and clouds use, beyond what [`Catalog::gpu`](super::Catalog::gpu) ignores in a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The maker.
    pub vendor: Vendor,
    /// NVIDIA's compute capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<ComputeCapability>,
    /// AMD's instruction set: `gfx942`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gfx: Option<String>,
    /// The market.
    pub class: GpuClass,
    /// Last driver branch that knows the card; `None` while the newest one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_driver_branch: Option<DriverBranch>,
    /// Oldest driver that knows the card, where that is documented or follows from its compute capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_driver: Option<DriverVersion>,
    /// Sizes of memory it is sold with, in GB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory_gb: Vec<u32>,
    /// Processor of the host, where the card is sold with one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Platform>,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// A machine type of a cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// `aws`, `azure`, `gcp`, `oci`, `lambda`.
    pub cloud: String,
    /// Machine type as the cloud spells it, with the accelerator where it is sold apart: `n1-standard-4+nvidia-tesla-t4`.
    pub name: String,
    /// [`Gpu::name`] of its cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// How many cards.
    #[serde(default)]
    pub gpu_count: u32,
    /// The machine has a slice of a card and needs the cloud's vGPU driver.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fractional: bool,
    /// What its images must be made for.
    #[serde(default = "amd64")]
    pub platform: Platform,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// Machine types that follow a pattern and that accelerators can be attached to: GCP's N1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineFamily {
    /// The cloud.
    pub cloud: String,
    /// What every type's name starts with: `n1-standard-`. Only digits and dashes may follow.
    pub prefix: String,
    /// What its images must be made for.
    #[serde(default = "amd64")]
    pub platform: Platform,
    /// Names of the [`AttachableGpu`]s of the same cloud that fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachable: Vec<String>,
    /// Citation.
    pub source: String,
}

/// A card a cloud sells apart from the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachableGpu {
    /// The cloud.
    pub cloud: String,
    /// The cloud's name for it: `nvidia-tesla-t4`.
    pub name: String,
    /// [`Gpu::name`].
    pub gpu: String,
    /// How many of them one machine may hold.
    pub counts: Vec<u32>,
    /// Citation.
    pub source: String,
}

/// Folds a card's name to what all its spellings share: no case, no maker, no form factor, no memory size, no punctuation.
/// `NVIDIA A100-SXM4-80GB`, `nvidia-a100-80gb` and `A100` are one card to every question the catalog answers.
pub(super) fn fold_name(name: &str) -> String {
    const SILENT: [&str; 22] = [
        "nvidia",
        "tesla",
        "geforce",
        "quadro",
        "amd",
        "instinct",
        "radeon",
        "sxm",
        "sxm2",
        "sxm3",
        "sxm4",
        "sxm5",
        "sxm6",
        "pcie",
        "hbm2",
        "hbm2e",
        "hbm3",
        "generation",
        "edition",
        "workstation",
        "laptop",
        "gpu",
    ];
    let lower = name.to_lowercase();
    let words: Vec<&str> =
        lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_size = |word: &str| word.strip_suffix("gb").is_some_and(|size| size.parse::<u32>().is_ok());
    let kept: String = words.iter().filter(|word| !SILENT.contains(word) && !is_size(word)).copied().collect();
    if kept.is_empty() { words.concat() } else { kept }
}

fn amd64() -> Platform {
    Platform::AMD64
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

impl MachineFamily {
    /// Whether `machine` follows the pattern: the prefix, then digits and dashes.
    pub fn holds(&self, machine: &str) -> bool {
        let lower = machine.to_ascii_lowercase();
        lower.strip_prefix(&self.prefix).is_some_and(|size| {
            size.starts_with(|letter: char| letter.is_ascii_digit())
                && size.ends_with(|letter: char| letter.is_ascii_digit())
                && size.chars().all(|letter| letter.is_ascii_digit() || letter == '-')
        })
    }
}
