//! A remote file read piece by piece with HTTP range requests.

use std::io::{self, Read as _};
use std::time::Duration;

use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{self, HeaderMap};
use reqwest::{StatusCode, blocking};

use super::wheel_archive::{END_LIMIT, ReadAt};
use crate::{http, redact};

/// Bytes of the first request: the longest end record, and for most wheels the whole directory and METADATA as well.
const TAIL: u64 = END_LIMIT + 2043;

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
        let response = send(&client, &request, timeout, &range)?;
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
        let tail = read_exactly(response, end + 1 - start).map_err(|error| http::Error::Transport {
            method: "GET".to_owned(),
            url,
            cause: error.to_string(),
        })?;
        Ok(Opened::Ranged(Self { client, request, timeout, size, tail }))
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
        let response = send(&self.client, &self.request, self.timeout, &format!("bytes={offset}-{last}"))
            .map_err(io::Error::other)?;
        if response.status() != StatusCode::PARTIAL_CONTENT
            || content_range(response.headers()) != Some((offset, last, self.size))
        {
            return Err(io::Error::other(format!("the server answered {} to a second range", response.status())));
        }
        read_exactly(response, length)
    }
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
