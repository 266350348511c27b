//! Client of the OCI distribution protocol: pull by digest, and a push that survives what registries and networks do.
//!
//! One [`Registries`] serves every host. Reading goes through the mirrors of the settings and ends at the registry itself;
//! writing goes to the registry alone. Tokens, credentials and what was learnt about a host live as long as the value and are
//! shared by its clones. Protocol: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>, tokens:
//! <https://distribution.github.io/distribution/spec/auth/token/>.
//!
//! `challenge` reads `WWW-Authenticate`, `credentials` finds user names, `auth` turns both into headers, `client` asks and
//! reads, `pages` reads lists, `blob` reads bytes, `upload` writes them, `stream` does while they are being made,
//! `known` remembers where they are, `referrers` attaches; `tls` knows whom to trust where.

mod auth;
mod blob;
mod challenge;
mod client;
mod credentials;
mod error;
mod known;
#[cfg(test)]
mod misbehaving;
mod pages;
mod referrers;
mod session;
mod stream;
mod tags;
mod tls;
mod upload;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use url::Url;

use crate::http;
use crate::oci::{Digest, Reference};

pub use blob::BlobReader;
pub use client::Manifest;
pub use error::{ApiError, Error};
pub use referrers::Referrer;
pub use stream::BlobStream;
pub use tls::HostTls;
pub use upload::{Blob, BlobOutcome, BlobSource, BytesSource, FileSource, Meter, RemoteSource};

/// Largest manifest or index that is read, in bytes: the size every registry must accept.
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// Slowest upload that is not given up, in bytes a second; one that is given up is resumed where it was.
const SLOWEST_UPLOAD: u64 = 32 << 10;

/// What the machine's settings say about registries.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where to read before asking the registry itself: registry name to `host[:port][/prefix]`, best first.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Hosts (`host[:port]`) that may be spoken to without TLS. Loopback addresses always may.
    pub insecure: BTreeSet<String>,
    /// Registries whose name is not their address.
    pub aliases: BTreeMap<String, Alias>,
    /// Folder of Docker's `config.json`; absent means `$DOCKER_CONFIG`, then `~/.docker`, then Podman's `auth.json`.
    pub docker_config: Option<PathBuf>,
    /// Authorities and client certificates of hosts (`host[:port]`) that need other ones than the system's.
    pub tls: BTreeMap<String, HostTls>,
    /// Where Docker and Podman keep them, in a folder per host; the first that has the host counts.
    pub certificate_folders: Vec<PathBuf>,
    /// What opens the keys of client certificates that are encrypted.
    pub client_key_password: Option<http::KeyPassword>,
    /// Upload in pieces of this many bytes; absent means one request per blob, and pieces only where a registry refuses that.
    pub upload_chunk: Option<u64>,
}

/// The address behind a registry's name, as Docker Hub has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Host that answers the protocol.
    pub api_host: String,
    /// Key under which credentials are stored, if it is not the name.
    pub credential_key: Option<String>,
}

/// The client; clones share connections, tokens and credentials.
#[derive(Debug, Clone)]
pub struct Registries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    clients: Arc<tls::Clients>,
    auth: auth::Authenticator,
    schemes: Mutex<HashMap<String, &'static str>>,
    known: known::KnownBlobs,
}

/// A repository at the host that is asked for it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Registry or mirror as references and messages name it; the key of its credentials.
    pub(crate) registry: String,
    /// Repository there, mirror prefix included.
    pub(crate) repository: String,
    /// `https://host/v2/`.
    base: Url,
}

impl Endpoint {
    /// An answer that the protocol does not allow, as an error.
    fn protocol(&self, operation: &'static str, problem: String) -> Error {
        let (registry, repository) = (self.registry.clone(), self.repository.clone());
        Error::Protocol { operation, registry, repository, problem }
    }

    /// A page for people where the registry should have answered, as an error.
    fn page(&self, operation: &'static str) -> Error {
        Error::Page { operation, registry: self.registry.clone(), repository: self.repository.clone() }
    }

    /// Bytes that are not those that were named, as an error.
    fn wrong_digest(&self, what: &'static str, expected: Digest, found: Digest) -> Error {
        let (registry, repository) = (self.registry.clone(), self.repository.clone());
        Error::WrongDigest { what, registry, repository, expected, found }
    }

    /// Address of a resource below the repository.
    fn url(&self, operation: &'static str, rest: &str) -> Result<Url, Error> {
        let joined = self.base.join(&format!("{}/{rest}", self.repository));
        joined.map_err(|cause| self.protocol(operation, format!("`{rest}` makes no address ({cause})")))
    }

    /// Whether `url` is the registry's own, so that it may see its credentials.
    fn owns(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }

    /// Whether the connection is encrypted.
    fn is_encrypted(&self) -> bool {
        self.base.scheme() == "https"
    }
}

impl Registries {
    /// A client for the hosts of `config`. Nothing is asked before it is needed.
    pub fn new(http: http::Client, config: Config) -> Self {
        let clients = Arc::new(tls::Clients::new(http, &config));
        let auth = auth::Authenticator::new(Arc::clone(&clients), credentials::Credentials::new(&config));
        let (schemes, known) = (Mutex::default(), known::KnownBlobs::default());
        Self { shared: Arc::new(Shared { config, clients, auth, schemes, known }) }
    }

    /// Repositories of `registry` that hold what `reference` names: its own, and those that mirror it there. Blobs can be
    /// mounted from them.
    pub fn repositories_at(&self, registry: &str, reference: &Reference) -> Vec<String> {
        let own = (reference.registry() == registry).then(|| reference.repository().to_owned());
        let mirrors = self.mirrors(reference).filter(|(host, _)| *host == registry);
        own.into_iter().chain(mirrors.map(|(_, repository)| repository)).collect()
    }

    /// Host and repository of each mirror, best first.
    fn mirrors<'a>(&'a self, reference: &'a Reference) -> impl Iterator<Item = (&'a str, String)> {
        self.shared.config.mirrors.get(reference.registry()).into_iter().flatten().map(|mirror| {
            let (host, prefix) = mirror.split_once('/').unwrap_or((mirror, ""));
            let repository = match prefix.trim_matches('/') {
                "" => reference.repository().to_owned(),
                prefix => format!("{prefix}/{}", reference.repository()),
            };
            (host, repository)
        })
    }

    /// The registry itself: the only place that is written to.
    pub(crate) fn home(&self, reference: &Reference) -> Result<Endpoint, Error> {
        let name = reference.registry();
        let host = self.shared.config.aliases.get(name).map_or(name, |alias| alias.api_host.as_str());
        self.endpoint(name, host, reference.repository().to_owned())
    }

    /// Asks the mirrors, best first, then the registry itself, until one gives an answer.
    pub(crate) fn first_answer<T>(
        &self,
        reference: &Reference,
        ask: impl Fn(&Endpoint) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut failures = Vec::new();
        for (host, repository) in self.mirrors(reference) {
            match self.endpoint(host, host, repository).and_then(|endpoint| ask(&endpoint)) {
                Err(error) if error.is_remote() => failures.push(error),
                outcome => return outcome,
            }
        }
        match self.home(reference).and_then(|endpoint| ask(&endpoint)) {
            Err(error) if error.is_remote() && !failures.is_empty() => {
                failures.push(error);
                Err(Error::Nowhere { reference: reference.to_string(), failures })
            }
            outcome => outcome,
        }
    }

    fn endpoint(&self, registry: &str, host: &str, repository: String) -> Result<Endpoint, Error> {
        let scheme = self.scheme(host);
        let base = Url::parse(&format!("{scheme}://{host}/v2/"));
        match base {
            Ok(base) if base.host_str().is_some() && base.username().is_empty() && base.path() == "/v2/" => {
                Ok(Endpoint { registry: registry.to_owned(), repository, base })
            }
            _ => Err(Error::BadHost { host: host.to_owned() }),
        }
    }

    /// `https`, unless the host may go without it and answers plain http. One question without credentials finds out: a TLS
    /// server answers it with 400 or not at all.
    fn scheme(&self, host: &str) -> &'static str {
        let common = self.shared.clients.common();
        if !is_loopback(host) && !self.shared.config.insecure.contains(host) || common.is_offline() {
            return "https";
        }
        let lock = || self.shared.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scheme) = lock().get(host) {
            return scheme;
        }
        let Ok(client) = common.raw() else { return "https" };
        let probe = client.get(format!("http://{host}/v2/")).timeout(Duration::from_secs(10)).send();
        let scheme = match probe {
            Ok(answer) if answer.status() != StatusCode::BAD_REQUEST && answer.url().scheme() == "http" => "http",
            // Nobody is there yet: that says nothing about who will be.
            Err(error) if error.is_connect() => return "https",
            _ => "https",
        };
        lock().insert(host.to_owned(), scheme);
        scheme
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Time-out of an upload of `bytes`, the wait for its answer included: a registry may look at all of it first.
fn upload_timeout(bytes: u64) -> Duration {
    Duration::from_mins(1) + Duration::from_secs(bytes / SLOWEST_UPLOAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_or_the_name_localhost() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.0.1", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1:5000", "example.com", "127.example.com:80", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_alias_gives_the_address_and_keeps_the_name() {
        let alias = Alias { api_host: "api.hub.test".into(), credential_key: None };
        let config = Config { aliases: BTreeMap::from([("docker.io".into(), alias)]), ..Config::default() };
        let registries = Registries::new(http::Client::new(&http::Options::default()).expect("a client"), config);
        let reference: Reference = "postgres:16".parse().expect("a reference");
        let endpoint = registries.home(&reference).expect("an endpoint");
        assert_eq!(endpoint.registry, "docker.io");
        assert_eq!(
            endpoint.url("read", "manifests/16").expect("a URL").as_str(),
            "https://api.hub.test/v2/library/postgres/manifests/16"
        );
    }
}
