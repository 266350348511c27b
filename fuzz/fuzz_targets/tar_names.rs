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
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    if layer.symlink(&path, &target, Owner::ROOT).is_err() {
        return;
    }
    let sink = layer.finish().expect("memory takes everything").sink;
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(sink.as_slice()));
    let last = archive.entries().expect("a tar").last().expect("an entry").expect("a readable entry");
    assert_eq!(last.path_bytes(), path.as_bytes());
    assert_eq!(last.link_name_bytes().as_deref(), Some(target.as_bytes()));
});
