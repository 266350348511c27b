//! `imgforge build`: lock if needed, render, assemble, and send the image where it was asked to go.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use crate::assemble::base::{self, Base};
use crate::assemble::byte_code::Compiler;
use crate::assemble::files::Project;
use crate::assemble::findings::{self, Findings};
use crate::assemble::layers::{KnownLayer, LayerCache};
use crate::assemble::published::Published as PublishedLayers;
use crate::assemble::recipe::{Recipe, Wanted};
use crate::assemble::steps::{self, Materials};
use crate::cli::{BuildArgs, Engine, Format};
use crate::debian;
use crate::diagnostic::{Failure, Hint};
use crate::lock::{Lock, LockedPlatform, Moment};
use crate::oci::layout::Layout;
use crate::oci::tag::{is_tag, with_digest};
use crate::oci::{AssembledImage, Digest, Layer, LayerSource, Platform, Reference, parse_reference};
use crate::plan::Plan;
use crate::progress::human_bytes;
use crate::publish::registry::{Published, Upload};
use crate::publish::{self, engine};
use crate::render::mlflow_lock;
use crate::resolve::platforms_of;
use crate::spec::Spec;
use crate::store::Store;

use super::attestations::{self, Attest};
use super::kept::Kept;
use super::outflow::ToRegistry;
use super::outside::Outside;
use super::{
    Context, answer_in, archives, attach, compilers, engines, lock, output, print, print_json, render, summary,
};

/// Why a build cannot start or end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the lock has no platform `{wanted}`")]
    NotLocked { wanted: String, locked: Vec<String> },
    #[error("the spec makes no image for `{wanted}`")]
    NotOffered { wanted: String, offered: Vec<Platform> },
    #[error("the spec names no repository to push to")]
    NoRepository,
    #[error("`{text}` is not a repository: {cause}")]
    Repository { text: String, cause: String },
    #[error("`SOURCE_DATE_EPOCH={0}` is not a number of seconds since 1970")]
    SourceDateEpoch(String),
    #[error("the cache's copy of {} was damaged, and is removed", .0.join(", "))]
    Damaged(Vec<String>),
    #[error("an image that an engine builds is not signed here")]
    SignByEngine,
    #[error("there is nothing to sign without `--push`")]
    SignWithoutPush,
    #[error("{action} `{path}`: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NotLocked { locked, .. } => {
                vec![format!("locked are {}", locked.join(", ")), "add it under `platforms:` and lock again".to_owned()]
            }
            Self::NotOffered { wanted, offered } => {
                let offered: Vec<String> = offered.iter().map(|platform| format!("`{platform}`")).collect();
                let further = match wanted.parse::<Platform>() {
                    Ok(_) => "to have it as well, add it under `platforms:`".to_owned(),
                    Err(unknown) => unknown.to_string(),
                };
                vec![format!("it makes images for {}", offered.join(", ")), further]
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
            Self::SignByEngine => vec!["leave `--engine` out, or sign it with `cosign sign --key`".to_owned()],
            Self::SignWithoutPush => vec!["signatures lie beside the image in its registry: add `--push`".to_owned()],
            Self::Io { source, .. } => crate::store::help_for_output(source),
        }
    }
}

/// What is read of a base image: its accounts, its package database, and whether it has a shell.
const BASE_FILES: [&str; 8] = [
    "etc/passwd",
    "etc/group",
    "etc/shadow",
    "etc/gshadow",
    "var/lib/dpkg/status",
    "etc/ld.so.cache",
    "bin/bash",
    "usr/bin/bash",
];

/// An image that was built, with everything needed to publish it.
pub(super) struct Built {
    /// `churn`, or `churn-mlflow`.
    pub(super) name: String,
    /// Its lock: the spec's, or the one derived for a service. It may have more platforms than were built.
    pub(super) lock: Lock,
    /// One image per platform that was built.
    pub(super) images: Vec<AssembledImage>,
    /// Digest of the manifest, or of the index over several platforms.
    pub(super) digest: Digest,
    /// The layout's folder; none if some layers are in the registry only.
    pub(super) layout: Option<PathBuf>,
    /// Its push, which has begun.
    upload: Option<Upload>,
    /// Keeps other builds off that folder until the image is where it goes.
    _held: std::fs::File,
}

impl Built {
    /// The images, each with what the lock says of its platform.
    pub(super) fn platforms(&self) -> impl Iterator<Item = (&AssembledImage, &LockedPlatform)> {
        let locked = |image: &AssembledImage| self.lock.platforms.iter().find(|locked| locked.name == image.platform);
        self.images.iter().filter_map(move |image| Some((image, locked(image)?)))
    }
}

/// Where images go while they are made.
pub(super) struct PushTo {
    /// Of the spec's image; those of services go beside it.
    pub(super) repository: Reference,
    /// What goes along with them.
    pub(super) recipe: Option<attach::Recipe>,
    /// Whether layers that are there already are taken as they are.
    pub(super) reuse: bool,
    /// Whether layers that have to be made are needed on this machine as well.
    pub(super) keep: bool,
}

pub(super) fn run(context: &Context, arguments: &BuildArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    let spec = Spec::load(&arguments.spec)?;
    let folder = output::output_folder(arguments.output.as_deref(), &spec.name.value);
    // Said before anything is written.
    created()?;
    output::check(&folder)?;
    check_offered(context, &spec, &arguments.platforms)?;
    let wanted = attach::Wanted { recipe: arguments.push && !arguments.no_recipe };
    wanted.check(&spec)?;
    let attest = Attest::new(&arguments.attest)?;
    match (attest.signs(), arguments.push, arguments.engine) {
        (true, false, _) => return Err(Error::SignWithoutPush.into()),
        (true, true, engine) if engine != Engine::Native => return Err(Error::SignByEngine.into()),
        _ => {}
    }
    let outside = Outside::new(context, &spec)?;
    let repository = match arguments.push {
        true => Some(repository(arguments.repository.as_deref(), &spec)?),
        false => None,
    };
    let (lock, made) = answer_in(arguments.format, ready_lock(context, &outside, &spec, arguments))?;
    let platforms = chosen(&lock, &arguments.platforms)?;
    let rendered = render::rendered(&lock, &spec)?;
    render::write(context, &lock, &rendered, &folder)?;
    if arguments.engine != Engine::Native {
        let engine = arguments.engine;
        let lock = restrict(lock, &platforms);
        let references = engines::build(context, &outside, engine, repository.as_ref(), &spec, &lock, &folder)?;
        match arguments.format {
            Format::Json => {
                print_json(&serde_json::json!({"status": "ok", "folder": folder, "references": references}));
            }
            Format::Text => references.last().iter().for_each(|reference| print(reference)),
        }
        return Ok(0);
    }
    let push_to = match repository {
        Some(repository) => {
            let recipe = wanted.recipe(&spec, &lock, rendered)?;
            Some(PushTo { repository, recipe, reuse: !arguments.no_reuse, keep: arguments.load })
        }
        None => None,
    };
    let mut built = assemble_all(context, &outside, &spec, &lock, &platforms, &folder, push_to.as_ref())?;
    if arguments.load {
        load(context, &outside, &built)?;
    }
    let published = publish_all(context, &outside, &spec, &mut built, push_to.as_ref(), &attest)?;
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

/// Whether the spec is for all platforms that are wanted: a build that cannot end well should not start.
fn check_offered(context: &Context, spec: &Spec, wanted: &[String]) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    let offered = platforms_of(spec, context.catalog()?)?;
    let is_offered = |text: &&String| text.parse().is_ok_and(|platform: Platform| offered.contains(&platform));
    match wanted.iter().find(|text| !is_offered(text)) {
        Some(wanted) => Err(Error::NotOffered { wanted: wanted.clone(), offered }.into()),
        None => Ok(()),
    }
}

/// The platforms of a lock that are wanted; all if none is named.
pub(super) fn chosen(lock: &Lock, wanted: &[String]) -> Result<Vec<Platform>, Failure> {
    if wanted.is_empty() {
        return Ok(lock.platforms.iter().map(|locked| locked.name).collect());
    }
    let mut platforms = Vec::new();
    for text in wanted {
        let platform: Option<Platform> = text.parse().ok();
        let found = lock.platforms.iter().find(|locked| Some(locked.name) == platform);
        let found = found.ok_or_else(|| Error::NotLocked {
            wanted: text.clone(),
            locked: lock.platforms.iter().map(|locked| format!("`{}`", locked.name)).collect(),
        })?;
        if !platforms.contains(&found.name) {
            platforms.push(found.name);
        }
    }
    Ok(platforms)
}

/// The lock with these of its platforms only: no longer the one on disk, so nothing may name it by its digest.
pub(super) fn restrict(mut lock: Lock, platforms: &[Platform]) -> Lock {
    lock.platforms.retain(|locked| platforms.contains(&locked.name));
    lock
}

/// Where to push: `--repository`, else the spec's.
pub(super) fn repository(asked: Option<&str>, spec: &Spec) -> Result<Reference, Failure> {
    let text = asked.or_else(|| spec.image.repository.as_ref().map(|repository| repository.value.as_str()));
    let text = text.ok_or(Error::NoRepository)?;
    Ok(parse_reference(text).map_err(|cause| Error::Repository { text: text.to_owned(), cause: cause.to_string() })?)
}

/// The time of every file and of the image: `SOURCE_DATE_EPOCH`, else the default.
fn created() -> Result<u64, Failure> {
    Ok(source_date_epoch()?.unwrap_or(Moment::DEFAULT.seconds()))
}

/// `SOURCE_DATE_EPOCH`, if it is set.
pub(super) fn source_date_epoch() -> Result<Option<u64>, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => {
            let seconds = text.parse().ok().filter(|&seconds| seconds <= Moment::LAST.seconds());
            Ok(Some(seconds.ok_or(Error::SourceDateEpoch(text))?))
        }
        _ => Ok(None),
    }
}

/// The image of the spec, then those of its services. With `push_to`, their blobs are in the registry when this returns, and
/// nothing refers to them yet.
pub(super) fn assemble_all(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    lock: &Lock,
    platforms: &[Platform],
    folder: &Path,
    push_to: Option<&PushTo>,
) -> Result<Vec<Built>, Failure> {
    // The label of images names the lock on disk, whichever of its platforms are built.
    let lock_digest = lock.digest();
    let project = Project { folder: &spec.folder, output: Some(folder) };
    let order = |lock| Order { lock, lock_digest, platforms, project };
    let layouts = output::LAYOUTS.map(|layout| folder.join(layout));
    let target = push_to.map(|to| PushTarget { to, repository: to.repository.clone(), before: None });
    let mut built = vec![assemble_one(context, outside, &order(lock), &layouts, target)?];
    if let Some(server) = mlflow_lock(lock) {
        let [first, second] = layouts;
        let target = push_to.map(|to| PushTarget {
            to,
            repository: beside(&to.repository, &lock.name, &server.name),
            before: built.first(),
        });
        let second = assemble_one(context, outside, &order(&server), &[second, first], target)?;
        built.push(second);
    }
    Ok(built)
}

/// What is made: a lock's image, for these of its platforms.
struct Order<'a> {
    lock: &'a Lock,
    /// Of the lock on disk, from which that of a service is derived.
    lock_digest: Digest,
    platforms: &'a [Platform],
    project: Project<'a>,
}

/// Where one image goes.
struct PushTarget<'a> {
    to: &'a PushTo,
    repository: Reference,
    /// Another image of this build, which went to `to` and shares layers with it.
    before: Option<&'a Built>,
}

/// One image, in the first of the layouts; layers that the others have are shared.
fn assemble_one(
    context: &Context,
    outside: &Outside,
    order: &Order<'_>,
    layouts: &[PathBuf; 2],
    target: Option<PushTarget<'_>>,
) -> Result<Built, Failure> {
    let Order { lock, lock_digest, platforms, project } = *order;
    let Outside { registries, store, .. } = outside;
    let [layout, others @ ..] = layouts;
    let blobs = layout.join("blobs/sha256");
    let others: Vec<PathBuf> = others.iter().map(|other| other.join("blobs/sha256")).collect();
    std::fs::create_dir_all(&blobs).map_err(|source| Error::Io { action: "create", path: blobs.clone(), source })?;
    let waiting = || context.progress.say(format!("waiting for another build into `{}`", layout.display()));
    let held =
        Layout::hold(layout, waiting).map_err(|source| Error::Io { action: "lock", path: layout.clone(), source })?;
    let upload = target.as_ref().map(|target| {
        let mount_from: Vec<Reference> = target.before.iter().map(|_| target.to.repository.clone()).collect();
        let to = publish::registry::Target {
            repository: &target.repository,
            tags: &lock.image.tags,
            immutable_tags: &lock.image.immutable_tags,
            mount_from: &mount_from,
        };
        let upload = Upload::begin(registries, store, &to, &context.progress);
        target.to.recipe.iter().flat_map(attach::Recipe::documents).for_each(|document| upload.ahead(document));
        upload
    });
    let outlet = upload.as_ref().map(|upload| ToRegistry { upload, progress: &context.progress });
    let mut cache = LayerCache::new(store, &blobs).beside(&others);
    if let (Some(outlet), Some(PushTarget { to: PushTo { keep: false, .. }, .. })) = (&outlet, &target) {
        cache = cache.through(outlet);
    }
    let send = |layer: &Layer| upload.iter().for_each(|upload| upload.layer(layer));
    let to = target.as_ref().zip(upload.as_ref());
    let mut images = Vec::new();
    for platform in lock.platforms.iter().filter(|locked| platforms.contains(&locked.name)) {
        let plan = Plan::from_lock(lock, platform, lock_digest, project.folder);
        let base = base_image(outside, platform)?;
        let recipe = recipe(context, outside, &plan, base.as_ref(), order, &cache, to)?;
        // Not before it is known what the repository has.
        base.iter().flat_map(|base| &base.layers).for_each(send);
        let wanted = recipe.wanted(store);
        let mut materials = materials(context, outside, platform, base.as_ref(), &wanted)?;
        materials.compiler = compilers::compiler(context, outside, lock, wanted.compiler)?;
        let task =
            context.progress.task(format!("assembling `{}` for {}", lock.name, platform.name), Some(recipe.work()));
        // Looking at the wheels takes a while, and a processor is free when the last layer is being made.
        let (image, findings) = thread::scope(|scope| {
            let findings = scope.spawn(|| findings::find(&plan, &materials, store));
            let image = steps::assemble(&recipe, &materials, &cache, store, &task, &send);
            (image, findings.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let image = image.map_err(|error| damaged(store, platform).map_or_else(|| error.into(), Failure::from))?;
        let (layers, size) = (image.layers.len(), human_bytes(image.layers_size()));
        let there = match recipe.in_registry() {
            0 => String::new(),
            count => format!(", {count} of them in the registry already"),
        };
        task.done(format!("assembled `{}` for {}: {layers} layers, {size}{there}", lock.name, platform.name));
        report(context, &image, &findings?);
        report_skipped(context, materials.compiler.as_ref());
        images.push(image);
    }
    if let Some(upload) = &upload {
        upload.settle()?;
    }
    let is_here = |layer: &Layer| matches!(layer.source, LayerSource::File(_));
    let whole = images.iter().flat_map(|image| &image.layers).all(is_here);
    let tag = lock.image.tags.first().map_or("latest", String::as_str);
    // Nothing is downloaded for a layout that nobody asked for.
    let (digest, layout) = if whole || upload.is_none() {
        let digest = publish::layout::write(registries, store, &images, layout, tag, &context.progress)?;
        (digest, Some(layout.to_owned()))
    } else {
        (Layout::digest_of(&images), None)
    };
    Ok(Built { name: lock.name.clone(), lock: lock.clone(), images, digest, layout, upload, _held: held })
}

/// The recipe of a plan, which knows the layers that are here and those that the target has.
fn recipe<'p>(
    context: &Context,
    outside: &Outside,
    plan: &'p Plan,
    base: Option<&Base>,
    order: &Order<'_>,
    cache: &LayerCache<'_>,
    target: Option<(&PushTarget<'_>, &Upload)>,
) -> Result<Recipe<'p>, Failure> {
    let Order { lock, project, .. } = *order;
    let Outside { registries, store, .. } = outside;
    let mut published = PublishedLayers::default();
    let before = target.and_then(|(target, _)| target.before);
    let target = target.filter(|(target, _)| target.to.reuse);
    if let Some((PushTarget { repository, .. }, _)) = target {
        // A tag with the digest in it is that of no earlier image.
        for tag in lock.image.tags.iter().filter(|tag| is_tag(tag)) {
            let (registry, repository) = (repository.registry().to_owned(), repository.repository().to_owned());
            let reference = Reference::with_tag(registry, repository, tag.clone());
            match PublishedLayers::read(registries, store, &reference, plan.platform) {
                Ok(found) => published = found,
                // Whoever may not read may still write; what cannot be reached fails when the push begins.
                Err(error) => context.progress.detail(format!("no layers are taken from `{reference}`: {error}")),
            }
            if !published.is_empty() {
                break;
            }
        }
    }
    if let Some(before) = before {
        published.add(&before.images, plan.platform);
    }
    let mut recipe = Recipe::new(plan, base, project, created()?, cache, &published)?;
    if let Some((PushTarget { repository, .. }, upload)) = target {
        let mount = |layer: &KnownLayer| upload.mount(&layer.digest, layer.size);
        published.confirm(registries, repository, &recipe.remembered(cache), mount)?;
        recipe.find_again(cache, &published);
    }
    Ok(recipe)
}

/// When assembling failed: the files in the cache that are no longer what the lock names, which explains it.
pub(super) fn damaged(store: &Store, platform: &LockedPlatform) -> Option<Error> {
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

/// Modules that have no byte-code: nothing that anybody must act upon.
fn report_skipped(context: &Context, compiler: Option<&Compiler>) {
    let Some(compiler) = compiler else { return };
    let skipped = compiler.skipped();
    for (wheel, count) in &skipped {
        context.progress.detail(format!("note: {count} modules of `{wheel}` do not compile"));
    }
    if let count @ 1.. = skipped.values().sum::<usize>() {
        let release = compiler.release();
        context.progress.say(format!("note: {count} modules are not Python {release}, and stay as they are"));
    }
}

/// The base of a platform, unless it is made of packages: config and addresses of its layers.
pub(super) fn base_image(outside: &Outside, platform: &LockedPlatform) -> Result<Option<Base>, Failure> {
    let Some(reference) = &platform.base.reference else { return Ok(None) };
    let pinned = pinned(reference, platform.base.digest)?;
    Ok(Some(base::resolve(&outside.registries, &outside.store, &pinned, platform.name)?))
}

/// Brings what is wanted of a platform's inputs into the store.
pub(super) fn materials<'a>(
    context: &'a Context,
    outside: &'a Outside,
    platform: &LockedPlatform,
    base: Option<&'a Base>,
    wanted: &Wanted,
) -> Result<Materials<'a>, Failure> {
    let Outside { http, store, registries, index, .. } = outside;
    let mut materials = Materials { base, ..Materials::default() };
    if let Some(base) = base.filter(|_| wanted.base_files) {
        materials.base_files = Some(Box::new(move || {
            let task = context.progress.task(format!("reading files of the base `{}`", base.reference), None);
            let mut advance = |bytes| task.advance(bytes);
            base::read_files(registries, store, base, &BASE_FILES, base::FileLimits::default(), &mut advance)
        }));
    }
    if wanted.debs && !platform.debs.is_empty() {
        let archives = archives::every(outside)?;
        let (debs, states) = (&platform.debs, &platform.archives);
        materials.debs = debian::fetch(debs, states, &archives, http, store, &context.progress)?;
    }
    let wheels: Vec<_> = wanted.wheels.iter().collect();
    let paths = index.download_all(&wheels, &context.progress)?;
    materials.wheels = wheels.iter().map(|wheel| wheel.digest).zip(paths).collect();
    Ok(materials)
}

fn pinned(reference: &str, digest: Option<Digest>) -> Result<Reference, Failure> {
    let bad = |cause| Error::Repository { text: reference.to_owned(), cause };
    let parsed = parse_reference(reference).map_err(|cause| bad(cause.to_string()))?;
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
        let tags = with_digest(&image.lock.image.tags, &image.digest);
        let names: Vec<String> = tags.iter().map(|tag| format!("{name}:{tag}")).collect();
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

/// Completes the pushes that have begun: manifests, then tags, then what is attached to them.
pub(super) fn publish_all(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    built: &mut [Built],
    push_to: Option<&PushTo>,
    attest: &Attest,
) -> Result<Vec<Published>, Failure> {
    let Some(push_to) = push_to else { return Ok(Vec::new()) };
    let documents = attestations::documents(context, outside, spec, built, attest)?;
    let mut done = Vec::new();
    for (image, documents) in built.iter_mut().zip(&documents) {
        if let Some(upload) = image.upload.take() {
            documents.bytes().for_each(|document| upload.ahead(document));
            done.push(upload.publish(&image.images)?);
        }
    }
    attach::attach(context, outside, push_to.recipe.as_ref(), &documents, built, &mut done)?;
    attestations::finish(context, outside, built, &documents, &mut done, attest)?;
    Ok(done)
}

/// The repository of an image beside that of the main one: `ml/churn` has `ml/churn-mlflow` beside it.
pub(super) fn beside(repository: &Reference, main: &str, image: &str) -> Reference {
    let name = format!("{}{}", repository.repository(), image.strip_prefix(main).unwrap_or_default());
    Reference::with_tag(repository.registry().to_owned(), name, "latest".to_owned())
}
