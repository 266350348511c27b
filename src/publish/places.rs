//! Repositories that earlier pushes of this machine left layers in: another repository of the same registry can take a layer
//! from there, which need then neither be made nor sent. A hint and no more: the registry decides.

use crate::oci::{AssembledImage, Digest, Reference};
use crate::store::Store;

/// Kind of the store's facts about places.
const FACTS: &str = "layer-places";

/// Remembers that the repository has the layers of these images. What cannot be written is sent again another time.
pub(super) fn remember(store: &Store, repository: &Reference, images: &[AssembledImage]) {
    for layer in images.iter().flat_map(|image| &image.layers) {
        let key = key(repository, &layer.digest);
        if store.recall(FACTS, &key).as_deref() != Some(repository.repository()) {
            let _ = store.remember(FACTS, &key, repository.repository());
        }
    }
}

/// The repository of the target's registry that got the layer last, unless it is the target itself.
pub(super) fn recall(store: &Store, target: &Reference, layer: &Digest) -> Option<String> {
    store.recall(FACTS, &key(target, layer)).filter(|repository| repository != target.repository())
}

fn key(repository: &Reference, layer: &Digest) -> String {
    format!("{} {layer}", repository.registry())
}
