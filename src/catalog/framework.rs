//! Frameworks: which versions exist, in which builds, and what each build runs on.
//!
//! A build is one set of wheels of one release: torch 2.5.1 has five, one per CUDA plus ROCm and CPU. Only Python lines with
//! published wheels are listed, since `requires_python` promises more than was ever uploaded.

use std::collections::BTreeMap;

use pep440_rs::{Version, VersionSpecifiers};
use serde::{Deserialize, Serialize};

use super::cuda::CudnnNeed;
use super::hardware::{Gpu, GpuClass, is_false};
use crate::oci::Platform;
use crate::version::{ComputeCapability, Dotted, PythonVersion, ToolkitVersion};

/// A family of packages that are released together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Framework {
    /// The name in a spec: `pytorch`.
    pub family: String,
    /// The package whose version is the release's: `torch`.
    pub package: String,
    /// Packages released in step with it: `torchvision`, `torchaudio`.
    pub companions: Vec<String>,
    /// Those companions that no release works without, so that naming the family brings them in: `torch` for vLLM.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What installs a build, by build name or `*`; `{version}` stands for the release. Each [`Build`] has it filled in.
    #[serde(skip)]
    pub requirements: BTreeMap<String, Vec<String>>,
    /// Newest first.
    pub releases: Vec<Release>,
}

/// A release of a framework.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Release {
    /// Without local label.
    pub version: Version,
    /// As the package's metadata says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<VersionSpecifiers>,
    /// Versions of each companion made for this release.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub companions: BTreeMap<String, Vec<Version>>,
    /// Main packages of other families that it needs in a range of versions; naming this release brings them in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requires: BTreeMap<String, VersionSpecifiers>,
    /// The one on the default index first.
    pub builds: Vec<Build>,
    /// Withdrawn by its publisher.
    #[serde(skip_serializing_if = "is_false")]
    pub yanked: bool,
    /// Citation.
    pub source: String,
}

impl Release {
    /// Builds called `name`; `default` names the default index's own.
    pub fn builds_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Build> {
        self.builds.iter().filter(move |build| build.name == name || (name == "default" && build.default))
    }
}

/// What a build computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Processor only.
    Cpu,
    /// NVIDIA GPUs, and the processor.
    Cuda,
    /// AMD GPUs, and the processor.
    Rocm,
}

/// One set of wheels of a release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Build {
    /// `cu124`, `cpu`, `rocm6.2`.
    pub name: String,
    /// Whether a plain requirement without extras and without another index gives it.
    pub default: bool,
    /// Where its wheels are: `default`, or a named index like `pytorch-cu121`.
    pub index: String,
    /// What it computes on.
    pub accelerator: Accelerator,
    /// CUDA it was built with, as precise as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toolkit: Option<ToolkitVersion>,
    /// cuDNN it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cudnn: Option<CudnnNeed>,
    /// ROCm it was built with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rocm: Option<Dotted>,
    /// Where it runs.
    pub platforms: BTreeMap<Platform, PlatformSupport>,
    /// Compute capabilities it holds machine code for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sass: Vec<ComputeCapability>,
    /// Compute capabilities it holds intermediate code for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ptx: Vec<ComputeCapability>,
    /// AMD instruction sets it holds machine code for; empty if unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gfx: Vec<String>,
    /// PEP 508 requirements that install it: `jax[cuda12]==0.4.35`.
    pub requirements: Vec<String>,
    /// Whether its wheels leave CUDA's libraries to the system.
    #[serde(skip_serializing_if = "is_false")]
    pub needs_system_cuda: bool,
    /// Whether the system's CUDA must be of `toolkit`'s minor release, not of its major alone.
    #[serde(skip_serializing_if = "is_false")]
    pub exact_cuda: bool,
    /// Published as a source distribution alone: there is no wheel for any Python.
    #[serde(skip_serializing_if = "is_false")]
    pub source_only: bool,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// Wheels of a build for one platform.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlatformSupport {
    /// Python lines with wheels, ascending.
    pub pythons: Vec<PythonVersion>,
    /// Oldest glibc.
    #[serde(serialize_with = "super::text::glibc::serialize")]
    pub glibc: (u32, u32),
    /// What this platform's wheels compute on, where it is not what the build does: torch for arm64 on the default index was
    /// a processor-only wheel before 2.11.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
    /// Machine code here, where it is not the build's list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sass: Vec<ComputeCapability>,
    /// Intermediate code here, where `sass` differs as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ptx: Vec<ComputeCapability>,
    /// Packages whose wheels here leave out the build's local label, as those of torchvision for arm64 did before 0.25.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unlabelled: Vec<String>,
    /// Companions that the build has no wheels of here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

/// How a build's GPU code reaches a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Support {
    /// Not at all.
    No,
    /// The driver compiles its PTX; it must be at least the one its toolkit was released with.
    Ptx,
    /// As machine code; the driver must reach the floor of its CUDA major.
    Sass,
}

impl Build {
    /// How the build's code runs on a card of this compute capability, on the platform most of its wheels are for.
    pub fn runs_on(&self, compute_capability: &ComputeCapability) -> Support {
        support(&self.sass, &self.ptx, compute_capability)
    }

    /// How `platform`'s wheels run on a card; not at all if it is not NVIDIA's.
    pub fn runs_on_card(&self, platform: Platform, gpu: &Gpu) -> Support {
        let (Some(capability), Some((sass, ptx))) = (&gpu.compute_capability, self.code_on(platform)) else {
            return Support::No;
        };
        // The catalog's rule `tegra`.
        let foreign = gpu.class == GpuClass::Embedded && !sass.contains(capability);
        support(if foreign { &[] } else { sass }, ptx, capability)
    }

    /// The same for any card of this compute capability that is no module of its own.
    pub fn runs_on_platform(&self, platform: Platform, compute_capability: &ComputeCapability) -> Support {
        self.code_on(platform).map_or(Support::No, |(sass, ptx)| support(sass, ptx, compute_capability))
    }

    /// The machine code and the intermediate code in `platform`'s wheels; `None` if it has none.
    pub fn code_on(&self, platform: Platform) -> Option<(&[ComputeCapability], &[ComputeCapability])> {
        let wheels = self.platforms.get(&platform)?;
        Some(match wheels.sass.is_empty() {
            true => (&self.sass, &self.ptx),
            false => (&wheels.sass, &wheels.ptx),
        })
    }

    /// Whether it holds machine code for an AMD instruction set; `None` if its list is not known.
    pub fn runs_on_gfx(&self, gfx: &str) -> Option<bool> {
        (!self.gfx.is_empty()).then(|| self.gfx.iter().any(|built| built == gfx))
    }

    /// What `platform`'s wheels compute on; `None` if it has none.
    pub fn accelerator_on(&self, platform: Platform) -> Option<Accelerator> {
        self.platforms.get(&platform).map(|wheels| wheels.accelerator.unwrap_or(self.accelerator))
    }
}

/// Machine code for a.b runs on a.c with c >= b; PTX for a.b compiles on anything not older than a.b. The catalog's rules
/// `sass` and `ptx` cite the pages that say so.
fn support(sass: &[ComputeCapability], ptx: &[ComputeCapability], card: &ComputeCapability) -> Support {
    if sass.iter().any(|built| built.major() == card.major() && built.minor() <= card.minor()) {
        Support::Sass
    } else if ptx.iter().any(|built| built <= card) {
        Support::Ptx
    } else {
        Support::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<ComputeCapability> {
        super::super::text::parse(text).expect("compute capabilities")
    }

    #[test]
    fn machine_code_stays_in_its_major_and_ptx_only_goes_forward() {
        for (sass, ptx, card, expected) in [
            ("8.0", "", "8.0", Support::Sass),
            ("8.0", "", "8.9", Support::Sass),
            ("8.6", "", "8.0", Support::No),
            ("8.0", "", "9.0", Support::No),
            ("9.0", "", "10.0", Support::No),
            ("10.0", "", "12.0", Support::No),
            ("12.0", "", "12.1", Support::Sass),
            ("8.0", "8.0", "9.0", Support::Ptx),
            ("7.5", "12.0", "10.0", Support::No),
            ("7.5", "12.0", "12.1", Support::Ptx),
            ("", "7.0", "7.5", Support::Ptx),
            ("", "7.5", "7.0", Support::No),
            ("", "", "7.0", Support::No),
        ] {
            let card: ComputeCapability = card.parse().expect("a compute capability");
            assert_eq!(support(&list(sass), &list(ptx), &card), expected, "{sass}/{ptx} on {card}");
        }
    }
}
