//! What locking must know of a base: its interpreter's patch release, its packages, its digest. Asked once each.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use pep440_rs::{Version, VersionSpecifiers};

use crate::assemble::base::{self, Base, FileLimits};
use crate::catalog::Catalog;
use crate::debian::{self, Archive, PackageSet, Wanted};
use crate::diagnostic::{Failure, Hint};
use crate::lock::{LockedBase, LockedDeb};
use crate::oci::{Digest, Platform, Reference};
use crate::resolve::{BaseRow, Preferences, StackAnswer, resolve_stack};
use crate::spec::{BaseChoice, Located, Spec};
use crate::version::PythonVersion;

use super::Context;
use super::outside::Outside;

/// Answers about bases, each found out once.
pub(super) struct BaseFacts<'a> {
    context: &'a Context,
    outside: &'a Outside,
    archives: RefCell<HashMap<(String, Platform), Rc<PackageSet>>>,
    images: RefCell<HashMap<(String, Platform), Rc<Base>>>,
}

/// Why a base does not do.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the archive of Debian {suite} has no Python {python}")]
    NoPython { suite: String, python: PythonVersion },
    #[error("the base `{reference}` holds no Python {python}")]
    NoInterpreter { reference: String, python: PythonVersion },
    #[error("the base `{reference}` holds no Python {python}, and none can be put into it yet")]
    CudaWithoutInterpreter {
        reference: String,
        python: PythonVersion,
        /// Changes to the spec that were tried and do without such a base.
        ways_out: Vec<String>,
    },
    #[error("`{reference}` is not an image reference: {cause}")]
    Reference { reference: String, cause: String },
    #[error("the keys of the archive `{archive}` cannot be used: {cause}")]
    Keyring { archive: String, cause: String },
    #[error("`system:` packages cannot be installed on the base `{reference}`: it is not Debian but {os}")]
    NotDebian { reference: String, os: String },
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
            Self::NotDebian { .. } => {
                vec!["choose `base: debian` or `base: slim`, or install them in the base image itself".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

impl<'a> BaseFacts<'a> {
    pub(super) fn new(context: &'a Context, outside: &'a Outside) -> Self {
        Self { context, outside, archives: RefCell::default(), images: RefCell::default() }
    }

    /// The interpreter's release, `3.11.2`: some markers look at the patch number.
    pub(super) fn python(&self, line: PythonVersion, base: &BaseRow, platform: Platform) -> Result<Version, Failure> {
        match (&base.suite, &base.reference) {
            (Some(suite), _) => {
                let packages = self.archive(suite, platform)?;
                let versions = packages.versions(&format!("python{line}"));
                let newest =
                    versions.iter().filter_map(|package| upstream_release(&package.to_locked().version, line)).max();
                Ok(newest.ok_or_else(|| Error::NoPython { suite: suite.clone(), python: line })?)
            }
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
    pub(super) fn locked(
        &self,
        spec: &Spec,
        stack: &StackAnswer,
        platform: Platform,
    ) -> Result<(LockedBase, Vec<LockedDeb>), Failure> {
        let base = &stack.base;
        let system: Vec<Wanted> =
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
            let packages = self.archive(suite, platform)?;
            let mut wanted = debian::base_packages(stack.python);
            wanted.extend(system);
            return Ok((locked, debian::resolve(&packages, &wanted, &[])?));
        }
        let Some(reference) = &base.reference else { return Ok((locked, Vec::new())) };
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
        let interpreter = interpreters
            .iter()
            .find(|path| files.contains_key(*path))
            .ok_or_else(|| self.no_interpreter(spec, stack, reference))?;
        locked.interpreter = format!("/{interpreter}");
        if system.is_empty() {
            return Ok((locked, Vec::new()));
        }
        let release = files.get("etc/os-release").or_else(|| files.get("usr/lib/os-release"));
        let release = String::from_utf8_lossy(release.map(Vec::as_slice).unwrap_or_default()).into_owned();
        let field = |name: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let (Some("debian"), Some(suite)) = (field("ID").as_deref(), field("VERSION_CODENAME")) else {
            let os = field("PRETTY_NAME").unwrap_or_else(|| "something unknown".to_owned());
            return Err(Error::NotDebian { reference: reference.clone(), os }.into());
        };
        let packages = self.archive(&suite, platform)?;
        let status = files.get("var/lib/dpkg/status").map(Vec::as_slice).unwrap_or_default();
        let installed = debian::installed_packages(status, platform.architecture_name());
        Ok((locked, debian::resolve(&packages, &system, &installed)?))
    }

    /// Digest of a service's image, if its registry can be asked; a stack can start without it.
    pub(super) fn image_digest(&self, image: &str) -> Option<Digest> {
        let reference: Reference = image.parse().ok()?;
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
                Error::CudaWithoutInterpreter { reference, python, ways_out: without_toolkit(spec, &catalog) }
            }
            _ => Error::NoInterpreter { reference, python },
        }
    }

    fn out_of_reach(&self, base: &BaseRow, failure: Failure) -> Failure {
        let suites = self.context.catalog().map(|catalog| catalog.bases.debian).unwrap_or_default();
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

    fn archive(&self, suite: &str, platform: Platform) -> Result<Rc<PackageSet>, Failure> {
        let key = (suite.to_owned(), platform);
        if let Some(packages) = self.archives.borrow().get(&key) {
            return Ok(Rc::clone(packages));
        }
        let archives = archives(self.outside, suite)?;
        let Outside { http, store, .. } = self.outside;
        let packages = Rc::new(debian::fetch_packages(&archives, platform, http, store, &self.context.progress)?);
        self.archives.borrow_mut().insert(key, Rc::clone(&packages));
        Ok(packages)
    }

    fn image(&self, reference: &str, platform: Platform) -> Result<Rc<Base>, Failure> {
        let key = (reference.to_owned(), platform);
        if let Some(image) = self.images.borrow().get(&key) {
            return Ok(Rc::clone(image));
        }
        let task = self.context.progress.task(format!("looking at the base `{reference}`"), None);
        let parsed: Reference = reference
            .parse()
            .map_err(|cause| Error::Reference { reference: reference.to_owned(), cause: format!("{cause}") })?;
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

/// The archives of this machine's settings for a Debian release, each with the keys that may sign it.
pub(super) fn archives(outside: &Outside, suite: &str) -> Result<Vec<Archive>, Failure> {
    let locations = outside.settings.archives();
    let archives = locations.map(|location| {
        let keyring = debian::Keyring::embedded(&location.name).transpose();
        let keyring =
            keyring.map_err(|cause| Error::Keyring { archive: location.name.clone(), cause: cause.to_string() })?;
        Ok::<_, Error>(keyring.map(|keyring| Archive {
            name: location.name.clone(),
            url: location.url.clone(),
            suites: location.suites(suite),
            keyring,
        }))
    });
    Ok(archives.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?)
}

/// `3.11.2` of `3.11.2-6+deb12u6`, if it is of that line.
fn upstream_release(debian_version: &str, line: PythonVersion) -> Option<Version> {
    let upstream = debian_version.split(['-', '~', '+']).next()?;
    upstream.parse().ok().filter(|release| is_line(release, line))
}

fn is_line(release: &Version, line: PythonVersion) -> bool {
    release.release().starts_with(&[u64::from(line.major), u64::from(line.minor)])
}
