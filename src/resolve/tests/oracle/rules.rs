//! What an answer is, said again without the solver: from the catalog's rules and the design, by trying every combination.
//!
//! The wording follows `catalog/rules.yaml` (`sass`, `ptx`, `minor-version-compatibility`, `last-driver-branch`) and
//! `docs/design.md`. Nothing of the solver is used here, not even how it compares versions.

use std::cmp::Ordering;
use std::fmt;

use super::request::{Framework, Operator, Request, Target};
use super::world::{Base, Build, Card, Family, Need, RELEASES, Release, Wheels, World};

/// A build of a release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) release: &'a Release,
    pub(super) build: &'a Build,
}

/// One choice of everything.
#[derive(Debug, Clone)]
pub(super) struct Combination<'a> {
    /// By family, in the order of their names.
    pub(super) rows: Vec<(&'static str, Row<'a>)>,
    pub(super) python: &'static str,
    pub(super) base: &'a Base,
}

impl fmt::Display for Combination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (family, Row { release, build }) in &self.rows {
            write!(f, "{family} {} {} / ", RELEASES[release.version], build.name)?;
        }
        write!(f, "python {} / {}", self.python, self.base.name)
    }
}

/// Compares dotted numbers; what is missing counts as zero.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| {
        let mut parts: Vec<u64> = text.split('.').map(|part| part.parse().expect("a number")).collect();
        parts.resize(8, 0);
        parts
    };
    parts(one).cmp(&parts(other))
}

pub(super) fn is_at_least(one: &str, other: &str) -> bool {
    compare(one, other) != Ordering::Less
}

pub(super) fn major(text: &str) -> u64 {
    text.split('.').next().and_then(|part| part.parse().ok()).expect("a number")
}

/// 9.1.0.70 begins with 9 and with 9.1, not with 9.1.0.7.
pub(super) fn begins_with(text: &str, prefix: &str) -> bool {
    text == prefix || text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
}

/// How a build's code reaches a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    None,
    Machine,
    Intermediate,
}

pub(super) fn code_for(build: &Build, capability: &str) -> Code {
    let minor = |text: &str| text.split('.').nth(1).and_then(|part| part.parse::<u64>().ok());
    if build.sass.iter().any(|built| major(built) == major(capability) && minor(built) <= minor(capability)) {
        Code::Machine
    } else if build.ptx.iter().any(|built| is_at_least(capability, built)) {
        Code::Intermediate
    } else {
        Code::None
    }
}

/// A world and what is asked of it.
pub(super) struct Oracle<'a> {
    pub(super) world: &'a World,
    pub(super) request: &'a Request,
    pub(super) platforms: Vec<&'static str>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(world: &'a World, request: &'a Request) -> Self {
        Self { world, request, platforms: request.image_platforms() }
    }

    /// An image with a toolkit is for those who ask for one, and for builds that leave CUDA to the system.
    fn has_use_for_toolkit(&self, rows: &[(&'static str, Row<'_>)]) -> bool {
        let Request { cuda, os, base, .. } = self.request;
        cuda.is_some()
            || *base == "cuda"
            || os.is_some_and(|os| os.starts_with("ubuntu"))
            || rows.iter().any(|(_, row)| row.build.needs_system_cuda && self.brings_cuda(row.build))
    }

    /// Every answer.
    pub(super) fn answers(&self) -> Vec<Combination<'a>> {
        let mut partial: Vec<Vec<(&'static str, Row<'a>)>> = vec![Vec::new()];
        let mut frameworks: Vec<&Framework> = self.request.frameworks.iter().collect();
        frameworks.sort_by_key(|framework| framework.family);
        for framework in frameworks {
            let rows = self.rows(framework);
            partial = partial
                .into_iter()
                .flat_map(|chosen| {
                    rows.iter().map(move |row| {
                        let mut chosen = chosen.clone();
                        chosen.push((framework.family, *row));
                        chosen
                    })
                })
                .filter(|chosen| self.go_together(chosen))
                .collect();
        }
        let mut answers = Vec::new();
        for rows in partial {
            for python in &self.world.pythons {
                for base in &self.world.bases {
                    let combination = Combination { rows: rows.clone(), python, base };
                    if self.is_answer(&combination) {
                        answers.push(combination);
                    }
                }
            }
        }
        answers
    }

    fn is_answer(&self, combination: &Combination<'_>) -> bool {
        let Combination { rows, python, base } = combination;
        self.is_python_asked_for(python)
            && self.is_base_asked_for(base)
            && (base.toolkit.is_none() || self.has_use_for_toolkit(rows))
            && self.share_a_cudnn(rows)
            && self.is_carried(python)
            && base.python.is_none_or(|carried| carried == *python)
            && self.platforms.iter().all(|platform| base.platforms.contains(platform))
            && rows.iter().all(|(_, row)| {
                self.runs_on_python(row, python) && self.runs_on_base(row, base) && self.suits_pins(row)
            })
            && self.targets_are_built_for()
            && self.request.targets.iter().all(|target| self.runs_on_target(rows, base, target))
    }

    /// The rows a framework's entry names. Builds for another kind of accelerator count only where it names no others.
    pub(super) fn rows(&self, framework: &Framework) -> Vec<Row<'a>> {
        let family: &Family = self.world.family(framework.family);
        let rows =
            family.releases.iter().flat_map(|release| release.builds.iter().map(move |build| Row { release, build }));
        let named: Vec<Row<'a>> = rows.filter(|row| names(framework, row)).collect();
        let of_kind: Vec<Row<'a>> = named.iter().filter(|row| self.is_of_kind(row.build)).copied().collect();
        if of_kind.is_empty() { named } else { of_kind }
    }

    /// NVIDIA cards want CUDA builds, AMD cards ROCm builds; without cards anything but ROCm.
    fn is_of_kind(&self, build: &Build) -> bool {
        let cards = self.cards();
        let nvidia = cards.iter().any(|card| card.capability.is_some());
        let amd = cards.iter().any(|card| card.capability.is_none());
        match build.name {
            name if name.starts_with("cu") => nvidia || !amd,
            name if name.starts_with("rocm") => amd,
            _ => !nvidia && !amd,
        }
    }

    fn cards(&self) -> Vec<&'a Card> {
        let cards = self.request.targets.iter().filter_map(|target| match target {
            Target::Card { name, .. } => Some(self.world.card(name)),
            Target::Cpu => None,
        });
        cards.collect()
    }

    pub(super) fn is_python_asked_for(&self, python: &str) -> bool {
        self.request.python.is_none_or(|(operator, line)| match operator {
            Operator::Equal => python == line,
            Operator::AtLeast => is_at_least(python, line),
            Operator::Below => !is_at_least(python, line),
        })
    }

    /// A Python has to come from somewhere: a base, or the archive of a base's Ubuntu.
    fn is_carried(&self, python: &str) -> bool {
        let line = |base: &Base| base.python.or(self.world.archive_python(base));
        self.world.bases.iter().any(|base| line(base) == Some(python))
    }

    /// By `base:` and `os:`.
    fn is_base_named(&self, base: &Base) -> bool {
        let Request { os, base: choice, .. } = self.request;
        let kind = format!("{:?}", base.kind).to_lowercase();
        (*choice == "auto" || *choice == kind) && os.is_none_or(|os| begins_with(base.os, os))
    }

    fn is_base_asked_for(&self, base: &Base) -> bool {
        let Request { cuda, cudnn, base: choice, .. } = self.request;
        self.is_base_named(base)
            && cuda.is_none_or(|cuda| base.toolkit.is_some_and(|toolkit| begins_with(toolkit, cuda)))
            // cuDNN is the system's where CUDA is.
            && (cuda.is_none() && *choice != "cuda"
                || cudnn.is_none_or(|cudnn| base.cudnn.is_some_and(|own| begins_with(own, cudnn))))
    }

    pub(super) fn wheels<'r>(&self, row: &Row<'r>) -> Option<Vec<&'r Wheels>> {
        let of = |platform: &&'static str| row.build.wheels.iter().find(|wheels| wheels.platform == *platform);
        self.platforms.iter().map(of).collect()
    }

    pub(super) fn runs_on_python(&self, row: &Row<'_>, python: &str) -> bool {
        row.release.oldest_python.is_none_or(|oldest| is_at_least(python, oldest))
            && self.wheels(row).is_some_and(|wheels| wheels.iter().all(|wheels| wheels.pythons.contains(&python)))
    }

    /// The wheels' C library, and CUDA and cuDNN for builds that leave them to the system.
    fn runs_on_base(&self, row: &Row<'_>, base: &Base) -> bool {
        let glibc =
            self.wheels(row).is_some_and(|wheels| wheels.iter().all(|wheels| is_at_least(base.glibc, wheels.glibc)));
        glibc && (!row.build.needs_system_cuda || !self.brings_cuda(row.build) || self.has_toolkit_for(row.build, base))
    }

    /// CUDA of the build's major, and a cuDNN of its major that is no older than its own. A framework on its own gets the very
    /// toolkit it was built with where there is such a base, unless its archive lacks a Python that was asked for and another
    /// toolkit's has it.
    fn has_toolkit_for(&self, build: &Build, base: &Base) -> bool {
        let same_major = |own: Option<&str>, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| own.is_some_and(|own| major(own) == major(wanted)))
        };
        let has_cudnn = |base: &Base| {
            build.cudnn.is_none_or(|need| base.cudnn.is_some_and(|own| takes(Need { or_newer: true, ..need }, own)))
        };
        let built_with = |base: &Base| {
            build.toolkit.is_none_or(|wanted| base.toolkit.is_some_and(|own| begins_with(own, wanted)))
                && has_cudnn(base)
        };
        let is_alone = self.request.cuda.is_none() && self.request.frameworks.len() == 1;
        let of_the_major = |base: &Base| same_major(base.toolkit, build.toolkit) && has_cudnn(base);
        let has_python = |base: &Base| {
            let line = base.python.or(self.world.archive_python(base));
            self.request.python.is_none() || line.is_some_and(|line| self.is_python_asked_for(line))
        };
        let any = |suits: &dyn Fn(&Base) -> bool| {
            self.world.bases.iter().any(|base| {
                self.is_base_named(base)
                    && self.platforms.iter().all(|platform| base.platforms.contains(platform))
                    && suits(base)
            })
        };
        let is_tested = any(&|base| built_with(base) && has_python(base))
            || any(&built_with) && !any(&|base| of_the_major(base) && has_python(base));
        if is_alone && is_tested {
            return built_with(base);
        }
        of_the_major(base)
    }

    /// Whether wheels of a build compute with CUDA on any platform of the image: some are for the processor on one.
    fn brings_cuda(&self, build: &Build) -> bool {
        let mut wheels = build.wheels.iter().filter(|wheels| self.platforms.contains(&wheels.platform));
        build.toolkit.is_some() && wheels.any(|wheels| !wheels.is_cpu)
    }

    /// A pinned CUDA means builds of its major, since extensions are compiled across minors only; a pinned cuDNN means
    /// builds with it.
    pub(super) fn suits_pins(&self, row: &Row<'_>) -> bool {
        let Request { cuda, cudnn, .. } = self.request;
        let Some(toolkit) = row.build.toolkit.filter(|_| self.brings_cuda(row.build)) else { return true };
        cuda.is_none_or(|cuda| major(cuda) == major(toolkit))
            && cudnn.is_none_or(|pin| {
                row.build.cudnn.is_none_or(|need| begins_with(need.version, pin) || need.or_newer && takes(need, pin))
            })
    }

    fn targets_are_built_for(&self) -> bool {
        let mut targets = self.request.targets.iter();
        targets.all(|target| self.platforms.contains(&self.request.platform_of(target)))
    }

    fn runs_on_target(&self, rows: &[(&'static str, Row<'_>)], base: &Base, target: &Target) -> bool {
        let platform = self.request.platform_of(target);
        let Target::Card { name, driver, .. } = target else {
            return rows.iter().all(|(family, row)| self.runs_without_card(family, row));
        };
        let card = self.world.card(name);
        let Some(capability) = card.capability else {
            return rows.iter().all(|(_, row)| self.serves_amd(row.build, platform, card, driver.as_deref()));
        };
        let mut needed: Vec<&str> = Vec::new();
        for (_, row) in rows {
            let Some(driver_for) = self.driver_for(row.build, platform, capability) else { return false };
            let is_left_behind = |since: &str| row.build.cudnn.is_some_and(|need| is_at_least(need.version, since));
            let of_base = base.cudnn.filter(|_| row.build.needs_system_cuda && row.build.cudnn.is_some());
            let end = self.end_of_cudnn(capability);
            if end.is_some_and(|since| is_left_behind(since) || of_base.is_some_and(|own| is_at_least(own, since))) {
                return false;
            }
            // The floor of a major is what cuda-compat in the base is instead of; PTX needs the toolkit's own driver.
            let is_floor = code_for(row.build, capability) == Code::Machine;
            let toolkit = row.build.toolkit.map(major).filter(|_| is_floor && self.request.base == "cuda");
            if !toolkit.is_some_and(|major| self.has_compat(card, driver.as_deref(), base, major)) {
                needed.extend(driver_for);
            }
        }
        // A toolkit in the base asks for its major's driver as well; the compiler of a pinned one must know the card.
        if let Some(toolkit) = base.toolkit {
            let is_spared = self.has_compat(card, driver.as_deref(), base, major(toolkit))
                && (self.request.cuda.is_none() || self.request.base == "cuda");
            needed.extend(self.floor(major(toolkit)).filter(|_| !is_spared));
            let known = self.world.toolkits.iter().find(|known| known.version == toolkit);
            let known = known.filter(|_| self.request.cuda.is_some());
            if known.is_some_and(|known| known.capabilities.iter().all(|compiled| !is_at_least(capability, compiled))) {
                return false;
            }
        }
        has_driver(card, driver.as_deref(), &needed)
    }

    /// Whether the libraries of a base let an installed driver run code of a CUDA major whose floor it misses: on datacenter
    /// cards that drivers of that major still know.
    fn has_compat(&self, card: &Card, installed: Option<&str>, base: &Base, of: u64) -> bool {
        let (Some(installed), Some(floor)) = (installed, self.floor(of)) else { return false };
        card.is_datacenter
            && card.last_branch.is_none_or(|last| major(floor) <= last)
            && base.compat.contains(&major(installed))
            && base.toolkit.is_some_and(|toolkit| major(toolkit) >= of)
    }

    /// From which release on cuDNN has no kernels for a card.
    fn end_of_cudnn(&self, capability: &str) -> Option<&'static str> {
        let ends = self.world.cudnn_floors.iter().filter(|(_, oldest)| !is_at_least(capability, oldest));
        ends.map(|(since, _)| *since).min_by(|one, other| compare(one, other))
    }

    /// Whether there is a cuDNN that all builds which bring one take, made for their CUDA, with kernels for every card, and the
    /// one that the spec pins. Releases that the catalog does not list exist if a build names them.
    fn share_a_cudnn(&self, rows: &[(&'static str, Row<'_>)]) -> bool {
        let brings = |row: &Row<'_>| self.brings_cuda(row.build) && !row.build.needs_system_cuda;
        let bringing: Vec<&Build> = rows.iter().filter(|(_, row)| brings(row)).map(|(_, row)| row.build).collect();
        let needs: Vec<Need> = bringing.iter().filter_map(|build| build.cudnn).collect();
        let Some(cuda) =
            rows.iter().filter(|(_, row)| self.brings_cuda(row.build)).find_map(|(_, row)| row.build.toolkit)
        else {
            return true;
        };
        let releases = self.world.families.iter().flat_map(|family| &family.releases);
        let named = releases.flat_map(|release| &release.builds).filter_map(|build| build.cudnn);
        let listed = |need: &Need| self.world.cudnn.iter().any(|(version, _)| takes(*need, version));
        let unlisted = named.filter(|need| !listed(need)).map(|need| need.version);
        let of_cuda = self.world.cudnn.iter().filter(|(_, majors)| majors.contains(&major(cuda)));
        let mut known = of_cuda.map(|(version, _)| *version).chain(unlisted);
        let ends: Vec<&str> = self.cards().iter().filter_map(|card| self.end_of_cudnn(card.capability?)).collect();
        needs.is_empty()
            || known.any(|release| {
                needs.iter().all(|need| takes(*need, release))
                    && ends.iter().all(|end| !is_at_least(release, end))
                    && self.request.cudnn.is_none_or(|pin| begins_with(release, pin))
            })
    }

    /// Builds run without a card too, unless their whole family is for cards only.
    fn runs_without_card(&self, family: &str, row: &Row<'_>) -> bool {
        let builds = || self.world.family(family).releases.iter().flat_map(|release| &release.builds);
        row.build.name == "cpu"
            || builds().any(|build| build.name == "cpu" || build.wheels.iter().any(|wheels| wheels.is_cpu))
    }

    /// ROCm code for the card, and a release of ROCm that the installed driver runs, as far as it is known.
    pub(super) fn serves_amd(&self, build: &Build, platform: &str, card: &Card, installed: Option<&str>) -> bool {
        let known = self.world.rocm_drivers.iter().find(|(driver, _)| installed == Some(*driver));
        build.wheels.iter().any(|wheels| wheels.platform == platform)
            && build.rocm.is_some_and(|rocm| known.is_none_or(|(_, releases)| releases.contains(&rocm)))
            && (build.gfx.is_empty() || build.gfx.contains(&card.gfx))
    }

    /// The drivers a build needs for a card, one at most; `None` if it has no code for it.
    pub(super) fn driver_for(&self, build: &Build, platform: &str, capability: &str) -> Option<Vec<&'static str>> {
        let wheels = build.wheels.iter().find(|wheels| wheels.platform == platform)?;
        let toolkit = build.toolkit.filter(|_| !wheels.is_cpu)?;
        match code_for(build, capability) {
            Code::None => None,
            Code::Machine => Some(self.floor(major(toolkit)).into_iter().collect()),
            Code::Intermediate => {
                let known = self.world.toolkits.iter().find(|known| begins_with(known.version, toolkit));
                Some(known.map(|known| known.driver).into_iter().collect())
            }
        }
    }

    /// Companions are of the listed releases, and all CUDA libraries in one environment are of one major.
    fn go_together(&self, rows: &[(&'static str, Row<'_>)]) -> bool {
        let companions_fit = rows.iter().all(|(_, row)| {
            row.release.companion.as_ref().is_none_or(|(other, versions)| {
                rows.iter()
                    .filter(|(family, _)| family == other)
                    .all(|(_, row)| versions.contains(&row.release.version))
            })
        });
        let with_cuda = rows.iter().filter(|(_, row)| self.brings_cuda(row.build));
        let mut majors = with_cuda.filter_map(|(_, row)| row.build.toolkit.map(major));
        let first = majors.next();
        companions_fit && majors.all(|major| Some(major) == first)
    }

    pub(super) fn floor(&self, major: u64) -> Option<&'static str> {
        self.world.floors.iter().find(|(of, _)| *of == major).map(|(_, driver)| *driver)
    }
}

/// Whether a framework's entry in the spec names a row: version, build, and the exceptions for withdrawn and unfinished
/// releases.
fn names(framework: &Framework, row: &Row<'_>) -> bool {
    let version = row.release.version;
    let is_prerelease = version == 3;
    let (takes, is_exact, prereleases) = match framework.range {
        Some(range) => (range.takes[version], range.is_exact, range.names_prerelease),
        None => (true, false, false),
    };
    let build = framework.build.is_none_or(|build| match build {
        "default" => row.build.is_default,
        name => row.build.name == name,
    });
    takes && build && (is_exact || !row.release.is_yanked) && (prereleases || !is_prerelease)
}

/// Whether a need takes a release.
pub(super) fn takes(need: Need, release: &str) -> bool {
    match need.or_newer {
        true => major(release) == major(need.version) && is_at_least(release, need.version),
        false => begins_with(release, need.version),
    }
}

/// Whether a machine has a driver that is at least all of `needed`: the one installed, or one of a branch that still knows
/// its card, as an installed one has to as well.
fn has_driver(card: &Card, installed: Option<&str>, needed: &[&str]) -> bool {
    let mut needed = needed.iter().copied().chain(card.first_driver.filter(|_| installed.is_some()));
    match (installed, card.last_branch) {
        (Some(installed), last) => {
            last.is_none_or(|last| major(installed) <= last) && needed.all(|needed| is_at_least(installed, needed))
        }
        (None, Some(branch)) => needed.all(|needed| major(needed) <= branch),
        (None, None) => true,
    }
}
