//! The OCI image layout: a folder with `oci-layout`, `index.json` and `blobs/sha256/`.
//!
//! Every file appears whole or not at all (temporary file, then rename), `index.json` last, so a build that is
//! interrupted leaves the previous image readable. Blobs no manifest of the layout names are removed after that.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{AssembledImage, Digest, LayerSource};
use crate::store::{self, Unfinished};

/// An image layout folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Opens the folder, creating it and its fixed parts if they are missing.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("blobs/sha256"))?;
        let layout = Self { root: root.to_owned() };
        layout.write_file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(layout)
    }

    /// Holds the folder until the value is dropped: the end of one build removes what another has begun. `waiting` is called
    /// if another process holds it. File systems that know no locks are taken as they are.
    pub fn hold(root: &Path, waiting: impl FnOnce()) -> io::Result<File> {
        let folder = File::open(root)?;
        if let Err(TryLockError::WouldBlock) = folder.try_lock() {
            waiting();
            folder.lock()?;
        }
        Ok(folder)
    }

    /// Path at which a blob lies or would lie.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The folder of blobs: the place for temporary files that become blobs.
    pub fn blob_folder(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// Writes config, manifest and index of an image whose layer files are in place; `tag` becomes its reference name.
    /// Layers that lie elsewhere on this machine are copied in; layers that only a registry has must be fetched before.
    pub fn commit(&self, images: &[AssembledImage], tag: &str) -> io::Result<Digest> {
        let mut manifests = Vec::new();
        let mut keep = BTreeSet::new();
        for image in images {
            for layer in &image.layers {
                let target = self.blob_path(&layer.digest);
                match &layer.source {
                    LayerSource::File(path) if *path != target && !target.exists() => copy_or_link(path, &target)?,
                    LayerSource::Registry(reference) if !target.exists() => {
                        return Err(io::Error::other(format!("layer {} of {reference} is not here", layer.digest)));
                    }
                    _ => {}
                }
                keep.insert(layer.digest.hex());
            }
            for bytes in [&image.config, &image.manifest] {
                let digest = Digest::of(bytes);
                self.write_blob(&digest, bytes)?;
                keep.insert(digest.hex());
            }
            manifests.push((image, image.digest()));
        }
        let platform =
            |image: &AssembledImage| json!({"architecture": image.platform.architecture_name(), "os": "linux"});
        let (descriptor, digest) = match manifests.as_slice() {
            [(image, digest)] => (
                json!({
                    "mediaType": image.manifest_media_type, "digest": digest, "size": image.manifest.len(),
                    "annotations": {"org.opencontainers.image.ref.name": tag}, "platform": platform(image),
                }),
                *digest,
            ),
            many => {
                let index = Self::index_bytes(many.iter().map(|(image, _)| *image));
                let digest = Digest::of(&index);
                self.write_blob(&digest, &index)?;
                keep.insert(digest.hex());
                (
                    json!({
                        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": index.len(),
                        "annotations": {"org.opencontainers.image.ref.name": tag},
                    }),
                    digest,
                )
            }
        };
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor],
        });
        self.write_file("index.json", &serde_json::to_vec_pretty(&index)?)?;
        self.remove_unreferenced(&keep)?;
        Ok(digest)
    }

    /// What a tag for these images names: the manifest, or the index over several platforms.
    pub fn digest_of(images: &[AssembledImage]) -> Digest {
        match images {
            [image] => image.digest(),
            many => Digest::of(&Self::index_bytes(many.iter())),
        }
    }

    /// The exact bytes of an index over several platforms' images, in the order given.
    pub fn index_bytes<'a>(images: impl Iterator<Item = &'a AssembledImage>) -> Vec<u8> {
        let manifests: Vec<Value> = images
            .map(|image| {
                json!({
                    "mediaType": image.manifest_media_type, "digest": image.digest(), "size": image.manifest.len(),
                    "platform": {"architecture": image.platform.architecture_name(), "os": "linux"},
                })
            })
            .collect();
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
        });
        serde_json::to_vec(&index).unwrap_or_default()
    }

    fn write_blob(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.blob_path(digest);
        if path.exists() { Ok(()) } else { self.write_file(&format!("blobs/sha256/{}", digest.hex()), bytes) }
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        let mut file = Unfinished::create(folder)?;
        file.write_all(bytes)?;
        store::make_readable(file.path())?;
        file.keep(&path)
    }

    /// Removes the blobs of earlier builds, and what builds that were killed left of unfinished ones.
    fn remove_unreferenced(&self, keep: &BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(store::is_unfinished) {
                fs::remove_file(entry.path())?;
            }
        }
        for entry in fs::read_dir(self.blob_folder())? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A hard link where the file system allows one, else a copy under a temporary name.
fn copy_or_link(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let folder = to.parent().ok_or_else(|| io::Error::other("a blob has no folder"))?;
    let mut file = Unfinished::create(folder)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    store::make_readable(file.path())?;
    file.keep(to)
}
