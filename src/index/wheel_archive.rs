//! METADATA out of a wheel that need not be here: reads the end of a zip archive and the one member that counts.
//!
//! The layout is that of PKWARE's APPNOTE 6.3: the end record (with its zip64 form) points to the central directory, whose
//! entries point to local headers. Every number comes from a stranger: sizes have limits before anything is allocated,
//! and offsets are checked against the archive's size.

use std::io::{self, Read as _};
use std::str::FromStr as _;

use pep440_rs::Version;

use crate::version::wheel_tag::{WheelFilename, normalize_name};

/// Longest central directory that is read; one of 300 000 files has about 40 MiB.
const DIRECTORY_LIMIT: u64 = 64 * 1024 * 1024;
/// Longest METADATA, packed or not.
pub(super) const METADATA_LIMIT: u64 = 16 * 1024 * 1024;
/// Longest end record: 22 bytes and a comment of 65535.
pub(super) const END_LIMIT: u64 = 22 + 65_535;
/// What a local header's extra field may need beyond the directory's; a longer one costs another read.
const EXTRA_GUESS: u64 = 512;

const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const ZIP64_LOCATOR_SIGNATURE: &[u8] = b"PK\x06\x07";
const ZIP64_END_SIGNATURE: &[u8] = b"PK\x06\x06";
const ENTRY_SIGNATURE: &[u8] = b"PK\x01\x02";
const LOCAL_SIGNATURE: &[u8] = b"PK\x03\x04";

/// Bytes that can be read from any offset.
pub(super) trait ReadAt {
    /// Bytes in all.
    fn size(&self) -> u64;
    /// Exactly `length` bytes from `offset` on; callers stay within `size`.
    fn read_at(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>>;
}

impl ReadAt for std::fs::File {
    fn size(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }
    fn read_at(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        std::os::unix::fs::FileExt::read_exact_at(self, &mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Why METADATA cannot be read from an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// Bytes could not be had.
    #[error("cannot read the wheel: {cause}")]
    Read {
        /// The cause.
        cause: String,
    },
    /// The bytes contradict the format.
    #[error("it is not a sound zip archive: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// A part is longer than any real one.
    #[error("its {what} claims {bytes} bytes; at most {limit} are read")]
    TooLarge {
        /// The part.
        what: &'static str,
        /// Bytes claimed.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// No `.dist-info/METADATA` belongs to the file name.
    #[error("it has no `{member}`")]
    NoMetadata {
        /// The member that should be there.
        member: String,
    },
    /// METADATA is encrypted or packed in a way that wheels may not use.
    #[error("its METADATA is packed by method {method}; wheels store or deflate")]
    Method {
        /// Number of the method; 65535 stands for encryption.
        method: u16,
    },
}

fn damaged(what: &'static str) -> ArchiveError {
    ArchiveError::Damaged { what }
}

/// METADATA of the wheel with that file name.
pub(super) fn read_metadata(source: &mut dyn ReadAt, wheel: &WheelFilename) -> Result<Vec<u8>, ArchiveError> {
    let (offset, size) = find_directory(source)?;
    let directory = read(source, offset, size)?;
    let mut fallback = None;
    let mut rest = directory.as_slice();
    while let Some(entry) = next_entry(&mut rest)? {
        let Some(stem) = entry.name.strip_suffix(".dist-info/METADATA").filter(|stem| !stem.contains('/')) else {
            continue;
        };
        let (name, version) = stem.rsplit_once('-').unwrap_or((stem, ""));
        if normalize_name(name) != wheel.name {
            continue;
        }
        if Version::from_str(version).is_ok_and(|version| version == wheel.version) {
            return read_member(source, &entry);
        }
        // Old build tools wrote the version otherwise than in the file name.
        fallback.get_or_insert(entry);
    }
    let entry = fallback.ok_or_else(|| ArchiveError::NoMetadata {
        member: format!("{}-{}.dist-info/METADATA", wheel.name.replace('-', "_"), wheel.version),
    })?;
    read_member(source, &entry)
}

fn read(source: &mut dyn ReadAt, offset: u64, length: u64) -> Result<Vec<u8>, ArchiveError> {
    if offset.checked_add(length).is_none_or(|end| end > source.size()) {
        return Err(damaged("a part lies beyond its end"));
    }
    let bytes = source.read_at(offset, length).map_err(|error| ArchiveError::Read { cause: error.to_string() })?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(damaged("it is shorter than its size")) }
}

/// Offset and size of the central directory.
fn find_directory(source: &mut dyn ReadAt) -> Result<(u64, u64), ArchiveError> {
    let tail_size = source.size().min(END_LIMIT);
    let tail_start = source.size() - tail_size;
    let tail = read(source, tail_start, tail_size)?;
    let end = (0..tail.len().saturating_sub(21)).rev().find(|&at| {
        let comment = number(&tail, at + 20, 2).and_then(|length| usize::try_from(length).ok());
        starts_with(&tail, at, END_SIGNATURE) && comment.is_some_and(|comment| at + 22 + comment == tail.len())
    });
    let end = end.ok_or_else(|| damaged("it has no end record"))?;
    let field = |at, width| number(&tail, end + at, width).ok_or_else(|| damaged("its end record is cut"));
    let (entries, mut size, mut offset) = (field(10, 2)?, field(12, 4)?, field(16, 4)?);
    if entries == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff {
        let locator = (tail_start + end as u64).checked_sub(20).ok_or_else(|| damaged("it has no zip64 locator"))?;
        let locator = read(source, locator, 20)?;
        // Without a locator the numbers are what they are: exactly 65535 entries is possible.
        if starts_with(&locator, 0, ZIP64_LOCATOR_SIGNATURE) {
            let at = number(&locator, 8, 8).ok_or_else(|| damaged("its zip64 locator is cut"))?;
            let record = read(source, at, 56)?;
            if !starts_with(&record, 0, ZIP64_END_SIGNATURE) {
                return Err(damaged("its zip64 locator points elsewhere"));
            }
            let field = |at| number(&record, at, 8).ok_or_else(|| damaged("its zip64 end record is cut"));
            (size, offset) = (field(40)?, field(48)?);
        }
    }
    if size > DIRECTORY_LIMIT {
        return Err(ArchiveError::TooLarge { what: "directory", bytes: size, limit: DIRECTORY_LIMIT });
    }
    Ok((offset, size))
}

/// What the directory says of one member.
struct Entry {
    name: String,
    encrypted: bool,
    method: u16,
    crc32: u32,
    packed: u64,
    unpacked: u64,
    local_header: u64,
}

/// Takes the next entry off the directory.
fn next_entry(directory: &mut &[u8]) -> Result<Option<Entry>, ArchiveError> {
    let bytes = *directory;
    if !starts_with(bytes, 0, ENTRY_SIGNATURE) {
        return if bytes.is_empty() { Ok(None) } else { Err(damaged("its directory holds something else")) };
    }
    let cut = || damaged("its directory is cut");
    let field = |at, width| number(bytes, at, width).ok_or_else(cut);
    let length = |at| Ok::<_, ArchiveError>(field(at, 2)? as usize);
    let (name_end, extra_length, comment_length) = (46 + length(28)?, length(30)?, length(32)?);
    let extra_end = name_end + extra_length;
    let name = bytes.get(46..name_end).ok_or_else(cut)?;
    let extra = bytes.get(name_end..extra_end).ok_or_else(cut)?;
    *directory = bytes.get(extra_end + comment_length..).ok_or_else(cut)?;
    let mut entry = Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        encrypted: field(8, 2)? & 1 != 0,
        method: field(10, 2)? as u16,
        crc32: field(16, 4)? as u32,
        packed: field(20, 4)?,
        unpacked: field(24, 4)?,
        local_header: field(42, 4)?,
    };
    if let Some(wide) = zip64_field(extra) {
        // The wide numbers stand in this order, and only those whose narrow form is full.
        let mut at = 0;
        for value in [&mut entry.unpacked, &mut entry.packed, &mut entry.local_header] {
            if *value == 0xffff_ffff {
                *value = number(wide, at, 8).ok_or_else(cut)?;
                at += 8;
            }
        }
    }
    Ok(Some(entry))
}

/// The extra field with identifier 1.
fn zip64_field(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (identifier, length) = (number(extra, 0, 2)?, number(extra, 2, 2)? as usize);
        let content = extra.get(4..4 + length)?;
        if identifier == 1 {
            return Some(content);
        }
        extra = extra.get(4 + length..)?;
    }
}

fn read_member(source: &mut dyn ReadAt, entry: &Entry) -> Result<Vec<u8>, ArchiveError> {
    for bytes in [entry.packed, entry.unpacked] {
        if bytes > METADATA_LIMIT {
            return Err(ArchiveError::TooLarge { what: "METADATA", bytes, limit: METADATA_LIMIT });
        }
    }
    if entry.encrypted {
        return Err(ArchiveError::Method { method: u16::MAX });
    }
    // Header and content in one read: each is a request when the wheel is remote.
    let start = entry.local_header;
    let wanted = 30 + entry.name.len() as u64 + EXTRA_GUESS + entry.packed;
    let available = source.size().checked_sub(start).ok_or_else(|| damaged("a part lies beyond its end"))?;
    let head = read(source, start, wanted.min(available))?;
    if !starts_with(&head, 0, LOCAL_SIGNATURE) {
        return Err(damaged("METADATA has no local header"));
    }
    let cut = || damaged("the header of METADATA is cut");
    let data = 30 + number(&head, 26, 2).ok_or_else(cut)? + number(&head, 28, 2).ok_or_else(cut)?;
    let range = data as usize..(data + entry.packed) as usize;
    let packed = match head.get(range) {
        Some(packed) => packed.to_vec(),
        None => read(source, start + data, entry.packed)?,
    };
    let content = match entry.method {
        0 => packed,
        8 => {
            let mut content = Vec::new();
            let mut inflated = flate2::read::DeflateDecoder::new(packed.as_slice()).take(METADATA_LIMIT + 1);
            inflated.read_to_end(&mut content).map_err(|_| damaged("METADATA does not inflate"))?;
            content
        }
        method => return Err(ArchiveError::Method { method }),
    };
    if content.len() as u64 != entry.unpacked || crc32fast::hash(&content) != entry.crc32 {
        return Err(damaged("METADATA does not match its checksum"));
    }
    Ok(content)
}

fn starts_with(bytes: &[u8], at: usize, signature: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(signature))
}

/// The little-endian number of `width` bytes at `at`.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;

    use super::*;

    struct Memory(Vec<u8>);

    impl ReadAt for Memory {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
            Ok(self.0[offset as usize..(offset + length) as usize].to_vec())
        }
    }

    /// An archive of these members, all deflated.
    pub(in super::super) fn archive(members: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in members {
            writer.start_file(*name, options).expect("started");
            writer.write_all(content).expect("written");
        }
        writer.finish().expect("finished").into_inner()
    }

    fn wheel() -> WheelFilename {
        "Foo_Bar-1.0+cu121-py3-none-any.whl".parse().expect("a wheel name")
    }

    fn metadata(bytes: Vec<u8>) -> Result<Vec<u8>, ArchiveError> {
        read_metadata(&mut Memory(bytes), &wheel())
    }

    const MEMBERS: [(&str, &[u8]); 5] = [
        ("foo_bar/vendored-2.0.dist-info/METADATA", b"vendored"),
        ("other-1.0.dist-info/METADATA", b"other"),
        ("foo_bar-1.dist-info/METADATA", b"another version"),
        ("Foo.Bar-1.0+cu121.dist-info/METADATA", b"Name: foo-bar\nName: foo-bar\nName: foo-bar\n"),
        ("foo_bar-1.0+cu121.dist-info/RECORD", b""),
    ];

    #[test]
    fn the_member_of_the_file_name_is_read() {
        let plain = SimpleFileOptions::default();
        for options in [plain, plain.compression_method(zip::CompressionMethod::Stored), plain.large_file(true)] {
            assert_eq!(metadata(archive(&MEMBERS, options)).as_deref(), Ok(MEMBERS[3].1));
        }
        assert_eq!(metadata(archive(&MEMBERS[..3], plain)).as_deref(), Ok(MEMBERS[2].1));
        assert_eq!(
            metadata(archive(&MEMBERS[..2], plain)),
            Err(ArchiveError::NoMetadata { member: "foo_bar-1.0+cu121.dist-info/METADATA".into() })
        );
    }

    #[test]
    fn archives_with_many_members_have_wide_end_records() {
        let names: Vec<String> = (0..66_000).map(|at| format!("{at}")).collect();
        let mut members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        members.push(MEMBERS[3]);
        let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        assert_eq!(metadata(archive(&members, stored)).as_deref(), Ok(MEMBERS[3].1));
    }

    #[test]
    fn damage_and_excess_are_refused() {
        let whole = archive(&MEMBERS, SimpleFileOptions::default());
        assert_eq!(metadata(Vec::new()), Err(damaged("it has no end record")));
        assert_eq!(metadata(whole[..whole.len() - 1].to_vec()), Err(damaged("it has no end record")));
        let mut large = whole.clone();
        let end = large.len() - 22;
        large[end + 12..end + 16].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        assert_eq!(
            metadata(large),
            Err(ArchiveError::TooLarge { what: "directory", bytes: 0x7fff_ffff, limit: DIRECTORY_LIMIT })
        );
        let mut beyond = whole.clone();
        beyond[end + 16..end + 20].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        assert_eq!(metadata(beyond), Err(damaged("a part lies beyond its end")));
        let name = MEMBERS[3].0.as_bytes();
        let at = whole.windows(name.len()).position(|window| window == name).expect("the local header");
        let mut flipped = whole;
        flipped[at + name.len() + 3] ^= 0x55;
        assert!(matches!(metadata(flipped), Err(ArchiveError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = metadata(bytes);
        }

        #[test]
        fn any_change_of_an_archive_is_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            let mut bytes = archive(&MEMBERS, SimpleFileOptions::default());
            for (at, value) in changes {
                // The end of the archive holds every number that is trusted first.
                let span = bytes.len().min(420);
                let start = bytes.len() - span;
                bytes[start + at.index(span)] = value;
            }
            let _ = metadata(bytes);
        }
    }
}
