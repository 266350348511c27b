//! Wheels into the store.

use std::io::{Read as _, Seek as _};
use std::path::PathBuf;

use super::body::ResumingBody;
use super::page::Trust;
use super::{Error, Inner, http_error, store_error};
use crate::lock::LockedWheel;
use crate::oci::Digest;
use crate::packaging::{Project, ProjectFile};
use crate::parallel;
use crate::progress::{Progress, human_bytes};
use crate::settings::IndexLocation;

/// Wheels on the way at a time: one connection seldom fills a line, many make each other slow.
const PARALLEL: usize = 6;

impl Inner {
    pub(super) fn download(&self, wheel: &LockedWheel, progress: &dyn Fn(u64)) -> Result<PathBuf, Error> {
        if let Some(path) = self.store.blob(&wheel.digest) {
            return Ok(path);
        }
        if let Some(place) = &wheel.url {
            return self.download_placed(wheel, place, progress);
        }
        let location = self.location(&wheel.index)?;
        let file = self.find(&location, wheel)?;
        if let Some(found) = file.digest.filter(|found| *found != wheel.digest) {
            let (file, index) = (wheel.file.clone(), wheel.index.clone());
            return Err(Error::OtherFile { file, index, expected: wheel.digest, found });
        }
        self.download_file(&location, &file, &wheel.digest, Some(wheel.size), progress)
    }

    /// The page's entry for a wheel. A page from the cache may be older than the file, so absence is asked about again.
    pub(super) fn find(&self, index: &IndexLocation, wheel: &LockedWheel) -> Result<ProjectFile, Error> {
        let file_of = |project: &Project| project.file(&wheel.file).cloned();
        if let Some(file) = self.project(&wheel.index, &wheel.name)?.as_deref().and_then(file_of) {
            return Ok(file);
        }
        let Some(project) = self.load_page(index, &wheel.name, Trust::Confirmed)? else {
            return Err(Error::NoProject { project: wheel.name.clone(), index: wheel.index.clone() });
        };
        file_of(&project).ok_or_else(|| Error::NoFile { file: wheel.file.clone(), index: wheel.index.clone() })
    }

    /// Streams a file of an index into the store, checked against its digest.
    pub(super) fn identify(&self, index: &str, file: &ProjectFile) -> Result<(Digest, u64), Error> {
        let location = self.location(index)?;
        let broken = |cause: std::io::Error| {
            let cause = crate::http::Error::Transport {
                method: "read".to_owned(),
                url: crate::redact::url(&file.url),
                cause: cause.to_string(),
            };
            http_error(&file.filename, index)(cause)
        };
        let mut body = self.download_unchecked(&location, file).map_err(http_error(&file.filename, index))?;
        let mut hasher = crate::oci::Hasher::new();
        let mut size = 0;
        let mut buffer = vec![0; 256 * 1024];
        body.rewind().map_err(broken)?;
        loop {
            match body.read(&mut buffer).map_err(broken)? {
                0 => break,
                count => {
                    hasher.update(&buffer[..count]);
                    size += count as u64;
                }
            }
        }
        let digest = hasher.digest();
        body.rewind().map_err(broken)?;
        self.store
            .insert(&file.filename, &mut body, &digest, Some(size), &mut |_| {})
            .map_err(store_error(&file.filename, index))?;
        Ok((digest, size))
    }

    pub(super) fn download_file(
        &self,
        index: &IndexLocation,
        file: &ProjectFile,
        digest: &Digest,
        size: Option<u64>,
        progress: &dyn Fn(u64),
    ) -> Result<PathBuf, Error> {
        let what = format!("`{}`", file.filename);
        let request = |client: &reqwest::blocking::Client| self.request(client, index, &file.url);
        let mut body = ResumingBody::new(&self.http, request, size);
        let stored = self.store.insert(&what, &mut body, digest, size, &mut |count| progress(count));
        match body.error.take() {
            Some(error) => Err(http_error(&what, &index.name)(error)),
            None => stored.map_err(store_error(&what, &index.name)),
        }
    }

    pub(super) fn download_all(&self, wheels: &[&LockedWheel], progress: &Progress) -> Result<Vec<PathBuf>, Error> {
        let mut missing: Vec<&LockedWheel> = Vec::new();
        for wheel in wheels {
            let known = missing.iter().any(|other| other.digest == wheel.digest);
            if !known && self.store.blob(&wheel.digest).is_none() {
                missing.push(wheel);
            }
        }
        if !missing.is_empty() {
            // The largest first, so that it does not run alone at the end.
            missing.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.file.cmp(&b.file)));
            self.download_missing(&missing, progress)?;
        }
        wheels.iter().map(|wheel| self.download(wheel, &|_| {})).collect()
    }

    fn download_missing(&self, missing: &[&LockedWheel], progress: &Progress) -> Result<(), Error> {
        let bytes = missing.iter().map(|wheel| wheel.size).sum();
        let noun = if missing.len() == 1 { "wheel" } else { "wheels" };
        let task = progress.task(format!("downloading {} {noun}", missing.len()), Some(bytes));
        parallel::for_each(missing, PARALLEL, |wheel| self.download(wheel, &|count| task.advance(count)).map(drop))?;
        task.done(format!("downloaded {} {noun}, {}", missing.len(), human_bytes(bytes)));
        Ok(())
    }
}
