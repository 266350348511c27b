//! Why a spec could not be taken, as data. Every variant of [`Problem`] has a place in a file; [`Error`] adds the file
//! system's own refusals.

use std::path::PathBuf;

use crate::diagnostic::{Hint, Origin, suggestion};

/// A spec that could not be read or does not say something valid.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file there.
    #[error("there is no `{}`", .path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot read `{}`: {source}", .path.display())]
    Read {
        /// The path as given.
        path: PathBuf,
        /// The file system's reason.
        source: std::io::Error,
    },
    /// Larger than any spec.
    #[error("`{}` is larger than {} KiB, so it is not a spec", .path.display(), .limit / 1024)]
    TooLarge {
        /// The path as given.
        path: PathBuf,
        /// Bytes allowed.
        limit: usize,
    },
    /// Something in the spec, or in a requirements file it names, is wrong.
    #[error("{problem}")]
    Invalid {
        /// Where.
        origin: Origin,
        /// What.
        problem: Problem,
        /// How the file came into play.
        notes: Vec<String>,
    },
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Nothing but comments.
    #[error("the file is empty")]
    Empty,
    /// Text that is not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotUtf8,
    /// More than one `---`.
    #[error("the file holds several YAML documents, a spec is one")]
    SeveralDocuments,
    /// A tab where YAML counts spaces.
    #[error("a tab indents this line, and YAML takes only spaces")]
    Tab,
    /// Other violations of YAML, in the parser's words.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// `<<`.
    #[error("merge keys (`<<`) are not supported")]
    MergeKey,
    /// Beyond the parser's budget: nesting, aliases, number of values.
    #[error("the file nests, repeats or holds more values than any spec needs")]
    TooComplex,
    /// A key no mapping of this kind has.
    #[error("unknown key `{}`", shown(.key))]
    UnknownKey {
        /// As written.
        key: String,
        /// Keys of this mapping.
        allowed: Vec<&'static str>,
    },
    /// A key written twice.
    #[error("the key `{}` is written twice", shown(.key))]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A required key that is absent.
    #[error("the key `{key}` is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// A line that would do.
        example: &'static str,
    },
    /// A list where a text belongs, and the like.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What belongs here.
        expected: String,
        /// What stands here.
        found: String,
    },
    /// A list that must not be empty.
    #[error("`{key}` is an empty list")]
    EmptyList {
        /// The key.
        key: &'static str,
    },
    /// A text that breaks the rule of its kind.
    #[error("{} is not {kind}: {reason}", quoted(.text))]
    Malformed {
        /// With its article: `a version`.
        kind: &'static str,
        /// As written.
        text: String,
        /// The rule, or what breaks it.
        reason: String,
        /// What to write instead.
        help: Vec<String>,
    },
    /// A word that is none of a few.
    #[error("{} is not {kind}", quoted(.word))]
    UnknownWord {
        /// With its article.
        kind: &'static str,
        /// As written.
        word: String,
        /// The words there are.
        allowed: &'static [&'static str],
        /// What to write instead, beyond a suggestion.
        help: Vec<String>,
    },
    /// A value that a list may hold once.
    #[error("`{}` is listed twice, first in line {first_line}", shown(.text))]
    Repeated {
        /// As written.
        text: String,
        /// Line of the first one.
        first_line: usize,
    },
    /// A path of the machine.
    #[error("`{}` is an absolute path", shown(.path))]
    AbsolutePath {
        /// As written.
        path: String,
    },
    /// A path out of the spec's folder.
    #[error("`{}` lies outside the spec's folder", shown(.path))]
    OutsideFolder {
        /// As written.
        path: String,
    },
    /// A file that cannot be used.
    #[error("cannot use `{}`: {reason}", shown(.path))]
    Unreadable {
        /// As written.
        path: String,
        /// Why.
        reason: String,
    },
    /// User name or password in a URL.
    #[error("the URL holds credentials")]
    Credentials,
    /// A package by its repository.
    #[error("`{}` is built from a repository, and only wheels are installed", shown(.text))]
    Repository {
        /// The requirement's name or address, credentials masked.
        text: String,
    },
    /// A package by a file that is no wheel.
    #[error("`{}` is no wheel, and only wheels are installed", shown(.file))]
    NoWheel {
        /// File name or folder, credentials masked.
        file: String,
    },
    /// A wheel of another package than the requirement's.
    #[error("the wheel `{}` is one of `{found}`, not of `{expected}`", shown(.file))]
    OtherWheel {
        /// File name.
        file: String,
        /// The requirement's name, normalised.
        expected: String,
        /// The wheel's name, normalised.
        found: String,
    },
    /// A file beside the spec whose bytes are not the promised ones.
    #[error("`{}` has {found}, and the requirement says {expected}", shown(.path))]
    OtherBytes {
        /// Relative to the spec's folder.
        path: String,
        /// What the requirement says.
        expected: crate::oci::Digest,
        /// What the file has.
        found: crate::oci::Digest,
    },
    /// A requirement without a hash in a file that asks for hashes everywhere.
    #[error("this requirement has no hash, and `--require-hashes` asks for one everywhere")]
    NoHash,
    /// An option of requirements files that has no meaning here.
    #[error("the option `{}` is not supported here", shown(.option))]
    RequirementsOption {
        /// The option.
        option: String,
        /// What to do instead.
        help: String,
    },
    /// MLflow on a PostgreSQL that is not there.
    #[error("mlflow's backend is `postgres`, and the stack has no `postgres` service")]
    NoPostgres,
}

impl Error {
    /// A problem at a place.
    pub(super) fn at(origin: Origin, problem: Problem) -> Self {
        Self::Invalid { origin, problem, notes: Vec::new() }
    }
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } => vec![
                "`name: my-image` and a list of `packages:` make a first spec; `imgforge schema` knows every key"
                    .to_owned(),
            ],
            Self::Invalid { problem, .. } => problem.help(),
            Self::Read { .. } | Self::TooLarge { .. } => Vec::new(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Invalid { notes, .. } => notes.clone(),
            _ => Vec::new(),
        }
    }
    fn origin(&self) -> Option<Origin> {
        match self {
            Self::Invalid { origin, .. } => Some(origin.clone()),
            _ => None,
        }
    }
}

impl Problem {
    fn help(&self) -> Vec<String> {
        let meant = |word: &str, allowed: &[&str]| {
            suggestion(word, allowed.iter().copied()).map(|near| format!("did you mean `{near}`?"))
        };
        let listed = |allowed: &[&str]| allowed.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let one = |text: &str| vec![text.to_owned()];
        match self {
            Self::Empty => one("`name: my-image` is the smallest spec; `imgforge schema` knows every key"),
            Self::UnknownKey { key, allowed } => meant(key, allowed)
                .into_iter()
                .chain([match allowed.as_slice() {
                    [only] => format!("the only key here is `{only}`"),
                    _ => format!("the keys here are {}", listed(allowed)),
                }])
                .collect(),
            Self::UnknownWord { word, allowed, help, .. } => {
                let words = (allowed.len() > 1).then(|| format!("it can be {}", listed(allowed)));
                meant(word, allowed).into_iter().chain(help.iter().cloned()).chain(words).collect()
            }
            Self::MissingKey { example, .. } => vec![format!("for example `{example}`")],
            Self::EmptyList { key } => vec![format!("leave `{key}` out to get its default")],
            Self::Malformed { help, .. } => help.clone(),
            Self::Repeated { .. } | Self::DuplicateKey { .. } => one("remove one of the two"),
            Self::AbsolutePath { .. } => {
                one("write the path from the spec's folder, so that it holds on every machine")
            }
            Self::OutsideFolder { .. } => one("copy the file into the folder, or move the spec up"),
            Self::Credentials => {
                one("keep credentials in `~/.netrc` or in the environment; a spec is shared and ends up in the image")
            }
            Self::Repository { .. } | Self::NoWheel { .. } => vec![
                "build the wheel once (`pip wheel --no-deps PACKAGE`), put it into the spec's folder and write \
                 `NAME @ file:FOLDER/FILE.whl`"
                    .to_owned(),
                "or publish it to an index of your own, named under `indexes`".to_owned(),
            ],
            Self::OtherBytes { .. } => one("if the file was meant to change, write its new hash or none"),
            Self::NoHash => one("export the file anew with hashes for all, or remove `--require-hashes`"),
            Self::OtherWheel { found, .. } => vec![format!("write `{found} @ …`, or name another file")],
            Self::RequirementsOption { help, .. } => vec![help.clone()],
            Self::NoPostgres => one("add `postgres: {}` to `services`, or write `backend: sqlite`"),
            Self::SeveralDocuments => one("one image, one file: split it"),
            Self::MergeKey => one("write the keys out"),
            Self::WrongType { expected, found } => match (expected.as_str(), found.as_str()) {
                ("a mapping", "nothing") => one("`{}` asks for the defaults"),
                ("a mapping", _) => one("a mapping is written `key: value`, each on a line of its own"),
                ("a text", "nothing") => one("an empty text is written `\"\"`"),
                ("a list", _) => one("a list is written `[one, two]`"),
                _ => Vec::new(),
            },
            Self::NotUtf8 | Self::Tab | Self::Syntax(_) | Self::TooComplex | Self::Unreadable { .. } => Vec::new(),
        }
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "an empty text".to_owned() } else { format!("`{}`", shown(text)) }
}

/// A user's text for a message of one line: control characters escaped, no longer than a line.
fn shown(text: &str) -> String {
    const LIMIT: usize = 80;
    let mut line = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == LIMIT {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
