//! Where indexes, archives and registries live on this machine.
//!
//! Specs and locks name services; this turns a name into an address. Settings that people already have are honoured in the
//! order imgforge, uv, pip, apt, and only where none speaks the embedded defaults of `catalog/sources.yaml` hold. The
//! variables and files are those of each tool's own documentation; ours are `IMGFORGE_*` and `imgforge/config.toml`.
//! Credentials come from variables, addresses and netrc, and no `Debug` or error shows them.

mod apt;
mod config;
mod environment;
mod indexes;
mod location;
mod netrc;
mod pip;
mod registries;
mod sources;
mod uv;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use url::Url;

use crate::diagnostic::{Hint, Origin};
use crate::http::KeyPassword;
use config::Config;
use location::Root;
use sources::Sources;

pub use environment::Environment;
pub use indexes::DEFAULT_INDEX;
pub use location::{ArchiveLocation, Credentials, IndexLocation, RegistryHost, RegistryLocation, SnapshotLocation};
pub use registries::HostCertificates;

/// This machine's settings.
pub struct Settings {
    /// Further certificate authorities, PEM files, for [`crate::http::Options`].
    pub ca_files: Vec<PathBuf>,
    /// Folders with a folder per registry for certificates, as Docker and Podman have them; the first that has one counts.
    pub certificate_folders: Vec<PathBuf>,
    /// What opens encrypted keys of client certificates.
    pub client_key_password: Option<KeyPassword>,
    /// The spec's folder, from which the places of its own wheels are meant; empty for the current one.
    pub folder: PathBuf,
    indexes: indexes::Indexes,
    archives: BTreeMap<String, ArchiveLocation>,
    snapshots: BTreeMap<String, SnapshotLocation>,
    registries: registries::Registries,
}

/// Why the settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A settings file cannot be read or is not in its format.
    #[error("settings file `{path}`: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Something in `imgforge/config.toml` is wrong.
    #[error("{cause}")]
    Config {
        /// What is wrong.
        cause: String,
        /// Where.
        origin: Origin,
    },
    /// A setting of another tool or a variable is no address of a service.
    #[error("{setting} is not the address of a service: {cause}")]
    Address {
        /// The setting, in words.
        setting: String,
        /// What is wrong.
        cause: String,
    },
    /// A variable has a form that cannot be read.
    #[error("the variable `{name}` has an entry `{entry}`; expected `{expected}`")]
    Variable {
        /// The variable.
        name: &'static str,
        /// The entry that cannot be read.
        entry: String,
        /// The form of an entry.
        expected: &'static str,
    },
    /// The embedded defaults are damaged; a mistake in the program.
    #[error("`catalog/sources.yaml`: {cause}")]
    Sources {
        /// The parser's words.
        cause: String,
    },
    /// Something in an overlay's `sources.yaml` is wrong.
    #[error("{cause}")]
    Overlay {
        /// What is wrong.
        cause: String,
        /// Where.
        origin: Origin,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Address { .. } => vec!["give an address like `https://index.example.com/simple/`".to_owned()],
            Self::Read { .. } => vec!["correct the file, or set the address in `imgforge/config.toml`".to_owned()],
            _ => Vec::new(),
        }
    }
    fn origin(&self) -> Option<Origin> {
        match self {
            Self::Config { origin, .. } | Self::Overlay { origin, .. } => Some(origin.clone()),
            _ => None,
        }
    }
}

impl Settings {
    /// Reads every source of settings.
    pub fn load(environment: &Environment) -> Result<Self, Error> {
        Self::load_with(environment, &[])
    }

    /// What holds where nothing is set: the embedded addresses, which are the same on every machine and known to everybody.
    pub fn of_nobody() -> Result<Self, Error> {
        // Below a file there are no settings.
        Self::load(&Environment { root: PathBuf::from("/dev/null"), ..Environment::default() })
    }

    /// [`Settings::load`] with the `sources.yaml` of these folders of the catalog, a later one over an earlier one and all over the
    /// embedded one. What this machine says goes before them.
    pub fn load_with(environment: &Environment, catalogs: &[PathBuf]) -> Result<Self, Error> {
        let mut sources = Sources::embedded()?;
        for folder in catalogs {
            sources.overlay(&folder.join("sources.yaml"))?;
        }
        let config = Config::load(environment)?;
        let indexes = indexes::Indexes::load(environment, &config, &sources)?;
        let apt = apt::mirrors(environment)?;
        let mut archives = BTreeMap::new();
        for (name, archive) in sources.archives {
            let variable = format!("IMGFORGE_{}_MIRROR", indexes::variable_key(&name));
            let root = variable_root(environment, &variable)?;
            let root = root.or_else(|| config.archives.get(&name).cloned()).or_else(|| apt.get(&name).cloned());
            let root = root.unwrap_or(Root { url: archive.url, credentials: None });
            let location = ArchiveLocation {
                name: name.clone(),
                url: root.url,
                credentials: root.credentials,
                distribution: archive.distribution,
                suites: archive.suites,
                components: archive.components,
                architectures: archive.architectures,
            };
            archives.insert(name, location);
        }
        let mut snapshots = BTreeMap::new();
        for (distribution, snapshot) in sources.snapshots {
            let variable = format!("IMGFORGE_{}_SNAPSHOT", indexes::variable_key(&distribution));
            let root = variable_root(environment, &variable)?;
            let root = root.or_else(|| config.archives.get(&format!("{distribution}-snapshot")).cloned());
            let root = root.map_or_else(|| snapshot.url.clone(), |root| root.url);
            snapshots.insert(distribution, SnapshotLocation::new(&root, &snapshot));
        }
        Ok(Self {
            ca_files: ca_files(environment, &config)?,
            certificate_folders: registries::certificate_folders(environment),
            client_key_password: environment
                .variable("IMGFORGE_CLIENT_KEY_PASSWORD")
                .map(|text| KeyPassword(text.to_owned())),
            folder: PathBuf::new(),
            indexes,
            archives,
            snapshots,
            registries: registries::Registries::load(environment, &config, &sources.registries)?,
        })
    }

    /// Where the index of that name lives; `None` if nothing on this machine or in the spec says so.
    pub fn index_url(&self, name: &str) -> Option<IndexLocation> {
        self.indexes.location(name)
    }

    /// Adds an index of a spec. A setting of the machine for the same name goes before it.
    pub fn with_extra(&mut self, name: &str, url: &Url) -> Result<(), Error> {
        self.indexes
            .add(name, url)
            .map_err(|cause| Error::Address { setting: format!("the index `{name}` of the spec"), cause })
    }

    /// Credentials for a request that belongs to `index`: the index's own for its own host, else what netrc has for the
    /// other host.
    pub fn index_credentials(&self, index: &IndexLocation, url: &Url) -> Option<Credentials> {
        if url.origin() == index.url.origin() { index.credentials.clone() } else { self.indexes.host_credentials(url) }
    }

    /// Where a Debian archive lives: `debian`, `debian-security`.
    pub fn archive(&self, name: &str) -> Option<&ArchiveLocation> {
        self.archives.get(name)
    }

    /// All archives of Debian packages, by name.
    pub fn archives(&self) -> impl Iterator<Item = &ArchiveLocation> {
        self.archives.values()
    }

    /// The service that keeps superseded packages of a distribution, `debian` or `ubuntu`.
    pub fn snapshot(&self, distribution: &str) -> Option<&SnapshotLocation> {
        self.snapshots.get(distribution)
    }

    /// Names of the registries about which there is a setting or a fact.
    pub fn registry_names(&self) -> impl Iterator<Item = &str> {
        self.registries.names()
    }

    /// Hosts that the settings allow to be spoken to without TLS.
    pub fn insecure_registries(&self) -> impl Iterator<Item = &str> {
        self.registries.insecure()
    }

    /// Certificates that the settings name for hosts, by `host[:port]`.
    pub fn registry_certificates(&self) -> &BTreeMap<String, HostCertificates> {
        self.registries.hosts()
    }

    /// Where images of the registry of that name are asked for.
    pub fn registry(&self, name: &str) -> RegistryLocation {
        self.registries.location(name)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("ca_files", &self.ca_files)
            .field("archives", &self.archives)
            .field("registries", &self.registries)
            .finish_non_exhaustive()
    }
}

/// Folders of the catalog's overlays that `imgforge/config.toml` lists as `catalog`, last one on top; if it lists none, the
/// user's own, [`user_catalog`], where there is one. Reads that file alone: most commands need no other setting.
pub fn catalog_folders(environment: &Environment) -> Result<Vec<PathBuf>, Error> {
    let config = Config::load(environment)?;
    let own = || user_catalog(environment).filter(|folder| folder.is_dir());
    Ok(config.catalogs.unwrap_or_else(|| own().into_iter().collect()))
}

/// The folder for the user's own facts, beside the settings file; it need not exist.
pub fn user_catalog(environment: &Environment) -> Option<PathBuf> {
    environment.config_home().map(|folder| folder.join("imgforge/catalog"))
}

/// A variable that holds a service's root.
fn variable_root(environment: &Environment, name: &str) -> Result<Option<Root>, Error> {
    let text = environment.variable(name);
    text.map(|text| {
        Root::parse(text).map_err(|cause| Error::Address { setting: format!("the variable `{name}`"), cause })
    })
    .transpose()
}

/// `IMGFORGE_CA_FILE`, the files of the configuration, and pip's, unless the TLS library reads that one anyway.
fn ca_files(environment: &Environment, config: &Config) -> Result<Vec<PathBuf>, Error> {
    let mut files: Vec<PathBuf> = environment.variable("IMGFORGE_CA_FILE").map(PathBuf::from).into_iter().collect();
    files.extend(config.ca_files.iter().cloned());
    let known = environment.variable("SSL_CERT_FILE").map(PathBuf::from);
    files.extend(pip::certificate(environment)?.filter(|file| Some(file) != known.as_ref()));
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    Ok(files)
}

#[cfg(test)]
mod tests;
