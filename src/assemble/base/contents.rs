//! Files of a layer that has a table of contents (eStargz), read one by one: of a base image of a hundred megabytes the account
//! files are a few kilobytes, and the rest need not be downloaded or inflated.
//!
//! Nothing is believed that the manifest does not vouch for: it names the table by its digest, and the table names each
//! piece of a file. Source: containerd/stargz-snapshotter, docs/estargz.md. Whatever is not as expected is for the long way,
//! which reads the whole layer.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};

use flate2::read::{GzDecoder, MultiGzDecoder};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::files::{Found, Search};
use super::tar_stream::TarStream;
use crate::assemble::toc;
use crate::oci::Digest;

/// Bytes that are read at once, and of the table, at most; that of a layer with a hundred thousand files has thirty megabytes.
const TABLE_LIMIT: u64 = 256 << 20;
/// Entries of a table, at most: in memory they are larger than in the table.
const ENTRY_LIMIT: usize = 1 << 20;
/// Pieces of one file, at most. They usually have 4 MiB, and the files that are wanted are smaller.
const PIECE_LIMIT: usize = 64;
/// Bytes in front of a piece, in its member, that are inflated and dropped at most.
const INNER_LIMIT: u64 = 64 << 20;

/// Gives bytes of the compressed layer: as many as asked for, from an offset.
pub(super) type ReadRange<'a> = dyn FnMut(u64, u64) -> io::Result<Vec<u8>> + 'a;

/// A layer's entries, and where its members begin as far as the table knows, itself included.
struct Table {
    entries: Vec<Entry>,
    members: BTreeSet<u64>,
}

/// The part of the table's JSON that is needed.
#[derive(Deserialize)]
struct Json {
    version: u32,
    #[serde(deserialize_with = "limited")]
    entries: Vec<Entry>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    link_name: String,
    offset: u64,
    inner_offset: u64,
    chunk_offset: u64,
    chunk_size: u64,
    digest: Option<Digest>,
    chunk_digest: Option<Digest>,
}

/// What a layer of `size` compressed bytes says about the paths of a search, by the table with this digest.
pub(super) fn search(
    mut search: Search<'_>,
    size: u64,
    table: &Digest,
    range: &mut ReadRange<'_>,
) -> io::Result<Found> {
    let table = Table::read(size, table, range)?;
    // A layer that has a path twice is one for the long way: each time costs inflating.
    let mut left = search.wanted();
    let mut read = |entry: &Entry, others: &[Entry]| {
        left = left.checked_sub(1).ok_or_else(|| damaged("its table of contents has a path again and again"))?;
        table.content(entry, others, range)
    };
    for (index, entry) in table.entries.iter().enumerate() {
        match entry.kind.as_str() {
            "reg" => {
                let others = table.entries.get(index + 1..).unwrap_or_default();
                search.file(&entry.name, entry.size, &mut || read(entry, others))?;
            }
            "symlink" => search.symlink(&entry.name, entry.link_name.as_bytes()),
            "hardlink" => search.hard_link(&entry.name, entry.link_name.as_bytes()),
            "dir" => search.folder(&entry.name),
            "chunk" => {}
            _ => search.other(&entry.name),
        }
    }
    Ok(search.found())
}

impl Table {
    fn read(size: u64, expected: &Digest, range: &mut ReadRange<'_>) -> io::Result<Self> {
        let end = size.checked_sub(toc::FOOTER_SIZE).ok_or_else(|| damaged("it is too short for a footer"))?;
        let footer = range(end, toc::FOOTER_SIZE)?;
        let offset = toc::offset_in(&footer).filter(|offset| *offset < end);
        let offset = offset.ok_or_else(|| damaged("it does not end with the footer of its format"))?;
        if end - offset > TABLE_LIMIT {
            return Err(damaged("its table of contents is too large"));
        }
        let member = range(offset, end - offset)?;
        let mut stream = TarStream::new(MultiGzDecoder::new(member.as_slice()));
        let entry = stream.next_entry()?.filter(|entry| entry.path == toc::NAME.as_bytes());
        entry.ok_or_else(|| damaged("its table of contents is not where the footer says"))?;
        let json = stream.read_body(TABLE_LIMIT)?;
        if Digest::of(&json) != *expected {
            return Err(damaged("its table of contents is not the one that the manifest names"));
        }
        let Json { version, entries } = serde_json::from_slice(&json)?;
        if version != 1 {
            return Err(damaged("its table of contents has another version"));
        }
        let members = entries.iter().map(|entry| entry.offset).chain([offset]).collect();
        Ok(Self { entries, members })
    }

    /// The content of a file, whose further pieces come first among the `others` behind it.
    fn content(&self, first: &Entry, others: &[Entry], range: &mut ReadRange<'_>) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        if first.size == 0 {
            return Ok(content);
        }
        let more = others.iter().take_while(|entry| entry.kind == "chunk" && entry.name == first.name);
        for (index, piece) in std::iter::once(first).chain(more).enumerate() {
            if index == PIECE_LIMIT {
                return Err(damaged("a file has too many pieces"));
            }
            if piece.chunk_offset != content.len() as u64 || piece.chunk_offset >= first.size {
                return Err(damaged("the pieces of a file do not follow each other"));
            }
            let left = first.size - piece.chunk_offset;
            let size = if piece.chunk_size == 0 { left } else { piece.chunk_size.min(left) };
            let digest = piece.chunk_digest.or(piece.digest.filter(|_| size == first.size));
            let bytes = self.piece(piece, size, range)?;
            if digest != Some(Digest::of(&bytes)) {
                return Err(damaged("a file is not what the table of contents says"));
            }
            content.extend(bytes);
        }
        match content.len() as u64 == first.size {
            true => Ok(content),
            false => Err(damaged("the pieces of a file are not all of it")),
        }
    }

    fn piece(&self, piece: &Entry, size: u64, range: &mut ReadRange<'_>) -> io::Result<Vec<u8>> {
        // A member ends where the next one begins that the table knows of, or earlier.
        let next = self.members.range(piece.offset.saturating_add(1)..).next();
        let end = next.copied().filter(|end| end - piece.offset <= TABLE_LIMIT && piece.inner_offset <= INNER_LIMIT);
        let end = end.ok_or_else(|| damaged("a file is said to lie where no layer ends"))?;
        let compressed = range(piece.offset, end - piece.offset)?;
        let mut member = GzDecoder::new(compressed.as_slice());
        io::copy(&mut (&mut member).take(piece.inner_offset), &mut io::sink())?;
        let mut bytes = Vec::new();
        member.take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A list of entries that is no longer than one of a layer.
fn limited<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    struct Limited;
    impl<'de> Visitor<'de> for Limited {
        type Value = Vec<Entry>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {ENTRY_LIMIT} entries")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Entry>, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = list.next_element()? {
                if entries.len() == ENTRY_LIMIT {
                    return Err(serde::de::Error::invalid_length(entries.len() + 1, &self));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_seq(Limited)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::assemble::layer::LayerWriter;
    use crate::assemble::tar::Owner;
    use crate::oci::Compression;

    /// A layer, its table's digest, and what it says about `etc/passwd` and `etc/link`.
    fn layer() -> (Vec<u8>, Digest) {
        let mut writer = LayerWriter::new(Vec::new(), 0, Compression::default()).expect("a writer");
        writer.file_bytes("etc/passwd", 0o644, Owner::ROOT, b"root:x:0:0\n").expect("written");
        writer.symlink("etc/link", "passwd", Owner::ROOT).expect("written");
        let layer = writer.finish().expect("a layer");
        (layer.sink, layer.toc.expect("a table"))
    }

    fn searched(bytes: &[u8], table: &Digest) -> io::Result<Found> {
        let wanted = ["etc/passwd", "etc/link"].map(str::to_owned).into();
        let mut range = |offset: u64, length: u64| {
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            Ok(rest.get(..length as usize).unwrap_or(rest).to_vec())
        };
        search(Search::new(&wanted, 1 << 20), bytes.len() as u64, table, &mut range)
    }

    fn table_member(json: &[u8]) -> Vec<u8> {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(json.len() as u64);
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = ::tar::Builder::new(gzip);
        archive.append_data(&mut header, toc::NAME, json).expect("a tar");
        archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("gzip")
    }

    #[test]
    fn a_table_tells_what_the_layer_tells() {
        let (bytes, table) = layer();
        assert_eq!(searched(&bytes, &table).expect("found").len(), 2);
        assert!(searched(&bytes[..bytes.len() - 1], &table).is_err());
        assert!(searched(&bytes, &Digest::of(b"")).is_err());
        assert!(searched(b"", &table).is_err());
    }

    /// The layer with this table in place of its own.
    fn with_table(json: &str) -> io::Result<Found> {
        let (mut bytes, _) = layer();
        let offset = bytes.len() as u64;
        bytes.extend(table_member(json.as_bytes()));
        bytes.extend(toc::footer(offset));
        searched(&bytes, &Digest::of(json.as_bytes()))
    }

    #[test]
    fn a_table_that_would_take_long_is_refused() {
        let table = |entries: &str| format!(r#"{{"version":1,"entries":[{entries}]}}"#);
        let refused = |json: &str| with_table(json).expect_err("refused").to_string();
        let many = format!("{}{{}}", "{},".repeat(ENTRY_LIMIT));
        assert!(refused(&table(&many)).starts_with("invalid length 1048577, expected at most 1048576 entries"));
        let again = r#"{"name":"etc/passwd","type":"reg"},"#.repeat(3);
        assert_eq!(refused(&table(again.trim_end_matches(','))), "its table of contents has a path again and again");
        assert!(with_table(&table("")).is_ok());
    }

    proptest! {
        #[test]
        fn damage_anywhere_is_harmless_or_an_error(place: prop::sample::Index, flip in 1..=255_u8, cut: bool) {
            let (whole, table) = layer();
            let mut bytes = whole.clone();
            let at = place.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            if let Ok(found) = searched(&bytes, &table) {
                prop_assert_eq!(found, searched(&whole, &table).expect("found"));
            }
        }

        #[test]
        fn any_table_is_survived(json in r#"\{"version":1,"entries":\[(\{"name":"etc/passwd","type":"(reg|chunk|dir)","size":[0-9]{1,20},"offset":[0-9]{1,20},"innerOffset":[0-9]{1,3}\},?){0,4}\]\}"#) {
            let _ = with_table(&json);
        }
    }
}
