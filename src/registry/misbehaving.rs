//! A registry over a loopback socket that keeps to the protocol until it is told not to, and the tests that tell it.
//!
//! Faults are queued by method; the next request of that method gets the fault instead of an answer. Everything that was
//! asked is logged as `METHOD /path`, with the authorisation that came along.

mod quirks;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::*;
use crate::diagnostic::Hint as _;
use crate::oci::{Digest, Platform};
use crate::store::Store;

/// How long a server that hangs does so before it hangs up.
const HANG: Duration = Duration::from_secs(20);

enum Fault {
    /// This answer: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, &'static str),
    /// This status before anything of the body is read, and then nothing for long.
    AnswerAtOnce(u16),
    /// Take so many bytes of the body and hang up.
    CutAfter(usize),
    /// Send so many bytes of the blob and hang up.
    SendOnly(usize),
    /// Read nothing more, answer nothing, and keep the connection.
    Hang,
    /// Send so many bytes of the blob, and then nothing for long.
    HangAfter(usize),
    /// Send the whole blob, whatever range was asked for.
    IgnoreRange,
    /// None this time.
    Pass,
}

#[derive(Default)]
struct World {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    upload: Vec<u8>,
    faults: Vec<(&'static str, Fault)>,
    log: Vec<String>,
    /// Tokens that were given out; only the last is valid. `None` lets everybody in.
    tokens: Option<u32>,
    /// Answers of the mount request.
    mounts: VecDeque<u16>,
    /// Where uploads go, instead of a relative path.
    upload_host: Option<String>,
}

struct Server {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
}

struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    /// Bytes of the body, or of its present chunk, that are still in the stream.
    unread: usize,
    /// Whether the body comes in chunks, and the last was not read yet.
    has_chunks: bool,
    stream: BufReader<TcpStream>,
}

impl Server {
    fn start(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let world = Arc::clone(&shared);
                std::thread::spawn(move || {
                    if let Some(request) = read_request(stream) {
                        answer(request, &world, address);
                    }
                });
            }
        });
        Self { address, world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("the world")
    }

    fn log(&self) -> Vec<String> {
        self.world().log.clone()
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().expect("a reference")
    }
}

fn read_request(stream: TcpStream) -> Option<Request> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let unread = headers.get("content-length").and_then(|text: &String| text.parse().ok()).unwrap_or(0);
    let has_chunks = headers.get("transfer-encoding").is_some_and(|text| text == "chunked");
    Some(Request { method, target, headers, unread, has_chunks, stream })
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn body(&mut self, limit: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < limit && (self.unread > 0 || self.begin_chunk()) {
            let wanted = self.unread.min(limit - body.len());
            let found = (&mut self.stream).take(wanted as u64).read_to_end(&mut body).expect("a body");
            self.unread = if found == wanted { self.unread - wanted } else { 0 };
        }
        body
    }

    /// Reads the head of the next chunk; `false` if there is none.
    fn begin_chunk(&mut self) -> bool {
        let mut line = String::new();
        // Between two chunks is an empty line.
        while self.has_chunks && line.trim().is_empty() {
            line.clear();
            self.has_chunks = self.stream.read_line(&mut line).is_ok_and(|count| count > 0);
        }
        self.unread = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        self.has_chunks &= self.unread > 0;
        self.unread > 0
    }

    fn reply(mut self, status: u16, headers: &[(&str, String)], body: &[u8]) {
        // What is left of the body is read first: closing over unread bytes would cut the answer off as well.
        self.body(usize::MAX);
        self.send(status, headers, body, body.len());
    }

    fn send(mut self, status: u16, headers: &[(&str, String)], body: &[u8], length: usize) {
        let mut text = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let socket = self.stream.get_mut();
        let _ = socket.write_all(text.as_bytes());
        if self.method != "HEAD" {
            let _ = socket.write_all(body);
        }
    }
}

fn answer(mut request: Request, world: &Mutex<World>, address: SocketAddr) {
    let mut state = world.lock().expect("the world");
    let authorization = request.header("authorization").map(|text| format!(" [{text}]")).unwrap_or_default();
    let range = request.header("content-range").or(request.header("range"));
    let range = range.map(|text| format!(" {text}")).unwrap_or_default();
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    if path != "/v2/" {
        let line = format!("{} {}{range}{authorization}", request.method, request.target);
        state.log.push(line.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","));
    }
    if path == "/token" {
        let count = state.tokens.map_or(1, |count| count + 1);
        state.tokens = Some(count);
        if request.method == "POST" {
            let form = request.body(usize::MAX);
            state.log.push(String::from_utf8_lossy(&form).into_owned());
        }
        return request.reply(200, &[], format!(r#"{{"token":"t{count}"}}"#).as_bytes());
    }
    if let Some(count) = state.tokens
        && request.header("authorization") != Some(&format!("Bearer t{count}"))
    {
        let realm = format!(r#"Bearer realm="http://{address}/token",service="test""#);
        return request.reply(401, &[("www-authenticate", realm)], b"");
    }
    let mut fault = None;
    if let Some(at) = state.faults.iter().position(|(method, _)| *method == request.method) {
        fault = Some(state.faults.remove(at).1);
    }
    match fault {
        Some(Fault::Answer(status, headers, body)) => return request.reply(status, &headers, body.as_bytes()),
        Some(Fault::AnswerAtOnce(status)) => {
            let connection = request.stream.get_ref().try_clone();
            request.send(status, &[], b"", 0);
            drop(state);
            std::thread::sleep(HANG);
            return drop(connection);
        }
        Some(Fault::CutAfter(count)) => {
            let part = request.body(count);
            state.upload.extend(part);
            return;
        }
        Some(Fault::Hang) => {
            drop(state);
            return std::thread::sleep(HANG);
        }
        _ => {}
    }
    let host = state.upload_host.clone().map(|host| format!("http://{host}")).unwrap_or_default();
    let location = |offset: usize| ("location", format!("{host}/v2/a/blobs/uploads/1?_state={offset}"));
    let parameter = |name: &str| {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let last = path.rsplit('/').next().unwrap_or("").to_owned();
    match (request.method.as_str(), path.as_str()) {
        (_, "/v2/") => request.reply(200, &[], b""),
        ("POST", _) => {
            let status = match parameter("mount") {
                Some(_) => state.mounts.pop_front().unwrap_or(202),
                None => 202,
            };
            state.upload.clear();
            let location = location(0);
            request.reply(status, &[location], b"");
        }
        ("PATCH", _) => {
            let body = request.body(usize::MAX);
            state.upload.extend(body);
            let length = state.upload.len();
            let location = location(length);
            request.reply(202, &[location, ("range", format!("0-{}", length - 1))], b"");
        }
        ("PUT", path) if path.contains("/uploads/") => {
            let body = request.body(usize::MAX);
            state.upload.extend(body);
            let bytes = std::mem::take(&mut state.upload);
            let digest = parameter("digest").unwrap_or_default();
            if Digest::of(&bytes).to_string() != digest {
                return request.reply(400, &[], br#"{"errors":[{"code":"DIGEST_INVALID","message":"wrong"}]}"#);
            }
            state.blobs.insert(digest.clone(), bytes);
            request.reply(201, &[("docker-content-digest", digest)], b"");
        }
        ("GET", path) if path.contains("/uploads/") => {
            let location = location(state.upload.len());
            let last = state.upload.len().saturating_sub(1);
            request.reply(204, &[location, ("range", format!("0-{last}"))], b"");
        }
        (_, path) if path.contains("/blobs/") => match state.blobs.get(&last).cloned() {
            None => request.reply(404, &[], br#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#),
            Some(bytes) => {
                let start = request
                    .header("range")
                    .and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
                let start = if matches!(fault, Some(Fault::IgnoreRange)) { 0 } else { start.unwrap_or(0) };
                let rest = &bytes[start..];
                let headers = [("content-range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()))];
                let (status, headers) = if start > 0 { (206, headers.as_slice()) } else { (200, [].as_slice()) };
                let shown = match fault {
                    Some(Fault::SendOnly(count) | Fault::HangAfter(count)) => &rest[..count],
                    _ => rest,
                };
                let connection = request.stream.get_ref().try_clone();
                request.send(status, headers, shown, rest.len());
                if let Some(Fault::HangAfter(_)) = fault {
                    drop(state);
                    std::thread::sleep(HANG);
                }
                drop(connection);
            }
        },
        ("PUT", _) => {
            let body = request.body(usize::MAX);
            let media_type = request.header("content-type").unwrap_or_default().to_owned();
            state.manifests.insert(last, (media_type, body));
            request.reply(201, &[], b"");
        }
        _ => match state.manifests.get(&last).cloned() {
            Some((media_type, bytes)) => request.reply(200, &[("content-type", media_type)], &bytes),
            None => request.reply(404, &[], br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#),
        },
    }
}

fn client(config: Config) -> Registries {
    let nobody = Config { docker_config: Some(PathBuf::from("/nonexistent")), ..config };
    Registries::new(http::Client::new(&http::Options::default()).expect("a client"), nobody)
}

fn push(registries: &Registries, target: &Reference, bytes: &[u8], mount_from: &[&str]) -> Result<BlobOutcome, Error> {
    let source = BytesSource(bytes.into());
    let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64, source: &source };
    registries.push_blob(target, blob, mount_from, &Meter::new(|_| {}))
}

fn world_with(faults: Vec<(&'static str, Fault)>) -> World {
    World { faults, ..World::default() }
}

/// More than fits into the buffers of a socket, so that a cut is seen before everything is written.
fn large() -> Vec<u8> {
    (0..12_000_000u32).map(|number| (number % 251) as u8).collect()
}

#[test]
fn a_blob_goes_in_one_request_and_is_then_there() {
    let server = Server::start(World::default());
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    let digest = Digest::of(b"content");
    assert_eq!(push(&registries, &target, b"content", &[]).expect("pushed"), BlobOutcome::Sent);
    // What was sent is known to be there, until it is not believed any more.
    assert_eq!(push(&registries, &target, b"content", &[]).expect("skipped"), BlobOutcome::Present);
    registries.forget_blobs(&target).expect("forgotten");
    assert_eq!(push(&registries, &target, b"content", &[]).expect("skipped"), BlobOutcome::Present);
    assert_eq!(push(&registries, &target, b"", &[]).expect("the empty blob"), BlobOutcome::Sent);
    assert_eq!(
        server.log()[..4],
        [
            format!("HEAD /v2/a/blobs/{digest}"),
            "POST /v2/a/blobs/uploads/".to_owned(),
            format!("PUT /v2/a/blobs/uploads/1?_state=0&digest={digest}"),
            format!("HEAD /v2/a/blobs/{digest}"),
        ]
    );
}

#[test]
fn what_an_image_names_is_not_asked_for_unless_a_mirror_said_so() {
    let server = Server::start(World::default());
    let digest = Digest::of(b"content");
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    registries.note_blobs(&target, [&digest]).expect("noted");
    assert_eq!(push(&registries, &target, b"content", &[]).expect("skipped"), BlobOutcome::Present);
    assert_eq!(server.log(), [""; 0]);
    // Another repository is another matter, and so is a mirror.
    assert_eq!(push(&registries, &server.reference("b:1"), b"content", &[]).expect("pushed"), BlobOutcome::Sent);
    let host = server.address.to_string();
    let mirrored =
        client(Config { mirrors: BTreeMap::from([(host, vec!["mirror.test".into()])]), ..Config::default() });
    mirrored.note_blobs(&target, [&digest]).expect("not noted");
    push(&mirrored, &target, b"content", &[]).expect("asked");
    let question = |repository: &str| format!("HEAD /v2/{repository}/blobs/{digest}");
    assert_eq!(
        server.log().iter().filter(|line| line.starts_with("HEAD")).collect::<Vec<_>>(),
        [&question("b"), &question("a")]
    );
}

#[test]
fn tokens_name_every_repository_and_are_renewed_when_refused() {
    let server = Server::start(World { tokens: Some(0), mounts: VecDeque::from([201]), ..World::default() });
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, b"content", &["b"]).expect("mounted"), BlobOutcome::Mounted);
    let digest = Digest::of(b"content");
    assert_eq!(
        server.log(),
        [
            format!("HEAD /v2/a/blobs/{digest}"),
            "GET /token?service=test&scope=repository:a:pull,push".to_owned(),
            format!("HEAD /v2/a/blobs/{digest} [Bearer t1]"),
            "GET /token?service=test&scope=repository:a:pull,push&scope=repository:b:pull".to_owned(),
            format!("POST /v2/a/blobs/uploads/?mount={digest}&from=b [Bearer t2]"),
        ]
    );
    // The first token is no longer valid; it is replaced without being asked for again in vain.
    assert_eq!(push(&registries, &target, b"other", &[]).expect("sent"), BlobOutcome::Sent);
    assert!(server.log().last().is_some_and(|line| line.ends_with("[Bearer t3]")));
}

#[test]
fn an_identity_token_is_exchanged_by_post() {
    let server = Server::start(World { tokens: Some(0), ..World::default() });
    let target = server.reference("a:1");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = serde_json::json!({"auths": {target.registry(): {"identitytoken": "refresh me"}}});
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a config");
    let http = http::Client::new(&http::Options::default()).expect("a client");
    let config = Config { docker_config: Some(folder.path().to_owned()), ..Config::default() };
    let registries = Registries::new(http, config);
    assert!(!registries.has_blob(&target, &Digest::of(b"content")).expect("an answer"));
    assert_eq!(
        server.log()[1..3],
        [
            "POST /token",
            "grant_type=refresh_token&client_id=imgforge&service=test&scope=repository%3Aa%3Apull&refresh_token=refresh+me",
        ]
    );
}

#[test]
fn a_token_that_expires_during_the_upload_is_renewed() {
    let server = Server::start(World { tokens: Some(0), ..World::default() });
    server.world().faults.push((
        "PUT",
        Fault::Answer(401, vec![("www-authenticate", format!("Bearer realm=\"http://{}/token\"", server.address))], ""),
    ));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, b"content", &[]).expect("sent"), BlobOutcome::Sent);
    let puts: Vec<String> = server.log().into_iter().filter(|line| line.starts_with("PUT")).collect();
    assert_eq!(puts.len(), 2);
    assert!(puts[0].ends_with("[Bearer t1]") && puts[1].ends_with("[Bearer t2]"), "{puts:?}");
}

#[test]
fn a_mount_that_is_declined_goes_on_at_its_location() {
    let server = Server::start(World { mounts: VecDeque::from([202]), ..World::default() });
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, b"content", &["b", "a"]).expect("sent"), BlobOutcome::Sent);
    let posts = server.log().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(posts, 1, "{:?}", server.log());
}

#[test]
fn a_mount_on_its_own_sends_nothing() {
    let server = Server::start(World { mounts: VecDeque::from([201, 202, 404]), ..World::default() });
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    let mounted: Vec<bool> =
        (0..3).map(|_| registries.mount_blob(&target, &Digest::of(b"content"), "b").expect("an answer")).collect();
    assert_eq!(mounted, [true, false, false]);
    assert!(server.log().iter().all(|line| line.starts_with("POST")), "{:?}", server.log());
}

#[test]
fn a_mount_that_is_refused_is_followed_by_an_upload() {
    let server = Server::start(world_with(vec![("POST", Fault::Answer(403, Vec::new(), ""))]));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, b"content", &["b"]).expect("sent"), BlobOutcome::Sent);
}

#[test]
fn credentials_stay_with_their_host() {
    let storage = Server::start(World::default());
    let upload_host = Some(storage.address.to_string());
    let server = Server::start(World { tokens: Some(0), upload_host, ..World::default() });
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, b"content", &[]).expect("sent"), BlobOutcome::Sent);
    assert_eq!(storage.log(), [format!("PUT /v2/a/blobs/uploads/1?_state=0&digest={}", Digest::of(b"content"))]);
}

#[test]
fn an_absolute_location_of_the_same_host_gets_the_token() {
    let server = Server::start(World { tokens: Some(0), ..World::default() });
    server.world().upload_host = Some(server.address.to_string());
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, b"content", &[]).expect("sent"), BlobOutcome::Sent);
    assert!(server.log().last().is_some_and(|line| line.ends_with("[Bearer t1]")));
}

#[test]
fn an_upload_that_is_cut_goes_on_where_it_was() {
    let bytes = large();
    let server = Server::start(world_with(vec![("PUT", Fault::CutAfter(5_000_000))]));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, &bytes, &[]).expect("sent"), BlobOutcome::Sent);
    let digest = Digest::of(&bytes);
    assert_eq!(
        server.log()[1..],
        [
            "POST /v2/a/blobs/uploads/".to_owned(),
            format!("PUT /v2/a/blobs/uploads/1?_state=0&digest={digest}"),
            "GET /v2/a/blobs/uploads/1?_state=0".to_owned(),
            "PATCH /v2/a/blobs/uploads/1?_state=5000000 5000000-11999999".to_owned(),
            format!("PUT /v2/a/blobs/uploads/1?_state=12000000&digest={digest}"),
        ]
    );
    assert!(server.world().blobs.get(&digest.to_string()) == Some(&bytes));
}

#[test]
fn an_upload_the_registry_forgot_starts_anew() {
    let bytes = large();
    let faults = vec![("PUT", Fault::CutAfter(100)), ("GET", Fault::Answer(404, Vec::new(), ""))];
    let server = Server::start(world_with(Vec::new()));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    // The first question finds out the scheme; the faults are for what follows.
    registries.has_blob(&target, &Digest::of(&bytes)).expect("an answer");
    server.world().faults = faults;
    assert_eq!(push(&registries, &target, &bytes, &[]).expect("sent"), BlobOutcome::Sent);
    assert_eq!(server.log().iter().filter(|line| line.starts_with("POST")).count(), 2);
}

#[test]
fn sessions_that_are_lost_again_and_again_have_an_end() {
    let lost = || {
        let body = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}"#;
        Fault::Answer(404, vec![("retry-after", "0".to_owned())], body)
    };
    let faults = (0..20).flat_map(|_| [("PATCH", Fault::Pass), ("PATCH", lost())]).collect();
    let server = Server::start(world_with(faults));
    let config = Config { upload_chunk: Some(3), ..Config::default() };
    let target = server.reference("a:1");
    let error = push(&client(config), &target, b"content", &[]).expect_err("lost");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot upload a blob to `{}/a`: the registry answered 404 Not Found (BLOB_UPLOAD_UNKNOWN: gone)",
            target.registry()
        )
    );
    assert_eq!(server.log().iter().filter(|line| line.starts_with("POST")).count(), http::ATTEMPTS as usize);
}

#[test]
fn a_registry_that_is_busy_is_asked_again() {
    let busy = || Fault::Answer(429, vec![("retry-after", "0".to_owned())], "");
    let server = Server::start(world_with(vec![("POST", busy()), ("PUT", busy())]));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, b"content", &[]).expect("sent"), BlobOutcome::Sent);
    assert_eq!(server.log().iter().filter(|line| line.starts_with("PUT")).count(), 2);
}

#[test]
fn a_blob_too_large_for_one_request_goes_in_pieces() {
    let bytes = large();
    let server = Server::start(world_with(vec![("PUT", Fault::Answer(413, Vec::new(), ""))]));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, &bytes, &[]).expect("sent"), BlobOutcome::Sent);
    let patches: Vec<String> = server.log().into_iter().filter(|line| line.starts_with("PATCH")).collect();
    assert_eq!(
        patches,
        [
            "PATCH /v2/a/blobs/uploads/1?_state=0 0-4194303",
            "PATCH /v2/a/blobs/uploads/1?_state=4194304 4194304-8388607",
            "PATCH /v2/a/blobs/uploads/1?_state=8388608 8388608-11999999",
        ]
    );
}

#[test]
fn a_refusal_is_heard_before_everything_is_sent() {
    let started = std::time::Instant::now();
    let bytes = large();
    let server =
        Server::start(world_with(vec![("PUT", Fault::AnswerAtOnce(413)), ("PATCH", Fault::AnswerAtOnce(413))]));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    assert_eq!(push(&registries, &target, &bytes, &[]).expect("sent"), BlobOutcome::Sent);
    assert!(started.elapsed() < HANG, "it waited until the server hung up");
    // Smaller pieces after each refusal.
    assert!(server.log().iter().any(|line| line.ends_with(" 0-2097151")), "{:?}", server.log());
}

#[test]
fn pieces_of_a_chosen_size() {
    let server = Server::start(World::default());
    let config = Config { upload_chunk: Some(3), ..Config::default() };
    assert_eq!(push(&client(config), &server.reference("a:1"), b"content", &[]).expect("sent"), BlobOutcome::Sent);
    assert_eq!(server.log().iter().filter(|line| line.starts_with("PATCH")).count(), 3);
}

#[test]
fn a_registry_that_stored_something_else_is_found_out() {
    let wrong = Digest::of(b"another");
    let server = Server::start(world_with(vec![(
        "PUT",
        Fault::Answer(201, vec![("docker-content-digest", wrong.to_string())], ""),
    )]));
    let error =
        push(&client(Config::default()), &server.reference("a:1"), b"content", &[]).expect_err("a wrong digest");
    assert!(matches!(error, Error::WrongDigest { what: "blob", found, .. } if found == wrong), "{error}");
}

#[test]
fn refusals_say_what_the_registry_said() {
    let body = r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#;
    let server = Server::start(world_with(vec![("POST", Fault::Answer(403, Vec::new(), body))]));
    let target = server.reference("a:1");
    let error = push(&client(Config::default()), &target, b"content", &[]).expect_err("denied");
    let host = target.registry();
    assert_eq!(
        error.to_string(),
        format!("cannot start an upload to `{host}/a`: access denied without credentials (DENIED: quota exceeded)")
    );
    assert_eq!(error.help(), [format!("log in with `docker login {host}` (or `podman login {host}`)")]);
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let bytes = large();
    let digest = Digest::of(&bytes);
    for second in [Fault::SendOnly(1000), Fault::IgnoreRange] {
        let server = Server::start(World::default());
        server.world().blobs.insert(digest.to_string(), bytes.clone());
        let (registries, reference) = (client(Config::default()), server.reference("a:1"));
        assert!(registries.has_blob(&reference, &digest).expect("an answer"));
        server.world().faults = vec![("GET", Fault::SendOnly(5_000_000)), ("GET", second)];
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path());
        let size = Some(bytes.len() as u64);
        let mut seen = 0;
        let path =
            registries.fetch_blob(&reference, &digest, size, &store, &mut |count| seen += count).expect("fetched");
        assert!(std::fs::read(path).expect("a blob") == bytes);
        assert_eq!(seen, 12_000_000);
        assert!(server.log().iter().any(|line| line.ends_with(" bytes=5000000-")), "{:?}", server.log());
    }
}

#[test]
fn bytes_that_are_not_the_blob_are_refused() {
    let server = Server::start(World::default());
    let digest = Digest::of(b"content");
    server.world().blobs.insert(digest.to_string(), b"CONTENT".to_vec());
    let (registries, reference) = (client(Config::default()), server.reference("a:1"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path());
    let error = registries.fetch_blob(&reference, &digest, Some(7), &store, &mut |_| {}).expect_err("wrong bytes");
    assert!(matches!(error, Error::Store(crate::store::Error::WrongDigest { .. })), "{error}");
    let mut reader = registries.open_blob(&reference, &digest, Some(7), 0).expect("opened");
    let error = reader.read_to_end(&mut Vec::new()).expect_err("wrong bytes");
    assert!(error.to_string().contains("expected"), "{error}");
}

#[test]
fn mirrors_come_first_and_the_registry_last() {
    let (mirror, home) = (Server::start(World::default()), Server::start(World::default()));
    let manifest = (r"application/vnd.oci.image.manifest.v1+json".to_owned(), b"{}".to_vec());
    home.world().manifests.insert("1".into(), manifest.clone());
    let mirrors = BTreeMap::from([(home.address.to_string(), vec![format!("{}/proxy", mirror.address)])]);
    let registries = client(Config { mirrors, ..Config::default() });
    let reference = home.reference("a/b:1");
    assert_eq!(registries.manifest(&reference).expect("found").digest, Digest::of(b"{}"));
    assert_eq!(mirror.log(), ["GET /v2/proxy/a/b/manifests/1"]);
    assert_eq!(home.log(), ["GET /v2/a/b/manifests/1"]);
    mirror.world().manifests.insert("1".into(), manifest);
    registries.manifest(&reference).expect("found");
    assert_eq!(home.log().len(), 1);
    assert_eq!(registries.repositories_at(&mirror.address.to_string(), &reference), ["proxy/a/b"]);

    let error = registries.manifest(&home.reference("a/b:2")).expect_err("nowhere");
    assert!(error.is_not_found());
    assert_eq!(error.notes().len(), 2);
}

#[test]
fn manifests_are_checked_against_their_digest_and_limited() {
    let server = Server::start(World::default());
    let (registries, promised) = (client(Config::default()), Digest::of(b"promised"));
    server.world().manifests.insert(promised.to_string(), (String::new(), b"delivered".to_vec()));
    server.world().manifests.insert("large".into(), (String::new(), vec![b' '; MANIFEST_LIMIT as usize + 1]));
    let error = registries.manifest(&server.reference(&format!("a@{promised}"))).expect_err("wrong bytes");
    assert!(matches!(error, Error::WrongDigest { what: "manifest", expected, .. } if expected == promised), "{error}");
    let error = registries.manifest(&server.reference("a:large")).expect_err("too large");
    assert!(error.to_string().ends_with("it has more than 4 MiB"), "{error}");
}

#[test]
fn an_index_leads_to_the_platforms_manifest() {
    let server = Server::start(World::default());
    let registries = client(Config::default());
    let manifest = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#.to_vec();
    let (right, other) = (Digest::of(&manifest), Digest::of(b"other"));
    let entry = |digest: &Digest, architecture: &str, variant: &str| {
        serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 9,
            "platform": {"os": "linux", "architecture": architecture, "variant": variant}})
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry(&other, "arm", "v7"), entry(&other, "unknown", ""), entry(&right, "arm64", "v8")]});
    server.world().manifests.insert("1".into(), (String::new(), index.to_string().into_bytes()));
    server.world().manifests.insert(right.to_string(), (String::new(), manifest));
    let reference = server.reference("a:1");
    assert_eq!(registries.resolve_platform(&reference, Platform::ARM64).expect("found").digest, right);
    let error = registries.resolve_platform(&reference, Platform::AMD64).expect_err("not there");
    assert_eq!(error.to_string(), format!("`{reference}` has no image for linux/amd64"));
}

#[test]
fn a_registry_that_keeps_referrers_is_left_to_it() {
    let server = Server::start(World::default());
    let (registries, repository) = (client(Config::default()), server.reference("a:1"));
    let (subject, attached) = (Digest::of(b"image"), Digest::of(b"{}"));
    let noted = Fault::Answer(201, vec![("oci-subject", subject.to_string())], "");
    server.world().faults.push(("PUT", noted));
    let referrer = Referrer {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        digest: attached,
        size: 2,
        artifact_type: Some("application/vnd.test".into()),
        annotations: BTreeMap::new(),
    };
    assert!(registries.push_referrer(&repository, &referrer.media_type, b"{}").expect("written"));
    assert_eq!(server.log(), [format!("PUT /v2/a/manifests/{attached}")]);
    let list = serde_json::json!({"schemaVersion": 2, "manifests": [referrer]});
    server.world().manifests.insert(subject.to_string(), (String::new(), list.to_string().into_bytes()));
    assert_eq!(registries.referrers(&repository, &subject).expect("listed"), [referrer]);
}

#[test]
fn offline_asks_nobody() {
    let server = Server::start(World::default());
    let http = http::Client::new(&http::Options { offline: true, ..http::Options::default() }).expect("a client");
    let registries = Registries::new(http, Config::default());
    let error = registries.manifest(&server.reference("a:1")).expect_err("offline");
    assert!(matches!(error, Error::Transport { source: http::Error::Offline { .. }, .. }), "{error}");
    assert_eq!(server.log(), [""; 0]);
}
