//! Locked .deb files by hash: from the store, from their archive, or from a snapshot service, because a mirror forgets a
//! file with the next point release.
//!
//! A snapshot service is asked for the file as the archive had it at the time of the lock, and where the service has a
//! list of a package's files, for that. Whatever comes counts only if it has the locked sha256.

use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use crate::http;
use crate::lock::{LockedArchive, LockedDeb, Moment};
use crate::parallel;
use crate::progress::{Progress, Task, human_bytes};
use crate::store::Store;

use super::archive::{Archive, join};
use super::error::Error;

/// Files fetched side by side; a mirror is rarely faster with more.
const PARALLEL: usize = 6;
/// A service takes a state up to some hours after it was made, and answers a time with the last state before it. An archive
/// keeps a superseded file for more than a day: a day later the service has the state, and the file is still in it.
const SNAPSHOT_DELAY: u64 = 86_400;
/// Most bytes of a service's list of a package's files.
const MAX_LIST_BYTES: u64 = 1024 * 1024;

/// A service that keeps every state of an archive, as patterns of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// A file of an archive at a time: `{archive}`, `{moment}` (`20261122T195856Z`) and `{path}` are replaced.
    pub dated: String,
    /// The hashes of a package's files and a file by such a hash, if the service has them.
    pub listed: Option<SnapshotFiles>,
}

/// Addresses of a service that finds files by package, as the one of Debian does beside its dated folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFiles {
    /// JSON with `result`, a list of `architecture` and `hash`; `{package}` and `{version}` are replaced.
    pub list: String,
    /// A file; `{hash}` is replaced.
    pub file: String,
}

/// A service's list of a package's files.
#[derive(Deserialize)]
struct FileList {
    #[serde(default)]
    result: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    architecture: String,
    hash: String,
}

/// Brings each package's file into the store, verified, and returns their paths in the order of `debs`. `states` are the
/// archives' at the time of the lock.
pub fn fetch(
    debs: &[LockedDeb],
    states: &[LockedArchive],
    archives: &[Archive],
    http: &http::Client,
    store: &Store,
    progress: &Progress,
) -> Result<Vec<PathBuf>, Error> {
    let missing: Vec<_> = debs.iter().filter(|deb| store.blob(&deb.digest).is_none()).collect();
    if !missing.is_empty() {
        let bytes = missing.iter().map(|deb| deb.size).sum();
        let task = progress.task(format!("downloading {} Debian packages", missing.len()), Some(bytes));
        let fetcher = Fetcher { states, archives, http, store, task: &task };
        parallel::for_each(&missing, PARALLEL, |deb| fetcher.fetch(deb))?;
        task.done(format!("downloaded {} Debian packages, {}", missing.len(), human_bytes(bytes)));
    }
    Ok(debs.iter().map(|deb| store.blob_path(&deb.digest)).collect())
}

struct Fetcher<'a> {
    states: &'a [LockedArchive],
    archives: &'a [Archive],
    http: &'a http::Client,
    store: &'a Store,
    task: &'a Task,
}

impl Fetcher<'_> {
    fn fetch(&self, deb: &LockedDeb) -> Result<(), Error> {
        let archive = self
            .archives
            .iter()
            .find(|archive| archive.name == deb.archive)
            .ok_or_else(|| Error::UnknownArchive { package: deb.name.clone(), archive: deb.archive.clone() })?;
        if self.take(deb, &join(&archive.url, &deb.path)?)? {
            return Ok(());
        }
        let mut snapshot_failure = None;
        if let Some(snapshot) = &archive.snapshot {
            match self.fetch_from(snapshot, deb) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => snapshot_failure = Some(error.to_string()),
            }
        }
        let days = self.states.iter().filter(|state| state.name == deb.archive).map(|state| state.date);
        Err(Error::Gone {
            package: deb.name.clone(),
            version: deb.version.clone(),
            archive: deb.archive.clone(),
            locked: days.max(),
            snapshot_failure,
        })
    }

    /// Whether the service had the file.
    fn fetch_from(&self, snapshot: &Snapshot, deb: &LockedDeb) -> Result<bool, Error> {
        for moment in moments(self.states, &deb.archive) {
            let values = [("archive", &*deb.archive), ("moment", &moment.to_basic()), ("path", &deb.path)];
            if self.take(deb, &fill(&snapshot.dated, &values)?)? {
                return Ok(true);
            }
        }
        let Some(listed) = &snapshot.listed else { return Ok(false) };
        let list = fill(&listed.list, &[("package", &deb.name), ("version", &deb.version)])?;
        let response = match self.http.get(&list) {
            Ok(response) => response,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let files: FileList =
            serde_json::from_reader(std::io::Read::take(response, MAX_LIST_BYTES)).map_err(|error| {
                Error::Http(http::Error::Transport {
                    method: "GET".to_owned(),
                    url: crate::redact::url(&list),
                    cause: format!("the answer is not a list of files: {error}"),
                })
            })?;
        for file in files.result.iter().filter(|file| file.architecture == deb.architecture) {
            if self.take(deb, &fill(&listed.file, &[("hash", &file.hash)])?)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stores what is at an address; whether there is anything.
    fn take(&self, deb: &LockedDeb, url: &Url) -> Result<bool, Error> {
        let mut response = match self.http.get(url) {
            Ok(response) => response,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let what = format!("package `{}` {}", deb.name, deb.version);
        let task = self.task;
        self.store.insert(&what, &mut response, &deb.digest, Some(deb.size), &mut |bytes| task.advance(bytes))?;
        Ok(true)
    }
}

/// Times at which a service may have a file of an archive, the likeliest first.
fn moments(states: &[LockedArchive], archive: &str) -> Vec<Moment> {
    let mut dates: Vec<Moment> = states.iter().filter(|state| state.name == archive).map(|state| state.date).collect();
    dates.sort_by(|left, right| right.cmp(left));
    dates.dedup();
    let later = dates.iter().map(|date| Moment::from_seconds(date.seconds() + SNAPSHOT_DELAY));
    later.chain(dates.iter().copied()).collect()
}

/// An address from its pattern. Values are percent-encoded but for the slashes of a path.
fn fill(pattern: &str, values: &[(&str, &str)]) -> Result<Url, Error> {
    let mut text = pattern.to_owned();
    for (name, value) in values {
        let encoded: String = value
            .bytes()
            .map(|byte| match byte {
                b'/' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        text = text.replace(&format!("{{{name}}}"), &encoded);
    }
    text.parse().map_err(|error: url::ParseError| {
        Error::Http(http::Error::Transport { method: "GET".to_owned(), url: text.clone(), cause: error.to_string() })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, locked, test_keyring};
    use super::*;
    use crate::diagnostic::Hint as _;
    use crate::store;

    struct World {
        server: Server,
        folder: tempfile::TempDir,
        snapshot: bool,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            Self { server: Server::start(), folder, snapshot: false }
        }

        /// A pool, and a snapshot service below `snapshot`.
        fn with_snapshot() -> Self {
            Self { snapshot: true, ..Self::new() }
        }

        fn fetch(&self, debs: &[LockedDeb], offline: bool) -> Result<Vec<Vec<u8>>, Error> {
            let root = format!("{}/snapshot", self.server.url);
            let snapshot = Snapshot {
                dated: format!("{root}/archive/{{archive}}/{{moment}}/{{path}}"),
                listed: Some(SnapshotFiles {
                    list: format!("{root}/mr/{{package}}/{{version}}"),
                    file: format!("{root}/file/{{hash}}"),
                }),
            };
            let archive = Archive {
                name: "debian".to_owned(),
                url: self.server.url.clone(),
                suites: Vec::new(),
                components: Vec::new(),
                keyring: test_keyring(),
                snapshot: Some(snapshot).filter(|_| self.snapshot),
            };
            let http = http::Client::new(&http::Options { offline, ..http::Options::default() }).expect("a client");
            let store = Store::open(self.folder.path());
            let paths = fetch(debs, &states(), &[archive], &http, &store, &Progress::hidden())?;
            Ok(paths.iter().map(|path| std::fs::read(path).expect("readable")).collect())
        }
    }

    /// The archive's suites at the time of the lock, and those of another one.
    fn states() -> Vec<LockedArchive> {
        let state = |name: &str, suite: &str, date: &str| LockedArchive {
            name: name.to_owned(),
            suite: suite.to_owned(),
            date: date.parse().expect("a time"),
        };
        vec![
            state("debian", "trixie", "2026-09-05T08:00:00Z"),
            state("debian", "trixie-updates", "2026-11-22T19:58:56Z"),
            state("debian-security", "trixie-security", "2026-11-23T00:00:00Z"),
        ]
    }

    #[test]
    fn fetches_in_order_and_only_once() {
        let world = World::new();
        let debs: Vec<_> = (0..10).map(|number| locked(&format!("p{number}"), "1+b", &[number])).collect();
        for (number, deb) in (0..).zip(&debs) {
            world.server.put(&deb.path.replace('+', "%2B"), [number]);
        }
        let expected: Vec<_> = (0..10).map(|number| vec![number]).collect();
        assert_eq!(world.fetch(&debs, false).expect("fetched"), expected);
        assert_eq!(world.server.take_requests().len(), 10);
        assert_eq!(world.fetch(&debs, true).expect("in the store"), expected);
        assert!(matches!(
            world.fetch(&[locked("other", "1", b"x")], true),
            Err(Error::Http(http::Error::Offline { .. }))
        ));
    }

    #[test]
    fn a_file_that_left_the_archive_comes_from_the_snapshot_of_its_day() {
        let world = World::with_snapshot();
        let deb = locked("a", "1+b", b"bytes");
        let of_day = "snapshot/archive/debian/20260906T080000Z/pool/a_1%2Bb_amd64.deb";
        world.server.put(of_day, *b"bytes");
        assert_eq!(world.fetch(&[deb], false).expect("fetched"), [b"bytes"]);
        assert_eq!(
            world.server.take_requests(),
            ["pool/a_1%2Bb_amd64.deb", &of_day.replace("20260906T08", "20261123T19").replace("0000Z", "5856Z"), of_day]
        );
    }

    #[test]
    fn a_file_that_no_day_has_is_looked_up_by_its_package() {
        let world = World::with_snapshot();
        let deb = locked("a", "1:2", b"bytes");
        let list =
            r#"{"result": [{"architecture": "arm64", "hash": "00"}, {"architecture": "amd64", "hash": "c0ffee"}]}"#;
        world.server.put("snapshot/mr/a/1%3A2", list);
        world.server.put("snapshot/file/00", *b"other");
        world.server.put("snapshot/file/c0ffee", *b"bytes");
        assert_eq!(world.fetch(std::slice::from_ref(&deb), false).expect("fetched"), [b"bytes"]);
        assert_eq!(world.server.take_requests().len(), 7);
        // The service is asked, not believed.
        let world = World::with_snapshot();
        world.server.put("snapshot/mr/a/1%3A2", list);
        world.server.put("snapshot/file/c0ffee", *b"bytez");
        let error = world.fetch(&[deb], false).expect_err("refused");
        assert!(crate::diagnostic::Hint::notes(&error)[0].contains("expected sha256:"), "{error:?}");
    }

    #[test]
    fn what_is_nowhere_is_named_with_its_day() {
        let deb = locked("a", "1", b"bytes");
        let error = World::new().fetch(std::slice::from_ref(&deb), false).expect_err("gone");
        assert_eq!(
            error.to_string(),
            "package `a` 1 is no longer in archive `debian`, which had it on 2026-11-22T19:58:56Z"
        );
        assert!(error.help()[0].contains("lock --upgrade"));
        let world = World::with_snapshot();
        world.server.put("snapshot/mr/a/1", *b"<html>");
        let error = world.fetch(&[deb], false).expect_err("gone");
        assert!(matches!(&error, Error::Gone { package, .. } if package == "a"), "{error}");
        assert!(error.notes()[0].contains("the answer is not a list of files"), "{:?}", error.notes());
    }

    #[test]
    fn refuses_other_bytes_and_unknown_archives() {
        let world = World::new();
        let deb = locked("a", "1", b"bytes");
        world.server.put(&deb.path, *b"bytez");
        assert!(matches!(
            world.fetch(std::slice::from_ref(&deb), false),
            Err(Error::Store(store::Error::WrongDigest { .. }))
        ));
        let foreign = LockedDeb { archive: "internal".to_owned(), ..deb };
        assert!(matches!(
            world.fetch(&[foreign], false),
            Err(Error::UnknownArchive { archive, .. }) if archive == "internal"
        ));
    }
}
