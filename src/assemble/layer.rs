//! A layer, streamed: a tar as a concatenation of gzip members.
//!
//! What is ours (headers, padding, small or stored contents) is collected into chunks and deflated; a deflate stream that
//! already exists, in a wheel, becomes a member of its own without being compressed again. The bytes depend on the calls
//! alone, never on how a reader cuts its bytes, on the machine or on the time. Memory is bounded whatever is written.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::gzip::{self, Deflated, Gzip};
use super::tar::{self, EntryType, Header, Owner};
use crate::oci::{DiffId, Digest, Hasher};

/// Our own bytes are deflated in pieces of this size.
const CHUNK: usize = 1 << 20;
/// A stream below this size is inflated into our own bytes: with the members and headers around it, a copy costs more space
/// than deflating it again together with its neighbours.
const COPY_MINIMUM: u64 = 4096;
/// Mode of a folder nobody described.
const FOLDER_MODE: u32 = 0o755;

/// Why a layer could not be written. What has been written up to then is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path no layer may have.
    #[error("`{path}` cannot be a path in a layer: {reason}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path that is already there as something else.
    #[error("`{path}` is in the layer already, as something else")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// A path below something that is not a folder.
    #[error("`{path}` lies below `{parent}`, which is not a folder")]
    NotAFolder {
        /// The path.
        path: String,
        /// The entry above it.
        parent: String,
    },
    /// A source that has more or fewer bytes than announced.
    #[error("`{path}` was announced with {announced} bytes and has {found}")]
    Size {
        /// Path in the layer.
        path: String,
        /// Bytes announced.
        announced: u64,
        /// Bytes read; one more than announced stands for any number more.
        found: u64,
    },
    /// A compressed content that is not what it claims to be.
    #[error("`{path}`: {source}")]
    Content {
        /// Path in the layer.
        path: String,
        /// What is wrong with it.
        source: gzip::Error,
    },
    /// The source of a content failed.
    #[error("cannot read the content of `{path}`: {source}")]
    Read {
        /// Path in the layer.
        path: String,
        /// Cause.
        source: io::Error,
    },
    /// The destination failed.
    #[error("cannot write the layer: {0}")]
    Write(#[from] io::Error),
}

/// A finished layer.
#[derive(Debug)]
pub struct Finished<W> {
    /// sha256 of the compressed bytes.
    pub digest: Digest,
    /// sha256 of the plain tar.
    pub diff_id: DiffId,
    /// Number of compressed bytes.
    pub size: u64,
    /// The destination, flushed.
    pub sink: W,
}

/// Writes one layer into `sink`. Paths are relative to the image's root, `opt/venv/bin/python`, without `.` and `..`.
pub struct LayerWriter<W: Write> {
    sink: Counted<W>,
    plain: Plain,
    gzip: Gzip,
    modified: u64,
    entries: BTreeMap<String, Entry>,
}

/// What a path is, so far as a later call must know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// In the layers below, by the caller's word.
    Assumed,
    Folder {
        mode: u32,
        owner: Owner,
    },
    Other,
}

impl<W: Write> LayerWriter<W> {
    /// An empty layer whose entries were all modified at `modified`, in seconds since 1970.
    pub fn new(sink: W, modified: u64) -> Self {
        Self {
            sink: Counted { inner: sink, hasher: Hasher::new(), size: 0 },
            plain: Plain { hasher: Hasher::new(), pending: Vec::with_capacity(CHUNK) },
            gzip: Gzip::new(),
            modified,
            entries: BTreeMap::new(),
        }
    }

    /// Declares that a layer below has this folder, or a link to one: it is not written unless [`Self::directory`] asks for
    /// it, since an entry would change its mode and owner, or put a folder where the link is.
    pub fn assume_directory(&mut self, path: &str) -> Result<(), Error> {
        check_path(path)?;
        self.entries.entry(path.to_owned()).or_insert(Entry::Assumed);
        Ok(())
    }

    /// A folder. Asking twice for the same mode and owner writes it once.
    ///
    /// Folders above any entry that are not there yet are written first, with mode 0755 and that entry's owner.
    pub fn directory(&mut self, path: &str, mode: u32, owner: Owner) -> Result<(), Error> {
        check_path(path)?;
        let folder = Entry::Folder { mode, owner };
        match self.entries.get(path) {
            Some(known) if *known == folder => return Ok(()),
            None | Some(Entry::Assumed) => {}
            Some(_) => return Err(Error::Duplicate { path: path.to_owned() }),
        }
        self.parents(path, owner)?;
        self.entries.insert(path.to_owned(), folder);
        self.header(path, EntryType::Directory, mode, owner, 0)
    }

    /// A regular file of exactly `size` bytes.
    pub fn file(
        &mut self,
        path: &str,
        mode: u32,
        owner: Owner,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), Error> {
        self.begin(path, EntryType::File, mode, owner, size)?;
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let mut buffer = vec![0; 64 << 10];
        let mut content = content.take(size.saturating_add(1));
        let mut found = 0;
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read_error(error)),
            };
            found += count as u64;
            if found <= size {
                self.push(buffer.get(..count).unwrap_or_default())?;
            }
        }
        if found != size {
            return Err(Error::Size { path: path.to_owned(), announced: size, found });
        }
        self.pad(size)
    }

    /// A regular file whose content is in memory.
    pub fn file_bytes(&mut self, path: &str, mode: u32, owner: Owner, content: &[u8]) -> Result<(), Error> {
        let size = content.len() as u64;
        self.begin(path, EntryType::File, mode, owner, size)?;
        self.push(content)?;
        self.pad(size)
    }

    /// A symbolic link; `target` is kept as it is.
    pub fn symlink(&mut self, path: &str, target: &str, owner: Owner) -> Result<(), Error> {
        if target.is_empty() || target.contains('\0') {
            return Err(Error::Path {
                path: target.to_owned(),
                reason: "a link must lead somewhere, and not to a NUL",
            });
        }
        self.begin(path, EntryType::Symlink(target), 0o777, owner, 0)
    }

    /// Another name for a file that was written before; `target` is its path in this layer.
    pub fn hard_link(&mut self, path: &str, target: &str, mode: u32, owner: Owner) -> Result<(), Error> {
        check_path(target)?;
        if self.entries.get(target) != Some(&Entry::Other) {
            return Err(Error::Path { path: target.to_owned(), reason: "no file of this layer has this path yet" });
        }
        self.begin(path, EntryType::HardLink(target), mode, owner, 0)
    }

    /// A regular file from a deflate stream, which is copied unless it is tiny. It is inflated on the way, to check it and
    /// for the plain tar's hash; `on_plain` sees that content pass. It is sound only if the call succeeds.
    pub fn deflated<R: Read>(
        &mut self,
        path: &str,
        mode: u32,
        owner: Owner,
        content: Deflated<R>,
        on_plain: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        let size = content.uncompressed_size;
        self.begin(path, EntryType::File, mode, owner, size)?;
        let content_error = |source| match source {
            gzip::Error::Write(source) => Error::Write(source),
            source => Error::Content { path: path.to_owned(), source },
        };
        if content.compressed_size < COPY_MINIMUM {
            let Self { sink, plain, gzip, .. } = self;
            let mut tiny = Vec::new();
            gzip.inflate(content, &mut |piece| tiny.extend_from_slice(piece)).map_err(content_error)?;
            on_plain(&tiny);
            plain.push(&tiny, gzip, sink)?;
        } else {
            self.plain.flush(&mut self.gzip, &mut self.sink)?;
            let hasher = &mut self.plain.hasher;
            let mut pass = |piece: &[u8]| {
                hasher.update(piece);
                on_plain(piece);
            };
            self.gzip.copy(content, &mut self.sink, &mut pass).map_err(content_error)?;
        }
        self.pad(size)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<Finished<W>, Error> {
        self.push(&tar::END)?;
        self.plain.flush(&mut self.gzip, &mut self.sink)?;
        self.sink.flush()?;
        let Counted { inner, hasher, size } = self.sink;
        Ok(Finished { digest: hasher.digest(), diff_id: self.plain.hasher.diff_id(), size, sink: inner })
    }

    /// Everything of an entry but a content: checks the path, writes missing folders and the header.
    fn begin(&mut self, path: &str, kind: EntryType<'_>, mode: u32, owner: Owner, size: u64) -> Result<(), Error> {
        check_path(path)?;
        if self.entries.contains_key(path) {
            return Err(Error::Duplicate { path: path.to_owned() });
        }
        self.parents(path, owner)?;
        self.entries.insert(path.to_owned(), Entry::Other);
        self.header(path, kind, mode, owner, size)
    }

    fn parents(&mut self, path: &str, owner: Owner) -> Result<(), Error> {
        for (slash, _) in path.match_indices('/') {
            let parent = path.get(..slash).unwrap_or_default();
            match self.entries.get(parent) {
                Some(Entry::Folder { .. } | Entry::Assumed) => {}
                Some(Entry::Other) => {
                    return Err(Error::NotAFolder { path: path.to_owned(), parent: parent.to_owned() });
                }
                None => {
                    self.entries.insert(parent.to_owned(), Entry::Folder { mode: FOLDER_MODE, owner });
                    self.header(parent, EntryType::Directory, FOLDER_MODE, owner, 0)?;
                }
            }
        }
        Ok(())
    }

    fn header(
        &mut self,
        path: &str,
        entry_type: EntryType<'_>,
        mode: u32,
        owner: Owner,
        size: u64,
    ) -> Result<(), Error> {
        let header = Header { path, entry_type, mode, owner, size, modified: self.modified };
        self.push(&header.blocks())
    }

    fn pad(&mut self, size: u64) -> Result<(), Error> {
        let zeros = [0; tar::BLOCK];
        self.push(zeros.get(..tar::padding(size)).unwrap_or_default())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.plain.push(bytes, &mut self.gzip, &mut self.sink)?)
    }
}

/// The tar's own bytes on their way into chunks.
struct Plain {
    hasher: Hasher,
    pending: Vec<u8>,
}

impl Plain {
    fn push(&mut self, mut bytes: &[u8], gzip: &mut Gzip, sink: &mut impl Write) -> io::Result<()> {
        self.hasher.update(bytes);
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(CHUNK - self.pending.len()));
            self.pending.extend_from_slice(fits);
            bytes = rest;
            if self.pending.len() == CHUNK {
                self.flush(gzip, sink)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, gzip: &mut Gzip, sink: &mut impl Write) -> io::Result<()> {
        if !self.pending.is_empty() {
            sink.write_all(gzip.compress(&self.pending)?)?;
            self.pending.clear();
        }
        Ok(())
    }
}

/// Hashes and counts what is written.
struct Counted<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Whether a path may name an entry: relative, without empty, `.` and `..` components, without NUL, and not a whiteout,
/// since an entry `.wh.NAME` deletes NAME when the layer is applied (OCI image specification, layer.md).
pub fn check_path(path: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Path { path: path.to_owned(), reason });
    if path.contains('\0') {
        return refuse("it holds a NUL");
    }
    for component in path.split('/') {
        match component {
            "" => return refuse("it must be relative, without empty components"),
            "." | ".." => return refuse("it must not hold `.` or `..`"),
            name if name.starts_with(".wh.") => return refuse("names that start with `.wh.` delete files in layers"),
            _ => {}
        }
    }
    Ok(())
}
