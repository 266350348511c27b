//! Reading blobs: a stream that goes on where it broke off, and checks what came.

use std::io::{self, Read};
use std::path::PathBuf;

use reqwest::blocking::Response;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::auth::Scopes;
use super::client::Question;
use super::{Endpoint, Error, Registries};
use crate::http;
use crate::oci::{Digest, Hasher, Reference};
use crate::store::{self, Store};

const OPERATION: &str = "read a blob of";

/// A blob's bytes. A connection that breaks is replaced by one that asks for the rest; at the end the digest of a blob that
/// was read from its start is compared, and an error takes the place of the end of file if it is another.
pub struct BlobReader {
    registries: Registries,
    endpoint: Endpoint,
    digest: Digest,
    size: Option<u64>,
    position: u64,
    answer: Option<Response>,
    hasher: Option<Hasher>,
    failures: u32,
}

impl Registries {
    /// Opens a blob at `offset`, at a mirror or at the registry. `size` is its size if it is known.
    pub fn open_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: Option<u64>,
        offset: u64,
    ) -> Result<BlobReader, Error> {
        self.first_answer(reference, |endpoint| {
            let mut reader = BlobReader {
                registries: self.clone(),
                endpoint: endpoint.clone(),
                digest: *digest,
                size,
                position: offset,
                answer: None,
                hasher: (offset == 0).then(Hasher::new),
                failures: 0,
            };
            if size != Some(offset) {
                reader.connect()?;
            }
            Ok(reader)
        })
    }

    /// Brings a blob into the store, unless it is there. `progress` is told of each piece.
    pub fn fetch_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: Option<u64>,
        store: &Store,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, Error> {
        if let Some(path) = store.blob(digest) {
            return Ok(path);
        }
        let mut reader = self.open_blob(reference, digest, size, 0)?;
        // The store hashes as well, and its error names the file.
        reader.hasher = None;
        let what = format!("a blob of `{}/{}`", reader.endpoint.registry, reader.endpoint.repository);
        store.insert(&what, &mut reader, digest, size, progress).map_err(|error| match error {
            store::Error::Io { action, path, source } => match source.downcast::<Error>() {
                Ok(error) => error,
                Err(source) => store::Error::Io { action, path, source }.into(),
            },
            other => other.into(),
        })
    }
}

impl BlobReader {
    fn connect(&mut self) -> Result<(), Error> {
        let endpoint = &self.endpoint;
        // Bytes must come as they are stored, or neither ranges nor digests would mean anything.
        let mut headers = vec![(ACCEPT_ENCODING, HeaderValue::from_static("identity"))];
        if self.position > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.position));
            headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let answer = self.registries.ask(&Question {
            operation: OPERATION,
            endpoint,
            scopes: &Scopes::pull(&endpoint.repository),
            method: Method::GET,
            url: endpoint.url(OPERATION, &format!("blobs/{}", self.digest))?,
            headers,
            body: None,
        })?;
        let starts_at = match answer.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => range_start(answer.headers()).unwrap_or(self.position),
            _ => return Err(self.registries.answer_error(OPERATION, endpoint, answer)),
        };
        let length = answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if self.size.is_none() {
            self.size = length.and_then(|length| length.checked_add(starts_at));
        }
        if starts_at > self.position {
            let problem = format!("asked for byte {}, it answered from byte {starts_at}", self.position);
            return Err(endpoint.protocol(OPERATION, problem));
        }
        let mut answer = answer;
        let unwanted = self.position - starts_at;
        // A registry without ranges sends the beginning again.
        let skipped = io::copy(&mut (&mut answer).take(unwanted), &mut io::sink()).unwrap_or(0);
        if skipped == unwanted {
            self.answer = Some(answer);
        }
        Ok(())
    }

    /// The end of file, if the bytes that came are the blob.
    fn finish(&mut self) -> io::Result<usize> {
        match self.hasher.take().map(Hasher::digest) {
            Some(found) if found != self.digest => {
                Err(io::Error::other(self.endpoint.wrong_digest("blob", self.digest, found)))
            }
            _ => Ok(0),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.size.is_some_and(|size| self.position >= size) {
                return self.finish();
            }
            let Some(answer) = &mut self.answer else {
                self.connect().map_err(io::Error::other)?;
                if self.answer.is_none() {
                    self.wait_or_give_up("the connection broke off")?;
                }
                continue;
            };
            let cause = match answer.read(buffer) {
                Ok(0) if self.size.is_none() => return self.finish(),
                Ok(0) => "the answer ended early".to_owned(),
                Ok(count) => {
                    self.failures = 0;
                    // A size that is known is a promise: bytes beyond it are not handed on.
                    let left = self.size.map_or(u64::MAX, |size| size - self.position);
                    let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.position += count as u64;
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(buffer.get(..count).unwrap_or_default());
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error.to_string(),
            };
            self.answer = None;
            self.wait_or_give_up(&cause)?;
        }
    }
}

impl BlobReader {
    fn wait_or_give_up(&mut self, cause: &str) -> io::Result<()> {
        self.failures += 1;
        if self.failures >= http::ATTEMPTS {
            let problem = format!("{cause}, {} times without a byte between", self.failures);
            return Err(io::Error::other(self.endpoint.protocol(OPERATION, problem)));
        }
        std::thread::sleep(http::backoff(self.failures));
        Ok(())
    }
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
