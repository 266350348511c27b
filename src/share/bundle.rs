//! The recipe of an image: spec, lock, rendered files, and the inputs that the spec names, as one artifact.
//!
//! Paths start from the folder of the spec; where the spec names requirements files above it, from the folder that holds them
//! all. What is in the image already does not travel: project files are read from their layer. Nothing secret does either:
//! rendered files never hold a secret, files that are called like credentials are refused on both sides, and so is a spec
//! with a password in an address. The bytes follow from the files alone.
//!
//! A reader trusts no more than the image's own digest covers: the lock must be the one that the image's config names, and
//! the spec the one that the lock answers. Rendered files and seeds are as trustworthy as whoever may push.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{Error, Image};
use crate::assemble::files::looks_like_credential;
use crate::lock::Lock;
use crate::oci::Digest;
use crate::publish::artifact::{self, Artifact, DOCUMENT_LIMIT, Descriptor, Document};
use crate::registry::Registries;
use crate::render::Rendered;
use crate::spec::Spec;
use crate::version::WheelPlace;

/// What a recipe is, among the things attached to an image.
pub const RECIPE_TYPE: &str = "application/vnd.imgforge.recipe.v1";
/// On the manifest: the address of the lock.
pub const LOCK_ANNOTATION: &str = "dev.imgforge.recipe.lock";
/// On the manifest: which image of the environment it is, `churn` or `churn-mlflow`.
pub const IMAGE_ANNOTATION: &str = "dev.imgforge.recipe.image";
/// On a document: its path.
const TITLE: &str = "org.opencontainers.image.title";
/// Files of one recipe.
const FILE_LIMIT: usize = 5000;
/// Longest path, in bytes; file systems stop there.
const PATH_LIMIT: usize = 1024;

/// What a file of a recipe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The spec.
    Spec,
    /// The lock.
    Lock,
    /// What the spec names: requirements files, wheels beside it, seeds.
    Input,
    /// Made from the lock.
    Rendered,
}

impl Role {
    const ALL: [Self; 4] = [Self::Spec, Self::Lock, Self::Input, Self::Rendered];

    /// Media type of such a document.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Spec => "application/vnd.imgforge.spec.v1+yaml",
            Self::Lock => "application/vnd.imgforge.lock.v1+toml",
            Self::Input => "application/vnd.imgforge.input.v1",
            Self::Rendered => "application/vnd.imgforge.rendered.v1",
        }
    }

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Lock => "lock",
            Self::Input => "input",
            Self::Rendered => "rendered",
        }
    }

    fn of(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.media_type() == media_type)
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What it is.
    pub role: Role,
    /// The exact bytes.
    pub bytes: Vec<u8>,
}

/// A recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Path of the spec among the files.
    pub spec: String,
    /// Path of the lock, beside it.
    pub lock: String,
    /// All files by path.
    pub files: BTreeMap<String, File>,
}

impl Bundle {
    /// What travels with the images of `lock`, which answers `spec`.
    pub fn collect(spec: &Spec, lock: &Lock, rendered: &Rendered) -> Result<Self, Error> {
        let inputs = Inputs::of(spec)?;
        let spec_path = inputs.path(&spec.path)?;
        let folder = spec_path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let beside = |name: &str| match &folder {
            Some(folder) => format!("{folder}/{name}"),
            None => name.to_owned(),
        };
        let mut bundle = Self { lock: beside("imgforge.lock"), spec: spec_path, files: BTreeMap::new() };
        let lock_text = lock.to_text().into_bytes();
        bundle.files.insert(bundle.lock.clone(), File { role: Role::Lock, bytes: lock_text });
        bundle.files.extend(inputs.read(&bundle.spec)?);
        for (path, file) in &rendered.files {
            let path = beside(&format!("generated/{}/{path}", lock.name));
            bundle.files.entry(path).or_insert(File { role: Role::Rendered, bytes: file.bytes.clone() });
        }
        let size: u64 = bundle.files.values().map(|file| file.bytes.len() as u64).sum();
        if size > DOCUMENT_LIMIT {
            let largest = bundle.files.iter().max_by_key(|(_, file)| file.bytes.len());
            let path = largest.map(|(path, _)| PathBuf::from(path)).unwrap_or_default();
            let problem =
                format!("all that travels may have {} MiB, and it has {} MiB", DOCUMENT_LIMIT >> 20, size >> 20);
            return Err(Error::Input { path, problem });
        }
        Ok(bundle)
    }

    /// The recipe as an artifact that belongs to `subject`, which is the image called `name`.
    pub fn to_artifact(&self, name: &str, subject: Descriptor) -> Artifact {
        let mut files: Vec<(&String, &File)> = self.files.iter().collect();
        files.sort_by_key(|(path, file)| (file.role, *path));
        let document =
            |(path, file): (&String, &File)| Document::new(file.role.media_type(), file.bytes.clone()).titled(path);
        let mut recipe = Artifact::new(RECIPE_TYPE, files.into_iter().map(document).collect(), Some(subject));
        recipe.annotations.insert(LOCK_ANNOTATION.to_owned(), self.lock_digest().to_string());
        recipe.annotations.insert(IMAGE_ANNOTATION.to_owned(), name.to_owned());
        recipe
    }

    /// Reads the recipe whose address is `recipe` and that was attached to `subject`.
    pub fn from_artifact(artifact: Artifact, recipe: Digest, subject: &Digest) -> Result<Self, Error> {
        let refuse = |problem: String| Error::Refused { recipe, problem };
        if artifact.artifact_type != RECIPE_TYPE {
            return Err(refuse(format!("it is of the type `{}`", artifact.artifact_type)));
        }
        match &artifact.subject {
            Some(own) if own.digest == *subject => {}
            Some(own) => return Err(refuse(format!("it belongs to `{}`", own.digest))),
            None => return Err(refuse("it belongs to no image".to_owned())),
        }
        if artifact.documents.len() > FILE_LIMIT {
            return Err(refuse(format!("it has more than {FILE_LIMIT} files")));
        }
        let mut files = BTreeMap::new();
        let (mut specs, mut locks) = (Vec::new(), Vec::new());
        for document in artifact.documents {
            // Later versions may add kinds of documents.
            let Some(role) = Role::of(&document.media_type) else { continue };
            let path = document.annotations.get(TITLE).cloned().unwrap_or_default();
            if let Some(problem) = unsafe_path(&path) {
                return Err(refuse(format!("the path `{}` {problem}", path.escape_debug())));
            }
            match role {
                Role::Spec => specs.push(path.clone()),
                Role::Lock => locks.push(path.clone()),
                Role::Input | Role::Rendered => {}
            }
            if files.insert(path.clone(), File { role, bytes: document.bytes }).is_some() {
                return Err(refuse(format!("the path `{path}` is there twice")));
            }
        }
        let below = |path: &str| path.match_indices('/').any(|(at, _)| files.contains_key(&path[..at]));
        if let Some(path) = files.keys().find(|path| below(path)) {
            return Err(refuse(format!("the path `{path}` lies below a file")));
        }
        match (specs.as_slice(), locks.as_slice()) {
            ([spec], [lock]) => Ok(Self { spec: spec.clone(), lock: lock.clone(), files }),
            (specs, locks) => Err(refuse(format!(
                "it has {} specs and {} locks, and one of each was expected",
                specs.len(),
                locks.len()
            ))),
        }
    }

    /// The text of the lock.
    pub fn lock_text(&self) -> String {
        self.files.get(&self.lock).map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default()
    }

    /// Address of the lock: images carry it as a label.
    pub fn lock_digest(&self) -> Digest {
        Digest::of(self.files.get(&self.lock).map_or(&[][..], |file| &file.bytes))
    }
}

/// A recipe that is attached to an image, and its lock.
#[derive(Debug, Clone)]
pub struct Attached {
    /// Address of the artifact.
    pub digest: Digest,
    /// Which image of the environment it is attached to.
    pub image: String,
    /// The files.
    pub bundle: Bundle,
    /// The lock.
    pub lock: Lock,
    /// Other recipes of the same image that hold the same lock.
    pub others: Vec<Digest>,
}

impl Attached {
    /// Whether the image is the environment's own, and not that of one of its services.
    pub fn is_main(&self) -> bool {
        self.image == self.lock.name
    }
}

/// Reads the recipe that is attached to an image: the one asked for, else the last that holds the lock that the image was
/// made from.
pub fn attached(registries: &Registries, image: &Image, wanted: Option<&Digest>) -> Result<Attached, Error> {
    let none = || Error::NoRecipe { reference: image.name.clone(), is_ours: image.lock_digest().is_some() };
    let repository = image.reference.as_ref().ok_or_else(none)?;
    let subject = image.subject.digest;
    let made_from = image.lock_digest().ok_or_else(none)?;
    let referrers = artifact::attached(registries, repository, &subject, RECIPE_TYPE)?;
    if referrers.is_empty() {
        return Err(none());
    }
    let own = made_from.to_string();
    let chosen = if let Some(wanted) = wanted {
        referrers.iter().find(|referrer| referrer.digest == *wanted).ok_or_else(|| {
            let attached = referrers.iter().map(|referrer| referrer.digest).collect();
            Error::NoSuchRecipe { reference: image.name.clone(), wanted: *wanted, attached }
        })?
    } else {
        let fits = |annotation: Option<&String>| annotation.is_none_or(|lock| *lock == own);
        let mut last_first = referrers.iter().rev();
        last_first.find(|referrer| fits(referrer.annotations.get(LOCK_ANNOTATION))).unwrap_or(&referrers[0])
    };
    let digest = chosen.digest;
    let artifact = Artifact::read(registries, &repository.clone_with_digest(digest.to_string()))?;
    let name = artifact.annotations.get(IMAGE_ANNOTATION).cloned();
    let bundle = Bundle::from_artifact(artifact, digest, &subject)?;
    let found = bundle.lock_digest();
    if found != made_from {
        let problem = format!("its lock is `{found}`, and the image was made from `{made_from}`");
        return Err(Error::Refused { recipe: digest, problem });
    }
    let lock = Lock::parse(Path::new(&bundle.lock), &bundle.lock_text())?;
    let image = name.unwrap_or_else(|| lock.name.clone());
    let server = crate::render::mlflow_lock(&lock).map(|server| server.name);
    let refuse = |problem: String| Error::Refused { recipe: digest, problem };
    if lock.name.contains('/') || unsafe_path(&lock.name).is_some() {
        return Err(refuse(format!("its lock has the name `{}`", lock.name.escape_debug())));
    }
    if image != lock.name && Some(&image) != server.as_ref() {
        return Err(refuse(format!("it is for an image `{}`, which its lock does not have", image.escape_debug())));
    }
    let same = referrers.iter().filter(|referrer| referrer.annotations.get(LOCK_ANNOTATION) == Some(&own));
    let others = same.map(|referrer| referrer.digest).filter(|other| *other != digest).collect();
    Ok(Attached { digest, image, bundle, lock, others })
}

/// The files that a spec is read from, and the folder that holds them all.
struct Inputs {
    files: BTreeSet<PathBuf>,
    root: PathBuf,
}

impl Inputs {
    fn of(spec: &Spec) -> Result<Self, Error> {
        let mut files = BTreeSet::from([absolute(&spec.path)?]);
        let wheels = spec.file_pins.iter().filter_map(|pin| match &pin.value.place {
            Some(WheelPlace::File(path)) => Some(spec.folder.join(path)),
            _ => None,
        });
        let seeds = spec.services.postgres.iter().flat_map(|postgres| &postgres.seed);
        let seeds = seeds.map(|seed| spec.folder.join(&seed.value));
        // What it leaves out of the image is part of what the image is made from.
        let ignore = spec.folder.join(".dockerignore");
        let ignore = ignore.is_file().then_some(ignore);
        for file in spec.requirements_files.iter().cloned().chain(wheels).chain(seeds).chain(ignore) {
            files.insert(absolute(&file)?);
        }
        let mut root = absolute(&spec.path)?;
        root.pop();
        while !files.iter().all(|file| file.starts_with(&root)) && root.pop() {}
        Ok(Self { files, root })
    }

    /// The files by their paths; `spec` is the spec's.
    fn read(&self, spec: &str) -> Result<BTreeMap<String, File>, Error> {
        let mut files = BTreeMap::new();
        for file in &self.files {
            let path = self.path(file)?;
            let bytes = read(file)?;
            if let (Some(line), false) = (credential_line(&bytes), is_data(&path)) {
                return Err(Error::Secret { path: format!("{path}:{line}"), what: "an address with a password" });
            }
            let role = if path == spec { Role::Spec } else { Role::Input };
            files.insert(path, File { role, bytes });
        }
        Ok(files)
    }

    /// The path of a file below the root, with `/` between its parts.
    fn path(&self, file: &Path) -> Result<String, Error> {
        let file = absolute(file)?;
        let refuse = |problem: &str| Error::Input { path: file.clone(), problem: problem.to_owned() };
        let path = file.strip_prefix(&self.root).map_err(|_| refuse("it lies on another disk"))?;
        let path = path.to_str().ok_or_else(|| refuse("its path is not UTF-8"))?;
        match unsafe_path(path) {
            None => Ok(path.to_owned()),
            Some(problem) => Err(refuse(&format!("its path {problem}"))),
        }
    }
}

/// Checks that nothing keeps a spec's recipe from travelling, before anything is built or pushed.
pub fn check(spec: &Spec) -> Result<(), Error> {
    let inputs = Inputs::of(spec)?;
    let path = inputs.path(&spec.path)?;
    inputs.read(&path).map(drop)
}

/// The path from the file system's root, without `.` and `..`; links are not followed.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(path).map_err(Error::io("find", path))?;
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    Ok(normal)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size > DOCUMENT_LIMIT {
        let problem = format!("it has {} MiB, and all that travels may have {} MiB", size >> 20, DOCUMENT_LIMIT >> 20);
        return Err(Error::Input { path: path.to_owned(), problem });
    }
    std::fs::read(path).map_err(Error::io("read", path))
}

/// Files that are loaded into a database or installed: what looks like an address with a password there is data.
fn is_data(path: &str) -> bool {
    [".sql", ".csv", ".whl"].iter().any(|ending| path.ends_with(ending))
}

/// The first line, from 1, with an address such as `https://user:password@host`. Variables are no passwords.
fn credential_line(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let has_password = |rest: &str| {
        let end = rest.find(|c: char| c.is_whitespace() || "/?#'\"<>`,)".contains(c)).unwrap_or(rest.len());
        let user = rest[..end].rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
        user.is_some_and(|(_, password)| !password.is_empty() && !password.starts_with('$'))
    };
    let found = |line: &str| line.match_indices("://").any(|(at, mark)| has_password(&line[at + mark.len()..]));
    text.lines().position(found).map(|index| index + 1)
}

/// Why a path of a recipe is not written to a folder.
pub(super) fn unsafe_path(path: &str) -> Option<&'static str> {
    let mut parts = path.split('/');
    if path.is_empty() || path.starts_with('/') || parts.any(|part| matches!(part, "" | "." | "..")) {
        return Some("leads out of the folder");
    }
    if path.len() > PATH_LIMIT || path.contains(|c: char| c.is_control() || c == '\\') {
        return Some("is no path that imgforge writes");
    }
    if path.split('/').any(|part| part.eq_ignore_ascii_case(".git")) {
        return Some("is part of a repository");
    }
    looks_like_credential(path).then_some("is one where credentials are kept")
}
