//! To a registry: blobs side by side, skipped or mounted where possible, then the manifests, then the tags. Whatever
//! interrupts it, a tag never names an image that is not whole. Blobs may be on their way before the image is finished: what
//! takes long on one machine is making layers, and on another sending them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Error, places};
use crate::oci::layout::Layout;
use crate::oci::tag::with_digest;
use crate::oci::{AssembledImage, Digest, Layer, LayerSource, Reference};
use crate::progress::{Progress, Task, human_bytes};
use crate::registry::{
    self, Blob, BlobOutcome, BlobSource, BlobStream, BytesSource, FileSource, Meter, Registries, RemoteSource,
};
use crate::store::Store;

/// Blobs on their way at one time.
const PARALLEL: usize = 6;
/// Media type of an index over platforms.
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Where to, and from where the registry may take layers itself.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// Registry and repository; tag and digest are ignored.
    pub repository: &'a Reference,
    /// Tags to set; none means that the image can only be found by its digest. `{{ digest }}` is filled in.
    pub tags: &'a [String],
    /// Further tags: one that names another image is not moved, and the push fails before it sets any.
    pub immutable_tags: &'a [String],
    /// Images that are likely to share layers: the last push of another environment. Those in other registries are ignored.
    pub mount_from: &'a [Reference],
}

/// What a tag of these images names, with its media type: the manifest of one, the index over several.
pub fn top(images: &[AssembledImage]) -> (&str, Cow<'_, [u8]>) {
    match images {
        [image] => (&image.manifest_media_type, Cow::Borrowed(&image.manifest)),
        many => (INDEX_TYPE, Cow::Owned(Layout::index_bytes(many.iter()))),
    }
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
    /// What was attached to it afterwards.
    pub attached: Vec<Attachment>,
}

/// An artifact that belongs to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What it is.
    pub artifact_type: String,
    /// Its address.
    pub digest: Digest,
    /// The manifest that it is attached to: the image of one platform, or the whole.
    pub subject: Digest,
}

/// A push that has begun: blobs are on their way while others are still being made. Nothing refers to them before
/// [`Upload::publish`].
pub struct Upload {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    tags: Vec<String>,
    immutable_tags: Vec<String>,
}

/// What the workers of one upload share.
struct Shared {
    registries: Registries,
    store: Store,
    repository: Reference,
    /// Repositories of the same registry that are likely to have blobs.
    neighbours: Vec<String>,
    queue: Mutex<Queue>,
    changed: Condvar,
    task: Task,
    /// Whether the registry did not take a layer that was being made: the next ones need not try.
    refuses_streams: AtomicBool,
}

/// A layer on its way while it is being made.
pub struct LayerStream {
    shared: Arc<Shared>,
    blob: BlobStream,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    seen: BTreeSet<Digest>,
    /// Taken up, and not done yet.
    running: usize,
    closed: bool,
    panicked: bool,
    failure: Option<registry::Error>,
    /// By address, with the size.
    outcomes: BTreeMap<Digest, (BlobOutcome, u64)>,
}

struct Job {
    digest: Digest,
    size: u64,
    source: Box<dyn BlobSource>,
    mount_from: Vec<String>,
    /// Whether the image needs it.
    is_part: bool,
}

impl Upload {
    /// Begins a push to the target. Layers that only a registry has will be mounted, taken from the store, or passed on from
    /// there, in this order.
    pub fn begin(registries: &Registries, store: &Store, target: &Target<'_>, progress: &Progress) -> Self {
        let (registry, repository) = (target.repository.registry(), target.repository.repository());
        let neighbours =
            target.mount_from.iter().flat_map(|reference| registries.repositories_at(registry, reference)).collect();
        let shared = Arc::new(Shared {
            registries: registries.clone(),
            store: store.clone(),
            repository: target.repository.clone(),
            neighbours,
            queue: Mutex::default(),
            changed: Condvar::new(),
            task: progress.task(format!("pushing to {registry}/{repository}"), Some(0)),
            refuses_streams: AtomicBool::new(false),
        });
        let worker = || {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.work())
        };
        let workers = (0..PARALLEL).map(|_| worker()).collect();
        Self { shared, workers, tags: target.tags.to_vec(), immutable_tags: target.immutable_tags.to_vec() }
    }

    /// Sends a layer, unless the repository has it. Each digest is looked at once.
    pub fn layer(&self, layer: &Layer) {
        let Shared { store, repository, neighbours, .. } = &*self.shared;
        let (digest, size) = (layer.digest, layer.size);
        let source: Box<dyn BlobSource> = match &layer.source {
            LayerSource::File(path) => Box::new(FileSource { path: path.clone(), size }),
            LayerSource::Registry(reference) => return self.blob(digest, size, reference),
        };
        let mount_from = places::recall(store, repository, &digest).into_iter().chain(neighbours.iter().cloned());
        self.shared.add(Job { digest, size, source, mount_from: mount_from.collect(), is_part: true });
    }

    /// Has the registry take a layer from the repository that an earlier push left it in. `false` if it does not, for
    /// whatever reason: then the layer is to be made.
    pub fn mount(&self, digest: &Digest, size: u64) -> bool {
        let Shared { registries, store, repository, queue, .. } = &*self.shared;
        let place = places::recall(store, repository, digest);
        let taken = place.is_some_and(|from| registries.mount_blob(repository, digest, &from).unwrap_or(false));
        if taken {
            let mut queue = lock(queue);
            queue.seen.insert(*digest);
            queue.outcomes.insert(*digest, (BlobOutcome::Mounted, size));
        }
        taken
    }

    /// Sends a blob that a registry has, unless the repository has it.
    pub fn blob(&self, digest: Digest, size: u64, from: &Reference) {
        let Shared { registries, store, repository, neighbours, .. } = &*self.shared;
        let mut mount_from = registries.repositories_at(repository.registry(), from);
        let source: Box<dyn BlobSource> = if let Some(path) = store.blob(&digest) {
            Box::new(FileSource { path, size })
        } else if (from.registry(), from.repository()) == (repository.registry(), repository.repository()) {
            Box::new(LostSource { repository: repository.clone(), digest })
        } else {
            let (registries, reference) = (registries.clone(), from.clone());
            Box::new(RemoteSource { registries, reference, digest, size })
        };
        mount_from.extend(neighbours.iter().cloned());
        self.shared.add(Job { digest, size, source, mount_from, is_part: true });
    }

    /// Sends a document that is going to be attached to the image, while there is other work. Whether it arrived shows when it
    /// is attached; here a failure means nothing.
    pub fn ahead(&self, document: &[u8]) {
        let source = Box::new(BytesSource(document.into()));
        let (digest, size) = (Digest::of(document), document.len() as u64);
        self.shared.add(Job { digest, size, source, mount_from: Vec::new(), is_part: false });
    }

    /// Ends an upload of blobs whose manifests somebody else pushes. Returns how many bytes were sent, were there, and were
    /// mounted.
    pub fn finish_blobs(mut self) -> Result<(u64, u64, u64), Error> {
        self.settle()?;
        self.close();
        let outcomes = std::mem::take(&mut lock(&self.shared.queue).outcomes);
        let sum = |wanted: BlobOutcome| {
            outcomes.values().filter(|(outcome, _)| *outcome == wanted).map(|(_, size)| size).sum::<u64>()
        };
        Ok((sum(BlobOutcome::Sent), sum(BlobOutcome::Present), sum(BlobOutcome::Mounted)))
    }

    /// Opens a stream for a layer that is about to be made. None if the registry does not take such: then it is to be given to
    /// [`Upload::layer`], which also tells what is wrong with a registry that takes nothing.
    pub fn open(&self) -> Option<LayerStream> {
        let shared = Arc::clone(&self.shared);
        if shared.refuses_streams.load(Ordering::Relaxed) {
            return None;
        }
        let listener = Arc::clone(&shared);
        let meter = Meter::new(move |bytes| {
            listener.task.lengthen(bytes);
            listener.task.advance(bytes);
        });
        let blob = shared.registries.stream_blob(&shared.repository, meter).ok()?;
        Some(LayerStream { shared, blob })
    }

    /// Waits until everything that was given so far is there, or tells the first failure.
    ///
    /// # Panics
    /// If a worker did.
    pub fn settle(&self) -> Result<(), Error> {
        let mut queue = lock(&self.shared.queue);
        while queue.failure.is_none() && (queue.running > 0 || !queue.waiting.is_empty()) {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        assert!(!queue.panicked, "a worker of the push panicked");
        queue.failure.take().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Completes the push: the blobs of these images that were not given yet, then manifests, then tags. Several platforms are
    /// joined by an index, in the order given.
    pub fn publish(mut self, images: &[AssembledImage]) -> Result<Published, Error> {
        if images.is_empty() {
            return Err(Error::Nothing);
        }
        self.send(images)?;
        let tags = match self.name(images) {
            // Something that an earlier image of the repository names is gone.
            Err(Error::Registry(error)) if error.lacks_a_blob() => {
                self.shared.registries.forget_blobs(&self.shared.repository)?;
                lock(&self.shared.queue).seen.clear();
                self.send(images)?;
                self.name(images)
            }
            named => named,
        }?;
        self.close();

        let Shared { store, repository: target, .. } = &*self.shared;
        places::remember(store, target, images);
        for image in images {
            // The next push from here looks at this one first. Without it the config is fetched.
            let (mut config, size) = (image.config.as_slice(), image.config.len() as u64);
            let _ = store.insert("a config", &mut config, &image.config_digest(), Some(size), &mut |_| {});
        }
        let digest = Layout::digest_of(images);
        let (registry, repository) = (target.registry().to_owned(), target.repository().to_owned());
        let outcomes = std::mem::take(&mut lock(&self.shared.queue).outcomes);
        let of = |wanted: BlobOutcome| outcomes.values().filter(move |(outcome, _)| *outcome == wanted);
        let sum = |wanted: BlobOutcome| of(wanted).map(|(_, size)| size).sum::<u64>();
        let published = Published {
            reference: match tags.first() {
                Some(tag) => Reference::with_tag_and_digest(registry, repository, tag.clone(), digest.to_string()),
                None => Reference::with_digest(registry, repository, digest.to_string()),
            },
            bytes_sent: sum(BlobOutcome::Sent),
            bytes_skipped: sum(BlobOutcome::Present),
            bytes_mounted: sum(BlobOutcome::Mounted),
            layers_mounted: of(BlobOutcome::Mounted).count(),
            attached: Vec::new(),
        };
        let not_sent = published.bytes_skipped + published.bytes_mounted;
        let (sent, not_sent) = (human_bytes(published.bytes_sent), human_bytes(not_sent));
        let summary = format!("pushed `{}`: {sent} sent, {not_sent} already there", published.reference);
        self.shared.task.end(summary);
        Ok(published)
    }

    /// Sends what is left of the images' blobs, and waits until all are there.
    fn send(&self, images: &[AssembledImage]) -> Result<(), Error> {
        images.iter().flat_map(|image| &image.layers).for_each(|layer| self.layer(layer));
        for image in images {
            let source = Box::new(BytesSource(image.config.as_slice().into()));
            let (digest, size) = (image.config_digest(), image.config.len() as u64);
            self.shared.add(Job { digest, size, source, mount_from: Vec::new(), is_part: true });
        }
        self.settle()
    }

    /// Writes the manifests, then the tags, which are returned.
    fn name(&self, images: &[AssembledImage]) -> Result<Vec<String>, Error> {
        let Shared { registries, repository: target, .. } = &*self.shared;
        let (registry, repository) = (target.registry().to_owned(), target.repository().to_owned());
        let by_digest =
            |digest: &Digest| Reference::with_digest(registry.clone(), repository.clone(), digest.to_string());
        if images.len() > 1 {
            for image in images {
                registries.push_manifest(&by_digest(&image.digest()), &image.manifest_media_type, &image.manifest)?;
            }
        }
        let (media_type, manifest) = top(images);
        let digest = Digest::of(&manifest);
        let mut tags = with_digest(&self.tags, &digest);
        for tag in with_digest(&self.immutable_tags, &digest) {
            let reference = Reference::with_tag(registry.clone(), repository.clone(), tag.clone());
            match registries.manifest_digest(&reference)? {
                Some(found) if found != digest => {
                    return Err(Error::Immutable { reference: reference.whole(), found, digest });
                }
                // Set already.
                Some(_) => {}
                None => tags.push(tag),
            }
        }
        for tag in &tags {
            let reference = Reference::with_tag(registry.clone(), repository.clone(), tag.clone());
            registries.push_manifest(&reference, media_type, &manifest)?;
        }
        if tags.is_empty() {
            registries.push_manifest(&by_digest(&digest), media_type, &manifest)?;
        }
        Ok(tags)
    }

    /// Lets the workers go: after what they are at, if there is more.
    fn close(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // What a worker panicked with was printed, and `settle` passes it on.
            let _ = worker.join();
        }
    }
}

impl LayerStream {
    /// The layer is whole: its digest, and the bytes that were written. Where it is from now on. After a failure no further
    /// layer is taken in this way.
    pub fn finish(self, digest: Digest, size: u64) -> Result<LayerSource, registry::Error> {
        let Self { shared, blob } = self;
        match blob.finish(&digest) {
            Ok(()) => {
                let mut queue = lock(&shared.queue);
                queue.seen.insert(digest);
                queue.outcomes.insert(digest, (BlobOutcome::Sent, size));
                drop(queue);
                Ok(LayerSource::Registry(shared.repository.clone()))
            }
            Err(error) => {
                shared.refuses_streams.store(true, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

impl Write for LayerStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.blob.write(bytes);
        if written.is_err() {
            self.shared.refuses_streams.store(true, Ordering::Relaxed);
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

/// A layer that was taken to be in the repository, where its bytes are wanted.
struct LostSource {
    repository: Reference,
    digest: Digest,
}

impl BlobSource for LostSource {
    fn open(&self, _offset: u64) -> Result<Box<dyn io::Read + Send>, registry::Error> {
        let (registry, repository) = (self.repository.registry().to_owned(), self.repository.repository().to_owned());
        Err(registry::Error::Lost { registry, repository, digest: self.digest })
    }
}

/// A job that a worker is at. It counts as done even if the worker panics, so that nobody waits for ever.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.running -= 1;
        queue.panicked |= std::thread::panicking();
        drop(queue);
        self.0.changed.notify_all();
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn add(&self, job: Job) {
        let mut queue = lock(&self.queue);
        if queue.seen.insert(job.digest) {
            self.task.lengthen(job.size);
            queue.waiting.push_back(job);
            drop(queue);
            self.changed.notify_all();
        }
    }

    /// Takes jobs until the upload is closed; after the first failure no further one is begun.
    fn work(self: &Arc<Self>) {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed || queue.failure.is_some() {
                return;
            }
            let Some(job) = queue.waiting.pop_front() else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.running += 1;
            drop(queue);
            let running = Running(self);
            let outcome = self.push(&job);
            queue = lock(&self.queue);
            match outcome {
                _ if !job.is_part => {}
                // Of a blob that was looked at twice counts what was done with it.
                Ok(BlobOutcome::Present) => {
                    queue.outcomes.entry(job.digest).or_insert((BlobOutcome::Present, job.size));
                }
                Ok(outcome) => drop(queue.outcomes.insert(job.digest, (outcome, job.size))),
                Err(error) => drop(queue.failure.get_or_insert(error)),
            }
            drop(queue);
            drop(running);
            queue = lock(&self.queue);
        }
    }

    fn push(self: &Arc<Self>, job: &Job) -> Result<BlobOutcome, registry::Error> {
        let blob = Blob { digest: job.digest, size: job.size, source: job.source.as_ref() };
        let mount_from: Vec<&str> = job.mount_from.iter().map(String::as_str).collect();
        let shared = Arc::clone(self);
        let meter = Meter::new(move |bytes| shared.task.advance(bytes));
        let outcome = self.registries.push_blob(&self.repository, blob, &mount_from, &meter)?;
        if outcome != BlobOutcome::Sent {
            self.task.advance(job.size);
        }
        Ok(outcome)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
