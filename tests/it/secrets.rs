//! Every kind of credential at work at once, and then a search for each of them, plain and in base64, in all that was pushed,
//! written and said.

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use assert_cmd::Command as Program;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use imgforge::oci::Digest;
use sha2::Digest as _;

use crate::support::colleague::Machine;
use crate::support::registry::RegistryServer;
use crate::support::{files_below, run};

const REGISTRY: &str = "registryPassword7Qx";
const TOKEN: &str = "bearerToken9Lm2Wz";
const NETRC: &str = "netrcPassword4Tk8";
const VARIABLE: &str = "variablePassword3Hd";
const SIGNING: &str = "signingPassword6Vb";
const CLIENT: &str = "clientKeyPassword1Ns";
const WRONG: &str = "wrongPassword5Gc0";

/// Starts a server that hands each connection to `serve`; it ends with the test's process. Returns its port.
fn listen(serve: impl Fn(TcpStream) -> Option<()> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(client));
        }
    });
    port
}

/// Request line and headers, in one text that ends with the empty line.
fn read_head(reader: &mut impl std::io::BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|count| *count > 0)?;
    }
    Some(head)
}

fn reply(mut client: &TcpStream, status: &str, headers: &str, body: &[u8]) -> Option<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    client.write_all(head.as_bytes()).ok()?;
    client.write_all(body).ok()
}

fn basic(user: &str, password: &str) -> String {
    format!("authorization: Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A registry that wants a token, in front of one that is open, with the token service that gives it for the password.
fn token_gate(server: SocketAddr) -> u16 {
    listen(move |client| {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let head = read_head(&mut reader)?;
        let has = |header: &str| head.lines().any(|line| line.eq_ignore_ascii_case(header));
        if head.starts_with("GET /token") {
            return match has(&basic("ann", REGISTRY)) {
                true => reply(&client, "200 OK", "", format!("{{\"token\": \"{TOKEN}\"}}").as_bytes()),
                false => reply(&client, "401 Unauthorized", "", b"{}"),
            };
        }
        if !has(&format!("authorization: Bearer {TOKEN}")) {
            let host =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
            let challenge = format!("www-authenticate: Bearer realm=\"http://{}/token\",service=\"test\"\r\n", host?);
            return reply(&client, "401 Unauthorized", &challenge, b"{}");
        }
        let mut upstream = TcpStream::connect(server).ok()?;
        upstream.write_all(head.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1).as_bytes()).ok()?;
        let (mut from, mut to) = (upstream.try_clone().ok()?, client);
        std::thread::spawn(move || std::io::copy(&mut reader, &mut upstream));
        std::io::copy(&mut from, &mut to).ok().map(drop)
    })
}

/// A wheel of one module, with the RECORD that it should have.
fn wheel(name: &str) -> Vec<u8> {
    let module = format!("NAME = '{name}'\n");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let info = format!("{name}-1.0.dist-info");
    let mut members = vec![
        (format!("{name}.py"), module),
        (format!("{info}/METADATA"), metadata),
        (format!("{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned()),
    ];
    let line = |(path, text): &(String, String)| {
        let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(text));
        format!("{path},sha256={hash},{}\n", text.len())
    };
    let record = members.iter().map(line).collect::<String>() + &format!("{info}/RECORD,,\n");
    members.push((format!("{info}/RECORD"), record));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, text) in members {
        zip.start_file(path, zip::write::SimpleFileOptions::default()).expect("a member");
        zip.write_all(text.as_bytes()).expect("its content");
    }
    zip.finish().expect("a wheel").into_inner()
}

/// A package index of one wheel for whoever has the password.
fn index(name: &'static str, password: &'static str) -> u16 {
    let wheel = wheel(name);
    listen(move |client| {
        let head = read_head(&mut BufReader::new(client.try_clone().ok()?))?;
        if !head.lines().any(|line| line.eq_ignore_ascii_case(&basic("ann", password))) {
            return reply(&client, "401 Unauthorized", "www-authenticate: Basic realm=\"index\"\r\n", b"");
        }
        let path = head.split(' ').nth(1)?;
        let file = format!("{name}-1.0-py3-none-any.whl");
        match path {
            path if path.ends_with(&file) => reply(&client, "200 OK", "", &wheel),
            path if path == format!("/simple/{name}/") => {
                let hash = Digest::of(&wheel).hex();
                let page = format!("<a href=\"../../{file}#sha256={hash}\">{file}</a>");
                reply(&client, "200 OK", "content-type: text/html\r\n", page.as_bytes())
            }
            _ => reply(&client, "404 Not Found", "", b""),
        }
    })
}

/// The ways that a secret may be written: as it is, and in base64 wherever in a longer text it begins.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let inside = |before: usize| {
        let text = [&vec![b'.'; before], secret.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&text);
        // Characters that neighbours have a part in are left out.
        let (from, to) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        encoded.as_bytes()[from..to].to_vec()
    };
    [vec![secret.as_bytes().to_vec()], (0..3).map(inside).collect()].concat()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn base64_is_found_wherever_it_begins() {
    for before in ["", "a", "an", "ann", "ann:"] {
        let encoded = STANDARD.encode(format!("{before}{REGISTRY}, and more"));
        assert!(forms(REGISTRY).iter().any(|form| holds(encoded.as_bytes(), form)), "{encoded}");
    }
}

/// What a command says on both streams.
fn said(command: &mut Program, code: i32) -> Vec<u8> {
    let output = command.assert().code(code).get_output().clone();
    [output.stdout, output.stderr].concat()
}

#[test]
fn no_credential_leaves_the_place_where_it_is_kept() {
    let (open, mutual) = (RegistryServer::plain(), RegistryServer::mutual());
    let gate = format!("127.0.0.1:{}", token_gate(open.address()));
    let (by_netrc, by_variable) = (index("netrcmodule", NETRC), index("variablemodule", VARIABLE));
    let machine = Machine::new();
    let (forge, home) = (&machine.forge, machine.forge.home());

    // Everything that is secret lies in the home or in the environment.
    let put = |path: &str, text: &str| {
        let path = home.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    let login = |password: &str| {
        let auth = STANDARD.encode(format!("ann:{password}"));
        serde_json::json!({"auths": {&gate: {"auth": auth}}}).to_string()
    };
    put(".docker/config.json", &login(REGISTRY));
    put("wrong/config.json", &login(WRONG));
    put(".netrc", &format!("machine localhost login ann password {NETRC}\n"));
    let pki = home.join(".config/containers/certs.d").join(mutual.host());
    mutual.write_client_certificate(&pki);
    let plain_key = fs::read_to_string(pki.join("client.key")).expect("the key");
    let encrypt = ["pkcs8", "-topk8", "-in", "client.key", "-v2", "aes-256-cbc", "-out", "new.key", "-passout"];
    run(Command::new("openssl").args(encrypt).arg(format!("pass:{CLIENT}")).current_dir(&pki));
    fs::rename(pki.join("new.key"), pki.join("client.key")).expect("renamed");
    let imgforge = |arguments: &[&str]| {
        let mut command = machine.imgforge(&[arguments, &["--verbose"]].concat());
        command.env("COSIGN_PASSWORD", SIGNING).env("IMGFORGE_CLIENT_KEY_PASSWORD", CLIENT);
        command.env("IMGFORGE_INDEX_BYVARIABLE_USERNAME", "ann").env("IMGFORGE_INDEX_BYVARIABLE_PASSWORD", VARIABLE);
        command
    };
    let key = home.join("sign").display().to_string();
    said(&mut imgforge(&["keys", "generate", "--output", &key]), 0);
    let sealed_key = fs::read_to_string(home.join("sign.key")).expect("the key");
    let kept = files_below(&home);

    let spec = format!(
        "name: guarded\npython: \"3.13\"\npackages: [netrcmodule, variablemodule]\nindexes:\n\
         \x20 - {{name: bynetrc, url: \"http://localhost:{by_netrc}/simple/\", packages: [netrcmodule]}}\n\
         \x20 - {{name: byvariable, url: \"http://127.0.0.1:{by_variable}/simple/\", packages: [variablemodule]}}\n\
         files: [{{from: main.py, to: /srv/main.py}}]\n"
    );
    forge.write("spec.yaml", spec);
    forge.write("main.py", "print('published')\n");
    let (first, second) = (format!("{gate}/ml/guarded"), format!("{}/ml/guarded", mutual.host()));
    let push = |repository: &str| {
        imgforge(&["build", "spec.yaml", "--push", "--repository", repository, "--sign-key", &format!("{key}.key")])
    };
    let image = format!("{first}:latest");
    let mut words = said(&mut push(&first), 0);
    words.extend(said(&mut push(&second), 0));
    words.extend(said(push(&first).env("DOCKER_CONFIG", home.join("wrong")), 2));
    words.extend(said(push(&second).env("IMGFORGE_CLIENT_KEY_PASSWORD", WRONG), 2));
    words.extend(said(push(&first).env("COSIGN_PASSWORD", WRONG), 2));
    let mut lock = imgforge(&["lock", "spec.yaml", "--upgrade"]);
    words.extend(said(
        lock.env("IMGFORGE_INDEX_BYVARIABLE_PASSWORD", WRONG).env("IMGFORGE_CACHE", home.join("none")),
        2,
    ));
    fs::remove_dir_all(home.join("none")).expect("the other cache");
    words.extend(said(&mut imgforge(&["pull", &image, "--key", &format!("{key}.pub"), "--output", "again"]), 0));
    words.extend(said(&mut imgforge(&["verify", &image]), 0));
    words.extend(said(&mut imgforge(&["inspect", &image, "--format", "html"]), 0));
    words.extend(said(&mut imgforge(&["export", "spec.yaml", "--format", "pylock"]), 0));
    assert_eq!(files_below(&home), kept, "nothing was written there");

    let mut written = files_below(&forge.path(""));
    written.extend(files_below(machine.cache.path()).into_iter().map(|(path, bytes)| (format!("cache/{path}"), bytes)));
    written.insert("what was said".to_owned(), words);
    for (name, server) in [("open", &open), ("mutual", &mutual)] {
        let contents = server.contents().into_iter().enumerate();
        written.extend(contents.map(|(at, bytes)| (format!("{name} registry, {at}"), bytes)));
    }
    // The middle of a key's text, which is base64 already.
    let body = |pem: &str| pem.lines().nth(1).expect("a key's first line").to_owned();
    let keys = [body(&plain_key), body(&sealed_key)];
    let secrets =
        [REGISTRY, TOKEN, NETRC, VARIABLE, SIGNING, CLIENT, WRONG].into_iter().chain(keys.iter().map(String::as_str));
    for secret in secrets {
        for form in forms(secret) {
            let found: Vec<&String> =
                written.iter().filter(|(_, bytes)| holds(bytes, &form)).map(|(path, _)| path).collect();
            assert_eq!(found, [""; 0], "`{secret}`");
        }
    }
    let published =
        written.iter().filter(|(path, bytes)| path.contains("registry") && holds(bytes, b"print('published')"));
    assert!(published.count() >= 2, "the search sees what was pushed");
}
