//! What locking must know of a base: its interpreter's patch release, its packages, its digest. Asked once each.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use pep440_rs::{Version, VersionSpecifiers};

use crate::assemble::base::{self, Base, FileLimits};
use crate::catalog::Catalog;
use crate::debian::{self, InstalledPackage, Wanted};
use crate::diagnostic::{Failure, Hint};
use crate::lock::{LockedArchive, LockedBase, LockedDeb};
use crate::oci::{Digest, Platform, parse_reference};
use crate::resolve::{BaseRow, Preferences, StackAnswer, resolve_stack};
use crate::spec::{BaseChoice, Located, Spec};
use crate::version::PythonVersion;

use super::Context;
use super::archives::{Archives, Release};
use super::outside::Outside;

/// Answers about bases, each found out once.
pub(super) struct BaseFacts<'a> {
    context: &'a Context,
    outside: &'a Outside,
    archives: Archives<'a>,
    images: RefCell<HashMap<(String, Platform), Rc<Base>>>,
    /// The catalog's releases of interpreters, by suite and line.
    known: HashMap<(String, PythonVersion), Version>,
    /// Those that were given out before the archive was read.
    assumed: RefCell<HashSet<Assumed>>,
}

/// What was taken for the interpreter's release while the archive that tells it is being read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Assumed {
    suite: String,
    line: PythonVersion,
    platform: Platform,
    release: Version,
}

/// A base as the lock writes it, with the packages to put on it.
pub(super) struct LockedSystem {
    pub(super) base: LockedBase,
    pub(super) archives: Vec<LockedArchive>,
    pub(super) debs: Vec<LockedDeb>,
}

/// Why a base does not do.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the archive of Debian {suite} has no Python {python}")]
    NoPython { suite: String, python: PythonVersion },
    #[error("the base `{reference}` holds no Python {python}")]
    NoInterpreter { reference: String, python: PythonVersion },
    #[error("the base `{reference}` holds no Python {python}, and the archive of its system has none")]
    CudaWithoutInterpreter {
        reference: String,
        python: PythonVersion,
        /// Changes to the spec that were tried and do without such a base.
        ways_out: Vec<String>,
    },
    #[error("`{reference}` is not an image reference: {cause}")]
    Reference { reference: String, cause: String },
    #[error("packages cannot be installed on the base `{reference}`: it is neither Debian nor Ubuntu but {os}")]
    OtherSystem { reference: String, os: String },
}

/// A base that cannot be asked, when another Python would need no registry.
#[derive(Debug, thiserror::Error)]
#[error("{}", .failure.0)]
struct OutOfReach {
    failure: Failure,
    /// Python lines that Debian's packages carry.
    alternatives: Vec<String>,
}

impl Hint for OutOfReach {
    fn help(&self) -> Vec<String> {
        let mut help = self.failure.0.help();
        help.push(format!(
            "with `python: \"{}\"` the base is made of Debian packages, and no registry is needed",
            self.alternatives.join("\"` or `\"")
        ));
        help
    }
    fn notes(&self) -> Vec<String> {
        self.failure.0.notes()
    }
    fn exit_code(&self) -> u8 {
        self.failure.exit_code()
    }
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NoInterpreter { python, .. } => vec![
                format!("name a base that holds Python {python}, such as `base: slim`"),
                "or set `python:` to the version that the base holds".to_owned(),
            ],
            Self::CudaWithoutInterpreter { ways_out, .. } => {
                let own = "or build a base of your own that holds Python, and name it under `base:`";
                ways_out.iter().cloned().chain([own.to_owned()]).collect()
            }
            Self::OtherSystem { .. } => {
                vec!["choose `base: debian` or `base: slim`, or install them in the base image itself".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

impl<'a> BaseFacts<'a> {
    pub(super) fn new(context: &'a Context, outside: &'a Outside, catalog: &Catalog) -> Self {
        let suites = catalog.bases.debian.iter();
        let known =
            suites.filter_map(|suite| Some(((suite.suite.clone(), suite.python), suite.python_release.clone()?)));
        Self {
            context,
            outside,
            archives: Archives::new(context, outside),
            images: RefCell::default(),
            known: known.collect(),
            assumed: RefCell::default(),
        }
    }

    /// The interpreter's release as the catalog has it, if it does, while the suite's archive is read in the background; else
    /// [`BaseFacts::python`]. Whoever asks this asks [`BaseFacts::assumed_wrongly`] in the end.
    pub(super) fn likely_python(
        &self,
        line: PythonVersion,
        base: &BaseRow,
        platform: Platform,
    ) -> Result<Version, Failure> {
        let Some(suite) = &base.suite else { return self.python(line, base, platform) };
        let Some(release) = self.known.get(&(suite.clone(), line)) else { return self.python(line, base, platform) };
        self.archives.begin(&Release::debian(suite), platform)?;
        let assumed = Assumed { suite: suite.clone(), line, platform, release: release.clone() };
        self.assumed.borrow_mut().insert(assumed);
        Ok(release.clone())
    }

    /// The interpreter's release as the catalog has it, if it does, else [`BaseFacts::python`]: enough for whoever locks nothing.
    pub(super) fn known_python(
        &self,
        line: PythonVersion,
        base: &BaseRow,
        platform: Platform,
    ) -> Result<Version, Failure> {
        let known = base.suite.as_ref().and_then(|suite| self.known.get(&(suite.clone(), line)));
        known.map_or_else(|| self.python(line, base, platform), |release| Ok(release.clone()))
    }

    /// Whether an archive has another release than [`BaseFacts::likely_python`] said. Waits for what is being read.
    pub(super) fn assumed_wrongly(&self) -> Result<bool, Failure> {
        let mut wrongly = false;
        for Assumed { suite, line, platform, release } in self.assumed.take() {
            wrongly |= self.debian_python(&suite, line, platform)? != release;
        }
        Ok(wrongly)
    }

    fn debian_python(&self, suite: &str, line: PythonVersion, platform: Platform) -> Result<Version, Failure> {
        let newest = self.archives.ask(&Release::debian(suite), platform, |packages| {
            let versions = packages.versions(&format!("python{line}"))?.into_iter();
            Ok(versions.filter_map(|package| upstream_release(package.version.as_str(), line)).max())
        })?;
        Ok(newest.ok_or_else(|| Error::NoPython { suite: suite.to_owned(), python: line })?)
    }

    /// The interpreter's release, `3.11.2`: some markers look at the patch number.
    pub(super) fn python(&self, line: PythonVersion, base: &BaseRow, platform: Platform) -> Result<Version, Failure> {
        match (&base.suite, &base.reference) {
            (Some(suite), _) => self.debian_python(suite, line, platform),
            (None, Some(reference)) => {
                // A base out of reach is no reason to stop yet: this line may not do anyway. If it does, locking says so.
                let image = self.image(reference, platform).ok();
                let release = image.and_then(|image| image.variable("PYTHON_VERSION")?.parse::<Version>().ok());
                let fallback = || Version::new([u64::from(line.major), u64::from(line.minor), 99]);
                Ok(release.filter(|release| is_line(release, line)).unwrap_or_else(fallback))
            }
            (None, None) => Ok(Version::new([u64::from(line.major), u64::from(line.minor), 0])),
        }
    }

    /// The base and the Debian packages of one platform as the lock writes them.
    pub(super) fn locked(&self, spec: &Spec, stack: &StackAnswer, platform: Platform) -> Result<LockedSystem, Failure> {
        let base = &stack.base;
        let mut wanted: Vec<Wanted> =
            spec.system.iter().map(|name| Wanted::named(&name.value, "`system:` in the spec")).collect();
        let mut locked = LockedBase {
            kind: base.kind.to_owned(),
            suite: base.suite.clone(),
            reference: base.reference.clone(),
            digest: None,
            interpreter: format!("/usr/bin/python{}", stack.python),
            reason: stack.base_reason.clone(),
        };
        if let Some(suite) = &base.suite {
            wanted.splice(0..0, debian::base_packages(stack.python));
            return self.with_packages(locked, &Release::debian(suite), platform, &wanted, &[]);
        }
        let nothing = |base| Ok(LockedSystem { base, archives: Vec::new(), debs: Vec::new() });
        let Some(reference) = &base.reference else { return nothing(locked) };
        let image = self.image(reference, platform).map_err(|failure| self.out_of_reach(base, failure))?;
        locked.digest = Some(image.digest);
        let places = ["usr/local/bin", "usr/bin", "opt/conda/bin"];
        let interpreters: Vec<String> = places.iter().map(|place| format!("{place}/python{}", stack.python)).collect();
        let asked: Vec<&str> = interpreters
            .iter()
            .map(String::as_str)
            .chain(["var/lib/dpkg/status", "etc/os-release", "usr/lib/os-release"])
            .collect();
        let files = self.files(&image, &asked)?;
        let interpreter = interpreters.iter().find(|path| files.contains_key(*path));
        if let Some(interpreter) = interpreter {
            locked.interpreter = format!("/{interpreter}");
        }
        if interpreter.is_some() && wanted.is_empty() {
            return nothing(locked);
        }
        let no_interpreter = || self.no_interpreter(spec, stack, reference);
        let release = files.get("etc/os-release").or_else(|| files.get("usr/lib/os-release"));
        let release = match Release::parse(release.map(Vec::as_slice).unwrap_or_default()) {
            Ok(release) => release,
            Err(_) if interpreter.is_none() => return Err(no_interpreter().into()),
            Err(os) => return Err(Error::OtherSystem { reference: reference.clone(), os }.into()),
        };
        let status = files.get("var/lib/dpkg/status").map(Vec::as_slice).unwrap_or_default();
        let installed = debian::installed_packages(status, platform.architecture_name());
        if interpreter.is_none() {
            let package = format!("python{}", stack.python);
            if self.archives.ask(&release, platform, |packages| Ok(packages.versions(&package)?.is_empty()))? {
                return Err(no_interpreter().into());
            }
            wanted.splice(0..0, debian::python_packages(stack.python));
        }
        self.with_packages(locked, &release, platform, &wanted, &installed)
    }

    fn with_packages(
        &self,
        base: LockedBase,
        release: &Release,
        platform: Platform,
        wanted: &[Wanted],
        installed: &[InstalledPackage],
    ) -> Result<LockedSystem, Failure> {
        let (debs, archives) = self.archives.ask(release, platform, |packages| {
            Ok((debian::resolve(packages, wanted, installed)?, packages.states().to_vec()))
        })?;
        Ok(LockedSystem { base, archives, debs })
    }

    /// Digest of a service's image, if its registry can be asked; a stack can start without it.
    pub(super) fn image_digest(&self, image: &str) -> Option<Digest> {
        let reference = parse_reference(image).ok()?;
        match self.outside.registries.manifest(&reference) {
            Ok(manifest) => Some(manifest.digest),
            Err(error) => {
                self.context.progress.say(format!("note: `{image}` is locked by tag only: {error}"));
                None
            }
        }
    }

    fn no_interpreter(&self, spec: &Spec, stack: &StackAnswer, reference: &str) -> Error {
        let (reference, python) = (reference.to_owned(), stack.python);
        match (stack.base.kind, self.context.catalog()) {
            ("cuda", Ok(catalog)) => {
                Error::CudaWithoutInterpreter { reference, python, ways_out: without_toolkit(spec, catalog) }
            }
            _ => Error::NoInterpreter { reference, python },
        }
    }

    fn out_of_reach(&self, base: &BaseRow, failure: Failure) -> Failure {
        let suites = self.context.catalog().map(|catalog| catalog.bases.debian.as_slice()).unwrap_or_default();
        let alternatives: Vec<String> = suites.iter().take(2).map(|suite| suite.python.to_string()).collect();
        match base.kind {
            "slim" if !alternatives.is_empty() => OutOfReach { failure, alternatives }.into(),
            _ => failure,
        }
    }

    fn files(&self, image: &Base, paths: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let task = self.context.progress.task(format!("reading files of the base `{}`", image.reference), None);
        let Outside { registries, store, .. } = self.outside;
        let mut advance = |bytes| task.advance(bytes);
        Ok(base::read_files(registries, store, image, paths, FileLimits::default(), &mut advance)?)
    }

    fn image(&self, reference: &str, platform: Platform) -> Result<Rc<Base>, Failure> {
        let key = (reference.to_owned(), platform);
        if let Some(image) = self.images.borrow().get(&key) {
            return Ok(Rc::clone(image));
        }
        let task = self.context.progress.task(format!("looking at the base `{reference}`"), None);
        let parsed = parse_reference(reference)
            .map_err(|cause| Error::Reference { reference: reference.to_owned(), cause: cause.to_string() })?;
        let image = Rc::new(base::resolve(&self.outside.registries, &self.outside.store, &parsed, platform)?);
        task.done(format!("base `{reference}` is {}", image.digest));
        self.images.borrow_mut().insert(key, Rc::clone(&image));
        Ok(image)
    }
}

/// What of a spec can be given up so that its base is one with a Python: each change solved before it is offered.
fn without_toolkit(spec: &Spec, catalog: &Catalog) -> Vec<String> {
    let mut changes: Vec<(Spec, String)> = Vec::new();
    let mut free = spec.clone();
    (free.cuda, free.cudnn, free.os) = (None, None, None);
    free.base = Located::default_of(BaseChoice::Auto);
    changes.push((free, "without `cuda:`, `cudnn:`, `os:` and `base:`".to_owned()));
    for (index, framework) in spec.frameworks.iter().enumerate() {
        let mut changed = spec.clone();
        changed.frameworks[index].version = VersionSpecifiers::empty();
        changed.frameworks[index].build = None;
        changes.push((changed, format!("with another version of {}", framework.family.value)));
    }
    for (index, package) in spec.packages.iter().enumerate() {
        let mut changed = spec.clone();
        changed.packages[index].value.version_or_url = None;
        changes.push((changed, format!("with another version of {}", package.value.name)));
    }
    let mut offers = Vec::new();
    for (changed, text) in changes {
        let Ok(answer) = resolve_stack(&changed, catalog, &Preferences::default()) else { continue };
        if answer.base.kind != "cuda" {
            let frameworks: Vec<String> = answer
                .frameworks
                .iter()
                .map(|chosen| format!(", {} {} ({})", chosen.family, chosen.version, chosen.build))
                .collect();
            offers.push(format!(
                "{text} the base is {}, with Python {}{}",
                answer.base.label(),
                answer.python,
                frameworks.concat()
            ));
        }
    }
    offers.truncate(3);
    offers
}

/// `3.11.2` of `3.11.2-6+deb12u6`, if it is of that line.
fn upstream_release(debian_version: &str, line: PythonVersion) -> Option<Version> {
    let upstream = debian_version.split(['-', '~', '+']).next()?;
    upstream.parse().ok().filter(|release| is_line(release, line))
}

fn is_line(release: &Version, line: PythonVersion) -> bool {
    release.release().starts_with(&[u64::from(line.major), u64::from(line.minor)])
}
