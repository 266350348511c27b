//! Addresses of services, with credentials apart so that an address can be shown.

use std::fmt;

use url::Url;

use super::sources::Snapshot;

/// A user name and maybe a password. Neither is ever printed: tokens stand in either place.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name; empty if only a password was given.
    pub username: String,
    password: Option<String>,
}

impl Credentials {
    /// Credentials for basic authentication.
    pub fn new(username: String, password: Option<String>) -> Self {
        Self { username, password }
    }
    /// The secret, for the request's header and for nothing else.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// A service's root: what requests are joined to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    /// Ends in `/`, has neither credentials nor query.
    pub(super) url: Url,
    /// What stood before the `@`.
    pub(super) credentials: Option<Credentials>,
}

impl Root {
    /// Reads an address. The error is the end of a sentence and holds no secret.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text.trim()).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("it starts with `{}:`, not `https:` or `http:`", url.scheme()));
        }
        let credentials = take_credentials(&mut url);
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { url, credentials })
    }
}

fn take_credentials(url: &mut Url) -> Option<Credentials> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| {
        // A form's decoding knows `+` as a blank; in the user part of a URL it is itself.
        let pair = format!("x={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let credentials = Credentials::new(decode(url.username()), url.password().map(decode));
    // Neither can fail: the scheme is http or https, which have a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(credentials)
}

/// Where a package index lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexLocation {
    /// Name in specs and locks.
    pub name: String,
    /// Root of the simple API, ends in `/`, without credentials.
    pub url: Url,
    /// For requests to the root's own host.
    pub credentials: Option<Credentials>,
    /// Statuses besides 404 and 410 that this index answers for a project it does not have.
    pub absent_statuses: Vec<u16>,
}

/// Where an archive of Debian packages lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLocation {
    /// Name in locks: `debian`, `debian-security`.
    pub name: String,
    /// `debian` or `ubuntu`, as `ID` of os-release(5).
    pub distribution: String,
    /// Components to read: `main`.
    pub components: Vec<String>,
    /// Root, the folder of `dists` and `pool`; ends in `/`, without credentials.
    pub url: Url,
    /// For requests to the root's own host.
    pub credentials: Option<Credentials>,
    /// Patterns of suites; `SUITE` stands for the release's name.
    pub(super) suites: Vec<String>,
    /// Debian's names of architectures; none means all.
    pub(super) architectures: Vec<String>,
}

/// Where a distribution's archives are as they were on other days: patterns of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotLocation {
    /// A file, with `{archive}`, `{moment}` and `{path}`.
    pub dated: String,
    /// A list of a package's files, with `{package}` and `{version}`.
    pub list: Option<String>,
    /// A file of that list, with `{hash}`.
    pub file: Option<String>,
}

impl ArchiveLocation {
    /// Whether it has packages for an architecture, `amd64` or `arm64`.
    pub fn has(&self, architecture: &str) -> bool {
        self.architectures.is_empty() || self.architectures.iter().any(|name| name == architecture)
    }

    /// Suites of this archive that belong to a release: `bookworm`, `bookworm-updates`.
    pub fn suites(&self, release: &str) -> Vec<String> {
        self.suites.iter().map(|pattern| pattern.replace("SUITE", release)).collect()
    }
}

impl SnapshotLocation {
    /// The service of a root with the known patterns below it. A root that has a name in braces is a pattern of its own:
    /// a mirror of one day's state, `https://mirror.example/2026-11-22/{archive}/`, or a service with other addresses.
    pub(super) fn new(root: &Url, known: &Snapshot) -> Self {
        // Braces are percent-encoded once a text is a URL.
        let text = root.as_str().replace("%7B", "{").replace("%7D", "}");
        let below = |pattern: &String| format!("{text}{pattern}");
        if text.contains('{') {
            let dated = match text.contains("{path}") {
                // The slash that every root gets.
                true => text.trim_end_matches('/').to_owned(),
                false => text + "{path}",
            };
            return Self { dated, list: None, file: None };
        }
        Self { dated: below(&known.dated), list: known.list.as_ref().map(below), file: known.file.as_ref().map(below) }
    }
}

/// Where a registry's images are asked for, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLocation {
    /// Name in image references, aliases resolved.
    pub name: String,
    /// Mirrors of the settings, then the registry itself; at least one.
    pub hosts: Vec<RegistryHost>,
}

/// One host that serves a registry's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryHost {
    /// Host with its port if it has one.
    pub host: String,
    /// What stands before every repository there, without slashes at the ends; empty for most.
    pub prefix: String,
    /// Whether plain HTTP may be spoken: loopback, or named by the settings.
    pub plain_http: bool,
}
