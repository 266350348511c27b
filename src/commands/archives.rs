//! The packages of Debian's and Ubuntu's archives, read while other things go on.
//!
//! Reading a suite for the first time takes as long as resolving the Python packages that stand on it, and neither needs the
//! other: it is begun as soon as the suite is likely to be asked for, and waited for when it is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::thread::JoinHandle;

use crate::debian::{self, Archive, PackageSet, SnapshotFiles};
use crate::diagnostic::{Failure, Hint};
use crate::oci::Platform;
use crate::settings::ArchiveLocation;

use super::Context;
use super::outside::Outside;

/// A release of a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Release {
    /// `debian` or `ubuntu`.
    pub(super) distribution: String,
    /// `trixie`.
    pub(super) suite: String,
}

/// What the archives of this machine's settings hold, each release read once.
pub(super) struct Archives<'a> {
    context: &'a Context,
    outside: &'a Outside,
    known: RefCell<HashMap<(Release, Platform), Reading>>,
}

enum Reading {
    /// By a thread of its own.
    Begun(JoinHandle<Result<PackageSet, debian::Error>>),
    Done(Rc<PackageSet>),
}

/// Why an archive cannot be asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the keys of the archive `{archive}` cannot be used: {cause}")]
    Keyring { archive: String, cause: String },
    #[error("this machine's settings have no archive of {distribution} for {architecture}")]
    NoArchive { distribution: String, architecture: &'static str },
}

impl Hint for Error {}

impl<'a> Archives<'a> {
    pub(super) fn new(context: &'a Context, outside: &'a Outside) -> Self {
        Self { context, outside, known: RefCell::default() }
    }

    /// Has a release's packages read in the background, unless that is done or under way. What is never asked for is never
    /// waited for, and its failure never told.
    pub(super) fn begin(&self, release: &Release, platform: Platform) -> Result<(), Failure> {
        let key = (release.clone(), platform);
        if self.known.borrow().contains_key(&key) {
            return Ok(());
        }
        let archives = self.of(release, platform)?;
        let (http, store) = (self.outside.http.clone(), self.outside.store.clone());
        let progress = self.context.progress.clone();
        let read = move || debian::fetch_packages(&archives, platform, &http, &store, &progress);
        self.known.borrow_mut().insert(key, Reading::Begun(std::thread::spawn(read)));
        Ok(())
    }

    /// What `ask` finds out of a release's packages. If the cache turns out to be damaged, it is asked once more of a new one.
    pub(super) fn ask<T>(
        &self,
        release: &Release,
        platform: Platform,
        ask: impl Fn(&PackageSet) -> Result<T, debian::Error>,
    ) -> Result<T, Failure> {
        match ask(&*self.packages(release, platform)?) {
            Err(debian::Error::DamagedIndex { .. }) => {
                self.known.borrow_mut().remove(&(release.clone(), platform));
                Ok(ask(&*self.packages(release, platform)?)?)
            }
            answer => Ok(answer?),
        }
    }

    fn packages(&self, release: &Release, platform: Platform) -> Result<Rc<PackageSet>, Failure> {
        self.begin(release, platform)?;
        let key = (release.clone(), platform);
        let packages = match self.known.borrow_mut().remove(&key) {
            Some(Reading::Begun(thread)) => {
                Rc::new(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
            }
            Some(Reading::Done(packages)) => packages,
            None => unreachable!("it was begun"),
        };
        self.known.borrow_mut().insert(key, Reading::Done(Rc::clone(&packages)));
        Ok(packages)
    }

    /// The archives that have a release for a platform.
    fn of(&self, release: &Release, platform: Platform) -> Result<Vec<Archive>, Failure> {
        let Release { distribution, suite } = release;
        let architecture = platform.architecture_name();
        let mut archives = Vec::new();
        for location in self.outside.settings.archives() {
            if location.distribution == *distribution && location.has(architecture) {
                archives.extend(archive(self.outside, location, suite)?);
            }
        }
        match archives.is_empty() {
            true => Err(Error::NoArchive { distribution: distribution.clone(), architecture }.into()),
            false => Ok(archives),
        }
    }
}

impl Release {
    pub(super) fn debian(suite: &str) -> Self {
        Self { distribution: "debian".to_owned(), suite: suite.to_owned() }
    }

    /// The release that os-release(5) names. The error is the system's own name, if it is neither Debian nor Ubuntu.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text);
        let field = |name: &str| {
            let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            values.map(|value| value.trim().trim_matches(['"', '\'']).to_owned()).next()
        };
        match (field("ID"), field("VERSION_CODENAME")) {
            (Some(distribution), Some(suite))
                if matches!(distribution.as_str(), "debian" | "ubuntu")
                    && !suite.is_empty()
                    && suite.chars().all(|character| character.is_ascii_alphanumeric()) =>
            {
                Ok(Self { distribution, suite })
            }
            _ => Err(field("PRETTY_NAME").unwrap_or_else(|| "something unknown".to_owned())),
        }
    }
}

/// The archives of this machine's settings, each with the keys that may sign it, for fetching files that a lock names.
pub(super) fn every(outside: &Outside) -> Result<Vec<Archive>, Failure> {
    // No suite is read: what is locked has an archive and a path.
    let archives = outside.settings.archives().map(|location| archive(outside, location, ""));
    archives.filter_map(Result::transpose).collect()
}

/// An archive, if there are keys for it.
fn archive(outside: &Outside, location: &ArchiveLocation, suite: &str) -> Result<Option<Archive>, Failure> {
    let keyring = debian::Keyring::embedded(&location.name).transpose();
    let keyring =
        keyring.map_err(|cause| Error::Keyring { archive: location.name.clone(), cause: cause.to_string() })?;
    let snapshot = outside.settings.snapshot(&location.distribution).map(|snapshot| debian::Snapshot {
        dated: snapshot.dated.clone(),
        listed: snapshot.list.clone().zip(snapshot.file.clone()).map(|(list, file)| SnapshotFiles { list, file }),
    });
    Ok(keyring.map(|keyring| Archive {
        name: location.name.clone(),
        url: location.url.clone(),
        suites: location.suites(suite),
        components: location.components.clone(),
        keyring,
        snapshot,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_which_release_a_base_is() {
        let release = |text: &str| Release::parse(text.as_bytes());
        let jammy = "PRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\nID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=jammy\n";
        let expected = Release { distribution: "ubuntu".to_owned(), suite: "jammy".to_owned() };
        assert_eq!(release(jammy), Ok(expected));
        assert_eq!(release("ID=debian\nVERSION_CODENAME='trixie'\n"), Ok(Release::debian("trixie")));
        assert_eq!(release("PRETTY_NAME=\"Alpine Linux v3.20\"\nID=alpine\n"), Err("Alpine Linux v3.20".to_owned()));
        assert!(release("ID=debian\nVERSION_CODENAME=../../x\n").is_err());
        assert_eq!(release(""), Err("something unknown".to_owned()));
    }
}
