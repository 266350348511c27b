//! An image as one tar: the OCI image layout, the form `docker save` writes, or both in one.
//!
//! Engines read it from a pipe, so it is written in one pass. The same image gives the same bytes: entries in a fixed order,
//! owner 0:0, time 0.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::oci::layout::Layout;
use crate::oci::{AssembledImage, Digest, LayerSource, parse_reference};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Which readers the archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The OCI image layout alone.
    Oci,
    /// `manifest.json` alone, which Podman reads with its names; it takes an OCI archive's tag for a name.
    Docker,
    /// Both: Docker with containerd's image store reads the layout and keeps all digests, Docker without it the other.
    Both,
}

enum Content<'a> {
    Bytes(&'a [u8]),
    File(PathBuf, u64),
}

/// Writes the images to `output` under `names` (`churn:latest`). Every layer must be in a file on this machine; `progress`
/// is told of the bytes of blobs. [`Format::Docker`] holds the first image only, for it knows no platforms.
pub fn write(
    output: &mut dyn Write,
    images: &[AssembledImage],
    names: &[String],
    format: Format,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let images = if format == Format::Oci { images } else { images.get(..1).unwrap_or_default() };
    let Some(first) = images.first() else { return Err(io::Error::other("there is no image")) };
    let index = Layout::index_bytes(images.iter());
    let mut blobs: BTreeMap<String, Content<'_>> = BTreeMap::new();
    for image in images {
        for layer in &image.layers {
            let LayerSource::File(path) = &layer.source else {
                return Err(io::Error::other(format!("layer {} is not on this machine", layer.digest)));
            };
            blobs.insert(layer.digest.hex(), Content::File(path.clone(), layer.size));
        }
        blobs.insert(image.config_digest().hex(), Content::Bytes(&image.config));
        if format != Format::Docker {
            blobs.insert(image.digest().hex(), Content::Bytes(&image.manifest));
        }
    }
    if images.len() > 1 {
        blobs.insert(Digest::of(&index).hex(), Content::Bytes(&index));
    }
    let mut tar = Builder::new(output);
    folder(&mut tar, "blobs/")?;
    folder(&mut tar, "blobs/sha256/")?;
    for (hex, content) in blobs {
        let path = format!("blobs/sha256/{hex}");
        match content {
            Content::Bytes(bytes) => file(&mut tar, &path, bytes.len() as u64, bytes, progress)?,
            Content::File(source, size) => file(&mut tar, &path, size, File::open(source)?, progress)?,
        }
    }
    if format != Format::Docker {
        let index = serde_json::to_vec(&outer_index(images, &index, names))?;
        file(&mut tar, "index.json", index.len() as u64, index.as_slice(), &mut |_| {})?;
    }
    if format != Format::Oci {
        let layers: Vec<String> =
            first.layers.iter().map(|layer| format!("blobs/sha256/{}", layer.digest.hex())).collect();
        let config = format!("blobs/sha256/{}", first.config_digest().hex());
        let manifest = serde_json::to_vec(&json!([{"Config": config, "RepoTags": names, "Layers": layers}]))?;
        file(&mut tar, "manifest.json", manifest.len() as u64, manifest.as_slice(), &mut |_| {})?;
    }
    if format != Format::Docker {
        let version: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
        file(&mut tar, "oci-layout", version.len() as u64, version, &mut |_| {})?;
    }
    tar.into_inner()?.flush()
}

/// One descriptor per name. containerd takes the whole name from an annotation of its own.
fn outer_index(images: &[AssembledImage], index: &[u8], names: &[String]) -> Value {
    let descriptor = match images {
        [image] => json!({
            "mediaType": image.manifest_media_type, "digest": image.digest(), "size": image.manifest.len(),
            "platform": {"architecture": image.platform.architecture_name(), "os": "linux"},
        }),
        _ => json!({"mediaType": INDEX_TYPE, "digest": Digest::of(index), "size": index.len()}),
    };
    let named = names.iter().map(|name| {
        let mut descriptor = descriptor.clone();
        descriptor["annotations"] = match parse_reference(name) {
            Ok(reference) => json!({
                "io.containerd.image.name": reference.to_string(),
                "org.opencontainers.image.ref.name": reference.tag().unwrap_or("latest"),
            }),
            Err(_) => json!({"org.opencontainers.image.ref.name": name}),
        };
        descriptor
    });
    let mut manifests: Vec<Value> = named.collect();
    if manifests.is_empty() {
        manifests.push(descriptor);
    }
    json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests})
}

fn header(mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn folder(tar: &mut Builder<&mut dyn Write>, path: &str) -> io::Result<()> {
    let mut header = header(0o755, 0);
    header.set_entry_type(EntryType::Directory);
    tar.append_data(&mut header, path, io::empty())
}

fn file(
    tar: &mut Builder<&mut dyn Write>,
    path: &str,
    size: u64,
    content: impl Read,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let mut header = header(0o644, size);
    let mut counted = Counted { content: content.take(size), count: 0, progress };
    tar.append_data(&mut header, path, &mut counted)?;
    if counted.count != size {
        return Err(io::Error::other(format!("`{path}` has {} bytes instead of {size}", counted.count)));
    }
    Ok(())
}

struct Counted<'a, R> {
    content: R,
    count: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.count += count as u64;
        (self.progress)(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{DiffId, Layer, Platform};

    fn image(folder: &std::path::Path, platform: Platform) -> AssembledImage {
        let path = folder.join("layer");
        std::fs::write(&path, b"layer bytes").expect("a layer");
        AssembledImage {
            platform,
            layers: vec![Layer {
                digest: Digest::of(b"layer bytes"),
                diff_id: DiffId::of(b"layer bytes"),
                size: 11,
                media_type: "application/vnd.oci.image.layer.v1.tar".into(),
                annotations: BTreeMap::new(),
                source: LayerSource::File(path),
            }],
            config: br#"{"os":"linux"}"#.to_vec(),
            manifest: format!(r#"{{"schemaVersion":2,"for":"{platform}"}}"#).into_bytes(),
            manifest_media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        }
    }

    fn entries(bytes: &[u8]) -> Vec<(String, String)> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().expect("entries");
        let read = entries.map(|entry| {
            let mut entry = entry.expect("an entry");
            assert_eq!((entry.header().mtime().ok(), entry.header().uid().ok()), (Some(0), Some(0)));
            let path = entry.path().expect("a path").display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            (path, text)
        });
        read.collect()
    }

    fn write_to_vec(images: &[AssembledImage], names: &[String], format: Format) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, images, names, format, &mut |_| {}).expect("an archive");
        bytes
    }

    #[test]
    fn dockers_form_lists_names_and_layers() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = image(folder.path(), Platform::AMD64);
        let (layer, config) = (image.layers[0].digest.hex(), image.config_digest().hex());
        let entries = entries(&write_to_vec(&[image], &["churn:latest".to_owned()], Format::Docker));
        let last = entries.last().expect("entries");
        assert_eq!(last.0, "manifest.json");
        assert_eq!(
            last.1,
            format!(
                r#"[{{"Config":"blobs/sha256/{config}","RepoTags":["churn:latest"],"Layers":["blobs/sha256/{layer}"]}}]"#
            )
        );
        assert!(entries.iter().all(|(path, _)| path != "oci-layout" && path != "index.json"));
    }

    #[test]
    fn several_platforms_are_joined_by_an_index_and_bytes_repeat() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let images = [image(folder.path(), Platform::AMD64), image(folder.path(), Platform::ARM64)];
        let names = ["registry.test/ml/churn:1".to_owned()];
        let bytes = write_to_vec(&images, &names, Format::Oci);
        assert_eq!(bytes, write_to_vec(&images, &names, Format::Oci));
        let entries: BTreeMap<String, String> = entries(&bytes).into_iter().collect();
        let index: Value = serde_json::from_str(&entries["index.json"]).expect("JSON");
        let descriptor = &index["manifests"][0];
        assert_eq!(descriptor["annotations"]["io.containerd.image.name"], "registry.test/ml/churn:1");
        let digest: Digest = serde_json::from_value(descriptor["digest"].clone()).expect("a digest");
        let inner: Value = serde_json::from_str(&entries[&format!("blobs/sha256/{}", digest.hex())]).expect("JSON");
        assert_eq!(inner["manifests"][1]["platform"]["architecture"], "arm64");
        assert_eq!(entries["oci-layout"], r#"{"imageLayoutVersion":"1.0.0"}"#);
    }

    #[test]
    fn a_layer_that_shrank_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = image(folder.path(), Platform::AMD64);
        std::fs::write(folder.path().join("layer"), b"short").expect("a layer");
        let error = write(&mut Vec::new(), &[image], &[], Format::Both, &mut |_| {}).expect_err("an error");
        assert!(error.to_string().ends_with("has 5 bytes instead of 11"), "{error}");
    }
}
