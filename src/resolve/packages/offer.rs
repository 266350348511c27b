//! What an index offers of one distribution: its files sorted into versions that can be installed here and versions that
//! cannot, each of those with the reason.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pep440_rs::Version;

use crate::oci::Digest;
use crate::packaging::{FileKind, ProjectFile};
use crate::version::wheel_tag::{Fit, Incompatible, WheelEnvironment, machine_name};
use crate::version::{PythonVersion, WheelPlace};

use super::super::variable::{Value, Values};

/// A usable version: its best wheel and where it comes from.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Version with local label: that of its build, also where the wheel leaves it out.
    pub version: Version,
    /// Index name; `direct` for a wheel that has a place instead.
    pub index: String,
    /// The wheel that fits best.
    pub file: Arc<ProjectFile>,
    /// Where the wheel lies if no index holds it.
    pub place: Option<WheelPlace>,
    /// What the spec says its sha256 must be, one of them; empty allows any. Checked already if the index told the file's.
    pub allowed: Vec<Digest>,
    fit: Fit,
}

impl Candidate {
    /// The version that the wheel's own name and METADATA say, which is what installs and locks it.
    pub fn own_version(&self) -> &Version {
        self.file.version.as_ref().unwrap_or(&self.version)
    }
}

/// Why a version that exists is no candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// No file of it is a wheel.
    SdistOnly,
    /// No wheel fits; the reasons of its wheels, and the Python lines that those for this machine are for.
    Wheels(Vec<Incompatible>, Vec<PythonVersion>),
    /// `requires_python` excludes the interpreter.
    RequiresPython(String),
    /// A wheel fits, and its hash is none that the spec allows.
    OtherHash(String, Digest),
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
    labels: HashMap<Version, Version>,
}

/// What a file must suit.
pub(super) struct Rules<'a> {
    /// Interpreter and platform.
    pub(super) environment: &'a WheelEnvironment,
    /// The interpreter's patch release.
    pub(super) full_python: &'a Version,
    /// sha256 of the files that may be installed; `None` allows any.
    pub(super) allowed: Option<&'a [Digest]>,
    /// The versions whose wheels leave out their build's label, as they are and with it.
    pub(super) labels: HashMap<Version, Version>,
}

impl Offer {
    /// Sorts files into candidates and the rest.
    pub(super) fn of_files<'f>(
        index: &str,
        files: impl IntoIterator<Item = (&'f ProjectFile, Option<&'f WheelPlace>)>,
        rules: &Rules<'_>,
    ) -> Self {
        let mut offer = Self { exists: true, labels: rules.labels.clone(), ..Self::default() };
        for (file, place) in files {
            offer.add(index, file, place, rules);
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

    fn add(&mut self, index: &str, file: &ProjectFile, place: Option<&WheelPlace>, rules: &Rules<'_>) {
        let Some(version) = &file.version else { return };
        let version = &self.known_as(version).clone();
        let wheel = match &file.kind {
            FileKind::Wheel(wheel) => wheel,
            FileKind::Sdist => {
                self.unusable.entry(version.clone()).or_insert(Unusable::SdistOnly);
                return;
            }
            FileKind::Other => return,
        };
        let fit = match wheel.fit(rules.environment) {
            Ok(fit) => fit,
            Err(reason) => {
                // A wheel for another machine says nothing of what this one's are for.
                let (reason, lines_served) = match wheel.is_for(machine_name(&rules.environment.architecture)) {
                    true => (reason, wheel.cpython_lines()),
                    false => (Incompatible::Platform, Vec::new()),
                };
                let entry = self.unusable.entry(version.clone()).or_insert(Unusable::SdistOnly);
                match entry {
                    Unusable::Wheels(reasons, lines) => {
                        reasons.push(reason);
                        lines.extend(lines_served);
                    }
                    Unusable::SdistOnly => *entry = Unusable::Wheels(vec![reason], lines_served),
                    _ => {}
                }
                return;
            }
        };
        if let Some(required) = file.requires_python.as_ref().filter(|required| !required.contains(rules.full_python)) {
            self.unusable.insert(version.clone(), Unusable::RequiresPython(required.to_string()));
            return;
        }
        let refused = |found: &Digest| rules.allowed.is_some_and(|allowed| !allowed.contains(found));
        if let Some(found) = file.digest.filter(refused) {
            self.unusable.insert(version.clone(), Unusable::OtherHash(file.filename.clone(), found));
            return;
        }
        let candidate = Candidate {
            version: version.clone(),
            index: index.to_owned(),
            file: Arc::new(file.clone()),
            place: place.cloned(),
            allowed: rules.allowed.map(<[Digest]>::to_vec).unwrap_or_default(),
            fit,
        };
        let table = if file.yanked.is_some() { &mut self.yanked } else { &mut self.candidates };
        // Of two that fit alike the name decides: mirrors list files in orders of their own.
        let order = |candidate: &Candidate| (candidate.fit.clone(), candidate.file.filename.clone());
        match table.get(version) {
            Some(known) if order(known) >= order(&candidate) => {}
            _ => {
                table.insert(version.clone(), candidate);
            }
        }
    }

    /// The newest unusable version in a set, with the reason.
    pub(super) fn unusable_in(&self, values: &Values) -> Option<(&Version, &Unusable)> {
        self.unusable.iter().rev().find(|(version, _)| values.contains(&Value::Release((*version).clone())))
    }

    /// A version of a file as the search knows it: with its build's label, whether the file has it or not.
    pub(super) fn known_as<'v>(&'v self, version: &'v Version) -> &'v Version {
        self.labels.get(version).unwrap_or(version)
    }

    /// Whether some version that was ever published is a final release, usable or not.
    pub(super) fn has_final_releases(&self) -> bool {
        let mut published = self.candidates.keys().chain(self.yanked.keys()).chain(self.unusable.keys());
        published.any(|version| !version.any_prerelease())
    }
}
