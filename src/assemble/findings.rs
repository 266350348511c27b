//! What an image's wheels hold that installs but deserves a look: files that two of them fill differently, and files that
//! RECORD does not vouch for.
//!
//! Finding out opens every wheel, so the answer is remembered by the wheels' digests.

use serde::{Deserialize, Serialize};

use super::layers::{self, LayerKey};
use super::steps::{Materials, inputs};
use super::wheel::{Site, examine};
use crate::plan::{Plan, Step, VENV};
use crate::store::Store;

/// Kind of the store's facts.
const FACTS: &str = "wheel-findings";

/// Sentences for a person.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// One for each pair of wheels that bring different files at the same path.
    pub conflicts: Vec<String>,
    /// Harmless oddities, each behind its wheel's name and version.
    pub notes: Vec<String>,
}

/// Looks at the wheels of a plan, if all of their files are in the materials or it was done before.
pub fn find(plan: &Plan, materials: &Materials<'_>, store: &Store) -> Result<Findings, layers::Error> {
    let wheels = plan.steps.iter().find_map(|step| match step {
        Step::Wheels(wheels) => Some(wheels.as_slice()),
        _ => None,
    });
    let wheels = wheels.unwrap_or_default();
    let site = Site { prefix: VENV.to_owned(), python: plan.python };
    let key = LayerKey::wheels(wheels, &site, 0).to_string();
    if let Some(known) = store.recall(FACTS, &key).and_then(|fact| serde_json::from_str(&fact).ok()) {
        return Ok(known);
    }
    let inputs = inputs(wheels.iter(), materials);
    if inputs.len() < wheels.len() {
        return Ok(Findings::default());
    }
    let (conflicts, notes) = examine(&inputs, &site)?;
    let findings = Findings { conflicts: conflicts.iter().map(ToString::to_string).collect(), notes };
    store.remember(FACTS, &key, &serde_json::to_string(&findings).unwrap_or_default())?;
    Ok(findings)
}
