//! The folder that a build writes to. What somebody else put there is refused before any work is done: files that a render
//! would replace, and an image layout whose blobs a build would remove.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Failure, Hint};
use crate::share::Image;
use crate::{render, store};

/// Where the images of a build lie in its folder: the environment's own, and that of the MLflow server.
pub(super) const LAYOUTS: [&str; 2] = ["oci", "services/mlflow/oci"];

/// An image layout that imgforge did not write.
#[derive(Debug, thiserror::Error)]
#[error("`{}` holds an image that imgforge did not make, and would be replaced", .0.display())]
struct ForeignLayout(PathBuf);

impl Hint for ForeignLayout {
    fn help(&self) -> Vec<String> {
        vec!["name another folder with `--output`, or move the image away".to_owned()]
    }
}

/// `generated/NAME` unless the user says otherwise.
pub(super) fn output_folder(asked: Option<&Path>, name: &str) -> PathBuf {
    asked.map_or_else(|| Path::new("generated").join(name), Path::to_owned)
}

/// Refuses a folder in which rendered files or images would take the place of somebody else's.
pub(super) fn check(folder: &Path) -> Result<(), Failure> {
    render::check_folder(folder)?;
    check_layouts(folder)
}

/// Refuses a folder in which images would take the place of somebody else's.
pub(super) fn check_layouts(folder: &Path) -> Result<(), Failure> {
    if store::is_generated(&folder.join("Dockerfile")) {
        return Ok(());
    }
    let foreign = |layout: &PathBuf| {
        let is_ours = || Image::open(layout).is_ok_and(|image| image.lock_digest().is_some());
        layout.join("index.json").exists() && !is_ours()
    };
    match LAYOUTS.map(|layout| folder.join(layout)).into_iter().find(foreign) {
        Some(layout) => Err(ForeignLayout(layout).into()),
        None => Ok(()),
    }
}
