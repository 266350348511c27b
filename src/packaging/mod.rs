//! Python packaging vocabulary: what an index page and a wheel's METADATA say, parsed. No IO here.
//!
//! Pages come as PEP 691 JSON or PEP 503 HTML and end as the same [`Project`]. Both parsers are lenient where pip is,
//! because the files they describe were uploaded over twenty years: a `requires_python` that cannot be read counts as
//! absent, and a file name that says nothing stays in the list as [`FileKind::Other`], so that a message can still
//! mention it.

mod html;
mod json;
mod license;
mod markers;
mod metadata;
mod requirement;
mod specifiers;

use std::collections::HashMap;
use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifiers};
use url::Url;

use crate::diagnostic::Hint;
use crate::oci::Digest;
use crate::version::wheel_tag::{WheelFilename, WheelReader, normalize_name};

pub use html::parse_html;
pub use json::parse_json;
pub use license::License;
pub use markers::marker_environment;
pub use metadata::Metadata;
pub use requirement::parse_lenient as parse_requirement;
pub use specifiers::parse_lenient as parse_specifiers;

/// A page of the simple API: everything an index holds of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Normalised name, as it was asked for.
    pub name: String,
    /// Files in the page's order.
    pub files: Vec<ProjectFile>,
}

/// What kind of distribution a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A built distribution whose name says where it runs.
    Wheel(WheelFilename),
    /// A source distribution.
    Sdist,
    /// An egg, an installer, a wheel of another project, or a name that cannot be read.
    Other,
}

/// One file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectFile {
    /// Name as uploaded, without folders.
    pub filename: String,
    /// What the name says about it.
    pub kind: FileKind,
    /// Version from the file name; `None` for [`FileKind::Other`].
    pub version: Option<Version>,
    /// Absolute address, without fragment.
    pub url: Url,
    /// Size in bytes if the index tells (PEP 700).
    pub size: Option<u64>,
    /// sha256 if the index tells.
    pub digest: Option<Digest>,
    /// Python versions it declares; absent if undeclared or unreadable.
    pub requires_python: Option<VersionSpecifiers>,
    /// The reason for its withdrawal, maybe empty, if it was withdrawn (PEP 592).
    pub yanked: Option<String>,
    /// Whether its METADATA can be had without the file.
    pub metadata: MetadataOffer,
}

/// What an index says about a separate METADATA file (PEP 658, PEP 714).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataOffer {
    /// Nothing; the file may exist all the same.
    Unknown,
    /// It lies at the file's URL with `.metadata` behind.
    Advertised {
        /// sha256 of the METADATA file, if told.
        digest: Option<Digest>,
    },
}

/// Why a page or a METADATA file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The page is not JSON of the simple API.
    #[error("the page is not JSON of the simple API: {cause}")]
    Json {
        /// The JSON parser's words, with line and column.
        cause: String,
    },
    /// The page follows a later major version of the simple API.
    #[error("the page has version `{found}` of the simple API, and only version 1 is known")]
    ApiVersion {
        /// `meta.api-version`.
        found: String,
    },
    /// The page is text without a single tag.
    #[error("the page is not HTML: it has no tag")]
    NotHtml,
    /// METADATA lacks a field that every one must have.
    #[error("METADATA has no field `{field}`")]
    MissingField {
        /// Field name.
        field: &'static str,
    },
    /// METADATA has a version that PEP 440 does not allow.
    #[error("METADATA has the version `{text}`, which is not PEP 440")]
    InvalidVersion {
        /// The field's text.
        text: String,
    },
}

impl Hint for Error {}

impl Project {
    /// The file of that name.
    pub fn file(&self, filename: &str) -> Option<&ProjectFile> {
        self.files.iter().find(|file| file.filename == filename)
    }
}

impl ProjectFile {
    /// The parsed file name of a wheel.
    pub fn wheel(&self) -> Option<&WheelFilename> {
        match &self.kind {
            FileKind::Wheel(wheel) => Some(wheel),
            FileKind::Sdist | FileKind::Other => None,
        }
    }
}

/// What a file name says: its kind, and its version unless the kind is [`FileKind::Other`]. `project` is normalised.
pub fn classify(filename: &str, project: &str) -> (FileKind, Option<Version>) {
    Classifier::new(project).classify(filename)
}

/// Classifies the files of one project; what their names share is read once.
pub struct Classifier<'a> {
    project: &'a str,
    wheels: WheelReader,
}

impl<'a> Classifier<'a> {
    /// For files of `project`, which is normalised.
    pub fn new(project: &'a str) -> Self {
        Self { project, wheels: WheelReader::default() }
    }

    /// Like [`classify`].
    pub fn classify(&mut self, filename: &str) -> (FileKind, Option<Version>) {
        if filename.strip_suffix(".whl").is_some() {
            return match self.wheels.read(filename) {
                Ok(wheel) if wheel.name == self.project => {
                    let version = wheel.version.clone();
                    (FileKind::Wheel(wheel), Some(version))
                }
                _ => (FileKind::Other, None),
            };
        }
        match sdist_version(filename, self.project) {
            Some(version) => (FileKind::Sdist, Some(version)),
            None => (FileKind::Other, None),
        }
    }
}

/// Endings of source distributions; PEP 625 knows the first, the others were uploaded before it.
const SDIST_ENDINGS: [&str; 5] = [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz"];

/// The version in a source distribution's name. Names from before PEP 625 have dashes in the project's name, so the
/// split is where the name before it is the project's.
fn sdist_version(filename: &str, project: &str) -> Option<Version> {
    let stem = SDIST_ENDINGS.iter().find_map(|ending| filename.strip_suffix(ending))?;
    stem.match_indices('-').find_map(|(at, _)| {
        let (name, version) = (stem.get(..at)?, stem.get(at + 1..)?);
        // Normalisation keeps or shortens, so a name shorter than the project's cannot be it.
        if name.len() < project.len() || normalize_name(name) != project {
            return None;
        }
        Version::from_str(version).or_else(|_| Version::from_str(&version.replace('_', "+"))).ok()
    })
}

/// `requires_python` texts of a page: a few distinct ones stand on thousands of files.
#[derive(Default)]
struct SpecifierCache<'a>(HashMap<std::borrow::Cow<'a, str>, Option<VersionSpecifiers>>);

impl<'a> SpecifierCache<'a> {
    fn get(&mut self, text: std::borrow::Cow<'a, str>) -> Option<VersionSpecifiers> {
        if let Some(known) = self.0.get(&text) {
            return known.clone();
        }
        let parsed = if text.trim().is_empty() { None } else { specifiers::parse_lenient(&text) };
        self.0.insert(text, parsed.clone());
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_tell_kind_and_version() {
        let version = |filename: &str, project: &str| {
            let (kind, version) = classify(filename, project);
            let kind = match kind {
                FileKind::Wheel(_) => "wheel",
                FileKind::Sdist => "sdist",
                FileKind::Other => "other",
            };
            format!("{kind} {}", version.map(|version| version.to_string()).unwrap_or_default())
        };
        assert_eq!(version("numpy-2.1.0-cp311-cp311-win_amd64.whl", "numpy"), "wheel 2.1.0");
        assert_eq!(version("scikit_learn-1.5.tar.gz", "scikit-learn"), "sdist 1.5");
        assert_eq!(version("scikit-learn-1.5rc1.tar.gz", "scikit-learn"), "sdist 1.5rc1");
        assert_eq!(version("zope.interface-5.0.zip", "zope-interface"), "sdist 5.0");
        assert_eq!(version("a-1-2.0.tar.gz", "a-1"), "sdist 2.0");
        assert_eq!(version("numpy-1.0.linux-x86_64.tar.gz", "numpy"), "other ");
        assert_eq!(version("numpy-1.0.tar.gz", "num"), "other ");
        assert_eq!(version("other-1.0-py3-none-any.whl", "numpy"), "other ");
        assert_eq!(version("numpy-1.0-py2.7.egg", "numpy"), "other ");
        assert_eq!(version("numpy-.tar.gz", "numpy"), "other ");
    }
}
