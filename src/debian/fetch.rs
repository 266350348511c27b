//! Locked .deb files by hash: from the store, from their archive, or from a snapshot service, because a mirror forgets a
//! file with the next point release.

use std::path::PathBuf;

use url::Url;

use crate::http;
use crate::lock::LockedDeb;
use crate::progress::{Progress, Task, human_bytes};
use crate::store::Store;

use super::archive::{Archive, join};
use super::error::Error;

/// Files fetched side by side; a mirror is rarely faster with more.
const PARALLEL: usize = 6;

/// A service that keeps every state of an archive, as Debian's snapshot does.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Root; archive name and pool path are appended. A service that keeps its states by date has the date in the root
    /// after the archive's name, so `{archive}` in the root stands for that name, and only the path is appended.
    pub url: Url,
}

impl Snapshot {
    fn file(&self, deb: &LockedDeb) -> Result<Url, Error> {
        // The braces of the placeholder are percent-encoded once the text is a URL.
        let root = self.url.as_str().replace("%7Barchive%7D", &deb.archive);
        match root.parse::<Url>() {
            Ok(root) if root != self.url => join(&root, &deb.path),
            _ => join(&self.url, &format!("{}/{}", deb.archive, deb.path)),
        }
    }
}

/// Brings each package's file into the store, verified, and returns their paths in the order of `debs`.
pub fn fetch(
    debs: &[LockedDeb],
    archives: &[Archive],
    snapshot: Option<&Snapshot>,
    http: &http::Client,
    store: &Store,
    progress: &Progress,
) -> Result<Vec<PathBuf>, Error> {
    let missing: Vec<_> = debs.iter().filter(|deb| store.blob(&deb.digest).is_none()).collect();
    if !missing.is_empty() {
        let bytes = missing.iter().map(|deb| deb.size).sum();
        let task = progress.task(format!("downloading {} Debian packages", missing.len()), Some(bytes));
        let next = std::sync::atomic::AtomicUsize::new(0);
        let worker = || -> Result<(), Error> {
            while let Some(deb) = missing.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                // Another worker's failure ends this one as well: the list is used up.
                if let Err(error) = fetch_one(deb, archives, snapshot, http, store, &task) {
                    next.store(missing.len(), std::sync::atomic::Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..PARALLEL.min(missing.len())).map(|_| scope.spawn(worker)).collect();
            let results = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            results.collect::<Result<Vec<()>, Error>>()
        })?;
        task.done(format!("downloaded {} Debian packages, {}", missing.len(), human_bytes(bytes)));
    }
    Ok(debs.iter().map(|deb| store.blob_path(&deb.digest)).collect())
}

fn fetch_one(
    deb: &LockedDeb,
    archives: &[Archive],
    snapshot: Option<&Snapshot>,
    http: &http::Client,
    store: &Store,
    task: &Task,
) -> Result<(), Error> {
    let archive = archives
        .iter()
        .find(|archive| archive.name == deb.archive)
        .ok_or_else(|| Error::UnknownArchive { package: deb.name.clone(), archive: deb.archive.clone() })?;
    let mut response = http.get(&join(&archive.url, &deb.path)?);
    if let (Err(error), Some(snapshot)) = (&response, snapshot)
        && error.is_not_found()
    {
        response = http.get(&snapshot.file(deb)?);
    }
    let mut response = response.map_err(|error| match error.is_not_found() {
        true => Error::Gone { package: deb.name.clone(), version: deb.version.clone(), archive: deb.archive.clone() },
        false => Error::Http(error),
    })?;
    let what = format!("package `{}` {}", deb.name, deb.version);
    store.insert(&what, &mut response, &deb.digest, Some(deb.size), &mut |bytes| task.advance(bytes))?;
    Ok(())
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
    }

    impl World {
        fn new() -> Self {
            Self { server: Server::start(), folder: tempfile::tempdir().expect("a temporary folder") }
        }

        fn fetch(&self, debs: &[LockedDeb], with_snapshot: bool, offline: bool) -> Result<Vec<Vec<u8>>, Error> {
            let archive = Archive {
                name: "debian".to_owned(),
                url: self.server.url.clone(),
                suites: Vec::new(),
                keyring: test_keyring(),
            };
            let snapshot = Snapshot { url: format!("{}/snapshot", self.server.url).parse().expect("a URL") };
            let http = http::Client::new(&http::Options { offline, ..http::Options::default() }).expect("a client");
            let store = Store::open(self.folder.path());
            let snapshot = Some(&snapshot).filter(|_| with_snapshot);
            let paths = fetch(debs, &[archive], snapshot, &http, &store, &Progress::hidden())?;
            Ok(paths.iter().map(|path| std::fs::read(path).expect("readable")).collect())
        }
    }

    #[test]
    fn fetches_in_order_and_only_once() {
        let world = World::new();
        let debs: Vec<_> = (0..10).map(|number| locked(&format!("p{number}"), "1+b", &[number])).collect();
        for (number, deb) in (0..).zip(&debs) {
            world.server.put(&deb.path.replace('+', "%2B"), [number]);
        }
        let expected: Vec<_> = (0..10).map(|number| vec![number]).collect();
        assert_eq!(world.fetch(&debs, false, false).expect("fetched"), expected);
        assert_eq!(world.server.take_requests().len(), 10);
        assert_eq!(world.fetch(&debs, false, true).expect("in the store"), expected);
        assert!(matches!(
            world.fetch(&[locked("other", "1", b"x")], false, true),
            Err(Error::Http(http::Error::Offline { .. }))
        ));
    }

    #[test]
    fn a_file_that_left_the_archive_comes_from_the_snapshot_or_is_named() {
        let world = World::new();
        let deb = locked("a", "1", b"bytes");
        let error = world.fetch(std::slice::from_ref(&deb), true, false).expect_err("gone");
        assert!(matches!(&error, Error::Gone { package, .. } if package == "a"), "{error}");
        assert!(error.help()[0].contains("lock --upgrade"));
        world.server.put(&format!("snapshot/debian/{}", deb.path), *b"bytes");
        assert!(world.fetch(std::slice::from_ref(&deb), false, false).is_err());
        assert_eq!(world.fetch(&[deb], true, false).expect("fetched"), [b"bytes"]);
    }

    #[test]
    fn a_snapshot_may_have_its_date_behind_the_archive() {
        let url =
            |root: &str| Snapshot { url: root.parse().expect("a URL") }.file(&locked("a", "1", b"")).expect("a URL");
        assert_eq!(url("http://snapshot.test/s").as_str(), "http://snapshot.test/s/debian/pool/a_1_amd64.deb");
        assert_eq!(
            url("http://snapshot.test/{archive}/20260101T000000Z/").as_str(),
            "http://snapshot.test/debian/20260101T000000Z/pool/a_1_amd64.deb"
        );
    }

    #[test]
    fn refuses_other_bytes_and_unknown_archives() {
        let world = World::new();
        let deb = locked("a", "1", b"bytes");
        world.server.put(&deb.path, *b"bytez");
        assert!(matches!(
            world.fetch(std::slice::from_ref(&deb), false, false),
            Err(Error::Store(store::Error::WrongDigest { .. }))
        ));
        let foreign = LockedDeb { archive: "internal".to_owned(), ..deb };
        assert!(matches!(
            world.fetch(&[foreign], false, false),
            Err(Error::UnknownArchive { archive, .. }) if archive == "internal"
        ));
    }
}
