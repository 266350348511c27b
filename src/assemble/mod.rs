//! Stage 6b: a plan as an image, without a daemon and without running anything of it.
//!
//! Wheels ([`wheel`]), the environment and its user ([`environment`]) and project files ([`files`]) become layers
//! ([`layer`]), each a pure function of its inputs, which is what [`layers`] remembers them by; [`grouping`] decides which
//! wheels share one, and [`byte_code`] compiles their modules where the spec asks for it. The base is an image ([`base`]) or a tree of Debian packages. A [`recipe`] says which layers a plan
//! needs and which of them exist, here or in a registry ([`published`]); [`steps`] makes the others, and base and layers
//! together become config and manifest ([`image`]).

pub mod base;
pub mod byte_code;
mod entry_points;
pub mod environment;
pub mod files;
pub mod findings;
pub mod grouping;
mod gzip;
pub mod ignore;
pub mod image;
pub mod layer;
pub mod layers;
pub mod outlet;
mod packer;
pub mod published;
pub mod recipe;
mod record;
pub mod steps;
mod tar;
#[cfg(test)]
mod testing;
pub mod toc;
pub mod wheel;
mod zip;

pub use gzip::{Deflated, Error as DeflateError};
pub use layer::{Finished, LayerWriter};
pub use tar::Owner;
pub use zip::Error as ZipError;
