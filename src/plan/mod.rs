//! Stage 5: a lock as ordered, declarative steps; the one source for the Dockerfile and for the assembled image.
//!
//! Neither branch chooses anything. A step that one branch cannot carry out is refused there by name, never skipped.

mod folders;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use folders::folders_for;

use crate::lock::{ImageSettings, Lock, LockedBase, LockedDeb, LockedFile, LockedPlatform, LockedWheel};
use crate::oci::{Compression, Digest, Platform};
use crate::version::PythonVersion;

/// Where the environment lies in every image.
pub const VENV: &str = "/opt/venv";
/// Numeric user and group of the image's user, or where the base has given that away, the next that it has not.
pub const USER_ID: u32 = 1000;

/// Everything that one platform's image is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Image name.
    pub name: String,
    /// Platform.
    pub platform: Platform,
    /// Python line.
    pub python: PythonVersion,
    /// Address of the lock's text, for labels.
    pub lock_digest: Digest,
    /// Of the layers that are made.
    pub compression: Compression,
    /// Steps in order: base, system packages, user, environment, wheels, byte-code, files, run.
    pub steps: Vec<Step>,
    /// The image config.
    pub config: ImageConfig,
}

/// One declarative step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Start from this base. For kind `debian` the packages follow as [`Step::SystemPackages`] with `base: true`.
    Base(LockedBase),
    /// Debian packages; `base` says whether they are the base itself.
    SystemPackages {
        /// The files.
        debs: Vec<LockedDeb>,
        /// Whether they make up the base.
        base: bool,
    },
    /// The user the image runs as, with a home folder and the working directory.
    User {
        /// Name.
        name: String,
        /// Working directory, made for that user.
        workdir: String,
    },
    /// An empty virtual environment at [`VENV`] over the base's interpreter.
    Environment {
        /// The base's interpreter.
        interpreter: String,
    },
    /// Wheels installed into the environment.
    Wheels(Vec<LockedWheel>),
    /// Their modules, compiled ahead.
    ByteCode(Vec<LockedWheel>),
    /// Project files.
    Files(Vec<FileCopy>),
    /// A shell command: only an engine can run it.
    Run(String),
}

/// A copy from the project.
#[derive(Debug, Clone)]
pub struct FileCopy {
    /// Source on this machine.
    pub source: PathBuf,
    /// The source as the spec writes it.
    pub from: String,
    /// Absolute path in the image.
    pub to: String,
}

impl FileCopy {
    /// The lock's copies, out of the spec's folder.
    pub fn of(lock: &Lock, folder: &Path) -> Vec<Self> {
        let copy =
            |file: &LockedFile| Self { source: folder.join(&file.from), from: file.from.clone(), to: file.to.clone() };
        lock.image.files.iter().map(copy).collect()
    }
}

/// The config an image of ours has, whoever builds it.
#[derive(Debug, Clone)]
pub struct ImageConfig {
    /// Environment variables, complete, in a stable order.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// User name.
    pub user: String,
    /// Working directory.
    pub workdir: String,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Default command.
    pub command: Vec<String>,
}

impl Plan {
    /// The plan for one of the lock's platforms. `folder` is the spec's folder, where project files are.
    pub fn from_lock(lock: &Lock, platform: &LockedPlatform, lock_digest: Digest, folder: &Path) -> Self {
        let image = &lock.image;
        let mut steps = vec![Step::Base(platform.base.clone())];
        if !platform.debs.is_empty() {
            steps.push(Step::SystemPackages { debs: platform.debs.clone(), base: platform.base.kind == "debian" });
        }
        steps.push(Step::User { name: image.user.clone(), workdir: image.workdir.clone() });
        steps.push(Step::Environment { interpreter: platform.base.interpreter.clone() });
        if !platform.wheels.is_empty() {
            steps.push(Step::Wheels(platform.wheels.clone()));
            if image.compile {
                steps.push(Step::ByteCode(platform.wheels.clone()));
            }
        }
        if !image.files.is_empty() {
            steps.push(Step::Files(FileCopy::of(lock, folder)));
        }
        steps.extend(image.run.iter().cloned().map(Step::Run));
        Self {
            name: lock.name.clone(),
            platform: platform.name,
            python: lock.stack.python,
            lock_digest,
            compression: image.compression,
            steps,
            config: ImageConfig::from_lock(lock, image, lock_digest),
        }
    }
}

impl ImageConfig {
    fn from_lock(lock: &Lock, image: &ImageSettings, lock_digest: Digest) -> Self {
        let mut env = BTreeMap::from([
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PATH".to_owned(), format!("{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
            ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
            ("VIRTUAL_ENV".to_owned(), VENV.to_owned()),
        ]);
        if lock.stack.accelerator == "cuda" {
            env.insert("NVIDIA_VISIBLE_DEVICES".to_owned(), "all".to_owned());
            env.insert("NVIDIA_DRIVER_CAPABILITIES".to_owned(), "compute,utility".to_owned());
        }
        env.extend(image.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut labels = BTreeMap::from([
            ("org.opencontainers.image.title".to_owned(), lock.name.clone()),
            ("dev.imgforge.lock".to_owned(), lock_digest.to_string()),
            ("dev.imgforge.python".to_owned(), lock.stack.python.to_string()),
            ("dev.imgforge.accelerator".to_owned(), lock.stack.accelerator.clone()),
        ]);
        if let Some(version) = &image.version {
            labels.insert("org.opencontainers.image.version".to_owned(), version.clone());
        }
        for (name, value) in
            [("cuda", &lock.stack.cuda), ("cudnn", &lock.stack.cudnn), ("driver-minimum", &lock.stack.driver_minimum)]
        {
            if let Some(value) = value {
                labels.insert(format!("dev.imgforge.{name}"), value.clone());
            }
        }
        Self {
            env,
            labels,
            user: image.user.clone(),
            workdir: image.workdir.clone(),
            entrypoint: image.entrypoint.clone(),
            command: image.command.clone(),
        }
    }
}
