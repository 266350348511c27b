//! Files that hold what they should: each is read through once, and again when somebody has written to it, which its number and
//! its time tell.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Error, Store, digest_file};
use crate::oci::Digest;

/// Kind of the store's facts about files.
const FACTS: &str = "layer-files";

impl Store {
    /// Whether a file holds the bytes of this digest and size.
    pub fn is_whole(&self, path: &Path, digest: &Digest, size: u64) -> io::Result<bool> {
        let metadata = path.metadata()?;
        if metadata.len() != size {
            return Ok(false);
        }
        let (file, state) = seen(&metadata, digest);
        if self.recall(FACTS, &file).is_some_and(|fact| fact == state) {
            return Ok(true);
        }
        let is_whole = digest_file(path)?.0 == *digest;
        if is_whole {
            // Where that cannot be remembered, the file is read again.
            let _ = self.remember(FACTS, &file, &state);
        }
        Ok(is_whole)
    }

    /// Remembers that a file, which was just written, holds the bytes of this digest.
    pub fn remember_whole(&self, path: &Path, digest: &Digest) -> Result<(), Error> {
        let (file, state) = seen(&path.metadata().map_err(Error::io("look at", path))?, digest);
        self.remember(FACTS, &file, &state)
    }

    /// The path of a blob if the store has it whole. A damaged one is removed.
    pub fn whole_blob(&self, digest: &Digest, size: u64) -> Result<Option<PathBuf>, Error> {
        let Some(path) = self.blob(digest) else { return Ok(None) };
        if self.is_whole(&path, digest, size).map_err(Error::io("read", &path))? {
            return Ok(Some(path));
        }
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        Ok(None)
    }
}

/// What a file is, wherever its links lie, and what it held when it was last written to.
fn seen(metadata: &Metadata, digest: &Digest) -> (String, String) {
    let file = format!("{} {}", metadata.dev(), metadata.ino());
    (file, format!("{digest} {}.{:09}", metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_file_is_read_again_after_somebody_wrote_to_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path());
        let digest = Digest::of(b"abc");
        let path = store.insert("x", &mut &b"abc"[..], &digest, None, &mut |_| {}).expect("stored");
        let write = |bytes: &[u8], seconds| {
            fs::write(&path, bytes).expect("written");
            let file = fs::File::options().write(true).open(&path).expect("the file");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).expect("dated");
        };
        write(b"abc", 1);
        assert!(store.is_whole(&path, &digest, 3).expect("read"));
        assert!(!store.is_whole(&path, &digest, 4).expect("read"));
        // Another content of the same time would not be noticed: the file was not read.
        write(b"abd", 1);
        assert!(store.is_whole(&path, &digest, 3).expect("remembered"));
        write(b"abd", 2);
        assert!(!store.is_whole(&path, &digest, 3).expect("read"));
        assert_eq!(store.whole_blob(&digest, 3).expect("looked at"), None);
        assert!(!path.exists());
    }
}
