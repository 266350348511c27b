//! Any bytes are a .deb or an error; what becomes part of a root stays below it. Bytes that are no `ar` archive are taken as a
//! package's data archive.

#![no_main]

use std::io::Write as _;

use imgforge::debian::{RootOptions, build_root, read_control};
use imgforge::lock::LockedDeb;
use imgforge::oci::Digest;

#[path = "../tar_sums.rs"]
mod tar_sums;

const CONTROL: &str = "Package: demo\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: a\nDescription: a\n";

/// A package of the tar `data`, nothing of it packed.
fn with_data(data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(CONTROL.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut control = tar::Builder::new(Vec::new());
    control.append_data(&mut header, "control", CONTROL.as_bytes()).expect("memory takes everything");
    let control = control.into_inner().expect("memory takes everything");
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", b"2.0\n".as_slice()), ("control.tar", &control), ("data.tar", data)] {
        write!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).expect("memory");
        deb.extend_from_slice(content);
        deb.resize(deb.len().next_multiple_of(2), b'\n');
    }
    deb
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let made = (!bytes.starts_with(b"!<arch>")).then(|| {
        let mut data = bytes.to_vec();
        tar_sums::mend(&mut data);
        with_data(&data)
    });
    let bytes = made.as_deref().unwrap_or(bytes);
    let Ok(control) = read_control("demo", bytes) else { return };
    let field = |name| control.control.get(name).unwrap_or_default().to_owned();
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("the file is written");
    let deb = LockedDeb {
        name: field("Package"),
        version: field("Version"),
        architecture: field("Architecture"),
        archive: "debian".to_owned(),
        path: "pool/main/d/demo/demo_1.0-1_amd64.deb".to_owned(),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
    };
    let options = RootOptions { spool_folder: std::env::temp_dir(), below: None };
    if let Ok(root) = build_root(&[(deb, file.path().to_owned())], &options) {
        for (path, _) in root.nodes() {
            assert!(
                !path.starts_with('/')
                    && !path.split('/').any(|part| part.is_empty() || part == ".." || part.starts_with(".wh.")),
                "{path}"
            );
        }
    }
});
