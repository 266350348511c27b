//! A layer, streamed: a tar as a concatenation of gzip members.
//!
//! What is ours (headers, padding, small or stored contents) is collected into chunks and deflated; a deflate stream that
//! already exists, in a wheel, becomes a member of its own without being compressed again. The bytes depend on the calls
//! alone, never on how a reader cuts its bytes, on the machine or on the time. Memory is bounded whatever is written.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::thread;

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
        on_plain: &mut (dyn FnMut(&[u8]) + Send),
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
            let Self { sink, plain, gzip, .. } = self;
            let mut pass = |piece: &[u8]| {
                plain.hasher.update(piece);
                on_plain(piece);
            };
            let copied = match gzip::is_small(&content) {
                true => gzip.copy(content, sink, &mut pass),
                false => beside(&mut pass, |pass| gzip.copy(content, sink, pass)),
            };
            copied.map_err(content_error)?;
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

/// Lets `consume` have what `produce` gives, on a thread of its own and a few pieces behind: hashing a large content takes
/// about as long as inflating it.
fn beside<T>(consume: &mut (dyn FnMut(&[u8]) + Send), produce: impl FnOnce(&mut dyn FnMut(&[u8])) -> T) -> T {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(8);
        scope.spawn(move || receiver.iter().for_each(|piece| consume(&piece)));
        // The receiver only goes away in a panic, which the scope passes on.
        let produced = produce(&mut |piece| drop(sender.send(piece.to_vec())));
        drop(sender);
        produced
    })
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::assemble::testing::{Tree, layer_bytes, layer_tree};

    /// `content` as a deflate stream.
    fn deflate(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory")
    }

    fn deflated<'a>(content: &[u8], stream: &'a [u8]) -> Deflated<&'a [u8]> {
        Deflated {
            uncompressed_size: content.len() as u64,
            compressed_size: stream.len() as u64,
            crc32: crc32fast::hash(content),
            reader: stream,
        }
    }

    /// Bytes that do not compress, from a seed.
    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn folders_come_before_what_they_hold_and_once() {
        let user = Owner { user: 1000, group: 1000 };
        let tree = layer_tree(|layer| {
            layer.assume_directory("opt")?;
            layer.file_bytes("opt/a/b/file", 0o644, user, b"content")?;
            layer.directory("opt/a/c", 0o700, Owner::ROOT)?;
            layer.directory("opt/a/c", 0o700, Owner::ROOT)?;
            layer.symlink("opt/a/link", "../a", Owner::ROOT)?;
            layer.hard_link("opt/a/hard", "opt/a/b/file", 0o644, user)
        });
        assert_eq!(
            tree.listing(),
            "d 0755 1000:1000 opt/a/\n\
             d 0755 1000:1000 opt/a/b/\n\
             f 0644 1000:1000 opt/a/b/file\n\
             d 0700 0:0 opt/a/c/\n\
             l 0777 0:0 opt/a/link -> ../a\n\
             h 0644 1000:1000 opt/a/hard -> opt/a/b/file\n"
        );
    }

    #[test]
    fn an_empty_layer_has_these_bytes() {
        let finished = LayerWriter::new(Vec::new(), 0).finish().expect("a layer");
        assert_eq!(
            finished.diff_id.to_string(),
            "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
        );
        assert_eq!(finished.sink.get(..10), Some([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff].as_slice()));
    }

    #[test]
    fn paths_that_no_layer_may_have_are_refused() {
        for path in ["", "/a", "a//b", "a/", "./a", "a/../b", "..", "a\0b", "a/.wh.b", ".wh..wh..opq"] {
            let mut layer = LayerWriter::new(Vec::new(), 0);
            let refused = layer.file_bytes(path, 0o644, Owner::ROOT, b"");
            assert!(matches!(refused, Err(Error::Path { .. })), "{path:?}");
        }
    }

    #[test]
    fn a_path_is_one_thing() {
        let mut layer = LayerWriter::new(Vec::new(), 0);
        layer.file_bytes("a", 0o644, Owner::ROOT, b"").expect("new");
        assert!(matches!(layer.file_bytes("a", 0o644, Owner::ROOT, b""), Err(Error::Duplicate { .. })));
        assert!(matches!(layer.directory("a", 0o755, Owner::ROOT), Err(Error::Duplicate { .. })));
        assert!(matches!(layer.file_bytes("a/b", 0o644, Owner::ROOT, b""), Err(Error::NotAFolder { .. })));
        layer.directory("d", 0o755, Owner::ROOT).expect("new");
        assert!(matches!(layer.directory("d", 0o700, Owner::ROOT), Err(Error::Duplicate { .. })));
        assert!(matches!(layer.hard_link("h", "d", 0o644, Owner::ROOT), Err(Error::Path { .. })));
    }

    #[test]
    fn a_source_must_have_the_announced_size() {
        for (announced, found) in [(2, 3), (4, 3)] {
            let mut layer = LayerWriter::new(Vec::new(), 0);
            let result = layer.file("a", 0o644, Owner::ROOT, announced, &mut b"abc".as_slice());
            assert!(matches!(result, Err(Error::Size { found: f, .. }) if f == found), "{announced}");
        }
    }

    #[test]
    fn a_stream_is_copied_unchanged_and_passes_by() {
        let content = noise(20_000, 7);
        let stream = deflate(&content);
        let mut seen = Vec::new();
        let bytes = layer_bytes(|layer| {
            layer.deflated("a", 0o755, Owner::ROOT, deflated(&content, &stream), &mut |piece| {
                seen.extend_from_slice(piece);
            })
        });
        assert_eq!(seen, content);
        assert!(bytes.windows(stream.len()).any(|window| window == stream));
        assert_eq!(Tree::read(&bytes).files()["a"], content);
    }

    #[test]
    fn streams_larger_than_memory_allows_are_checked_as_well() {
        let content = vec![7; 20 << 20];
        let stream = deflate(&content);
        let write = |claim: &dyn Fn(&mut Deflated<&[u8]>)| {
            let mut claimed = deflated(&content, &stream);
            claim(&mut claimed);
            LayerWriter::new(Vec::new(), 0).deflated("a", 0o644, Owner::ROOT, claimed, &mut |_| {})
        };
        write(&|_| {}).expect("a sound stream");
        let refused = |result: Result<(), Error>| match result {
            Err(Error::Content { source, .. }) => source.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(refused(write(&|claimed| claimed.crc32 ^= 1)).contains("CRC-32"));
        assert!(refused(write(&|claimed| claimed.uncompressed_size -= 1)).contains("inflates to"));
        assert!(refused(write(&|claimed| claimed.uncompressed_size += 1)).contains("inflates to"));
        assert_eq!(refused(write(&|claimed| claimed.compressed_size -= 1)), "the deflate stream is damaged");
        assert!(refused(write(&|claimed| claimed.compressed_size += 1)).contains("ends 1 bytes before"));
    }

    #[test]
    fn bytes_cannot_hide_behind_a_copy_of_the_trailer() {
        let content = noise(6000, 3);
        let mut stream = deflate(&content);
        stream.extend_from_slice(&crc32fast::hash(&content).to_le_bytes());
        stream.extend_from_slice(&(content.len() as u32).to_le_bytes());
        stream.extend_from_slice(b"hidden");
        let mut layer = LayerWriter::new(Vec::new(), 0);
        let result = layer.deflated("a", 0o644, Owner::ROOT, deflated(&content, &stream), &mut |_| {});
        assert!(matches!(result, Err(Error::Content { source: gzip::Error::Trailing(14), .. })), "{result:?}");
    }

    #[test]
    fn gnu_tar_and_gzip_read_a_layer() {
        let content = noise(9000, 11);
        let stream = deflate(&content);
        let long = format!("opt/{}/ü", "x".repeat(120));
        let bytes = layer_bytes(|layer| {
            layer.file_bytes(&long, 0o644, Owner::ROOT, b"long")?;
            layer.deflated("opt/lib.so", 0o755, Owner::ROOT, deflated(&content, &stream), &mut |_| {})?;
            layer.symlink("opt/link", "lib.so", Owner::ROOT)
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("layer.tar.gz");
        std::fs::write(&file, bytes).expect("a file");
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).arg(&file).output().expect(program);
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        run("gzip", &["-t"]);
        let listing = run("tar", &["--quoting-style=literal", "-tzf"]);
        assert_eq!(listing, format!("opt/\nopt/{}/\n{long}\nopt/lib.so\nopt/link\n", "x".repeat(120)));
    }

    /// A reader that gives its bytes in pieces of another size each time.
    struct Cut<'a>(&'a [u8], usize);

    impl Read for Cut<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 * 31 % 4093 + 1;
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn bytes_do_not_depend_on_how_a_source_is_read(sizes in prop::collection::vec(0usize..900_000, 1..5), cut in 1usize..4000) {
            let contents: Vec<Vec<u8>> = sizes.iter().map(|&size| noise(size, size as u64)).collect();
            let write = |cut: Option<usize>| layer_bytes(|layer| {
                for (number, content) in contents.iter().enumerate() {
                    let path = format!("f{number}");
                    match cut {
                        None => layer.file_bytes(&path, 0o644, Owner::ROOT, content)?,
                        Some(cut) => {
                            let size = content.len() as u64;
                            layer.file(&path, 0o644, Owner::ROOT, size, &mut Cut(content, cut))?;
                        }
                    }
                }
                Ok::<_, Error>(())
            });
            let whole = write(None);
            prop_assert_eq!(&whole, &write(Some(cut)));
            let tree = Tree::read(&whole);
            for (number, content) in contents.iter().enumerate() {
                prop_assert_eq!(tree.files()[format!("f{number}").as_str()], content.as_slice());
            }
        }

        #[test]
        fn a_damaged_stream_is_refused(size in 0usize..20_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let content: Vec<u8> = noise(size, 5).iter().map(|byte| byte & 3).collect();
            let mut stream = deflate(&content);
            let index = at.index(stream.len());
            stream[index] ^= 1 << bit;
            let mut layer = LayerWriter::new(Vec::new(), 0);
            let mut plain = Vec::new();
            let result = layer.deflated("a", 0o644, Owner::ROOT, deflated(&content, &stream), &mut |piece| plain.extend_from_slice(piece));
            // Bits that say nothing, in the padding of the last byte, may differ.
            prop_assert!(result.is_err() || plain == content);
        }
    }
}
