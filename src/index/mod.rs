//! Package indexes over HTTP: pages of the simple API, METADATA of wheels, and the wheels themselves.
//!
//! A solver asks for thousands of small things in an order nobody knows beforehand, so each answer is fetched once
//! however many threads ask ([`IndexClient::prefetch`] is one that asks early) and kept in the store: pages with their
//! validators, METADATA for good under the wheel's sha256. What comes out of the store needs no network.
//!
//! METADATA of a wheel comes from the cheapest place that has it: beside the wheel (PEP 658, PEP 714), advertised or
//! not; else from the wheel's end by range requests; else from the whole wheel.

mod body;
mod download;
mod flight;
mod locked;
mod metadata;
mod page;
mod page_form;
mod placed;
mod range;
mod recognise;
mod wheel_archive;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::RequestBuilder;
use url::Url;

use crate::diagnostic::Hint;
use crate::http;
use crate::lock::LockedWheel;
use crate::oci::Digest;
use crate::packaging::{self, Metadata, Project, ProjectFile};
use crate::progress::Progress;
use crate::settings::{IndexLocation, Settings};
use crate::store::{self, Store};
use crate::version::WheelPlace;
use crate::version::wheel_tag::normalize_name;

use flight::{Flights, Job, Workers};

pub use recognise::Doubt;
pub use wheel_archive::ArchiveError;

/// Longest time for one page or METADATA, body included. A body that breaks off or does not come in that time is asked for
/// again with twice the time, for large pages over thin lines.
const PATIENCE: Duration = Duration::from_secs(45);

/// Says which file of a page its asker will probably want METADATA of.
pub type Likely = Box<dyn Fn(&Project) -> Option<ProjectFile> + Send>;

/// The name that locks give to wheels that no index holds.
const DIRECT: &str = "direct";

/// A client of every index that the settings know; clones share it.
#[derive(Clone)]
pub struct IndexClient {
    inner: Arc<Inner>,
}

struct Inner {
    http: http::Client,
    store: Store,
    settings: Arc<Settings>,
    pages: Flights<(String, String), Option<Arc<Project>>>,
    metadata: Flights<String, Arc<Metadata>>,
    without_metadata: metadata::HostsWithout,
    workers: Workers,
    patience: Duration,
}

/// Why an index has no useful answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing says where that index lives.
    #[error("nothing on this machine says where the package index `{index}` lives")]
    UnknownIndex {
        /// Its name.
        index: String,
    },
    /// The index has no project of that name.
    #[error("the index `{index}` has no project `{project}`")]
    NoProject {
        /// Normalised name.
        project: String,
        /// The index's name.
        index: String,
    },
    /// The project's page does not list the file.
    #[error("the index `{index}` has no file `{file}`")]
    NoFile {
        /// File name.
        file: String,
        /// The index's name.
        index: String,
    },
    /// The index has a file of that name with other bytes.
    #[error("the index `{index}` has another `{file}`: {found}, expected {expected}")]
    OtherFile {
        /// File name.
        file: String,
        /// The index's name.
        index: String,
        /// The address that was asked for.
        expected: Digest,
        /// What the page says.
        found: Digest,
    },
    /// The request failed.
    #[error("cannot get {what}{}: {source}", behind(" from", .index))]
    Http {
        /// What was asked for.
        what: String,
        /// The index's name.
        index: String,
        /// Why.
        source: Arc<http::Error>,
    },
    /// The page is of a type that no index serves.
    #[error(
        "the page of `{project}` on the index `{index}` has the type `{found}`, which is no page of the simple API ({url})"
    )]
    ContentType {
        /// Normalised name.
        project: String,
        /// The index's name.
        index: String,
        /// Where, without credentials.
        url: String,
        /// `Content-Type` of the answer.
        found: String,
    },
    /// The answer is HTML or JSON, but not this project's page of an index.
    #[error("the page of `{project}` on the index `{index}` is not one of a package index: {doubt} ({url})")]
    NotIndexPage {
        /// Normalised name.
        project: String,
        /// The index's name.
        index: String,
        /// Where, without credentials.
        url: String,
        /// What speaks against it.
        doubt: Doubt,
    },
    /// The page cannot be read.
    #[error("the page of `{project}` on the index `{index}` cannot be read: {source} ({url})")]
    Page {
        /// Normalised name.
        project: String,
        /// The index's name.
        index: String,
        /// Where, without credentials.
        url: String,
        /// What is wrong.
        source: packaging::Error,
    },
    /// METADATA was asked of a file that is no wheel.
    #[error("`{file}` is not a wheel, and only wheels have METADATA that counts")]
    NotAWheel {
        /// File name.
        file: String,
    },
    /// METADATA cannot be read.
    #[error("METADATA of `{file}` on the index `{index}` cannot be read: {source}")]
    Metadata {
        /// File name.
        file: String,
        /// The index's name.
        index: String,
        /// What is wrong.
        source: packaging::Error,
    },
    /// METADATA names another project or version than the wheel's file name.
    #[error("METADATA of `{file}` on the index `{index}` is that of `{found}`")]
    OtherMetadata {
        /// File name.
        file: String,
        /// The index's name.
        index: String,
        /// The project and version it names.
        found: String,
    },
    /// The separate METADATA file is not the one that the page promised.
    #[error("METADATA of `{file}` on the index `{index}` is {found}, and the page says {expected}")]
    MetadataDigest {
        /// File name.
        file: String,
        /// The index's name.
        index: String,
        /// The page's word.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The wheel is no zip archive that METADATA can be read from.
    #[error("`{file}` on the index `{index}`: {source}")]
    Archive {
        /// File name.
        file: String,
        /// The index's name.
        index: String,
        /// What is wrong.
        source: ArchiveError,
    },
    /// Bytes did not enter the store.
    #[error("cannot store {what}{}: {source}", behind(" of", .index))]
    Store {
        /// What was to be stored.
        what: String,
        /// The index's name.
        index: String,
        /// Why.
        source: Arc<store::Error>,
    },
}

/// `from the index …`; nothing for a wheel that no index holds, whose address or path is in the cause.
fn behind(word: &str, index: &str) -> String {
    if index == DIRECT { String::new() } else { format!("{word} the index `{index}`") }
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::UnknownIndex { index } => {
                let key: String = index
                    .chars()
                    .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
                    .collect();
                vec![format!("list it under `indexes:` of the spec, or set `IMGFORGE_INDEX_{key}_URL`")]
            }
            Self::OtherFile { .. } => {
                vec![
                    "if the index was meant to change, lock again with `--upgrade-package`; if not, do not trust it"
                        .to_owned(),
                ]
            }
            Self::NoFile { .. } => {
                vec!["it may have been deleted: lock again, or use an index that still has it".to_owned()]
            }
            Self::ContentType { .. } | Self::Page { .. } => {
                vec![
                    "check that the address is the root of a simple API (PEP 503), and not a page for people"
                        .to_owned(),
                ]
            }
            Self::NotIndexPage { doubt: Doubt::OtherProject { .. }, .. } => {
                vec!["check the index: whoever answers for it mixes up projects".to_owned()]
            }
            Self::NotIndexPage { .. } => vec![
                "a proxy or a login page may answer in the index's place: open the address in a browser".to_owned(),
                "check the index's address, and the credentials for it".to_owned(),
            ],
            Self::MetadataDigest { .. } | Self::OtherMetadata { .. } | Self::Archive { .. } => vec![
                "if it is the same when tried again, the index holds a damaged or exchanged file: do not trust it"
                    .to_owned(),
            ],
            Self::Http { source, .. } => source.help(),
            Self::Store { source, .. } => source.help(),
            _ => Vec::new(),
        }
    }
}

impl Error {
    /// Whether one wheel says nothing useful about itself, as opposed to an index that cannot be asked.
    pub fn is_fault_of_wheel(&self) -> bool {
        matches!(self, Self::Metadata { .. } | Self::OtherMetadata { .. })
            || matches!(self, Self::Archive { source, .. } if !matches!(source, ArchiveError::Read { .. }))
    }
}

impl IndexClient {
    /// A client that keeps what it learns in `store`.
    pub fn new(http: http::Client, store: Store, settings: Arc<Settings>) -> Self {
        let inner = Inner {
            http,
            store,
            settings,
            pages: Flights::default(),
            metadata: Flights::default(),
            without_metadata: metadata::HostsWithout::default(),
            workers: Workers::default(),
            patience: PATIENCE,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The page of a project; `None` if the index has no such project. Waits for a fetch that is under way.
    pub fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Error> {
        self.inner.project(index, name)
    }

    /// METADATA of a wheel that [`IndexClient::project`] listed on `index`.
    pub fn metadata(&self, index: &str, file: &ProjectFile) -> Result<Arc<Metadata>, Error> {
        self.inner.wheel_metadata(index, file)
    }

    /// Starts fetching pages in the background; the pairs are index and project. Failures wait for whoever asks.
    pub fn prefetch(&self, requests: impl IntoIterator<Item = (String, String)>) {
        for (index, name) in requests {
            self.prefetch_likely(&index, &name, Box::new(|_| None));
        }
    }

    /// Starts fetching a page in the background, and METADATA of the file on it that `likely` names. Failures wait for
    /// whoever asks.
    pub fn prefetch_likely(&self, index: &str, name: &str, likely: Likely) {
        let (index, name) = (index.to_owned(), normalize_name(name));
        if !self.inner.pages.knows(&(index.clone(), name.clone())) {
            self.inner.workers.submit(Job { index, name, likely }, &self.inner);
        }
    }

    /// METADATA of this wheel, whose page is known, will be asked for.
    pub fn prefetch_metadata(&self, index: &str, file: &ProjectFile) {
        if !self.inner.metadata.knows(&metadata::key(file)) {
            let name = normalize_name(file.filename.split('-').next().unwrap_or_default());
            let wanted = file.clone();
            let likely: Likely = Box::new(move |_| Some(wanted.clone()));
            self.inner.workers.submit(Job { index: index.to_owned(), name, likely }, &self.inner);
        }
    }

    /// The wheel at a place that is no index's, downloaded, with its digest and size. `allowed` names the digests it may
    /// have; none allows any.
    pub fn placed_wheel(&self, place: &WheelPlace, allowed: &[Digest]) -> Result<ProjectFile, Error> {
        self.inner.placed_wheel(place, allowed)
    }

    /// sha256 and size of a wheel whose index tells neither: the file is downloaded for that, and kept.
    pub fn identify(&self, index: &str, file: &ProjectFile) -> Result<(Digest, u64), Error> {
        self.inner.identify(index, file)
    }

    /// The wheel's path in the store, downloaded if it is not there. `progress` is told of each piece downloaded.
    pub fn download(&self, wheel: &LockedWheel, progress: &dyn Fn(u64)) -> Result<PathBuf, Error> {
        self.inner.download(wheel, progress)
    }

    /// Like [`IndexClient::download`] for many, a few at a time; paths in the order of `wheels`.
    pub fn download_all(&self, wheels: &[&LockedWheel], progress: &Progress) -> Result<Vec<PathBuf>, Error> {
        self.inner.download_all(wheels, progress)
    }
}

impl Inner {
    /// Time for one try of a page or METADATA.
    fn patience_of(&self, attempt: u32) -> Duration {
        self.patience * 2u32.pow(attempt.saturating_sub(1).min(6))
    }

    fn location(&self, index: &str) -> Result<IndexLocation, Error> {
        let location = if index == DIRECT { self.direct_location() } else { self.settings.index_url(index) };
        location.ok_or_else(|| Error::UnknownIndex { index: index.to_owned() })
    }

    /// A GET with the credentials that this address may see. reqwest drops them when a redirect leaves the host.
    fn request(&self, client: &reqwest::blocking::Client, location: &IndexLocation, url: &Url) -> RequestBuilder {
        let request = client.get(url.clone());
        match self.settings.index_credentials(location, url) {
            Some(credentials) => request.basic_auth(&credentials.username, credentials.password()),
            None => request,
        }
    }
}

/// The error of a request for `what`.
fn http_error(what: &str, index: &str) -> impl Fn(http::Error) -> Error {
    move |source| Error::Http { what: what.to_owned(), index: index.to_owned(), source: Arc::new(source) }
}

/// The error of storing `what`.
fn store_error(what: &str, index: &str) -> impl Fn(store::Error) -> Error {
    move |source| Error::Store { what: what.to_owned(), index: index.to_owned(), source: Arc::new(source) }
}

#[cfg(test)]
mod misbehaving;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
