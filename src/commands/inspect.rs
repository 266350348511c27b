//! `imgforge inspect`: what is in an image, where it came from, what is attached to it. Any image can be looked at; of those
//! that imgforge made, the lock that came along tells how large each package is.

use std::path::Path;

use crate::cli::{InspectArgs, InspectFormat};
use crate::diagnostic::{Failure, Hint};
use crate::progress::human_bytes;
use crate::publish::registry::Attachment;
use crate::share::overview::{Entry, Overview, PlatformView};
use crate::share::{Image, page};
use crate::spec::Spec;

use super::images::{self, Found};
use super::named::Named;
use super::output::output_folder;
use super::outside::Outside;
use super::{Context, print, print_json};

/// Packages that are named as the largest.
const LARGEST: usize = 10;

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
#[error("the page cannot be made: {0}")]
struct PageError(tera::Error);

impl Hint for PageError {
    fn help(&self) -> Vec<String> {
        vec!["this is a defect of imgforge: please report it with the image".to_owned()]
    }
}

pub(super) fn run(context: &Context, arguments: &InspectArgs) -> Result<u8, Failure> {
    let overview = match Named::find(&arguments.image)? {
        Named::Path(path) => {
            let Found { image, lock } = images::built(&folder_of(&path)?, &path)?;
            Overview::new(&image, lock.as_ref(), &[])
        }
        Named::Image(reference) => {
            let outside = Outside::without_spec(context)?;
            let Found { image, lock } = images::pulled(context, &outside, &reference)?;
            Overview::new(&image, lock.as_ref(), &attached(&outside, &image)?)
        }
    };
    match arguments.format {
        InspectFormat::Json => print_json(&serde_json::to_value(&overview).unwrap_or_default()),
        InspectFormat::Html => print(&page::render(&overview).map_err(PageError)?),
        InspectFormat::Text => print(&to_text(&overview)),
    }
    Ok(0)
}

/// What is attached to an image, or to those of its platforms.
fn attached(outside: &Outside, image: &Image) -> Result<Vec<Attachment>, Failure> {
    let mut attached = Vec::new();
    let Some(reference) = &image.reference else { return Ok(attached) };
    let mut subjects = vec![image.subject.digest];
    subjects.extend(image.images.iter().map(crate::oci::AssembledImage::digest));
    subjects.dedup();
    for subject in subjects {
        for referrer in outside.registries.referrers(reference, &subject)? {
            let artifact_type = referrer.artifact_type.unwrap_or(referrer.media_type);
            attached.push(Attachment { artifact_type, digest: referrer.digest, subject });
        }
    }
    Ok(attached)
}

/// The folder that is named, or that `build` would write for a spec.
fn folder_of(path: &Path) -> Result<std::path::PathBuf, Failure> {
    match path.is_dir() {
        true => Ok(path.to_owned()),
        false => Ok(output_folder(None, &Spec::load(path)?.name.value)),
    }
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
