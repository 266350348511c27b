//! A Python on this machine that compiles for an image: one that is installed, or the image's own out of its packages.
//!
//! Only the very release will do that the image has. Byte-code has the same magic number in all releases of a line, so any of
//! them could be loaded, but compilers change between them, and a layer's bytes must not depend on the machine. An
//! interpreter out of packages is started by its own loader with its own libraries: that needs no root and no container, and
//! works wherever the processor and the kernel are of the image's kind.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::Error;
use crate::debian::{self, NodeKind, RootOptions, build_root};
use crate::lock::LockedDeb;
use crate::oci::Platform;
use crate::version::PythonVersion;

/// What the interpreter runs.
const SCRIPT: &str = include_str!("worker.py");
/// Largest answer of a worker. Code is a few times larger than its source.
const ANSWER_LIMIT: u32 = 1 << 30;

/// An interpreter.
#[derive(Debug)]
pub struct Interpreter {
    program: PathBuf,
    /// What comes before the arguments of ours.
    arguments: Vec<OsString>,
    /// As it introduces itself.
    identity: String,
    /// Where it was unpacked.
    folder: Option<TempDir>,
}

/// A release of an interpreter: its line is part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `3.13`.
    pub line: PythonVersion,
    /// `3.13.5`.
    pub text: String,
}

impl Release {
    /// The release that a version names, `3.13.5-2+deb13u1` or `3.13.5`, if it is a final one of this line.
    pub fn parse(version: &str, line: PythonVersion) -> Option<Self> {
        let text = version.split(['-', '+']).next()?;
        let patch = text.strip_prefix(&format!("{line}."))?;
        let is_number = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| Self { line, text: text.to_owned() })
    }

    /// The release that packages of Debian or Ubuntu hold.
    pub fn of_packages(debs: &[LockedDeb], line: PythonVersion) -> Option<Self> {
        let names = [format!("python{line}-minimal"), format!("python{line}")];
        let named = |name: &String| debs.iter().find(|deb| deb.name == *name);
        Self::parse(&names.iter().find_map(named)?.version, line)
    }

    /// As the folder `__pycache__` has it: `cpython-313`.
    pub fn tag(&self) -> String {
        format!("cpython-{}{}", self.line.major, self.line.minor)
    }

    /// What an interpreter of this release says of itself: final, and neither a debugging nor a free-threaded build.
    fn identity(&self) -> String {
        format!("cpython {} {}", self.text, self.tag())
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The packages that an interpreter needs to start and to compile.
pub fn packages(line: PythonVersion) -> [String; 5] {
    [
        format!("python{line}-minimal"),
        format!("libpython{line}-minimal"),
        "libc6".to_owned(),
        "libexpat1".to_owned(),
        "zlib1g".to_owned(),
    ]
}

impl Interpreter {
    /// One of the release that is on the `PATH`; else the identities of those that are.
    pub fn installed(release: &Release) -> Result<Self, Vec<String>> {
        let mut others = Vec::new();
        for name in [format!("python{}", release.line), "python3".to_owned(), "python".to_owned()] {
            let found =
                Self { program: name.into(), arguments: Vec::new(), identity: release.identity(), folder: None };
            match found.start() {
                Ok(_) => return Ok(found),
                Err(Error::Identity { found, .. }) if !others.contains(&found) => others.push(found),
                Err(_) => {}
            }
        }
        Err(others)
    }

    /// The one that `debs` hold, each with the path of its file: those of [`packages`], for the processor of this machine.
    pub fn unpack(
        debs: &[(LockedDeb, PathBuf)],
        release: &Release,
        platform: Platform,
        scratch: &Path,
    ) -> Result<Self, Error> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action, path, source }
        };
        let root = build_root(debs, &RootOptions { spool_folder: scratch.to_owned(), below: None })?;
        let folder = tempfile::Builder::new().prefix(".imgforge-python-").tempdir_in(scratch);
        let folder = folder.map_err(failed("create a folder in", scratch))?;
        for (path, node) in root.nodes().filter(|(path, _)| is_needed(path)) {
            let place = folder.path().join(path);
            let written = match &node.kind {
                NodeKind::Directory => fs::create_dir_all(&place),
                NodeKind::File(content) => write_file(&place, node.mode, &mut *root.open(content)),
                // A link from the top would leave the folder.
                NodeKind::Symlink(target) if target.starts_with('/') => Ok(()),
                NodeKind::Symlink(target) => std::os::unix::fs::symlink(target, &place),
                NodeKind::Hardlink(_) => Ok(()),
            };
            written.map_err(failed("write", &place))?;
        }
        let (triplet, loader) = match platform {
            Platform::ARM64 => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
            _ => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
        };
        let libraries = folder.path().join("usr/lib").join(triplet);
        let python = folder.path().join(format!("usr/bin/python{}", release.line));
        let arguments = ["--inhibit-cache".into(), "--library-path".into(), libraries.clone().into(), python.into()];
        let interpreter = Self {
            program: libraries.join(loader),
            arguments: arguments.into(),
            identity: release.identity(),
            folder: Some(folder),
        };
        // Said here and not in the middle of a layer.
        interpreter.start().map(|_| interpreter)
    }

    /// Starts a worker.
    pub(super) fn start(&self) -> Result<Worker, Error> {
        let mut command = Command::new(&self.program);
        match self.folder {
            Some(_) => {
                command.env_clear();
            }
            // An installed one may need the loader's variables; those of Python would lead it to other modules.
            None => {
                for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PYTHON"))
                {
                    command.env_remove(name);
                }
            }
        }
        command.args(&self.arguments).args(["-B", "-s", "-S", "-W", "ignore", "-X", "utf8", "-c", SCRIPT]);
        // Sets of names have their order from it.
        command.env("PYTHONHASHSEED", "0").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = |source| Error::Start { program: self.program.clone(), source };
        let mut process = command.spawn().map_err(started)?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(started(io::ErrorKind::BrokenPipe.into()));
        };
        let mut worker = Worker { process, input: Some(input), output, magic: Vec::new() };
        let identity = worker.answer().map_err(started)?;
        if identity != self.identity.as_bytes() {
            let found = String::from_utf8_lossy(&identity).into_owned();
            return Err(Error::Identity { program: self.program.clone(), found, wanted: self.identity.clone() });
        }
        worker.magic = worker.answer().map_err(started)?;
        Ok(worker)
    }
}

/// Programs and libraries, without those that nothing needs to compile.
fn is_needed(path: &str) -> bool {
    let starts = |folder: &str| path.starts_with(folder) || path == folder.trim_end_matches('/');
    (starts("usr/bin/") || path.starts_with("usr/lib") || path == "usr") && !path.contains("/gconv")
}

fn write_file(path: &Path, mode: u32, content: &mut dyn io::Read) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // No other bits: the file is nobody's but ours.
    let mode = if mode & 0o111 == 0 { 0o600 } else { 0o700 };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    io::copy(content, &mut file)?;
    Ok(())
}

/// A running interpreter.
#[derive(Debug)]
pub(super) struct Worker {
    process: Child,
    /// Closed to end it.
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Of its byte-code.
    pub(super) magic: Vec<u8>,
}

impl Worker {
    /// Hash of the source and marshalled code; nothing if it does not compile.
    pub(super) fn compile(&mut self, path: &str, source: &[u8]) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        for part in [path.as_bytes(), source] {
            let length = u32::try_from(part.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            input.write_all(&length.to_le_bytes())?;
            input.write_all(part)?;
        }
        input.flush()?;
        let mut answer = self.answer()?;
        if answer.is_empty() {
            return Ok(None);
        }
        if answer.len() < 8 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let code = answer.split_off(8);
        Ok(Some((answer, code)))
    }

    fn answer(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.output.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > ANSWER_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut answer = Vec::new();
        (&mut self.output).take(u64::from(length)).read_to_end(&mut answer)?;
        if answer.len() < length as usize { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It ends with its input. One that is not ours may do as it likes with it.
        drop(self.input.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl From<debian::Error> for Error {
    fn from(error: debian::Error) -> Self {
        Self::Debian(Box::new(error))
    }
}
