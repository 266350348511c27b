//! PEP 508 requirements as they stand in METADATA that nobody checked.
//!
//! The parser of `pep508_rs` 0.9 is asked last, behind gates. It panics on a name or an extra that ends in punctuation, on
//! `~=` in a marker, on numbers at the end of their range and inside characters of several bytes, in markers while it
//! holds a lock that every later parse needs; it descends once per parenthesis; and the form it keeps markers in may grow
//! exponentially. So those never reach it. And it puts this machine's environment variables into direct references, which
//! a text from a stranger must not be able to ask for.

use std::str::FromStr as _;

use pep508_rs::{Requirement, VerbatimUrl};

use super::specifiers;

/// Opening parentheses of a requirement: the parser's stack grows with them.
const PARENTHESES_LIMIT: usize = 64;

/// `and` and `or` of a marker: its normal form may grow exponentially with them.
const OPERATORS_LIMIT: usize = 32;

/// The requirement, with specifiers in old spellings rewritten; `None` if it cannot be read.
pub fn parse_lenient(text: &str) -> Option<Requirement<VerbatimUrl>> {
    // All of PEP 508 is ASCII. A quote does not make other characters harmless: the parser counts those of a word between
    // blanks, quotes or not, and then slices by that number of bytes.
    if !text.is_ascii() {
        return None;
    }
    if let Some(requirement) = parse_strict(text) {
        return Some(requirement);
    }
    let (head, marker) = match text.split_once(';') {
        Some((head, marker)) => (head, Some(marker.trim())),
        None => (text, None),
    };
    let start = head.find(['(', '<', '>', '=', '!', '~'])?;
    let (name, specifier) = head.split_at(start);
    let specifier = specifiers::rewrite(specifier.trim().trim_start_matches('(').trim_end_matches(')'))?;
    let marker = marker.filter(|marker| !marker.is_empty()).map(|marker| format!(" ; {marker}")).unwrap_or_default();
    parse_strict(&format!("{}{specifier}{marker}", name.trim()))
}

/// What `pep508_rs` makes of an ASCII text, if it can be trusted with it.
fn parse_strict(text: &str) -> Option<Requirement<VerbatimUrl>> {
    if !names_are_whole(text) || text.contains("${") || has_huge_number(text) {
        return None;
    }
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let operators = words.filter(|word| matches!(*word, "and" | "or")).count();
    if text.bytes().filter(|&byte| byte == b'(').count() > PARENTHESES_LIMIT || operators > OPERATORS_LIMIT {
        return None;
    }
    match text.split_once(';') {
        Some((head, marker)) if marker.contains("~=") => {
            Requirement::from_str(&format!("{head};{}", expand_compatible(marker)?)).ok()
        }
        _ => Requirement::from_str(text).ok(),
    }
}

/// Whether a run of digits is longer than any version's number.
fn has_huge_number(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_digit()).any(|digits| digits.len() > 18)
}

/// A marker with each `variable ~= "a.b.c"` written out as `variable >= "a.b.c" and variable == "a.b.*"`. `None` if the
/// operator stands anywhere else.
fn expand_compatible(marker: &str) -> Option<String> {
    const VERSION_VARIABLES: [&str; 3] = ["python_version", "python_full_version", "implementation_version"];
    let mut expanded = String::with_capacity(2 * marker.len());
    let mut rest = marker;
    while let Some((before, after)) = rest.split_once("~=") {
        let before = before.trim_end();
        let start = before.rfind(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        let (before, variable) =
            before.split_at(start.map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8)));
        let after = after.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (version, after) = after.get(1..)?.split_once(quote)?;
        let (series, last) = version.rsplit_once('.')?;
        let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !VERSION_VARIABLES.contains(&variable) || !is_plain(last) || !series.split('.').all(is_plain) {
            return None;
        }
        expanded.push_str(before);
        expanded.push_str(&format!("({variable} >= '{version}' and {variable} == '{series}.*')"));
        rest = after;
    }
    expanded.push_str(rest);
    Some(expanded)
}

/// Whether the name and the extras end in a letter or a digit, as PEP 508 asks.
fn names_are_whole(text: &str) -> bool {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let is_whole = |run: &str| run.is_empty() || run.ends_with(|character: char| character.is_ascii_alphanumeric());
    let text = text.trim_start();
    let name_end = text.find(|character| !is_name(character)).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    let extras = rest.trim_start().strip_prefix('[').map_or("", |extras| extras.split(']').next().unwrap_or(extras));
    is_whole(name) && extras.split(|character| !is_name(character)).all(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn old_spellings_are_rewritten_and_the_rest_is_refused() {
        let show = |text: &str| parse_lenient(text).map(|requirement| requirement.to_string());
        for (written, meant) in [
            ("numpy", "numpy"),
            ("numpy (>=1.20.*)", "numpy>=1.20"),
            ("pytest (>=3,!=3.7*) ; extra == 'test'", "pytest>=3,!=3.7.* ; extra == 'test'"),
            ("a[b,c] >=1 <2", "a[b,c]>=1,<2"),
            ("a ; python_full_version ~= '3.8.0'", "a ; python_full_version == '3.8.*'"),
        ] {
            assert_eq!(show(written).as_deref(), Some(meant));
        }
        for text in [
            "",
            "a. x",
            "a[b.]",
            "a[b-, c]",
            "a[b_",
            "a @ https://host/${HOME}",
            "a >=",
            "=1",
            "a; os_name ~= '1.0'",
            "a; '3.0' ~= python_version",
        ] {
            assert_eq!(show(text), None, "{text}");
        }
    }

    #[test]
    fn text_beyond_ascii_is_refused_and_spoils_no_later_parse() {
        for text in [
            "a; os_name == \"x\" é",
            "a; os_name == 'x'y'é z'",
            "a; os_name == 'é'",
            "a; os_name == 'x' \u{fffd}",
            "a; é == 'x'",
            "a; os_name é 'x'",
            "a[é]",
            "a>=1é",
            "aé",
            "é",
            "a (>=1)\u{a0}; os_name == 'x'",
            "a; python_version ~= é3.8é",
            "a @ https://host/é",
        ] {
            assert_eq!(parse_lenient(text), None, "{text}");
        }
        let sound = parse_lenient("a; os_name == 'x'").map(|requirement| requirement.to_string());
        assert_eq!(sound.as_deref(), Some("a ; os_name == 'x'"));
    }

    #[test]
    fn markers_are_followed_to_a_limit() {
        let nested = |depth: usize| format!("a; {}os_name == 'x'{}", "(".repeat(depth), ")".repeat(depth));
        let show = |text: &str| parse_lenient(text).map(|requirement| requirement.to_string());
        assert_eq!(show(&nested(PARENTHESES_LIMIT)).as_deref(), Some("a ; os_name == 'x'"));
        assert_eq!(show(&nested(PARENTHESES_LIMIT + 1)), None);
        assert_eq!(show(&nested(200_000)), None);
        let chained = |count: usize| format!("a; os_name == 'x'{}", " or os_name == 'x'".repeat(count));
        assert_eq!(show(&chained(OPERATORS_LIMIT)).as_deref(), Some("a ; os_name == 'x'"));
        assert_eq!(show(&chained(OPERATORS_LIMIT + 1)), None);
    }

    proptest! {
        #[test]
        fn anything_like_a_requirement_is_survived(
            name in "[a-z]{1,3}[ \\[\\](),;<>=!~@.*0-9a-z'\"$_-]{0,40}",
            variable in "(python_version|python_full_version|extra|sys_platform|platform_release|os_name|'[a-z0-9.]{0,4}')",
            operator in "(==|!=|<|<=|>|>=|~=|===|in|not in|=|)",
            value in "'[0-9a-z.* !+-]{0,8}'",
        ) {
            let _ = parse_lenient(&name);
            let marked = parse_lenient(&format!("a; {variable} {operator} {value} or {value} {operator} {variable} and {name}"));
            let _ = marked.map(|requirement| requirement.to_string());
            let marked = parse_lenient(&format!("a; {variable} {operator} {value}"));
            let _ = marked.map(|requirement| requirement.to_string());
        }

        #[test]
        fn any_character_anywhere_is_survived(
            before in "[a-z'\"\\[(;=~ ]{0,4}",
            strange in "[é\u{a0}\u{fffd}\u{2003}\u{10ffff}x'\" ]{1,5}",
            after in "[a-z0-9'\"\\])=~. ]{0,4}",
            operator in "(==|~=|in|not in)",
        ) {
            let strange = format!("{before}{strange}{after}");
            for text in [
                strange.clone(),
                format!("a{strange}>=1"),
                format!("a>=1{strange}; os_name == 'x'"),
                format!("a; os_name {operator} 'x'{strange}"),
                format!("a; os_name {operator} 'x' {strange}"),
                format!("a; {strange} {operator} 'x' or os_name == 'y'"),
                format!("a; python_version {operator} '{strange}' and os_name == 'y'"),
                format!("a; (os_name == 'x' {strange}) and extra == '{strange}'"),
            ] {
                let read = parse_lenient(&text).map(|requirement| requirement.to_string());
                prop_assert!(text.is_ascii() || read.is_none(), "{text}");
            }
        }
    }
}
