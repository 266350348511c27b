//! A registry may answer anything: status, headers and bodies of tokens, manifests, indexes, uploads and errors. The client
//! gives an image, or an error with a message.
//!
//! The answers are served on loopback, one a connection. `@` in a header stands for the server's own address, so that realms
//! and locations lead back to it; text that could lead anywhere else is left out, as are the answers that are waited for and
//! asked again.

#![no_main]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use arbitrary::Arbitrary;
use imgforge::diagnostic::Hint as _;
use imgforge::http;
use imgforge::oci::{Digest, Platform, Reference};
use imgforge::registry::{Blob, BytesSource, Config, Error, Meter, Registries};

const STATUSES: [u16; 12] = [200, 200, 200, 401, 201, 202, 204, 206, 307, 400, 403, 404];
const HEADERS: [&str; 9] = [
    "WWW-Authenticate",
    "Docker-Content-Digest",
    "Content-Type",
    "Location",
    "Range",
    "Content-Range",
    "OCI-Subject",
    "Link",
    "OCI-Chunk-Min-Length",
];

#[derive(Debug, Arbitrary)]
struct Answer {
    status: u8,
    headers: Vec<(u8, String)>,
    body: Vec<u8>,
    is_announced: bool,
}

#[derive(Debug, Arbitrary)]
enum Question {
    Manifest,
    Platform,
    Digest,
    HasBlob,
    OpenBlob(Option<u16>, u16),
    PushBlob(Vec<u8>),
    PushManifest,
    Referrers,
}

static ANSWERS: Mutex<VecDeque<Answer>> = Mutex::new(VecDeque::new());
static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = serve(stream, address);
        }
    });
    address
});
static CLIENT: LazyLock<http::Client> =
    LazyLock::new(|| http::Client::new(&http::Options::default()).expect("a client"));

fn serve(mut stream: TcpStream, address: SocketAddr) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    let answer = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let Some(answer) = answer else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    };
    let status = STATUSES[usize::from(answer.status) % STATUSES.len()];
    let mut head = format!("HTTP/1.1 {status} Any\r\nConnection: close\r\n");
    for (name, value) in &answer.headers {
        let name = HEADERS[usize::from(*name) % HEADERS.len()];
        let value: String = value.chars().filter(|letter| !letter.is_control()).collect();
        let value = match name {
            // A relative address stays with the server.
            "Location" => format!("/{}", value.trim_start_matches(['/', '\\', ' '])),
            _ => value.replace('@', &format!("http://{address}/token?")),
        };
        head += &format!("{name}: {value}\r\n");
    }
    if answer.is_announced {
        head += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if !matches!(status, 204) {
        stream.write_all(&answer.body)?;
    }
    stream.flush()
}

fn leads_away(answer: &Answer) -> bool {
    let texts = answer.headers.iter().map(|(_, value)| value.as_str());
    let mut texts: Vec<String> = texts.map(str::to_ascii_lowercase).collect();
    texts.push(String::from_utf8_lossy(&answer.body).to_ascii_lowercase());
    texts.iter().any(|text| text.contains("http") || text.contains("ftp:") || text.contains("ws"))
}

fn ask(registries: &Registries, reference: &Reference, question: Question) -> Result<(), Error> {
    let digest = Digest::of(b"blob");
    match question {
        Question::Manifest => registries.manifest(reference).map(drop),
        Question::Platform => registries.resolve_platform(reference, Platform::AMD64).map(drop),
        Question::Digest => registries.manifest_digest(reference).map(drop),
        Question::HasBlob => registries.has_blob(reference, &digest).map(drop),
        Question::OpenBlob(size, offset) => {
            let blob = registries.open_blob(reference, &digest, size.map(u64::from), offset.into())?;
            let _ = std::io::copy(&mut blob.take(1 << 20), &mut std::io::sink());
            Ok(())
        }
        Question::PushBlob(bytes) => {
            let source = BytesSource(bytes.as_slice().into());
            let blob = Blob { digest: Digest::of(&bytes), size: bytes.len() as u64, source: &source };
            registries.push_blob(reference, blob, &["other/name"], &Meter::new(|_| {})).map(drop)
        }
        Question::PushManifest => {
            registries.push_manifest(reference, "application/vnd.oci.image.manifest.v1+json", b"{}").map(drop)
        }
        Question::Referrers => registries.referrers(reference, &digest).map(drop),
    }
}

libfuzzer_sys::fuzz_target!(|input: (Vec<Answer>, Question)| {
    let (answers, question) = input;
    if answers.len() > 6 || answers.iter().any(leads_away) {
        return;
    }
    let reference: Reference = format!("{}/some/name:tag", *SERVER).parse().expect("a reference");
    // The first question of a client is whether the registry speaks TLS.
    let hello = Answer { status: 0, headers: Vec::new(), body: Vec::new(), is_announced: true };
    *ANSWERS.lock().unwrap_or_else(PoisonError::into_inner) = std::iter::once(hello).chain(answers).collect();
    let config = Config { docker_config: Some("/nonexistent".into()), ..Config::default() };
    let registries = Registries::new(CLIENT.clone(), config);
    if let Err(error) = ask(&registries, &reference, question) {
        assert!(!error.to_string().is_empty());
        let _ = (error.help(), error.notes());
    }
});
