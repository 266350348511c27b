//! What can go wrong between us and a registry, as data: who was asked, for what, and what exactly came back.

use std::io;
use std::path::PathBuf;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::diagnostic::Hint;
use crate::oci::{Digest, Platform};
use crate::{http, store};

/// One entry of a registry's JSON error body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiError {
    /// `NAME_UNKNOWN`, `DENIED`, ...
    #[serde(default)]
    pub code: String,
    /// The registry's own words.
    #[serde(default)]
    pub message: String,
}

/// Why a registry was of no use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It answered, but not with what was asked for.
    #[error("cannot {operation} `{registry}/{repository}`: the registry answered {status}{}", listed(errors))]
    Answer {
        /// What was tried, a verb phrase that ends before the repository's name.
        operation: &'static str,
        /// Registry or mirror.
        registry: String,
        /// Repository there.
        repository: String,
        /// HTTP status.
        status: StatusCode,
        /// The registry's own errors.
        errors: Vec<ApiError>,
    },
    /// Not allowed, after everything that is known about credentials was tried.
    #[error("cannot {operation} `{registry}/{repository}`: access denied {}{}", who(user.as_deref()), listed(errors))]
    Denied {
        /// What was tried.
        operation: &'static str,
        /// Registry or mirror.
        registry: String,
        /// Repository there.
        repository: String,
        /// User that was tried; absent when no credentials were found.
        user: Option<String>,
        /// The registry's own errors.
        errors: Vec<ApiError>,
        /// Why stored credentials could not be read, if that is the case.
        credential_problem: Option<String>,
    },
    /// No answer.
    #[error("cannot {operation} `{registry}/{repository}`: {source}")]
    Transport {
        /// What was tried.
        operation: &'static str,
        /// Registry or mirror.
        registry: String,
        /// Repository there.
        repository: String,
        /// Cause.
        source: http::Error,
    },
    /// An answer that the protocol does not allow.
    #[error("cannot {operation} `{registry}/{repository}`: {problem}")]
    Protocol {
        /// What was tried.
        operation: &'static str,
        /// Registry or mirror.
        registry: String,
        /// Repository there.
        repository: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// A page for people, with success: a proxy's login, or a host that is no registry.
    #[error("cannot {operation} `{registry}/{repository}`: a web page came instead of the registry's answer")]
    Page {
        /// What was tried.
        operation: &'static str,
        /// Registry or mirror.
        registry: String,
        /// Repository there.
        repository: String,
    },
    /// The bytes are not those that were named.
    #[error("{what} in `{registry}/{repository}` has digest {found}, expected {expected}")]
    WrongDigest {
        /// `manifest`, `blob`.
        what: &'static str,
        /// Registry or mirror.
        registry: String,
        /// Repository there.
        repository: String,
        /// What was named.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The image exists, but not for this platform.
    #[error("`{reference}` has no image for {platform}")]
    NoPlatform {
        /// The image.
        reference: String,
        /// What was wanted.
        platform: Platform,
        /// What there is, `os/architecture[/variant]`.
        available: Vec<String>,
    },
    /// Neither the mirrors nor the registry have it.
    #[error("no mirror and no registry gave `{reference}`")]
    Nowhere {
        /// What was wanted.
        reference: String,
        /// One error per place, in the order asked.
        failures: Vec<Error>,
    },
    /// A setting that is no host.
    #[error("`{host}` is not a registry host: expected `host[:port]`, for a mirror `host[:port][/prefix]`")]
    BadHost {
        /// The text.
        host: String,
    },
    /// The bytes to send cannot be read.
    #[error("{what}: {source}")]
    Source {
        /// What was to be sent.
        what: String,
        /// Cause.
        source: io::Error,
    },
    /// The bytes to send are not as many as the blob should have.
    #[error("`{path}` has {found} bytes, but its layer should have {expected}")]
    SourceSize {
        /// The file.
        path: PathBuf,
        /// Size of the blob.
        expected: u64,
        /// Size of the file.
        found: u64,
    },
    /// A blob that an image of the repository names, and nobody has.
    #[error(
        "an image in `{registry}/{repository}` names the layer {digest}, and the registry does not have it any more"
    )]
    Lost {
        /// Registry.
        registry: String,
        /// Repository there.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// The local store failed, or refused the bytes.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Whether another place may do better: everything but failures of this machine.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !matches!(
                source,
                http::Error::Offline { .. } | http::Error::Certificate { .. } | http::Error::Key { .. }
            ),
            Self::Source { .. } | Self::SourceSize { .. } | Self::Store(_) | Self::BadHost { .. } => false,
            _ => true,
        }
    }

    /// Whether the registry says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Answer { status, .. } => matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE),
            Self::NoPlatform { .. } => true,
            Self::Nowhere { failures, .. } => failures.iter().all(Self::is_not_found),
            _ => false,
        }
    }

    /// Whether a manifest was refused because a blob that it names is missing.
    pub fn lacks_a_blob(&self) -> bool {
        self.codes().any(|code| matches!(code, "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
    }

    /// The registry's error codes, if it gave any.
    pub(super) fn codes(&self) -> impl Iterator<Item = &str> {
        let errors = match self {
            Self::Answer { errors, .. } | Self::Denied { errors, .. } => errors.as_slice(),
            _ => &[],
        };
        errors.iter().map(|error| error.code.as_str())
    }
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        let mut help = Vec::new();
        match self {
            Self::Denied { registry, user: None, .. } => {
                help.push(format!("log in with `docker login {registry}` (or `podman login {registry}`)"));
            }
            Self::Denied { registry, user: Some(user), .. } => {
                help.push(format!("check that `{user}` may do this, or log in anew with `docker login {registry}`"));
            }
            Self::Transport { registry, source: http::Error::Transport { cause, .. }, .. } => {
                if cause.contains("InvalidContentType") || cause.contains("corrupt message") {
                    help.push(format!(
                        "`{registry}` seems to speak plain http: list it as an insecure registry in imgforge's settings if you trust the network between"
                    ));
                } else if cause.contains("fatal alert") && cause.contains("ertificate") {
                    // It is the other side that complains, and it has seen no certificate but the client's.
                    help.push(format!(
                        "the registry wants a client certificate that it trusts: put `client.cert` and `client.key` into `~/.config/containers/certs.d/{registry}`"
                    ));
                } else if cause.contains("ertificate") {
                    help.push(
                        "if the registry has a certificate authority of its own, name its PEM file in `IMGFORGE_CA_FILE` or `SSL_CERT_FILE`"
                            .to_owned(),
                    );
                } else {
                    help.push(format!(
                        "check that `{registry}` is the right name and can be reached (`HTTPS_PROXY`, `NO_PROXY`)"
                    ));
                }
            }
            Self::Transport { source, .. } => help.extend(source.help()),
            Self::Page { registry, .. } => help.push(format!(
                "check that `{registry}` is a registry, and whether a proxy before it wants a login (`HTTPS_PROXY`, `NO_PROXY`)"
            )),
            Self::Answer { status, registry, .. } => match status.as_u16() {
                404 => help.push(
                    "check the spelling of repository and tag; some registries want the repository created first"
                        .to_owned(),
                ),
                413 => help.push(format!(
                    "`{registry}` or a proxy before it limits the size of a request: ask for a higher limit"
                )),
                429 => help.push(
                    "the registry limits how often it may be asked: wait, or log in for a higher limit".to_owned(),
                ),
                _ => {}
            },
            Self::NoPlatform { available, .. } if !available.is_empty() => {
                help.push(format!("it exists for {}", available.join(", ")));
            }
            Self::Nowhere { failures, .. } => help.extend(failures.last().map(Hint::help).unwrap_or_default()),
            Self::Store(error) => help.extend(error.help()),
            Self::Lost { .. } => {
                help.push("push with `--no-reuse`, which takes no layer from there and makes every one anew".to_owned());
            }
            Self::SourceSize { .. } => help.push("the cached file was changed: remove it and build again".to_owned()),
            _ => {}
        }
        help.extend(self.codes().filter_map(code_help).map(str::to_owned));
        help.dedup();
        help
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Self::Denied { credential_problem: Some(problem), .. } => vec![problem.clone()],
            Self::Nowhere { failures, .. } => failures.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    fn exit_code(&self) -> u8 {
        2
    }
}

/// What helps against one of the registry's error codes.
fn code_help(code: &str) -> Option<&'static str> {
    Some(match code {
        "NAME_UNKNOWN" => "the registry does not know this repository: create it there, or check its spelling",
        "NAME_INVALID" => "the registry does not allow this repository name: many want `project/name`",
        "TAG_INVALID" => "this registry does not allow the tag, or it is immutable there",
        "DIGEST_INVALID" => {
            "a layer's file was damaged on this machine or on the way: remove the `oci` folder and build again"
        }
        "UNSUPPORTED" => "the registry does not support this kind of content: an update of it may",
        _ => return None,
    })
}

fn who(user: Option<&str>) -> String {
    user.map_or_else(|| "without credentials".to_owned(), |user| format!("for user `{user}`"))
}

fn listed(errors: &[ApiError]) -> String {
    let texts: Vec<String> = errors
        .iter()
        .map(|error| match (error.code.as_str(), error.message.as_str()) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        })
        .collect();
    if texts.is_empty() { String::new() } else { format!(" ({})", texts.join("; ")) }
}

/// The errors of a registry's answer body. Bodies that are not the registry's own JSON (a proxy's page) give their text's
/// beginning when it is plain, and nothing when it is HTML.
pub(super) fn parse_api_errors(body: &[u8]) -> Vec<ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<ApiError>,
        #[serde(default, alias = "details")]
        message: Option<String>,
    }
    let shorten = |text: &str| -> String {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().filter(|letter| !letter.is_control()).take(300).collect()
    };
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { errors, .. }) if !errors.is_empty() => errors
            .into_iter()
            .take(5)
            .map(|error| ApiError { code: shorten(&error.code), message: shorten(&error.message) })
            .collect(),
        Ok(Body { message: Some(message), .. }) => vec![ApiError { code: String::new(), message: shorten(&message) }],
        Ok(_) => Vec::new(),
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let message = shorten(&text);
            if message.is_empty() || message.starts_with(['<', '{']) {
                return Vec::new();
            }
            vec![ApiError { code: String::new(), message }]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_own_errors_reach_the_message() {
        let errors = parse_api_errors(
            br#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known","detail":{}}]}"#,
        );
        let error = Error::Answer {
            operation: "read the manifest of",
            registry: "registry.test".into(),
            repository: "a/b".into(),
            status: StatusCode::NOT_FOUND,
            errors,
        };
        assert_eq!(
            error.to_string(),
            "cannot read the manifest of `registry.test/a/b`: the registry answered 404 Not Found (NAME_UNKNOWN: repository name not known)"
        );
        assert!(error.is_not_found());
        assert_eq!(error.help().len(), 2);
    }

    #[test]
    fn bodies_of_others_are_not_mistaken_for_errors() {
        assert_eq!(parse_api_errors(b"<html>gateway</html>"), []);
        assert_eq!(parse_api_errors(b""), []);
        assert_eq!(
            parse_api_errors(b"quota \x07exceeded\n"),
            [ApiError { code: String::new(), message: "quota exceeded".into() }]
        );
    }

    #[test]
    fn without_credentials_the_help_is_to_log_in() {
        let error = Error::Denied {
            operation: "start an upload to",
            registry: "registry.test".into(),
            repository: "a".into(),
            user: None,
            errors: Vec::new(),
            credential_problem: None,
        };
        assert_eq!(error.to_string(), "cannot start an upload to `registry.test/a`: access denied without credentials");
        assert_eq!(error.help(), ["log in with `docker login registry.test` (or `podman login registry.test`)"]);
    }
}
