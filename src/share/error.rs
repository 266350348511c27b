//! What can go wrong when an environment is shared.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Hint, Origin};
use crate::oci::Digest;
use crate::{lock, publish, registry};

/// Why an environment cannot be shared or brought back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// An artifact cannot be read.
    #[error(transparent)]
    Artifact(#[from] publish::Error),
    /// The lock of a recipe cannot be read.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// What is named is not an image.
    #[error("`{reference}` is no image: {problem}")]
    NotAnImage {
        /// As asked.
        reference: String,
        /// What it is instead, or what is wrong with it.
        problem: String,
    },
    /// No recipe is attached.
    #[error("no recipe is attached to `{reference}`")]
    NoRecipe {
        /// The image by digest.
        reference: String,
        /// Whether imgforge made the image.
        is_ours: bool,
    },
    /// There is no recipe of that digest.
    #[error("no recipe `{wanted}` is attached to `{reference}`")]
    NoSuchRecipe {
        /// The image by digest.
        reference: String,
        /// What was asked for.
        wanted: Digest,
        /// What there is.
        attached: Vec<Digest>,
    },
    /// What is attached is not a recipe that can be trusted.
    #[error("the recipe `{recipe}` is refused: {problem}")]
    Refused {
        /// Address of the recipe.
        recipe: Digest,
        /// Why.
        problem: String,
    },
    /// The image is that of a service, and only the environment's own holds its project files.
    #[error("`{image}` is a service of `{main}`, whose project files it does not hold")]
    OfService {
        /// The service's image.
        image: String,
        /// The environment.
        main: String,
    },
    /// An input holds a credential.
    #[error("`{path}` holds {what}, and would be readable for everybody who can pull the image")]
    Secret {
        /// The file, and its line where there is one.
        path: String,
        /// Kind of credential.
        what: &'static str,
    },
    /// An input cannot travel.
    #[error("`{path}` cannot travel with the image: {problem}")]
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The layer of the project's files cannot be unpacked.
    #[error("layer {digest} cannot be unpacked: {problem}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why.
        problem: String,
    },
    /// Files that would be overwritten.
    #[error("`{folder}` has other contents in {}", listed(paths))]
    Differs {
        /// Where the files were to go.
        folder: PathBuf,
        /// Those that differ.
        paths: Vec<String>,
    },
    /// The file system failed.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// The step that failed, a verb phrase.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: a failure of the file system at a path.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.help(),
            Self::Artifact(error) => error.help(),
            Self::Lock(error) => error.help(),
            Self::NoRecipe { is_ours: true, .. } => vec![
                "`imgforge build --push` attaches it, unless `--no-recipe` says otherwise".to_owned(),
                "of an image for several platforms, name the tag: the recipe belongs to the whole".to_owned(),
            ],
            Self::NoRecipe { is_ours: false, .. } => {
                vec!["imgforge did not make this image; `imgforge inspect` shows what is in it".to_owned()]
            }
            Self::NoSuchRecipe { attached, .. } => {
                vec![format!("attached are {}", listed(&attached.iter().map(ToString::to_string).collect::<Vec<_>>()))]
            }
            Self::Refused { .. } => {
                vec!["ask whoever pushed it, or push the image again with `imgforge build --push`".to_owned()]
            }
            Self::Secret { .. } | Self::Input { .. } => {
                vec!["remove it, or push with `--no-recipe`, which leaves spec and lock at home".to_owned()]
            }
            Self::Differs { .. } => {
                vec!["name another folder with `--output`, or overwrite them with `--force`".to_owned()]
            }
            Self::OfService { main, .. } => vec![format!("pull the image of `{main}`, which lies beside it")],
            Self::NotAnImage { .. } | Self::Layer { .. } | Self::Io { .. } => Vec::new(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.notes(),
            Self::Artifact(error) => error.notes(),
            _ => Vec::new(),
        }
    }
    fn origin(&self) -> Option<Origin> {
        if let Self::Lock(error) = self { error.origin() } else { None }
    }
}

/// `a`, `b` and 3 more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}
