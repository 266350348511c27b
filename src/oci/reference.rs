//! The name of an image: `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`, with Docker's abbreviations.
//!
//! Source: the grammar of `distribution/reference`. The type is `oci-spec`'s; its own parser is one regular expression, whose
//! compiling takes three times as long as the whole of a `resolve`, and which cannot say what is wrong with a text. In the
//! tests it says what is right.

use super::tag::is_tag;
use super::{Digest, Reference};

/// Docker's registry, which a name without a host is in, and its older name.
const HUB: &str = "docker.io";
const HUB_LEGACY: &str = "index.docker.io";
/// Longest name of a repository, in characters.
const NAME_LIMIT: usize = 255;

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is no repository.
    #[error("it names no repository")]
    Empty,
    /// The part in front of the first `/` has a dot or a port, and is no host.
    #[error("`{0}` is not a registry's host, with or without a port")]
    Host(String),
    /// Capitals in the repository.
    #[error("a repository takes only lower-case letters, and `{0}` has others")]
    UpperCase(String),
    /// A part of the repository that is none.
    #[error("`{0}` is no part of a repository: letters and digits, with single `.` or `_`, `__` or `-` between them")]
    Part(String),
    /// The repository is too long.
    #[error("a repository has at most {NAME_LIMIT} characters, and this one has {0}")]
    TooLong(usize),
    /// What follows the last `:`.
    #[error("`{0}` is not a tag: at most 128 letters, digits, `_`, `.` and `-`, the first neither `.` nor `-`")]
    Tag(String),
    /// What follows the `@`.
    #[error("`{0}` is not a digest: expected `sha256:` and 64 hexadecimal digits in lower case")]
    Digest(String),
}

/// Reads the name of an image. Without a host it is in Docker's registry, and a single word there is below `library`;
/// without tag and digest the tag is `latest`.
pub fn parse_reference(text: &str) -> Result<Reference, ReferenceError> {
    let (text, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(checked_digest(digest)?)),
        None => (text, None),
    };
    // A `:` in front of the last `/` is a port's.
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    };
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(ReferenceError::Tag(tag.to_owned()));
    }
    let (host, repository) = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => (HUB, name),
    };
    check_host(host)?;
    let host = if host == HUB_LEGACY { HUB } else { host };
    let repository = match repository.contains('/') || host != HUB || repository.is_empty() {
        true => repository.to_owned(),
        false => format!("library/{repository}"),
    };
    check_repository(&repository)?;
    let host = host.to_owned();
    Ok(match (tag, digest) {
        (None, None) => Reference::with_tag(host, repository, "latest".to_owned()),
        (Some(tag), None) => Reference::with_tag(host, repository, tag.to_owned()),
        (None, Some(digest)) => Reference::with_digest(host, repository, digest),
        (Some(tag), Some(digest)) => Reference::with_tag_and_digest(host, repository, tag.to_owned(), digest),
    })
}

fn checked_digest(text: &str) -> Result<String, ReferenceError> {
    let error = |_| ReferenceError::Digest(text.to_owned());
    text.parse::<Digest>().map_err(error).map(|digest| digest.to_string())
}

/// Labels of letters, digits and inner hyphens, with dots between them, and perhaps a port.
fn check_host(host: &str) -> Result<(), ReferenceError> {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match is_port && name.split('.').all(is_label) {
        true => Ok(()),
        false => Err(ReferenceError::Host(host.to_owned())),
    }
}

fn check_repository(repository: &str) -> Result<(), ReferenceError> {
    if repository.is_empty() {
        return Err(ReferenceError::Empty);
    }
    if repository.len() > NAME_LIMIT {
        return Err(ReferenceError::TooLong(repository.chars().count()));
    }
    for part in repository.split('/') {
        if part.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(part.to_owned()));
        }
        if !is_part(part) {
            return Err(ReferenceError::Part(part.to_owned()));
        }
    }
    Ok(())
}

/// Runs of letters and digits, with one separator between two of them.
fn is_part(part: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    let has_ends = part.bytes().next().is_some_and(is_letter) && part.bytes().last().is_some_and(is_letter);
    // What is left between the letters of ASCII, whatever it is, must be separators.
    has_ends && part.split(|character: char| u8::try_from(character).is_ok_and(is_letter)).all(is_separator)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    fn written(text: &str) -> Result<String, String> {
        parse_reference(text).map(|reference| reference.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        for (text, whole) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("opensuse/leap:15.3", "docker.io/opensuse/leap:15.3"),
            ("localhost/a", "localhost/a:latest"),
            ("host:5000/a", "host:5000/a:latest"),
            ("Host.Test/a/b-c__d.e:Tag_1", "Host.Test/a/b-c__d.e:Tag_1"),
            ("name.with.dots:5000", "docker.io/library/name.with.dots:5000"),
        ] {
            assert_eq!(written(text), Ok(whole.to_owned()), "{text}");
        }
        let both = format!("host.test/a:1@sha256:{HEX}");
        assert_eq!(written(&both), Ok(both.clone()));
        let digest = parse_reference(&format!("host.test/a@sha256:{HEX}")).expect("a reference");
        assert_eq!((digest.tag(), digest.digest()), (None, Some(format!("sha256:{HEX}").as_str())));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = format!("host.test/{}", "a".repeat(256));
        for (text, error) in [
            ("", "it names no repository"),
            ("host.test/", "it names no repository"),
            (":tag", "it names no repository"),
            ("Not A Place", "a repository takes only lower-case letters, and `Not A Place` has others"),
            ("Foo/bar", "a repository takes only lower-case letters, and `Foo` has others"),
            ("-host.test/a", "`-host.test` is not a registry's host, with or without a port"),
            ("host:/a", "`host:` is not a registry's host, with or without a port"),
            (
                "host.test/a:-b",
                "`-b` is not a tag: at most 128 letters, digits, `_`, `.` and `-`, the first neither `.` nor `-`",
            ),
            ("a@sha256:ff", "`sha256:ff` is not a digest: expected `sha256:` and 64 hexadecimal digits in lower case"),
            (long.as_str(), "a repository has at most 255 characters, and this one has 256"),
        ] {
            assert_eq!(written(text), Err(error.to_owned()), "{text}");
        }
        for part in ["a..b", "a___b", "a.-b", "_a", "a-", "a b", "é", ""] {
            assert_eq!(parse_reference(&format!("host.test/x/{part}")), Err(ReferenceError::Part(part.to_owned())));
        }
    }

    proptest! {
        /// Where both read a text they read the same, and only what is known to be wrong with the other's reading is refused.
        #[test]
        fn the_grammar_is_that_of_others(
            host in prop_oneof![Just(""), Just("a/"), Just("A.b/"), Just("b-:5/"), Just("a.b:50/"), Just("localhost/")],
            rest in "[a-c0._:/@A-]{0,12}",
            digest in prop_oneof![Just(String::new()), Just(format!("@sha256:{HEX}")), Just("@sha512:0".to_owned())],
        ) {
            let text = format!("{host}{rest}{digest}");
            let theirs = text.parse::<Reference>();
            match parse_reference(&text) {
                Err(ReferenceError::UpperCase(_)) => {}
                ours => prop_assert_eq!(ours.ok(), theirs.ok(), "{}", text),
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = parse_reference(&text);
        }
    }
}
