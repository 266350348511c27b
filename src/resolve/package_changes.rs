//! What would help where packages exclude each other: changes to the spec that were tried, so that a `help:` line never promises
//! what does not hold. Each try is a resolution of its own, so only lines that take part in the conflict are changed, a package is
//! given up altogether only where nothing milder helps, and two or three changes at once only where no single one does.

use std::time::Duration;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{Requirement, VerbatimUrl};

use crate::diagnostic::Origin;
use crate::spec::{Framework, Located, Spec};
use crate::version::wheel_tag::normalize_name;

use super::package_core::of_core;
use super::packages::specifiers;
use super::relax::{chosen_version, result};
use super::served::listed;
use super::variable::{Value, specifier_values};
use super::{Conflict, Question, Resolution};

/// At most this many lines of a kind are tried.
const LINES: usize = 4;
/// With at most this many changes each it is looked for what a second one, and a third one, would do.
const WIDTHS: [usize; 2] = [3, 1];
/// Time for one change: one that leads through hundreds of old versions must not keep the others from being tried.
const ATTEMPT: Duration = Duration::from_secs(3);
/// At most this many packages are named in an answer.
const NAMED: usize = 3;

/// A changed spec, and how to tell of it.
struct Change<'s> {
    spec: Spec,
    /// `` without the bound on `num` ``, as soon as there is an answer; `None` if that keeps what the line says.
    edit: Told<'s, Option<String>>,
    /// What the answer has of interest.
    answer: Told<'s, String>,
}

type Told<'s, T> = Box<dyn Fn(&Resolution) -> T + 's>;

/// The changes that lead to an answer, as sentences, at most `limit`. `retries` is the question for what is tried.
pub(super) fn suggestions(
    question: &Question<'_>,
    retries: &Question<'_>,
    spec: &Spec,
    conflict: &Conflict,
    limit: usize,
) -> Vec<String> {
    let helping = |tried: &[Tried<'_>]| -> Vec<String> {
        let helps = |(change, outcome): &Tried<'_>| sentence(&[change], outcome.as_ref().ok()?);
        tried.iter().filter_map(helps).take(limit).collect()
    };
    let part = Part { spec, conflict };
    let mut tried = attempts(retries, part.milder(), limit);
    let mut texts = helping(&tried);
    if texts.is_empty() {
        tried.extend(attempts(retries, part.packages(), limit));
        texts = helping(&tried);
    }
    if texts.is_empty() && limit > 0 {
        texts.extend(behind(question, retries, &[], &tried, &WIDTHS));
    }
    texts
}

/// A change, and what came of it.
type Tried<'s> = (Change<'s>, Result<Resolution, Conflict>);

/// Tries changes until `limit` of them led to an answer.
fn attempts<'s>(retries: &Question<'_>, changes: Vec<Change<'s>>, limit: usize) -> Vec<Tried<'s>> {
    let mut tried = Vec::new();
    let mut answered = 0;
    for change in changes {
        if answered == limit {
            break;
        }
        // What cannot be asked for is no offer.
        let Ok(outcome) = retries.in_a_hurry(ATTEMPT, |question| question.answer(&change.spec)) else { continue };
        answered += usize::from(outcome.is_ok());
        tried.push((change, outcome));
    }
    tried
}

/// Another change on top of those in `path` and one of `tried`, which did not lead to an answer.
fn behind(
    question: &Question<'_>,
    retries: &Question<'_>,
    path: &[&Change<'_>],
    tried: &[Tried<'_>],
    widths: &[usize],
) -> Option<String> {
    let (width, widths) = widths.split_first()?;
    tried.iter().take(*width).find_map(|(change, outcome)| {
        let conflict = of_core(question, retries, &change.spec, outcome.as_ref().err()?.clone());
        let path: Vec<&Change<'_>> = path.iter().copied().chain([change]).collect();
        let part = Part { spec: &change.spec, conflict: &conflict };
        let next = attempts(retries, part.milder().into_iter().chain(part.packages()).collect(), 1);
        let found = next.iter().find_map(|(last, outcome)| {
            let path: Vec<&Change<'_>> = path.iter().copied().chain([last]).collect();
            sentence(&path, outcome.as_ref().ok()?)
        });
        found.or_else(|| behind(question, retries, &path, &next, widths))
    })
}

/// `` without the bound on `num` there is an answer: num 1.0 ``; `None` if the answer keeps what the lines say.
fn sentence(path: &[&Change<'_>], found: &Resolution) -> Option<String> {
    let edits: Vec<String> = path.iter().filter_map(|change| (change.edit)(found)).collect();
    let last = path.last().filter(|_| !edits.is_empty())?;
    Some(format!("{} there is an answer: {}", together(&edits), (last.answer)(found)))
}

/// `` without `a` and the bound on `b` ``: each word is said once for those that share it.
fn together(edits: &[String]) -> String {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for edit in edits {
        let (word, what) = edit.split_once(' ').unwrap_or(("with", edit));
        match groups.iter_mut().find(|(known, _)| *known == word) {
            Some((_, known)) => known.push(what.to_owned()),
            None => groups.push((word, vec![what.to_owned()])),
        }
    }
    let groups: Vec<String> = groups.iter().map(|(word, edits)| format!("{word} {}", listed(edits))).collect();
    groups.join(" and ")
}

/// The part of a spec that takes part in a conflict.
#[derive(Clone, Copy)]
struct Part<'s> {
    spec: &'s Spec,
    conflict: &'s Conflict,
}

impl<'s> Part<'s> {
    /// Changes that leave every package and framework in the spec.
    fn milder(self) -> Vec<Change<'s>> {
        let lines = self.bounds().into_iter().chain(self.constraints()).chain(self.frameworks());
        lines.chain(self.python()).chain(self.platform()).collect()
    }

    fn holds(&self, origin: Option<&Origin>) -> bool {
        let asks = self.conflict.asks.iter().map(|ask| ask.origin.as_ref());
        let reasons = self.conflict.reasons.iter().map(|reason| reason.origin.as_ref());
        origin.is_some() && asks.chain(reasons).any(|known| known == origin)
    }

    /// Without the bound on a package.
    fn bounds(self) -> Vec<Change<'s>> {
        let bounded = self.spec.packages.iter().filter(|package| {
            specifiers(&package.value).is_some_and(|set| !set.is_empty()) && self.holds(package.origin.as_ref())
        });
        let change = |package: &'s Located<Requirement<VerbatimUrl>>| {
            let mut spec = self.spec.clone();
            for line in spec.packages.iter_mut().filter(|line| line.value == package.value) {
                line.value.version_or_url = None;
            }
            let name = normalize_name(package.value.name.as_ref());
            let chosen = name.clone();
            let bound = self.the_only_line_of(&name).map_or_else(
                || format!("without `{}`", package.value),
                |name| format!("without the bound on `{name}`"),
            );
            Change {
                spec,
                edit: Box::new(move |found| {
                    let version = version_of(found, &chosen);
                    let is_kept = version.is_some_and(|version| allows(&package.value, version));
                    (!is_kept).then(|| bound.clone())
                }),
                answer: Box::new(move |found| versions(found, [name.clone()])),
            }
        };
        bounded.map(change).take(LINES).collect()
    }

    /// The name, if no other line of the spec asks for that package.
    fn the_only_line_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        let lines = self.spec.packages.iter();
        let count = lines.filter(|line| normalize_name(line.value.name.as_ref()) == name).count();
        (count == 1).then_some(name)
    }

    /// Without a constraint.
    fn constraints(self) -> Vec<Change<'s>> {
        let part = self.spec.constraints.iter().enumerate();
        let part = part.filter(|(_, constraint)| self.holds(constraint.origin.as_ref()));
        let change = |(index, constraint): (usize, &'s Located<Requirement<VerbatimUrl>>)| {
            let mut spec = self.spec.clone();
            spec.constraints.remove(index);
            let name = normalize_name(constraint.value.name.as_ref());
            Change {
                spec,
                edit: Box::new(move |_| Some(format!("without the constraint `{}`", constraint.value))),
                answer: Box::new(move |found| versions(found, [name.clone()])),
            }
        };
        part.map(change).take(LINES).collect()
    }

    /// With another version of a framework.
    fn frameworks(self) -> Vec<Change<'s>> {
        let part =
            self.spec.frameworks.iter().enumerate().filter(|(_, framework)| {
                !framework.version.is_empty() && self.holds(framework.version_origin.as_ref())
            });
        let change = |(index, framework): (usize, &'s Framework)| {
            let mut spec = self.spec.clone();
            spec.frameworks[index].version = VersionSpecifiers::empty();
            let family = &framework.family.value;
            let edit = move |found: &Resolution| match chosen_version(&found.stack, family) {
                Some(version) if framework.version.contains(&version) => None,
                Some(version) => Some(format!("with `{family}: \"{version}\"`")),
                None => Some(format!("with another version of {family}")),
            };
            Change { spec, edit: Box::new(edit), answer: Box::new(|found| result(&found.stack)) }
        };
        part.map(change).take(LINES).collect()
    }

    /// With another Python: it has other wheels, and markers ask for other things.
    fn python(self) -> Option<Change<'s>> {
        let asked = self.spec.python.as_ref()?;
        let mut spec = self.spec.clone();
        spec.python = None;
        let named = self.taking_part(None);
        let edit = |found: &Resolution| {
            let python = found.stack.python;
            let line = Version::new([u64::from(python.major), u64::from(python.minor)]);
            (!asked.value.contains(&line)).then(|| format!("with `python: \"{python}\"`"))
        };
        Some(Change { spec, edit: Box::new(edit), answer: Box::new(move |found| versions(found, named.clone())) })
    }

    /// Without the one platform that has no answer.
    fn platform(self) -> Option<Change<'s>> {
        let platform = self.conflict.platform?;
        let mut spec = self.spec.clone();
        spec.platforms.retain(|known| known.value != platform);
        if spec.platforms.is_empty() || spec.platforms.len() == self.spec.platforms.len() {
            return None;
        }
        let named = self.taking_part(None);
        Some(Change {
            spec,
            edit: Box::new(move |_| Some(format!("without the platform `{platform}`"))),
            answer: Box::new(move |found| versions(found, named.clone())),
        })
    }

    /// Without a package, where something else is left of what takes part.
    fn packages(self) -> Vec<Change<'s>> {
        let of_framework = |framework: &Framework| {
            let mut origins = [&framework.family.origin, &framework.version_origin].into_iter();
            origins.any(|origin| self.holds(origin.as_ref()))
        };
        let mut names: Vec<String> = Vec::new();
        for package in self.spec.packages.iter().filter(|package| self.holds(package.origin.as_ref())) {
            let name = normalize_name(package.value.name.as_ref());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() < 2 && !self.spec.frameworks.iter().any(of_framework) {
            return Vec::new();
        }
        let change = |name: String| {
            let mut spec = self.spec.clone();
            // What is asked for beside the user's own lines is what it is all about.
            spec.packages.retain(|line| line.origin.is_none() || normalize_name(line.value.name.as_ref()) != name);
            let named = self.taking_part(Some(&name));
            Change {
                spec,
                edit: Box::new(move |_| Some(format!("without `{name}`"))),
                answer: Box::new(move |found| versions(found, named.clone())),
            }
        };
        names.into_iter().take(LINES).map(change).collect()
    }

    /// Names of the packages that take part, but for one; what is asked for beside the user's own lines always does.
    fn taking_part(&self, but: Option<&str>) -> Vec<String> {
        let holds = |package: &&Located<_>| package.origin.is_none() || self.holds(package.origin.as_ref());
        let part = self.spec.packages.iter().filter(holds);
        let names = part.map(|package| normalize_name(package.value.name.as_ref()));
        names.filter(|name| but != Some(name.as_str())).collect()
    }
}

/// Whether a version is one that a requirement allows.
fn allows(requirement: &Requirement<VerbatimUrl>, version: &Version) -> bool {
    specifiers(requirement).is_none_or(|set| specifier_values(set).contains(&Value::Release(version.clone())))
}

fn version_of<'f>(found: &'f Resolution, name: &str) -> Option<&'f Version> {
    let wheel = found.platforms.iter().find_map(|platform| platform.wheels.get(name))?;
    Some(&wheel.version)
}

/// The versions of some packages, the stack where none of them is there.
fn versions(found: &Resolution, names: impl IntoIterator<Item = String>) -> String {
    let versions = names.into_iter().filter_map(|name| Some(format!("{name} {}", version_of(found, &name)?)));
    let mut versions: Vec<String> = versions.take(NAMED).collect();
    versions.dedup();
    if versions.is_empty() { result(&found.stack) } else { versions.join(", ") }
}
