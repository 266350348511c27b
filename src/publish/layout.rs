//! To a folder in the OCI image layout: the default target, which needs nothing else on the machine.

use std::path::Path;

use super::{Error, localize};
use crate::oci::layout::Layout;
use crate::oci::{AssembledImage, Digest};
use crate::progress::Progress;
use crate::registry::Registries;
use crate::store::Store;

/// Writes the images into the layout at `root` under `tag`, fetching layers that only a registry has. Returns the digest of
/// what the tag names: the manifest, or the index over several platforms.
pub fn write(
    registries: &Registries,
    store: &Store,
    images: &[AssembledImage],
    root: &Path,
    tag: &str,
    progress: &Progress,
) -> Result<Digest, Error> {
    if images.is_empty() {
        return Err(Error::Nothing);
    }
    let images = localize(registries, store, images, progress)?;
    let failed = |source| Error::Io { action: "write the image layout", path: root.to_owned(), source };
    Layout::open(root).and_then(|layout| layout.commit(&images, tag)).map_err(failed)
}
