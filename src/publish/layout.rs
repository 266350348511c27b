//! To a folder in the OCI image layout: the default target, which needs nothing else on the machine.

use std::path::Path;
use std::{fs, io};

use super::{Error, localize};
use crate::oci::layout::Layout;
use crate::oci::{AssembledImage, Digest, Layer, LayerSource};
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
    let write = || {
        let layout = Layout::open(root)?;
        images.iter().flat_map(|image| &image.layers).try_for_each(|layer| remove_damaged(&layout, layer, store))?;
        layout.commit(&images, tag)
    };
    write().map_err(|source| Error::Io { action: "write the image layout", path: root.to_owned(), source })
}

/// Removes the layout's file of a layer that comes from elsewhere, if it holds anything else.
fn remove_damaged(layout: &Layout, layer: &Layer, store: &Store) -> io::Result<()> {
    let path = layout.blob_path(&layer.digest);
    let is_copy = matches!(&layer.source, LayerSource::File(source) if *source != path);
    if is_copy && path.exists() && !store.is_whole(&path, &layer.digest, layer.size)? {
        fs::remove_file(&path)?;
    }
    Ok(())
}
