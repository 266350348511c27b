//! Debian's version order (deb-version(7)), behind a type that only holds texts the comparison can take.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Longest version accepted; real ones stay below 80 characters, and comparing takes time that grows with the length.
const MAX_LENGTH: usize = 256;

/// A Debian version, `1:2.3~rc1-4+b1`. Equality is that of the order: `1.0` and `1.0-0` are equal.
#[derive(Debug, Clone)]
pub struct DebianVersion {
    text: String,
    parsed: debversion::Version,
}

/// A text that is no Debian version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Debian version")]
pub struct DebianVersionError(pub String);

impl DebianVersion {
    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for DebianVersion {
    type Err = DebianVersionError;

    fn from_str(text: &str) -> Result<Self, DebianVersionError> {
        let error = || DebianVersionError(text.chars().take(MAX_LENGTH).collect());
        // The comparison indexes bytes by character counts: only ASCII may reach it.
        if !text.is_ascii() || text.len() > MAX_LENGTH {
            return Err(error());
        }
        let parsed = debversion::Version::parse_lenient(text).map_err(|_| error())?;
        Ok(Self { text: text.to_owned(), parsed })
    }
}

impl fmt::Display for DebianVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for DebianVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for DebianVersion {}
impl PartialOrd for DebianVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for DebianVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parsed.cmp(&other.parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> DebianVersion {
        text.parse().expect(text)
    }

    #[test]
    fn orders_epochs_tildes_and_revisions() {
        for (smaller, larger) in [
            ("1.0~rc1", "1.0"),
            ("1.0", "1.0-1"),
            ("1.0-1", "1.0-1+b1"),
            ("1.0-1+deb12u2", "1.0-1+deb12u10"),
            ("9.9", "1:0.1"),
            ("2.36-9", "2.36-9+deb12u13"),
            ("1.2.13.dfsg-1", "1:1.2.13.dfsg-1"),
        ] {
            assert!(version(smaller) < version(larger), "{smaller} < {larger}");
        }
        assert_eq!(version("1.0"), version("1.0-0"));
        for text in ["", "1.0 2", "ü1", "1/2", "99999999999:1"] {
            assert!(text.parse::<DebianVersion>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_compares_without_panic(left in "\\PC{0,40}", right in "[0-9a-zA-Z.+:~_-]{0,40}") {
            if let (Ok(left), Ok(right)) = (left.parse::<DebianVersion>(), right.parse::<DebianVersion>()) {
                prop_assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
            }
        }
    }
}
