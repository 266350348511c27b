//! `imgforge signatures`: what beside an image looks signed, and whether a key made it.

use serde_json::{Value, json};

use crate::attest::PublicKey;
use crate::attest::signature::{self, Form, Found};
use crate::cli::{Format, SignaturesArgs};
use crate::diagnostic::{Failure, Hint};
use crate::oci::{Digest, Reference};

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
    let reference: Reference =
        text.parse().map_err(|cause| Error::Reference { text: text.clone(), cause: format!("{cause}") })?;
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
