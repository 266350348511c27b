//! Stage 6b: a plan as an image, without a daemon and without running anything.
//!
//! The contents become layers (`layer`), each a pure function of its inputs, and the layers and the base become a config
//! and a manifest.

pub mod base;
mod gzip;
pub mod layer;
mod tar;

pub use gzip::{Deflated, Error as DeflateError};
pub use layer::{Finished, LayerWriter};
pub use tar::Owner;
