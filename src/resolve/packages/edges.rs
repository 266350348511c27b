//! What the spec and each version require, as edges of the problem.

use pep508_rs::{ExtraName, Requirement, VerbatimUrl, VersionOrUrl};
use pubgrub::Ranges;

use crate::diagnostic::Origin;
use crate::packaging::Metadata;
use crate::spec::Located;
use crate::version::wheel_tag::normalize_name;

use super::super::evidence::{Code, Edge, Evidence};
use super::super::variable::{Value, Variable, specifier_values};
use super::offer::Candidate;
use super::requirement::{package_edges, specifiers, without_marker};
use super::{PackageModel, SourceError};

impl PackageModel<'_> {
    /// What the spec's packages ask for in this environment.
    pub fn spec_edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for package in &self.stack.spec.packages {
            if package.value.evaluate_markers(&self.markers, &[]) {
                let fact = format!("the spec asks for `{}`", package.value);
                edges.extend(self.requirement_edges(&package.value, &fact, "spec", package.origin.clone()));
            }
        }
        edges
    }

    /// What the spec's constraints say of a package: whoever requires it requires that as well.
    pub(super) fn bounds(&self, name: &str) -> Vec<Edge> {
        let applies = |constraint: &&Located<Requirement<VerbatimUrl>>| {
            normalize_name(constraint.value.name.as_ref()) == name
                && constraint.value.evaluate_markers(&self.markers, &[])
        };
        let applying = self.stack.spec.constraints.iter().filter(applies);
        let edges = applying.flat_map(|constraint| {
            let fact = format!("a constraint says `{}`", constraint.value);
            self.own_edges(&constraint.value, &fact, "spec", constraint.origin.clone())
        });
        // A constraint bounds a package, and asks for none of its extras.
        edges.filter(|edge| !matches!(edge.to, Variable::Extra(..))).collect()
    }

    /// What one version requires, with or without an extra; or why it cannot be used.
    pub fn edges(
        &self,
        name: &str,
        extra: Option<&str>,
        candidate: &Candidate,
    ) -> Result<Result<Vec<Edge>, String>, SourceError> {
        let version = &candidate.version;
        let metadata = match self.source.metadata(&candidate.index, &candidate.file)? {
            Ok(metadata) => metadata,
            Err(reason) => return Ok(Err(format!("{name} {version} cannot be used: {reason}"))),
        };
        if let Some(reason) = self.fault(name, extra, candidate, &metadata) {
            return Ok(Err(reason));
        }
        let source = format!("metadata of {name} {version}");
        let mut edges = Vec::new();
        let extra_name = extra.and_then(|extra| ExtraName::new(extra.to_owned()).ok());
        let extras: &[ExtraName] = extra_name.as_slice();
        if extra.is_some() {
            edges.push(Edge {
                to: Variable::Distribution(name.to_owned()),
                values: Ranges::singleton(Value::Release(version.clone())),
                evidence: Evidence {
                    code: Code::PinConflict,
                    fact: format!("an extra of {name} comes with the same version"),
                    source: source.clone(),
                    origin: None,
                },
            });
        }
        for requirement in &metadata.requires_dist {
            let plain = requirement.evaluate_markers(&self.markers, &[]);
            let with_extra = !extras.is_empty() && requirement.evaluate_markers(&self.markers, extras);
            if plain != extra.is_none() || (extra.is_some() && !with_extra) {
                continue;
            }
            if let Some(VersionOrUrl::Url(url)) = &requirement.version_or_url {
                let url = crate::redact::text(&url.to_string());
                return Ok(Err(format!("{name} {version} requires {} from a URL ({url})", requirement.name)));
            }
            // A distribution may name its own extras (`all`), never itself.
            let fact = match extra {
                Some(extra) => format!("{name}[{extra}] {version} requires `{}`", without_marker(requirement)),
                None => format!("{name} {version} requires `{}`", without_marker(requirement)),
            };
            let own = normalize_name(requirement.name.as_ref()) == name;
            if own
                && specifiers(requirement)
                    .is_some_and(|set| !specifier_values(set).contains(&Value::Release(version.clone())))
            {
                return Ok(Err(format!("{fact}, another version of itself")));
            }
            if self.routes.is_of_framework(&candidate.index) {
                self.build_indexes.note_pin(&candidate.index, requirement);
            }
            edges.extend(self.requirement_edges(requirement, &fact, &source, None));
        }
        if extra.is_none() {
            edges.extend(self.stack.release_edge(name, version, &source));
            edges.extend(self.companion_edges(name, candidate, &metadata, &source));
        }
        self.prefetch(&edges);
        Ok(Ok(edges))
    }

    /// The edges of one requirement, and what constraints say of the package it names.
    fn requirement_edges(
        &self,
        requirement: &Requirement<VerbatimUrl>,
        fact: &str,
        source: &str,
        origin: Option<Origin>,
    ) -> Vec<Edge> {
        let mut edges = self.own_edges(requirement, fact, source, origin);
        edges.extend(self.bounds(&normalize_name(requirement.name.as_ref())));
        edges
    }

    /// To its distribution and extras, and to the builds of a framework that it leaves.
    fn own_edges(
        &self,
        requirement: &Requirement<VerbatimUrl>,
        fact: &str,
        source: &str,
        origin: Option<Origin>,
    ) -> Vec<Edge> {
        let mut edges = package_edges(requirement, fact, source, origin);
        let build =
            edges.first().and_then(|edge| self.stack.build_edge(requirement, &edge.evidence, self.unknown_releases));
        edges.extend(build);
        edges
    }

    /// Why a release's METADATA keeps it from being used.
    fn fault(&self, name: &str, extra: Option<&str>, candidate: &Candidate, metadata: &Metadata) -> Option<String> {
        let version = candidate.own_version();
        if metadata.version != *version {
            return Some(format!("METADATA of {name} {version} says that it is {name} {}", metadata.version));
        }
        if let Some(required) = &metadata.requires_python
            && !required.contains(&self.full_python)
        {
            return Some(format!("{name} {version} requires Python `{required}`"));
        }
        // What an extra would need does not matter to those who did not ask for it.
        let concerns =
            |line: &&String| match (line.split_once(';').filter(|(_, marker)| marker.contains("extra")), extra) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some((_, marker)), Some(extra)) => marker.contains(extra),
            };
        let line = metadata.skipped.iter().find(concerns)?;
        Some(format!("{name} {version} requires `{}`, which is no requirement", crate::redact::text(line)))
    }
}
