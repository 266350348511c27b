//! A file the user wrote, and how ranges of its bytes become an [`Origin`].
//!
//! Ranges come from a YAML parser and from our own arithmetic, so they are clipped to the text and to character
//! boundaries here, once. The text that errors show has credentials in URLs masked byte for byte: a message about a line
//! must not print the password that stands in it, and the ranges stay true.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::Typed;
use crate::diagnostic::Origin;

/// A file's text.
#[derive(Debug)]
pub(super) struct Source {
    /// The path as the user would write it.
    pub(super) path: PathBuf,
    /// The text, without a byte order mark.
    pub(super) text: Arc<str>,
    shown: Arc<str>,
}

impl Source {
    /// A file; a leading byte order mark is dropped.
    pub(super) fn new(path: &Path, text: &str) -> Self {
        let text: Arc<str> = Arc::from(text.strip_prefix('\u{feff}').unwrap_or(text));
        let shown = mask_credentials(&text).map_or_else(|| text.clone(), Arc::from);
        Self { path: path.to_owned(), text, shown }
    }

    /// The place of `span`.
    pub(super) fn origin(&self, span: Range<usize>) -> Origin {
        Origin { path: self.path.clone(), text: self.shown.clone(), span: self.clip(span) }
    }

    /// The place of `part` of a text value; the whole value where escapes or folding make the two differ.
    pub(super) fn origin_within(&self, typed: &Typed<String>, part: Range<usize>) -> Origin {
        let written = self.slice(typed.span.clone());
        match written.find(typed.value.as_str()) {
            Some(offset) if !typed.value.is_empty() => {
                let start = typed.span.start + offset;
                self.origin(start + part.start..start + part.end.max(part.start))
            }
            _ => self.origin(typed.span.clone()),
        }
    }

    /// The bytes of `span` as they were written.
    pub(super) fn slice(&self, span: Range<usize>) -> &str {
        &self.text[self.clip(span)]
    }

    fn clip(&self, span: Range<usize>) -> Range<usize> {
        let boundary = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = boundary(span.start);
        start..boundary(span.end).max(start)
    }
}

/// The text with the user part and the query of every URL overwritten; `None` if there is none. The `@` of
/// `wasbs://container@account` separates no credential.
fn mask_credentials(text: &str) -> Option<String> {
    let mut masked: Option<Vec<u8>> = None;
    let mut mask = |range: Range<usize>| masked.get_or_insert_with(|| text.as_bytes().to_vec())[range].fill(b'*');
    for (scheme_end, _) in text.match_indices("://") {
        let start = scheme_end + 3;
        let url_ends = |c: char| c.is_whitespace() || "\"'<>,{}[]".contains(c);
        let end = text[start..].find(url_ends).map_or(text.len(), |length| start + length);
        let authority_end = text[start..end].find(['/', '?', '#']).map_or(end, |length| start + length);
        let scheme_start = text[..scheme_end].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
        let is_azure = text.get(scheme_start..scheme_end).is_some_and(|scheme| scheme.starts_with("wasb"));
        if let Some(length) = text[start..authority_end].rfind('@').filter(|_| !is_azure) {
            mask(start..start + length);
        }
        if let Some(length) = text[authority_end..end].find('?') {
            mask(authority_end + length + 1..end);
        }
    }
    masked.and_then(|bytes| String::from_utf8(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked_in_place() {
        assert_eq!(
            mask_credentials("url: \"https://näme:secret@host/x@y?a=ö\" # s3://k@b").as_deref(),
            Some("url: \"https://************@host/x@y?****\" # s3://*@b")
        );
        assert_eq!(mask_credentials("wasbs://box@account.blob.example/x https://host/a@b"), None);
    }

    #[test]
    fn ranges_are_clipped_to_characters() {
        let source = Source::new(Path::new("spec.yaml"), "\u{feff}aé");
        assert_eq!(source.origin(2..90).span, 1..3);
        assert_eq!(source.origin(Range { start: 9, end: 3 }).span, 3..3);
    }
}
