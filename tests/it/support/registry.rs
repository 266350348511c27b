//! The CNCF registry on a free loopback port, open, with TLS and a password, or with client certificates; and proxies, one that
//! cuts connections and one that leads them where a test wants them.
//!
//! Its data, certificates and the matching Docker configuration lie in a temporary folder that goes with it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use tempfile::TempDir;

use super::files_below;

/// Who may use a registry.
#[derive(Clone, Copy)]
enum Access<'a> {
    /// Everybody, over plain http.
    Open,
    /// A user with a password, over TLS.
    Password(&'a str, &'a str),
    /// Whoever has a certificate of the registry's own authority, over TLS.
    Certificate,
}

/// A running registry; dropping it ends it.
pub(crate) struct RegistryServer {
    process: Child,
    port: u16,
    folder: TempDir,
    secure: bool,
}

impl RegistryServer {
    /// Plain http, open to everybody.
    pub(crate) fn plain() -> Self {
        Self::start(Access::Open)
    }

    /// TLS with a certificate authority of its own, and one user.
    pub(crate) fn secure(user: &str, password: &str) -> Self {
        Self::start(Access::Password(user, password))
    }

    /// TLS with a certificate authority of its own, which clients need a certificate of.
    pub(crate) fn mutual() -> Self {
        Self::start(Access::Certificate)
    }

    /// A client's certificate and key, and the authority, under the names that Docker and Podman look for in a registry's
    /// folder: `client.cert`, `client.key`, `ca.crt`.
    pub(crate) fn write_client_certificate(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        let own = self.folder.path();
        sign(own, "client", "/CN=ann", "extendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n");
        for (from, to) in [("client.pem", "client.cert"), ("client.key", "client.key"), ("ca.pem", "ca.crt")] {
            fs::copy(own.join(from), folder.join(to)).expect("a copy");
        }
    }

    /// `host:port`, as references begin.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The folder with all that was pushed.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Every file with something that was pushed, gzip undone.
    pub(crate) fn contents(&self) -> Vec<Vec<u8>> {
        let plain = |bytes: Vec<u8>| {
            let mut plain = Vec::new();
            match flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain) {
                Ok(_) => plain,
                Err(_) => bytes,
            }
        };
        files_below(&self.data()).into_values().map(plain).collect()
    }

    /// Its certificate authority, PEM.
    pub(crate) fn ca_file(&self) -> PathBuf {
        assert!(self.secure, "a plain registry has no certificate authority");
        self.folder.path().join("ca.pem")
    }

    /// A folder with Docker's `config.json` that logs `user` in.
    pub(crate) fn docker_config(&self, user: &str, password: &str) -> PathBuf {
        let folder = self.folder.path().join(format!("login-{user}-{password}"));
        fs::create_dir_all(&folder).expect("a folder");
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let json = serde_json::json!({"auths": {self.host(): {"auth": auth}}});
        fs::write(folder.join("config.json"), json.to_string()).expect("a config");
        folder
    }

    fn start(access: Access<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secure = !matches!(access, Access::Open);
        if secure {
            make_certificates(folder.path());
        }
        if let Access::Password(user, password) = access {
            let users = run(Command::new("htpasswd").args(["-Bbn", user, password]), "apache2-utils");
            fs::write(folder.path().join("users"), users).expect("a password file");
        }
        // Another process may take the port between the question and the start.
        for _ in 0..5 {
            let port = free_port();
            let mut process = spawn(folder.path(), port, access);
            let deadline = Instant::now() + Duration::from_secs(20);
            while Instant::now() < deadline {
                if process.try_wait().expect("the registry's state").is_some() {
                    break;
                }
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { process, port, folder, secure };
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("`docker-registry` does not start:\n{log}");
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &Path, port: u16, access: Access<'_>) -> Child {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut config = serde_json::json!({
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": path("data")}, "delete": {"enabled": true}},
        "http": {"addr": format!("127.0.0.1:{port}"), "secret": "test"},
    });
    if !matches!(access, Access::Open) {
        config["http"]["tls"] = serde_json::json!({"certificate": path("server.pem"), "key": path("server.key")});
    }
    match access {
        Access::Open => {}
        Access::Password(..) => {
            config["auth"] = serde_json::json!({"htpasswd": {"realm": "test", "path": path("users")}});
        }
        Access::Certificate => config["http"]["tls"]["clientcas"] = serde_json::json!([path("ca.pem")]),
    }
    // JSON is YAML.
    fs::write(folder.join("config.yml"), config.to_string()).expect("a config");
    let log = fs::File::create(folder.join("log")).expect("a log");
    let started = Command::new("docker-registry")
        .args(["serve", &path("config.yml")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    started.unwrap_or_else(|error| panic!("`docker-registry` (Debian package docker-registry) is needed: {error}"))
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn openssl(folder: &Path, arguments: &[&str]) {
    run(Command::new("openssl").args(arguments).current_dir(folder), "openssl");
}

/// An authority and the registry's own certificate.
fn make_certificates(folder: &Path) {
    let ca = ["req", "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(folder, &[&ca[..], &NEW_KEY[..]].concat());
    sign(folder, "server", "/CN=127.0.0.1", "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n");
}

/// A key and a certificate of the folder's authority.
fn sign(folder: &Path, name: &str, subject: &str, extensions: &str) {
    let [key, csr, pem, extension_file] = ["key", "csr", "pem", "ext"].map(|extension| format!("{name}.{extension}"));
    fs::write(folder.join(&extension_file), extensions).expect("a file");
    let request = ["req", "-new", "-subj", subject, "-keyout", &key, "-out", &csr];
    openssl(folder, &[&request[..], &NEW_KEY[..]].concat());
    let sign = ["x509", "-req", "-in", &csr, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(folder, &[&sign[..], &["-days", "2", "-extfile", &extension_file, "-out", &pem]].concat());
}

/// What a program prints; a panic with its complaint if it fails.
pub(crate) fn run(command: &mut Command, package: &str) -> Vec<u8> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("`{program}` (Debian package {package}) is needed: {error}"));
    assert!(output.status.success(), "`{program}` failed: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// What went through a proxy.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Connections that were cut.
    pub(crate) cuts: AtomicU64,
    /// Bytes that went to the server.
    pub(crate) sent: AtomicU64,
}

/// A proxy that hangs up once, when `limit` bytes have gone to the server over one connection. Returns its `host:port` and
/// a view of what it does.
pub(crate) fn cutting_proxy(server: SocketAddr, limit: u64) -> (String, Arc<Traffic>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let traffic = Arc::new(Traffic::default());
    let view = Arc::clone(&traffic);
    // The threads end with the test process.
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(server) else { continue };
            let (mut from, mut to) = (upstream.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let traffic = Arc::clone(&traffic);
            std::thread::spawn(move || forward(client, upstream, limit, &traffic));
        }
    });
    (host, view)
}

fn forward(mut client: TcpStream, mut upstream: TcpStream, limit: u64, traffic: &Traffic) {
    let mut buffer = [0; 16 << 10];
    let mut passed = 0;
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        if upstream.write_all(&buffer[..count]).is_err() {
            break;
        }
        passed += count as u64;
        traffic.sent.fetch_add(count as u64, Ordering::SeqCst);
        if passed >= limit && traffic.cuts.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            break;
        }
    }
    let _ = upstream.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}

/// A proxy as `HTTP_PROXY` and `HTTPS_PROXY` name one. Whatever host is asked for, it leads to the server. Returns its address
/// and the first line of each connection.
pub(crate) fn leading_proxy(server: SocketAddr) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let view = Arc::clone(&lines);
    // The threads end with the test process.
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let lines = Arc::clone(&lines);
            std::thread::spawn(move || lead(client, server, &lines));
        }
    });
    (address, view)
}

fn lead(mut client: TcpStream, server: SocketAddr, lines: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&head).lines().next()?.to_owned();
    let is_tunnel = line.starts_with("CONNECT ");
    lines.lock().ok()?.push(line);
    let mut upstream = TcpStream::connect(server).ok()?;
    match is_tunnel {
        true => client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?,
        // The registry takes whole addresses as well as paths.
        false => upstream.write_all(&head).ok()?,
    }
    let (mut from, mut to) = (upstream.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut upstream);
    let _ = upstream.shutdown(Shutdown::Both);
    Some(())
}
