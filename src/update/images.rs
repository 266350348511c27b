//! Base images as registries have them: tags of `python` and `nvidia/cuda`, and what the images declare.
//!
//! Reading a list of tags is one request; reading an image is three, and public registries count those. So images are read
//! where that tells something new: new entries, and curated ones that nobody verified.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{pair, words};
use super::edit::{Editor, field};
use super::observe::Reader;
use super::{Finding, ImageFacts};
use crate::catalog::{Catalog, CudaImage, DebianSuite, OtherSystem, SlimImage};
use crate::version::{CudnnVersion, Dotted, PythonVersion, ToolkitVersion};

const PYTHON: &str = "python";
const CUDA: &str = "nvidia/cuda";

/// Inserts images that are new, and checks those that are not verified.
pub(super) fn refresh(catalog: &Catalog, reader: &Reader<'_>, editor: &mut Editor<'_>, findings: &mut Vec<Finding>) {
    if let Some(tags) = reader.tags(PYTHON) {
        slim(catalog, &tags.into_iter().collect(), reader, editor, findings);
    }
    if let Some(tags) = reader.tags(CUDA) {
        cuda(catalog, &tags.into_iter().collect(), reader, editor, findings);
    }
}

fn slim(
    catalog: &Catalog,
    tags: &BTreeSet<String>,
    reader: &Reader<'_>,
    editor: &mut Editor<'_>,
    findings: &mut Vec<Finding>,
) {
    for image in &catalog.bases.slim {
        let entry = format!("slim image {}", image.reference);
        let Some(tag) = image.reference.strip_prefix("python:") else { continue };
        if !tags.contains(tag) {
            differs(findings, &entry, "tag", "listed", "nothing");
        } else if image.unverified
            && let Some(facts) = reader.image(&image.reference)
        {
            slim_facts(&entry, image, &facts, findings);
        }
    }
    for suite in &catalog.bases.debian {
        for line in &catalog.pythons {
            let (python, suite) = (line.version, suite.suite.as_str());
            let (tag, is_known) =
                (format!("{python}-slim-{suite}"), |image: &SlimImage| image.python == python && image.suite == suite);
            if catalog.bases.slim.iter().any(is_known) || !tags.contains(&tag) {
                continue;
            }
            let reference = format!("{PYTHON}:{tag}");
            let Some(facts) = reader.image(&reference) else { continue };
            let row = format!(
                "{{python: \"{python}\", suite: {suite}, reference: \"{reference}\", platforms: {}, source: \"{}\"}}",
                words(&facts.platforms),
                citation(&reference, &facts, reader.checked)
            );
            let key = |entry: &str| {
                let python: PythonVersion = field(entry, "python")?.parse().ok()?;
                Some((python, rank(catalog, &field(entry, "suite")?)))
            };
            let new = (python, rank(catalog, suite));
            let order = |entry: &str| key(entry).map(|other| other.cmp(&new));
            editor.insert_row("base.yaml", "slim_images", &format!("slim image {reference}"), row, &order);
        }
    }
}

/// Newer suites have newer C libraries.
fn rank(catalog: &Catalog, suite: &str) -> Option<(u32, u32)> {
    catalog.bases.debian.iter().find(|known: &&DebianSuite| known.suite == suite).map(|known| known.glibc)
}

fn slim_facts(entry: &str, image: &SlimImage, facts: &ImageFacts, findings: &mut Vec<Finding>) {
    let declared = facts.environment.get("PYTHON_VERSION");
    if let Some(declared) = declared.filter(|version| !version.starts_with(&format!("{}.", image.python))) {
        differs(findings, entry, "python", &image.python.to_string(), declared);
    }
    if image.platforms != facts.platforms {
        differs(findings, entry, "platforms", &words(&image.platforms), &words(&facts.platforms));
    }
}

/// The tags of one toolkit on one Ubuntu.
#[derive(Default)]
struct Row {
    /// `base`, `cudnn-runtime`.
    flavours: BTreeSet<String>,
}

fn cuda(
    catalog: &Catalog,
    tags: &BTreeSet<String>,
    reader: &Reader<'_>,
    editor: &mut Editor<'_>,
    findings: &mut Vec<Finding>,
) {
    for image in &catalog.bases.cuda {
        let entry = format!("cuda image {}", image.tag);
        if !tags.contains(&image.tag) {
            // NVIDIA takes down tags that it has announced to.
            if !image.end_of_life {
                differs(findings, &entry, "tag", "listed", "nothing");
            }
        } else if image.unverified
            && let Some(facts) = reader.image(&image.reference())
        {
            cuda_facts(&entry, image, &facts, findings);
        }
    }
    for system in &catalog.other_systems {
        other_system(catalog, system, tags, findings);
    }
    let mut rows: BTreeMap<(Dotted, String), Row> = BTreeMap::new();
    for tag in tags {
        let Some((toolkit, flavour, os)) = split(tag) else { continue };
        if catalog.bases.suite(&os).is_some() && catalog.toolkit(&toolkit).is_some() {
            rows.entry((toolkit.dotted().clone(), os)).or_default().flavours.insert(flavour);
        }
    }
    for ((toolkit, os), row) in rows {
        let of_row = |image: &&CudaImage| *image.toolkit.dotted() == toolkit && image.os == os;
        let known: BTreeSet<String> =
            catalog.bases.cuda.iter().filter(of_row).filter_map(|image| Some(split(&image.tag)?.1)).collect();
        if known.is_empty() {
            insert(catalog, &toolkit, &os, &row, reader, editor);
        } else {
            let missing: Vec<String> = row.flavours.difference(&known).cloned().collect();
            if !missing.is_empty() {
                findings.push(Finding::LeftOut { entry: format!("cuda images {toolkit} {os}"), names: missing });
            }
        }
    }
}

fn insert(catalog: &Catalog, toolkit: &Dotted, os: &str, row: &Row, reader: &Reader<'_>, editor: &mut Editor<'_>) {
    let Some(suite) = catalog.bases.suite(os) else { return };
    // The image with most in it says most about itself.
    let telling = row.flavours.iter().find(|flavour| flavour.starts_with("cudnn") && flavour.ends_with("runtime"));
    let Some(flavour) = telling.or_else(|| row.flavours.iter().next()) else { return };
    let reference = format!("{CUDA}:{toolkit}-{flavour}-{}", os.replace(' ', ""));
    let Some(facts) = reader.image(&reference) else { return };
    let mut cells =
        vec![format!("toolkit: \"{toolkit}\""), format!("os: {os}"), format!("glibc: \"{}\"", pair(suite.glibc))];
    if let Some(cudnn) = cudnn_of(&facts) {
        cells.push(format!("cudnn: \"{cudnn}\""));
    }
    let order = ["base", "runtime", "devel"];
    let mut flavours: Vec<&String> = row.flavours.iter().collect();
    flavours.sort_by_key(|flavour| (flavour.contains('-'), order.iter().position(|last| flavour.ends_with(last))));
    cells.push(format!("flavours: {}", words(flavours)));
    cells.push(format!("platforms: {}", words(&facts.platforms)));
    cells.push(format!("source: \"{}\"", citation(&reference, &facts, reader.checked)));
    let key = |toolkit: &str, os: &str| Some((toolkit.parse::<ToolkitVersion>().ok()?, os.to_owned()));
    let Some(new) = key(&toolkit.to_string(), os) else { return };
    let order = |entry: &str| key(&field(entry, "toolkit")?, &field(entry, "os")?).map(|other| other.cmp(&new));
    let name = format!("cuda image {toolkit}");
    editor.insert_row("base.yaml", "cuda_images", &name, format!("{{{}}}", cells.join(", ")), &order);
}

fn cuda_facts(entry: &str, image: &CudaImage, facts: &ImageFacts, findings: &mut Vec<Finding>) {
    let declared = facts.environment.get("CUDA_VERSION");
    if let Some(declared) = declared.filter(|version| **version != image.toolkit.to_string()) {
        differs(findings, entry, "toolkit", &image.toolkit.to_string(), declared);
    }
    if let Some(declared) = cudnn_of(facts).filter(|version| image.cudnn.as_ref() != Some(version)) {
        let curated = image.cudnn.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        differs(findings, entry, "cudnn", &curated, &declared.to_string());
    }
    if image.platforms != facts.platforms {
        differs(findings, entry, "platforms", &words(&image.platforms), &words(&facts.platforms));
    }
}

/// `NV_CUDNN_VERSION` is a Debian version, `9.1.0.70-1`.
fn cudnn_of(facts: &ImageFacts) -> Option<CudnnVersion> {
    facts.environment.get("NV_CUDNN_VERSION")?.split('-').next()?.parse().ok()
}

/// Tags on a system that is no base: what is listed and gone, and what is there and not listed. A person enters those.
fn other_system(catalog: &Catalog, system: &OtherSystem, tags: &BTreeSet<String>, findings: &mut Vec<Finding>) {
    let (entry, suffix) = (format!("other system {}", system.os), system.suffix());
    let mut listed = BTreeSet::new();
    for images in &system.images {
        for toolkit in &images.toolkits {
            listed.extend(images.flavours.iter().map(|flavour| (toolkit, format!("{toolkit}-{flavour}-{suffix}"))));
        }
    }
    for (_, tag) in listed.iter().filter(|(toolkit, tag)| !system.end_of_life.contains(toolkit) && !tags.contains(tag))
    {
        differs(findings, &entry, &format!("tag {tag}"), "listed", "nothing");
    }
    let of_system = tags.iter().filter_map(|tag| Some((tag, parts(tag)?)));
    let of_system = of_system.filter(|(_, (toolkit, _, os))| *os == suffix && catalog.toolkit(toolkit).is_some());
    let missing = of_system.filter(|(tag, _)| !listed.iter().any(|(_, known)| known == *tag));
    let names: Vec<String> = missing.map(|(tag, _)| tag.clone()).rev().collect();
    if !names.is_empty() {
        findings.push(Finding::LeftOut { entry, names });
    }
}

/// `12.4.1-cudnn-runtime-ubuntu22.04` as toolkit, `cudnn-runtime` and `ubuntu 22.04`.
fn split(tag: &str) -> Option<(ToolkitVersion, String, String)> {
    let (toolkit, flavour, os) = parts(tag)?;
    let release = os.strip_prefix("ubuntu")?;
    Some((toolkit, flavour.to_owned(), format!("ubuntu {release}")))
}

/// `12.4.1-cudnn-runtime-rockylinux9` as toolkit, `cudnn-runtime` and `rockylinux9`.
fn parts(tag: &str) -> Option<(ToolkitVersion, &str, &str)> {
    let (toolkit, rest) = tag.split_once('-')?;
    let (flavour, os) = rest.rsplit_once('-')?;
    let plain = ["base", "runtime", "devel"].contains(&flavour);
    let with_cudnn = flavour.starts_with("cudnn") && (flavour.ends_with("-runtime") || flavour.ends_with("-devel"));
    (plain || with_cudnn).then_some(())?;
    Some((toolkit.parse().ok()?, flavour, os))
}

fn citation(reference: &str, facts: &ImageFacts, checked: &str) -> String {
    format!("registry, {reference} at {}, read {checked}", facts.digest)
}

fn differs(findings: &mut Vec<Finding>, entry: &str, fact: &str, curated: &str, upstream: &str) {
    findings.push(Finding::Differs {
        entry: entry.to_owned(),
        fact: fact.to_owned(),
        curated: curated.to_owned(),
        upstream: upstream.to_owned(),
    });
}
