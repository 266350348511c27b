//! A registry in memory that lets everything happen and remembers what should not have: a manifest that came before what it
//! names. The CNCF registry would refuse it, so only one that does not can tell whether somebody tried.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgforge::oci::Digest;
use serde_json::Value;

/// It runs as long as the test's process.
pub(crate) struct Witness {
    host: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By repository and digest.
    blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and tag or digest, with the media type.
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    uploads: u64,
    requests: u64,
    offences: Vec<String>,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    content_type: String,
    body: Vec<u8>,
}

type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

impl Witness {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { host, state }
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Requests that have begun so far.
    pub(crate) fn requests(&self) -> u64 {
        lock(&self.state).requests
    }

    /// Manifests that came before what they name.
    pub(crate) fn offences(&self) -> Vec<String> {
        lock(&self.state).offences.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut stream = BufReader::new(stream);
    // A request that breaks off changes nothing.
    let Some(request) = read(&mut stream, state) else { return };
    let is_head = request.method == "HEAD";
    let (status, headers, body) = lock(state).answer(request);
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in &headers {
        head += &format!("{name}: {value}\r\n");
    }
    let socket = stream.get_mut();
    let _ = socket.write_all(format!("{head}\r\n").as_bytes());
    if !is_head {
        let _ = socket.write_all(&body);
    }
}

fn read(stream: &mut BufReader<TcpStream>, state: &Mutex<State>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    lock(state).requests += 1;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers.get("content-length").map_or(Some(0), |text| text.parse().ok())?;
    let mut body = Vec::new();
    stream.take(length as u64).read_to_end(&mut body).ok().filter(|&count| count == length)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let content_type = headers.remove("content-type").unwrap_or_default();
    Some(Request { method, path: path.to_owned(), query, content_type, body })
}

impl State {
    fn answer(&mut self, request: Request) -> Answer {
        let Request { method, path, query, content_type, body } = request;
        let path = path.trim_start_matches("/v2/");
        let nothing = |status| (status, Vec::new(), Vec::new());
        if path.is_empty() {
            return nothing(200);
        }
        if let Some((repository, _)) = path.split_once("/blobs/uploads/") {
            match method.as_str() {
                "POST" => {
                    self.uploads += 1;
                    return (202, vec![("location", format!("/v2/{repository}/blobs/uploads/{}", self.uploads))], body);
                }
                "PUT" => {
                    let digest = query.get("digest").cloned().unwrap_or_default();
                    if Digest::of(&body).to_string() != digest {
                        return nothing(400);
                    }
                    self.blobs.insert((repository.to_owned(), digest), body);
                    return nothing(201);
                }
                _ => return nothing(404),
            }
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            let blob = self.blobs.get(&(repository.to_owned(), digest.to_owned()));
            return blob.map_or_else(|| nothing(404), |blob| (200, Vec::new(), blob.clone()));
        }
        let Some((repository, name)) = path.split_once("/manifests/") else { return nothing(404) };
        if method != "PUT" {
            let manifest = self.manifests.get(&(repository.to_owned(), name.to_owned())).cloned();
            return manifest.map_or_else(
                || nothing(404),
                |(media_type, bytes)| {
                    let digest = Digest::of(&bytes).to_string();
                    (200, vec![("content-type", media_type), ("docker-content-digest", digest)], bytes)
                },
            );
        }
        for missing in self.missing(repository, &body) {
            self.offences.push(format!("{repository}:{name} names {missing}, which is not there"));
        }
        let digest = Digest::of(&body).to_string();
        for name in [name.to_owned(), digest] {
            self.manifests.insert((repository.to_owned(), name), (content_type.clone(), body.clone()));
        }
        nothing(201)
    }

    /// What the manifest or index names and the repository does not have. (A `subject` may come later.)
    fn missing(&self, repository: &str, manifest: &[u8]) -> Vec<String> {
        let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
        let named = |list: &Value| {
            let list = list.as_array().cloned().unwrap_or_default();
            list.iter().filter_map(|entry| Some(entry["digest"].as_str()?.to_owned())).collect::<Vec<_>>()
        };
        let config = manifest["config"]["digest"].as_str().map(str::to_owned);
        let blobs = named(&manifest["layers"]).into_iter().chain(config);
        let blobs = blobs.filter(|digest| !self.blobs.contains_key(&(repository.to_owned(), digest.clone())));
        let manifests = named(&manifest["manifests"]).into_iter();
        let manifests =
            manifests.filter(|digest| !self.manifests.contains_key(&(repository.to_owned(), digest.clone())));
        blobs.chain(manifests).collect()
    }
}
