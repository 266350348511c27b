//! What lies beside an image may be anything: a bundle or a payload is one that the key made, or there is a reason why not.
//!
//! No input carries a signature of the key, so none may count; a statement that is read about an image names it.

#![no_main]

use imgforge::attest::{PublicKey, Statement, bundle, simple};
use imgforge::oci::Digest;

/// Any key will do: the one whose private number is 1, so that its point is the curve's generator.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
";

libfuzzer_sys::fuzz_target!(|input: (&[u8], &str)| {
    let (bytes, text) = input;
    let key = PublicKey::from_pem(KEY).expect("a key");
    let image = Digest::of(b"image");
    for problem in [bundle::open(bytes, &key).map(drop), simple::check(bytes, text, &image, &key).map(drop)] {
        assert!(!problem.expect_err("nobody signed this").is_empty());
    }
    if let Ok(statement) = Statement::read(bytes) {
        let read = Statement::read(&statement.to_bytes()).expect("its own form");
        // Numbers in the claim may lose their last digit on the way.
        assert_eq!((&read.subject, &read.predicate_type), (&statement.subject, &statement.predicate_type));
        assert_eq!(read.is_about(&image), statement.is_about(&image));
    }
    if let Some(key) = PublicKey::from_pem(text) {
        assert!(!key.has_signed(bytes, text.as_bytes()));
    }
});
