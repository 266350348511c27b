//! Signed indexes of an archive: `InRelease`, and from it `Packages`, each checked against what vouches for it.
//!
//! The chain is pinned key, `InRelease`, sha256 and size of `Packages`, sha256 and size of each .deb. What counts of a
//! `Packages` lies in the store under its hash (`table`); the text of `InRelease` is remembered, verified at each use, and
//! asked for again after [`FRESH`] seconds, so a lock can be made offline as long as the suite has not expired.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use reqwest::{StatusCode, header};
use url::Url;

use crate::http;
use crate::lock::{LockedArchive, Moment};
use crate::oci::{Digest, Platform};
use crate::progress::{Progress, human_bytes};
use crate::store::{self, Store};

use super::error::Error;
use super::fetch::Snapshot;
use super::keyring::{CLOCK_SKEW, Keyring};
use super::packages::PackageSet;
use super::release::Release;
use super::table::{self, Table, digest_index};

/// Seconds for which a remembered `InRelease` is used without asking.
const FRESH: u64 = 600;
/// Kind of the facts that keep what an index holds.
const TABLES: &str = "debian-packages";
/// Kind of the facts that keep an `InRelease`.
const RELEASES: &str = "debian-inrelease";
/// Pieces of an index that its download may be ahead of its reading, each at most 256 KiB.
const CHUNKS_AHEAD: usize = 32;
/// Bytes a second at which an `InRelease` says that its mirror is near: then an index comes in its larger form, since unpacking
/// gzip takes a fifth of the time of xz. An answer that short comes at a fraction of what the line can do.
const FAST: f64 = 5e6;
/// Most bytes of an `InRelease`; real ones have about 150 kB.
const MAX_RELEASE_BYTES: u64 = 16 * 1024 * 1024;
/// Most bytes of an unpacked `Packages`; real ones have about 60 MB.
const MAX_INDEX_BYTES: u64 = 1024 * 1024 * 1024;

/// An archive as this machine's settings describe it.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Name in locks: `debian`, `debian-security`.
    pub name: String,
    /// Root, above `dists` and `pool`.
    pub url: Url,
    /// Suites to read, by codename: `trixie`, `trixie-updates`.
    pub suites: Vec<String>,
    /// Components to read of each: `main`.
    pub components: Vec<String>,
    /// Keys that may sign it.
    pub keyring: Keyring,
    /// Where its states of other days are.
    pub snapshot: Option<Snapshot>,
}

/// A verified suite and where it came from.
struct Suite<'a> {
    archive: &'a Archive,
    name: &'a str,
    release: Release,
    /// Whether its `InRelease` came at [`FAST`] or more.
    is_fast: bool,
}

/// What a suite holds, and which state of it that is.
struct SuiteTables {
    tables: Vec<Table>,
    state: Option<LockedArchive>,
}

/// What is needed to fetch.
struct Fetcher<'a> {
    http: &'a http::Client,
    store: &'a Store,
    now: u64,
    architecture: &'a str,
}

/// Reads the packages of all suites of all archives for `platform`: verified, from the cache where that is fresh.
/// When a version is in two archives, the one named first has it.
pub fn fetch_packages(
    archives: &[Archive],
    platform: Platform,
    http: &http::Client,
    store: &Store,
    progress: &Progress,
) -> Result<PackageSet, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let fetcher = Fetcher { http, store, now, architecture: platform.architecture_name() };
    let task = progress.task("reading package indexes", None);
    // One thread per suite: unpacking and reading an index takes about as long as fetching it.
    let results: Vec<Result<SuiteTables, Error>> = std::thread::scope(|scope| {
        let suites = archives.iter().flat_map(|archive| archive.suites.iter().map(move |suite| (archive, suite)));
        let threads: Vec<_> = suites
            .map(|(archive, suite)| {
                let (fetcher, task) = (&fetcher, &task);
                scope.spawn(move || fetcher.read_suite(archive, suite, &|bytes| task.advance(bytes)))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut packages = PackageSet::new(fetcher.architecture);
    for result in results {
        let SuiteTables { tables, state } = result?;
        packages.add(tables, state);
    }
    let suites: BTreeSet<&str> = archives.iter().flat_map(|archive| &archive.suites).map(String::as_str).collect();
    let suites = suites.into_iter().collect::<Vec<_>>().join(", ");
    task.done(format!("read package indexes of {suites} for {}", fetcher.architecture));
    Ok(packages)
}

impl Fetcher<'_> {
    fn read_suite(&self, archive: &Archive, suite: &str, advance: &dyn Fn(u64)) -> Result<SuiteTables, Error> {
        let mut renewed = false;
        loop {
            let (release, is_fast) = self.release(archive, suite, renewed)?;
            let source = Suite { archive, name: suite, release, is_fast };
            let tables = archive.components.iter().map(|component| self.table(&source, component, advance));
            match tables.collect::<Result<Vec<_>, _>>() {
                // An archive being updated may hold a new index beside an old `InRelease`, or the reverse: look once more.
                Err(error) if !renewed && is_race(&error) => renewed = true,
                tables => {
                    let state = source.release.date.map(|date| LockedArchive {
                        name: archive.name.clone(),
                        suite: suite.to_owned(),
                        date,
                    });
                    return Ok(SuiteTables { tables: tables?, state });
                }
            }
        }
    }

    /// What a component's index holds: remembered under the hash that the Release gives it, else read from the index.
    fn table(&self, suite: &Suite<'_>, component: &str, advance: &dyn Fn(u64)) -> Result<Table, Error> {
        let archive = &suite.archive.name;
        let indexes = find_indexes(suite, component, self.architecture);
        let wanted = indexes.first().ok_or_else(|| Error::NoIndex {
            archive: archive.clone(),
            suite: suite.name.to_owned(),
            component: component.to_owned(),
            architecture: self.architecture.to_owned(),
        })?;
        let key = |index: &Index| format!("{} {} {}", table::FORMAT, self.architecture, index.digest);
        // All forms hold the same text.
        for index in &indexes {
            if let Some((file, start, path)) = self.store.open_fact(TABLES, &key(index))
                && let Ok(table) = Table::open(archive, self.architecture, file, start, path)
            {
                return Ok(table);
            }
        }
        let kept = indexes.iter().find_map(|index| Some((index, self.store.blob(&index.digest)?)));
        let (index, table) = match kept {
            Some((index, path)) => {
                let failed = |source| Error::Io { action: "read", path: path.clone(), source };
                let file = BufReader::new(File::open(&path).map_err(failed)?);
                (index, digest_index(unpack(file, &index.path), self.architecture).map_err(failed)?)
            }
            None => (wanted, self.fetch_index(suite, wanted, advance)?),
        };
        self.store.remember_bytes(TABLES, &key(index), &table)?;
        match self.store.open_fact(TABLES, &key(index)) {
            Some((file, start, path)) => Table::open(archive, self.architecture, file, start, path),
            // Another process removed it meanwhile.
            None => Table::from_bytes(archive, self.architecture, table),
        }
        .map_err(|cause| Error::DamagedIndex { cause })
    }

    /// The verified Release of a suite: remembered, confirmed by the server, or fetched; and whether it came fast.
    fn release(&self, archive: &Archive, suite: &str, renew: bool) -> Result<(Release, bool), Error> {
        let url = join(&archive.url, &format!("dists/{suite}/InRelease"))?;
        let mut usable = None;
        if let Some(text) = self.store.recall(RELEASES, url.as_str())
            && let Some(remembered) = Remembered::parse(&text)
        {
            let is_fresh = !renew && self.now.saturating_sub(remembered.fetched) < FRESH;
            match self.verified(archive, suite, remembered.text.as_bytes()) {
                outcome if self.http.is_offline() => return Ok((outcome?, false)),
                Ok(release) if is_fresh => return Ok((release, false)),
                Ok(release) => usable = Some((remembered, release)),
                Err(_) => {}
            }
        }
        let modified = usable.as_ref().filter(|_| !renew).map(|(remembered, _)| remembered.modified.as_str());
        let mut response = self.http.send(|client| {
            let request = client.get(url.clone());
            match modified {
                Some(modified) if !modified.is_empty() => request.header(header::IF_MODIFIED_SINCE, modified),
                _ => request,
            }
        })?;
        if let Some((remembered, release)) = usable.filter(|_| response.status() == StatusCode::NOT_MODIFIED) {
            let confirmed = Remembered { fetched: self.now, ..remembered };
            self.store.remember(RELEASES, url.as_str(), &confirmed.to_text())?;
            return Ok((release, false));
        }
        let modified = response.headers().get(header::LAST_MODIFIED).and_then(|value| value.to_str().ok());
        let modified = modified.unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        let broken = |error: std::io::Error| http::Error::Transport {
            method: "GET".to_owned(),
            url: crate::redact::url(&url),
            cause: error.to_string(),
        };
        let started = Instant::now();
        response.by_ref().take(MAX_RELEASE_BYTES).read_to_end(&mut bytes).map_err(broken)?;
        let is_fast = bytes.len() as f64 >= FAST * started.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let release = self.verified(archive, suite, text.as_bytes())?;
        let current = Remembered { fetched: self.now, modified, text };
        self.store.remember(RELEASES, url.as_str(), &current.to_text())?;
        Ok((release, is_fast))
    }

    fn verified(&self, archive: &Archive, suite: &str, message: &[u8]) -> Result<Release, Error> {
        let (archive_name, suite) = (archive.name.clone(), suite.to_owned());
        let text = match archive.keyring.verify(message, self.now) {
            Ok(text) => text,
            Err(cause) => return Err(Error::Untrusted { archive: archive_name, suite, cause }),
        };
        let release = Release::parse(&text);
        if release.codename != suite && release.suite != suite {
            let (found_suite, found_codename) = (release.suite, release.codename);
            return Err(Error::WrongSuite { archive: archive_name, suite, found_suite, found_codename });
        }
        let end = release.valid_until.map(Moment::seconds);
        if let Some(end) = end.filter(|end| self.now > end + CLOCK_SKEW) {
            return Err(Error::Expired { archive: archive_name, suite, days: (self.now - end) / 86_400 });
        }
        Ok(release)
    }

    /// Fetches an index into the store and reads it while it passes: unpacking takes as long as a download.
    fn fetch_index(&self, suite: &Suite<'_>, index: &Index, advance: &dyn Fn(u64)) -> Result<Vec<u8>, Error> {
        let folder = format!("dists/{}", suite.name);
        let mut paths = vec![format!("{folder}/{}", index.path)];
        if let Some((parent, _)) = index.path.rsplit_once('/').filter(|_| suite.release.by_hash) {
            paths.insert(0, format!("{folder}/{parent}/by-hash/SHA256/{}", index.digest.hex()));
        }
        let mut absent = None;
        for path in paths {
            match self.http.get(&join(&suite.archive.url, &path)?) {
                Ok(response) => return self.read_index(suite, index, response, advance),
                Err(error) if error.is_not_found() => absent = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(absent.map_or_else(|| unreachable!("there is at least one path"), Error::Http))
    }

    fn read_index(
        &self,
        suite: &Suite<'_>,
        index: &Index,
        source: impl Read,
        advance: &dyn Fn(u64),
    ) -> Result<Vec<u8>, Error> {
        let what = format!("the package index of `{}` ({})", suite.name, human_bytes(index.size));
        let (sender, receiver) = std::sync::mpsc::sync_channel(CHUNKS_AHEAD);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let source = BufReader::new(Passed { receiver, chunk: Vec::new(), at: 0 });
                digest_index(unpack(source, &index.path), self.architecture)
            });
            let mut source = Passing { source, sender };
            let stored =
                self.store.insert(&what, &mut source, &index.digest, Some(index.size), &mut |bytes| advance(bytes));
            // The reader sees the end of its bytes.
            drop(source);
            let table = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // What was read counts only if the bytes were the right ones.
            let path = stored?;
            table.map_err(|source| Error::Io { action: "read", path, source })
        })
    }
}

/// A packed `Packages` that a Release lists.
struct Index {
    /// Below the suite's folder.
    path: String,
    digest: Digest,
    size: u64,
}

/// The forms of a component's `Packages` that the Release lists, the one to fetch first.
fn find_indexes(suite: &Suite<'_>, component: &str, architecture: &str) -> Vec<Index> {
    let forms = match suite.is_fast {
        true => ["Packages.gz", "Packages.xz", "Packages"],
        false => ["Packages.xz", "Packages.gz", "Packages"],
    };
    let listed = forms.iter().filter_map(|file| {
        let path = format!("{component}/binary-{architecture}/{file}");
        suite.release.files.get(&path).map(|&(digest, size)| Index { path, digest, size })
    });
    listed.collect()
}

/// A source whose bytes go to another thread as well, which may stop listening.
struct Passing<R> {
    source: R,
    sender: SyncSender<Vec<u8>>,
}

impl<R: Read> Read for Passing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        if count > 0 {
            let _ = self.sender.send(buffer[..count].to_vec());
        }
        Ok(count)
    }
}

/// The other end of [`Passing`].
struct Passed {
    receiver: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Passed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.chunk.len() {
            let Ok(chunk) = self.receiver.recv() else { return Ok(0) };
            (self.chunk, self.at) = (chunk, 0);
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn is_race(error: &Error) -> bool {
    match error {
        Error::Http(error) => error.is_not_found(),
        Error::Store(error) => matches!(error, store::Error::WrongDigest { .. } | store::Error::WrongSize { .. }),
        _ => false,
    }
}

fn unpack<'a>(source: impl BufRead + 'a, index: &str) -> impl Read + 'a {
    let reader: Box<dyn Read + 'a> = match index.rsplit_once('.') {
        Some((_, "xz")) => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(source)),
        Some((_, "gz")) => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        _ => Box::new(source),
    };
    reader.take(MAX_INDEX_BYTES)
}

/// `root` with `path` below it, whether or not the settings end the root with a slash.
pub(super) fn join(root: &Url, path: &str) -> Result<Url, Error> {
    let mut root = root.clone();
    if !root.path().ends_with('/') {
        root.set_path(&format!("{}/", root.path()));
    }
    // A colon in the first segment would read as a scheme: `./` keeps it a path.
    root.join(&format!("./{}", path.replace('%', "%25").replace('+', "%2B"))).map_err(|error| {
        Error::Http(http::Error::Transport {
            method: "GET".to_owned(),
            url: crate::redact::url(&root),
            cause: format!("`{path}`: {error}"),
        })
    })
}

/// An `InRelease` as the store remembers it.
struct Remembered {
    fetched: u64,
    modified: String,
    text: String,
}

impl Remembered {
    fn parse(text: &str) -> Option<Self> {
        let (fetched, rest) = text.split_once('\n')?;
        let (modified, text) = rest.split_once('\n')?;
        Some(Self { fetched: fetched.parse().ok()?, modified: modified.to_owned(), text: text.to_owned() })
    }

    fn to_text(&self) -> String {
        format!("{}\n{}\n{}", self.fetched, self.modified, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::resolve::{Wanted, resolve};
    use super::super::status::installed_packages;
    use super::super::testing::{Server, gzip, index_entry, sign, test_keyring, xz};
    use super::*;
    use crate::diagnostic::Hint as _;

    const RELEASE: &str = "dists/trixie/InRelease";
    const INDEX: &str = "dists/trixie/main/binary-amd64/Packages.xz";

    /// An archive with one package `a`, its store, and a client.
    struct World {
        server: Server,
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            Self { server: Server::start(), folder: tempfile::tempdir().expect("a temporary folder") }
        }

        /// Publishes a version of `a`; `more` goes into the Release file.
        fn publish(&self, version: &str, more: &str) -> Vec<u8> {
            let packed = xz(index_entry("a", version, "").as_bytes());
            self.server.put(RELEASE, sign(&release_text(&packed, more)));
            self.server.put(INDEX, packed.clone());
            packed
        }

        fn archive(&self) -> Archive {
            Archive {
                name: "debian".to_owned(),
                url: self.server.url.clone(),
                suites: vec!["trixie".to_owned()],
                components: vec!["main".to_owned()],
                keyring: test_keyring(),
                snapshot: None,
            }
        }

        fn read(&self, offline: bool) -> Result<Vec<String>, Error> {
            let archive = self.archive();
            let http = http::Client::new(&http::Options { offline, ..http::Options::default() }).expect("a client");
            let store = Store::open(self.folder.path());
            let packages = fetch_packages(&[archive], Platform::AMD64, &http, &store, &Progress::hidden())?;
            let states = packages.states().iter().map(|state| format!("{} {}", state.suite, state.date));
            assert_eq!(states.collect::<Vec<_>>(), ["trixie 2026-01-01T00:00:00Z"]);
            Ok(packages.versions("a")?.iter().map(|package| package.version.to_string()).collect())
        }

        fn forget_indexes(&self) {
            for part in ["blobs".to_owned(), format!("facts/{TABLES}")] {
                std::fs::remove_dir_all(self.folder.path().join(part)).expect("removed");
            }
        }

        /// Makes what the store remembers of `InRelease` old enough to be asked for again.
        fn age(&self) {
            let store = Store::open(self.folder.path());
            let url = join(&self.server.url, RELEASE).expect("a URL");
            let text = store.recall("debian-inrelease", url.as_str()).expect("remembered");
            let old = Remembered { fetched: 0, ..Remembered::parse(&text).expect("readable") };
            store.remember("debian-inrelease", url.as_str(), &old.to_text()).expect("remembered");
        }
    }

    fn release_text(packed: &[u8], more: &str) -> String {
        let digest = Digest::of(packed).hex();
        let size = packed.len();
        let date = "Thu, 01 Jan 2026 00:00:00 UTC";
        format!(
            "Suite: stable\nCodename: trixie\nDate: {date}\n{more}SHA256:\n {digest} {size} main/binary-amd64/Packages.xz\n"
        )
    }

    #[test]
    fn reads_a_signed_index_and_remembers_it() {
        let world = World::new();
        world.publish("1", "");
        assert_eq!(world.read(false).expect("read"), ["1"]);
        assert_eq!(world.server.take_requests(), [RELEASE, INDEX]);
        assert_eq!(world.read(false).expect("read"), ["1"]);
        assert_eq!(world.server.take_requests(), Vec::<String>::new());
        world.age();
        assert_eq!(world.read(true).expect("read offline"), ["1"]);
        assert_eq!(world.read(false).expect("confirmed"), ["1"]);
        assert_eq!(world.server.take_requests(), [RELEASE]);
    }

    #[test]
    fn reads_an_index_through_only_once() {
        let world = World::new();
        let packed = world.publish("1", "");
        assert_eq!(world.read(false).expect("read"), ["1"]);
        // The packed index is not looked at again, and made use of when what is kept of it is gone.
        let blob = Store::open(world.folder.path()).blob_path(&Digest::of(&packed));
        std::fs::write(&blob, b"damaged").expect("written");
        assert_eq!(world.read(true).expect("read"), ["1"]);
        std::fs::write(&blob, packed).expect("written");
        std::fs::remove_dir_all(world.folder.path().join("facts").join(TABLES)).expect("removed");
        assert_eq!(world.read(true).expect("read anew"), ["1"]);
    }

    #[test]
    fn what_is_kept_is_made_again_when_damaged() {
        let world = World::new();
        world.publish("1", "");
        assert_eq!(world.read(false).expect("read"), ["1"]);
        let files = |folder: &std::path::Path| {
            let entries = std::fs::read_dir(folder).expect("a folder");
            entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
        };
        let path = files(&files(&world.folder.path().join("facts").join(TABLES))[0]).remove(0);
        let text = std::fs::read_to_string(&path).expect("readable");
        std::fs::write(&path, text.replace("Version: 1", "Version: 7")).expect("written");
        let error = world.read(true).expect_err("damaged");
        assert!(matches!(error, Error::DamagedIndex { .. }), "{error}");
        assert_eq!(world.read(true).expect("made again"), ["1"]);
        std::fs::write(&path, &text[..100]).expect("written");
        assert_eq!(world.read(true).expect("made again"), ["1"]);
    }

    /// Ubuntu's form: two components, a suite of updates, a base image with packages of its own.
    #[test]
    fn resolves_against_a_base_from_every_component_and_suite() {
        let server = Server::start();
        let publish = |suite: &str, components: [String; 2]| {
            let mut release =
                format!("Suite: {suite}\nCodename: jammy\nDate: Thu, 21 Apr 2022 17:16:08 UTC\nSHA256:\n");
            for (component, index) in ["main", "universe"].iter().zip(components) {
                let packed = gzip(index.as_bytes());
                let path = format!("{component}/binary-amd64/Packages.gz");
                release.push_str(&format!(" {} {} {path}\n", Digest::of(&packed).hex(), packed.len()));
                server.put(&format!("dists/{suite}/{path}"), packed);
            }
            server.put(&format!("dists/{suite}/InRelease"), sign(&release));
        };
        let python = "Depends: libc6 (>= 2.35), media-types | mime-support, libexpat1 (>= 2.5)\n";
        let main = [index_entry("python3.10", "3.10.4-3", python), index_entry("media-types", "7.0.0", "")];
        let universe = index_entry("libgl-extra", "1", "Depends: python3.10\nBreaks: cuda-old (<< 12)\n");
        publish("jammy", [main.concat(), universe]);
        let main = [index_entry("python3.10", "3.10.12-1~22.04.9", python), index_entry("libexpat1", "2.5.0-1", "")];
        publish("jammy-updates", [main.concat(), String::new()]);

        let folder = tempfile::tempdir().expect("a temporary folder");
        let http = http::Client::new(&http::Options::default()).expect("a client");
        let archive = Archive {
            name: "ubuntu".to_owned(),
            url: server.url.clone(),
            suites: vec!["jammy".to_owned(), "jammy-updates".to_owned()],
            components: vec!["main".to_owned(), "universe".to_owned()],
            keyring: test_keyring(),
            snapshot: None,
        };
        let store = Store::open(folder.path());
        let packages = fetch_packages(&[archive], Platform::AMD64, &http, &store, &Progress::hidden()).expect("read");
        assert_eq!(packages.states().len(), 2);
        let installed = |name: &str, version: &str| {
            format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\n\n")
        };
        let base = [
            installed("libc6", "2.35-0ubuntu3.8"),
            installed("libexpat1", "2.4.7-1"),
            installed("cuda-old", "12.4.1-1").replace("install ok", "hold ok"),
        ];
        let resolve = |name: &str, base: &str| {
            let wanted = [Wanted::named(name, "`system`")];
            let debs = resolve(&packages, &wanted, &installed_packages(base.as_bytes(), "amd64"))?;
            Ok::<_, Error>(debs.iter().map(|deb| format!("{} {} {}", deb.archive, deb.name, deb.version)).collect())
        };
        let chosen: Vec<String> = resolve("libgl-extra", &base.concat()).expect("resolved");
        assert_eq!(
            chosen,
            [
                "ubuntu libexpat1 2.5.0-1",
                "ubuntu libgl-extra 1",
                "ubuntu media-types 7.0.0",
                "ubuntu python3.10 3.10.12-1~22.04.9",
            ]
        );
        let old = base.concat().replace("12.4.1-1", "11.8.0-1");
        assert!(matches!(resolve("libgl-extra", &old), Err(Error::Conflict { other, .. }) if other == "cuda-old"));
        assert!(
            matches!(resolve("python3.10", ""), Err(Error::Unsatisfiable { package, .. }) if package == "python3.10")
        );
    }

    #[test]
    fn asks_for_the_index_by_its_hash_first() {
        let world = World::new();
        let packed = world.publish("1", "Acquire-By-Hash: yes\n");
        let by_hash = format!("dists/trixie/main/binary-amd64/by-hash/SHA256/{}", Digest::of(&packed).hex());
        assert_eq!(world.read(false).expect("read by the plain path"), ["1"]);
        assert_eq!(world.server.take_requests(), [RELEASE, by_hash.as_str(), INDEX]);

        let other = World::new();
        other.publish("1", "Acquire-By-Hash: yes\n");
        other.server.put(&by_hash, packed);
        other.server.remove(INDEX);
        assert_eq!(other.read(false).expect("read by hash"), ["1"]);
    }

    #[test]
    fn looks_once_more_when_index_and_release_are_of_different_times() {
        let world = World::new();
        world.publish("1", "");
        assert_eq!(world.read(false).expect("read"), ["1"]);
        // The index moved on; the remembered Release, still fresh, names one that neither store nor server has.
        let old = world.publish("2", "");
        world.forget_indexes();
        assert_eq!(world.read(false).expect("read anew"), ["2"]);
        // An index that never fits is an error, after two attempts.
        world.server.put(INDEX, xz(&old));
        world.forget_indexes();
        world.server.take_requests();
        assert!(matches!(world.read(false), Err(Error::Store(_))));
        assert_eq!(world.server.take_requests(), [INDEX, RELEASE, INDEX]);
    }

    #[test]
    fn refuses_expired_foreign_and_unsigned_suites() {
        let world = World::new();
        world.publish("1", "Valid-Until: Thu, 01 Jan 2026 00:00:00 UTC\n");
        let error = world.read(false).expect_err("expired");
        assert!(matches!(&error, Error::Expired { suite, .. } if suite == "trixie"), "{error}");
        assert!(!error.help().is_empty());

        let packed = world.publish("1", "");
        world.server.put(RELEASE, sign(&release_text(&packed, "").replace("trixie", "bookworm")));
        assert!(matches!(world.read(false), Err(Error::WrongSuite { .. })));

        world.server.put(RELEASE, release_text(&packed, ""));
        assert!(matches!(world.read(false), Err(Error::Untrusted { .. })));

        world.server.put(RELEASE, sign("Codename: trixie\n"));
        assert!(matches!(world.read(false), Err(Error::NoIndex { .. })));
    }

    #[test]
    fn takes_the_larger_form_where_bytes_are_cheap_and_any_form_that_is_here() {
        const LARGER: &str = "dists/trixie/main/binary-amd64/Packages.gz";
        let world = World::new();
        let text = index_entry("a", "1", "");
        let (small, large) = (xz(text.as_bytes()), gzip(text.as_bytes()));
        world.server.put(INDEX, small.clone());
        world.server.put(LARGER, large.clone());
        let listed = [("Packages.xz", &small), ("Packages.gz", &large)]
            .map(|(file, packed)| format!(" {} {} main/binary-amd64/{file}\n", Digest::of(packed).hex(), packed.len()));
        let release = Release::parse(&format!("Codename: trixie\nSHA256:\n{}", listed.concat()));
        let archive = world.archive();
        let http = http::Client::new(&http::Options::default()).expect("a client");
        let store = Store::open(world.folder.path());
        let fetcher = Fetcher { http: &http, store: &store, now: 0, architecture: "amd64" };
        let read = |is_fast| {
            let suite = Suite { archive: &archive, name: "trixie", release: release.clone(), is_fast };
            let table = fetcher.table(&suite, "main", &|_| {}).expect("a table");
            assert_eq!(table.packages("a").expect("read").count(), 1);
            world.server.take_requests()
        };
        assert_eq!(read(false), [INDEX]);
        assert_eq!(read(true), Vec::<String>::new(), "what is kept of one form is that of the other");
        world.forget_indexes();
        assert_eq!(read(true), [LARGER]);
        std::fs::remove_dir_all(world.folder.path().join("facts").join(TABLES)).expect("removed");
        assert_eq!(read(false), Vec::<String>::new(), "any form that is here does");
    }

    #[test]
    fn unpacks_by_the_name_of_the_index() {
        for (index, bytes) in
            [("Packages", b"text".to_vec()), ("Packages.gz", gzip(b"text")), ("Packages.xz", xz(b"text"))]
        {
            let mut text = String::new();
            unpack(bytes.as_slice(), index).read_to_string(&mut text).expect("unpacked");
            assert_eq!(text, "text");
        }
    }

    #[test]
    fn joins_paths_below_the_root() {
        let url = |root: &str, path: &str| join(&root.parse().expect("a URL"), path).expect("joined").to_string();
        assert_eq!(
            url("http://mirror.test/debian", "pool/a_1%3a2+b.deb"),
            "http://mirror.test/debian/pool/a_1%253a2%2Bb.deb"
        );
        assert_eq!(url("http://mirror.test/debian/", "dists/x"), "http://mirror.test/debian/dists/x");
    }
}
