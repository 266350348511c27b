//! How a build ends: what stdout gets, and the closing summary for people with the next command to type.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::BuildArgs;
use crate::lock::Lock;
use crate::oci::AssembledImage;
use crate::oci::tag::with_digest;
use crate::progress::human_bytes;
use crate::publish::registry::{Attachment, Published};

use super::build::Built;
use super::{Context, attach};

/// What stdout gets: the reference to use where the image was pushed, else its digest.
pub(super) fn first_line(built: &[Built], published: &[Published]) -> String {
    match published.first() {
        Some(published) => published.reference.whole(),
        None => built.first().map(|built| built.digest.to_string()).unwrap_or_default(),
    }
}

pub(super) fn to_json(built: &[Built], published: &[Published], folder: &Path) -> Value {
    let image = |position: usize, built: &Built| {
        let layers: Vec<Value> = built
            .images
            .iter()
            .flat_map(|image| &image.layers)
            .map(|layer| json!({"digest": layer.digest, "size": layer.size, "annotations": layer.annotations}))
            .collect();
        json!({
            "name": built.name,
            "digest": built.digest,
            "tags": tags(built),
            "layout": built.layout,
            "size": built.images.iter().map(AssembledImage::layers_size).sum::<u64>(),
            "layers": layers,
            "reference": published.get(position).map(|published| published.reference.whole()),
            "stack": published.get(position).and_then(attach::stack_of).map(|stack| stack.whole()),
            "attached": published.get(position).map_or_else(Vec::new, attachments),
        })
    };
    json!({
        "status": "ok",
        "folder": folder,
        "images": built.iter().enumerate().map(|(position, built)| image(position, built)).collect::<Vec<_>>(),
    })
}

/// Tags as they are, or would be, in the registry.
fn tags(built: &Built) -> Vec<String> {
    let image = &built.lock.image;
    [with_digest(&image.tags, &built.digest), with_digest(&image.immutable_tags, &built.digest)].concat()
}

fn attachments(published: &Published) -> Vec<Value> {
    let attachment = |known: &Attachment| {
        let Attachment { artifact_type, digest, subject } = known;
        json!({"type": artifact_type, "digest": digest, "subject": subject})
    };
    published.attached.iter().map(attachment).collect()
}

pub(super) fn say(
    context: &Context,
    arguments: &BuildArgs,
    built: &[Built],
    published: &[Published],
    folder: &Path,
    locked_now: bool,
    started: Instant,
) {
    let say = |line: String| context.progress.say(line);
    say(String::new());
    for (position, image) in built.iter().enumerate() {
        let size: u64 = image.images.iter().map(AssembledImage::layers_size).sum();
        let layers: usize = image.images.iter().map(|image| image.layers.len()).sum();
        if position == 0 {
            for line in stack_lines(&image.lock) {
                say(line);
            }
        }
        say(format!("{:<11} {}", image.name, image.digest));
        let place = image.layout.as_ref().map_or("the registry".to_owned(), |layout| layout.display().to_string());
        say(format!("{:<11} {}, {layers} layers, in {place}", "", human_bytes(size)));
        if let Some(published) = published.get(position) {
            say(format!("{:<11} pushed as {}", "", published.reference.whole()));
            if let Some(stack) = attach::stack_of(published) {
                say(format!("{:<11} its stack: docker compose -f oci://{} up", "", stack.whole()));
            }
        }
    }
    say(format!("done in {:.1} s", started.elapsed().as_secs_f64()));
    say(String::new());
    let output = arguments.output.as_ref().map(|folder| format!(" --output {}", folder.display())).unwrap_or_default();
    let spec = format!("{}{output}", arguments.spec.display());
    if locked_now {
        say(format!("commit `{}` to keep these versions", Lock::path_for(&arguments.spec).display()));
    }
    let has_services = built.first().is_some_and(|built| !built.lock.services.is_empty());
    let next = match (published.first(), arguments.load, has_services) {
        (Some(published), _, _) => format!("docker run --rm -it {}", published.reference.whole()),
        (None, true, true) => format!("imgforge up {spec}"),
        (None, true, false) => {
            let lock = built.first().map(|built| &built.lock);
            let name =
                lock.map(|lock| lock.image.repository.as_ref().unwrap_or(&lock.name).clone()).unwrap_or_default();
            let tag = lock.and_then(|lock| lock.image.tags.first().cloned()).unwrap_or_default();
            format!("docker run --rm -it {name}:{tag}")
        }
        (None, false, _) => format!("imgforge build {spec} --load   (or --push)"),
    };
    say(format!("rendered files are in `{}`; next: {next}", folder.display()));
}

fn stack_lines(lock: &Lock) -> Vec<String> {
    let mut lines = vec![format!("{:<11} {}", "python", lock.stack.python)];
    for framework in &lock.frameworks {
        let with: Vec<String> = framework.with.iter().map(|(name, version)| format!(", {name} {version}")).collect();
        let with = with.concat();
        lines.push(format!("{:<11} {} ({}){with}", framework.package, framework.version, framework.build));
    }
    if let Some(cuda) = &lock.stack.cuda {
        let cudnn = lock.stack.cudnn.as_ref().map(|cudnn| format!(", cuDNN {cudnn}")).unwrap_or_default();
        let driver = lock.stack.driver_minimum.as_ref();
        let driver = driver.map(|driver| format!(", driver {driver} or newer")).unwrap_or_default();
        lines.push(format!("{:<11} {cuda}{cudnn}{driver}", "cuda"));
    }
    if let Some(platform) = lock.platforms.first() {
        lines.push(format!("{:<11} {}", "base", platform.base.reason));
    }
    lines
}
