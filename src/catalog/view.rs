//! The catalog for people and scripts: `imgforge catalog list KIND` and `imgforge catalog show WORDS`.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};
use std::str::FromStr;

use pep440_rs::Version;
use serde::Serialize;
use serde_json::{Value, json};

use super::framework::{Build, Framework, Release};
use super::{Catalog, Gpu, Instance};
use crate::diagnostic::{Hint, suggestion};
use crate::version::{PythonVersion, ToolkitVersion};

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
    /// Services.
    Services,
    /// Rules between facts.
    Rules,
}

impl Kind {
    /// All kinds with the word for each.
    pub const ALL: [(&'static str, Self); 8] = [
        ("gpus", Self::Gpus),
        ("instances", Self::Instances),
        ("cuda", Self::Cuda),
        ("frameworks", Self::Frameworks),
        ("pythons", Self::Pythons),
        ("bases", Self::Bases),
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
            Self::UnknownForm { .. } => vec![
                "`show gpu L4`, `show instance aws/g4dn.xlarge`, `show torch 2.5.1`, `show cuda 12.4`, `show python 3.11`, \
                 `show service postgres` or `show rule sass`"
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
            Self::UnknownKind { .. } | Self::UnknownForm { .. } => 2,
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

/// All entries of a kind.
pub fn list(catalog: &Catalog, kind: Kind) -> View {
    match kind {
        Kind::Gpus => {
            let row = |gpu: &Gpu| {
                vec![gpu.name.clone(), architecture(gpu), spell(gpu.class), drivers(gpu), mark(gpu.unverified)]
            };
            view(&["card", "architecture", "class", "drivers", ""], catalog.gpus.iter().map(row), &catalog.gpus)
        }
        Kind::Instances => {
            let mut rows: Vec<Vec<String>> = catalog.instances.iter().map(machine).collect();
            for family in &catalog.machine_families {
                for gpu in catalog.attachable_gpus.iter().filter(|gpu| family.attachable.contains(&gpu.name)) {
                    let name = format!("{}/{}*+{}", family.cloud, family.prefix, gpu.name);
                    rows.push(vec![
                        name,
                        gpu.gpu.clone(),
                        join(&gpu.counts, ", "),
                        family.platform.to_string(),
                        String::new(),
                    ]);
                }
            }
            let header = ["instance", "card", "count", "platform", ""];
            let json = json!({
                "instances": catalog.instances,
                "machine_families": catalog.machine_families,
                "attachable_gpus": catalog.attachable_gpus,
            });
            View { text: table(&header, rows), json }
        }
        Kind::Cuda => {
            let rows = catalog.cuda.toolkits.iter().map(|toolkit| {
                let floor = catalog.floor(toolkit.version.major()).map(|floor| floor.driver.to_string());
                let (first, last) = (toolkit.compute_capabilities.first(), toolkit.compute_capabilities.last());
                vec![
                    toolkit.version.to_string(),
                    floor.unwrap_or_default(),
                    optional(toolkit.driver.as_ref()),
                    format!("{} to {}", optional(first), optional(last)),
                    mark(toolkit.unverified),
                ]
            });
            view(&["toolkit", "driver", "driver for PTX", "compute capability", ""], rows, &catalog.cuda)
        }
        Kind::Frameworks => {
            let rows = catalog.frameworks.iter().map(|framework| {
                let newest = framework.releases.first();
                let builds: Vec<&str> =
                    newest.iter().flat_map(|release| &release.builds).map(|build| build.name.as_str()).collect();
                vec![
                    framework.family.clone(),
                    framework.package.clone(),
                    framework.releases.len().to_string(),
                    optional(newest.map(|release| &release.version)),
                    builds.join(", "),
                ]
            });
            let summary: Vec<Value> = catalog.frameworks.iter().map(summary).collect();
            View { text: table(&["family", "package", "releases", "newest", "its builds"], rows), json: json!(summary) }
        }
        Kind::Pythons => {
            let rows = catalog.pythons.iter().map(|line| {
                let eol = line.eol.clone().unwrap_or_default();
                vec![line.version.to_string(), spell(line.status), eol, mark(line.unverified)]
            });
            view(&["python", "status", "end of life", ""], rows, &catalog.pythons)
        }
        Kind::Bases => bases(catalog),
        Kind::Services => {
            let rows = catalog.services.iter().map(|service| {
                let tag = service.default_tag.as_deref().map(|tag| format!(":{tag}")).unwrap_or_default();
                let image = format!("{}{tag}", service.image);
                vec![service.name.clone(), image, service.port.to_string(), mark(service.unverified)]
            });
            view(&["service", "image", "port", ""], rows, &catalog.services)
        }
        Kind::Rules => {
            let rows = catalog.rules.iter().map(|rule| vec![rule.name.clone(), rule.fact.clone()]);
            view(&["rule", "fact"], rows, &catalog.rules)
        }
    }
}

/// One entry, named by words: `gpu L4`, `instance aws/g4dn.xlarge`, `torch 2.5.1`, `cuda 12.4`, `python 3.11`.
pub fn show(catalog: &Catalog, words: &[String]) -> Result<View, Error> {
    let form = || Error::UnknownForm { words: words.join(" ") };
    let (first, rest) = words.split_first().ok_or_else(form)?;
    let name = rest.join(" ");
    match first.as_str() {
        "gpu" | "card" => {
            let gpu = catalog.gpu(&name).ok_or_else(|| unknown("card", &name, catalog.gpu_names()))?;
            Ok(entry(gpu))
        }
        "instance" => {
            let (cloud, machine) = name.split_once('/').ok_or_else(form)?;
            let instance = catalog.instance(cloud, machine).ok_or_else(|| {
                let names: Vec<String> =
                    catalog.instances.iter().map(|known| format!("{}/{}", known.cloud, known.name)).collect();
                unknown("instance", &name, names.iter().map(String::as_str))
            })?;
            Ok(entry(&instance))
        }
        "cuda" | "toolkit" => {
            let version: ToolkitVersion = name.parse().map_err(|_| form())?;
            let known: Vec<String> =
                catalog.cuda.toolkits.iter().map(|toolkit| toolkit.version.major_minor()).collect();
            let toolkit =
                catalog.toolkit(&version).ok_or_else(|| unknown("toolkit", &name, known.iter().map(String::as_str)))?;
            Ok(entry(toolkit))
        }
        "python" => {
            let version: PythonVersion = name.parse().map_err(|_| form())?;
            let line = catalog.python(version).ok_or_else(|| unknown("Python", &name, []))?;
            Ok(entry(line))
        }
        "service" => {
            let names = catalog.services.iter().map(|service| service.name.as_str());
            let service = catalog.service(&name).ok_or_else(|| unknown("service", &name, names))?;
            Ok(entry(service))
        }
        "rule" => {
            let names = catalog.rules.iter().map(|rule| rule.name.as_str());
            let rule = catalog.rule(&name).ok_or_else(|| unknown("rule", &name, names))?;
            Ok(entry(rule))
        }
        "framework" => show(catalog, rest),
        family => {
            let framework = catalog.framework(family).or_else(|| catalog.framework_of_package(family));
            let framework = framework.ok_or_else(|| unknown("framework", family, catalog.families()))?;
            match rest {
                [] => Ok(framework_view(framework)),
                [version] => {
                    let wanted: Option<Version> = version.parse().ok();
                    let found = framework.releases.iter().find(|release| Some(&release.version) == wanted.as_ref());
                    let known: Vec<String> =
                        framework.releases.iter().map(|release| release.version.to_string()).collect();
                    let release = found.ok_or_else(|| {
                        unknown("release", &format!("{family} {version}"), known.iter().map(String::as_str))
                    })?;
                    Ok(release_view(framework, release))
                }
                _ => Err(form()),
            }
        }
    }
}

fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let last = name.rsplit(' ').next().unwrap_or(name);
    let names: Vec<&str> = known.into_iter().collect();
    let close = suggestion(name, names.iter().copied()).or_else(|| suggestion(last, names.iter().copied()));
    Error::UnknownName { kind, name: name.to_owned(), suggestion: close.map(str::to_owned) }
}

fn bases(catalog: &Catalog) -> View {
    let mut rows = Vec::new();
    for (distribution, suites) in [("debian", &catalog.bases.debian), ("ubuntu", &catalog.bases.ubuntu)] {
        for suite in suites {
            let name = format!("{distribution} {} {}", suite.release, suite.suite);
            rows.push(vec![name, suite.python.to_string(), glibc(suite.glibc), String::new(), mark(suite.unverified)]);
        }
    }
    for image in &catalog.bases.slim {
        let libc = catalog.bases.debian.iter().find(|suite| suite.suite == image.suite).map(|suite| glibc(suite.glibc));
        let python = image.python.to_string();
        rows.push(vec![
            image.reference.clone(),
            python,
            libc.unwrap_or_default(),
            String::new(),
            mark(image.unverified),
        ]);
    }
    for image in &catalog.bases.cuda {
        let python = catalog.bases.suite(&image.os).map(|suite| suite.python.to_string()).unwrap_or_default();
        let cuda = match &image.cudnn {
            Some(cudnn) => format!("{}, cuDNN {cudnn}", image.toolkit),
            None => image.toolkit.to_string(),
        };
        let note = if image.end_of_life { "end of life".to_owned() } else { mark(image.unverified) };
        rows.push(vec![image.reference(), python, glibc(image.glibc), cuda, note]);
    }
    view(&["base", "python", "glibc", "cuda", ""], rows, &catalog.bases)
}

fn summary(framework: &Framework) -> Value {
    let versions: Vec<&Version> = framework.releases.iter().map(|release| &release.version).collect();
    json!({
        "family": framework.family,
        "package": framework.package,
        "companions": framework.companions,
        "releases": versions,
    })
}

fn framework_view(framework: &Framework) -> View {
    let rows = framework.releases.iter().map(|release| {
        let builds: Vec<&str> = release.builds.iter().map(|build| build.name.as_str()).collect();
        let pythons: BTreeSet<PythonVersion> = release
            .builds
            .iter()
            .flat_map(|build| build.platforms.values())
            .flat_map(|wheels| wheels.pythons.clone())
            .collect();
        let note = if release.yanked { "withdrawn" } else { "" };
        vec![release.version.to_string(), join(pythons, " "), builds.join(", "), note.to_owned()]
    });
    View { text: table(&["release", "python", "builds", ""], rows), json: summary(framework) }
}

fn release_view(framework: &Framework, release: &Release) -> View {
    let mut text = format!("{} {}\n", framework.package, release.version);
    if let Some(range) = &release.requires_python {
        let _ = writeln!(text, "requires python {range}");
    }
    for (package, versions) in &release.companions {
        let _ = writeln!(text, "with {package} {}", join(versions, ", "));
    }
    text.push('\n');
    let rows = release.builds.iter().map(build_row);
    text.push_str(&table(&["build", "index", "cuda", "cudnn", "cards", "python", "platforms", ""], rows));
    let sources: BTreeSet<&str> =
        release.builds.iter().map(|build| build.source.as_str()).chain([release.source.as_str()]).collect();
    text.push('\n');
    for source in sources {
        let _ = writeln!(text, "source: {source}");
    }
    View { text, json: json!({"family": framework.family, "package": framework.package, "release": release}) }
}

fn build_row(build: &Build) -> Vec<String> {
    let name = if build.default { format!("{} (default)", build.name) } else { build.name.clone() };
    let pythons: BTreeSet<PythonVersion> = build.platforms.values().flat_map(|wheels| wheels.pythons.clone()).collect();
    let platforms = build.platforms.iter().map(|(platform, wheels)| match wheels.accelerator {
        Some(accelerator) => format!("{platform} ({} only)", spell(accelerator)),
        None => platform.to_string(),
    });
    let mut cards = build.sass.iter().map(ToString::to_string).collect::<Vec<_>>();
    cards.extend(build.ptx.iter().map(|ptx| format!("{ptx}+PTX")));
    cards.extend(build.gfx.iter().cloned());
    vec![
        name,
        build.index.clone(),
        optional(build.toolkit.as_ref()),
        optional(build.cudnn.as_ref()),
        cards.join(" "),
        join(pythons, " "),
        platforms.collect::<Vec<_>>().join(", "),
        mark(build.unverified),
    ]
}

fn machine(instance: &Instance) -> Vec<String> {
    let count = if instance.fractional { "part of one".to_owned() } else { instance.gpu_count.to_string() };
    vec![
        format!("{}/{}", instance.cloud, instance.name),
        instance.gpu.clone().unwrap_or_default(),
        count,
        instance.platform.to_string(),
        mark(instance.unverified),
    ]
}

fn architecture(gpu: &Gpu) -> String {
    gpu.compute_capability.as_ref().map(ToString::to_string).or_else(|| gpu.gfx.clone()).unwrap_or_default()
}

fn drivers(gpu: &Gpu) -> String {
    match (&gpu.minimum_driver, gpu.last_driver_branch) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        (Some(first), None) => format!("from {first}"),
        (None, Some(last)) => format!("up to {last}"),
        (None, None) => String::new(),
    }
}

fn glibc(version: (u32, u32)) -> String {
    format!("{}.{}", version.0, version.1)
}

fn mark(unverified: bool) -> String {
    if unverified { "unverified".to_owned() } else { String::new() }
}

fn optional(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn join(values: impl IntoIterator<Item = impl Display>, separator: &str) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(separator)
}

/// The word an enum is serialised as.
fn spell(value: impl Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

fn view(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, entries: &impl Serialize) -> View {
    View { text: table(header, rows), json: json!(entries) }
}

/// An entry's fields, one a line.
fn entry(entry: &impl Serialize) -> View {
    let json = json!(entry);
    let rows = json.as_object().into_iter().flatten().map(|(field, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
                join(items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)), " ")
            }
            other => other.to_string(),
        };
        vec![field.replace('_', " "), text]
    });
    View { text: table(&[], rows), json }
}

/// Columns as wide as their widest cell, two spaces apart; no trailing spaces.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head: Vec<String> = header.iter().map(|cell| cell.to_uppercase()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).filter(|line| !line.is_empty()).chain(rows).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::from_texts(&[(
            "a.yaml",
            r#"
format: "1.0.0"
sources: {made: an invented world}
gpus:
  - {name: Alpha, vendor: nvidia, compute_capability: "7.5", class: datacenter, last_driver_branch: R500, source: made}
  - {name: Beta Two, vendor: amd, gfx: gfx900, class: consumer, source: made, unverified: true}
instances:
  - {cloud: sky, name: one.large, gpu: Alpha, gpu_count: 2, source: made}
toolkits:
  - {version: "12.1.0", driver: "530.1", compute_capabilities: "7.0 7.5 8.0", source: made}
driver_floors:
  - {major: 12, driver: "520.1", source: made}
frameworks:
  - family: flow
    package: pyflow
    companions: [flowvision]
    requirements: {"*": ["pyflow=={version}"]}
    releases:
      - version: "1.0"
        requires_python: ">=3.11"
        companions: {flowvision: "0.2 0.1"}
        source: made
        platforms: {linux/amd64: {pythons: "3.11", glibc: "2.17"}, linux/arm64: {pythons: "3.12", glibc: "2.28"}}
        builds:
          - {name: cu121, default: true, toolkit: "12.1", sass: "7.0 7.5", ptx: "7.5", platforms: {linux/arm64: {accelerator: cpu}}}
          - {name: cpu, index: flow-cpu, only: linux/amd64}
"#,
        )])
        .expect("a catalog")
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn lists_are_aligned_and_hold_every_entry() {
        let gpus = list(&catalog(), Kind::Gpus);
        assert_eq!(
            gpus.text,
            "CARD      ARCHITECTURE  CLASS       DRIVERS\n\
             Alpha     7.5           datacenter  up to R500\n\
             Beta Two  gfx900        consumer                unverified\n"
        );
        assert_eq!(gpus.json[1]["name"], "Beta Two");
        let cuda = list(&catalog(), Kind::Cuda);
        assert_eq!(
            cuda.text,
            "TOOLKIT  DRIVER  DRIVER FOR PTX  COMPUTE CAPABILITY\n12.1.0   520.1   530.1           7.0 to 8.0\n"
        );
    }

    #[test]
    fn a_release_is_shown_by_family_or_by_package() {
        let view = show(&catalog(), &words("pyflow 1.0")).expect("a release");
        assert_eq!(
            view.text,
            "pyflow 1.0\n\
             requires python >=3.11\n\
             with flowvision 0.2, 0.1\n\
             \n\
             BUILD            INDEX     CUDA  CUDNN  CARDS            PYTHON     PLATFORMS\n\
             cu121 (default)  default   12.1         7.0 7.5 7.5+PTX  3.11 3.12  linux/amd64, linux/arm64 (cpu only)\n\
             cpu              flow-cpu                                3.11       linux/amd64\n\
             \n\
             source: an invented world\n"
        );
        assert_eq!(view, show(&catalog(), &words("flow 1.0")).expect("a release"));
        assert_eq!(view.json["release"]["builds"][0]["requirements"][0], "pyflow==1.0");
        assert_eq!(view.json["release"]["builds"][0]["platforms"]["linux/arm64"]["glibc"], "2.28");
    }

    #[test]
    fn an_entry_is_shown_field_by_field() {
        let view = show(&catalog(), &words("instance sky/one.large")).expect("an instance");
        assert_eq!(
            view.text,
            "cloud      sky\nname       one.large\ngpu        Alpha\ngpu count  2\nplatform   linux/amd64\n\
             source     an invented world\n"
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_a_close_one() {
        for (asked, message, help) in [
            ("gpu Alpho", "the catalog has no card `Alpho`", "did you mean `Alpha`?"),
            ("instance sky/one.lurge", "the catalog has no instance `sky/one.lurge`", "did you mean `sky/one.large`?"),
            ("flow 1.1", "the catalog has no release `flow 1.1`", "did you mean `1.0`?"),
            ("flom", "the catalog has no framework `flom`", "did you mean `flow`?"),
        ] {
            let error = show(&catalog(), &words(asked)).expect_err("not in the catalog");
            assert_eq!((error.to_string().as_str(), error.help().concat().as_str()), (message, help), "{asked}");
            assert_eq!(error.exit_code(), 1);
        }
        let error = "gpuss".parse::<Kind>().expect_err("no kind");
        assert_eq!(error.help().first().map(String::as_str), Some("did you mean `gpus`?"));
        assert_eq!(show(&catalog(), &[]).expect_err("nothing").exit_code(), 2);
    }
}
