//! How an image was made: SLSA provenance, version 1. Source: <https://slsa.dev/spec/v1.0/provenance>; the fields that are
//! ours are described in `docs/provenance.md`.

use serde_json::{Map, Value, json};

use super::inventory::{Component, Inventory};
use super::statement::Statement;
use crate::lock::Lock;
use crate::oci::Digest;

/// What the predicate is.
pub const PROVENANCE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// How images are made here, and what the parameters mean. A package URL names a program without a domain that somebody would
/// have to own: <https://github.com/package-url/purl-spec/blob/main/types/generic-definition.json>.
const BUILD_TYPE: &str = "pkg:generic/imgforge#build/assemble/v1";
/// Who says so: this program, wherever it ran.
const BUILDER: &str = "pkg:generic/imgforge";

/// The statement about an image that was built; none while there is no digest to speak of. `epoch` is the time that the build
/// was given for its files, if it was given one.
pub fn provenance(inventory: &Inventory, lock: &Lock, epoch: Option<u64>) -> Option<Statement> {
    let image = &inventory.image;
    let mut parameters = json!({
        "image": image.name,
        "platform": image.platform,
        "spec": {"digest": digest_set(&lock.inputs.spec)},
        "lock": {"digest": digest_set(&image.lock)},
    });
    if let Some(epoch) = epoch {
        parameters["sourceDateEpoch"] = json!(epoch);
    }
    let predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": parameters,
            "internalParameters": {
                "catalog": {"digest": digest_set(&lock.inputs.catalog)},
                "layerFormat": lock.layer_format,
            },
            "resolvedDependencies": inventory.components.iter().filter_map(dependency).collect::<Vec<_>>(),
        },
        "runDetails": {"builder": {"id": BUILDER, "version": {"imgforge": env!("CARGO_PKG_VERSION")}}},
    });
    Some(Statement::new(Some(&image.name), &image.digest?, PROVENANCE_TYPE, predicate))
}

/// What went into the image, by digest. A distribution as such is its packages, which have theirs.
fn dependency(component: &Component) -> Option<Value> {
    let mut descriptor = Map::new();
    if let Some(purl) = &component.purl {
        descriptor.insert("uri".to_owned(), json!(purl));
    }
    descriptor.insert("digest".to_owned(), digest_set(&component.digest?));
    let name = component.file.as_ref().unwrap_or(&component.name);
    descriptor.insert("name".to_owned(), json!(name));
    if let Some(location) = component.location.as_ref().filter(|location| !location.ends_with('/')) {
        descriptor.insert("downloadLocation".to_owned(), json!(location));
    }
    Some(descriptor.into())
}

fn digest_set(digest: &Digest) -> Value {
    json!({"sha256": digest.hex()})
}

#[cfg(test)]
mod tests {
    use super::super::testing::{inventory, lock};
    use super::*;

    #[test]
    fn the_statement_has_these_fields() {
        let statement = provenance(&inventory(), &lock(), None).expect("a statement");
        insta::assert_snapshot!(serde_json::to_string_pretty(&statement).expect("JSON"));
    }

    #[test]
    fn a_given_time_is_a_parameter_and_no_image_no_statement() {
        let mut inventory = inventory();
        let statement = provenance(&inventory, &lock(), Some(1_700_000_000)).expect("a statement");
        let epoch = statement.predicate.pointer("/buildDefinition/externalParameters/sourceDateEpoch");
        assert_eq!(epoch, Some(&json!(1_700_000_000)));
        inventory.image.digest = None;
        assert_eq!(provenance(&inventory, &lock(), None), None);
    }
}
