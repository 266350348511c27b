//! Cosign's older form of a signature: a "simple signing" payload per signature, all of them layers of one manifest under the
//! tag `sha256-<hex>.sig`. Source: <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::dsse::decode;
use super::key::{PublicKey, SigningKey};
use super::remote::{self, Part};
use super::{Claim, Error, SIGNATURES_LIMIT};
use crate::oci::{Digest, Reference};
use crate::publish::artifact::MANIFEST_TYPE;
use crate::registry::{Blob, BytesSource, Meter, Registries};

const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What the payload says it is.
const CLAIM: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// The tag that an image's signatures are under.
pub(super) fn tag(repository: &Reference, image: &Digest) -> Reference {
    let (registry, name) = (repository.registry().to_owned(), repository.repository().to_owned());
    Reference::with_tag(registry, name, format!("sha256-{}.sig", image.hex()))
}

/// The exact bytes that are signed.
fn payload(repository: &Reference, image: &Digest) -> Vec<u8> {
    let identity = format!("{}/{}", repository.registry(), repository.repository());
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": identity},
            "image": {"docker-manifest-digest": image},
            "type": CLAIM,
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

/// Adds this key's signature to those under the tag, unless it is there. Two that sign at the same moment can lose one.
pub(super) fn sign(
    registries: &Registries,
    repository: &Reference,
    image: &Digest,
    key: &SigningKey,
) -> Result<(), Error> {
    let tag = tag(repository, image);
    let payload = payload(repository, image);
    let signature = STANDARD.encode(key.sign(&payload));
    let mut layers = match remote::manifest(registries, &tag)? {
        Some(manifest) => manifest.get("layers").and_then(Value::as_array).cloned().unwrap_or_default(),
        None => Vec::new(),
    };
    let is_there =
        |layer: &Value| layer["digest"] == json!(Digest::of(&payload)) && layer["annotations"][ANNOTATION] == signature;
    if layers.iter().any(is_there) {
        return Ok(());
    }
    layers.push(json!({
        "mediaType": PAYLOAD_TYPE, "digest": Digest::of(&payload), "size": payload.len(),
        "annotations": {ANNOTATION: signature},
    }));
    // Payloads are not packed, so each is its own content.
    let contents: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": {},
        "rootfs": {"type": "layers", "diff_ids": contents},
    });
    let config = config.to_string().into_bytes();
    for bytes in [&payload, &config] {
        let source = BytesSource(bytes.as_slice().into());
        let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64, source: &source };
        registries.push_blob(repository, blob, &[], &Meter::new(|_| {}))?;
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": Digest::of(&config), "size": config.len()},
        "layers": layers,
    });
    registries.push_manifest(&tag, MANIFEST_TYPE, manifest.to_string().as_bytes())?;
    Ok(())
}

/// What there is under the tag, each with whether the key signed it for this image.
pub(super) fn look(
    registries: &Registries,
    repository: &Reference,
    image: &Digest,
    key: &PublicKey,
) -> Result<Vec<(String, Claim)>, Error> {
    let tag = tag(repository, image);
    let Some(manifest) = remote::manifest(registries, &tag)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (at, layer) in remote::parts(&manifest).into_iter().take(SIGNATURES_LIMIT).enumerate() {
        let place = format!("{}#{at}", tag.tag().unwrap_or_default());
        let outcome = match layer {
            Ok(part) if part.media_type != PAYLOAD_TYPE => continue,
            Ok(part) => check_part(registries, &tag, &part, image, key)?,
            Err(problem) => Err(problem),
        };
        found.push((place, outcome));
    }
    Ok(found)
}

fn check_part(
    registries: &Registries,
    tag: &Reference,
    part: &Part,
    image: &Digest,
    key: &PublicKey,
) -> Result<Claim, Error> {
    let Some(signature) = part.annotations.get(ANNOTATION) else {
        return Ok(Err("it has no signature beside it".to_owned()));
    };
    Ok(match remote::read(registries, tag, part)? {
        Ok(payload) => check(&payload, signature, image, key),
        Err(problem) => Err(problem),
    })
}

/// Whether the key signed a payload that names the image; what it claims, or what speaks against it.
pub fn check(payload: &[u8], signature: &str, image: &Digest, key: &PublicKey) -> Claim {
    let signature = decode(signature).ok_or("its signature is not base64")?;
    if !key.has_signed(payload, &signature) {
        return Err("another key signed it, or its content was changed".to_owned());
    }
    // What follows is the key owner's own word.
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|cause| format!("its payload cannot be read: {cause}"))?;
    if payload.critical.kind != CLAIM {
        return Err(format!(
            "it is no signature of an image but `{}`",
            super::statement::shorten(&payload.critical.kind)
        ));
    }
    if payload.critical.image.digest != image.to_string() {
        return Err("it is about another image".to_owned());
    }
    Ok(payload.critical.kind)
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::{key, other_key};
    use super::*;

    fn signed(payload: &[u8]) -> String {
        STANDARD.encode(key().sign(payload))
    }

    #[test]
    fn a_payload_has_the_form_that_cosign_reads() {
        let reference: Reference = "registry.example.com/ml/churn:latest".parse().expect("a reference");
        let image = Digest::of(b"image");
        assert_eq!(
            String::from_utf8(payload(&reference, &image)).expect("UTF-8"),
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"registry.example.com/ml/churn"}},"image":{{"docker-manifest-digest":"{image}"}},"type":"cosign container image signature"}},"optional":null}}"#
            )
        );
        assert_eq!(tag(&reference, &image).tag(), Some(format!("sha256-{}.sig", image.hex()).as_str()));
    }

    #[test]
    fn key_content_claim_and_image_must_all_be_right() {
        let reference: Reference = "registry.example.com/ml/churn".parse().expect("a reference");
        let image = Digest::of(b"image");
        let good = payload(&reference, &image);
        let check = |payload: &[u8], signature: &str| check(payload, signature, &image, &key().public());
        assert_eq!(check(&good, &signed(&good)), Ok(CLAIM.to_owned()));

        let unsigned = Err("another key signed it, or its content was changed".to_owned());
        assert_eq!(check(&good, &STANDARD.encode(other_key().sign(&good))), unsigned);
        let mut changed = good.clone();
        changed[20] ^= 1;
        assert_eq!(check(&changed, &signed(&good)), unsigned);
        assert_eq!(check(&good, "%"), Err("its signature is not base64".to_owned()));

        let other_image = payload(&reference, &Digest::of(b"other"));
        assert_eq!(check(&other_image, &signed(&other_image)), Err("it is about another image".to_owned()));
        let claim = String::from_utf8(good).expect("UTF-8").replace(CLAIM, "a letter");
        let problem = Err("it is no signature of an image but `a letter`".to_owned());
        assert_eq!(check(claim.as_bytes(), &signed(claim.as_bytes())), problem);
        assert!(check(b"{}", &signed(b"{}")).is_err_and(|problem| problem.contains("missing field `critical`")));
    }
}
