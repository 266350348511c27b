//! Stage 1: what the user asked for.
//!
//! A [`Spec`] is a validated `spec.yaml`, with the requirements files it names read in. Values that later stages may
//! have to blame keep their [`Origin`] (file and byte range), so that any stage can point at the line that asked. Nothing
//! is looked up here: whether a card or a version exists is the catalog's knowledge.

mod direct;
mod document;
mod error;
mod meaning;
mod options;
mod requirements;
mod rules;
mod source;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pep440_rs::VersionSpecifiers;
use pep508_rs::{Requirement, VerbatimUrl};

use crate::diagnostic::Origin;
use crate::oci::tag::TagTemplate;
use crate::oci::{Digest, Platform};
use crate::version::{CudnnVersion, Dotted, DriverVersion, ToolkitVersion, WheelPlace};

pub use error::{Error, Problem};

/// Largest spec, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place; `None` for defaults.
    pub origin: Option<Origin>,
}

impl<T> Located<T> {
    /// A value nobody wrote.
    pub fn default_of(value: T) -> Self {
        Self { value, origin: None }
    }
}

/// The whole request.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The spec's path as given on the command line.
    pub path: PathBuf,
    /// Folder that relative paths in the spec start from.
    pub folder: PathBuf,
    /// Image name and folder name under `generated/`: lower-case letters, digits, `.`, `_`, `-`.
    pub name: Located<String>,
    /// Machines the image must run on; never empty.
    pub targets: Vec<Located<Target>>,
    /// Platforms asked for; empty means those of the targets.
    pub platforms: Vec<Located<Platform>>,
    /// Python lines allowed.
    pub python: Option<Located<VersionSpecifiers>>,
    /// Frameworks by family.
    pub frameworks: Vec<Framework>,
    /// Python packages, requirements files expanded in place.
    pub packages: Vec<Located<Requirement<VerbatimUrl>>>,
    /// Bounds on packages that something else may ask for, from `-c` lines of requirements files.
    pub constraints: Vec<Located<Requirement<VerbatimUrl>>>,
    /// What packages and constraints say of the files to install: hashes, and places outside every index.
    pub file_pins: Vec<Located<FilePin>>,
    /// Requirements and constraints files that were read, below or above `folder`, sorted.
    pub requirements_files: Vec<PathBuf>,
    /// Extra package indexes.
    pub indexes: Vec<ExtraIndex>,
    /// Operating-system packages.
    pub system: Vec<Located<String>>,
    /// System CUDA toolkit, pinned to these components.
    pub cuda: Option<Located<ToolkitVersion>>,
    /// cuDNN, pinned to these components.
    pub cudnn: Option<Located<CudnnVersion>>,
    /// Operating system of the base.
    pub os: Option<Located<OperatingSystem>>,
    /// Base image.
    pub base: Located<BaseChoice>,
    /// Where the image goes.
    pub image: ImageSection,
    /// Project files copied into the image.
    pub files: Vec<FileEntry>,
    /// Environment variables of the image.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// User name the image runs as; default `app`.
    pub user: String,
    /// Entry point; empty means none.
    pub entrypoint: Vec<String>,
    /// Default command; `python` if the spec says neither it nor an entry point.
    pub command: Vec<String>,
    /// Shell commands that need an engine.
    pub run: Vec<Located<String>>,
    /// Whether the modules of packages are compiled ahead.
    pub compile: bool,
    /// The Compose stack.
    pub services: Services,
    /// Address of what was asked, comments and layout left out: a lock made for another one is stale.
    pub digest: Digest,
}

/// Registry and prefix of copies of images, as `image: mirror:` takes them.
pub fn mirror(text: &str) -> Result<String, Problem> {
    rules::mirror(text)
}

impl Spec {
    /// Reads and checks the file at `path`; paths in it start from its folder.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
            _ => Error::Read { path: path.to_owned(), source },
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > SIZE_LIMIT {
            return Err(Error::TooLarge { path: path.to_owned(), limit: SIZE_LIMIT });
        }
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.valid_up_to();
                let source = source::Source::new(path, &String::from_utf8_lossy(&bytes));
                return Err(Error::at(source.origin(at..at + '\u{fffd}'.len_utf8()), Problem::NotUtf8));
            }
        };
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(path, text, folder)
    }

    /// Checks `text`. `path` only names it in messages; requirements files, project files and seeds are looked for in
    /// `folder`.
    pub fn parse(path: &Path, text: &str, folder: &Path) -> Result<Self, Error> {
        if text.len() > SIZE_LIMIT {
            return Err(Error::TooLarge { path: path.to_owned(), limit: SIZE_LIMIT });
        }
        let source = source::Source::new(path, text);
        validate::build(&source, folder, document::parse(&source)?)
    }

    /// JSON Schema of `spec.yaml`.
    pub fn schema() -> serde_json::Value {
        document::schema()
    }
}

/// A machine the image must run on.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// `aws/g4dn.xlarge`, or `gcp/n1-standard-4+nvidia-tesla-t4`.
    Instance {
        /// `aws`, `azure`, `gcp`, ...
        cloud: String,
        /// Machine type, with its accelerator where the cloud sells them apart.
        instance: String,
    },
    /// A card by name, and the driver on that machine if it is known.
    Card {
        /// Marketing name, `RTX 4090`.
        gpu: String,
        /// Driver installed there.
        driver: Option<DriverVersion>,
        /// `linux/arm64` for a card in an ARM server; default amd64.
        platform: Option<Platform>,
    },
    /// No accelerator.
    Cpu,
}

/// One framework family.
#[derive(Debug, Clone)]
pub struct Framework {
    /// `pytorch`, `tensorflow`, ...
    pub family: Located<String>,
    /// Versions allowed; a bare version means `==`.
    pub version: VersionSpecifiers,
    /// Place of the version.
    pub version_origin: Option<Origin>,
    /// `default`, `cuNNN`, `rocmN.N` or `cpu`; `None` means whichever suits every target.
    pub build: Option<Located<String>>,
    /// Companion packages to install too: `torchvision`, `torchaudio`.
    pub with: Vec<Located<String>>,
}

/// What a requirement says of the file that is installed for it.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePin {
    /// The requirement; the pin holds where its marker does.
    pub requirement: Requirement<VerbatimUrl>,
    /// The wheel's place, if it comes from no index. Its version is then the requirement's.
    pub place: Option<WheelPlace>,
    /// Files that may be installed; empty allows any.
    pub digests: Vec<Digest>,
}

/// An extra package index. Credentials never stand here.
#[derive(Debug, Clone)]
pub struct ExtraIndex {
    /// Name that the lock uses.
    pub name: Located<String>,
    /// Root of the simple API.
    pub url: Located<url::Url>,
    /// Globs over normalised names; these names come from this index and from no other. Empty: any name, asked before the
    /// default index.
    pub packages: Vec<String>,
}

/// `ubuntu 22.04`, `debian 12`.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatingSystem {
    /// `debian`, `ubuntu`.
    pub distribution: String,
    /// Release number.
    pub release: Dotted,
}

/// What the image starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum BaseChoice {
    /// The smallest that works.
    Auto,
    /// Assembled from signed Debian packages.
    Debian,
    /// `python:X.Y-slim`.
    Slim,
    /// `nvidia/cuda`.
    Cuda,
    /// Any image.
    Reference(crate::oci::Reference),
}

/// `image:` of the spec.
#[derive(Debug, Clone, Default)]
pub struct ImageSection {
    /// Registry and repository, `registry.example.com/ml/churn`, without tag.
    pub repository: Option<Located<String>>,
    /// Registry and prefix of the copies of other people's images, `registry.example.com/mirror`.
    pub mirror: Option<Located<String>>,
    /// The project's own version, for tags and for the image's label.
    pub version: Option<String>,
    /// Templates of tags; default `latest`. The first can be filled in before the image is made.
    pub tags: Vec<TagTemplate>,
    /// Templates of tags that are set once and never moved.
    pub immutable_tags: Vec<TagTemplate>,
    /// Of the layers that are made.
    pub compression: crate::oci::Compression,
}

/// A file or folder copied into the image.
#[derive(Debug, Clone)]
pub struct FileEntry {
    /// Relative to the spec's folder.
    pub from: Located<PathBuf>,
    /// Absolute path in the image.
    pub to: String,
}

/// The services of the Compose stack.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// A mock PostgreSQL.
    pub postgres: Option<Postgres>,
    /// A Redis.
    pub redis: Option<Redis>,
    /// An MLflow server.
    pub mlflow: Option<Mlflow>,
}

/// PostgreSQL of the stack.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Version, `16` or `16.4`.
    pub version: Located<String>,
    /// `.sql` and `.csv` files loaded at the first start, in order, relative to the spec's folder.
    pub seed: Vec<Located<PathBuf>>,
}

/// Redis of the stack.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Version, `7` or `7.2`.
    pub version: Located<String>,
}

/// MLflow server of the stack.
#[derive(Debug, Clone)]
pub struct Mlflow {
    /// Tracking store.
    pub backend: MlflowBackend,
    /// Artifact store.
    pub artifacts: ArtifactStore,
}

/// Where MLflow keeps runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlflowBackend {
    /// The stack's PostgreSQL.
    Postgres,
    /// A file on the server's own volume.
    Sqlite,
}

/// Where MLflow keeps artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactStore {
    /// A named volume.
    Volume,
    /// `s3://bucket/prefix`, `wasbs://…` or `gs://…`, as MLflow takes it.
    Bucket(String),
}
