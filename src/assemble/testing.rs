//! An independent reader of layers for the tests: the `tar` crate behind flate2's gzip, not our own code.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::layer::LayerWriter;
use crate::oci::{DiffId, Digest};

/// A layer's entries, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) Vec<TreeEntry>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub(crate) path: String,
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) link: Option<String>,
    pub(crate) content: Vec<u8>,
}

impl Tree {
    /// The entries of compressed bytes.
    pub(crate) fn read(compressed: &[u8]) -> Self {
        let mut archive = ::tar::Archive::new(flate2::read::MultiGzDecoder::new(compressed));
        let entries = archive.entries().expect("a tar").map(|entry| {
            let mut entry = entry.expect("an entry");
            let header = entry.header();
            let kind = match header.entry_type() {
                ::tar::EntryType::Regular => 'f',
                ::tar::EntryType::Link => 'h',
                ::tar::EntryType::Symlink => 'l',
                ::tar::EntryType::Directory => 'd',
                other => panic!("unexpected entry type {other:?}"),
            };
            let mode = header.mode().expect("a mode");
            let owner = (header.uid().expect("a user"), header.gid().expect("a group"));
            let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
            let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).expect("UTF-8"));
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("a content");
            TreeEntry { path, kind, mode, owner, link, content }
        });
        Self(entries.collect())
    }

    /// One line an entry.
    pub(crate) fn listing(&self) -> String {
        let line = |TreeEntry { path, kind, mode, owner, link, .. }: &TreeEntry| {
            let link = link.as_ref().map(|link| format!(" -> {link}")).unwrap_or_default();
            format!("{kind} {mode:04o} {}:{} {path}{link}\n", owner.0, owner.1)
        };
        self.0.iter().map(line).collect()
    }

    /// Contents of the regular files by path.
    pub(crate) fn files(&self) -> BTreeMap<&str, &[u8]> {
        let files = self.0.iter().filter(|entry| entry.kind == 'f');
        files.map(|entry| (entry.path.as_str(), entry.content.as_slice())).collect()
    }

    /// A file's content as text.
    pub(crate) fn text(&self, path: &str) -> &str {
        let content = self.files().remove(path).unwrap_or_else(|| panic!("no file `{path}` in\n{}", self.listing()));
        std::str::from_utf8(content).expect("UTF-8")
    }
}

/// The compressed bytes that `build` makes, after a check of digest, diff_id and size against them.
pub(crate) fn layer_bytes<E: std::fmt::Debug>(
    build: impl FnOnce(&mut LayerWriter<Vec<u8>>) -> Result<(), E>,
) -> Vec<u8> {
    let mut layer = LayerWriter::new(Vec::new(), 0);
    build(&mut layer).expect("a layer");
    let finished = layer.finish().expect("a layer");
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(finished.sink.as_slice()).read_to_end(&mut plain).expect("gzip members");
    assert_eq!(finished.diff_id, DiffId::of(&plain));
    assert_eq!(finished.digest, Digest::of(&finished.sink));
    assert_eq!(finished.size, finished.sink.len() as u64);
    finished.sink
}

/// The entries that `build` makes.
pub(crate) fn layer_tree<E: std::fmt::Debug>(build: impl FnOnce(&mut LayerWriter<Vec<u8>>) -> Result<(), E>) -> Tree {
    Tree::read(&layer_bytes(build))
}
