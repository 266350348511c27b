//! Operating systems that NVIDIA makes images on and that no image is made on here: what exists on them, and why they are no
//! base.

use serde::{Deserialize, Serialize};

use super::hardware::is_false;
use crate::oci::Platform;
use crate::version::{Dotted, ToolkitVersion};

/// What a system's packages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageFormat {
    /// Red Hat's and its relatives'.
    Rpm,
    /// Debian's, of a release too old to be a base.
    Deb,
}

/// An operating system of `nvidia/cuda` images that is no base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherSystem {
    /// `rockylinux 9`: the end of its tags, with a space before the number.
    pub os: String,
    /// What it installs packages from.
    pub packages: PackageFormat,
    /// Its C library, where a source tells.
    #[serde(default, with = "super::text::optional_glibc", skip_serializing_if = "Option::is_none")]
    pub glibc: Option<(u32, u32)>,
    /// Toolkits whose tags NVIDIA no longer promises to keep.
    #[serde(default, deserialize_with = "super::text::words::deserialize", skip_serializing_if = "Vec::is_empty")]
    pub end_of_life: Vec<ToolkitVersion>,
    /// Its images.
    pub images: Vec<OtherImages>,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the entry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// Tags that several toolkits have alike: each toolkit with each flavour, for each platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherImages {
    /// `12.4.1`.
    #[serde(deserialize_with = "super::text::words::deserialize")]
    pub toolkits: Vec<ToolkitVersion>,
    /// The middle part of each tag: `base`, `cudnn-runtime`.
    #[serde(deserialize_with = "super::text::words::deserialize")]
    pub flavours: Vec<String>,
    /// Platforms they exist for.
    #[serde(deserialize_with = "super::text::words::deserialize")]
    pub platforms: Vec<Platform>,
}

impl OtherSystem {
    /// `rockylinux` and `9`.
    fn parts(&self) -> (&str, &str) {
        self.os.split_once(' ').unwrap_or((&self.os, ""))
    }

    /// `rockylinux9`, as tags end.
    pub fn suffix(&self) -> String {
        self.os.replace(' ', "")
    }

    /// Whether it is meant by a distribution and a release, which may be more precise: tags know `rockylinux9` for 9.4.
    pub fn is(&self, distribution: &str, release: &Dotted) -> bool {
        let (own, number) = self.parts();
        let number: Option<Dotted> = number.parse().ok();
        own == distribution && number.is_some_and(|number| release.starts_with(&number))
    }

    /// Why it is no base, as the end of a sentence that has named it.
    pub fn reason(&self) -> &'static str {
        match self.packages {
            PackageFormat::Rpm => "whose packages are RPMs: images are made of Debian's and Ubuntu's packages here",
            PackageFormat::Deb => "whose Python and glibc are older than what wheels of today need",
        }
    }

    /// Toolkits with at least one image, newest first.
    pub fn toolkits(&self) -> Vec<&ToolkitVersion> {
        let mut toolkits: Vec<_> = self.images.iter().flat_map(|images| &images.toolkits).collect();
        toolkits.sort_by(|left, right| right.cmp(left));
        toolkits.dedup();
        toolkits
    }
}
