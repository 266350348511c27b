//! A package index of invented wheels: pages and METADATA on a port of its own, and no bytes of any wheel.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use imgforge::oci::Digest;
use serde_json::json;

/// The sha256 that the index tells for a wheel.
pub(crate) fn digest(filename: &str) -> Digest {
    Digest::of(filename.as_bytes())
}

/// Serves projects, each at a path below the address returned, with its wheels; `metadata` are lines that all of their
/// METADATA have. It ends with the test.
pub(crate) fn serve(projects: &[(&str, &[&str])], metadata: &'static str) -> String {
    let pages: Vec<(String, String)> =
        projects.iter().map(|(path, files)| (format!("/{path}/"), page(path, files))).collect();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(&stream, &pages, metadata)));
    format!("http://{address}/")
}

fn page(path: &str, files: &[&str]) -> String {
    let files = files.iter().map(|file| {
        let hashes = json!({"sha256": digest(file).hex()});
        json!({"filename": file, "url": file, "hashes": hashes, "size": 1234, "core-metadata": true})
    });
    let name = path.rsplit('/').next().unwrap_or_default();
    json!({"meta": {"api-version": "1.1"}, "name": name, "files": files.collect::<Vec<_>>()}).to_string()
}

fn answer(mut stream: &TcpStream, pages: &[(String, String)], metadata: &str) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap_or_default().replace("%2B", "+");
    let page = pages.iter().find(|(place, _)| *place == path).map(|(_, page)| page.clone());
    let of_wheel = || {
        let (project, file) = path.strip_suffix(".whl.metadata")?.rsplit_once('/')?;
        let (name, version) = (project.rsplit('/').next()?, file.split('-').nth(1)?);
        Some(format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}"))
    };
    let (status, body) = match page.or_else(of_wheel) {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/vnd.pypi.simple.v1+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}
