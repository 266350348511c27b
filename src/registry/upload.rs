//! Writing blobs: skip what is there, mount what is next door, send the rest, and go on after an interruption.
//!
//! A blob normally goes in one PUT with its length, which every registry takes. Pieces (PATCH) are for what one PUT cannot do:
//! going on from the byte the registry has after a cut, and registries or proxies that refuse large requests (413, or a
//! connection that is cut again and again before anything arrives). After any doubt the registry is asked how far it is;
//! if it cannot say, the upload starts anew, after a look whether the blob has arrived after all. (CNCF distribution 2.8 never
//! can: it drops a session that got more bytes than it has confirmed.)

use std::fs::File;
use std::io::{Cursor, Read, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::Scopes;
use super::client::{Question, announced_digest, is_html, transport};
use super::error::parse_api_errors;
use super::session::{Mount, Route, SEND, Session};
use super::{ApiError, Error, Registries, upload_timeout};
use crate::http::{self, Answer, Outgoing};
use crate::oci::{Digest, Reference};

/// Size of pieces where one request is refused: the largest that every registry is known to take.
const REFUSED_CHUNK: u64 = 4 << 20;
/// Pieces are not made smaller than this.
const SMALLEST_CHUNK: u64 = 256 << 10;
/// Bytes that are handed to a connection at once.
const PIECE: u64 = 256 << 10;
/// Cuts without progress after which smaller requests are tried: a proxy that refuses a large one may just hang up.
const CUTS_BEFORE_CHUNKS: u32 = 2;

/// Bytes that can be read from anywhere, as often as an upload needs to.
pub trait BlobSource: Send + Sync {
    /// The bytes from `offset` to the end.
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error>;
}

/// A file on this machine.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
    /// The size it should have.
    pub size: u64,
}

/// Bytes in memory: a config.
#[derive(Debug, Clone)]
pub struct BytesSource(pub Arc<[u8]>);

/// A blob in another registry, passed on as it comes; only the target keeps it.
#[derive(Debug, Clone)]
pub struct RemoteSource {
    /// Client for the registry that has it.
    pub registries: Registries,
    /// Image that names it.
    pub reference: Reference,
    /// Its address.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
}

impl BlobSource for FileSource {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let failed = |source| Error::Source { what: format!("`{}`", self.path.display()), source };
        let mut file = File::open(&self.path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?.len();
        if found != self.size {
            return Err(Error::SourceSize { path: self.path.clone(), expected: self.size, found });
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Box::new(file))
    }
}

impl BlobSource for BytesSource {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let mut cursor = Cursor::new(Arc::clone(&self.0));
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }
}

impl BlobSource for RemoteSource {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(self.registries.open_blob(&self.reference, &self.digest, Some(self.size), offset)?))
    }
}

/// A blob to write.
#[derive(Clone, Copy)]
pub struct Blob<'a> {
    /// Its address.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes.
    pub source: &'a dyn BlobSource,
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobOutcome {
    /// It was there.
    Present,
    /// The registry took it from another repository of its own.
    Mounted,
    /// It was sent.
    Sent,
}

/// Tells a listener of bytes that went out, each byte once however often it had to be sent.
#[derive(Clone)]
pub struct Meter {
    furthest: Arc<AtomicU64>,
    listener: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Meter {
    /// A meter for one blob; `listener` gets the number of new bytes.
    pub fn new(listener: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { furthest: Arc::default(), listener: Arc::new(listener) }
    }

    pub(super) fn reach(&self, position: u64) {
        let before = self.furthest.fetch_max(position, Ordering::Relaxed);
        if position > before {
            (self.listener)(position - before);
        }
    }
}

impl Registries {
    /// Sees to it that the target's repository has the blob. `mount_from` are other repositories of the same registry that
    /// may have it, likeliest first.
    pub fn push_blob(
        &self,
        target: &Reference,
        blob: Blob<'_>,
        mount_from: &[&str],
        meter: &Meter,
    ) -> Result<BlobOutcome, Error> {
        let endpoint = self.home(target)?;
        let scopes = Scopes::push(&endpoint.repository);
        let route = Route { registries: self, endpoint: &endpoint, scopes: &scopes };
        let upload = Upload { route, blob, meter };
        let known = &self.shared.known;
        if known.has(&endpoint, &blob.digest) || upload.is_complete()? {
            return Ok(BlobOutcome::Present);
        }
        let mut session = None;
        for repository in mount_from.iter().filter(|&&repository| repository != endpoint.repository) {
            match route.mount(&blob.digest, repository)? {
                Mount::Done => {
                    known.add(&endpoint, &blob.digest);
                    return Ok(BlobOutcome::Mounted);
                }
                Mount::Session(begun) => session = Some(begun),
                Mount::Refused => {}
            }
        }
        let session = match session {
            Some(session) => session,
            None => route.start()?,
        };
        upload.run(session)?;
        known.add(&endpoint, &blob.digest);
        Ok(BlobOutcome::Sent)
    }

    /// Whether the target's registry takes a blob from another of its repositories. Where it wants to have it sent, it is not.
    pub fn mount_blob(&self, target: &Reference, digest: &Digest, from: &str) -> Result<bool, Error> {
        let endpoint = self.home(target)?;
        let scopes = Scopes::push(&endpoint.repository);
        let route = Route { registries: self, endpoint: &endpoint, scopes: &scopes };
        let is_taken = matches!(route.mount(digest, from)?, Mount::Done);
        if is_taken {
            self.shared.known.add(&endpoint, digest);
        }
        Ok(is_taken)
    }
}

struct Upload<'a> {
    route: Route<'a>,
    blob: Blob<'a>,
    meter: &'a Meter,
}

enum Step {
    /// The blob is there.
    Done,
    /// The registry has more than before.
    Advanced,
    /// The token is a new one; how far the upload came is not known.
    Renewed,
    /// The request was too large.
    TooLarge(Error),
    /// It did not work, and may the next time.
    Failed(Failure),
}

struct Failure {
    error: Error,
    /// The registry's wish.
    wait: Option<Duration>,
    /// The connection broke.
    is_cut: bool,
    /// The session cannot be gone on with.
    is_lost: bool,
}

impl Upload<'_> {
    fn is_complete(&self) -> Result<bool, Error> {
        self.route.registries.has_blob_at(self.route.endpoint, self.route.scopes, &self.blob.digest)
    }

    fn run(&self, mut session: Session) -> Result<(), Error> {
        let mut chunk = self.route.registries.shared.config.upload_chunk.map(|bytes| bytes.max(1));
        let mut failures = 0;
        let mut cuts = 0;
        let mut restarts = 0;
        let mut last_error = None;
        loop {
            let before = session.offset;
            let is_lost = match self.step(&mut session, chunk)? {
                Step::Done => return Ok(()),
                Step::Advanced => {
                    failures = 0;
                    continue;
                }
                Step::Renewed => false,
                Step::TooLarge(error) => {
                    chunk = match chunk {
                        None => Some(REFUSED_CHUNK),
                        Some(bytes) if bytes > SMALLEST_CHUNK.max(session.smallest_chunk) => Some(bytes / 2),
                        Some(_) => return Err(error),
                    };
                    false
                }
                Step::Failed(failure) => {
                    failures += 1;
                    if failures >= http::ATTEMPTS {
                        return Err(failure.error);
                    }
                    cuts += u32::from(failure.is_cut);
                    std::thread::sleep(failure.wait.unwrap_or_else(|| http::backoff(failures)));
                    last_error = Some(failure.error);
                    failure.is_lost
                }
            };
            if is_lost || !self.ask_how_far(&mut session)? {
                if self.is_complete()? {
                    return Ok(());
                }
                // Progress within a session resets `failures`, so sessions that are lost again and again have a limit of
                // their own.
                restarts += 1;
                if restarts >= http::ATTEMPTS
                    && let Some(error) = last_error
                {
                    return Err(error);
                }
                let was_renewed = session.was_renewed;
                session = self.route.start()?;
                session.was_renewed = was_renewed;
            }
            if session.offset > before {
                failures = 0;
                cuts = 0;
            } else if cuts >= CUTS_BEFORE_CHUNKS && chunk.is_none() {
                chunk = Some(REFUSED_CHUNK);
            }
        }
    }

    /// Sets the session to what the registry has; `false` if it cannot say.
    fn ask_how_far(&self, session: &mut Session) -> Result<bool, Error> {
        let answer = self.route.registries.ask(&Question {
            operation: SEND,
            endpoint: self.route.endpoint,
            scopes: self.route.scopes,
            method: Method::GET,
            url: session.location.clone(),
            headers: Vec::new(),
            body: None,
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(error @ (Error::Transport { .. } | Error::Denied { .. })) => return Err(error),
            Err(_) => return Ok(false),
        };
        if !matches!(answer.status().as_u16(), 200 | 202 | 204) {
            return Ok(false);
        }
        let Some(offset) = end_of_range(answer.headers()).filter(|&offset| offset <= self.blob.size) else {
            return Ok(false);
        };
        (session.offset, session.was_continued) = (offset, true);
        if let Some(location) = self.route.location(answer.headers(), answer.url())? {
            session.location = location;
        }
        Ok(true)
    }

    /// One request that moves the upload on.
    fn step(&self, session: &mut Session, chunk: Option<u64>) -> Result<Step, Error> {
        let left = self.blob.size.saturating_sub(session.offset);
        let is_last = left == 0 || (chunk.is_none() && session.offset == 0);
        let (method, url, length) = if is_last {
            let mut url = session.location.clone();
            url.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
            (Method::PUT, url, left)
        } else {
            (
                Method::PATCH,
                session.location.clone(),
                chunk.map_or(left, |bytes| bytes.max(session.smallest_chunk)).min(left),
            )
        };
        let header = self.route.registries.authorization(SEND, self.route.endpoint, self.route.scopes, &url)?;
        let http = self.route.registries.client_for(SEND, self.route.endpoint, &url)?;
        let begin = |client: &reqwest::Client| {
            let mut request = client.request(method.clone(), url.clone()).timeout(upload_timeout(length));
            request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, length);
            if method == Method::PATCH {
                let last = (session.offset + length).saturating_sub(1);
                request = request.header(CONTENT_RANGE, format!("{}-{last}", session.offset));
            }
            header.iter().fold(request, |request, header| request.header(AUTHORIZATION, header))
        };
        let reader = self.blob.source.open(session.offset)?;
        let body = http.stream(Some(length), begin).map_err(|source| transport(SEND, self.route.endpoint, source))?;
        match self.fill(body, reader, session.offset, length) {
            Ok(answer) => self.judge(session, answer, is_last, length, header.as_ref()),
            Err(source) => {
                let is_hopeless = http::is_hopeless(&source);
                let error = transport(SEND, self.route.endpoint, source);
                if is_hopeless {
                    return Err(error);
                }
                Ok(Step::Failed(Failure { error, wait: None, is_cut: true, is_lost: false }))
            }
        }
    }

    /// Writes the blob's next `length` bytes into the body of a request, and waits for the answer.
    fn fill(
        &self,
        mut body: Outgoing,
        mut reader: Box<dyn Read + Send>,
        offset: u64,
        length: u64,
    ) -> Result<Answer, http::Error> {
        let mut sent = 0;
        while sent < length {
            let wanted = PIECE.min(length - sent);
            let mut piece = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
            let read = reader.by_ref().take(wanted).read_to_end(&mut piece);
            let count = read.map_err(|cause| body.failed(&cause.to_string()))? as u64;
            if count == 0 {
                return Err(body.failed(&format!("there are {} of {} bytes", offset + sent, self.blob.size)));
            }
            // What is not taken any more has its answer, or a failure.
            if body.send(piece.into()).is_err() {
                break;
            }
            sent += count;
            self.meter.reach(offset + sent);
        }
        body.finish(upload_timeout(length))
    }

    fn judge(
        &self,
        session: &mut Session,
        answer: Answer,
        is_last: bool,
        length: u64,
        header: Option<&HeaderValue>,
    ) -> Result<Step, Error> {
        let Answer { status, headers, url, body } = answer;
        if status.is_success() && is_html(&headers) {
            return Err(self.route.endpoint.page(SEND));
        }
        match status.as_u16() {
            200..=204 if is_last => {
                if let Some(found) = announced_digest(&headers).filter(|&found| found != self.blob.digest) {
                    return Err(self.route.endpoint.wrong_digest("blob", self.blob.digest, found));
                }
                // 201 is the promise that it is there; anything else is checked.
                if status == StatusCode::CREATED || self.is_complete()? {
                    return Ok(Step::Done);
                }
                let problem = format!("it answered {status}, but does not have the blob");
                let error = self.route.endpoint.protocol(SEND, problem);
                Ok(Step::Failed(Failure { error, wait: None, is_cut: false, is_lost: true }))
            }
            200..=204 => {
                if let Some(location) = self.route.location(&headers, &url)? {
                    session.location = location;
                }
                let sent = session.offset + length;
                let accepted = end_of_range(&headers).filter(|&end| end > session.offset && end < sent);
                session.offset = accepted.unwrap_or(sent);
                session.was_renewed = false;
                Ok(Step::Advanced)
            }
            307 | 308 => {
                let error = self.route.endpoint.protocol(SEND, "it sends the upload in circles".to_owned());
                match self.route.location(&headers, &url)? {
                    // The registry sends us to its storage: the digest is part of the address there.
                    Some(location) => session.location = without_digest(location),
                    None => return Err(error),
                }
                Ok(Step::Failed(Failure { error, wait: Some(Duration::ZERO), is_cut: false, is_lost: false }))
            }
            401 if !session.was_renewed && self.route.endpoint.owns(&url) => {
                session.was_renewed = true;
                self.route.registries.renew(SEND, self.route.endpoint, self.route.scopes, &headers, header)?;
                Ok(Step::Renewed)
            }
            413 => Ok(Step::TooLarge(self.final_answer(status, parse_api_errors(&body)))),
            _ => {
                let wait = http::retry_after(&headers);
                let errors = parse_api_errors(&body);
                let has = |code: &str| errors.iter().any(|error| error.code == code);
                let is_lost = matches!(status.as_u16(), 404 | 410) && !has("NAME_UNKNOWN")
                    || has("BLOB_UPLOAD_UNKNOWN")
                    || has("BLOB_UPLOAD_INVALID")
                    || (has("DIGEST_INVALID") && (session.offset > 0 || session.was_continued));
                let out_of_step = status == StatusCode::RANGE_NOT_SATISFIABLE;
                let may_pass = http::is_temporary(status) || is_lost || out_of_step;
                let error = self.final_answer(status, errors);
                if may_pass {
                    return Ok(Step::Failed(Failure { error, wait, is_cut: false, is_lost }));
                }
                Err(error)
            }
        }
    }

    fn final_answer(&self, status: StatusCode, errors: Vec<ApiError>) -> Error {
        let (registry, repository) = (self.route.endpoint.registry.clone(), self.route.endpoint.repository.clone());
        Error::Answer { operation: SEND, registry, repository, status, errors }
    }
}

/// Bytes that `Range: 0-N` says are there. `0-0` is what registries answer for none, so one byte counts as none too.
pub(super) fn end_of_range(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let (first, last) = text.strip_prefix("bytes=").unwrap_or(text).split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    (first.trim() == "0").then(|| if last == 0 { 0 } else { last.saturating_add(1) })
}

/// The address without a `digest` parameter, which is appended when the upload is completed.
fn without_digest(url: Url) -> Url {
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "digest")
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let mut url = url;
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    url
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(range: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(range).ok()?);
        end_of_range(&headers)
    }

    #[test]
    fn ranges_say_how_much_is_there() {
        assert_eq!(end("0-9"), Some(10));
        assert_eq!(end("bytes=0-9"), Some(10));
        assert_eq!(end("0-0"), Some(0));
        for text in ["", "0", "5-9", "0-x", "0--1"] {
            assert_eq!(end(text), None, "{text}");
        }
    }

    #[test]
    fn a_meter_counts_each_byte_once() {
        let sum = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sum);
        let meter = Meter::new(move |bytes| {
            counter.fetch_add(bytes, Ordering::Relaxed);
        });
        for position in [10, 20, 5, 15, 25] {
            meter.reach(position);
        }
        assert_eq!(sum.load(Ordering::Relaxed), 25);
    }

    proptest! {
        #[test]
        fn any_range_is_read_without_panic(text in "[ -~]{0,40}") {
            end(&text);
        }
    }
}
