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
    /// Root, with `{archive}` and `{path}` to fill in; without them both are appended.
    pub url: Url,
}

impl Snapshot {
    fn file(&self, deb: &LockedDeb) -> Result<Url, Error> {
        join(&self.url, &format!("{}/{}", deb.archive, deb.path))
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
        let task = progress.task(format!("fetching {} Debian packages", missing.len()), Some(bytes));
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
        task.done(format!("fetched {} Debian packages ({})", missing.len(), human_bytes(bytes)));
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
