//! What differs, as aligned rows below a heading.

use super::changes::Change;

/// Mark, name, versions, note.
pub(super) type Cells = [String; 4];

pub(super) fn row(change: &Change, note: String) -> Cells {
    let (mark, versions) = match (&change.before, &change.after) {
        (None, Some(after)) => ("+", after.clone()),
        (Some(before), None) => ("-", before.clone()),
        (before, after) => {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            ("~", format!("{} -> {}", text(before), text(after)))
        }
    };
    [mark.to_owned(), change.name.clone(), versions, note]
}

/// Rows below a heading, columns aligned.
pub(super) fn block(heading: &str, rows: Vec<Cells>) -> String {
    /// A longer value pushes only its own row's note to the right.
    const WIDEST: usize = 44;
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        widths.filter(|width| *width <= WIDEST).max().unwrap_or(0)
    };
    let (name, versions) = (width(1), width(2));
    let lines = rows.iter().map(|[mark, title, value, note]| {
        format!("  {mark} {title:<name$}  {value:<versions$}  {note}").trim_end().to_owned()
    });
    std::iter::once(heading.to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}
