//! OCI vocabulary: content addresses, platforms, layers and images, and the layout on disk.
//!
//! Manifests, configs and descriptors are `oci-spec`'s types, re-exported here; what is ours keeps look-alikes apart
//! (`Digest` and `DiffId`) and says what a finished image is, whoever made it and wherever it goes.

mod compression;
mod digest;
mod image;
pub mod layout;
pub mod mirror;
mod platform;
mod reference;
pub mod tag;
mod twin;

pub use compression::{Compression, UnknownCompression};
pub use digest::{DiffId, Digest, DigestError, Hasher};
pub use image::{AssembledImage, Layer, LayerSource};
pub use oci_spec::distribution::Reference;
pub use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
pub use platform::{Architecture, Platform, PlatformError};
pub use reference::{ReferenceError, parse_reference};
