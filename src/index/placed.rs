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
    fn url_of(&self, place: &WheelPlace) -> Result<Url, Error> {
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
