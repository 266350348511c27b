//! What a closure needs of one `Packages` index, kept in the store so that an index is read through only once.
//!
//! An index has seventy thousand packages in sixty megabytes; a closure asks for some hundred names. A table holds the
//! fields that the resolver reads, as control paragraphs sorted by name, and then who provides which name, in blocks of about
//! [`BLOCK_BYTES`]. In front stands a directory with kind, length, sha256 and first name of each block, and the directory's
//! own length and sha256. A lookup reads one block; no byte counts before its hash was checked. A damaged table is removed,
//! and whoever asked starts over.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::oci::Digest;

use super::packages::Package;
use super::relation::RelationGroup;
use super::stanza::StanzaReader;

/// Version of this form and of what is kept; part of the name under which the store has a table.
pub(super) const FORMAT: u32 = 1;
/// Bytes after which a block ends, with the last name complete.
const BLOCK_BYTES: usize = 8 * 1024;
/// Most bytes of a directory; one of a real index has half a megabyte.
const MAX_DIRECTORY_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes of a line of an index; the longest real ones, lists of provided names, have 50 kB.
const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;
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

/// Makes a table's text from an index: entries of `architecture` and of `all`, fields that count, one line a field.
pub(super) fn digest_index(source: impl BufRead, architecture: &str) -> io::Result<String> {
    let mut reader = IndexReader { architecture, text: String::new(), entries: Vec::new(), provided: BTreeMap::new() };
    reader.read(source)?;
    Ok(reader.into_table())
}

/// An entry being read: its kept lines, and the fields that decide where it goes.
#[derive(Default)]
struct Current {
    lines: Vec<u8>,
    name: String,
    architecture: String,
    provides: String,
}

/// An index while it is read.
struct IndexReader<'a> {
    architecture: &'a str,
    /// Paragraphs in the order of the index, each with its empty line.
    text: String,
    /// Name and place in `text` of each.
    entries: Vec<(String, Range<usize>)>,
    /// Which of `entries` provide a name.
    provided: BTreeMap<String, Vec<u32>>,
}

impl IndexReader<'_> {
    fn read(&mut self, mut source: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        let mut current = Current::default();
        // The last field, if it is kept, to which continuation lines belong.
        let mut field = None;
        loop {
            line.clear();
            let count = (&mut source).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
            if count as u64 == MAX_LINE_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the index is too long"));
            }
            let content = line.trim_ascii_end();
            if content.is_empty() {
                self.take(std::mem::take(&mut current));
                field = None;
                if count == 0 {
                    return Ok(());
                }
            } else if content.starts_with(b" ") || content.starts_with(b"\t") {
                if let Some(field) = field {
                    current.continue_field(field, content.trim_ascii_start());
                }
            } else {
                field = current.take_field(content);
            }
        }
    }

    fn take(&mut self, current: Current) {
        let fits = current.architecture == "all" || current.architecture == self.architecture;
        if current.name.is_empty() || !fits {
            return;
        }
        let number = self.entries.len() as u32;
        for relation in RelationGroup::parse_list(&current.provides, self.architecture) {
            let providers = self.provided.entry(relation.name).or_default();
            if providers.last() != Some(&number) {
                providers.push(number);
            }
        }
        let start = self.text.len();
        self.text.push_str(&String::from_utf8_lossy(&current.lines));
        self.text.push('\n');
        self.entries.push((current.name, start..self.text.len()));
    }

    fn into_table(self) -> String {
        let Self { mut text, mut entries, provided, .. } = self;
        let names: Vec<String> = provided
            .iter()
            .map(|(name, numbers)| {
                let mut names: Vec<&str> = numbers.iter().map(|&number| entries[number as usize].0.as_str()).collect();
                names.sort_unstable();
                names.dedup();
                format!("Provided: {name}\nProviders: {}\n\n", names.join(" "))
            })
            .collect();
        if !entries.is_sorted_by(|(left, _), (right, _)| left <= right) {
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            let mut sorted = String::with_capacity(text.len());
            for (_, range) in &mut entries {
                let start = sorted.len();
                sorted.push_str(&text[range.clone()]);
                *range = start..sorted.len();
            }
            text = sorted;
        }
        let mut directory = Directory::default();
        for (name, range) in entries {
            directory.add(&text, Kind::Packages, &name, range);
        }
        for (name, paragraph) in provided.into_keys().zip(names) {
            let start = text.len();
            text.push_str(&paragraph);
            directory.add(&text, Kind::Providers, &name, start..text.len());
        }
        directory.close(&text);
        let lines = directory.lines;
        text.insert_str(0, &format!("{} {}\n{lines}", lines.len(), Digest::of(lines.as_bytes()).hex()));
        text
    }
}

impl Current {
    /// Keeps a `Name: value` line if its field counts, and says which field it is.
    fn take_field(&mut self, line: &[u8]) -> Option<&'static str> {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let field = KEPT.into_iter().find(|field| field.as_bytes().eq_ignore_ascii_case(name))?;
        let text = || String::from_utf8_lossy(value).into_owned();
        match field {
            "Package" if self.name.is_empty() => self.name = text(),
            "Architecture" if self.architecture.is_empty() => self.architecture = text(),
            "Provides" if self.provides.is_empty() => self.provides = text(),
            _ => {}
        }
        for part in [field.as_bytes(), b": ", value, b"\n"] {
            self.lines.extend_from_slice(part);
        }
        Some(field)
    }

    /// A further line of the field that came last.
    fn continue_field(&mut self, field: &str, content: &[u8]) {
        if field == "Provides" {
            self.provides.push(' ');
            self.provides.push_str(&String::from_utf8_lossy(content));
        }
        self.lines.pop();
        self.lines.push(b' ');
        self.lines.extend_from_slice(content);
        self.lines.push(b'\n');
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
    fn add(&mut self, text: &str, kind: Kind, name: &str, range: Range<usize>) {
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

    fn close(&mut self, text: &str) {
        if let Some(OpenBlock { kind, first, range, .. }) = self.open.take() {
            let (letter, length, hash) = (kind.letter(), range.len(), Digest::of(text[range].as_bytes()).hex());
            self.lines.push_str(&format!("{letter} {length} {hash} {first}\n"));
        }
    }
}

/// Where a table's bytes are.
enum Bytes {
    /// In the store; the table begins at `start`.
    File { file: File, start: u64, path: PathBuf },
    /// In memory.
    Text(String),
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
            Self::Text(text) => {
                let start = usize::try_from(offset).map_err(|_| short())?;
                let end = start.checked_add(length).ok_or_else(short)?;
                Ok(text.as_bytes().get(start..end).ok_or_else(short)?.to_vec())
            }
        }
    }

    fn length(&self) -> io::Result<u64> {
        match self {
            Self::File { file, start, .. } => Ok(file.metadata()?.len().saturating_sub(*start)),
            Self::Text(text) => Ok(text.len() as u64),
        }
    }
}

struct Block {
    kind: Kind,
    first: String,
    offset: u64,
    length: usize,
    digest: Digest,
    entries: OnceCell<Entries>,
}

/// A block's content.
#[derive(Default)]
struct Entries {
    packages: Vec<Package>,
    providers: Vec<(String, Vec<String>)>,
}

/// A table, read block by block.
pub(super) struct Table {
    archive: String,
    architecture: String,
    bytes: Bytes,
    blocks: Vec<Block>,
}

impl Table {
    /// A table in the store, whose text begins at byte `start` of `file`.
    pub(super) fn open(archive: &str, architecture: &str, file: File, start: u64, path: PathBuf) -> io::Result<Self> {
        Self::new(archive, architecture, Bytes::File { file, start, path })
    }

    /// A table from its text.
    pub(super) fn from_text(archive: &str, architecture: &str, text: String) -> io::Result<Self> {
        Self::new(archive, architecture, Bytes::Text(text))
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
            blocks.push(Block { kind, first: first.to_owned(), offset, length, digest, entries: OnceCell::new() });
            offset = offset.checked_add(length as u64).filter(|end| *end <= whole).ok_or_else(damaged)?;
        }
        Ok(Self { archive: archive.to_owned(), architecture: architecture.to_owned(), bytes, blocks })
    }

    /// Entries of a real package, in the order of the index.
    pub(super) fn packages(&self, name: &str) -> io::Result<impl Iterator<Item = &Package>> {
        let packages = self.entries(Kind::Packages, name)?.map_or(&[][..], |entries| entries.packages.as_slice());
        Ok(packages.iter().filter(move |package| package.name == name))
    }

    /// Names of packages that provide `name`, sorted.
    pub(super) fn providers(&self, name: &str) -> io::Result<&[String]> {
        let providers = self.entries(Kind::Providers, name)?.map_or(&[][..], |entries| entries.providers.as_slice());
        Ok(providers.iter().find(|(provided, _)| provided == name).map_or(&[], |(_, names)| names))
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
    fn entries(&self, kind: Kind, name: &str) -> io::Result<Option<&Entries>> {
        let after = self.blocks.partition_point(|block| (block.kind, block.first.as_str()) <= (kind, name));
        let block = after.checked_sub(1).and_then(|at| self.blocks.get(at));
        let Some(block) = block.filter(|block| block.kind == kind) else { return Ok(None) };
        if let Some(entries) = block.entries.get() {
            return Ok(Some(entries));
        }
        let bytes = self.read_block(block)?;
        let mut entries = Entries::default();
        for stanza in StanzaReader::new(bytes.as_slice()) {
            let stanza = stanza?;
            if let (Some(name), Some(providers)) = (stanza.get("Provided"), stanza.get("Providers")) {
                let providers = providers.split(' ').map(str::to_owned).collect();
                entries.providers.push((name.to_owned(), providers));
            } else {
                entries.packages.extend(Package::from_stanza(&self.archive, &self.architecture, &stanza));
            }
        }
        Ok(Some(block.entries.get_or_init(|| entries)))
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

    fn table(text: String) -> io::Result<Table> {
        Table::from_text("debian", "amd64", text)
    }

    fn answers(table: &Table) -> io::Result<(Vec<String>, usize, usize)> {
        let versions = table.packages("v1")?.map(|package| package.version.to_string()).collect();
        Ok((versions, table.providers("v1")?.len(), table.providers("even")?.len()))
    }

    #[test]
    fn answers_as_the_index_would() {
        let text = digest_index(index().as_bytes(), "amd64").expect("readable");
        assert!(!text.contains("kept") && !text.contains("nor"));
        let table = table(text).expect("a table");
        assert!(table.blocks.len() > 3);
        assert_eq!(answers(&table).expect("read"), (vec!["2".to_owned()], 67, 200));
        assert_eq!(table.providers("v1").expect("read")[..3], ["p1", "p10", "p100"]);
        assert_eq!(table.packages("p7").expect("read").count(), 1);
        for absent in ["", "a", "p7a", "zz"] {
            assert_eq!(table.packages(absent).expect("read").count(), 0, "{absent}");
        }
        assert_eq!(table.names().expect("read").len(), 201);
        assert_eq!(table.blocks.iter().filter(|block| block.entries.get().is_some()).count(), 3);
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
        let mut text = digest_index(index().as_bytes(), "amd64").expect("readable").into_bytes();
        let at = text.windows(13).position(|window| window == b"Package: p150").expect("there");
        text[at + 9] = b'q';
        std::fs::write(&path, &text).expect("written");
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
            static TEXT: std::sync::LazyLock<String> =
                std::sync::LazyLock::new(|| digest_index(index().as_bytes(), "amd64").expect("readable"));
            let mut bytes = TEXT.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes)
                && let Ok(table) = table(text)
                && let Ok(found) = answers(&table)
            {
                prop_assert_eq!(found, (vec!["2".to_owned()], 67, 200));
            }
        }

        #[test]
        fn any_bytes_are_an_index_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = digest_index(&bytes[..], "amd64").expect("readable");
            prop_assert!(table(text).is_ok());
        }
    }
}
