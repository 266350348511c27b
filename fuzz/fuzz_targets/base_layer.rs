//! A layer of somebody's image is walked to its end or refused, in memory that does not grow with the sizes it claims.

#![no_main]

#[allow(dead_code, reason = "the target looks at bodies and paths")]
#[path = "../../src/assemble/base/tar_stream.rs"]
mod tar_stream;
#[path = "../tar_sums.rs"]
mod tar_sums;

/// Longest body that is read.
const LIMIT: u64 = 1 << 16;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    tar_sums::mend(&mut bytes);
    let mut stream = tar_stream::TarStream::new(bytes.as_slice());
    for count in 0.. {
        assert!(count <= bytes.len() / 512, "an entry has a block at least");
        match stream.next_entry() {
            Ok(Some(entry)) => {
                if let Ok(body) = stream.read_body(LIMIT) {
                    assert_eq!(body.len() as u64, entry.size);
                }
            }
            Ok(None) => return assert!(stream.drain().is_ok()),
            Err(_) => return,
        }
    }
});
