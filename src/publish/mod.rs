//! Stage 7: a finished image goes somewhere. One file per target: a registry, a folder in the OCI image layout, an archive, or
//! an engine on this machine. `copy` brings the image of somebody else from one registry to another.
//!
//! Targets send the bytes that `assemble` fixed and change none of them, so the image has the same digest everywhere.

pub mod archive;
pub mod artifact;
pub mod copy;
pub mod engine;
pub mod layout;
mod places;
pub mod registry;

use std::io;
use std::path::PathBuf;

use crate::diagnostic::Hint;
use crate::oci::{AssembledImage, Digest, LayerSource};
use crate::progress::Progress;
use crate::registry::Registries;
use crate::store::{self, Store};

/// Why an image did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// The file system failed.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// The step that failed, a verb phrase that ends before the path.
        action: &'static str,
        /// Folder or file concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// What is attached to an image cannot be read.
    #[error("`{reference}` cannot be read: {detail}")]
    Artifact {
        /// The artifact.
        reference: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A tag that must not move names another image.
    #[error("the tag of `{reference}` is immutable, and names {found}; this image is {digest}")]
    Immutable {
        /// The reference with the tag.
        reference: String,
        /// What it names.
        found: Digest,
        /// What it would have to name.
        digest: Digest,
    },
    /// An image of somebody else cannot be copied.
    #[error("`{reference}` cannot be copied: {problem}")]
    NotCopied {
        /// The image.
        reference: String,
        /// Why.
        problem: String,
    },
    /// There is nothing to publish.
    #[error("there is no image to publish")]
    Nothing,
    /// No engine answers on this machine.
    #[error("no container engine answers on this machine")]
    NoEngine {
        /// Each program that was tried, and what it said.
        tried: Vec<(String, String)>,
    },
    /// The engine refused the image.
    #[error("`{program} load` failed: {message}")]
    EngineRefused {
        /// The engine's program.
        program: String,
        /// The last lines it wrote.
        message: String,
    },
    /// The engine could not be started or fed.
    #[error("`{program}`: {source}")]
    Engine {
        /// The engine's program.
        program: String,
        /// Cause.
        source: io::Error,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.help(),
            Self::Immutable { .. } => vec![
                "no tag was set; raise `image.version`, or put `{{ digest }}` into the tag, so that every image has its own"
                    .to_owned(),
            ],
            Self::NoEngine { .. } => vec![
                "start Docker (`systemctl start docker`) or install Podman; without an engine, the image layout folder or `--push` needs neither"
                    .to_owned(),
            ],
            Self::EngineRefused { message, .. } if message.contains("no space left") => {
                vec!["free space where the engine keeps its images (`docker system df`, `podman system df`)".to_owned()]
            }
            Self::EngineRefused { message, .. } if message.contains("ermission denied") => {
                vec!["may this user speak to the engine? Docker wants membership of the group `docker`".to_owned()]
            }
            Self::Io { source, .. } => store::help_for_output(source),
            _ => Vec::new(),
        }
    }
    fn exit_code(&self) -> u8 {
        if matches!(self, Self::Immutable { .. }) { 1 } else { 2 }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.notes(),
            Self::NoEngine { tried } => {
                tried.iter().map(|(program, problem)| format!("`{program}`: {problem}")).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The images with every layer in a file on this machine: layers that only a registry has are brought into the store, anew if
/// the store's copy was damaged.
pub fn localize(
    registries: &Registries,
    store: &Store,
    images: &[AssembledImage],
    progress: &Progress,
) -> Result<Vec<AssembledImage>, Error> {
    let mut images = images.to_vec();
    for layer in images.iter_mut().flat_map(|image| &mut image.layers) {
        if let LayerSource::Registry(reference) = &layer.source {
            let task = progress.task(format!("fetching a layer of {reference}"), Some(layer.size));
            let mut advance = |bytes| task.advance(bytes);
            let here = store.whole_blob(&layer.digest, layer.size).map_err(crate::registry::Error::from)?;
            let fetch = || registries.fetch_blob(reference, &layer.digest, Some(layer.size), store, &mut advance);
            layer.source = LayerSource::File(here.map_or_else(fetch, Ok)?);
        }
    }
    Ok(images)
}
