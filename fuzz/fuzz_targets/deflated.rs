//! A deflate stream with claims about it is refused, or the layer holds exactly the content that passed by.

#![no_main]

use std::io::Read as _;

use imgforge::assemble::{Deflated, LayerWriter, Owner};
use imgforge::oci::Compression;

libfuzzer_sys::fuzz_target!(|input: (u32, u32, Vec<u8>, Vec<u8>)| {
    let (uncompressed_size, crc32, stream, trailing) = input;
    let mut reader = stream.clone();
    reader.extend_from_slice(&trailing);
    let claimed = Deflated {
        uncompressed_size: u64::from(uncompressed_size % (32 << 20)),
        compressed_size: stream.len() as u64,
        crc32,
        reader: reader.as_slice(),
    };
    let mut content = Vec::new();
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    let written = layer.deflated("a", 0o644, Owner::ROOT, claimed, &mut |piece| content.extend_from_slice(piece));
    if written.is_ok() {
        let sink = layer.finish().expect("memory takes everything").sink;
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(sink.as_slice()).read_to_end(&mut plain).expect("gzip members");
        assert!(plain.get(512..).is_some_and(|rest| rest.starts_with(&content)));
    }
});
