//! The cache on disk: content-addressed blobs, and small remembered facts keyed by text.
//!
//! A blob is written under a temporary name, its size and sha256 are checked while it streams, and only then does it get
//! its name: a name that exists holds the right bytes, whatever was interrupted. Several processes may share a store;
//! each write is one atomic rename.

mod unfinished;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnostic::Hint;
use crate::oci::{Digest, Hasher};

pub use unfinished::{Unfinished, UnfinishedFolder, is_unfinished, remove_when_interrupted};

/// A download that still runs writes more often than this.
const STALE_AFTER: Duration = Duration::from_hours(24);

/// A store's folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// Why bytes did not enter the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not those that were asked for.
    #[error("the bytes of {what} are {found}, expected {expected}")]
    WrongDigest {
        /// What was fetched.
        what: String,
        /// The address that was promised.
        expected: Digest,
        /// The address of what came.
        found: Digest,
    },
    /// Fewer or more bytes than announced.
    #[error("{what} has {found} bytes, expected {expected}")]
    WrongSize {
        /// What was fetched.
        what: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes read, at most one more than announced.
        found: u64,
    },
    /// The file system or the source failed.
    #[error("{action} `{path}`: {source}")]
    Io {
        /// The step that failed, as a verb phrase.
        action: &'static str,
        /// File concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl Error {
    /// The file system's own error, for callers that name action and path themselves.
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Io { source, .. } => source,
            other => io::Error::other(other),
        }
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: without_path(source) }
    }
}

/// Temporary files put their path into every error, behind a message that names it already.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path \"") {
        Some((cause, _)) => io::Error::new(error.kind(), cause),
        None => error,
    }
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        let kind = match self {
            Self::WrongDigest { .. } | Self::WrongSize { .. } => {
                return vec!["if it is the same when tried again, do not trust where the file comes from".to_owned()];
            }
            Self::Io { source, .. } => source.kind(),
        };
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                vec!["free space there (`imgforge cache prune`), or name another folder in `IMGFORGE_CACHE`".to_owned()]
            }
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                vec!["name a folder that can be written in `IMGFORGE_CACHE`".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// What to do about an error of writing where the user wants the results.
pub fn help_for_output(error: &io::Error) -> Vec<String> {
    let help = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space there, or name another folder with `--output`"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "name a folder that can be written with `--output`"
        }
        _ => return Vec::new(),
    };
    vec![help.to_owned()]
}

impl Store {
    /// Folders directly below the root: everything a store ever writes.
    pub const PARTS: [&'static str; 3] = ["blobs", "facts", "tmp"];

    /// A store in `root`; folders appear when something is written.
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// `$IMGFORGE_CACHE`, else `imgforge` in the user's cache folder (`$XDG_CACHE_HOME`, `~/.cache`).
    pub fn default_root() -> PathBuf {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        variable("IMGFORGE_CACHE").unwrap_or_else(|| {
            variable("XDG_CACHE_HOME")
                .or_else(|| variable("HOME").map(|home| home.join(".cache")))
                .unwrap_or_else(std::env::temp_dir)
                .join("imgforge")
        })
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob lies or would lie.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs/sha256").join(&hex[..2]).join(&hex[2..])
    }

    /// The blob's path if the store has it.
    pub fn blob(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.blob_path(digest)).filter(|path| path.is_file())
    }

    /// Removes a blob whose bytes are no longer those of its name, and says whether it was so: names are trusted, because
    /// hashing gigabytes at every build is slow, and this is for when something went wrong.
    pub fn discard_if_damaged(&self, digest: &Digest) -> bool {
        let Some(path) = self.blob(digest) else { return false };
        digest_file(&path).is_ok_and(|(found, _)| found != *digest) && fs::remove_file(&path).is_ok()
    }

    /// Streams `source` into the store. A returned path means that the bytes are there and are the right ones; `progress`
    /// is told of each piece as it passes.
    pub fn insert(
        &self,
        what: &str,
        source: &mut dyn Read,
        expected: &Digest,
        size: Option<u64>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, Error> {
        let target = self.blob_path(expected);
        let folder = self.root.join("tmp");
        let io_error = Error::io;
        fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        let mut file = Unfinished::create(&folder).map_err(io_error("create a file in", &folder))?;
        let mut hasher = Hasher::new();
        let mut written = 0u64;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io_error("read", Path::new(what))(error)),
            };
            written += count as u64;
            if size.is_some_and(|size| written > size) {
                break;
            }
            hasher.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(io_error("write", file.path()))?;
            progress(count as u64);
        }
        if let Some(size) = size.filter(|&size| size != written) {
            return Err(Error::WrongSize { what: what.to_owned(), expected: size, found: written });
        }
        let found = hasher.digest();
        if found != *expected {
            return Err(Error::WrongDigest { what: what.to_owned(), expected: *expected, found });
        }
        let parent = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        make_readable(file.path()).map_err(io_error("set the mode of", file.path()))?;
        file.keep(&target).map_err(io_error("write", &target))?;
        Ok(target)
    }

    /// A fact remembered under `kind` and `key`, if there is one; damaged entries count as absent.
    pub fn recall(&self, kind: &str, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.fact_path(kind, key)).ok()?;
        let (stored_key, value) = text.split_once('\n')?;
        (stored_key == key).then(|| value.to_owned())
    }

    /// Remembers a fact. `key` must be one line.
    pub fn remember(&self, kind: &str, key: &str, value: &str) -> Result<(), Error> {
        self.write_fact(&self.fact_path(kind, key), &[key.as_bytes(), b"\n", value.as_bytes()])
    }

    /// A remembered fact that is too large to be read whole: its file, the byte where the value begins, and its path.
    pub fn open_fact(&self, kind: &str, key: &str) -> Option<(File, u64, PathBuf)> {
        let path = self.fact_path(kind, key);
        let mut file = File::open(&path).ok()?;
        let mut head = vec![0; key.len() + 1];
        file.read_exact(&mut head).ok()?;
        (head.strip_suffix(b"\n") == Some(key.as_bytes())).then_some((file, head.len() as u64, path))
    }

    /// Bytes remembered under `kind` and `key`. Only the key is checked: who keeps bytes says how to tell damaged ones.
    pub fn recall_bytes(&self, kind: &str, key: &str) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.fact_path(kind, key)).ok()?;
        let is_own = bytes.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'\n'));
        is_own.then(|| bytes.split_off(key.len() + 1))
    }

    /// Remembers bytes, like [`Store::remember`]. `key` must be one line.
    pub fn remember_bytes(&self, kind: &str, key: &str, value: &[u8]) -> Result<(), Error> {
        self.write_fact(&self.fact_path(kind, key), &[key.as_bytes(), b"\n", value])
    }

    /// Writes a fact by way of the folder of unfinished files, where [`Store::remove_stale`] finds what a kill left.
    fn write_fact(&self, path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
        let folder = self.root.join("tmp");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let error = |action| Error::io(action, path);
        let mut file = Unfinished::create(&folder).map_err(error("write"))?;
        parts.iter().try_for_each(|part| file.write_all(part)).map_err(error("write"))?;
        make_readable(file.path()).map_err(error("set the mode of"))?;
        file.keep(path).map_err(error("write"))?;
        Ok(())
    }

    /// Removes unfinished files and folders that nobody has written to for a day: those of processes that were killed.
    /// Failures do not matter, the next run tries again.
    pub fn remove_stale(&self) {
        for entry in stale(&self.root.join("tmp")) {
            let _ = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
        }
    }

    fn fact_path(&self, kind: &str, key: &str) -> PathBuf {
        let hex = Digest::of(key.as_bytes()).hex();
        self.root.join("facts").join(kind).join(&hex[..2]).join(&hex[2..])
    }
}

/// Writes a file whole or not at all, creating its folder; readable by all as far as the umask allows nothing less. Removes
/// what a process that was killed a day ago or earlier left beside it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let error = |action| Error::io(action, path);
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(error("create the folder of"))?;
    remove_stale_in(folder, is_unfinished);
    let mut file = Unfinished::create(folder).map_err(error("write"))?;
    file.write_all(bytes).map_err(error("write"))?;
    make_readable(file.path()).map_err(error("set the mode of"))?;
    file.keep(path).map_err(error("write"))
}

/// Removes files of such names that nobody has written to for a day.
fn remove_stale_in(folder: &Path, is_unfinished: impl Fn(&str) -> bool) {
    for entry in stale(folder).filter(|entry| entry.file_name().to_str().is_some_and(&is_unfinished)) {
        // A folder is not removed by this, and nothing of ours beside a user's files is one.
        let _ = fs::remove_file(entry.path());
    }
}

/// What lies in a folder and was not written to for a day.
fn stale(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    let age = |entry: &fs::DirEntry| entry.metadata().ok()?.modified().ok()?.elapsed().ok();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(move |entry| age(entry).is_some_and(|age| age > STALE_AFTER))
}

/// Mode 0644: temporary files start at 0600, which would keep others from a shared cache or layout.
pub fn make_readable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// Digest and size of a file on disk.
pub fn digest_file(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hasher.digest(), size)),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_only_bytes_that_match() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path());
        let digest = Digest::of(b"abc");
        let mut quiet = |_| {};
        assert!(matches!(
            store.insert("x", &mut &b"abd"[..], &digest, Some(3), &mut quiet),
            Err(Error::WrongDigest { .. })
        ));
        assert!(matches!(
            store.insert("x", &mut &b"abcd"[..], &digest, Some(3), &mut quiet),
            Err(Error::WrongSize { found: 4, .. })
        ));
        assert_eq!(store.blob(&digest), None);
        let path = store.insert("x", &mut &b"abc"[..], &digest, Some(3), &mut quiet).expect("stored");
        assert_eq!(store.blob(&digest), Some(path));
    }

    #[test]
    fn damaged_blobs_are_found_and_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path());
        let digest = Digest::of(b"abc");
        let path = store.insert("x", &mut &b"abc"[..], &digest, None, &mut |_| {}).expect("stored");
        assert!(!store.discard_if_damaged(&digest));
        fs::write(path, b"abd").expect("written");
        assert!(store.discard_if_damaged(&digest));
        assert_eq!(store.blob(&digest), None);
    }

    #[test]
    fn remembers_facts_by_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path());
        store.remember("layers", "a key", "a value\nof two lines").expect("stored");
        assert_eq!(store.recall("layers", "a key").as_deref(), Some("a value\nof two lines"));
        assert_eq!(store.recall("layers", "another"), None);
        let (file, start, _) = store.open_fact("layers", "a key").expect("remembered");
        assert_eq!((start, io::read_to_string(file).expect("readable").as_str()), (6, "a value\nof two lines"));
        assert!(store.open_fact("layers", "another").is_none());
    }
    #[test]
    fn bytes_are_remembered_by_key_and_need_not_be_text() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path());
        store.remember_bytes("pages", "a key", b"\xff\n\0").expect("stored");
        assert_eq!(store.recall_bytes("pages", "a key").as_deref(), Some(&b"\xff\n\0"[..]));
        assert_eq!(store.recall_bytes("pages", "a ke"), None);
        fs::write(store.fact_path("pages", "a key"), b"another key\nx").expect("written");
        assert_eq!(store.recall_bytes("pages", "a key"), None);
        assert_eq!(fs::read_dir(folder.path().join("tmp")).expect("the folder").count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_after_a_day() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path());
        store.remove_stale();
        let tmp = folder.path().join("tmp");
        fs::create_dir(&tmp).expect("created");
        let old = std::time::SystemTime::now() - STALE_AFTER - Duration::from_mins(1);
        for (name, modified) in [("left", Some(old)), ("running", None)] {
            let file = File::create(tmp.join(name)).expect("created");
            modified.map_or(Ok(()), |time| file.set_modified(time)).expect("dated");
        }
        fs::create_dir_all(tmp.join("folder/below")).expect("created");
        File::open(tmp.join("folder")).and_then(|folder| folder.set_modified(old)).expect("dated");
        store.remove_stale();
        assert!(!tmp.join("left").exists() && !tmp.join("folder").exists());
        assert!(tmp.join("running").exists());
    }
}
