//! One fetch per thing, however many threads want it, and the threads that fetch early.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::{Error, Inner, Likely};

/// Background requests at a time. They wait for the network, not for a processor.
const WORKERS: usize = 24;

type Slot<V> = Arc<OnceLock<Result<V, Error>>>;

/// Answers by key, each found out once; an answer under way is waited for.
pub(super) struct Flights<K, V>(Mutex<HashMap<K, Slot<V>>>);

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone> Flights<K, V> {
    /// The answer, found out by `work` if nobody has begun to.
    pub(super) fn get(&self, key: K, work: impl FnOnce() -> Result<V, Error>) -> Result<V, Error> {
        let slot = lock(&self.0).entry(key).or_default().clone();
        slot.get_or_init(work).clone()
    }

    /// Whether the answer is known or under way.
    pub(super) fn knows(&self, key: &K) -> bool {
        lock(&self.0).contains_key(key)
    }
}

/// A page to fetch early, and which METADATA then.
pub(super) struct Job {
    pub(super) index: String,
    pub(super) name: String,
    pub(super) likely: Likely,
}

/// Threads that fetch early; they end when the client is dropped, which closes their queue.
pub(super) struct Workers {
    queue: Mutex<Sender<Job>>,
    source: Arc<Mutex<Receiver<Job>>>,
    started: Mutex<usize>,
}

impl Default for Workers {
    fn default() -> Self {
        let (queue, source) = channel();
        Self { queue: Mutex::new(queue), source: Arc::new(Mutex::new(source)), started: Mutex::new(0) }
    }
}

impl Workers {
    /// Queues a job and starts one more thread if there are few. Without threads the job is simply not done early.
    pub(super) fn submit(&self, job: Job, inner: &Arc<Inner>) {
        let _ = lock(&self.queue).send(job);
        let mut started = lock(&self.started);
        if *started < WORKERS {
            let (source, inner) = (self.source.clone(), Arc::downgrade(inner));
            let thread = std::thread::Builder::new().name("index".to_owned());
            if thread.spawn(move || work(&source, &inner)).is_ok() {
                *started += 1;
            }
        }
    }
}

fn work(source: &Mutex<Receiver<Job>>, inner: &Weak<Inner>) {
    loop {
        // The guard is gone before the job runs, so the other threads can take theirs.
        let received = lock(source).recv();
        let (Ok(job), Some(inner)) = (received, inner.upgrade()) else { return };
        if let Ok(Some(project)) = inner.project(&job.index, &job.name)
            && let Some(file) = (job.likely)(&project)
        {
            drop(inner.wheel_metadata(&job.index, &file));
        }
    }
}

/// The values behind our locks are whole at every moment, so another thread's panic does not spoil them.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
