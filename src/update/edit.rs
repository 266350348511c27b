//! Inserting entries into the text of the catalog's files.
//!
//! A file is edited as lines and never printed back from its parsed form, so comments, order, notes and spacing stay as
//! somebody wrote them. A list keeps its direction: most are newest first, a few oldest first. Comments directly above
//! an entry belong to it. What a file's layout makes impossible is reported, not forced.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use super::diff::{Line, unified};
use super::{Change, Finding};
use crate::catalog::{Catalog, FORMAT, check};

/// A file of the catalog's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path below the folder: `framework/pytorch.yaml`.
    pub path: PathBuf,
    /// The text.
    pub text: String,
}

/// The folder that is edited, and what lies below it.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The folder, as the user would write it.
    pub folder: PathBuf,
    /// Its files, sorted.
    pub files: Vec<File>,
    /// Overlays between the embedded catalog and the folder.
    pub below: Vec<PathBuf>,
}

/// Collects insertions.
pub(super) struct Editor<'a> {
    files: &'a Files,
    drafts: Vec<Draft>,
    failures: Vec<Finding>,
}

struct Draft {
    path: PathBuf,
    is_new: bool,
    lines: Vec<Line>,
    added: Vec<String>,
}

/// Whether a file has a list.
enum Held {
    No,
    /// Between brackets or on the line of its key.
    Otherwise,
    Below(List),
}

/// Where a list stands among the lines of a file, and its entries.
struct List {
    /// First line behind the key.
    start: usize,
    /// Behind its last line that is not blank.
    end: usize,
    /// Spaces before each `- `.
    indent: usize,
    entries: Vec<Entry>,
}

/// Lines of an entry, without the comments above it.
struct Entry {
    start: usize,
    end: usize,
}

impl<'a> Editor<'a> {
    pub(super) fn new(files: &'a Files) -> Self {
        let draft = |file: &File| Draft {
            path: file.path.clone(),
            is_new: false,
            lines: file.text.lines().map(|line| Line { text: line.to_owned(), is_new: false, entry: None }).collect(),
            added: Vec::new(),
        };
        Self { files, drafts: files.files.iter().map(draft).collect(), failures: Vec::new() }
    }

    /// Whether an entry of that name was inserted before.
    pub(super) fn has_added(&self, name: &str) -> bool {
        self.drafts.iter().any(|draft| draft.added.iter().any(|added| added == name))
    }

    /// Inserts a release into its family. `lines` are those of the entry, the first without its `- `, none indented.
    /// `order` compares the version of another release with the new one.
    pub(super) fn insert_release(
        &mut self,
        family: &str,
        name: &str,
        lines: &[String],
        order: &dyn Fn(&str) -> Option<Ordering>,
    ) {
        let held = self.drafts.iter().position(|draft| !matches!(draft.family(family), Held::No));
        let draft = match held {
            Some(position) => position,
            None => self.new_section(
                &format!("framework/{family}.yaml"),
                &["frameworks:".to_owned(), format!("  - family: {family}"), "    releases:".to_owned()],
            ),
        };
        let list = self.drafts.get(draft).map_or(Held::No, |draft| draft.family(family));
        self.insert(draft, list, name, lines, &|entry| order(&field(entry, "version")?));
    }

    /// Inserts a row into a list at the top of a file; `file` is where the list starts if no file has it.
    pub(super) fn insert_row(
        &mut self,
        file: &str,
        list: &str,
        name: &str,
        row: String,
        order: &dyn Fn(&str) -> Option<Ordering>,
    ) {
        let held = self.drafts.iter().position(|draft| !matches!(draft.list_at_top(list), Held::No));
        let draft = held.unwrap_or_else(|| self.new_section(file, &[format!("{list}:")]));
        let found = self.drafts.get(draft).map_or(Held::No, |draft| draft.list_at_top(list));
        self.insert(draft, found, name, &[row], order);
    }

    fn insert(
        &mut self,
        draft: usize,
        list: Held,
        name: &str,
        lines: &[String],
        order: &dyn Fn(&str) -> Option<Ordering>,
    ) {
        let (Some(draft), Held::Below(list)) = (self.drafts.get_mut(draft), list) else {
            let problem = "the list it belongs to is not written one entry below the other".to_owned();
            self.failures.push(Finding::NotWritten { entry: name.to_owned(), problem });
            return;
        };
        let at = draft.place(&list, order);
        let entry = lines.iter().enumerate().map(|(number, line)| {
            let text = match number {
                0 => format!("{:indent$}- {line}", "", indent = list.indent),
                _ => format!("{:indent$}{line}", "", indent = list.indent + 2),
            };
            Line { text, is_new: true, entry: Some(name.to_owned()) }
        });
        draft.lines.splice(at..at, entry);
        draft.added.push(name.to_owned());
    }

    /// Appends a section to the file at `path`, or makes that file.
    fn new_section(&mut self, path: &str, section: &[String]) -> usize {
        let is_new = |text: &str| Line { text: text.to_owned(), is_new: true, entry: None };
        let position = self.drafts.iter().position(|draft| draft.path == Path::new(path)).unwrap_or_else(|| {
            let lines = vec![is_new(&format!("format: \"{FORMAT}\""))];
            self.drafts.push(Draft { path: PathBuf::from(path), is_new: true, lines, added: Vec::new() });
            self.drafts.len() - 1
        });
        if let Some(draft) = self.drafts.get_mut(position) {
            draft.lines.push(is_new(""));
            draft.lines.extend(section.iter().map(|line| is_new(line)));
        }
        position
    }

    /// The changes, without the entries that would leave the catalog less consistent than it was: those become findings.
    pub(super) fn finish(mut self, findings: &mut Vec<Finding>) -> Vec<Change> {
        findings.append(&mut self.failures);
        let old = self.files.load(&[]).map(|catalog| check(&catalog)).unwrap_or_default();
        loop {
            let changes = self.changes();
            let problems: Vec<(String, String)> = match self.files.load(&changes) {
                Ok(catalog) => {
                    let new = check(&catalog).into_iter().filter(|finding| !old.contains(finding));
                    new.map(|finding| (finding.entry, finding.problem)).collect()
                }
                Err(error) => vec![(String::new(), error)],
            };
            if problems.is_empty() {
                return changes;
            }
            let is_wrong = |added: &str| {
                problems.iter().any(|(entry, _)| {
                    entry.strip_prefix(added).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
                })
            };
            let added = |changes: &[Change]| changes.iter().flat_map(|change| change.added.clone()).collect::<Vec<_>>();
            let mut wrong: Vec<String> = added(&changes).into_iter().filter(|name| is_wrong(name)).collect();
            if wrong.is_empty() {
                // What is wrong is not where it was caused: then nothing is sure enough to be written.
                wrong = added(&changes);
            }
            let is_of_wrong = |finding: &Finding| matches!(finding, Finding::CarriedOver { entry, .. } if wrong.iter().any(|name| entry.starts_with(name)));
            findings.retain(|finding| !is_of_wrong(finding));
            findings.extend(problems.into_iter().map(|(entry, problem)| Finding::NotWritten { entry, problem }));
            for draft in &mut self.drafts {
                draft.added.retain(|name| !wrong.contains(name));
                draft.lines.retain(|line| !line.entry.as_ref().is_some_and(|name| wrong.contains(name)));
            }
            if wrong.is_empty() {
                return Vec::new();
            }
        }
    }

    fn changes(&self) -> Vec<Change> {
        let drafts = self.drafts.iter().filter(|draft| !draft.added.is_empty());
        let change = |draft: &Draft| Change {
            path: draft.path.clone(),
            added: draft.added.clone(),
            text: draft.lines.iter().map(|line| line.text.clone() + "\n").collect(),
            diff: unified(&self.files.folder.join(&draft.path), draft.is_new, &draft.lines),
        };
        let mut changes: Vec<Change> = drafts.map(change).collect();
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        changes
    }
}

impl Files {
    /// The catalog with these changes in the folder.
    fn load(&self, changes: &[Change]) -> Result<Catalog, String> {
        let text_of = |file: &File| {
            let changed = changes.iter().find(|change| change.path == file.path);
            (file.path.clone(), changed.map_or_else(|| file.text.clone(), |change| change.text.clone()))
        };
        let mut texts: Vec<(PathBuf, String)> = self.files.iter().map(text_of).collect();
        for change in changes.iter().filter(|change| !self.files.iter().any(|file| file.path == change.path)) {
            texts.push((change.path.clone(), change.text.clone()));
        }
        Catalog::load_with(&self.below, &texts).map_err(|error| error.to_string())
    }
}

impl Draft {
    /// The list of releases of a family.
    fn family(&self, family: &str) -> Held {
        let is_family = |line: &Line| {
            let text = line.text.trim_start().trim_start_matches("- ");
            value(text, "family").is_some_and(|found| found == family)
        };
        let Some(line) = self.lines.iter().position(is_family) else { return Held::No };
        self.releases_around(line).map_or(Held::Otherwise, Held::Below)
    }

    /// The `releases` of the section in which `line` names the family.
    fn releases_around(&self, line: usize) -> Option<List> {
        let column = self.lines.get(line)?.text.find("family:")?;
        let is_start = |line: &Line| column >= 2 && line.text.get(column - 2..column) == Some("- ");
        let first = (0..=line).rev().find(|&index| self.lines.get(index).is_some_and(is_start))?;
        let end = self.block_end(first + 1, column);
        let is_releases = |line: &Line| line.text.get(column..).is_some_and(|text| is_key(text, "releases"));
        let key = (first..end).find(|&index| self.lines.get(index).is_some_and(is_releases))?;
        self.list(key + 1, end)
    }

    /// A list whose key starts a line.
    fn list_at_top(&self, name: &str) -> Held {
        let begins = |line: &Line| line.text.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        let Some(key) = self.lines.iter().position(begins) else { return Held::No };
        if !self.lines.get(key).is_some_and(|line| is_key(&line.text, name)) {
            return Held::Otherwise;
        }
        let is_next = |line: &Line| !line.text.is_empty() && !line.text.starts_with([' ', '#', '-']);
        let end = (key + 1..self.lines.len()).find(|&index| self.lines.get(index).is_some_and(is_next));
        self.list(key + 1, end.unwrap_or(self.lines.len())).map_or(Held::Otherwise, Held::Below)
    }

    /// The first line from `start` on that is indented less than `column`.
    fn block_end(&self, start: usize, column: usize) -> usize {
        let ends = |line: &Line| has_content(&line.text) && indent(&line.text) < column;
        (start..self.lines.len()).find(|&at| self.lines.get(at).is_some_and(ends)).unwrap_or(self.lines.len())
    }

    fn list(&self, start: usize, end: usize) -> Option<List> {
        let text = |index: usize| self.lines.get(index).map_or("", |line| line.text.as_str());
        let filled = |index: &usize| has_content(text(*index));
        let Some(first) = (start..end).find(filled) else {
            let key = start.checked_sub(1)?;
            return Some(List { start, end: start, indent: indent(text(key)) + 2, entries: Vec::new() });
        };
        let width = indent(text(first));
        if !text(first)[width..].starts_with("- ") {
            return None;
        }
        let starts: Vec<usize> = (first..end).filter(|&at| filled(&at) && indent(text(at)) == width).collect();
        let last = (start..end).rev().find(filled).map_or(end, |last| last + 1);
        let ends = starts.iter().skip(1).copied().chain([last]);
        let entries = starts.iter().zip(ends).map(|(&start, end)| Entry { start, end }).collect();
        Some(List { start, end: last, indent: width, entries })
    }

    /// The line before which the new entry goes.
    fn place(&self, list: &List, order: &dyn Fn(&str) -> Option<Ordering>) -> usize {
        let orders: Vec<Option<Ordering>> = list.entries.iter().map(|entry| order(&self.text(entry))).collect();
        let known: Vec<Ordering> = orders.iter().copied().flatten().collect();
        // Newest first unless the list visibly is the other way round.
        let descending = match (known.first(), known.last()) {
            (Some(first), Some(last)) if first != last => first > last,
            _ => !self.ascends(list),
        };
        let behind = if descending { Ordering::Less } else { Ordering::Greater };
        let next = orders.iter().position(|order| *order == Some(behind));
        match next.and_then(|position| list.entries.get(position)) {
            Some(entry) => {
                let is_comment =
                    |at: usize| self.lines.get(at).is_some_and(|line| line.text.trim_start().starts_with('#'));
                (list.start..entry.start).rev().take_while(|&at| is_comment(at)).last().unwrap_or(entry.start)
            }
            None => list.end,
        }
    }

    /// Whether the numbers of a list's entries grow from the first to the last.
    fn ascends(&self, list: &List) -> bool {
        let number = |entry: Option<&Entry>| {
            let text = self.text(entry?);
            let version = ["version", "python", "toolkit"].iter().find_map(|key| field(&text, key))?;
            Some(version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u64>>())
        };
        number(list.entries.first()) < number(list.entries.last())
    }

    fn text(&self, entry: &Entry) -> String {
        let lines = self.lines.get(entry.start..entry.end).unwrap_or_default();
        lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// The value of a key in an entry written as a block or between braces, unquoted; the first if there are several.
pub(super) fn field(entry: &str, key: &str) -> Option<String> {
    for (at, _) in entry.match_indices(key) {
        let before = entry.get(..at)?.trim_end_matches(' ');
        let starts_key = before.is_empty() || before.ends_with(['{', ',', '-', '\n']);
        if let Some(found) = value(entry.get(at..)?, key).filter(|_| starts_key) {
            return Some(found);
        }
    }
    None
}

/// The value behind `key:` at the start of a text, up to the end of the line or of the value between braces.
fn value(text: &str, key: &str) -> Option<String> {
    let rest = text.strip_prefix(key)?.strip_prefix(':')?.lines().next()?.trim_start();
    let found = match rest.chars().next()? {
        quote @ ('"' | '\'') => rest.get(1..)?.split(quote).next()?,
        _ => rest.split([',', '}', '#']).next()?.trim_end(),
    };
    Some(found.to_owned())
}

/// `key:` with nothing but a comment behind.
fn is_key(text: &str, key: &str) -> bool {
    let rest = text.strip_prefix(key).and_then(|rest| rest.strip_prefix(':')).map(str::trim_start);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}

fn has_content(text: &str) -> bool {
    let text = text.trim_start();
    !text.is_empty() && !text.starts_with('#')
}

fn indent(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}
