//! What a person should know of an answer that is one all the same.

use pep508_rs::{ExtraName, Requirement, VerbatimUrl};

use crate::packaging::Metadata;
use crate::version::wheel_tag::normalize_name;

use super::super::solver::Solution;
use super::super::variable::{Value, Variable};
use super::{PackageModel, SourceError};

impl PackageModel<'_> {
    /// Sentences about what was chosen: withdrawn releases, pre-releases that the spec does not speak of, and extras that a
    /// release does not have.
    pub fn warnings(&self, solution: &Solution) -> Result<Vec<String>, SourceError> {
        let mut warnings = Vec::new();
        for (variable, value) in solution.iter() {
            let (Variable::Distribution(name) | Variable::Extra(name, _), Value::Release(version)) = (variable, value)
            else {
                continue;
            };
            let Some(candidate) = self.choose(name, &pubgrub::Ranges::singleton(value.clone()))? else { continue };
            if let Variable::Extra(_, extra) = variable {
                let metadata = self.source.metadata(&candidate.index, &candidate.file)?;
                let lacks = metadata.is_ok_and(|metadata| !self.has_extra(&metadata, extra));
                if lacks {
                    warnings.push(format!("{name} {version} has no extra `{extra}`: nothing is installed for it"));
                }
            } else if let Some(reason) = &candidate.file.yanked {
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                warnings.push(format!("{name} {version} was yanked, and is taken because it is pinned{reason}"));
            } else if version.any_prerelease()
                && !self.named.speaks_of_prereleases(name)
                && self.offer(name)?.has_final_releases()
            {
                warnings.push(format!("{name} {version} is a pre-release, and the spec does not ask for one"));
            }
        }
        warnings.sort_unstable();
        Ok(warnings)
    }

    /// Whether a release declares an extra, or at least has requirements for it, as old ones do.
    fn has_extra(&self, metadata: &Metadata, extra: &str) -> bool {
        let name = ExtraName::new(extra.to_owned()).ok();
        let needs = |requirement: &Requirement<VerbatimUrl>| {
            !requirement.evaluate_markers(&self.markers, &[])
                && requirement.evaluate_markers(&self.markers, name.as_slice())
        };
        metadata.provides_extra.contains(&normalize_name(extra)) || metadata.requires_dist.iter().any(needs)
    }
}
