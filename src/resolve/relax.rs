//! What would help: changes to the spec that were tried, so that a `help:` line never promises what does not hold.
//!
//! A change gives up wishes ([`Wish`]) and is told as what to write instead: the version, the Python, the driver of the
//! answer found without the wish. One change is tried first, several together only where no single one helps; targets that no
//! image serves together are split over several specs. Each try solves the stack again, which takes milliseconds.

use std::collections::{BTreeSet, VecDeque};

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};

use crate::catalog::Catalog;
use crate::spec::{Spec, Target};
use crate::version::wheel_tag::normalize_name;

use super::drivers;
use super::minimal::{self, Wish, answered, wishes, without};
use super::served::listed;
use super::{StackAnswer, unbuilt};

/// At most this many changes are offered.
pub(super) const OFFERS: usize = 4;

/// At most this many releases are tried to find the one nearest to what was asked.
const RELEASES: usize = 40;

/// The card of the example for specs that name no machine.
const COMMON_CARD: &str = "L4";

/// A change that leads to an answer.
pub(super) struct Offer {
    pub(super) text: String,
    pub(super) answer: StackAnswer,
}

/// The changes that lead to an answer, as sentences.
pub(super) fn suggestions(spec: &Spec, catalog: &Catalog) -> Vec<String> {
    let changes = changes(spec, catalog);
    let mut offers: Vec<Offer> = unbuilt::build_wheels(spec, catalog).into_iter().collect();
    offers.extend(changes.iter().filter_map(|change| offer(spec, catalog, change)));
    if offers.is_empty() {
        offers.extend(common_card(spec, catalog));
    }
    let asked = wishes(spec, catalog);
    let corrections = if offers.is_empty() { corrections(spec, catalog, &asked) } else { Vec::new() };
    if corrections.iter().any(|together| together.len() <= 2) {
        let pairs = changes.iter().enumerate().flat_map(|(position, one)| {
            let others = changes[position + 1..].iter().filter(|other| one.is_disjoint(other));
            others.map(|other| one.union(other).copied().collect::<BTreeSet<Wish>>())
        });
        let pairs = pairs.filter(|pair| leaves_an_image(pair, &asked));
        offers.extend(pairs.filter_map(|pair| offer(spec, catalog, &pair)).take(OFFERS));
    }
    if offers.is_empty() {
        offers.extend(corrections.iter().filter_map(|together| offer(spec, catalog, together)));
    }
    let mut texts: Vec<String> = split(spec, catalog).into_iter().collect();
    let mut answers: Vec<StackAnswer> = Vec::new();
    for Offer { text, answer } in offers {
        // The same answer by giving up more is no offer.
        let same = |known: &StackAnswer| {
            let stack = |answer: &StackAnswer| (answer.python, answer.base.clone(), answer.targets.len());
            known.frameworks == answer.frameworks && stack(known) == stack(&answer)
        };
        if !answers.iter().any(same) {
            answers.push(answer);
            texts.push(text);
        }
    }
    if texts.is_empty() {
        texts.extend(then_on_common_card(spec, catalog));
    }
    texts.truncate(OFFERS);
    texts
}

/// Changes to make together: one that keeps the machines and their Python before the versions, one that keeps the versions, one
/// that keeps what is pinned of the system. Machines and frameworks as such are given up where nothing else helps: first
/// frameworks, then all machines but one.
fn corrections(spec: &Spec, catalog: &Catalog, asked: &BTreeSet<Wish>) -> Vec<BTreeSet<Wish>> {
    let of_versions = |wish: &Wish| matches!(wish, Wish::Version(_) | Wish::Bound(_) | Wish::Build(_));
    let of_machines = |wish: &Wish| matches!(wish, Wish::Driver(_) | Wish::Python);
    let of_system = |wish: &Wish| matches!(wish, Wish::Cuda | Wish::Cudnn | Wish::OperatingSystem | Wish::Base);
    let kinds: [&dyn Fn(&Wish) -> bool; 3] = [&of_machines, &of_versions, &of_system];
    let as_such = || asked.iter().copied().filter(|wish| !kinds.iter().any(|is_kind| is_kind(wish)));
    let keeping = |first: Vec<Wish>| {
        let mut found: Vec<BTreeSet<Wish>> = Vec::new();
        for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1]] {
            let others = order.iter().flat_map(|kind| asked.iter().filter(|wish| kinds[*kind](wish)));
            let order: Vec<Wish> = first.iter().chain(others).copied().collect();
            let together = minimal::correction(spec, catalog, &order);
            found.extend(together.filter(|together| !found.contains(together) && leaves_an_image(together, asked)));
        }
        found.sort_by_key(BTreeSet::len);
        found
    };
    let mut found = keeping(as_such().collect());
    let mut targets = (0..spec.targets.len()).map(Wish::Target).filter(|_| spec.targets.len() > 1);
    while let (true, Some(kept)) = (found.is_empty(), targets.next()) {
        let machines = as_such().filter(|wish| *wish != kept && matches!(wish, Wish::Target(_)));
        let others = as_such().filter(|wish| !matches!(wish, Wish::Target(_)));
        found = keeping([kept].into_iter().chain(others).chain(machines).collect());
    }
    found
}

/// Whether a change leaves something that the spec asks for, and a machine for it: an image of nothing is no help.
fn leaves_an_image(given_up: &BTreeSet<Wish>, asked: &BTreeSet<Wish>) -> bool {
    let leaves = |is_kind: fn(&Wish) -> bool| {
        let mut of_kind = asked.iter().filter(|wish| is_kind(wish)).peekable();
        of_kind.peek().is_none() || of_kind.any(|wish| !given_up.contains(wish))
    };
    leaves(|wish| matches!(wish, Wish::Framework(_) | Wish::Package(_)))
        && leaves(|wish| matches!(wish, Wish::Target(_)))
}

/// The changes that lead to an answer and keep what was forced into the spec.
pub(super) fn freeing(spec: &Spec, catalog: &Catalog, forced: Wish) -> Vec<String> {
    let changes = changes(spec, catalog).into_iter().filter(|change| !change.contains(&forced));
    changes.filter_map(|change| offer(spec, catalog, &change)).map(|offer| offer.text).take(OFFERS).collect()
}

/// What may be given up, the least first. Giving up a version gives up the build of that version as well.
fn changes(spec: &Spec, catalog: &Catalog) -> Vec<BTreeSet<Wish>> {
    let asked = wishes(spec, catalog);
    let of =
        |wishes: &[Wish]| -> BTreeSet<Wish> { wishes.iter().copied().filter(|wish| asked.contains(wish)).collect() };
    let mut changes = Vec::new();
    for index in 0..spec.frameworks.len() {
        changes.push(of(&[Wish::Build(index)]));
        if asked.contains(&Wish::Version(index)) {
            changes.push(of(&[Wish::Version(index), Wish::Build(index)]));
        }
    }
    changes.extend((0..spec.packages.len()).map(|index| of(&[Wish::Bound(index)])));
    let single = [Wish::Python, Wish::Cuda, Wish::Cudnn, Wish::OperatingSystem, Wish::Base];
    changes.extend(single.iter().map(|wish| of(&[*wish])));
    if asked.contains(&Wish::OperatingSystem) {
        changes.push(of(&[Wish::OperatingSystem, Wish::Base]));
    }
    changes.extend((0..spec.targets.len()).map(|index| of(&[Wish::Driver(index)])));
    changes.extend((0..spec.platforms.len()).map(|index| of(&[Wish::Platform(index)])));
    if spec.targets.len() > 1 {
        changes.extend((0..spec.targets.len()).map(|index| of(&[Wish::Target(index), Wish::Driver(index)])));
    }
    let mut seen = BTreeSet::new();
    changes.retain(|change| !change.is_empty() && seen.insert(change.clone()));
    changes
}

fn offer(spec: &Spec, catalog: &Catalog, given_up: &BTreeSet<Wish>) -> Option<Offer> {
    let alone = given_up.iter().next().filter(|_| given_up.len() == 1);
    if let Some(Wish::Driver(index)) = alone {
        return drivers::other_driver(spec, catalog, *index);
    }
    let mut changed = without(spec, given_up);
    let mut answer = answered(&changed, catalog)?;
    let mut newest = None;
    let version = given_up.iter().find_map(|wish| match wish {
        Wish::Version(index) => Some(*index),
        _ => None,
    });
    if let Some(index) =
        version.filter(|_| given_up.iter().all(|wish| matches!(wish, Wish::Version(_) | Wish::Build(_))))
        && let Some((nearest, other)) = nearest_version(spec, &mut changed, catalog, index)
    {
        newest = chosen_version(&answer, &spec.frameworks.get(index)?.family.value).filter(|newest| *newest != other);
        newest = newest.filter(|newest| {
            let mut changed = changed.clone();
            let version = changed.frameworks.get_mut(index).map(|framework| &mut framework.version);
            let (Some(version), Some(exactly)) = (version, exactly(newest.clone())) else { return false };
            *version = exactly;
            answered(&changed, catalog).is_some()
        });
        answer = nearest;
    }
    // One version may leave less than the range it was found in: without a build that needs a toolkit in its range, images
    // that have one are no bases.
    for wish in given_up {
        if let Wish::Version(index) = *wish {
            let family = &spec.frameworks.get(index)?.family.value;
            let framework = changed.frameworks.iter_mut().find(|framework| framework.family.value == *family)?;
            framework.version = exactly(chosen_version(&answer, family)?)?;
        }
    }
    if version.is_some() {
        answer = answered(&changed, catalog)?;
    }
    let mut drivers = VecDeque::new();
    for wish in given_up {
        if let Wish::Driver(index) = *wish
            && !given_up.contains(&Wish::Target(index))
        {
            // Targets given up before it are no longer counted.
            let removed = given_up.iter().filter(|wish| matches!(wish, Wish::Target(other) if *other < index));
            let (text, with_it) = drivers::needed_driver(&changed, catalog, index - removed.count(), &answer)?;
            drivers.push_back(text);
            changed = with_it;
            answer = answered(&changed, catalog)?;
        }
    }
    // A version that was allowed all along: giving up the build alone leads there.
    let build_alone = version.and_then(|index| spec.frameworks.get(index)).is_some_and(|asked| {
        asked.build.is_some()
            && chosen_version(&answer, &asked.family.value).is_some_and(|version| asked.version.contains(&version))
    });
    if build_alone {
        return None;
    }
    let (mut with, mut leaving, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for wish in given_up {
        match *wish {
            Wish::Version(index) => {
                let family = &spec.frameworks.get(index)?.family.value;
                let edit = format!("`{family}: \"{}\"`", chosen_version(&answer, family)?);
                with.push(match &newest {
                    Some(newest) if version == Some(index) => format!("{edit} (or as new as {newest})"),
                    _ => edit,
                });
            }
            Wish::Python => with.push(format!("`python: \"{}\"`", answer.python)),
            Wish::Driver(index) if !given_up.contains(&Wish::Target(index)) => with.extend(drivers.pop_front()),
            Wish::Driver(_) => {}
            Wish::Base => with.push("`base: auto`".to_owned()),
            Wish::Build(index) if !given_up.contains(&Wish::Version(index)) => {
                leaving.push(format!("`build: {}`", spec.frameworks.get(index)?.build.as_ref()?.value));
            }
            Wish::Build(_) => {}
            Wish::Cuda => leaving.push(format!("`cuda: \"{}\"`", spec.cuda.as_ref()?.value)),
            Wish::Cudnn => leaving.push(format!("`cudnn: \"{}\"`", spec.cudnn.as_ref()?.value)),
            Wish::OperatingSystem => leaving.push("`os:`".to_owned()),
            Wish::Platform(index) => leaving.push(format!("the platform `{}`", spec.platforms.get(index)?.value)),
            Wish::Target(index) => targets.push(format!("`{}`", target_name(&spec.targets.get(index)?.value))),
            Wish::Framework(index) => leaving.push(format!("`{}`", spec.frameworks.get(index)?.family.value)),
            Wish::Package(index) => leaving.push(format!("`{}`", spec.packages.get(index)?.value.name)),
            Wish::Bound(index) => {
                let name = normalize_name(spec.packages.get(index)?.value.name.as_ref());
                let chosen = answer.frameworks.iter().find(|framework| normalize_name(&framework.package) == name);
                match chosen {
                    Some(chosen) => with.push(format!("`{name}=={}`", chosen.version)),
                    None => leaving.push(format!("the bound on `{name}`")),
                }
            }
        }
    }
    if !targets.is_empty() {
        leaving.push(format!("the target{} {}", if targets.len() == 1 { "" } else { "s" }, listed(&targets)));
    }
    let parts = [("with", with), ("without", leaving)];
    let parts = parts.iter().filter(|(_, edits)| !edits.is_empty());
    let parts: Vec<String> = parts.map(|(word, edits)| format!("{word} {}", listed(edits))).collect();
    let on_base = given_up.iter().any(|wish| matches!(wish, Wish::Base | Wish::OperatingSystem));
    let base = if on_base { format!(", on {}", answer.base.label()) } else { String::new() };
    let text = format!("{} there is an answer: {}{base}", parts.join(" and "), result(&answer));
    Some(Offer { text, answer })
}

/// The release nearest to what a framework's line asks that has an answer: the first newer one, as whoever pins a version
/// wants to move little. `None` where only older ones do, of which the newest is found without trying.
fn nearest_version(spec: &Spec, changed: &mut Spec, catalog: &Catalog, index: usize) -> Option<(StackAnswer, Version)> {
    let asked = spec.frameworks.get(index)?;
    let known = &catalog.framework(&asked.family.value)?.releases;
    let highest =
        known.iter().map(|release| &release.version).filter(|version| asked.version.contains(version)).max()?;
    let mut newer: Vec<&Version> = known
        .iter()
        .filter(|release| !release.yanked && !release.version.any_prerelease())
        .map(|release| &release.version)
        .filter(|version| *version > highest)
        .collect();
    newer.sort_unstable();
    newer.into_iter().take(RELEASES).find_map(|version| {
        changed.frameworks.get_mut(index)?.version = exactly(version.clone())?;
        Some((answered(changed, catalog)?, version.clone()))
    })
}

fn exactly(version: Version) -> Option<VersionSpecifiers> {
    VersionSpecifier::from_version(Operator::Equal, version).ok().map(VersionSpecifiers::from)
}

/// For a spec that names no machine, and something in it that needs a card: the spec with one, and what to do for that.
fn with_common_card(spec: &Spec) -> Option<(Spec, String)> {
    let mut changed = spec.clone();
    let [only] = changed.targets.as_mut_slice() else { return None };
    if only.value != Target::Cpu {
        return None;
    }
    only.value = Target::Card { gpu: COMMON_CARD.to_owned(), driver: None, platform: None };
    Some((changed, format!("name the machine with the GPU, as in `targets: [{{gpu: {COMMON_CARD}}}]`")))
}

fn common_card(spec: &Spec, catalog: &Catalog) -> Option<Offer> {
    let (changed, name_it) = with_common_card(spec)?;
    let answer = answered(&changed, catalog)?;
    Some(Offer { text: format!("{name_it}: {}", result(&answer)), answer })
}

/// Where there is more to change than the machine.
fn then_on_common_card(spec: &Spec, catalog: &Catalog) -> Vec<String> {
    let Some((changed, name_it)) = with_common_card(spec) else { return Vec::new() };
    suggestions(&changed, catalog).into_iter().map(|change| format!("{name_it}; then {change}")).collect()
}

/// The fewest specs that serve all targets, found by adding each target to the first group that still has an answer.
/// `None` where one spec is enough, or where a target has no answer even alone.
fn split(spec: &Spec, catalog: &Catalog) -> Option<String> {
    if spec.targets.len() < 2 {
        return None;
    }
    let all: BTreeSet<usize> = (0..spec.targets.len()).collect();
    let solve = |group: &BTreeSet<usize>| {
        let others = all.difference(group).map(|index| Wish::Target(*index));
        answered(&without(spec, &others.collect()), catalog)
    };
    let mut groups: Vec<(BTreeSet<usize>, StackAnswer)> = Vec::new();
    for index in &all {
        let joined = groups.iter_mut().find_map(|(group, answer)| {
            let mut joined = group.clone();
            joined.insert(*index);
            let found = solve(&joined)?;
            *group = joined;
            *answer = found;
            Some(())
        });
        if joined.is_none() {
            let alone = BTreeSet::from([*index]);
            let answer = solve(&alone)?;
            groups.push((alone, answer));
        }
    }
    if groups.len() < 2 {
        return None;
    }
    let parts: Vec<String> = groups
        .iter()
        .map(|(group, answer)| {
            let targets = group.iter().filter_map(|index| spec.targets.get(*index));
            let mut names: Vec<String> = targets.map(|target| format!("`{}`", target_name(&target.value))).collect();
            names.dedup();
            let more = names.len().saturating_sub(3);
            if more > 0 {
                names.truncate(3);
                names.push(format!("{more} more"));
            }
            format!("{} with {}", listed(&names), result(answer))
        })
        .collect();
    Some(format!("split it into {} specs: {}", groups.len(), parts.join("; ")))
}

/// As the spec writes it.
pub(super) fn target_name(target: &Target) -> String {
    match target {
        Target::Cpu => "cpu".to_owned(),
        Target::Card { gpu, .. } => gpu.clone(),
        Target::Instance { cloud, instance } => format!("{cloud}/{instance}"),
    }
}

pub(super) fn chosen_version(answer: &StackAnswer, family: &str) -> Option<Version> {
    answer.frameworks.iter().find(|framework| framework.family == family).map(|framework| framework.version.clone())
}

/// `pytorch 2.8.0 (cu128), Python 3.13`.
pub(super) fn result(answer: &StackAnswer) -> String {
    let frameworks = answer.frameworks.iter();
    let frameworks = frameworks.map(|chosen| format!("{} {} ({}), ", chosen.family, chosen.version, chosen.build));
    format!("{}Python {}", frameworks.collect::<String>(), answer.python)
}
