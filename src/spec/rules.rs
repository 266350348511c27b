//! The syntax of names, versions and paths: rules that need no catalog. Each returns what it built or the problem; the
//! caller knows the place.

use std::str::FromStr;

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};

use super::error::Problem;
use super::{ArtifactStore, BaseChoice, OperatingSystem, Target};
use crate::hierarchy::{self, KERNEL_FOLDERS};
use crate::oci::tag::{DIGEST_VARIABLE, TagTemplate};
use crate::oci::{Compression, Reference, parse_reference};
use crate::version::Dotted;
use crate::version::wheel_tag::normalize_name;

pub(super) fn malformed(kind: &'static str, text: &str, reason: impl Into<String>, help: &[&str]) -> Problem {
    let help = help.iter().map(|&line| line.to_owned()).collect();
    Problem::Malformed { kind, text: text.to_owned(), reason: reason.into(), help }
}

fn unknown(kind: &'static str, word: &str, allowed: &'static [&'static str], help: &[&str]) -> Problem {
    let help = help.iter().map(|&line| line.to_owned()).collect();
    Problem::UnknownWord { kind, word: word.to_owned(), allowed, help }
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// A name that is a path component of an image repository and of `generated/`.
pub(super) fn name(kind: &'static str, text: &str) -> Result<String, Problem> {
    let edges = text.bytes().next().is_some_and(is_lower) && text.bytes().next_back().is_some_and(is_lower);
    let inside = text.bytes().all(|byte| is_lower(byte) || b"._-".contains(&byte)) && !text.contains("..");
    if edges && inside && text.len() <= 100 {
        return Ok(text.to_owned());
    }
    Err(malformed(
        kind,
        text,
        "it takes lower-case letters and digits, with single `.`, `_` or `-` between them, at most 100",
        &[],
    ))
}

/// A word such as a framework family or a companion package.
pub(super) fn package_name(kind: &'static str, text: &str) -> Result<String, Problem> {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inside = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if inside && edge(text.bytes().next()) && edge(text.bytes().next_back()) {
        return Ok(normalize_name(text));
    }
    Err(malformed(kind, text, "it takes letters and digits, with `.`, `_` or `-` between them", &[]))
}

/// `cloud/instance` or `cpu`; the catalog reads `machine+card:2` as two cards sold apart.
pub(super) fn target(text: &str) -> Result<Target, Problem> {
    if text == "cpu" {
        return Ok(Target::Cpu);
    }
    let Some((cloud, instance)) = text.split_once('/') else {
        return Err(unknown(
            "a target",
            text,
            &["cpu"],
            &[&format!("a machine is written `cloud/instance`, a card `{{gpu: {text}}}`")],
        ));
    };
    let valid = !cloud.is_empty()
        && cloud.bytes().all(|byte| is_lower(byte) || byte == b'-')
        && !instance.is_empty()
        && instance.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-:".contains(&byte));
    if !valid {
        return Err(malformed(
            "a target",
            text,
            "expected one cloud and one machine type, as in `aws/g4dn.xlarge`",
            &["`imgforge catalog list` names the machines that are known"],
        ));
    }
    Ok(Target::Instance { cloud: cloud.to_owned(), instance: instance.to_owned() })
}

/// A PEP 440 specifier set; a version alone becomes what `bare` makes of it.
fn specifiers(
    kind: &'static str,
    text: &str,
    example: &str,
    bare: impl Fn(Version) -> Result<VersionSpecifier, Problem>,
) -> Result<VersionSpecifiers, Problem> {
    if text.len() > 500 {
        return Err(malformed(kind, text, "it is too long", &[]));
    }
    if let Ok(version) = Version::from_str(text.trim()) {
        return bare(version).map(VersionSpecifiers::from);
    }
    // `2.5.*` means what `2.5` means.
    let is_line = text.trim().strip_suffix(".*").is_some_and(|line| Version::from_str(line).is_ok());
    let written = if is_line { format!("=={}", text.trim()) } else { text.to_owned() };
    let specifiers = VersionSpecifiers::from_str(&written)
        .ok()
        .filter(|specifiers| !specifiers.is_empty())
        .ok_or_else(|| malformed(kind, text, format!("expected something like {example}"), &[]))?;
    if specifiers.iter().any(|specifier| *specifier.operator() == Operator::ExactEqual) {
        return Err(malformed(kind, text, "`===` compares texts, not versions", &["write `==`"]));
    }
    Ok(specifiers)
}

/// Python lines. Which patch release is installed is the base's choice, so a specifier that names one would promise what
/// cannot be kept.
pub(super) fn python(text: &str) -> Result<VersionSpecifiers, Problem> {
    const KIND: &str = "a Python version";
    let patch = || {
        malformed(
            KIND,
            text,
            "Python is chosen by line, not by patch release",
            &["write `3.11` for the newest 3.11, or a range such as `>=3.10,<3.13`"],
        )
    };
    let specifiers = specifiers(KIND, text, "`3.11` or `>=3.10,<3.13`", |version| match version.release().len() {
        1 | 2 if !version.any_prerelease() && !version.is_local() && !version.is_post() => {
            Ok(VersionSpecifier::equals_star_version(version))
        }
        _ => Err(patch()),
    })?;
    if specifiers.iter().any(|specifier| specifier.version().release().len() > 2) {
        return Err(patch());
    }
    Ok(specifiers)
}

/// Framework versions: `2.5.1` is `==2.5.1`, `2.5` is `==2.5.*`. The build has a key of its own, so local labels
/// (`+cu124`) are refused.
pub(super) fn framework_version(text: &str) -> Result<VersionSpecifiers, Problem> {
    const KIND: &str = "a framework version";
    let specifiers = specifiers(KIND, text, "`2.5.1` or `>=2.4,<2.7`", |version| {
        let whole = version.release().len() > 2 || version.any_prerelease() || version.is_post();
        Ok(if whole || version.is_local() {
            VersionSpecifier::equals_version(version)
        } else {
            VersionSpecifier::equals_star_version(version)
        })
    })?;
    if let Some(specifier) = specifiers.iter().find(|specifier| specifier.version().is_local()) {
        let version = specifier.version().clone().without_local();
        let label = specifier.version().local().iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
        let help = match build(&label) {
            Ok(build) => format!("write `{{version: \"{version}\", build: {build}}}`"),
            Err(_) => "the key `build` names it".to_owned(),
        };
        return Err(malformed(KIND, text, "the build is not part of the version", &[&help]));
    }
    Ok(specifiers)
}

/// `default`, `cpu`, `cu124`, `rocm6.2`.
pub(super) fn build(text: &str) -> Result<String, Problem> {
    let digits = |rest: &str, length: std::ops::RangeInclusive<usize>| {
        length.contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_digit())
    };
    let known = matches!(text, "default" | "cpu")
        || text.strip_prefix("cu").is_some_and(|rest| digits(rest, 2..=3))
        || text.strip_prefix("rocm").is_some_and(|rest| rest.contains('.') && Dotted::from_str(rest).is_ok());
    if known {
        return Ok(text.to_owned());
    }
    Err(malformed("a build", text, "expected `default`, `cpu`, `cuNNN` or `rocmN.N`", &["CUDA 12.4 is `cu124`"]))
}

/// Name of an operating-system package (Debian policy 5.6.1).
pub(super) fn system_package(text: &str) -> Result<String, Problem> {
    let first = text.bytes().next().is_some_and(is_lower);
    if first && text.len() > 1 && text.bytes().all(|byte| is_lower(byte) || b"+-.".contains(&byte)) {
        return Ok(text.to_owned());
    }
    let help: &[&str] = if text.contains(['=', ':', ' ', '<', '>']) {
        &["write the name alone: the lock pins the version, and the platform says the architecture"]
    } else {
        &[]
    };
    Err(malformed("a system package", text, "it takes lower-case letters, digits, `+`, `-` and `.`", help))
}

/// Distributions that `nvidia/cuda` has images on and nobody makes images of here. They are names all the same: the catalog
/// says why none is a base.
const OTHER_DISTRIBUTIONS: [&str; 8] = ["amzn", "azl", "centos", "cm", "opensuse", "oraclelinux", "rockylinux", "ubi"];

/// `debian 12`, `ubuntu 22.04`, also as tags write them: `ubuntu22.04`, `rockylinux9`.
pub(super) fn operating_system(text: &str) -> Result<OperatingSystem, Problem> {
    const KIND: &str = "an operating system";
    let text = text.trim();
    let number = text.find(|letter: char| letter.is_ascii_digit()).filter(|at| *at > 0);
    let (distribution, release) = match number {
        Some(at) => {
            let (distribution, release) = text.split_at(at);
            (distribution.trim_end_matches([' ', ':']), release)
        }
        None => text.split_once([' ', ':']).unwrap_or((text, "")),
    };
    if !matches!(distribution, "debian" | "ubuntu") && !OTHER_DISTRIBUTIONS.contains(&distribution) {
        return Err(unknown(KIND, distribution, &["debian", "ubuntu"], &[]));
    }
    let release = release
        .parse()
        .map_err(|_| malformed(KIND, text, "expected a release number, as in `debian 12` or `ubuntu 22.04`", &[]))?;
    Ok(OperatingSystem { distribution: distribution.to_owned(), release })
}

/// An image by name.
fn reference(kind: &'static str, text: &str, help: &[&str]) -> Result<Reference, Problem> {
    parse_reference(text).map_err(|error| malformed(kind, text, error.to_string(), help))
}

/// What the image starts from.
pub(super) fn base(text: &str) -> Result<BaseChoice, Problem> {
    match text {
        "auto" => return Ok(BaseChoice::Auto),
        "debian" => return Ok(BaseChoice::Debian),
        "slim" => return Ok(BaseChoice::Slim),
        "cuda" => return Ok(BaseChoice::Cuda),
        _ => {}
    }
    if !text.contains(['/', ':', '@']) {
        let help = ["an image is written `registry/repository:tag`"];
        return Err(unknown("a base", text, &["auto", "debian", "slim", "cuda"], &help));
    }
    let reference = reference("an image", text, &["expected `registry/repository:tag`, with `@sha256:…` if wanted"])?;
    let last = text.rsplit('/').next().unwrap_or(text);
    if !last.contains([':', '@']) {
        return Err(malformed(
            "a base",
            text,
            "it has neither tag nor digest",
            &["say which one, as in `python:3.11-slim`"],
        ));
    }
    Ok(BaseChoice::Reference(reference))
}

/// Registry and repository without a tag.
pub(super) fn repository(text: &str) -> Result<String, Problem> {
    const KIND: &str = "an image repository";
    reference(KIND, text, &[])?;
    if text.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) {
        return Err(malformed(KIND, text, "it has a tag or digest", &["tags go to `image.tags`"]));
    }
    Ok(text.to_owned())
}

/// Registry and prefix of copies. Without a host the prefix would be one of Docker Hub, which keeps no folders.
pub(super) fn mirror(text: &str) -> Result<String, Problem> {
    const KIND: &str = "a place for copies of images";
    const HELP: [&str; 1] = ["expected `registry.example.com/prefix`"];
    let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
    match text.split_once('/') {
        Some((host, prefix)) if is_host(host) && !prefix.is_empty() => {}
        _ => return Err(malformed(KIND, text, "it names no registry and prefix", &HELP)),
    }
    reference(KIND, text, &HELP)?;
    if text.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) {
        return Err(malformed(KIND, text, "it has a tag or digest", &HELP));
    }
    Ok(text.to_owned())
}

/// How layers are packed.
pub(super) fn compression(text: &str) -> Result<Compression, Problem> {
    text.parse().map_err(|_| malformed("a compression", text, "it is neither `gzip` nor `zstd`", &[]))
}

/// Yes or no.
pub(super) fn truth(text: &str) -> Result<bool, Problem> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(malformed("a truth value", text, "it is neither `true` nor `false`", &[])),
    }
}

/// Template of an image tag. Each variable must have a value: the version if the spec gives one, a framework if it is asked for.
pub(super) fn tag_template(text: &str, has_version: bool, families: &[&str]) -> Result<TagTemplate, Problem> {
    const KIND: &str = "an image tag";
    let template: TagTemplate = text.parse().map_err(|cause| malformed(KIND, text, format!("{cause}"), &[]))?;
    let mut known: Vec<&str> = vec!["name", "python", "cuda", DIGEST_VARIABLE];
    known.extend(families);
    known.extend(has_version.then_some("version"));
    let unknown = template.variables().find(|name| !known.contains(name)).map(str::to_owned);
    match unknown.as_deref() {
        None => Ok(template),
        Some("version") => {
            Err(malformed(KIND, text, "the spec has no `image.version`", &["add it, such as `version: \"1.0.0\"`"]))
        }
        Some(unknown) => {
            let names = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            Err(malformed(KIND, text, format!("there is no variable `{unknown}`"), &[&format!("there are {names}")]))
        }
    }
}

/// The first tag names the image in the Compose stack, which is written before the image is made.
pub(super) fn digest_in_first_tag() -> Problem {
    malformed(
        "a tag to begin with",
        "{{ digest }}",
        "it names the image in the Compose stack, before its digest is known",
        &["put a tag without it first"],
    )
}

/// A version of the user's own.
pub(super) fn image_version(text: &str) -> Result<String, Problem> {
    let valid = text.len() <= 64
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte));
    match valid {
        true => Ok(text.to_owned()),
        false => Err(malformed(
            "a version",
            text,
            "it takes at most 64 letters, digits, `_`, `.`, `+` and `-`",
            &["quote it"],
        )),
    }
}

/// Help for a path in the image that cannot be.
pub(super) const IMAGE_PATH_EXAMPLE: &str = "for example `/workspace/src`";

/// Absolute path in the image, without `.`, `..` and doubled slashes; a `/` at the end is kept.
pub(super) fn image_path(text: &str) -> Result<String, Problem> {
    const KIND: &str = "a path in the image";
    if !text.starts_with('/') {
        return Err(malformed(KIND, text, "it must start with `/`", &[IMAGE_PATH_EXAMPLE]));
    }
    if text.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(malformed(KIND, text, "it must not have `.` or `..`", &[IMAGE_PATH_EXAMPLE]));
    }
    if text.chars().any(char::is_control) {
        return Err(malformed(KIND, text, "it has a control character", &[]));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    let path = parts.join("/");
    // A layer with a file below a link would put a folder where the link is.
    if let Some((link, target, below)) = hierarchy::link_in(&path) {
        let help = format!("write `/{target}{below}`");
        return Err(malformed(KIND, text, format!("`/{link}` is a link to `/{target}`"), &[&help]));
    }
    if let Some(folder) = KERNEL_FOLDERS.iter().find(|folder| parts.first() == Some(*folder)) {
        let reason = format!("each container has a `/{folder}` of its own, which hides it");
        return Err(malformed(KIND, text, reason, &[IMAGE_PATH_EXAMPLE]));
    }
    let end = if text.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    Ok(format!("/{path}{end}"))
}

/// Login name, as `useradd` takes it.
pub(super) fn user(text: &str) -> Result<String, Problem> {
    let valid = text.len() <= 32
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && text.bytes().all(|byte| is_lower(byte) || b"_-".contains(&byte));
    if valid {
        return Ok(text.to_owned());
    }
    Err(malformed(
        "a user name",
        text,
        "it takes up to 32 lower-case letters, digits, `_` and `-`, a letter first",
        &[],
    ))
}

/// Name of an environment variable.
pub(super) fn variable(text: &str) -> Result<String, Problem> {
    let valid = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if valid {
        return Ok(text.to_owned());
    }
    Err(malformed("an environment variable", text, "it takes letters, digits and `_`, a digit not first", &[]))
}

/// A text of one line that goes into the image's config.
pub(super) fn plain_text(kind: &'static str, text: &str) -> Result<String, Problem> {
    match text.chars().any(|character| character.is_control() && character != '\t') {
        true => Err(malformed(kind, text, "it has a line break or another control character", &[])),
        false => Ok(text.to_owned()),
    }
}

/// Pattern over normalised package names.
pub(super) fn name_pattern(text: &str) -> Result<String, Problem> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-*?".contains(&byte)) {
        return Ok(normalize_name(text));
    }
    Err(malformed("a pattern of package names", text, "it takes letters, digits, `.`, `_`, `-`, `*` and `?`", &[]))
}

/// Root of a package index.
pub(super) fn index_url(text: &str) -> Result<url::Url, Problem> {
    const KIND: &str = "the URL of an index";
    let url =
        url::Url::parse(text).map_err(|error| malformed(KIND, &crate::redact::text(text), error.to_string(), &[]))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Problem::Credentials);
    }
    let shown = crate::redact::url(&url);
    if !matches!(url.scheme(), "http" | "https") {
        return Err(malformed(KIND, &shown, "it must start with `https://` or `http://`", &[]));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(malformed(KIND, &shown, "it has a query or fragment", &["write the root of the simple API"]));
    }
    Ok(url)
}

/// Version of a service's official image: one to three numbers.
pub(super) fn service_version(text: &str) -> Result<String, Problem> {
    match Dotted::from_str(text) {
        Ok(version) if version.components().len() <= 3 => Ok(version.to_string()),
        _ => Err(malformed("the version of a service", text, "expected a number such as `16` or `16.4`", &[])),
    }
}

/// Where MLflow keeps artifacts.
pub(super) fn artifacts(text: &str) -> Result<ArtifactStore, Problem> {
    const KIND: &str = "an artifact store";
    if text == "volume" {
        return Ok(ArtifactStore::Volume);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(unknown(
            KIND,
            text,
            &["volume"],
            &["it is `volume`, or a bucket `s3://bucket/prefix`, `gs://…` or `wasbs://…`"],
        ));
    };
    let (bucket, _) = rest.split_once('/').unwrap_or((rest, ""));
    if rest.chars().any(|c| c.is_control() || c.is_whitespace() || "?#\"'".contains(c)) {
        return Err(malformed(KIND, text, "it has a character that no bucket path has", &[]));
    }
    match scheme {
        "s3" | "gs" if bucket.contains(['@', ':']) => Err(Problem::Credentials),
        "wasbs" if bucket.contains(':') => Err(Problem::Credentials),
        "s3" | "gs" if !bucket.is_empty() => Ok(ArtifactStore::Bucket(text.to_owned())),
        "wasbs"
            if bucket.split_once('@').is_some_and(|(container, host)| !container.is_empty() && host.contains('.')) =>
        {
            Ok(ArtifactStore::Bucket(text.to_owned()))
        }
        "wasbs" => Err(malformed(
            KIND,
            text,
            "an Azure container is written `wasbs://container@account.blob.core.windows.net/prefix`",
            &[],
        )),
        "s3" | "gs" => Err(malformed(KIND, text, "it names no bucket", &[])),
        "gcs" => Err(malformed(KIND, text, "MLflow writes Google buckets `gs://`", &[&format!("write `gs://{rest}`")])),
        _ => Err(malformed(KIND, text, "the scheme is not known", &["`s3://`, `gs://` and `wasbs://` are"])),
    }
}
