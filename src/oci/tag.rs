//! Tags, and the templates they are made from: `{{ version }}-py{{ python }}`.
//!
//! What a lock knows is filled in when it is written. The image's digest is known only when the image is made, so
//! `{{ digest }}` stays in the lock and is filled in by whoever publishes.

use std::fmt;
use std::str::FromStr;

/// Hexadecimal digits of a digest that stand in a tag.
const SHORT_DIGEST: usize = 12;
/// The variable that only a finished image has.
pub const DIGEST_VARIABLE: &str = "digest";

/// A tag with places to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

/// Why a text is no template of a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// The text between the variables cannot be in a tag.
    #[error("it takes at most 128 letters, digits, `_`, `.` and `-`, the last two not first")]
    Characters,
    /// `{{` without `}}`.
    #[error("its `{{{{` has no `}}}}`")]
    Open,
}

/// Whether a text is a tag, as the OCI distribution specification has it.
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

impl TagTemplate {
    /// Names of the variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with the values that are known, each with `_` for what a tag cannot have (`2.5.1+cu124` has a `+`). Variables
    /// without one stay.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let fit = |byte: char| if byte.is_ascii_alphanumeric() || "_.-".contains(byte) { byte } else { '_' };
        let filled = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(name) => match value(name) {
                Some(value) => value.chars().map(fit).collect(),
                None => format!("{{{{ {name} }}}}"),
            },
        });
        filled.collect()
    }
}

/// As it is written, with one space inside the braces.
impl fmt::Display for TagTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.fill(|_| None))
    }
}

impl FromStr for TagTemplate {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(TagError::Open)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Variable(name.trim().to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        let template = Self { pieces };
        match is_tag(&template.fill(|_| Some("0".to_owned()))) {
            true => Ok(template),
            false => Err(TagError::Characters),
        }
    }
}

/// The tags that a lock's texts stand for, once the image's digest is known. What is no tag then is left out: the spec was
/// checked, so only a lock that was edited by hand has one.
pub fn with_digest(texts: &[String], digest: &super::Digest) -> Vec<String> {
    let short: String = digest.hex().chars().take(SHORT_DIGEST).collect();
    let fill = |text: &String| {
        let template: TagTemplate = text.parse().ok()?;
        let tag = template.fill(|name| (name == DIGEST_VARIABLE).then(|| short.clone()));
        is_tag(&tag).then_some(tag)
    };
    texts.iter().filter_map(fill).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> String {
        let template: TagTemplate = text.parse().expect("a template");
        template.fill(|name| match name {
            "version" => Some("1.4".to_owned()),
            "torch" => Some("2.5.1+cu124".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn fills_in_what_is_known() {
        assert_eq!(filled("latest"), "latest");
        assert_eq!(filled("v{{version}}-torch{{ torch }}"), "v1.4-torch2.5.1_cu124");
        assert_eq!(filled("{{ version }}-{{ digest }}"), "1.4-{{ digest }}");
        let template: TagTemplate = "{{ version }}-{{digest}}".parse().expect("a template");
        assert_eq!(template.variables().collect::<Vec<_>>(), ["version", "digest"]);
    }

    #[test]
    fn the_digest_comes_last() {
        let digest = crate::oci::Digest::of(b"");
        let texts = ["latest", "1.4-{{ digest }}", "{{ unknown }}"].map(str::to_owned);
        assert_eq!(with_digest(&texts, &digest), ["latest", "1.4-e3b0c44298fc"]);
    }

    #[test]
    fn refuses_what_no_value_makes_a_tag() {
        let refused = |text: &str| text.parse::<TagTemplate>().expect_err("no template");
        assert_eq!(refused("{{ version"), TagError::Open);
        assert_eq!(refused("a b"), TagError::Characters);
        assert_eq!(refused("-{{ version }}"), TagError::Characters);
        assert_eq!(refused(""), TagError::Characters);
        assert_eq!(refused("}}"), TagError::Characters);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z{} .:+é-]{0,40}") {
            if let Ok(template) = text.parse::<TagTemplate>() {
                prop_assert!(is_tag(&template.fill(|_| Some("1+2".to_owned()))));
            }
        }
    }
}
