//! `imgforge build`: lock if needed, render, assemble, and send the image where it was asked to go.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::assemble::base;
use crate::assemble::findings::{self, Findings};
use crate::assemble::steps::{self, Materials, Workplace};
use crate::cli::{BuildArgs, Engine, Format};
use crate::debian;
use crate::diagnostic::{Failure, Hint};
use crate::lock::{Lock, LockedPlatform};
use crate::oci::layout::Layout;
use crate::oci::{AssembledImage, Digest, Platform, Reference};
use crate::plan::Plan;
use crate::progress::human_bytes;
use crate::publish::{self, engine, registry::Published};
use crate::render::mlflow_lock;
use crate::spec::Spec;
use crate::store::Store;

use super::kept::Kept;
use super::outside::Outside;
use super::{Context, answer_in, bases, engines, lock, print, print_json, render, summary};

/// 1980-01-01, in seconds since 1970.
const DEFAULT_EPOCH: u64 = 315_532_800;
/// The last second of 9999, the last year that an image's config can say.
const LAST_EPOCH: u64 = 253_402_300_799;

/// Why a build cannot start or end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the lock has no platform `{wanted}`")]
    NotLocked { wanted: String, locked: Vec<String> },
    #[error("the spec names no repository to push to")]
    NoRepository,
    #[error("`{text}` is not a repository: {cause}")]
    Repository { text: String, cause: String },
    #[error("`SOURCE_DATE_EPOCH={0}` is not a number of seconds since 1970")]
    SourceDateEpoch(String),
    #[error("the cache's copy of {} was damaged, and is removed", .0.join(", "))]
    Damaged(Vec<String>),
    #[error("{action} `{path}`: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NotLocked { locked, .. } => {
                vec![format!("locked are {}", locked.join(", ")), "add it under `platforms:` and lock again".to_owned()]
            }
            Self::NoRepository => {
                vec!["add `image: {repository: HOST/NAME}` to the spec, or give `--repository HOST/NAME`".to_owned()]
            }
            Self::SourceDateEpoch(_) => {
                vec!["set it to such a number, as `git log -1 --format=%ct` prints it, or unset it".to_owned()]
            }
            Self::Repository { .. } => {
                vec!["write it like `registry.example.com/ml/churn`, without a tag, in lower case".to_owned()]
            }
            Self::Damaged(_) => vec!["build again: it is downloaded anew".to_owned()],
            Self::Io { .. } => Vec::new(),
        }
    }
}

/// An image that was built, with everything needed to publish it.
pub(super) struct Built {
    /// `churn`, or `churn-mlflow`.
    pub(super) name: String,
    /// Its lock: the spec's, or the one derived for a service.
    pub(super) lock: Lock,
    /// One image per platform.
    pub(super) images: Vec<AssembledImage>,
    /// Digest of the manifest, or of the index over several platforms.
    pub(super) digest: Digest,
    /// The layout's folder.
    pub(super) layout: PathBuf,
    /// Keeps other builds off that folder until the image is where it goes.
    _held: std::fs::File,
}

pub(super) fn run(context: &Context, arguments: &BuildArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    let spec = Spec::load(&arguments.spec)?;
    // Said before anything is written.
    created()?;
    let outside = Outside::new(context, &spec)?;
    let repository = match arguments.push {
        true => Some(repository(arguments.repository.as_deref(), &spec)?),
        false => None,
    };
    let (lock, made) = answer_in(arguments.format, ready_lock(context, &outside, &spec, arguments))?;
    let lock = restrict(lock, &arguments.platforms)?;
    let folder = output_folder(arguments.output.as_deref(), &lock.name);
    render::write(context, &lock, &spec, &folder)?;
    if arguments.engine != Engine::Native {
        let engine = arguments.engine;
        let references = engines::build(context, &outside, engine, repository.as_ref(), &spec, &lock, &folder)?;
        match arguments.format {
            Format::Json => {
                print_json(&serde_json::json!({"status": "ok", "folder": folder, "references": references}));
            }
            Format::Text => references.last().iter().for_each(|reference| print(reference)),
        }
        return Ok(0);
    }
    let built = assemble_all(context, &outside, &spec, &lock, &folder)?;
    if arguments.load {
        load(context, &outside, &built)?;
    }
    let published = match &repository {
        Some(repository) => push(context, &outside, &built, repository)?,
        None => Vec::new(),
    };
    match arguments.format {
        Format::Json => print_json(&summary::to_json(&built, &published, &folder)),
        Format::Text => print(&summary::first_line(&built, &published)),
    }
    summary::say(context, arguments, &built, &published, &folder, made, started);
    Ok(0)
}

/// The lock of the spec: the one on disk if it answers the spec, else a new one, written.
fn ready_lock(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    arguments: &BuildArgs,
) -> Result<(Lock, bool), Failure> {
    let path = Lock::path_for(&arguments.spec);
    let previous = Lock::read(&path)?;
    if arguments.locked {
        return Ok((lock::current(spec, previous, &path)?, false));
    }
    match previous {
        Some(lock) if lock.satisfies(spec) => Ok((lock, false)),
        previous => {
            let lock = lock::make(context, outside, spec, &Kept::whole(previous))?;
            lock.write(&path)?;
            context.progress.say(format!("wrote `{}`: {}", path.display(), lock::summary(&lock)));
            Ok((lock, true))
        }
    }
}

/// The lock with the wanted platforms only.
fn restrict(mut lock: Lock, wanted: &[String]) -> Result<Lock, Failure> {
    if wanted.is_empty() {
        return Ok(lock);
    }
    let mut platforms = Vec::new();
    for text in wanted {
        let platform: Option<Platform> = text.parse().ok();
        let found = lock.platforms.iter().find(|locked| Some(locked.name) == platform);
        platforms.push(found.cloned().ok_or_else(|| Error::NotLocked {
            wanted: text.clone(),
            locked: lock.platforms.iter().map(|locked| format!("`{}`", locked.name)).collect(),
        })?);
    }
    lock.platforms = platforms;
    Ok(lock)
}

/// `generated/NAME` unless the user says otherwise.
pub(super) fn output_folder(asked: Option<&Path>, name: &str) -> PathBuf {
    asked.map_or_else(|| Path::new("generated").join(name), Path::to_owned)
}

/// Where to push: `--repository`, else the spec's.
pub(super) fn repository(asked: Option<&str>, spec: &Spec) -> Result<Reference, Failure> {
    let text = asked.or_else(|| spec.image.repository.as_ref().map(|repository| repository.value.as_str()));
    let text = text.ok_or(Error::NoRepository)?;
    Ok(text.parse().map_err(|cause| Error::Repository { text: text.to_owned(), cause: format!("{cause}") })?)
}

/// The time of every file and of the image: `SOURCE_DATE_EPOCH`, else the first second that a zip archive can hold, so that
/// programs in the image can pack what is there.
fn created() -> Result<u64, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => {
            let seconds = text.parse().ok().filter(|&seconds| seconds <= LAST_EPOCH);
            Ok(seconds.ok_or(Error::SourceDateEpoch(text))?)
        }
        _ => Ok(DEFAULT_EPOCH),
    }
}

/// The image of the spec, then those of its services.
pub(super) fn assemble_all(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    lock: &Lock,
    folder: &Path,
) -> Result<Vec<Built>, Failure> {
    let digest = lock.digest();
    let layouts = [folder.join("oci"), folder.join("services/mlflow/oci")];
    let mut built = vec![assemble_one(context, outside, spec, lock, digest, &layouts)?];
    if let Some(server) = mlflow_lock(lock) {
        let [first, second] = layouts;
        built.push(assemble_one(context, outside, spec, &server, digest, &[second, first])?);
    }
    Ok(built)
}

/// One image, in the first of the layouts; layers that the others have are shared.
fn assemble_one(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    lock: &Lock,
    lock_digest: Digest,
    layouts: &[PathBuf; 2],
) -> Result<Built, Failure> {
    let [layout, others @ ..] = layouts;
    let blobs = layout.join("blobs/sha256");
    let others: Vec<PathBuf> = others.iter().map(|other| other.join("blobs/sha256")).collect();
    let workplace = Workplace { blobs: &blobs, others: &others, store: &outside.store };
    std::fs::create_dir_all(&blobs).map_err(|source| Error::Io { action: "create", path: blobs.clone(), source })?;
    let waiting = || context.progress.say(format!("waiting for another build into `{}`", layout.display()));
    let held =
        Layout::hold(layout, waiting).map_err(|source| Error::Io { action: "lock", path: layout.clone(), source })?;
    let created = created()?;
    let mut images = Vec::new();
    for platform in &lock.platforms {
        let plan = Plan::from_lock(lock, platform, lock_digest, &spec.folder);
        let materials = materials(context, outside, platform)?;
        let work = platform.wheels.iter().map(|wheel| wheel.size).chain(platform.debs.iter().map(|deb| deb.size)).sum();
        let task = context.progress.task(format!("assembling `{}` for {}", lock.name, platform.name), Some(work));
        let image = steps::assemble(&plan, &materials, &spec.folder, &workplace, created, &task)
            .map_err(|error| damaged(&outside.store, platform).map_or_else(|| error.into(), Failure::from))?;
        task.done(format!(
            "assembled `{}` for {}: {} layers, {}",
            lock.name,
            platform.name,
            image.layers.len(),
            human_bytes(image.layers_size())
        ));
        report(context, &image, &findings::find(&plan, &materials, &outside.store)?);
        images.push(image);
    }
    let tag = lock.image.tags.first().map_or("latest", String::as_str);
    let Outside { registries, store, .. } = outside;
    let digest = publish::layout::write(registries, store, &images, layout, tag, &context.progress)?;
    Ok(Built { name: lock.name.clone(), lock: lock.clone(), images, digest, layout: layout.to_owned(), _held: held })
}

/// When assembling failed: the files in the cache that are no longer what the lock names, which explains it.
fn damaged(store: &Store, platform: &LockedPlatform) -> Option<Error> {
    let wheels = platform.wheels.iter().map(|wheel| (&wheel.digest, wheel.file.as_str()));
    let debs = platform.debs.iter().map(|deb| (&deb.digest, deb.path.as_str()));
    let removed = wheels.chain(debs).filter(|(digest, _)| store.discard_if_damaged(digest));
    let names: Vec<String> = removed.map(|(_, name)| format!("`{name}`")).collect();
    (!names.is_empty()).then_some(Error::Damaged(names))
}

/// What deserves a look in an image, and with `--verbose` what it is made of.
fn report(context: &Context, image: &AssembledImage, findings: &Findings) {
    for conflict in &findings.conflicts {
        context.progress.say(format!("warning: {conflict}"));
    }
    for note in &findings.notes {
        context.progress.detail(format!("note: {note}"));
    }
    for layer in &image.layers {
        let annotation = |name: &str| layer.annotations.get(name).map_or("", String::as_str);
        let (kind, contents) = (annotation("dev.imgforge.layer.kind"), annotation("dev.imgforge.layer.contents"));
        context.progress.detail(format!("layer {} {kind}, {}: {contents}", layer.digest, human_bytes(layer.size)));
    }
}

/// Brings what a platform's steps are made from into the store.
fn materials(context: &Context, outside: &Outside, platform: &LockedPlatform) -> Result<Materials, Failure> {
    let Outside { http, store, registries, index, .. } = outside;
    let mut materials = Materials::default();
    if let Some(reference) = &platform.base.reference {
        let pinned = pinned(reference, platform.base.digest)?;
        let base = base::resolve(registries, store, &pinned, platform.name)?;
        let task = context.progress.task(format!("reading files of the base `{reference}`"), None);
        let paths = ["etc/passwd", "etc/group", "etc/shadow", "var/lib/dpkg/status", "bin/bash", "usr/bin/bash"];
        let mut advance = |bytes| task.advance(bytes);
        materials.base_files =
            base::read_files(registries, store, &base, &paths, base::FileLimits::default(), &mut advance)?;
        materials.base = Some(base);
    }
    if !platform.debs.is_empty() {
        // A base by reference has packages of its own release; the archives' names in the lock do not depend on it.
        let suite = platform.base.suite.clone().unwrap_or_default();
        let archives = bases::archives(outside, &suite)?;
        let snapshot = debian::Snapshot { url: outside.settings.snapshot().clone() };
        materials.debs = debian::fetch(&platform.debs, &archives, Some(&snapshot), http, store, &context.progress)?;
    }
    let wheels: Vec<_> = platform.wheels.iter().collect();
    materials.wheels = index.download_all(&wheels, &context.progress)?;
    Ok(materials)
}

fn pinned(reference: &str, digest: Option<Digest>) -> Result<Reference, Failure> {
    let bad = |cause| Error::Repository { text: reference.to_owned(), cause };
    let parsed: Reference = reference.parse().map_err(|cause| bad(format!("{cause}")))?;
    Ok(match digest {
        Some(digest) => {
            Reference::with_digest(parsed.registry().to_owned(), parsed.repository().to_owned(), digest.to_string())
        }
        None => parsed,
    })
}

/// Into Docker or Podman, under the names that the Compose stack uses.
fn load(context: &Context, outside: &Outside, built: &[Built]) -> Result<(), Failure> {
    let engine = engine::Engine::find(None)?;
    for image in built {
        let name = image.lock.image.repository.as_ref().unwrap_or(&image.name);
        let names: Vec<String> = image.lock.image.tags.iter().map(|tag| format!("{name}:{tag}")).collect();
        let native = native_image(&image.images);
        let Outside { registries, store, .. } = outside;
        engine.load(registries, store, native, &names, &context.progress)?;
    }
    Ok(())
}

/// Of several platforms the one of this machine, else the first: an engine holds one under a name.
fn native_image(images: &[AssembledImage]) -> &AssembledImage {
    let own = match std::env::consts::ARCH {
        "aarch64" => Platform::ARM64,
        _ => Platform::AMD64,
    };
    images.iter().find(|image| image.platform == own).unwrap_or(&images[0])
}

/// To the registry: the spec's image into `repository`, a service's beside it.
pub(super) fn push(
    context: &Context,
    outside: &Outside,
    built: &[Built],
    repository: &Reference,
) -> Result<Vec<Published>, Failure> {
    let mut published: Vec<Published> = Vec::new();
    let main = built.first().map_or("", |main| main.name.as_str());
    for image in built {
        let target = beside(repository, main, &image.name);
        let mount_from: Vec<Reference> = published.iter().map(|published| published.reference.clone()).collect();
        let target =
            publish::registry::Target { repository: &target, tags: &image.lock.image.tags, mount_from: &mount_from };
        let Outside { registries, store, .. } = outside;
        published.push(publish::registry::push(registries, store, &image.images, &target, &context.progress)?);
    }
    Ok(published)
}

/// The repository of an image beside that of the main one: `ml/churn` has `ml/churn-mlflow` beside it.
pub(super) fn beside(repository: &Reference, main: &str, image: &str) -> Reference {
    let name = format!("{}{}", repository.repository(), image.strip_prefix(main).unwrap_or_default());
    Reference::with_tag(repository.registry().to_owned(), name, "latest".to_owned())
}
