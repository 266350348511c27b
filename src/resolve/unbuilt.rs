//! Help for releases that are published as source alone: nothing here compiles, but a wheel that somebody built can be
//! listed by its place, and the rest of the spec stands or falls without it.

use std::collections::BTreeSet;

use pep440_rs::{Version, VersionSpecifiers};

use crate::catalog::{Catalog, Framework};
use crate::spec::Spec;
use crate::version::wheel_tag::normalize_name;

use super::minimal::{Wish, answered, without};
use super::packages::specifiers;
use super::relax::{Offer, result};
use super::served::listed;
use super::wishes::version_allowed;

/// How to come by wheels of what the spec asks for and nobody published wheels of, where the rest has an answer.
pub(super) fn build_wheels(spec: &Spec, catalog: &Catalog) -> Option<Offer> {
    let mut given_up = BTreeSet::new();
    let mut unbuilt: Vec<(&str, &Version)> = Vec::new();
    for (index, asked) in spec.frameworks.iter().enumerate() {
        let framework = catalog.framework(&asked.family.value)?;
        if let Some(version) = newest_unbuilt(framework, &asked.version) {
            given_up.extend([Wish::Framework(index), Wish::Version(index), Wish::Build(index)]);
            unbuilt.push((&framework.package, version));
        }
    }
    let any = VersionSpecifiers::empty();
    for (index, package) in spec.packages.iter().enumerate() {
        let name = normalize_name(package.value.name.as_ref());
        let known = catalog.frameworks.iter().find(|known| normalize_name(&known.package) == name);
        let version =
            known.and_then(|known| Some((known, newest_unbuilt(known, specifiers(&package.value).unwrap_or(&any))?)));
        if let Some((framework, version)) = version {
            given_up.insert(Wish::Package(index));
            unbuilt.push((&framework.package, version));
        }
    }
    if unbuilt.is_empty() {
        return None;
    }
    let answer = answered(&without(spec, &given_up), catalog)?;
    let pins: Vec<String> = unbuilt.iter().map(|(package, version)| format!("{package}=={version}")).collect();
    let places: Vec<String> = unbuilt.iter().map(|(package, _)| format!("`{package} @ file:FILE.whl`")).collect();
    let text = format!(
        "build the wheel once where torch and nvcc are (`pip wheel --no-deps --no-build-isolation {}`), put it beside the \
         spec and list {} under `packages:` instead; the rest has an answer: {}",
        pins.join(" "),
        listed(&places),
        result(&answer)
    );
    Some(Offer { text, answer })
}

/// The newest release in a range of which all are source alone.
fn newest_unbuilt<'c>(framework: &'c Framework, asked: &VersionSpecifiers) -> Option<&'c Version> {
    let mut releases = framework.releases.iter().filter(|release| version_allowed(asked, release)).peekable();
    let newest = &releases.peek()?.version;
    releases.all(|release| release.builds.iter().all(|build| build.source_only)).then_some(newest)
}
