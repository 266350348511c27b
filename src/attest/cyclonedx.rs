//! The bill of materials as a CycloneDX 1.6 document in JSON. Source: <https://cyclonedx.org/docs/1.6/json/>.

use serde_json::{Map, Value, json};

use super::inventory::{Component, Inventory, Kind};
use super::uuid_of;
use crate::packaging::License;

/// The document's exact bytes.
pub fn cyclonedx(inventory: &Inventory) -> Vec<u8> {
    let image = &inventory.image;
    let references: Vec<String> = inventory.components.iter().enumerate().map(reference).collect();
    let mut root = json!({"type": "container", "bom-ref": image.purl, "name": image.name});
    if let Some(digest) = image.digest {
        root["version"] = json!(digest);
        root["hashes"] = hashes(&digest.hex());
    }
    root["purl"] = json!(image.purl);
    root["properties"] = json!([
        {"name": "dev.imgforge:lock", "value": image.lock},
        {"name": "dev.imgforge:platform", "value": image.platform},
    ]);
    let components: Vec<Value> = inventory.components.iter().zip(&references).map(component).collect();
    // The image needs all of its parts; among themselves, what METADATA says.
    let mut dependencies = vec![json!({"ref": image.purl, "dependsOn": references})];
    for (component, reference) in inventory.components.iter().zip(&references) {
        let needed: Vec<&String> = component.requires.iter().map(|at| &references[*at]).collect();
        dependencies.push(match needed.is_empty() {
            true => json!({"ref": reference}),
            false => json!({"ref": reference, "dependsOn": needed}),
        });
    }
    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        // Set last: it names this content and no other.
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "timestamp": image.created,
            "tools": {"components": [
                {"type": "application", "name": "imgforge", "version": env!("CARGO_PKG_VERSION")},
            ]},
            "component": root,
        },
        "components": components,
        "dependencies": dependencies,
        "compositions": [{
            "aggregate": if inventory.complete { "complete" } else { "incomplete" },
            "assemblies": [image.purl],
        }],
    });
    document["serialNumber"] = uuid_of(document.to_string().as_bytes()).into();
    let mut bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The package URL where there is one. A lock has no package twice, but a reference must be unique whatever it holds.
fn reference((at, component): (usize, &Component)) -> String {
    match &component.purl {
        Some(purl) => format!("{at}:{purl}"),
        None => format!("{at}:{}", component.name),
    }
}

fn component((component, reference): (&Component, &String)) -> Value {
    let kind = match component.kind {
        Kind::BaseImage => "container",
        Kind::System => "operating-system",
        Kind::Deb | Kind::Wheel => "library",
    };
    let mut value = Map::new();
    value.insert("type".to_owned(), json!(kind));
    value.insert("bom-ref".to_owned(), json!(reference));
    value.insert("name".to_owned(), json!(component.name));
    if let Some(version) = &component.version {
        value.insert("version".to_owned(), json!(version));
    }
    if let Some(digest) = component.digest {
        value.insert("hashes".to_owned(), hashes(&digest.hex()));
    }
    match &component.license {
        Some(License::Expression { text, .. }) => {
            value.insert("licenses".to_owned(), json!([{"expression": text, "acknowledgement": "declared"}]));
        }
        Some(License::Named(name)) => {
            let license = json!([{"license": {"name": name, "acknowledgement": "declared"}}]);
            value.insert("licenses".to_owned(), license);
        }
        None => {}
    }
    if let Some(purl) = &component.purl {
        value.insert("purl".to_owned(), json!(purl));
    }
    if let Some(location) = &component.location {
        value.insert("externalReferences".to_owned(), json!([{"type": "distribution", "url": location}]));
    }
    if let Some(file) = &component.file {
        value.insert("properties".to_owned(), json!([{"name": "dev.imgforge:file", "value": file}]));
    }
    value.into()
}

fn hashes(hex: &str) -> Value {
    json!([{"alg": "SHA-256", "content": hex}])
}

#[cfg(test)]
mod tests {
    use super::super::testing::inventory;
    use super::*;

    #[test]
    fn the_document_has_these_bytes() {
        insta::assert_snapshot!(String::from_utf8(cyclonedx(&inventory())).expect("UTF-8"));
    }

    #[test]
    fn another_content_has_another_serial_number() {
        let serial = |inventory: &Inventory| {
            let document: Value = serde_json::from_slice(&cyclonedx(inventory)).expect("JSON");
            document["serialNumber"].as_str().map(str::to_owned)
        };
        let mut other = inventory();
        other.complete = false;
        assert_eq!(serial(&inventory()), serial(&inventory()));
        assert_ne!(serial(&inventory()), serial(&other));
    }
}
