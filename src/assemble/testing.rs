//! An independent reader of layers for the tests: the `tar` crate behind flate2's gzip, not our own code; and a reader by the
//! table of contents, as lazily pulling engines read.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde_json::Value;

use super::layer::LayerWriter;
use super::toc;
use crate::oci::{Compression, DiffId, Digest};

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
    /// The entries of compressed bytes, without the two that every layer has.
    pub(crate) fn read(compressed: &[u8]) -> Self {
        let mut tree = Self::read_all(compressed);
        let own: Vec<String> = tree.0.split_off(tree.0.len() - 2).into_iter().map(|entry| entry.path).collect();
        assert_eq!(own, [toc::LANDMARK.0, toc::NAME]);
        tree
    }

    /// The entries of compressed bytes.
    fn read_all(compressed: &[u8]) -> Self {
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
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    build(&mut layer).expect("a layer");
    let finished = layer.finish().expect("a layer");
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(finished.sink.as_slice()).read_to_end(&mut plain).expect("gzip members");
    assert_eq!(finished.diff_id, DiffId::of(&plain));
    assert_eq!(finished.digest, Digest::of(&finished.sink));
    assert_eq!(finished.size, finished.sink.len() as u64);
    assert_eq!(Some(check_toc(&finished.sink)), finished.toc);
    finished.sink
}

/// Reads every file of a layer through its table of contents and compares with the tar: names, attributes, contents, hashes.
/// Returns the table's digest. Written after the format's document, not after our writer.
fn check_toc(layer: &[u8]) -> Digest {
    let footer = &layer[layer.len() - 51..];
    assert_eq!(footer[..16], [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
    let field = std::str::from_utf8(&footer[16..38]).expect("ASCII");
    let offset = usize::from_str_radix(field.strip_suffix("STARGZ").expect("the magic"), 16).expect("hexadecimal");
    let mut archive = ::tar::Archive::new(flate2::read::GzDecoder::new(&layer[offset..]));
    let mut entry = archive.entries().expect("a tar").next().expect("an entry").expect("the table");
    assert_eq!(entry.path().expect("a name").to_str(), Some("stargz.index.json"));
    let mut json = Vec::new();
    entry.read_to_end(&mut json).expect("the table");
    let table: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(table["version"], 1);
    let entries = table["entries"].as_array().expect("entries");
    let number = |value: &Value| value.as_u64().unwrap_or(0);

    let piece = |chunk: &Value, size: u64| {
        let mut member = flate2::read::GzDecoder::new(&layer[number(&chunk["offset"]) as usize..]);
        std::io::copy(&mut member.by_ref().take(number(&chunk["innerOffset"])), &mut std::io::sink())
            .expect("a member");
        let mut piece = vec![0; size as usize];
        member.read_exact(&mut piece).expect("a piece lies in one member");
        assert_eq!(chunk["chunkDigest"], Digest::of(&piece).to_string());
        piece
    };
    let mut rest = entries.iter().peekable();
    for expected in Tree::read_all(layer).0.iter().filter(|entry| entry.path != "stargz.index.json") {
        let found = rest.next().expect("an entry of the table");
        assert_eq!(found["name"], expected.path.as_str());
        let kind = match expected.kind {
            'f' => "reg",
            'h' => "hardlink",
            'l' => "symlink",
            _ => "dir",
        };
        assert_eq!(found["type"], kind);
        assert_eq!(found["linkName"].as_str(), expected.link.as_deref());
        assert_eq!(number(&found["mode"]), u64::from(expected.mode));
        assert_eq!((number(&found["uid"]), number(&found["gid"])), expected.owner);
        assert_eq!(number(&found["size"]), expected.content.len() as u64);
        if expected.content.is_empty() {
            continue;
        }
        let mut chunks = vec![found];
        while let Some(chunk) = rest.next_if(|entry| entry["type"] == "chunk") {
            chunks.push(chunk);
        }
        let mut content = Vec::new();
        for (position, chunk) in chunks.iter().enumerate() {
            assert_eq!(number(&chunk["chunkOffset"]), content.len() as u64);
            let size = match position + 1 == chunks.len() {
                true => {
                    assert_eq!(number(&chunk["chunkSize"]), 0);
                    expected.content.len() as u64 - content.len() as u64
                }
                false => number(&chunk["chunkSize"]),
            };
            content.extend(piece(chunk, size));
        }
        assert_eq!(content, expected.content);
        assert_eq!(found["digest"], Digest::of(&content).to_string());
    }
    assert!(rest.next().is_none(), "the table has more entries than the tar");
    Digest::of(&json)
}

/// The entries that `build` makes.
pub(crate) fn layer_tree<E: std::fmt::Debug>(build: impl FnOnce(&mut LayerWriter<Vec<u8>>) -> Result<(), E>) -> Tree {
    Tree::read(&layer_bytes(build))
}
