//! Requirements as edges of the problem, and the marker variables they are read with.

use pep440_rs::VersionSpecifiers;
use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};
use pubgrub::Ranges;

use crate::diagnostic::Origin;
use crate::version::wheel_tag::normalize_name;

use super::super::evidence::{Code, Edge, Evidence};
use super::super::variable::{Variable, specifier_values};

/// The edges of one requirement to packages: the distribution and its extras.
pub(super) fn package_edges(
    requirement: &Requirement<VerbatimUrl>,
    fact: &str,
    source: &str,
    origin: Option<Origin>,
) -> Vec<Edge> {
    let name = normalize_name(requirement.name.as_ref());
    let values = specifiers(requirement).map_or_else(Ranges::full, specifier_values);
    let evidence = Evidence { code: Code::PinConflict, fact: fact.to_owned(), source: source.to_owned(), origin };
    let extras = requirement.extras.iter().map(|extra| Variable::Extra(name.clone(), extra.to_string()));
    let variables = std::iter::once(Variable::Distribution(name.clone())).chain(extras);
    variables.map(|to| Edge { to, values: values.clone(), evidence: evidence.clone() }).collect()
}

pub(in super::super) fn specifiers(requirement: &Requirement<VerbatimUrl>) -> Option<&VersionSpecifiers> {
    match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => Some(specifiers),
        _ => None,
    }
}

/// `torch==2.5.1` to `torch==2.5.1+cu121`: the label names the build on an index that holds several.
pub(super) fn add_label(requirement: &mut Requirement<VerbatimUrl>, label: &str) {
    let labelled = specifiers(requirement).and_then(|specifiers| {
        let texts: Vec<String> = specifiers
            .iter()
            .map(|specifier| match specifier.operator() {
                pep440_rs::Operator::Equal if specifier.version().local().is_empty() => {
                    format!("=={}+{label}", specifier.version())
                }
                _ => specifier.to_string(),
            })
            .collect();
        texts.join(",").parse().ok()
    });
    if let Some(labelled) = labelled {
        requirement.version_or_url = Some(VersionOrUrl::VersionSpecifier(labelled));
    }
}

/// A requirement without its marker, which has been evaluated and would only distract.
pub(super) fn without_marker(requirement: &Requirement<VerbatimUrl>) -> String {
    let text = requirement.to_string();
    text.split_once(" ;").or_else(|| text.split_once(';')).map_or(text.clone(), |(bare, _)| bare.to_owned())
}
