//! What the spec asks of the stack, as the edges of the problem's root: its targets, platforms, Python, base, CUDA and frameworks.

use std::collections::BTreeSet;

use pubgrub::Ranges;

use crate::catalog::{Release, Toolkit, Vendor};
use crate::diagnostic::Origin;
use crate::spec::{BaseChoice, Spec};
use crate::version::{PythonVersion, ToolkitVersion};

use super::bases::BaseRow;
use super::evidence::{Code, Edge, Evidence};
use super::numbers::{describe_lines, python_allowed, python_value, starting_with};
use super::stack::{Row, StackModel};
use super::targets::{card_value, describe_card, driver_edge};
use super::variable::{Value, Variable, one_of};

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
        if let Some(python) = &self.spec.python {
            let lines: Vec<&PythonVersion> =
                self.pythons.iter().filter(|line| python_allowed(&python.value, **line)).collect();
            let fact = match lines.is_empty() {
                true => format!(
                    "the spec asks for Python `{}`, and known are {}",
                    python.value,
                    describe_lines(&self.pythons)
                ),
                false => format!("the spec asks for Python `{}`", python.value),
            };
            edges.push(Edge {
                to: Variable::Python,
                evidence: Evidence {
                    code: if lines.is_empty() { Code::NoSuchVersion } else { Code::PinConflict },
                    ..spec_says(fact, python.origin.clone())
                },
                values: one_of(lines.into_iter().map(|line| python_value(*line))),
            });
        } else {
            edges.push(Edge {
                to: Variable::Python,
                values: Ranges::full(),
                evidence: spec_says("every image has a Python".to_owned(), None),
            });
        }
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
        let allowed = self.bases.iter().enumerate().filter(|(_, row)| {
            row.is_choice(&base.value) && os.is_none_or(|os| row.is_os(&os.value.distribution, &os.value.release))
        });
        let wish = match (&base.value, os) {
            (BaseChoice::Auto, None) => "the image needs a base".to_owned(),
            (BaseChoice::Auto, Some(os)) => format!("the spec asks for {} {}", os.value.distribution, os.value.release),
            (choice, _) => format!("the spec asks for base `{}`", super::bases::choice_name(choice)),
        };
        let allowed = one_of(allowed.map(|(rank, _)| Value::Rank(rank as u32)));
        let wish = match os.filter(|_| allowed == Ranges::empty()) {
            None => wish,
            Some(os) => {
                let own: BTreeSet<String> =
                    self.bases.iter().filter(|row| row.is_choice(&base.value)).map(BaseRow::os).collect();
                let own: Vec<String> = own.into_iter().collect();
                let (distribution, release) = (&os.value.distribution, &os.value.release);
                format!("the spec asks for {distribution} {release}, and the bases known have {}", own.join(", "))
            }
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
            match (matching.is_empty(), rows.last()) {
                (false, _) => format!("the builds known are {}", deduplicated(&matching).join(", ")),
                (true, Some(newest)) => format!("the newest release known is {}", newest.release.version),
                (true, None) => "no release is known".to_owned(),
            }
        };
        let fact = match none {
            true => format!("the spec asks for {family}{version}{build}, and {}", known()),
            false => format!("the spec asks for {family}{version}{build}"),
        };
        Edge {
            to: Variable::Build(family.to_owned()),
            values: one_of(ranks.into_iter().map(|rank| Value::Rank(rank as u32))),
            evidence: Evidence {
                code: if none { Code::NoSuchVersion } else { Code::PinConflict },
                ..spec_says(fact, origin.or_else(|| framework.family.origin.clone()))
            },
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

pub(super) fn deduplicated<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(name) {
            seen.push(*name);
        }
    }
    seen
}
