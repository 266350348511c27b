//! To a registry: blobs side by side, skipped or mounted where possible, then the manifests, then the tags. Whatever
//! interrupts it, a tag never names an image that is not whole.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Error;
use crate::oci::layout::Layout;
use crate::oci::{AssembledImage, Digest, LayerSource, Reference};
use crate::progress::{Progress, Task, human_bytes};
use crate::registry::{self, Blob, BlobOutcome, BlobSource, BytesSource, FileSource, Meter, Registries, RemoteSource};
use crate::store::Store;

/// Blobs on their way at one time.
const PARALLEL: usize = 4;
/// Media type of an index over platforms.
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Where to, and from where the registry may take layers itself.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// Registry and repository; tag and digest are ignored.
    pub repository: &'a Reference,
    /// Tags to set; none means that the image can only be found by its digest.
    pub tags: &'a [String],
    /// Images that are likely to share layers: the last push of another environment. Those in other registries are ignored.
    pub mount_from: &'a [Reference],
}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The image by digest, with the first tag.
    pub reference: Reference,
    /// Bytes of layers and configs that were sent.
    pub bytes_sent: u64,
    /// Bytes that the repository had.
    pub bytes_skipped: u64,
    /// Bytes that the registry took from other repositories of its own.
    pub bytes_mounted: u64,
    /// Layers that it took so.
    pub layers_mounted: usize,
}

struct Job {
    digest: Digest,
    size: u64,
    source: Box<dyn BlobSource>,
    mount_from: Vec<String>,
}

/// Publishes images of one or more platforms under the target's tags. Several platforms are joined by an index, in the order
/// given. Layers that only a registry has are mounted, taken from the store, or passed on from there, in this order.
pub fn push(
    registries: &Registries,
    store: &Store,
    images: &[AssembledImage],
    target: &Target<'_>,
    progress: &Progress,
) -> Result<Published, Error> {
    if images.is_empty() {
        return Err(Error::Nothing);
    }
    let jobs = jobs(registries, store, images, target);
    let total = jobs.iter().map(|job| job.size).sum();
    let (registry, repository) = (target.repository.registry().to_owned(), target.repository.repository().to_owned());
    let task = Arc::new(progress.task(format!("pushing to {registry}/{repository}"), Some(total)));
    let outcomes = push_blobs(registries, target.repository, &jobs, &task)?;

    let by_digest = |digest: &Digest| Reference::with_digest(registry.clone(), repository.clone(), digest.to_string());
    let (digest, media_type, manifest) = match images {
        [image] => (image.digest(), image.manifest_media_type.as_str(), image.manifest.clone()),
        many => {
            for image in many {
                registries.push_manifest(&by_digest(&image.digest()), &image.manifest_media_type, &image.manifest)?;
            }
            let index = Layout::index_bytes(many.iter());
            (Digest::of(&index), INDEX_TYPE, index)
        }
    };
    for tag in target.tags {
        let reference = Reference::with_tag(registry.clone(), repository.clone(), tag.clone());
        registries.push_manifest(&reference, media_type, &manifest)?;
    }
    if target.tags.is_empty() {
        registries.push_manifest(&by_digest(&digest), media_type, &manifest)?;
    }

    let sum = |wanted: BlobOutcome| {
        jobs.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == wanted).map(|(job, _)| job.size).sum::<u64>()
    };
    let published = Published {
        reference: match target.tags.first() {
            Some(tag) => {
                Reference::with_tag_and_digest(registry.clone(), repository.clone(), tag.clone(), digest.to_string())
            }
            None => by_digest(&digest),
        },
        bytes_sent: sum(BlobOutcome::Sent),
        bytes_skipped: sum(BlobOutcome::Present),
        bytes_mounted: sum(BlobOutcome::Mounted),
        layers_mounted: outcomes.iter().filter(|outcome| **outcome == BlobOutcome::Mounted).count(),
    };
    if let Some(task) = Arc::into_inner(task) {
        let not_sent = published.bytes_skipped + published.bytes_mounted;
        let (sent, not_sent) = (human_bytes(published.bytes_sent), human_bytes(not_sent));
        task.done(format!("pushed `{}`: {sent} sent, {not_sent} already there", published.reference));
    }
    Ok(published)
}

/// Every blob once: layers, then configs.
fn jobs(registries: &Registries, store: &Store, images: &[AssembledImage], target: &Target<'_>) -> Vec<Job> {
    let registry = target.repository.registry();
    let neighbours: Vec<String> =
        target.mount_from.iter().flat_map(|reference| registries.repositories_at(registry, reference)).collect();
    let mut seen = BTreeSet::new();
    let mut jobs = Vec::new();
    for layer in images.iter().flat_map(|image| &image.layers) {
        if !seen.insert(layer.digest) {
            continue;
        }
        let (digest, size) = (layer.digest, layer.size);
        let mut mount_from = Vec::new();
        let source: Box<dyn BlobSource> = match &layer.source {
            LayerSource::File(path) => Box::new(FileSource { path: path.clone(), size }),
            LayerSource::Registry(reference) => {
                mount_from = registries.repositories_at(registry, reference);
                if let Some(path) = store.blob(&digest) {
                    Box::new(FileSource { path, size })
                } else {
                    let (registries, reference) = (registries.clone(), reference.clone());
                    Box::new(RemoteSource { registries, reference, digest, size })
                }
            }
        };
        mount_from.extend(neighbours.iter().cloned());
        jobs.push(Job { digest, size, source, mount_from });
    }
    for image in images {
        let digest = image.config_digest();
        if seen.insert(digest) {
            let source = Box::new(BytesSource(image.config.as_slice().into()));
            jobs.push(Job { digest, size: image.config.len() as u64, source, mount_from: Vec::new() });
        }
    }
    jobs
}

/// Runs the jobs on a few threads; after the first failure no further one is begun.
fn push_blobs(
    registries: &Registries,
    target: &Reference,
    jobs: &[Job],
    task: &Arc<Task>,
) -> Result<Vec<BlobOutcome>, registry::Error> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![BlobOutcome::Present; jobs.len()]);
    let failure: Mutex<Option<registry::Error>> = Mutex::new(None);
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at).filter(|_| lock(&failure).is_none()) else { return };
            let blob = Blob { digest: job.digest, size: job.size, source: job.source.as_ref() };
            let mount_from: Vec<&str> = job.mount_from.iter().map(String::as_str).collect();
            let bar = Arc::clone(task);
            let meter = Meter::new(move |bytes| bar.advance(bytes));
            match registries.push_blob(target, blob, &mount_from, &meter) {
                Ok(outcome) => {
                    if outcome != BlobOutcome::Sent {
                        task.advance(job.size);
                    }
                    if let Some(place) = lock(&outcomes).get_mut(at) {
                        *place = outcome;
                    }
                }
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(jobs.len()) {
            scope.spawn(worker);
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
