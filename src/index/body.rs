//! A response body that goes on where it broke off.
//!
//! Wheels have gigabytes and connections do not live for ever: when a body ends early or stalls, the rest is asked for with
//! a range. The reader above sees one stream, so a running hash goes on as well. A server without ranges sends everything
//! again, and what was read already is passed over. Where no digest will tell whether the pieces are of one file, only a server
//! whose `ETag` says so is asked for the rest.

use std::io::{self, Read};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{self, RequestBuilder, Response};
use reqwest::header;

use super::range::content_range;
use crate::{http, redact};

/// Longest time for one request; a slow download goes on with the next one, a stalled one ends here.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(5);

/// The body of a GET, `size` bytes long if that is known.
pub(super) struct ResumingBody<'a, R> {
    client: &'a http::Client,
    request: R,
    size: Option<u64>,
    response: Option<Response>,
    /// Where the last response came from, without credentials.
    url: String,
    etag: Option<header::HeaderValue>,
    position: u64,
    /// Attempts in a row that brought nothing new.
    failures: u32,
    /// Whether nothing tells afterwards that the bytes are right.
    is_unchecked: bool,
    /// Whether the rest would not be known to be of the same file.
    is_another: bool,
    /// Why reading failed, in more detail than an `io::Error` holds.
    pub(super) error: Option<http::Error>,
}

impl<'a, R: Fn(&blocking::Client) -> RequestBuilder> ResumingBody<'a, R> {
    /// A body that is asked for when it is first read.
    pub(super) fn new(client: &'a http::Client, request: R, size: Option<u64>) -> Self {
        Self {
            client,
            request,
            size,
            response: None,
            url: String::new(),
            etag: None,
            position: 0,
            failures: 0,
            is_unchecked: false,
            is_another: false,
            error: None,
        }
    }

    /// A body that no digest is known of; `attempt` is how often it is asked for from its start, this time included.
    pub(super) fn unchecked(client: &'a http::Client, request: R, size: Option<u64>, attempt: u32) -> Self {
        Self { failures: attempt - 1, is_unchecked: true, ..Self::new(client, request, size) }
    }

    /// Whether reading failed because the rest may be of another file: asked for from its start it may come whole.
    pub(super) fn is_another(&self) -> bool {
        self.is_another
    }

    /// Sends the request for the bytes from `position` on.
    fn open(&self) -> Result<Response, http::Error> {
        // A server without ranges needs one request for everything, so each failure gives the next one more time.
        let timeout = REQUEST_TIMEOUT * 2u32.pow(self.failures.min(6));
        let response = self.client.send_any(|client| {
            let mut request = (self.request)(client).header(header::ACCEPT_ENCODING, "identity").timeout(timeout);
            if self.position > 0 {
                request = request.header(header::RANGE, format!("bytes={}-", self.position));
                if let Some(etag) = &self.etag {
                    request = request.header(header::IF_RANGE, etag);
                }
            }
            request
        })?;
        let resumes = content_range(response.headers()).is_some_and(|(start, ..)| start == self.position);
        match response.status() {
            StatusCode::PARTIAL_CONTENT if resumes => Ok(response),
            StatusCode::PARTIAL_CONTENT => Err(http::Error::Transport {
                method: "GET".to_owned(),
                url: redact::url(response.url()),
                cause: "the server sent another range than it was asked for".to_owned(),
            }),
            status if status.is_success() => Ok(response),
            _ => Err(http::status_error("GET", response)),
        }
    }

    fn fail(&mut self, error: http::Error) -> io::Error {
        let text = error.to_string();
        self.error = Some(error);
        io::Error::other(text)
    }

    fn broke_off(&mut self, cause: String) -> io::Error {
        let url = self.url.clone();
        self.fail(http::Error::Transport { method: "GET".to_owned(), url, cause })
    }

    /// The response to read from, standing at `position`.
    fn response(&mut self) -> io::Result<&mut Response> {
        if self.response.is_none() {
            let mut response = self.open().map_err(|error| self.fail(error))?;
            self.url = redact::url(response.url());
            if response.status() != StatusCode::PARTIAL_CONTENT {
                let etag = response.headers().get(header::ETAG).cloned();
                let etag = etag.filter(|etag| etag.as_bytes().starts_with(b"\""));
                if self.is_unchecked && self.position > 0 && etag != self.etag {
                    self.is_another = true;
                    return Err(self.broke_off("the answer broke off, and the file has changed".to_owned()));
                }
                self.etag = etag;
                io::copy(&mut response.by_ref().take(self.position), &mut io::sink())?;
            }
            self.response = Some(response);
        }
        self.response.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<R: Fn(&blocking::Client) -> RequestBuilder> Read for ResumingBody<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let outcome = self.response().and_then(|response| response.read(buffer));
            if self.error.is_some() {
                return outcome;
            }
            let cause = match outcome {
                Ok(0) if self.size.is_none_or(|size| self.position >= size) => return Ok(0),
                Ok(0) => "the answer broke off".to_owned(),
                Ok(count) => {
                    self.position += count as u64;
                    self.failures = 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(_) if self.size == Some(self.position) => return Ok(0),
                Err(error) => format!("the answer broke off: {error}"),
            };
            self.response = None;
            self.failures += 1;
            self.is_another = self.is_unchecked && self.position > 0 && self.etag.is_none();
            if self.failures >= http::ATTEMPTS || self.is_another {
                return Err(self.broke_off(cause));
            }
            std::thread::sleep(http::backoff(self.failures));
        }
    }
}
