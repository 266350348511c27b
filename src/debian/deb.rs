//! A .deb file (deb(5)): an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`, read as a stream.
//!
//! The bytes have a known hash but are read as if they had none: sizes that a header claims are limits, never amounts to
//! allocate, and what is neither file, folder nor link is refused.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use super::error::Error;
use super::stanza::Stanza;

/// Most bytes of one unpacked file; the largest in Debian's `main`, debugging symbols, stay below.
pub const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Most bytes of the unpacked control archive.
const MAX_CONTROL_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes of the unpacked data archive.
const MAX_DATA_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// Most entries of one archive.
const MAX_ENTRIES: usize = 1_000_000;
/// Most bytes of a path; Linux itself allows 4096.
const MAX_PATH_BYTES: u64 = 4096;

/// What the control archive holds.
#[derive(Debug, Clone, Default)]
pub struct ControlFiles {
    /// The `control` file.
    pub control: Stanza,
    /// All files by name, `control` included: `md5sums`, `conffiles`, `postinst`, `triggers`.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Kind of an entry of the data archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A file, with its size in bytes.
    File(u64),
    /// A symbolic link with its target as written.
    Symlink(String),
    /// A hard link to another entry's path.
    Hardlink(String),
}

/// An entry of the data archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path as written: `./usr/bin/a`.
    pub path: String,
    /// Kind.
    pub kind: EntryKind,
    /// Permission bits, set-id and sticky bits included.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

fn malformed(package: &str, cause: impl ToString) -> Error {
    Error::Malformed { package: package.to_owned(), cause: cause.to_string() }
}

fn invalid(cause: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

/// Reads the control archive. `package` names the file in errors.
pub fn read_control(package: &str, source: impl Read) -> Result<ControlFiles, Error> {
    let mut result = ControlFiles::default();
    let member = open_member(source, "control.tar", MAX_CONTROL_BYTES).map_err(|error| malformed(package, error))?;
    visit_tar(package, member, &mut |entry, content| {
        let name = entry.path.trim_start_matches("./");
        if matches!(entry.kind, EntryKind::File(_)) && !name.contains('/') {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(|error| malformed(package, error))?;
            result.files.insert(name.to_owned(), bytes);
        }
        Ok(())
    })?;
    let control = result.files.get("control").ok_or_else(|| malformed(package, "it has no `control` file"))?;
    result.control = Stanza::parse(control).map_err(|error| malformed(package, error))?;
    for field in ["Package", "Version", "Architecture"] {
        if result.control.get(field).is_none_or(str::is_empty) {
            return Err(malformed(package, format!("its `control` file lacks `{field}`")));
        }
    }
    Ok(result)
}

/// Shows `visit` each entry of the data archive in order, files with their content.
pub fn visit_entries(
    package: &str,
    source: impl Read,
    visit: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let member = open_member(source, "data.tar", MAX_DATA_BYTES).map_err(|error| malformed(package, error))?;
    visit_tar(package, member, visit)
}

/// The unpacked member whose name is `stem` and a known suffix. Members before it are skipped, as deb(5) asks.
fn open_member<'a>(source: impl Read + 'a, stem: &str, limit: u64) -> io::Result<Limited<Box<dyn Read + 'a>>> {
    let mut source = BufReader::with_capacity(128 * 1024, source);
    let mut magic = [0; 8];
    source.read_exact(&mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(invalid("it is no `ar` archive"));
    }
    let mut header = [0; 60];
    for position in 0..64 {
        source.read_exact(&mut header).map_err(|_| invalid(&format!("it has no `{stem}`")))?;
        let text = |from: usize, to: usize| std::str::from_utf8(&header[from..to]).map(str::trim_end);
        let size = text(48, 58).ok().and_then(|size| size.parse::<u64>().ok());
        let (Ok(name), Some(size), b"`\n") = (text(0, 16), size, &header[58..60]) else {
            return Err(invalid("a member's header is damaged"));
        };
        let name = name.trim_end_matches('/').to_owned();
        let mut member = source.by_ref().take(size);
        if position == 0 {
            let mut format = String::new();
            let known =
                name == "debian-binary" && member.read_to_string(&mut format).is_ok() && format.starts_with("2.");
            if !known {
                return Err(invalid("its format is not 2.x"));
            }
        } else if let Some(suffix) = name.strip_prefix(stem) {
            let suffix = suffix.to_owned();
            let member = source.take(size);
            let reader: Box<dyn Read + 'a> = match suffix.as_str() {
                "" => Box::new(member),
                ".gz" => Box::new(flate2::bufread::MultiGzDecoder::new(member)),
                ".xz" => Box::new(xz_decoder(member)?),
                ".zst" => Box::new(zstd::stream::read::Decoder::with_buffer(member)?),
                _ => return Err(invalid(&format!("`{name}` is packed in a way that is not known"))),
            };
            return Ok(Limited { inner: reader, left: limit });
        }
        io::copy(&mut member, &mut io::sink())?;
        if size % 2 == 1 {
            source.consume_padding()?;
        }
    }
    Err(invalid("it has too many members"))
}

/// A decoder that takes no more memory than xz's strongest preset needs.
fn xz_decoder<R: BufRead>(source: R) -> io::Result<liblzma::bufread::XzDecoder<R>> {
    const MEMORY: u64 = 256 * 1024 * 1024;
    let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, liblzma::stream::CONCATENATED)
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(liblzma::bufread::XzDecoder::new_stream(source, stream))
}

trait ConsumePadding {
    /// Skips the byte that keeps members at even positions; a last member may lack it.
    fn consume_padding(&mut self) -> io::Result<()>;
}

impl<R: BufRead> ConsumePadding for R {
    fn consume_padding(&mut self) -> io::Result<()> {
        let present = !self.fill_buf()?.is_empty();
        self.consume(usize::from(present));
        Ok(())
    }
}

/// A reader that fails, rather than ends, at its limit.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| invalid("it unpacks to too many bytes"))?;
        Ok(count)
    }
}

/// Walks a tar, to the end of what it is packed in. Long names are read here, with a limit, instead of by the `tar` crate,
/// which has none. What was visited counts only if the result is no error.
fn visit_tar(
    package: &str,
    source: impl Read,
    visit: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |error: io::Error| malformed(package, error);
    let mut source = source;
    let mut archive = tar::Archive::new(source.by_ref());
    let (mut long_path, mut long_target) = (None, None);
    for (index, entry) in archive.entries().map_err(failed)?.raw(true).enumerate() {
        let mut entry = entry.map_err(failed)?;
        if index >= MAX_ENTRIES {
            return Err(malformed(package, "it has too many entries"));
        }
        let kind = entry.header().entry_type();
        let size = entry.header().entry_size().map_err(failed)?;
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_PATH_BYTES + 2).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 > MAX_PATH_BYTES + 1 {
                return Err(malformed(package, "a path in it is too long"));
            }
            let text = text_of(package, bytes.strip_suffix(b"\0").unwrap_or(&bytes))?;
            *(if kind.is_gnu_longname() { &mut long_path } else { &mut long_target }) = Some(text);
            continue;
        }
        let path = match long_path.take() {
            Some(path) => path,
            None => text_of(package, &entry.header().path_bytes())?,
        };
        let target = match (long_target.take(), entry.header().link_name_bytes()) {
            (Some(target), _) => Some(target),
            (None, Some(bytes)) => Some(text_of(package, &bytes)?),
            (None, None) => None,
        };
        let lacks_target =
            || Error::BadPath { package: package.to_owned(), path: path.clone(), cause: "lacks its target" };
        let kind = match kind {
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Regular | tar::EntryType::Continuous if size <= MAX_FILE_BYTES => EntryKind::File(size),
            tar::EntryType::Symlink => EntryKind::Symlink(target.ok_or_else(lacks_target)?),
            tar::EntryType::Link => EntryKind::Hardlink(target.ok_or_else(lacks_target)?),
            _ => {
                let cause = "is no file, folder or link that an image can hold";
                return Err(Error::BadPath { package: package.to_owned(), path, cause });
            }
        };
        let header = entry.header();
        let number = |value: io::Result<u64>| value.ok().and_then(|value| u32::try_from(value).ok());
        let (Ok(mode), Some(uid), Some(gid)) = (header.mode(), number(header.uid()), number(header.gid())) else {
            return Err(malformed(package, format!("the header of `{path}` is damaged")));
        };
        visit(Entry { path, kind, mode: mode & 0o7777, uid, gid }, &mut entry)?;
    }
    // A tar ends before its packing does, and there is the checksum.
    io::copy(&mut source, &mut io::sink()).map_err(failed)?;
    Ok(())
}

fn text_of(package: &str, bytes: &[u8]) -> Result<String, Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(Error::BadPath {
            package: package.to_owned(),
            path: String::from_utf8_lossy(bytes).into_owned(),
            cause: "is not UTF-8",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DebBuilder, Packing};
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    type Seen = Vec<(Entry, Vec<u8>)>;

    fn read_all(bytes: &[u8]) -> Result<(ControlFiles, Seen), Error> {
        let control = read_control("a", bytes)?;
        let mut seen = Vec::new();
        visit_entries("a", bytes, &mut |entry, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(|error| malformed("a", error))?;
            seen.push((entry, bytes));
            Ok(())
        })?;
        Ok((control, seen))
    }

    fn sample() -> DebBuilder {
        DebBuilder::new("a", "1.0-1")
            .script("postinst", "#!/bin/sh\nset -e\n")
            .directory("./usr/", 0o755)
            .file_with("./usr/bin/a", b"content", 0o4755, 0, 42)
            .symlink("./usr/bin/b", "a")
            .hardlink("./usr/bin/c", "./usr/bin/a")
            .file(&format!("./usr/share/{}", "long/".repeat(40)), b"")
    }

    #[test]
    fn reads_every_packing() {
        for packing in [Packing::None, Packing::Gzip, Packing::Xz, Packing::Zstd] {
            let (control, seen) = read_all(&sample().packing(packing).build()).expect("readable");
            assert_eq!(control.control.get("Version"), Some("1.0-1"));
            assert_eq!(control.files["postinst"], b"#!/bin/sh\nset -e\n");
            let kinds: Vec<_> = seen.iter().map(|(entry, bytes)| (&entry.kind, bytes.as_slice())).collect();
            assert_eq!(
                kinds,
                [
                    (&EntryKind::Directory, &b""[..]),
                    (&EntryKind::File(7), b"content"),
                    (&EntryKind::Symlink("a".to_owned()), b""),
                    (&EntryKind::Hardlink("./usr/bin/a".to_owned()), b""),
                    (&EntryKind::File(0), b""),
                ]
            );
            assert_eq!((seen[1].0.mode, seen[1].0.uid, seen[1].0.gid), (0o4755, 0, 42));
            assert_eq!(seen[4].0.path.len(), "./usr/share/".len() + 200);
        }
    }

    #[test]
    fn says_what_is_missing() {
        let cause = |bytes: &[u8]| match read_control("a", bytes) {
            Err(Error::Malformed { cause, .. }) => cause,
            other => panic!("{other:?}"),
        };
        assert_eq!(cause(b"PK\x03\x04 and more"), "it is no `ar` archive");
        assert_eq!(cause(b"!<arch>\n"), "it has no `control.tar`");
        let bytes = sample().build();
        assert_eq!(cause(&bytes[..72]), "it has no `control.tar`");
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_result(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut archive = b"!<arch>\n".to_vec();
            archive.extend(&bytes);
            let _ = read_all(&bytes);
            let _ = read_all(&archive);
        }

        #[test]
        fn a_mutated_package_ends_in_a_result(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6), cut: usize, packing in 0usize..4) {
            static SAMPLES: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
                [Packing::None, Packing::Gzip, Packing::Xz, Packing::Zstd].map(|packing| sample().packing(packing).build())
            });
            let mut bytes = SAMPLES[packing].clone();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let _ = read_all(&bytes);
            bytes.truncate(cut % bytes.len());
            let _ = read_all(&bytes);
        }
    }
}
