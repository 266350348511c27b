//! Version specifiers as people really wrote them.
//!
//! PEP 440 is tried first. What it refuses is read clause by clause and rewritten: `>=3.6.*` becomes `>=3.6`, clauses
//! without a comma between get one, `!=3.0*` gets its dot, `=>` is turned round, stray quotes and commas go. A text that
//! still says nothing gives `None`; pip ignores such declarations as well.

use std::str::FromStr as _;

use pep440_rs::VersionSpecifiers;

/// Specifiers of a declaration that was not necessarily checked by anyone. Empty text means no restriction.
pub fn parse_lenient(text: &str) -> Option<VersionSpecifiers> {
    VersionSpecifiers::from_str(text).ok().or_else(|| VersionSpecifiers::from_str(&rewrite(text)?).ok())
}

/// The clauses of `text` in PEP 440's spelling, or `None` if something in it is no clause.
pub(super) fn rewrite(text: &str) -> Option<String> {
    const NOISE: [char; 4] = [',', '"', '\'', ';'];
    let mut clauses: Vec<String> = Vec::new();
    let mut rest = text.trim_matches(skipped);
    fn skipped(character: char) -> bool {
        character.is_whitespace() || NOISE.contains(&character)
    }
    while !rest.is_empty() {
        let version_start = rest.find(|character| !is_operator(character))?;
        let (operator, after) = rest.split_at(version_start);
        let after = after.trim_start_matches(skipped);
        let end = after.find(|character| skipped(character) || is_operator(character) && character != '!');
        // A `!` belongs to an epoch unless it begins the next clause.
        let version = after.get(..end.unwrap_or(after.len()))?.trim_end_matches('!');
        let after = after.get(version.len()..)?;
        clauses.push(clause(operator, version)?);
        rest = after.trim_start_matches(skipped);
    }
    Some(clauses.join(","))
}

fn is_operator(character: char) -> bool {
    matches!(character, '<' | '>' | '=' | '!' | '~')
}

fn clause(operator: &str, version: &str) -> Option<String> {
    let mut version = version.trim_end_matches('.').to_owned();
    let mut operator = match operator {
        "=" => "==",
        "=>" => ">=",
        "=<" => "<=",
        "!=~" | "!~=" => {
            if !version.ends_with('*') {
                version.push_str(".*");
            }
            "!="
        }
        known @ ("==" | "===" | "!=" | ">=" | "<=" | "~=" | ">" | "<") => known,
        _ => return None,
    };
    if let Some(stem) = version.strip_suffix('*') {
        let stem = stem.trim_end_matches('.');
        if stem.is_empty() {
            // `*` and `==*` restrict nothing; every other operator with it is nonsense.
            return matches!(operator, "==" | ">=").then(|| ">=0".to_owned());
        }
        version = match operator {
            "==" | "!=" => format!("{stem}.*"),
            _ => stem.to_owned(),
        };
    }
    if operator == "~=" && !version.contains('.') {
        // A compatible release of one number allows everything from it on below the next epoch.
        operator = ">=";
    }
    Some(format!("{operator}{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn legacy_spellings_are_rewritten() {
        let show = |text: &str| parse_lenient(text).map(|specifiers| specifiers.to_string());
        for (written, meant) in [
            (">=3.6", ">=3.6"),
            (">=3.6.*", ">=3.6"),
            (">=2.7, !=3.0.*, !=3.1.*, <4", ">=2.7, !=3.0.*, !=3.1.*, <4"),
            (">=3.7,<4.0,!=3.9*", ">=3.7, !=3.9.*, <4.0"),
            (">=3.7 <4.0", ">=3.7, <4.0"),
            (">=3.7<4.0!=3.8", ">=3.7, !=3.8, <4.0"),
            (">=3.6,", ">=3.6"),
            ("=>3.6", ">=3.6"),
            ("'>=3.6'", ">=3.6"),
            ("!=~3.5", "!=3.5.*"),
            ("~=3", ">=3"),
            (">= '2.7'", ">=2.7"),
            ("", ""),
        ] {
            let mut expected: Vec<&str> = meant.split(", ").collect();
            let shown = show(written).unwrap_or_else(|| panic!("{written} is not understood"));
            let mut found: Vec<&str> = shown.split(", ").collect();
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{written}");
        }
        for text in ["python", "3.6", ">>3.6", ">=", ">=x.y", "~~3"] {
            assert_eq!(show(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,60}", operators in "[<>=!~*.0-9, '\"a-z]{0,40}") {
            let _ = parse_lenient(&text);
            let _ = parse_lenient(&operators);
        }
    }
}
