//! `imgforge inspect`: what is in an image, where it came from, what is attached to it. Any image can be looked at; of those
//! that imgforge made, the lock that came along tells how large each package is.

use std::path::{Path, PathBuf};

use crate::cli::{InspectArgs, InspectFormat};
use crate::diagnostic::{Failure, Hint};
use crate::lock::Lock;
use crate::oci::Digest;
use crate::progress::human_bytes;
use crate::publish::registry::Attachment;
use crate::render::mlflow_lock;
use crate::share::bundle;
use crate::share::overview::{Entry, Overview, PlatformView};
use crate::share::{Error as ShareError, Image, page};
use crate::spec::Spec;

use super::build::output_folder;
use super::named::Named;
use super::outside::Outside;
use super::{Context, print, print_json};

/// Packages that are named as the largest.
const LARGEST: usize = 10;
/// Folders above a layout in which the lock is looked for: `generated/NAME/services/mlflow/oci` lies five deep.
const LOCK_ABOVE: usize = 5;

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("there is no image in `{0}`")]
    NoLayout(PathBuf),
    #[error("the page cannot be made: {0}")]
    Page(tera::Error),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NoLayout(_) => vec![
                "name an image in a registry, a folder in the OCI image layout, or a spec that was built".to_owned(),
            ],
            Self::Page(_) => vec!["this is a defect of imgforge: please report it with the image".to_owned()],
        }
    }
}

pub(super) fn run(context: &Context, arguments: &InspectArgs) -> Result<u8, Failure> {
    let overview = match Named::find(&arguments.image)? {
        Named::Path(path) => of_layout(&path)?,
        Named::Image(reference) => {
            let outside = Outside::without_spec(context)?;
            let image = Image::read(&outside.registries, &reference)?;
            of_registry(context, &outside, &image)?
        }
    };
    match arguments.format {
        InspectFormat::Json => print_json(&serde_json::to_value(&overview).unwrap_or_default()),
        InspectFormat::Html => print(&page::render(&overview).map_err(Error::Page)?),
        InspectFormat::Text => print(&to_text(&overview)),
    }
    Ok(0)
}

/// An image in a registry, with what is attached to it or to the images of its platforms.
fn of_registry(context: &Context, outside: &Outside, image: &Image) -> Result<Overview, Failure> {
    let mut attached = Vec::new();
    if let Some(reference) = &image.reference {
        let mut subjects = vec![image.subject.digest];
        subjects.extend(image.images.iter().map(crate::oci::AssembledImage::digest));
        subjects.dedup();
        for subject in subjects {
            for referrer in outside.registries.referrers(reference, &subject)? {
                let artifact_type = referrer.artifact_type.unwrap_or(referrer.media_type);
                attached.push(Attachment { artifact_type, digest: referrer.digest });
            }
        }
    }
    let lock = match bundle::attached(&outside.registries, image, None) {
        Ok(recipe) if recipe.is_main() => Some(recipe.lock),
        Ok(recipe) => mlflow_lock(&recipe.lock),
        Err(ShareError::NoRecipe { .. }) => None,
        Err(error) => {
            context.progress.say(format!("warning: sizes of packages are not known: {error}"));
            None
        }
    };
    Ok(Overview::new(image, lock.as_ref(), &attached))
}

/// An image in a folder: a layout, what `build` wrote, or what it would write for a spec.
fn of_layout(path: &Path) -> Result<Overview, Failure> {
    let folder = match path.is_dir() {
        true => path.to_owned(),
        false => output_folder(None, &Spec::load(path)?.name.value),
    };
    let layouts = [folder.clone(), folder.join("oci")];
    let layout = layouts.into_iter().find(|layout| layout.join("index.json").is_file());
    let layout = layout.ok_or(Error::NoLayout(folder))?;
    let image = Image::open(&layout)?;
    let lock = image.lock_digest().and_then(|digest| lock_of(path, &layout, &digest));
    let lock = lock.and_then(|lock| match image.label("org.opencontainers.image.title") {
        Some(title) if title != lock.name => mlflow_lock(&lock).filter(|server| server.name == title),
        _ => Some(lock),
    });
    Ok(Overview::new(&image, lock.as_ref(), &[]))
}

/// The lock of that address: beside the spec, or in a folder above the layout.
fn lock_of(path: &Path, layout: &Path, digest: &Digest) -> Option<Lock> {
    let layout = layout.canonicalize().ok()?;
    let above = layout.ancestors().skip(1).take(LOCK_ABOVE).map(|folder| folder.join("imgforge.lock"));
    let candidates = std::iter::once(Lock::path_for(path)).chain(above);
    candidates.filter_map(|path| Lock::read(&path).ok().flatten()).find(|lock| lock.digest() == *digest)
}

fn to_text(overview: &Overview) -> String {
    let mut lines = vec![overview.reference.clone(), String::new()];
    let row = |name: &str, value: &str| format!("{name:<11} {value}");
    lines.push(row("name", &overview.name));
    lines.extend(overview.stack.iter().map(|Entry { name, value }| row(name, value)));
    if !overview.targets.is_empty() {
        lines.push(row("made for", &overview.targets.join(", ")));
    }
    if let Some(lock) = &overview.lock {
        lines.push(row("lock", &lock.to_string()));
    }
    for one in &overview.attached {
        lines.push(row("attached", &format!("{} {}", one.what.unwrap_or(&one.artifact_type), one.digest)));
    }
    for platform in &overview.platforms {
        lines.push(String::new());
        lines.extend(platform_lines(platform, &row));
    }
    if !overview.other_platforms.is_empty() {
        lines.push(format!("\nit also exists for {}", overview.other_platforms.join(", ")));
    }
    lines.join("\n")
}

fn platform_lines(platform: &PlatformView, row: &dyn Fn(&str, &str) -> String) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} in {} layers, {}",
        platform.platform,
        human_bytes(platform.size),
        platform.layers.len(),
        platform.digest
    )];
    lines.extend(platform.base.as_ref().map(|base| row("base", &base.name)));
    lines.extend(platform.run.iter().map(|Entry { name, value }| row(name, value)));
    for layer in &platform.layers {
        let summary: String = page::summary(layer).chars().take(90).collect();
        lines.push(format!("{:>11}  {:<7} {summary}", human_bytes(layer.size), layer.kind).trim_end().to_owned());
    }
    let largest: Vec<String> = platform
        .packages()
        .into_iter()
        .filter_map(|package| Some(format!("{:>11}  {} {}", human_bytes(package.size?), package.name, package.version)))
        .collect();
    if largest.len() > 1 {
        lines.push("largest packages, by their share of their layer:".to_owned());
        lines.extend(largest.into_iter().take(LARGEST));
    }
    lines
}
