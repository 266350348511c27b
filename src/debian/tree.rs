//! A root file system as data: sorted paths and what stands at each. Contents of package files lie in one spool file, so
//! that memory does not grow with the image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In memory: what is generated.
    Bytes(Vec<u8>),
    /// In the tree's spool file.
    Spooled {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A folder.
    Directory,
    /// A file.
    File(Content),
    /// A symbolic link with its target as it will be written.
    Symlink(String),
    /// Another name of the file at this path of the tree.
    Hardlink(String),
}

/// A path's node with its owner and permissions. Times are the layer writer's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits, set-id and sticky bits included.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A finished tree. Paths are relative without `./`, `usr/bin/python3.11`; every path's parents are there as folders, in
/// front of it.
#[derive(Debug)]
pub struct Root {
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) spool: File,
}

impl Content {
    /// Number of bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Spooled { length, .. } => *length,
        }
    }
}

impl Node {
    pub(super) fn directory(mode: u32) -> Self {
        Self { kind: NodeKind::Directory, mode, uid: 0, gid: 0 }
    }
    pub(super) fn file(bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind: NodeKind::File(Content::Bytes(bytes.into())), mode: 0o644, uid: 0, gid: 0 }
    }
    pub(super) fn symlink(target: &str) -> Self {
        Self { kind: NodeKind::Symlink(target.to_owned()), mode: 0o777, uid: 0, gid: 0 }
    }
}

impl Root {
    /// All nodes, sorted by path. Hard links may stand before the file that they name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The node at a path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// A reader of a file's bytes. Several may be open at once.
    pub fn open<'a>(&'a self, content: &'a Content) -> Box<dyn Read + 'a> {
        match content {
            Content::Bytes(bytes) => Box::new(bytes.as_slice()),
            Content::Spooled { offset, length } => {
                Box::new(SpoolReader { spool: &self.spool, offset: *offset, left: *length })
            }
        }
    }

    /// At most `length` bytes of a file from `offset`; fewer at its end.
    pub(super) fn read_at(&self, content: &Content, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match content {
            Content::Bytes(content) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
                bytes.extend(content[start..].iter().take(usize::try_from(length).unwrap_or(usize::MAX)));
            }
            Content::Spooled { offset: start, length: whole } => {
                let (Some(left), Some(start)) = (whole.checked_sub(offset), start.checked_add(offset)) else {
                    return Ok(bytes);
                };
                let mut reader = SpoolReader { spool: &self.spool, offset: start, left: left.min(length) };
                reader.read_to_end(&mut bytes)?;
            }
        }
        Ok(bytes)
    }

    /// The bytes of the file at a path, links not followed; `None` if there is no file.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(NodeKind::File(content)) = self.get(path).map(|node| &node.kind) else { return Ok(None) };
        let mut bytes = Vec::new();
        self.open(content).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Reads at its own position, so that several readers of one file do not disturb each other.
struct SpoolReader<'a> {
    spool: &'a File,
    offset: u64,
    left: u64,
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.spool.read_at(&mut buffer[..wanted], self.offset)?;
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// The spool file while it grows.
pub(super) struct Spool {
    file: BufWriter<File>,
    length: u64,
}

impl Spool {
    /// A file without a name in `folder`.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(256 * 1024, tempfile::tempfile_in(folder)?), length: 0 })
    }

    /// Appends a file's bytes.
    pub(super) fn append(&mut self, source: &mut dyn Read) -> io::Result<Content> {
        let offset = self.length;
        let length = io::copy(source, &mut self.file)?;
        self.length += length;
        Ok(Content::Spooled { offset, length })
    }

    /// The file, ready to be read.
    pub(super) fn finish(self) -> io::Result<File> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.flush()?;
        Ok(file)
    }
}
