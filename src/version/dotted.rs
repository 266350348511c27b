//! Plain dotted numbers (`12.4`, `550.144.03`, `9.1.0.70`) and the newtypes that keep them apart.
//!
//! Missing components count as zero in comparisons (`12.4 == 12.4.0`), and the text is kept as it was written, because a
//! driver prints as `550.144.03`, not `550.144.3`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version of one to six dot-separated decimal numbers.
#[derive(Clone)]
pub struct Dotted {
    components: Vec<u64>,
    text: String,
}

/// What is wrong with a text that should have been a dotted version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version: expected numbers separated by dots, like `{example}`")]
pub struct ParseError {
    /// The text as it was given.
    pub text: String,
    /// A well-formed value of the same kind.
    pub example: &'static str,
}

impl Dotted {
    /// The numbers, most significant first, without trailing zeros removed.
    pub fn components(&self) -> &[u64] {
        &self.components
    }

    /// Component `index`, zero where the text had none.
    pub fn component(&self, index: usize) -> u64 {
        self.components.get(index).copied().unwrap_or(0)
    }

    /// Whether `self` starts with all components of `prefix` (`12.4.1` starts with `12.4`).
    pub fn starts_with(&self, prefix: &Dotted) -> bool {
        prefix.components.iter().enumerate().all(|(index, part)| self.components.get(index) == Some(part))
    }

    fn significant(&self) -> &[u64] {
        let end = self.components.iter().rposition(|&part| part != 0).map_or(0, |index| index + 1);
        &self.components[..end]
    }

    fn parse(text: &str, example: &'static str) -> Result<Self, ParseError> {
        let error = || ParseError { text: text.to_owned(), example };
        let trimmed = text.trim();
        let components = trimmed
            .split('.')
            .map(|part| {
                let plain = !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
                if plain { part.parse().ok() } else { None }
            })
            .collect::<Option<Vec<u64>>>()
            .filter(|components| components.len() <= 6)
            .ok_or_else(error)?;
        Ok(Self { components, text: trimmed.to_owned() })
    }
}

impl PartialEq for Dotted {
    fn eq(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }
}
impl Eq for Dotted {}
impl Hash for Dotted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}
impl Ord for Dotted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.significant().cmp(other.significant())
    }
}
impl PartialOrd for Dotted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl FromStr for Dotted {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text, "12.4")
    }
}
impl Serialize for Dotted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
impl<'de> Deserialize<'de> for Dotted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! dotted_newtype {
    ($(#[$doc:meta])* $name:ident, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Dotted);

        impl $name {
            /// The number without its meaning, for comparisons across kinds.
            pub fn dotted(&self) -> &Dotted {
                &self.0
            }
            /// The first component.
            pub fn major(&self) -> u64 {
                self.0.component(0)
            }
            /// The second component, zero if absent.
            pub fn minor(&self) -> u64 {
                self.0.component(1)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                Dotted::parse(text, $example).map(Self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

dotted_newtype! {
    /// Release of the CUDA toolkit, `12.4` or `12.4.1`. Not what a driver supports: that is [`DriverVersion`].
    ToolkitVersion, "12.4.1"
}
dotted_newtype! {
    /// Release of the NVIDIA kernel driver, `550.144.03`. Not a CUDA version, although `nvidia-smi` prints both.
    DriverVersion, "550.144.03"
}
dotted_newtype! {
    /// Release of cuDNN, `9.1.0.70`.
    CudnnVersion, "9.1.0.70"
}
dotted_newtype! {
    /// Compute capability of a GPU, `7.5`: `sm_75` as a cubin, `compute_75` as PTX.
    ComputeCapability, "7.5"
}

impl ToolkitVersion {
    /// `12.4` of `12.4.1`.
    pub fn major_minor(&self) -> String {
        format!("{}.{}", self.major(), self.minor())
    }
}

/// A driver's release branch, written `R550`: all drivers whose first number is 550.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DriverBranch(pub u64);

impl DriverBranch {
    /// Whether `driver` was released on this branch or an earlier one.
    pub fn includes(self, driver: &DriverVersion) -> bool {
        driver.major() <= self.0
    }
}
impl fmt::Display for DriverBranch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{}", self.0)
    }
}
impl fmt::Debug for DriverBranch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{}", self.0)
    }
}
impl FromStr for DriverBranch {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.trim()
            .strip_prefix('R')
            .and_then(|number| number.parse().ok())
            .map(Self)
            .ok_or_else(|| ParseError { text: text.to_owned(), example: "R550" })
    }
}
impl Serialize for DriverBranch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for DriverBranch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_zeros_do_not_matter_and_the_text_is_kept() {
        let driver: DriverVersion = "550.144.03".parse().expect("valid");
        assert_eq!(driver.to_string(), "550.144.03");
        assert_eq!("12.4".parse::<ToolkitVersion>(), "12.4.0".parse::<ToolkitVersion>());
        assert!("12.10".parse::<ToolkitVersion>().expect("valid") > "12.9".parse::<ToolkitVersion>().expect("valid"));
    }

    #[test]
    fn rejects_what_is_not_a_dotted_number() {
        for text in ["", ".", "12.", "12.x", "v12", "1.2.3.4.5.6.7", "99999999999.1", "-1"] {
            assert!(text.parse::<Dotted>().is_err(), "{text}");
        }
    }
}
