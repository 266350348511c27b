//! Upload sessions: how they are opened, and where the registry wants the bytes.

use reqwest::blocking::Response;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::Scopes;
use super::client::Question;
use super::{Endpoint, Error, Registries};
use crate::oci::Digest;

pub(super) const START: &str = "start an upload to";
pub(super) const SEND: &str = "upload a blob to";

/// The repository that blobs go to.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) registries: &'a Registries,
    pub(super) endpoint: &'a Endpoint,
    pub(super) scopes: &'a Scopes,
}

/// An upload the registry has opened for us.
pub(super) struct Session {
    pub(super) location: Url,
    /// Bytes the registry has.
    pub(super) offset: u64,
    /// Smallest piece it takes.
    pub(super) smallest_chunk: u64,
    /// Whether the last answer was 401 too.
    pub(super) was_renewed: bool,
    /// Whether it went on after an interruption, by what the registry said it had.
    pub(super) was_continued: bool,
}

pub(super) enum Mount {
    Done,
    Session(Session),
    Refused,
}

impl Route<'_> {
    pub(super) fn start(&self) -> Result<Session, Error> {
        let answer = self.post(self.scopes, None)?;
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => {
                self.session(&answer)
            }
            _ => Err(self.registries.answer_error(START, self.endpoint, answer)),
        }
    }

    /// Asks the registry to take the blob from `repository`. Refusal is no failure: then it is sent.
    pub(super) fn mount(&self, digest: &Digest, repository: &str) -> Result<Mount, Error> {
        let scopes = self.scopes.clone().and_pull(repository);
        let answer = match self.post(&scopes, Some((digest, repository))) {
            Ok(answer) => answer,
            Err(error @ Error::Transport { .. }) => return Err(error),
            Err(_) => return Ok(Mount::Refused),
        };
        match answer.status() {
            StatusCode::CREATED => Ok(Mount::Done),
            StatusCode::ACCEPTED => self.session(&answer).map(Mount::Session),
            _ => Ok(Mount::Refused),
        }
    }

    fn post(&self, scopes: &Scopes, mount_from: Option<(&Digest, &str)>) -> Result<Response, Error> {
        let mut url = self.endpoint.url(START, "blobs/uploads/")?;
        if let Some((digest, repository)) = mount_from {
            url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", repository);
        }
        self.registries.ask(&Question {
            operation: START,
            endpoint: self.endpoint,
            scopes,
            method: Method::POST,
            url,
            headers: Vec::new(),
            body: Some(&[]),
        })
    }

    fn session(&self, answer: &Response) -> Result<Session, Error> {
        let location = self
            .location(answer.headers(), answer.url())?
            .ok_or_else(|| self.endpoint.protocol(START, "the answer does not say where to upload".to_owned()))?;
        let smallest_chunk =
            answer.headers().get("oci-chunk-min-length").and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Session {
            location,
            offset: 0,
            smallest_chunk: smallest_chunk.unwrap_or(0),
            was_renewed: false,
            was_continued: false,
        })
    }

    /// `Location` of an answer from `asked`, relative or absolute.
    pub(super) fn location(&self, headers: &HeaderMap, asked: &Url) -> Result<Option<Url>, Error> {
        let Some(value) = headers.get(LOCATION) else { return Ok(None) };
        let parsed = value.to_str().ok().and_then(|text| asked.join(text).ok());
        match parsed.filter(|url| matches!(url.scheme(), "https" | "http")) {
            // A registry that is encrypted must not send the bytes, or the session's own secret, over an open line.
            Some(url) if url.scheme() == "http" && self.endpoint.is_encrypted() => {
                let problem = "it wants the upload over an unencrypted connection".to_owned();
                Err(self.endpoint.protocol(SEND, problem))
            }
            Some(url) => Ok(Some(url)),
            None => {
                let problem = "the address for the upload cannot be read".to_owned();
                Err(self.endpoint.protocol(SEND, problem))
            }
        }
    }
}
