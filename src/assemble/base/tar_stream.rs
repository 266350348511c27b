//! Walks a tar stream once, in constant memory: long names of GNU and pax archives are read up to a limit, and bodies only
//! when they are asked for. Sizes that an archive claims are never allocated.

use std::io::{self, Read};

use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Place of the flag by which a block of a sparse map announces another.
const SPARSE_FLAG: usize = 504;
/// Longest name or pax header that is read, in bytes; file systems stop at 4096.
const NAME_LIMIT: u64 = 1 << 20;

/// One entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Path as the archive has it.
    pub(super) path: Vec<u8>,
    /// Target of a link.
    pub(super) link: Vec<u8>,
    /// What it is.
    pub(super) kind: EntryType,
    /// Size of its body in bytes.
    pub(super) size: u64,
}

/// A tar being walked.
pub(super) struct TarStream<R> {
    reader: R,
    /// Bytes before the next header, padding included.
    pending: u64,
    /// Bytes of the current body that can still be read.
    body: u64,
}

impl<R: Read> TarStream<R> {
    /// Starts before the first entry.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, pending: 0, body: 0 }
    }

    /// The next entry; `None` at the archive's end.
    pub(super) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let (mut path, mut link, mut size) = (None, None, None);
        loop {
            self.skip()?;
            let Some(block) = self.header_block()? else { return Ok(None) };
            let header = Header::from_byte_slice(&block);
            check_sum(&block, header)?;
            let kind = header.entry_type();
            if kind == EntryType::GNUSparse && header.as_gnu().is_some_and(tar::GnuHeader::is_extended) {
                self.skip_sparse_map()?;
            }
            let header_size = header.entry_size().map_err(|_| damaged("a size is no number"))?;
            let body = match kind {
                // Links and devices have no body, whatever their size says.
                EntryType::Link
                | EntryType::Symlink
                | EntryType::Directory
                | EntryType::Char
                | EntryType::Block
                | EntryType::Fifo => 0,
                _ => size.unwrap_or(header_size),
            };
            match kind {
                EntryType::GNULongName => {
                    self.open_body(header_size)?;
                    path = Some(without_nul(self.read_body(NAME_LIMIT)?));
                }
                EntryType::GNULongLink => {
                    self.open_body(header_size)?;
                    link = Some(without_nul(self.read_body(NAME_LIMIT)?));
                }
                EntryType::XHeader => {
                    self.open_body(header_size)?;
                    for (key, content) in pax_records(&self.read_body(NAME_LIMIT)?) {
                        match key.as_slice() {
                            b"path" => path = Some(content),
                            b"linkpath" => link = Some(content),
                            b"size" => {
                                let text = std::str::from_utf8(&content).ok();
                                size = Some(
                                    text.and_then(|text| text.parse().ok())
                                        .ok_or_else(|| damaged("a size is no number"))?,
                                );
                            }
                            _ => {}
                        }
                    }
                }
                EntryType::XGlobalHeader => self.open_body(header_size)?,
                kind => {
                    self.open_body(body)?;
                    let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
                    let link = link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
                    return Ok(Some(Entry { path, link: link.unwrap_or_default(), kind, size: body }));
                }
            }
        }
    }

    /// The current entry's body, an error if it has more than `limit` bytes.
    pub(super) fn read_body(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        if self.body > limit {
            return Err(damaged(&format!("an entry has {} bytes, more than the {limit} that are read", self.body)));
        }
        let mut bytes = Vec::new();
        let wanted = self.body;
        (&mut self.reader).take(wanted).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != wanted {
            return Err(damaged("it ends inside an entry"));
        }
        self.pending -= wanted;
        self.body = 0;
        Ok(bytes)
    }

    /// Reads what follows the archive's end mark, so that everything has passed through the reader.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        io::copy(&mut self.reader, &mut io::sink()).map(|_| ())
    }

    /// The rest of an old GNU sparse map: blocks that follow the header and say themselves whether another comes.
    fn skip_sparse_map(&mut self) -> io::Result<()> {
        let mut block = [0; BLOCK];
        loop {
            self.reader.read_exact(&mut block)?;
            if block.get(SPARSE_FLAG) == Some(&0) {
                return Ok(());
            }
        }
    }

    fn open_body(&mut self, size: u64) -> io::Result<()> {
        let padded = size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| damaged("a size is impossible"))?;
        (self.pending, self.body) = (padded, size);
        Ok(())
    }

    fn skip(&mut self) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(self.pending), &mut io::sink())?;
        // Some writers leave out the padding of the last entry.
        if skipped < self.pending && skipped < self.body {
            return Err(damaged("it ends inside an entry"));
        }
        (self.pending, self.body) = (0, 0);
        Ok(())
    }

    /// The next header; `None` at a block of zeros or the end of the bytes.
    fn header_block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(block.get_mut(filled..).unwrap_or_default()) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(damaged("it ends inside a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(block.iter().any(|&byte| byte != 0).then_some(block))
    }
}

fn check_sum(block: &[u8; BLOCK], header: &Header) -> io::Result<()> {
    // The field itself counts as blanks.
    let sum: u32 =
        block.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { u32::from(byte) }).sum();
    match header.cksum() {
        Ok(expected) if expected == sum => Ok(()),
        _ => Err(damaged("a header's checksum is wrong")),
    }
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Records `LENGTH KEY=VALUE\n`; what follows a damaged one is left out.
fn pax_records(mut rest: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(blank) = rest.iter().position(|&byte| byte == b' ') {
        let Some(length) = std::str::from_utf8(&rest[..blank]).ok().and_then(|text| text.parse::<usize>().ok()) else {
            break;
        };
        let Some(record) = rest.get(blank + 1..length.max(blank + 1)) else { break };
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(equals) = record.iter().position(|&byte| byte == b'=') {
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        }
        if length == 0 {
            break;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    records
}

fn damaged(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the tar is damaged: {problem}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, body) in entries {
            let mut header = Header::new_gnu();
            header.set_size(body.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *body).expect("an entry");
        }
        builder.into_inner().expect("an archive")
    }

    #[test]
    fn long_names_and_skipped_bodies() {
        let long = "d/".repeat(90) + "file";
        let bytes = archive(&[("a", &[1; 700]), (&long, b"content"), ("b", b"")]);
        let mut stream = TarStream::new(bytes.as_slice());
        assert_eq!(stream.next_entry().expect("a").map(|entry| (entry.path, entry.size)), Some((b"a".to_vec(), 700)));
        assert_eq!(stream.next_entry().expect("long").map(|entry| entry.path), Some(long.into_bytes()));
        assert_eq!(stream.read_body(100).expect("a body"), b"content");
        assert_eq!(stream.next_entry().expect("b").map(|entry| entry.path), Some(b"b".to_vec()));
        assert_eq!(stream.next_entry().expect("the end"), None);
    }

    #[test]
    fn pax_records_name_path_and_size() {
        assert_eq!(
            pax_records(b"12 path=a/b\n9 size=5\n11 x=a=b c\n"),
            [
                (b"path".to_vec(), b"a/b".to_vec()),
                (b"size".to_vec(), b"5".to_vec()),
                (b"x".to_vec(), b"a=b c".to_vec())
            ]
        );
        assert_eq!(pax_records(b"99999 path=a\n"), []);
        assert_eq!(pax_records(b"0 \n"), []);
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let bytes = archive(&[("a", &[1; 700])]);
        for end in [100, 512, 600, 1100] {
            let mut stream = TarStream::new(&bytes[..end]);
            let outcome = stream.next_entry().and_then(|_| stream.next_entry());
            assert!(outcome.is_err(), "{end}");
        }
    }

    #[test]
    fn bodies_above_the_limit_are_refused() {
        let bytes = archive(&[("a", &[1; 700])]);
        let mut stream = TarStream::new(bytes.as_slice());
        stream.next_entry().expect("a");
        assert!(stream.read_body(699).is_err());
    }

    proptest! {
        #[test]
        fn damaged_archives_never_panic(at in 0usize..2048, byte: u8, cut in 0usize..4096) {
            let mut bytes = archive(&[(&"n".repeat(200), &[7; 300]), ("b", b"x")]);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut.max(at));
            let mut stream = TarStream::new(bytes.as_slice());
            while let Ok(Some(entry)) = stream.next_entry() {
                prop_assert!(entry.path.len() <= 300);
                let _ = stream.read_body(1000);
            }
        }

        #[test]
        fn any_pax_header_is_read_without_panic(bytes: Vec<u8>) {
            pax_records(&bytes);
        }
    }
}
