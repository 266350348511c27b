//! `imgforge diff`: what changes between two locks or two images, in versions and in bytes.
//!
//! A published image is compared as its layers, and with the lock of its recipe as the decision behind them; an image and a
//! lock are compared as two locks. Bytes are those of the files or the layers named, and `new` are those that a machine which
//! has everything of A must still fetch for B. Exit code 0 whether they differ or not, as a pager or a script wants it;
//! `--exit-code` makes it 1 where they do, as `git diff` has it.

mod changes;
mod layers;
mod locks;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::{DiffArgs, Format};
use crate::diagnostic::{Failure, Hint};
use crate::lock::Lock;
use crate::oci::Digest;
use crate::progress::human_bytes;
use crate::share::Image;

use super::images::{self, Found};
use super::named::Named;
use super::outside::Outside;
use super::{Context, print, print_json};

/// Why an argument cannot be compared.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The spec or the folder has no lock beside it.
    #[error("there is no lock at `{path}`")]
    NoLock {
        /// Where it should be.
        path: PathBuf,
        /// The spec, if that is what was named.
        spec: Option<PathBuf>,
    },
    /// An image without a recipe stands against a lock.
    #[error("the lock of `{image}` is not known, so that it cannot be compared with another lock")]
    NoRecipe {
        /// The image by digest.
        image: String,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NoLock { spec: Some(spec), .. } => vec![format!("run `imgforge lock {}` first", spec.display())],
            Self::NoLock { spec: None, .. } => vec!["run `imgforge lock SPEC` first".to_owned()],
            Self::NoRecipe { .. } => vec!["name two images: their layers can be compared".to_owned()],
        }
    }
}

/// Bytes of everything before and after, and of what is in the second alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bytes {
    before: u64,
    after: u64,
    new: u64,
}

impl Bytes {
    /// Of files or layers by their addresses.
    fn between(before: &BTreeMap<Digest, u64>, after: &BTreeMap<Digest, u64>) -> Self {
        let new = after.iter().filter(|(digest, _)| !before.contains_key(digest)).map(|(_, size)| size);
        Self { before: before.values().sum(), after: after.values().sum(), new: new.sum() }
    }

    fn to_json(self) -> Value {
        json!({"before": self.before, "after": self.after, "new": self.new})
    }

    fn to_text(self, what: &str, verb: &str) -> String {
        let [before, after, new] = [self.before, self.after, self.new].map(human_bytes);
        format!("{what}: {before} before, {after} after; {new} to {verb} for whoever has the first")
    }
}

pub(super) fn run(context: &Context, arguments: &DiffArgs) -> Result<u8, Failure> {
    let answer = Answer::of(context, &read(context, &arguments.a)?, &read(context, &arguments.b)?)?;
    match arguments.format {
        Format::Json => print_json(&answer.to_json()),
        Format::Text => print(&answer.to_text()),
    }
    Ok(u8::from(arguments.exit_code && !answer.is_same()))
}

/// What an argument names.
struct Side {
    /// As the answer calls it.
    name: String,
    lock: Option<Lock>,
    image: Option<Image>,
}

impl Side {
    fn of(Found { image, lock }: Found) -> Self {
        Self { name: image.name.clone(), lock, image: Some(image) }
    }
}

/// An image in a registry or a folder, or a lock: the file itself, or the one beside a spec or in a folder.
fn read(context: &Context, argument: &str) -> Result<Side, Failure> {
    let argument = match Named::find(argument)? {
        Named::Image(reference) => {
            let outside = Outside::without_spec(context)?;
            return Ok(Side::of(images::pulled(context, &outside, &reference)?));
        }
        Named::Path(path) => path,
    };
    let is_spec = argument.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let path = match (argument.is_dir(), is_spec) {
        (true, _) => argument.join("imgforge.lock"),
        (false, true) => Lock::path_for(&argument),
        (false, false) => argument.clone(),
    };
    if !path.exists() && images::layout_in(&argument).is_some() {
        return Ok(Side::of(images::built(&argument, &argument)?));
    }
    match Lock::read(&path)? {
        Some(lock) => Ok(Side { name: path.display().to_string(), lock: Some(lock), image: None }),
        None => Err(Error::NoLock { path, spec: is_spec.then_some(argument) }.into()),
    }
}

/// What differs.
struct Answer {
    names: [String; 2],
    /// What the environments consist of; none if that of an image is not known.
    environment: Option<locks::Difference>,
    /// If both are images.
    images: Option<layers::Difference>,
}

impl Answer {
    fn of(context: &Context, a: &Side, b: &Side) -> Result<Self, Failure> {
        let environment = match (&a.lock, &b.lock, &a.image, &b.image) {
            (Some(before), Some(after), ..) => Some(locks::Difference::between(before, after)),
            (_, _, Some(before), Some(after)) => {
                let unknown = [a, b].into_iter().find(|side| !side.image.as_ref().is_some_and(layers::is_described));
                if let Some(side) = unknown {
                    let note =
                        format!("note: imgforge did not make `{}`, so that its packages are not known", side.name);
                    context.progress.say(note);
                }
                unknown.is_none().then(|| layers::packages_between(before, after))
            }
            _ => {
                let image = if a.lock.is_none() { &a.name } else { &b.name };
                return Err(Error::NoRecipe { image: image.clone() }.into());
            }
        };
        let images = match (&a.image, &b.image) {
            (Some(before), Some(after)) => Some(layers::Difference::between(before, after)),
            _ => None,
        };
        Ok(Self { names: [a.name.clone(), b.name.clone()], environment, images })
    }

    /// Images with the same digest are the same, whatever lies beside them.
    fn is_same(&self) -> bool {
        match &self.images {
            Some(images) => images.is_same(),
            None => self.environment.as_ref().is_some_and(locks::Difference::is_empty),
        }
    }

    fn to_json(&self) -> Value {
        let [a, b] = &self.names;
        let mut answer = json!({"status": if self.is_same() { "same" } else { "different" }, "a": a, "b": b});
        if let Some(members) = answer.as_object_mut() {
            members.extend(self.environment.iter().flat_map(locks::Difference::to_json));
            members.extend(self.images.iter().flat_map(layers::Difference::to_json));
        }
        answer
    }

    fn to_text(&self) -> String {
        if self.is_same() {
            return "no difference".to_owned();
        }
        let mut blocks: Vec<String> = self.environment.iter().flat_map(locks::Difference::to_blocks).collect();
        match (&self.images, &self.environment) {
            (Some(images), _) => blocks.extend(images.to_blocks()),
            (None, Some(locks::Difference { bytes: Some(bytes), .. })) => blocks.push(bytes.to_text("files", "fetch")),
            (None, _) => {}
        }
        blocks.join("\n\n")
    }
}
