//! METADATA of wheels that a lock names. Their page is asked for only where nothing here has them: what a wheel says of
//! itself is as fixed as its sha256.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use url::Url;

use super::flight::lock;
use super::metadata::{CACHE_KIND, from_archive, seal, unseal};
use super::{Error, IndexClient, Inner};
use crate::lock::LockedWheel;
use crate::oci::Digest;
use crate::packaging::{FileKind, Metadata, MetadataOffer, ProjectFile};
use crate::version::WheelPlace;
use crate::version::wheel_tag::WheelFilename;

/// Wheels that are asked about at a time.
const PARALLEL: usize = 8;

/// METADATA of one wheel, none, or what is wrong with it.
type Outcome = Result<Option<Vec<u8>>, Error>;

impl IndexClient {
    /// The METADATA files of locked wheels, in their order; the reason where one cannot be read. No wheel is downloaded for
    /// it: `None` is one that would have to be, or that is behind an index which does not answer.
    pub fn locked_metadata(&self, wheels: &[&LockedWheel]) -> Vec<Outcome> {
        let next = AtomicUsize::new(0);
        // One index that does not answer is waited for once, not for every wheel.
        let unreachable = AtomicBool::new(false);
        let found: Mutex<BTreeMap<usize, Outcome>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(wheels.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(wheel) = wheels.get(at) else { return };
                        let outcome = self.inner.metadata_of_locked(wheel, unreachable.load(Ordering::Relaxed));
                        if matches!(&outcome, Err(Error::Http { .. })) {
                            unreachable.store(true, Ordering::Relaxed);
                        }
                        lock(&found).insert(at, outcome);
                    }
                });
            }
        });
        std::mem::take(&mut *lock(&found)).into_values().collect()
    }

    /// Where the index of the wheel has its file, without credentials.
    pub fn address_of_locked(&self, wheel: &LockedWheel) -> Result<Url, Error> {
        let mut url = match &wheel.url {
            Some(place) => self.inner.url_of(place)?,
            None => self.inner.find(&self.inner.location(&wheel.index)?, wheel)?.url,
        };
        // Neither can fail for an address that has a host.
        let _ = (url.set_username(""), url.set_password(None));
        Ok(url)
    }
}

impl Inner {
    fn metadata_of_locked(&self, wheel: &LockedWheel, kept_only: bool) -> Outcome {
        if let Some(bytes) = self.kept_metadata(&wheel.digest)
            && Metadata::parse(&bytes).is_ok()
        {
            return Ok(Some(bytes));
        }
        let name: WheelFilename = wheel.file.parse().map_err(|_| Error::NotAWheel { file: wheel.file.clone() })?;
        let location = self.location(&wheel.index)?;
        if let Some(path) = self.store.blob(&wheel.digest)
            && let Ok(mut local) = File::open(path)
        {
            return from_archive(&mut local, &name, &wheel.file, &location).map(Some);
        }
        if kept_only || self.http.is_offline() {
            return Ok(None);
        }
        let mut file = match &wheel.url {
            // A wheel beside the spec is whole already.
            Some(WheelPlace::File(_)) => {
                self.download(wheel, &|_| {})?;
                return self.metadata_of_locked(wheel, true);
            }
            Some(place @ WheelPlace::Url(_)) => ProjectFile {
                filename: wheel.file.clone(),
                kind: FileKind::Other,
                version: None,
                url: self.url_of(place)?,
                size: Some(wheel.size),
                digest: None,
                requires_python: None,
                yanked: None,
                metadata: MetadataOffer::Unknown,
            },
            None => self.find(&location, wheel)?,
        };
        // The lock knows what the page may not say.
        file.digest = Some(wheel.digest);
        let Some((bytes, _)) = self.fetch_metadata_alone(&location, &file, &name)? else { return Ok(None) };
        // A cache that cannot be written costs time at the next run and nothing now.
        let _ = self.store.remember_bytes(CACHE_KIND, &wheel.digest.to_string(), &seal(&bytes));
        Ok(Some(bytes))
    }

    fn kept_metadata(&self, digest: &Digest) -> Option<Vec<u8>> {
        let kept = self.store.recall_bytes(CACHE_KIND, &digest.to_string())?;
        unseal(&kept).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::test_server::{Answer, Request, TestServer};
    use super::super::wheel_archive::tests::archive;
    use super::*;
    use crate::http;
    use crate::settings::{Environment, Settings};
    use crate::store::Store;

    const METADATA: &[u8] = b"Name: foo\nVersion: 1.0\nLicense: MIT\n";

    fn wheel_bytes() -> Vec<u8> {
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive(&[("foo-1.0.dist-info/METADATA", METADATA)], stored)
    }

    fn wheel() -> LockedWheel {
        LockedWheel {
            name: "foo".to_owned(),
            version: "1.0".to_owned(),
            index: "default".to_owned(),
            url: None,
            file: "foo-1.0-py3-none-any.whl".to_owned(),
            size: wheel_bytes().len() as u64,
            digest: Digest::of(&wheel_bytes()),
        }
    }

    fn client(root: &Url, store: &Store) -> IndexClient {
        let mut environment = Environment { root: "/nonexistent".into(), ..Environment::default() };
        environment.variables.insert("IMGFORGE_INDEX_URL".to_owned(), root.to_string());
        let settings = Settings::load(&environment).expect("settings");
        let http = http::Client::new(&http::Options::default()).expect("a client");
        IndexClient::new(http, store.clone(), Arc::new(settings))
    }

    fn server() -> TestServer {
        TestServer::start(|request: &Request| match request.path.as_str() {
            "/foo/" => Answer::new(200, r#"<a href="/files/foo-1.0-py3-none-any.whl">foo-1.0-py3-none-any.whl</a>"#)
                .header("Content-Type", "text/html"),
            "/files/foo-1.0-py3-none-any.whl.metadata" => Answer::new(200, METADATA),
            _ => Answer::new(404, ""),
        })
    }

    #[test]
    fn metadata_of_a_locked_wheel_is_fetched_once_and_then_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (server, store) = (server(), Store::open(folder.path()));
        let client_of = || client(&server.url("/"), &store);
        let found = client_of().locked_metadata(&[&wheel(), &wheel()]);
        let found: Vec<Vec<u8>> = found.into_iter().map(|outcome| outcome.expect("metadata").expect("found")).collect();
        assert_eq!(found, [METADATA, METADATA]);
        let asked = server.requests().len();
        assert_eq!(client_of().locked_metadata(&[&wheel()]).remove(0).expect("kept").as_deref(), Some(METADATA));
        assert_eq!(server.requests().len(), asked, "nothing is asked twice");
        assert_eq!(
            client_of().address_of_locked(&wheel()).expect("an address"),
            server.url("/files/foo-1.0-py3-none-any.whl")
        );
    }

    #[test]
    fn a_wheel_in_the_store_needs_no_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path());
        let bytes = wheel_bytes();
        store.insert("foo", &mut bytes.as_slice(), &Digest::of(&bytes), None, &mut |_| {}).expect("stored");
        let nowhere = Url::parse("http://127.0.0.1:9/").expect("an address");
        let found = client(&nowhere, &store).locked_metadata(&[&wheel()]).remove(0);
        assert_eq!(found.expect("from the wheel").as_deref(), Some(METADATA));
    }

    #[test]
    fn no_wheel_is_downloaded_for_its_metadata() {
        let server = TestServer::start(|request: &Request| match request.path.as_str() {
            "/foo/" => {
                Answer::typed("text/html", "<a href='/files/foo-1.0-py3-none-any.whl'>foo-1.0-py3-none-any.whl</a>")
            }
            "/files/foo-1.0-py3-none-any.whl" => Answer::new(200, wheel_bytes()),
            _ => Answer::new(404, ""),
        });
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path());
        let found = client(&server.url("/"), &store).locked_metadata(&[&wheel()]).remove(0);
        assert_eq!(found.expect("an answer"), None);
        assert_eq!(store.blob(&wheel().digest), None);
    }

    #[test]
    fn an_index_that_does_not_answer_is_waited_for_once() {
        let server = TestServer::start(|_: &Request| Answer::new(403, ""));
        let folder = tempfile::tempdir().expect("a folder");
        let wheels: Vec<LockedWheel> = (0..40)
            .map(|number| LockedWheel { digest: Digest::of(&[number]), name: format!("p{number}"), ..wheel() })
            .collect();
        let wheels: Vec<&LockedWheel> = wheels.iter().collect();
        let found = client(&server.url("/"), &Store::open(folder.path())).locked_metadata(&wheels);
        assert_eq!(found.len(), 40);
        assert!(found.iter().any(Result::is_err) && found.last().is_some_and(|last| matches!(last, Ok(None))));
        assert!(server.requests().len() < 20, "{} requests", server.requests().len());
    }
}
