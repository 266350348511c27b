//! Seeds of the stack's PostgreSQL. An `.sql` file is taken as it is; a `.csv` file gets a generated script that makes a
//! table and copies the rows. The image's entry point runs them in the order of their names, so each has a number in front.

use std::collections::BTreeSet;

use serde::Serialize;

/// Longest name PostgreSQL keeps whole, in bytes (`NAMEDATALEN` - 1).
const NAME_LIMIT: usize = 63;
/// Most columns a PostgreSQL table can have.
const COLUMN_LIMIT: usize = 1600;

/// What is wrong with a CSV file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Not text.
    #[error("it is not UTF-8")]
    Encoding,
    /// Nothing in it.
    #[error("it has no header line")]
    Empty,
    /// More columns than a table can have.
    #[error("its header has {0} columns, and a table holds at most 1600")]
    Columns(usize),
    /// A quoted value never ends.
    #[error("the quote opened in record {record} is never closed")]
    OpenQuote {
        /// Number of the record, the header being 1.
        record: usize,
    },
    /// A record is longer or shorter than the header.
    #[error("record {record} has {found} values where the header has {expected}")]
    Width {
        /// Number of the record, the header being 1.
        record: usize,
        /// Values in the record.
        found: usize,
        /// Columns of the header.
        expected: usize,
    },
}

/// A table for a CSV file.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    /// Rows below the header.
    pub(super) rows: usize,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// The narrowest type that all values of a column have.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    #[serde(rename = "bigint")]
    Integer,
    #[serde(rename = "double precision")]
    Real,
    #[serde(rename = "text")]
    Text,
}

/// Base name of a seed file in letters that need no quoting.
pub(super) fn file_stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || "_-.".contains(character) { character } else { '_' }
    };
    stem.chars().map(plain).collect()
}

/// A PostgreSQL name for a header's or a file's words, unlike all in `taken`.
pub(super) fn identifier(text: &str, fallback: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |character: char| if character.is_alphanumeric() { character.to_ascii_lowercase() } else { '_' };
    let words: String = text.trim().chars().map(plain).collect();
    let words = if words.trim_matches('_').is_empty() { fallback.to_owned() } else { words };
    let mut count = 1;
    loop {
        let suffix = if count == 1 { String::new() } else { format!("_{count}") };
        let mut name = words.clone();
        while name.len() + suffix.len() > NAME_LIMIT {
            name.pop();
        }
        name.push_str(&suffix);
        if taken.insert(name.clone()) {
            return name;
        }
        count += 1;
    }
}

impl Table {
    /// Reads the header for names and every row for types. Quoting follows RFC 4180, which is PostgreSQL's `csv` format.
    pub(super) fn infer(bytes: &[u8]) -> Result<Self, CsvError> {
        let text = std::str::from_utf8(bytes).map_err(|_| CsvError::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rest = text;
        let header = record(&mut rest, 1)?.ok_or(CsvError::Empty)?;
        if header.len() > COLUMN_LIMIT {
            return Err(CsvError::Columns(header.len()));
        }
        let mut taken = BTreeSet::new();
        let names: Vec<String> = header
            .iter()
            .enumerate()
            .map(|(index, value)| identifier(&value.text, &format!("column_{}", index + 1), &mut taken))
            .collect();
        let mut kinds: Vec<Option<Kind>> = vec![None; names.len()];
        let mut rows = 0;
        while let Some(values) = record(&mut rest, rows + 2)? {
            if values.len() != names.len() {
                return Err(CsvError::Width { record: rows + 2, found: values.len(), expected: names.len() });
            }
            for (kind, value) in kinds.iter_mut().zip(&values) {
                *kind = (*kind).max(value.kind());
            }
            rows += 1;
        }
        // A column without any value could be anything.
        let column = |(name, kind): (String, Option<Kind>)| Column { name, kind: kind.unwrap_or(Kind::Text) };
        Ok(Self { columns: names.into_iter().zip(kinds).map(column).collect(), rows })
    }
}

/// One value of a record.
struct Value {
    text: String,
    quoted: bool,
}

impl Value {
    /// `None` for what `COPY` reads as NULL, an empty value without quotes.
    fn kind(&self) -> Option<Kind> {
        if self.text.is_empty() && !self.quoted {
            return None;
        }
        let unsigned = self.text.strip_prefix(['-', '+']).unwrap_or(&self.text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
        let is_number = is_digits(whole)
            && is_digits(fraction.unwrap_or_default())
            && whole.len() + fraction.map_or(0, str::len) > 0
            // An exponent of three digits could leave the range of a double.
            && exponent.is_none_or(|digits| (1..=2).contains(&digits.len()) && is_digits(digits))
            && !has_leading_zero;
        Some(match (is_number, fraction, exponent) {
            // 18 digits always fit into a bigint; longer ones are identifiers more often than counts.
            (true, None, None) if whole.len() <= 18 => Kind::Integer,
            (true, None, None) => Kind::Text,
            (true, ..) if whole.len() <= 18 => Kind::Real,
            _ => Kind::Text,
        })
    }
}

/// Takes one record from the front of `rest`; `None` at the end. A line break inside quotes belongs to its value.
fn record(rest: &mut &str, number: usize) -> Result<Option<Vec<Value>>, CsvError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let mut values = Vec::new();
    let mut value = Value { text: String::new(), quoted: false };
    let mut open = false;
    let mut characters = rest.char_indices().peekable();
    let mut end = rest.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' if open && characters.peek().is_some_and(|&(_, next)| next == '"') => {
                characters.next();
                value.text.push('"');
            }
            '"' => {
                open = !open;
                value.quoted = true;
            }
            ',' if !open => values.push(std::mem::replace(&mut value, Value { text: String::new(), quoted: false })),
            '\r' if !open && characters.peek().is_some_and(|&(_, next)| next == '\n') => {}
            '\n' if !open => {
                end = at + 1;
                break;
            }
            other => value.text.push(other),
        }
    }
    if open {
        return Err(CsvError::OpenQuote { record: number });
    }
    values.push(value);
    *rest = &rest[end..];
    Ok(Some(values))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns(text: &str) -> Vec<(String, Kind)> {
        let table = Table::infer(text.as_bytes()).expect("a table");
        table.columns.into_iter().map(|column| (column.name, column.kind)).collect()
    }

    #[test]
    fn types_follow_every_value() {
        let text = "\u{feff}Customer ID,tenure,fee,post code,note,empty\r\n\
                    1,12,19.5,01067,\"a, \"\"b\"\"\nc\",\r\n\
                    -2,,1e3,10115,,\r\n";
        assert_eq!(
            columns(text),
            [
                ("customer_id".to_owned(), Kind::Integer),
                ("tenure".to_owned(), Kind::Integer),
                ("fee".to_owned(), Kind::Real),
                ("post_code".to_owned(), Kind::Text),
                ("note".to_owned(), Kind::Text),
                ("empty".to_owned(), Kind::Text),
            ]
        );
        assert_eq!(Table::infer(text.as_bytes()).expect("a table").rows, 2);
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for value in ["1234567890123456789", "1e400", "NaN", "1.2.3", ".", "-", "+", "1e", "\"\"", " 1", "0x10", "00"] {
            assert_eq!(columns(&format!("a\n{value}\n")), [("a".to_owned(), Kind::Text)], "{value}");
        }
        for value in [".5", "5.", "-0.1", "0", "1E-9"] {
            assert!(columns(&format!("a\n{value}\n"))[0].1 < Kind::Text, "{value}");
        }
    }

    #[test]
    fn names_stay_apart_and_short() {
        assert_eq!(
            columns("a,A,a_2,,é ü\n").into_iter().map(|column| column.0).collect::<Vec<_>>(),
            ["a", "a_2", "a_2_2", "column_4", "é_ü"]
        );
        let long = "x".repeat(80);
        let names: Vec<String> = columns(&format!("{long},{long}\n")).into_iter().map(|column| column.0).collect();
        assert_eq!(names, ["x".repeat(63), format!("{}_2", "x".repeat(61))]);
    }

    #[test]
    fn says_which_record_is_wrong() {
        assert_eq!(Table::infer(b""), Err(CsvError::Empty));
        assert_eq!(Table::infer(b"\xff"), Err(CsvError::Encoding));
        assert_eq!(Table::infer(b"a,b\n1,2\n3\n"), Err(CsvError::Width { record: 3, found: 1, expected: 2 }));
        assert_eq!(Table::infer(b"a\n\"x\n"), Err(CsvError::OpenQuote { record: 2 }));
        let wide = vec!["a"; COLUMN_LIMIT + 1].join(",");
        assert_eq!(Table::infer(wide.as_bytes()), Err(CsvError::Columns(1601)));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Table::infer(&bytes);
        }

        #[test]
        fn quoted_values_are_read_back(cells in prop::collection::vec("[a-z,\"\\n\\r;]{0,8}", 1..6)) {
            let line: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            let text = format!("{}\n", line.join(","));
            let mut rest = text.as_str();
            let values = record(&mut rest, 1).expect("well-formed").expect("one record");
            prop_assert_eq!(values.into_iter().map(|value| value.text).collect::<Vec<_>>(), cells);
            prop_assert_eq!(rest, "");
        }
    }
}
