//! METADATA of wheels, from the cheapest place that has it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use url::Url;

use super::body::ResumingBody;
use super::flight::lock;
use super::range::{Opened, RangedFile};
use super::wheel_archive::{ArchiveError, METADATA_LIMIT, ReadAt, read_metadata};
use super::{Error, Inner, http_error, page, store_error};
use crate::oci::Digest;
use crate::packaging::{Metadata, MetadataOffer, ProjectFile};
use crate::settings::IndexLocation;
use crate::version::wheel_tag::{WheelFilename, normalize_name};
use crate::{http, redact};

/// Kind of the remembered facts.
pub(super) const CACHE_KIND: &str = "wheel-metadata";
/// Largest wheel without a digest that is read whole for its METADATA.
const WHOLE_LIMIT: u64 = 8 * 1024 * 1024 * 1024;

/// Hosts of files that have no METADATA beside the wheels, as far as one try shows.
#[derive(Default)]
pub(super) struct HostsWithout(Mutex<HashSet<String>>);

/// What METADATA of a file is remembered under: its bytes, or its place where the index tells no hash.
pub(super) fn key(file: &ProjectFile) -> String {
    match &file.digest {
        Some(digest) => digest.to_string(),
        None => format!("{} {}", redact::url(&file.url), file.size.unwrap_or(0)),
    }
}

impl Inner {
    pub(super) fn wheel_metadata(&self, index: &str, file: &ProjectFile) -> Result<Arc<Metadata>, Error> {
        let wheel = file.wheel().ok_or_else(|| Error::NotAWheel { file: file.filename.clone() })?;
        let key = key(file);
        self.metadata.get(key.clone(), || {
            // Nothing binds the bytes of a file without a hash to its address, so what is known of it serves offline alone.
            let trusted = file.digest.is_some() || self.http.is_offline();
            if let Some(kept) = self.store.recall_bytes(CACHE_KIND, &key).filter(|_| trusted)
                && let Some(bytes) = unseal(&kept)
                && let Ok(metadata) = check(bytes, wheel, file, index)
            {
                return Ok(Arc::new(metadata));
            }
            let location = self.location(index)?;
            let (bytes, metadata) = self.fetch_metadata(&location, file, wheel)?;
            // A cache that cannot be written costs time at the next run and nothing now.
            let _ = self.store.remember_bytes(CACHE_KIND, &key, &seal(&bytes));
            Ok(Arc::new(metadata))
        })
    }

    fn fetch_metadata(
        &self,
        index: &IndexLocation,
        file: &ProjectFile,
        wheel: &WheelFilename,
    ) -> Result<(Vec<u8>, Metadata), Error> {
        if let Some(found) = self.fetch_metadata_alone(index, file, wheel)? {
            return Ok(found);
        }
        let bytes = self.fetch_with_wheel(index, file, wheel)?;
        check(&bytes, wheel, file, &index.name).map(|metadata| (bytes, metadata))
    }

    /// METADATA without the rest of the wheel; `None` where the server hands out whole wheels only.
    pub(super) fn fetch_metadata_alone(
        &self,
        index: &IndexLocation,
        file: &ProjectFile,
        wheel: &WheelFilename,
    ) -> Result<Option<(Vec<u8>, Metadata)>, Error> {
        let checked = |bytes: Vec<u8>| check(&bytes, wheel, file, &index.name).map(|metadata| (bytes, metadata));
        if let Some(path) = file.digest.and_then(|digest| self.store.blob(&digest))
            && let Ok(mut local) = File::open(path)
        {
            return checked(from_archive(&mut local, wheel, &file.filename, index)?).map(Some);
        }
        match file.metadata {
            MetadataOffer::Advertised { digest } => {
                if let Some(bytes) = self.fetch_beside(index, file)? {
                    if let Some(expected) = digest {
                        let found = Digest::of(&bytes);
                        if found != expected {
                            let (file, index) = (file.filename.clone(), index.name.clone());
                            return Err(Error::MetadataDigest { file, index, expected, found });
                        }
                    }
                    return checked(bytes).map(Some);
                }
            }
            MetadataOffer::Unknown => {
                let host = file.url.origin().ascii_serialization();
                if !lock(&self.without_metadata.0).contains(&host) {
                    // Some servers answer any address with a page for people, so the bytes must prove themselves.
                    if let Some(Ok(found)) = self.fetch_beside(index, file)?.map(checked) {
                        return Ok(Some(found));
                    }
                    lock(&self.without_metadata.0).insert(host);
                }
            }
        }
        let what = format!("METADATA of `{}`", file.filename);
        let failed = http_error(&what, &index.name);
        let request = |client: &reqwest::blocking::Client| self.request(client, index, &file.url);
        match RangedFile::open(self.http.clone(), request, self.patience_of(1), file.size).map_err(failed)? {
            Opened::Ranged(mut remote) => {
                let found = from_archive(&mut remote, wheel, &file.filename, index);
                if remote.refused { Ok(None) } else { checked(found?).map(Some) }
            }
            Opened::Whole => Ok(None),
        }
    }

    /// The file at the wheel's address with `.metadata` behind; `None` if the server does not hand one out.
    fn fetch_beside(&self, index: &IndexLocation, file: &ProjectFile) -> Result<Option<Vec<u8>>, Error> {
        let mut url: Url = file.url.clone();
        url.set_path(&format!("{}.metadata", file.url.path()));
        let what = format!("METADATA of `{}`", file.filename);
        let failed = http_error(&what, &index.name);
        let mut attempt = 1;
        loop {
            let response =
                self.http.send_any(|client| self.request(client, index, &url).timeout(self.patience_of(attempt)));
            let response = response.map_err(&failed)?;
            match response.status() {
                status if status.is_success() => {}
                StatusCode::UNAUTHORIZED => return Err(failed(http::status_error("GET", response))),
                _ => return Ok(None),
            }
            match page::read_body(response, METADATA_LIMIT) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(cause) if attempt == http::ATTEMPTS || cause.is_final() => {
                    let (url, cause) = (redact::url(&url), cause.to_string());
                    return Err(failed(http::Error::Transport { method: "GET".to_owned(), url, cause }));
                }
                Err(_) => std::thread::sleep(http::backoff(attempt)),
            }
            attempt += 1;
        }
    }

    /// METADATA out of the whole wheel.
    fn fetch_with_wheel(
        &self,
        index: &IndexLocation,
        file: &ProjectFile,
        wheel: &WheelFilename,
    ) -> Result<Vec<u8>, Error> {
        let what = format!("METADATA of `{}`", file.filename);
        let failed = http_error(&what, &index.name);
        let mut local = match file.digest {
            Some(digest) => {
                let path = self.download_file(index, file, &digest, file.size, &|_| {})?;
                File::open(&path).map_err(|source| {
                    store_error(&what, &index.name)(crate::store::Error::Io { action: "open", path, source })
                })?
            }
            None => self.download_unchecked(index, file).map_err(&failed)?,
        };
        from_archive(&mut local, wheel, &file.filename, index)
    }

    /// The whole file in a nameless temporary file: nothing tells whether its bytes are right, so it may not be kept.
    pub(super) fn download_unchecked(&self, index: &IndexLocation, file: &ProjectFile) -> Result<File, http::Error> {
        let broken =
            |cause: String| http::Error::Transport { method: "GET".to_owned(), url: redact::url(&file.url), cause };
        let failed = |error: std::io::Error| broken(error.to_string());
        let mut local = tempfile::tempfile().map_err(failed)?;
        let mut attempt = 1;
        loop {
            let request = |client: &reqwest::blocking::Client| self.request(client, index, &file.url);
            let mut body = ResumingBody::unchecked(&self.http, request, file.size, attempt);
            let count = std::io::copy(&mut body.by_ref().take(WHOLE_LIMIT + 1), &mut local);
            match (body.error.take(), count) {
                (Some(_), _) if body.is_another() && attempt < http::ATTEMPTS => {}
                (Some(error), _) => return Err(error),
                (None, Err(error)) => return Err(failed(error)),
                (None, Ok(count)) if count > WHOLE_LIMIT => {
                    return Err(broken(format!("the wheel is longer than {WHOLE_LIMIT} bytes")));
                }
                (None, Ok(_)) => return Ok(local),
            }
            local.set_len(0).and_then(|()| local.rewind()).map_err(failed)?;
            std::thread::sleep(http::backoff(attempt));
            attempt += 1;
        }
    }
}

pub(super) fn from_archive(
    source: &mut dyn ReadAt,
    wheel: &WheelFilename,
    file: &str,
    index: &IndexLocation,
) -> Result<Vec<u8>, Error> {
    read_metadata(source, wheel).map_err(|source: ArchiveError| Error::Archive {
        file: file.to_owned(),
        index: index.name.clone(),
        source,
    })
}

/// METADATA as the cache keeps it: behind a checksum, since a damaged requirement would be one all the same.
pub(super) fn seal(bytes: &[u8]) -> Vec<u8> {
    [&crc32fast::hash(bytes).to_le_bytes(), bytes].concat()
}

/// What was sealed; `None` if it is damaged.
pub(super) fn unseal(kept: &[u8]) -> Option<&[u8]> {
    let (checksum, bytes) = kept.split_first_chunk::<4>()?;
    (crc32fast::hash(bytes).to_le_bytes() == *checksum).then_some(bytes)
}

/// METADATA that belongs to the wheel.
fn check(bytes: &[u8], wheel: &WheelFilename, file: &ProjectFile, index: &str) -> Result<Metadata, Error> {
    let (file, index) = (file.filename.clone(), index.to_owned());
    match Metadata::parse(bytes) {
        Ok(metadata) if is_of(&metadata, wheel) => Ok(metadata),
        Ok(metadata) => {
            let found = format!("{} {}", metadata.name, metadata.version);
            Err(Error::OtherMetadata { file, index, found })
        }
        Err(source) => Err(Error::Metadata { file, index, source }),
    }
}

/// Whether METADATA is of the wheel's project and version. Builds of one version with different labels often share it.
fn is_of(metadata: &Metadata, wheel: &WheelFilename) -> bool {
    let public = |version: &pep440_rs::Version| version.clone().without_local();
    normalize_name(&metadata.name) == wheel.name && public(&metadata.version) == public(&wheel.version)
}
