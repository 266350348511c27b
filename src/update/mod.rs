//! What upstream says today, held against the catalog: `imgforge catalog update`.
//!
//! Package indexes tell which releases exist, for which Pythons, platforms and glibc their wheels are made, and what their
//! METADATA pins; registries tell tags and what the images declare. None of them tells which cards a wheel has machine code
//! for, so what they do not tell is carried over from the release before and marked `unverified`.
//!
//! A person decides: new entries are *inserted* into the text of the files, beside the curated ones and in their style, and
//! where a curated fact and upstream disagree that is a [`Finding`], never an edit. All reading goes through [`Upstream`], so
//! that nothing here knows an address or touches a file.

mod compare;
mod compose;
mod cuda;
mod diff;
mod edit;
mod images;
mod observe;
#[cfg(test)]
mod tests;
mod wheels;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::diagnostic::Failure;
use crate::oci::{Digest, Platform};
use crate::packaging::{Metadata, Project, ProjectFile};

pub use edit::{File, Files};

/// How many names of a long list a line shows.
const SHOWN_NAMES: usize = 8;

/// Package indexes and registries.
pub trait Upstream {
    /// The page of a project; `None` if the index has no such project.
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure>;
    /// METADATA of a wheel that [`Upstream::project`] listed on `index`.
    fn metadata(&self, index: &str, file: &ProjectFile) -> Result<Arc<Metadata>, Failure>;
    /// Will be asked for soon; may do nothing.
    fn prefetch_metadata(&self, _index: &str, _file: &ProjectFile) {}
    /// All tags of a repository, as `nvidia/cuda`.
    fn tags(&self, repository: &str) -> Result<Vec<String>, Failure>;
    /// What the image behind a reference declares.
    fn image(&self, reference: &str) -> Result<ImageFacts, Failure>;
}

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageFacts {
    /// Of the index, or of the manifest if there is no index.
    pub digest: Digest,
    /// Platforms it exists for that images can be made for.
    pub platforms: Vec<Platform>,
    /// `Env` of the config of one of them.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
}

/// Something a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Finding {
    /// A curated fact is not what upstream says.
    Differs {
        /// `framework pytorch 2.5.1 cu124`, as `catalog check` names entries.
        entry: String,
        /// Which fact of it: `pythons on linux/amd64`.
        fact: String,
        /// The catalog's word; `nothing` if it has none.
        curated: String,
        /// Upstream's word; `nothing` if it has none.
        upstream: String,
    },
    /// Entries that upstream has and the catalog, between its oldest and its newest of the kind, does not.
    LeftOut {
        /// `framework pytorch`.
        entry: String,
        /// What is not listed, newest first.
        names: Vec<String>,
    },
    /// A fact of a new entry that nobody upstream tells.
    CarriedOver {
        /// The new entry.
        entry: String,
        /// What was carried over, and from where.
        fact: String,
    },
    /// A new entry that could not be written into any file.
    NotWritten {
        /// The new entry.
        entry: String,
        /// Why.
        problem: String,
    },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Differs { entry, fact, curated, upstream } => {
                write!(f, "{entry}: {fact}: curated says {curated}, upstream says {upstream}")
            }
            Self::LeftOut { entry, names } => {
                let (shown, rest) = names.split_at(names.len().min(SHOWN_NAMES));
                write!(f, "{entry}: not in the catalog: {}", shown.join(", "))?;
                if rest.is_empty() { Ok(()) } else { write!(f, " and {} more", rest.len()) }
            }
            Self::CarriedOver { entry, fact } => write!(f, "{entry}: {fact}"),
            Self::NotWritten { entry, problem } => write!(f, "{entry}: not written: {problem}"),
        }
    }
}

/// A place that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unreachable {
    /// ``the index `pytorch-cu126` ``.
    pub place: String,
    /// What happened.
    pub reason: String,
}

/// What one file becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Path below the catalog's folder: `framework/pytorch.yaml`.
    pub path: PathBuf,
    /// Names of the new entries.
    pub added: Vec<String>,
    /// The whole new text.
    pub text: String,
    /// Unified diff of the old text and the new.
    pub diff: String,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Files that change, by path.
    pub changes: Vec<Change>,
    /// Sorted.
    pub findings: Vec<Finding>,
    /// Sorted.
    pub unreachable: Vec<Unreachable>,
    /// How many places answered.
    pub places_read: usize,
}

/// Which parts to refresh.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Families, `cuda`, `images`; everything if empty.
    pub names: Vec<String>,
}

impl Selection {
    /// Whether `name` was asked for.
    fn has(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

/// Reads upstream and says what of it the catalog lacks or contradicts. `files` are those to be edited, `catalog` is what
/// they and everything below them amount to, `checked` the day to cite as `YYYY-MM-DD`. Progress is told to `say`.
pub fn update(
    catalog: &Catalog,
    files: &Files,
    selection: &Selection,
    upstream: &dyn Upstream,
    checked: &str,
    say: &dyn Fn(&str),
) -> Update {
    let reader = observe::Reader::new(upstream, catalog, checked);
    let mut findings = Vec::new();
    let mut editor = edit::Editor::new(files);
    if selection.has("cuda") {
        say("CUDA toolkits and cuDNN");
        cuda::refresh(catalog, &reader, &mut editor, &mut findings);
    }
    for framework in catalog.frameworks.iter().filter(|framework| selection.has(&framework.family)) {
        say(&framework.family);
        compare::releases(framework, &reader, &mut findings);
        compose::releases(framework, catalog, &reader, &mut editor, &mut findings);
    }
    if selection.has("images") {
        say("base images");
        images::refresh(catalog, &reader, &mut editor, &mut findings);
    }
    let changes = editor.finish(&mut findings);
    findings.sort();
    findings.dedup();
    let (unreachable, places_read) = reader.finish();
    Update { changes, findings, unreachable, places_read }
}
