//! What a build of a framework asks of the rest: wheels for the Python and the platform, a glibc, the other frameworks it
//! needs, and the CUDA and cuDNN that it was made with. What it asks of cards and drivers is in `cards`.

use pep440_rs::Version;
use pep508_rs::{Requirement, VerbatimUrl};
use pubgrub::Ranges;

use crate::catalog::{Accelerator, Build, Vendor};
use crate::version::PythonVersion;
use crate::version::wheel_tag::normalize_name;

use super::distributions::names_url;
use super::evidence::{Code, Edge, Evidence};
use super::numbers::{describe_lines, number, python_allowed, python_value};
use super::stack::{Row, StackModel};
use super::variable::{Value, Values, Variable, one_of};

impl StackModel<'_> {
    pub(super) fn suits_vendor(&self, build: &Build) -> bool {
        let (nvidia, amd) = (self.has_vendor(Vendor::Nvidia), self.has_vendor(Vendor::Amd));
        match build.accelerator {
            Accelerator::Cuda => nvidia || !amd,
            Accelerator::Rocm => amd,
            Accelerator::Cpu => !nvidia && !amd,
        }
    }

    /// Whether a build cannot be chosen whatever else is decided: no code for a card, no wheels for a platform.
    pub(super) fn is_excluded(&self, family: &str, row: &Row<'_>) -> bool {
        !self.suits_vendor(row.build) || self.row_edges(family, row).iter().any(|edge| edge.values.is_empty())
    }

    pub(super) fn row_edges(&self, family: &str, row: &Row<'_>) -> Vec<Edge> {
        let label = row_label(family, row);
        let cited = |source: &str, to, values, code, fact| Edge {
            to,
            values,
            evidence: Evidence { code, fact, source: source.to_owned(), origin: None },
        };
        // What wheels exist is the release's fact; what is in them is the build's.
        let (release, build) = (&row.release.source, &row.build.source);
        let (release, build) = match (release.is_empty(), build.is_empty()) {
            (true, _) => (build, build),
            (false, true) => (release, release),
            (false, false) => (release, build),
        };
        let wheels = |to, values, code, fact| cited(release, to, values, code, fact);
        let edge = |to, values, code, fact| cited(build, to, values, code, fact);
        if row.build.source_only {
            return self.source_only_edges(row, &label);
        }
        let mut edges = Vec::new();
        let mut glibc = None;
        let mut lines: Option<Vec<PythonVersion>> = None;
        for platform in &self.platforms {
            let Some(support) = row.build.platforms.get(platform) else {
                edges.push(wheels(
                    Variable::Platform(*platform),
                    Ranges::empty(),
                    Code::NoBuildForPlatform,
                    format!("{label} has no wheels for {platform}"),
                ));
                continue;
            };
            lines = Some(match lines {
                None => support.pythons.clone(),
                Some(lines) => lines.into_iter().filter(|line| support.pythons.contains(line)).collect(),
            });
            glibc = glibc.max(Some(support.glibc));
            for companion in support.without.iter().filter(|companion| self.asks_companion(family, companion)) {
                edges.push(edge(
                    Variable::Platform(*platform),
                    Ranges::empty(),
                    Code::NoBuildForPlatform,
                    format!("{label} has no wheels of {companion} for {platform}"),
                ));
            }
        }
        if let Some(required) = &row.release.requires_python {
            let allowed = self.pythons.iter().filter(|line| python_allowed(required, **line));
            edges.push(wheels(
                Variable::Python,
                one_of(allowed.map(|line| python_value(*line))),
                Code::RequiresPython,
                format!("{label} requires Python `{required}`"),
            ));
        }
        if let Some(lines) = lines {
            edges.push(wheels(
                Variable::Python,
                one_of(lines.iter().map(|line| python_value(*line))),
                Code::NoWheelForPython,
                format!("{label} has wheels for Python {}", describe_lines(&lines)),
            ));
        }
        if let Some((major, minor)) = glibc {
            edges.push(wheels(
                Variable::Glibc,
                Ranges::higher_than(number(&format!("{major}.{minor}"))),
                Code::GlibcTooOld,
                format!("{label} needs glibc {major}.{minor} or newer"),
            ));
        }
        for (index, target) in self.targets.iter().enumerate() {
            if let Some(gpu) = target.gpu {
                edges.extend(self.card_edges(index, target, gpu, row, &label));
            } else if row.build.accelerator != Accelerator::Cpu && self.needs_card(family) {
                edges.push(edge(
                    Variable::Platform(target.platform),
                    Ranges::empty(),
                    Code::NoAcceleratorBuild,
                    format!("{label} computes on a GPU only, and target `{}` has none", target.name),
                ));
            }
        }
        self.toolkit_edges(row, &label, &edge, &mut edges);
        // Last, because the search looks at the latest first: a pin explains more than the CUDA that comes with it.
        for (to, values, fact) in self.other_frameworks(family, row, &label) {
            edges.push(wheels(to, values, Code::PinConflict, fact));
        }
        edges
    }

    /// What the spec asks for of a family's companions, if it can come from nowhere but the build's own index.
    fn asks_companion(&self, family: &str, name: &str) -> bool {
        let mut frameworks = self.spec.frameworks.iter().filter(|framework| framework.family.value == family);
        let is_named = |requirement: &Requirement<VerbatimUrl>| {
            normalize_name(requirement.name.as_ref()) == name
                && !names_url(requirement)
                && self.always_holds(requirement)
        };
        self.spec.indexes.is_empty()
            && (frameworks.any(|framework| framework.with.iter().any(|companion| companion.value == name))
                || self.spec.packages.iter().any(|requirement| is_named(&requirement.value)))
    }

    /// A release without wheels: nothing here compiles, and nothing that runs without a compiler can install it.
    fn source_only_edges(&self, row: &Row<'_>, label: &str) -> Vec<Edge> {
        let edge = |platform, code, fact| Edge {
            to: Variable::Platform(platform),
            values: Ranges::empty(),
            evidence: Evidence { code, fact, source: row.source().to_owned(), origin: None },
        };
        let both = |platform| {
            let published = format!(
                "{label} is only a source distribution; a wheel has to be built where torch and nvcc are, and be put on an \
                 index of your own"
            );
            let wheels = format!("{label} has no wheel for any Python");
            [edge(platform, Code::NoBuildForPlatform, published), edge(platform, Code::NoWheelForPython, wheels)]
        };
        self.platforms.iter().copied().flat_map(both).collect()
    }

    /// Other frameworks that a release ties: those it cannot do without, and those made for it that the spec names too.
    fn other_frameworks(&self, family: &str, row: &Row<'_>, label: &str) -> Vec<(Variable, Values, String)> {
        let asked = |other: &str| self.asked.contains(other);
        let needs = self.catalog.framework(family).map(|framework| framework.needs.as_slice()).unwrap_or_default();
        let mut ties = Vec::new();
        for (other, table) in self.families.iter().filter(|(other, _)| **other != family) {
            let package = table.package;
            let is_needed = asked(other) || needs.iter().any(|needed| needed == package);
            let pins = row.release.companions.get(package).filter(|_| is_needed);
            let range = row.release.requires.get(package);
            let fits = |version: &Version| {
                pins.is_none_or(|pins| pins.contains(version)) && range.is_none_or(|range| range.contains(version))
            };
            let fact = match (pins, range) {
                (None, None) => continue,
                (Some(pins), _) => {
                    let listed: Vec<String> = pins.iter().map(ToString::to_string).collect();
                    format!("{label} requires {package} {}", listed.join(" or "))
                }
                (None, Some(range)) if range.is_empty() => format!("{label} requires {package}"),
                (None, Some(range)) => format!("{label} requires {package} `{range}`"),
            };
            let ranks = table.rows.iter().enumerate().filter(|(_, row)| fits(&row.release.version));
            let ranks = one_of(ranks.map(|(rank, _)| Value::Rank(rank as u32)));
            ties.push((Variable::Build((*other).to_owned()), ranks, fact));
        }
        ties
    }

    /// Whether a family has builds for accelerators only: those of torch also run on a processor, vLLM's do not.
    pub(super) fn needs_card(&self, family: &str) -> bool {
        self.families.get(family).is_some_and(|table| {
            table.rows.iter().all(|row| {
                row.build.accelerator != Accelerator::Cpu
                    && row.build.platforms.values().all(|wheels| wheels.accelerator != Some(Accelerator::Cpu))
            })
        })
    }
}

/// `torch 2.5.1 (cu124)`.
pub(super) fn row_label(family: &str, row: &Row<'_>) -> String {
    format!("{family} {} ({})", row.release.version, row.build.name)
}
