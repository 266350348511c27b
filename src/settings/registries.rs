//! Registries by the name in an image reference: mirrors, API hosts, and which may speak plain HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use super::config::Config;
use super::sources::Registry;
use super::{Environment, Error, RegistryHost, RegistryLocation};

/// Whom to trust at a registry's host, and whom to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostCertificates {
    /// Further certificate authorities, PEM files.
    pub ca_files: Vec<PathBuf>,
    /// A client's certificate and its key, PEM files.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Where Docker and Podman keep certificates, in a folder per registry, as the tools themselves look.
pub(super) fn certificate_folders(environment: &Environment) -> Vec<PathBuf> {
    let own = environment.config_home().into_iter();
    let own = own.flat_map(|folder| ["containers/certs.d", "docker/certs.d"].map(|name| folder.join(name)));
    own.chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(|folder| environment.path(folder))).collect()
}

/// Everything that decides where a registry is.
#[derive(Debug)]
pub(super) struct Registries {
    known: BTreeMap<String, Registry>,
    mirrors: BTreeMap<String, Vec<String>>,
    insecure: BTreeSet<String>,
    hosts: BTreeMap<String, HostCertificates>,
}

impl Registries {
    pub(super) fn load(
        environment: &Environment,
        config: &Config,
        known: &BTreeMap<String, Registry>,
    ) -> Result<Self, Error> {
        let mut mirrors = config.mirrors.clone();
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in list(environment, "IMGFORGE_REGISTRY_MIRRORS") {
            let pair = entry.split_once('=').filter(|(name, host)| !name.is_empty() && !host.is_empty());
            let Some((name, host)) = pair else {
                let entry = entry.to_owned();
                return Err(Error::Variable { name: "IMGFORGE_REGISTRY_MIRRORS", entry, expected: "registry=host" });
            };
            named.entry(name.to_owned()).or_default().push(host.to_owned());
        }
        mirrors.extend(named);
        let insecure = config.insecure.iter().map(String::as_str);
        let insecure = insecure.chain(list(environment, "IMGFORGE_INSECURE_REGISTRIES")).map(str::to_owned).collect();
        Ok(Self { known: known.clone(), mirrors, insecure, hosts: config.hosts.clone() })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let unknown = self.mirrors.keys().filter(|name| !self.known.contains_key(*name));
        self.known.keys().chain(unknown).map(String::as_str)
    }

    pub(super) fn hosts(&self) -> &BTreeMap<String, HostCertificates> {
        &self.hosts
    }

    pub(super) fn insecure(&self) -> impl Iterator<Item = &str> {
        self.insecure.iter().map(String::as_str)
    }

    pub(super) fn location(&self, name: &str) -> RegistryLocation {
        let canonical = self.known.iter().find(|(_, registry)| registry.aliases.iter().any(|alias| alias == name));
        let name = canonical.map_or(name, |(canonical, _)| canonical);
        let own = self.known.get(name).map_or(name, |registry| registry.host.as_str());
        let mirrors = self.mirrors.get(name).map(Vec::as_slice).unwrap_or_default();
        let hosts = mirrors.iter().map(String::as_str).chain([own]).map(|address| self.host(address)).collect();
        RegistryLocation { name: name.to_owned(), hosts }
    }

    /// `http://` before a mirror says what `insecure` would.
    fn host(&self, address: &str) -> RegistryHost {
        let plain = address.strip_prefix("http://");
        let rest = plain.unwrap_or_else(|| address.strip_prefix("https://").unwrap_or(address));
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        RegistryHost {
            host: host.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            plain_http: plain.is_some() || self.insecure.contains(host) || is_loopback(host),
        }
    }
}

/// Entries of a variable, separated by commas.
fn list<'a>(environment: &'a Environment, name: &str) -> impl Iterator<Item = &'a str> {
    environment.variable(name).unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// Whether `host`, with or without a port, is this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or(bracketed),
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
