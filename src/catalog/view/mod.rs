//! The catalog for people and scripts: `imgforge catalog list KIND` and `imgforge catalog show WORDS`.
//!
//! `list` gives the entries; `show` answers a question, so it goes on from an entry to what follows from it: from a card to
//! the frameworks that run on it, from a driver to the CUDA it carries. Each answer is made twice, as text of at most 120
//! columns and as JSON with the entry's own fields first.

mod hardware;
mod images;
mod list;
mod release;
mod show;
mod stack;
mod table;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use serde_json::Value;

use crate::diagnostic::{Hint, suggestion};

pub use list::{Filter, list};
pub use show::show;

/// The same answer twice.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Aligned columns, a line each, for people.
    pub text: String,
    /// The entries with all fields, for scripts.
    pub json: Value,
}

/// What `list` can list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Cards.
    Gpus,
    /// Machine types.
    Instances,
    /// Toolkits with the driver each needs.
    Cuda,
    /// Frameworks and their newest releases.
    Frameworks,
    /// Python lines.
    Pythons,
    /// Base images.
    Bases,
    /// Operating systems that `nvidia/cuda` has images of, whether they can be a base or not.
    Images,
    /// Services.
    Services,
    /// Rules between facts.
    Rules,
}

impl Kind {
    /// All kinds with the word for each.
    pub const ALL: [(&'static str, Self); 9] = [
        ("gpus", Self::Gpus),
        ("instances", Self::Instances),
        ("cuda", Self::Cuda),
        ("frameworks", Self::Frameworks),
        ("pythons", Self::Pythons),
        ("bases", Self::Bases),
        ("images", Self::Images),
        ("services", Self::Services),
        ("rules", Self::Rules),
    ];
}

/// A question the catalog has no answer to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `list` of an unknown kind.
    #[error("`{word}` is no kind of entry")]
    UnknownKind {
        /// The word.
        word: String,
    },
    /// A filter of instances with another kind.
    #[error("`--cloud` and `--gpu` choose among instances, not among {kind}")]
    NoFilter {
        /// The kind's word.
        kind: &'static str,
    },
    /// `show` of nothing, or of words that fit no form.
    #[error("`{words}` does not say what to show")]
    UnknownForm {
        /// The words.
        words: String,
    },
    /// `show` of a name that is not in the catalog.
    #[error("the catalog has no {kind} `{name}`")]
    UnknownName {
        /// `card`, `instance`, ...
        kind: &'static str,
        /// The name.
        name: String,
        /// A name that is close to it.
        suggestion: Option<String>,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::UnknownKind { word } => {
                let names = Kind::ALL.map(|(name, _)| name);
                let close = suggestion(word, names).map(|name| format!("did you mean `{name}`?"));
                close.into_iter().chain([format!("one of {}", names.join(", "))]).collect()
            }
            Self::NoFilter { .. } => vec!["`imgforge catalog list instances --cloud aws --gpu T4`".to_owned()],
            Self::UnknownForm { .. } => vec![
                "`show L4`, `show aws/g4dn.xlarge`, `show torch 2.5.1`, `show torch 2.5.1 cu124`, `show cuda 12.4`, \
                 `show cudnn 9.1`, `show driver 535.104.05`, `show python 3.11`, `show base cuda 12.4.1`, \
                 `show rockylinux 9`, `show service postgres` or `show rule sass`"
                    .to_owned(),
            ],
            Self::UnknownName { suggestion, .. } => {
                suggestion.iter().map(|name| format!("did you mean `{name}`?")).collect()
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownName { .. } => 1,
            Self::UnknownKind { .. } | Self::UnknownForm { .. } | Self::NoFilter { .. } => 2,
        }
    }
}

impl FromStr for Kind {
    type Err = Error;
    fn from_str(word: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == word || name.strip_suffix('s') == Some(word));
        found.map(|(_, kind)| kind).ok_or_else(|| Error::UnknownKind { word: word.to_owned() })
    }
}
