//! `imgforge signatures`: what beside an image looks signed, and whether a key made it.

use serde_json::{Value, json};

use crate::attest::PublicKey;
use crate::attest::signature::{self, Form, Found};
use crate::cli::{Format, SignaturesArgs};
use crate::diagnostic::{Failure, Hint};
use crate::oci::{Digest, Reference, parse_reference};
use crate::registry::Registries;
use crate::share::bundle::Attached;
use crate::share::{Image, bundle};

use super::outside::Outside;
use super::{Context, print, print_json};

/// Why no image can be looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{text}` is not an image reference: {cause}")]
    Reference { text: String, cause: String },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        vec!["write it like `registry.example.com/ml/churn:latest`, or with a digest".to_owned()]
    }
}

pub(super) fn run(context: &Context, arguments: &SignaturesArgs) -> Result<u8, Failure> {
    let key = PublicKey::read(&arguments.key)?;
    let text = &arguments.reference;
    let reference =
        parse_reference(text).map_err(|cause| Error::Reference { text: text.clone(), cause: cause.to_string() })?;
    let outside = Outside::without_spec(context)?;
    let registries = &outside.registries;
    // A tag moves; from here on everything is about what it names now.
    let image = registries.manifest_at_home(&reference)?.digest;
    let found = signature::look(registries, &reference, &image, &key)?;
    if arguments.format == Format::Json {
        print_json(&to_json(&reference, &image, &found));
    }
    let others: Vec<String> = found.iter().filter(|found| !found.is_signature()).map(line).collect();
    let signatures = signature::judge(found, &reference, &image)?;
    if arguments.format == Format::Text {
        print(&reference.clone_with_digest(image.to_string()).whole());
        signatures.iter().map(line).chain(others).for_each(|line| print(&line));
    }
    Ok(0)
}

/// What `--key` asks for: signatures of that key over the image as it was read, or the answer is no.
pub(super) fn required(registries: &Registries, image: &Image, key: &PublicKey) -> Result<Vec<Found>, Failure> {
    // One that lies in a folder has nothing beside it; nobody asks for that.
    let Some(reference) = &image.reference else { return Ok(Vec::new()) };
    Ok(signature::verify(registries, reference, &image.subject.digest, key)?)
}

/// A recipe of the image that the key's owner has signed. The image's own digest does not cover rendered files and inputs, so
/// without that signature they could be anybody's.
pub(super) fn signed_recipe(
    registries: &Registries,
    image: &Image,
    wanted: Option<&Digest>,
    key: &PublicKey,
) -> Result<Attached, Failure> {
    let first = bundle::attached(registries, image, wanted)?;
    let Some(reference) = &image.reference else { return Ok(first) };
    let refusal = match signature::verify(registries, reference, &first.digest, key) {
        Ok(_) => return Ok(first),
        Err(refusal @ crate::attest::Error::NotSigned { .. }) => refusal,
        Err(failure) => return Err(failure.into()),
    };
    // Whoever may push can put another one in front.
    for other in first.others.iter().filter(|_| wanted.is_none()) {
        if signature::verify(registries, reference, other, key).is_ok() {
            return Ok(bundle::attached(registries, image, Some(other))?);
        }
    }
    Err(UnsignedRecipe { recipe: first.digest, refusal }.into())
}

/// The image is signed, and what came with it is not.
#[derive(Debug, thiserror::Error)]
#[error("the image is signed by this key, but its recipe `{recipe}` is not")]
struct UnsignedRecipe {
    recipe: Digest,
    refusal: crate::attest::Error,
}

impl Hint for UnsignedRecipe {
    fn help(&self) -> Vec<String> {
        vec!["`imgforge build --push --sign-key` signs both; push again with it".to_owned()]
    }
    fn notes(&self) -> Vec<String> {
        self.refusal.notes()
    }
    fn exit_code(&self) -> u8 {
        1
    }
}

/// Where the signatures are, as JSON shows it; null if none were asked for.
pub(super) fn places(signatures: Option<&[Found]>) -> Value {
    let places = |found: &[Found]| found.iter().map(|found| json!(found.place)).collect();
    signatures.map_or(Value::Null, places)
}

fn line(found: &Found) -> String {
    let form = match found.form {
        Form::Bundle => "bundle",
        Form::Tag => "tag",
    };
    let verdict = match &found.claim {
        Ok(_) if found.is_signature() => "signed by the key".to_owned(),
        Ok(claim) => format!("the key's statement `{claim}`"),
        Err(problem) => format!("does not count: {problem}"),
    };
    format!("{form:<7} {} {verdict}", found.place)
}

fn to_json(reference: &Reference, image: &Digest, found: &[Found]) -> Value {
    let entry = |found: &Found| {
        let form = match found.form {
            Form::Bundle => "bundle",
            Form::Tag => "tag",
        };
        let mut entry = json!({"form": form, "place": found.place, "signature": found.is_signature()});
        match &found.claim {
            Ok(claim) => entry["claim"] = json!(claim),
            Err(problem) => entry["problem"] = json!(problem),
        }
        entry
    };
    let is_signed = found.iter().any(Found::is_signature);
    json!({
        "status": if is_signed { "ok" } else { "not_signed" },
        "image": reference.clone_with_digest(image.to_string()).whole(),
        "found": found.iter().map(entry).collect::<Vec<_>>(),
    })
}
