//! CUDA, cuDNN, a Python line, a base: who brings it and who needs it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::cuda::{Cudnn, Toolkit};
use super::super::framework::Build;
use super::super::{Catalog, PythonLine};
use super::View;
use super::hardware::add;
use super::table::{fields, glibc, join, mark, optional, sources, spell, table, unconfirmed};
use crate::version::{CudnnVersion, ToolkitVersion};

/// `show cuda 12.4`: every patch release of it.
pub(super) fn cuda(catalog: &Catalog, version: &ToolkitVersion, toolkits: &[&Toolkit]) -> View {
    let rows = toolkits.iter().map(|toolkit| {
        let floor = catalog.floor(toolkit.version.major()).map(|floor| floor.driver.to_string());
        vec![
            toolkit.version.to_string(),
            floor.unwrap_or_default(),
            optional(toolkit.driver.as_ref()),
            join(&toolkit.compute_capabilities, " "),
            mark(toolkit.unverified),
        ]
    });
    let mut text = table(&["toolkit", "driver", "driver for PTX", "compiles for", ""], rows);
    let is_built_with =
        |build: &Build| build.toolkit.as_ref().is_some_and(|toolkit| toolkit.dotted().starts_with(version.dotted()));
    let (built, built_json) = newest_with(catalog, is_built_with);
    text += &built;
    let images: Vec<String> = catalog
        .bases
        .cuda
        .iter()
        .filter(|image| image.toolkit.dotted().starts_with(version.dotted()))
        .map(super::super::CudaImage::reference)
        .collect();
    let is_on = |system: &&super::super::OtherSystem| {
        system.toolkits().iter().any(|toolkit| toolkit.dotted().starts_with(version.dotted()))
    };
    let others: Vec<&str> = catalog.other_systems.iter().filter(is_on).map(|system| system.os.as_str()).collect();
    if !images.is_empty() || !others.is_empty() {
        let lines = [("images", images.join(" ")), ("no bases", others.join(", "))];
        text += &format!("\n{}", fields(&lines));
    }
    let floors = toolkits.iter().filter_map(|toolkit| catalog.floor(toolkit.version.major()));
    let cited = toolkits.iter().map(|toolkit| toolkit.source.as_str()).chain(floors.map(|floor| floor.source.as_str()));
    text += &format!("\n{}", sources(cited));
    // One toolkit is shown as what it is, with what follows from it behind.
    let mut json = match toolkits {
        [toolkit] => json!(toolkit),
        several => json!({"toolkits": several}),
    };
    let floor = catalog.floor(version.major()).map(|floor| &floor.driver);
    add(&mut json, [("minimum_driver", json!(floor)), ("frameworks", built_json), ("images", json!(images))]);
    add(&mut json, [("other_systems", json!(others))]);
    View { text, json }
}

/// The newest release of each framework with builds of a kind, as a table and as JSON.
fn newest_with(catalog: &Catalog, wanted: impl Fn(&Build) -> bool) -> (String, Value) {
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for framework in &catalog.frameworks {
        let with: Vec<_> = framework.releases.iter().filter(|release| release.builds.iter().any(&wanted)).collect();
        let (Some(newest), Some(oldest)) = (with.first(), with.last()) else { continue };
        let builds: BTreeSet<&str> = with
            .iter()
            .flat_map(|release| &release.builds)
            .filter(|build| wanted(build))
            .map(|build| build.name.as_str())
            .collect();
        rows.push(vec![
            framework.package.clone(),
            newest.version.to_string(),
            oldest.version.to_string(),
            join(&builds, ", "),
        ]);
        entries.push(json!({
            "family": framework.family, "package": framework.package,
            "newest": newest.version, "oldest": oldest.version, "builds": builds,
        }));
    }
    let text = match rows.is_empty() {
        true => String::new(),
        false => format!("\n{}", table(&["package", "newest", "oldest", "builds"], rows)),
    };
    (text, json!(entries))
}

/// `show cudnn 9.1`.
pub(super) fn cudnn(catalog: &Catalog, version: &CudnnVersion, releases: &[&Cudnn]) -> View {
    let rows = releases.iter().map(|cudnn| vec![cudnn.version.to_string(), join(&cudnn.cuda_majors, " ")]);
    let mut text = table(&["cudnn", "for cuda"], rows);
    let asks = |build: &Build| {
        build.cudnn.as_ref().is_some_and(|need| {
            need.version.dotted().starts_with(version.dotted())
                || need.or_newer && releases.iter().any(|release| need.takes(&release.version))
        })
    };
    let (asked, asked_json) = newest_with(catalog, asks);
    text += &asked;
    let images: Vec<String> = catalog
        .bases
        .cuda
        .iter()
        .filter(|image| image.cudnn.as_ref().is_some_and(|cudnn| cudnn.dotted().starts_with(version.dotted())))
        .map(super::super::CudaImage::reference)
        .collect();
    if !images.is_empty() {
        text += &format!("\n{}", fields(&[("images", images.join(" "))]));
    }
    text += &format!("\n{}", sources(releases.iter().map(|cudnn| cudnn.source.as_str())));
    View { text, json: json!({"releases": releases, "frameworks": asked_json, "images": images}) }
}

/// `show python 3.11`.
pub(super) fn python(catalog: &Catalog, line: &PythonLine) -> View {
    let bases = bases_with(catalog, line);
    let mut text = fields(&[
        ("python", line.version.to_string()),
        ("status", spell(line.status)),
        ("end of life", line.eol.clone().unwrap_or_default()),
        ("bases", bases.join(", ")),
        ("unverified", unconfirmed(line.unverified)),
    ]);
    let has_wheels = |build: &Build| build.platforms.values().any(|wheels| wheels.pythons.contains(&line.version));
    let (with, with_json) = newest_with(catalog, has_wheels);
    text += &with;
    text += &format!("\n{}", sources([line.source.as_str()]));
    let mut json = json!(line);
    add(&mut json, [("bases", json!(bases)), ("frameworks", with_json)]);
    View { text, json }
}

/// Bases whose own interpreter is of the line.
fn bases_with(catalog: &Catalog, line: &PythonLine) -> Vec<String> {
    let suites = [("debian", &catalog.bases.debian), ("ubuntu", &catalog.bases.ubuntu)];
    let suites = suites.into_iter().flat_map(|(name, suites)| suites.iter().map(move |suite| (name, suite)));
    let suites = suites.filter(|(_, suite)| suite.python == line.version);
    let suites = suites.map(|(name, suite)| format!("{name} {} ({})", suite.release, suite.suite));
    let slim = catalog.bases.slim.iter().filter(|image| image.python == line.version);
    suites.chain(slim.map(|image| image.reference.clone())).collect()
}

/// A base of any kind as one row, with all its fields for JSON.
pub(super) struct Base {
    /// `cuda 12.4.1 ubuntu 22.04`, `debian 12 bookworm`: what it answers to.
    pub(super) words: Vec<String>,
    cells: Vec<String>,
    source: String,
    json: Value,
}

/// All bases.
pub(super) fn bases(catalog: &Catalog) -> Vec<Base> {
    let words = |text: String| text.split([' ', ':']).map(str::to_owned).collect::<Vec<_>>();
    let mut bases = Vec::new();
    for (kind, suites) in [("debian", &catalog.bases.debian), ("ubuntu", &catalog.bases.ubuntu)] {
        bases.extend(suites.iter().map(|suite| {
            let name = format!("{kind} {} {}", suite.release, suite.suite);
            let (python, libc) = (suite.python.to_string(), glibc(suite.glibc));
            let cells = vec![name.clone(), python, libc, String::new(), String::new(), mark(suite.unverified)];
            Base { words: words(name), cells, source: suite.source.clone(), json: of_kind(kind, suite) }
        }));
    }
    bases.extend(catalog.bases.slim.iter().map(|image| {
        let libc = catalog.bases.debian.iter().find(|suite| suite.suite == image.suite).map(|suite| glibc(suite.glibc));
        let (python, platforms) = (image.python.to_string(), join(&image.platforms, " "));
        let note = mark(image.unverified);
        let cells = vec![image.reference.clone(), python, libc.unwrap_or_default(), String::new(), platforms, note];
        let words = words(format!("slim {} {} {}", image.python, image.suite, image.reference));
        Base { words, cells, source: image.source.clone(), json: of_kind("slim", image) }
    }));
    bases.extend(catalog.bases.cuda.iter().map(|image| {
        let python = catalog.bases.suite(&image.os).map(|suite| suite.python.to_string()).unwrap_or_default();
        let cuda = match &image.cudnn {
            Some(cudnn) => format!("{}, cuDNN {cudnn}", image.toolkit),
            None => image.toolkit.to_string(),
        };
        let note = if image.end_of_life { "end of life".to_owned() } else { mark(image.unverified) };
        let platforms = join(&image.platforms, " ");
        let cells = vec![image.reference(), python, glibc(image.glibc), cuda, platforms, note];
        let words =
            words(format!("cuda {} {} {} {}", image.toolkit, spell(image.flavour), image.os, image.reference()));
        Base { words, cells, source: image.source.clone(), json: of_kind("cuda", image) }
    }));
    bases
}

fn of_kind(kind: &str, entry: &impl Serialize) -> Value {
    let mut json = json!(entry);
    add(&mut json, [("kind", json!(kind))]);
    json
}

/// `show base cuda 12.4.1`: the bases that answer to all words. A number may be the start of a longer one.
pub(super) fn base(bases: &[Base], wanted: &[String]) -> Option<View> {
    let answers = |base: &&Base| {
        wanted.iter().flat_map(|word| word.split(':')).all(|word| {
            base.words.iter().any(|own| own == word || own.strip_prefix(word).is_some_and(|rest| rest.starts_with('.')))
        })
    };
    let found: Vec<&Base> = bases.iter().filter(answers).collect();
    if found.is_empty() || wanted.is_empty() {
        return None;
    }
    let rows = found.iter().map(|base| base.cells.clone());
    let table = table(&["base", "python", "glibc", "cuda", "platforms", ""], rows);
    let text = format!("{table}\n{}", sources(found.iter().map(|base| base.source.as_str())));
    Some(View { text, json: found.iter().map(|base| base.json.clone()).collect() })
}
