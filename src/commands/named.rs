//! What an argument names: something on this machine, or an image in a registry.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Failure, Hint};
use crate::oci::{Digest, Reference, parse_reference};

/// Why an argument names nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there is no file or folder `{argument}`")]
    Missing { argument: String },
    #[error("`{text}` is no reference of an image: {cause}")]
    Reference { text: String, cause: String },
    #[error("`{0}` is no digest: expected `sha256:` and 64 hexadecimal digits")]
    Digest(String),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } | Self::Reference { .. } => vec![
                "an image is written like `registry.example.com/ml/churn:latest` or `registry.example.com/ml/churn@sha256:…`"
                    .to_owned(),
            ],
            Self::Digest(_) => Vec::new(),
        }
    }
}

/// A path, or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Path(PathBuf),
    Image(Reference),
}

impl Named {
    /// What is there is a path. What is not is an image if it looks like one: `host/name`, `name:tag`, `name@sha256:…`.
    pub(super) fn find(argument: &str) -> Result<Self, Failure> {
        let path = Path::new(argument);
        if path.exists() {
            return Ok(Self::Path(path.to_owned()));
        }
        let looks_like_image = argument.contains("@sha256:")
            || argument.rsplit('/').next().is_some_and(|name| name.contains(':'))
            || argument.split_once('/').is_some_and(|(host, _)| {
                (host.contains('.') && !host.starts_with('.')) || host.contains(':') || host == "localhost"
            });
        match looks_like_image {
            true => Ok(Self::Image(reference(argument)?)),
            false => Err(Error::Missing { argument: argument.to_owned() }.into()),
        }
    }
}

/// The reference of an image.
pub(super) fn reference(text: &str) -> Result<Reference, Failure> {
    let parsed = parse_reference(text);
    Ok(parsed.map_err(|cause| Error::Reference { text: text.to_owned(), cause: cause.to_string() })?)
}

/// A digest.
pub(super) fn digest(text: &str) -> Result<Digest, Failure> {
    Ok(text.parse().map_err(|_| Error::Digest(text.to_owned()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_an_image_if_it_looks_like_one() {
        let image = |text: &str| matches!(Named::find(text), Ok(Named::Image(_)));
        for text in ["registry.test/churn", "localhost/churn", "host:5000/churn", "churn:1", "docker.io/library/a:b"] {
            assert!(image(text), "{text}");
        }
        let digest = Digest::of(b"");
        assert!(image(&format!("churn@{digest}")));
        for text in ["churn", "./nowhere/spec.yaml", "nowhere/imgforge.lock", "../x"] {
            let error = Named::find(text).expect_err(text);
            assert_eq!(error.0.to_string(), format!("there is no file or folder `{text}`"));
        }
        assert_eq!(Named::find("src").expect("a folder"), Named::Path(PathBuf::from("src")));
    }
}
