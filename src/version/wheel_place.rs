//! Where a wheel lies that no index holds: an address, or a file below the spec's folder.
//!
//! A spec names such a wheel and a lock repeats it, so a place never holds a secret: no user name, no password, no query,
//! where signed links carry their tokens. Its text is stable, and reads back as the same place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

/// A wheel's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WheelPlace {
    /// A file: its path from the spec's folder, in normal form with `/` between the parts. Written `file:wheels/a.whl`.
    File(String),
    /// An `http` or `https` address without user, query and fragment.
    Url(Url),
}

/// Why a text is no place of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// User name, password or query in the address.
    #[error("the address holds credentials or a query")]
    Credentials,
    /// A path of the machine.
    #[error("the path is absolute")]
    Absolute,
    /// A path that leaves the folder.
    #[error("the path lies outside the spec's folder")]
    Outside,
    /// Anything else.
    #[error("{0}")]
    Malformed(String),
}

impl WheelPlace {
    /// The file's name, the last part of the place.
    pub fn file_name(&self) -> String {
        match self {
            Self::File(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
            Self::Url(url) => {
                // A form's decoding reads `+` as a blank; in a path it is itself.
                let last = url.path().rsplit('/').next().unwrap_or_default().replace('+', "%2B");
                let pair = format!("x={}", last.replace('&', "%26"));
                url::form_urlencoded::parse(pair.as_bytes())
                    .next()
                    .map(|(_, name)| name.into_owned())
                    .unwrap_or_default()
            }
        }
    }

    fn of_path(path: &str) -> Result<Self, PlaceError> {
        if path.starts_with('/') {
            return Err(PlaceError::Absolute);
        }
        if path.contains(|character: char| {
            character.is_control() || character.is_whitespace() || "\\#?%".contains(character)
        }) {
            return Err(PlaceError::Malformed("the path has a character that no wheel's has".to_owned()));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or(PlaceError::Outside)?;
                }
                part => parts.push(part),
            }
        }
        match parts.is_empty() {
            true => Err(PlaceError::Malformed("no file is named".to_owned())),
            false => Ok(Self::File(parts.join("/"))),
        }
    }
}

impl FromStr for WheelPlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("file:") {
            return Self::of_path(path);
        }
        if !text.contains("://") {
            return Self::of_path(text);
        }
        let url = Url::parse(text).map_err(|error| PlaceError::Malformed(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(PlaceError::Malformed(format!("it starts with `{}:`, not `https:`", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(PlaceError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(PlaceError::Malformed("an address ends before `#`".to_owned()));
        }
        Ok(Self::Url(url))
    }
}

impl fmt::Display for WheelPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{path}"),
            Self::Url(url) => url.fmt(f),
        }
    }
}

impl TryFrom<String> for WheelPlace {
    type Error = PlaceError;
    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<WheelPlace> for String {
    fn from(place: WheelPlace) -> Self {
        place.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_have_one_text_and_a_file_name() {
        for (written, shown, name) in [
            ("file:wheels/./a-1-py3-none-any.whl", "file:wheels/a-1-py3-none-any.whl", "a-1-py3-none-any.whl"),
            ("./x/../a.whl", "file:a.whl", "a.whl"),
            ("https://host.example/p/a-1%2Bcu121-x.whl", "https://host.example/p/a-1%2Bcu121-x.whl", "a-1+cu121-x.whl"),
            ("HTTPS://Host.Example/a+b.whl", "https://host.example/a+b.whl", "a+b.whl"),
        ] {
            let place: WheelPlace = written.parse().expect(written);
            assert_eq!((place.to_string().as_str(), place.file_name().as_str()), (shown, name));
        }
    }

    #[test]
    fn secrets_and_paths_outside_the_folder_are_refused() {
        let error = |text: &str| text.parse::<WheelPlace>().expect_err(text);
        assert_eq!(error("https://me:secret@host.example/a.whl"), PlaceError::Credentials);
        assert_eq!(error("https://host.example/a.whl?token=secret"), PlaceError::Credentials);
        assert_eq!(error("file:///home/me/a.whl"), PlaceError::Absolute);
        assert_eq!(error("/a.whl"), PlaceError::Absolute);
        assert_eq!(error("wheels/../../a.whl"), PlaceError::Outside);
        assert!(matches!(error("ftp://host.example/a.whl"), PlaceError::Malformed(_)));
        assert!(matches!(error("file:"), PlaceError::Malformed(_)));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "(file:|https://h/|)[a-z./%+#?@: -]{0,20}") {
            if let Ok(place) = text.parse::<WheelPlace>() {
                prop_assert_eq!(place.to_string().parse::<WheelPlace>().expect("its own text"), place);
            }
        }
    }
}
