//! Sending many bytes, also such that are still being made.
//!
//! The blocking client takes a body in pieces of 8 KiB, each with a change of threads, which costs as much as making the
//! bytes. Here a body is a channel of large pieces, and a thread of its own does the input and output. A request that is
//! answered before its body has ended, by a refusal as a rule, takes no more of it.

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use url::Url;

use super::{Error, innermost};
use crate::redact;

/// Pieces that wait to be sent. The pieces of a layer have up to 256 KiB.
const WAITING: usize = 4;
/// Bytes of an answer that are read: error messages are short.
const ANSWER_LIMIT: usize = 64 << 10;

/// A client whose requests have bodies that are made while they are sent.
#[derive(Debug)]
pub(super) struct Streaming {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// The sending end of a request's body. What is written waits until the connection takes it; a write fails as soon as the
/// request has failed or was answered.
#[derive(Debug)]
pub struct Outgoing {
    pieces: Option<tokio::sync::mpsc::Sender<Bytes>>,
    answer: mpsc::Receiver<Result<Answer, Error>>,
    method: String,
    url: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Who answered.
    pub url: Url,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

impl Streaming {
    pub(super) fn new(builder: reqwest::ClientBuilder) -> Result<Self, String> {
        let client = builder.build().map_err(|error| innermost(&error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("imgforge-send")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, runtime })
    }

    /// Begins a request. Its body is what will be written, `length` bytes if that is known.
    pub(super) fn begin(
        &self,
        length: Option<u64>,
        request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Result<Outgoing, Error> {
        let (pieces, taken) = tokio::sync::mpsc::channel(WAITING);
        let taken = Arc::new(Mutex::new(taken));
        let body = Pieces { taken: Arc::clone(&taken), left: length };
        let built = request(&self.client).body(reqwest::Body::wrap(body)).build();
        let built = built.map_err(|error| Error::Transport {
            method: "build".into(),
            url: "a request".into(),
            cause: innermost(&error),
        })?;
        let (method, url) = (built.method().to_string(), redact::url(built.url()));
        let (tell, answer) = mpsc::sync_channel(1);
        let client = self.client.clone();
        let names = (method.clone(), url.clone());
        self.runtime.spawn(async move {
            let response = client.execute(built).await;
            taken.lock().unwrap_or_else(PoisonError::into_inner).close();
            let outcome = match response {
                Ok(response) => Ok(read(response).await),
                Err(error) => Err(innermost(&error)),
            };
            let (method, url) = names;
            // Nobody may be waiting any more: then whoever wrote has given up.
            let _ = tell.send(outcome.map_err(|cause| Error::Transport { method, url, cause }));
        });
        Ok(Outgoing { pieces: Some(pieces), answer, method, url })
    }
}

async fn read(mut response: reqwest::Response) -> Answer {
    let mut answer = Answer {
        status: response.status(),
        headers: response.headers().clone(),
        url: response.url().clone(),
        body: Vec::new(),
    };
    // A body that breaks off still has a beginning.
    while let (true, Ok(Some(piece))) = (answer.body.len() < ANSWER_LIMIT, response.chunk().await) {
        answer.body.extend_from_slice(&piece);
    }
    answer
}

impl Outgoing {
    /// Ends the body and waits for the answer, up to `timeout`.
    pub fn finish(mut self, timeout: Duration) -> Result<Answer, Error> {
        self.pieces = None;
        self.answer.recv_timeout(timeout).unwrap_or_else(|_| Err(self.failed("no answer came")))
    }

    /// Hands a piece of the body on.
    pub fn send(&mut self, piece: Bytes) -> io::Result<()> {
        // Whoever finishes is told why.
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.as_ref().ok_or_else(closed)?.blocking_send(piece).map_err(|_| closed())
    }

    /// That there is no useful answer, for this reason.
    pub fn failed(&self, cause: &str) -> Error {
        Error::Transport { method: self.method.clone(), url: self.url.clone(), cause: cause.to_owned() }
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            self.send(Bytes::copy_from_slice(bytes))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that ends when the channel does. One of a known length that ends early breaks the connection.
struct Pieces {
    taken: Arc<Mutex<tokio::sync::mpsc::Receiver<Bytes>>>,
    left: Option<u64>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let piece = self.taken.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(context);
        if let (Some(left), Poll::Ready(Some(piece))) = (&mut self.left, &piece) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        piece.map(|piece| piece.map(|piece| Ok(http_body::Frame::data(piece))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.left.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}
