//! Writing a blob while it is being made, so that its bytes exist nowhere else. Its address is known at the end.
//!
//! One PATCH without a length carries everything, as Docker's own client sends layers, and one PUT names the digest. Nothing
//! can be sent twice: where that is needed (a cut, a registry or proxy that refuses such requests), whoever makes the blob
//! makes it into a file and gives that to [`Registries::push_blob`].

use std::io::{self, Write};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::auth::Scopes;
use super::client::{Question, announced_digest, is_html, is_page, transport};
use super::error::parse_api_errors;
use super::session::{Route, SEND};
use super::upload::{Meter, end_of_range};
use super::{Endpoint, Error, Registries, upload_timeout};
use crate::http::{Answer, Outgoing};
use crate::oci::{Digest, Reference};

/// A blob on its way. It is nowhere before [`BlobStream::finish`].
pub struct BlobStream {
    registries: Registries,
    endpoint: Endpoint,
    scopes: Scopes,
    body: Outgoing,
    sent: u64,
    meter: Meter,
}

impl Registries {
    /// Opens a blob in the target's repository. `meter` hears of what is written.
    pub fn stream_blob(&self, target: &Reference, meter: Meter) -> Result<BlobStream, Error> {
        let endpoint = self.home(target)?;
        let scopes = Scopes::push(&endpoint.repository);
        let session = Route { registries: self, endpoint: &endpoint, scopes: &scopes }.start()?;
        let header = self.authorization(SEND, &endpoint, &scopes, &session.location)?;
        let begin = |client: &reqwest::Client| {
            let request = client.patch(session.location.clone()).header(CONTENT_TYPE, "application/octet-stream");
            header.iter().fold(request, |request, header| request.header(AUTHORIZATION, header))
        };
        let http = self.client_for(SEND, &endpoint, &session.location)?;
        let body = http.stream(None, begin).map_err(|source| transport(SEND, &endpoint, source))?;
        Ok(BlobStream { registries: self.clone(), endpoint, scopes, body, sent: 0, meter })
    }
}

impl BlobStream {
    /// Completes the blob, whose address is that of the bytes that were written.
    pub fn finish(self, digest: &Digest) -> Result<(), Error> {
        let Self { registries, endpoint, scopes, body, sent, .. } = self;
        let answer = body.finish(upload_timeout(sent)).map_err(|source| transport(SEND, &endpoint, source))?;
        let Answer { status, headers, url, body } = answer;
        if !status.is_success() {
            let (registry, repository) = (endpoint.registry.clone(), endpoint.repository.clone());
            let errors = parse_api_errors(&body);
            return Err(Error::Answer { operation: SEND, registry, repository, status, errors });
        }
        if is_html(&headers) {
            return Err(endpoint.page(SEND));
        }
        if let Some(arrived) = end_of_range(&headers).filter(|&arrived| arrived != sent && sent > 1) {
            return Err(endpoint.protocol(SEND, format!("it has {arrived} of {sent} bytes")));
        }
        let route = Route { registries: &registries, endpoint: &endpoint, scopes: &scopes };
        let mut url = route.location(&headers, &url)?.unwrap_or(url);
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let answer = registries.ask(&Question {
            operation: SEND,
            endpoint: &endpoint,
            scopes: &scopes,
            method: Method::PUT,
            url,
            headers: Vec::new(),
            body: Some(&[]),
        })?;
        if is_page(&answer) {
            return Err(endpoint.page(SEND));
        }
        if let Some(found) =
            announced_digest(answer.headers()).filter(|found| answer.status().is_success() && found != digest)
        {
            return Err(endpoint.wrong_digest("blob", *digest, found));
        }
        // 201 is the promise that it is there; anything else is checked, as an answer to a repeated question may be any.
        if answer.status() == StatusCode::CREATED || registries.has_blob_at(&endpoint, &scopes, digest)? {
            registries.shared.known.add(&endpoint, digest);
            return Ok(());
        }
        Err(registries.answer_error(SEND, &endpoint, answer))
    }
}

impl Write for BlobStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.body.write(bytes)?;
        self.sent += count as u64;
        self.meter.reach(self.sent);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.body.flush()
    }
}
