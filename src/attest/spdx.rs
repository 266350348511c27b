//! The bill of materials as an SPDX 2.3 document in JSON. Source: <https://spdx.github.io/spdx-spec/v2.3/>.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::inventory::{Component, Inventory, Kind};
use super::uuid_of;
use crate::packaging::License;

const NOASSERTION: &str = "NOASSERTION";
const IMAGE_ID: &str = "SPDXRef-image";

/// The document's exact bytes.
pub fn spdx(inventory: &Inventory) -> Vec<u8> {
    let ids = identifiers(&inventory.components);
    let mut packages = vec![image(inventory)];
    packages.extend(inventory.components.iter().zip(&ids).map(|(component, id)| package(component, id)));
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{} {}", inventory.image.name, inventory.image.platform),
        // Set last: it names this content and no other.
        "documentNamespace": "",
        "creationInfo": {
            "created": inventory.image.created,
            "creators": [concat!("Tool: imgforge-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
    });
    let own = own_licenses(inventory);
    if !own.is_empty() {
        document["hasExtractedLicensingInfos"] = own
            .iter()
            .map(|(id, name)| {
                let text =
                    format!("The licence is in the files of `{name}`; its METADATA names it and does not repeat it.");
                json!({"licenseId": id, "extractedText": text, "name": id})
            })
            .collect();
    }
    document["relationships"] = relationships(inventory, &ids).into();
    document["documentNamespace"] = uuid_of(document.to_string().as_bytes()).into();
    let mut bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn image(inventory: &Inventory) -> Value {
    let image = &inventory.image;
    let mut package = Map::new();
    package.insert("SPDXID".to_owned(), json!(IMAGE_ID));
    package.insert("name".to_owned(), json!(image.name));
    if let Some(digest) = image.digest {
        package.insert("versionInfo".to_owned(), json!(digest));
    }
    fill(&mut package, "CONTAINER", None);
    if let Some(digest) = image.digest {
        package.insert("checksums".to_owned(), checksums(&digest.hex()));
    }
    package.insert("comment".to_owned(), json!(format!("Locked as {} for {}.", image.lock, image.platform)));
    package.insert("externalRefs".to_owned(), references(&image.purl));
    package.into()
}

fn package(component: &Component, id: &str) -> Value {
    let mut package = Map::new();
    package.insert("SPDXID".to_owned(), json!(id));
    package.insert("name".to_owned(), json!(component.name));
    if let Some(version) = &component.version {
        package.insert("versionInfo".to_owned(), json!(version));
    }
    if let Some(file) = &component.file {
        package.insert("packageFileName".to_owned(), json!(file));
    }
    let purpose = match component.kind {
        Kind::BaseImage => "CONTAINER",
        Kind::System => "OPERATING_SYSTEM",
        Kind::Deb | Kind::Wheel => "LIBRARY",
    };
    fill(&mut package, purpose, component.location.as_deref());
    match &component.license {
        Some(License::Expression { text, .. }) => {
            package.insert("licenseDeclared".to_owned(), json!(text));
        }
        Some(License::Named(name)) => {
            package.insert("licenseComments".to_owned(), json!(format!("METADATA names the licence `{name}`.")));
        }
        None => {}
    }
    if let Some(digest) = component.digest {
        package.insert("checksums".to_owned(), checksums(&digest.hex()));
    }
    if let Some(purl) = &component.purl {
        package.insert("externalRefs".to_owned(), references(purl));
    }
    package.into()
}

/// What every package must or should say, also where it says nothing.
fn fill(package: &mut Map<String, Value>, purpose: &str, location: Option<&str>) {
    let fields = [
        ("downloadLocation", location.unwrap_or(NOASSERTION)),
        ("supplier", NOASSERTION),
        ("licenseConcluded", NOASSERTION),
        ("licenseDeclared", NOASSERTION),
        ("copyrightText", NOASSERTION),
        ("primaryPackagePurpose", purpose),
    ];
    package.insert("filesAnalyzed".to_owned(), json!(false));
    package.extend(fields.map(|(name, value)| (name.to_owned(), json!(value))));
}

fn checksums(hex: &str) -> Value {
    json!([{"algorithm": "SHA256", "checksumValue": hex}])
}

fn references(purl: &str) -> Value {
    json!([{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}])
}

fn relationships(inventory: &Inventory, ids: &[String]) -> Vec<Value> {
    let relationship = |from: &str, kind: &str, to: &str| json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to});
    let mut all = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE_ID)];
    for (component, id) in inventory.components.iter().zip(ids) {
        let kind = if component.kind == Kind::BaseImage { "DESCENDANT_OF" } else { "CONTAINS" };
        all.push(relationship(IMAGE_ID, kind, id));
    }
    for (component, id) in inventory.components.iter().zip(ids) {
        all.extend(component.requires.iter().map(|at| relationship(id, "DEPENDS_ON", &ids[*at])));
    }
    all
}

/// Licences that authors made up, with the first package that has each.
fn own_licenses(inventory: &Inventory) -> BTreeMap<&str, &str> {
    let mut own = BTreeMap::new();
    for component in &inventory.components {
        if let Some(License::Expression { own: references, .. }) = &component.license {
            for reference in references {
                own.entry(reference.as_str()).or_insert(component.name.as_str());
            }
        }
    }
    own
}

/// `SPDXRef-pypi-numpy`: letters, digits, `.` and `-`, each once.
fn identifiers(components: &[Component]) -> Vec<String> {
    let mut taken = BTreeSet::from([IMAGE_ID.to_owned()]);
    let identifier = |component: &Component| {
        let kind = match component.kind {
            Kind::BaseImage => "base",
            Kind::System => "system",
            Kind::Deb => "deb",
            Kind::Wheel => "pypi",
        };
        let plain =
            |character: char| if character.is_ascii_alphanumeric() || character == '.' { character } else { '-' };
        let name: String = component.name.chars().map(plain).collect();
        let stem = format!("SPDXRef-{kind}-{name}");
        let numbered = (2..).map(|number| format!("{stem}-{number}"));
        let mut candidates = std::iter::once(stem.clone()).chain(numbered);
        candidates.find(|candidate| taken.insert(candidate.clone())).unwrap_or(stem)
    };
    components.iter().map(identifier).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::inventory;
    use super::*;

    #[test]
    fn the_document_has_these_bytes() {
        insta::assert_snapshot!(String::from_utf8(spdx(&inventory())).expect("UTF-8"));
    }

    #[test]
    fn another_content_has_another_namespace() {
        let namespace = |inventory: &Inventory| {
            let document: Value = serde_json::from_slice(&spdx(inventory)).expect("JSON");
            document["documentNamespace"].as_str().map(str::to_owned)
        };
        let mut other = inventory();
        other.components.pop();
        assert_eq!(namespace(&inventory()), namespace(&inventory()));
        assert_ne!(namespace(&inventory()), namespace(&other));
    }

    #[test]
    fn look_alike_names_have_identifiers_of_their_own() {
        let mut inventory = inventory();
        let mut twin = inventory.components[1].clone();
        twin.name = "g+t".to_owned();
        inventory.components.push(Component { name: "g-t".to_owned(), ..twin.clone() });
        inventory.components.push(twin);
        let ids = identifiers(&inventory.components);
        assert_eq!(ids[ids.len() - 2..], ["SPDXRef-deb-g-t", "SPDXRef-deb-g-t-2"]);
    }
}
