//! Text for a terminal: aligned columns that wrap instead of growing, and short words for values.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::Serialize;
use serde_json::json;

use crate::version::PythonVersion;

/// Widest line, in characters.
const WIDTH: usize = 120;
/// Narrowest column that is worth wrapping.
const NARROWEST: usize = 12;

/// Columns two spaces apart, as wide as their widest cell. Where a line would be longer than [`WIDTH`], the widest
/// columns get narrower and their cells go on below, broken at spaces. No trailing spaces.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head: Vec<String> = header.iter().map(|cell| cell.to_uppercase()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).filter(|line| !line.is_empty()).chain(rows).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| length(cell)).max();
    let mut widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let longest_word = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.flat_map(|cell| cell.split(' ')).map(length).max().unwrap_or(0).max(NARROWEST)
    };
    let least: Vec<usize> = (0..columns).map(longest_word).collect();
    while widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1) > WIDTH {
        let shrinkable = widths.iter_mut().zip(&least).filter(|(width, least)| **width > **least);
        let Some((width, _)) = shrinkable.max_by_key(|(width, _)| **width) else { break };
        *width -= 1;
    }
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<Vec<String>> = line.iter().zip(&widths).map(|(cell, width)| wrap(cell, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for part in 0..height {
            let empty = String::new();
            let parts = cells.iter().map(|cell| cell.get(part).unwrap_or(&empty)).zip(&widths);
            let parts: Vec<String> = parts.map(|(part, width)| format!("{part:<width$}")).collect();
            text.push_str(parts.join("  ").trim_end());
            text.push('\n');
        }
    }
    text
}

/// A name and a value a line; the values that are empty are left out.
pub(super) fn fields(rows: &[(&str, String)]) -> String {
    let filled = rows.iter().filter(|(_, value)| !value.is_empty());
    table(&[], filled.map(|(name, value)| vec![(*name).to_owned(), value.clone()]))
}

/// Lines of at most `width`, broken at spaces; a longer word stands alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if length(text) <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            word.clone_into(line);
        } else if length(line) + 1 + length(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// `3.10 to 3.13`, with gaps shown: `3.8, 3.10 to 3.13`.
pub(super) fn span(pythons: &BTreeSet<PythonVersion>) -> String {
    let mut runs: Vec<(PythonVersion, PythonVersion)> = Vec::new();
    for python in pythons {
        match runs.last_mut() {
            Some((_, last)) if last.major == python.major && last.minor + 1 == python.minor => *last = *python,
            _ => runs.push((*python, *python)),
        }
    }
    let spelled = runs.into_iter().map(
        |(first, last)| {
            if first == last { first.to_string() } else { format!("{first} to {last}") }
        },
    );
    join(spelled, ", ")
}

/// `2.28`.
pub(super) fn glibc(version: (u32, u32)) -> String {
    format!("{}.{}", version.0, version.1)
}

/// What stands in the last column of an entry that no first-hand source confirms.
pub(super) fn mark(unverified: bool) -> String {
    if unverified { "unverified".to_owned() } else { String::new() }
}

/// The same among fields, as a sentence.
pub(super) fn unconfirmed(unverified: bool) -> String {
    if unverified { "no first-hand source confirms all of this".to_owned() } else { String::new() }
}

/// A value, or nothing.
pub(super) fn optional(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn join(values: impl IntoIterator<Item = impl Display>, separator: &str) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(separator)
}

/// The word an enum is serialised as.
pub(super) fn spell(value: impl Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

/// A line for each citation, each once.
pub(super) fn sources<'a>(sources: impl IntoIterator<Item = &'a str>) -> String {
    let sources: BTreeSet<&str> = sources.into_iter().collect();
    sources.into_iter().flat_map(|source| ["source: ", source, "\n"]).collect()
}
