//! Sigstore bundles, version 0.3: an envelope, and what is needed to check it. Ours are signed by a key, without a
//! certificate and without an entry in a public log, so that they can be made and checked in a closed network.
//! Source: <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto>.

use serde::{Deserialize, Serialize};

use super::dsse::Envelope;
use super::key::{PublicKey, SigningKey};
use super::statement::{IN_TOTO_TYPE, Statement, shorten};

/// Media type of a bundle.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What the media types of all versions begin with.
pub const BUNDLE_TYPES: &str = "application/vnd.dev.sigstore.bundle";

/// A signed statement as Sigstore's tools exchange it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    verification_material: Material,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<KeyHint>,
    /// Entries of a public log, of which there are none; some readers want to be told.
    #[serde(default)]
    tlog_entries: Vec<serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

/// The bundle's exact bytes for a statement that this key signs.
pub fn seal(statement: &Statement, key: &SigningKey) -> Vec<u8> {
    let bundle = Bundle {
        media_type: BUNDLE_TYPE.to_owned(),
        verification_material: Material {
            public_key: Some(KeyHint { hint: key.public().hint() }),
            tlog_entries: Vec::new(),
        },
        dsse_envelope: Some(Envelope::sign(&statement.to_bytes(), IN_TOTO_TYPE, key)),
    };
    serde_json::to_vec(&bundle).unwrap_or_default()
}

/// The statement in a bundle, if the key has signed it; else what speaks against it. The bundle's own word on its key counts
/// for nothing.
pub fn open(bytes: &[u8], key: &PublicKey) -> Result<Statement, String> {
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|cause| format!("it is no bundle: {cause}"))?;
    if !bundle.media_type.starts_with(BUNDLE_TYPES) {
        return Err(format!("it is `{}`, not a bundle", shorten(&bundle.media_type)));
    }
    let envelope = bundle.dsse_envelope.ok_or("it holds no statement but a bare signature")?;
    Statement::read(&envelope.open(IN_TOTO_TYPE, key)?)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::key::tests::{key, other_key};
    use super::*;
    use crate::oci::Digest;

    fn statement() -> Statement {
        Statement::new(None, &Digest::of(b"image"), "https://example.com/p/v1", serde_json::json!({}))
    }

    #[test]
    fn a_bundle_has_the_form_that_others_read() {
        let bundle: Value = serde_json::from_slice(&seal(&statement(), &key())).expect("JSON");
        assert_eq!(bundle["mediaType"], BUNDLE_TYPE);
        let hint = &bundle["verificationMaterial"]["publicKey"]["hint"];
        assert_eq!(hint, &Value::from(key().public().hint()));
        assert_eq!(bundle["dsseEnvelope"]["signatures"][0].get("keyid"), None);
        assert_eq!(bundle["dsseEnvelope"]["payloadType"], IN_TOTO_TYPE);
    }

    #[test]
    fn a_statement_comes_out_with_its_key_only() {
        let sealed = seal(&statement(), &key());
        assert_eq!(open(&sealed, &key().public()), Ok(statement()));
        assert!(open(&sealed, &other_key().public()).is_err());
        // A bundle that calls itself signed by another key is checked with the one that was asked for.
        let text = String::from_utf8(sealed).expect("UTF-8");
        let renamed = text.replace(&key().public().hint(), &other_key().public().hint());
        assert_eq!(open(renamed.as_bytes(), &key().public()), Ok(statement()));
        assert!(open(renamed.as_bytes(), &other_key().public()).is_err());
    }

    #[test]
    fn other_things_are_no_bundles() {
        let error = |text: &str| open(text.as_bytes(), &key().public()).expect_err(text);
        assert!(error("{}").starts_with("it is no bundle"));
        assert_eq!(error(r#"{"mediaType": "text/plain"}"#), "it is `text/plain`, not a bundle");
        let bare = format!(r#"{{"mediaType": "{BUNDLE_TYPE}", "messageSignature": {{}}}}"#);
        assert_eq!(error(&bare), "it holds no statement but a bare signature");
        let not_in_toto = Bundle {
            media_type: BUNDLE_TYPE.to_owned(),
            verification_material: Material::default(),
            dsse_envelope: Some(Envelope::sign(b"{}", "text/plain", &key())),
        };
        let text = serde_json::to_string(&not_in_toto).expect("JSON");
        assert_eq!(error(&text), format!("its payload is `text/plain`, not `{IN_TOTO_TYPE}`"));
    }
}
