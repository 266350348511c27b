//! A published environment on this machine, as `build` would find it: what came with the image, in one folder.

use std::path::Path;

use crate::diagnostic::Failure;
use crate::share::bundle::Attached;
use crate::share::place::Staging;
use crate::share::{Error, Image, project};
use crate::spec::Spec;

use super::Context;
use super::outside::Outside;

/// Where the project's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// In the image.
    OfImage,
    /// Elsewhere, or nobody needs them: the spec only has to find something of their names.
    Elsewhere,
}

/// The recipe's files and the project's, below one folder in `folder`. The spec is one that the lock answers.
pub(super) fn stage(
    context: &Context,
    outside: &Outside,
    image: &Image,
    attached: &Attached,
    folder: &Path,
    files: Files,
) -> Result<(Staging, Spec), Failure> {
    let Attached { bundle, lock, .. } = attached;
    let staging = Staging::new(folder)?;
    staging.add(bundle)?;
    let spec_path = staging.path().join(&bundle.spec);
    let project = spec_path.parent().unwrap_or(staging.path());
    let copies = &lock.image.files;
    match (files, image.images.first()) {
        (Files::OfImage, Some(one)) if !copies.is_empty() => {
            let task = context.progress.task("reading the project's files from the image", Some(project::size(one)));
            let left_out = project::unpack(&outside.registries, one, copies, project)?;
            drop(task);
            if let Some(first) = left_out.first() {
                let count = left_out.len();
                let line =
                    format!("warning: {count} files such as `{first}` were left out: they are a repository's own");
                context.progress.say(line);
            }
        }
        (Files::OfImage, _) => {}
        (Files::Elsewhere, _) => project::stand_in(copies, project)?,
    }
    let refuse = |problem: String| Error::Refused { recipe: attached.digest, problem };
    let spec = Spec::load(&spec_path).map_err(|cause| refuse(format!("its spec cannot be read: {cause}")))?;
    // Of a file that is not there nobody knows whether it is one, which is part of where a spec puts it.
    let is_own = lock.inputs.spec == spec.digest || files == Files::Elsewhere && !copies.is_empty();
    if !is_own || lock.name != spec.name.value {
        return Err(refuse("its lock answers another spec".to_owned()).into());
    }
    Ok((staging, spec))
}

pub(super) fn tell_others(context: &Context, attached: &Attached) {
    for other in &attached.others {
        context.progress.say(format!("note: another recipe is attached as well; `--recipe {other}` takes that one"));
    }
}
