//! Documents that are attached to an image: its recipe, its SBOM, its provenance, its signature.
//!
//! An artifact is a manifest of the OCI image specification 1.1 with an `artifactType`; its documents are its layers, and the
//! image that they belong to is its `subject`. Documents are small and are held in memory; a reader refuses larger ones. The
//! manifest's bytes follow from its contents alone, so that attaching the same thing twice attaches it once.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::oci::{Digest, Reference};
use crate::parallel;
use crate::registry::{self, Blob, BytesSource, Meter, Referrer, Registries};

/// Media type of a manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of a config that says nothing, and its only content.
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// See [`EMPTY_TYPE`].
pub const EMPTY_CONFIG: &[u8] = b"{}";
/// Bytes of all documents of an artifact together that are read.
pub const DOCUMENT_LIMIT: u64 = 256 << 20;
/// Documents on their way at one time.
const PARALLEL: usize = 4;

/// Where something is, what it is and how large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of what is there.
    pub media_type: String,
    /// Its address.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What else is said about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Of these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
        }
    }
}

/// One document of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Media type.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// What else is said about it, such as its file name.
    pub annotations: BTreeMap<String, String>,
}

impl Document {
    /// A document without annotations.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self { media_type: media_type.to_owned(), bytes, annotations: BTreeMap::new() }
    }

    /// The same document with a file name, as other tools of the field write and read it.
    #[must_use]
    pub fn titled(mut self, name: &str) -> Self {
        self.annotations.insert("org.opencontainers.image.title".to_owned(), name.to_owned());
        self
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor { annotations: self.annotations.clone(), ..Descriptor::of(&self.media_type, &self.bytes) }
    }
}

/// Documents under one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is, for those who look through what is attached to an image.
    pub artifact_type: String,
    /// The config; the empty one if the artifact has none.
    pub config: Document,
    /// The documents.
    pub documents: Vec<Document>,
    /// The image that it belongs to; none if it stands for itself.
    pub subject: Option<Descriptor>,
    /// What else is said about it.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Artifact {
    /// Documents with an empty config.
    pub fn new(artifact_type: &str, documents: Vec<Document>, subject: Option<Descriptor>) -> Self {
        Self {
            artifact_type: artifact_type.to_owned(),
            config: Document::new(EMPTY_TYPE, EMPTY_CONFIG.to_vec()),
            documents,
            subject,
            annotations: BTreeMap::new(),
        }
    }

    /// The manifest's bytes; the same for the same artifact.
    pub fn manifest(&self) -> Vec<u8> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: Some(self.artifact_type.clone()),
            config: self.config.descriptor(),
            layers: self.documents.iter().map(Document::descriptor).collect(),
            subject: self.subject.clone(),
            annotations: self.annotations.clone(),
        };
        serde_json::to_vec(&manifest).unwrap_or_default()
    }

    /// Address of the manifest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest())
    }

    /// Writes the documents, then the manifest: as a referrer if there is a subject, and under the reference's tag if
    /// `tagged`. Returns the manifest's address.
    pub fn push(&self, registries: &Registries, to: &Reference, tagged: bool) -> Result<Digest, Error> {
        let pushed = push_all(std::slice::from_ref(self), registries, to).pop();
        let digest = pushed.unwrap_or_else(|| Ok(self.digest()))?;
        if tagged {
            registries.push_manifest(to, MANIFEST_TYPE, &self.manifest())?;
        }
        Ok(digest)
    }

    /// As the list of what is attached to the subject has it.
    fn referrer(&self, manifest: &[u8]) -> Referrer {
        Referrer {
            media_type: MANIFEST_TYPE.to_owned(),
            digest: Digest::of(manifest),
            size: manifest.len() as u64,
            artifact_type: Some(self.artifact_type.clone()),
            annotations: self.annotations.clone(),
        }
    }

    /// Reads the artifact behind a reference: its manifest and every document, verified.
    pub fn read(registries: &Registries, reference: &Reference) -> Result<Self, Error> {
        let bytes = registries.manifest(reference)?.bytes;
        let unreadable = |detail: String| Error::Artifact { reference: reference.whole(), detail };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|cause| unreadable(format!("{cause}")))?;
        let sizes = std::iter::once(&manifest.config).chain(&manifest.layers).map(|descriptor| descriptor.size);
        if sizes.fold(0, u64::saturating_add) > DOCUMENT_LIMIT {
            return Err(unreadable(format!("its documents have more than {} MiB", DOCUMENT_LIMIT >> 20)));
        }
        let document = |descriptor: &Descriptor| -> Result<Document, Error> {
            let mut reader = registries.open_blob(reference, &descriptor.digest, Some(descriptor.size), 0)?;
            let mut bytes = Vec::new();
            reader.by_ref().take(descriptor.size + 1).read_to_end(&mut bytes).map_err(|cause| match cause
                .downcast::<registry::Error>(
            ) {
                Ok(error) => error.into(),
                Err(cause) => unreadable(format!("{cause}")),
            })?;
            if Digest::of(&bytes) != descriptor.digest {
                return Err(unreadable(format!("its document `{}` has another content", descriptor.digest)));
            }
            Ok(Document {
                media_type: descriptor.media_type.clone(),
                bytes,
                annotations: descriptor.annotations.clone(),
            })
        };
        let config = document(&manifest.config)?;
        let documents = manifest.layers.iter().map(document).collect::<Result<Vec<_>, _>>()?;
        // Before artifacts had a type of their own, the config's said what they are.
        let artifact_type = manifest.artifact_type.unwrap_or_else(|| manifest.config.media_type.clone());
        let Manifest { subject, annotations, .. } = manifest;
        Ok(Self { artifact_type, config, documents, subject, annotations })
    }
}

/// Writes artifacts as [`Artifact::push`] does, none of them tagged: the documents of all side by side, then their manifests,
/// then the lists of those registries that keep none themselves, one for each subject. One result for each.
pub fn push_all(artifacts: &[Artifact], registries: &Registries, to: &Reference) -> Vec<Result<Digest, Error>> {
    let written: Vec<(&Artifact, Vec<u8>)> = artifacts.iter().map(|artifact| (artifact, artifact.manifest())).collect();
    let mut results = push_documents(artifacts, registries, to);
    let ready: Vec<(usize, &(&Artifact, Vec<u8>))> =
        written.iter().enumerate().filter(|(index, _)| results.get(*index).is_some_and(Result::is_ok)).collect();
    let push =
        |(_, (_, manifest)): &(usize, &(&Artifact, Vec<u8>))| registries.push_referrer(to, MANIFEST_TYPE, manifest);
    let mut unlisted: BTreeMap<Digest, Vec<(usize, Referrer)>> = BTreeMap::new();
    let mut failures = Vec::new();
    for ((index, (artifact, manifest)), noted) in ready.iter().zip(parallel::map(&ready, PARALLEL, push)) {
        match (noted, &artifact.subject) {
            (Ok(false), Some(subject)) => {
                unlisted.entry(subject.digest).or_default().push((*index, artifact.referrer(manifest)));
            }
            (Ok(_), _) => {}
            (Err(error), _) => failures.push((*index, error)),
        }
    }
    let list = |(subject, referrers): &(Digest, Vec<(usize, Referrer)>)| -> Vec<(usize, registry::Error)> {
        let all = referrers.iter().map(|(_, referrer)| referrer.clone()).collect();
        if registries.list_referrers(to, subject, all).is_ok() {
            return Vec::new();
        }
        // One by one, so that each has its own outcome.
        let one = |(index, referrer): &(usize, Referrer)| {
            Some((*index, registries.list_referrers(to, subject, vec![referrer.clone()]).err()?))
        };
        referrers.iter().filter_map(one).collect()
    };
    failures.extend(parallel::map(&unlisted.into_iter().collect::<Vec<_>>(), PARALLEL, list).into_iter().flatten());
    for (index, error) in failures {
        if let Some(result) = results.get_mut(index) {
            *result = Err(error.into());
        }
    }
    let digests = written.iter().map(|(_, manifest)| Digest::of(manifest));
    results.into_iter().zip(digests).map(|(result, digest)| result.map(|()| digest)).collect()
}

/// Writes the documents of artifacts, each once; for each artifact a failure, if there is one. Registries take tens of
/// milliseconds over any blob.
fn push_documents(artifacts: &[Artifact], registries: &Registries, to: &Reference) -> Vec<Result<(), Error>> {
    let mut distinct = BTreeMap::new();
    for (index, artifact) in artifacts.iter().enumerate() {
        for document in std::iter::once(&artifact.config).chain(&artifact.documents) {
            distinct.entry(Digest::of(&document.bytes)).or_insert((index, document));
        }
    }
    let distinct: Vec<(Digest, (usize, &Document))> = distinct.into_iter().collect();
    let outcomes = parallel::map(&distinct, PARALLEL, |(digest, (_, document))| {
        let source = BytesSource(document.bytes.clone().into());
        let blob = Blob { digest: *digest, size: document.bytes.len() as u64, source: &source };
        registries.push_blob(to, blob, &[], &Meter::new(|_| {}))
    });
    let mut results: Vec<Result<(), Error>> = artifacts.iter().map(|_| Ok(())).collect();
    for ((_, (index, _)), outcome) in distinct.iter().zip(outcomes) {
        if let (Err(error), Some(result @ Ok(()))) = (outcome, results.get_mut(*index)) {
            *result = Err(error.into());
        }
    }
    results
}

/// What is attached to an image with this artifact type, in the registry's order. Registries may leave the filtering to the
/// client.
pub fn attached(
    registries: &Registries,
    repository: &Reference,
    subject: &Digest,
    artifact_type: &str,
) -> Result<Vec<Referrer>, Error> {
    let all = registries.referrers(repository, subject)?;
    Ok(all.into_iter().filter(|referrer| referrer.artifact_type.as_deref() == Some(artifact_type)).collect())
}
