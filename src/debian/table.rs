//! What a closure needs of one `Packages` index, kept in the store so that an index is read through only once.
//!
//! An index has seventy thousand packages in sixty megabytes; a closure asks for some hundred names. A table holds the
//! fields that the resolver reads, as control paragraphs sorted by name, and then who provides which name, in blocks of about
//! [`BLOCK_BYTES`]. In front stands a directory with kind, length, sha256 and first name of each block, and the directory's
//! own length and sha256. A lookup reads one block; no byte counts before its hash was checked. A damaged table is removed,
//! and whoever asked starts over.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::oci::Digest;

use super::packages::Package;
use super::relation::RelationGroup;
use super::stanza::Stanza;

/// Version of this form and of what is kept; part of the name under which the store has a table.
pub(super) const FORMAT: u32 = 1;
/// Bytes after which a block ends, with the last name complete.
const BLOCK_BYTES: usize = 8 * 1024;
/// Most bytes of a directory; one of a real index has half a megabyte.
const MAX_DIRECTORY_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of an index that are looked at together.
const PIECE_BYTES: u64 = 256 * 1024;
/// Most bytes of a line of an index; the longest real ones, lists of provided names, have 50 kB.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// Fields that are kept.
const KEPT: [&str; 12] = [
    "Package",
    "Version",
    "Architecture",
    "Priority",
    "Pre-Depends",
    "Depends",
    "Provides",
    "Conflicts",
    "Breaks",
    "Filename",
    "Size",
    "SHA256",
];

/// Makes a table from an index: entries of `architecture` and of `all`, fields that count, one line a field.
pub(super) fn digest_index(mut source: impl Read, architecture: &str) -> io::Result<Vec<u8>> {
    let mut reader = IndexReader { architecture, ..IndexReader::default() };
    let mut piece = Vec::new();
    loop {
        let count = (&mut source).take(PIECE_BYTES).read_to_end(&mut piece)?;
        if count == 0 {
            // The end of a line that has none, and of the last paragraph.
            piece.extend_from_slice(b"\n\n");
            reader.read_lines(&piece);
            return Ok(reader.into_table());
        }
        let whole = memchr::memrchr(b'\n', &piece).map_or(0, |end| end + 1);
        reader.read_lines(&piece[..whole]);
        piece.drain(..whole);
        if piece.len() >= MAX_LINE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the index is too long"));
        }
    }
}

/// An index while it is read.
#[derive(Default)]
struct IndexReader<'a> {
    architecture: &'a str,
    /// Paragraphs in the order of the index, each with its empty line, and behind them what there is of the next.
    text: Vec<u8>,
    /// Name and place in `text` of each.
    entries: Vec<(String, Range<usize>)>,
    /// Names that are provided, with the number of the entry that does.
    provided: Vec<(String, usize)>,
    current: Current,
}

/// What decides where the entry goes that is being read.
#[derive(Default)]
struct Current {
    name: String,
    architecture: String,
    provides: String,
    /// The last field, if it is kept, to which continuation lines belong.
    field: Option<&'static str>,
}

impl IndexReader<'_> {
    /// The next lines, each with its end.
    fn read_lines(&mut self, lines: &[u8]) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            let line = lines[start..end].trim_ascii_end();
            start = end + 1;
            match line.first() {
                None => self.end_paragraph(),
                Some(b' ' | b'\t') => self.continue_field(line.trim_ascii_start()),
                Some(_) => self.take_field(line),
            }
        }
    }

    /// Keeps a `Name: value` line if its field counts.
    fn take_field(&mut self, line: &[u8]) {
        self.current.field = None;
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let kept = KEPT.into_iter().find(|field| field.as_bytes().eq_ignore_ascii_case(name));
        let Some(field) = kept else { return };
        let place = match field {
            "Package" => Some(&mut self.current.name),
            "Architecture" => Some(&mut self.current.architecture),
            "Provides" => Some(&mut self.current.provides),
            _ => None,
        };
        if let Some(place) = place.filter(|place| place.is_empty()) {
            place.push_str(&String::from_utf8_lossy(value));
        }
        for part in [field.as_bytes(), b": ", value, b"\n"] {
            self.text.extend_from_slice(part);
        }
        self.current.field = kept;
    }

    /// A further line of the field that came last.
    fn continue_field(&mut self, content: &[u8]) {
        let Some(field) = self.current.field else { return };
        if field == "Provides" {
            self.current.provides.push(' ');
            self.current.provides.push_str(&String::from_utf8_lossy(content));
        }
        self.text.pop();
        self.text.push(b' ');
        self.text.extend_from_slice(content);
        self.text.push(b'\n');
    }

    /// Makes the lines since the last paragraph one more, unless they are no entry that fits.
    fn end_paragraph(&mut self) {
        let Current { name, architecture, provides, .. } = std::mem::take(&mut self.current);
        let start = self.entries.last().map_or(0, |(_, range)| range.end);
        if name.is_empty() || (architecture != "all" && architecture != self.architecture) {
            self.text.truncate(start);
            return;
        }
        let names = RelationGroup::names(&provides, self.architecture);
        self.provided.extend(names.map(|provided| (provided.to_owned(), self.entries.len())));
        self.text.push(b'\n');
        self.entries.push((name, start..self.text.len()));
    }

    fn into_table(self) -> Vec<u8> {
        let Self { text, entries, provided, .. } = self;
        let mut table = Vec::with_capacity(text.len() + text.len() / 8);
        let mut directory = Directory::default();
        let mut sorted: Vec<_> = entries.iter().collect();
        sorted.sort_by_key(|(name, _)| name);
        for (name, range) in sorted {
            let start = table.len();
            table.extend_from_slice(&text[range.clone()]);
            directory.add(&table, Kind::Packages, name, start..table.len());
        }
        drop(text);
        let mut provided: Vec<_> = provided.iter().map(|(name, entry)| (name, &entries[*entry].0)).collect();
        provided.sort_unstable();
        provided.dedup();
        for providers in provided.chunk_by(|(name, _), (next, _)| name == next) {
            let (name, start) = (providers[0].0, table.len());
            table.extend_from_slice(format!("Provided: {name}\nProviders:").as_bytes());
            for (_, provider) in providers {
                table.push(b' ');
                table.extend_from_slice(provider.as_bytes());
            }
            table.extend_from_slice(b"\n\n");
            directory.add(&table, Kind::Providers, name, start..table.len());
        }
        directory.close(&table);
        let lines = directory.lines;
        let head = format!("{} {}\n{lines}", lines.len(), Digest::of(lines.as_bytes()).hex());
        table.splice(0..0, head.into_bytes());
        table
    }
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Packages,
    Providers,
}

impl Kind {
    const fn letter(self) -> &'static str {
        match self {
            Self::Packages => "p",
            Self::Providers => "v",
        }
    }

    /// What stands before the name in the paragraphs of such a block.
    const fn key(self) -> &'static [u8] {
        match self {
            Self::Packages => b"Package: ",
            Self::Providers => b"Provided: ",
        }
    }
}

/// A table's directory while it grows.
#[derive(Default)]
struct Directory {
    lines: String,
    open: Option<OpenBlock>,
}

struct OpenBlock {
    kind: Kind,
    first: String,
    /// The name that was added last: all of one name is in one block.
    last: String,
    range: Range<usize>,
}

impl Directory {
    /// The next paragraph of `text`: it belongs to the open block, or ends that and begins another.
    fn add(&mut self, text: &[u8], kind: Kind, name: &str, range: Range<usize>) {
        if let Some(open) = &mut self.open
            && open.kind == kind
            && (open.range.len() < BLOCK_BYTES || open.last == name)
        {
            open.range.end = range.end;
            name.clone_into(&mut open.last);
            return;
        }
        self.close(text);
        self.open = Some(OpenBlock { kind, first: name.to_owned(), last: name.to_owned(), range });
    }

    fn close(&mut self, text: &[u8]) {
        if let Some(OpenBlock { kind, first, range, .. }) = self.open.take() {
            let (letter, length, hash) = (kind.letter(), range.len(), Digest::of(&text[range]).hex());
            self.lines.push_str(&format!("{letter} {length} {hash} {first}\n"));
        }
    }
}

/// Where a table's bytes are.
enum Bytes {
    /// In the store; the table begins at `start`.
    File { file: File, start: u64, path: PathBuf },
    /// In memory.
    Memory(Vec<u8>),
}

impl Bytes {
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        match self {
            Self::File { file, start, .. } => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start + offset)?;
                Ok(bytes)
            }
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).map_err(|_| short())?;
                let end = start.checked_add(length).ok_or_else(short)?;
                Ok(bytes.get(start..end).ok_or_else(short)?.to_vec())
            }
        }
    }

    fn length(&self) -> io::Result<u64> {
        match self {
            Self::File { file, start, .. } => Ok(file.metadata()?.len().saturating_sub(*start)),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }
}

struct Block {
    kind: Kind,
    first: String,
    offset: u64,
    length: usize,
    digest: Digest,
    content: OnceCell<Content>,
}

/// A block's paragraphs. Of some twenty a lookup wants one, so each is taken apart when it is asked for.
struct Content {
    bytes: Vec<u8>,
    paragraphs: Vec<Paragraph>,
}

struct Paragraph {
    name: String,
    range: Range<usize>,
    package: OnceCell<Option<Package>>,
}

impl Content {
    fn new(kind: Kind, bytes: Vec<u8>) -> Self {
        let mut start = 0;
        let paragraphs = memchr::memmem::find_iter(&bytes, b"\n\n").filter_map(|end| {
            let range = start..end + 1;
            start = end + 2;
            let mut lines = bytes[range.clone()].split(|&byte| byte == b'\n');
            let name = String::from_utf8_lossy(lines.find_map(|line| line.strip_prefix(kind.key()))?).into_owned();
            Some(Paragraph { name, range, package: OnceCell::new() })
        });
        Self { paragraphs: paragraphs.collect(), bytes }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Paragraph> {
        self.paragraphs.iter().filter(move |paragraph| paragraph.name == name)
    }

    fn stanza(&self, paragraph: &Paragraph) -> Option<Stanza> {
        Stanza::parse(&self.bytes[paragraph.range.clone()]).ok()
    }
}

/// A table, read block by block.
pub(super) struct Table {
    archive: String,
    architecture: String,
    bytes: Bytes,
    blocks: Vec<Block>,
}

impl Table {
    /// A table in the store, which begins at byte `start` of `file`.
    pub(super) fn open(archive: &str, architecture: &str, file: File, start: u64, path: PathBuf) -> io::Result<Self> {
        Self::new(archive, architecture, Bytes::File { file, start, path })
    }

    /// A table in memory.
    pub(super) fn from_bytes(archive: &str, architecture: &str, bytes: Vec<u8>) -> io::Result<Self> {
        Self::new(archive, architecture, Bytes::Memory(bytes))
    }

    fn new(archive: &str, architecture: &str, bytes: Bytes) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its directory is damaged");
        let whole = bytes.length()?;
        // Length and hash of the directory, one line.
        let head = bytes.read(0, usize::try_from(whole.min(128)).unwrap_or(128))?;
        let end = head.iter().position(|&byte| byte == b'\n').ok_or_else(damaged)?;
        let head = std::str::from_utf8(&head[..end]).map_err(|_| damaged())?;
        let (length, hash) = head.split_once(' ').ok_or_else(damaged)?;
        let length: u64 = length.parse().map_err(|_| damaged())?;
        let start = end as u64 + 1;
        if length > MAX_DIRECTORY_BYTES || length > whole.saturating_sub(start) {
            return Err(damaged());
        }
        let directory = bytes.read(start, usize::try_from(length).map_err(|_| damaged())?)?;
        if Digest::of(&directory).hex() != hash {
            return Err(damaged());
        }
        let mut offset = start + length;
        let mut blocks = Vec::new();
        for line in std::str::from_utf8(&directory).map_err(|_| damaged())?.lines() {
            let mut words = line.splitn(4, ' ');
            let (Some(letter), Some(length), Some(hash), Some(first)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(damaged());
            };
            let kind = [Kind::Packages, Kind::Providers].into_iter().find(|kind| kind.letter() == letter);
            let kind = kind.ok_or_else(damaged)?;
            let length: usize = length.parse().map_err(|_| damaged())?;
            let digest = Digest::from_hex(hash).map_err(|_| damaged())?;
            blocks.push(Block { kind, first: first.to_owned(), offset, length, digest, content: OnceCell::new() });
            offset = offset.checked_add(length as u64).filter(|end| *end <= whole).ok_or_else(damaged)?;
        }
        Ok(Self { archive: archive.to_owned(), architecture: architecture.to_owned(), bytes, blocks })
    }

    /// Entries of a real package, in the order of the index.
    pub(super) fn packages(&self, name: &str) -> io::Result<impl Iterator<Item = &Package>> {
        let content = self.content(Kind::Packages, name)?;
        Ok(content.into_iter().flat_map(move |content| {
            content.named(name).filter_map(move |paragraph| {
                let read = || Package::from_stanza(&self.archive, &self.architecture, &content.stanza(paragraph)?);
                paragraph.package.get_or_init(read).as_ref()
            })
        }))
    }

    /// Names of packages that provide `name`, sorted.
    pub(super) fn providers(&self, name: &str) -> io::Result<Vec<String>> {
        let content = self.content(Kind::Providers, name)?;
        let stanza = content.and_then(|content| content.stanza(content.named(name).next()?));
        let names = stanza.as_ref().and_then(|stanza| stanza.get("Providers")).unwrap_or_default();
        Ok(names.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// All names of real packages, sorted. Nothing of what is read is kept.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for block in self.blocks.iter().filter(|block| block.kind == Kind::Packages) {
            let bytes = self.read_block(block)?;
            let lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"Package: "));
            names.extend(lines.map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        names.dedup();
        Ok(names)
    }

    /// The block that would hold a name.
    fn content(&self, kind: Kind, name: &str) -> io::Result<Option<&Content>> {
        let after = self.blocks.partition_point(|block| (block.kind, block.first.as_str()) <= (kind, name));
        let block = after.checked_sub(1).and_then(|at| self.blocks.get(at));
        let Some(block) = block.filter(|block| block.kind == kind) else { return Ok(None) };
        if block.content.get().is_none() {
            let content = Content::new(kind, self.read_block(block)?);
            return Ok(Some(block.content.get_or_init(|| content)));
        }
        Ok(block.content.get())
    }

    /// A block's bytes, which are those that were written. If they are not, the file goes, so that the next run is well.
    fn read_block(&self, block: &Block) -> io::Result<Vec<u8>> {
        let bytes = self.bytes.read(block.offset, block.length);
        let bytes = bytes.ok().filter(|bytes| Digest::of(bytes) == block.digest);
        if let (None, Bytes::File { path, .. }) = (&bytes, &self.bytes) {
            let _ = std::fs::remove_file(path);
        }
        bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a block of it is damaged"))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (archive, blocks) = (&self.archive, self.blocks.len());
        f.debug_struct("Table").field("archive", archive).field("blocks", &blocks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::index_entry;
    use super::*;
    use proptest::prelude::*;

    /// An index long enough for several blocks.
    fn index() -> String {
        let entries = (0..200).map(|number| {
            let more = format!("Description: not kept\n nor this\nProvides: even (= {number}),\n v{}\n", number % 3);
            index_entry(&format!("p{number}"), "1", &more)
        });
        entries.collect::<String>() + &index_entry("v1", "2", "").replace("amd64\n", "all\n")
    }

    fn table(bytes: Vec<u8>) -> io::Result<Table> {
        Table::from_bytes("debian", "amd64", bytes)
    }

    fn answers(table: &Table) -> io::Result<(Vec<String>, usize, usize)> {
        let versions = table.packages("v1")?.map(|package| package.version.to_string()).collect();
        Ok((versions, table.providers("v1")?.len(), table.providers("even")?.len()))
    }

    #[test]
    fn answers_as_the_index_would() {
        let bytes = digest_index(index().as_bytes(), "amd64").expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("kept") && !text.contains("nor"));
        let table = table(bytes.clone()).expect("a table");
        assert!(table.blocks.len() > 3);
        assert_eq!(answers(&table).expect("read"), (vec!["2".to_owned()], 67, 200));
        assert_eq!(table.providers("v1").expect("read")[..3], ["p1", "p10", "p100"]);
        assert_eq!(table.packages("p7").expect("read").count(), 1);
        for absent in ["", "a", "p7a", "zz"] {
            assert_eq!(table.packages(absent).expect("read").count(), 0, "{absent}");
        }
        assert_eq!(table.names().expect("read").len(), 201);
        assert_eq!(table.blocks.iter().filter(|block| block.content.get().is_some()).count(), 3);
    }

    #[test]
    fn an_empty_index_is_an_empty_table() {
        let table = table(digest_index(&b"\n\n"[..], "amd64").expect("readable")).expect("a table");
        assert_eq!(table.packages("a").expect("read").count(), 0);
        assert_eq!(table.names().expect("read"), Vec::<String>::new());
    }

    #[test]
    fn a_damaged_file_is_removed_when_it_is_noticed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("table");
        let mut bytes = digest_index(index().as_bytes(), "amd64").expect("readable");
        let at = bytes.windows(13).position(|window| window == b"Package: p150").expect("there");
        bytes[at + 9] = b'q';
        std::fs::write(&path, &bytes).expect("written");
        let file = File::open(&path).expect("opened");
        let table = Table::open("debian", "amd64", file, 0, path.clone()).expect("a table");
        assert_eq!(table.packages("p199").expect("another block").count(), 1);
        assert!(path.exists());
        assert!(table.packages("p150").is_err());
        assert!(!path.exists());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_changed_byte_changes_an_answer(at in 0usize..1_000_000, byte: u8) {
            static TABLE: std::sync::LazyLock<Vec<u8>> =
                std::sync::LazyLock::new(|| digest_index(index().as_bytes(), "amd64").expect("readable"));
            let mut bytes = TABLE.clone();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(table) = table(bytes)
                && let Ok(found) = answers(&table)
            {
                prop_assert_eq!(found, (vec!["2".to_owned()], 67, 200));
            }
        }

        #[test]
        fn any_bytes_are_an_index_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let bytes = digest_index(&bytes[..], "amd64").expect("readable");
            prop_assert!(table(bytes).is_ok());
        }
    }
}
