//! A deflate stream with claims about it is refused, or the layer holds exactly the content that passed by. Claims that are
//! true are not refused.

#![no_main]

use std::io::Read as _;

use imgforge::assemble::{Deflated, LayerWriter, Owner};
use imgforge::oci::Compression;

/// Longest content, in bytes.
const LIMIT: u64 = 32 << 20;

/// Size and CRC-32 of the content, if the whole stream is one.
fn truth(stream: &[u8]) -> Option<(u64, u32)> {
    let mut decoder = flate2::bufread::DeflateDecoder::new(stream);
    let mut content = Vec::new();
    decoder.by_ref().take(LIMIT).read_to_end(&mut content).ok()?;
    let whole = decoder.total_in() == stream.len() as u64 && (content.len() as u64) < LIMIT;
    whole.then(|| (content.len() as u64, crc32fast::hash(&content)))
}

// A byte that says whether what is claimed is the truth, two claims, the length of what comes after the stream, all of that.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&[honest, s0, s1, s2, s3, c0, c1, c2, c3, after], rest)) = input.split_first_chunk() else { return };
    let stream = &rest[..rest.len().saturating_sub(usize::from(after))];
    let truth = truth(stream);
    let claimed = (u64::from(u32::from_le_bytes([s0, s1, s2, s3])) % LIMIT, u32::from_le_bytes([c0, c1, c2, c3]));
    let (uncompressed_size, crc32) = truth.filter(|_| honest % 2 == 1).unwrap_or(claimed);
    let deflated = Deflated { uncompressed_size, compressed_size: stream.len() as u64, crc32, reader: rest };
    let mut content = Vec::new();
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    let written = layer.deflated("a", 0o644, Owner::ROOT, deflated, &mut |piece| content.extend_from_slice(piece));
    assert!(written.is_ok() || truth != Some((uncompressed_size, crc32)));
    if written.is_ok() {
        let sink = layer.finish().expect("memory takes everything").sink;
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(sink.as_slice()).read_to_end(&mut plain).expect("gzip members");
        assert!(plain.get(512..).is_some_and(|rest| rest.starts_with(&content)));
    }
});
