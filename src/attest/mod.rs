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
mod spdx;
mod statement;

pub use cyclonedx::cyclonedx;
pub use dependencies::About;
pub use inventory::{Component, Image, Inventory, Kind, Places, moment};
pub use key::{KeyError, PublicKey, SigningKey};
pub use provenance::{PROVENANCE_TYPE, provenance};
pub use spdx::spdx;
pub use statement::{IN_TOTO_TYPE, Statement, Subject};

use crate::oci::Digest;

/// Media type of an SPDX document in JSON.
pub const SPDX_TYPE: &str = "application/spdx+json";
/// Media type of a CycloneDX document in JSON.
pub const CYCLONEDX_TYPE: &str = "application/vnd.cyclonedx+json";

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
