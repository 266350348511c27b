//! The HTTP client for a host: most share one, and hosts with authorities or client certificates of their own have their own.
//!
//! What imgforge's settings say of a host goes before the folders of Docker and of Podman, which have a folder per host: each
//! `*.crt` in it is an authority, each `*.cert` a client's certificate with its `*.key` beside it. The first folder that
//! knows the host counts. <https://docs.docker.com/engine/security/certificates/>, containers-certs.d(5).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use url::Url;

use super::Config;
use crate::http::{self, ClientCertificate, KeyPassword};

/// What the settings say of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostTls {
    /// Authorities that are trusted there beside the system's, PEM files.
    pub ca_files: Vec<PathBuf>,
    /// Certificate and key to show there, PEM files.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// One client for each host that needs its own.
#[derive(Debug)]
pub(super) struct Clients {
    common: http::Client,
    hosts: BTreeMap<String, HostTls>,
    folders: Vec<PathBuf>,
    password: Option<KeyPassword>,
    made: Mutex<HashMap<String, http::Client>>,
}

impl Clients {
    pub(super) fn new(common: http::Client, config: &Config) -> Self {
        Self {
            common,
            hosts: config.tls.clone(),
            folders: config.certificate_folders.clone(),
            password: config.client_key_password.clone(),
            made: Mutex::default(),
        }
    }

    /// The client that the others come from.
    pub(super) fn common(&self) -> &http::Client {
        &self.common
    }

    /// The client for an address.
    pub(super) fn for_url(&self, url: &Url) -> Result<http::Client, http::Error> {
        let Some(host) = url.host_str().filter(|_| url.scheme() == "https" && !self.common.is_offline()) else {
            return Ok(self.common.clone());
        };
        let port = url.port_or_known_default().unwrap_or(443);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{host}:{port}");
        if let Some(client) = made.get(&key) {
            return Ok(client.clone());
        }
        // A reference to port 443 need not name it, and then neither do the settings.
        let names = if url.port().is_none() { vec![host.to_owned(), key.clone()] } else { vec![key.clone()] };
        let client = match self.look_up(&names)? {
            None => self.common.clone(),
            Some(HostTls { ca_files, client }) => {
                let client = client.map(|(certificate, key)| ClientCertificate {
                    certificate,
                    key,
                    password: self.password.clone(),
                });
                self.common.for_host(&ca_files, client.as_ref())?
            }
        };
        made.insert(key, client.clone());
        Ok(client)
    }

    fn look_up(&self, names: &[String]) -> Result<Option<HostTls>, http::Error> {
        if let Some(own) = names.iter().find_map(|name| self.hosts.get(name)) {
            return Ok(Some(own.clone()));
        }
        for folder in &self.folders {
            for name in names {
                if let Some(found) = read_folder(&folder.join(name))? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

/// What a host's folder holds; `None` if there is none.
fn read_folder(folder: &Path) -> Result<Option<HostTls>, http::Error> {
    let failed = |cause: String| http::Error::Certificate { path: folder.to_owned(), cause };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(|error| failed(error.to_string()))?.path());
    }
    files.sort();
    let of = |extension: &str| {
        let extension = extension.to_owned();
        files.iter().filter(move |file| file.extension().is_some_and(|found| *found == *extension))
    };
    let alone = |file: &Path, what: &str, partner: &Path| http::Error::Certificate {
        path: file.to_owned(),
        cause: format!("there is no {what} beside it: expected `{}`", partner.display()),
    };
    let mut client = None;
    for certificate in of("cert") {
        let key = certificate.with_extension("key");
        if !files.contains(&key) {
            return Err(alone(certificate, "key", &key));
        }
        client = client.or(Some((certificate.clone(), key)));
    }
    for key in of("key") {
        let certificate = key.with_extension("cert");
        if !files.contains(&certificate) {
            return Err(alone(key, "client certificate", &certificate));
        }
    }
    Ok(Some(HostTls { ca_files: of("crt").cloned().collect(), client }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().join("registry.test:5000");
        fs::create_dir(&folder).expect("a folder");
        for file in files {
            fs::write(folder.join(file), "").expect("a file");
        }
        (root, folder)
    }

    #[test]
    fn a_folder_holds_authorities_and_a_pair() {
        let (root, at) =
            folder(&["b.crt", "a.crt", "client.cert", "client.key", "notes.txt", "second.cert", "second.key"]);
        let expected = HostTls {
            ca_files: vec![at.join("a.crt"), at.join("b.crt")],
            client: Some((at.join("client.cert"), at.join("client.key"))),
        };
        assert_eq!(read_folder(&at).expect("readable"), Some(expected));
        assert_eq!(read_folder(&root.path().join("elsewhere")).expect("readable"), None);
    }

    #[test]
    fn half_a_pair_is_named_with_its_missing_half() {
        for (there, missing, what) in [("client.cert", "client.key", "key"), ("x.key", "x.cert", "client certificate")]
        {
            let (_root, at) = folder(&[there]);
            let error = read_folder(&at).expect_err("half a pair");
            let (there, missing) = (at.join(there), at.join(missing));
            let expected = format!(
                "certificate file `{}`: there is no {what} beside it: expected `{}`",
                there.display(),
                missing.display()
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_settings_go_before_the_folders_and_the_port_counts() {
        let (root, at) = folder(&["ca.crt"]);
        let own = HostTls { ca_files: vec!["/own.pem".into()], client: None };
        let config = Config {
            tls: BTreeMap::from([("registry.test".into(), own.clone())]),
            certificate_folders: vec!["/nonexistent".into(), root.path().to_owned()],
            ..Config::default()
        };
        let clients = Clients::new(http::Client::new(&http::Options::default()).expect("a client"), &config);
        let look_up = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            clients.look_up(&names).expect("readable")
        };
        assert_eq!(look_up(&["registry.test", "registry.test:443"]), Some(own));
        let found = HostTls { ca_files: vec![at.join("ca.crt")], client: None };
        assert_eq!(look_up(&["registry.test:5000"]), Some(found));
        assert_eq!(look_up(&["registry.test:5001"]), None);
    }
}
