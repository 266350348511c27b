//! Explanations held to the truth: each reason must be so in the world it speaks of, and each change offered must lead to an
//! answer, by the rules of the oracle and not by the solver's own.

use crate::resolve::{Code, Conflict, Reason};

use super::request::{Operator, Request, Target};
use super::rules::{self, Oracle, Row, begins_with, is_at_least, major};
use super::world::{CARDS, FAMILIES, PYTHONS, RELEASES, World};

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
        oracle.driver_for(row.build, request.platform_of(target), capability).and_then(|needed| needed.first().copied())
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
        Code::DriverBelowFloor | Code::DriverBranchEnds => cards.any(|(target, card, installed)| {
            let needed = driver(target, card.capability.unwrap_or_default());
            needed.is_some_and(|needed| {
                let too_old = match (installed, card.last_branch) {
                    (Some(installed), _) => !is_at_least(installed, needed),
                    (None, Some(branch)) => major(needed) > branch,
                    (None, None) => false,
                };
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
        Code::CudnnMismatch => row.build.cudnn.is_some_and(|cudnn| {
            reason.fact.contains(cudnn)
                || row.build.needs_system_cuda && reason.fact.contains(&major(cudnn).to_string())
        }),
        Code::NoSuchImage => row.build.needs_system_cuda,
        Code::PinConflict | Code::NoSuchVersion | Code::Unsatisfiable => true,
    }
}

/// Whether the change that a line offers leads to what it says; `None` for a line that offers none.
fn leads_to_an_answer(world: &World, request: &Request, help: &str) -> Option<bool> {
    let (offer, result) = help.split_once(": ").unwrap_or((help, ""));
    let mut changed = request.clone();
    let between = |start: &str, end: &str| help.split_once(start)?.1.split_once(end).map(|(word, _)| word.to_owned());
    if let Some(build) = between("without `build: ", "`") {
        // Which family is said by the result.
        let family = result.split(' ').next().unwrap_or_default();
        let entry = changed.frameworks.iter_mut().find(|framework| framework.family == family)?;
        if entry.build != Some(build.as_str()) {
            return Some(false);
        }
        entry.build = None;
    } else if let Some(family) = between("another version of ", " would do") {
        let entry = changed.frameworks.iter_mut().find(|framework| framework.family == family)?;
        (entry.range, entry.build) = (None, None);
    } else if let Some(line) = between("another Python would do: `python: \"", "\"") {
        let line = PYTHONS.into_iter().find(|known| *known == line)?;
        changed.python = Some((Operator::Equal, line));
    } else if offer.starts_with("without `cuda") {
        changed.cuda = None;
    } else if offer.starts_with("without `cudnn") {
        changed.cudnn = None;
    } else if offer.starts_with("with `base: auto` and no `os:`") {
        (changed.base, changed.os) = ("auto", None);
    } else if let Some(driver) = between("a driver from ", " on would do") {
        let name = help.rsplit(' ').next().and_then(|name| CARDS.into_iter().find(|card| *card == name))?;
        // Of two machines with the same card either may be meant.
        return Some((0..changed.targets.len()).any(|index| {
            let mut changed = request.clone();
            match &mut changed.targets[index] {
                Target::Card { name: card, driver: installed @ Some(_), .. } if *card == name => {
                    *installed = Some(driver.clone());
                }
                _ => return false,
            }
            !Oracle::new(world, &changed).answers().is_empty()
        }));
    } else if let Some(name) = between("without the target `", "`") {
        return Some((0..request.targets.len()).any(|index| {
            let mut changed = request.clone();
            let removed = changed.targets.remove(index);
            let same = match removed {
                Target::Cpu => name == "cpu",
                Target::Card { name: card, .. } => name == card,
            };
            same && is_said(&Oracle::new(world, &changed), result)
        }));
    } else {
        return None;
    }
    Some(is_said(&Oracle::new(world, &changed), result))
}

/// Whether there is an answer with the frameworks and the Python that `result` names: `alpha 1.0.0 (cu124), Python 3.12`.
fn is_said(oracle: &Oracle<'_>, result: &str) -> bool {
    let parts: Vec<&str> = result.split(", ").collect();
    oracle.answers().iter().any(|answer| {
        parts.iter().all(|part| {
            if let Some(python) = part.strip_prefix("Python ") {
                return answer.python == python;
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
