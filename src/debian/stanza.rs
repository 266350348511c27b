//! Control paragraphs (deb822): `Field: value` lines, continuation lines that start with a blank, paragraphs parted by
//! empty lines. Tolerant of lines it cannot place, strict about size: nothing is kept beyond [`MAX_STANZA_BYTES`].

use std::io::{self, BufRead, Read as _};

/// Most bytes of one paragraph. The largest real one, a Release file's list of hashes, has about half a megabyte.
const MAX_STANZA_BYTES: u64 = 16 * 1024 * 1024;

/// One paragraph: fields in their order, continuation lines joined by line feeds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stanza {
    fields: Vec<(String, String)>,
}

impl Stanza {
    /// The value of a field, whose name is compared without case; the first one if it is there twice.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields in file order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first paragraph of a text.
    pub fn parse(text: &[u8]) -> io::Result<Self> {
        Ok(StanzaReader::new(text).next().transpose()?.unwrap_or_default())
    }

    fn take_line(&mut self, line: &str) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = self.fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':').filter(|(name, _)| !name.starts_with('#')) {
            self.fields.push((name.trim_end().to_owned(), value.trim().to_owned()));
        }
    }
}

/// Paragraphs from a stream, one in memory at a time.
#[derive(Debug)]
pub struct StanzaReader<R> {
    source: R,
    done: bool,
}

impl<R: BufRead> StanzaReader<R> {
    /// Reads from `source`.
    pub fn new(source: R) -> Self {
        Self { source, done: false }
    }

    fn read_stanza(&mut self) -> io::Result<Option<Stanza>> {
        let mut stanza = Stanza::default();
        let mut line = Vec::new();
        let mut left = MAX_STANZA_BYTES;
        loop {
            line.clear();
            let count = (&mut self.source).take(left).read_until(b'\n', &mut line)? as u64;
            left -= count;
            if left == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a control paragraph is too large"));
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            if !text.trim().is_empty() {
                stanza.take_line(text);
            } else if count == 0 || !stanza.fields.is_empty() {
                self.done = count == 0;
                return Ok(Some(stanza).filter(|stanza| !stanza.fields.is_empty()));
            }
        }
    }
}

impl<R: BufRead> Iterator for StanzaReader<R> {
    type Item = io::Result<Stanza>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let result = self.read_stanza().transpose();
        self.done |= !matches!(result, Some(Ok(_)));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_paragraphs_with_continuation_lines() {
        let text =
            b"\n# comment: no\nPackage: a\nDescription: short\n long\n .\n more\nbroken line\n\n\n \nPACKAGE:b\r\n";
        let stanzas: Vec<_> = StanzaReader::new(&text[..]).map(|stanza| stanza.expect("readable")).collect();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].get("package"), Some("a"));
        assert_eq!(stanzas[0].get("Description"), Some("short\n long\n .\n more"));
        assert_eq!(stanzas[1].get("Package"), Some("b"));
        assert_eq!(stanzas[1].get("Version"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for stanza in StanzaReader::new(&bytes[..]) {
                prop_assert!(stanza.is_ok());
            }
        }
    }
}
