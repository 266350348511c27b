//! in-toto statements, version 1: a claim about things that are named by digest.
//! Source: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::oci::Digest;

/// Media type of a statement, and the payload type of the envelope around one.
pub const IN_TOTO_TYPE: &str = "application/vnd.in-toto+json";

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What older signers write; a statement of it has the same fields.
const OLDER_STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v0.1";

/// A claim about subjects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// What it is about.
    pub subject: Vec<Subject>,
    /// What the predicate is.
    pub predicate_type: String,
    /// The claim.
    #[serde(default)]
    pub predicate: Value,
}

/// One thing that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its name, which identifies nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hexadecimal digests by algorithm.
    #[serde(default)]
    pub digest: BTreeMap<String, String>,
}

impl Statement {
    /// A claim about the image of one digest.
    pub fn new(name: Option<&str>, digest: &Digest, predicate_type: &str, predicate: Value) -> Self {
        let digest = BTreeMap::from([("sha256".to_owned(), digest.hex())]);
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name: name.map(str::to_owned), digest }],
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }

    /// Reads a statement; the text says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let statement: Self = serde_json::from_slice(bytes).map_err(|cause| format!("it is no statement: {cause}"))?;
        match statement.kind.as_str() {
            STATEMENT_TYPE | OLDER_STATEMENT_TYPE => Ok(statement),
            other => Err(format!("it is a statement of the type `{}`, which nobody here knows", shorten(other))),
        }
    }

    /// The exact bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether it is about the image of this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let hex = digest.hex();
        self.subject.iter().any(|subject| subject.digest.get("sha256") == Some(&hex))
    }
}

/// A text from outside, for a message.
pub(super) fn shorten(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_read_as_it_was_written() {
        let digest = Digest::of(b"image");
        let statement = Statement::new(Some("churn"), &digest, "https://example.com/p/v1", serde_json::json!({"a": 1}));
        let read = Statement::read(&statement.to_bytes()).expect("a statement");
        assert_eq!(read, statement);
        assert!(read.is_about(&digest) && !read.is_about(&Digest::of(b"other")));
    }

    #[test]
    fn other_things_are_no_statements() {
        let error = |text: &str| Statement::read(text.as_bytes()).expect_err(text);
        assert!(error("[]").starts_with("it is no statement"));
        let other = r#"{"_type": "https://example.com/x", "subject": [], "predicateType": "p"}"#;
        assert_eq!(error(other), "it is a statement of the type `https://example.com/x`, which nobody here knows");
        let hostile = r#"{"_type": "https://in-toto.io/Statement/v1", "subject": [null], "predicateType": "p"}"#;
        assert!(error(hostile).contains("invalid type: null"));
    }

    #[test]
    fn another_algorithm_is_no_match() {
        let digest = Digest::of(b"image");
        let text = format!(
            r#"{{"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "p", "subject": [{{}}, {{"digest": {{"sha512": "{}"}}}}]}}"#,
            digest.hex()
        );
        assert!(!Statement::read(text.as_bytes()).expect("a statement").is_about(&digest));
    }
}
