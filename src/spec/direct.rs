//! Requirements that name a wheel by its place: `acme @ https://host/acme-1.0-py3-none-any.whl#sha256=…`, and
//! `acme @ file:wheels/acme-1.0-py3-none-any.whl` or `./wheels/acme-1.0-py3-none-any.whl` for one beside the spec.
//!
//! Such a requirement becomes an exact one, `acme==1.0`, and a [`FilePin`] that says which file that is. The form is that of
//! PEP 508 and, for the fragment, PEP 610. Repositories, source distributions and folders are refused by name, because
//! nothing is built here.

use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use pep508_rs::{Requirement, VerbatimUrl};

use super::error::Problem;
use super::{FilePin, requirements};
use crate::oci::{Digest, Hasher};
use crate::version::wheel_tag::{WheelFilename, normalize_name};
use crate::version::{PlaceError, WheelPlace};

type Blamed = (Problem, Range<usize>);

/// One requirement, and the file it names if it names one. Paths start from `folder`, that of the spec. On failure the
/// bytes of `text` to blame.
pub(super) fn parse(text: &str, folder: &Path) -> Result<(Requirement<VerbatimUrl>, Option<FilePin>), Blamed> {
    let Some(reference) = Reference::find(text) else { return Ok((requirements::parse(text)?, None)) };
    let blame = |problem| (problem, reference.range.clone());
    let address = reference.address;
    if let Some(repository) = repository(address) {
        return Err(blame(Problem::Repository { text: repository }));
    }
    let (bare, fragment) = address.split_once('#').map_or((address, None), |(bare, rest)| (bare, Some(rest)));
    if bare.contains("${") {
        return Err(blame(malformed(bare, "variables are not put in: the lock must mean the same everywhere")));
    }
    let place: WheelPlace = bare.parse().map_err(|error| blame(refused(bare, error)))?;
    let file = place.file_name();
    let Ok(wheel) = file.parse::<WheelFilename>() else {
        let is_wheel = file.to_lowercase().ends_with(".whl");
        let problem = match is_wheel {
            true => malformed(&file, "the name of a wheel has five or six parts, as in `acme-1.0-py3-none-any.whl`"),
            false => Problem::NoWheel { file: if file.is_empty() { crate::redact::text(bare) } else { file } },
        };
        return Err(blame(problem));
    };
    let name = reference.name.unwrap_or(&wheel.name);
    let (bare_name, _) = name.split_once('[').unwrap_or((name, ""));
    let expected = normalize_name(bare_name.trim());
    if expected != wheel.name {
        return Err(blame(Problem::OtherWheel { file, expected, found: wheel.name }));
    }
    let mut digests: Vec<Digest> = fragment.map(digest).transpose().map_err(&blame)?.into_iter().collect();
    if let WheelPlace::File(path) = &place {
        let found = digest_of_file(folder, path).map_err(&blame)?;
        if let Some(expected) = digests.iter().copied().find(|digest| *digest != found) {
            return Err(blame(Problem::OtherBytes { path: path.clone(), expected, found }));
        }
        digests = vec![found];
    }
    let exact = format!("{name}=={}{}", wheel.version, reference.marker);
    let requirement = requirements::parse(&exact).map_err(|(problem, _)| (problem, 0..text.len()))?;
    Ok((requirement.clone(), Some(FilePin { requirement, place: Some(place), digests })))
}

/// The parts of a requirement that names a place.
struct Reference<'a> {
    /// Name with extras; `None` if the file's name must tell.
    name: Option<&'a str>,
    /// URL or path, with its fragment.
    address: &'a str,
    /// Where the address stands in the text.
    range: Range<usize>,
    /// From the `;` on.
    marker: &'a str,
}

impl<'a> Reference<'a> {
    fn find(text: &'a str) -> Option<Self> {
        let (head, marker) = text.split_at(text.find(';').unwrap_or(text.len()));
        let named = head.split_once('@').filter(|(name, _)| !name.contains(['/', ':', '.']) || is_name(name));
        let (name, address) = match named {
            Some((name, address)) => (Some(name.trim()), address),
            None => (None, head),
        };
        let start = head.len() - address.trim_start().len();
        let address = address.trim();
        let is_place = name.is_some()
            || address.contains("://")
            || address.starts_with(['.', '/', '~'])
            || address.contains('\\')
            || [".whl", ".zip", ".tar.gz"].iter().any(|ending| address.to_lowercase().ends_with(ending));
        is_place.then(|| Self { name, address, range: start..start + address.len(), marker })
    }
}

/// Whether a text is a name, maybe with extras.
fn is_name(text: &str) -> bool {
    let name = text.split('[').next().unwrap_or(text).trim();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The address of a version control system, without credentials.
fn repository(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once(':')?;
    let system = scheme.split('+').next().unwrap_or(scheme);
    let is_system = matches!(system, "git" | "hg" | "svn" | "bzr");
    let path = Path::new(rest.split('#').next().unwrap_or(rest));
    let is_clone = path.extension().is_some_and(|extension| extension == "git");
    (is_system || is_clone).then(|| format!("{scheme}:{}", hidden(rest)))
}

/// `//user:token@host/path` without the user.
fn hidden(rest: &str) -> String {
    let path = rest.trim_start_matches('/');
    let slashes = &rest[..rest.len() - path.len()];
    let (authority, tail) = path.split_at(path.find('/').unwrap_or(path.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{slashes}{host}{}", tail.split(['?', '#']).next().unwrap_or(tail))
}

fn refused(text: &str, error: PlaceError) -> Problem {
    let path = || text.strip_prefix("file:").unwrap_or(text).to_owned();
    match error {
        PlaceError::Credentials => Problem::Credentials,
        PlaceError::Absolute => Problem::AbsolutePath { path: path() },
        PlaceError::Outside => Problem::OutsideFolder { path: path() },
        PlaceError::Malformed(reason) => malformed(&crate::redact::text(text), &reason),
    }
}

fn malformed(text: &str, reason: &str) -> Problem {
    Problem::Malformed {
        kind: "the place of a wheel",
        text: text.to_owned(),
        reason: reason.to_owned(),
        help: vec![
            "write `acme @ https://host/acme-1.0-py3-none-any.whl#sha256=…`, or `acme @ file:wheels/…whl` for a wheel beside \
             the spec"
                .to_owned(),
        ],
    }
}

/// The digest of a fragment, `sha256=…`.
fn digest(fragment: &str) -> Result<Digest, Problem> {
    let hex = fragment.strip_prefix("sha256=").map(str::to_lowercase);
    hex.and_then(|hex| Digest::from_hex(&hex).ok())
        .ok_or_else(|| malformed(&format!("#{fragment}"), "the only fragment is `#sha256=` and 64 hexadecimal digits"))
}

/// sha256 of a wheel beside the spec. A link out of the folder is none.
fn digest_of_file(folder: &Path, path: &str) -> Result<Digest, Problem> {
    let unreadable = |error: std::io::Error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file beside the spec".to_owned(),
            _ => error.to_string(),
        };
        Problem::Unreadable { path: path.to_owned(), reason }
    };
    let real = folder.join(path).canonicalize().map_err(unreadable)?;
    if !real.starts_with(folder.canonicalize().map_err(unreadable)?) {
        return Err(Problem::OutsideFolder { path: path.to_owned() });
    }
    if !real.is_file() {
        return Err(Problem::NoWheel { file: path.to_owned() });
    }
    let mut file = std::fs::File::open(real).map_err(unreadable)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok(hasher.digest()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
