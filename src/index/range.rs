//! A remote file read piece by piece with HTTP range requests. A piece that breaks off goes on where it did, and one that is not
//! what was asked for is asked for again: behind one name there may be servers that know ranges and others that do not.

use std::io::{self, Read as _};
use std::time::Duration;

use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{self, HeaderMap};
use reqwest::{StatusCode, blocking};

use super::wheel_archive::{END_LIMIT, ReadAt};
use crate::{http, redact};

/// Bytes of the first request: the longest end record, and for most wheels the whole directory and METADATA as well.
const TAIL: u64 = END_LIMIT + 2043;

/// An answer that is not the range asked for is met so often before the server counts as one without ranges.
const REFUSALS: u32 = 3;

/// What a first request for the end of a file brought.
pub(super) enum Opened<R> {
    /// The end of a file whose server knows ranges.
    Ranged(RangedFile<R>),
    /// The server sends the whole file or does not want to talk about parts.
    Whole,
}

/// A file on a server that answers ranges.
pub(super) struct RangedFile<R> {
    client: http::Client,
    request: R,
    timeout: Duration,
    size: u64,
    tail: Vec<u8>,
    /// Whether the server stopped to answer ranges: what is missing is to be had with the whole file only.
    pub(super) refused: bool,
}

/// Why a piece is not there.
enum Missing {
    /// The answer was another one than the range that was asked for.
    Refused(StatusCode),
    /// The answer broke off.
    Cut(io::Error),
    /// There is no answer, tried often enough.
    Unanswered(http::Error),
}

impl<R: Fn(&blocking::Client) -> RequestBuilder> RangedFile<R> {
    /// Reads the file's end. `size` makes a plain range, which more servers know than one that counts from the end.
    pub(super) fn open(
        client: http::Client,
        request: R,
        timeout: Duration,
        size: Option<u64>,
    ) -> Result<Opened<R>, http::Error> {
        let range = match size {
            Some(size) if size > 0 => format!("bytes={}-{}", size.saturating_sub(TAIL), size - 1),
            _ => format!("bytes=-{TAIL}"),
        };
        let mut attempt = 1;
        loop {
            let response = send(&client, &request, patience(timeout, attempt), &range)?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT => {}
                StatusCode::OK
                | StatusCode::RANGE_NOT_SATISFIABLE
                | StatusCode::BAD_REQUEST
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED => return Ok(Opened::Whole),
                _ => return Err(http::status_error("GET", response)),
            }
            let Some((start, end, size)) = content_range(response.headers()) else { return Ok(Opened::Whole) };
            if end.checked_add(1) != Some(size) || end - start >= TAIL {
                return Ok(Opened::Whole);
            }
            let url = redact::url(response.url());
            match read_exactly(response, end + 1 - start) {
                Ok(tail) => {
                    return Ok(Opened::Ranged(Self { client, request, timeout, size, tail, refused: false }));
                }
                Err(error) if attempt == http::ATTEMPTS => {
                    let cause = broke_off(&error);
                    return Err(http::Error::Transport { method: "GET".to_owned(), url, cause });
                }
                Err(_) => std::thread::sleep(http::backoff(attempt)),
            }
            attempt += 1;
        }
    }

    /// Adds the bytes from `first` to `last` to `bytes`, as many of them as come.
    fn piece(&self, first: u64, last: u64, attempt: u32, bytes: &mut Vec<u8>) -> Result<(), Missing> {
        let range = format!("bytes={first}-{last}");
        let response =
            send(&self.client, &self.request, patience(self.timeout, attempt), &range).map_err(Missing::Unanswered)?;
        if response.status() != StatusCode::PARTIAL_CONTENT
            || content_range(response.headers()) != Some((first, last, self.size))
        {
            return Err(Missing::Refused(response.status()));
        }
        let length = last - first + 1;
        match response.take(length).read_to_end(bytes) {
            Ok(count) if count as u64 == length => Ok(()),
            Ok(_) => Err(Missing::Cut(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(Missing::Cut(error)),
        }
    }
}

impl<R: Fn(&blocking::Client) -> RequestBuilder> ReadAt for RangedFile<R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let tail_start = self.size - self.tail.len() as u64;
        if let Some(start) = offset.checked_sub(tail_start) {
            let known = self.tail.get(start as usize..(start + length) as usize);
            return known.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        if length == 0 {
            return Ok(Vec::new());
        }
        let last = offset + length - 1;
        let mut bytes = Vec::new();
        let mut failures = 0;
        loop {
            let known = bytes.len();
            let Err(missing) = self.piece(offset + known as u64, last, failures + 1, &mut bytes) else {
                return Ok(bytes);
            };
            failures = if bytes.len() > known { 1 } else { failures + 1 };
            match missing {
                Missing::Unanswered(error) => return Err(io::Error::other(error)),
                Missing::Refused(status) if failures >= REFUSALS => {
                    self.refused = true;
                    return Err(io::Error::other(format!("the server answered {status} to a second range")));
                }
                Missing::Cut(error) if failures >= http::ATTEMPTS => return Err(io::Error::other(broke_off(&error))),
                Missing::Refused(_) | Missing::Cut(_) => std::thread::sleep(http::backoff(failures)),
            }
        }
    }
}

/// Each try gets twice the time of the one before.
fn patience(timeout: Duration, attempt: u32) -> Duration {
    timeout * 2u32.pow(attempt.saturating_sub(1).min(6))
}

fn broke_off(error: &io::Error) -> String {
    format!("the answer broke off: {}", http::innermost(error))
}

fn send(
    client: &http::Client,
    request: &impl Fn(&blocking::Client) -> RequestBuilder,
    timeout: Duration,
    range: &str,
) -> Result<Response, http::Error> {
    client.send_any(|client| {
        let request = request(client).header(header::RANGE, range).timeout(timeout);
        request.header(header::ACCEPT_ENCODING, "identity")
    })
}

/// First byte, last byte and size of `Content-Range: bytes 0-99/1000`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end, size) = (start.trim().parse().ok()?, end.trim().parse().ok()?, size.trim().parse().ok()?);
    (start <= end && end < size).then_some((start, end, size))
}

fn read_exactly(response: Response, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    response.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
