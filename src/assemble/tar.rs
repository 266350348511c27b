//! Tar headers: ustar, with a PAX header in front where a value does not fit.
//!
//! Source: POSIX.1-2017, `pax` utility, "ustar Interchange Format" and "pax Header Block". The `tar` crate's builder fills
//! in GNU extensions and chooses by itself; layers must have the same bytes for years, so the choice is made here: PAX
//! records only for paths that neither fit nor are ASCII, for numbers that octal fields cannot hold, and for nothing else.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// Size of a header, and the unit contents are padded to.
pub(super) const BLOCK: usize = 512;
/// Two empty blocks end an archive.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Numeric user and group of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

impl Owner {
    /// The superuser, `0:0`.
    pub const ROOT: Self = Self { user: 0, group: 0 };
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

impl FromStr for Owner {
    type Err = ParseIntError;
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (user, group) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { user: user.parse()?, group: group.parse()? })
    }
}

/// What an entry is; links carry where they lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryType<'a> {
    File,
    HardLink(&'a str),
    Symlink(&'a str),
    Directory,
}

impl<'a> EntryType<'a> {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink(_) => b'1',
            Self::Symlink(_) => b'2',
            Self::Directory => b'5',
        }
    }
    fn target(self) -> &'a str {
        match self {
            Self::HardLink(target) | Self::Symlink(target) => target,
            Self::File | Self::Directory => "",
        }
    }
}

/// One entry's metadata. A directory's path is given without its final `/`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    pub(super) path: &'a str,
    pub(super) entry_type: EntryType<'a>,
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) size: u64,
    pub(super) modified: u64,
}

impl Header<'_> {
    /// The header's blocks: one, or three and more where PAX records are needed.
    pub(super) fn blocks(&self) -> Vec<u8> {
        let path = match self.entry_type {
            EntryType::Directory => format!("{}/", self.path),
            _ => self.path.to_owned(),
        };
        let target = self.entry_type.target();
        let mut records = Records::default();
        let (prefix, name) = split_path(&path).unwrap_or_else(|| {
            records.add("path", &path);
            ("", "")
        });
        if target.len() > 100 || !target.is_ascii() {
            records.add("linkpath", target);
        }
        // A value that is too large for its field is 0 there, as in Python's and Go's archives; the record counts.
        let mut number = |key: &str, value: u64, digits: u32| {
            if value < 1 << (3 * digits) {
                return value;
            }
            records.add(key, &value.to_string());
            0
        };
        let size = number("size", self.size, 11);
        let modified = number("mtime", self.modified, 11);
        let user = number("uid", self.owner.user.into(), 7);
        let group = number("gid", self.owner.group.into(), 7);

        let mut block = [0; BLOCK];
        let name = if name.is_empty() { ascii_prefix(&path, 100) } else { name.to_owned() };
        put(&mut block, 0, name.as_bytes());
        put_octal(&mut block, 100, 7, u64::from(self.mode & 0o7777));
        put_octal(&mut block, 108, 7, user);
        put_octal(&mut block, 116, 7, group);
        put_octal(&mut block, 124, 11, size);
        put_octal(&mut block, 136, 11, modified);
        put(&mut block, 156, &[self.entry_type.flag()]);
        put(&mut block, 157, ascii_prefix(target, 100).as_bytes());
        put(&mut block, 257, b"ustar\x0000");
        put(&mut block, 345, prefix.as_bytes());
        seal(&mut block);

        let mut blocks = records.blocks();
        blocks.extend_from_slice(&block);
        blocks
    }
}

/// Zero bytes that follow a content of `size` bytes.
pub(super) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// PAX records, in the order they are added.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// Adds `LENGTH key=value\n`, where LENGTH counts itself.
    fn add(&mut self, key: &str, value: &str) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
    }

    fn blocks(self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut block = [0; BLOCK];
        put(&mut block, 0, b"././@PaxHeader");
        put_octal(&mut block, 100, 7, 0o644);
        put_octal(&mut block, 108, 7, 0);
        put_octal(&mut block, 116, 7, 0);
        put_octal(&mut block, 124, 11, self.0.len() as u64);
        put_octal(&mut block, 136, 11, 0);
        put(&mut block, 156, b"x");
        put(&mut block, 257, b"ustar\x0000");
        seal(&mut block);
        let mut blocks = block.to_vec();
        blocks.extend_from_slice(&self.0);
        blocks.resize(blocks.len() + padding(self.0.len() as u64), 0);
        blocks
    }
}

/// The ustar fields `prefix` and `name` of a path; `None` if it does not fit them.
fn split_path(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= 100 {
        return Some(("", path));
    }
    let earliest = path.len().checked_sub(101)?;
    let slash = earliest + path.get(earliest..path.len() - 1)?.find('/')?;
    let (prefix, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    (prefix.len() <= 155 && !name.is_empty()).then_some((prefix, name))
}

/// At most `length` characters, `?` for those outside ASCII: what a reader without PAX sees.
fn ascii_prefix(text: &str, length: usize) -> String {
    text.chars().take(length).map(|character| if character.is_ascii() { character } else { '?' }).collect()
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (field, byte) in block.iter_mut().skip(at).zip(bytes) {
        *field = *byte;
    }
}

/// `digits` octal digits; the NUL that ends the field is already there.
fn put_octal(block: &mut [u8; BLOCK], at: usize, digits: usize, mut value: u64) {
    for field in block.iter_mut().skip(at).take(digits).rev() {
        *field = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

fn seal(block: &mut [u8; BLOCK]) {
    put(block, 148, b"        ");
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    put(block, 148, format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(path: &'a str, entry_type: EntryType<'a>) -> Header<'a> {
        Header { path, entry_type, mode: 0o644, owner: Owner::ROOT, size: 0, modified: 0 }
    }

    /// The entry as the `tar` crate reads it: path, link target, size, uid.
    fn read_back(blocks: &[u8]) -> (String, Option<String>, u64, u64) {
        let mut archive = ::tar::Archive::new(blocks);
        let entry = archive.entries().expect("entries").next().expect("one entry").expect("a readable entry");
        let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        (path, link, entry.size(), entry.header().uid().expect("a number"))
    }

    #[test]
    fn short_and_split_names_take_one_block() {
        let long = format!("{}/{}", "d".repeat(155), "f".repeat(100));
        for path in ["a", "a/b", &"x".repeat(100), &long] {
            let blocks = header(path, EntryType::File).blocks();
            assert_eq!((blocks.len(), read_back(&blocks).0.as_str()), (BLOCK, path));
        }
    }

    #[test]
    fn long_foreign_and_large_values_go_into_pax_records() {
        let paths = ["ü".to_owned(), "x".repeat(101), format!("{}/{}", "d".repeat(156), "f".repeat(100))];
        for path in &paths {
            let blocks = header(path, EntryType::File).blocks();
            assert_eq!((blocks.len() > BLOCK, read_back(&blocks).0.as_str()), (true, path.as_str()));
        }
        let target = "t".repeat(101);
        assert_eq!(read_back(&header("l", EntryType::Symlink(&target)).blocks()).1, Some(target));
        let large = Header { size: 1 << 33, ..header("f", EntryType::File) };
        assert_eq!(read_back(&large.blocks()).2, 1 << 33);
        assert_eq!(Header { size: (1 << 33) - 1, ..large }.blocks().len(), BLOCK);
    }

    #[test]
    fn a_records_length_counts_its_own_digits() {
        for length in 80..=100 {
            let path = format!("é{}", "p".repeat(length));
            assert_eq!(read_back(&header(&path, EntryType::File).blocks()).0, path);
        }
    }

    #[test]
    fn a_header_has_exactly_these_bytes() {
        let blocks =
            Header { owner: Owner { user: 1000, group: 1000 }, ..header("opt", EntryType::Directory) }.blocks();
        assert_eq!(&blocks[..5], b"opt/\0");
        assert_eq!(&blocks[100..157], b"0000644\x000001750\x000001750\x0000000000000\x0000000000000\x00006576\0 5");
        assert_eq!(&blocks[257..265], b"ustar\x0000");
        assert_eq!(blocks.len(), BLOCK);
    }
}
