//! Paths and link targets are refused, or another reader finds them as they were given.

#![no_main]

use imgforge::assemble::{LayerWriter, Owner};
use imgforge::oci::Compression;

libfuzzer_sys::fuzz_target!(|input: (String, String)| {
    let (path, target) = input;
    // The reader ends a PAX record at the first line feed, although its length says otherwise.
    if path.contains('\n') || target.contains('\n') {
        return;
    }
    // Two names at the top are the table of contents' own, which comes last.
    if matches!(path.split('/').next(), Some("stargz.index.json" | ".no.prefetch.landmark")) {
        return;
    }
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    if layer.symlink(&path, &target, Owner::ROOT).is_err() {
        return;
    }
    let sink = layer.finish().expect("memory takes everything").sink;
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(sink.as_slice()));
    // Folders come before it, the table of contents after it.
    let mut entries = archive.entries().expect("a tar").map(|entry| entry.expect("a readable entry"));
    let link = entries.find(|entry| entry.header().entry_type().is_symlink()).expect("the link");
    assert_eq!(link.path_bytes(), path.as_bytes());
    assert_eq!(link.link_name_bytes().as_deref(), Some(target.as_bytes()));
});
