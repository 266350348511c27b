//! The contract of `spec.yaml`: right inputs, wrong inputs with their exact messages, files beside the spec, hostile bytes.

mod files;
mod hostile;
mod right;
mod wrong;

use std::path::Path;

use super::{Error, Spec};
use crate::diagnostic::{Failure, Hint as _};

/// A spec that names no files.
fn parse(text: &str) -> Result<Spec, Error> {
    Spec::parse(Path::new("spec.yaml"), text, Path::new("no-such-folder"))
}

/// What a person sees, without colours.
fn rendered(error: Error) -> String {
    assert_eq!(error.exit_code(), 2);
    anstream::adapter::strip_str(&Failure::from(error).render()).to_string()
}

/// The bytes that an error blames.
fn blamed(error: &Error) -> String {
    let origin = error.origin().expect("a place");
    origin.text[origin.span].to_owned()
}
