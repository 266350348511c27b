//! `imgforge/config.toml`: the user's own file, then the machine's.
//!
//! Every key names a place on this machine, so nothing of it belongs in a spec. Unknown keys are errors: a misspelt
//! mirror that is passed over would send requests where they must not go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::environment::read_file;
use super::location::Root;
use super::registries::HostCertificates;
use super::{Environment, Error};
use crate::diagnostic::Origin;

/// One file, or several laid over each other.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct RawConfig {
    index_url: Option<Spanned<String>>,
    pytorch_index_url: Option<Spanned<String>>,
    ca_files: Vec<String>,
    catalog: Option<Vec<String>>,
    indexes: BTreeMap<String, Spanned<String>>,
    archives: RawArchives,
    registry: RawRegistry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct RawArchives {
    debian: Option<Spanned<String>>,
    debian_security: Option<Spanned<String>>,
    ubuntu: Option<Spanned<String>>,
    ubuntu_ports: Option<Spanned<String>>,
    snapshot: Option<Spanned<String>>,
    ubuntu_snapshot: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct RawRegistry {
    insecure: Vec<String>,
    mirrors: BTreeMap<String, Vec<String>>,
    hosts: BTreeMap<String, Spanned<RawHost>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct RawHost {
    ca_files: Vec<String>,
    client_certificate: Option<String>,
    client_key: Option<String>,
}

/// What the files say, checked. The user's file goes before the machine's, key by key.
#[derive(Default)]
pub(super) struct Config {
    /// Roots by index name; `default` and the families' names among them.
    pub(super) indexes: BTreeMap<String, Root>,
    /// Roots by archive name, and of snapshot services by distribution: `debian-snapshot`.
    pub(super) archives: BTreeMap<String, Root>,
    pub(super) ca_files: Vec<PathBuf>,
    /// Folders of the catalog's overlays, last one on top; `None` if no file says.
    pub(super) catalogs: Option<Vec<PathBuf>>,
    pub(super) insecure: Vec<String>,
    pub(super) mirrors: BTreeMap<String, Vec<String>>,
    /// Authorities and client certificates by `host[:port]`.
    pub(super) hosts: BTreeMap<String, HostCertificates>,
}

impl Config {
    pub(super) fn load(environment: &Environment) -> Result<Self, Error> {
        let mut config = Self::default();
        let user = environment.config_home().map(|folder| folder.join("imgforge/config.toml"));
        for path in user.into_iter().chain([environment.path("/etc/imgforge/config.toml")]) {
            if let Some(text) = read_file(&path)? {
                config.add(&text, path, environment)?;
            }
        }
        Ok(config)
    }

    /// Adds what no earlier file has said.
    fn add(&mut self, text: &str, path: PathBuf, environment: &Environment) -> Result<(), Error> {
        let text: Arc<str> = text.into();
        let origin = |span| Origin { path: path.clone(), text: text.clone(), span };
        let raw: RawConfig = toml::from_str(&text).map_err(|error| Error::Config {
            cause: error.message().to_owned(),
            origin: origin(error.span().unwrap_or(0..0)),
        })?;
        let url = |text: Spanned<String>| {
            Root::parse(text.get_ref()).map_err(|cause| Error::Config {
                cause: format!("not the address of a service: {cause}"),
                origin: origin(text.span()),
            })
        };
        let named = [("default", raw.index_url), ("pytorch", raw.pytorch_index_url)];
        let named = named.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
        for (name, text) in named.chain(raw.indexes) {
            self.indexes.entry(name).or_insert(url(text)?);
        }
        for (name, text) in [
            ("debian", raw.archives.debian),
            ("debian-security", raw.archives.debian_security),
            ("ubuntu", raw.archives.ubuntu),
            ("ubuntu-ports", raw.archives.ubuntu_ports),
            ("debian-snapshot", raw.archives.snapshot),
            ("ubuntu-snapshot", raw.archives.ubuntu_snapshot),
        ] {
            if let Some(text) = text {
                self.archives.entry(name.to_owned()).or_insert(url(text)?);
            }
        }
        self.ca_files.extend(raw.ca_files.iter().map(|file| environment.expand(file)));
        if let Some(folders) = raw.catalog {
            // A relative folder is meant from the file that names it.
            let base = path.parent().map(PathBuf::from).unwrap_or_default();
            let folders = folders.iter().map(|folder| base.join(environment.expand(folder)));
            self.catalogs.get_or_insert_with(|| folders.collect());
        }
        self.insecure.extend(raw.registry.insecure);
        for (name, hosts) in raw.registry.mirrors {
            self.mirrors.entry(name).or_insert(hosts);
        }
        for (name, host) in raw.registry.hosts {
            let span = host.span();
            let RawHost { ca_files, client_certificate, client_key } = host.into_inner();
            let expand = |file: &String| environment.expand(file);
            let client = match (&client_certificate, &client_key) {
                (Some(certificate), Some(key)) => Some((expand(certificate), expand(key))),
                (None, None) => None,
                (one, _) => {
                    let (there, missing) = ["client-certificate", "client-key"].into();
                    let (there, missing) = if one.is_some() { (there, missing) } else { (missing, there) };
                    let cause = format!("`{there}` needs `{missing}` beside it");
                    return Err(Error::Config { cause, origin: origin(span) });
                }
            };
            let ca_files = ca_files.iter().map(expand).collect();
            self.hosts.entry(name).or_insert(HostCertificates { ca_files, client });
        }
        Ok(())
    }
}
