//! Two images side by side: layers by what they were made for, config and manifest, and what a pull would move.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::oci::{AssembledImage, Digest, Layer, Platform};
use crate::progress::human_bytes;
use crate::share::Image;
use crate::share::compare::{Comparison, Field, Pair};
use crate::share::image::LOCK_LABEL;
use crate::share::overview::{Entry, LayerView, Overview, PlatformView};

use super::Bytes;
use super::changes::{Change, Package, add_changes, changes, debian_order, pep440_order};
use super::locks;
use super::table::{Cells, block, row};

/// Longest list of a layer's packages that is shown, in characters.
const CONTENTS: usize = 60;

/// What two images differ in.
pub(super) struct Difference {
    digests: [Digest; 2],
    /// Each platform of either.
    platforms: Vec<OnPlatform>,
    /// Of the layers of all platforms.
    bytes: Bytes,
}

struct OnPlatform {
    platform: Platform,
    digests: [Option<Digest>; 2],
    /// If both images have the platform.
    comparison: Option<Comparison>,
    bytes: Bytes,
}

/// Whether the image says what its layers hold.
pub(super) fn is_described(image: &Image) -> bool {
    let mut layers = image.images.iter().flat_map(|one| &one.layers);
    layers.any(|layer| layer.annotations.contains_key("dev.imgforge.layer.kind"))
}

/// What the environments of two images differ in, as far as the images themselves say it.
pub(super) fn packages_between(before: &Image, after: &Image) -> locks::Difference {
    let [before, after] = [before, after].map(|image| Overview::new(image, None, &[]));
    let stack = |overview: &Overview| -> BTreeMap<String, String> {
        overview.stack.iter().map(|Entry { name, value }| (name.clone(), value.clone())).collect()
    };
    let bases = |overview: &Overview| -> BTreeMap<String, String> {
        let base = |view: &PlatformView| Some((view.platform.to_string(), view.base.as_ref()?.name.clone()));
        overview.platforms.iter().filter_map(base).collect()
    };
    let mut difference = locks::Difference {
        sections: vec![
            ("stack", changes(&stack(&before), &stack(&after))),
            ("base", changes(&bases(&before), &bases(&after))),
        ],
        platforms: before.platforms.iter().chain(&after.platforms).map(|view| view.platform).collect(),
        ..locks::Difference::default()
    };
    for platform in difference.platforms.clone() {
        let of = |overview: &Overview, are_wheels: bool| -> BTreeMap<String, Package> {
            let views = overview.platforms.iter().filter(|view| view.platform == platform);
            let layers = views.flat_map(|view| &view.layers);
            let layers = layers.filter(|layer| (layer.kind == "wheels") == are_wheels);
            layers.flat_map(packages_of).collect()
        };
        let lists = [(true, &mut difference.packages), (false, &mut difference.debs)];
        for (are_wheels, list) in lists {
            let order = if are_wheels { pep440_order } else { debian_order };
            add_changes(list, Some(platform), &of(&before, are_wheels), &of(&after, are_wheels), order);
        }
    }
    difference
}

fn packages_of(layer: &LayerView) -> impl Iterator<Item = (String, Package)> {
    let package = |version: &String| Package { version: version.clone(), size: None, digest: None };
    layer.packages.iter().map(move |found| (found.name.clone(), package(&found.version)))
}

impl Difference {
    pub(super) fn between(before: &Image, after: &Image) -> Self {
        let mut platforms: Vec<Platform> = before.images.iter().chain(&after.images).map(|one| one.platform).collect();
        platforms.sort();
        platforms.dedup();
        let on = |platform: Platform| {
            let find = |image: &'_ Image| image.images.iter().find(|one| one.platform == platform).cloned();
            let sides = [find(before), find(after)];
            let layers = |side: &Option<AssembledImage>| side.iter().flat_map(layers_of).collect();
            let comparison = match &sides {
                [Some(before), Some(after)] => Some(Comparison::by_manifest(before, after)),
                _ => None,
            };
            OnPlatform {
                platform,
                digests: [0, 1].map(|side| sides.get(side)?.as_ref().map(AssembledImage::digest)),
                bytes: Bytes::between(&layers(&sides[0]), &layers(&sides[1])),
                comparison,
            }
        };
        let all = |image: &Image| image.images.iter().flat_map(layers_of).collect();
        Self {
            digests: [before.subject.digest, after.subject.digest],
            bytes: Bytes::between(&all(before), &all(after)),
            platforms: platforms.into_iter().map(on).collect(),
        }
    }

    pub(super) fn is_same(&self) -> bool {
        let [before, after] = self.digests;
        before == after
    }

    /// The members of the answer.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let [before, after] = self.digests;
        let platforms = self.platforms.iter().map(OnPlatform::to_json).collect();
        [
            ("digest_a".to_owned(), json!(before)),
            ("digest_b".to_owned(), json!(after)),
            ("bytes".to_owned(), self.bytes.to_json()),
            ("platforms".to_owned(), platforms),
        ]
        .into_iter()
        .collect()
    }

    /// A block of text for each kind of thing that differs.
    pub(super) fn to_blocks(&self) -> Vec<String> {
        let mut blocks = Vec::new();
        let one_sided = |on: &OnPlatform| {
            let [before, after] = on.digests.map(|digest| digest.map(|digest| digest.to_string()));
            on.comparison
                .is_none()
                .then(|| row(&Change { name: on.platform.to_string(), before, after }, String::new()))
        };
        let rows: Vec<Cells> = self.platforms.iter().filter_map(one_sided).collect();
        if !rows.is_empty() {
            blocks.push(block("platforms", rows));
        }
        self.platforms.iter().for_each(|on| blocks.extend(on.to_blocks()));
        if blocks.is_empty() {
            blocks.push("only the order or the layout of config, manifest or index differs".to_owned());
        }
        let pull = self.platforms.iter().map(|on| on.bytes.to_text(&format!("layers of {}", on.platform), "pull"));
        blocks.push(pull.collect::<Vec<_>>().join("\n"));
        blocks
    }
}

fn layers_of(image: &AssembledImage) -> impl Iterator<Item = (Digest, u64)> {
    image.layers.iter().map(|layer| (layer.digest, layer.size))
}

impl OnPlatform {
    fn to_json(&self) -> Value {
        let [before, after] = self.digests;
        let none = Vec::new();
        let pairs = self.comparison.as_ref().map_or(&none, |comparison| &comparison.layers);
        let fields = |fields: fn(&Comparison) -> &Vec<Field>| -> Vec<Value> {
            let fields = self.comparison.iter().flat_map(fields);
            fields.map(|field| json!({"name": field.name, "before": field.found, "after": field.made})).collect()
        };
        json!({
            "platform": self.platform,
            "before": before,
            "after": after,
            "layers": pairs.iter().map(pair_json).collect::<Vec<_>>(),
            "config": fields(|comparison| &comparison.config),
            "manifest": fields(|comparison| &comparison.manifest),
            "bytes": self.bytes.to_json(),
        })
    }

    fn to_blocks(&self) -> Vec<String> {
        let Some(comparison) = self.comparison.as_ref().filter(|comparison| !comparison.is_same()) else {
            return Vec::new();
        };
        let mut blocks = Vec::new();
        let count = |wanted: &str| comparison.layers.iter().filter(|pair| word(pair) == wanted).count();
        let words = ["same", "changed", "added", "removed"].into_iter().filter(|word| count(word) > 0);
        let counts: Vec<String> = words.map(|word| format!("{} {word}", count(word))).collect();
        let heading = format!("layers of {}: {}", self.platform, counts.join(", "));
        let rows = comparison.layers.iter().filter(|pair| !pair.is_same()).map(pair_row);
        blocks.push(block(&heading, rows.collect()));
        for (name, fields) in [("config", &comparison.config), ("manifest", &comparison.manifest)] {
            let rows: Vec<Cells> = fields.iter().filter(|field| !is_told(field)).map(field_row).collect();
            if !rows.is_empty() {
                blocks.push(block(&format!("{name} of {}", self.platform), rows));
            }
        }
        blocks
    }
}

/// Whether a field only says once more that the locks differ.
fn is_told(field: &Field) -> bool {
    field.name.strip_prefix("config.Labels.").is_some_and(|name| name == LOCK_LABEL)
}

fn field_row(field: &Field) -> Cells {
    let Field { name, found, made } = field;
    row(&Change { name: name.clone(), before: found.clone(), after: made.clone() }, String::new())
}

/// What became of a layer, in a word.
fn word(pair: &Pair) -> &'static str {
    match (&pair.found, &pair.made) {
        (Some(_), None) => "removed",
        (None, _) => "added",
        _ if pair.is_same() => "same",
        _ => "changed",
    }
}

fn annotation<'l>(layer: &'l Layer, name: &str) -> &'l str {
    layer.annotations.get(&format!("dev.imgforge.layer.{name}")).map_or("", String::as_str)
}

fn pair_row(pair: &Pair) -> Cells {
    let layer = pair.made.as_ref().or(pair.found.as_ref());
    let text = |name: &str| layer.map_or("", |layer| annotation(layer, name));
    let contents = match text("contents") {
        "" => layer.map(|layer| layer.digest.to_string()).unwrap_or_default(),
        contents => contents.to_owned(),
    };
    let shortened: String = match contents.chars().count() > CONTENTS {
        true => contents.chars().take(CONTENTS).chain("…".chars()).collect(),
        false => contents,
    };
    let kind = if text("kind").is_empty() { "layer" } else { text("kind") };
    let (mark, note) = match (&pair.found, &pair.made) {
        (Some(found), None) => ("-", human_bytes(found.size)),
        (None, Some(made)) => ("+", human_bytes(made.size)),
        (Some(found), Some(made)) if found.digest == made.digest => {
            ("~", "the same bytes, and something else is said of them".to_owned())
        }
        (Some(found), Some(made)) => ("~", format!("{} -> {}", human_bytes(found.size), human_bytes(made.size))),
        (None, None) => ("~", String::new()),
    };
    [mark.to_owned(), kind.to_owned(), shortened, note]
}

fn pair_json(pair: &Pair) -> Value {
    let side = |layer: &Option<Layer>| {
        let layer = layer.as_ref()?;
        let text = |name: &str| Some(annotation(layer, name)).filter(|text| !text.is_empty());
        Some(json!({
            "digest": layer.digest, "size": layer.size, "kind": text("kind"), "contents": text("contents"),
        }))
    };
    json!({"change": word(pair), "before": side(&pair.found), "after": side(&pair.made)})
}
