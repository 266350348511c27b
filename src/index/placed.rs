//! Wheels that no index holds: a spec names them by address or by path.
//!
//! They enter the store when they are looked at first, checked against the hash that the spec or the lock gives, so that
//! METADATA is read from the very bytes that will be installed. Credentials of a host come from netrc, or from the default
//! index where that lives on the same host.

use std::fs::File;
use std::path::PathBuf;

use url::Url;

use super::{DIRECT, Error, Inner, store_error};
use crate::lock::LockedWheel;
use crate::oci::Digest;
use crate::packaging::{FileKind, MetadataOffer, ProjectFile, classify};
use crate::settings::{DEFAULT_INDEX, IndexLocation};
use crate::store;
use crate::version::WheelPlace;
use crate::version::wheel_tag::WheelFilename;

impl Inner {
    /// The location that stands for all such wheels: its credentials are the default index's.
    pub(super) fn direct_location(&self) -> Option<IndexLocation> {
        self.settings.index_url(DEFAULT_INDEX).map(|default| IndexLocation { name: DIRECT.to_owned(), ..default })
    }

    /// The wheel at a place, in the store, with digest and size; `allowed` empty takes any bytes.
    pub(super) fn placed_wheel(&self, place: &WheelPlace, allowed: &[Digest]) -> Result<ProjectFile, Error> {
        let filename = place.file_name();
        let project = filename.parse::<WheelFilename>().map(|wheel| wheel.name).unwrap_or_default();
        let (kind, version) = classify(&filename, &project);
        if !matches!(kind, FileKind::Wheel(_)) {
            return Err(Error::NotAWheel { file: filename });
        }
        let mut file = ProjectFile {
            filename,
            kind,
            version,
            url: self.url_of(place)?,
            size: None,
            digest: None,
            requires_python: None,
            yanked: None,
            metadata: MetadataOffer::Unknown,
        };
        let known = allowed.iter().find_map(|digest| Some((*digest, self.store.blob(digest)?)));
        let (digest, path) = match (known, allowed, place) {
            (Some(known), ..) => known,
            (None, [only], _) => (*only, self.fetch_placed(place, &file, only, None, &|_| {})?),
            (None, _, WheelPlace::File(path)) => {
                let real = self.settings.folder.join(path);
                let (digest, _) = store::digest_file(&real).map_err(|source| self.unreadable(place, source))?;
                (digest, self.fetch_placed(place, &file, &digest, None, &|_| {})?)
            }
            (None, _, WheelPlace::Url(_)) => {
                let (digest, _) = self.identify(DIRECT, &file)?;
                (digest, self.store.blob_path(&digest))
            }
        };
        if !allowed.is_empty() && !allowed.contains(&digest) {
            return Err(Error::OtherFile {
                file: file.filename,
                index: DIRECT.to_owned(),
                expected: allowed[0],
                found: digest,
            });
        }
        let size = path.metadata().map_err(|source| self.unreadable(place, source))?.len();
        (file.digest, file.size) = (Some(digest), Some(size));
        Ok(file)
    }

    /// A locked wheel's path in the store, fetched from its place.
    pub(super) fn download_placed(
        &self,
        wheel: &LockedWheel,
        place: &WheelPlace,
        progress: &dyn Fn(u64),
    ) -> Result<PathBuf, Error> {
        let file = ProjectFile {
            filename: wheel.file.clone(),
            kind: FileKind::Other,
            version: None,
            url: self.url_of(place)?,
            size: Some(wheel.size),
            digest: Some(wheel.digest),
            requires_python: None,
            yanked: None,
            metadata: MetadataOffer::Unknown,
        };
        self.fetch_placed(place, &file, &wheel.digest, Some(wheel.size), progress)
    }

    fn fetch_placed(
        &self,
        place: &WheelPlace,
        file: &ProjectFile,
        digest: &Digest,
        size: Option<u64>,
        progress: &dyn Fn(u64),
    ) -> Result<PathBuf, Error> {
        match place {
            WheelPlace::Url(_) => self.download_file(&self.location(DIRECT)?, file, digest, size, progress),
            WheelPlace::File(path) => {
                let real = self.settings.folder.join(path);
                let mut source = File::open(&real).map_err(|source| self.unreadable(place, source))?;
                let what = format!("`{path}`");
                let stored = self.store.insert(&what, &mut source, digest, size, &mut |count| progress(count));
                stored.map_err(store_error(&what, DIRECT))
            }
        }
    }

    /// The address of a place; of a file, its path on this machine.
    pub(super) fn url_of(&self, place: &WheelPlace) -> Result<Url, Error> {
        match place {
            WheelPlace::Url(url) => Ok(url.clone()),
            WheelPlace::File(path) => {
                let real = std::path::absolute(self.settings.folder.join(path));
                let real = real.map_err(|source| self.unreadable(place, source))?;
                let no_path = || self.unreadable(place, std::io::ErrorKind::InvalidFilename.into());
                Url::from_file_path(real).map_err(|()| no_path())
            }
        }
    }

    fn unreadable(&self, place: &WheelPlace, source: std::io::Error) -> Error {
        let path = match place {
            WheelPlace::File(path) => self.settings.folder.join(path),
            WheelPlace::Url(_) => PathBuf::from(place.file_name()),
        };
        store_error("a wheel", DIRECT)(store::Error::Io { action: "read", path, source })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::IndexClient;
    use super::super::test_server::{Answer, Request, TestServer};
    use super::super::wheel_archive::tests::archive;
    use super::*;
    use crate::http;
    use crate::settings::{Environment, Settings};
    use crate::store::Store;

    const WHEEL: &str = "foo-1.0-py3-none-any.whl";

    fn wheel_bytes() -> Vec<u8> {
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive(&[("foo-1.0.dist-info/METADATA", b"Name: foo\nVersion: 1.0\nRequires-Dist: numpy\n")], stored)
    }

    /// A client for a spec in `folder`, with a cache of its own below it.
    fn client(folder: &std::path::Path) -> IndexClient {
        let environment = Environment { root: folder.to_owned(), ..Environment::default() };
        let mut settings = Settings::load(&environment).expect("settings");
        folder.clone_into(&mut settings.folder);
        let http = http::Client::new(&http::Options::default()).expect("a client");
        IndexClient::new(http, Store::open(&folder.join("cache")), Arc::new(settings))
    }

    fn locked(file: &ProjectFile, place: &WheelPlace) -> LockedWheel {
        LockedWheel {
            name: "foo".to_owned(),
            version: "1.0".to_owned(),
            index: DIRECT.to_owned(),
            url: Some(place.clone()),
            file: file.filename.clone(),
            size: file.size.expect("a size"),
            digest: file.digest.expect("a digest"),
        }
    }

    #[test]
    fn a_wheel_beside_the_spec_is_read_checked_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(WHEEL);
        std::fs::write(&path, wheel_bytes()).expect("written");
        let place: WheelPlace = format!("file:{WHEEL}").parse().expect("a place");
        let digest = Digest::of(&wheel_bytes());
        let file = client(folder.path()).placed_wheel(&place, &[digest]).expect("a wheel");
        assert_eq!((file.digest, file.size), (Some(digest), Some(wheel_bytes().len() as u64)));
        let metadata = client(folder.path()).metadata(DIRECT, &file).expect("metadata");
        assert_eq!(metadata.requires_dist[0].name.to_string(), "numpy");
        let wheel = locked(&file, &place);
        std::fs::remove_dir_all(folder.path().join("cache")).expect("removed");
        let stored = client(folder.path()).download(&wheel, &|_| {}).expect("fetched");
        assert_eq!(std::fs::read(stored).expect("readable"), wheel_bytes());
        // Other bytes under the same name do not go into an image.
        std::fs::remove_dir_all(folder.path().join("cache")).expect("removed");
        std::fs::write(&path, vec![0; wheel_bytes().len()]).expect("written");
        let error = client(folder.path()).download(&wheel, &|_| {}).expect_err("other bytes").to_string();
        let found = Digest::of(&vec![0; wheel_bytes().len()]);
        assert_eq!(error, format!("cannot store `{WHEEL}`: the bytes of `{WHEEL}` are {found}, expected {digest}"));
    }

    #[test]
    fn a_wheel_behind_an_address_needs_no_hash_and_keeps_to_one_if_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = TestServer::start(|request: &Request| match request.path.as_str() {
            "/p/foo-1.0-py3-none-any.whl" => Answer::new(200, wheel_bytes()),
            _ => Answer::new(404, ""),
        });
        let place: WheelPlace = server.url(&format!("/p/{WHEEL}")).as_str().parse().expect("a place");
        let digest = Digest::of(&wheel_bytes());
        let wrong = Digest::of(b"other");
        let error = client(folder.path()).placed_wheel(&place, &[wrong]).expect_err("other bytes").to_string();
        assert!(error.ends_with(&format!("are {digest}, expected {wrong}")), "{error}");
        let file = client(folder.path()).placed_wheel(&place, &[]).expect("a wheel");
        assert_eq!(file.digest, Some(digest));
        let before = server.requests().len();
        let again = client(folder.path()).placed_wheel(&place, &[wrong, digest]).expect("from the store");
        assert_eq!(again.digest, Some(digest));
        client(folder.path()).download(&locked(&file, &place), &|_| {}).expect("from the store");
        assert_eq!(server.requests().len(), before, "what is in the store is not fetched again");
    }
}
