//! What can go wrong with Debian archives and packages, as data.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::Hint;
use crate::lock::Moment;
use crate::{http, store};

use super::keyring::KeyringError;

/// Why packages could not be resolved, fetched or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An index or a package cannot be fetched.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// Fetched bytes did not enter the cache.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file of ours could not be read or written.
    #[error("{action} `{path}`: {source}")]
    Io {
        /// The step that failed, as a verb phrase.
        action: &'static str,
        /// File concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// `InRelease` is not signed as it must be.
    #[error("`InRelease` of suite `{suite}` in archive `{archive}` cannot be trusted: {cause}")]
    Untrusted {
        /// Archive name.
        archive: String,
        /// Suite asked for.
        suite: String,
        /// What is wrong.
        cause: KeyringError,
    },
    /// `Valid-Until` has passed.
    #[error(
        "suite `{suite}` of archive `{archive}` expired {days} days ago: the mirror is stale, or this machine's clock is wrong"
    )]
    Expired {
        /// Archive name.
        archive: String,
        /// Suite asked for.
        suite: String,
        /// Whole days since `Valid-Until`.
        days: u64,
    },
    /// The signed file speaks of another suite than the one asked for.
    #[error("archive `{archive}` answered for suite `{suite}` with suite `{found_suite}`, codename `{found_codename}`")]
    WrongSuite {
        /// Archive name.
        archive: String,
        /// Suite asked for.
        suite: String,
        /// `Suite` of the signed file.
        found_suite: String,
        /// `Codename` of the signed file.
        found_codename: String,
    },
    /// The suite has no packages for an architecture.
    #[error("suite `{suite}` of archive `{archive}` has no `{component}` packages for `{architecture}`")]
    NoIndex {
        /// Archive name.
        archive: String,
        /// Suite asked for.
        suite: String,
        /// Component asked for: `main`.
        component: String,
        /// `amd64` or `arm64`.
        architecture: String,
    },
    /// What the cache keeps of an index is not what was written there. The file is removed when this is noticed.
    #[error("what the cache keeps of a Debian package index cannot be used: {cause}")]
    DamagedIndex {
        /// What is wrong with it.
        cause: io::Error,
    },
    /// A package that no suite has.
    #[error("no Debian package `{name}`, asked for by {required_by}")]
    UnknownPackage {
        /// The name asked for.
        name: String,
        /// Who asked.
        required_by: String,
        /// A name that is close.
        suggestion: Option<String>,
    },
    /// A relation that nothing can fulfil.
    #[error("`{package}` needs `{relation}`, which no available package fulfils")]
    Unsatisfiable {
        /// Who has the relation.
        package: String,
        /// The relation as Debian writes it.
        relation: String,
        /// Who asked for whom, outermost first.
        chain: Vec<String>,
        /// Versions that exist of the names in the relation.
        available: Vec<String>,
    },
    /// Two packages that exclude each other.
    #[error("`{package}` conflicts with `{other}`")]
    Conflict {
        /// The package that has the relation.
        package: String,
        /// The relation as Debian writes it.
        relation: String,
        /// The package it excludes.
        other: String,
        /// Who asked for whom, outermost first.
        chain: Vec<String>,
    },
    /// The search took too many steps.
    #[error("the dependencies of {wanted} take too many alternatives to try")]
    TooComplex {
        /// The packages asked for.
        wanted: String,
    },
    /// The lock names an archive that the settings do not have.
    #[error("package `{package}` is locked from archive `{archive}`, which this machine's settings do not have")]
    UnknownArchive {
        /// Package name.
        package: String,
        /// Archive name.
        archive: String,
    },
    /// A locked file has left its archive.
    #[error("package `{package}` {version} is no longer in archive `{archive}`{}", since(locked.as_ref()))]
    Gone {
        /// Package name.
        package: String,
        /// Its version.
        version: String,
        /// Archive name.
        archive: String,
        /// The newest state of the archive that the lock knows.
        locked: Option<Moment>,
        /// Why the snapshot service did not help, if it was asked and failed.
        snapshot_failure: Option<String>,
    },
    /// A file that is not a package as deb(5) describes it.
    #[error("`{package}` is not a readable .deb file: {cause}")]
    Malformed {
        /// Package or file name.
        package: String,
        /// What is wrong.
        cause: String,
    },
    /// A path in a package that leaves the root or cannot be in an image.
    #[error("package `{package}` holds `{path}`, which {cause}")]
    BadPath {
        /// Package name.
        package: String,
        /// Path as the package has it.
        path: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// Two packages with the same file.
    #[error("packages `{first}` and `{second}` both hold `{path}`")]
    FileConflict {
        /// The package that had it first.
        first: String,
        /// The package that came with it again.
        second: String,
        /// Path in the image.
        path: String,
    },
    /// A package whose maintainer script does something that is not known.
    #[error("package `{package}` has a `{script}` script that is not known to be replaceable")]
    UnknownScript {
        /// Package name.
        package: String,
        /// `preinst` or `postinst`.
        script: &'static str,
        /// The first line that is not understood.
        line: String,
    },
    /// A package whose file in `sysusers.d` says something that is not known.
    #[error("package `{package}` declares accounts in a way that is not known: `{line}`")]
    UnknownAccount {
        /// Package name.
        package: String,
        /// The line.
        line: String,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Http(error) => error.help(),
            Self::Store(error) => error.help(),
            Self::Untrusted { .. } => {
                vec!["check that the archive's URL in the settings is a mirror of Debian itself".to_owned()]
            }
            Self::Expired { .. } => vec![
                "check this machine's clock".to_owned(),
                "choose a mirror that is up to date, or a base from a registry (`base: slim`)".to_owned(),
            ],
            Self::WrongSuite { .. } | Self::NoIndex { .. } => {
                vec![
                    "check the archive's URL in the settings, or take a base from a registry (`base: slim`)".to_owned(),
                ]
            }
            Self::DamagedIndex { .. } => vec!["run the command again: the index is read anew".to_owned()],
            Self::UnknownPackage { suggestion: Some(name), .. } => vec![format!("did you mean `{name}`?")],
            Self::UnknownPackage { .. } => {
                vec!["package names differ between Debian releases: search for it in the suite of the base".to_owned()]
            }
            Self::Conflict { .. } => vec!["remove one of the two from `system`".to_owned()],
            Self::Unsatisfiable { .. } | Self::TooComplex { .. } => {
                vec!["remove the package from `system`, or choose another `base`".to_owned()]
            }
            Self::UnknownArchive { archive, .. } => vec![format!("name the URL of `{archive}` in the settings")],
            Self::Gone { .. } => vec![
                "run `imgforge lock --upgrade` to take the version that replaced it".to_owned(),
                "to keep the version, name a service that has the archive of that day: `IMGFORGE_DEBIAN_SNAPSHOT`, or `IMGFORGE_UBUNTU_SNAPSHOT`"
                    .to_owned(),
                "or build where the file is in the cache, or use the image that was pushed".to_owned(),
            ],
            Self::UnknownScript { package, .. } | Self::UnknownAccount { package, .. } => vec![
                format!(
                    "build with an engine, which runs it: `--engine docker` with a base from a registry (`base: slim`)"
                ),
                format!("or remove `{package}`, or what needs it, from `system`"),
            ],
            _ => Vec::new(),
        }
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Self::Unsatisfiable { chain, available, .. } => {
                let mut notes = chain_note(chain);
                notes.extend(available.iter().map(|text| format!("there is {text}")));
                notes
            }
            Self::Conflict { package, relation, chain, .. } => {
                let mut notes = chain_note(chain);
                notes.push(format!("`{package}` excludes `{relation}`"));
                notes
            }
            Self::UnknownScript { line, .. } => vec![format!("the line is `{line}`")],
            Self::Gone { snapshot_failure: Some(failure), .. } => {
                vec![format!("the snapshot service did not help: {failure}")]
            }
            _ => Vec::new(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownPackage { .. } | Self::Unsatisfiable { .. } | Self::Conflict { .. } => 1,
            _ => 2,
        }
    }
}

fn since(locked: Option<&Moment>) -> String {
    locked.map_or_else(String::new, |moment| format!(", which had it on {moment}"))
}

fn chain_note(chain: &[String]) -> Vec<String> {
    match chain.is_empty() {
        true => Vec::new(),
        false => vec![format!("required by {}", chain.join(" -> "))],
    }
}
