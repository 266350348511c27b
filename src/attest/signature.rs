//! Signatures over an image: put beside it in both forms that cosign reads, and found there again.
//!
//! Today's form is a bundle with a statement about the image's digest, attached to the image as a referrer; the older one is a
//! payload under a tag that is made of the digest. Whoever may write to the repository may put anything there, so everything
//! that is found is checked by itself, and one right signature is enough.

use serde_json::{Value, json};

use super::bundle::{self, BUNDLE_TYPE, BUNDLE_TYPES};
use super::key::{PublicKey, SigningKey};
use super::statement::Statement;
use super::{Claim, Error, SIGNATURES_LIMIT, remote, simple};
use crate::oci::{Digest, Reference};
use crate::publish::artifact::{Artifact, Descriptor, Document, EMPTY_TYPE};
use crate::registry::{Referrer, Registries};

/// Predicate type of a statement that says no more than that somebody signed.
pub const SIGNATURE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

/// How something signed lies beside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A Sigstore bundle, a referrer of the image.
    Bundle,
    /// A payload under the tag `sha256-<hex>.sig`.
    Tag,
}

/// Something beside an image that looks signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its form.
    pub form: Form,
    /// Where it is: digest of the referrer, or tag and position.
    pub place: String,
    /// What the key's owner claims about the image, a predicate type; else what speaks against it.
    pub claim: Claim,
}

impl Found {
    /// Whether the key's owner signed the image, as opposed to saying something else about it.
    pub fn is_signature(&self) -> bool {
        match (&self.claim, self.form) {
            (Ok(claim), Form::Bundle) => claim == SIGNATURE_TYPE,
            (Ok(_), Form::Tag) => true,
            (Err(_), _) => false,
        }
    }
}

/// Signs an image that is in the repository, in both forms. Doing it twice changes nothing. Returns the bundle's address.
pub fn sign(
    registries: &Registries,
    repository: &Reference,
    image: &Descriptor,
    key: &SigningKey,
) -> Result<Digest, Error> {
    let bundle = sign_by_bundle(registries, repository, image, key)?;
    simple::sign(registries, repository, &image.digest, key)?;
    Ok(bundle)
}

/// Signs a manifest that is in the repository in today's form alone, for what no other tool looks for.
pub fn sign_by_bundle(
    registries: &Registries,
    repository: &Reference,
    manifest: &Descriptor,
    key: &SigningKey,
) -> Result<Digest, Error> {
    let statement = Statement::new(None, &manifest.digest, SIGNATURE_TYPE, json!({}));
    attach(registries, repository, manifest, &statement, key)
}

/// Attaches a signed statement to an image that is in the repository, and returns its address.
pub fn attach(
    registries: &Registries,
    repository: &Reference,
    image: &Descriptor,
    statement: &Statement,
    key: &SigningKey,
) -> Result<Digest, Error> {
    let document = Document::new(BUNDLE_TYPE, bundle::seal(statement, key));
    let mut artifact = Artifact::new(BUNDLE_TYPE, vec![document], Some(image.clone()));
    let annotations = [
        ("dev.sigstore.bundle.content", "dsse-envelope"),
        ("dev.sigstore.bundle.predicateType", statement.predicate_type.as_str()),
    ];
    artifact.annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Ok(artifact.push(registries, repository, false)?)
}

/// Everything beside the image that looks signed, each checked with the key.
pub fn look(
    registries: &Registries,
    repository: &Reference,
    image: &Digest,
    key: &PublicKey,
) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let referrers = registries.referrers(repository, image)?;
    for referrer in referrers.into_iter().filter(may_be_bundle).take(SIGNATURES_LIMIT) {
        let place = referrer.digest.to_string();
        if let Some(claim) = look_into(registries, repository, &referrer, image, key)? {
            found.push(Found { form: Form::Bundle, place, claim });
        }
    }
    let tagged = simple::look(registries, repository, image, key)?;
    found.extend(tagged.into_iter().map(|(place, claim)| Found { form: Form::Tag, place, claim }));
    Ok(found)
}

/// The signatures of this key over an image: at least one, else the answer is no.
pub fn verify(
    registries: &Registries,
    repository: &Reference,
    image: &Digest,
    key: &PublicKey,
) -> Result<Vec<Found>, Error> {
    judge(look(registries, repository, image, key)?, repository, image)
}

/// What [`verify`] says to what was found.
pub fn judge(found: Vec<Found>, repository: &Reference, image: &Digest) -> Result<Vec<Found>, Error> {
    let (signatures, others): (Vec<Found>, Vec<Found>) = found.into_iter().partition(Found::is_signature);
    if signatures.is_empty() {
        let image = repository.clone_with_digest(image.to_string()).whole();
        let rejected = others.into_iter().map(|other| {
            let problem = match other.claim {
                Ok(claim) => format!("it is no signature, but says `{claim}`"),
                Err(problem) => problem,
            };
            (other.place, problem)
        });
        return Err(Error::NotSigned { image, rejected: rejected.collect() });
    }
    Ok(signatures)
}

fn is_bundle(artifact_type: Option<&str>) -> bool {
    artifact_type.is_some_and(|artifact_type| artifact_type.starts_with(BUNDLE_TYPES))
}

/// Whether the list of an image says so, or leaves it open: where cosign writes the list itself, because the registry does not,
/// it gives the type of the config for that of the artifact.
fn may_be_bundle(referrer: &Referrer) -> bool {
    let listed = referrer.artifact_type.as_deref();
    is_bundle(listed) || listed.is_none_or(|listed| listed == EMPTY_TYPE)
}

/// What a referrer says of the image; none if it was never meant to be a bundle.
fn look_into(
    registries: &Registries,
    repository: &Reference,
    referrer: &Referrer,
    image: &Digest,
    key: &PublicKey,
) -> Result<Option<Claim>, Error> {
    let reference = repository.clone_with_digest(referrer.digest.to_string());
    let is_listed = is_bundle(referrer.artifact_type.as_deref());
    let Some(manifest) = remote::manifest(registries, &reference)? else {
        return Ok(is_listed.then(|| Err("it is gone".to_owned())));
    };
    if !is_listed && !is_bundle(manifest.get("artifactType").and_then(Value::as_str)) {
        return Ok(None);
    }
    let part = match remote::parts(&manifest).into_iter().next() {
        Some(Ok(part)) if part.media_type.starts_with(BUNDLE_TYPES) => part,
        Some(Err(problem)) => return Ok(Some(Err(problem))),
        _ => return Ok(Some(Err("it holds no bundle".to_owned()))),
    };
    let bytes = match remote::read(registries, &reference, &part)? {
        Ok(bytes) => bytes,
        Err(problem) => return Ok(Some(Err(problem))),
    };
    let claim = bundle::open(&bytes, key).and_then(|statement| match statement.is_about(image) {
        true => Ok(statement.predicate_type),
        false => Err("it is about another image".to_owned()),
    });
    Ok(Some(claim))
}
