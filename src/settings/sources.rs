//! The default addresses, `catalog/sources.yaml`, embedded.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use super::Error;

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
    #[serde(rename = "source")]
    _source: Url,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct IndexFamily {
    pub(super) url: Url,
    /// Path below the root; `{build}` stands for the build's name.
    pub(super) build: String,
    #[serde(default)]
    pub(super) absent_statuses: Vec<u16>,
    #[serde(rename = "source")]
    _source: Url,
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
    #[serde(rename = "source")]
    _source: Url,
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
    #[serde(rename = "source")]
    _source: Url,
}

impl Sources {
    pub(super) fn embedded() -> Result<Self, Error> {
        serde_saphyr::from_str(TEXT).map_err(|error| Error::Sources { cause: error.to_string() })
    }
}
