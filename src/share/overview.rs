//! A published image as people look at it: the stack, layers by package with their sizes, where it came from, what is
//! attached.
//!
//! An image says what its layers hold in annotations; how large a package is among the others of its layer follows from the
//! sizes of its files in the lock. Of images that imgforge did not make there is what their configs say.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Image;
use super::image::LOCK_LABEL;
use crate::lock::Lock;
use crate::oci::{AssembledImage, Digest, Layer, Platform};
use crate::publish::registry::Attachment;

/// Everything that is shown.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// Reference with digest, or path of a layout.
    pub reference: String,
    /// Name of the environment, or of the repository.
    pub name: String,
    /// Of the manifest, or of the index over platforms.
    pub digest: Digest,
    /// Address of the lock that it was made from.
    pub lock: Option<Digest>,
    /// What the environment consists of, most important first.
    pub stack: Vec<Entry>,
    /// Machines that it was resolved for.
    pub targets: Vec<String>,
    /// One per platform.
    pub platforms: Vec<PlatformView>,
    /// Platforms that imgforge does not know.
    pub other_platforms: Vec<String>,
    /// What is attached.
    pub attached: Vec<AttachedView>,
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// `python`.
    pub name: String,
    /// `3.13`.
    pub value: String,
}

/// One platform's image.
#[derive(Debug, Clone, Serialize)]
pub struct PlatformView {
    /// `linux/amd64`.
    pub platform: Platform,
    /// Of its manifest.
    pub digest: Digest,
    /// What a pull moves where nothing is there yet, in bytes.
    pub size: u64,
    /// When it was made, as it says.
    pub created: Option<String>,
    /// The image that it stands on.
    pub base: Option<BaseView>,
    /// How it runs.
    pub run: Vec<Entry>,
    /// From the lowest up.
    pub layers: Vec<LayerView>,
}

/// A base by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaseView {
    /// `docker.io/library/python:3.12-slim`.
    pub name: String,
    /// Of its manifest.
    pub digest: Option<String>,
}

/// One layer.
#[derive(Debug, Clone, Serialize)]
pub struct LayerView {
    /// Of its compressed bytes.
    pub digest: Digest,
    /// Compressed bytes.
    pub size: u64,
    /// `base`, `os`, `python`, `wheels`, `files`; empty if the image does not say.
    pub kind: String,
    /// What it holds, for people.
    pub contents: String,
    /// Its packages, the largest first.
    pub packages: Vec<PackageView>,
}

/// One package of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageView {
    /// `numpy`.
    pub name: String,
    /// `2.1.0`.
    pub version: String,
    /// Its share of the layer's bytes, by the sizes that the lock has; `None` without a lock.
    pub size: Option<u64>,
}

/// An artifact that belongs to the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttachedView {
    /// Its address.
    pub digest: Digest,
    /// The manifest that it is attached to: the image of one platform, or the whole.
    pub subject: Digest,
    /// Its type.
    #[serde(rename = "type")]
    pub artifact_type: String,
    /// The same in words, if imgforge knows it.
    pub what: Option<&'static str>,
}

impl Overview {
    /// Of an image, with its lock if that is known.
    pub fn new(image: &Image, lock: Option<&Lock>, attached: &[Attachment]) -> Self {
        let config = image.images.first().map(config).unwrap_or_default();
        let label = |name: &str| text(&config, &format!("/config/Labels/{}", name.replace('/', "~1")));
        let repository = image.reference.as_ref().and_then(|reference| reference.repository().rsplit('/').next());
        let name = lock.map(|lock| lock.name.clone()).or_else(|| label("org.opencontainers.image.title"));
        Self {
            reference: image.name.clone(),
            name: name.or_else(|| repository.map(str::to_owned)).unwrap_or_else(|| image.name.clone()),
            digest: image.subject.digest,
            lock: label(LOCK_LABEL).and_then(|digest| digest.parse().ok()),
            stack: stack(&config, lock),
            targets: lock.map(targets).unwrap_or_default(),
            platforms: image.images.iter().map(|one| PlatformView::new(one, lock)).collect(),
            other_platforms: image.others.clone(),
            attached: attached.iter().map(AttachedView::new).collect(),
        }
    }
}

fn config(image: &AssembledImage) -> Value {
    serde_json::from_slice(&image.config).unwrap_or_default()
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn stack(config: &Value, lock: Option<&Lock>) -> Vec<Entry> {
    let label = |name: &str| text(config, &format!("/config/Labels/dev.imgforge.{name}"));
    // Images of Python and CUDA say in variables what they hold.
    let variable = |name: &str| {
        let variables = config.pointer("/config/Env")?.as_array()?;
        let mut pairs = variables.iter().filter_map(|variable| variable.as_str()?.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    };
    let mut stack = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        stack.extend(value.map(|value| Entry { name: name.to_owned(), value }));
    };
    add("python", label("python").or_else(|| variable("PYTHON_VERSION")));
    for framework in lock.iter().flat_map(|lock| &lock.frameworks) {
        let with =
            framework.with.iter().map(|(name, version)| format!(", {name} {version}")).collect::<Vec<_>>().concat();
        add(&framework.package, Some(format!("{} ({}){with}", framework.version, framework.build)));
    }
    add("cuda", label("cuda").or_else(|| variable("CUDA_VERSION")));
    add("cudnn", label("cudnn").or_else(|| variable("NV_CUDNN_VERSION")));
    add("driver", label("driver-minimum").map(|driver| format!("{driver} or newer")));
    add("accelerator", label("accelerator").filter(|accelerator| accelerator != "cuda"));
    add("os", lock.map(|lock| lock.stack.os.clone()));
    add("glibc", lock.map(|lock| lock.stack.glibc.clone()));
    stack
}

fn targets(lock: &Lock) -> Vec<String> {
    let shown = |target: &crate::lock::LockedTarget| match &target.gpu {
        Some(gpu) if *gpu != target.name => format!("{} ({gpu})", target.name),
        _ => target.name.clone(),
    };
    lock.targets.iter().map(shown).collect()
}

impl PlatformView {
    fn new(image: &AssembledImage, lock: Option<&Lock>) -> Self {
        let config = config(image);
        let manifest: Value = serde_json::from_slice(&image.manifest).unwrap_or_default();
        let annotation = |name: &str| text(&manifest, &format!("/annotations/org.opencontainers.image.{name}"));
        let base = annotation("base.name").map(|name| BaseView { name, digest: annotation("base.digest") });
        let sizes = lock.map(|lock| sizes(lock, image.platform));
        let history = history(&config);
        let made_by = |index: usize| match history.len() == image.layers.len() {
            true => history.get(index).cloned().unwrap_or_default(),
            false => String::new(),
        };
        let layers = image.layers.iter().enumerate();
        let layers: Vec<LayerView> =
            layers.map(|(index, layer)| LayerView::new(layer, made_by(index), sizes.as_ref())).collect();
        Self {
            platform: image.platform,
            digest: image.digest(),
            size: image.layers_size() + image.config.len() as u64,
            created: text(&config, "/created"),
            base,
            run: run(&config),
            layers,
        }
    }

    /// Every package with its share of bytes, the largest first.
    pub fn packages(&self) -> Vec<&PackageView> {
        let mut packages: Vec<&PackageView> = self.layers.iter().flat_map(|layer| &layer.packages).collect();
        packages.sort_by(|one, other| other.size.cmp(&one.size).then_with(|| one.name.cmp(&other.name)));
        packages
    }
}

/// What made each layer, in the config's words.
fn history(config: &Value) -> Vec<String> {
    let entries = config.pointer("/history").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_layer = |entry: &&Value| entry.get("empty_layer") != Some(&Value::Bool(true));
    let shown = |entry: &Value| entry.get("created_by").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    entries.iter().filter(is_layer).map(shown).collect()
}

fn run(config: &Value) -> Vec<Entry> {
    let words = |name: &str| {
        let words = config.pointer(&format!("/config/{name}"))?.as_array()?;
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        (!words.is_empty()).then(|| words.join(" "))
    };
    let entries = [
        ("user", text(config, "/config/User")),
        ("workdir", text(config, "/config/WorkingDir")),
        ("entrypoint", words("Entrypoint")),
        ("command", words("Cmd")),
    ];
    let entry = |(name, value): (&str, Option<String>)| value.map(|value| Entry { name: name.to_owned(), value });
    entries.into_iter().filter_map(entry).collect()
}

/// Bytes of each package's file on a platform, by name and version.
fn sizes(lock: &Lock, platform: Platform) -> BTreeMap<(&str, &str), u64> {
    let locked = lock.platforms.iter().filter(move |locked| locked.name == platform);
    let wheels = locked.clone().flat_map(|locked| &locked.wheels);
    let wheels = wheels.map(|wheel| ((wheel.name.as_str(), wheel.version.as_str()), wheel.size));
    let debs = locked.flat_map(|locked| &locked.debs);
    wheels.chain(debs.map(|deb| ((deb.name.as_str(), deb.version.as_str()), deb.size))).collect()
}

impl LayerView {
    fn new(layer: &Layer, made_by: String, sizes: Option<&BTreeMap<(&str, &str), u64>>) -> Self {
        let annotation = |name: &str| layer.annotations.get(&format!("dev.imgforge.layer.{name}")).cloned();
        let contents = annotation("contents");
        let mut packages = contents.as_deref().and_then(packages).unwrap_or_default();
        let known = |package: &PackageView| sizes?.get(&(package.name.as_str(), package.version.as_str())).copied();
        let files: Option<Vec<u64>> = packages.iter().map(known).collect();
        if let Some(files) = files {
            let total: u64 = files.iter().sum::<u64>().max(1);
            for (package, file) in packages.iter_mut().zip(files) {
                // Compressed anew, the packages of a layer keep about their proportions.
                package.size = Some((u128::from(layer.size) * u128::from(file) / u128::from(total)) as u64);
            }
            packages.sort_by(|one, other| other.size.cmp(&one.size).then_with(|| one.name.cmp(&other.name)));
        }
        Self {
            digest: layer.digest,
            size: layer.size,
            kind: annotation("kind").unwrap_or_default(),
            contents: contents.unwrap_or(made_by),
            packages,
        }
    }
}

/// The packages of `numpy 2.1.0, scipy 1.14.1`; `None` if that is no list of packages.
fn packages(contents: &str) -> Option<Vec<PackageView>> {
    let package = |item: &str| {
        let (name, version) = item.split_once(' ')?;
        let is_version = version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains(' ');
        is_version.then(|| PackageView { name: name.to_owned(), version: version.to_owned(), size: None })
    };
    contents.split(", ").map(package).collect()
}

impl AttachedView {
    fn new(attachment: &Attachment) -> Self {
        let Attachment { artifact_type, digest, subject } = attachment;
        Self { digest: *digest, subject: *subject, artifact_type: artifact_type.clone(), what: words(artifact_type) }
    }
}

/// What an artifact of a type is.
fn words(artifact_type: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 8] = [
        (super::bundle::RECIPE_TYPE, "recipe: spec, lock, rendered files"),
        ("application/spdx+json", "bill of materials (SPDX)"),
        ("text/spdx+json", "bill of materials (SPDX)"),
        ("application/vnd.cyclonedx+json", "bill of materials (CycloneDX)"),
        ("application/vnd.in-toto+json", "provenance"),
        ("application/vnd.dev.sigstore.bundle", "signature or signed statement"),
        ("application/vnd.dev.cosign", "signature"),
        ("application/vnd.docker.compose.project", "Compose stack"),
    ];
    WORDS.into_iter().find(|(start, _)| artifact_type.starts_with(start)).map(|(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(contents: &str, size: u64) -> Layer {
        let annotation = |name: &str, value: &str| (format!("dev.imgforge.layer.{name}"), value.to_owned());
        Layer {
            digest: Digest::of(contents.as_bytes()),
            diff_id: crate::oci::DiffId::of(b""),
            size,
            media_type: String::new(),
            annotations: [annotation("kind", "wheels"), annotation("contents", contents)].into(),
            source: crate::oci::LayerSource::File(std::path::PathBuf::new()),
        }
    }

    #[test]
    fn a_layers_bytes_are_shared_out_by_the_locks_sizes() {
        let sizes = BTreeMap::from([(("six", "1.17.0"), 100), (("numpy", "2.1.0"), 300)]);
        let shares = |contents: &str| {
            let view = LayerView::new(&layer(contents, 1000), String::new(), Some(&sizes));
            view.packages.into_iter().map(|package| (package.name, package.size)).collect::<Vec<_>>()
        };
        let expected = [("numpy".to_owned(), Some(750)), ("six".to_owned(), Some(250))];
        assert_eq!(shares("six 1.17.0, numpy 2.1.0"), expected);
        // With one that the lock does not have, none is guessed.
        assert_eq!(shares("six 1.17.0, idna 3.10"), [("six".to_owned(), None), ("idna".to_owned(), None)]);
        assert_eq!(shares("user app, /workspace"), []);
        assert_eq!(shares("project files"), []);
    }

    #[test]
    fn a_foreign_image_says_what_its_config_says() {
        let config = serde_json::json!({
            "created": "2026-01-02T03:04:05Z",
            "config": {"Env": ["PATH=/bin", "PYTHON_VERSION=3.12.8"], "Cmd": ["python3", "-i"]},
            "history": [
                {"created_by": "ADD rootfs"}, {"created_by": "ENV A=1", "empty_layer": true}, {"created_by": "RUN make"},
            ],
        });
        let bare = |size| Layer { annotations: BTreeMap::new(), ..layer("", size) };
        let image = AssembledImage {
            platform: Platform::AMD64,
            layers: vec![bare(5), bare(7)],
            config: config.to_string().into_bytes(),
            manifest: b"{}".to_vec(),
            manifest_media_type: String::new(),
        };
        let view = PlatformView::new(&image, None);
        let layers: Vec<(&str, u64)> = view.layers.iter().map(|layer| (layer.contents.as_str(), layer.size)).collect();
        assert_eq!(layers, [("ADD rootfs", 5), ("RUN make", 7)]);
        assert_eq!(view.run, [Entry { name: "command".to_owned(), value: "python3 -i".to_owned() }]);
        assert_eq!(stack(&config, None), [Entry { name: "python".to_owned(), value: "3.12.8".to_owned() }]);
    }
}
