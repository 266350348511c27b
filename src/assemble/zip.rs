//! The part of the zip format that wheels use, read strictly.
//!
//! Source: APPNOTE 6.3.10. Our own reader, because a wheel's streams are copied raw and because readers that forgive differ
//! from each other: one archive that unpacks in two ways is an attack. So the local headers must say what the directory
//! says, members must not overlap nor repeat, and nothing may lie before the first or after the directory. Nothing is
//! allocated by a size that is only claimed.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};

/// A directory larger than this is refused; the largest wheels' have about 3 MB.
const DIRECTORY_LIMIT: u64 = 64 << 20;
const END_SIZE: u64 = 22;
const COMMENT_LIMIT: u64 = 65_535;
const LOCAL_SIZE: usize = 30;

/// Why an archive was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// The archive as a whole is not sound.
    #[error("it is not a sound zip archive: {0}")]
    Archive(&'static str),
    /// One member is not acceptable.
    #[error("its member `{name}` {reason}")]
    Member {
        /// Name in the directory.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// How a member's bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// One line of the directory.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) crc32: u32,
    pub(super) compressed_size: u64,
    pub(super) uncompressed_size: u64,
    /// Mode with file type as Unix writes it; 0 if the archive was made elsewhere.
    pub(super) unix_mode: u32,
    flags: u16,
    header_offset: u64,
    /// Where the next member's header or the directory starts.
    end_offset: u64,
}

/// An open archive.
#[derive(Debug)]
pub(super) struct Archive<R> {
    source: R,
    members: Vec<Member>,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory.
    pub(super) fn open(mut source: R) -> Result<Self, Error> {
        let (offset, size, count) = find_directory(&mut source)?;
        if size > DIRECTORY_LIMIT {
            return Err(Error::Archive("its directory is too large"));
        }
        source.seek(SeekFrom::Start(offset))?;
        let mut directory = Vec::new();
        (&mut source).take(size).read_to_end(&mut directory)?;
        let mut fields = Fields(&directory);
        let mut members = Vec::new();
        let mut names = BTreeSet::new();
        while !fields.0.is_empty() {
            let member = read_member(&mut fields)?;
            if !names.insert(member.name.clone()) {
                return Err(Error::Member { name: member.name, reason: "is there twice" });
            }
            members.push(member);
        }
        if members.len() as u64 != count {
            return Err(Error::Archive("its directory has another number of entries than it says"));
        }
        let mut by_offset: Vec<&mut Member> = members.iter_mut().collect();
        by_offset.sort_by_key(|member| member.header_offset);
        let mut end = offset;
        for member in by_offset.into_iter().rev() {
            member.end_offset = end;
            end = member.header_offset;
        }
        if end != 0 && !members.is_empty() {
            return Err(Error::Archive("there are bytes in front of its first member"));
        }
        Ok(Self { source, members })
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The stored bytes of a member, compressed as they are.
    pub(super) fn raw(&mut self, member: &Member) -> Result<io::Take<&mut R>, Error> {
        let refuse = |reason| Err(Error::Member { name: member.name.clone(), reason });
        let mut header = vec![0; LOCAL_SIZE + member.name.len()];
        self.source.seek(SeekFrom::Start(member.header_offset))?;
        self.source.read_exact(&mut header)?;
        let mut fields = Fields(&header);
        let signature = fields.bytes(4)?;
        let (_needed, flags, method) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (_time, crc32) = (fields.u32()?, fields.u32()?);
        let (compressed_size, uncompressed_size) = (fields.u32()?, fields.u32()?);
        let (name_length, extra_length) = (fields.u16()?, fields.u16()?);
        if signature != b"PK\x03\x04" {
            return refuse("has no local header where the directory says");
        }
        // With bit 3 the sizes follow the content; a size of all ones stands in the zip64 field instead.
        let sizes_agree = flags & 8 != 0
            || (crc32 == member.crc32
                && (compressed_size == u32::MAX || u64::from(compressed_size) == member.compressed_size)
                && (uncompressed_size == u32::MAX || u64::from(uncompressed_size) == member.uncompressed_size));
        let name_agrees = usize::from(name_length) == member.name.len() && fields.0 == member.name.as_bytes();
        if flags & !8 != member.flags & !8 || method != member.method.number() || !name_agrees || !sizes_agree {
            return refuse("is described differently by its local header and by the directory");
        }
        let start = member.header_offset + header.len() as u64 + u64::from(extra_length);
        if start.checked_add(member.compressed_size).is_none_or(|end| end > member.end_offset) {
            return refuse("overlaps what follows it");
        }
        self.source.seek(SeekFrom::Start(start))?;
        Ok((&mut self.source).take(member.compressed_size))
    }
}

impl Method {
    fn number(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflated => 8,
        }
    }
}

/// Offset, size and number of entries of the directory.
fn find_directory<R: Read + Seek>(source: &mut R) -> Result<(u64, u64, u64), Error> {
    let length = source.seek(SeekFrom::End(0))?;
    let tail_start = length.saturating_sub(END_SIZE + COMMENT_LIMIT);
    let tail = read_at(source, tail_start, length - tail_start)?;
    let is_end = |at: usize| {
        let record = tail.get(at..).unwrap_or_default();
        record.starts_with(b"PK\x05\x06")
            && record.get(20..22).is_some_and(|comment| {
                usize::from(u16::from_le_bytes([comment[0], comment[1]])) + END_SIZE as usize == record.len()
            })
    };
    let at = (0..tail.len())
        .rev()
        .find(|&at| is_end(at))
        .ok_or(Error::Archive("it has no directory at its end; the file may be cut off"))?;
    let mut end = tail_start + at as u64;
    let mut fields = Fields(tail.get(at + 4..).unwrap_or_default());
    let disks = fields.u32()?;
    let (here, count) = (u64::from(fields.u16()?), u64::from(fields.u16()?));
    let (size, offset) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let mut found = (offset, size, count);
    let locator = match end.checked_sub(20) {
        Some(at) => read_at(source, at, 20)?,
        None => Vec::new(),
    };
    if locator.starts_with(b"PK\x06\x07") {
        let locator_at = end - 20;
        end = Fields(locator.get(8..).unwrap_or_default()).u64()?;
        let record = read_at(source, end, 56)?;
        let mut fields = Fields(&record);
        let (signature, length) = (fields.bytes(4)?, fields.u64()?);
        if signature != b"PK\x06\x06" || end.checked_add(12).and_then(|at| at.checked_add(length)) != Some(locator_at) {
            return Err(Error::Archive("its zip64 end record is not where it should be"));
        }
        fields.bytes(4 + 8 + 8)?;
        let (wide_count, wide_size, wide_offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let agree = |narrow: u64, wide: u64, all_ones: u64| narrow == wide || narrow == all_ones;
        if !agree(count, wide_count, 0xffff)
            || !agree(size, wide_size, 0xffff_ffff)
            || !agree(offset, wide_offset, 0xffff_ffff)
        {
            return Err(Error::Archive("its two end records disagree"));
        }
        found = (wide_offset, wide_size, wide_count);
    } else if disks != 0 || here != count {
        return Err(Error::Archive("it is one part of several"));
    }
    if found.0.checked_add(found.1) != Some(end) {
        return Err(Error::Archive("its directory is not where it says; bytes were put in front of it or after it"));
    }
    Ok(found)
}

fn read_at<R: Read + Seek>(source: &mut R, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
    source.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_member(fields: &mut Fields<'_>) -> Result<Member, Error> {
    if fields.bytes(4)? != b"PK\x01\x02" {
        return Err(Error::Archive("its directory is damaged"));
    }
    let made_by = fields.u16()?;
    let (_needed, flags, method) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let (_time, crc32) = (fields.u32()?, fields.u32()?);
    let (compressed_size, uncompressed_size) = (fields.u32()?, fields.u32()?);
    let (name_length, extra_length, comment_length) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let (_disk, _internal, external, offset) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
    let name_bytes = fields.bytes(name_length.into())?;
    let extra = fields.bytes(extra_length.into())?;
    fields.bytes(comment_length.into())?;
    let name = String::from_utf8_lossy(name_bytes).into_owned();
    let refuse = |reason| Err(Error::Member { name: name.clone(), reason });
    // Without bit 11 the name is in code page 437, but some writers put UTF-8 there all the same: nobody can tell.
    if !(name_bytes.is_ascii() || (flags & 0x800 != 0 && name.as_bytes() == name_bytes)) {
        return refuse("has a name that is neither ASCII nor marked as UTF-8");
    }
    if flags & 0x2041 != 0 {
        return refuse("is encrypted");
    }
    let method = match method {
        0 => Method::Stored,
        8 => Method::Deflated,
        _ => return refuse("is compressed with a method other than deflate"),
    };
    let mut sizes = [uncompressed_size, compressed_size, offset].map(u64::from);
    if sizes.contains(&u64::from(u32::MAX)) {
        let mut wide = Fields(zip64_field(extra));
        for size in sizes.iter_mut().filter(|size| **size == u64::from(u32::MAX)) {
            *size = wide.u64()?;
        }
    }
    let [uncompressed_size, compressed_size, header_offset] = sizes;
    if method == Method::Stored && compressed_size != uncompressed_size {
        return refuse("is stored, with two different sizes");
    }
    let unix_mode = if made_by >> 8 == 3 { external >> 16 } else { 0 };
    let end_offset = header_offset;
    Ok(Member { name, method, crc32, compressed_size, uncompressed_size, unix_mode, flags, header_offset, end_offset })
}

/// The zip64 field of an extra area, empty if there is none.
fn zip64_field(extra: &[u8]) -> &[u8] {
    let mut fields = Fields(extra);
    while let (Ok(kind), Ok(length)) = (fields.u16(), fields.u16()) {
        match fields.bytes(length.into()) {
            Ok(field) if kind == 1 => return field,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    &[]
}

/// Little-endian fields one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Error::Archive("its directory is cut off"))?;
        self.0 = rest;
        Ok(head)
    }
    fn u16(&mut self) -> Result<u16, Error> {
        Ok(self.bytes(2)?.iter().rev().fold(0, |value, &byte| value << 8 | u16::from(byte)))
    }
    fn u32(&mut self) -> Result<u32, Error> {
        Ok(self.bytes(4)?.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }
    fn u64(&mut self) -> Result<u64, Error> {
        Ok(self.bytes(8)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}
