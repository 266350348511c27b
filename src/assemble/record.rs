//! RECORD: the files of a distribution with their hashes, as CSV.
//!
//! Source: "Recording installed projects" and "Binary distribution format" of the Python packaging specifications. A hash
//! is `ALGORITHM=` and the digest in URL-safe base64 without padding; nothing weaker than sha256 is allowed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What a row says of a file; RECORD itself and signatures have neither hash nor size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    pub(super) hash: Option<RecordedHash>,
    pub(super) size: Option<u64>,
}

/// A hash as RECORD writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordedHash {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// A running hash of the algorithm that a row names.
pub(super) enum Hashing {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl RecordedHash {
    /// The hash of bytes in memory.
    pub(super) fn of(content: &[u8]) -> Self {
        Self { algorithm: Algorithm::Sha256, digest: Sha256::digest(content).to_vec() }
    }

    /// A sha256 that is known.
    pub(super) fn of_digest(digest: &crate::oci::Digest) -> Self {
        Self { algorithm: Algorithm::Sha256, digest: digest.as_bytes().to_vec() }
    }

    /// Whether it is of the algorithm that layers are hashed with anyway.
    pub(super) fn is_sha256(&self) -> bool {
        self.algorithm == Algorithm::Sha256
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (algorithm, digest) = text.split_once('=').ok_or("a hash must be `algorithm=digest`")?;
        let (algorithm, length) = match algorithm.to_ascii_lowercase().as_str() {
            "sha256" => (Algorithm::Sha256, 32),
            "sha384" => (Algorithm::Sha384, 48),
            "sha512" => (Algorithm::Sha512, 64),
            _ => return Err("a hash must be sha256, sha384 or sha512"),
        };
        let digest = URL_SAFE_NO_PAD.decode(digest.trim_end_matches('=')).unwrap_or_default();
        if digest.len() == length { Ok(Self { algorithm, digest }) } else { Err("a hash has the wrong length") }
    }

    /// A fresh hash to compare with.
    pub(super) fn start(&self) -> Hashing {
        match self.algorithm {
            Algorithm::Sha256 => Hashing::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hashing::Sha384(Sha384::new()),
            Algorithm::Sha512 => Hashing::Sha512(Sha512::new()),
        }
    }

    /// The hash of bytes in memory, of the same algorithm, to compare with.
    pub(super) fn same_of(&self, content: &[u8]) -> Self {
        let mut hashing = self.start();
        hashing.update(content);
        hashing.finish()
    }
}

impl std::fmt::Display for RecordedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let algorithm = match self.algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        };
        write!(f, "{algorithm}={}", URL_SAFE_NO_PAD.encode(&self.digest))
    }
}

impl Hashing {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }
    pub(super) fn finish(self) -> RecordedHash {
        let (algorithm, digest) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha384(hasher) => (Algorithm::Sha384, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        RecordedHash { algorithm, digest }
    }
}

/// A line, from 1, and what is wrong there.
pub(super) type Damage = (usize, &'static str);

/// The rows of a RECORD by path.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Row>, Damage> {
    let mut rows = BTreeMap::new();
    let (mut rest, mut next) = (text, 1);
    while !rest.is_empty() {
        let line = next;
        let error = |reason| (line, reason);
        let CsvRow { fields, lines, behind } = csv_row(rest).map_err(error)?;
        next += lines;
        rest = behind;
        let field = |index: usize| fields.get(index).map_or("", AsRef::as_ref);
        let (path, hash, size) = (field(0), field(1), field(2));
        if fields.len() == 1 && path.is_empty() {
            continue;
        }
        let hash = if hash.is_empty() { None } else { Some(RecordedHash::parse(hash).map_err(error)?) };
        let size = match size {
            "" => None,
            digits => Some(digits.parse().map_err(|_| error("a size is not a number"))?),
        };
        let row = Row { hash, size };
        if rows.get(path).is_some_and(|known| *known != row) {
            return Err(error("a path is there twice, with different values"));
        }
        rows.insert(path.to_owned(), row);
    }
    Ok(rows)
}

/// The text of a RECORD: rows sorted by path, as pip leaves them.
pub(super) fn render(rows: &BTreeMap<String, Row>) -> String {
    let mut text = String::new();
    for (path, row) in rows {
        if path.contains([',', '"', '\n', '\r']) {
            text.push_str(&format!("\"{}\"", path.replace('"', "\"\"")));
        } else {
            text.push_str(path);
        }
        let hash = row.hash.as_ref().map(ToString::to_string).unwrap_or_default();
        let size = row.size.map(|size| size.to_string()).unwrap_or_default();
        text.push_str(&format!(",{hash},{size}\n"));
    }
    text
}

/// A row of CSV.
struct CsvRow<'t> {
    /// Never empty: a blank line has one field, which is.
    fields: Vec<Cow<'t, str>>,
    /// Lines it takes.
    lines: usize,
    /// The text behind it.
    behind: &'t str,
}

/// The first row of a text. Quoting as Python's `csv` module writes it.
fn csv_row(text: &str) -> Result<CsvRow<'_>, &'static str> {
    let (line, behind) = text.split_once('\n').unwrap_or((text, ""));
    // Nearly all: no large part of making a layer of many small files.
    if !line.contains('"') {
        let fields = line.strip_suffix('\r').unwrap_or(line).split(',').map(Cow::Borrowed).collect();
        return Ok(CsvRow { fields, lines: 1, behind });
    }
    let mut fields = Vec::new();
    let mut field = String::new();
    let (mut quoted, mut lines) = (false, 0);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let following = characters.as_str().chars().next();
        lines += usize::from(character == '\n');
        match (quoted, character) {
            (true, '"') if following == Some('"') => {
                characters.next();
                field.push('"');
            }
            (true, '"') => quoted = false,
            (true, other) => field.push(other),
            (false, '"') if field.is_empty() => quoted = true,
            (false, ',') => fields.push(Cow::Owned(std::mem::take(&mut field))),
            (false, '\r') if matches!(following, Some('\n') | None) => {}
            (false, '\n') => break,
            (false, other) => field.push(other),
        }
    }
    if quoted {
        return Err("a quote is not closed");
    }
    fields.push(Cow::Owned(field));
    Ok(CsvRow { fields, lines, behind: characters.as_str() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn reads_rows_with_and_without_hashes() {
        let text = format!("a/__init__.py,{EMPTY},0\r\n\"b,\"\"c\"\"\",,\r\n\r\na-1.dist-info/RECORD,,\n");
        let rows = parse(&text).expect("rows");
        assert_eq!(rows.keys().collect::<Vec<_>>(), ["a-1.dist-info/RECORD", "a/__init__.py", "b,\"c\""]);
        let row = &rows["a/__init__.py"];
        assert_eq!(row.size, Some(0));
        assert!(row.hash.as_ref().is_some_and(|hash| hash.same_of(b"") == *hash && hash.same_of(b"x") != *hash));
        assert_eq!(rows["b,\"c\""], Row::default());
    }

    #[test]
    fn refuses_weak_and_damaged_hashes() {
        for (text, reason) in [
            ("a,md5=1B2M2Y8AsgTpgAmY7PhCfg,0", "a hash must be sha256, sha384 or sha512"),
            ("a,sha256=AAAA,0", "a hash has the wrong length"),
            ("a,sha256,0", "a hash must be `algorithm=digest`"),
            ("a,,zero", "a size is not a number"),
            ("\"a", "a quote is not closed"),
            ("a,,1\na,,2", "a path is there twice, with different values"),
        ] {
            assert_eq!(parse(text).map_err(|(_, reason)| reason), Err(reason), "{text}");
        }
        assert_eq!(parse("a,,1\n\nb,,x").map_err(|(line, _)| line), Err(3));
    }

    proptest! {
        #[test]
        fn what_is_rendered_reads_back(paths in prop::collection::btree_set("[a-z\"/, é\n]{1,12}", 0..8)) {
            let row = Row { hash: Some(RecordedHash::of(b"x")), size: Some(1) };
            let rows: BTreeMap<String, Row> = paths.into_iter().map(|path| (path, row.clone())).collect();
            prop_assert_eq!(parse(&render(&rows)), Ok(rows));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
