//! The outside world as one command sees it: settings, HTTP, cache, package indexes, registries.

use std::sync::Arc;

use crate::diagnostic::Failure;
use crate::http;
use crate::index::{self, IndexClient};
use crate::packaging::{Metadata, Project, ProjectFile};
use crate::registry::{self, Registries};
use crate::resolve::{Likely, PackageSource};
use crate::settings::{Environment, RegistryHost, Settings};
use crate::spec::{FilePin, Spec};
use crate::store::Store;

use super::Context;

/// Clients that share one set of settings, connections and one cache.
pub(crate) struct Outside {
    /// This machine's settings, with the spec's indexes.
    pub(crate) settings: Arc<Settings>,
    /// HTTP.
    pub(crate) http: http::Client,
    /// The cache.
    pub(crate) store: Store,
    /// Package indexes.
    pub(crate) index: IndexClient,
    /// Registries.
    pub(crate) registries: Registries,
}

impl Outside {
    /// Clients for a spec.
    pub(crate) fn new(context: &Context, spec: &Spec) -> Result<Self, Failure> {
        Self::with(context, |settings| {
            settings.folder.clone_from(&spec.folder);
            for index in &spec.indexes {
                settings.with_extra(&index.name.value, &index.url.value)?;
            }
            Ok(())
        })
    }

    /// Clients for a command that has no spec.
    pub(crate) fn without_spec(context: &Context) -> Result<Self, Failure> {
        Self::with(context, |_| Ok(()))
    }

    fn with(context: &Context, extend: impl FnOnce(&mut Settings) -> Result<(), Failure>) -> Result<Self, Failure> {
        let mut settings = Settings::load_with(&Environment::of_process(), &context.catalog_folders()?)?;
        extend(&mut settings)?;
        let options =
            http::Options { ca_files: settings.ca_files.clone(), offline: context.global.offline, stall: None };
        let http = http::Client::new(&options)?;
        let store = Store::open(&Store::default_root());
        store.remove_stale();
        let registries = Registries::new(http.clone(), registry_config(&settings));
        let settings = Arc::new(settings);
        let index = IndexClient::new(http.clone(), store.clone(), Arc::clone(&settings));
        // A lock leaves a hundred thousand small things of pages behind, and the process ends with the command: taking them
        // apart one by one would only keep the user waiting.
        std::mem::forget(index.clone());
        Ok(Self { settings, http, store, index, registries })
    }
}

/// The settings in the registry client's words.
fn registry_config(settings: &Settings) -> registry::Config {
    let mut config = registry::Config::default();
    config.insecure.extend(settings.insecure_registries().map(str::to_owned));
    config.tls = settings
        .registry_certificates()
        .iter()
        .map(|(host, own)| {
            (host.clone(), registry::HostTls { ca_files: own.ca_files.clone(), client: own.client.clone() })
        })
        .collect();
    config.certificate_folders.clone_from(&settings.certificate_folders);
    config.client_key_password.clone_from(&settings.client_key_password);
    for name in settings.registry_names() {
        let location = settings.registry(name);
        let Some((own, mirrors)) = location.hosts.split_last() else { continue };
        let address = |host: &RegistryHost| match host.prefix.is_empty() {
            true => host.host.clone(),
            false => format!("{}/{}", host.host, host.prefix),
        };
        config.mirrors.insert(name.to_owned(), mirrors.iter().map(address).collect());
        config.insecure.extend(location.hosts.iter().filter(|host| host.plain_http).map(|host| host.host.clone()));
        if own.host != name {
            let alias = registry::Alias { api_host: own.host.clone(), credential_key: Some(credential_key(name)) };
            config.aliases.insert(name.to_owned(), alias);
        }
    }
    config
}

/// Docker keeps the credentials of its own registry under an address of the first API version.
fn credential_key(name: &str) -> String {
    format!("https://index.{name}/v1/")
}

impl PackageSource for IndexClient {
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure> {
        Ok(Self::project(self, index, name)?)
    }
    fn wheel(&self, pin: &FilePin) -> Result<ProjectFile, Failure> {
        match &pin.place {
            Some(place) => Ok(Self::placed_wheel(self, place, &pin.digests)?),
            None => Err(index::Error::NotAWheel { file: pin.requirement.to_string() }.into()),
        }
    }
    fn metadata(&self, index: &str, file: &ProjectFile) -> Result<Result<Arc<Metadata>, String>, Failure> {
        match Self::metadata(self, index, file) {
            Ok(metadata) => Ok(Ok(metadata)),
            Err(error) if error.is_fault_of_wheel() => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
    fn prefetch(&self, requests: Vec<(String, String)>) {
        Self::prefetch(self, requests);
    }
    fn prefetch_likely(&self, index: &str, name: &str, likely: Likely) {
        Self::prefetch_likely(self, index, name, likely);
    }
}
