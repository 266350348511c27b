//! What many builds need, as one predicate.

use std::collections::BTreeSet;

use crate::version::PythonVersion;

use super::super::evidence::Code;
use super::super::numbers::describe_lines;
use super::super::variable::Variable;
use super::{Entry, Served};

impl Served<'_, '_> {
    /// What all of these rows need, told as one predicate; `None` where their facts differ too much.
    pub(super) fn need(&self, code: Code, to: &Variable, entries: &[&Entry<'_>]) -> Option<String> {
        let versions: BTreeSet<_> = entries.iter().map(|entry| &entry.row.release.version).collect();
        let one = versions.len() == 1;
        let (has, is, needs, brings) =
            if one { ("has", "is", "needs", "brings") } else { ("have", "are", "need", "bring") };
        Some(match (code, to) {
            (Code::NoWheelForPython | Code::RequiresPython, _) => {
                let wheels = |entry: &&Entry<'_>| {
                    let wheels = self.model.platforms.iter().filter_map(|at| entry.row.build.platforms.get(at));
                    wheels.flat_map(|wheels| wheels.pythons.clone()).collect::<Vec<PythonVersion>>()
                };
                let lines: Vec<PythonVersion> = entries.iter().flat_map(wheels).collect();
                // Of builds without wheels for the platform, that is the fault.
                lines.first()?;
                format!("{has} wheels for Python {}", describe_lines(&lines))
            }
            (Code::NoBuildForPlatform, Variable::Platform(platform)) => format!("{has} no wheels for {platform}"),
            (Code::CudaMismatch, Variable::WheelCuda) => {
                let majors = entries.iter().filter_map(|entry| Some(entry.row.build.toolkit.as_ref()?.major()));
                let majors: BTreeSet<u64> = majors.collect();
                let majors: Vec<String> = majors.iter().map(u64::to_string).collect();
                format!("{brings} libraries of CUDA {}", majors.join(" or "))
            }
            (Code::CudaMismatch, _) => {
                let toolkits = entries.iter().filter_map(|entry| entry.row.build.toolkit.as_ref());
                let toolkits: BTreeSet<_> = toolkits.map(|toolkit| toolkit.dotted().clone()).collect();
                format!("{is} built with CUDA {}", ends(&toolkits.iter().map(ToString::to_string).collect::<Vec<_>>()))
            }
            (Code::CudnnMismatch, to) => {
                let needs = entries.iter().filter_map(|entry| entry.row.build.cudnn.as_ref());
                let needs: BTreeSet<_> = needs.map(|need| (need.version.dotted(), need.or_newer)).collect();
                let or_newer = needs.first()?.1;
                if needs.iter().any(|(_, newer)| *newer != or_newer) {
                    return None;
                }
                let versions: Vec<String> = needs.iter().map(|(version, _)| version.to_string()).collect();
                match (or_newer, to) {
                    (true, _) => {
                        format!("{} cuDNN {} or newer", if one { "requires" } else { "require" }, ends(&versions))
                    }
                    (false, Variable::WheelCudnn) => format!("{brings} cuDNN {}", ends(&versions)),
                    (false, _) => format!("{is} built with cuDNN {}", ends(&versions)),
                }
            }
            (Code::GlibcTooOld, _) => {
                let wheels = |entry: &&Entry<'_>| {
                    let wheels = self.model.platforms.iter().filter_map(|at| entry.row.build.platforms.get(at));
                    wheels.map(|wheels| wheels.glibc).max()
                };
                let (major, minor) = entries.iter().filter_map(wheels).min()?;
                format!("{needs} glibc {major}.{minor} or newer")
            }
            (Code::PinConflict, Variable::Build(other)) => {
                let package = self.model.families.get(other.as_str())?.package;
                let versions = entries.iter().filter_map(|entry| entry.row.release.companions.get(package));
                let versions: BTreeSet<_> = versions.flatten().collect();
                let versions: Vec<String> = versions.into_iter().map(ToString::to_string).collect();
                let requires = if one { "requires" } else { "require" };
                format!("{requires} {package} {}", ends(&versions))
            }
            (Code::NoAcceleratorBuild, Variable::Platform(_)) => {
                let computes = if one { "computes" } else { "compute" };
                format!("{computes} on a GPU only")
            }
            _ => return None,
        })
    }
}

/// `a`, `a, b`, `a to z`: a sorted list by its ends where it is long.
pub(in crate::resolve) fn ends(sorted: &[String]) -> String {
    match sorted {
        [first, _, _, .., last] => format!("{first} to {last}"),
        short => short.join(", "),
    }
}
