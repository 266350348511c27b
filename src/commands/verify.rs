//! `imgforge verify`: an image made again from the recipe that came with it, and compared layer by layer.
//!
//! Nothing is taken from the image but what has no other source: the time of its files, and the project's files, unless a
//! checkout is given. Packages come from where the lock says they come from. Every layer is made here, whatever the cache
//! remembers of it, and bytes that are as in the image are not kept.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::assemble::files::Project;
use crate::assemble::layers::LayerCache;
use crate::assemble::published::Published;
use crate::assemble::recipe::Recipe;
use crate::assemble::steps;
use crate::attest::PublicKey;
use crate::attest::signature::Found;
use crate::cli::{Format, VerifyArgs};
use crate::diagnostic::{Failure, Hint};
use crate::lock::{LAYER_FORMAT, Lock, Moment};
use crate::oci::layout::Layout;
use crate::oci::{AssembledImage, Digest, Layer, LayerSource, Platform};
use crate::plan::Plan;
use crate::progress::human_bytes;
use crate::render::mlflow_lock;
use crate::share::bundle::{self, Attached};
use crate::share::compare::{Comparison, Field, Pair};
use crate::share::contents::Difference;
use crate::share::{Error as ShareError, Image};
use crate::store::UnfinishedFolder;

use super::build::{base_image, damaged, materials};
use super::outside::Outside;
use super::stage::{Files, stage, tell_others};
use super::{Context, compilers, named, print, print_json, signatures};

/// Files that are named of a layer that differs.
const NAMED: usize = 10;

/// Why an image cannot be made again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the image has no platform `{wanted}`")]
    NoPlatform { wanted: String, available: Vec<String> },
    #[error("the image was made by the rules of layer format {made}, and this program makes layers by {known}")]
    LayerFormat { made: u32, known: u32 },
    #[error("the lock has no platform `{0}`, and the image has")]
    NotLocked(Platform),
    #[error("the image does not say when it was made")]
    NoTime,
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NoPlatform { available, .. } => vec![format!("it has {}", available.join(", "))],
            Self::LayerFormat { .. } => vec!["verify it with a version of imgforge that has those rules".to_owned()],
            Self::NotLocked(_) | Self::NoTime => vec!["the recipe is not that of this image".to_owned()],
        }
    }
}

pub(super) fn run(context: &Context, arguments: &VerifyArgs) -> Result<u8, Failure> {
    let reference = named::reference(&arguments.reference)?;
    let wanted = arguments.recipe.as_deref().map(named::digest).transpose()?;
    let key = arguments.key.as_deref().map(PublicKey::read).transpose()?;
    let outside = Outside::without_spec(context)?;
    let image = Image::read(&outside.registries, &reference)?;
    // The image's digest covers all of the recipe that is made again: spec, lock and, by their hashes, packages.
    let signatures = key.as_ref().map(|key| signatures::required(&outside.registries, &image, key)).transpose()?;
    let chosen = choose(&image, &arguments.platforms)?;
    let attached = bundle::attached(&outside.registries, &image, wanted.as_ref())?;
    tell_others(context, &attached);
    if attached.lock.layer_format != LAYER_FORMAT {
        return Err(Error::LayerFormat { made: attached.lock.layer_format, known: LAYER_FORMAT }.into());
    }
    let scratch = outside.store.root().join("tmp");
    let is_whole = attached.is_main() && arguments.project.is_none();
    let files = if is_whole { Files::OfImage } else { Files::Elsewhere };
    let (staging, spec) = stage(context, &outside, &image, &attached, &scratch, files)?;
    let outside = Outside::new(context, &spec)?;
    let project = arguments.project.as_deref().unwrap_or(&spec.folder);

    let mut comparisons = Vec::new();
    let mut made = Vec::new();
    for found in &chosen {
        let again = make_again(context, &outside, &attached, found, project, &scratch)?;
        comparisons.push(Comparison::of(&outside.registries, found, &again.image)?);
        made.push(again.image);
    }
    drop(staging);
    // An index can only be made again as a whole.
    let digest = (chosen.len() == image.images.len()).then(|| Layout::digest_of(&made));
    let is_same = comparisons.iter().all(Comparison::is_same) && digest.is_none_or(|made| made == image.subject.digest);
    let (image, attached, comparisons, signatures) = (&image, &attached, comparisons.as_slice(), signatures.as_deref());
    let report = Report { image, attached, comparisons, digest, is_same, signatures, arguments };
    match arguments.format {
        Format::Json => print_json(&report.to_json()),
        Format::Text => print(&report.to_text()),
    }
    Ok(u8::from(!is_same))
}

/// The images of the wanted platforms; all if none is named.
fn choose<'i>(image: &'i Image, wanted: &[String]) -> Result<Vec<&'i AssembledImage>, Failure> {
    if wanted.is_empty() {
        return Ok(image.images.iter().collect());
    }
    let find = |text: &String| {
        let platform: Option<Platform> = text.parse().ok();
        let found = image.images.iter().find(|one| Some(one.platform) == platform);
        found.ok_or_else(|| Error::NoPlatform {
            wanted: text.clone(),
            available: image.images.iter().map(|one| format!("`{}`", one.platform)).collect(),
        })
    };
    let mut chosen = wanted.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    chosen.retain(|one| seen.insert(one.platform));
    Ok(chosen)
}

/// An image that was made again; its folder holds the layers that are not as in the other.
struct Again {
    image: AssembledImage,
    _folder: UnfinishedFolder,
}

fn make_again(
    context: &Context,
    outside: &Outside,
    attached: &Attached,
    found: &AssembledImage,
    project: &Path,
    scratch: &Path,
) -> Result<Again, Failure> {
    let store = &outside.store;
    let io = |source| ShareError::Io { action: "create a folder in", path: scratch.to_owned(), source };
    let folder = UnfinishedFolder::create(scratch).map_err(io)?;
    let server;
    let lock: &Lock = if attached.is_main() {
        &attached.lock
    } else {
        server = mlflow_lock(&attached.lock).ok_or(Error::NotLocked(found.platform))?;
        &server
    };
    let locked = lock.platforms.iter().find(|locked| locked.name == found.platform);
    let locked = locked.ok_or(Error::NotLocked(found.platform))?;
    let created = created(found).ok_or(Error::NoTime)?.seconds();
    let plan = Plan::from_lock(lock, locked, attached.bundle.lock_digest(), project);
    let base = base_image(outside, locked)?;
    let cache = LayerCache::new(store, folder.path());
    let project = Project { folder: project, output: None };
    let recipe = Recipe::new(&plan, base.as_ref(), project, created, &cache, &Published::default())?;
    let wanted = recipe.wanted(store);
    let mut materials = materials(context, outside, locked, base.as_ref(), &wanted)?;
    materials.compiler = compilers::compiler(context, outside, lock, wanted.compiler)?;
    let task = context.progress.task(format!("making `{}` again for {}", lock.name, locked.name), Some(recipe.work()));
    let known: BTreeSet<Digest> = found.layers.iter().map(|layer| layer.digest).collect();
    let forget = |layer: &Layer| {
        if let (LayerSource::File(path), true) = (&layer.source, known.contains(&layer.digest)) {
            // What cannot be removed now is removed with its folder.
            let _ = std::fs::remove_file(path);
        }
    };
    let image = steps::assemble(&recipe, &materials, &cache, store, &task, &forget)
        .map_err(|error| damaged(store, locked).map_or_else(|| error.into(), Failure::from))?;
    let size = human_bytes(image.layers_size());
    task.done(format!("made `{}` again for {}: {} layers, {size}", lock.name, locked.name, image.layers.len()));
    Ok(Again { image, _folder: folder })
}

/// The time of the image and of all its files.
fn created(image: &AssembledImage) -> Option<Moment> {
    let config: Value = serde_json::from_slice(&image.config).ok()?;
    config.get("created")?.as_str()?.parse().ok()
}

/// What is told at the end.
struct Report<'a> {
    image: &'a Image,
    attached: &'a Attached,
    comparisons: &'a [Comparison],
    /// Of all that was made, if it is as much as the image.
    digest: Option<Digest>,
    is_same: bool,
    /// Of the key that was asked for.
    signatures: Option<&'a [Found]>,
    arguments: &'a VerifyArgs,
}

impl Report<'_> {
    fn project_files(&self) -> Option<&'static str> {
        let has_files = self.attached.is_main() && !self.attached.lock.image.files.is_empty();
        has_files.then_some(if self.arguments.project.is_some() { "checkout" } else { "image" })
    }

    fn to_json(&self) -> Value {
        json!({
            "status": if self.is_same { "same" } else { "different" },
            "reference": self.image.name,
            "digest": self.image.subject.digest,
            "rebuilt": self.digest,
            "recipe": self.attached.digest,
            "signatures": signatures::places(self.signatures),
            "lock": self.attached.bundle.lock_digest(),
            "project_files": self.project_files(),
            "platforms": self.comparisons.iter().map(platform_json).collect::<Vec<_>>(),
        })
    }

    fn to_text(&self) -> String {
        let mut lines = Vec::new();
        let word = if self.is_same { "same" } else { "different" };
        let signed = if self.signatures.is_some() { ", signed by the key" } else { "" };
        lines.push(format!("{word}: {}{signed}", self.image.name));
        for comparison in self.comparisons {
            let Comparison { platform, found, made, layers, config, manifest } = comparison;
            if comparison.is_same() {
                let size = human_bytes(layers.iter().filter_map(Pair::layer).map(|layer| layer.size).sum());
                lines.push(format!("{platform}: {} layers, {size}, as their lock makes them", layers.len()));
                continue;
            }
            lines.push(format!("{platform}: is {found}, and its lock makes {made}"));
            layers.iter().filter(|pair| !pair.is_same()).for_each(|pair| lines.extend(pair_lines(pair)));
            let same = layers.iter().filter(|pair| pair.is_same()).count();
            lines.push(format!("  {same} of {} layers are the same", layers.len()));
            for (document, fields) in [("config", config), ("manifest", manifest)] {
                lines.extend(fields.iter().map(|field| format!("  {document}: {}", field_text(field))));
            }
            if layers.iter().all(Pair::is_same) && config.is_empty() && manifest.is_empty() {
                lines.push("  only the order or the layout of config or manifest differs".to_owned());
            }
        }
        if !self.is_same && self.comparisons.iter().all(Comparison::is_same) {
            lines.push("the index over the platforms is not the one that the platforms make".to_owned());
        }
        if self.project_files() == Some("image") {
            lines.push(
                "(the project's own files were taken from the image: `--project DIR` compares them with a checkout)"
                    .to_owned(),
            );
        }
        lines.join("\n")
    }
}

fn annotation<'l>(layer: &'l Layer, name: &str) -> &'l str {
    layer.annotations.get(&format!("dev.imgforge.layer.{name}")).map_or("", String::as_str)
}

/// The packages that own what differs, each once.
fn packages(differences: &[Difference]) -> BTreeSet<&str> {
    differences.iter().filter_map(|difference| difference.package.as_deref()).collect()
}

fn pair_lines(pair: &Pair) -> Vec<String> {
    let Some(layer) = pair.layer() else { return Vec::new() };
    let (kind, contents) = (annotation(layer, "kind"), annotation(layer, "contents"));
    let shortened: String = match contents.chars().count() {
        0..=80 => contents.to_owned(),
        _ => contents.chars().take(80).chain("…".chars()).collect(),
    };
    let label = format!("  layer {kind} ({shortened})");
    let inside = match (&pair.found, &pair.made, &pair.inside) {
        (Some(found), None, _) => return vec![format!("{label}: only in the image, {}", found.digest)],
        (None, Some(made), _) => return vec![format!("{label}: missing in the image, {}", made.digest)],
        (_, _, None) => {
            let said = pair.said.iter().map(|field| format!("    {}", field_text(field)));
            return std::iter::once(format!("{label}: has the same bytes, and something else is said of it"))
                .chain(said)
                .collect();
        }
        (_, _, Some(inside)) => inside,
    };
    if inside.is_empty() {
        return vec![format!("{label}: has the same files, packed differently")];
    }
    let names: Vec<&str> = packages(inside).into_iter().collect();
    let of = if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) };
    let mut lines = vec![format!("{label}: {} files differ{of}", inside.len())];
    for Difference { path, change, .. } in inside.iter().take(NAMED) {
        let what = match change.name() {
            "content" => "has another content",
            "metadata" => "has another mode, owner or time",
            "missing" => "is missing in the image",
            _ => "is only in the image",
        };
        lines.push(format!("    {path} {what}"));
    }
    if let Some(more @ 1..) = inside.len().checked_sub(NAMED) {
        lines.push(format!("    and {more} more"));
    }
    lines
}

fn field_text(field: &Field) -> String {
    match (&field.found, &field.made) {
        (Some(found), Some(made)) => format!("`{}` is `{found}`, and should be `{made}`", field.name),
        (Some(found), None) => format!("`{}` is `{found}`, and should not be there", field.name),
        (None, made) => format!("`{}` is missing, and should be `{}`", field.name, made.as_deref().unwrap_or_default()),
    }
}

fn platform_json(comparison: &Comparison) -> Value {
    let field = |field: &Field| json!({"name": field.name, "image": field.found, "rebuilt": field.made});
    let fields = |list: &[Field]| list.iter().map(field).collect::<Vec<_>>();
    let layer = |pair: &Pair| {
        let digest = |layer: &Option<Layer>| layer.as_ref().map(|layer| layer.digest);
        let shown = pair.layer();
        let text = |name: &str| shown.map(|layer| annotation(layer, name)).filter(|text| !text.is_empty());
        let files = pair.inside.as_ref().map(|inside| {
            let file =
                |one: &Difference| json!({"path": one.path, "change": one.change.name(), "package": one.package});
            inside.iter().map(file).collect::<Vec<_>>()
        });
        json!({
            "status": if pair.is_same() { "same" } else { "different" },
            "kind": text("kind"),
            "contents": text("contents"),
            "size": shown.map(|layer| layer.size),
            "digest": digest(&pair.found),
            "rebuilt": digest(&pair.made),
            "annotations": fields(&pair.said),
            "packages": pair.inside.as_deref().map(packages),
            "files": files,
        })
    };
    json!({
        "platform": comparison.platform,
        "status": if comparison.is_same() { "same" } else { "different" },
        "digest": comparison.found,
        "rebuilt": comparison.made,
        "layers": comparison.layers.iter().map(layer).collect::<Vec<_>>(),
        "config": fields(&comparison.config),
        "manifest": fields(&comparison.manifest),
    })
}
