//! `imgforge mirror`: the images of others that a stack needs, copied into a registry of one's own, so that a network without
//! a way out can run it. They are copied by digest, with every platform, and keep their digests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::{Format, MirrorArgs};
use crate::diagnostic::{Failure, Hint};
use crate::lock::Lock;
use crate::oci::mirror::mirrored;
use crate::oci::{Digest, Reference, parse_reference};
use crate::progress::human_bytes;
use crate::publish::copy::{Copied, copy};
use crate::publish::registry::Target;
use crate::spec::{self, Spec};

use super::outside::Outside;
use super::{Context, lock, print, print_json};

/// Hexadecimal digits of the digest in a tag.
const SHORT: usize = 12;

/// Why nothing is copied.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the spec names no place for copies of images")]
    NoMirror,
    #[error("{0}")]
    Mirror(String),
    #[error("`{image}` is locked by its tag only")]
    ByTag { image: String },
    #[error("`{image}` is not an image reference: {cause}")]
    Reference { image: String, cause: String },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NoMirror => vec![
                "add `image: {mirror: HOST/PREFIX}` to the spec, so that the Compose stack uses the copies, or give `--to HOST/PREFIX`"
                    .to_owned(),
            ],
            Self::Mirror(_) => vec!["write it like `registry.example.com/mirror`, in lower case".to_owned()],
            Self::ByTag { .. } => {
                vec!["run `imgforge lock SPEC` where its registry can be reached, so that its digest is known".to_owned()]
            }
            Self::Reference { .. } => vec!["run `imgforge lock SPEC` again".to_owned()],
        }
    }
}

/// An image of somebody else, by digest.
struct Foreign {
    reference: Reference,
    digest: Digest,
    /// Whether it is one platform's manifest, whose tag names an index over several.
    of_platform: bool,
}

pub(super) fn run(context: &Context, arguments: &MirrorArgs) -> Result<u8, Failure> {
    let spec = Spec::load(&arguments.spec)?;
    let mirror = match (&arguments.to, &spec.image.mirror) {
        (Some(text), _) => spec::mirror(text).map_err(|problem| Error::Mirror(problem.to_string()))?,
        (None, Some(mirror)) => mirror.value.clone(),
        (None, None) => return Err(Error::NoMirror.into()),
    };
    let path = Lock::path_for(&arguments.spec);
    let locked = lock::current(&spec, Lock::read(&path)?, &path)?;
    let images = foreign(&locked)?;
    let outside = Outside::new(context, &spec)?;
    let mut done = Vec::new();
    for image in &images {
        let from = image.reference.clone_with_digest(image.digest.to_string());
        let nameless = || {
            Error::Mirror(format!(
                "a copy of `{}` in `{mirror}` would have no name that registries take",
                image.reference
            ))
        };
        let place = mirrored(&mirror, &image.reference).ok_or_else(nameless)?;
        let tags = tags(image);
        let target = Target { repository: &place, tags: &tags, immutable_tags: &[], mount_from: &[] };
        let is_there = place.registry() == image.reference.registry();
        let copied = match is_there {
            true => None,
            false => Some(copy(&outside.registries, &outside.store, &from, &target, &context.progress)?),
        };
        let tag = tags.first().cloned().unwrap_or_default();
        let (registry, repository) = (place.registry().to_owned(), place.repository().to_owned());
        let whole = Reference::with_tag_and_digest(registry, repository, tag, image.digest.to_string());
        context.progress.say(line(image, &whole, copied.as_ref()));
        if arguments.format == Format::Text {
            print(&whole.whole());
        }
        done.push(to_json(image, &whole, copied.as_ref()));
    }
    if arguments.format == Format::Json {
        print_json(&json!({"status": "ok", "mirror": mirror, "images": done}));
    }
    if images.is_empty() {
        context.progress.say("the lock names no image of somebody else: there is nothing to copy");
    } else if spec.image.mirror.as_ref().is_none_or(|own| own.value != mirror) {
        context
            .progress
            .say(format!("next: add `image: {{mirror: {mirror}}}` to the spec, so that the stack uses the copies"));
    }
    Ok(0)
}

/// The images that a lock names and imgforge does not make: those of services, and bases by reference. Each once.
fn foreign(lock: &Lock) -> Result<Vec<Foreign>, Error> {
    let services = lock.services.iter().filter_map(|service| Some((service.image.as_ref()?, service.digest, false)));
    let bases = lock.platforms.iter().map(|platform| &platform.base);
    let bases = bases.filter_map(|base| Some((base.reference.as_ref()?, base.digest, true)));
    let mut images = BTreeMap::new();
    for (image, digest, of_platform) in services.chain(bases) {
        let reference = parse_reference(image)
            .map_err(|cause| Error::Reference { image: image.clone(), cause: cause.to_string() })?;
        let own = reference.digest().and_then(|digest| digest.parse().ok());
        let digest = digest.or(own).ok_or_else(|| Error::ByTag { image: image.clone() })?;
        images.entry((image.clone(), digest)).or_insert(Foreign { reference, digest, of_platform });
    }
    Ok(images.into_values().collect())
}

/// The image's own tag, and one that stays with this digest when the first moves on: registries remove what has none.
fn tags(image: &Foreign) -> Vec<String> {
    let hex = image.digest.hex();
    let short = hex.get(..SHORT).unwrap_or(&hex);
    match (image.reference.tag(), image.of_platform) {
        (Some(tag), false) => vec![tag.to_owned(), format!("{tag}-{short}")],
        (Some(tag), true) => vec![format!("{tag}-{short}")],
        (None, _) => vec![format!("sha256-{short}")],
    }
}

fn line(image: &Foreign, to: &Reference, copied: Option<&Copied>) -> String {
    let Some(Copied { platforms, bytes_sent, bytes_skipped, bytes_mounted, .. }) = copied else {
        return format!("`{}` is in that registry already", image.reference);
    };
    let platforms = match platforms.as_slice() {
        [] => String::new(),
        platforms => format!(" for {}", platforms.join(", ")),
    };
    let (sent, there) = (human_bytes(*bytes_sent), human_bytes(bytes_skipped + bytes_mounted));
    format!("copied `{}`{platforms} to `{to}`: {sent} sent, {there} already there", image.reference)
}

fn to_json(image: &Foreign, to: &Reference, copied: Option<&Copied>) -> Value {
    json!({
        "image": image.reference.to_string(),
        "digest": image.digest,
        "reference": to.whole(),
        "platforms": copied.map(|copied| &copied.platforms),
        "bytes_sent": copied.map_or(0, |copied| copied.bytes_sent),
        "bytes_skipped": copied.map_or(0, |copied| copied.bytes_skipped),
        "bytes_mounted": copied.map_or(0, |copied| copied.bytes_mounted),
    })
}
