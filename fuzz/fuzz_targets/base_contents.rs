//! The table of contents of somebody's layer is refused, or what it gives of a file is what it names by digest, however the
//! layer was damaged afterwards.

#![no_main]

use std::collections::BTreeSet;
use std::io::Write as _;

use arbitrary::Arbitrary;
use base64::Engine as _;
use imgforge::assemble::base::{Base, Error};
use imgforge::oci::Digest;
use imgforge::{lock, oci, registry, store};

#[allow(dead_code, reason = "the target goes around registries and stores")]
#[path = "../../src/assemble/base/contents.rs"]
mod contents;
#[allow(dead_code, reason = "the target goes around registries and stores")]
#[path = "../../src/assemble/base/files.rs"]
mod files;
#[allow(dead_code, reason = "the target goes around registries and stores")]
#[path = "../../src/assemble/base/tar_stream.rs"]
mod tar_stream;
#[allow(dead_code, reason = "the target writes tables that no writer would")]
#[path = "../../src/assemble/toc.rs"]
mod toc;

/// Where the sources look for these.
mod assemble {
    pub(crate) use crate::toc;
}
mod tar {
    pub(crate) use imgforge::assemble::Owner;
}

const KINDS: [&str; 7] = ["reg", "chunk", "reg", "symlink", "hardlink", "dir", "char"];
const NAMES: [&str; 6] = ["etc/passwd", "./etc/group", "etc", "etc/.wh.passwd", "etc/.wh..wh..opq", "usr/bin"];
/// What the layer's members hold.
const MEMBERS: [&[u8]; 3] = [b"root:x:0:0:root:/root:/bin/sh\n", b"root:x:0:\ndaemon:x:1:\nbin:x:2:\n", b""];
/// Largest file that is read.
const FILE_LIMIT: u64 = 1 << 20;

#[derive(Arbitrary, Debug)]
struct Input {
    entries: Vec<Entry>,
    /// A table in place of the entries.
    table: Option<String>,
    /// A byte of the layer, and what it is changed by.
    damage: (u16, u8),
}

#[derive(Arbitrary, Debug)]
struct Entry {
    kind: u8,
    name: u8,
    link: String,
    /// The member that its piece lies in, and where it begins there.
    member: u8,
    inner_offset: u8,
    /// Bytes of the piece, if not the rest of the member; of the file, if it has more pieces; of it before this one.
    length: Option<u8>,
    size: Option<u8>,
    chunk_offset: u8,
    /// Which of the numbers is `wild` instead, or whether its digest is another's.
    fault: u8,
    wild: u64,
    is_chunk_digest: bool,
}

impl Entry {
    fn kind(&self) -> &'static str {
        KINDS[usize::from(self.kind) % KINDS.len()]
    }

    fn name(&self) -> &'static str {
        NAMES[usize::from(self.name) % NAMES.len()]
    }

    fn number(&self, fault: u8, number: u64) -> u64 {
        if self.fault == fault { self.wild } else { number }
    }

    /// The last one is none: nobody knows what lies there.
    fn member(&self) -> usize {
        usize::from(self.member) % (MEMBERS.len() + 1)
    }

    fn inner_offset(&self) -> u64 {
        self.number(1, self.inner_offset.into())
    }

    fn size(&self) -> u64 {
        self.number(2, self.size.map_or(self.piece().len() as u64, u64::from))
    }

    /// The bytes that it speaks of, as far as its member has them.
    fn piece(&self) -> &'static [u8] {
        let plain = MEMBERS.get(self.member()).copied().unwrap_or_default();
        let rest = usize::try_from(self.inner_offset()).ok().and_then(|start| plain.get(start..)).unwrap_or_default();
        self.length.and_then(|length| rest.get(..length.into())).unwrap_or(rest)
    }

    fn json(&self, offsets: &[u64]) -> serde_json::Value {
        let digest = if self.fault == 3 { Digest::of(b"another") } else { Digest::of(self.piece()) };
        let offset = offsets.get(self.member()).copied().unwrap_or(self.member.into());
        let key = if self.is_chunk_digest { "chunkDigest" } else { "digest" };
        serde_json::json!({
            "name": self.name(),
            "type": self.kind(),
            "linkName": self.link,
            "size": self.size(),
            "offset": self.number(4, offset),
            "innerOffset": self.inner_offset(),
            "chunkOffset": self.number(5, self.chunk_offset.into()),
            "chunkSize": self.number(6, self.length.map_or(0, u64::from)),
            key: digest,
        })
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

fn tar_of(json: &[u8]) -> Vec<u8> {
    let mut header = ::tar::Header::new_gnu();
    header.set_size(json.len() as u64);
    let mut archive = ::tar::Builder::new(Vec::new());
    archive.append_data(&mut header, toc::NAME, json).expect("an entry");
    archive.into_inner().expect("memory takes everything")
}

/// What the entries say a file holds: the pieces of the last entry of that name, one after the other.
fn promised(path: &str, entries: &[Entry]) -> Vec<u8> {
    let is_it = |entry: &Entry| entry.name().trim_start_matches("./") == path;
    let last = entries.iter().rposition(|entry| is_it(entry) && entry.kind() != "chunk").expect("an entry");
    let first = &entries[last];
    assert_eq!(first.kind(), "reg");
    if first.size() == 0 {
        return Vec::new();
    }
    let more = entries[last + 1..].iter().take_while(|entry| entry.kind() == "chunk" && entry.name() == first.name());
    std::iter::once(first).chain(more).flat_map(Entry::piece).copied().collect()
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let Input { entries, table, damage: (place, change) } = input;
    let (mut layer, mut offsets) = (Vec::new(), Vec::new());
    for member in MEMBERS {
        offsets.push(layer.len() as u64);
        layer.extend(gzip(member));
    }
    let rows: Vec<_> = entries.iter().map(|entry| entry.json(&offsets)).collect();
    let is_text = table.is_some();
    let json = table.unwrap_or_else(|| serde_json::json!({ "version": 1, "entries": rows }).to_string());
    let offset = layer.len() as u64;
    layer.extend(gzip(&tar_of(json.as_bytes())));
    layer.extend(toc::footer(offset));
    let place = usize::from(place) % layer.len();
    layer[place] ^= change;

    let mut range = |offset: u64, length: u64| {
        let rest = usize::try_from(offset).ok().and_then(|start| layer.get(start..)).unwrap_or_default();
        Ok(usize::try_from(length).ok().and_then(|length| rest.get(..length)).unwrap_or(rest).to_vec())
    };
    let wanted: BTreeSet<String> = ["etc/passwd", "etc/group"].map(str::to_owned).into();
    let search = files::Search::new(&wanted, FILE_LIMIT);
    let Ok(found) = contents::search(search, layer.len() as u64, &Digest::of(json.as_bytes()), &mut range) else {
        return;
    };
    for (path, finding) in found {
        assert!(wanted.contains(&path));
        if let files::Finding::File(text) = finding {
            let content = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
            assert!(content.len() as u64 <= FILE_LIMIT);
            assert!(is_text || content == promised(&path, &entries), "{path}");
        }
    }
});
