//! `imgforge catalog show WORDS`: which entry the words mean.

use pep440_rs::Version;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::Catalog;
use super::table::{join, table};
use super::{Error, View, hardware, images, release, stack};
use crate::diagnostic::suggestion;
use crate::version::{CudnnVersion, DriverBranch, DriverVersion, PythonVersion, ToolkitVersion};

/// One entry and what follows from it, named by words: `gpu L4` or `L4`, `instance aws/g4dn.xlarge` or `aws/g4dn.xlarge`,
/// `torch`, `torch 2.5.1`, `torch 2.5.1 cu124`, `cuda 12.4`, `cudnn 9.1`, `driver 535.104.05`, `python 3.11`,
/// `base cuda 12.4.1`, `ubuntu 22.04`, `rockylinux 9`, `service postgres`, `rule sass`.
pub fn show(catalog: &Catalog, words: &[String]) -> Result<View, Error> {
    // `show "RTX 4090"` is two words for us.
    let words: Vec<String> = words.iter().flat_map(|word| word.split_whitespace()).map(str::to_owned).collect();
    let form = || Error::UnknownForm { words: words.join(" ") };
    let (first, rest) = words.split_first().ok_or_else(form)?;
    let name = rest.join(" ");
    if name.is_empty() && ["gpu", "card", "instance", "cuda", "toolkit", "cudnn", "driver"].contains(&first.as_str()) {
        return Err(form());
    }
    match first.as_str() {
        "gpu" | "card" => {
            let gpu = catalog.gpu(&name).ok_or_else(|| unknown("card", &name, catalog.gpu_names()))?;
            Ok(hardware::gpu(catalog, gpu))
        }
        "instance" => instance(catalog, &name).ok_or_else(|| {
            let names = instances(catalog);
            unknown("instance", &name, names.iter().map(String::as_str))
        }),
        "cuda" | "toolkit" => cuda(catalog, &name, form),
        "cudnn" => {
            let version: CudnnVersion = name.parse().map_err(|_| form())?;
            let known = &catalog.cuda.cudnn;
            let matching = known.iter().filter(|cudnn| cudnn.version.dotted().starts_with(version.dotted()));
            let releases: Vec<_> = matching.collect();
            let names: Vec<String> = known.iter().map(|cudnn| cudnn.version.to_string()).collect();
            match releases.is_empty() {
                true => Err(unknown("cuDNN", &name, names.iter().map(String::as_str))),
                false => Ok(stack::cudnn(catalog, &version, &releases)),
            }
        }
        "driver" => {
            let branch: Option<DriverBranch> = name.to_uppercase().parse().ok();
            let text = branch.map_or(name, |branch| branch.0.to_string());
            let driver: DriverVersion = text.parse().map_err(|_| form())?;
            Ok(hardware::driver(catalog, &driver, branch.is_some() || !text.contains('.')))
        }
        "python" => {
            let version: PythonVersion = name.parse().map_err(|_| form())?;
            let names: Vec<String> = catalog.pythons.iter().map(|line| line.version.to_string()).collect();
            let line =
                catalog.python(version).ok_or_else(|| unknown("Python", &name, names.iter().map(String::as_str)))?;
            Ok(stack::python(catalog, line))
        }
        "base" => {
            let bases = stack::bases(catalog);
            let names: Vec<String> = bases.iter().map(|base| base.words.join(" ")).collect();
            let found = stack::base(&bases, rest).or_else(|| system(catalog, &name));
            found.ok_or_else(|| unknown("base", &name, names.iter().map(String::as_str)))
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
        "framework" => framework(catalog, rest).unwrap_or_else(|| {
            let asked = rest.first().map_or("", String::as_str);
            Err(unknown("framework", asked, framework_names(catalog)))
        }),
        _ => bare(catalog, &words),
    }
}

fn cuda(catalog: &Catalog, name: &str, form: impl Fn() -> Error) -> Result<View, Error> {
    let version: ToolkitVersion = name.parse().map_err(|_| form())?;
    let known = &catalog.cuda.toolkits;
    let matching = known.iter().filter(|toolkit| toolkit.version.dotted().starts_with(version.dotted()));
    let mut toolkits: Vec<_> = matching.collect();
    if toolkits.is_empty() {
        toolkits.extend(catalog.toolkit(&version));
    }
    match toolkits.is_empty() {
        true => {
            let names: Vec<String> = known.iter().map(|toolkit| toolkit.version.major_minor()).collect();
            Err(unknown("toolkit", name, names.iter().map(String::as_str)))
        }
        false => Ok(stack::cuda(catalog, &version, &toolkits)),
    }
}

/// Words without a kind: a framework, a card, a machine, a service or a rule.
fn bare(catalog: &Catalog, words: &[String]) -> Result<View, Error> {
    if let Some(found) = framework(catalog, words) {
        return found;
    }
    let name = words.join(" ");
    if let Some(gpu) = catalog.gpu(&name) {
        return Ok(hardware::gpu(catalog, gpu));
    }
    if let Some(found) = instance(catalog, &name) {
        return Ok(found);
    }
    if let Some(found) = system(catalog, &name) {
        return Ok(found);
    }
    if let Some(service) = catalog.service(&name) {
        return Ok(entry(service));
    }
    if let Some(rule) = catalog.rule(&name) {
        return Ok(entry(rule));
    }
    if name.contains('/') {
        let names = instances(catalog);
        return Err(unknown("instance", &name, names.iter().map(String::as_str)));
    }
    let services = catalog.services.iter().map(|service| service.name.as_str());
    let rules = catalog.rules.iter().map(|rule| rule.name.as_str());
    let systems = catalog.other_systems.iter().map(|system| system.os.as_str());
    let names = framework_names(catalog).chain(catalog.gpu_names()).chain(systems).chain(services).chain(rules);
    // `torhc 2.5.1`: the first word is the one to correct.
    let first = words.first().map_or("", String::as_str);
    match unknown("entry", &name, names) {
        Error::UnknownName { kind, name, suggestion: None } => {
            let suggestion = suggestion(first, framework_names(catalog)).map(str::to_owned);
            Err(Error::UnknownName { kind, name, suggestion })
        }
        error => Err(error),
    }
}

/// Families and packages.
fn framework_names(catalog: &Catalog) -> impl Iterator<Item = &str> {
    catalog.frameworks.iter().flat_map(|framework| [framework.package.as_str(), framework.family.as_str()])
}

/// `None` if the first word is no framework.
fn framework(catalog: &Catalog, words: &[String]) -> Option<Result<View, Error>> {
    let (family, rest) = words.split_first()?;
    let framework = catalog.framework(family).or_else(|| catalog.framework_of_package(family))?;
    let Some(version) = rest.first() else { return Some(Ok(release::framework(framework))) };
    let wanted: Option<Version> = version.parse().ok();
    let Some(found) = framework.releases.iter().find(|release| Some(&release.version) == wanted.as_ref()) else {
        let known: Vec<String> = framework.releases.iter().map(|release| release.version.to_string()).collect();
        let asked = format!("{family} {version}");
        return Some(Err(unknown("release", &asked, known.iter().map(String::as_str))));
    };
    Some(match rest {
        [_] => Ok(release::release(catalog, framework, found)),
        [_, build] => found
            .builds_named(build)
            .next()
            .map(|build| release::build(catalog, framework, found, build))
            .ok_or_else(|| unknown("build", &words.join(" "), found.builds.iter().map(|build| build.name.as_str()))),
        _ => Err(Error::UnknownForm { words: words.join(" ") }),
    })
}

/// An operating system, `ubuntu 22.04` or `rockylinux9`: its bases, or what there is on it beside them.
fn system(catalog: &Catalog, name: &str) -> Option<View> {
    let (distribution, release) = name.split_at(name.find(|letter: char| letter.is_ascii_digit())?);
    let (distribution, release) = (distribution.trim_end_matches([' ', ':']), release.parse().ok()?);
    if let Some(other) = catalog.other_system(distribution, &release) {
        return Some(images::system(catalog, other));
    }
    catalog.bases.suite(&format!("{distribution} {release}"))?;
    stack::base(&stack::bases(catalog), &[distribution.to_owned(), release.to_string()])
}

fn instance(catalog: &Catalog, name: &str) -> Option<View> {
    let (cloud, machine) = name.split_once('/')?;
    Some(hardware::instance(catalog, &catalog.instance(cloud, machine)?))
}

fn instances(catalog: &Catalog) -> Vec<String> {
    catalog.instances.iter().map(|known| format!("{}/{}", known.cloud, known.name)).collect()
}

fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let last = name.rsplit(' ').next().unwrap_or(name);
    let names: Vec<&str> = known.into_iter().collect();
    let close = suggestion(name, names.iter().copied()).or_else(|| suggestion(last, names.iter().copied()));
    Error::UnknownName { kind, name: name.to_owned(), suggestion: close.map(str::to_owned) }
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
