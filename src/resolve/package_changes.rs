//! What would help where packages exclude each other: changes to the spec that were tried, so that a `help:` line never promises
//! what does not hold. Each try is a resolution of its own, so only lines that take part in the conflict are changed, and a
//! package is given up altogether only where nothing milder helps.

use pep440_rs::VersionSpecifiers;
use pep508_rs::{Requirement, VerbatimUrl};

use crate::diagnostic::Origin;
use crate::spec::{Framework, Located, Spec};
use crate::version::wheel_tag::normalize_name;

use super::packages::specifiers;
use super::relax::{chosen_version, result};
use super::{Code, Conflict, Question, Resolution};

/// At most this many changes are tried of a kind: milder ones, and those that give something up.
const TRIES: usize = 6;
/// At most this many packages are named in an answer.
const NAMED: usize = 3;

/// A changed spec, and how its answer is told.
struct Change<'s> {
    spec: Spec,
    told: Box<dyn Fn(&Resolution) -> String + 's>,
}

/// The changes that lead to an answer, as sentences, at most `limit`.
pub(super) fn suggestions(question: &Question<'_>, spec: &Spec, conflict: &Conflict, limit: usize) -> Vec<String> {
    let part = Part { spec, conflict };
    let milder = part.bounds().into_iter().chain(part.constraints()).chain(part.frameworks());
    let milder = milder.chain(part.python()).chain(part.platform()).collect();
    let helping = |changes: Vec<Change<'_>>| -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for Change { spec, told } in changes.into_iter().take(TRIES) {
            if texts.len() >= limit {
                break;
            }
            // What cannot be asked for is no offer.
            if let Ok(Ok(resolution)) = question.answer(&spec) {
                texts.push(told(&resolution));
            }
        }
        texts
    };
    let texts = helping(milder);
    if texts.is_empty() { helping(part.packages()) } else { texts }
}

/// The part of a spec that takes part in a conflict.
#[derive(Clone, Copy)]
struct Part<'s> {
    spec: &'s Spec,
    conflict: &'s Conflict,
}

impl<'s> Part<'s> {
    fn holds(&self, origin: Option<&Origin>) -> bool {
        let asks = self.conflict.asks.iter().map(|ask| ask.origin.as_ref());
        let reasons = self.conflict.reasons.iter().map(|reason| reason.origin.as_ref());
        origin.is_some() && asks.chain(reasons).any(|known| known == origin)
    }

    /// Without the bound on a package.
    fn bounds(&self) -> Vec<Change<'s>> {
        let name_of = |index: usize| normalize_name(self.spec.packages[index].value.name.as_ref());
        let names: Vec<String> = (0..self.spec.packages.len()).map(name_of).collect();
        let bounded = self.spec.packages.iter().zip(names.clone()).enumerate().filter(|(_, (package, _))| {
            specifiers(&package.value).is_some_and(|set| !set.is_empty()) && self.holds(package.origin.as_ref())
        });
        let change = |(index, (package, name)): (usize, (&'s Located<Requirement<VerbatimUrl>>, String))| {
            let mut spec = self.spec.clone();
            spec.packages[index].value.version_or_url = None;
            let lines = names.iter().filter(|other| **other == name).count();
            let bound = if lines > 1 { format!("`{}`", package.value) } else { format!("the bound on `{name}`") };
            Change { spec, told: Box::new(move |found| with_version(&format!("without {bound}"), found, &name)) }
        };
        bounded.map(change).collect()
    }

    /// Without a constraint.
    fn constraints(&self) -> Vec<Change<'s>> {
        let part = self.spec.constraints.iter().enumerate();
        let part = part.filter(|(_, constraint)| self.holds(constraint.origin.as_ref()));
        let change = |(index, constraint): (usize, &'s Located<Requirement<VerbatimUrl>>)| {
            let mut spec = self.spec.clone();
            spec.constraints.remove(index);
            let name = normalize_name(constraint.value.name.as_ref());
            let text = format!("without the constraint `{}`", constraint.value);
            Change { spec, told: Box::new(move |found| with_version(&text, found, &name)) }
        };
        part.map(change).collect()
    }

    /// With another version of a framework.
    fn frameworks(&self) -> Vec<Change<'s>> {
        let part =
            self.spec.frameworks.iter().enumerate().filter(|(_, framework)| {
                !framework.version.is_empty() && self.holds(framework.version_origin.as_ref())
            });
        let change = |(index, framework): (usize, &'s Framework)| {
            let mut spec = self.spec.clone();
            spec.frameworks[index].version = VersionSpecifiers::empty();
            let family = &framework.family.value;
            let told = move |found: &Resolution| {
                let with = match chosen_version(&found.stack, family) {
                    Some(version) => format!("with `{family}: \"{version}\"`"),
                    None => format!("with another version of {family}"),
                };
                format!("{with} there is an answer: {}", result(&found.stack))
            };
            Change { spec, told: Box::new(told) }
        };
        part.map(change).collect()
    }

    /// With another Python. It brings no project into being, and nothing that was never released.
    fn python(&self) -> Option<Change<'s>> {
        let about_existence = self.conflict.reasons.iter().all(|reason| reason.code == Code::NoSuchVersion);
        self.spec.python.as_ref().filter(|_| !about_existence)?;
        let mut spec = self.spec.clone();
        spec.python = None;
        let told = |found: &Resolution| {
            let with = format!("with `python: \"{}\"` there is an answer", found.stack.python);
            let packages = self.spec.packages.iter();
            let named = packages.map(|package| normalize_name(package.value.name.as_ref()));
            format!("{with}: {}", answer(found, named))
        };
        Some(Change { spec, told: Box::new(told) })
    }

    /// Without the one platform that has no answer.
    fn platform(&self) -> Option<Change<'s>> {
        let platform = self.conflict.platform?;
        let mut spec = self.spec.clone();
        spec.platforms.retain(|known| known.value != platform);
        if spec.platforms.is_empty() || spec.platforms.len() == self.spec.platforms.len() {
            return None;
        }
        let this = *self;
        let told = move |found: &Resolution| {
            let without = format!("without the platform `{platform}` there is an answer");
            format!("{without}: {}", answer(found, this.taking_part(None)))
        };
        Some(Change { spec, told: Box::new(told) })
    }

    /// Without a package, where something else is left of what takes part.
    fn packages(&self) -> Vec<Change<'s>> {
        let of_framework = |framework: &Framework| {
            let mut origins = [&framework.family.origin, &framework.version_origin].into_iter();
            origins.any(|origin| self.holds(origin.as_ref()))
        };
        if self.taking_part(None).len() < 2 && !self.spec.frameworks.iter().any(of_framework) {
            return Vec::new();
        }
        let this = *self;
        let part = self.spec.packages.iter().enumerate().filter(|(_, package)| this.holds(package.origin.as_ref()));
        let change = |(index, package): (usize, &'s Located<Requirement<VerbatimUrl>>)| {
            let mut spec = self.spec.clone();
            spec.packages.remove(index);
            let text = format!("without `{}` there is an answer", package.value.name);
            let told = move |found: &Resolution| format!("{text}: {}", answer(found, this.taking_part(Some(index))));
            Change { spec, told: Box::new(told) }
        };
        part.map(change).collect()
    }

    /// Names of the packages that take part, but for one.
    fn taking_part(&self, but: Option<usize>) -> Vec<String> {
        let part = self.spec.packages.iter().enumerate();
        let part = part.filter(|(index, package)| Some(*index) != but && self.holds(package.origin.as_ref()));
        part.map(|(_, package)| normalize_name(package.value.name.as_ref())).collect()
    }
}

/// `... there is an answer: num 1.0`.
fn with_version(change: &str, found: &Resolution, name: &str) -> String {
    let wheel = found.platforms.iter().find_map(|platform| platform.wheels.get(name));
    let version = wheel.map(|wheel| format!(": {name} {}", wheel.version)).unwrap_or_default();
    format!("{change} there is an answer{version}")
}

/// The versions of some packages, the stack where none of them is there.
fn answer(found: &Resolution, names: impl IntoIterator<Item = String>) -> String {
    let wheels = found.platforms.first().map(|platform| &platform.wheels);
    let versions = names.into_iter().filter_map(|name| Some(format!("{name} {}", wheels?.get(&name)?.version)));
    let versions: Vec<String> = versions.take(NAMED).collect();
    if versions.is_empty() { result(&found.stack) } else { versions.join(", ") }
}
