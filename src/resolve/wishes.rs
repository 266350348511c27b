//! What the spec asks of the stack, as the edges of the problem's root: its targets, platforms, Python, base, CUDA and frameworks.

use std::collections::BTreeSet;
use std::ops::Bound;

use pubgrub::Ranges;

use crate::catalog::{Gpu, Release, Toolkit, Vendor};
use crate::diagnostic::Origin;
use crate::spec::{BaseChoice, OperatingSystem, Spec};
use crate::version::{PythonVersion, ToolkitVersion};

use super::bases::BaseRow;
use super::evidence::{Code, Edge, Evidence};
use super::numbers::{describe_lines, python_allowed, python_value, starting_with};
use super::stack::{Row, StackModel};
use super::targets::{TargetFacts, card_value, describe_card, driver_code, driver_edge};
use super::variable::{Value, Values, Variable, one_of, specifier_values};

impl StackModel<'_> {
    pub(super) fn spec_edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (index, target) in self.targets.iter().enumerate() {
            if let Some(gpu) = target.gpu {
                edges.push(Edge {
                    to: Variable::Card(index),
                    values: Ranges::singleton(card_value(target)),
                    evidence: Evidence {
                        code: Code::PinConflict,
                        fact: format!("target `{}` has {}", target.name, describe_card(gpu)),
                        source: target.source.clone().unwrap_or_else(|| gpu.source.clone()),
                        origin: target.origin.clone(),
                    },
                });
                if gpu.vendor == Vendor::Nvidia {
                    edges.extend(driver_edge(index, target, gpu));
                    edges.extend(self.unknown_to_driver(index, target, gpu));
                }
            }
        }
        for target in self.targets.iter().filter(|target| !self.platforms.contains(&target.platform)) {
            edges.push(Edge {
                to: Variable::Platform(target.platform),
                values: Ranges::empty(),
                evidence: Evidence {
                    code: Code::NoBuildForPlatform,
                    fact: format!("target `{}` is {}, for which the spec asks no image", target.name, target.platform),
                    source: target.source.clone().unwrap_or_else(|| "spec".to_owned()),
                    origin: target.origin.clone(),
                },
            });
        }
        for (position, platform) in self.platforms.iter().enumerate() {
            let origin = self.spec.platforms.get(position).and_then(|platform| platform.origin.clone()).or_else(|| {
                self.targets.iter().find(|target| target.platform == *platform).and_then(|target| target.origin.clone())
            });
            edges.push(Edge {
                to: Variable::Platform(*platform),
                values: Ranges::singleton(Value::Only),
                evidence: spec_says(format!("the spec asks for {platform}"), origin),
            });
        }
        edges.push(self.python_edge());
        edges.push(self.base_edge());
        if let Some(cuda) = &self.spec.cuda {
            let value = cuda.value.dotted();
            edges.push(Edge {
                to: Variable::PinnedCuda,
                values: Ranges::singleton(Value::Number(value.clone())),
                evidence: spec_says(format!("the spec pins CUDA {value}"), cuda.origin.clone()),
            });
            edges.push(Edge {
                to: Variable::Toolkit,
                values: starting_with(value),
                evidence: Evidence {
                    code: Code::NoSuchImage,
                    ..spec_says(format!("the spec pins the system CUDA toolkit {value}"), cuda.origin.clone())
                },
            });
        }
        let wants_system = self.spec.cuda.is_some() || self.spec.base.value == BaseChoice::Cuda;
        if let Some(cudnn) = self.spec.cudnn.as_ref().filter(|_| wants_system) {
            let value = cudnn.value.dotted();
            edges.push(Edge {
                to: Variable::SystemCudnn,
                values: starting_with(value),
                evidence: spec_says(format!("the spec pins cuDNN {value}"), cudnn.origin.clone()),
            });
        }
        if let Some(cudnn) = &self.spec.cudnn {
            let value = cudnn.value.dotted();
            edges.push(Edge {
                to: Variable::PinnedCudnn,
                values: Ranges::singleton(Value::Number(value.clone())),
                evidence: spec_says(format!("the spec pins cuDNN {value}"), cudnn.origin.clone()),
            });
        }
        for framework in &self.spec.frameworks {
            edges.push(self.framework_edge(framework));
        }
        edges
    }

    /// The Python lines that the spec allows and that an image can have: a base carries them, or the archive of its Ubuntu.
    fn python_edge(&self) -> Edge {
        let base = &self.spec.base.value;
        let carried = |line: PythonVersion| {
            // A CUDA image carries none, so that any line can be put in that somebody builds.
            let rows = self.bases.iter().filter(|row| *base == BaseChoice::Cuda || row.is_choice(base));
            matches!(base, BaseChoice::Reference(_))
                || rows.into_iter().any(|row| row.python.or(row.archive_python) == Some(line))
        };
        let known: Vec<PythonVersion> = self.pythons.iter().copied().filter(|line| carried(*line)).collect();
        let values = |lines: &[PythonVersion]| one_of(lines.iter().map(|line| python_value(*line)));
        let Some(python) = &self.spec.python else {
            return Edge {
                to: Variable::Python,
                values: values(&known),
                evidence: Evidence {
                    code: if known.is_empty() { Code::NoSuchImage } else { Code::PinConflict },
                    ..spec_says(format!("the bases known carry Python {}", describe_lines(&known)), None)
                },
            };
        };
        let asked = |lines: &[PythonVersion]| -> Vec<PythonVersion> {
            lines.iter().copied().filter(|line| python_allowed(&python.value, *line)).collect()
        };
        let fact = format!("the spec asks for Python `{}`", python.value);
        let (code, fact) = if asked(&self.pythons).is_empty() {
            (Code::NoSuchVersion, format!("{fact}, and known are {}", describe_lines(&self.pythons)))
        } else if asked(&known).is_empty() {
            let kind = match base {
                BaseChoice::Auto | BaseChoice::Cuda => String::new(),
                choice => format!(" of kind `{}`", super::bases::choice_name(choice)),
            };
            let lines = describe_lines(&known);
            (Code::NoSuchImage, format!("{fact}, and no base{kind} carries that: those known carry {lines}"))
        } else {
            (Code::PinConflict, fact)
        };
        Edge {
            to: Variable::Python,
            values: values(&asked(&known)),
            evidence: Evidence { code, ..spec_says(fact, python.origin.clone()) },
        }
    }

    /// What a base with a toolkit needs of the machines: NVIDIA's images do not start on a driver below the floor of their CUDA
    /// (`NVIDIA_REQUIRE_CUDA`). A pinned toolkit asks for the same by itself.
    pub(super) fn base_driver_edges(&self, base: &BaseRow) -> Vec<Edge> {
        let Some(toolkit) = base.toolkit.as_ref().filter(|_| self.spec.cuda.is_none()) else { return Vec::new() };
        let Some((driver, source)) = self.floor(toolkit.major()) else { return Vec::new() };
        let rank = self.bases.iter().position(|row| row == base).map(|rank| rank as u32);
        let has_compat = |target: &TargetFacts<'_>, gpu: &Gpu| {
            self.compat_bases(target, gpu, toolkit.major()).zip(rank).is_some_and(|(ranks, rank)| ranks.contains(&rank))
        };
        let nvidia = self.targets.iter().enumerate().filter(|(_, target)| {
            target.gpu.is_some_and(|gpu| gpu.vendor == Vendor::Nvidia && !has_compat(target, gpu))
        });
        let edge = |(index, target)| Edge {
            to: Variable::Driver(index),
            values: Ranges::higher_than(Value::Number(driver.dotted().clone())),
            evidence: Evidence {
                code: driver_code(target),
                fact: format!("base {} has CUDA {toolkit}, which needs driver {driver} or newer", base.label()),
                source: source.to_owned(),
                origin: None,
            },
        };
        nvidia.map(edge).collect()
    }

    /// The toolkit that `version` means, by preference one that the release notes describe in full.
    pub(super) fn documented_toolkit(&self, version: &ToolkitVersion) -> Option<&Toolkit> {
        let toolkits = &self.catalog.cuda.toolkits;
        toolkits
            .iter()
            .find(|toolkit| toolkit.driver.is_some() && toolkit.version.dotted().starts_with(version.dotted()))
            .or_else(|| self.catalog.toolkit(version))
    }

    pub(super) fn base_edge(&self) -> Edge {
        let base = &self.spec.base;
        let os = self.spec.os.as_ref();
        // Without a use for a toolkit an image that has one is no base: it is larger, and has no Python either.
        let toolkit = self.has_use_for_toolkit();
        let allowed = self.bases.iter().enumerate().filter(|(_, row)| {
            row.is_choice(&base.value)
                && (toolkit || row.toolkit.is_none())
                && os.is_none_or(|os| row.is_os(&os.value.distribution, &os.value.release))
        });
        let wish = match (&base.value, os) {
            (BaseChoice::Auto, None) => "the image needs a base".to_owned(),
            (BaseChoice::Auto, Some(os)) => format!("the spec asks for {} {}", os.value.distribution, os.value.release),
            (choice, _) => format!("the spec asks for base `{}`", super::bases::choice_name(choice)),
        };
        let allowed = one_of(allowed.map(|(rank, _)| Value::Rank(rank as u32)));
        let wish = match os.filter(|_| allowed == Ranges::empty()) {
            None => wish,
            Some(os) => self.no_base_on(&os.value),
        };
        let origin = match os {
            Some(os) if allowed == Ranges::empty() => os.origin.clone(),
            _ => base.origin.clone().or_else(|| os.and_then(|os| os.origin.clone())),
        };
        Edge {
            to: Variable::Base,
            values: allowed,
            evidence: Evidence { code: Code::NoSuchImage, ..spec_says(wish, origin) },
        }
    }

    /// Why nothing that the spec's `base:` allows is this operating system.
    fn no_base_on(&self, os: &OperatingSystem) -> String {
        let own: BTreeSet<String> =
            self.bases.iter().filter(|row| row.is_choice(&self.spec.base.value)).map(BaseRow::os).collect();
        let own: Vec<String> = own.into_iter().collect();
        let asked = format!("the spec asks for {} {}", os.distribution, os.release);
        match self.catalog.other_system(&os.distribution, &os.release) {
            Some(other) => format!("{asked}, {}; the bases known have {}", other.reason(), own.join(", ")),
            None => format!("{asked}, and the bases known have {}", own.join(", ")),
        }
    }

    /// The rows a framework entry allows. Builds for another kind of accelerator are left out as long as others remain:
    /// nobody needs to read why a ROCm wheel does not serve an NVIDIA card.
    pub(super) fn framework_edge(&self, framework: &crate::spec::Framework) -> Edge {
        let family = framework.family.value.as_str();
        let rows = self.families.get(family).map(|table| table.rows.as_slice()).unwrap_or_default();
        let asked_build = framework.build.as_ref().map(|build| build.value.as_str());
        let versions: Vec<(usize, &Row<'_>)> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| version_allowed(&framework.version, row.release))
            .filter(|(_, row)| match asked_build {
                None => true,
                Some("default") => row.build.default,
                Some(name) => row.build.name == name,
            })
            .collect();
        let suited: Vec<&(usize, &Row<'_>)> = versions.iter().filter(|(_, row)| self.suits_vendor(row.build)).collect();
        let ranks: Vec<usize> = match suited.is_empty() {
            true => versions.iter().map(|(rank, _)| *rank).collect(),
            false => suited.iter().map(|(rank, _)| *rank).collect(),
        };
        let build = asked_build.map(|build| format!(", build `{build}`")).unwrap_or_default();
        let version = match framework.version.is_empty() {
            true => String::new(),
            false => format!(" `{}`", framework.version),
        };
        let origin = match asked_build {
            Some(_) if ranks.is_empty() => framework.build.as_ref().and_then(|build| build.origin.clone()),
            _ => framework.version_origin.clone(),
        };
        let none = ranks.is_empty();
        let known = || {
            let matching: Vec<&str> = rows
                .iter()
                .rev()
                .filter(|row| version_allowed(&framework.version, row.release))
                .map(|row| row.build.name.as_str())
                .collect();
            match matching.is_empty() {
                false => format!("the builds known are {}", deduplicated(&matching).join(", ")),
                true => nearest_releases(&framework.version, rows),
            }
        };
        let fact = match none {
            true => format!("the spec asks for {family}{version}{build}, and {}", known()),
            false => format!("the spec asks for {family}{version}{build}"),
        };
        let evidence = Evidence {
            code: if none { Code::NoSuchVersion } else { Code::PinConflict },
            ..spec_says(fact, origin.or_else(|| framework.family.origin.clone()))
        };
        self.one_vendor(family, evidence, one_of(ranks.into_iter().map(|rank| Value::Rank(rank as u32))))
    }

    /// An edge to a family's builds, or a refusal in one sentence where the targets have cards of two vendors: every build
    /// would fail one of them for the same reason.
    pub(super) fn one_vendor(&self, family: &str, evidence: Evidence, values: Values) -> Edge {
        let of = |vendor| self.targets.iter().find(|target| target.gpu.is_some_and(|gpu| gpu.vendor == vendor));
        let to = Variable::Build(family.to_owned());
        let (Some(nvidia), Some(amd)) = (of(Vendor::Nvidia), of(Vendor::Amd)) else {
            return Edge { to, values, evidence };
        };
        let fact = format!(
            "no build of {family} computes on NVIDIA and AMD cards: target `{}` needs CUDA, target `{}` needs ROCm, and \
             one image holds one of them",
            nvidia.name, amd.name
        );
        let source = amd.gpu.map_or_else(|| "catalog".to_owned(), |gpu| gpu.source.clone());
        let origin = evidence.origin.or_else(|| amd.origin.clone());
        Edge {
            to,
            values: Ranges::empty(),
            evidence: Evidence { code: Code::NoAcceleratorBuild, fact, source, origin },
        }
    }
}

pub(super) fn spec_says(fact: String, origin: Option<Origin>) -> Evidence {
    Evidence { code: Code::PinConflict, fact, source: "spec".to_owned(), origin }
}

pub(super) fn asks_for(spec: &Spec, line: PythonVersion) -> bool {
    spec.python.as_ref().is_some_and(|python| {
        python
            .value
            .iter()
            .any(|specifier| specifier.version().release().get(1).is_some_and(|minor| *minor == u64::from(line.minor)))
            && python_allowed(&python.value, line)
    })
}

pub(super) fn version_allowed(specifiers: &pep440_rs::VersionSpecifiers, release: &Release) -> bool {
    let exact = specifiers.iter().any(|specifier| *specifier.operator() == pep440_rs::Operator::Equal);
    let asks_prerelease = specifiers.iter().any(|specifier| specifier.version().any_prerelease());
    specifiers.contains(&release.version)
        && (exact || !release.yanked)
        && (asks_prerelease || !release.version.any_prerelease())
}

/// The releases on both sides of versions that nobody released: `the nearest releases known are 2.5.1 and 2.6.0`.
fn nearest_releases(asked: &pep440_rs::VersionSpecifiers, rows: &[Row<'_>]) -> String {
    let values = specifier_values(asked);
    let Some((low, high)) = values.bounding_range() else { return "no version can be that".to_owned() };
    let all = pep440_rs::VersionSpecifiers::empty();
    let mut known: Vec<_> =
        rows.iter().map(|row| row.release).filter(|release| version_allowed(&all, release)).collect();
    known.sort_by(|one, other| one.version.cmp(&other.version));
    let below = known.iter().rev().find(|release| {
        let version = Value::Release(release.version.clone());
        matches!(low, Bound::Included(low) | Bound::Excluded(low) if version <= *low) && !values.contains(&version)
    });
    let above = known.iter().find(|release| {
        let version = Value::Release(release.version.clone());
        matches!(high, Bound::Included(high) | Bound::Excluded(high) if version >= *high) && !values.contains(&version)
    });
    match (below, above) {
        (Some(below), Some(above)) => {
            format!("the nearest releases known are {} and {}", below.version, above.version)
        }
        (_, None) => known.last().map_or_else(
            || "no release is known".to_owned(),
            |newest| format!("the newest release known is {}", newest.version),
        ),
        (None, Some(oldest)) => format!("the oldest release known is {}", oldest.version),
    }
}

pub(super) fn deduplicated<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(name) {
            seen.push(*name);
        }
    }
    seen
}
