//! A finished image: what `assemble` makes and every publish target takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{DiffId, Digest, Platform, Reference};

/// Where a layer's bytes are.
#[derive(Debug, Clone)]
pub enum LayerSource {
    /// In a file on this machine.
    File(PathBuf),
    /// In a registry only: a base layer that has not been downloaded, and need not be if the target can mount it.
    Registry(Reference),
}

/// One file system changeset.
#[derive(Debug, Clone)]
pub struct Layer {
    /// sha256 of the compressed bytes.
    pub digest: Digest,
    /// sha256 of the uncompressed tar.
    pub diff_id: DiffId,
    /// Size of the compressed bytes.
    pub size: u64,
    /// OCI media type of the compressed bytes.
    pub media_type: String,
    /// Annotations of the layer's descriptor (`dev.imgforge.layer.*`).
    pub annotations: BTreeMap<String, String>,
    /// Where the compressed bytes are.
    pub source: LayerSource,
}

/// A complete single-platform image. The manifest's bytes are fixed here, once: targets send them unchanged.
#[derive(Debug, Clone)]
pub struct AssembledImage {
    /// Platform the config names.
    pub platform: Platform,
    /// Layers, base first.
    pub layers: Vec<Layer>,
    /// The image config's exact bytes.
    pub config: Vec<u8>,
    /// The manifest's exact bytes.
    pub manifest: Vec<u8>,
    /// Media type of the manifest.
    pub manifest_media_type: String,
}

impl AssembledImage {
    /// Address of the config, also known as the image ID.
    pub fn config_digest(&self) -> Digest {
        Digest::of(&self.config)
    }
    /// Address of the manifest: the image's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
    /// Sum of the compressed layers' sizes, in bytes.
    pub fn layers_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}
