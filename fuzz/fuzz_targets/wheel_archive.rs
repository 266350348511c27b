//! METADATA out of any remote archive: found or refused, and no read goes beyond the archive.

#![no_main]

use imgforge::version;

#[allow(dead_code, reason = "files have an implementation of their own")]
#[path = "../../src/index/wheel_archive.rs"]
mod wheel_archive;

struct Remote<'a>(&'a [u8]);

impl wheel_archive::ReadAt for Remote<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&mut self, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
        let end = offset.checked_add(length).expect("an end");
        Ok(self.0[usize::try_from(offset).expect("an offset")..usize::try_from(end).expect("an end")].to_vec())
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let name = "demo-1.0-py3-none-any.whl".parse().expect("a wheel's name");
    if let Ok(metadata) = wheel_archive::read_metadata(&mut Remote(bytes), &name) {
        assert!(metadata.len() as u64 <= wheel_archive::METADATA_LIMIT);
    }
});
