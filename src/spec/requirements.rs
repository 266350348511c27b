//! PEP 508 requirements and pip's requirements files, as far as both say *which packages*.
//!
//! The file format is documented at <https://pip.pypa.io/en/stable/reference/requirements-file-format/>: comments,
//! continuation lines, `-r`, `-c` and hashes are followed. What says *where from* or *how to build* is refused by name,
//! because silently dropping an index would change what is installed.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use pep508_rs::{Requirement, VerbatimUrl};

use super::error::{Error, Problem};
use super::source::Source;
use super::{FilePin, Located, direct, options};
use crate::diagnostic::Origin;

/// Longest requirement that is parsed.
const REQUIREMENT_LIMIT: usize = 1000;
/// `and` and `or` of a marker: its normal form grows exponentially with them.
const MARKER_LIMIT: usize = 24;
/// Largest requirements file, in bytes.
const FILE_LIMIT: usize = 1 << 20;
/// Files read for one spec.
const FILES_LIMIT: usize = 64;

/// One requirement; on failure the bytes of `text` to blame.
pub(super) fn parse(text: &str) -> Result<Requirement<VerbatimUrl>, (Problem, Range<usize>)> {
    let whole = 0..text.len();
    let malformed = |reason: &str, part: Range<usize>| {
        let problem = Problem::Malformed {
            kind: "a requirement",
            text: text.to_owned(),
            reason: reason.to_owned(),
            help: vec!["write it as in `transformers>=4.44` or `jax[cuda12]==0.4.35`".to_owned()],
        };
        (problem, part)
    };
    let before_marker = text.split(';').next().unwrap_or(text);
    if let Some(at) = text.find(|c: char| !matches!(c, ' '..='~' | '\t')) {
        return Err(malformed("it has a character that no requirement has", at..text.len()));
    }
    let depth = text.bytes().filter(|&byte| byte == b'(').count();
    let operators = text.split_whitespace().filter(|word| matches!(*word, "and" | "or")).count();
    if text.len() > REQUIREMENT_LIMIT || depth > MARKER_LIMIT || operators > MARKER_LIMIT {
        return Err(malformed("it is too long", whole));
    }
    if let Some(at) = half_name(before_marker) {
        return Err(malformed("a name starts and ends with a letter or digit", at..at + 1));
    }
    // The error's own `Display` draws an underline and asserts on its position, so only its parts are used.
    Requirement::from_str(text).map_err(|error| {
        let start = error.start.min(text.len());
        let message = error.message.to_string();
        let mut reason = message.lines().next().unwrap_or("").to_owned();
        if let Some(first) = reason.get(..1) {
            reason.replace_range(..1, &first.to_lowercase());
        }
        malformed(&reason, start..(start + error.len).min(text.len()))
    })
}

/// Where a name of the package or of an extra ends in punctuation: the parser panics there instead of refusing.
fn half_name(text: &str) -> Option<usize> {
    let mut last: Option<(usize, char)> = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        if character.is_ascii_alphanumeric() || "-_.".contains(character) {
            last = Some((at, character));
            continue;
        }
        if let Some((at, _)) = last.take().filter(|(_, last)| "-_.".contains(*last)) {
            return Some(at);
        }
        if "<>=!~(".contains(character) {
            break;
        }
    }
    None
}

/// What the files read so far ask for.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Requirements in order.
    pub(super) requirements: Vec<Located<Requirement<VerbatimUrl>>>,
    /// Constraints of `-c` files: they bound a package and do not ask for it.
    pub(super) constraints: Vec<Located<Requirement<VerbatimUrl>>>,
    /// What requirements and constraints say of files.
    pub(super) file_pins: Vec<Located<FilePin>>,
    /// The spec's folder.
    folder: PathBuf,
    seen: BTreeSet<(PathBuf, Kind)>,
    /// Whether some file says `--require-hashes`.
    hashes_required: bool,
    /// The first requirement in a file that has no hash.
    unhashed: Option<Origin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Requirements,
    Constraints,
}

impl Collected {
    /// Nothing yet, for a spec in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..Self::default() }
    }

    /// The files that were read, sorted.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.seen.iter().map(|(file, _)| file.clone()).collect();
        files.dedup();
        files
    }

    /// Reads `path`, written at `named` and meant from the spec's folder, and the files it names. A file is read once, so
    /// that a cycle ends. Parent folders are allowed, unlike for files that go into the image: nothing is copied.
    pub(super) fn read(&mut self, path: &str, named: &Origin) -> Result<(), Error> {
        let folder = self.folder.clone();
        self.read_as(&folder, path, named, Kind::Requirements)?;
        match (self.hashes_required, &self.unhashed) {
            (true, Some(origin)) => Err(Error::at(origin.clone(), Problem::NoHash)),
            _ => Ok(()),
        }
    }

    fn read_as(&mut self, folder: &Path, path: &str, named: &Origin, kind: Kind) -> Result<(), Error> {
        let refuse = |problem| Err(Error::at(named.clone(), problem));
        if Path::new(path).is_absolute() {
            return refuse(Problem::AbsolutePath { path: path.to_owned() });
        }
        let unreadable = |reason: &str| Problem::Unreadable { path: path.to_owned(), reason: reason.to_owned() };
        let file = lexically_normal(&folder.join(path));
        if !self.seen.insert((file.clone(), kind)) {
            return Ok(());
        }
        if self.seen.len() > FILES_LIMIT {
            return refuse(unreadable("too many requirements files"));
        }
        let text = match read_text(&file) {
            Ok(text) => text,
            Err(reason) => return refuse(unreadable(&reason)),
        };
        let shown = named
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map_or_else(|| PathBuf::from(path), |parent| lexically_normal(&parent.join(path)));
        let source = Source::new(&shown, &text);
        let parent = file.parent().unwrap_or(folder);
        let note = format!("`{}` is named in {}:{}", shown.display(), named.path.display(), named.line());
        for line in logical_lines(&source.text) {
            self.read_line(&source, &line, parent, kind).map_err(|error| match error {
                Error::Invalid { origin, problem, mut notes } => {
                    notes.push(note.clone());
                    Error::Invalid { origin, problem, notes }
                }
                other => other,
            })?;
        }
        Ok(())
    }

    fn read_line(&mut self, source: &Source, line: &LogicalLine, folder: &Path, kind: Kind) -> Result<(), Error> {
        let text = line.text.as_str();
        if text.starts_with('-') {
            let end = text.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(text.len());
            let (mut option, mut rest) = text.split_at(end);
            if !option.starts_with("--") && option.len() > 2 && option.is_char_boundary(2) {
                (option, rest) = text.split_at(2);
            }
            let argument = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim();
            let start = text.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=').len();
            let nested = match option {
                "-r" | "--requirement" => Kind::Requirements,
                "-c" | "--constraint" => Kind::Constraints,
                // Only wheels are installed in any case.
                "--only-binary" | "--prefer-binary" => return Ok(()),
                "--no-binary" if argument == ":none:" => return Ok(()),
                "--require-hashes" => {
                    self.hashes_required = true;
                    return Ok(());
                }
                other => {
                    let help = options::help(other, argument);
                    let problem = Problem::RequirementsOption { option: other.to_owned(), help };
                    return Err(Error::at(source.origin(line.bytes(0..option.len())), problem));
                }
            };
            // A file that constrains can only name further constraints.
            let nested = if kind == Kind::Constraints { kind } else { nested };
            let named = source.origin(line.bytes(start..start + argument.len()));
            if argument.is_empty() {
                let problem = Problem::Unreadable { path: option.to_owned(), reason: "no file is named".to_owned() };
                return Err(Error::at(named, problem));
            }
            return self.read_as(folder, argument, &named, nested);
        }
        let blame = |(problem, part): (Problem, Range<usize>)| Error::at(source.origin(line.bytes(part)), problem);
        let options::Split { requirement, digests } = options::split(text).map_err(blame)?;
        let (value, pin) = direct::parse(requirement, &self.folder).map_err(blame)?;
        let origin = Some(source.origin(line.bytes(0..requirement.len())));
        let has_hash = !digests.is_empty() || pin.as_ref().is_some_and(|pin| !pin.digests.is_empty());
        if !has_hash && kind == Kind::Requirements && self.unhashed.is_none() {
            self.unhashed.clone_from(&origin);
        }
        let mut pins: Vec<FilePin> = pin.into_iter().collect();
        match pins.first_mut() {
            Some(placed) if placed.digests.is_empty() => placed.digests = digests,
            _ if digests.is_empty() => {}
            _ => pins.push(FilePin { requirement: value.clone(), place: None, digests }),
        }
        self.file_pins.extend(pins.into_iter().map(|value| Located { value, origin: origin.clone() }));
        let located = Located { value, origin };
        match kind {
            Kind::Requirements => self.requirements.push(located),
            Kind::Constraints => self.constraints.push(located),
        }
        Ok(())
    }
}

/// `a/./b/../c` as `a/c`; leading `..` stay.
fn lexically_normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// A regular file of bounded size; on failure the reason.
fn read_text(path: &Path) -> Result<String, String> {
    let reason = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    };
    if !std::fs::metadata(path).map_err(reason)?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(reason)?;
    file.take(FILE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(reason)?;
    if bytes.len() > FILE_LIMIT {
        return Err(format!("it is larger than {} KiB", FILE_LIMIT / 1024));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// A line with its continuations joined and its comment removed, and where its pieces came from.
#[derive(Debug)]
struct LogicalLine {
    text: String,
    /// (offset in `text`, offset in the file) of each piece, ascending.
    pieces: Vec<(usize, usize)>,
}

impl LogicalLine {
    fn byte(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|&(start, _)| start <= at);
        self.pieces.get(index.saturating_sub(1)).map_or(0, |&(start, file)| file + (at - start))
    }

    /// The file's bytes for a range of the line.
    fn bytes(&self, range: Range<usize>) -> Range<usize> {
        let start = self.byte(range.start);
        let end = if range.end > range.start { self.byte(range.end - 1) + 1 } else { start };
        start..end.max(start)
    }
}

fn logical_lines(text: &str) -> Vec<LogicalLine> {
    let mut lines = Vec::new();
    let mut current = LogicalLine { text: String::new(), pieces: Vec::new() };
    let mut offset = 0;
    for raw in text.split_inclusive('\n') {
        let start = offset;
        offset += raw.len();
        let line = raw.trim_end_matches(['\n', '\r']);
        let is_comment = line.trim_start().starts_with('#');
        let (piece, continues) = match line.strip_suffix('\\') {
            Some(piece) if !is_comment => (piece, true),
            _ => (line, false),
        };
        current.pieces.push((current.text.len(), start));
        current.text.push_str(if is_comment { "" } else { piece });
        if !continues {
            finish(&mut lines, &mut current);
        }
    }
    finish(&mut lines, &mut current);
    lines
}

fn finish(lines: &mut Vec<LogicalLine>, current: &mut LogicalLine) {
    let line = std::mem::replace(current, LogicalLine { text: String::new(), pieces: Vec::new() });
    let text = line.text.as_str();
    let comment =
        text.char_indices().find(|&(at, c)| c == '#' && text[..at].chars().next_back().is_none_or(char::is_whitespace));
    let without_comment = comment.map_or(text, |(at, _)| &text[..at]).trim_end();
    let kept = without_comment.trim_start();
    if kept.is_empty() {
        return;
    }
    let skipped = without_comment.len() - kept.len();
    let pieces = std::iter::once((0, line.byte(skipped)))
        .chain(line.pieces.iter().filter(|(start, _)| *start > skipped).map(|&(start, file)| (start - skipped, file)))
        .collect();
    lines.push(LogicalLine { text: kept.to_owned(), pieces });
}
