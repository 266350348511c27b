//! Layers that a registry holds already, by the keys that their annotations name.
//!
//! A machine with an empty cache learns from the image that was published before which layers it need not make, and so not
//! bring the wheels of. The annotations are taken at their word: whoever may push to the repository may put any layer under
//! any key, just as they may put any image under the tag. Nothing that is read here is remembered beyond the build.

use std::collections::BTreeMap;

use super::base;
use super::layers::{Found, KnownLayer, LayerKey};
use super::toc::TOC_ANNOTATION;
use crate::oci::{AssembledImage, Compression, Digest, Layer, LayerSource, Platform, Reference};
use crate::registry::{self, Registries};
use crate::store::Store;

/// On the layer of the user: `USER:GROUP`, the numeric owner of what belongs to the user.
pub const OWNER_ANNOTATION: &str = "dev.imgforge.layer.owner";
/// On every layer: the text of its key.
pub const KEY_ANNOTATION: &str = "dev.imgforge.layer.key";
/// Questions to a registry at one time.
const PARALLEL: usize = 8;

/// What a registry is known to hold.
#[derive(Debug, Default)]
pub struct Published {
    layers: BTreeMap<String, Layer>,
}

impl Published {
    /// The layers of the image behind `reference` for one platform; nothing if there is no such image.
    pub fn read(
        registries: &Registries,
        store: &Store,
        reference: &Reference,
        platform: Platform,
    ) -> Result<Self, base::Error> {
        let image = match base::resolve(registries, store, reference, platform) {
            Ok(image) => image,
            Err(base::Error::Registry(registry::Error::NoPlatform { .. })) => return Ok(Self::default()),
            Err(base::Error::Registry(error)) if error.is_not_found() => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        // Its layers are those of the repository, and so is its config.
        let config = Digest::of(&image.config);
        registries.note_blobs(reference, image.layers.iter().map(|layer| &layer.digest).chain([&config]))?;
        let keyed = |layer: Layer| Some((layer.annotations.get(KEY_ANNOTATION)?.clone(), layer));
        Ok(Self { layers: image.layers.into_iter().filter_map(keyed).collect() })
    }

    /// Adds the layers of images whose layers are where they say.
    pub fn add(&mut self, images: &[AssembledImage], platform: Platform) {
        let of_platform = images.iter().filter(|image| image.platform == platform);
        for layer in of_platform.flat_map(|image| &image.layers) {
            if let Some(key) = layer.annotations.get(KEY_ANNOTATION) {
                self.layers.entry(key.clone()).or_insert_with(|| layer.clone());
            }
        }
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Asks the registry of `target` for layers whose digests are known from earlier builds, and adds those it has. `mount`
    /// is tried for the others, and says whether it brought one there.
    pub fn confirm(
        &mut self,
        registries: &Registries,
        target: &Reference,
        remembered: &[(LayerKey, KnownLayer)],
        mount: impl Fn(&KnownLayer) -> bool + Sync,
    ) -> Result<(), registry::Error> {
        let size = remembered.len().div_ceil(PARALLEL).max(1);
        let is_there = |layer: &KnownLayer| Ok(registries.has_blob(target, &layer.digest)? || mount(layer));
        let ask = |known: &[(LayerKey, KnownLayer)]| -> Result<Vec<bool>, registry::Error> {
            known.iter().map(|(_, layer)| is_there(layer)).collect()
        };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = remembered.chunks(size).map(|part| scope.spawn(move || ask(part))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut has = Vec::new();
        for answer in answers {
            has.extend(answer?);
        }
        for ((key, known), _) in remembered.iter().zip(has).filter(|(_, has)| *has) {
            let layer = Layer {
                digest: known.digest,
                diff_id: known.diff_id,
                size: known.size,
                media_type: Compression::default().media_type().to_owned(),
                annotations: known.toc.iter().map(|toc| (TOC_ANNOTATION.to_owned(), toc.to_string())).collect(),
                source: LayerSource::Registry(target.clone()),
            };
            self.layers.entry(key.to_string()).or_insert(layer);
        }
        Ok(())
    }

    /// The layer of a key.
    pub(super) fn layer(&self, key: &LayerKey) -> Option<Found> {
        let layer = self.layers.get(&key.to_string())?;
        let toc = layer.annotations.get(TOC_ANNOTATION).map(|toc| toc.parse()).transpose().ok()?;
        let known = KnownLayer { digest: layer.digest, diff_id: layer.diff_id, size: layer.size, toc };
        Some(Found { known, source: layer.source.clone() })
    }

    /// An annotation of the layer of a key.
    pub(super) fn annotation(&self, key: &LayerKey, name: &str) -> Option<&str> {
        self.layers.get(&key.to_string())?.annotations.get(name).map(String::as_str)
    }
}
