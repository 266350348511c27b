//! `imgforge lock`: everything decided and written down.

use std::collections::BTreeMap;
use std::time::Instant;

use pep440_rs::Version;
use serde_json::json;

use crate::catalog::Catalog;
use crate::cli::{Format, LockArgs};
use crate::diagnostic::{Failure, Hint};
use crate::lock::{Lock, LockedPlatform, LockedService, LockedWheel};
use crate::oci::{Digest, Platform};
use crate::progress::{counted, human_bytes};
use crate::render::mlflow_requirements;
use crate::resolve::{BaseRow, Interpreters, PlatformPackages, Preferences, Resolution, StackAnswer, resolve};
use crate::spec::{ArtifactStore, Located, MlflowBackend, Spec};
use crate::version::PythonVersion;

use super::bases::{BaseFacts, LockedSystem};
use super::kept::Kept;
use super::outside::Outside;
use super::{Context, answer_in, print, print_json};

/// Why what was resolved cannot be locked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{file}` has {found}, and the spec allows {}", allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))]
    OtherHash { file: String, found: Digest, allowed: Vec<Digest> },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        vec!["if the file was meant to change, write its new hash; if not, do not trust the index".to_owned()]
    }
}

pub(super) fn run(context: &Context, arguments: &LockArgs) -> Result<u8, Failure> {
    let spec = Spec::load(&arguments.spec)?;
    let path = Lock::path_for(&arguments.spec);
    let previous = Lock::read(&path)?;
    if arguments.check {
        let current = current(&spec, previous, &path)?;
        report(arguments.format, &current, false);
        context.progress.say(format!("`{}` is current", path.display()));
        return Ok(0);
    }
    let changing = arguments.upgrade || !arguments.upgrade_packages.is_empty();
    if let Some(lock) = previous.as_ref().filter(|lock| !changing && lock.satisfies(&spec)) {
        report(arguments.format, lock, false);
        context.progress.say(format!("`{}` is current; `--upgrade` takes newer versions", path.display()));
        return Ok(0);
    }
    let kept = Kept::without(previous, arguments.upgrade, &arguments.upgrade_packages, context.catalog()?)?;
    let outside = Outside::new(context, &spec)?;
    let lock = answer_in(arguments.format, make(context, &outside, &spec, &kept))?;
    lock.write(&path)?;
    report(arguments.format, &lock, true);
    context.progress.say(format!("wrote `{}`: {}", path.display(), summary(&lock)));
    Ok(0)
}

/// The lock if it answers the spec, else the reason why not: exit code 1.
pub(super) fn current(spec: &Spec, lock: Option<Lock>, path: &std::path::Path) -> Result<Lock, Failure> {
    let lock = lock.ok_or_else(|| crate::lock::Error::Missing { path: path.to_owned() })?;
    lock.check_current(spec, path)?;
    Ok(lock)
}

fn report(format: Format, lock: &Lock, written: bool) {
    match format {
        Format::Json => print_json(&json!({"status": "ok", "written": written, "digest": lock.digest()})),
        Format::Text => print(&lock.digest().to_string()),
    }
}

/// `Python 3.11, 47 wheels (2.9 GB), 56 Debian packages`.
pub(super) fn summary(lock: &Lock) -> String {
    let mut parts = vec![format!("Python {}", lock.stack.python)];
    let wheels = lock.platforms.iter().flat_map(|platform| &platform.wheels);
    let debs: usize = lock.platforms.iter().map(|platform| platform.debs.len()).sum();
    let size: u64 = wheels.clone().map(|wheel| wheel.size).sum();
    parts.push(format!("{} ({})", counted(wheels.count(), "wheel"), human_bytes(size)));
    if debs > 0 {
        parts.push(counted(debs, "Debian package"));
    }
    parts.join(", ")
}

/// Resolves everything a spec needs. Nothing is written.
pub(super) fn make(context: &Context, outside: &Outside, spec: &Spec, kept: &Kept) -> Result<Lock, Failure> {
    let catalog = context.catalog()?;
    let bases = BaseFacts::new(context, outside, catalog);
    let resolution = packages(context, outside, spec, catalog, &kept.preferences(), &bases)?;
    let mut platforms = Vec::new();
    for packages in &resolution.platforms {
        let LockedSystem { base, archives, debs } = match kept.base(spec, &resolution.stack, packages.platform) {
            Some(kept) => kept,
            None => bases.locked(spec, &resolution.stack, packages.platform)?,
        };
        platforms.push(LockedPlatform {
            name: packages.platform,
            base,
            archives,
            debs,
            wheels: locked_wheels(outside, packages)?,
        });
    }
    let services = services(context, outside, spec, catalog, &resolution.stack, kept, &bases)?;
    Ok(Lock::from_resolution(spec, catalog.digest(), &resolution.stack, platforms, services))
}

/// Interpreters whose archives are read while packages are resolved, but not for what is only tried.
struct Likely<'b, 'a>(&'b BaseFacts<'a>);

impl Interpreters for Likely<'_, '_> {
    fn release(&self, line: PythonVersion, base: &BaseRow, platform: Platform) -> Result<Version, Failure> {
        self.0.likely_python(line, base, platform)
    }
    fn guess(&self, line: PythonVersion, base: &BaseRow, platform: Platform) -> Result<Version, Failure> {
        self.0.known_python(line, base, platform)
    }
}

fn packages(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    catalog: &Catalog,
    preferences: &Preferences,
    bases: &BaseFacts<'_>,
) -> Result<Resolution, Failure> {
    let task = context.progress.task(format!("resolving packages of `{}`", spec.name.value), None);
    let started = Instant::now();
    let mut resolution = resolve(spec, catalog, &outside.index, preferences, &Likely(bases));
    let packages_time = started.elapsed();
    // An answer, and a conflict as well, holds only for the interpreter that it was found for.
    if bases.assumed_wrongly()? {
        let known = |line: PythonVersion, base: &BaseRow, platform: Platform| bases.python(line, base, platform);
        resolution = resolve(spec, catalog, &outside.index, preferences, &known);
    }
    let resolution = resolution?;
    context.progress.detail(format!(
        "the packages took {} ms, and the base {} ms more; {} so far",
        packages_time.as_millis(),
        started.elapsed().saturating_sub(packages_time).as_millis(),
        counted(outside.http.request_count() as usize, "request")
    ));
    let count: usize = resolution.platforms.iter().map(|platform| platform.wheels.len()).sum();
    task.done(format!(
        "resolved {} of `{}` for Python {}",
        counted(count, "package"),
        spec.name.value,
        resolution.stack.python
    ));
    for (fact, source) in &resolution.stack.because {
        context.progress.detail(format!("because {fact} [{source}]"));
    }
    for platform in &resolution.platforms {
        for warning in &platform.warnings {
            context.progress.say(format!("warning: {warning}"));
        }
        for (name, candidate) in &platform.wheels {
            let (version, index, file) = (candidate.own_version(), &candidate.index, &candidate.file.filename);
            context
                .progress
                .detail(format!("{}: {name} {version}, `{file}` from the index `{index}`", platform.platform));
        }
    }
    Ok(resolution)
}

fn locked_wheels(outside: &Outside, packages: &PlatformPackages) -> Result<Vec<LockedWheel>, Failure> {
    packages
        .wheels
        .iter()
        .map(|(name, candidate)| {
            let file = &candidate.file;
            let (digest, size) = match (file.digest, file.size) {
                (Some(digest), Some(size)) => (digest, size),
                _ => outside.index.identify(&candidate.index, file)?,
            };
            if !candidate.allowed.is_empty() && !candidate.allowed.contains(&digest) {
                let (file, allowed) = (file.filename.clone(), candidate.allowed.clone());
                return Err(Error::OtherHash { file, found: digest, allowed }.into());
            }
            Ok(LockedWheel {
                name: name.clone(),
                version: candidate.own_version().to_string(),
                index: candidate.index.clone(),
                url: candidate.place.clone(),
                file: file.filename.clone(),
                size,
                digest,
            })
        })
        .collect()
}

fn services(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    catalog: &Catalog,
    stack: &StackAnswer,
    kept: &Kept,
    bases: &BaseFacts<'_>,
) -> Result<Vec<LockedService>, Failure> {
    let mut services = Vec::new();
    let empty = |kind: &str| LockedService {
        kind: kind.to_owned(),
        image: None,
        digest: None,
        seed: Vec::new(),
        backend: None,
        artifacts: None,
        wheels: Vec::new(),
    };
    if let Some(mlflow) = &spec.services.mlflow {
        let mut wheels = BTreeMap::new();
        let server = server_spec(spec, stack, &mlflow.artifacts);
        let resolution = packages(context, outside, &server, catalog, &kept.service_preferences("mlflow"), bases)?;
        for platform in &resolution.platforms {
            for wheel in locked_wheels(outside, platform)? {
                wheels.insert(wheel.file.clone(), wheel);
            }
        }
        services.push(LockedService {
            backend: Some(
                match mlflow.backend {
                    MlflowBackend::Postgres => "postgres",
                    MlflowBackend::Sqlite => "sqlite",
                }
                .to_owned(),
            ),
            artifacts: match &mlflow.artifacts {
                ArtifactStore::Volume => None,
                ArtifactStore::Bucket(url) => Some(url.clone()),
            },
            wheels: wheels.into_values().collect(),
            ..empty("mlflow")
        });
    }
    let versions = [
        ("postgres", spec.services.postgres.as_ref().map(|postgres| &postgres.version)),
        ("redis", spec.services.redis.as_ref().map(|redis| &redis.version)),
    ];
    for (kind, version) in versions {
        let Some(version) = version else { continue };
        let repository = catalog.service(kind).map_or(kind, |service| service.image.as_str());
        let image = format!("{repository}:{}", version.value);
        let digest = kept.service_digest(kind, &image).or_else(|| bases.image_digest(&image));
        services.push(LockedService { image: Some(image), digest, ..empty(kind) });
    }
    if let Some(postgres) = &spec.services.postgres {
        let seed = postgres.seed.iter().map(|seed| seed.value.to_string_lossy().into_owned()).collect();
        if let Some(service) = services.iter_mut().find(|service| service.kind == "postgres") {
            service.seed = seed;
        }
    }
    services.sort_by(|one, other| one.kind.cmp(&other.kind));
    Ok(services)
}

/// MLflow's server as a spec of its own: its packages on the same Python and base, no accelerator.
fn server_spec(spec: &Spec, stack: &StackAnswer, artifacts: &ArtifactStore) -> Spec {
    let mut server = spec.clone();
    server.name = Located::default_of(format!("{}-mlflow", spec.name.value));
    server.targets = vec![Located::default_of(crate::spec::Target::Cpu)];
    server.platforms = stack.platforms.iter().copied().map(Located::default_of).collect();
    server.python = format!("=={}.*", stack.python).parse().ok().map(Located::default_of);
    server.frameworks = Vec::new();
    server.packages = mlflow_requirements(artifacts)
        .iter()
        .filter_map(|requirement| requirement.parse().ok())
        .map(Located::default_of)
        .collect();
    server.file_pins = Vec::new();
    (server.cuda, server.cudnn) = (None, None);
    server
}
