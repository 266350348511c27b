//! Package indexes by name.
//!
//! An index's address is looked for in this order: the variable `IMGFORGE_INDEX_<NAME>_URL`, `[indexes]` of
//! `imgforge/config.toml`, the spec, and for `default` uv, pip and the embedded default. A name `pytorch-cu121` that
//! nobody set is a build of the family `pytorch`, below the family's root.

use std::collections::BTreeMap;

use url::Url;

use super::config::Config;
use super::location::Root;
use super::netrc::Netrc;
use super::sources::{IndexFamily, Sources};
use super::{Credentials, Environment, Error, IndexLocation, pip, uv, variable_root};

/// The name of the index that a requirement comes from unless something else is said.
pub const DEFAULT_INDEX: &str = "default";

/// Everything that decides where an index is.
pub(super) struct Indexes {
    /// By variable key: `MY_INDEX`.
    overrides: BTreeMap<String, Root>,
    /// User names and passwords of variables, by variable key.
    credentials: BTreeMap<String, Credentials>,
    /// By name: settings files, the resolved default.
    roots: BTreeMap<String, Root>,
    /// By name: the spec's.
    extras: BTreeMap<String, Root>,
    /// By family name: root and rule.
    families: BTreeMap<String, (Root, IndexFamily)>,
    netrc: Netrc,
}

impl Indexes {
    pub(super) fn load(environment: &Environment, config: &Config, sources: &Sources) -> Result<Self, Error> {
        let mut overrides = BTreeMap::new();
        for name in environment.variables.keys() {
            let key = name.strip_prefix("IMGFORGE_INDEX_").and_then(|rest| rest.strip_suffix("_URL"));
            if let Some(key) = key
                && let Some(root) = variable_root(environment, name)?
            {
                overrides.insert(key.to_owned(), root);
            }
        }
        let mut roots = config.indexes.clone();
        if let Some(root) = variable_root(environment, "IMGFORGE_INDEX_URL")? {
            roots.insert(DEFAULT_INDEX.to_owned(), root);
        } else if !roots.contains_key(DEFAULT_INDEX)
            && let Some(root) = foreign_default(environment)?
        {
            roots.insert(DEFAULT_INDEX.to_owned(), root);
        }
        for (name, address) in &sources.indexes {
            roots.entry(name.clone()).or_insert_with(|| Root { url: address.url.clone(), credentials: None });
        }
        let mut families = BTreeMap::new();
        for (name, family) in &sources.index_families {
            let variable = format!("IMGFORGE_{}_INDEX_URL", variable_key(name));
            let root = match variable_root(environment, &variable)? {
                Some(root) => root,
                None => match config.indexes.get(name) {
                    Some(root) => root.clone(),
                    None => Root { url: family.url.clone(), credentials: None },
                },
            };
            families.insert(name.clone(), (root, family.clone()));
        }
        Ok(Self {
            overrides,
            credentials: variable_credentials(environment),
            roots,
            extras: BTreeMap::new(),
            families,
            netrc: Netrc::load(environment)?,
        })
    }

    pub(super) fn add(&mut self, name: &str, url: &Url) -> Result<(), String> {
        self.extras.insert(name.to_owned(), Root::parse(url.as_str())?);
        Ok(())
    }

    pub(super) fn location(&self, name: &str) -> Option<IndexLocation> {
        let key = variable_key(name);
        let named = self.overrides.get(&key).or_else(|| self.roots.get(name)).or_else(|| self.extras.get(name));
        let (root, absent_statuses) = match named {
            Some(root) => (root.clone(), Vec::new()),
            None => self.build_of_family(name)?,
        };
        let host = root.url.host_str().unwrap_or_default();
        let credentials = self.credentials.get(&key).cloned();
        let credentials = credentials.or(root.credentials).or_else(|| self.netrc.credentials(host));
        Some(IndexLocation { name: name.to_owned(), url: root.url, credentials, absent_statuses })
    }

    /// Credentials of the user's netrc for a host that is not the index's own.
    pub(super) fn host_credentials(&self, url: &Url) -> Option<Credentials> {
        self.netrc.credentials(url.host_str()?)
    }

    fn build_of_family(&self, name: &str) -> Option<(Root, Vec<u16>)> {
        self.families.iter().find_map(|(family_name, (root, family))| {
            let build = name.strip_prefix(family_name.as_str())?.strip_prefix('-')?;
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
            if build.is_empty() || build.starts_with('.') || !build.bytes().all(is_plain) {
                return None;
            }
            let url = root.url.join(&family.build.replace("{build}", build)).ok()?;
            Some((Root { url, credentials: root.credentials.clone() }, family.absent_statuses.clone()))
        })
    }
}

/// The default index of uv, else of pip.
fn foreign_default(environment: &Environment) -> Result<Option<Root>, Error> {
    let (text, setting) = match uv::index_url(environment)? {
        Some(text) => (Some(text), "uv's default index"),
        None => (pip::index_url(environment)?, "pip's `index-url`"),
    };
    text.map(|text| Root::parse(&text).map_err(|cause| Error::Address { setting: setting.to_owned(), cause }))
        .transpose()
}

/// `IMGFORGE_INDEX_<NAME>_USERNAME` and `_PASSWORD`, then uv's variables of the same form.
fn variable_credentials(environment: &Environment) -> BTreeMap<String, Credentials> {
    let mut credentials = BTreeMap::new();
    for prefix in ["IMGFORGE_INDEX_", "UV_INDEX_"] {
        for name in environment.variables.keys() {
            let Some(rest) = name.strip_prefix(prefix) else { continue };
            let Some(key) = rest.strip_suffix("_USERNAME").or_else(|| rest.strip_suffix("_PASSWORD")) else { continue };
            let username = environment.variable(&format!("{prefix}{key}_USERNAME")).unwrap_or_default().to_owned();
            let password = environment.variable(&format!("{prefix}{key}_PASSWORD")).map(str::to_owned);
            if !username.is_empty() || password.is_some() {
                credentials.entry(key.to_owned()).or_insert_with(|| Credentials::new(username, password));
            }
        }
    }
    credentials
}

/// The form that an index's name has inside a variable's name: `my-index` becomes `MY_INDEX`.
pub(super) fn variable_key(name: &str) -> String {
    name.chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' })
        .collect()
}
