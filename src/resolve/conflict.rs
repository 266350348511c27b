//! Why there is no answer, as data: the steps of the proof with their sources, and the spec's lines that asked.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

use pubgrub::{Derived, External};
use serde_json::json;

use crate::diagnostic::{Hint, Origin};

use super::evidence::{Code, Evidence};
use super::solver::{Problem, Proof};
use super::variable::{Value, Values, Variable};

/// At most this many facts of one kind are listed; a proof should fit a screen.
const FACTS_PER_KIND: usize = 3;

/// One step of the proof.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Kind.
    pub code: Code,
    /// One sentence.
    pub fact: String,
    /// Citation.
    pub source: String,
    /// The line of the spec it collides with.
    pub origin: Option<Origin>,
}

/// A request that cannot be met.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// What the spec asked for, as far as it takes part.
    pub asks: Vec<Evidence>,
    /// The steps, most telling first.
    pub reasons: Vec<Reason>,
    /// Changes that were tried and do lead to an answer.
    pub help: Vec<String>,
}

impl Conflict {
    /// Reads a proof. `problem` is asked again for the evidence behind each of its leaves.
    pub(super) fn from_proof(proof: &Proof, problem: &Problem<'_>) -> Self {
        let mut leaves = Vec::new();
        collect(proof, &mut leaves);
        let mut asks: Vec<(Variable, Evidence)> = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        for leaf in &leaves {
            match leaf {
                External::NotRoot(..) => {}
                External::FromDependencyOf(Variable::Spec, _, to, _) => {
                    for evidence in evidence_between(problem, &Variable::Spec, &Value::Only, to) {
                        if !asks.iter().any(|(_, known)| *known == evidence) {
                            asks.push((to.clone(), evidence));
                        }
                    }
                }
                External::FromDependencyOf(from, values, to, _) => {
                    let found = members(problem, from, values).into_iter().flat_map(|value| {
                        let evidence = binding_evidence(problem, from, &value, to);
                        evidence.into_iter().map(move |evidence| (value.clone(), evidence))
                    });
                    add_step(&mut steps, from, to, found.collect());
                }
                External::NoVersions(variable, values) => {
                    // Where versions of the same package are refused by other leaves, this one only says that there are no more.
                    let refused = leaves.iter().any(|leaf| {
                        matches!(leaf, External::FromDependencyOf(from, ..) | External::Custom(from, ..) if from == variable)
                    });
                    if let Some(evidence) = nothing_left(problem, variable, values).filter(|_| !refused) {
                        add_step(&mut steps, variable, variable, vec![(Value::Only, evidence)]);
                    }
                }
                External::Custom(variable, _, text) => {
                    let evidence = Evidence {
                        code: Code::Unsatisfiable,
                        fact: text.clone(),
                        source: format!("metadata of {variable}"),
                        origin: None,
                    };
                    add_step(&mut steps, variable, variable, vec![(Value::Only, evidence)]);
                }
            }
        }
        let mut reasons: Vec<Reason> = Vec::new();
        let mut seen = BTreeSet::new();
        for Step { from, to, evidence } in &mut steps {
            evidence.sort_by_cached_key(|(value, _)| (misses(problem, from, value), Reverse(value.clone())));
            let evidence: Vec<&Evidence> = evidence.iter().map(|(_, evidence)| evidence).collect();
            let ask = |variable: &Variable| asks.iter().find(|(asked, _)| asked == variable).map(|(_, ask)| ask);
            let origin = ask(to).or_else(|| ask(from)).and_then(|ask| ask.origin.clone());
            for code in evidence.iter().map(|step| step.code).collect::<BTreeSet<_>>() {
                let of_kind: Vec<&Evidence> = evidence.iter().copied().filter(|step| step.code == code).collect();
                let more = of_kind.len().saturating_sub(FACTS_PER_KIND);
                for (position, step) in of_kind.iter().take(FACTS_PER_KIND).enumerate() {
                    let suffix = match more {
                        0 => String::new(),
                        _ if position + 1 == FACTS_PER_KIND => format!("; likewise {}", others(from, more)),
                        _ => String::new(),
                    };
                    let fact = format!("{}{suffix}", step.fact);
                    if seen.insert(fact.clone()) {
                        let origin = step.origin.clone().or_else(|| origin.clone());
                        reasons.push(Reason { code, fact, source: step.source.clone(), origin });
                    }
                }
            }
        }
        let mut asks: Vec<Evidence> = asks.into_iter().map(|(_, evidence)| evidence).collect();
        asks.retain(|ask| ask.origin.is_some() || ask.source != "spec");
        if reasons.is_empty() {
            reasons = asks
                .iter()
                .map(|ask| Reason {
                    code: ask.code,
                    fact: ask.fact.clone(),
                    source: ask.source.clone(),
                    origin: ask.origin.clone(),
                })
                .collect();
        }
        // The telling steps first: what is impossible in itself, before requirements that merely exclude each other.
        reasons.sort_by_key(|reason| matches!(reason.code, Code::PinConflict | Code::Unsatisfiable));
        Self { asks, reasons, help: Vec::new() }
    }

    /// The answer as data.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "status": "conflict",
            "reasons": self.reasons.iter().map(|reason| json!({
                "code": reason.code.name(),
                "fact": reason.fact,
                "source": reason.source,
                "spec_line": reason.origin.as_ref().map(Origin::line),
            })).collect::<Vec<_>>(),
            "help": self.help,
        })
    }
}

/// What the values of one variable need of another, over all leaves of the proof.
struct Step {
    from: Variable,
    to: Variable,
    evidence: Vec<(Value, Evidence)>,
}

fn add_step(steps: &mut Vec<Step>, from: &Variable, to: &Variable, found: Vec<(Value, Evidence)>) {
    let position = steps.iter().position(|step| step.from == *from && step.to == *to).unwrap_or_else(|| {
        steps.push(Step { from: from.clone(), to: to.clone(), evidence: Vec::new() });
        steps.len() - 1
    });
    for entry in found {
        if !steps[position].evidence.contains(&entry) {
            steps[position].evidence.push(entry);
        }
    }
}

/// How many of the spec's wishes a base fails: the nearest miss explains most.
fn misses(problem: &Problem<'_>, variable: &Variable, value: &Value) -> usize {
    if *variable != Variable::Base {
        return 0;
    }
    let asked = problem.stack.edges(&Variable::Spec, &Value::Only);
    let own = problem.stack.edges(variable, value);
    let fails =
        |ask: &&super::evidence::Edge| own.iter().any(|edge| edge.to == ask.to && edge.values.is_disjoint(&ask.values));
    asked.iter().filter(fails).count()
}

/// `12 other builds`.
fn others(variable: &Variable, count: usize) -> String {
    let (one, many) = match variable {
        Variable::Build(_) => ("other build", "other builds"),
        Variable::Base => ("other base", "other bases"),
        _ => ("older version", "older versions"),
    };
    format!("{count} {}", if count == 1 { one } else { many })
}

fn collect<'p>(proof: &'p Proof, leaves: &mut Vec<&'p External<Variable, Values, String>>) {
    match proof {
        Proof::External(leaf) => leaves.push(leaf),
        Proof::Derived(Derived { cause1, cause2, .. }) => {
            collect(cause1, leaves);
            collect(cause2, leaves);
        }
    }
}

/// The values of a set: the table's for stack variables, the single ones PubGrub collected for packages.
fn members(problem: &Problem<'_>, variable: &Variable, values: &Values) -> Vec<Value> {
    match problem.stack_values(variable) {
        Some(known) => known.into_iter().filter(|value| values.contains(value)).collect(),
        None => values
            .iter()
            .filter_map(|bounds| match bounds {
                (Bound::Included(low), Bound::Included(high)) if low == high => Some(low.clone()),
                _ => None,
            })
            .collect(),
    }
}

fn evidence_between(problem: &Problem<'_>, from: &Variable, value: &Value, to: &Variable) -> Vec<Evidence> {
    let edges = problem.edges(from, value).ok().and_then(Result::ok).unwrap_or_default();
    edges.into_iter().filter(|edge| edge.to == *to).map(|edge| edge.evidence).collect()
}

/// The evidence of those edges that exclude something the spec allows: `requires Python >=3.8` has no part in a conflict
/// over Python 3.13.
fn binding_evidence(problem: &Problem<'_>, from: &Variable, value: &Value, to: &Variable) -> Vec<Evidence> {
    let edges = |from: &Variable, value: &Value| {
        let edges = problem.edges(from, value).ok().and_then(Result::ok).unwrap_or_default();
        edges.into_iter().filter(|edge| edge.to == *to).collect::<Vec<_>>()
    };
    let asked = edges(&Variable::Spec, &Value::Only);
    let allowed = asked.iter().fold(Values::full(), |set, edge| set.intersection(&edge.values));
    let found = edges(from, value);
    let binds = |values: &Values| match problem.stack_values(to) {
        Some(known) => known.iter().any(|value| allowed.contains(value) && !values.contains(value)),
        None => !allowed.subset_of(values),
    };
    let binding: Vec<Evidence> =
        found.iter().filter(|edge| binds(&edge.values)).map(|edge| edge.evidence.clone()).collect();
    if binding.is_empty() { found.into_iter().map(|edge| edge.evidence).collect() } else { binding }
}

/// A sentence for a set without members.
fn nothing_left(problem: &Problem<'_>, variable: &Variable, values: &Values) -> Option<Evidence> {
    let evidence = |code, fact: String| Evidence { code, fact, source: "catalog".to_owned(), origin: None };
    match variable {
        Variable::Distribution(name) | Variable::Extra(name, _) => {
            let packages = problem.packages?;
            let (code, fact) = packages.explain_none(name, values);
            Some(Evidence { code, fact, source: "package index".to_owned(), origin: None })
        }
        Variable::Toolkit => {
            let pinned = problem.stack.spec.cuda.as_ref().map(|cuda| format!(" {}", cuda.value)).unwrap_or_default();
            let mut known: Vec<_> = problem.stack.bases.iter().filter_map(|base| base.toolkit.as_ref()).collect();
            known.sort_by_key(|toolkit| std::cmp::Reverse(toolkit.dotted()));
            let mut known: Vec<String> = known.iter().map(|toolkit| toolkit.major_minor()).collect();
            known.dedup();
            let fact = format!("no base has the CUDA toolkit{pinned}; known are {}", known.join(", "));
            Some(evidence(Code::NoSuchImage, fact))
        }
        Variable::SystemCudnn => Some(evidence(Code::CudnnMismatch, "no base has such a cuDNN".to_owned())),
        Variable::Driver(index) => {
            let target = problem.stack.targets.get(*index)?;
            let code = if target.driver.is_some() { Code::DriverBelowFloor } else { Code::DriverBranchEnds };
            Some(evidence(code, format!("target `{}` can have no such driver", target.name)))
        }
        _ => None,
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reasons.first() {
            Some(reason) => write!(f, "no environment meets this spec: {}", reason.fact),
            None => f.write_str("no environment meets this spec"),
        }
    }
}

impl std::error::Error for Conflict {}

impl Hint for Conflict {
    fn help(&self) -> Vec<String> {
        self.help.clone()
    }

    fn notes(&self) -> Vec<String> {
        let place = |origin: &Option<Origin>, source: &str| match origin {
            Some(origin) if source == "spec" => format!(" [{}:{}]", origin.path.display(), origin.line()),
            Some(origin) => format!(" [{}:{}; {source}]", origin.path.display(), origin.line()),
            None => format!(" [{source}]"),
        };
        let asks = self.asks.iter().map(|ask| format!("{}{}", ask.fact, place(&ask.origin, &ask.source)));
        let known: Vec<&str> = self.asks.iter().map(|ask| ask.fact.as_str()).collect();
        let steps = self.reasons.iter().filter(|reason| !known.contains(&reason.fact.as_str()));
        asks.chain(steps.map(|reason| format!("{} [{}]", reason.fact, reason.source))).collect()
    }

    fn origin(&self) -> Option<Origin> {
        let mut origins = self.reasons.iter().filter_map(|reason| reason.origin.clone());
        origins.next().or_else(|| self.asks.iter().find_map(|ask| ask.origin.clone()))
    }

    fn exit_code(&self) -> u8 {
        1
    }

    fn json(&self) -> Option<serde_json::Value> {
        Some(self.to_json())
    }
}
