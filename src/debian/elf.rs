//! What the loader's cache needs to know of a shared object: its machine and its `DT_SONAME` (System V gABI, chapters 4
//! and 5). Only 64-bit little-endian objects are read: every platform that images are made for has those.
//!
//! The bytes come from packages and are read as if from anywhere: offsets are checked, amounts have limits, and what does
//! not add up is no shared object.

use std::io;

/// Most program headers; a shared object has about ten.
const MAX_HEADERS: u64 = 256;
/// Most bytes of a dynamic section; one has about half a kilobyte.
const MAX_DYNAMIC_BYTES: u64 = 64 * 1024;
/// Most bytes of a name.
const MAX_NAME_BYTES: u64 = 256;

const TYPE_SHARED: u16 = 3;
const SEGMENT_LOAD: u32 = 1;
const SEGMENT_DYNAMIC: u32 = 2;
const TAG_STRING_TABLE: u64 = 5;
const TAG_SONAME: u64 = 14;

/// Processors whose objects are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    /// `EM_X86_64`
    X86_64,
    /// `EM_AARCH64`
    Aarch64,
}

/// A shared object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedObject {
    pub(super) machine: Machine,
    /// The name under which programs ask for it, if it has one.
    pub(super) soname: Option<String>,
}

/// Reads a shared object through `read_at`, which gives at most so many bytes from an offset; fewer at the end. `None` for
/// anything else: programs, scripts of the linker, other machines.
pub(super) fn read_shared_object(
    read_at: &dyn Fn(u64, u64) -> io::Result<Vec<u8>>,
) -> io::Result<Option<SharedObject>> {
    let head = read_at(0, 64)?;
    if head.get(..6) != Some(&b"\x7fELF\x02\x01"[..]) || u16_at(&head, 16) != Some(TYPE_SHARED) {
        return Ok(None);
    }
    let machine = match u16_at(&head, 18) {
        Some(62) => Machine::X86_64,
        Some(183) => Machine::Aarch64,
        _ => return Ok(None),
    };
    let (Some(start), Some(size), Some(count)) = (u64_at(&head, 32), u16_at(&head, 54), u16_at(&head, 56)) else {
        return Ok(None);
    };
    if size != 56 || u64::from(count) > MAX_HEADERS {
        return Ok(None);
    }
    let headers = read_at(start, u64::from(size) * u64::from(count))?;
    let segments: Vec<Segment> = headers.chunks_exact(56).filter_map(Segment::parse).collect();
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == SEGMENT_DYNAMIC) else { return Ok(None) };
    let entries = read_at(dynamic.offset, dynamic.length.min(MAX_DYNAMIC_BYTES))?;
    let value = |tag: u64| {
        let pairs = entries.chunks_exact(16).map_while(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?)));
        pairs.take_while(|(tag, _)| *tag != 0).find(|(found, _)| *found == tag).map(|(_, value)| value)
    };
    let (Some(table), Some(name)) = (value(TAG_STRING_TABLE), value(TAG_SONAME)) else {
        return Ok(Some(SharedObject { machine, soname: None }));
    };
    // The table's address is one in memory.
    let place = segments.iter().filter(|segment| segment.kind == SEGMENT_LOAD).find_map(|segment| {
        let inside = table.checked_sub(segment.address).filter(|inside| *inside < segment.length)?;
        segment.offset.checked_add(inside)?.checked_add(name)
    });
    let Some(place) = place else { return Ok(None) };
    let bytes = read_at(place, MAX_NAME_BYTES)?;
    let end = bytes.iter().position(|&byte| byte == 0);
    let soname = end.and_then(|end| String::from_utf8(bytes[..end].to_vec()).ok());
    // A name with a path, or none, is nothing that a cache is asked for.
    let soname = soname.filter(|name| !name.is_empty() && !name.contains('/'));
    Ok(soname.map(|name| SharedObject { machine, soname: Some(name) }))
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    /// Bytes in the file.
    length: u64,
}

impl Segment {
    fn parse(header: &[u8]) -> Option<Self> {
        let kind = u32::from_le_bytes(header.get(..4)?.try_into().ok()?);
        let (offset, address, length) = (u64_at(header, 8)?, u64_at(header, 16)?, u64_at(header, 32)?);
        Some(Self { kind, offset, address, length })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// A shared object as small as one can be: for the tests here and of the cache.
#[cfg(test)]
pub(super) fn invented(machine: u16, soname: Option<&str>) -> Vec<u8> {
    let mut names = vec![0];
    names.extend(soname.unwrap_or_default().bytes());
    names.push(0);
    let (dynamic, table) = (64 + 2 * 56, 64 + 2 * 56 + 3 * 16);
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend(TYPE_SHARED.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.resize(32, 0);
    bytes.extend(64u64.to_le_bytes());
    bytes.resize(54, 0);
    bytes.extend([56, 0, 2, 0]);
    bytes.resize(64, 0);
    let length = table + names.len() as u64;
    for (kind, offset, address, length) in
        [(SEGMENT_LOAD, 0, 0x1000, length), (SEGMENT_DYNAMIC, dynamic, 0x1000 + dynamic, 48)]
    {
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0; 4]);
        for value in [offset, address, address, length, length, 8] {
            bytes.extend(value.to_le_bytes());
        }
    }
    let tag = if soname.is_some() { TAG_SONAME } else { 1 };
    for (tag, value) in [(tag, 1), (TAG_STRING_TABLE, 0x1000 + table), (0, 0)] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(names);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Option<SharedObject> {
        let read_at = |offset: u64, length: u64| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(bytes.len());
            Ok(bytes[start..end].to_vec())
        };
        read_shared_object(&read_at).expect("no file is read")
    }

    #[test]
    fn reads_machine_and_name() {
        let found = read(&invented(62, Some("libz.so.1"))).expect("an object");
        assert_eq!(found, SharedObject { machine: Machine::X86_64, soname: Some("libz.so.1".to_owned()) });
        let found = read(&invented(183, None)).expect("an object");
        assert_eq!(found, SharedObject { machine: Machine::Aarch64, soname: None });
    }

    #[test]
    fn other_files_are_none() {
        let whole = invented(62, Some("libz.so.1"));
        assert_eq!(read(b"/* GNU ld script */ INPUT ( libz.so.1 )"), None);
        assert_eq!(read(&whole[..40]), None);
        assert_eq!(read(&whole[..whole.len() - 1]), None, "a name without end");
        assert_eq!(read(&invented(3, Some("libz.so.1"))), None);
        assert_eq!(read(&invented(62, Some("../libz.so.1"))), None);
    }

    proptest! {
        #[test]
        fn changed_bytes_do_no_harm(changes in proptest::collection::vec((0usize..250, any::<u8>()), 1..12)) {
            let mut bytes = invented(62, Some("libz.so.1"));
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let _ = read(&bytes);
        }
    }
}
