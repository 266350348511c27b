//! Images that an argument names, in a registry or in a folder, each with the lock that it was made from if that is known.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Failure, Hint};
use crate::lock::Lock;
use crate::oci::{Digest, Reference};
use crate::render::mlflow_lock;
use crate::share::bundle;
use crate::share::{Error as ShareError, Image};

use super::Context;
use super::outside::Outside;

/// Folders above a layout in which the lock is looked for: `generated/NAME/services/mlflow/oci` lies five deep.
const LOCK_ABOVE: usize = 5;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[error("there is no image in `{0}`")]
pub(super) struct NoLayout(PathBuf);

impl Hint for NoLayout {
    fn help(&self) -> Vec<String> {
        vec![
            "name an image in a registry, a folder in the OCI image layout, or a spec that was built".to_owned(),
            "a push leaves none here: name what it printed, or run `imgforge build` without `--push`".to_owned(),
        ]
    }
}

/// An image, and its lock: the environment's own, or the one derived for its service.
pub(super) struct Found {
    pub(super) image: Image,
    pub(super) lock: Option<Lock>,
}

/// An image in a registry, with the lock of its recipe.
pub(super) fn pulled(context: &Context, outside: &Outside, reference: &Reference) -> Result<Found, Failure> {
    let image = Image::read(&outside.registries, reference)?;
    let lock = match bundle::attached(&outside.registries, &image, None) {
        Ok(recipe) if recipe.is_main() => Some(recipe.lock),
        Ok(recipe) => mlflow_lock(&recipe.lock),
        Err(ShareError::NoRecipe { .. }) => None,
        Err(error) => {
            context.progress.say(format!("warning: the lock of `{}` is not known: {error}", image.name));
            None
        }
    };
    Ok(Found { image, lock })
}

/// The layout in a folder, or in its `oci`.
pub(super) fn layout_in(folder: &Path) -> Option<PathBuf> {
    [folder.to_owned(), folder.join("oci")].into_iter().find(|layout| layout.join("index.json").is_file())
}

/// The image in a folder. Its lock is looked for beside `spec`, and in the folders above.
pub(super) fn built(folder: &Path, spec: &Path) -> Result<Found, Failure> {
    let layout = layout_in(folder).ok_or_else(|| NoLayout(folder.to_owned()))?;
    let image = Image::open(&layout)?;
    let lock = image.lock_digest().and_then(|digest| lock_of(spec, &layout, &digest));
    let lock = lock.and_then(|lock| match image.label("org.opencontainers.image.title") {
        Some(title) if title != lock.name => mlflow_lock(&lock).filter(|server| server.name == title),
        _ => Some(lock),
    });
    Ok(Found { image, lock })
}

/// The lock of that address: beside the spec, or in a folder above the layout.
fn lock_of(spec: &Path, layout: &Path, digest: &Digest) -> Option<Lock> {
    let layout = layout.canonicalize().ok()?;
    let above = layout.ancestors().skip(1).take(LOCK_ABOVE).map(|folder| folder.join("imgforge.lock"));
    let candidates = std::iter::once(Lock::path_for(spec)).chain(above);
    candidates.filter_map(|path| Lock::read(&path).ok().flatten()).find(|lock| lock.digest() == *digest)
}
