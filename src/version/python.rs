//! A Python line: `3.11`. Patch releases never decide which wheels fit, so they are not part of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ParseError;

/// Major and minor number of a CPython line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PythonVersion {
    /// `3` of `3.11`.
    pub major: u32,
    /// `11` of `3.11`.
    pub minor: u32,
}

impl PythonVersion {
    /// `cp311`, as in wheel file names.
    pub fn cpython_tag(self) -> String {
        format!("cp{}{}", self.major, self.minor)
    }
}
impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
impl fmt::Debug for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for PythonVersion {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError { text: text.to_owned(), example: "3.11" };
        let (major, minor) = text.trim().split_once('.').ok_or_else(error)?;
        let number = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().map_err(|_| error()),
            false => Err(error()),
        };
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}
impl Serialize for PythonVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for PythonVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
