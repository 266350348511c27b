//! A published image as it is found: in a registry or in a layout on this machine, made by imgforge or not.
//!
//! Manifests and configs are read and verified; layers are not. Only the platforms that imgforge makes images for are
//! looked at, the others are named.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Error;
use crate::oci::{AssembledImage, DiffId, Digest, Layer, LayerSource, Platform, Reference};
use crate::publish::artifact::Descriptor;
use crate::registry::Registries;

/// Largest config that is read, in bytes.
const CONFIG_LIMIT: u64 = 8 << 20;
/// Layers that an image may have; engines stop at 127.
const LAYER_LIMIT: usize = 1000;
/// Platforms of one index that are looked at.
const PLATFORM_LIMIT: usize = 16;
/// Label of the image's config: address of the lock that it was made from.
pub const LOCK_LABEL: &str = "dev.imgforge.lock";

/// An image, or an index over the images of several platforms.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its reference with tag and digest, or the layout's path.
    pub name: String,
    /// Where it was read; `None` for a layout.
    pub reference: Option<Reference>,
    /// Media type, address and size of the manifest or the index.
    pub subject: Descriptor,
    /// Annotations of that manifest or index.
    pub annotations: BTreeMap<String, String>,
    /// One image per platform.
    pub images: Vec<AssembledImage>,
    /// Platforms that imgforge does not know.
    pub others: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDocument {
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct IndexDocument {
    #[serde(default)]
    manifests: Vec<Entry>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(flatten)]
    descriptor: Descriptor,
    platform: Option<OfferedPlatform>,
}

#[derive(Deserialize)]
struct OfferedPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl OfferedPlatform {
    fn name(&self) -> String {
        let variant = if self.variant.is_empty() { String::new() } else { format!("/{}", self.variant) };
        format!("{}/{}{variant}", self.os, self.architecture)
    }
}

#[derive(Deserialize)]
struct ConfigDocument {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<DiffId>,
}

/// Where manifests and blobs come from.
trait Source {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;
    fn layer(&self, digest: &Digest) -> LayerSource;
}

impl Image {
    /// Reads an image from a registry, or from its mirrors.
    pub fn read(registries: &Registries, reference: &Reference) -> Result<Self, Error> {
        let manifest = registries.manifest(reference)?;
        let pinned = pinned(reference, &manifest.digest);
        let subject = Descriptor {
            media_type: manifest.media_type.clone(),
            digest: manifest.digest,
            size: manifest.bytes.len() as u64,
            annotations: BTreeMap::new(),
        };
        let source = Remote { registries, reference: &pinned };
        let mut image = read(&source, pinned.whole(), subject, &manifest.bytes, manifest.is_index())?;
        image.reference = Some(pinned);
        Ok(image)
    }

    /// Reads the image of a layout folder.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let name = root.display().to_string();
        let index = root.join("index.json");
        let bytes = std::fs::read(&index).map_err(Error::io("read", &index))?;
        let document: IndexDocument = parse(&name, "its `index.json`", &bytes)?;
        let [entry] = document.manifests.as_slice() else {
            let problem = format!("its `index.json` names {} images, and one was expected", document.manifests.len());
            return Err(Error::NotAnImage { reference: name, problem });
        };
        let source = Local { root, name: &name };
        let descriptor = &entry.descriptor;
        let manifest = source.manifest(descriptor)?;
        let subject = Descriptor { annotations: BTreeMap::new(), ..descriptor.clone() };
        read(&source, name.clone(), subject, &manifest, descriptor.media_type.ends_with("image.index.v1+json"))
    }

    /// The label of the first platform's config by this name.
    pub fn label(&self, name: &str) -> Option<String> {
        let config: Value = serde_json::from_slice(&self.images.first()?.config).ok()?;
        Some(config.get("config")?.get("Labels")?.get(name)?.as_str()?.to_owned())
    }

    /// Address of the lock that the image was made from, if imgforge made it.
    pub fn lock_digest(&self) -> Option<Digest> {
        self.label(LOCK_LABEL)?.parse().ok()
    }
}

fn read(source: &dyn Source, name: String, subject: Descriptor, bytes: &[u8], is_index: bool) -> Result<Image, Error> {
    let mut image =
        Image { name, reference: None, subject, annotations: BTreeMap::new(), images: Vec::new(), others: Vec::new() };
    if is_index {
        let document: IndexDocument = parse(&image.name, "its index", bytes)?;
        image.annotations = document.annotations;
        for entry in document.manifests {
            let Some(platform) = &entry.platform else { continue };
            let known = platform.name().parse::<Platform>().is_ok();
            // Attestations are listed as `unknown/unknown`.
            if !known || image.images.len() >= PLATFORM_LIMIT {
                image.others.extend((platform.os != "unknown").then(|| platform.name()));
                continue;
            }
            let bytes = source.manifest(&entry.descriptor)?;
            let document: ManifestDocument = parse(&image.name, "the manifest of a platform", &bytes)?;
            match read_manifest(source, &image.name, &entry.descriptor.media_type, bytes, document)? {
                Ok(one) => image.images.push(one),
                Err(other) => image.others.push(other),
            }
        }
    } else {
        let document: ManifestDocument = parse(&image.name, "its manifest", bytes)?;
        image.annotations.clone_from(&document.annotations);
        let one = read_manifest(source, &image.name, &image.subject.media_type, bytes.to_vec(), document)?;
        match one {
            Ok(one) => image.images.push(one),
            Err(other) => image.others.push(other),
        }
    }
    if image.images.is_empty() {
        let problem = match image.others.as_slice() {
            [] => "it holds no platform".to_owned(),
            others => {
                format!("it exists for {} only, and imgforge knows linux/amd64 and linux/arm64", others.join(", "))
            }
        };
        return Err(Error::NotAnImage { reference: image.name, problem });
    }
    Ok(image)
}

/// One platform's image; the name of the platform if imgforge does not know it.
fn read_manifest(
    source: &dyn Source,
    name: &str,
    media_type: &str,
    bytes: Vec<u8>,
    document: ManifestDocument,
) -> Result<Result<AssembledImage, String>, Error> {
    let refuse = |problem: String| Error::NotAnImage { reference: name.to_owned(), problem };
    if let Some(kind) = document.artifact_type {
        return Err(refuse(format!("it is an artifact of the type `{kind}`")));
    }
    let descriptor = document.config.ok_or_else(|| refuse("its manifest names no config".to_owned()))?;
    if !descriptor.media_type.contains("image") {
        return Err(refuse(format!("its config is of the type `{}`", descriptor.media_type)));
    }
    let config_bytes = source.config(&descriptor)?;
    let config: ConfigDocument = parse(name, "its config", &config_bytes)?;
    let platform = format!("{}/{}", config.os, config.architecture);
    let Ok(platform) = platform.parse() else { return Ok(Err(platform)) };
    let (layers, diff_ids) = (document.layers, config.rootfs.diff_ids);
    if layers.len() != diff_ids.len() || layers.len() > LAYER_LIMIT {
        let problem = format!("its manifest has {} layers and its config {}", layers.len(), diff_ids.len());
        return Err(refuse(problem));
    }
    let layer = |(descriptor, diff_id): (Descriptor, DiffId)| Layer {
        source: source.layer(&descriptor.digest),
        digest: descriptor.digest,
        diff_id,
        size: descriptor.size,
        media_type: descriptor.media_type,
        annotations: descriptor.annotations,
    };
    Ok(Ok(AssembledImage {
        platform,
        layers: layers.into_iter().zip(diff_ids).map(layer).collect(),
        config: config_bytes,
        manifest: bytes,
        manifest_media_type: media_type.to_owned(),
    }))
}

fn parse<'d, T: Deserialize<'d>>(name: &str, what: &str, bytes: &'d [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|cause| Error::NotAnImage {
        reference: name.to_owned(),
        problem: format!("{what} cannot be read ({cause})"),
    })
}

fn pinned(reference: &Reference, digest: &Digest) -> Reference {
    let (registry, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
    match reference.tag() {
        Some(tag) => Reference::with_tag_and_digest(registry, repository, tag.to_owned(), digest.to_string()),
        None => Reference::with_digest(registry, repository, digest.to_string()),
    }
}

struct Remote<'a> {
    registries: &'a Registries,
    reference: &'a Reference,
}

impl Source for Remote<'_> {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let reference = self.reference.clone_with_digest(descriptor.digest.to_string());
        Ok(self.registries.manifest(&reference)?.bytes)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let name = self.reference.whole();
        check_size(&name, descriptor)?;
        let mut reader = self.registries.open_blob(self.reference, &descriptor.digest, Some(descriptor.size), 0)?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|cause| registry_error(&name, cause))?;
        Ok(bytes)
    }

    fn layer(&self, _: &Digest) -> LayerSource {
        LayerSource::Registry(self.reference.clone())
    }
}

/// The registry's own error inside an error of reading.
pub(super) fn registry_error(name: &str, cause: io::Error) -> Error {
    match cause.downcast::<crate::registry::Error>() {
        Ok(error) => error.into(),
        Err(cause) => Error::NotAnImage { reference: name.to_owned(), problem: cause.to_string() },
    }
}

fn check_size(name: &str, descriptor: &Descriptor) -> Result<(), Error> {
    if descriptor.size <= CONFIG_LIMIT {
        return Ok(());
    }
    let problem = format!("its config has {} bytes", descriptor.size);
    Err(Error::NotAnImage { reference: name.to_owned(), problem })
}

struct Local<'a> {
    root: &'a Path,
    name: &'a str,
}

impl Local<'_> {
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        check_size(self.name, descriptor)?;
        let path = self.root.join("blobs/sha256").join(descriptor.digest.hex());
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path).map_err(Error::io("open", &path))?;
        file.take(descriptor.size + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        if Digest::of(&bytes) != descriptor.digest {
            let problem = format!("the file `{}` has another content than its name says", path.display());
            return Err(Error::NotAnImage { reference: self.name.to_owned(), problem });
        }
        Ok(bytes)
    }
}

impl Source for Local<'_> {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.blob(descriptor)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.blob(descriptor)
    }

    fn layer(&self, digest: &Digest) -> LayerSource {
        LayerSource::File(self.root.join("blobs/sha256").join(digest.hex()))
    }
}
