//! Any maintainer script is harmless or has a line that is not; its alternatives are absolute paths.

#![no_main]

#[allow(dead_code, reason = "the target reads and makes nothing")]
#[path = "../../src/debian/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = script::unknown_line(bytes);
    for alternative in script::alternatives(bytes) {
        assert!(!alternative.name.is_empty() && !alternative.link.is_empty() && !alternative.path.is_empty());
    }
});
