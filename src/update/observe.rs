//! What package indexes say about one release: file names first, METADATA where they are not enough.
//!
//! A pure wheel says nothing about platforms. Then the packages it pins exactly and that carry its name (`jaxlib`,
//! `jax-cuda12-plugin`) answer for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pep440_rs::{Operator, Version, VersionSpecifiers};
use pep508_rs::{ExtraName, MarkerEnvironment, MarkerEnvironmentBuilder, Requirement, VerbatimUrl, VersionOrUrl};

use super::wheels::{
    Lines, Wheels, admits, files_of, hides_machine_code, intersection, is_for_linux, reach, representative,
};
use super::{ImageFacts, Unreachable, Upstream};
use crate::catalog::Catalog;
use crate::diagnostic::Failure;
use crate::oci::Platform;
use crate::packaging::{FileKind, Metadata, Project, ProjectFile};
use crate::version::PythonVersion;
use crate::version::wheel_tag::normalize_name;

/// How many pins deep the CUDA of a package is looked for: vllm pins torch, torch pins CUDA.
const PIN_DEPTH: usize = 3;

/// Asks upstream and remembers which places do not answer, so that each is named once and not asked again.
pub(super) struct Reader<'a> {
    upstream: &'a dyn Upstream,
    /// The day to cite.
    pub(super) checked: &'a str,
    lines: Lines,
    unreachable: RefCell<BTreeMap<String, String>>,
    read: RefCell<BTreeSet<String>>,
}

/// A requirement's lower end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) version: Version,
    /// Nothing else is allowed.
    pub(super) exact: bool,
}

/// What an index says about a release of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Observation {
    pub(super) platforms: BTreeMap<Platform, Wheels>,
    pub(super) requires_python: Option<VersionSpecifiers>,
    pub(super) toolkit: Option<Bound>,
    pub(super) cudnn: Option<Bound>,
    /// The cuDNN is one that a pinned torch asks for: the release itself may never load it.
    pub(super) cudnn_of_torch: bool,
    /// Packages pinned to one version, by normalised name.
    pub(super) pins: BTreeMap<String, Version>,
    /// Every wheel was withdrawn.
    pub(super) yanked: bool,
    /// METADATA could be read.
    pub(super) has_metadata: bool,
    /// Its wheels hold machine code and do not say for which platforms.
    pub(super) hides_platforms: bool,
}

impl Observation {
    /// Takes the reach of a package that answers for this pure one.
    pub(super) fn add_part(&mut self, platforms: BTreeMap<Platform, Wheels>) {
        let range = self.requires_python.as_ref();
        let found = platforms.into_iter().map(|(platform, wheels)| (platform, wheels.within(range)));
        self.platforms = match self.platforms.is_empty() {
            true => found.collect(),
            false => intersection(&self.platforms, &found.collect()),
        };
    }
}

/// A requirement with what it asks of the index: `jax[cuda12]==0.4.35`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// Normalised.
    pub(super) package: String,
    pub(super) extras: Vec<ExtraName>,
    pub(super) version: Version,
}

impl Wish {
    /// Reads a requirement with one exact version.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let requirement: Requirement<VerbatimUrl> = crate::packaging::parse_requirement(text)?;
        Self::of(&requirement)
    }

    fn of(requirement: &Requirement<VerbatimUrl>) -> Option<Self> {
        let bound = bound(requirement)?;
        bound.exact.then(|| Self {
            package: normalize_name(requirement.name.as_ref()),
            extras: requirement.extras.clone(),
            version: bound.version,
        })
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(upstream: &'a dyn Upstream, catalog: &Catalog, checked: &'a str) -> Self {
        let lines = Lines::of(catalog);
        Self { upstream, checked, lines, unreachable: RefCell::default(), read: RefCell::default() }
    }

    /// Places that did not answer, and how many did.
    pub(super) fn finish(self) -> (Vec<Unreachable>, usize) {
        let unreachable = self.unreachable.into_inner();
        let places = unreachable.into_iter().map(|(place, reason)| Unreachable { place, reason }).collect();
        (places, self.read.into_inner().len())
    }

    /// An answer, unless the place failed now or before.
    fn ask<T>(&self, place: String, question: impl FnOnce() -> Result<T, Failure>) -> Option<T> {
        if self.unreachable.borrow().contains_key(&place) {
            return None;
        }
        match question() {
            Ok(answer) => {
                self.read.borrow_mut().insert(place);
                Some(answer)
            }
            Err(failure) => {
                self.unreachable.borrow_mut().insert(place, failure.0.to_string());
                None
            }
        }
    }

    /// A project's page; `None` if there is none or the index cannot be read.
    pub(super) fn project(&self, index: &str, name: &str) -> Option<Arc<Project>> {
        self.ask(format!("the index `{index}`"), || self.upstream.project(index, name)).flatten()
    }

    /// All tags of a repository.
    pub(super) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        self.ask(format!("the tags of `{repository}`"), || self.upstream.tags(repository))
    }

    /// What an image declares.
    pub(super) fn image(&self, reference: &str) -> Option<ImageFacts> {
        self.ask(format!("the image `{reference}`"), || self.upstream.image(reference))
    }

    /// Released versions of a project that have a wheel for Linux, newest first; withdrawn ones are left out.
    pub(super) fn versions(&self, index: &str, name: &str) -> Vec<Version> {
        let Some(project) = self.project(index, name) else { return Vec::new() };
        let on_linux = |file: &&ProjectFile| file.yanked.is_none() && file.wheel().is_some_and(is_for_linux);
        let versions = project.files.iter().filter(on_linux).filter_map(|file| file.version.clone());
        let stable: BTreeSet<Version> = versions.filter(Version::is_stable).map(Version::without_local).collect();
        stable.into_iter().rev().collect()
    }

    /// Released versions of a project that have a source distribution, newest first; withdrawn ones are left out.
    pub(super) fn source_versions(&self, index: &str, name: &str) -> Vec<Version> {
        let Some(project) = self.project(index, name) else { return Vec::new() };
        let sources = project.files.iter().filter(|file| file.yanked.is_none() && file.kind == FileKind::Sdist);
        let stable: BTreeSet<Version> =
            sources.filter_map(|file| file.version.clone()).filter(Version::is_stable).collect();
        stable.into_iter().rev().collect()
    }

    /// Asks for the METADATA of these releases in the background.
    pub(super) fn prefetch<'w>(&self, wishes: impl IntoIterator<Item = (&'w str, Wish)>) {
        for (index, wish) in wishes {
            let Some(project) = self.project(index, &wish.package) else { continue };
            let files = files_of(&project, &wish.version, None);
            if let Some(file) = representative(&files) {
                self.upstream.prefetch_metadata(index, file);
            }
        }
    }

    /// What `index` says about a release; `None` if it has no wheel of it, or cannot be read. Where versions carry a local
    /// label, `label` chooses among them.
    pub(super) fn observe(&self, index: &str, wish: &Wish, label: Option<&str>) -> Option<Observation> {
        self.observe_to_depth(index, wish, label, 0)
    }

    fn observe_to_depth(&self, index: &str, wish: &Wish, label: Option<&str>, depth: usize) -> Option<Observation> {
        let project = self.project(index, &wish.package)?;
        let files = files_of(&project, &wish.version, label);
        let file = representative(&files)?;
        let mut observation = Observation {
            yanked: files.iter().all(|file| file.yanked.is_some()),
            hides_platforms: files.iter().all(|file| hides_machine_code(file)),
            requires_python: file.requires_python.clone(),
            ..Observation::default()
        };
        let metadata = self.metadata(index, file);
        let pins = metadata.as_deref().map(|metadata| {
            observation.has_metadata = true;
            observation.requires_python = metadata.requires_python.clone().or(observation.requires_python.take());
            active(metadata, &wish.extras)
        });
        let pins = pins.unwrap_or_default();
        for requirement in &pins {
            let name = normalize_name(requirement.name.as_ref());
            let Some(bound) = bound(requirement) else { continue };
            if bound.exact {
                observation.pins.insert(name.clone(), bound.version.clone());
            }
            if name == "cuda-toolkit" || name == "nvidia-cuda-runtime" || name.starts_with("nvidia-cuda-runtime-cu") {
                observation.toolkit.get_or_insert(bound);
            } else if is_cudnn(&name) {
                observation.cudnn.get_or_insert(bound);
            }
        }
        observation.platforms = reach(&files, &self.lines, observation.requires_python.as_ref());
        if depth < PIN_DEPTH {
            self.follow(index, wish, &pins, &mut observation, depth);
        }
        Some(observation)
    }

    /// Asks the packages that a release pins for what it does not say itself.
    fn follow(
        &self,
        index: &str,
        wish: &Wish,
        requirements: &[Requirement<VerbatimUrl>],
        observation: &mut Observation,
        depth: usize,
    ) {
        let is_pure = observation.platforms.is_empty();
        for requirement in requirements {
            let name = normalize_name(requirement.name.as_ref());
            let is_part = name.starts_with(wish.package.as_str());
            let is_torch = name == "torch";
            let wanted = match Wish::of(requirement) {
                Some(pinned) => (is_torch || is_part).then_some(pinned),
                // An installer takes the newest that is allowed.
                None if is_pure && is_part => self.newest_allowed(index, &name, requirement),
                None => None,
            };
            let Some(wanted) = wanted else { continue };
            let Some(found) = self.observe_to_depth(index, &wanted, None, depth + 1) else { continue };
            observation.toolkit = observation.toolkit.take().or(found.toolkit);
            if observation.cudnn.is_none() {
                observation.cudnn_of_torch = is_torch || found.cudnn_of_torch;
                observation.cudnn = found.cudnn;
            }
            if is_pure && is_part && !found.platforms.is_empty() {
                observation.add_part(found.platforms);
            } else {
                // A wheel for every Python is of no use where the torch or the part that it asks for has none.
                for (platform, wheels) in &mut observation.platforms {
                    if let Some(pinned) = found.platforms.get(platform) {
                        wheels.narrow(pinned);
                    }
                }
            }
        }
    }

    fn newest_allowed(&self, index: &str, package: &str, requirement: &Requirement<VerbatimUrl>) -> Option<Wish> {
        let Some(VersionOrUrl::VersionSpecifier(range)) = &requirement.version_or_url else { return None };
        let version = self.versions(index, package).into_iter().find(|version| range.contains(version))?;
        Some(Wish { package: package.to_owned(), extras: requirement.extras.clone(), version })
    }

    fn metadata(&self, index: &str, file: &ProjectFile) -> Option<Arc<Metadata>> {
        match self.upstream.metadata(index, file) {
            Ok(metadata) => Some(metadata),
            Err(failure) => {
                let place = format!("METADATA of `{}`", file.filename);
                self.unreachable.borrow_mut().insert(place, failure.0.to_string());
                None
            }
        }
    }

    /// What the versions of `package` ask of `of`, newest first: which torch a torchvision is made for.
    pub(super) fn ranges_on(&self, index: &str, package: &str, of: &str) -> Vec<(Version, Option<VersionSpecifiers>)> {
        let versions = self.versions(index, package);
        let wishes = versions.iter().map(|version| Wish {
            package: package.to_owned(),
            extras: Vec::new(),
            version: version.clone(),
        });
        let wishes: Vec<Wish> = wishes.collect();
        self.prefetch(wishes.iter().map(|wish| (index, wish.clone())));
        let Some(project) = self.project(index, package) else { return Vec::new() };
        let range = |version: &Version| {
            let files = files_of(&project, version, None);
            let metadata = self.metadata(index, representative(&files)?)?;
            let found = active(&metadata, &[]).into_iter().find(|asked| normalize_name(asked.name.as_ref()) == of)?;
            match found.version_or_url {
                Some(VersionOrUrl::VersionSpecifier(range)) => Some(range),
                _ => None,
            }
        };
        versions.iter().map(|version| (version.clone(), range(version))).collect()
    }
}

fn is_cudnn(name: &str) -> bool {
    name.strip_prefix("nvidia-cudnn-cu").is_some_and(|major| major.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Requirements that count on Linux for amd64 with these extras, in a Python that none of today's markers excludes.
fn active(metadata: &Metadata, extras: &[ExtraName]) -> Vec<Requirement<VerbatimUrl>> {
    let range = metadata.requires_python.as_ref();
    let lines = (8..=14).rev().map(|minor| PythonVersion { major: 3, minor });
    let python = lines.into_iter().find(|line| admits(range, *line)).unwrap_or(PythonVersion { major: 3, minor: 12 });
    let Some(environment) = environment(python) else { return Vec::new() };
    let counts = |requirement: &&Requirement<VerbatimUrl>| requirement.evaluate_markers(&environment, extras);
    metadata.requires_dist.iter().filter(counts).cloned().collect()
}

fn environment(python: PythonVersion) -> Option<MarkerEnvironment> {
    let (line, full) = (python.to_string(), format!("{python}.0"));
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: &full,
        os_name: "posix",
        platform_machine: "x86_64",
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: &full,
        python_version: &line,
        sys_platform: "linux",
    })
    .ok()
}

/// The lower end of a requirement; `None` if it has none.
fn bound(requirement: &Requirement<VerbatimUrl>) -> Option<Bound> {
    let Some(VersionOrUrl::VersionSpecifier(range)) = &requirement.version_or_url else { return None };
    let of = |wanted: &[Operator]| {
        let found = range.iter().find(|specifier| wanted.contains(specifier.operator()));
        found.map(|specifier| specifier.version().clone())
    };
    if let Some(version) = of(&[Operator::Equal, Operator::ExactEqual]) {
        return Some(Bound { version, exact: true });
    }
    let lower = of(&[Operator::GreaterThanEqual, Operator::TildeEqual, Operator::EqualStar, Operator::GreaterThan])?;
    let exact = of(&[Operator::LessThanEqual]).is_some_and(|upper| upper == lower);
    Some(Bound { version: lower, exact })
}
