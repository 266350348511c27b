//! Pages in the form that the cache keeps: what the program reads of a page, in a few bytes.
//!
//! A page of the public index has up to tens of megabytes of JSON, of which a tenth says something to us, and a warm lock
//! does little else than read pages. So the cache holds fields, not the answer's body: a head of eight bytes that names
//! the form and its version, a checksum, then the fields in order. Texts and numbers have no fixed width; an address is
//! written as the difference from the one before, which begins alike.
//!
//! Kind and version of a file are not kept: they follow from its name, by the rules of the program that reads. Whatever
//! does not decode to the last byte counts as absent and is fetched again.

use std::str::FromStr as _;

use pep440_rs::VersionSpecifiers;
use url::Url;

use super::page::PageHead;
use crate::oci::Digest;
use crate::packaging::{Classifier, MetadataOffer, Project, ProjectFile};

/// Names the form; the last byte is its version, which changes whenever the meaning of the bytes does.
const MAGIC: &[u8; 8] = b"imgfpag\x01";
/// Magic and checksum.
const HEAD_LENGTH: usize = 12;

const HAS_SIZE: u8 = 1;
const HAS_DIGEST: u8 = 1 << 1;
const IS_YANKED: u8 = 1 << 2;
const HAS_METADATA: u8 = 1 << 3;
const HAS_METADATA_DIGEST: u8 = 1 << 4;
/// The address ends in the file's name, as nearly all do.
const ENDS_IN_NAME: u8 = 1 << 5;

/// The bytes to keep.
pub(super) fn encode(head: &PageHead, project: &Project) -> Vec<u8> {
    let mut writer = Writer { bytes: [MAGIC.as_slice(), &[0; 4]].concat() };
    writer.text(head.url.as_str());
    // An empty validator is none.
    writer.text(head.etag.as_deref().unwrap_or_default());
    writer.text(head.last_modified.as_deref().unwrap_or_default());
    writer.number(head.fetched);
    writer.number(head.fresh_until);

    // A few distinct texts stand on thousands of files.
    let declared: Vec<Option<String>> =
        project.files.iter().map(|file| file.requires_python.as_ref().map(ToString::to_string)).collect();
    let mut specifiers: Vec<&String> = declared.iter().flatten().collect();
    specifiers.sort_unstable();
    specifiers.dedup();
    writer.number(specifiers.len() as u64);
    for text in &specifiers {
        writer.text(text);
    }

    writer.number(project.files.len() as u64);
    let mut previous = "";
    for (file, declared) in project.files.iter().zip(&declared) {
        let url = file.url.as_str();
        let ends_in_name = url.ends_with(&file.filename);
        let (metadata_flags, metadata_digest) = match file.metadata {
            MetadataOffer::Unknown => (0, None),
            MetadataOffer::Advertised { digest: None } => (HAS_METADATA, None),
            MetadataOffer::Advertised { digest } => (HAS_METADATA | HAS_METADATA_DIGEST, digest),
        };
        let flag = |condition: bool, flag: u8| if condition { flag } else { 0 };
        writer.bytes.push(
            flag(file.size.is_some(), HAS_SIZE)
                | flag(file.digest.is_some(), HAS_DIGEST)
                | flag(file.yanked.is_some(), IS_YANKED)
                | metadata_flags
                | flag(ends_in_name, ENDS_IN_NAME),
        );
        writer.text(&file.filename);
        let address = if ends_in_name { &url[..url.len() - file.filename.len()] } else { url };
        let shared = shared_length(previous, address);
        writer.number(shared as u64);
        writer.text(&address[shared..]);
        previous = address;
        let at = declared.as_ref().and_then(|text| specifiers.binary_search(&text).ok());
        writer.number(at.map_or(0, |at| at as u64 + 1));
        if let Some(size) = file.size {
            writer.number(size);
        }
        for digest in [file.digest, metadata_digest].into_iter().flatten() {
            writer.bytes.extend_from_slice(digest.as_bytes());
        }
        if let Some(reason) = &file.yanked {
            writer.text(reason);
        }
    }
    let checksum = crc32fast::hash(&writer.bytes[HEAD_LENGTH..]);
    writer.bytes[MAGIC.len()..HEAD_LENGTH].copy_from_slice(&checksum.to_le_bytes());
    writer.bytes
}

/// A kept page whose files have not been read yet.
pub(super) struct KeptPage<'a> {
    pub(super) head: PageHead,
    files: Reader<'a>,
}

/// Checks the form and reads the head. `None` for bytes of another form or damaged ones.
pub(super) fn decode(bytes: &[u8]) -> Option<KeptPage<'_>> {
    let (head, body) = bytes.split_at_checked(HEAD_LENGTH)?;
    let (magic, checksum) = head.split_at(MAGIC.len());
    if magic != MAGIC || crc32fast::hash(body).to_le_bytes() != checksum {
        return None;
    }
    let mut reader = Reader { rest: body };
    let head = PageHead {
        url: Url::parse(reader.text()?).ok()?,
        etag: Some(reader.text()?.to_owned()).filter(|text| !text.is_empty()),
        last_modified: Some(reader.text()?.to_owned()).filter(|text| !text.is_empty()),
        fetched: reader.number()?,
        fresh_until: reader.number()?,
    };
    Some(KeptPage { head, files: reader })
}

impl KeptPage<'_> {
    /// The page; `name` is the normalised project that it is kept for.
    pub(super) fn project(&self, name: &str) -> Option<Project> {
        let mut reader = Reader { rest: self.files.rest };
        let mut specifiers = Vec::new();
        for _ in 0..reader.number()? {
            specifiers.push(VersionSpecifiers::from_str(reader.text()?).ok()?);
        }
        let count = reader.number()?;
        // No file takes fewer bytes than it has fields, so a claim beyond that is not believed.
        let mut files = Vec::with_capacity(usize::try_from(count).ok()?.min(reader.rest.len() / 5));
        let mut address = String::new();
        let mut names = Classifier::new(name);
        for _ in 0..count {
            let flags = reader.byte()?;
            let has = |flag| flags & flag != 0;
            let filename = reader.text()?;
            let shared = usize::try_from(reader.number()?).ok()?;
            if !address.is_char_boundary(shared) {
                return None;
            }
            address.truncate(shared);
            address.push_str(reader.text()?);
            let length = address.len();
            if has(ENDS_IN_NAME) {
                address.push_str(filename);
            }
            let url = Url::parse(&address).ok()?;
            address.truncate(length);
            let requires_python = match reader.number()?.checked_sub(1) {
                Some(at) => Some(specifiers.get(usize::try_from(at).ok()?)?.clone()),
                None => None,
            };
            let size = if has(HAS_SIZE) { Some(reader.number()?) } else { None };
            let digest = if has(HAS_DIGEST) { Some(reader.digest()?) } else { None };
            let metadata_digest = if has(HAS_METADATA_DIGEST) { Some(reader.digest()?) } else { None };
            let yanked = if has(IS_YANKED) { Some(reader.text()?.to_owned()) } else { None };
            let metadata = match has(HAS_METADATA) {
                true => MetadataOffer::Advertised { digest: metadata_digest },
                false => MetadataOffer::Unknown,
            };
            let (kind, version) = names.classify(filename);
            let filename = filename.to_owned();
            files.push(ProjectFile { filename, kind, version, url, size, digest, requires_python, yanked, metadata });
        }
        reader.rest.is_empty().then(|| Project { name: name.to_owned(), files })
    }
}

/// Length of the beginning that two texts share, in whole characters.
fn shared_length(one: &str, other: &str) -> usize {
    let mut length = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    while !one.is_char_boundary(length) {
        length -= 1;
    }
    length
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        // The tenth byte has room for one bit.
        let last = self.byte()?;
        (last <= 1).then_some(value | u64::from(last) << 63)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn digest(&mut self) -> Option<Digest> {
        self.take(32)?.try_into().ok().map(Digest::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packaging::parse_json;

    const PAGE: &str = r#"{"files": [
        {"filename": "foo-1.0.tar.gz", "url": "https://files.example/ab/foo-1.0.tar.gz", "hashes": {}, "yanked": true},
        {"filename": "foo-1.0-py3-none-any.whl", "url": "https://files.example/ac/f%C3%B6/foo-1.0-py3-none-any.whl?x=1", "size": 300,
         "hashes": {"sha256": "abababababababababababababababababababababababababababababababab"}, "requires-python": ">=3.8,<4",
         "core-metadata": {"sha256": "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}},
        {"filename": "foo-2.0-py3-none-any.whl", "url": "https://files.example/ac/foo-2.0-py3-none-any.whl", "yanked": "bröken",
         "requires-python": ">=3.8,<4", "core-metadata": true},
        {"filename": "foö.exe", "url": "foö.exe", "requires-python": ">=3.6"}]}"#;

    fn head() -> PageHead {
        PageHead {
            url: Url::parse("https://index.example/simple/foo/").expect("a URL"),
            etag: Some("\"v1\"".into()),
            last_modified: None,
            fetched: u64::MAX,
            fresh_until: 300,
        }
    }

    fn project() -> Project {
        parse_json(PAGE.as_bytes(), &head().url, "foo").expect("a page")
    }

    #[test]
    fn what_is_kept_comes_back() {
        let bytes = encode(&head(), &project());
        let kept = decode(&bytes).expect("a kept page");
        assert_eq!(kept.head, head());
        assert_eq!(kept.project("foo"), Some(project()));
        let empty = Project { name: "foo".into(), files: Vec::new() };
        let bytes = encode(&head(), &empty);
        assert_eq!(decode(&bytes).and_then(|kept| kept.project("foo")), Some(empty));
    }

    #[test]
    fn any_changed_byte_and_any_cut_are_found_out() {
        let whole = encode(&head(), &project());
        for at in 0..whole.len() {
            assert!(decode(&whole[..at]).is_none(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(decode(&changed).is_none(), "changed at {at}");
        }
    }

    fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
        let checksum = crc32fast::hash(&bytes[HEAD_LENGTH..]).to_le_bytes();
        bytes[MAGIC.len()..HEAD_LENGTH].copy_from_slice(&checksum);
        bytes
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: u64) {
            let mut writer = Writer { bytes: Vec::new() };
            writer.number(value);
            prop_assert_eq!(Reader { rest: &writer.bytes }.number(), Some(value));
        }

        #[test]
        fn bytes_with_a_right_checksum_are_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = encode(&head(), &project());
            for (at, value) in changes {
                let at = HEAD_LENGTH + at.index(bytes.len() - HEAD_LENGTH);
                bytes[at] = value;
            }
            let bytes = with_checksum(bytes);
            let _ = decode(&bytes).map(|kept| kept.project("foo"));
        }

        #[test]
        fn any_body_is_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = with_checksum([MAGIC.as_slice(), &[0; 4], &body].concat());
            let _ = decode(&bytes).map(|kept| kept.project("foo"));
            let files = KeptPage { head: head(), files: Reader { rest: &body } };
            let _ = files.project("foo");
        }
    }
}
