//! The steps of a conflict as lines for people: at most a screen, whatever the number of builds and versions.
//!
//! A framework's builds are told as ranges ([`super::served`]), versions of a package that require the same as one range,
//! bases together. Lines go from what the spec asks for down to what that needs, so that they read as a chain.

mod of_bases;

use std::collections::{BTreeMap, BTreeSet};

use crate::version::wheel_tag::normalize_name;

use super::conflict::Line;
use super::evidence::Evidence;
use super::reading::{Step, others};
use super::served::{Served, asked_values, listed};
use super::solver::Problem;
use super::stack::StackModel;
use super::variable::Variable;

/// At most this many facts stand in one line.
const FACTS: usize = 3;
/// Up to this many targets are named in the headline.
const NAMES: usize = 4;
/// At most this many lines are told; the JSON has all reasons.
const LINES: usize = 10;

/// A proof in lines.
#[derive(Default)]
pub(super) struct Told {
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// Whether there is a line for each target that takes part.
    pub(super) of_targets: bool,
    /// What to say first, where no single step does.
    pub(super) headline: Option<String>,
}

impl Told {
    fn add(&mut self, line: Line) {
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

/// The lines of a proof. `whole` is the model of the user's own spec, of which `problem` may be a part: where targets take
/// part at all, each of them is told what it leaves.
pub(super) fn lines(steps: &[Step], problem: &Problem<'_>, whole: &StackModel<'_>) -> Told {
    let mut told = Told::default();
    let mut of_targets = BTreeSet::new();
    let mut exclusive: BTreeMap<&Variable, BTreeSet<&str>> = BTreeMap::new();
    for step in in_order(steps) {
        match (&step.from, &step.to) {
            (Variable::Build(family), Variable::Card(_) | Variable::Driver(_) | Variable::Platform(_)) => {
                if !of_targets.insert(family.clone()) {
                    continue;
                }
                let served = Served::new(whole, family);
                let lines = served.as_ref().map(Served::target_lines).unwrap_or_default();
                if served.is_some_and(|served| served.runs_nowhere()) {
                    told.headline = Some(headline(whole, family));
                }
                told.of_targets |= !lines.is_empty();
                if lines.is_empty() {
                    told.add(generic(step));
                }
                for line in lines {
                    told.add(line);
                }
            }
            (Variable::Build(family), to) => {
                let is_free = *to == Variable::Python && subject(problem, to).is_none();
                if is_free || matches!(to, Variable::WheelCuda | Variable::WheelCudnn) {
                    exclusive.entry(to).or_default().insert(family);
                }
                // The user's own spec says which builds are in question; the problem, which of its wishes count.
                let line = Served::new(whole, family).and_then(|served| {
                    let asked = asked_values(whole, problem.fixed.get(to), to);
                    let wished = subject(problem, to).and_then(|subject| served.wish_line(&subject, to, &asked));
                    wished.or_else(|| served.need_line(to))
                });
                told.add(line.unwrap_or_else(|| generic(step)));
            }
            // `torch 2.8.0 is a build of pytorch` is no news to anybody who reads the next line.
            (Variable::Distribution(name), Variable::Build(family)) if problem.stack.installs(name, family) => {}
            (Variable::Distribution(_) | Variable::Extra(..), _) => told.add(of_versions(step)),
            _ => told.add(of_bases::line(step, problem.stack).unwrap_or_else(|| generic(step))),
        }
    }
    if exclusive.contains_key(&Variable::WheelCuda) {
        told.add(Line::plain("one environment holds the CUDA libraries of one major".to_owned()));
    }
    if exclusive.contains_key(&Variable::WheelCudnn) {
        told.add(Line::plain("one environment holds one cuDNN".to_owned()));
    }
    told.headline = told.headline.or_else(|| sharing_nothing(steps, &exclusive, whole));
    let more = told.lines.len().saturating_sub(LINES);
    if more > 0 {
        told.lines.truncate(LINES);
        told.lines.push(Line::plain(format!("{more} more steps; `--format json` has all of them")));
    }
    told
}

/// Steps by their distance from the spec, so that who asks stands above what is asked.
fn in_order(steps: &[Step]) -> Vec<&Step> {
    let needed: BTreeSet<&Variable> = steps.iter().filter(|step| step.from != step.to).map(|step| &step.to).collect();
    let mut depths: BTreeMap<&Variable, usize> = BTreeMap::new();
    for step in steps.iter().filter(|step| !needed.contains(&step.from)) {
        depths.insert(&step.from, 0);
    }
    for depth in 0..steps.len() {
        let reached = |variable: &Variable, depths: &BTreeMap<&Variable, usize>| depths.get(variable) == Some(&depth);
        let next: Vec<&Variable> =
            steps.iter().filter(|step| reached(&step.from, &depths)).map(|step| &step.to).collect();
        for variable in next {
            depths.entry(variable).or_insert(depth + 1);
        }
    }
    let mut ordered: Vec<&Step> = steps.iter().collect();
    ordered.sort_by_key(|step| depths.get(&step.from).copied().unwrap_or(usize::MAX));
    ordered
}

/// `` no build of pytorch `>=2.4` runs on `K80` and `B200` ``.
fn headline(model: &StackModel<'_>, family: &str) -> String {
    let asked = model.spec.frameworks.iter().find(|framework| framework.family.value == family);
    let build = asked.and_then(|framework| framework.build.as_ref());
    let build = build.map(|build| format!(", build `{}`,", build.value)).unwrap_or_default();
    let mut names: Vec<String> = model.targets.iter().map(|target| format!("`{}`", target.name)).collect();
    names.dedup();
    let targets = if names.len() > NAMES { format!("all {} targets", names.len()) } else { listed(&names) };
    format!("no build of {}{build} runs on {targets}", with_version(model, family))
}

/// `` no builds of pytorch `==2.5.1` and tensorflow `==2.17.1` share a cuDNN ``: two frameworks that exclude each other, and
/// nothing else has a part in it.
fn sharing_nothing(
    steps: &[Step],
    exclusive: &BTreeMap<&Variable, BTreeSet<&str>>,
    model: &StackModel<'_>,
) -> Option<String> {
    let is_shared = |step: &Step| match &step.from {
        Variable::Build(_) => exclusive.contains_key(&step.to),
        from => exclusive.contains_key(from),
    };
    let families: BTreeSet<&str> = exclusive.values().flatten().copied().collect();
    if families.len() < 2 || !steps.iter().all(is_shared) {
        return None;
    }
    // In the order of the spec, those that others bring in last.
    let mut named: Vec<&str> = model.spec.frameworks.iter().map(|asked| asked.family.value.as_str()).collect();
    named.retain(|family| families.contains(family));
    named.extend(families.iter().copied().filter(|family| !named.contains(family)).collect::<Vec<_>>());
    let named: Vec<String> = named.into_iter().map(|family| with_version(model, family)).collect();
    let things =
        [(Variable::WheelCuda, "a CUDA major"), (Variable::WheelCudnn, "a cuDNN"), (Variable::Python, "a Python")];
    let shared = things.iter().filter(|(thing, _)| exclusive.get(thing).is_some_and(|of| of.len() > 1));
    let shared = listed(&shared.map(|(_, name)| (*name).to_owned()).collect::<Vec<_>>());
    Some(format!("no builds of {} share {shared}", listed(&named)))
}

/// `` pytorch `>=2.4` `` or `` `torch>=2.4` ``, as the spec asks for it.
fn with_version(model: &StackModel<'_>, family: &str) -> String {
    let asked = model.spec.frameworks.iter().find(|framework| framework.family.value == family);
    if let Some(framework) = asked.filter(|framework| !framework.version.is_empty()) {
        return format!("{family} `{}`", framework.version);
    }
    let package = model.families.get(family).map(|table| normalize_name(table.package));
    let mut lines = model.listed().filter(|line| !line.is_constraint && Some(&line.name) == package.as_ref());
    match (lines.next(), lines.next()) {
        (Some(line), None) => format!("`{}`", line.requirement.value),
        _ => family.to_owned(),
    }
}

/// What the spec wishes of a variable, as the subject of `... goes with pytorch 2.5.0 and newer`.
fn subject(problem: &Problem<'_>, to: &Variable) -> Option<String> {
    let spec = problem.stack.spec;
    Some(match to {
        Variable::Python => match (problem.fixed.get(to).and_then(|values| values.first()?.number()), &spec.python) {
            (Some(line), _) => format!("Python {line}"),
            (None, Some(python)) => format!("Python `{}`", python.value),
            (None, None) => return None,
        },
        Variable::PinnedCuda => format!("CUDA {}", spec.cuda.as_ref()?.value),
        Variable::PinnedCudnn => format!("cuDNN {}", spec.cudnn.as_ref()?.value),
        Variable::Build(family) => {
            let framework = spec.frameworks.iter().find(|framework| framework.family.value == *family)?;
            if framework.version.is_empty() { family.clone() } else { format!("{family} `{}`", framework.version) }
        }
        _ => return None,
    })
}

/// The facts of a step as they are, those with the nearest misses first.
fn generic(step: &Step) -> Line {
    let mut facts: Vec<&str> = Vec::new();
    let mut sources: Vec<String> = Vec::new();
    for (_, Evidence { fact, source, .. }) in &step.evidence {
        if facts.contains(&fact.as_str()) {
            continue;
        }
        if facts.len() < FACTS && !sources.contains(source) {
            sources.push(source.clone());
        }
        facts.push(fact);
    }
    let more = facts.len().saturating_sub(FACTS);
    facts.truncate(FACTS);
    let likewise = if more > 0 { format!("; likewise {}", others(&step.from, more)) } else { String::new() };
    Line { fact: format!("{}{likewise}", facts.join("; ")), sources }
}

/// Versions that require the same told as one range: `` a 1.0 to 3.2 require `b<2` ``.
fn of_versions(step: &Step) -> Line {
    let name = step.from.to_string();
    let mut runs: Vec<(String, Vec<String>)> = Vec::new();
    for (value, evidence) in &step.evidence {
        let predicate = evidence.fact.strip_prefix(&format!("{name} {value} ")).unwrap_or(&evidence.fact);
        match runs.last_mut().filter(|(known, _)| known == predicate) {
            Some((_, versions)) => versions.push(value.to_string()),
            None => runs.push((predicate.to_owned(), vec![value.to_string()])),
        }
    }
    // Newest and oldest say most where each version requires something else: the oldest is the nearest miss.
    let between = match runs.len() {
        count if count <= FACTS => 0,
        count => runs.drain(1..count - 1).map(|(_, versions)| versions.len()).sum::<usize>(),
    };
    let facts: Vec<String> = runs
        .iter()
        .map(|(predicate, versions)| match (predicate.starts_with("require"), versions.as_slice()) {
            (false, _) => predicate.clone(),
            (true, [newest, .., oldest]) => {
                format!("{name} {oldest} to {newest} {}", predicate.replacen("requires", "require", 1))
            }
            (true, versions) => format!("{name} {} {predicate}", listed(versions)),
        })
        .collect();
    let likewise = match between {
        0 => String::new(),
        1 => "; likewise the version between".to_owned(),
        _ => format!("; likewise the {between} versions between"),
    };
    let mut sources: Vec<String> = step.evidence.iter().map(|(_, evidence)| evidence.source.clone()).collect();
    sources.dedup();
    // The metadata of each version by itself would be as long as the line.
    if sources.len() > 1 && sources.iter().all(|source| source.starts_with("metadata of ")) {
        sources = vec![format!("metadata of {name}")];
    }
    Line { fact: format!("{}{likewise}", facts.join("; ")), sources }
}

/// The first words of a citation, for when it is cited again.
pub fn short_citation(source: &str) -> &str {
    let end = ["; ", ", http", ", 20"].iter().filter_map(|mark| source.find(mark)).min().unwrap_or(source.len());
    let head = &source[..end];
    // `NVIDIA, CUDA toolkit release notes, tables of ...`: publisher and title are enough.
    match head.match_indices(", ").nth(1) {
        Some((second, _)) => &head[..second],
        None => head,
    }
}

#[cfg(test)]
mod tests {
    use super::super::variable::Value;
    use super::*;
    use crate::resolve::Code;

    fn step(from: Variable, to: &str, facts: &[(&str, &str)]) -> Step {
        let evidence = facts.iter().map(|(version, requirement)| {
            let evidence = Evidence {
                code: Code::PinConflict,
                fact: format!("{from} {version} requires `{requirement}`"),
                source: format!("metadata of {from} {version}"),
                origin: None,
            };
            (Value::Release(version.parse().expect("a version")), evidence)
        });
        let evidence = evidence.collect();
        Step { from, to: Variable::Distribution(to.to_owned()), evidence }
    }

    #[test]
    fn versions_that_require_the_same_are_one_range() {
        let requires = [("3.0", "b<2"), ("2.0", "b<2"), ("1.5", "b<2"), ("1.0", "b<1")];
        let line = of_versions(&step(Variable::Distribution("a".to_owned()), "b", &requires));
        assert_eq!(line.fact, "a 1.5 to 3.0 require `b<2`; a 1.0 requires `b<1`");
        assert_eq!(line.sources, ["metadata of a"]);
        let apart = [("4", "b<4"), ("3", "b<3"), ("2", "b<2"), ("1", "b<1")];
        let line = of_versions(&step(Variable::Distribution("a".to_owned()), "b", &apart));
        assert_eq!(line.fact, "a 4 requires `b<4`; a 1 requires `b<1`; likewise the 2 versions between");
        let line = of_versions(&step(Variable::Extra("a".to_owned(), "x".to_owned()), "b", &requires[..1]));
        assert_eq!(
            (line.fact.as_str(), line.sources),
            ("a[x] 3.0 requires `b<2`", vec!["metadata of a[x] 3.0".to_owned()])
        );
    }

    #[test]
    fn a_chain_starts_with_who_asks() {
        let named = |name: &str| Variable::Distribution(name.to_owned());
        let steps =
            [step(named("b"), "c", &[("1", "c<2")]), step(named("c"), "d", &[]), step(named("a"), "b", &[("1", "b")])];
        let order: Vec<String> = in_order(&steps).iter().map(|step| step.from.to_string()).collect();
        assert_eq!(order, ["a", "b", "c"]);
    }

    #[test]
    fn a_citation_is_shortened_to_publisher_and_title() {
        let long = "NVIDIA, CUDA toolkit release notes, tables of drivers, https://docs.example; and more";
        assert_eq!(short_citation(long), "NVIDIA, CUDA toolkit release notes");
        assert_eq!(short_citation("torch wheels on the index, 2026-11-23"), "torch wheels on the index");
        assert_eq!(short_citation("doc"), "doc");
    }
}
