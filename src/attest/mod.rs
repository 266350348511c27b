//! What is said about an image, for those who did not build it: its bill of materials (SPDX, CycloneDX), its provenance
//! (SLSA), and signatures over it.
//!
//! Every document follows from the lock, from METADATA of the wheels that it names, and from the image's digest, so that the
//! same image always has the same documents, whoever pushes it. `inventory` says what is in the image; `spdx`, `cyclonedx`
//! and `provenance` write it down; `statement`, `dsse` and `bundle` are the envelopes that signatures come in, `key` makes
//! and checks them, and `signature` puts them beside an image and finds them there.

pub mod bundle;
mod cyclonedx;
mod dependencies;
mod dsse;
mod encrypted;
mod inventory;
mod key;
mod provenance;
mod purl;
mod remote;
pub mod signature;
pub mod simple;
mod spdx;
mod statement;

pub use cyclonedx::cyclonedx;
pub use dependencies::About;
pub use inventory::{Component, Image, Inventory, Kind, Places, moment};
pub use key::{KeyError, PublicKey, SigningKey};
pub use provenance::{PROVENANCE_TYPE, provenance};
pub use spdx::spdx;
pub use statement::{IN_TOTO_TYPE, Statement, Subject};

use crate::diagnostic::Hint;
use crate::oci::Digest;

/// What a key's owner says about an image, as a type of claim; else what speaks against it.
pub type Claim = Result<String, String>;

/// Signatures beside one image that are looked at, in either form.
const SIGNATURES_LIMIT: usize = 200;

/// Media type of an SPDX document in JSON.
pub const SPDX_TYPE: &str = "application/spdx+json";
/// Media type of a CycloneDX document in JSON.
pub const CYCLONEDX_TYPE: &str = "application/vnd.cyclonedx+json";

/// Why documents did not get beside an image, or what is there does not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// A document did not get there.
    #[error(transparent)]
    Publish(#[from] crate::publish::Error),
    /// The key's owner has not signed the image.
    #[error("`{image}` is not signed by this key")]
    NotSigned {
        /// The image by digest.
        image: String,
        /// What looks like a signature: where it is, and what speaks against it.
        rejected: Vec<(String, String)>,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.help(),
            Self::Publish(error) => error.help(),
            Self::NotSigned { .. } => Vec::new(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.notes(),
            Self::Publish(error) => error.notes(),
            Self::NotSigned { rejected, .. } if rejected.is_empty() => {
                vec!["there is no signature beside it".to_owned()]
            }
            Self::NotSigned { rejected, .. } => {
                rejected.iter().map(|(place, problem)| format!("`{place}` does not count: {problem}")).collect()
            }
        }
    }
    fn exit_code(&self) -> u8 {
        match self {
            Self::NotSigned { .. } => 1,
            _ => 2,
        }
    }
}

/// `urn:uuid:…` for a content: of version 8, whose bits are the maker's own (RFC 9562). The same content has the same.
fn uuid_of(content: &[u8]) -> String {
    let mut bytes = *Digest::of(content).as_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = Digest::from_bytes(bytes).hex();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

#[cfg(test)]
mod testing;
