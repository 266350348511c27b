//! What is attached to an image that was pushed: artifacts whose subject it is.
//!
//! One rule for registries that take images and refuse artifacts: what goes along by default (recipe, documents, stack) is
//! left out with a warning, since the image is what was asked for; what a flag asked for (a signature) must get there, or the
//! command ends with exit code 2. Any other failure, such as a connection that breaks, ends it in either case: pushing again
//! may help.

use crate::assemble::Owner;
use crate::assemble::published::OWNER_ANNOTATION;
use crate::diagnostic::{Failure, Hint};
use crate::lock::Lock;
use crate::oci::{Digest, Reference};
use crate::plan::USER_ID;
use crate::publish::artifact::{Artifact, Descriptor, EMPTY_CONFIG, push_all};
use crate::publish::registry::{Attachment, Published, top};
use crate::render::{PublishedImage, PublishedImages, Rendered, shared_stack};
use crate::share::{self, Bundle, stack};
use crate::spec::Spec;
use crate::{attest, publish, registry};

use super::Context;
use super::attestations::Documents;
use super::build::Built;
use super::outside::Outside;

/// What is wanted beside the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Spec, lock and rendered files.
    pub(super) recipe: bool,
}

/// What goes along with an image, and can be sent before it.
pub(super) struct Recipe {
    rendered: Rendered,
    bundle: Bundle,
}

impl Wanted {
    /// Says no before anything is built or pushed, if something cannot be attached.
    pub(super) fn check(self, spec: &Spec) -> Result<(), Failure> {
        if self.recipe {
            share::bundle::check(spec)?;
        }
        Ok(())
    }

    /// The recipe of a lock, if it is wanted, with what was rendered of it.
    pub(super) fn recipe(self, spec: &Spec, lock: &Lock, rendered: Rendered) -> Result<Option<Recipe>, Failure> {
        if !self.recipe {
            return Ok(None);
        }
        let bundle = Bundle::collect(spec, lock, &rendered)?;
        Ok(Some(Recipe { rendered, bundle }))
    }
}

impl Recipe {
    /// The bytes of its files, and of the config that artifacts have.
    pub(super) fn documents(&self) -> impl Iterator<Item = &[u8]> {
        self.bundle.files.values().map(|file| file.bytes.as_slice()).chain([EMPTY_CONFIG])
    }
}

/// Whether something must get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// It goes along unless somebody says otherwise.
    ByDefault,
    /// A flag asked for it.
    ByFlag,
}

/// Why something is not attached, although the image is where it should be.
#[derive(Debug, thiserror::Error)]
#[error("`{image}` is pushed, but {what} is not: {source}")]
struct NotAttached {
    image: String,
    what: String,
    source: attest::Error,
}

impl Hint for NotAttached {
    fn help(&self) -> Vec<String> {
        let mut help = self.source.help();
        help.push("push again: what is there already is not sent twice".to_owned());
        help
    }
    fn notes(&self) -> Vec<String> {
        self.source.notes()
    }
}

/// Attaches what is wanted to the images that were pushed, the spec's first: a recipe, if there is one, and what is said
/// about each.
pub(super) fn attach(
    context: &Context,
    outside: &Outside,
    recipe: Option<&Recipe>,
    documents: &[Documents],
    built: &[Built],
    published: &mut [Published],
) -> Result<(), Failure> {
    let Some(main) = built.first() else { return Ok(()) };
    let subject = |image: &Built| {
        let (media_type, manifest) = top(&image.images);
        Descriptor::of(media_type, &manifest)
    };
    // All of an image together, since each wave of questions takes a round trip.
    for ((image, documents), published) in built.iter().zip(documents).zip(published.iter_mut()) {
        let recipe = recipe.map(|recipe| recipe.bundle.to_artifact(&image.name, subject(image)));
        let artifacts: Vec<Artifact> = recipe.into_iter().chain(documents.artifacts.iter().cloned()).collect();
        put(context, outside, &artifacts, published, Asked::ByDefault)?;
    }
    let Some(Recipe { rendered, .. }) = recipe else { return Ok(()) };
    let references: Vec<String> = published.iter().map(|published| published.reference.whole()).collect();
    let (Some(app), Some(published)) = (references.first(), published.first_mut()) else { return Ok(()) };
    let image = |reference, built| PublishedImage { reference, user_id: user_id(built) };
    let mlflow = references.get(1).zip(built.get(1));
    let images = PublishedImages { app: image(app, main), mlflow: mlflow.map(|(to, built)| image(to, built)) };
    if let Some(file) = shared_stack(&main.lock, &main.lock.digest(), rendered, &images)? {
        let artifact = stack::to_artifact(&file, subject(main));
        let to = stack::reference(&published.reference);
        let pushed = artifact.push(&outside.registries, &to, true).map_err(attest::Error::from);
        note(context, published, stack::STACK_TYPE, subject(main).digest, Asked::ByDefault, pushed)?;
    }
    Ok(())
}

/// The number of the user that an image runs as, on its first platform.
fn user_id(built: &Built) -> u32 {
    let mut layers = built.images.iter().flat_map(|image| &image.layers);
    let owner = layers.find_map(|layer| layer.annotations.get(OWNER_ANNOTATION)?.parse::<Owner>().ok());
    owner.map_or(USER_ID, |owner| owner.user)
}

/// Where the stack of an image was published, if it was.
pub(super) fn stack_of(published: &Published) -> Option<Reference> {
    let is_there = published.attached.iter().any(|known| known.artifact_type == stack::STACK_TYPE);
    is_there.then(|| stack::reference(&published.reference))
}

/// Puts artifacts beside their image, where they are listed from now on.
pub(super) fn put(
    context: &Context,
    outside: &Outside,
    artifacts: &[Artifact],
    published: &mut Published,
    asked: Asked,
) -> Result<(), Failure> {
    let pushed = push_all(artifacts, &outside.registries, &published.reference);
    for (artifact, pushed) in artifacts.iter().zip(pushed) {
        // One that belongs to nothing stands for itself.
        let subject = artifact.subject.as_ref().map_or_else(|| artifact.digest(), |subject| subject.digest);
        note(context, published, &artifact.artifact_type, subject, asked, pushed.map_err(attest::Error::from))?;
    }
    Ok(())
}

/// Lists what was put beside an image, or applies the rule to why it was not.
pub(super) fn note(
    context: &Context,
    published: &mut Published,
    artifact_type: &str,
    subject: Digest,
    asked: Asked,
    pushed: Result<Digest, attest::Error>,
) -> Result<(), Failure> {
    match pushed {
        Ok(digest) => {
            context.progress.detail(format!("attached {artifact_type} {digest}"));
            published.attached.push(Attachment { artifact_type: artifact_type.to_owned(), digest, subject });
            Ok(())
        }
        Err(error) if asked == Asked::ByDefault && is_refusal(&error) => {
            let line = format!("warning: the image is pushed, but without `{artifact_type}`: {error}");
            context.progress.say(line);
            Ok(())
        }
        Err(source) => {
            let what = format!("`{artifact_type}`");
            Err(NotAttached { image: published.reference.whole(), what, source }.into())
        }
    }
}

/// Whether the registry answered, and said no.
fn is_refusal(error: &attest::Error) -> bool {
    match error {
        attest::Error::Registry(error) | attest::Error::Publish(publish::Error::Registry(error)) => {
            matches!(error, registry::Error::Answer { .. })
        }
        _ => false,
    }
}
