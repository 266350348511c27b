//! METADATA of a wheel: the headers that a solver needs (core metadata specification).
//!
//! The file has the form of a mail: headers, continuation lines that begin with a blank, then a body that is prose. It is
//! meant to be UTF-8, and old uploads are not; bytes that are none become U+FFFD, which no field read here may hold anyway.

use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{Requirement, VerbatimUrl};

use super::{Error, requirement, specifiers};
use crate::version::wheel_tag::normalize_name;

/// What a distribution is and needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Name as written.
    pub name: String,
    /// Version, with its local label.
    pub version: Version,
    /// Requirements, those of extras included, in the file's order.
    pub requires_dist: Vec<Requirement<VerbatimUrl>>,
    /// Python versions it declares; absent if undeclared or unreadable.
    pub requires_python: Option<VersionSpecifiers>,
    /// Normalised names of the extras.
    pub provides_extra: Vec<String>,
    /// Requirement lines that cannot be read; whoever relies on the rest should say so.
    pub skipped: Vec<String>,
}

impl Metadata {
    /// Reads a METADATA file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = String::from_utf8_lossy(bytes);
        let (mut name, mut version, mut requires_python) = (None, None, None);
        let (mut requires_dist, mut provides_extra, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for_each_header(text.strip_prefix('\u{feff}').unwrap_or(&text), |field, value| {
            let is = |known: &str| field.eq_ignore_ascii_case(known);
            if is("name") {
                name.get_or_insert_with(|| value.to_owned());
            } else if is("version") {
                version.get_or_insert_with(|| value.to_owned());
            } else if is("requires-python") && !value.is_empty() {
                requires_python = requires_python.take().or_else(|| specifiers::parse_lenient(value));
            } else if is("requires-dist") {
                match requirement::parse_lenient(value) {
                    Some(requirement) => requires_dist.push(requirement),
                    None => skipped.push(value.to_owned()),
                }
            } else if is("provides-extra") {
                provides_extra.push(normalize_name(value));
            }
        });
        let name = name.filter(|name| !name.is_empty()).ok_or(Error::MissingField { field: "Name" })?;
        let version = version.ok_or(Error::MissingField { field: "Version" })?;
        let version = Version::from_str(&version).map_err(|_| Error::InvalidVersion { text: version })?;
        provides_extra.sort_unstable();
        provides_extra.dedup();
        Ok(Self { name, version, requires_dist, requires_python, provides_extra, skipped })
    }
}

/// Calls `each` with every header's name and unfolded value, up to the blank line before the body.
pub(super) fn for_each_header(text: &str, mut each: impl FnMut(&str, &str)) {
    let mut current: Option<(&str, String)> = None;
    for line in text.lines() {
        // A line of blanks alone goes on with a folded value: licences in headers have such lines.
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = &mut current {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        if let Some((field, value)) = current.take() {
            each(field, &value);
        }
        current = line.split_once(':').map(|(field, value)| (field.trim(), value.trim().to_owned()));
    }
    if let Some((field, value)) = current {
        each(field, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_looking_lines_inside_a_folded_value_do_not_end_the_headers() {
        let text = "Name: a\nVersion: 1\nLicense: one\n        two\n        \n        three\nRequires-Dist: b\n\nRequires-Dist: c\n";
        let metadata = Metadata::parse(text.as_bytes()).expect("metadata");
        let names: Vec<_> = metadata.requires_dist.iter().map(|requirement| requirement.name.to_string()).collect();
        assert_eq!(names, ["b"]);
    }
    use proptest::prelude::*;

    #[test]
    fn headers_are_read_and_the_body_is_not() {
        let metadata = Metadata::parse(
            b"Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.2+cu124\nSummary: caf\xe9\n over two lines\n\
              Requires-Dist: numpy (>=1.20.*)\nRequires-Dist: torch==2.5.1 ; extra == 'gpu'\n\
              REQUIRES-DIST: typing-extensions>=4\n    ; python_version < \"3.8\"\nRequires-Dist: \xff\n\
              Requires-Dist: bad @ https://host/${HOME}\nRequires-Python: >=3.8.*\n\
              Provides-Extra: GPU_All\nProvides-Extra: docs\n\nRequires-Dist: not-this\n",
        )
        .expect("readable");
        assert_eq!((metadata.name.as_str(), metadata.version.to_string().as_str()), ("Foo_Bar", "1.2+cu124"));
        let requires: Vec<String> = metadata.requires_dist.iter().map(ToString::to_string).collect();
        assert_eq!(
            requires,
            ["numpy>=1.20", "torch==2.5.1 ; extra == 'gpu'", "typing-extensions>=4 ; python_full_version < '3.8'"]
        );
        assert_eq!(metadata.requires_python.map(|python| python.to_string()).as_deref(), Some(">=3.8"));
        assert_eq!(metadata.provides_extra, ["docs", "gpu-all"]);
        assert_eq!(metadata.skipped, ["\u{fffd}", "bad @ https://host/${HOME}"]);
    }

    #[test]
    fn name_and_version_must_be_there() {
        assert_eq!(Metadata::parse(b"Version: 1\n"), Err(Error::MissingField { field: "Name" }));
        assert_eq!(Metadata::parse(b"Name: a\n\nVersion: 1\n"), Err(Error::MissingField { field: "Version" }));
        assert_eq!(Metadata::parse(b"Name: a\nVersion: x\n"), Err(Error::InvalidVersion { text: "x".into() }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), value in ".{0,80}") {
            let _ = Metadata::parse(&bytes);
            let _ = Metadata::parse(format!("Name: a\nVersion: 1\nRequires-Dist: {value}\nRequires-Python: {value}").as_bytes());
        }
    }
}
