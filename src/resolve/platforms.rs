//! The packages of one Python line, platform after platform.
//!
//! Each platform is a search of its own, since wheels and markers depend on the processor; each prefers what the ones
//! before took, so that an image for two platforms holds one version of a package wherever wheels allow.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pep440_rs::Version;

use crate::oci::Platform;

use super::answer::{answer, unknown_release};
use super::numbers::python_value;
use super::packages::PackageModel;
use super::solver::{Failed, Problem, Solution, is_over_builds};
use super::stack::StackModel;
use super::variable::{Value, Variable};
use super::{
    Candidate, Conflict, Error, PackageSource, PlatformPackages, Preferences, Resolution, StackAnswer,
    preferred_values, source_error,
};

/// One Python line: every platform in turn, each with the versions of the one before where it can take them. Where it
/// cannot, all platforms are solved again with its versions: they share one version wherever wheels allow.
pub(super) fn solve_packages(
    model: &StackModel<'_>,
    source: &dyn PackageSource,
    preferences: &Preferences,
    stack: &StackAnswer,
    full_python: &dyn Fn(Platform) -> Result<Version, Error>,
) -> Result<Result<Resolution, Conflict>, Error> {
    let mut best = match solve_platforms(model, source, preferences, &BTreeMap::new(), stack, full_python)? {
        Ok(resolution) => resolution,
        Err(conflict) => return Ok(Err(conflict)),
    };
    for _ in 1..stack.platforms.len() {
        let differing = differing_versions(&best.platforms);
        if differing.is_empty() {
            break;
        }
        match solve_platforms(model, source, preferences, &differing, stack, full_python)? {
            Ok(next) if differing_versions(&next.platforms).len() < differing.len() => best = next,
            _ => break,
        }
    }
    Ok(Ok(best))
}

/// Packages of which platforms have different versions, with that of the last platform: the one that could not follow.
fn differing_versions(platforms: &[PlatformPackages]) -> BTreeMap<String, Version> {
    let mut differing = BTreeMap::new();
    let mut first: BTreeMap<&str, Version> = BTreeMap::new();
    for (name, wheel) in platforms.iter().flat_map(|platform| &platform.wheels) {
        // The label names a build, and platforms may have different ones.
        let version = wheel.version.clone().without_local();
        if *first.entry(name).or_insert_with(|| version.clone()) != version {
            differing.insert(name.clone(), version);
        }
    }
    differing
}

/// Every platform in turn; `differing` are versions to prefer to those of the lock.
fn solve_platforms(
    model: &StackModel<'_>,
    source: &dyn PackageSource,
    preferences: &Preferences,
    differing: &BTreeMap<String, Version>,
    stack: &StackAnswer,
    full_python: &dyn Fn(Platform) -> Result<Version, Error>,
) -> Result<Result<Resolution, Conflict>, Error> {
    let mut locked = preferences.packages.clone();
    locked.extend(differing.clone());
    let mut platforms = Vec::new();
    let mut result: Option<StackAnswer> = None;
    let mut unknown = BTreeSet::new();
    let base = model.bases.iter().position(|base| *base == stack.base);
    let own_preferred = preferred_values(model, preferences);
    let mut preferred = own_preferred.clone();
    for platform in &stack.platforms {
        let full = full_python(*platform)?;
        let own = preferences.platform_packages.get(platform).into_iter().flatten();
        locked.extend(
            own.filter(|(name, _)| !differing.contains_key(*name))
                .map(|(name, version)| (name.clone(), version.clone())),
        );
        let mut packages = PackageModel::new(model, source, *platform, stack.python, &full, &stack.base.glibc, &locked);
        packages.prefetch(&packages.spec_edges());
        let mut fixed = BTreeMap::from([(Variable::Python, vec![python_value(stack.python)])]);
        fixed.extend(base.map(|base| (Variable::Base, vec![Value::Rank(base as u32)])));
        let first = search(model, &packages, &preferred, preferences, &fixed)?;
        // A release that the catalog does not have is a last resort: nothing says that it runs on the targets.
        let (solution, chosen) = match first {
            Ok(found) => found,
            Err(Refused { conflict, over_builds: false }) => return Ok(Err(conflict)),
            Err(Refused { conflict, over_builds: true }) => {
                packages.unknown_releases = true;
                match search(model, &packages, &preferred, preferences, &fixed)? {
                    Ok(found) => found,
                    Err(_) => return Ok(Err(conflict)),
                }
            }
        };
        let mut wheels = BTreeMap::new();
        let mut builds = BTreeMap::new();
        for (variable, value) in solution.iter() {
            match (variable, value) {
                (Variable::Distribution(name), Value::Release(version)) => {
                    if let Some(candidate) = chosen.get(&format!("{name} {version}")) {
                        wheels.insert(name.clone(), candidate.clone());
                    }
                }
                (Variable::Build(_), _) => {
                    builds.insert(variable.clone(), value.clone());
                }
                _ => {}
            }
        }
        if result.is_none() {
            result = Some(answer(model, &solution, &own_preferred));
        }
        let warnings = packages.warnings(&solution).map_err(source_error)?;
        drop(packages);
        let of_no_release = wheels.iter().filter(|(name, wheel)| model.is_unknown_release(name, &wheel.version));
        unknown.extend(of_no_release.map(|(name, wheel)| format!("{name} {}", wheel.version)));
        locked.extend(wheels.iter().map(|(name, wheel)| (name.clone(), wheel.version.clone())));
        preferred.extend(builds);
        platforms.push(PlatformPackages { platform: *platform, wheels, warnings });
    }
    let mut stack = result.unwrap_or_else(|| stack.clone());
    stack.because.extend(unknown.iter().map(|release| unknown_release(release)));
    Ok(Ok(Resolution { stack, platforms }))
}

/// A search without result, and whether builds of frameworks take part in the proof.
struct Refused {
    conflict: Conflict,
    over_builds: bool,
}

type Found = (Solution, HashMap<String, Candidate>);

/// One search over stack and packages; the wheels behind its versions, by name and version.
fn search(
    model: &StackModel<'_>,
    packages: &PackageModel<'_>,
    preferred: &BTreeMap<Variable, Value>,
    preferences: &Preferences,
    fixed: &BTreeMap<Variable, Vec<Value>>,
) -> Result<Result<Found, Refused>, Error> {
    let mut problem = Problem::new(model, Some(packages), preferred);
    problem.upgraded.clone_from(&preferences.upgraded);
    problem.fixed.clone_from(fixed);
    match problem.solve() {
        Ok(solution) => Ok(Ok((solution, problem.into_candidates()))),
        Err(Failed::Source(error)) => Err(source_error(error)),
        Err(Failed::Proof(proof)) => {
            let conflict = Conflict::from_proof(&proof, &problem);
            Ok(Err(Refused { conflict, over_builds: is_over_builds(&proof) }))
        }
    }
}
