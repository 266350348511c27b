//! The signed part of an `InRelease` file: which suite it is, until when it counts, and the hashes of its indexes.

use std::collections::BTreeMap;

use crate::lock::Moment;
use crate::oci::Digest;

use super::stanza::Stanza;

/// A verified Release file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    /// `stable`, `stable-security`.
    pub(super) suite: String,
    /// `trixie`, `trixie-security`.
    pub(super) codename: String,
    /// When it was made.
    pub(super) date: Option<Moment>,
    /// Until when it counts.
    pub(super) valid_until: Option<Moment>,
    /// Whether indexes are also there under their hash.
    pub(super) by_hash: bool,
    /// sha256 and size of each index by its path below the suite.
    pub(super) files: BTreeMap<String, (Digest, u64)>,
}

impl Release {
    /// Reads the signed text. Only the `SHA256` list counts; the weaker ones are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let stanza = Stanza::parse(text.as_bytes()).unwrap_or_default();
        let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
        let mut files = BTreeMap::new();
        for line in field("SHA256").lines() {
            let mut words = line.split_whitespace();
            let (Some(hash), Some(size), Some(path)) = (words.next(), words.next(), words.next()) else { continue };
            if let (Ok(digest), Ok(size)) = (Digest::from_hex(hash), size.parse()) {
                files.insert(path.to_owned(), (digest, size));
            }
        }
        Self {
            suite: field("Suite"),
            codename: field("Codename"),
            date: parse_date(&field("Date")),
            valid_until: parse_date(&field("Valid-Until")),
            by_hash: field("Acquire-By-Hash").eq_ignore_ascii_case("yes"),
            files,
        }
    }
}

/// `Sun, 22 Nov 2026 19:58:56 UTC`, the one form that the repository format allows.
fn parse_date(text: &str) -> Option<Moment> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(',')?.1.split_whitespace();
    let day = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse().ok());
    let time = (clock.next()??, clock.next()??, clock.next()??);
    let is_utc = matches!(words.next(), Some("UTC" | "GMT" | "+0000") | None);
    Moment::from_parts((year, month, day), time).filter(|_| is_utc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_fields_that_count() {
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let release = Release::parse(&format!(
            "Suite: stable\r\nCodename: trixie\r\nDate: Thu, 01 Jan 1970 00:01:00 UTC\r\nAcquire-By-Hash: yes\r\n\
             MD5Sum:\r\n d41d8cd98f00b204e9800998ecf8427e 0 main/weak\r\nSHA256:\r\n {hash} 12 main/binary-amd64/Packages.xz\r\n junk\r\n"
        ));
        assert_eq!((release.suite.as_str(), release.codename.as_str()), ("stable", "trixie"));
        assert_eq!((release.date, release.valid_until, release.by_hash), (Some(Moment::from_seconds(60)), None, true));
        assert_eq!(
            release.files.into_iter().collect::<Vec<_>>(),
            [("main/binary-amd64/Packages.xz".to_owned(), (Digest::from_hex(hash).expect("a hash"), 12))]
        );
    }

    #[test]
    fn reads_dates() {
        assert_eq!(parse_date("Sun, 22 Nov 2026 19:58:56 UTC"), Some(Moment::from_seconds(1_795_377_536)));
        assert_eq!(parse_date("Thu, 29 Feb 2024 00:00:00 UTC"), Some(Moment::from_seconds(1_709_164_800)));
        for text in ["", "Sun, 22 Nov", "Sun, 32 Nov 2026 19:58:56 UTC", "Sun, 22 Nov 2026 19:58:56 CET"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,120}") {
            let _ = Release::parse(&text);
            let _ = parse_date(&text);
        }
    }
}
