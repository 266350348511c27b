//! Operating system and processor of an image, `linux/amd64`. Wheel platform tags are another thing (`wheel_tag`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Processor architecture, in OCI's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

/// A platform an image can be made for. The operating system is always Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// The processor.
    pub architecture: Architecture,
}

/// A text that names no platform we make images for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform imgforge makes images for: expected `linux/amd64` or `linux/arm64`")]
pub struct PlatformError(pub String);

impl Platform {
    /// `linux/amd64`.
    pub const AMD64: Self = Self { architecture: Architecture::Amd64 };
    /// `linux/arm64`.
    pub const ARM64: Self = Self { architecture: Architecture::Arm64 };

    /// `amd64` or `arm64`, as OCI, Docker and Debian spell it.
    pub fn architecture_name(self) -> &'static str {
        match self.architecture {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
        }
    }
    /// Directory of shared libraries in Debian's multiarch layout: `x86_64-linux-gnu`.
    pub fn multiarch(self) -> &'static str {
        match self.architecture {
            Architecture::Amd64 => "x86_64-linux-gnu",
            Architecture::Arm64 => "aarch64-linux-gnu",
        }
    }
}
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture_name())
    }
}
impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        match text {
            "linux/amd64" => Ok(Self::AMD64),
            "linux/arm64" | "linux/arm64/v8" => Ok(Self::ARM64),
            other => Err(PlatformError(other.to_owned())),
        }
    }
}
impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
