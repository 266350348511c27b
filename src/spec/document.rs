//! `spec.yaml` as it is typed: one struct per mapping, nothing judged.
//!
//! These types are the only list of keys. The parser refuses what they lack, "did you mean" chooses from them, and
//! [`schema`] is derived from them. Every value carries its bytes. `flatten`, `untagged` and tagged enums are avoided:
//! serde buffers values for them and the positions are lost. Versions are read as text, since `3.10` as a number is 3.1.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MessageFormatter, Spanned, UserMessageFormatter};

use super::error::{Error, Problem};
use super::source::Source;

/// The whole file.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "imgforge spec", rename = "Spec", extend("required" = ["name"]))]
pub(super) struct Document {
    /// Image name and name of the folder below `generated/`.
    pub(super) name: Given<String>,
    /// Machines that must be able to run the image; default `[cpu]`.
    pub(super) targets: Given<Vec<Typed<TextOr<Card>>>>,
    /// Platforms to build for; default those of the targets.
    pub(super) platforms: Given<Vec<Typed<String>>>,
    /// Python lines allowed, a PEP 440 specifier; `3.11` means `==3.11.*`. Default: the newest that everything supports.
    pub(super) python: Given<String>,
    /// Framework families and their versions.
    pub(super) frameworks: Given<Entries<TextOr<Framework>>>,
    /// PEP 508 requirements, those that name a wheel by URL or by a path beside the spec included, and requirements files.
    pub(super) packages: Given<Vec<Typed<TextOr<RequirementsFile>>>>,
    /// Extra package indexes.
    pub(super) indexes: Given<Vec<Typed<Index>>>,
    /// Operating-system packages.
    pub(super) system: Given<Vec<Typed<String>>>,
    /// System CUDA toolkit, for those who must pin it.
    pub(super) cuda: Given<String>,
    /// cuDNN, for those who must pin it.
    pub(super) cudnn: Given<String>,
    /// Operating system of the base, `debian 12` or `ubuntu 22.04`.
    pub(super) os: Given<String>,
    /// `auto`, `debian`, `slim`, `cuda` or an image `registry/repository:tag[@digest]`.
    pub(super) base: Given<String>,
    /// Where the image goes.
    pub(super) image: Given<Image>,
    /// Project files copied into the image.
    pub(super) files: Given<Vec<Typed<File>>>,
    /// Environment variables of the image.
    pub(super) env: Given<Entries<String>>,
    /// Working directory.
    pub(super) workdir: Given<String>,
    /// User the image runs as; default `app`.
    pub(super) user: Given<String>,
    /// Entry point.
    pub(super) entrypoint: Given<Vec<Typed<String>>>,
    /// Default command.
    pub(super) command: Given<Vec<Typed<String>>>,
    /// Shell commands run at build time; they need a container engine.
    pub(super) run: Given<Vec<Typed<String>>>,
    /// Whether the modules of packages are compiled ahead, so that a first start does not have to; default `false`.
    #[schemars(with = "bool")]
    pub(super) compile: Given<String>,
    /// Services of the Compose stack.
    pub(super) services: Given<Services>,
}

/// A card by name.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["gpu"]))]
pub(super) struct Card {
    /// Marketing name, `RTX 4090`.
    pub(super) gpu: Given<String>,
    /// Driver installed on that machine.
    pub(super) driver: Given<String>,
    /// Platform of that machine; default `linux/amd64`.
    pub(super) platform: Given<String>,
}

/// A framework in its long form.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Framework {
    /// PEP 440 specifier; `2.5.1` means `==2.5.1`, `2.5` means `==2.5.*`. Default: any.
    pub(super) version: Given<String>,
    /// `default`, `cpu`, `cuNNN` or `rocmN.N`.
    pub(super) build: Given<String>,
    /// Companion packages, such as `torchvision`.
    pub(super) with: Given<Vec<Typed<String>>>,
}

/// A requirements file.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["file"]))]
pub(super) struct RequirementsFile {
    /// Path from the spec's folder.
    pub(super) file: Given<String>,
}

/// An extra package index.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "url"]))]
pub(super) struct Index {
    /// Name that the lock uses.
    pub(super) name: Given<String>,
    /// Root of the simple API, without credentials.
    pub(super) url: Given<String>,
    /// Names, with `*` and `?`, that come from this index alone.
    pub(super) packages: Given<Vec<Typed<String>>>,
}

/// Where the image goes.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Image {
    /// Registry and repository, without a tag.
    pub(super) repository: Given<String>,
    /// Registry and prefix where copies of other people's images lie (`imgforge mirror`); the Compose stack uses those.
    pub(super) mirror: Given<String>,
    /// The project's own version, for tags and for the image's label.
    pub(super) version: Given<String>,
    /// Tags; default `[latest]`. `{{ version }}`, `{{ name }}`, `{{ python }}`, `{{ cuda }}`, `{{ digest }}` and the name of a
    /// framework are filled in; `{{ digest }}` not in the first.
    pub(super) tags: Given<Vec<Typed<String>>>,
    /// Further tags, which a push sets once and refuses to move.
    pub(super) immutable_tags: Given<Vec<Typed<String>>>,
    /// `gzip`, the default, or `zstd`, which is smaller and takes longer to make.
    pub(super) compression: Given<String>,
}

/// A file or folder copied into the image.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["from", "to"]))]
pub(super) struct File {
    /// Path from the spec's folder.
    pub(super) from: Given<String>,
    /// Absolute path in the image; a file goes into it if it ends in `/`.
    pub(super) to: Given<String>,
}

/// Services of the Compose stack.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Services {
    /// A PostgreSQL with mock data.
    pub(super) postgres: Given<Postgres>,
    /// A Redis.
    pub(super) redis: Given<Redis>,
    /// An MLflow server.
    pub(super) mlflow: Given<Mlflow>,
}

/// PostgreSQL of the stack.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Postgres {
    /// Version; default `16`.
    pub(super) version: Given<String>,
    /// `.sql` and `.csv` files loaded at the first start, in order.
    pub(super) seed: Given<Vec<Typed<String>>>,
}

/// Redis of the stack.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Redis {
    /// Version; default `7`.
    pub(super) version: Given<String>,
}

/// MLflow of the stack.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mlflow {
    /// `postgres` or `sqlite`; default `postgres` if the stack has one.
    pub(super) backend: Given<String>,
    /// `volume` (default), `s3://bucket/prefix`, `gs://bucket/prefix` or `wasbs://container@account/prefix`.
    pub(super) artifacts: Given<String>,
}

/// A value and its bytes in the file.
#[derive(Debug, Clone)]
pub(super) struct Typed<T> {
    /// The value.
    pub(super) value: T,
    /// Where it is used: for a YAML alias the `*alias`.
    pub(super) span: Range<usize>,
    /// Where it was written: for a YAML alias the anchored value.
    pub(super) definition: Range<usize>,
}

/// A value that may be absent. Unlike an `Option` it does not take an empty value for an absent one, so that
/// `redis:` alone asks for a Redis.
#[derive(Debug, Clone)]
pub(super) struct Given<T>(pub(super) Option<Typed<T>>);

/// A text, or a mapping that says more.
#[derive(Debug)]
pub(super) enum TextOr<M> {
    /// A text.
    Text(String),
    /// An unquoted number or truth value; its text must be taken from the file.
    Unquoted,
    /// The long form.
    Mapping(M),
}

/// A mapping with keys of the user's choice, in the order of the file.
#[derive(Debug)]
pub(super) struct Entries<T>(pub(super) Vec<(Typed<String>, Typed<T>)>);

/// What error messages call a value of two forms.
pub(super) trait Form {
    /// The forms, after "expected".
    const EXPECTED: &'static str;
}
impl Form for Card {
    const EXPECTED: &'static str = "`cloud/instance`, `cpu` or a mapping with `gpu`";
}
impl Form for Framework {
    const EXPECTED: &'static str = "a version or a mapping with `version`, `build` and `with`";
}
impl Form for RequirementsFile {
    const EXPECTED: &'static str = "a requirement or a mapping with `file`";
}

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { value, span: bytes_of(&referenced), definition: bytes_of(&defined) })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Typed::deserialize(deserializer).map(|typed| Self(Some(typed)))
    }
}

impl<'de, M: Deserialize<'de> + Form> Deserialize<'de> for TextOr<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms<M>(PhantomData<M>);
        impl<'de, M: Deserialize<'de> + Form> Visitor<'de> for Forms<M> {
            type Value = TextOr<M>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(M::EXPECTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
                Ok(TextOr::Unquoted)
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
                Ok(TextOr::Unquoted)
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
                Ok(TextOr::Unquoted)
            }
            fn visit_i128<E: de::Error>(self, _: i128) -> Result<Self::Value, E> {
                Ok(TextOr::Unquoted)
            }
            fn visit_u128<E: de::Error>(self, _: u128) -> Result<Self::Value, E> {
                Ok(TextOr::Unquoted)
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
                Ok(TextOr::Unquoted)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                M::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Mapping)
            }
        }
        deserializer.deserialize_any(Forms(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Entries(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

macro_rules! schema_of_inner {
    ($($wrapper:ident),+) => {$(
        impl<T: JsonSchema> JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                T::schema_name()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                generator.subschema_for::<T>()
            }
        }
    )+};
}
schema_of_inner!(Typed, Given);

impl<M: JsonSchema> JsonSchema for TextOr<M> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        M::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, generator.subschema_for::<M>()]})
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "additionalProperties": generator.subschema_for::<T>()})
    }
}

/// JSON Schema of the file, for editors. To them an unquoted `3.11` or `true` is no text, to the parser it is.
pub(super) fn schema() -> serde_json::Value {
    fn widen(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                if members.get("type").is_some_and(|kind| kind == "string") {
                    members.insert("type".to_owned(), serde_json::json!(["string", "number", "boolean"]));
                }
                members.values_mut().for_each(widen);
            }
            serde_json::Value::Array(elements) => elements.iter_mut().for_each(widen),
            _ => {}
        }
    }
    let mut schema = schemars::schema_for!(Document).to_value();
    widen(&mut schema);
    schema
}

/// Reads the shapes. The budgets are far above any honest spec and far below what hurts.
pub(super) fn parse(source: &Source) -> Result<Document, Error> {
    if source.text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
    }) {
        return Err(Error::at(source.origin(0..0), Problem::Empty));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 60_000,
            max_nodes: 20_000,
            max_depth: 32,
            flow_nesting_limit: 32,
            max_aliases: 64,
            max_anchors: 64,
            max_documents: 2,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(&source.text, options).map_err(|error| translate(source, &error))
}

fn bytes_of(location: &Location) -> Range<usize> {
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0) as usize;
    start..start.saturating_add(span.byte_len().unwrap_or(0) as usize)
}

/// The bytes of an error's location. The scanner's own errors count characters only.
fn error_bytes(source: &Source, location: &Location) -> Range<usize> {
    let span = location.span();
    if span.byte_offset().is_some() {
        return bytes_of(location);
    }
    let mut boundaries = source.text.char_indices().map(|(at, _)| at).skip(span.offset() as usize);
    let start = boundaries.next().unwrap_or(source.text.len());
    start..boundaries.next().unwrap_or(source.text.len())
}

fn translate(source: &Source, error: &serde_saphyr::Error) -> Error {
    use serde_saphyr::Error as Yaml;
    let span = error.location().map_or(0..0, |location| error_bytes(source, &location));
    let mut cause = error;
    while let Yaml::AliasError { error, .. } | Yaml::WithSnippet { error, .. } = cause {
        cause = error;
    }
    let wrong_type = |expected: &str, found: &str| Problem::WrongType {
        expected: plain_words(expected).to_owned(),
        found: plain_words(found).to_owned(),
    };
    let problem = match cause {
        Yaml::Eof { .. } => Problem::Empty,
        Yaml::MultipleDocuments { .. } => Problem::SeveralDocuments,
        Yaml::MergeKeyNotAllowed { .. } => Problem::MergeKey,
        Yaml::SerdeUnknownField { field, expected, .. } => {
            Problem::UnknownKey { key: field.clone(), allowed: expected.clone() }
        }
        Yaml::DuplicateMappingKey { key, .. } => {
            Problem::DuplicateKey { key: key.clone().unwrap_or_else(|| source.slice(span.clone()).to_owned()) }
        }
        Yaml::SerdeInvalidType { unexpected, expected, .. } => wrong_type(expected, unexpected),
        Yaml::Unexpected { expected, .. } => wrong_type(expected, found_at(source, &span)),
        Yaml::NullIntoString { .. } => wrong_type("a text", "nothing"),
        Yaml::Budget { .. }
        | Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. }
        | Yaml::AliasReplayCounterOverflow { .. } => Problem::TooComplex,
        _ if indented_by_tab(source, span.start) => Problem::Tab,
        other => Problem::Syntax(UserMessageFormatter.format_message(other).into_owned()),
    };
    Error::at(source.origin(span), problem)
}

/// The parser's and serde's words for kinds of values, in words a user of YAML knows.
fn plain_words(words: &str) -> &str {
    match words {
        "sequence start" | "a sequence" | "sequence" => "a list",
        "mapping start" | "a map" | "map" | "mapping" => "a mapping",
        "string scalar" | "scalar" | "a string" => "a text",
        "unit value" | "null" => "nothing",
        other => other,
    }
}

/// What the value that starts here looks like.
fn found_at(source: &Source, span: &Range<usize>) -> &'static str {
    let rest = source.slice(span.start..source.text.len());
    let line = rest.lines().next().unwrap_or("");
    let word = line.split([',', '}', ']', '#']).next().unwrap_or("").trim();
    // Of an absent value the parser gives the place of the colon before it.
    if rest.starts_with(':') || matches!(word, "" | "~" | "null" | "Null" | "NULL") {
        "nothing"
    } else if rest.starts_with('[') || line.starts_with("- ") || line == "-" {
        "a list"
    } else if rest.starts_with('{') || line.contains(": ") || line.trim_end().ends_with(':') {
        "a mapping"
    } else {
        "a text"
    }
}

fn indented_by_tab(source: &Source, at: usize) -> bool {
    let before = source.slice(0..at);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = source.slice(start..source.text.len()).lines().next().unwrap_or("");
    let indent = line.len() - line.trim_start().len();
    line[..indent].contains('\t')
}
