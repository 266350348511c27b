//! Stage 2: what exists. Cards, machines, CUDA, frameworks, Pythons, base images, services: each a fact with its source.
//!
//! The facts are the YAML files of `catalog/`, embedded in the binary; folders of overlays add entries or replace them. The
//! catalog knows nothing of the network and decides nothing: which facts fit together is the solver's question. Rules that
//! hold between facts (what machine code runs where) are entries with a citation too, see [`Rule`].

mod base;
pub mod check;
mod cuda;
mod framework;
mod hardware;
mod locate;
mod other_system;
mod schema;
#[cfg(test)]
mod tests;
mod text;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use base::{Bases, CudaFlavour, CudaImage, DataPath, DebianSuite, PythonLine, PythonStatus, Service, SlimImage};
pub use check::{Finding, check};
pub use cuda::{Branch, Cuda, Cudnn, CudnnFloor, CudnnNeed, Floor, RocmDriver, Toolkit};
pub use framework::{Accelerator, Build, Framework, PlatformSupport, Release, Support};
pub use hardware::{AttachableGpu, Gpu, GpuClass, Instance, MachineFamily, Vendor};
pub use locate::locate;
pub use other_system::{OtherImages, OtherSystem, PackageFormat};

use crate::diagnostic::{Hint, Origin};
use crate::oci::{Digest, Hasher};
use crate::version::{CudnnVersion, Dotted, DriverVersion, PythonVersion, ToolkitVersion};
use schema::{Assembler, Document};

/// Version of the files' schema. Files of another major version are refused.
pub const FORMAT: semver::Version = semver::Version::new(1, 0, 0);

/// Folders are other people's: one file of an overlay may not be larger than this.
const MAX_OVERLAY_BYTES: u64 = 8 << 20;

/// A file of `catalog/`, by the build script: what it says is read from `json`, what is told of it from `text`.
struct Embedded {
    name: &'static str,
    text: &'static str,
    json: &'static str,
}

const EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Rules that hold between facts.
    pub rules: Vec<Rule>,
    /// Cards.
    pub gpus: Vec<Gpu>,
    /// Machine types with a fixed set of cards; others follow a pattern, ask [`Catalog::instance`].
    pub instances: Vec<Instance>,
    /// Machine types that follow a pattern.
    pub machine_families: Vec<MachineFamily>,
    /// Cards sold apart from the machine.
    pub attachable_gpus: Vec<AttachableGpu>,
    /// CUDA, its drivers and cuDNN.
    pub cuda: Cuda,
    /// AMD's kernel drivers.
    pub rocm_drivers: Vec<RocmDriver>,
    /// Frameworks.
    pub frameworks: Vec<Framework>,
    /// Python lines, newest first.
    pub pythons: Vec<PythonLine>,
    /// Base images.
    pub bases: Bases,
    /// Systems that `nvidia/cuda` has images of and that are no base.
    pub other_systems: Vec<OtherSystem>,
    /// Services.
    pub services: Vec<Service>,
    digest: Digest,
    /// Folded names and aliases of cards.
    gpu_names: BTreeMap<String, usize>,
    duplicates: Vec<String>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            gpus: Vec::new(),
            instances: Vec::new(),
            machine_families: Vec::new(),
            attachable_gpus: Vec::new(),
            cuda: Cuda::default(),
            rocm_drivers: Vec::new(),
            frameworks: Vec::new(),
            pythons: Vec::new(),
            bases: Bases::default(),
            other_systems: Vec::new(),
            services: Vec::new(),
            digest: Hasher::new().digest(),
            gpu_names: BTreeMap::new(),
            duplicates: Vec::new(),
        }
    }
}

/// A rule that holds between facts, so that an explanation can cite it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `sass`, `ptx`, `minor-version-compatibility`, ...
    pub name: String,
    /// The rule in a sentence.
    pub fact: String,
    /// Citation.
    pub source: String,
    /// No first-hand source confirms the rule.
    #[serde(default, skip_serializing_if = "hardware::is_false")]
    pub unverified: bool,
}

/// Why a catalog cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file of an overlay cannot be read.
    #[error("cannot read the catalog overlay `{path}`")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of an overlay is too large to be a catalog.
    #[error("the catalog overlay `{path}` is larger than {MAX_OVERLAY_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file is not YAML of the schema.
    #[error("{problem}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
        /// Where.
        origin: Option<Origin>,
    },
    /// A file declares no format, or one that this program does not know.
    #[error("`{path}` has catalog format `{found}`, this program reads {}.x", FORMAT.major)]
    Format {
        /// The file.
        path: PathBuf,
        /// What it declares; empty if nothing.
        found: String,
    },
    /// A file's entry makes no sense.
    #[error("`{path}`: {entry}: {problem}")]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which entry.
        entry: String,
        /// What is wrong with it.
        problem: String,
        /// Where it stands.
        origin: Option<Origin>,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Read { .. } => vec!["an overlay is a folder of `*.yaml` files".to_owned()],
            Self::Format { .. } => vec![format!("start the file with `format: \"{FORMAT}\"`")],
            Self::TooLarge { .. } | Self::Syntax { .. } | Self::Entry { .. } => Vec::new(),
        }
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Self::Read { source, .. } => vec![source.to_string()],
            Self::Syntax { path, origin: None, .. } => vec![format!("in `{}`", path.display())],
            _ => Vec::new(),
        }
    }

    fn origin(&self) -> Option<Origin> {
        match self {
            Self::Syntax { origin, .. } | Self::Entry { origin, .. } => origin.clone(),
            _ => None,
        }
    }
}

impl Catalog {
    /// The embedded facts with folders of overlays on top, a later folder over an earlier one.
    pub fn load(overlays: &[PathBuf]) -> Result<Self, Error> {
        Self::load_with(overlays, &[])
    }

    /// As [`Catalog::load`], with one more layer on top as `(path, text)`: files as an editor is about to write them.
    pub fn load_with(overlays: &[PathBuf], edited: &[(PathBuf, String)]) -> Result<Self, Error> {
        let mut loader = Loader::default();
        loader.add_embedded()?;
        for folder in overlays {
            let files = read_overlay(folder)?;
            loader.add_layer(&files.iter().map(|(path, text)| (path.as_path(), text.as_str())).collect::<Vec<_>>())?;
        }
        loader.add_layer(&edited.iter().map(|(path, text)| (path.as_path(), text.as_str())).collect::<Vec<_>>())?;
        Ok(loader.finish())
    }

    /// A catalog of these files alone, as `(name, text)`: a small invented world for tests.
    pub fn from_texts(files: &[(&str, &str)]) -> Result<Self, Error> {
        let mut loader = Loader::default();
        loader.add_layer(&files.iter().map(|(name, text)| (Path::new(*name), *text)).collect::<Vec<_>>())?;
        Ok(loader.finish())
    }

    /// Address of all texts the catalog was made from, for the lock.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A card by any of its names: `T4`, `Tesla T4`, `nvidia-tesla-t4`, `GeForce RTX 4090`, `rtx4090`.
    pub fn gpu(&self, name: &str) -> Option<&Gpu> {
        self.gpu_names.get(&hardware::fold_name(name)).and_then(|&position| self.gpus.get(position))
    }

    /// A machine type, fixed (`aws`, `g4dn.xlarge`) or composed of a machine and cards sold apart (`gcp`,
    /// `n1-standard-4+nvidia-tesla-t4`, with `:2` for two of them). Clouds and names are compared without case.
    pub fn instance(&self, cloud: &str, name: &str) -> Option<Instance> {
        let same = |left: &str, right: &str| left.eq_ignore_ascii_case(right);
        let fixed = self.instances.iter().find(|instance| same(&instance.cloud, cloud) && same(&instance.name, name));
        if let Some(instance) = fixed {
            return Some(instance.clone());
        }
        let (machine, attached) = match name.split_once('+') {
            Some((machine, attached)) => (machine, Some(attached)),
            None => (name, None),
        };
        let family = self.machine_families.iter().find(|family| same(&family.cloud, cloud) && family.holds(machine))?;
        let plain = Instance {
            cloud: family.cloud.clone(),
            name: name.to_ascii_lowercase(),
            gpu: None,
            gpu_count: 0,
            fractional: false,
            platform: family.platform,
            source: family.source.clone(),
            unverified: false,
        };
        let Some(attached) = attached else { return Some(plain) };
        let (accelerator, count) = match attached.split_once(':') {
            Some((accelerator, count)) => (accelerator, count.parse().ok()?),
            None => (attached, 1),
        };
        let gpu = self.attachable_gpus.iter().find(|gpu| same(&gpu.cloud, cloud) && same(&gpu.name, accelerator))?;
        (family.attachable.contains(&gpu.name) && gpu.counts.contains(&count)).then(|| Instance {
            gpu: Some(gpu.gpu.clone()),
            gpu_count: count,
            source: gpu.source.clone(),
            ..plain
        })
    }

    /// A framework by family: `pytorch`.
    pub fn framework(&self, family: &str) -> Option<&Framework> {
        self.frameworks.iter().find(|framework| framework.family == family)
    }

    /// The framework whose main package this is: `torch`.
    pub fn framework_of_package(&self, package: &str) -> Option<&Framework> {
        self.frameworks.iter().find(|framework| framework.package == package)
    }

    /// A Python line.
    pub fn python(&self, version: PythonVersion) -> Option<&PythonLine> {
        self.pythons.iter().find(|line| line.version == version)
    }

    /// A system that is no base, by distribution and release.
    pub fn other_system(&self, distribution: &str, release: &Dotted) -> Option<&OtherSystem> {
        self.other_systems.iter().find(|system| system.is(distribution, release))
    }

    /// A service by name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// A rule by name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The release of the toolkit that `version` means: itself, or the newest patch if it names none (`12.4`).
    pub fn toolkit(&self, version: &ToolkitVersion) -> Option<&Toolkit> {
        let toolkits = &self.cuda.toolkits;
        let newest = toolkits.iter().find(|toolkit| toolkit.version.dotted().starts_with(version.dotted()));
        newest.or_else(|| toolkits.iter().find(|toolkit| toolkit.version == *version))
    }

    /// The oldest driver for compiled code of a CUDA major.
    pub fn floor(&self, major: u64) -> Option<&Floor> {
        self.cuda.floors.iter().find(|floor| floor.major == major)
    }

    /// The oldest card that a release of cuDNN has kernels for; `None` if no limit of it is known.
    pub fn cudnn_floor(&self, cudnn: &CudnnVersion) -> Option<&CudnnFloor> {
        self.cuda.cudnn_floors.iter().find(|floor| floor.since <= *cudnn)
    }

    /// What is known of the AMD driver that `version` means.
    pub fn rocm_driver(&self, version: &DriverVersion) -> Option<&RocmDriver> {
        self.rocm_drivers.iter().find(|row| version.dotted().starts_with(row.driver.dotted()))
    }

    /// The driver that `version`'s PTX needs. A build often says `12.4` and not which patch: then the oldest driver of
    /// its patches, since the compiler in the driver follows the minor release.
    pub fn ptx_driver(&self, version: &ToolkitVersion) -> Option<&DriverVersion> {
        let matching =
            self.cuda.toolkits.iter().filter(|toolkit| {
                toolkit.version == *version || toolkit.version.dotted().starts_with(version.dotted())
            });
        matching.filter_map(|toolkit| toolkit.driver.as_ref()).min()
    }

    /// Names of cards, for suggestions.
    pub fn gpu_names(&self) -> impl Iterator<Item = &str> {
        self.gpus.iter().map(|gpu| gpu.name.as_str())
    }

    /// Machine types of a cloud, for suggestions.
    pub fn instance_names<'a>(&'a self, cloud: &'a str) -> impl Iterator<Item = &'a str> {
        let of_cloud = self.instances.iter().filter(move |instance| instance.cloud.eq_ignore_ascii_case(cloud));
        of_cloud.map(|instance| instance.name.as_str())
    }

    /// Clouds with at least one machine type.
    pub fn clouds(&self) -> BTreeSet<&str> {
        self.instances.iter().map(|instance| instance.cloud.as_str()).collect()
    }

    /// Framework families, for suggestions.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.frameworks.iter().map(|framework| framework.family.as_str())
    }

    /// Makes cards findable by every name; the first to claim a name keeps it.
    fn index(&mut self) {
        self.gpu_names.clear();
        for (position, gpu) in self.gpus.iter().enumerate() {
            self.gpu_names.entry(hardware::fold_name(&gpu.name)).or_insert(position);
        }
        for (position, gpu) in self.gpus.iter().enumerate() {
            for alias in &gpu.aliases {
                self.gpu_names.entry(hardware::fold_name(alias)).or_insert(position);
            }
        }
    }
}

/// Reads files into layers and hashes their texts.
#[derive(Default)]
struct Loader {
    assembler: Assembler,
    hasher: Hasher,
}

impl Loader {
    fn add_embedded(&mut self) -> Result<(), Error> {
        self.assembler.begin_layer();
        for Embedded { name, text, json } in EMBEDDED {
            let path = Path::new(name);
            let document = serde_json::from_str(json).map_err(|error| {
                let (path, problem) = (path.to_owned(), error.to_string());
                Error::Syntax { path, problem, origin: None }
            })?;
            self.add(path, text, document)?;
        }
        Ok(())
    }

    fn add_layer(&mut self, files: &[(&Path, &str)]) -> Result<(), Error> {
        self.assembler.begin_layer();
        files.iter().try_for_each(|(path, text)| self.add(path, text, parse(path, text)?))
    }

    fn add(&mut self, path: &Path, text: &str, document: Document) -> Result<(), Error> {
        check_format(path, &document.format)?;
        // Lengths keep two files from hashing like one; names of files are no facts.
        self.hasher.update(&(text.len() as u64).to_le_bytes());
        self.hasher.update(text.as_bytes());
        self.assembler.add(document).map_err(|malformed| Error::Entry {
            path: path.to_owned(),
            origin: locate(path, text, &malformed.entry),
            entry: malformed.entry,
            problem: malformed.problem,
        })
    }

    fn finish(self) -> Catalog {
        Catalog { digest: self.hasher.digest(), ..self.assembler.finish() }
    }
}

fn parse(path: &Path, text: &str) -> Result<Document, Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_OVERLAY_BYTES as usize),
            max_nodes: 200_000,
            max_depth: 16,
            max_aliases: 0,
            max_anchors: 0,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (path, problem) = (path.to_owned(), error.without_snippet().to_string());
        let Some(place) = error.location() else { return Error::Syntax { path, problem, origin: None } };
        // The place is printed with the file's line, not in the message.
        let suffix = format!(" at line {}, column {}", place.line(), place.column());
        let origin = Some(Origin::at(&path, text, place.line(), place.column()));
        Error::Syntax { path, problem: problem.strip_suffix(&suffix).unwrap_or(&problem).to_owned(), origin }
    })
}

fn check_format(path: &Path, format: &str) -> Result<(), Error> {
    match semver::Version::parse(format) {
        Ok(format) if format.major == FORMAT.major => Ok(()),
        _ => Err(Error::Format { path: path.to_owned(), found: format.to_owned() }),
    }
}

/// The files of an overlay: `*.yaml` of a folder and of its `framework` folder, sorted. `sources.yaml` holds indexes and archives, not facts.
pub fn read_overlay(folder: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    let mut paths = Vec::new();
    for (directory, required) in [(folder.to_owned(), true), (folder.join("framework"), false)] {
        if !required && !directory.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&directory).map_err(failed(&directory))? {
            let path = entry.map_err(failed(&directory))?.path();
            let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
            if is_yaml && path.file_name().is_some_and(|name| name != "sources.yaml") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        if std::fs::metadata(&path).map_err(failed(&path))?.len() > MAX_OVERLAY_BYTES {
            return Err(Error::TooLarge { path });
        }
        let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
        files.push((path, text));
    }
    Ok(files)
}
