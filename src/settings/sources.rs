//! The default addresses: `catalog/sources.yaml`, embedded, and files of the same name in overlays of the catalog.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use url::Url;

use super::Error;
use super::environment::read_file;
use super::location::Root;
use crate::diagnostic::Origin;

const TEXT: &str = include_str!("../../catalog/sources.yaml");

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Sources {
    pub(super) indexes: BTreeMap<String, Address>,
    pub(super) index_families: BTreeMap<String, IndexFamily>,
    pub(super) archives: BTreeMap<String, Archive>,
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    pub(super) registries: BTreeMap<String, Registry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    pub(super) url: Url,
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct IndexFamily {
    pub(super) url: Url,
    /// Path below the root; `{build}` stands for the build's name.
    pub(super) build: String,
    #[serde(default)]
    pub(super) absent_statuses: Vec<u16>,
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Archive {
    pub(super) url: Url,
    pub(super) distribution: String,
    pub(super) suites: Vec<String>,
    pub(super) components: Vec<String>,
    /// Debian's names; none means all.
    #[serde(default)]
    pub(super) architectures: Vec<String>,
    #[serde(default, rename = "source")]
    _source: String,
}

/// Patterns below a root, with names in braces for what differs from file to file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    pub(super) url: Url,
    pub(super) dated: String,
    pub(super) list: Option<String>,
    pub(super) file: Option<String>,
    #[serde(rename = "source")]
    _source: Url,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    pub(super) host: String,
    pub(super) aliases: Vec<String>,
    #[serde(default, rename = "source")]
    _source: String,
}

/// An overlay's file: the places where its frameworks' builds are.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Overlay {
    indexes: BTreeMap<String, Address>,
    index_families: BTreeMap<String, IndexFamily>,
}

impl Sources {
    /// Lays an overlay's file over what is known; a folder without one changes nothing.
    pub(super) fn overlay(&mut self, path: &Path) -> Result<(), Error> {
        let Some(text) = read_file(path)? else { return Ok(()) };
        let overlay: Overlay = serde_saphyr::from_str(&text).map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
            let cause = error.without_snippet().to_string();
            // The place is printed with the file's line, not in the message.
            let cause = cause.strip_suffix(&format!(" at line {line}, column {column}")).unwrap_or(&cause).to_owned();
            Error::Overlay { cause, origin: Origin::at(path, &text, line, column) }
        })?;
        for (name, mut address) in overlay.indexes {
            address.url = shared_root(&address.url, &name, path)?;
            self.indexes.insert(name, address);
        }
        for (name, mut family) in overlay.index_families {
            family.url = shared_root(&family.url, &name, path)?;
            self.index_families.insert(name, family);
        }
        Ok(())
    }

    pub(super) fn embedded() -> Result<Self, Error> {
        serde_saphyr::from_str(TEXT).map_err(|error| Error::Sources { cause: error.to_string() })
    }
}

/// An address for everybody who has the folder, so one without a secret.
fn shared_root(url: &Url, name: &str, path: &Path) -> Result<Url, Error> {
    let failed = |cause| Error::Address { setting: format!("the index `{name}` of `{}`", path.display()), cause };
    let root = Root::parse(url.as_str()).map_err(failed)?;
    match root.credentials {
        None => Ok(root.url),
        Some(_) => Err(failed("it holds credentials, which belong in netrc or in variables".to_owned())),
    }
}
