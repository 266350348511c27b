//! The packages' side of the problem: which versions of a distribution exist for this Python and platform, and what each
//! of them requires.
//!
//! Only wheels count. A version is a candidate if a wheel of it fits the interpreter, the platform and the base's glibc,
//! its `requires_python` holds, and it is not yanked (PEP 592: unless pinned exactly); `choice.rs` says which of them is
//! taken. Pages and metadata come through [`PackageSource`]; no IO happens here.

mod builds;
mod choice;
mod edges;
mod offer;
mod requirement;
mod routes;
mod unusable;
mod warnings;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use pep440_rs::Version;
use pep508_rs::MarkerEnvironment;

use crate::diagnostic::Failure;
use crate::oci::{Digest, Platform};
use crate::packaging::{Metadata, Project, ProjectFile, marker_environment};
use crate::spec::{FilePin, Located};
use crate::version::wheel_tag::{WheelEnvironment, normalize_name};
use crate::version::{Dotted, PythonVersion};

use super::evidence::Edge;
use super::likely::{Likely, Wanted};
use super::stack::StackModel;
use super::variable::{Value, Values, Variable};

pub(super) use offer::Unusable;
pub use offer::{Candidate, Offer};
pub(super) use requirement::specifiers;
pub(super) use routes::named_index;

use builds::BuildIndexes;
use choice::Named;
use offer::Rules;
use routes::{DIRECT, Routes};

/// Where pages and metadata come from. Implementations may block; `prefetch` must not.
pub trait PackageSource {
    /// Everything an index holds of a project, `None` if it has no such project.
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure>;
    /// The file of a wheel that the spec names by its place; its digest is known then.
    fn wheel(&self, pin: &FilePin) -> Result<ProjectFile, Failure>;
    /// A wheel's core metadata, or why that wheel has none that can be used: such a release is passed over.
    fn metadata(&self, index: &str, file: &ProjectFile) -> Result<Result<Arc<Metadata>, String>, Failure>;
    /// These projects will probably be asked for.
    fn prefetch(&self, requests: Vec<(String, String)>);
    /// This project will probably be asked for, and then METADATA of the file that `likely` names.
    fn prefetch_likely(&self, index: &str, name: &str, _likely: Likely) {
        self.prefetch(vec![(index.to_owned(), name.to_owned())]);
    }
}

/// A failure of the source, in the form the solver passes through.
#[derive(Debug)]
pub struct SourceError(pub Failure);

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the package index could not answer")
    }
}
impl std::error::Error for SourceError {}
impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

/// The packages' tables for one platform and Python.
pub struct PackageModel<'a> {
    stack: &'a StackModel<'a>,
    source: &'a dyn PackageSource,
    platform: Platform,
    /// Interpreter and platform.
    pub environment: WheelEnvironment,
    /// Whether releases of known packages that the catalog does not have may be taken where it has others.
    pub unknown_releases: bool,
    markers: MarkerEnvironment,
    full_python: Version,
    routes: Routes,
    locked: &'a BTreeMap<String, Version>,
    named: Named,
    /// What the spec says of files, by name, where the markers hold.
    file_pins: HashMap<String, Vec<&'a FilePin>>,
    offers: RefCell<HashMap<(String, String), Rc<Offer>>>,
    build_indexes: BuildIndexes,
}

impl<'a> PackageModel<'a> {
    /// Tables for one interpreter. `full_python` is its patch release, which some markers look at.
    pub fn new(
        stack: &'a StackModel<'a>,
        source: &'a dyn PackageSource,
        platform: Platform,
        python: PythonVersion,
        full_python: &Version,
        glibc: &Dotted,
        locked: &'a BTreeMap<String, Version>,
    ) -> Self {
        let environment = WheelEnvironment {
            python,
            architecture: platform.architecture_name().to_owned(),
            glibc: (glibc.component(0) as u32, glibc.component(1) as u32),
        };
        let markers = marker_environment(platform, python, full_python);
        let spec = stack.spec;
        let mut file_pins: HashMap<String, Vec<&FilePin>> = HashMap::new();
        for Located { value: pin, .. } in &spec.file_pins {
            if pin.requirement.evaluate_markers(&markers, &[]) {
                file_pins.entry(normalize_name(pin.requirement.name.as_ref())).or_default().push(pin);
            }
        }
        Self {
            stack,
            source,
            platform,
            environment,
            unknown_releases: false,
            full_python: full_python.clone(),
            routes: Routes::new(spec),
            locked,
            named: Named::by(spec, stack.catalog, &markers),
            markers,
            file_pins,
            offers: RefCell::default(),
            build_indexes: BuildIndexes::default(),
        }
    }

    /// The indexes that may hold a distribution, in the order they are asked.
    fn indexes_of(&self, name: &str) -> Vec<&str> {
        match self.placed(name).is_empty() {
            true => self.routes.indexes_of(name),
            false => vec![DIRECT],
        }
    }

    /// The pins that name a distribution's wheels by place.
    fn placed(&self, name: &str) -> Vec<&'a FilePin> {
        let pins = self.file_pins.get(name).into_iter().flatten();
        pins.copied().filter(|pin| pin.place.is_some()).collect()
    }

    /// The files that every pin of a distribution allows; `None` if no pin has hashes.
    fn allowed(&self, name: &str) -> Option<Vec<Digest>> {
        let hashes = |pin: &&&FilePin| !pin.digests.is_empty() && pin.place.is_none();
        let mut pins = self.file_pins.get(name).into_iter().flatten().filter(hashes);
        let first = pins.next()?.digests.clone();
        Some(pins.fold(first, |allowed, pin| allowed.into_iter().filter(|known| pin.digests.contains(known)).collect()))
    }

    /// What is on offer under a name: from the first index that knows it.
    pub fn offer(&self, name: &str) -> Result<Rc<Offer>, SourceError> {
        let mut last = Rc::new(Offer::default());
        for index in self.indexes_of(name) {
            last = self.offer_of(index, name)?;
            if last.exists {
                break;
            }
        }
        Ok(last)
    }

    fn offer_of(&self, index: &str, name: &str) -> Result<Rc<Offer>, SourceError> {
        let key = (index.to_owned(), name.to_owned());
        if let Some(offer) = self.offers.borrow().get(&key) {
            return Ok(Rc::clone(offer));
        }
        let allowed = self.allowed(name);
        let rules = Rules {
            environment: &self.environment,
            full_python: &self.full_python,
            allowed: allowed.as_deref(),
            labels: self.labels_left_out(index, name),
        };
        let offer = if index == DIRECT {
            let placed = self.placed(name);
            let files = placed.iter().map(|pin| self.source.wheel(pin)).collect::<Result<Vec<_>, _>>()?;
            Offer::of_files(index, files.iter().zip(placed.iter().map(|pin| pin.place.as_ref())), &rules)
        } else {
            match self.source.project(index, name)? {
                Some(project) => Offer::of_files(index, project.files.iter().map(|file| (file, None)), &rules),
                None => Offer::default(),
            }
        };
        let offer = Rc::new(offer);
        self.offers.borrow_mut().insert(key, Rc::clone(&offer));
        Ok(offer)
    }

    /// How many candidates a set leaves, for choosing what to decide first. A project not looked at yet counts as many.
    pub fn count(&self, name: &str, values: &Values) -> usize {
        let offers = self.offers.borrow();
        let offer = self
            .indexes_of(name)
            .into_iter()
            .find_map(|index| offers.get(&(index.to_owned(), name.to_owned())).filter(|offer| offer.exists));
        offer.map_or(usize::MAX, |offer| {
            offer.candidates.keys().filter(|version| values.contains(&Value::Release((*version).clone()))).count()
        })
    }

    /// Tells the source what will be asked next.
    pub fn prefetch(&self, edges: &[Edge]) {
        for edge in edges {
            let (Variable::Distribution(name) | Variable::Extra(name, _)) = &edge.to else { continue };
            let Some(index) = self.indexes_of(name).first().copied() else { continue };
            // A wheel by place has no page anywhere, and its name is nobody's business.
            if index == DIRECT {
                continue;
            }
            if self.offers.borrow().contains_key(&(index.to_owned(), name.clone())) {
                continue;
            }
            let locked = self.locked.get(name).cloned();
            let wanted = Wanted::new(&self.environment, &self.full_python, edge.values.clone(), locked);
            self.source.prefetch_likely(index, name, Box::new(move |project| wanted.likely(project)));
        }
    }
}
