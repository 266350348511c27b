//! Files and folders that are not whole yet: under a temporary name until they are, and gone when the process is interrupted.
//!
//! The names of what this process has not finished are kept in one place, under one lock. A signal that ends the process takes
//! the lock, removes all of it and does not give the lock back, so nothing else begins meanwhile. Nothing can be done about a
//! process that is killed; what it leaves has names that say so ([`is_unfinished`]).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tempfile::{NamedTempFile, TempDir};

/// How the names begin.
const PREFIX: &str = ".imgforge-";

static NAMES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A file under a temporary name. Dropping it removes it.
#[derive(Debug)]
pub struct Unfinished {
    // In this order: the file is gone before its name is forgotten.
    file: NamedTempFile,
    name: Name,
}

/// A folder under a temporary name. Dropping it removes it with everything in it.
#[derive(Debug)]
pub struct UnfinishedFolder {
    folder: TempDir,
    name: Name,
}

/// The entry in [`NAMES`].
#[derive(Debug)]
struct Name(PathBuf);

impl Unfinished {
    /// An empty file in `folder`, for its owner alone.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let mut names = names();
        let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?;
        names.insert(file.path().to_owned());
        Ok(Self { name: Name(file.path().to_owned()), file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.name.0
    }

    /// The open file.
    pub fn file(&self) -> &fs::File {
        self.file.as_file()
    }

    /// Gives it its name, in place of what has it.
    pub fn keep(self, name: &Path) -> io::Result<()> {
        let _held = names();
        self.file.persist(name).map(drop).map_err(|error| error.error)
    }

    /// Gives it its name, unless something has it.
    pub fn keep_new(self, name: &Path) -> io::Result<()> {
        let _held = names();
        self.file.persist_noclobber(name).map(drop).map_err(|error| error.error)
    }
}

impl UnfinishedFolder {
    /// An empty folder in `folder`, for its owner alone.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let mut names = names();
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(folder)?;
        names.insert(folder.path().to_owned());
        Ok(Self { name: Name(folder.path().to_owned()), folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.name.0
    }

    /// Moves it to where nothing is, or an empty folder. If that fails it is where it was.
    pub fn move_to(&mut self, place: &Path) -> io::Result<()> {
        let _held = names();
        fs::rename(self.folder.path(), place)?;
        self.folder.disable_cleanup(true);
        Ok(())
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        names().remove(&self.0);
    }
}

/// Whether a name is one that only an unfinished file or folder has.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// From now on a signal that asks the process to end removes what is unfinished first. Signals that it was told to ignore,
/// as `nohup` tells it, stay ignored.
pub fn remove_when_interrupted() -> io::Result<()> {
    let ignored = fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_signals(&status));
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP].iter().filter(|&&signal| ignored >> (signal - 1) & 1 == 0))?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let names = names();
            for name in names.iter() {
                let _ = fs::remove_file(name).or_else(|_| fs::remove_dir_all(name));
            }
            // As without a handler, so that a shell sees what ended the process.
            let _ = emulate_default_handler(signal);
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// The set of ignored signals, the first in the lowest bit (proc(5)).
fn ignored_signals(status: &str) -> u64 {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

/// A panic while a name was added or removed leaves the set whole.
fn names() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_under_its_name_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let count = || fs::read_dir(folder.path()).expect("the folder").count();
        let written = |text: &str| {
            let mut file = Unfinished::create(folder.path()).expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            file
        };
        let dropped = written("a");
        let path = dropped.path().to_owned();
        assert!(is_unfinished(path.file_name().and_then(|name| name.to_str()).expect("a name")));
        assert!(names().contains(&path));
        drop(dropped);
        assert_eq!((count(), names().contains(&path)), (0, false));

        let target = folder.path().join("whole");
        written("1").keep(&target).expect("kept");
        written("2").keep(&target).expect("kept");
        let refused = written("3").keep_new(&target).expect_err("there is one");
        assert_eq!((refused.kind(), count()), (io::ErrorKind::AlreadyExists, 1));
        assert_eq!(fs::read_to_string(&target).expect("the file"), "2");
        assert!(!names().iter().any(|name| name.starts_with(folder.path())));
    }

    #[test]
    fn a_folder_is_gone_unless_it_is_moved() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = || {
            let made = UnfinishedFolder::create(folder.path()).expect("a folder");
            fs::write(made.path().join("file"), "1").expect("written");
            made
        };
        drop(made());
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
        let target = folder.path().join("target");
        made().move_to(&target).expect("moved");
        assert!(made().move_to(&target).is_err(), "it has a file");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
        assert_eq!(fs::read_to_string(target.join("file")).expect("the file"), "1");
    }

    #[test]
    fn ignored_signals_are_read_from_the_processs_status() {
        let ignored = ignored_signals("Name:\tcat\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000000002\n");
        assert_eq!((ignored >> (SIGHUP - 1) & 1, ignored >> (SIGINT - 1) & 1), (1, 0));
        assert_eq!(ignored_signals("nothing of the kind"), 0);
    }
}
