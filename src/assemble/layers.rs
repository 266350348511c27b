//! Layers on disk: built once, remembered by what they are made of.
//!
//! A layer's key is the text of everything that decides its bytes. The store remembers digest, diff_id and size of a key;
//! if a layout still has that blob, or a registry does, nothing is built. Otherwise the layer streams to the registry it is
//! meant for ([`Outlet`]), or into a temporary file beside the blobs, which gets its digest as its name. A key that leads to other bytes than before is a defect of this program, and fatal:
//! whoever relies on a digest must hear of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use super::byte_code::{self, Release};
use super::layer::{self, LayerWriter};
use super::outlet::{Outlet, Sink};
use super::published::Published;
use super::wheel::Site;
use super::{environment, files, wheel};
use crate::diagnostic::Hint;
use crate::lock::{LAYER_FORMAT, LockedDeb, LockedWheel};
use crate::oci::{Compression, DiffId, Digest, LayerSource, Platform};
use crate::store::{self, Store, Unfinished};

/// Kind of the store's facts about layers.
const FACTS: &str = "layers";
/// The layers' writer: buffered, because headers and trailers are small.
pub type FileLayerWriter = LayerWriter<BufWriter<Sink>>;
/// Bytes that are written at once.
const BUFFER: usize = 1 << 18;
/// Layers on their way to an outlet at one time, at least: a connection may be slower than a processor.
const STREAMS: usize = 4;

/// Why a layer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The layer's bytes could not be written.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The environment or the user cannot be made.
    #[error(transparent)]
    Environment(#[from] environment::Error),
    /// A wheel cannot be installed.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),
    /// Modules cannot be compiled.
    #[error(transparent)]
    ByteCode(#[from] byte_code::Error),
    /// Project files cannot be copied.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The cache failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Another step's own error, from the closure of a [`Job`].
    #[error("{0}")]
    Other(Box<dyn Hint>),
    /// The layout's folder could not be written.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// The step that failed, as a verb phrase.
        action: &'static str,
        /// File or folder concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The same inputs gave other bytes than an earlier build.
    #[error("the layer `{key}` was {remembered} and is now {built}, although its inputs are the same")]
    NotReproducible {
        /// The key.
        key: String,
        /// What the store remembers.
        remembered: Digest,
        /// What came out.
        built: Digest,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Environment(error) => error.help(),
            Self::Wheel(error) => error.help(),
            Self::ByteCode(error) => error.help(),
            Self::Files(error) => error.help(),
            Self::Other(error) => error.help(),
            Self::NotReproducible { .. } => vec![
                "this is a defect of imgforge: please report it with the lock".to_owned(),
                "`imgforge cache prune` forgets the earlier build".to_owned(),
            ],
            Self::Store(error) => error.help(),
            Self::Io { source, .. } => store::help_for_output(source),
            Self::Layer(_) => Vec::new(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Other(error) => error.notes(),
            Self::ByteCode(error) => error.notes(),
            _ => Vec::new(),
        }
    }
}

impl Error {
    /// What kept the layer from being written to its destination, if that did, whatever was to go into it.
    fn of_destination(self) -> Result<io::Error, Self> {
        use layer::Error::Write;
        match self {
            Self::Layer(Write(source))
            | Self::Environment(environment::Error::Layer(Write(source)))
            | Self::Files(files::Error::Layer(Write(source)))
            | Self::ByteCode(byte_code::Error::Layer(Write(source)))
            | Self::Wheel(wheel::Error { problem: wheel::Problem::Layer(Write(source)), .. }) => Ok(source),
            other => Err(other),
        }
    }

    /// If the layer's file could not be written: where that was.
    fn written_into(self, folder: &Path) -> Self {
        let io_error = |source| Self::Io { action: "write a layer into", path: folder.to_owned(), source };
        self.of_destination().map_or_else(|other| other, io_error)
    }
}

/// What a layer holds, as its annotation says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The base itself.
    Base,
    /// Packages of the operating system, and the user.
    Os,
    /// The empty virtual environment.
    Python,
    /// Wheels.
    Wheels,
    /// Project files.
    Files,
}

impl Kind {
    /// How much longer a byte of its inputs takes than a byte of a wheel: packages are compressed anew.
    pub fn effort(self) -> u64 {
        match self {
            Self::Base | Self::Os => 4,
            Self::Python | Self::Wheels | Self::Files => 1,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Os => "os",
            Self::Python => "python",
            Self::Wheels => "wheels",
            Self::Files => "files",
        })
    }
}

/// Everything that decides a layer's bytes, as one line of text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerKey {
    kind: Kind,
    text: String,
}

impl LayerKey {
    /// A key of named values and of the digests of the inputs, in an order that the caller fixes. The layer format and the
    /// time of all entries are added here.
    pub fn new(kind: Kind, modified: u64, values: &[(&str, &str)], inputs: impl IntoIterator<Item = Digest>) -> Self {
        let mut text = format!("{kind} format={LAYER_FORMAT} modified={modified}");
        for (name, value) in values {
            text.push_str(&format!(" {name}={}", value.escape_default()));
        }
        for input in inputs {
            text.push_str(&format!(" {input}"));
        }
        Self { kind, text }
    }

    /// Of the packages that make up a base.
    pub fn base(suite: &str, platform: Platform, debs: &[LockedDeb], modified: u64) -> Self {
        let platform = platform.to_string();
        let values = [("suite", suite), ("platform", platform.as_str())];
        Self::new(Kind::Base, modified, &values, debs.iter().map(|deb| deb.digest))
    }

    /// Of packages on top of a base image.
    pub fn system(base: &Digest, debs: &[LockedDeb], modified: u64) -> Self {
        Self::new(Kind::Os, modified, &[("base", &base.to_string())], debs.iter().map(|deb| deb.digest))
    }

    /// Of [`wheel::write_wheels`]. The order of `wheels` does not matter.
    pub fn wheels<'w>(wheels: impl IntoIterator<Item = &'w LockedWheel>, site: &Site, modified: u64) -> Self {
        let python = site.python.to_string();
        let values = [("prefix", site.prefix.as_str()), ("python", python.as_str())];
        Self::new(Kind::Wheels, modified, &values, by_file(wheels))
    }

    /// Of [`byte_code::write_byte_code`] by this release. The order of `wheels` does not matter.
    pub fn byte_code<'w>(
        wheels: impl IntoIterator<Item = &'w LockedWheel>,
        site: &Site,
        release: &Release,
        modified: u64,
    ) -> Self {
        let values = [("prefix", site.prefix.as_str()), ("byte-code", release.text.as_str())];
        Self::new(Kind::Wheels, modified, &values, by_file(wheels))
    }

    /// Of [`environment::write_environment`].
    pub fn environment(interpreter: &str, site: &Site, modified: u64) -> Self {
        let python = site.python.to_string();
        let values = [("prefix", site.prefix.as_str()), ("python", python.as_str()), ("interpreter", interpreter)];
        Self::new(Kind::Python, modified, &values, [])
    }

    /// Of [`environment::write_user`]. The account files that it adds to follow from `below`: the address of the base image,
    /// or of the key of the packages that make up the base.
    pub fn user(name: &str, workdir: &str, below: &Digest, modified: u64) -> Self {
        let below = below.to_string();
        Self::new(Kind::Os, modified, &[("user", name), ("workdir", workdir), ("below", &below)], [])
    }

    /// Of [`files::Collection::write`] for a user; `digest` is the collection's, `below` as in [`Self::user`].
    pub fn files(digest: Digest, user: &str, below: &Digest, modified: u64) -> Self {
        Self::new(Kind::Files, modified, &[("user", user), ("below", &below.to_string())], [digest])
    }

    /// Adds how the layer is packed, unless that is as usual.
    pub fn packed(&mut self, compression: Compression) {
        if !compression.is_default() {
            self.text.push_str(&format!(" compression={compression}"));
        }
    }

    /// What the layer holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// Digests of wheels in the order of their file names.
fn by_file<'w>(wheels: impl IntoIterator<Item = &'w LockedWheel>) -> Vec<Digest> {
    let mut inputs: Vec<(&str, Digest)> = wheels.into_iter().map(|wheel| (wheel.file.as_str(), wheel.digest)).collect();
    inputs.sort_unstable();
    inputs.into_iter().map(|(_, digest)| digest).collect()
}

impl fmt::Display for LayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What writes a layer's entries, each time the same.
pub type Build<'a> = Box<dyn Fn(&mut FileLayerWriter) -> Result<(), Error> + Send + 'a>;

/// A layer to be made.
pub struct Job<'a> {
    /// Everything that decides its bytes.
    pub key: LayerKey,
    /// Bytes of its inputs, so that the longest work starts first.
    pub weight: u64,
    /// Time of all entries, in seconds since 1970.
    pub modified: u64,
    /// How it is packed.
    pub compression: Compression,
    /// Writes the entries.
    pub build: Build<'a>,
}

/// Makes layers in a layout's folder of blobs, or finds them there.
#[derive(Debug, Clone)]
pub struct LayerCache<'a> {
    store: &'a Store,
    folder: PathBuf,
    others: Vec<PathBuf>,
    outlet: Option<&'a dyn Outlet>,
}

/// A layer that exists.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it is.
    pub known: KnownLayer,
    /// Where its bytes are.
    pub source: LayerSource,
}

/// A layer as the store remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownLayer {
    /// sha256 of the compressed bytes.
    pub digest: Digest,
    /// sha256 of the plain tar.
    pub diff_id: DiffId,
    /// Number of compressed bytes.
    pub size: u64,
    /// sha256 of the table of contents, which gzip layers have.
    pub toc: Option<Digest>,
}

impl<'a> LayerCache<'a> {
    /// Layers go to `folder`, the `blobs/sha256` of a layout, which must exist.
    pub fn new(store: &'a Store, folder: &Path) -> Self {
        Self { store, folder: folder.to_owned(), others: Vec::new(), outlet: None }
    }

    /// Folders of other layouts on this machine, whose layers are linked instead of made again: the images of one stack
    /// share a base.
    #[must_use]
    pub fn beside(mut self, others: &[PathBuf]) -> Self {
        self.others = others.to_vec();
        self
    }

    /// Layers that are made go to `outlet`, as far as it takes them.
    #[must_use]
    pub fn through(mut self, outlet: &'a dyn Outlet) -> Self {
        self.outlet = Some(outlet);
        self
    }

    /// What an earlier build made of this key, whether or not the bytes are still anywhere.
    pub fn recall(&self, key: &LayerKey) -> Option<KnownLayer> {
        let fact = self.store.recall(FACTS, &key.text)?;
        let mut words = fact.split_whitespace();
        let known = KnownLayer {
            digest: words.next()?.parse().ok()?,
            diff_id: words.next()?.parse().ok()?,
            size: words.next()?.parse().ok()?,
            toc: words.next().map(str::parse).transpose().ok()?,
        };
        Some(known)
    }

    /// The layer of this key, if it need not be made: in the layout, in another one on this machine, or in a registry.
    pub fn find(&self, key: &LayerKey, published: &Published) -> Option<Found> {
        let here = self.recall(key).and_then(|known| {
            let blob = self.folder.join(known.digest.hex());
            let whole = |path: &Path| self.store.is_whole(path, &known.digest, known.size).unwrap_or(false);
            let other = |folder: &PathBuf| Some(folder.join(known.digest.hex())).filter(|path| whole(path));
            let found = whole(&blob)
                || self.others.iter().filter_map(other).any(|path| std::fs::hard_link(path, &blob).is_ok());
            found.then_some(Found { known, source: LayerSource::File(blob) })
        });
        here.or_else(|| published.layer(key))
    }

    /// Makes one layer, whether or not it exists.
    pub fn make(&self, job: &Job<'_>) -> Result<Found, Error> {
        match self.send(job)? {
            Some(found) => Ok(found),
            None => self.build(job),
        }
    }

    /// Makes layers side by side, and returns them in the order of the jobs; `made` hears of each as soon as it is whole,
    /// with its position. Of several failures the first job's is returned, so that the message does not depend on timing;
    /// work that has not begun by then is left.
    pub fn make_all(&self, jobs: Vec<Job<'_>>, made: &(dyn Fn(usize, &Found) + Sync)) -> Result<Vec<Found>, Error> {
        let mut queue: Vec<(usize, Job<'_>)> = jobs.into_iter().enumerate().collect();
        let count = queue.len();
        // Taken from the end.
        queue.sort_by_key(|(index, job)| (job.weight, std::cmp::Reverse(*index)));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers = if self.outlet.is_some() { processors.max(STREAMS) } else { processors }.min(count);
        let queue = Mutex::new(queue);
        let done = Mutex::new(BTreeMap::new());
        let failures = Mutex::new(BTreeMap::new());
        // A function of its own, so that the lock is let go before the work.
        let next = || lock(&queue).pop();
        let work = || {
            while let Some((index, job)) = next() {
                match self.make(&job) {
                    Ok(layer) => {
                        made(index, &layer);
                        lock(&done).insert(index, layer);
                    }
                    Err(error) => {
                        lock(&failures).insert(index, error);
                        // Jobs before this one may have the failure to report.
                        lock(&queue).retain(|(other, _)| *other < index);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(work);
            }
            work();
        });
        match lock(&failures).pop_first() {
            Some((_, error)) => Err(error),
            None => Ok(std::mem::take(&mut *lock(&done)).into_values().collect()),
        }
    }

    /// Makes a layer straight into the outlet; none if there is none, or if the layer did not arrive.
    fn send(&self, job: &Job<'_>) -> Result<Option<Found>, Error> {
        let Some(outflow) = self.outlet.and_then(Outlet::open) else { return Ok(None) };
        let written = job.write(Sink::Outflow(outflow));
        let (known, sink) = match written.map_err(Error::of_destination) {
            Ok(written) => written,
            Err(Ok(_)) => return Ok(None),
            Err(Err(error)) => return Err(error),
        };
        self.check(&job.key, known)?;
        let source = match sink {
            Sink::Outflow(outflow) => outflow.close(known.digest, known.size),
            Sink::File(_) => None,
        };
        let Some(source) = source else { return Ok(None) };
        self.remember(&job.key, known)?;
        Ok(Some(Found { known, source }))
    }

    fn build(&self, job: &Job<'_>) -> Result<Found, Error> {
        let io_error = |action| move |source| Error::Io { action, path: self.folder.clone(), source };
        let unfinished = Unfinished::create(&self.folder).map_err(io_error("create a file in"))?;
        let file = unfinished.file().try_clone().map_err(io_error("open a file in"))?;
        let (known, _) = job.write(Sink::File(file)).map_err(|error| error.written_into(&self.folder))?;
        self.check(&job.key, known)?;
        store::make_readable(unfinished.path()).map_err(io_error("set the mode of a file in"))?;
        let path = self.folder.join(known.digest.hex());
        unfinished.keep(&path).map_err(io_error("write into"))?;
        self.store.remember_whole(&path, &known.digest)?;
        self.remember(&job.key, known)?;
        Ok(Found { known, source: LayerSource::File(path) })
    }

    /// Whether an earlier build had the same outcome, if there was one.
    fn check(&self, key: &LayerKey, known: KnownLayer) -> Result<(), Error> {
        match self.recall(key).filter(|remembered| *remembered != known) {
            Some(KnownLayer { digest: remembered, .. }) => {
                Err(Error::NotReproducible { key: key.text.clone(), remembered, built: known.digest })
            }
            None => Ok(()),
        }
    }

    fn remember(&self, key: &LayerKey, known: KnownLayer) -> Result<(), Error> {
        let KnownLayer { digest, diff_id, size, toc } = known;
        let toc = toc.map(|toc| format!(" {toc}")).unwrap_or_default();
        Ok(self.store.remember(FACTS, &key.text, &format!("{digest} {diff_id} {size}{toc}"))?)
    }
}

impl Job<'_> {
    /// Writes the whole layer.
    fn write(&self, sink: Sink) -> Result<(KnownLayer, Sink), Error> {
        let sink = BufWriter::with_capacity(BUFFER, sink);
        let mut layer = LayerWriter::new(sink, self.modified, self.compression).map_err(layer::Error::from)?;
        (self.build)(&mut layer)?;
        let layer::Finished { digest, diff_id, size, toc, sink } = layer.finish()?;
        let sink = sink.into_inner().map_err(|error| layer::Error::from(error.into_error()))?;
        Ok((KnownLayer { digest, diff_id, size, toc }, sink))
    }
}

/// A poisoned lock means that another worker panicked, which the scope passes on; the data is still whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::outlet::Outflow;
    use super::super::tar::Owner;
    use super::*;

    struct World {
        folder: tempfile::TempDir,
        store: Store,
        blobs: PathBuf,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let blobs = folder.path().join("blobs");
        fs::create_dir(&blobs).expect("a folder");
        World { store: Store::open(&folder.path().join("cache")), blobs, folder }
    }

    /// A layer with one file, whose content is `content` whatever the key says.
    fn job<'a>(name: &'a str, content: &'a str, built: &'a AtomicUsize) -> Job<'a> {
        let build = move |layer: &mut FileLayerWriter| {
            built.fetch_add(1, Ordering::Relaxed);
            layer.file_bytes(name, 0o644, Owner::ROOT, content.as_bytes())?;
            Ok(())
        };
        let compression = Compression::Gzip;
        Job { key: key(name), weight: 0, modified: 0, compression, build: Box::new(build) }
    }

    fn key(name: &str) -> LayerKey {
        LayerKey::new(Kind::Files, 0, &[("name", name)], [])
    }

    #[test]
    fn a_layer_that_somebody_wrote_to_is_made_again() {
        let world = world();
        let built = AtomicUsize::new(0);
        let cache = LayerCache::new(&world.store, &world.blobs);
        let made = cache.make(&job("a", "1", &built)).expect("a layer");
        let find = || cache.find(&key("a"), &Published::default());
        let path = path_of(&made);
        let (bytes, modified) = (fs::read(&path).expect("a file"), path.metadata().expect("a file").modified());
        let modified = modified.expect("a time");
        let write = |bytes: &[u8], seconds: u64| {
            fs::write(&path, bytes).expect("written");
            let file = fs::File::options().write(true).open(&path).expect("a file");
            file.set_modified(modified + Duration::from_secs(seconds)).expect("a time");
        };
        let mut other = bytes.clone();
        other[20] ^= 1;
        // Nothing is read while nothing says that somebody wrote to it.
        write(&other, 0);
        assert!(find().is_some());
        write(&other, 1);
        assert!(find().is_none());
        write(&bytes, 2);
        assert!(find().is_some(), "the same bytes at another time");
        write(&other, 3);
        let again = cache.make(&job("a", "1", &built)).expect("a layer");
        assert_eq!(again.known, made.known);
        assert_eq!(fs::read(&path).expect("a file"), bytes);
        assert!(find().is_some());
    }

    fn path_of(found: &Found) -> PathBuf {
        match &found.source {
            LayerSource::File(path) => path.clone(),
            LayerSource::Registry(reference) => panic!("in {reference}"),
        }
    }

    /// A registry as far as layers know it.
    #[derive(Debug, Default)]
    struct Elsewhere {
        /// Bytes after which a write fails.
        room: Option<usize>,
        /// Whether layers do not arrive although every byte was taken.
        loses: bool,
        arrived: Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>,
    }

    struct OnTheWay {
        room: usize,
        loses: bool,
        bytes: Vec<u8>,
        arrived: Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>,
    }

    impl Outlet for Elsewhere {
        fn open(&self) -> Option<Box<dyn Outflow>> {
            let (room, loses) = (self.room.unwrap_or(usize::MAX), self.loses);
            Some(Box::new(OnTheWay { room, loses, bytes: Vec::new(), arrived: Arc::clone(&self.arrived) }))
        }
    }

    impl io::Write for OnTheWay {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.bytes.len() + bytes.len() > self.room {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Outflow for OnTheWay {
        fn close(self: Box<Self>, digest: Digest, size: u64) -> Option<LayerSource> {
            assert_eq!((Digest::of(&self.bytes), self.bytes.len() as u64), (digest, size));
            if self.loses {
                return None;
            }
            lock(&self.arrived).insert(digest, self.bytes);
            Some(LayerSource::Registry("registry.test/a:1".parse().expect("a reference")))
        }
    }

    #[test]
    fn a_layer_that_arrives_elsewhere_leaves_no_file() {
        let world = world();
        let elsewhere = Elsewhere::default();
        let built = AtomicUsize::new(0);
        let cache = LayerCache::new(&world.store, &world.blobs).through(&elsewhere);
        let made = cache.make(&job("a", "1", &built)).expect("a layer");
        assert!(matches!(made.source, LayerSource::Registry(_)));
        assert!(lock(&elsewhere.arrived).contains_key(&made.known.digest));
        assert_eq!(cache.recall(&key("a")), Some(made.known));
        assert_eq!(fs::read_dir(&world.blobs).expect("a folder").count(), 0);
        assert_eq!(built.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_layer_that_does_not_arrive_becomes_a_file() {
        for elsewhere in
            [Elsewhere { loses: true, ..Elsewhere::default() }, Elsewhere { room: Some(10), ..Elsewhere::default() }]
        {
            let world = world();
            let built = AtomicUsize::new(0);
            let cache = LayerCache::new(&world.store, &world.blobs).through(&elsewhere);
            let made = cache.make(&job("a", "1", &built)).expect("a layer");
            assert_eq!(store::digest_file(&path_of(&made)).expect("the blob"), (made.known.digest, made.known.size));
            assert_eq!(built.load(Ordering::Relaxed), 2);
        }
    }

    #[test]
    fn what_cannot_be_made_is_not_tried_again_into_a_file() {
        let world = world();
        let elsewhere = Elsewhere::default();
        let build = |layer: &mut FileLayerWriter| {
            layer.file_bytes("../x", 0o644, Owner::ROOT, b"")?;
            Ok(())
        };
        let job = Job { key: key("a"), weight: 0, modified: 0, compression: Compression::Gzip, build: Box::new(build) };
        let cache = LayerCache::new(&world.store, &world.blobs).through(&elsewhere);
        let error = cache.make(&job).expect_err("a failure");
        assert!(matches!(error, Error::Layer(layer::Error::Path { .. })), "{error}");
        assert!(lock(&elsewhere.arrived).is_empty());
    }

    #[test]
    fn a_layer_that_was_made_is_found() {
        let world = world();
        let cache = LayerCache::new(&world.store, &world.blobs);
        let nothing = Published::default();
        let built = AtomicUsize::new(0);
        assert!(cache.find(&key("a"), &nothing).is_none());
        let made = cache.make(&job("a", "1", &built)).expect("a layer");
        assert_eq!(key("a").to_string(), "files format=6 modified=0 name=a");
        let found = cache.find(&key("a"), &nothing).expect("found");
        assert_eq!((found.known, path_of(&found)), (made.known, path_of(&made)));
        let known = made.known;
        assert_eq!(store::digest_file(&path_of(&made)).expect("the blob"), (known.digest, known.size));

        fs::remove_file(path_of(&made)).expect("removed");
        assert!(cache.find(&key("a"), &nothing).is_none());
        assert_eq!(cache.recall(&key("a")), Some(known));
        assert_eq!(cache.make(&job("a", "1", &built)).expect("a layer").known, known);
        assert_eq!(built.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_layer_of_another_layout_is_linked() {
        use std::os::unix::fs::MetadataExt as _;
        let world = world();
        let built = AtomicUsize::new(0);
        let first = LayerCache::new(&world.store, &world.blobs).make(&job("a", "1", &built)).expect("a layer");
        let second = tempfile::tempdir_in(world.folder.path()).expect("a folder");
        let cache = LayerCache::new(&world.store, second.path()).beside(std::slice::from_ref(&world.blobs));
        let found = cache.find(&key("a"), &Published::default()).expect("found");
        assert_eq!(found.known, first.known);
        assert_eq!(path_of(&found), second.path().join(first.known.digest.hex()));
        let inode = |path: PathBuf| fs::metadata(path).expect("the blob").ino();
        assert_eq!(inode(path_of(&first)), inode(path_of(&found)));
    }

    #[test]
    fn other_bytes_for_the_same_key_are_a_defect() {
        let world = world();
        let cache = LayerCache::new(&world.store, &world.blobs);
        let built = AtomicUsize::new(0);
        let first = cache.make(&job("a", "1", &built)).expect("a layer");
        fs::remove_file(path_of(&first)).expect("removed");
        let error = cache.make(&job("a", "2", &built)).expect_err("a defect");
        assert!(
            matches!(error, Error::NotReproducible { remembered, .. } if remembered == first.known.digest),
            "{error}"
        );
        assert_eq!(fs::read_dir(&world.blobs).expect("a folder").count(), 0);
    }

    #[test]
    fn layers_come_in_the_order_of_their_jobs_and_the_first_failure_is_told() {
        let first = world();
        let names: Vec<String> = (0..20).map(|number| format!("file{number:02}")).collect();
        let jobs = |bad: &[usize]| -> Vec<Job<'_>> {
            let with_weight = |(index, name): (usize, &String)| {
                let path = if bad.contains(&index) { format!("../x{index}") } else { "x".to_owned() };
                let content = name.clone();
                let build = move |layer: &mut FileLayerWriter| {
                    layer.file_bytes(&path, 0o644, Owner::ROOT, content.as_bytes())?;
                    Ok(())
                };
                let (weight, compression) = (index as u64 % 7, Compression::Gzip);
                Job { key: key(name), weight, modified: 0, compression, build: Box::new(build) }
            };
            names.iter().enumerate().map(with_weight).collect()
        };
        let heard = Mutex::new(BTreeMap::new());
        let hear = |position: usize, found: &Found| {
            lock(&heard).insert(position, found.known.digest);
        };
        let layers = LayerCache::new(&first.store, &first.blobs).make_all(jobs(&[]), &hear).expect("layers");
        let expected: Vec<Digest> = names
            .iter()
            .map(|name| LayerCache::new(&first.store, &first.blobs).recall(&key(name)).expect("known").digest)
            .collect();
        assert_eq!(layers.iter().map(|found| found.known.digest).collect::<Vec<_>>(), expected);
        assert_eq!(lock(&heard).values().copied().collect::<Vec<_>>(), expected);

        let fresh = world();
        let cache = LayerCache::new(&fresh.store, &fresh.blobs);
        let error = cache.make_all(jobs(&[15, 3, 9]), &|_, _| {}).expect_err("failures");
        assert!(matches!(error, Error::Layer(layer::Error::Path { path, .. }) if path == "../x3"));
    }
}
