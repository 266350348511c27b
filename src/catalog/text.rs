//! How lists and pairs are written in the catalog's files: `"3.9 3.10 3.11"` is a list and `"2.28"` a glibc, so that an
//! entry with twenty values still fits on one readable line.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Values separated by spaces, in one string.
pub(super) mod words {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, parse};

    pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A list or table of entries, empty where none is written behind its name yet.
pub(super) mod list {
    use super::{Deserialize, Deserializer};

    pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de> + Default,
    {
        Option::deserialize(deserializer).map(Option::unwrap_or_default)
    }
}

/// Parses `"3.9 3.10"`.
pub(super) fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<Vec<T>, String> {
    text.split_whitespace().map(|word| word.parse().map_err(|error: T::Err| error.to_string())).collect()
}

/// `"2.28"` as `(2, 28)`.
pub(super) mod glibc {
    use super::{Deserialize, Deserializer, Error, Serialize, Serializer, parse_glibc};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(crate) fn serialize<S: Serializer>(glibc: &(u32, u32), serializer: S) -> Result<S::Ok, S::Error> {
        format!("{}.{}", glibc.0, glibc.1).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(u32, u32), D::Error> {
        parse_glibc(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The same where a source may not tell it.
pub(super) mod optional_glibc {
    use super::{Deserialize, Deserializer, Error, Serializer, glibc, parse_glibc};

    #[expect(clippy::ref_option, reason = "the signature serde calls")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<(u32, u32)>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => glibc::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<(u32, u32)>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse_glibc(&text).map_err(D::Error::custom)).transpose()
    }
}

/// Parses `"2.28"`.
pub(super) fn parse_glibc(text: &str) -> Result<(u32, u32), String> {
    let pair = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    pair.ok_or_else(|| format!("`{text}` is not a glibc version like `2.28`"))
}

#[cfg(test)]
mod tests {
    use crate::version::PythonVersion;

    #[test]
    fn a_list_is_words_and_names_the_word_that_is_wrong() {
        assert_eq!(
            super::parse::<PythonVersion>("3.9  3.10"),
            Ok(vec![PythonVersion { major: 3, minor: 9 }, PythonVersion { major: 3, minor: 10 },])
        );
        let error = super::parse::<PythonVersion>("3.9 3.x").expect_err("not a Python line");
        assert!(error.contains("`3.x`"), "{error}");
    }
}
