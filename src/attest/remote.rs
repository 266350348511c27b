//! Small documents in a registry that anybody with write access may have put there: read within limits, and what is wrong with
//! one is said of that one, so that it hides no other.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::Deserialize;
use serde_json::Value;

use super::Error;
use crate::oci::{Digest, Reference};
use crate::registry::Registries;

/// Largest bundle or payload that is read. Provenance of an image with a thousand packages takes a tenth.
const DOCUMENT_LIMIT: u64 = 4 << 20;

/// One document of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    pub(super) media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

/// The manifest behind a reference; `None` if there is none, null if it is not JSON.
pub(super) fn manifest(registries: &Registries, reference: &Reference) -> Result<Option<Value>, Error> {
    match registries.manifest_at_home(reference) {
        Ok(manifest) => Ok(Some(serde_json::from_slice(&manifest.bytes).unwrap_or_default())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The documents that a manifest lists.
pub(super) fn parts(manifest: &Value) -> Vec<Result<Part, String>> {
    let layers = manifest.get("layers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let part =
        |layer: &Value| Part::deserialize(layer).map_err(|cause| format!("its descriptor cannot be read: {cause}"));
    layers.iter().map(part).collect()
}

/// A document's bytes, verified; the inner error says what is wrong with it, the outer that the registry failed.
pub(super) fn read(
    registries: &Registries,
    repository: &Reference,
    part: &Part,
) -> Result<Result<Vec<u8>, String>, Error> {
    if part.size > DOCUMENT_LIMIT {
        return Ok(Err(format!("it has {} bytes, more than any signature", part.size)));
    }
    let reader = match registries.open_blob(repository, &part.digest, Some(part.size), 0) {
        Ok(reader) => reader,
        Err(error) if error.is_not_found() => return Ok(Err("its content is gone".to_owned())),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    if let Err(cause) = reader.take(part.size + 1).read_to_end(&mut bytes) {
        return Ok(Err(format!("its content cannot be read: {cause}")));
    }
    Ok(if Digest::of(&bytes) == part.digest { Ok(bytes) } else { Err("its content is another one".to_owned()) })
}
