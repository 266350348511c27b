//! Marshalled code in a normal form: the same bytes for the same code, whichever process wrote them.
//!
//! What CPython writes depends on its memory (`Python/marshal.c`): a value is marked for reference where something else
//! holds it at that moment, equal constants are one object or several, frozen sets come in the order of their hashes before
//! 3.11, and a string of one letter is marked as interned if any file before it had such a name. Here equal constants are
//! one, what occurs twice is referred to and nothing else is, sets are sorted, and the mark follows from the letter. Loading
//! gives equal code. Constants may be one object, since the compiler shares them as it likes.

use std::collections::HashMap;
use std::ops::Range;

use crate::oci::{Digest, Hasher};
use crate::version::PythonVersion;

/// As deep as CPython writes.
const MAX_DEPTH: usize = 2000;
/// Of a type's byte: later references to the value may follow.
const FLAG_REF: u8 = 0x80;
/// Values without a content, which are never referred to: `None`, `False`, `True`, `StopIteration`, `...`.
const SINGLETONS: &[u8] = b"NFTS.";

/// Why bytes are no marshalled code.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// They end early.
    #[error("it ends in the middle of a value")]
    Short,
    /// They go on after the value.
    #[error("{0} bytes follow its value")]
    Long(usize),
    /// A type that no constant of a module has.
    #[error("a value at byte {at} has the unknown type {kind:#04x}")]
    Type {
        /// Where it is.
        at: usize,
        /// Its byte.
        kind: u8,
    },
    /// A reference to a value that is not there.
    #[error("the reference at byte {0} leads nowhere")]
    Reference(usize),
    /// Nested deeper than CPython writes.
    #[error("its values are nested more than {MAX_DEPTH} deep")]
    Depth,
}

/// The normal form of what `marshal.dumps` made of a module's code in a Python of this line.
pub fn normalize(bytes: &[u8], line: PythonVersion) -> Result<Vec<u8>, Error> {
    let mut values = Values { bytes, at: 0, line, references: Vec::new(), nodes: Vec::new(), known: HashMap::new() };
    let root = values.read(0)?;
    match bytes.len() - values.at {
        0 => Ok(Writer::new(&values.nodes, bytes).write(root)),
        rest => Err(Error::Long(rest)),
    }
}

/// A distinct value.
#[derive(Debug)]
struct Node {
    kind: u8,
    /// What is written behind the type: a size and a content, or the size alone if children follow.
    head: Range<usize>,
    /// Of code: the number of the first line, which stands behind the first eight children.
    middle: Range<usize>,
    children: Vec<usize>,
    /// Of everything that can be compared by content, so all but code.
    address: Digest,
}

/// Code lies among its children in this place.
const BEFORE_MIDDLE: usize = 8;

struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
    line: PythonVersion,
    /// Positions of the values marked for reference, in the order of their marks; none while they are being read.
    references: Vec<Option<usize>>,
    nodes: Vec<Node>,
    known: HashMap<Digest, usize>,
}

impl Values<'_> {
    /// Reads a value and returns its position among the nodes.
    fn read(&mut self, depth: usize) -> Result<usize, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Depth);
        }
        let start = self.at;
        let byte = *self.bytes.get(start).ok_or(Error::Short)?;
        self.at += 1;
        let kind = byte & !FLAG_REF;
        if kind == b'r' {
            let number = self.number()?;
            return self.references.get(number).copied().flatten().ok_or(Error::Reference(start));
        }
        let place = (byte & FLAG_REF != 0).then(|| {
            self.references.push(None);
            self.references.len() - 1
        });
        let node = self.read_behind(kind, start, depth)?;
        if let Some(place) = place.and_then(|place| self.references.get_mut(place)) {
            *place = Some(node);
        }
        Ok(node)
    }

    fn read_behind(&mut self, kind: u8, start: usize, depth: usize) -> Result<usize, Error> {
        let begin = self.at;
        let mut middle = 0..0;
        let mut children = Vec::new();
        match kind {
            kind if SINGLETONS.contains(&kind) => {}
            b'i' => self.skip(4)?,
            b'l' => {
                // A sign and a number of 15-bit digits.
                let digits = (self.number()? as u32).cast_signed().unsigned_abs() as usize;
                self.skip(digits.saturating_mul(2))?;
            }
            b'g' => self.skip(8)?,
            b'y' => self.skip(16)?,
            b's' | b'u' | b't' | b'a' | b'A' => {
                let length = self.number()?;
                self.skip(length)?;
            }
            b'z' | b'Z' => {
                let length = self.byte()?;
                self.skip(length)?;
            }
            b'(' | b')' | b'>' => {
                let count = if kind == b')' { self.byte()? } else { self.number()? };
                let head = begin..self.at;
                for _ in 0..count {
                    children.push(self.read(depth + 1)?);
                }
                if kind == b'>' {
                    // Two elements are never equal, so neither are their addresses.
                    children.sort_by_key(|&child| self.nodes.get(child).map(|node| node.address));
                }
                return Ok(self.add(kind, head, middle, children));
            }
            b':' => {
                for _ in 0..3 {
                    children.push(self.read(depth + 1)?);
                }
                return Ok(self.add(kind, begin..begin, middle, children));
            }
            b'c' => {
                let (numbers, behind) = match self.line >= (PythonVersion { major: 3, minor: 11 }) {
                    true => (5, 2),
                    false => (6, 1),
                };
                self.skip(numbers * 4)?;
                let head = begin..self.at;
                for _ in 0..BEFORE_MIDDLE {
                    children.push(self.read(depth + 1)?);
                }
                middle = self.at..self.at + 4;
                self.skip(4)?;
                for _ in 0..behind {
                    children.push(self.read(depth + 1)?);
                }
                return Ok(self.add(kind, head, middle, children));
            }
            kind => return Err(Error::Type { at: start, kind }),
        }
        let head = begin..self.at;
        Ok(self.add(interned(kind, self.bytes.get(head.clone()).unwrap_or_default()), head, middle, children))
    }

    /// The position of an equal node, or of a new one. Code is never shared: it carries state while it runs.
    fn add(&mut self, kind: u8, head: Range<usize>, middle: Range<usize>, children: Vec<usize>) -> usize {
        let mut hasher = Hasher::new();
        hasher.update(&[kind]);
        hasher.update(self.bytes.get(head.clone()).unwrap_or_default());
        for &child in &children {
            hasher.update(self.nodes.get(child).map_or(&[][..], |node| node.address.as_bytes()));
        }
        if kind == b'c' {
            hasher.update(&self.nodes.len().to_le_bytes());
        }
        let address = hasher.digest();
        let position = self.nodes.len();
        let known = *self.known.entry(address).or_insert(position);
        if known == position {
            self.nodes.push(Node { kind, head, middle, children, address });
        }
        known
    }

    fn skip(&mut self, count: usize) -> Result<(), Error> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len()).ok_or(Error::Short)?;
        self.at = end;
        Ok(())
    }

    fn byte(&mut self) -> Result<usize, Error> {
        let byte = *self.bytes.get(self.at).ok_or(Error::Short)?;
        self.at += 1;
        Ok(usize::from(byte))
    }

    fn number(&mut self) -> Result<usize, Error> {
        let bytes = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).ok_or(Error::Short)?;
        self.at += 4;
        Ok(u32::from_le_bytes(*bytes) as usize)
    }
}

/// The type of a string, marked as interned or not where that depends on the process: strings of one character below 256
/// are one object for all of it. Names and constants of letters, digits and `_` are always interned.
fn interned(kind: u8, head: &[u8]) -> u8 {
    let (content, plain, marked) = match kind {
        b'z' | b'Z' => (head.get(1..), b'z', b'Z'),
        b'a' | b'A' => (head.get(4..), b'a', b'A'),
        b'u' | b't' => (head.get(4..), b'u', b't'),
        _ => return kind,
    };
    match content.unwrap_or_default() {
        [] => marked,
        [letter] if letter.is_ascii_alphanumeric() || *letter == b'_' => marked,
        // One byte, or U+0080 to U+00FF in UTF-8.
        [_] | [0xc2 | 0xc3, _] => plain,
        _ => kind,
    }
}

struct Writer<'a> {
    nodes: &'a [Node],
    bytes: &'a [u8],
    occurrences: Vec<u32>,
    /// Numbers of the values that were written and marked.
    numbers: HashMap<usize, u32>,
    written: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(nodes: &'a [Node], bytes: &'a [u8]) -> Self {
        let mut occurrences = vec![0; nodes.len()];
        for child in nodes.iter().flat_map(|node| &node.children) {
            if let Some(count) = occurrences.get_mut(*child) {
                *count += 1;
            }
        }
        Self { nodes, bytes, occurrences, numbers: HashMap::new(), written: Vec::with_capacity(bytes.len()) }
    }

    fn write(mut self, root: usize) -> Vec<u8> {
        self.value(root);
        self.written
    }

    fn value(&mut self, position: usize) {
        if let Some(number) = self.numbers.get(&position) {
            self.written.push(b'r');
            self.written.extend_from_slice(&number.to_le_bytes());
            return;
        }
        let nodes = self.nodes;
        let Some(node) = nodes.get(position) else { return };
        let is_repeated = self.occurrences.get(position).is_some_and(|&count| count > 1);
        if is_repeated && !SINGLETONS.contains(&node.kind) {
            let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            self.numbers.insert(position, number);
            self.written.push(node.kind | FLAG_REF);
        } else {
            self.written.push(node.kind);
        }
        self.copy(&node.head);
        for (place, &child) in node.children.iter().enumerate() {
            if place == BEFORE_MIDDLE {
                self.copy(&node.middle);
            }
            self.value(child);
        }
    }

    fn copy(&mut self, range: &Range<usize>) {
        self.written.extend_from_slice(self.bytes.get(range.clone()).unwrap_or_default());
    }
}
