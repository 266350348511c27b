//! Two images of one platform, side by side: layers, config, manifest.
//!
//! Layers with the same digest are the same; of the others, those that were made for the same purpose are a pair, and what
//! differs inside is read from their bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Error;
use super::contents::{Contents, Difference};
use crate::oci::{AssembledImage, Digest, Layer, Platform};
use crate::registry::Registries;

/// What differs between an image and what was made again.
#[derive(Debug)]
pub struct Comparison {
    /// The platform.
    pub platform: Platform,
    /// Digest of the image.
    pub found: Digest,
    /// Digest of what was made again.
    pub made: Digest,
    /// Layers of both, in the order of the image's.
    pub layers: Vec<Pair>,
    /// Fields of the config that differ.
    pub config: Vec<Field>,
    /// Fields of the manifest that differ, layers and config left out.
    pub manifest: Vec<Field>,
}

/// A layer, and its counterpart.
#[derive(Debug)]
pub struct Pair {
    /// In the image.
    pub found: Option<Layer>,
    /// As made again.
    pub made: Option<Layer>,
    /// What is said of it that differs.
    pub said: Vec<Field>,
    /// What differs inside, if both are there and differ; empty if only the packing does.
    pub inside: Option<Vec<Difference>>,
}

/// A value that differs; `None` where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its path: `config.Env`.
    pub name: String,
    /// In the image.
    pub found: Option<String>,
    /// As made again.
    pub made: Option<String>,
}

impl Pair {
    fn new(found: Option<Layer>, made: Option<Layer>) -> Self {
        let mut said = Vec::new();
        if let (Some(found), Some(made)) = (&found, &made) {
            let of = |layer: &Layer| {
                let mut said = layer.annotations.clone();
                said.insert("mediaType".to_owned(), layer.media_type.clone());
                said
            };
            said = differing(&of(found), &of(made));
        }
        Self { found, made, said, inside: None }
    }

    /// Whether both are there and have the same bytes.
    pub fn has_same_bytes(&self) -> bool {
        matches!((&self.found, &self.made), (Some(found), Some(made)) if found.digest == made.digest)
    }

    /// Whether both are there, have the same bytes, and the same is said of them.
    pub fn is_same(&self) -> bool {
        self.has_same_bytes() && self.said.is_empty()
    }

    /// Whichever is there, the image's own first.
    pub fn layer(&self) -> Option<&Layer> {
        self.found.as_ref().or(self.made.as_ref())
    }
}

impl Comparison {
    /// Compares an image with another, which may have been made again. Layers that differ are read.
    pub fn of(registries: &Registries, found: &AssembledImage, made: &AssembledImage) -> Result<Self, Error> {
        let mut comparison = Self::by_manifest(found, made);
        for pair in &mut comparison.layers {
            if let (Some(one), Some(two), false) = (&pair.found, &pair.made, pair.has_same_bytes()) {
                let (one, two) = (Contents::read(registries, one)?, Contents::read(registries, two)?);
                pair.inside = Some(two.differences(&one));
            }
        }
        Ok(comparison)
    }

    /// Compares two images by what their manifests and configs say; no layer is read.
    pub fn by_manifest(found: &AssembledImage, made: &AssembledImage) -> Self {
        let layers = pairs(&found.layers, &made.layers);
        let is_explained = !layers.iter().all(Pair::is_same);
        // What follows from other layers is not told again.
        let apart: &[&str] = if is_explained { &["rootfs", "history"] } else { &[] };
        Self {
            platform: found.platform,
            found: found.digest(),
            made: made.digest(),
            layers,
            config: fields(&found.config, &made.config, apart),
            manifest: fields(&found.manifest, &made.manifest, &["layers", "config"]),
        }
    }

    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.found == self.made
    }
}

/// Layers by digest, then by what they were made for, then by their kind; those without a counterpart alone.
fn pairs(found: &[Layer], made: &[Layer]) -> Vec<Pair> {
    let mut left: Vec<Option<&Layer>> = made.iter().map(Some).collect();
    let mut matched: Vec<Option<&Layer>> = vec![None; found.len()];
    let annotation = |layer: &Layer, name: &str| layer.annotations.get(&format!("dev.imgforge.layer.{name}")).cloned();
    type Rule<'r> = &'r dyn Fn(&Layer, &Layer) -> bool;
    let rules: [Rule<'_>; 4] = [
        &|one, two| one.digest == two.digest,
        &|one, two| annotation(one, "key").is_some() && annotation(one, "key") == annotation(two, "key"),
        &|one, two| ["kind", "contents"].iter().all(|name| annotation(one, name) == annotation(two, name)),
        &|one, two| annotation(one, "kind") == annotation(two, "kind"),
    ];
    for rule in rules {
        for (layer, place) in found.iter().zip(&mut matched).filter(|(_, place)| place.is_none()) {
            let counterpart = left.iter_mut().find(|other| other.is_some_and(|other| rule(layer, other)));
            *place = counterpart.and_then(Option::take);
        }
    }
    let both = found.iter().zip(matched).map(|(layer, made)| (Some(layer.clone()), made.cloned()));
    let alone = left.into_iter().flatten().map(|layer| (None, Some(layer.clone())));
    both.chain(alone).map(|(found, made)| Pair::new(found, made)).collect()
}

/// The leaves of two JSON documents that differ, without the members `apart` of the outermost.
fn fields(found: &[u8], made: &[u8], apart: &[&str]) -> Vec<Field> {
    let leaves = |bytes: &[u8]| {
        let mut leaves = BTreeMap::new();
        if let Ok(Value::Object(members)) = serde_json::from_slice(bytes) {
            for (name, value) in members.iter().filter(|(name, _)| !apart.contains(&name.as_str())) {
                add_leaves(&mut leaves, name, value);
            }
        }
        leaves
    };
    differing(&leaves(found), &leaves(made))
}

fn differing(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>) -> Vec<Field> {
    let names: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let differing = names.into_iter().filter(|name| one.get(*name) != two.get(*name));
    differing
        .map(|name| Field { name: name.clone(), found: one.get(name).cloned(), made: two.get(name).cloned() })
        .collect()
}

fn add_leaves(leaves: &mut BTreeMap<String, String>, path: &str, value: &Value) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(name, value)| add_leaves(leaves, &format!("{path}.{name}"), value));
        }
        // Each variable by its name.
        Value::Array(values) if path == "config.Env" => {
            for variable in values.iter().filter_map(Value::as_str) {
                let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
                leaves.insert(format!("{path}.{name}"), value.to_owned());
            }
        }
        Value::String(text) => drop(leaves.insert(path.to_owned(), text.clone())),
        other => drop(leaves.insert(path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{DiffId, LayerSource};

    fn layer(bytes: &str, kind: &str, contents: &str, key: &str) -> Layer {
        let annotation = |name: &str, value: &str| (format!("dev.imgforge.layer.{name}"), value.to_owned());
        Layer {
            digest: Digest::of(bytes.as_bytes()),
            diff_id: DiffId::of(bytes.as_bytes()),
            size: 1,
            media_type: String::new(),
            annotations: [annotation("kind", kind), annotation("contents", contents), annotation("key", key)].into(),
            source: LayerSource::File(std::path::PathBuf::new()),
        }
    }

    #[test]
    fn layers_are_paired_by_what_they_were_made_for() {
        let found = [
            layer("a", "base", "libc6", "1"),
            layer("b", "wheels", "six 1.16", "2"),
            layer("c", "wheels", "numpy 2", "3"),
            layer("d", "extra", "", "4"),
        ];
        let made = [
            layer("a", "base", "libc6", "1"),
            layer("e", "wheels", "numpy 2", "3"),
            layer("f", "wheels", "six 1.17", "5"),
            layer("g", "files", "", "6"),
        ];
        let pairs = pairs(&found, &made);
        let digest = |layer: &Option<Layer>| layer.as_ref().map(|layer| layer.digest);
        let of = |text: &str| Some(Digest::of(text.as_bytes()));
        let expected = [(of("a"), of("a")), (of("b"), of("f")), (of("c"), of("e")), (of("d"), None), (None, of("g"))];
        assert_eq!(pairs.iter().map(|pair| (digest(&pair.found), digest(&pair.made))).collect::<Vec<_>>(), expected);
        assert_eq!(pairs.iter().map(Pair::is_same).collect::<Vec<_>>(), [true, false, false, false, false]);
    }

    #[test]
    fn fields_that_differ_are_told_by_name() {
        let one = br#"{"config": {"Env": ["A=1", "B=2"], "User": "app", "Labels": {}}, "rootfs": 1, "os": "linux"}"#;
        let two = br#"{"config": {"Env": ["A=1", "B=3"], "Labels": {}}, "rootfs": 2, "os": "linux"}"#;
        let field = |name: &str, found: &str, made: Option<&str>| Field {
            name: name.to_owned(),
            found: Some(found.to_owned()),
            made: made.map(str::to_owned),
        };
        let expected = [field("config.Env.B", "2", Some("3")), field("config.User", "app", None)];
        assert_eq!(fields(one, two, &["rootfs"]), expected);
    }
}
