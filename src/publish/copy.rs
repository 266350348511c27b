//! From one registry to another: an image that somebody else made, by digest, with all its platforms. Manifests are copied byte
//! for byte, so that the copy has the same digest; an index cannot be made smaller without becoming another one.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Error;
use super::artifact::Descriptor;
use super::registry::{Target, Upload};
use crate::oci::{Digest, Reference};
use crate::progress::Progress;
use crate::registry::{Manifest, Registries};
use crate::store::Store;

/// Manifests of one image, those of indexes below an index included.
const MANIFEST_COUNT: usize = 500;
/// Indexes below each other.
const DEPTH: usize = 3;

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Address of the manifest or index, in either registry.
    pub digest: Digest,
    /// Platforms that it has: `linux/arm64/v8`; none are told of a single manifest.
    pub platforms: Vec<String>,
    /// Bytes of layers and configs that were sent.
    pub bytes_sent: u64,
    /// Bytes that the repository had.
    pub bytes_skipped: u64,
    /// Bytes that the registry took from other repositories of its own.
    pub bytes_mounted: u64,
}

#[derive(Deserialize)]
struct IndexDocument {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Platform {
    fn name(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant].into_iter().filter(|part| !part.is_empty());
        parts.map(String::as_str).collect::<Vec<_>>().join("/")
    }
}

#[derive(Deserialize)]
struct ManifestDocument {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(flatten)]
    descriptor: Descriptor,
    /// Addresses of layers that registries are not given, such as those of Windows.
    #[serde(default)]
    urls: Vec<String>,
}

impl Layer {
    fn travels(&self) -> bool {
        let media_type = &self.descriptor.media_type;
        self.urls.is_empty() && !media_type.contains("foreign") && !media_type.contains("nondistributable")
    }
}

/// Copies the image that `from` names by digest into the repository of `target`, and sets its tags. What is there already is
/// not read; blobs first, manifests after them, tags last.
pub fn copy(
    registries: &Registries,
    store: &Store,
    from: &Reference,
    target: &Target<'_>,
    progress: &Progress,
) -> Result<Copied, Error> {
    let top = registries.manifest(from)?;
    let to = |digest: &Digest| target.repository.clone_with_digest(digest.to_string());
    let platforms = if top.is_index() { platforms_of(from, &top)? } else { Vec::new() };
    let mut copied = Copied { digest: top.digest, platforms, bytes_sent: 0, bytes_skipped: 0, bytes_mounted: 0 };
    // A registry that has a manifest has what it names.
    if registries.manifest_digest(&to(&top.digest))? != Some(top.digest) {
        let mut walk = Walk { registries, from, seen: BTreeSet::new(), manifests: Vec::new(), blobs: Vec::new() };
        walk.visit(top.clone(), 0)?;
        let upload = Upload::begin(registries, store, target, progress);
        walk.blobs.iter().for_each(|blob| upload.blob(blob.digest, blob.size, from));
        (copied.bytes_sent, copied.bytes_skipped, copied.bytes_mounted) = upload.finish_blobs()?;
        for manifest in &walk.manifests {
            registries.push_manifest(&to(&manifest.digest), &manifest.media_type, &manifest.bytes)?;
        }
    }
    for tag in target.tags {
        let (registry, repository) = (target.repository.registry(), target.repository.repository());
        let tagged = Reference::with_tag(registry.to_owned(), repository.to_owned(), tag.clone());
        registries.push_manifest(&tagged, &top.media_type, &top.bytes)?;
    }
    Ok(copied)
}

/// What an image consists of, what is below first.
struct Walk<'a> {
    registries: &'a Registries,
    from: &'a Reference,
    seen: BTreeSet<Digest>,
    manifests: Vec<Manifest>,
    blobs: Vec<Descriptor>,
}

impl Walk<'_> {
    fn visit(&mut self, manifest: Manifest, depth: usize) -> Result<(), Error> {
        if !self.seen.insert(manifest.digest) {
            return Ok(());
        }
        if depth > DEPTH || self.seen.len() > MANIFEST_COUNT {
            return Err(refusal(self.from, "it names more manifests than an image has".to_owned()));
        }
        if manifest.is_index() {
            for entry in parse::<IndexDocument>(self.from, &manifest)?.manifests {
                let reference = self.from.clone_with_digest(entry.descriptor.digest.to_string());
                let below = self.registries.manifest(&reference)?;
                self.visit(below, depth + 1)?;
            }
        } else {
            let document: ManifestDocument = parse(self.from, &manifest)?;
            let missing =
                || refusal(self.from, format!("a manifest of the type `{}` has no config", manifest.media_type));
            self.blobs.push(document.config.ok_or_else(missing)?);
            self.blobs.extend(document.layers.into_iter().filter(Layer::travels).map(|layer| layer.descriptor));
        }
        self.manifests.push(manifest);
        Ok(())
    }
}

/// The platforms of an index; documents beside them say `unknown`.
fn platforms_of(from: &Reference, index: &Manifest) -> Result<Vec<String>, Error> {
    let entries = parse::<IndexDocument>(from, index)?.manifests.into_iter();
    let platforms = entries.filter_map(|entry| entry.platform).filter(|platform| platform.os != "unknown");
    Ok(platforms.map(|platform| platform.name()).collect())
}

fn parse<'m, T: Deserialize<'m>>(from: &Reference, manifest: &'m Manifest) -> Result<T, Error> {
    serde_json::from_slice(&manifest.bytes)
        .map_err(|cause| refusal(from, format!("its manifest cannot be read ({cause})")))
}

fn refusal(from: &Reference, problem: String) -> Error {
    Error::NotCopied { reference: from.whole(), problem }
}
