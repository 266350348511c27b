//! Any text is a RECORD or an error with its line; what is written reads back as the same rows.

#![no_main]

use imgforge::oci;

#[allow(dead_code, reason = "the target reads and writes and hashes nothing")]
#[path = "../../src/assemble/record.rs"]
mod record;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match record::parse(text) {
        Ok(rows) => assert_eq!(record::parse(&record::render(&rows)), Ok(rows)),
        Err((line, _)) => assert!(line >= 1 && line <= text.lines().count().max(1)),
    }
});
