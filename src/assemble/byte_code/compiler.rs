//! Modules compiled side by side: a few interpreters, each fed by a thread of its own, shared by all layers.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use super::interpreter::{Interpreter, Release, Worker};
use super::{Error, marshal};

/// Of the files' header (PEP 552): the file is trusted by the hash of its source, and nobody checks the hash.
const UNCHECKED_HASH: [u8; 4] = [1, 0, 0, 0];
/// Bytes of a thread's stack: code may be nested as deep as CPython writes it.
pub(super) const STACK: usize = 8 << 20;

/// A module to be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// Absolute path of the source in the image.
    pub(super) path: String,
    pub(super) source: Vec<u8>,
}

type Compiled = Result<Option<Vec<u8>>, Error>;

struct Task {
    place: usize,
    module: Module,
    reply: mpsc::Sender<(usize, Compiled)>,
}

/// Compiles modules for the images of one release.
#[derive(Debug)]
pub struct Compiler {
    release: Release,
    /// Closed to end the threads.
    tasks: Option<mpsc::Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
    /// Modules that do not compile, by the wheel's file name.
    skipped: Mutex<BTreeMap<String, usize>>,
}

impl Compiler {
    /// Starts nothing until there is work.
    pub fn new(interpreter: Interpreter, release: Release) -> io::Result<Self> {
        let interpreter = Arc::new(interpreter);
        let (tasks, queue) = mpsc::channel::<Task>();
        let queue = Arc::new(Mutex::new(queue));
        let mut compiler = Self { release, tasks: Some(tasks), threads: Vec::new(), skipped: Mutex::default() };
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (interpreter, queue, line) = (Arc::clone(&interpreter), Arc::clone(&queue), compiler.release.line);
            let work = move || {
                let mut worker = None;
                // A function of its own, so that the lock is let go before the work.
                let next = || lock(&queue).recv();
                while let Ok(Task { place, module, reply }) = next() {
                    let compiled = compile(&interpreter, &mut worker, &module, line);
                    // Whoever asked may have given up.
                    let _ = reply.send((place, compiled));
                }
            };
            compiler.threads.push(thread::Builder::new().stack_size(STACK).spawn(work)?);
        }
        Ok(compiler)
    }

    /// The release that compiles.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// How many modules did not compile, by the file name of their wheel.
    pub fn skipped(&self) -> BTreeMap<String, usize> {
        lock(&self.skipped).clone()
    }

    pub(super) fn skip(&self, wheel: &str) {
        *lock(&self.skipped).entry(wheel.to_owned()).or_default() += 1;
    }

    /// The files of these modules, in their order; none for those that do not compile.
    pub(super) fn compile(&self, modules: Vec<Module>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let (reply, answers) = mpsc::channel();
        let mut compiled: Vec<Compiled> = Vec::new();
        for (place, module) in modules.into_iter().enumerate() {
            compiled.push(Ok(None));
            let task = Task { place, module, reply: reply.clone() };
            // The threads live as long as the compiler.
            let _ = self.tasks.as_ref().map(|tasks| tasks.send(task));
        }
        drop(reply);
        for (place, answer) in answers {
            if let Some(slot) = compiled.get_mut(place) {
                *slot = answer;
            }
        }
        // The first failure, whichever came first in time.
        compiled.into_iter().collect()
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        drop(self.tasks.take());
        for thread in self.threads.drain(..) {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}

/// One module's file: magic number, kind, hash of the source, code.
fn compile(
    interpreter: &Interpreter,
    worker: &mut Option<Worker>,
    module: &Module,
    line: crate::version::PythonVersion,
) -> Compiled {
    let running = match worker {
        Some(running) => running,
        None => worker.insert(interpreter.start()?),
    };
    let failed = |source| Error::Worker { path: module.path.clone(), source };
    let answer = match running.compile(&module.path, &module.source) {
        Ok(answer) => answer,
        Err(error) => {
            *worker = None;
            return Err(failed(error));
        }
    };
    let Some((hash, code)) = answer else { return Ok(None) };
    let code =
        marshal::normalize(&code, line).map_err(|source| Error::Marshal { path: module.path.clone(), source })?;
    Ok(Some([running.magic.as_slice(), &UNCHECKED_HASH, &hash, &code].concat()))
}

/// A poisoned lock means that another thread panicked; the data is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
