//! `imgforge pull`: an environment from a registry into a folder, as `build` would find it.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::attest::PublicKey;
use crate::cli::{Format, PullArgs};
use crate::diagnostic::Failure;
use crate::lock::Lock;
use crate::share::bundle;
use crate::share::place::{Outcome, beside};
use crate::share::{Error, Image};

use super::outside::Outside;
use super::stage::{Files, stage, tell_others};
use super::{Context, named, print, print_json, signatures};

pub(super) fn run(context: &Context, arguments: &PullArgs) -> Result<u8, Failure> {
    let reference = named::reference(&arguments.reference)?;
    let wanted = arguments.recipe.as_deref().map(named::digest).transpose()?;
    let key = arguments.key.as_deref().map(PublicKey::read).transpose()?;
    let outside = Outside::without_spec(context)?;
    let registries = &outside.registries;
    let image = Image::read(registries, &reference)?;
    let signatures = key.as_ref().map(|key| signatures::required(registries, &image, key)).transpose()?;
    let attached = match &key {
        Some(key) => signatures::signed_recipe(registries, &image, wanted.as_ref(), key)?,
        None => bundle::attached(registries, &image, wanted.as_ref())?,
    };
    tell_others(context, &attached);
    if !attached.is_main() && !attached.lock.image.files.is_empty() {
        let (image, main) = (attached.image.clone(), attached.lock.name.clone());
        return Err(Error::OfService { image, main }.into());
    }
    let target = arguments.output.clone().unwrap_or_else(|| PathBuf::from(&attached.lock.name));
    let (staging, _) = stage(context, &outside, &image, &attached, &beside(&target), Files::OfImage)?;
    let bundle = &attached.bundle;
    let files = staging.place(&target, arguments.force, &[&bundle.spec, &bundle.lock])?;
    let spec = target.join(&bundle.spec);
    let folder = spec.with_file_name("generated").join(&attached.lock.name);
    let made_secrets = !attached.lock.services.is_empty()
        && crate::render::ensure_secrets(&folder).map_err(|source| Error::Io {
            action: "write the secrets in",
            path: folder.clone(),
            source,
        })?;
    match arguments.format {
        Format::Json => print_json(&json!({
            "status": "ok",
            "reference": image.name,
            "digest": image.subject.digest,
            "recipe": attached.digest,
            "signatures": signatures::places(signatures.as_deref()),
            "lock": bundle.lock_digest(),
            "name": attached.lock.name,
            "folder": target,
            "spec": spec,
            "files": files.iter().map(|(path, outcome)| json!({"path": path, "outcome": outcome.name()})).collect::<Vec<_>>(),
        })),
        Format::Text => print(&spec.display().to_string()),
    }
    if signatures.is_some() {
        context.progress.say(format!("`{}` and its recipe are signed by the key", image.name));
    }
    let count = |wanted: Outcome| files.values().filter(|outcome| **outcome == wanted).count();
    let changed = count(Outcome::Written) + count(Outcome::Replaced);
    let unchanged = match count(Outcome::Unchanged) {
        0 => String::new(),
        unchanged => format!(", {unchanged} were there already"),
    };
    context.progress.say(format!("wrote {changed} files into `{}`{unchanged}", target.display()));
    if made_secrets {
        context.progress.say(format!("wrote new secrets to `{}`", folder.join(".env").display()));
    }
    say_next(context, &image, &attached.lock, &spec);
    Ok(0)
}

fn say_next(context: &Context, image: &Image, lock: &Lock, spec: &Path) {
    let say = |line: String| context.progress.say(line);
    say(String::new());
    say("next:".to_owned());
    let folder = beside(spec);
    let name = spec.file_name().unwrap_or_default().display();
    say(format!("  cd {} && imgforge build {name}", folder.display()));
    if !lock.services.is_empty() {
        say(format!("  cd {} && imgforge up {name}", folder.display()));
    }
    say(format!("  docker run --rm -it {}", image.name));
    say(format!("  imgforge verify {}", image.name));
}
