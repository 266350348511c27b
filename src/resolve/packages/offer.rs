//! What an index offers of one distribution: its files sorted into versions that can be installed here and versions that
//! cannot, each of those with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use pep440_rs::Version;

use crate::packaging::{FileKind, Project, ProjectFile};
use crate::version::PythonVersion;
use crate::version::wheel_tag::{Fit, Incompatible, WheelEnvironment};

/// A usable version: its best wheel and where it comes from.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Version with local label.
    pub version: Version,
    /// Index name.
    pub index: String,
    /// The wheel that fits best.
    pub file: Arc<ProjectFile>,
    pub(super) fit: Fit,
}

/// Why a version that exists is no candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// No file of it is a wheel.
    SdistOnly,
    /// No wheel fits; the reasons of its wheels, and the Python lines they are for.
    Wheels(Vec<Incompatible>, Vec<PythonVersion>),
    /// `requires_python` excludes the interpreter.
    RequiresPython(String),
    /// Withdrawn, with the reason given.
    Yanked(String),
}

/// What an index offers of one distribution for this environment.
#[derive(Debug, Default)]
pub struct Offer {
    /// Whether an index has the project at all.
    pub exists: bool,
    /// Usable versions, oldest first.
    pub candidates: BTreeMap<Version, Candidate>,
    /// Yanked, but otherwise usable versions.
    pub yanked: BTreeMap<Version, Candidate>,
    /// The others, with the reason.
    pub unusable: BTreeMap<Version, Unusable>,
}

impl Offer {
    /// Sorts a page's files into candidates and the rest. `full_python` is the interpreter's patch release.
    pub(super) fn of_page(
        index: &str,
        project: &Project,
        environment: &WheelEnvironment,
        full_python: &Version,
    ) -> Offer {
        let mut offer = Offer { exists: true, ..Offer::default() };
        for file in &project.files {
            let Some(version) = &file.version else { continue };
            let wheel = match &file.kind {
                FileKind::Wheel(wheel) => wheel,
                FileKind::Sdist => {
                    offer.unusable.entry(version.clone()).or_insert(Unusable::SdistOnly);
                    continue;
                }
                FileKind::Other => continue,
            };
            let fit = match wheel.fit(environment) {
                Ok(fit) => fit,
                Err(reason) => {
                    let entry = offer.unusable.entry(version.clone()).or_insert(Unusable::SdistOnly);
                    match entry {
                        Unusable::Wheels(reasons, lines) => {
                            reasons.push(reason);
                            lines.extend(wheel.cpython_lines());
                        }
                        Unusable::SdistOnly => *entry = Unusable::Wheels(vec![reason], wheel.cpython_lines()),
                        _ => {}
                    }
                    continue;
                }
            };
            if let Some(required) = file.requires_python.as_ref().filter(|required| !required.contains(full_python)) {
                offer.unusable.insert(version.clone(), Unusable::RequiresPython(required.to_string()));
                continue;
            }
            let candidate =
                Candidate { version: version.clone(), index: index.to_owned(), file: Arc::new(file.clone()), fit };
            let table = if file.yanked.is_some() { &mut offer.yanked } else { &mut offer.candidates };
            match table.get(version) {
                Some(known) if known.fit >= candidate.fit => {}
                _ => {
                    table.insert(version.clone(), candidate);
                }
            }
        }
        for version in offer.candidates.keys() {
            offer.unusable.remove(version);
        }
        for (version, candidate) in &offer.yanked {
            if !offer.candidates.contains_key(version) {
                let reason = candidate.file.yanked.clone().unwrap_or_default();
                offer.unusable.insert(version.clone(), Unusable::Yanked(reason));
            }
        }
        offer
    }
}
