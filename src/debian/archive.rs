//! Signed indexes of an archive: `InRelease`, and from it `Packages`, each checked against what vouches for it.
//!
//! The chain is pinned key, `InRelease`, sha256 and size of `Packages`, sha256 and size of each .deb. `Packages` lies in
//! the store under its hash; the text of `InRelease` is remembered and asked for again after [`FRESH`] seconds, so a lock
//! can be made offline as long as the suite has not expired.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{StatusCode, header};
use url::Url;

use crate::http;
use crate::oci::{Digest, Platform};
use crate::progress::{Progress, human_bytes};
use crate::store::{self, Store};

use super::error::Error;
use super::keyring::{CLOCK_SKEW, Keyring};
use super::packages::PackageSet;
use super::release::Release;

/// Seconds for which a remembered `InRelease` is used without asking.
const FRESH: u64 = 600;
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
    /// Keys that may sign it.
    pub keyring: Keyring,
}

/// A verified suite and where it came from.
struct Suite<'a> {
    archive: &'a Archive,
    name: &'a str,
    release: Release,
}

/// What is needed to fetch.
struct Fetcher<'a> {
    http: &'a http::Client,
    store: &'a Store,
    now: u64,
}

/// Reads the `main` packages of all suites of all archives for `platform`: verified, from the cache where that is fresh.
/// When a version is in two archives, the one named first has it.
pub fn fetch_packages(
    archives: &[Archive],
    platform: Platform,
    http: &http::Client,
    store: &Store,
    progress: &Progress,
) -> Result<PackageSet, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let fetcher = Fetcher { http, store, now };
    let task = progress.task("reading Debian's package indexes", None);
    let architecture = platform.architecture_name();
    // One thread per suite: unpacking and reading an index takes about as long as fetching it.
    let results: Vec<Result<PackageSet, Error>> = std::thread::scope(|scope| {
        let suites = archives.iter().flat_map(|archive| archive.suites.iter().map(move |suite| (archive, suite)));
        let threads: Vec<_> = suites
            .map(|(archive, suite)| {
                let (fetcher, task) = (&fetcher, &task);
                scope.spawn(move || fetcher.read_suite(archive, suite, architecture, &|bytes| task.advance(bytes)))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut packages = PackageSet::new(architecture);
    for result in results {
        packages.merge(result?);
    }
    let suites: BTreeSet<&str> = archives.iter().flat_map(|archive| &archive.suites).map(String::as_str).collect();
    let suites = suites.into_iter().collect::<Vec<_>>().join(", ");
    task.done(format!("read Debian's package indexes of {suites} for {architecture}"));
    Ok(packages)
}

impl Fetcher<'_> {
    fn read_suite(
        &self,
        archive: &Archive,
        suite: &str,
        architecture: &str,
        advance: &dyn Fn(u64),
    ) -> Result<PackageSet, Error> {
        let mut renewed = false;
        loop {
            let release = self.release(archive, suite, renewed)?;
            let (index, digest, size) = find_index(&release, architecture).ok_or_else(|| Error::NoIndex {
                archive: archive.name.clone(),
                suite: suite.to_owned(),
                architecture: architecture.to_owned(),
            })?;
            let source = Suite { archive, name: suite, release };
            let path = match self.store.blob(&digest) {
                Some(path) => path,
                // An archive being updated may hold a new index beside an old `InRelease`, or the reverse: look once more.
                None => match self.fetch_index(&source, &index, &digest, size, advance) {
                    Err(error) if !renewed && is_race(&error) => {
                        renewed = true;
                        continue;
                    }
                    result => result?,
                },
            };
            let mut packages = PackageSet::new(architecture);
            let failed = |source| Error::Io { action: "read", path: path.clone(), source };
            packages.read(&archive.name, unpack(&path, &index).map_err(failed)?).map_err(failed)?;
            return Ok(packages);
        }
    }

    /// The verified Release of a suite: remembered, confirmed by the server, or fetched.
    fn release(&self, archive: &Archive, suite: &str, renew: bool) -> Result<Release, Error> {
        let url = join(&archive.url, &format!("dists/{suite}/InRelease"))?;
        let remembered = self.store.recall("debian-inrelease", url.as_str()).and_then(|text| Remembered::parse(&text));
        let usable = remembered.filter(|remembered| {
            self.verified(archive, suite, remembered.text.as_bytes()).is_ok() || self.http.is_offline()
        });
        if let Some(remembered) = &usable
            && (self.http.is_offline() || !renew && self.now.saturating_sub(remembered.fetched) < FRESH)
        {
            return self.verified(archive, suite, remembered.text.as_bytes());
        }
        let mut response = self.http.send(|client| {
            let request = client.get(url.clone());
            match usable.as_ref().filter(|_| !renew).map(|remembered| &remembered.modified) {
                Some(modified) if !modified.is_empty() => request.header(header::IF_MODIFIED_SINCE, modified),
                _ => request,
            }
        })?;
        let confirmed = usable.filter(|_| response.status() == StatusCode::NOT_MODIFIED);
        let current = if let Some(remembered) = confirmed {
            Remembered { fetched: self.now, ..remembered }
        } else {
            let modified = response.headers().get(header::LAST_MODIFIED).and_then(|value| value.to_str().ok());
            let modified = modified.unwrap_or_default().to_owned();
            let mut bytes = Vec::new();
            let broken = |error: std::io::Error| http::Error::Transport {
                method: "GET".to_owned(),
                url: crate::redact::url(&url),
                cause: error.to_string(),
            };
            response.by_ref().take(MAX_RELEASE_BYTES).read_to_end(&mut bytes).map_err(broken)?;
            Remembered { fetched: self.now, modified, text: String::from_utf8_lossy(&bytes).into_owned() }
        };
        let release = self.verified(archive, suite, current.text.as_bytes())?;
        self.store.remember("debian-inrelease", url.as_str(), &current.to_text())?;
        Ok(release)
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
        if let Some(end) = release.valid_until.filter(|end| self.now > end + CLOCK_SKEW) {
            return Err(Error::Expired { archive: archive_name, suite, days: (self.now - end) / 86_400 });
        }
        Ok(release)
    }

    fn fetch_index(
        &self,
        suite: &Suite<'_>,
        index: &str,
        digest: &Digest,
        size: u64,
        advance: &dyn Fn(u64),
    ) -> Result<std::path::PathBuf, Error> {
        let folder = format!("dists/{}", suite.name);
        let plain = format!("{folder}/{index}");
        let what = format!("the package index of `{}` ({})", suite.name, human_bytes(size));
        let mut paths = vec![plain];
        if let Some((parent, _)) = index.rsplit_once('/').filter(|_| suite.release.by_hash) {
            paths.insert(0, format!("{folder}/{parent}/by-hash/SHA256/{}", digest.hex()));
        }
        let mut outcome = None;
        for path in paths {
            match self.http.get(&join(&suite.archive.url, &path)?) {
                Ok(mut response) => {
                    let stored =
                        self.store.insert(&what, &mut response, digest, Some(size), &mut |bytes| advance(bytes));
                    return Ok(stored?);
                }
                Err(error) if error.is_not_found() => outcome = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(outcome.map_or_else(
            || Error::NoIndex {
                archive: suite.archive.name.clone(),
                suite: suite.name.to_owned(),
                architecture: index.to_owned(),
            },
            Error::Http,
        ))
    }
}

/// The best packed `Packages` that the Release lists: path below the suite, hash, size.
fn find_index(release: &Release, architecture: &str) -> Option<(String, Digest, u64)> {
    ["Packages.xz", "Packages.gz", "Packages"].iter().find_map(|file| {
        let path = format!("main/binary-{architecture}/{file}");
        release.files.get(&path).map(|&(digest, size)| (path, digest, size))
    })
}

fn is_race(error: &Error) -> bool {
    match error {
        Error::Http(error) => error.is_not_found(),
        Error::Store(error) => matches!(error, store::Error::WrongDigest { .. } | store::Error::WrongSize { .. }),
        _ => false,
    }
}

fn unpack(path: &Path, index: &str) -> std::io::Result<Box<dyn BufRead>> {
    let file = BufReader::new(File::open(path)?);
    let reader: Box<dyn Read> = match index.rsplit_once('.') {
        Some((_, "xz")) => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file)),
        Some((_, "gz")) => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        _ => Box::new(file),
    };
    Ok(Box::new(BufReader::with_capacity(64 * 1024, reader.take(MAX_INDEX_BYTES))))
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

        fn read(&self, offline: bool) -> Result<Vec<String>, Error> {
            let archive = Archive {
                name: "debian".to_owned(),
                url: self.server.url.clone(),
                suites: vec!["trixie".to_owned()],
                keyring: test_keyring(),
            };
            let http = http::Client::new(&http::Options { offline, ..http::Options::default() }).expect("a client");
            let store = Store::open(self.folder.path());
            let packages = fetch_packages(&[archive], Platform::AMD64, &http, &store, &Progress::hidden())?;
            Ok(packages.versions("a").iter().map(|package| package.version.to_string()).collect())
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
        format!("Suite: stable\nCodename: trixie\n{more}SHA256:\n {digest} {size} main/binary-amd64/Packages.xz\n")
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
        std::fs::remove_dir_all(world.folder.path().join("blobs")).expect("removed");
        assert_eq!(world.read(false).expect("read anew"), ["2"]);
        // An index that never fits is an error, after two attempts.
        world.server.put(INDEX, xz(&old));
        std::fs::remove_dir_all(world.folder.path().join("blobs")).expect("removed");
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
    fn unpacks_by_the_name_of_the_index() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (index, bytes) in
            [("Packages", b"text".to_vec()), ("Packages.gz", gzip(b"text")), ("Packages.xz", xz(b"text"))]
        {
            let path = folder.path().join(index);
            std::fs::write(&path, bytes).expect("written");
            let mut text = String::new();
            unpack(&path, index).expect("opened").read_to_string(&mut text).expect("unpacked");
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
