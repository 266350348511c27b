//! Which version of a set is taken.
//!
//! What a set leaves must not depend on who asked first: the search remembers for good that there is nothing in a set, and
//! in every part of it. So whether a version counts follows from the spec, the lock and the index alone, never from the
//! requirements met so far:
//!
//! - A pre-release counts like any other version, and is taken last: only where the set has no final release that can be
//!   installed here (PEP 440, "Handling of pre-releases"; uv's `if-necessary`). A package of which only pre-releases exist needs
//!   no wish for them, and neither does a dependency's `==2.0rc1`.
//! - A yanked version counts where the spec names it with `==` or `===` (PEP 592), or the lock holds it.

use std::collections::{HashMap, HashSet};

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};
use pep508_rs::MarkerEnvironment;

use crate::catalog::Catalog;
use crate::spec::Spec;
use crate::version::wheel_tag::normalize_name;

use super::super::variable::{Value, Values, specifier_values};
use super::offer::{Candidate, Offer};
use super::{PackageModel, SourceError, specifiers};

/// What the spec names of versions that are not taken as a matter of course.
#[derive(Default)]
pub(super) struct Named {
    /// The exact versions, by name.
    exact: HashMap<String, Vec<Values>>,
    /// The packages of which some requirement mentions a pre-release, as `acme>=2.0rc1` does.
    prereleases: HashSet<String>,
}

impl Named {
    /// What packages and constraints of the spec say, where their markers hold, and its frameworks.
    pub(super) fn by(spec: &Spec, catalog: &Catalog, markers: &MarkerEnvironment) -> Self {
        let mut named = Self::default();
        let requirements = spec.packages.iter().chain(&spec.constraints).map(|located| &located.value);
        for requirement in requirements.filter(|requirement| requirement.evaluate_markers(markers, &[])) {
            let name = normalize_name(requirement.name.as_ref());
            named.add(&name, specifiers(requirement).into_iter().flat_map(|set| set.iter()));
        }
        for framework in &spec.frameworks {
            let package = catalog.framework(&framework.family.value).map(|known| normalize_name(&known.package));
            named.add(&package.unwrap_or_default(), framework.version.iter());
        }
        named
    }

    fn add<'s>(&mut self, name: &str, specifiers: impl Iterator<Item = &'s VersionSpecifier>) {
        for specifier in specifiers {
            if matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual) {
                let only = specifier_values(&VersionSpecifiers::from(specifier.clone()));
                self.exact.entry(name.to_owned()).or_default().push(only);
            }
            if specifier.version().any_prerelease() {
                self.prereleases.insert(name.to_owned());
            }
        }
    }

    fn has(&self, name: &str, version: &Version) -> bool {
        let value = Value::Release(version.clone());
        self.exact.get(name).into_iter().flatten().any(|exact| exact.contains(&value))
    }

    /// Whether the spec speaks of pre-releases of a package at all.
    pub(super) fn speaks_of_prereleases(&self, name: &str) -> bool {
        self.prereleases.contains(name)
    }
}

impl PackageModel<'_> {
    /// The best candidate in a set: the locked version if it is in it, else the newest final release, else the newest
    /// pre-release. The indexes of a framework's builds are asked where they alone can have a version of the set.
    pub fn choose(&self, name: &str, values: &Values) -> Result<Option<Candidate>, SourceError> {
        if let Some(candidate) = self.choose_companion(name, values)? {
            return Ok(Some(candidate));
        }
        let offer = self.offer(name)?;
        if let Some(candidate) = self.locked_in(&offer, name, values) {
            return Ok(Some(candidate));
        }
        let newest = |finals: bool| {
            let suits = |version: &Version| version.any_prerelease() != finals && is_inside(version, values);
            offer.candidates.iter().rev().find(|(version, _)| suits(version)).map(|(_, candidate)| candidate.clone())
        };
        if let Some(candidate) = newest(true) {
            return Ok(Some(candidate));
        }
        let named = |version: &Version| is_inside(version, values) && self.named.has(name, version);
        if let Some((_, candidate)) = offer.yanked.iter().rev().find(|(version, _)| named(version)) {
            return Ok(Some(candidate.clone()));
        }
        // The builds of a framework's own index carry a label, and are looked at only if the set has one of them.
        if let Some(candidate) = self.choose_labelled(name, values)? {
            return Ok(Some(candidate));
        }
        match newest(false) {
            Some(candidate) => Ok(Some(candidate)),
            None => self.choose_beside_build(name, values),
        }
    }

    /// The locked version, withdrawn or not, if the set has it.
    pub(super) fn locked_in(&self, offer: &Offer, name: &str, values: &Values) -> Option<Candidate> {
        let locked = Some(offer.known_as(self.locked.get(name)?)).filter(|locked| is_inside(locked, values))?;
        offer.candidates.get(locked).or_else(|| offer.yanked.get(locked)).cloned()
    }
}

/// The newest final release of an offer in a set, else the newest pre-release.
pub(super) fn newest<'o>(offer: &'o Offer, values: &Values) -> Option<&'o Candidate> {
    let inside = || offer.candidates.iter().rev().filter(|(version, _)| is_inside(version, values));
    let found = inside().find(|(version, _)| !version.any_prerelease()).or_else(|| inside().next());
    found.map(|(_, candidate)| candidate)
}

fn is_inside(version: &Version, values: &Values) -> bool {
    values.contains(&Value::Release(version.clone()))
}
