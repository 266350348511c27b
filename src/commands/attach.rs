//! What is attached to an image that was pushed: artifacts whose subject it is.

use crate::diagnostic::Failure;
use crate::publish::artifact::{Artifact, Descriptor};
use crate::publish::registry::{Attachment, Published, top};
use crate::share::{self, Bundle};
use crate::spec::Spec;
use crate::{publish, registry};

use super::build::Built;
use super::outside::Outside;
use super::{Context, render};

/// What is wanted beside the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Spec, lock and rendered files.
    pub(super) recipe: bool,
}

impl Wanted {
    /// Says no before anything is built or pushed, if something cannot be attached.
    pub(super) fn check(self, spec: &Spec) -> Result<(), Failure> {
        if self.recipe {
            share::bundle::check(spec)?;
        }
        Ok(())
    }
}

/// Attaches what is wanted to the images that were pushed, the spec's first.
pub(super) fn attach(
    context: &Context,
    outside: &Outside,
    spec: &Spec,
    built: &[Built],
    published: &mut [Published],
    wanted: Wanted,
) -> Result<(), Failure> {
    let Some(main) = built.first().filter(|_| wanted.recipe) else { return Ok(()) };
    let recipe = Bundle::collect(spec, &main.lock, &render::rendered(&main.lock, spec)?)?;
    for (image, published) in built.iter().zip(published) {
        let (media_type, manifest) = top(&image.images);
        let artifact = recipe.to_artifact(&image.name, Descriptor::of(media_type, &manifest));
        push(context, outside, artifact, published)?;
    }
    Ok(())
}

/// Pushes an artifact beside its image. A registry that takes images and no artifacts is no reason to fail: the image is
/// there.
fn push(context: &Context, outside: &Outside, artifact: Artifact, published: &mut Published) -> Result<(), Failure> {
    match artifact.push(&outside.registries, &published.reference, false) {
        Ok(digest) => {
            context.progress.detail(format!("attached {} {digest}", artifact.artifact_type));
            published.attached.push(Attachment { artifact_type: artifact.artifact_type, digest });
            Ok(())
        }
        Err(publish::Error::Registry(error @ registry::Error::Answer { .. })) => {
            let kind = &artifact.artifact_type;
            context.progress.say(format!("warning: the image is pushed, but without `{kind}`: {error}"));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
