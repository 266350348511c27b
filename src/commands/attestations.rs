//! Documents about images: made for what a build has, to go beside what is pushed, and signed if there is a key.

use std::collections::{BTreeMap, BTreeSet};

use crate::attest::bundle::BUNDLE_TYPE;
use crate::attest::{
    self, About, CYCLONEDX_TYPE, IN_TOTO_TYPE, Inventory, KeyError, PROVENANCE_TYPE, Places, SPDX_TYPE, SigningKey,
    Statement, signature,
};
use crate::cli::AttestArgs;
use crate::diagnostic::Failure;
use crate::lock::{Lock, LockedPlatform, LockedWheel};
use crate::oci::Digest;
use crate::progress::counted;
use crate::publish::artifact::{Artifact, Descriptor, Document};
use crate::publish::registry::{Attachment, Published, top};
use crate::settings::{DEFAULT_INDEX, Settings};
use crate::share::bundle::RECIPE_TYPE;
use crate::spec::Spec;

use super::Context;
use super::attach::{self, Asked};
use super::build::{Built, source_date_epoch};
use super::keys;
use super::outside::Outside;

/// Types of what is said about an image.
const DOCUMENT_TYPES: [&str; 3] = [SPDX_TYPE, CYCLONEDX_TYPE, IN_TOTO_TYPE];

/// What is to be attached to an image that is pushed.
pub(super) struct Attest {
    documents: bool,
    key: Option<SigningKey>,
}

impl Attest {
    /// As the command line says. The key is read now: a build that cannot be signed need not begin.
    pub(super) fn new(arguments: &AttestArgs) -> Result<Self, KeyError> {
        let key = arguments.sign_key.as_deref().map(|path| SigningKey::read(path, keys::password)).transpose()?;
        Ok(Self { documents: !arguments.no_attest, key })
    }

    /// Whether the image is to be signed.
    pub(super) fn signs(&self) -> bool {
        self.key.is_some()
    }
}

/// What is said about one image of a build, on all of its platforms.
#[derive(Default)]
pub(super) struct Documents {
    /// What goes beside the image.
    pub(super) artifacts: Vec<Artifact>,
    /// Statements that are attached once more, signed.
    provenance: Vec<(Descriptor, Statement)>,
}

impl Documents {
    /// The bytes of everything that goes beside the image.
    pub(super) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.artifacts.iter().flat_map(|artifact| &artifact.documents).map(|document| document.bytes.as_slice())
    }
}

/// What is said about the images of a build: known before they are pushed, so that it can be sent along with them.
pub(super) fn documents(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    built: &[Built],
    attest: &Attest,
) -> Result<Vec<Documents>, Failure> {
    let mut all: Vec<Documents> = built.iter().map(|_| Documents::default()).collect();
    // Services have a lock derived from the spec's, which is the one that is on disk: the first.
    let Some(lock_digest) = built.first().map(|built| built.lock.digest()).filter(|_| attest.documents) else {
        return Ok(all);
    };
    let epoch = source_date_epoch()?;
    for (built, documents) in built.iter().zip(&mut all) {
        for (image, platform) in built.platforms() {
            let subject = Descriptor::of(&image.manifest_media_type, &image.manifest);
            let digest = Some(subject.digest);
            let inventory = inventory(context, outside, spec, &built.lock, platform, lock_digest, digest)?;
            let mut add = |document: Document| {
                let artifact = Artifact::new(&document.media_type.clone(), vec![document], Some(subject.clone()));
                documents.artifacts.push(artifact);
            };
            add(Document::new(SPDX_TYPE, attest::spdx(&inventory)).titled("sbom.spdx.json"));
            add(Document::new(CYCLONEDX_TYPE, attest::cyclonedx(&inventory)).titled("sbom.cdx.json"));
            if let Some(statement) = attest::provenance(&inventory, &built.lock, epoch) {
                let mut document = Document::new(IN_TOTO_TYPE, statement.to_bytes()).titled("provenance.intoto.json");
                document.annotations.insert("in-toto.io/predicate-type".to_owned(), PROVENANCE_TYPE.to_owned());
                add(document);
                documents.provenance.push((subject, statement));
            }
        }
    }
    Ok(all)
}

/// Signs images that have been pushed, if there is a key, each in the repository that it is in now; what lies beside an image
/// already, its recipe, is signed with it. Says what was attached to each.
pub(super) fn finish(
    context: &Context,
    outside: &Outside,
    built: &[Built],
    documents: &[Documents],
    published: &mut [Published],
    attest: &Attest,
) -> Result<(), Failure> {
    for ((built, documents), published) in built.iter().zip(documents).zip(published) {
        let is_document = |known: &&Attachment| DOCUMENT_TYPES.contains(&known.artifact_type.as_str());
        let attached = published.attached.iter().filter(is_document).count();
        if let Some(key) = &attest.key {
            let beside = published.attached.iter().filter(|known| !is_document(known)).cloned().collect::<Vec<_>>();
            for (subject, statement) in &documents.provenance {
                let signed = signature::attach(&outside.registries, &published.reference, subject, statement, key);
                attach::note(context, published, BUNDLE_TYPE, subject.digest, Asked::ByFlag, signed)?;
            }
            let images = built.images.iter();
            let mut manifests: Vec<Descriptor> =
                images.map(|image| Descriptor::of(&image.manifest_media_type, &image.manifest)).collect();
            if manifests.len() > 1 {
                let (media_type, index) = top(&built.images);
                manifests.push(Descriptor::of(media_type, &index));
            }
            sign(context, outside, published, &manifests, &beside, key)?;
        }
        let attached = (attached > 0).then(|| format!("attached {} to", counted(attached, "document")));
        let signed = attest.signs().then(|| "signed".to_owned());
        let done: Vec<String> = [attached, signed].into_iter().flatten().collect();
        if !done.is_empty() {
            context.progress.say(format!("{} `{}`", done.join(" and "), published.reference.whole()));
        }
    }
    Ok(())
}

/// Signs manifests, and what lies beside them already: recipes in the one form that `pull --key` reads, others in both.
fn sign(
    context: &Context,
    outside: &Outside,
    published: &mut Published,
    manifests: &[Descriptor],
    beside: &[Attachment],
    key: &SigningKey,
) -> Result<(), Failure> {
    let registries = &outside.registries;
    let repository = published.reference.clone();
    for manifest in manifests {
        let signed = signature::sign(registries, &repository, manifest, key);
        attach::note(context, published, BUNDLE_TYPE, manifest.digest, Asked::ByFlag, signed)?;
    }
    for Attachment { artifact_type, digest, .. } in beside {
        let manifest = registries.manifest_at_home(&repository.clone_with_digest(digest.to_string()));
        let sign = if artifact_type == RECIPE_TYPE { signature::sign_by_bundle } else { signature::sign };
        let signed = manifest.map_err(attest::Error::from).and_then(|manifest| {
            sign(registries, &repository, &Descriptor::of(&manifest.media_type, &manifest.bytes), key)
        });
        attach::note(context, published, BUNDLE_TYPE, *digest, Asked::ByFlag, signed)?;
    }
    Ok(())
}

/// What is in one platform's image, with what its wheels say of themselves.
pub(super) fn inventory(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    lock: &Lock,
    platform: &LockedPlatform,
    lock_digest: Digest,
    digest: Option<Digest>,
) -> Result<Inventory, Failure> {
    let created = attest::moment(lock, source_date_epoch()?);
    let about = about(context, outside, platform);
    Ok(Inventory::new(lock, platform, lock_digest, digest, created, &places(spec, platform)?, &about))
}

fn about(context: &Context, outside: &Outside, platform: &LockedPlatform) -> BTreeMap<Digest, About> {
    let wheels: Vec<&LockedWheel> = platform.wheels.iter().collect();
    let mut about = BTreeMap::new();
    let mut unknown = Vec::new();
    for (wheel, metadata) in wheels.iter().zip(outside.index.locked_metadata(&wheels)) {
        if let Err(error) = &metadata {
            context.progress.detail(format!("note: {error}"));
        }
        match metadata.ok().flatten().and_then(|metadata| About::read(&metadata)) {
            Some(found) => drop(about.insert(wheel.digest, found)),
            None => unknown.push(wheel.name.as_str()),
        }
    }
    if let [first, others @ ..] = unknown.as_slice() {
        let others = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
        context.progress.say(format!(
            "note: METADATA of `{first}`{others} is not at hand: the bill of materials leaves out their licences and \
             dependencies"
        ));
    }
    about
}

/// The addresses that everybody may know of what the platform's lock names: the catalog's and the spec's. Where this machine
/// gets things from is its own affair.
fn places(spec: &Spec, platform: &LockedPlatform) -> Result<Places, Failure> {
    let mut settings = Settings::of_nobody()?;
    for index in &spec.indexes {
        settings.with_extra(&index.name.value, &index.url.value)?;
    }
    let indexes: BTreeSet<&str> = platform.wheels.iter().map(|wheel| wheel.index.as_str()).collect();
    let archives: BTreeSet<&str> = platform.debs.iter().map(|deb| deb.archive.as_str()).collect();
    let index = |name: &str| Some((name.to_owned(), settings.index_url(name)?.url));
    let archive = |name: &str| Some((name.to_owned(), settings.archive(name)?.url.clone()));
    Ok(Places {
        indexes: indexes.into_iter().filter(|name| *name != DEFAULT_INDEX).filter_map(index).collect(),
        archives: archives.into_iter().filter_map(archive).collect(),
    })
}
