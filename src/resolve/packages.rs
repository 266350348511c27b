//! The packages' side of the problem: which versions of a distribution exist for this Python and platform, and what each
//! of them requires.
//!
//! Only wheels count. A version is a candidate if a wheel of it fits the interpreter, the platform and the base's glibc,
//! its `requires_python` holds, it is not yanked (PEP 592: unless pinned exactly) and not a pre-release (PEP 440: unless
//! asked for, or nothing else exists). Pages and metadata come through [`PackageSource`]; no IO happens here.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{ExtraName, MarkerEnvironment, MarkerEnvironmentBuilder, Requirement, VerbatimUrl, VersionOrUrl};
use pubgrub::Ranges;

use crate::catalog::Accelerator;
use crate::diagnostic::{Failure, Origin};
use crate::oci::Platform;
use crate::packaging::{FileKind, Metadata, Project, ProjectFile};
use crate::version::wheel_tag::{Fit, Incompatible, WheelEnvironment, machine_name, normalize_name};
use crate::version::{Dotted, PythonVersion};

use super::evidence::{Code, Edge, Evidence};
use super::likely::{Likely, Wanted};
use super::numbers::describe_lines;
use super::stack::StackModel;
use super::variable::{Value, Values, Variable, one_of, specifier_values};

/// Where pages and metadata come from. Implementations may block; `prefetch` must not.
pub trait PackageSource {
    /// Everything an index holds of a project, `None` if it has no such project.
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure>;
    /// A wheel's core metadata.
    fn metadata(&self, index: &str, file: &ProjectFile) -> Result<Arc<Metadata>, Failure>;
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

/// A usable version: its best wheel and where it comes from.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Version with local label.
    pub version: Version,
    /// Index name.
    pub index: String,
    /// The wheel that fits best.
    pub file: Arc<ProjectFile>,
    fit: Fit,
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

/// The packages' tables for one platform and Python.
pub struct PackageModel<'a> {
    stack: &'a StackModel<'a>,
    source: &'a dyn PackageSource,
    /// Interpreter and platform.
    pub environment: WheelEnvironment,
    markers: MarkerEnvironment,
    full_python: Version,
    routes: Vec<(String, GlobSet, bool)>,
    locked: &'a BTreeMap<String, Version>,
    prereleases: HashSet<String>,
    offers: RefCell<HashMap<(String, String), Rc<Offer>>>,
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
        let routes = stack
            .spec
            .indexes
            .iter()
            .map(|index| {
                let mut globs = GlobSetBuilder::new();
                for pattern in &index.packages {
                    if let Ok(glob) = Glob::new(&pattern.to_lowercase()) {
                        globs.add(glob);
                    }
                }
                let set = globs.build().unwrap_or_else(|_| GlobSet::empty());
                (index.name.value.clone(), set, index.packages.is_empty())
            })
            .collect();
        let mentions = |specifiers: Option<&VersionSpecifiers>| {
            specifiers.is_some_and(|set| set.iter().any(|specifier| specifier.version().any_prerelease()))
        };
        let prereleases = stack
            .spec
            .packages
            .iter()
            .chain(&stack.spec.constraints)
            .filter(|package| mentions(specifiers(&package.value)))
            .map(|package| package.value.name.to_string())
            .collect();
        Self {
            stack,
            source,
            markers: marker_environment(platform, python, full_python),
            environment,
            full_python: full_python.clone(),
            routes,
            locked,
            prereleases,
            offers: RefCell::new(HashMap::new()),
        }
    }

    /// The indexes that may hold a distribution, in the order they are asked. A name that a spec's index claims comes
    /// from there alone, so that nobody can slip in a package of the same name from elsewhere.
    fn indexes_of(&self, name: &str) -> Vec<&str> {
        if let Some((index, _, _)) = self.routes.iter().find(|(_, globs, _)| globs.is_match(name)) {
            return vec![index];
        }
        let open = self.routes.iter().filter(|(_, _, any)| *any).map(|(index, _, _)| index.as_str());
        open.chain(["default"]).collect()
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
        let project = self.source.project(index, name)?;
        let offer = Rc::new(project.map_or_else(Offer::default, |project| self.sort_out(index, &project)));
        self.offers.borrow_mut().insert(key, Rc::clone(&offer));
        Ok(offer)
    }

    /// Sorts a page's files into candidates and the rest.
    fn sort_out(&self, index: &str, project: &Project) -> Offer {
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
            let fit = match wheel.fit(&self.environment) {
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
            if let Some(required) =
                file.requires_python.as_ref().filter(|required| !required.contains(&self.full_python))
            {
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

    /// The best candidate in a set: the locked version if it is in it, else the newest.
    pub fn choose(&self, name: &str, values: &Values) -> Result<Option<Candidate>, SourceError> {
        let offer = self.offer(name)?;
        let inside = |version: &Version| values.contains(&Value::Release(version.clone()));
        if let Some(locked) = self.locked.get(name) {
            let found = offer.candidates.get(locked).filter(|_| inside(locked));
            if let Some(candidate) = found {
                return Ok(Some(candidate.clone()));
            }
        }
        let newest = |prereleases: bool| {
            let mut versions = offer.candidates.iter().rev();
            versions.find(|(version, _)| (prereleases || !version.any_prerelease()) && inside(version))
        };
        let only_prereleases = || offer.candidates.keys().all(Version::any_prerelease);
        if let Some((_, candidate)) = newest(self.prereleases.contains(name) || only_prereleases()) {
            return Ok(Some(candidate.clone()));
        }
        // The builds of a framework's own index carry a label, and are looked at only if the set has one of them.
        if let Some(candidate) = self.choose_labelled(name, values)? {
            return Ok(Some(candidate));
        }
        // A pre-release that the set names exactly was asked for by a dependency's pin.
        if is_pin(values) {
            if let Some((_, candidate)) = newest(true) {
                return Ok(Some(candidate.clone()));
            }
            return Ok(offer.yanked.iter().rev().find(|(version, _)| inside(version)).map(|(_, found)| found.clone()));
        }
        Ok(None)
    }

    fn choose_labelled(&self, name: &str, values: &Values) -> Result<Option<Candidate>, SourceError> {
        for index in self.labelled_indexes(name, values) {
            let offer = self.offer_of(&index, name)?;
            let mut versions = offer.candidates.iter().rev();
            let found = versions.find(|(version, _)| values.contains(&Value::Release((*version).clone())));
            if let Some((_, candidate)) = found {
                return Ok(Some(candidate.clone()));
            }
        }
        Ok(None)
    }

    /// Indexes of builds other than the default one whose labelled versions are in the set.
    fn labelled_indexes(&self, name: &str, values: &Values) -> Vec<String> {
        let mut indexes = Vec::new();
        for framework in &self.stack.catalog.frameworks {
            let is_main = framework.package == name;
            if !is_main && !framework.companions.iter().any(|companion| companion == name) {
                continue;
            }
            for release in &framework.releases {
                let versions: Vec<&Version> = match is_main {
                    true => vec![&release.version],
                    false => release.companions.get(name).into_iter().flatten().collect(),
                };
                // An index is asked only for builds that can suit: it may be out of reach, and would say nothing new.
                let suits = |build: &&crate::catalog::Build| {
                    let row = super::stack::Row { release, build };
                    build.index != "default" && !self.stack.is_excluded(&framework.family, &row)
                };
                for build in release.builds.iter().filter(suits) {
                    let labelled = versions.iter().any(|version| {
                        let text = format!("{version}+{}", build.name);
                        text.parse().is_ok_and(|version: Version| values.contains(&Value::Release(version)))
                    });
                    if labelled && !indexes.contains(&build.index) {
                        indexes.push(build.index.clone());
                    }
                }
            }
        }
        indexes
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

    /// What the spec's packages and constraints ask for in this environment.
    pub fn spec_edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for package in &self.stack.spec.packages {
            if package.value.evaluate_markers(&self.markers, &[]) {
                let fact = format!("the spec asks for `{}`", package.value);
                edges.extend(requirement_edges(
                    &package.value,
                    Code::PinConflict,
                    &fact,
                    "spec",
                    package.origin.clone(),
                ));
            }
        }
        edges
    }

    fn constraint_edges(&self, name: &str) -> Vec<Edge> {
        let applies = |constraint: &&crate::spec::Located<Requirement<VerbatimUrl>>| {
            constraint.value.name.as_ref() == name && constraint.value.evaluate_markers(&self.markers, &[])
        };
        self.stack
            .spec
            .constraints
            .iter()
            .filter(applies)
            .flat_map(|constraint| {
                let fact = format!("a constraint says `{}`", constraint.value);
                requirement_edges(&constraint.value, Code::PinConflict, &fact, "spec", constraint.origin.clone())
            })
            .collect()
    }

    /// What one version requires, with or without an extra.
    pub fn edges(
        &self,
        name: &str,
        extra: Option<&str>,
        candidate: &Candidate,
    ) -> Result<Result<Vec<Edge>, String>, SourceError> {
        let metadata = self.source.metadata(&candidate.index, &candidate.file)?;
        let source = format!("metadata of {name} {}", candidate.version);
        let mut edges = Vec::new();
        if let Some(required) =
            metadata.requires_python.as_ref().filter(|required| !required.contains(&self.full_python))
        {
            return Ok(Err(format!("{name} {} requires Python `{required}`", candidate.version)));
        }
        let extra_name = extra.and_then(|extra| ExtraName::new(extra.to_owned()).ok());
        let extras: &[ExtraName] = extra_name.as_slice();
        if extra.is_some() {
            edges.push(Edge {
                to: Variable::Distribution(name.to_owned()),
                values: Ranges::singleton(Value::Release(candidate.version.clone())),
                evidence: Evidence {
                    code: Code::PinConflict,
                    fact: format!("an extra of {name} comes with the same version"),
                    source: source.clone(),
                    origin: None,
                },
            });
        }
        for requirement in &metadata.requires_dist {
            let plain = requirement.evaluate_markers(&self.markers, &[]);
            let with_extra = !extras.is_empty() && requirement.evaluate_markers(&self.markers, extras);
            if plain != extra.is_none() || (extra.is_some() && !with_extra) {
                continue;
            }
            if let Some(VersionOrUrl::Url(url)) = &requirement.version_or_url {
                let url = crate::redact::text(&url.to_string());
                return Ok(Err(format!(
                    "{name} {} requires {} from a URL ({url})",
                    candidate.version, requirement.name
                )));
            }
            // A distribution may name its own extras (`all`), never itself.
            let fact = match extra {
                Some(extra) => {
                    format!("{name}[{extra}] {} requires `{}`", candidate.version, without_marker(requirement))
                }
                None => format!("{name} {} requires `{}`", candidate.version, without_marker(requirement)),
            };
            edges.extend(requirement_edges(requirement, Code::PinConflict, &fact, &source, None));
        }
        if extra.is_none() {
            edges.extend(self.build_edges(name, &candidate.version, &source));
            edges.extend(self.constraint_edges(name));
        }
        self.prefetch(&edges);
        Ok(Ok(edges))
    }

    /// A framework that a package brings in decides the build: torch 2.4.1 must be one whose build suits every target.
    fn build_edges(&self, name: &str, version: &Version, source: &str) -> Option<Edge> {
        let framework = self.stack.catalog.frameworks.iter().find(|framework| framework.package == name)?;
        let table = self.stack.families.get(framework.family.as_str())?;
        let release = version.clone().without_local();
        let label = version.local().iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
        let ranks: Vec<Value> = table
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.release.version == release)
            .filter(|(_, row)| if label.is_empty() { row.build.index == "default" } else { row.build.name == label })
            .map(|(rank, _)| Value::Rank(rank as u32))
            .collect();
        // A processor-only default wheel serves as it is; only a release with accelerator code can fail to suit a card.
        let decides = table.rows.iter().any(|row| {
            row.release.version == release && row.build.default && row.build.accelerator != Accelerator::Cpu
        });
        (decides && !ranks.is_empty()).then(|| Edge {
            to: Variable::Build(framework.family.clone()),
            values: one_of(ranks),
            evidence: Evidence {
                code: Code::PinConflict,
                fact: format!("{name} {version} is a build of {}", framework.family),
                source: source.to_owned(),
                origin: None,
            },
        })
    }

    /// What a framework's build installs: exact versions from its index.
    pub fn framework_edges(&self, family: &str, row: &super::stack::Row<'_>) -> Vec<Edge> {
        let source = row.source();
        let label = super::builds::row_label(family, row);
        let mut edges = Vec::new();
        let mut wanted: Vec<String> = row.build.requirements.clone();
        let framework = self.stack.spec.frameworks.iter().find(|framework| framework.family.value == family);
        for companion in framework.map(|framework| framework.with.as_slice()).unwrap_or_default() {
            let versions = row.release.companions.get(&companion.value).map(Vec::as_slice).unwrap_or_default();
            if let Some(newest) = versions.iter().max() {
                wanted.push(format!("{}=={newest}", companion.value));
            } else {
                wanted.push(companion.value.clone());
            }
        }
        for text in wanted {
            let Ok(mut requirement) = text.parse::<Requirement<VerbatimUrl>>() else { continue };
            if row.build.index != "default" {
                add_label(&mut requirement, &row.build.name);
            }
            let fact = format!("{label} is installed as `{requirement}`");
            edges.extend(requirement_edges(&requirement, Code::PinConflict, &fact, source, None));
        }
        self.prefetch(&edges);
        edges
    }

    /// Tells the source what will be asked next.
    pub fn prefetch(&self, edges: &[Edge]) {
        for edge in edges {
            let (Variable::Distribution(name) | Variable::Extra(name, _)) = &edge.to else { continue };
            let Some(index) = self.indexes_of(name).first().copied() else { continue };
            if self.offers.borrow().contains_key(&(index.to_owned(), name.clone())) {
                continue;
            }
            let locked = self.locked.get(name).cloned();
            let wanted = Wanted::new(&self.environment, &self.full_python, edge.values.clone(), locked);
            self.source.prefetch_likely(index, name, Box::new(move |project| wanted.likely(project)));
        }
    }

    /// Why no version of `name` in `values` can be had, as a code and a sentence.
    pub fn explain_none(&self, name: &str, values: &Values) -> (Code, String) {
        let Ok(offer) = self.offer(name) else {
            return (Code::Unsatisfiable, format!("the index could not answer for {name}"));
        };
        if !offer.exists {
            return (Code::NoSuchVersion, format!("no index has a package `{name}`"));
        }
        let python = self.environment.python;
        let inside: Vec<(&Version, &Unusable)> = offer
            .unusable
            .iter()
            .rev()
            .filter(|(version, _)| values.contains(&Value::Release((*version).clone())))
            .collect();
        let Some((version, reason)) = inside.first() else {
            let newest = offer.candidates.keys().next_back().or(offer.unusable.keys().next_back());
            let newest = newest.map(|newest| format!("; the newest is {newest}")).unwrap_or_default();
            return (Code::NoSuchVersion, format!("no version of {name} is in that range{newest}"));
        };
        match reason {
            Unusable::SdistOnly => (
                Code::NoSuchVersion,
                format!("{name} {version} has only a source distribution, and only wheels are installed"),
            ),
            Unusable::RequiresPython(required) => {
                (Code::RequiresPython, format!("{name} {version} requires Python `{required}`, and this is {python}"))
            }
            Unusable::Yanked(reason) => {
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                (Code::NoSuchVersion, format!("{name} {version} was yanked{reason}"))
            }
            Unusable::Wheels(reasons, lines) => {
                let machine = machine_name(&self.environment.architecture);
                let worst = reasons.iter().max();
                match worst {
                    Some(Incompatible::Glibc(major, minor)) => (
                        Code::GlibcTooOld,
                        format!(
                            "the wheels of {name} {version} need glibc {major}.{minor}, and the base has {}.{}",
                            self.environment.glibc.0, self.environment.glibc.1
                        ),
                    ),
                    Some(Incompatible::Platform) => {
                        (Code::NoBuildForPlatform, format!("{name} {version} has no wheel for {machine} Linux"))
                    }
                    _ => {
                        let lines: Vec<PythonVersion> = lines.clone();
                        let lines = match lines.is_empty() {
                            true => "other interpreters".to_owned(),
                            false => format!("Python {}", describe_lines(&lines)),
                        };
                        (
                            Code::NoWheelForPython,
                            format!("{name} {version} has wheels for {lines}, not for Python {python}"),
                        )
                    }
                }
            }
        }
    }
}

/// The edges of one requirement: the distribution and its extras.
fn requirement_edges(
    requirement: &Requirement<VerbatimUrl>,
    code: Code,
    fact: &str,
    source: &str,
    origin: Option<Origin>,
) -> Vec<Edge> {
    let name = normalize_name(requirement.name.as_ref());
    let values = specifiers(requirement).map_or_else(Ranges::full, specifier_values);
    let evidence = Evidence { code, fact: fact.to_owned(), source: source.to_owned(), origin };
    let extras = requirement.extras.iter().map(|extra| Variable::Extra(name.clone(), extra.to_string()));
    let variables = std::iter::once(Variable::Distribution(name.clone())).chain(extras);
    variables.map(|to| Edge { to, values: values.clone(), evidence: evidence.clone() }).collect()
}

fn specifiers(requirement: &Requirement<VerbatimUrl>) -> Option<&VersionSpecifiers> {
    match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => Some(specifiers),
        _ => None,
    }
}

/// `torch==2.5.1` to `torch==2.5.1+cu121`: the label names the build on an index that holds several.
fn add_label(requirement: &mut Requirement<VerbatimUrl>, label: &str) {
    let labelled = specifiers(requirement).and_then(|specifiers| {
        let texts: Vec<String> = specifiers
            .iter()
            .map(|specifier| match specifier.operator() {
                pep440_rs::Operator::Equal if specifier.version().local().is_empty() => {
                    format!("=={}+{label}", specifier.version())
                }
                _ => specifier.to_string(),
            })
            .collect();
        texts.join(",").parse().ok()
    });
    if let Some(labelled) = labelled {
        requirement.version_or_url = Some(VersionOrUrl::VersionSpecifier(labelled));
    }
}

/// Whether a set is one version, with or without its labels.
fn is_pin(values: &Values) -> bool {
    let mut segments = values.iter();
    match (segments.next(), segments.next()) {
        (Some((std::ops::Bound::Included(low), std::ops::Bound::Included(high))), None) => low == high,
        (
            Some((std::ops::Bound::Included(Value::Release(low)), std::ops::Bound::Excluded(Value::Release(high)))),
            None,
        ) => low.release() == high.release() && high.any_prerelease(),
        _ => false,
    }
}

/// A requirement without its marker, which has been evaluated and would only distract.
fn without_marker(requirement: &Requirement<VerbatimUrl>) -> String {
    let text = requirement.to_string();
    text.split_once(" ;").or_else(|| text.split_once(';')).map_or(text.clone(), |(bare, _)| bare.to_owned())
}

/// The marker variables of CPython on glibc Linux (PEP 508). Release and version of the kernel are those of the machine
/// the image will run on, so they are empty here.
fn marker_environment(platform: Platform, python: PythonVersion, full: &Version) -> MarkerEnvironment {
    let full = full.to_string();
    let line = python.to_string();
    let build = |full: &str| {
        MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: full,
            os_name: "posix",
            platform_machine: machine_name(platform.architecture_name()),
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: full,
            python_version: &line,
            sys_platform: "linux",
        })
    };
    build(&full).unwrap_or_else(|_| unreachable!("a parsed version prints as a version"))
}
