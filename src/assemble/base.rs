//! A base image by reference: its config and layers for one platform, without downloading the layers.
//!
//! The layers keep naming the registry they are in, so that a push can mount them. Manifest and config are kept in the store:
//! with a digest in the reference, a base that was seen once is found again offline.

mod contents;
mod files;
mod tar_stream;

use serde::Deserialize;

pub use files::{FileLimits, read_files};

use crate::diagnostic::Hint;
use crate::oci::{DiffId, Digest, ImageManifest, Layer, LayerSource, Platform, Reference};
use crate::registry::{self, Registries};
use crate::store::{self, Store};

/// Largest image config that is read, in bytes.
const CONFIG_LIMIT: u64 = 8 << 20;
/// Layers an image may have; engines stop at 127.
const LAYER_LIMIT: usize = 1000;

/// A base image for one platform.
#[derive(Debug, Clone)]
pub struct Base {
    /// The reference it was asked for with, and the digest of this platform's manifest.
    pub reference: Reference,
    /// Address of this platform's manifest.
    pub digest: Digest,
    /// The image config's exact bytes.
    pub config: Vec<u8>,
    /// Layers, lowest first, all in the registry.
    pub layers: Vec<Layer>,
}

/// Why a base cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry does not give it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It is not what an image should be.
    #[error("`{reference}` cannot be a base: {problem}")]
    Unusable {
        /// The image.
        reference: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A layer's bytes cannot be read.
    #[error("layer {digest} of `{reference}`: {source}")]
    Layer {
        /// The image.
        reference: String,
        /// The layer.
        digest: Digest,
        /// Cause.
        source: std::io::Error,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.help(),
            Self::Unusable { .. } => {
                vec!["name another image as `base:`, or leave it out to have one chosen".to_owned()]
            }
            Self::Store(error) => error.help(),
            Self::Layer { .. } => Vec::new(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.notes(),
            _ => Vec::new(),
        }
    }
}

impl Base {
    /// The value of an environment variable of the image, `PYTHON_VERSION`.
    pub fn variable(&self, name: &str) -> Option<String> {
        let config: serde_json::Value = serde_json::from_slice(&self.config).ok()?;
        let variables = config.get("config")?.get("Env")?.as_array()?;
        let mut pairs = variables.iter().filter_map(|variable| variable.as_str()?.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }
}

/// The part of an image config that decides whether it can be a base.
#[derive(Deserialize)]
struct Config {
    os: Option<String>,
    architecture: Option<String>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<DiffId>,
}

/// Finds the base for a platform, through the mirrors of the settings.
pub fn resolve(
    registries: &Registries,
    store: &Store,
    reference: &Reference,
    platform: Platform,
) -> Result<Base, Error> {
    let unusable = |problem: String| Error::Unusable { reference: reference.to_string(), problem };
    let (digest, bytes) = platform_manifest(registries, store, reference, platform)?;
    let manifest = ImageManifest::from_reader(bytes.as_slice())
        .map_err(|cause| unusable(format!("its manifest cannot be read ({cause})")))?;
    let descriptor = manifest.config();
    let config_digest = parse_digest(descriptor.digest().as_ref()).map_err(unusable)?;
    if descriptor.size() > CONFIG_LIMIT {
        return Err(unusable(format!("its config has {} bytes", descriptor.size())));
    }
    let path = registries.fetch_blob(reference, &config_digest, Some(descriptor.size()), store, &mut |_| {})?;
    let config_bytes = std::fs::read(&path).map_err(|source| store::Error::Io { action: "read", path, source })?;
    let config: Config = serde_json::from_slice(&config_bytes)
        .map_err(|cause| unusable(format!("its config cannot be read ({cause})")))?;
    // Only a manifest outside an index can be for another platform; very old configs name none.
    let os = config.os.unwrap_or_else(|| "linux".to_owned());
    let architecture = config.architecture.unwrap_or_else(|| platform.architecture_name().to_owned());
    if os != "linux" || architecture != platform.architecture_name() {
        return Err(registry::Error::NoPlatform {
            reference: reference.to_string(),
            platform,
            available: vec![format!("{os}/{architecture}")],
        }
        .into());
    }
    let descriptors = manifest.layers();
    if descriptors.len() != config.rootfs.diff_ids.len() || descriptors.len() > LAYER_LIMIT {
        return Err(unusable(format!(
            "its manifest has {} layers and its config {}",
            descriptors.len(),
            config.rootfs.diff_ids.len()
        )));
    }
    let pinned = pinned(reference, &digest);
    let mut layers = Vec::with_capacity(descriptors.len());
    for (descriptor, diff_id) in descriptors.iter().zip(config.rootfs.diff_ids) {
        layers.push(Layer {
            digest: parse_digest(descriptor.digest().as_ref()).map_err(unusable)?,
            diff_id,
            size: descriptor.size(),
            media_type: oci_layer_type(descriptor.media_type().as_ref()).map_err(unusable)?,
            annotations: descriptor.annotations().clone().unwrap_or_default().into_iter().collect(),
            source: LayerSource::Registry(pinned.clone()),
        });
    }
    Ok(Base { reference: pinned, digest, config: config_bytes, layers })
}

/// The manifest's digest and bytes, from the store if the reference pins them.
fn platform_manifest(
    registries: &Registries,
    store: &Store,
    reference: &Reference,
    platform: Platform,
) -> Result<(Digest, Vec<u8>), Error> {
    let key = format!("{}@{} {platform}", reference.repository(), reference.digest().unwrap_or("-"));
    if reference.digest().is_some()
        && let Some(digest) = store.recall("base-manifests", &key).and_then(|text| text.parse::<Digest>().ok())
        && let Some(path) = store.blob(&digest)
        && let Ok(bytes) = std::fs::read(path)
        && Digest::of(&bytes) == digest
    {
        return Ok((digest, bytes));
    }
    let manifest = registries.resolve_platform(reference, platform)?;
    let size = manifest.bytes.len() as u64;
    store.insert("a manifest", &mut manifest.bytes.as_slice(), &manifest.digest, Some(size), &mut |_| {})?;
    for name in [reference.digest().map(str::to_owned), Some(manifest.digest.to_string())].into_iter().flatten() {
        let key = format!("{}@{name} {platform}", reference.repository());
        store.remember("base-manifests", &key, &manifest.digest.to_string())?;
    }
    Ok((manifest.digest, manifest.bytes))
}

fn pinned(reference: &Reference, digest: &Digest) -> Reference {
    let (registry, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
    match reference.tag() {
        Some(tag) => Reference::with_tag_and_digest(registry, repository, tag.to_owned(), digest.to_string()),
        None => Reference::with_digest(registry, repository, digest.to_string()),
    }
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|error: crate::oci::DigestError| error.to_string())
}

/// OCI's name of a layer's format. Docker's differ only in name; layers that may not be copied are of no use to a base.
fn oci_layer_type(media_type: &str) -> Result<String, String> {
    Ok(match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => "application/vnd.oci.image.layer.v1.tar+zstd".to_owned(),
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar".to_owned(),
        oci if matches!(oci.strip_prefix("application/vnd.oci.image.layer.v1.tar"), Some("" | "+gzip" | "+zstd")) => {
            oci.to_owned()
        }
        other => return Err(format!("a layer has the media type `{other}`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_layer_types_become_ocis() {
        assert_eq!(
            oci_layer_type("application/vnd.docker.image.rootfs.diff.tar.gzip").as_deref(),
            Ok("application/vnd.oci.image.layer.v1.tar+gzip")
        );
        assert_eq!(
            oci_layer_type("application/vnd.oci.image.layer.v1.tar+zstd").as_deref(),
            Ok("application/vnd.oci.image.layer.v1.tar+zstd")
        );
        assert!(oci_layer_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").is_err());
        assert!(oci_layer_type("application/vnd.oci.image.layer.nondistributable.v1.tar").is_err());
    }

    #[test]
    fn the_pinned_reference_keeps_its_tag() {
        let reference: Reference = "registry.test/a:1".parse().expect("a reference");
        let digest = Digest::of(b"");
        assert_eq!(pinned(&reference, &digest).to_string(), format!("registry.test/a:1@{digest}"));
    }
}
