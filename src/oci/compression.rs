//! How the bytes of layers are packed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The compression of the layers that are made here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// What every engine and registry reads. Streams in wheels are copied as they are.
    #[default]
    Gzip,
    /// Smaller and faster to unpack; every layer is compressed anew. RFC 8878.
    Zstd,
}

/// A word that names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a compression of layers")]
pub struct UnknownCompression(String);

impl Compression {
    /// Every compression.
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// Media type of a layer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// Whether it is the one that need not be named.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;
    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        let known = Self::ALL.into_iter().find(|known| known.to_string() == text);
        known.ok_or_else(|| UnknownCompression(text.to_owned()))
    }
}
