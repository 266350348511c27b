//! Curated releases against what upstream says of them. Only facts that upstream states are compared.

use std::collections::BTreeSet;

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};

use super::Finding;
use super::observe::{Bound, Observation, Reader, Wish};
use crate::catalog::{Accelerator, Build, CudnnNeed, Framework, Release};
use crate::version::PythonVersion;

/// manylinux1 and manylinux2010: wheels with these tags are known to need more than their name says, and the catalog says
/// what was found.
const LEGACY_GLIBC: (u32, u32) = (2, 12);

/// Which versions of a companion go with which release, as the companion's own METADATA says.
pub(super) type Ranges = Vec<(Version, Option<VersionSpecifiers>)>;

/// Compares all releases of a family.
pub(super) fn releases(framework: &Framework, reader: &Reader<'_>, findings: &mut Vec<Finding>) {
    for release in &framework.releases {
        for build in &release.builds {
            reader.prefetch(wishes(build).into_iter().map(|wish| (build.index.as_str(), wish)));
        }
    }
    let companions: Vec<(&String, Ranges)> = framework
        .companions
        .iter()
        .map(|companion| (companion, reader.ranges_on(home(framework), companion, &framework.package)))
        .collect();
    for release in &framework.releases {
        let entry = entry_of(framework, &release.version);
        let mut seen = Vec::new();
        for build in &release.builds {
            if let Some(observation) = self::build(&entry, build, reader, findings) {
                seen.push((build, observation));
            }
        }
        let is_main = |(build, _): &&(&Build, Observation)| {
            build.index == home(framework) && wishes(build).iter().any(|wish| wish.package == framework.package)
        };
        if let Some((_, observation)) = seen.iter().find(is_main) {
            whole(&entry, release, observation, findings);
            for (companion, ranges) in &companions {
                self::companion(&entry, release, companion, observation.pins.get(*companion), ranges, findings);
            }
        }
    }
    left_out(framework, reader, findings);
}

/// `framework pytorch 2.5.1`, as `catalog check` writes it.
pub(super) fn entry_of(framework: &Framework, version: &Version) -> String {
    format!("framework {} {version}", framework.family)
}

/// The index that a family's releases appear on: the default one, unless its newest release has nothing there.
pub(super) fn home(framework: &Framework) -> &str {
    let builds = || framework.releases.first().into_iter().flat_map(|release| &release.builds);
    let first = builds().find(|build| build.index == "default").or_else(|| builds().next());
    first.map_or("default", |build| build.index.as_str())
}

/// What a build's requirements ask for.
pub(super) fn wishes(build: &Build) -> Vec<Wish> {
    build.requirements.iter().filter_map(|text| Wish::parse(text)).collect()
}

/// What upstream says of a build; `None` if its index cannot be read or lacks it.
pub(super) fn observe(build: &Build, reader: &Reader<'_>) -> Option<Observation> {
    let label = (build.index != "default").then_some(build.name.as_str());
    let mut wishes = wishes(build).into_iter();
    let first = wishes.next()?;
    let mut observation = reader.observe(&build.index, &first, label)?;
    if observation.platforms.is_empty() {
        // The machine code is in a package that the build names itself.
        for wish in wishes {
            let Some(found) = reader.observe(&build.index, &wish, label) else { continue };
            observation.add_part(found.platforms);
        }
    }
    Some(observation)
}

fn build(entry: &str, build: &Build, reader: &Reader<'_>, findings: &mut Vec<Finding>) -> Option<Observation> {
    let entry = format!("{entry} {}", build.name);
    let mut differs = |fact: String, curated: String, upstream: String| {
        findings.push(Finding::Differs { entry: entry.clone(), fact, curated, upstream });
    };
    let observed = observe(build, reader);
    if build.source_only {
        if observed.is_some() {
            differs("wheels".to_owned(), "a source distribution alone".to_owned(), "some".to_owned());
        }
        return None;
    }
    let Some(observation) = observed else {
        let first = wishes(build).into_iter().next()?;
        // An index that cannot be read says nothing about the release.
        reader.project(&build.index, &first.package)?;
        let fact = format!("wheels of {} {} on the index `{}`", first.package, first.version, build.index);
        differs(fact, "some".to_owned(), nothing());
        return None;
    };
    let platforms: BTreeSet<_> = build.platforms.keys().chain(observation.platforms.keys()).copied().collect();
    for platform in platforms {
        match (build.platforms.get(&platform), observation.platforms.get(&platform)) {
            (Some(curated), Some(upstream)) => {
                let lines: Vec<PythonVersion> = upstream.pythons.iter().copied().collect();
                if !upstream.agree_with(&curated.pythons) {
                    differs(format!("pythons on {platform}"), words(&curated.pythons), words(&lines));
                }
                if upstream.glibc > LEGACY_GLIBC && curated.glibc != upstream.glibc {
                    differs(format!("glibc on {platform}"), pair(curated.glibc), pair(upstream.glibc));
                }
            }
            (Some(_), None) if observation.platforms.is_empty() && observation.hides_platforms => {}
            (Some(_), None) if observation.platforms.is_empty() => {
                // What a pure wheel asks for is not among its requirements, or has no wheel for Linux.
                let asked = build.requirements.join(" ");
                let upstream = format!("`{asked}` brings none with machine code");
                differs(format!("wheels on {platform}"), "some".to_owned(), upstream);
            }
            (Some(_), None) => differs(format!("wheels on {platform}"), "some".to_owned(), nothing()),
            // A build that computes on one platform's cards only is listed for that platform.
            (None, Some(_)) if build.accelerator != Accelerator::Cpu => {}
            (None, _) => differs(format!("wheels on {platform}"), nothing(), "some".to_owned()),
        }
    }
    if build.accelerator == Accelerator::Cuda {
        let toolkit = build.toolkit.as_ref().map(ToString::to_string);
        if let Some(bound) = observation.toolkit.as_ref().filter(|bound| !toolkit_agrees(toolkit.as_deref(), bound)) {
            differs("toolkit".to_owned(), toolkit.unwrap_or_else(nothing), spell(bound));
        }
        let cudnn = build.cudnn.as_ref().map(ToString::to_string);
        let is_asked = |_: &&Bound| cudnn.is_some() || !observation.cudnn_of_torch;
        let told = observation.cudnn.as_ref().filter(is_asked);
        if let Some(bound) = told.filter(|bound| !cudnn_agrees(build.cudnn.as_ref(), bound)) {
            differs("cudnn".to_owned(), cudnn.unwrap_or_else(nothing), spell(bound));
        }
    }
    Some(observation)
}

/// Facts of the release as a whole.
fn whole(entry: &str, release: &Release, observation: &Observation, findings: &mut Vec<Finding>) {
    let mut differs = |fact: &str, curated: String, upstream: String| {
        findings.push(Finding::Differs { entry: entry.to_owned(), fact: fact.to_owned(), curated, upstream });
    };
    let (curated, upstream) = (&release.requires_python, &observation.requires_python);
    if let Some(upstream) = upstream.as_ref().filter(|upstream| !curated.as_ref().is_some_and(|c| same(c, upstream))) {
        let curated = curated.as_ref().map_or_else(nothing, ToString::to_string);
        differs("requires_python", curated, upstream.to_string());
    }
    if release.yanked != observation.yanked {
        let word = |yanked: bool| if yanked { "withdrawn" } else { "not withdrawn" }.to_owned();
        differs("yanked", word(release.yanked), word(observation.yanked));
    }
}

fn companion(
    entry: &str,
    release: &Release,
    companion: &str,
    pinned: Option<&Version>,
    ranges: &Ranges,
    findings: &mut Vec<Finding>,
) {
    let curated = release.companions.get(companion).cloned().unwrap_or_default();
    let range_of =
        |version: &Version| ranges.iter().find(|(known, _)| known == version).map(|(_, range)| range.as_ref());
    let wrong = match pinned {
        Some(version) if curated != [version.clone()] => Some(version.to_string()),
        Some(_) => None,
        // Beside those made for this release alone, the catalog may list later ones that accept it.
        None => {
            let exact = made_for(&release.version, ranges);
            let missing = exact.iter().any(|version| !curated.contains(version));
            let refused = curated.iter().find_map(|version| match range_of(version) {
                None => Some(format!("{companion} {version} is gone or withdrawn")),
                Some(Some(range)) if !range.contains(&release.version) => {
                    Some(format!("{companion} {version} is for {range}"))
                }
                Some(_) => None,
            });
            refused.or_else(|| missing.then(|| words(&exact)))
        }
    };
    if let Some(upstream) = wrong.filter(|_| !ranges.is_empty() || pinned.is_some()) {
        findings.push(Finding::Differs {
            entry: entry.to_owned(),
            fact: format!("companion {companion}"),
            curated: if curated.is_empty() { nothing() } else { words(&curated) },
            upstream,
        });
    }
}

/// Versions of a companion that accept `version` and no other release, newest first.
pub(super) fn made_for(version: &Version, ranges: &Ranges) -> Vec<Version> {
    let is_exact = |range: &VersionSpecifiers| range.iter().any(|part| part.operator() == &Operator::Equal);
    let fits = |range: &&VersionSpecifiers| is_exact(range) && range.contains(version);
    let matching = ranges.iter().filter(|(_, range)| range.as_ref().is_some_and(|range| fits(&range)));
    matching.map(|(companion, _)| companion.clone()).collect()
}

fn left_out(framework: &Framework, reader: &Reader<'_>, findings: &mut Vec<Finding>) {
    let (Some(newest), Some(oldest)) = (framework.releases.first(), framework.releases.last()) else { return };
    let between = |version: &Version| *version > oldest.version && *version < newest.version;
    let unknown = |version: &Version| !framework.releases.iter().any(|release| release.version == *version);
    let versions = reader.versions(home(framework), &framework.package);
    let between = versions.iter().filter(|version| between(version) && unknown(version));
    let mut names: Vec<String> = between.map(|version| format!("{} {version}", framework.package)).collect();
    if newest.builds.iter().all(|build| build.source_only) {
        // Nothing is built from a source distribution to see what it needs, so a person enters it.
        let sources = reader.source_versions(home(framework), &framework.package);
        let missing = sources.iter().filter(|version| **version > oldest.version && unknown(version));
        names.extend(missing.map(|version| format!("{} {version} (source)", framework.package)));
    }
    if !names.is_empty() {
        findings.push(Finding::LeftOut { entry: format!("framework {}", framework.family), names });
    }
}

/// The packages' own numbers start with the toolkit's two, and only the lower end of a range is known.
fn toolkit_agrees(curated: Option<&str>, bound: &Bound) -> bool {
    let Some(curated) = curated else { return false };
    let line = Version::new(bound.version.release().iter().take(2));
    let numbers = curated.split('.').filter_map(|part| part.parse::<u64>().ok()).take(2);
    same_prefix(Some(curated), &line) || !bound.exact && numbers.ge(line.release().iter().copied())
}

/// A pin that is not written out, `9`, leaves open whether the metadata has a range; a range may begin above the metadata's.
fn cudnn_agrees(curated: Option<&CudnnNeed>, bound: &Bound) -> bool {
    curated.is_some_and(|need| {
        let text = need.version.to_string();
        let is_rough = !need.or_newer && need.version.dotted().components().len() < 4;
        let is_above = || text.parse::<Version>().is_ok_and(|own| own >= bound.version);
        same_prefix(Some(&text), &bound.version) && (is_rough || need.or_newer != bound.exact)
            || need.or_newer && !bound.exact && is_above()
    })
}

/// Whether both say the same as far as the shorter one goes: `9` and `9.1.0.70`.
fn same_prefix(curated: Option<&str>, upstream: &Version) -> bool {
    let Some(curated) = curated else { return false };
    let numbers = curated.split('.').map(|part| part.parse().ok());
    numbers.zip(upstream.release()).all(|(left, right)| left == Some(*right))
}

fn same(one: &VersionSpecifiers, other: &VersionSpecifiers) -> bool {
    let has = |part: &VersionSpecifier| {
        other.iter().any(|own| own.operator() == part.operator() && own.version() == part.version())
    };
    one.len() == other.len() && one.iter().all(has)
}

fn spell(bound: &Bound) -> String {
    if bound.exact { bound.version.to_string() } else { format!("{} or newer", bound.version) }
}

/// Values with spaces between, as the catalog's files write lists.
pub(super) fn words<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
}

/// `2.28`.
pub(super) fn pair(version: (u32, u32)) -> String {
    format!("{}.{}", version.0, version.1)
}

fn nothing() -> String {
    "nothing".to_owned()
}
