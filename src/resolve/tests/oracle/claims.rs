//! Explanations held to the truth: each reason must be so in the world it speaks of, and each change offered must lead to an
//! answer, by the rules of the oracle and not by the solver's own.

use crate::resolve::{Code, Conflict, Reason};

use super::request::{Operator, Request, Target, exactly};
use super::rules::{self, Oracle, Row, begins_with, is_at_least, major};
use super::world::{CARDS, FAMILIES, PLATFORMS, PYTHONS, RELEASES, World};

pub(super) fn check(world: &World, request: &Request, conflict: &Conflict) -> Result<(), String> {
    if conflict.reasons.is_empty() {
        return Err("a conflict without reasons".to_owned());
    }
    for reason in &conflict.reasons {
        if reason.fact.is_empty() || reason.source.is_empty() {
            return Err(format!("a reason without fact or source: {reason:?}"));
        }
        if !is_true(world, request, reason) {
            return Err(format!("not so: {} ({})", reason.fact, reason.code.name()));
        }
    }
    for help in &conflict.help {
        if leads_to_an_answer(world, request, help) == Some(false) {
            return Err(format!("does not help: {help}"));
        }
    }
    Ok(())
}

/// The row a sentence is about: `alpha 1.0.0 (cu124) has …`.
fn row_of<'a>(world: &'a World, fact: &str) -> Option<(&'static str, Row<'a>)> {
    let mut words = fact.split(' ');
    let (family, version, build) = (words.next()?, words.next()?, words.next()?);
    let family = FAMILIES.into_iter().find(|known| *known == family)?;
    let build = build.trim_matches(['(', ')', ',', ';']);
    let known = world.families.iter().find(|known| known.name == family)?;
    let release = known.releases.iter().find(|release| RELEASES[release.version] == version)?;
    let build = release.builds.iter().find(|known| known.name == build)?;
    Some((family, Row { release, build }))
}

/// Whether a reason about a row of a framework is so. Sentences about other things are taken as they are.
fn is_true(world: &World, request: &Request, reason: &Reason) -> bool {
    let Some((family, row)) = row_of(world, &reason.fact) else { return true };
    let oracle = Oracle::new(world, request);
    let wheels = || row.build.wheels.iter().filter(|wheels| oracle.platforms.contains(&wheels.platform));
    let cards = request.targets.iter().filter_map(|target| match target {
        Target::Card { name, driver, .. } => Some((target, world.card(name), driver.as_deref())),
        Target::Cpu => None,
    });
    let mut cards = cards.filter(|(_, card, _)| card.capability.is_some());
    let driver = |target: &Target, capability: &str| {
        // A build without code for the card is refused for its major's driver too, where that is missing as well.
        let needed = oracle.driver_for(row.build, request.platform_of(target), capability);
        let floor = || row.build.toolkit.and_then(|toolkit| oracle.floor(rules::major(toolkit)));
        needed.map_or_else(floor, |needed| needed.first().copied())
    };
    match reason.code {
        Code::NoBuildForPlatform => oracle.platforms.iter().any(|platform| {
            row.build.wheels.iter().all(|wheels| wheels.platform != *platform) && reason.fact.contains(platform)
        }),
        Code::NoWheelForPython => {
            let lines = PYTHONS.iter().filter(|line| wheels().all(|wheels| wheels.pythons.contains(line)));
            let lines: Vec<&&str> = lines.collect();
            let ends = [lines.first(), lines.last()];
            ends.into_iter().flatten().all(|line| reason.fact.contains(**line))
        }
        Code::RequiresPython => row.release.oldest_python.is_some_and(|oldest| reason.fact.contains(oldest)),
        Code::GlibcTooOld => wheels().any(|wheels| {
            reason.fact.contains(wheels.glibc) && world.bases.iter().any(|base| !is_at_least(base.glibc, wheels.glibc))
        }),
        Code::CcNotSupported if reason.fact.contains("brings cuDNN") => cards.any(|(_, card, _)| {
            let ends = world.cudnn_floors.iter();
            let mut ends = ends.filter(|(_, oldest)| !is_at_least(card.capability.unwrap_or_default(), oldest));
            reason.fact.contains(card.name)
                && row.build.cudnn.is_some_and(|need| ends.any(|(since, _)| is_at_least(need.version, since)))
        }),
        Code::CcNotSupported => {
            let nvidia = cards.any(|(_, card, _)| {
                let capability = card.capability.unwrap_or_default();
                reason.fact.contains(card.name) && rules::code_for(row.build, capability) == rules::Code::None
            });
            nvidia || row.build.name.starts_with("rocm")
        }
        Code::CcRemovedFromToolkit => cards.any(|(_, card, _)| {
            let capability = card.capability.unwrap_or_default();
            let toolkit = row.build.toolkit.unwrap_or_default();
            let known = world.toolkits.iter().find(|known| begins_with(known.version, toolkit));
            reason.fact.contains(card.name)
                && known.is_some_and(|known| known.capabilities.iter().all(|built| !is_at_least(capability, built)))
        }),
        Code::DriverBelowFloor | Code::Unsatisfiable if row.build.rocm.is_some() => {
            request.targets.iter().any(|target| {
                let Target::Card { name, driver: Some(driver), .. } = target else { return false };
                let platform = request.platform_of(target);
                reason.fact.contains(driver) && !oracle.serves_amd(row.build, platform, world.card(name), Some(driver))
            })
        }
        Code::DriverBelowFloor | Code::DriverBranchEnds => cards.any(|(target, card, installed)| {
            let needed = driver(target, card.capability.unwrap_or_default());
            needed.is_some_and(|needed| {
                let too_old = installed.is_some_and(|installed| !is_at_least(installed, needed))
                    || card.last_branch.is_some_and(|branch| major(needed) > branch);
                reason.fact.contains(needed) && too_old
            })
        }),
        Code::NoAcceleratorBuild => {
            let has_card = request.targets.iter().any(|target| matches!(target, Target::Card { .. }));
            let without = request.targets.iter().any(|target| matches!(target, Target::Cpu));
            has_card || without && reason.fact.contains(family)
        }
        Code::CudaMismatch => {
            let own = row.build.toolkit.map(major);
            own.is_some_and(|own| reason.fact.contains(&own.to_string()))
        }
        Code::CudnnMismatch => row.build.cudnn.is_some_and(|need| {
            reason.fact.contains(need.version)
                || row.build.needs_system_cuda && reason.fact.contains(&major(need.version).to_string())
        }),
        Code::NoSuchImage => row.build.needs_system_cuda,
        Code::PinConflict | Code::NoSuchVersion | Code::Unsatisfiable => true,
    }
}

/// Whether the change that a line offers leads to what it says; `None` for a line that is not read here.
fn leads_to_an_answer(world: &World, request: &Request, help: &str) -> Option<bool> {
    let leads_to = |changed: &Request, result: &str| is_said(&Oracle::new(world, changed), result);
    if let Some((offer, result)) = help.split_once(" there is an answer: ") {
        let mut changed = request.clone();
        for edit in offer.split('`').skip(1).step_by(2) {
            give_up(&mut changed, edit, offer)?;
        }
        return Some(leads_to(&changed, result));
    }
    if let Some((name, rest)) = help.strip_prefix("update the driver of `").and_then(|rest| rest.split_once("` to ")) {
        let Some((driver, results)) = rest.split_once(" or newer: ") else {
            let (driver, result) = rest.split_once(": ")?;
            return Some(leads_to(&with_driver(request, name, driver), result));
        };
        let (result, newest) = results.split_once("; from ").unwrap_or((results, ""));
        let with = |driver: &str, result: &str| leads_to(&with_driver(request, name, driver), result);
        let is_newest_so = newest.split_once(" on ").is_none_or(|(driver, result)| with(driver, result));
        return Some(with(driver, result) && is_newest_so);
    }
    if let Some((name, rest)) = help.strip_prefix("change the driver of `").and_then(|rest| rest.split_once("` to ")) {
        let (driver, result) = rest.split_once(": ")?;
        return Some(leads_to(&with_driver(request, name, driver), result));
    }
    if let Some((name, rest)) = help.strip_prefix("install an older driver on `").and_then(|rest| rest.split_once('`'))
    {
        let (driver, result) = rest.split_once("such as ")?.1.split_once(": ")?;
        return Some(leads_to(&with_driver(request, name, driver), result));
    }
    let (_, parts) = help.strip_prefix("split it into ")?.split_once(": ")?;
    Some(parts.split("; ").all(|part| {
        let (names, result) = part.split_once(" with ").unwrap_or((part, ""));
        let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        let mut changed = request.clone();
        changed.targets.retain(|target| names.contains(&name_of(target)));
        leads_to(&changed, result)
    }))
}

fn name_of(target: &Target) -> &'static str {
    match target {
        Target::Cpu => "cpu",
        Target::Card { name, .. } => name,
    }
}

fn with_driver(request: &Request, name: &str, newer: &str) -> Request {
    let mut changed = request.clone();
    for target in changed.targets.iter_mut().filter(|target| name_of(target) == name) {
        if let Target::Card { driver, .. } = target {
            *driver = Some(newer.to_owned());
        }
    }
    changed
}

/// Makes the change that an offer has between two backquotes; `None` if the sentence leaves open which framework it means.
fn give_up(request: &mut Request, edit: &str, offer: &str) -> Option<()> {
    let (key, value) = edit.split_once(':').map_or((edit, ""), |(key, value)| (key, value.trim().trim_matches('"')));
    let is_target = CARDS.contains(&key) || key == "cpu";
    match key {
        "build" => {
            let mut named = request.frameworks.iter_mut().filter(|framework| framework.build == Some(value));
            let only = named.next().filter(|_| named.next().is_none())?;
            only.build = None;
        }
        "python" => request.python = Some((Operator::Equal, PYTHONS.into_iter().find(|known| *known == value)?)),
        "cuda" => request.cuda = None,
        "cudnn" => request.cudnn = None,
        "os" => request.os = None,
        "base" => request.base = "auto",
        _ if PLATFORMS.contains(&key) => request.platforms.retain(|known| *known != key),
        _ if is_target => match offer.split_once("driver ").and_then(|(_, rest)| rest.split_once(" on `")) {
            Some((driver, rest)) if rest.starts_with(key) => {
                *request = with_driver(request, key, driver.trim_end_matches(" or newer"));
            }
            _ => request.targets.retain(|target| name_of(target) != key),
        },
        _ if !edit.contains(':') => request.frameworks.retain(|framework| framework.family != key),
        _ => {
            let named = request.frameworks.iter_mut().find(|framework| framework.family == key)?;
            (named.range, named.build) = (None, None);
            if let Some(version) = RELEASES.iter().position(|known| *known == value) {
                named.range = Some(exactly(version));
            }
        }
    }
    Some(())
}

/// Whether there is an answer with the frameworks and the Python that `result` names: `alpha 1.0.0 (cu124), Python 3.12`.
fn is_said(oracle: &Oracle<'_>, result: &str) -> bool {
    let parts: Vec<&str> = result.split(", ").collect();
    oracle.answers().iter().any(|answer| {
        parts.iter().all(|part| {
            if let Some(python) = part.strip_prefix("Python ") {
                return answer.python == python;
            }
            if let Some(base) = part.strip_prefix("on ") {
                return base.contains(&answer.base.name);
            }
            match row_of(oracle.world, part) {
                None => true,
                Some((family, row)) => answer.rows.iter().any(|(known, chosen)| {
                    *known == family
                        && chosen.release.version == row.release.version
                        && chosen.build.name == row.build.name
                }),
            }
        })
    })
}
