//! The table of contents that makes a layer lazily pullable: eStargz, a gzip-compressed tar whose last entry says where each
//! file's content begins among the gzip members.
//!
//! Source: containerd/stargz-snapshotter, docs/estargz.md. A layer made of members has that shape already. Small files share
//! a member (`innerOffset`), as the format's own tools write them with a minimal chunk size; nothing is prefetched, which
//! the landmark file says. Engines that do not know the format unpack the layer as it is.

use serde::Serialize;

use super::tar::Owner;
use crate::lock::Moment;
use crate::oci::Digest;

/// Name of the table's entry.
pub(super) const NAME: &str = "stargz.index.json";
/// The file that says that there is nothing to prefetch, and its content.
pub(super) const LANDMARK: (&str, [u8; 1]) = (".no.prefetch.landmark", [0xf]);
/// On the layer's descriptor: the digest of the table.
pub const TOC_ANNOTATION: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Entries of a layer, in the order of the tar.
pub(super) struct Toc {
    json: Vec<u8>,
    modified: String,
}

/// A piece of a file's content that lies in one gzip member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// Where the member begins in the compressed layer.
    pub(super) offset: u64,
    /// Where the piece begins in the member's plain content.
    pub(super) inner_offset: u64,
    /// Bytes of the piece.
    pub(super) size: u64,
    /// sha256 of the piece.
    pub(super) digest: Digest,
}

/// What every entry has; the keys are the format's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    modtime: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    link_name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    inner_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Toc {
    /// A table of entries that were all modified at `modified`, in seconds since 1970.
    pub(super) fn new(modified: u64) -> Self {
        Self { json: br#"{"version":1,"entries":["#.to_vec(), modified: Moment::from_seconds(modified).to_string() }
    }

    /// A folder, a link or an empty file; `target` is where a link leads, empty for others.
    pub(super) fn plain(&mut self, kind: &'static str, path: &str, target: &str, mode: u32, owner: Owner) {
        let modified = std::mem::take(&mut self.modified);
        let name = if kind == "dir" { format!("{path}/") } else { path.to_owned() };
        self.add(&Entry { link_name: target, ..Entry::of(&name, kind, &modified, mode, owner) });
        self.modified = modified;
    }

    /// A file with content.
    pub(super) fn file(&mut self, path: &str, mode: u32, owner: Owner, digest: Digest, chunks: &[Chunk]) {
        let modified = std::mem::take(&mut self.modified);
        let size = chunks.iter().map(|chunk| chunk.size).sum();
        let mut position = 0;
        for (number, chunk) in chunks.iter().enumerate() {
            let is_last = number + 1 == chunks.len();
            let entry = match number {
                0 => Entry { size, digest: Some(digest), ..Entry::of(path, "reg", &modified, mode, owner) },
                _ => Entry::of(path, "chunk", "", 0, Owner::ROOT),
            };
            self.add(&Entry {
                offset: chunk.offset,
                inner_offset: chunk.inner_offset,
                chunk_offset: position,
                chunk_size: if is_last { 0 } else { chunk.size },
                chunk_digest: Some(chunk.digest),
                ..entry
            });
            position += chunk.size;
        }
        self.modified = modified;
    }

    /// The table as JSON.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}\n");
        self.json
    }

    fn add(&mut self, entry: &Entry<'_>) {
        if self.json.last() != Some(&b'[') {
            self.json.push(b',');
        }
        // Numbers and text always become JSON.
        self.json.extend(serde_json::to_vec(entry).unwrap_or_default());
    }
}

impl<'a> Entry<'a> {
    fn of(name: &'a str, kind: &'static str, modtime: &'a str, mode: u32, owner: Owner) -> Self {
        Self {
            name,
            kind,
            size: 0,
            modtime,
            link_name: "",
            mode: u64::from(mode),
            uid: u64::from(owner.user),
            gid: u64::from(owner.group),
            offset: 0,
            inner_offset: 0,
            digest: None,
            chunk_offset: 0,
            chunk_size: 0,
            chunk_digest: None,
        }
    }
}

/// Bytes of [`footer`].
pub(super) const FOOTER_SIZE: u64 = 51;

/// Where the table's member begins, by a footer.
pub(super) fn offset_in(bytes: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(bytes.get(16..32)?).ok()?;
    let offset = u64::from_str_radix(digits, 16).ok()?;
    (footer(offset) == bytes).then_some(offset)
}

/// The layer's last 51 bytes: an empty gzip member whose extra field says where the table's member begins.
pub(super) fn footer(offset: u64) -> Vec<u8> {
    let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
    footer.extend_from_slice(&26u16.to_le_bytes());
    footer.extend_from_slice(b"SG");
    footer.extend_from_slice(&22u16.to_le_bytes());
    footer.extend_from_slice(format!("{offset:016x}STARGZ").as_bytes());
    // A stored, final block of no bytes, then CRC-32 and size of nothing.
    footer.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    footer.extend_from_slice(&[0; 8]);
    footer
}
