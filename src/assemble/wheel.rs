//! A wheel, installed straight into a layer.
//!
//! Source: "Binary distribution format" of the Python packaging specifications, and pip where it is silent. Nothing is
//! unpacked: an [`Installation`] says which member or which bytes of ours end up at which path, and writing it copies the
//! members' streams, checking size, CRC-32 and RECORD hash on the way. Byte-code is not compiled here, because its bytes depend
//! on the interpreter's patch release; see [`super::byte_code`].

mod modules;
mod set;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::str::FromStr as _;

use pep440_rs::Version;

use super::entry_points;
use super::gzip::{self, Deflated};
use super::layer::{self, LayerWriter};
use super::record::{self, Hashing, RecordedHash, Row};
use super::tar::Owner;
use super::zip::{self, Archive, Member, Method};
use crate::diagnostic::Hint;
use crate::version::PythonVersion;
use crate::version::wheel_tag::{FilenameError, WheelFilename, normalize_name};

pub(super) use set::open_all;
pub use set::{Conflict, WheelInput, examine, write_opened, write_wheels};

/// Files of `.dist-info` that are read into memory may be this large, and so may all scripts of a wheel together whose first
/// line is rewritten. The largest RECORDs have a few MB.
const MEMORY_LIMIT: u64 = 64 << 20;

/// What is wrong with a file that must be read into memory and cannot be.
const TOO_LARGE: &str = "is too large for what it is";
/// What is wrong with a file in the place of the environment's interpreter or of a folder.
const OWN: &str = "would replace a part of the environment itself";

/// A wheel that cannot be installed, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot install `{wheel}`: {problem}")]
pub struct Error {
    /// File name of the wheel.
    pub wheel: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a wheel.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be opened.
    #[error("cannot open `{path}`: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The name is not a wheel's.
    #[error(transparent)]
    Filename(#[from] FilenameError),
    /// The archive is not sound.
    #[error(transparent)]
    Zip(#[from] zip::Error),
    /// A member that no wheel may have.
    #[error("its member `{name}` {reason}")]
    Member {
        /// Name of the member.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not exactly one `.dist-info` folder.
    #[error("it has {} folders `.dist-info`, and must have one", .0.len())]
    DistInfo(Vec<String>),
    /// The `.dist-info` folder is another distribution's.
    #[error("its folder `{0}` does not match the file name")]
    OtherDistribution(String),
    /// A file that every wheel has is missing.
    #[error("it has no `{0}`")]
    Missing(String),
    /// The format version is not 1.
    #[error("its Wheel-Version is `{0}`, and only 1.x is known")]
    WheelVersion(String),
    /// A damaged line of RECORD.
    #[error("line {line} of its RECORD: {reason}")]
    Record {
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A damaged line of `entry_points.txt`.
    #[error("its entry point `{0}` is not `name = module:attribute`, or contradicts another")]
    EntryPoint(String),
    /// A file that is not what RECORD says.
    #[error("its member `{name}` is not what its RECORD says: {found} in place of {recorded}")]
    NotAsRecorded {
        /// Name of the member.
        name: String,
        /// Hash or size recorded.
        recorded: String,
        /// Hash or size found.
        found: String,
    },
    /// A content that is not what the archive says.
    #[error("its member `{name}`: {source}")]
    Content {
        /// Name of the member.
        name: String,
        /// What is wrong with it.
        source: gzip::Error,
    },
    /// Two members, or a member and a generated script, want the same path.
    #[error("it would put two files at `{0}`")]
    Twice(String),
    /// The layer could not be written.
    #[error(transparent)]
    Layer(#[from] layer::Error),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match &self.problem {
            Problem::Open { .. } | Problem::Layer(layer::Error::Write(_)) => Vec::new(),
            Problem::WheelVersion(_) => vec!["choose another release of this package in `packages:`".to_owned()],
            _ => vec![
                "the file is what the lock names, so fetching it again will not help".to_owned(),
                "choose another release of this package in `packages:`, and tell its publisher".to_owned(),
            ],
        }
    }
}

/// The virtual environment that wheels are installed into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Absolute path of the environment, `/opt/venv`.
    pub prefix: String,
    /// Python line.
    pub python: PythonVersion,
}

impl Site {
    /// Absolute path of the environment's interpreter.
    pub fn interpreter(&self) -> String {
        format!("{}/bin/python", self.prefix)
    }
    /// Paths below [`Self::root`] that lead to the interpreter; the first is the one that the others lead to.
    pub(super) fn interpreter_names(&self) -> [String; 3] {
        ["python".to_owned(), "python3".to_owned(), format!("python{}", self.python)].map(|name| format!("bin/{name}"))
    }
    /// The environment's folder as a path in a layer.
    pub(super) fn root(&self) -> &str {
        self.prefix.trim_matches('/')
    }
    /// Whether a file at this path below [`Self::root`] would take away the interpreter or a folder that wheels share.
    fn is_own(&self, path: &str) -> bool {
        let library = self.library();
        let is_above =
            |folder: &str| folder == path || folder.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        ["pyvenv.cfg", "lib64", "bin", "include", library.as_str()].into_iter().any(is_above)
            || self.interpreter_names().iter().any(|name| name == path)
    }
    /// `site-packages` below [`Self::root`]; pure and platform-specific files share it.
    pub(super) fn library(&self) -> String {
        format!("lib/python{}/site-packages", self.python)
    }
}

/// An open wheel whose directory, WHEEL and RECORD have been read.
pub struct Wheel<R> {
    file: String,
    filename: WheelFilename,
    archive: Archive<R>,
    /// Name and version as the `.dist-info` folder spells them.
    dist_info: String,
    record: BTreeMap<String, Row>,
}

/// What a wheel becomes in an environment.
#[derive(Debug)]
pub struct Installation {
    /// Normalised name of the distribution.
    pub name: String,
    /// Version, normalised.
    pub version: Version,
    /// Files by path in the layer.
    pub files: BTreeMap<String, InstalledFile>,
    /// What a careful reader may want to know and no installer minds, one sentence each.
    pub notes: Vec<String>,
}

/// One file of an installation.
#[derive(Debug)]
pub struct InstalledFile {
    /// 0755 in place of 0644.
    pub executable: bool,
    /// CRC-32 and size: enough to tell whether two wheels' files differ.
    pub checksum: (u32, u64),
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A member of the archive, unchanged.
    Member(usize),
    /// Made by us.
    Bytes(Vec<u8>),
}

/// Where a member goes.
struct Destination {
    /// Relative to the environment.
    path: String,
    is_script: bool,
}

impl<R: Read + Seek> Wheel<R> {
    /// Opens a wheel; its file name decides which distribution it must be.
    pub fn open(source: R, file: &str) -> Result<Self, Error> {
        Self::open_inner(source, file).map_err(|problem| Error { wheel: file.to_owned(), problem })
    }

    /// What installing into `site` means.
    pub fn installation(&mut self, site: &Site) -> Result<Installation, Error> {
        self.installation_inner(site).map_err(|problem| Error { wheel: self.file.clone(), problem })
    }

    fn open_inner(source: R, file: &str) -> Result<Self, Problem> {
        let filename: WheelFilename = file.parse()?;
        let archive = Archive::open(source)?;
        let mut folders = BTreeSet::new();
        for member in archive.members() {
            check_member(member)?;
            let top = member.name.split('/').next().unwrap_or_default();
            if let Some(stem) = top.strip_suffix(".dist-info") {
                folders.insert(stem.to_owned());
            }
        }
        let dist_info = match folders.pop_first() {
            Some(only) if folders.is_empty() => only,
            first => return Err(Problem::DistInfo(first.into_iter().chain(folders).collect())),
        };
        let matches = dist_info.rsplit_once('-').is_some_and(|(name, version)| {
            normalize_name(name) == filename.name
                && Version::from_str(&version.replace('_', "-")).is_ok_and(|version| version == filename.version)
        });
        if !matches {
            return Err(Problem::OtherDistribution(format!("{dist_info}.dist-info")));
        }
        let mut wheel = Self { file: file.to_owned(), filename, archive, dist_info, record: BTreeMap::new() };
        let version = wheel.metadata_text("WHEEL")?;
        let version = version.lines().find_map(|line| line.strip_prefix("Wheel-Version:")).unwrap_or_default().trim();
        if version.split('.').next() != Some("1") {
            return Err(Problem::WheelVersion(version.to_owned()));
        }
        wheel.index_of(&format!("{}.dist-info/METADATA", wheel.dist_info))?;
        let record = wheel.metadata_text("RECORD")?;
        wheel.record = record::parse(&record).map_err(|(line, reason)| Problem::Record { line, reason })?;
        Ok(wheel)
    }

    fn installation_inner(&mut self, site: &Site) -> Result<Installation, Problem> {
        let commands = match self.metadata_text("entry_points.txt") {
            Ok(text) => entry_points::parse(&text).map_err(Problem::EntryPoint)?,
            Err(Problem::Missing(_)) => Vec::new(),
            Err(problem) => return Err(problem),
        };
        let mut files: BTreeMap<String, (InstalledFile, Row)> = BTreeMap::new();
        let mut insert = |path: String, file: InstalledFile, row: Row| match files.insert(path.clone(), (file, row)) {
            None => Ok(()),
            Some(_) => Err(Problem::Twice(path)),
        };
        let mut notes = Vec::new();
        let is_command = |name: &str| commands.binary_search_by(|known| known.name.as_str().cmp(name)).is_ok();
        let mut rewritten = 0;
        let record_name = format!("{}.dist-info/RECORD", self.dist_info);
        let installer = format!("{}.dist-info/INSTALLER", self.dist_info);
        for index in 0..self.archive.members().len() {
            let Some(member) = self.archive.members().get(index).cloned() else { break };
            if member.name.ends_with('/') || member.name == record_name || member.name == installer {
                continue;
            }
            let destination = self.destination(&member.name, site)?;
            let row = match self.record.get(&member.name) {
                Some(row) => row.clone(),
                None => Row::default(),
            };
            if let Some(size) = row.size.filter(|&size| size != member.uncompressed_size) {
                let (recorded, found) = (format!("{size} bytes"), format!("{} bytes", member.uncompressed_size));
                return Err(Problem::NotAsRecorded { name: member.name, recorded, found });
            }
            if row.hash.is_none() && !is_signature(&member.name, &record_name) {
                notes.push(format!("`{}` has no hash in RECORD", member.name));
            }
            let mut executable = member.unix_mode & 0o111 != 0;
            if destination.is_script {
                let command = destination.path.strip_prefix("bin/").unwrap_or_default();
                if is_command(launcher_name(command)) {
                    continue;
                }
                executable = true;
                if self.read_start(&member)?.starts_with(b"#!python") {
                    rewritten += member.uncompressed_size;
                    if rewritten > MEMORY_LIMIT {
                        return Err(Problem::Member { name: member.name, reason: TOO_LARGE });
                    }
                    let script = with_interpreter(&self.read_member(index)?, &site.interpreter());
                    let row = Row { hash: Some(RecordedHash::of(&script)), size: Some(script.len() as u64) };
                    insert(destination.path, InstalledFile::from_bytes(script, true), row)?;
                    continue;
                }
            }
            let checksum = (member.crc32, member.uncompressed_size);
            insert(destination.path, InstalledFile { executable, checksum, content: Content::Member(index) }, row)?;
        }
        let library = site.library();
        let mut generated = vec![(format!("{library}/{installer}"), b"imgforge\n".to_vec(), false)];
        for command in &commands {
            let path = format!("bin/{}", command.name);
            if site.is_own(&path) {
                return Err(Problem::Member {
                    name: format!("{}.dist-info/entry_points.txt", self.dist_info),
                    reason: OWN,
                });
            }
            generated.push((path, command.script(&site.interpreter()).into_bytes(), true));
        }
        for (path, bytes, executable) in generated {
            let row = Row { hash: Some(RecordedHash::of(&bytes)), size: Some(bytes.len() as u64) };
            insert(path, InstalledFile::from_bytes(bytes, executable), row)?;
        }
        let mut rows: BTreeMap<String, Row> =
            files.iter().map(|(path, (_, row))| (relative(path, &library), row.clone())).collect();
        rows.insert(record_name.clone(), Row::default());
        let record = InstalledFile::from_bytes(record::render(&rows).into_bytes(), false);
        if files.insert(format!("{library}/{record_name}"), (record, Row::default())).is_some() {
            return Err(Problem::Twice(record_name));
        }
        let root = site.root();
        Ok(Installation {
            name: self.filename.name.clone(),
            version: self.filename.version.clone(),
            files: files.into_iter().map(|(path, (file, _))| (format!("{root}/{path}"), file)).collect(),
            notes,
        })
    }

    /// The schemes of `.data` and the root, which is the library.
    fn destination(&self, name: &str, site: &Site) -> Result<Destination, Problem> {
        let refuse = |reason| Problem::Member { name: name.to_owned(), reason };
        let (top, rest) = name.split_once('/').unwrap_or((name, ""));
        if rest.is_empty() || top.strip_suffix(".data").is_none() {
            return Ok(Destination { path: format!("{}/{name}", site.library()), is_script: false });
        }
        let (scheme, rest) = rest.split_once('/').ok_or_else(|| refuse("lies in `.data` without a scheme"))?;
        let path = match scheme {
            "purelib" | "platlib" => format!("{}/{rest}", site.library()),
            "scripts" => format!("bin/{rest}"),
            // `lib64` is a link to `lib`; a folder in its place would hide what lies there.
            "data" => rest.strip_prefix("lib64/").map_or_else(|| rest.to_owned(), |rest| format!("lib/{rest}")),
            "headers" => format!("include/site/python{}/{}/{rest}", site.python, self.filename.name),
            _ => return Err(refuse("lies in `.data` under a scheme that is not known")),
        };
        if site.is_own(&path) {
            return Err(refuse(OWN));
        }
        Ok(Destination { path, is_script: scheme == "scripts" })
    }

    fn index_of(&self, name: &str) -> Result<usize, Problem> {
        let position = self.archive.members().iter().position(|member| member.name == name);
        position.ok_or_else(|| Problem::Missing(name.to_owned()))
    }

    fn metadata_text(&mut self, name: &str) -> Result<String, Problem> {
        let name = format!("{}.dist-info/{name}", self.dist_info);
        let bytes = self.read_member(self.index_of(&name)?)?;
        String::from_utf8(bytes).map_err(|_| Problem::Member { name, reason: "is not UTF-8" })
    }

    /// A member's plain content, checked against the archive, and against RECORD once that has been read.
    fn read_member(&mut self, index: usize) -> Result<Vec<u8>, Problem> {
        let Some(member) = self.archive.members().get(index).cloned() else {
            return Err(Problem::Missing(index.to_string()));
        };
        if member.uncompressed_size > MEMORY_LIMIT {
            return Err(Problem::Member { name: member.name, reason: TOO_LARGE });
        }
        let mut content = Vec::new();
        let reader = self.archive.raw(&member)?;
        let read = match member.method {
            Method::Deflated => {
                let mut on_plain = |piece: &[u8]| content.extend_from_slice(piece);
                gzip::inflate(deflated(&member, reader), &mut io::sink(), &mut on_plain)
            }
            Method::Stored => read_stored(&member, reader, &mut content),
        };
        read.map_err(|source| Problem::Content { name: member.name.clone(), source })?;
        match self.record.get(&member.name).and_then(|row| row.hash.as_ref()) {
            Some(recorded) => check_hash(&member.name, recorded, &recorded.same_of(&content)).map(|()| content),
            None => Ok(content),
        }
    }

    /// The first bytes of a member, unchecked: only to decide how it will be treated.
    fn read_start(&mut self, member: &Member) -> Result<Vec<u8>, Problem> {
        let raw = self.archive.raw(member)?;
        let mut start = Vec::new();
        let read = match member.method {
            Method::Stored => raw.take(8).read_to_end(&mut start),
            Method::Deflated => flate2::read::DeflateDecoder::new(raw).take(8).read_to_end(&mut start),
        };
        read.map_err(|_| Problem::Content { name: member.name.clone(), source: gzip::Error::Damaged })?;
        Ok(start)
    }

    /// Writes one file of this wheel's installation.
    fn write<W: Write>(&mut self, path: &str, file: &InstalledFile, layer: &mut LayerWriter<W>) -> Result<(), Problem> {
        let mode = if file.executable { 0o755 } else { 0o644 };
        let index = match &file.content {
            Content::Bytes(bytes) => {
                layer.file_bytes(path, mode, Owner::ROOT, bytes)?;
                return Ok(());
            }
            Content::Member(index) => *index,
        };
        let Some(member) = self.archive.members().get(index).cloned() else {
            return Err(Problem::Missing(path.to_owned()));
        };
        let recorded = self.record.get(&member.name).and_then(|row| row.hash.clone());
        // The layer takes the sha256 anyway.
        let mut hashing = recorded.as_ref().filter(|recorded| !recorded.is_sha256()).map(RecordedHash::start);
        let raw = self.archive.raw(&member)?;
        let digest = match member.method {
            Method::Deflated => {
                let mut on_plain = |piece: &[u8]| {
                    if let Some(hashing) = &mut hashing {
                        hashing.update(piece);
                    }
                };
                layer.deflated(path, mode, Owner::ROOT, deflated(&member, raw), &mut on_plain)?
            }
            Method::Stored => {
                let mut checked = Checked { inner: raw, crc32: crc32fast::Hasher::new(), hashing };
                let digest = layer.file(path, mode, Owner::ROOT, member.uncompressed_size, &mut checked)?;
                let found = checked.crc32.finalize();
                if found != member.crc32 {
                    let source = gzip::Error::Crc32 { claimed: member.crc32, found };
                    return Err(Problem::Content { name: member.name, source });
                }
                hashing = checked.hashing;
                digest
            }
        };
        let found = hashing.map_or_else(|| RecordedHash::of_digest(&digest), Hashing::finish);
        recorded.map_or(Ok(()), |recorded| check_hash(&member.name, &recorded, &found))
    }
}

impl InstalledFile {
    fn from_bytes(bytes: Vec<u8>, executable: bool) -> Self {
        let checksum = (crc32fast::hash(&bytes), bytes.len() as u64);
        Self { executable, checksum, content: Content::Bytes(bytes) }
    }
}

/// Refuses names that would leave their folder and members that are neither files nor folders.
fn check_member(member: &Member) -> Result<(), Problem> {
    let refuse = |reason| Err(Problem::Member { name: member.name.clone(), reason });
    if member.name.contains('\\') || member.name.chars().any(char::is_control) {
        return refuse("has a backslash or a control character in its name");
    }
    if layer::check_path(member.name.strip_suffix('/').unwrap_or(&member.name)).is_err() {
        return refuse("has a name that is not a plain relative path");
    }
    match member.unix_mode & 0o170_000 {
        0 | 0o100_000 | 0o040_000 => Ok(()),
        0o120_000 => refuse("is a symbolic link, which no wheel may hold"),
        _ => refuse("is neither a file nor a folder"),
    }
}

fn deflated<R>(member: &Member, reader: R) -> Deflated<R> {
    let &Member { uncompressed_size, compressed_size, crc32, .. } = member;
    Deflated { uncompressed_size, compressed_size, crc32, reader }
}

fn read_stored(member: &Member, mut reader: impl Read, content: &mut Vec<u8>) -> Result<(), gzip::Error> {
    reader.read_to_end(content).map_err(gzip::Error::Read)?;
    let claimed = member.uncompressed_size;
    if content.len() as u64 != claimed {
        return Err(gzip::Error::Size { claimed, found: content.len() as u64 });
    }
    match crc32fast::hash(content) {
        found if found == member.crc32 => Ok(()),
        found => Err(gzip::Error::Crc32 { claimed: member.crc32, found }),
    }
}

fn check_hash(name: &str, recorded: &RecordedHash, found: &RecordedHash) -> Result<(), Problem> {
    if recorded == found {
        return Ok(());
    }
    let (recorded, found) = (recorded.to_string(), found.to_string());
    Err(Problem::NotAsRecorded { name: name.to_owned(), recorded, found })
}

/// The way from a folder to a path, as RECORD names files outside of the library.
fn relative(path: &str, folder: &str) -> String {
    let shared = path.split('/').zip(folder.split('/')).take_while(|(one, other)| one == other).count();
    let up = folder.split('/').skip(shared).map(|_| "..");
    up.chain(path.split('/').skip(shared)).collect::<Vec<_>>().join("/")
}

/// Signatures of RECORD have no row in it.
fn is_signature(name: &str, record_name: &str) -> bool {
    name.strip_prefix(record_name).is_some_and(|suffix| matches!(suffix, ".jws" | ".p7s"))
}

/// A script's name without what setuptools' launchers add: such a script stands for the entry point of that name.
fn launcher_name(script: &str) -> &str {
    [".exe", "-script.py", ".pya"].iter().find_map(|suffix| script.strip_suffix(suffix)).unwrap_or(script)
}

/// The script with its first line, `#!python...`, replaced.
fn with_interpreter(script: &[u8], interpreter: &str) -> Vec<u8> {
    let end = script.iter().position(|&byte| byte == b'\n').unwrap_or(script.len());
    let mut rewritten = format!("#!{interpreter}").into_bytes();
    rewritten.extend_from_slice(script.get(end..).unwrap_or_default());
    rewritten
}

/// Hashes what is read through it.
struct Checked<R> {
    inner: R,
    crc32: crc32fast::Hasher,
    hashing: Option<Hashing>,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        self.crc32.update(piece);
        if let Some(hashing) = &mut self.hashing {
            hashing.update(piece);
        }
        Ok(count)
    }
}
