//! Any bytes are a .deb or an error; what becomes part of a root stays below it.

#![no_main]

use std::io::Write as _;

use imgforge::debian::{RootOptions, build_root};
use imgforge::lock::LockedDeb;
use imgforge::oci::Digest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("the file is written");
    let deb = LockedDeb {
        name: "demo".to_owned(),
        version: "1.0-1".to_owned(),
        architecture: "amd64".to_owned(),
        archive: "debian".to_owned(),
        path: "pool/main/d/demo/demo_1.0-1_amd64.deb".to_owned(),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
    };
    let options = RootOptions { spool_folder: std::env::temp_dir(), below: None };
    if let Ok(root) = build_root(&[(deb, file.path().to_owned())], &options) {
        for (path, _) in root.nodes() {
            assert!(!path.starts_with('/') && !path.split('/').any(|part| part.is_empty() || part == ".."), "{path}");
        }
    }
});
