//! `imgforge catalog update`: upstream is read, the difference is printed, and written where that was asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::catalog::{Catalog, read_overlay};
use crate::cli::{CatalogUpdateArgs, Format};
use crate::diagnostic::{Failure, Hint, suggestion};
use crate::oci::{ImageConfiguration, ImageIndex, ImageManifest, Platform, Reference, ReferenceError, parse_reference};
use crate::packaging::{Metadata, Project, ProjectFile};
use crate::settings::{Environment, user_catalog};
use crate::store::write_atomically;
use crate::update::{Change, File, Files, Finding, ImageFacts, Selection, Unreachable, Update, Upstream, update};

use super::super::outside::Outside;
use super::super::{Context, print, print_json};

/// Largest config of an image that is read, in bytes.
const CONFIG_LIMIT: u64 = 4 << 20;

/// Why the catalog cannot be updated.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{text}` is not a day: expected YYYY-MM-DD")]
    Day { text: String },
    #[error("`{name}` is nothing that can be updated")]
    UnknownName { name: String, known: Vec<String> },
    #[error("nothing could be read: {}", .first.as_deref().unwrap_or("no place was asked"))]
    NothingRead { first: Option<String> },
    #[error("cannot write `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("there is no folder to write to: neither `--catalog` nor a home folder is given")]
    NoFolder,
    #[error("`{reference}`: {problem}")]
    Image { reference: String, problem: String },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::UnknownName { name, known } => {
                let close = suggestion(name, known.iter().map(String::as_str));
                let close = close.map(|close| format!("did you mean `{close}`?"));
                close.into_iter().chain([format!("one of {}", known.join(", "))]).collect()
            }
            Self::NothingRead { .. } => {
                vec![
                    "check the network, or name the machine's own index and mirrors in `imgforge/config.toml`"
                        .to_owned(),
                ]
            }
            Self::NoFolder => vec!["give the folder with `--catalog DIR`".to_owned()],
            _ => Vec::new(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Write { source, .. } => vec![source.to_string()],
            _ => Vec::new(),
        }
    }
}

pub(super) fn run(context: &Context, arguments: &CatalogUpdateArgs) -> Result<u8, Failure> {
    let checked = match &arguments.checked {
        Some(text) if is_day(text) => text.clone(),
        Some(text) => return Err(Error::Day { text: text.clone() }.into()),
        None => today(),
    };
    let environment = Environment::of_process();
    let folder = folder(context, &environment)?;
    let files = files(context, &folder)?;
    let below = context.catalog_folders()?;
    let catalog = if folder.is_dir() && !below.contains(&folder) {
        Catalog::load(&below.iter().cloned().chain([folder.clone()]).collect::<Vec<_>>())?
    } else {
        Catalog::load(&below)?
    };
    let selection = selection(&catalog, &arguments.names)?;
    let outside = Outside::without_spec(context)?;
    let outcome = update(&catalog, &files, &selection, &outside, &checked, &|part| {
        context.progress.detail(format!("reading {part}"));
    });
    if outcome.places_read == 0 {
        let first = outcome.unreachable.first().map(|place| format!("{}: {}", place.place, place.reason));
        return Err(Error::NothingRead { first }.into());
    }
    if arguments.write {
        write(&folder, &outcome.changes)?;
    }
    report(context, arguments, &folder, &outcome);
    let differs = |finding: &Finding| !matches!(finding, Finding::CarriedOver { .. } | Finding::LeftOut { .. });
    let is_current = outcome.changes.is_empty() && !outcome.findings.iter().any(differs);
    Ok(u8::from(arguments.check && !is_current))
}

/// The folder to edit: the last of `--catalog`, else the `catalog` of the checkout that this is, else the user's own.
fn folder(context: &Context, environment: &Environment) -> Result<PathBuf, Failure> {
    let checkout = Path::new("catalog");
    if let Some(folder) = context.global.catalogs.last() {
        return Ok(folder.clone());
    }
    if checkout.join("sources.yaml").is_file() && checkout.join("framework").is_dir() {
        return Ok(checkout.to_owned());
    }
    Ok(user_catalog(environment).ok_or(Error::NoFolder)?)
}

fn files(context: &Context, folder: &Path) -> Result<Files, Failure> {
    let texts = if folder.is_dir() { read_overlay(folder)? } else { Vec::new() };
    let relative = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
    let files = texts.into_iter().map(|(path, text)| File { path: relative(&path), text }).collect();
    let below = context.catalog_folders()?.into_iter().filter(|below| below != folder).collect();
    Ok(Files { folder: folder.to_owned(), files, below })
}

fn selection(catalog: &Catalog, names: &[String]) -> Result<Selection, Failure> {
    let mut selected = Vec::new();
    for name in names {
        let family = catalog.framework_of_package(name).map(|framework| framework.family.clone());
        let known: Vec<String> =
            catalog.families().map(str::to_owned).chain(["cuda".to_owned(), "images".to_owned()]).collect();
        match family.or_else(|| known.contains(name).then(|| name.clone())) {
            Some(name) => selected.push(name),
            None => return Err(Error::UnknownName { name: name.clone(), known }.into()),
        }
    }
    Ok(Selection { names: selected })
}

/// Each file is whole, the old one or the new: an interrupt leaves no catalog that cannot be read.
fn write(folder: &Path, changes: &[Change]) -> Result<(), Failure> {
    for change in changes {
        let path = folder.join(&change.path);
        write_atomically(&path, change.text.as_bytes())
            .map_err(|error| Error::Write { path: path.clone(), source: error.into_io() })?;
    }
    Ok(())
}

fn report(context: &Context, arguments: &CatalogUpdateArgs, folder: &Path, outcome: &Update) {
    let diff: String = outcome.changes.iter().map(|change| change.diff.as_str()).collect();
    match arguments.format {
        Format::Json => print_json(&json!({
            "written": arguments.write,
            "changes": outcome.changes.iter().map(|change| json!({
                "file": folder.join(&change.path),
                "added": change.added,
            })).collect::<Vec<_>>(),
            "findings": outcome.findings,
            "unreachable": outcome.unreachable,
            "diff": diff,
        })),
        Format::Text if !arguments.write && !diff.is_empty() => print(&diff),
        Format::Text => {}
    }
    let progress = &context.progress;
    for line in unread(&outcome.unreachable) {
        progress.say(line);
    }
    for finding in &outcome.findings {
        progress.say(finding.to_string());
    }
    let added: usize = outcome.changes.iter().map(|change| change.added.len()).sum();
    let verb = if arguments.write { "added" } else { "to add" };
    progress.say(match added {
        0 => "nothing to add".to_owned(),
        1 => format!("1 entry {verb} to `{}`", folder.display()),
        _ => format!("{added} entries {verb} to `{}`", folder.display()),
    });
    if added > 0 && !arguments.write && !arguments.check {
        progress.say("run it with `--write` to write that");
    }
}

/// A line for each place that was not read; one for all indexes, since a family of them lives on one host.
fn unread(places: &[Unreachable]) -> Vec<String> {
    let is_index = |place: &&Unreachable| place.place.starts_with("the index ");
    let (indexes, others): (Vec<_>, Vec<_>) = places.iter().partition(is_index);
    let mut lines = Vec::new();
    if let Some(first) = indexes.first() {
        let names: Vec<&str> = indexes.iter().filter_map(|place| place.place.split_whitespace().last()).collect();
        let noun = if names.len() == 1 { "the index" } else { "the indexes" };
        lines.push(format!("not read: {noun} {}: {}", names.join(", "), first.reason));
    }
    lines.extend(others.iter().map(|place| format!("not read: {}: {}", place.place, place.reason)));
    lines
}

impl Upstream for Outside {
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure> {
        Ok(self.index.project(index, name)?)
    }

    fn metadata(&self, index: &str, file: &ProjectFile) -> Result<Arc<Metadata>, Failure> {
        Ok(self.index.metadata(index, file)?)
    }

    fn prefetch_metadata(&self, index: &str, file: &ProjectFile) {
        self.index.prefetch_metadata(index, file);
    }

    fn tags(&self, repository: &str) -> Result<Vec<String>, Failure> {
        Ok(self.registries.tags(&reference(repository)?)?)
    }

    fn image(&self, image: &str) -> Result<ImageFacts, Failure> {
        let reference = reference(image)?;
        let unreadable = |problem: String| Error::Image { reference: image.to_owned(), problem };
        let top = self.registries.manifest(&reference)?;
        let mut platforms = Vec::new();
        if top.is_index() {
            let index = ImageIndex::from_reader(top.bytes.as_slice()).map_err(|error| unreadable(error.to_string()))?;
            for platform in index.manifests().iter().filter_map(|manifest| manifest.platform().as_ref()) {
                let name = format!("{}/{}", platform.os(), platform.architecture());
                platforms.extend(name.parse::<Platform>());
            }
            platforms.sort();
            platforms.dedup();
        }
        let first = platforms.first().copied().unwrap_or(Platform::AMD64);
        let manifest = self.registries.resolve_platform(&reference, first)?;
        let manifest =
            ImageManifest::from_reader(manifest.bytes.as_slice()).map_err(|error| unreadable(error.to_string()))?;
        let descriptor = manifest.config();
        let digest = descriptor
            .digest()
            .to_string()
            .parse()
            .map_err(|_| unreadable("a config of no known digest".to_owned()))?;
        if descriptor.size() > CONFIG_LIMIT {
            return Err(unreadable(format!("a config of {} bytes", descriptor.size())).into());
        }
        let path =
            self.registries.fetch_blob(&reference, &digest, Some(descriptor.size()), &self.store, &mut |_| {})?;
        let config = ImageConfiguration::from_file(path).map_err(|error| unreadable(error.to_string()))?;
        if platforms.is_empty() {
            platforms.extend(format!("{}/{}", config.os(), config.architecture()).parse::<Platform>());
        }
        let variables = config.config().as_ref().and_then(|config| config.env().clone()).unwrap_or_default();
        let environment = variables
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(ImageFacts { digest: top.digest, platforms, environment })
    }
}

fn reference(text: &str) -> Result<Reference, Failure> {
    let failed = |error: ReferenceError| Error::Image {
        reference: text.to_owned(),
        problem: format!("not an image reference: {error}"),
    };
    Ok(parse_reference(text).map_err(failed)?)
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str, length: usize, range: std::ops::RangeInclusive<u32>| {
        part.len() == length && part.parse().is_ok_and(|number| range.contains(&number))
    };
    match parts.as_slice() {
        [year, month, day] => number(year, 4, 1970..=9999) && number(month, 2, 1..=12) && number(day, 2, 1..=31),
        _ => false,
    }
}

/// Today in UTC.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    day_of(seconds / 86_400)
}

/// The day that many days after 1970-01-01 in the Gregorian calendar.
fn day_of(days: u64) -> String {
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_the_calendar() {
        let days = [(0, "1970-01-01"), (58, "1970-02-28"), (59, "1970-03-01"), (11_016, "2000-02-29")];
        for (days, expected) in days.into_iter().chain([(19_723, "2024-01-01"), (20_088, "2024-12-31")]) {
            assert_eq!(day_of(days), expected);
        }
        assert!(is_day("2026-11-24"));
        for wrong in ["2026-13-01", "2026-1-01", "26-01-01", "2026-01-00", "today", "2026-01-01-01", ""] {
            assert!(!is_day(wrong), "{wrong}");
        }
    }
}
