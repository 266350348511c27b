//! Any bytes are a page of the simple API, METADATA of a wheel, or an error.

#![no_main]

use imgforge::packaging::{Metadata, parse_html, parse_json, parse_requirement};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let base = "https://index.invalid/simple/demo/".parse().expect("a URL");
    let _ = parse_html(bytes, &base, "demo");
    let _ = parse_json(bytes, &base, "demo");
    let _ = Metadata::parse(bytes);
    let _ = parse_requirement(&String::from_utf8_lossy(bytes));
});
