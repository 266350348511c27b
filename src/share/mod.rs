//! Sharing: what lets a registry be all that a colleague needs.
//!
//! A recipe ([`Bundle`]) is what an image was made from: spec, lock, rendered files and the inputs that the spec names. It
//! is attached to the image as an artifact. [`image`] reads a published image, whoever made it; [`project`] takes the
//! project's files out of its layer; [`place`] puts everything into a folder, whole or not at all. [`compare`] holds an image against
//! another one, [`overview`] says what is in it, and [`page`] shows that. [`stack`] is the Compose stack for those who have nothing but Docker.

pub mod bundle;
pub mod compare;
pub mod contents;
mod error;
pub mod image;
pub mod overview;
pub mod page;
pub mod place;
pub mod project;
pub mod stack;
#[cfg(test)]
mod tests;
pub mod treemap;

pub use bundle::{Bundle, Role};
pub use error::Error;
pub use image::Image;
