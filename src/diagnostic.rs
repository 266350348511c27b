//! How a failure reaches a person: message, place, notes, `help:` lines. The only place with colours.
//!
//! Stages return error enums that hold data; each implements [`Hint`] for what only it knows: where in the user's files
//! the cause stands and what would help. Printing happens once, in `main`.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A place in a file the user wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's path as the user would write it.
    pub path: PathBuf,
    /// The file's whole text.
    pub text: Arc<str>,
    /// Bytes concerned.
    pub span: Range<usize>,
}

impl Origin {
    /// The rest of a line from a place that a parser named: line and column in characters, both from 1.
    pub fn at(path: &Path, text: &str, line: u64, column: u64) -> Self {
        let skipped: usize = text.split_inclusive('\n').take(line.saturating_sub(1) as usize).map(str::len).sum();
        let rest = text.get(skipped..).unwrap_or("").lines().next().unwrap_or("");
        let start: usize = rest.chars().take(column.saturating_sub(1) as usize).map(char::len_utf8).sum();
        Self { path: path.to_owned(), text: Arc::from(text), span: skipped + start..skipped + rest.len() }
    }
    /// Line of the first byte, from 1.
    pub fn line(&self) -> usize {
        let end = self.span.start.min(self.text.len());
        self.text.as_bytes()[..end].iter().filter(|&&byte| byte == b'\n').count() + 1
    }
    /// Column of the first byte in characters, from 1.
    pub fn column(&self) -> usize {
        let end = (0..=self.span.start.min(self.text.len())).rev().find(|&at| self.text.is_char_boundary(at));
        let before = &self.text[..end.unwrap_or(0)];
        before.rsplit('\n').next().unwrap_or("").chars().count() + 1
    }
}

/// What an error knows beyond its message.
pub trait Hint: std::error::Error + Send + Sync {
    /// Lines for `help:`, most useful first.
    fn help(&self) -> Vec<String> {
        Vec::new()
    }
    /// Lines for `note:`: the steps of a proof, causes.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// Where the cause stands.
    fn origin(&self) -> Option<Origin> {
        None
    }
    /// 1 if the answer is no, 2 if it could not be found out.
    fn exit_code(&self) -> u8 {
        2
    }
    /// The answer as data, for commands that were asked for JSON; a conflict has one.
    fn json(&self) -> Option<serde_json::Value> {
        None
    }
}

/// Any stage's error, ready to print.
#[derive(Debug)]
pub struct Failure(pub Box<dyn Hint>);

impl<E: Hint + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Failure {
    /// The text for stderr, with styles that the caller's stream strips where they are unwelcome.
    pub fn render(&self) -> String {
        let message = self.0.to_string();
        let mut text = match self.0.origin() {
            Some(origin) => {
                let end = origin.span.end.min(origin.text.len());
                let start = origin.span.start.min(end);
                let path = origin.path.display().to_string();
                let snippet = Snippet::source(&*origin.text)
                    .path(path)
                    .line_start(1)
                    .annotation(AnnotationKind::Primary.span(start..end));
                Renderer::styled().render(&[Level::ERROR.primary_title(message.as_str()).element(snippet)])
            }
            None => Renderer::styled().render(&[Group::with_title(Level::ERROR.primary_title(message.as_str()))]),
        };
        let _ = writeln!(text);
        for (label, style, lines) in [
            ("note", anstyle::AnsiColor::BrightGreen, self.0.notes()),
            ("help", anstyle::AnsiColor::BrightCyan, self.0.help()),
        ] {
            let style = style.on_default().effects(anstyle::Effects::BOLD);
            for line in lines {
                let _ = writeln!(text, "{style}{label}{style:#}: {line}");
            }
        }
        text
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code()
    }
}

/// The candidate closest to `word`, if one is close enough to be what was meant.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
