//! Where an entry stands in a file, from the name that findings give it.
//!
//! The parsed entries carry no places: they are plain values, most of them embedded. A name holds the values of the
//! entry's key, which are looked for in order, so that `framework flow 1.0 cu121` finds the build of that release and not
//! of the one before.

use std::path::Path;

use crate::diagnostic::Origin;

/// The place of the last part of the entry's name; `None` if the file does not have the entry.
pub fn locate(path: &Path, text: &str, entry: &str) -> Option<Origin> {
    let mut span = 0..0;
    for (key, value) in parts(entry) {
        let found = find(text.get(span.end..)?, key, value)?;
        span = span.end + found..span.end + found + value.len();
    }
    (span.end > 0).then(|| Origin { path: path.to_owned(), text: text.into(), span })
}

/// Keys and values that an entry is written with, outermost first.
fn parts(entry: &str) -> Vec<(&'static str, &str)> {
    let behind_slash = |name: &'static str, rest: &str| {
        entry.get(entry.len() - rest.len()..).map(|rest| (name, rest.split_once('/').map_or(rest, |(_, last)| last)))
    };
    if let Some(rest) = entry.strip_prefix("framework ") {
        let words = rest.splitn(3, ' ');
        return ["family", "version", "name"].into_iter().zip(words).collect();
    }
    if let Some(tag) = entry.strip_prefix("cuda image ") {
        return tag.split('-').next().map(|toolkit| ("toolkit", toolkit)).into_iter().collect();
    }
    let kinds = [
        ("gpu ", "name"),
        ("instance ", "name"),
        ("attachable gpu ", "name"),
        ("machine family ", "prefix"),
        ("toolkit ", "version"),
        ("cudnn ", "version"),
        ("python ", "version"),
        ("driver floor ", "major"),
        ("driver branch ", "branch"),
        ("debian ", "suite"),
        ("ubuntu ", "suite"),
        ("slim image ", "reference"),
        ("other system ", "os"),
        ("service ", "name"),
        ("rule ", "name"),
    ];
    let found = kinds.into_iter().find_map(|(kind, key)| behind_slash(key, entry.strip_prefix(kind)?));
    found.into_iter().collect()
}

/// Where `value` begins in the first `key: value`, quoted or not.
fn find(text: &str, key: &str, value: &str) -> Option<usize> {
    let key = format!("{key}:");
    text.match_indices(&key).find_map(|(at, _)| {
        let starts_word = !text.get(..at)?.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let rest = text.get(at + key.len()..)?;
        let written = rest.trim_start_matches([' ', '"', '\'']);
        // A plain value may hold spaces, so one ends nothing.
        let ends = written.strip_prefix(value)?.trim_start_matches(' ');
        let ends_word = ends.is_empty() || ends.starts_with(['"', '\'', ',', '}', '#', '\n', '\r']);
        (starts_word && ends_word).then(|| at + key.len() + rest.len() - written.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_names() {
        let text = "gpus:\n  - {name: X 10, vendor: nvidia}\n  - {name: X 1, vendor: nvidia}\nframeworks:\n  - family: flow\n    \
                    releases:\n      - version: \"1.1\"\n        builds:\n          - {name: cu121}\n      - version: \"1.0\"\n        \
                    builds:\n          - {name: cu12}\n          - {name: cu121}\n";
        let place = |entry: &str| {
            let origin = locate(Path::new("a.yaml"), text, entry)?;
            Some((origin.line(), origin.column(), origin.text.get(origin.span.clone())?.to_owned()))
        };
        assert_eq!(place("gpu X 1"), Some((3, 12, "X 1".to_owned())));
        assert_eq!(place("framework flow 1.0"), Some((10, 19, "1.0".to_owned())));
        assert_eq!(place("framework flow 1.0 cu121"), Some((13, 20, "cu121".to_owned())));
        assert_eq!(place("instance sky/X 1"), Some((3, 12, "X 1".to_owned())));
        for entry in ["framework flow 2.0", "gpu X", "something else", ""] {
            assert_eq!(place(entry), None, "{entry}");
        }
    }
}
