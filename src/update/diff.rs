//! A unified diff of a text into which lines were inserted, as `diff -u` prints it and `patch -p1` reads it.

use std::path::Path;

/// A line of the new text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// The old text does not have it.
    pub(super) is_new: bool,
    /// Name of the new entry it belongs to.
    pub(super) entry: Option<String>,
}

/// Unchanged lines shown around a change.
const CONTEXT: usize = 3;

/// The diff; empty if no line is new.
pub(super) fn unified(path: &Path, is_new_file: bool, lines: &[Line]) -> String {
    let shown = shown(lines);
    if !shown.contains(&true) {
        return String::new();
    }
    let path = path.display().to_string();
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let old = if is_new_file { "/dev/null".to_owned() } else { format!("a/{path}") };
    let mut text = format!("--- {old}\n+++ b/{path}\n");
    let (mut at, mut old_number) = (0, 0);
    while at < lines.len() {
        if !shown[at] {
            old_number += 1;
            at += 1;
            continue;
        }
        let end = (at..lines.len()).find(|&index| !shown[index]).unwrap_or(lines.len());
        let hunk = &lines[at..end];
        let old_count = hunk.iter().filter(|line| !line.is_new).count();
        let range = |first: usize, count: usize| match count {
            // A hunk without old lines stands behind the line that it names.
            0 => format!("{first},0"),
            1 => (first + 1).to_string(),
            count => format!("{},{count}", first + 1),
        };
        text += &format!("@@ -{} +{} @@\n", range(old_number, old_count), range(at, hunk.len()));
        for line in hunk {
            text += &format!("{}{}\n", if line.is_new { '+' } else { ' ' }, line.text);
        }
        old_number += old_count;
        at = end;
    }
    text
}

/// Which lines stand in a hunk.
fn shown(lines: &[Line]) -> Vec<bool> {
    let mut shown = vec![false; lines.len()];
    for (index, _) in lines.iter().enumerate().filter(|(_, line)| line.is_new) {
        let end = (index + CONTEXT + 1).min(lines.len());
        shown[index.saturating_sub(CONTEXT)..end].fill(true);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Line> {
        let line = |line: &str| Line { text: line[1..].to_owned(), is_new: line.starts_with('+'), entry: None };
        text.lines().map(line).collect()
    }

    #[test]
    fn insertions_near_each_other_share_a_hunk() {
        let text = " a\n b\n c\n d\n+x\n e\n f\n g\n h\n i\n+y\n j\n k\n l\n m\n n\n o\n p\n q\n+z\n r\n";
        assert_eq!(
            unified(Path::new("./catalog/a.yaml"), false, &lines(text)),
            "--- a/catalog/a.yaml\n+++ b/catalog/a.yaml\n\
             @@ -2,11 +2,13 @@\n b\n c\n d\n+x\n e\n f\n g\n h\n i\n+y\n j\n k\n l\n\
             @@ -15,4 +17,5 @@\n o\n p\n q\n+z\n r\n"
        );
    }

    #[test]
    fn a_new_file_comes_from_nothing_and_no_change_gives_no_text() {
        let added = unified(Path::new("/home/a/b.yaml"), true, &lines("+x\n+y\n"));
        assert_eq!(added, "--- /dev/null\n+++ b/home/a/b.yaml\n@@ -0,0 +1,2 @@\n+x\n+y\n");
        assert_eq!(unified(Path::new("b.yaml"), false, &lines(" x\n y\n")), "");
    }
}
