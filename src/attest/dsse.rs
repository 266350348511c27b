//! DSSE envelopes: a payload, its type, and signatures over both.
//! Source: <https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md>.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::key::{PublicKey, SigningKey};

/// Signatures of one envelope that are looked at.
const SIGNATURES_LIMIT: usize = 16;

/// A signed payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    sig: String,
}

impl Envelope {
    /// A payload with this key's signature. It names no key: cosign passes over signatures whose `keyid` is not its own kind
    /// of name.
    pub fn sign(payload: &[u8], payload_type: &str, key: &SigningKey) -> Self {
        let signature = key.sign(&encoding(payload_type, payload));
        Self {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![Signature { sig: STANDARD.encode(signature) }],
        }
    }

    /// The payload, if the key has signed it as a thing of this type; else what speaks against it.
    pub fn open(&self, payload_type: &str, key: &PublicKey) -> Result<Vec<u8>, String> {
        if self.payload_type != payload_type {
            return Err(format!(
                "its payload is `{}`, not `{payload_type}`",
                super::statement::shorten(&self.payload_type)
            ));
        }
        let payload = decode(&self.payload).ok_or("its payload is not base64")?;
        let signed = encoding(payload_type, &payload);
        let mut signatures =
            self.signatures.iter().take(SIGNATURES_LIMIT).filter_map(|signature| decode(&signature.sig));
        match signatures.any(|signature| key.has_signed(&signed, &signature)) {
            true => Ok(payload),
            false => Err("another key signed it, or its content was changed".to_owned()),
        }
    }
}

/// The bytes that are signed: type and payload with their lengths, so that neither can be taken for part of the other.
fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Both alphabets are allowed.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::{key, other_key};
    use super::*;

    #[test]
    fn what_is_signed_is_the_example_of_the_protocol() {
        assert_eq!(
            encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn an_envelope_opens_with_the_key_that_closed_it() {
        let envelope = Envelope::sign(b"hello", "text/plain", &key());
        assert_eq!(envelope, Envelope::sign(b"hello", "text/plain", &key()), "signatures are deterministic");
        assert_eq!(envelope.open("text/plain", &key().public()), Ok(b"hello".to_vec()));
        let error = envelope.open("text/plain", &other_key().public()).expect_err("another key");
        assert_eq!(error, "another key signed it, or its content was changed");
        assert_eq!(
            envelope.open("text/html", &key().public()),
            Err("its payload is `text/plain`, not `text/html`".to_owned())
        );
    }

    #[test]
    fn a_changed_payload_or_type_does_not_open() {
        let envelope = Envelope::sign(b"hello", "text/plain", &key());
        let changed = Envelope { payload: STANDARD.encode(b"hullo"), ..envelope.clone() };
        assert!(changed.open("text/plain", &key().public()).is_err());
        let retyped = Envelope { payload_type: "text/html".to_owned(), ..envelope.clone() };
        assert!(retyped.open("text/html", &key().public()).is_err());
        let unsigned = Envelope { signatures: Vec::new(), ..envelope.clone() };
        assert!(unsigned.open("text/plain", &key().public()).is_err());
        let garbled = Envelope { payload: "~".to_owned(), ..envelope };
        assert_eq!(garbled.open("text/plain", &key().public()), Err("its payload is not base64".to_owned()));
    }

    #[test]
    fn one_right_signature_among_others_is_enough() {
        let mut envelope = Envelope::sign(b"hello", "text/plain", &key());
        let other = Envelope::sign(b"hello", "text/plain", &other_key());
        envelope.signatures.insert(0, Signature { sig: "not base64".to_owned() });
        envelope.signatures.insert(0, other.signatures[0].clone());
        assert!(envelope.open("text/plain", &key().public()).is_ok());
    }
}
