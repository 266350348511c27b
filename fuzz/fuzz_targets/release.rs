//! Any bytes are a signed message or are refused; nothing but what a pinned key signed is believed. The text inside is read
//! or passed over.

#![no_main]

use std::sync::LazyLock;

use imgforge::debian as stanza;
use imgforge::{lock, oci};

#[allow(dead_code, reason = "the target needs the check alone")]
#[path = "../../src/debian/keyring.rs"]
mod keyring;
#[allow(dead_code, reason = "the target needs the reader alone")]
#[path = "../../src/debian/release.rs"]
mod release;

static KEYRING: LazyLock<keyring::Keyring> = LazyLock::new(|| match keyring::Keyring::embedded("debian") {
    Some(Ok(keyring)) => keyring,
    other => panic!("the pinned keys: {other:?}"),
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(KEYRING.verify(bytes, 1_790_000_000).is_err(), "nobody but the archive signs for it");
    let text = String::from_utf8_lossy(bytes);
    let _ = release::Release::parse(&text);
    let _ = keyring::Keyring::default().add("the fuzzer's key", &text);
});
