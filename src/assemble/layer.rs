//! A layer, streamed: a tar as a concatenation of gzip members, or of zstd frames.
//!
//! What is ours (headers, padding, small or stored contents) is collected into chunks and deflated; a deflate stream that
//! already exists, in a wheel, becomes a member of its own without being compressed again. The bytes depend on the calls
//! alone, never on how a reader cuts its bytes, on the machine or on the time. Contents are never held in memory as a whole.
//! A table of contents ([`toc`]) comes last, so that a layer may also be read file by file.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::thread;

use super::gzip::{self, Deflated, Inflater};
use super::packer::Packer;
use super::tar::{self, EntryType, Header, Owner};
use super::toc::{self, Chunk, Toc};
use crate::hierarchy;
use crate::oci::{Compression, DiffId, Digest, Hasher};

/// A stream below this size is inflated into our own bytes: with the members and headers around it, a copy costs more space
/// than deflating it again together with its neighbours.
const COPY_MINIMUM: u64 = 1024;
/// Bytes of a file's name, and of a path, that Linux takes (limits.h); no engine could unpack longer ones.
const NAME_LIMIT: usize = 255;
const PATH_LIMIT: usize = 4095;
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
    /// sha256 of the table of contents, which gzip layers have.
    pub toc: Option<Digest>,
    /// The destination, flushed.
    pub sink: W,
}

/// Writes one layer into `sink`. Paths are relative to the image's root, `opt/venv/bin/python`, without `.` and `..`.
pub struct LayerWriter<W: Write> {
    sink: Counted<W>,
    plain: Plain,
    inflater: Inflater,
    modified: u64,
    entries: BTreeMap<String, Entry>,
    toc: Toc,
}

/// What a path is, so far as a later call must know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// In the layers below, by the caller's word: written when something in it is.
    Below {
        mode: u32,
        owner: Owner,
    },
    Folder {
        mode: u32,
        owner: Owner,
    },
    Other,
}

impl<W: Write> LayerWriter<W> {
    /// An empty layer whose entries were all modified at `modified`, in seconds since 1970.
    pub fn new(sink: W, modified: u64, compression: Compression) -> io::Result<Self> {
        let packer = Packer::new(compression)?;
        let pending = Vec::with_capacity(packer.piece());
        Ok(Self {
            sink: Counted { inner: sink, hasher: Hasher::new(), size: 0 },
            plain: Plain { hasher: Hasher::new(), pending, has_content: false, packer },
            inflater: Inflater::new(),
            modified,
            entries: BTreeMap::new(),
            toc: Toc::new(modified),
        })
    }

    /// Declares what a folder is in the layers below. An entry that says so is written before the first one in it: Docker
    /// unpacks each layer by itself, and a folder that is missing there hides the one below with a mode of Docker's own.
    pub fn folder_below(&mut self, path: &str, mode: u32, owner: Owner) -> Result<(), Error> {
        check_path(path)?;
        self.entries.entry(path.to_owned()).or_insert(Entry::Below { mode, owner });
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
            None | Some(Entry::Below { .. }) => {}
            Some(_) => return Err(Error::Duplicate { path: path.to_owned() }),
        }
        self.parents(path, owner)?;
        self.entries.insert(path.to_owned(), folder);
        self.folder(path, mode, owner)
    }

    /// A regular file of exactly `size` bytes. Returns their sha256.
    pub fn file(
        &mut self,
        path: &str,
        mode: u32,
        owner: Owner,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<Digest, Error> {
        self.begin(path, EntryType::File, mode, owner, size)?;
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let mut pieces = Pieces::new();
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
                self.push_content(buffer.get(..count).unwrap_or_default(), &mut pieces)?;
            }
        }
        if found != size {
            return Err(Error::Size { path: path.to_owned(), announced: size, found });
        }
        self.end_file(path, mode, owner, pieces)
    }

    /// A regular file whose content is in memory. Returns its sha256.
    pub fn file_bytes(&mut self, path: &str, mode: u32, owner: Owner, content: &[u8]) -> Result<Digest, Error> {
        self.begin(path, EntryType::File, mode, owner, content.len() as u64)?;
        let mut pieces = Pieces::new();
        self.push_content(content, &mut pieces)?;
        self.end_file(path, mode, owner, pieces)
    }

    /// A symbolic link; `target` is kept as it is.
    pub fn symlink(&mut self, path: &str, target: &str, owner: Owner) -> Result<(), Error> {
        if target.is_empty() || target.contains('\0') {
            return Err(Error::Path {
                path: target.to_owned(),
                reason: "a link must lead somewhere, and not to a NUL",
            });
        }
        self.begin(path, EntryType::Symlink(target), 0o777, owner, 0)?;
        self.toc.plain("symlink", path, target, 0o777, owner);
        Ok(())
    }

    /// Another name for a file that was written before; `target` is its path in this layer.
    pub fn hard_link(&mut self, path: &str, target: &str, mode: u32, owner: Owner) -> Result<(), Error> {
        check_path(target)?;
        if self.entries.get(target) != Some(&Entry::Other) {
            return Err(Error::Path { path: target.to_owned(), reason: "no file of this layer has this path yet" });
        }
        self.begin(path, EntryType::HardLink(target), mode, owner, 0)?;
        self.toc.plain("hardlink", path, target, mode, owner);
        Ok(())
    }

    /// A regular file from a deflate stream, which is copied unless it is tiny. It is inflated on the way, to check it and
    /// for the hashes; `on_plain` sees the content pass, and the content's sha256 is returned. Both are sound only if the
    /// call succeeds.
    pub fn deflated<R: Read>(
        &mut self,
        path: &str,
        mode: u32,
        owner: Owner,
        content: Deflated<R>,
        on_plain: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Digest, Error> {
        let size = content.uncompressed_size;
        self.begin(path, EntryType::File, mode, owner, size)?;
        let content_error = |source| match source {
            gzip::Error::Write(source) => Error::Write(source),
            source => Error::Content { path: path.to_owned(), source },
        };
        if content.compressed_size < COPY_MINIMUM || size == 0 || !self.plain.packer.copies_deflate() {
            let Self { sink, plain, inflater, .. } = self;
            let mut pieces = Pieces::new();
            let mut pushed = Ok(());
            let mut push = |piece: &[u8]| {
                on_plain(piece);
                if pushed.is_ok() {
                    pushed = plain.push_content(piece, &mut pieces, sink);
                }
            };
            inflater.inflate(content, &mut push).map_err(content_error)?;
            pushed?;
            return self.end_file(path, mode, owner, pieces);
        }
        self.plain.flush(&mut self.sink)?;
        let Self { sink, plain, inflater, .. } = self;
        let offset = sink.size;
        let mut hasher = Hasher::new();
        let mut pass = |piece: &[u8]| {
            Hasher::update_both(&mut plain.hasher, &mut hasher, piece);
            on_plain(piece);
        };
        let copied = match gzip::is_small(&content) {
            true => inflater.copy(content, sink, &mut pass),
            false => beside(&mut pass, |pass| inflater.copy(content, sink, pass)),
        };
        copied.map_err(content_error)?;
        let digest = hasher.digest();
        self.toc.file(path, mode, owner, digest, &[Chunk { offset, inner_offset: 0, size, digest }]);
        self.pad(size)?;
        Ok(digest)
    }

    /// Ends the archive, a gzip layer with its table of contents.
    pub fn finish(mut self) -> Result<Finished<W>, Error> {
        let toc = if self.plain.packer.copies_deflate() {
            Some(self.write_toc()?)
        } else {
            self.push(&tar::END)?;
            self.plain.flush(&mut self.sink)?;
            None
        };
        self.sink.flush()?;
        let Counted { inner, hasher, size } = self.sink;
        Ok(Finished { digest: hasher.digest(), diff_id: self.plain.hasher.diff_id(), size, toc, sink: inner })
    }

    fn write_toc(&mut self) -> Result<Digest, Error> {
        let (landmark, content) = toc::LANDMARK;
        self.file_bytes(landmark, 0o444, Owner::ROOT, &content)?;
        self.plain.flush(&mut self.sink)?;
        let offset = self.sink.size;
        let table = std::mem::replace(&mut self.toc, Toc::new(0)).finish();
        self.header(toc::NAME, EntryType::File, 0o444, Owner::ROOT, table.len() as u64)?;
        self.push(&table)?;
        self.pad(table.len() as u64)?;
        self.push(&tar::END)?;
        self.plain.flush(&mut self.sink)?;
        self.sink.write_all(&toc::footer(offset))?;
        Ok(Digest::of(&table))
    }

    /// What follows a content that was pushed: padding, and the file's place in the table of contents.
    fn end_file(&mut self, path: &str, mode: u32, owner: Owner, pieces: Pieces) -> Result<Digest, Error> {
        let (digest, chunks) = pieces.finish();
        if chunks.is_empty() {
            self.toc.plain("reg", path, "", mode, owner);
        } else {
            self.toc.file(path, mode, owner, digest, &chunks);
        }
        self.pad(chunks.iter().map(|chunk| chunk.size).sum())?;
        Ok(digest)
    }

    fn push_content(&mut self, bytes: &[u8], pieces: &mut Pieces) -> Result<(), Error> {
        Ok(self.plain.push_content(bytes, pieces, &mut self.sink)?)
    }

    fn folder(&mut self, path: &str, mode: u32, owner: Owner) -> Result<(), Error> {
        self.toc.plain("dir", path, "", mode, owner);
        self.header(path, EntryType::Directory, mode, owner, 0)
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
        for parent in hierarchy::above(path) {
            match self.entries.get(parent) {
                Some(Entry::Folder { .. }) => {}
                Some(Entry::Other) => {
                    return Err(Error::NotAFolder { path: path.to_owned(), parent: parent.to_owned() });
                }
                known @ (None | Some(Entry::Below { .. })) => {
                    let (mode, owner) = match known {
                        Some(&Entry::Below { mode, owner }) => (mode, owner),
                        _ => (FOLDER_MODE, owner),
                    };
                    self.entries.insert(parent.to_owned(), Entry::Folder { mode, owner });
                    self.folder(parent, mode, owner)?;
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
        Ok(self.plain.push(bytes, &mut self.sink)?)
    }
}

/// Lets `consume` have what `produce` gives, on a thread of its own and a few pieces behind: hashing a large content takes
/// about as long as inflating it.
fn beside<T>(consume: &mut (dyn FnMut(&[u8]) + Send), produce: impl FnOnce(&mut dyn FnMut(&[u8])) -> T) -> T {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(8);
        // Buffers come back: fresh memory from the kernel costs as much as the copy.
        let (give_back, spare) = mpsc::channel::<Vec<u8>>();
        scope.spawn(move || {
            for piece in receiver {
                consume(&piece);
                drop(give_back.send(piece));
            }
        });
        let produced = produce(&mut |piece| {
            let mut copy = spare.try_recv().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(piece);
            // The receiver only goes away in a panic, which the scope passes on.
            drop(sender.send(copy));
        });
        drop(sender);
        produced
    })
}

/// The tar's own bytes on their way into members.
struct Plain {
    hasher: Hasher,
    pending: Vec<u8>,
    /// Whether a file's content lies in what is pending.
    has_content: bool,
    packer: Packer,
}

impl Plain {
    fn push(&mut self, bytes: &[u8], sink: &mut impl Write) -> io::Result<()> {
        self.hasher.update(bytes);
        self.append(bytes, sink)
    }

    /// What is hashed already.
    fn append(&mut self, mut bytes: &[u8], sink: &mut impl Write) -> io::Result<()> {
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(self.packer.piece() - self.pending.len()));
            self.pending.extend_from_slice(fits);
            bytes = rest;
            if self.pending.len() == self.packer.piece() {
                self.flush(sink)?;
            }
        }
        Ok(())
    }

    /// Pushes a part of a file's content and notes where it goes. The first content of a member is where the member begins,
    /// as readers of the table of contents expect it.
    fn push_content<W: Write>(
        &mut self,
        mut bytes: &[u8],
        pieces: &mut Pieces,
        sink: &mut Counted<W>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            if !self.has_content {
                self.flush(sink)?;
                self.has_content = true;
            }
            let (fits, rest) = bytes.split_at(bytes.len().min(self.packer.piece() - self.pending.len()));
            pieces.add(sink.size, self.pending.len() as u64, fits, &mut self.hasher);
            self.append(fits, sink)?;
            bytes = rest;
        }
        Ok(())
    }

    fn flush(&mut self, sink: &mut impl Write) -> io::Result<()> {
        self.has_content = false;
        if !self.pending.is_empty() {
            sink.write_all(self.packer.pack(&self.pending)?)?;
            self.pending.clear();
        }
        Ok(())
    }
}

/// Where the pieces of one content lie.
struct Pieces {
    whole: Hasher,
    done: Vec<Chunk>,
    /// The piece that may go on: where it lies, its bytes so far, and their hash, which for the first is that of the whole so
    /// far. Most contents have one piece, and hashing is much of the work.
    current: Option<(u64, u64, u64, Option<Hasher>)>,
}

impl Pieces {
    fn new() -> Self {
        Self { whole: Hasher::new(), done: Vec::new(), current: None }
    }

    /// `tar` is the hash of everything, of which the content is a part.
    fn add(&mut self, offset: u64, inner_offset: u64, bytes: &[u8], tar: &mut Hasher) {
        if self.current.as_ref().is_none_or(|(member, ..)| *member != offset) {
            self.close();
            let hasher = (!self.done.is_empty()).then(Hasher::new);
            self.current = Some((offset, inner_offset, 0, hasher));
        }
        Hasher::update_both(&mut self.whole, tar, bytes);
        if let Some((_, _, size, hasher)) = &mut self.current {
            *size += bytes.len() as u64;
            if let Some(hasher) = hasher {
                hasher.update(bytes);
            }
        }
    }

    fn close(&mut self) {
        if let Some((offset, inner_offset, size, hasher)) = self.current.take() {
            let hasher = hasher.unwrap_or_else(|| self.whole.clone());
            self.done.push(Chunk { offset, inner_offset, size, digest: hasher.digest() });
        }
    }

    fn finish(mut self) -> (Digest, Vec<Chunk>) {
        self.close();
        (self.whole.digest(), self.done)
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
/// since an entry `.wh.NAME` deletes NAME when the layer is applied (OCI image specification, layer.md). No longer than Linux takes.
pub fn check_path(path: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Path { path: path.to_owned(), reason });
    if path.contains('\0') {
        return refuse("it holds a NUL");
    }
    if path.len() > PATH_LIMIT {
        return refuse("Linux takes no path of more than 4095 bytes");
    }
    for component in path.split('/') {
        match component {
            "" => return refuse("it must be relative, without empty components"),
            "." | ".." => return refuse("it must not hold `.` or `..`"),
            name if name.starts_with(".wh.") => return refuse("names that start with `.wh.` delete files in layers"),
            name if name.len() > NAME_LIMIT => return refuse("Linux takes no name of more than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}
