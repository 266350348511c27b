//! New toolkits, cuDNN releases and Python lines, as far as package indexes show them.
//!
//! NVIDIA publishes its libraries as wheels: `cuda-toolkit` has a version per toolkit, `nvidia-cudnn-cu12` one per cuDNN and
//! CUDA major. Neither says which driver it needs or what it compiles for, so a new toolkit has no `driver` and the compute
//! capabilities of the one before, marked.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::Version;

use super::Finding;
use super::compare::words;
use super::edit::{Editor, field};
use super::observe::Reader;
use crate::catalog::Catalog;
use crate::version::PythonVersion;

/// Inserts toolkits and cuDNN releases newer than the newest curated one.
pub(super) fn refresh(catalog: &Catalog, reader: &Reader<'_>, editor: &mut Editor<'_>, findings: &mut Vec<Finding>) {
    toolkits(catalog, reader, editor, findings);
    cudnn(catalog, reader, editor, findings);
}

fn toolkits(catalog: &Catalog, reader: &Reader<'_>, editor: &mut Editor<'_>, findings: &mut Vec<Finding>) {
    const PACKAGE: &str = "cuda-toolkit";
    let Some(newest) = catalog.cuda.toolkits.first() else { return };
    let curated: Vec<Version> = versions(catalog.cuda.toolkits.iter().map(|toolkit| &toolkit.version));
    let upstream = reader.versions("default", PACKAGE);
    for version in newer(&upstream, &curated) {
        let name = format!("toolkit {version}");
        let carried = format!("compute capabilities carried over from {}", newest.version);
        let source = format!("{PACKAGE} {version} on the package index, read {}; {carried}", reader.checked);
        let row = format!(
            "{{version: \"{version}\", compute_capabilities: \"{}\", source: \"{source}\", unverified: true}}",
            words(&newest.compute_capabilities)
        );
        editor.insert_row("cuda.yaml", "toolkits", &name, row, &by_version(&version));
        findings.push(Finding::CarriedOver { entry: name, fact: carried });
    }
    left_out("toolkits", &upstream, &curated, findings);
}

fn cudnn(catalog: &Catalog, reader: &Reader<'_>, editor: &mut Editor<'_>, findings: &mut Vec<Finding>) {
    let mut upstream: BTreeMap<Version, BTreeSet<u64>> = BTreeMap::new();
    for major in catalog.cuda.floors.iter().map(|floor| floor.major) {
        // A post-release is another packaging of the same library.
        let versions = reader.versions("default", &format!("nvidia-cudnn-cu{major}"));
        for version in versions.into_iter().filter(|version| !version.is_post()) {
            upstream.entry(version).or_default().insert(major);
        }
    }
    let curated: Vec<Version> = versions(catalog.cuda.cudnn.iter().map(|cudnn| &cudnn.version));
    let known: Vec<Version> = upstream.keys().cloned().collect();
    for version in newer(&known, &curated) {
        let majors = upstream.get(&version).cloned().unwrap_or_default();
        let packages = majors.iter().map(|major| format!("nvidia-cudnn-cu{major}")).collect::<Vec<_>>().join(", ");
        let row = format!(
            "{{version: \"{version}\", cuda_majors: \"{}\", source: \"{packages} {version} on the package index, read {}\"}}",
            words(&majors),
            reader.checked
        );
        editor.insert_row("cuda.yaml", "cudnn", &format!("cudnn {version}"), row, &by_version(&version));
    }
    for cudnn in &catalog.cuda.cudnn {
        let Ok(version) = cudnn.version.to_string().parse::<Version>() else { continue };
        let Some(majors) = upstream.get(&version) else { continue };
        if !cudnn.cuda_majors.iter().eq(majors) {
            findings.push(Finding::Differs {
                entry: format!("cudnn {}", cudnn.version),
                fact: "cuda_majors".to_owned(),
                curated: words(&cudnn.cuda_majors),
                upstream: words(majors),
            });
        }
    }
    left_out("cudnn", &known, &curated, findings);
}

/// Inserts Python lines that new entries use and the catalog does not have. A line counts as unreleased until a person
/// says otherwise: wheels for it appear with its release candidates.
pub(super) fn add_pythons(
    pythons: &BTreeSet<PythonVersion>,
    catalog: &Catalog,
    reader: &Reader<'_>,
    editor: &mut Editor<'_>,
) {
    for python in pythons.iter().filter(|python| catalog.python(**python).is_none()) {
        let name = format!("python {python}");
        if editor.has_added(&name) {
            continue;
        }
        let row = format!(
            "{{version: \"{python}\", status: prerelease, source: \"tags of wheels on the package index, read {}\", \
             unverified: true}}",
            reader.checked
        );
        let order = |entry: &str| Some(field(entry, "version")?.parse::<PythonVersion>().ok()?.cmp(python));
        editor.insert_row("python.yaml", "pythons", &name, row, &order);
    }
}

/// Compares the `version` of an entry with `version`.
fn by_version(version: &Version) -> impl Fn(&str) -> Option<Ordering> {
    move |entry| Some(field(entry, "version")?.parse::<Version>().ok()?.cmp(version))
}

fn versions<T: ToString>(versions: impl Iterator<Item = T>) -> Vec<Version> {
    versions.filter_map(|version| version.to_string().parse().ok()).collect()
}

/// Those above the newest curated one, oldest first.
fn newer(upstream: &[Version], curated: &[Version]) -> BTreeSet<Version> {
    let newest = curated.iter().max();
    upstream.iter().filter(|version| newest.is_none_or(|newest| *version > newest)).cloned().collect()
}

fn left_out(entry: &str, upstream: &[Version], curated: &[Version], findings: &mut Vec<Finding>) {
    let (oldest, newest) = (curated.iter().min(), curated.iter().max());
    let between = |version: &&Version| Some(*version) > oldest && Some(*version) < newest;
    let missing: BTreeSet<&Version> =
        upstream.iter().filter(|version| !curated.contains(version)).filter(between).collect();
    if !missing.is_empty() {
        let names = missing.into_iter().rev().map(ToString::to_string).collect();
        findings.push(Finding::LeftOut { entry: entry.to_owned(), names });
    }
}
