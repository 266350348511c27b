//! A small HTTP server on loopback that answers by a script and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;

use super::flight::lock;

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(30);

/// What a client asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) path: String,
    /// By lower-case name.
    pub(super) headers: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What the server says.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delivery: Delivery,
}

/// How much of an answer really comes.
#[derive(Clone, Copy)]
enum Delivery {
    Whole,
    /// The whole body is announced, and the connection ends after so many bytes.
    Cut(usize),
    /// As chunks of unknown number, and the connection ends after one chunk of so many bytes.
    CutChunks(usize),
    /// The whole body is announced; after so many bytes nothing comes, and the connection stays.
    Stalled(usize),
    /// Not even a head comes, and the connection stays.
    Silent,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delivery: Delivery::Whole }
    }
    pub(super) fn typed(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, body).header("Content-Type", content_type)
    }
    pub(super) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::typed("application/vnd.pypi.simple.v1+json", body)
    }
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    /// Announces the whole body and breaks off after `sent` bytes.
    pub(super) fn cut(mut self, sent: usize) -> Self {
        self.delivery = Delivery::Cut(sent);
        self
    }
    /// Sends chunks and breaks off after one of `sent` bytes.
    pub(super) fn cut_chunks(mut self, sent: usize) -> Self {
        self.delivery = Delivery::CutChunks(sent);
        self
    }
    /// Announces the whole body, sends `sent` bytes and then nothing for long.
    pub(super) fn stalled(mut self, sent: usize) -> Self {
        self.delivery = Delivery::Stalled(sent);
        self
    }
    /// Takes the request and says nothing for long.
    pub(super) fn silent() -> Self {
        Self { delivery: Delivery::Silent, ..Self::new(200, "") }
    }
    pub(super) fn redirect(location: &str) -> Self {
        Self::new(302, "").header("Location", location)
    }
    /// The part of `bytes` that the request's `Range` asks for, or all of it.
    pub(super) fn ranged(request: &Request, bytes: &[u8]) -> Self {
        let Some((start, end)) = request.header("range").strip_prefix("bytes=").and_then(|range| range.split_once('-'))
        else {
            return Self::new(200, bytes);
        };
        let (start, end) = match start {
            "" => (bytes.len().saturating_sub(end.parse().expect("a length")), bytes.len() - 1),
            start => (start.parse().expect("a start"), end.parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1)),
        };
        Self::new(206, &bytes[start..=end]).header("Content-Range", &format!("bytes {start}-{end}/{}", bytes.len()))
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// The server; it ends when it is dropped.
pub(super) struct TestServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl TestServer {
    pub(super) fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            requests: Arc::default(),
            stopped: Arc::default(),
        };
        let (requests, stopped, script) = (server.requests.clone(), server.stopped.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (requests, script) = (requests.clone(), script.clone());
                std::thread::spawn(move || answer(&stream, &requests, &*script));
            }
        });
        server
    }

    pub(super) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).expect("a URL")
    }

    /// Paths asked for so far, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        lock(&self.requests).iter().map(|request| request.path.clone()).collect()
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut stream: &TcpStream, requests: &Mutex<Vec<Request>>, script: &Script) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut lines = BufReader::new(stream).take(64 * 1024).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let Ok(line) = line else { return };
        match line.split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let request = Request { path, headers };
    lock(requests).push(request.clone());
    let answer = script(&request);
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", answer.status);
    match answer.delivery {
        Delivery::Silent => return std::thread::sleep(LONG),
        Delivery::CutChunks(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        _ if answer.status != 304 && !answer.headers.iter().any(|(name, _)| name == "Content-Length") => {
            head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
        }
        _ => {}
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let sent = match answer.delivery {
        Delivery::Cut(sent) | Delivery::CutChunks(sent) | Delivery::Stalled(sent) => sent.min(answer.body.len()),
        Delivery::Whole | Delivery::Silent => answer.body.len(),
    };
    if let Delivery::CutChunks(_) = answer.delivery {
        let _ = stream.write_all(format!("{sent:x}\r\n").as_bytes());
    }
    let _ = stream.write_all(&answer.body[..sent]);
    let _ = stream.flush();
    if let Delivery::Stalled(_) = answer.delivery {
        std::thread::sleep(LONG);
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
}
