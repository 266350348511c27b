//! Why a value of an answer is what it is: who asked, what held it back from being newer, and what would free it.
//!
//! Nothing is guessed. The chain comes from the same edges that the search follows; for `held back` the search is asked
//! again with the newer value forced, and the first reason of the conflict is told; changes that would free it are tried
//! as the `help:` lines of a conflict are.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};

use crate::catalog::Catalog;
use crate::diagnostic::Origin;
use crate::spec::{Framework, Located, Spec};
use crate::version::PythonVersion;

use super::answer::answer;
use super::builds::row_label;
use super::cudnn;
use super::evidence::{Code, Evidence};
use super::minimal::{Wish, answered};
use super::relax;
use super::solver::{Failed, Problem, Solution};
use super::stack::{Row, StackModel};
use super::variable::{Value, Variable};
use super::{Conflict, Error, Preferences, StackAnswer, preferred_values, resolve_stack, source_error};

/// At most this many changes are told.
pub(super) const CHANGES: usize = 3;

/// Why one value is what it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explanation {
    /// What it is about: `torch`, `python`, `driver`.
    pub subject: String,
    /// Other names a person may look for it under: `pytorch`.
    pub aliases: Vec<String>,
    /// What was chosen: `2.8.0 (cu128)`.
    pub value: String,
    /// Where it comes from, as pairs of a name and a value: version, build, index, file.
    pub details: Vec<(&'static str, String)>,
    /// The chain from the spec's line down to it.
    pub chosen_by: Vec<Cause>,
    /// What else requires it.
    pub also_required: Vec<Cause>,
    /// Newer values, the next one first, each with what excludes it.
    pub held_back: Vec<HeldBack>,
    /// Changes that were tried and lead to a newer value.
    pub freed_by: Vec<String>,
    /// What could not be found out, or is worth knowing besides.
    pub remarks: Vec<String>,
}

/// One step of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// One sentence.
    pub fact: String,
    /// Citation.
    pub source: String,
    /// The line of the spec that says it.
    pub origin: Option<Origin>,
}

/// A newer value and what excludes it.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldBack {
    /// The newer value.
    pub value: String,
    /// Kind of the reason; `None` where nothing excludes it and the choice is a preference.
    pub code: Option<Code>,
    /// The first reason.
    pub cause: Cause,
}

impl From<Evidence> for Cause {
    fn from(evidence: Evidence) -> Self {
        Self { fact: evidence.fact, source: evidence.source, origin: evidence.origin }
    }
}

/// The stack and the reasons for each of its values. Fails with the conflict where there is no answer.
pub fn explain_stack(
    spec: &Spec,
    catalog: &Catalog,
    preferences: &Preferences,
) -> Result<(StackAnswer, Vec<Explanation>), Error> {
    let model = StackModel::new(spec, catalog)?;
    let preferred = preferred_values(&model, preferences);
    let problem = Problem::new(&model, None, &preferred);
    let solution = match problem.solve() {
        Ok(solution) => solution,
        Err(Failed::Source(error)) => return Err(source_error(error)),
        // Once more, for the proof with its help.
        Err(Failed::Proof(_)) => {
            return resolve_stack(spec, catalog, preferences).map(|answer| (answer, Vec::new()));
        }
    };
    let answer = answer(&model, &solution, &preferred);
    let told = Stack { model: &model, solution: &solution, answer: &answer };
    let mut explanations = vec![told.python()];
    for (family, row) in told.builds() {
        explanations.push(told.framework(family, &row));
        explanations.extend(told.companions(family, &row));
    }
    explanations.extend(told.cuda());
    explanations.extend(told.cudnn());
    explanations.extend(told.driver());
    explanations.push(told.base());
    Ok((answer, explanations))
}

/// A solved stack, to be asked about its values.
struct Stack<'m, 'a> {
    model: &'m StackModel<'a>,
    solution: &'m Solution,
    answer: &'m StackAnswer,
}

impl<'a> Stack<'_, 'a> {
    /// The builds chosen, in the order of the answer.
    fn builds(&self) -> Vec<(&'a str, Row<'a>)> {
        let frameworks = self.answer.frameworks.iter();
        let found = frameworks.filter_map(|chosen| {
            let rank = self.solution.get(&Variable::Build(chosen.family.clone()))?.rank()?;
            let (family, _) = self.model.families.get_key_value(chosen.family.as_str())?;
            Some((*family, self.model.row(family, rank)?))
        });
        found.collect()
    }

    /// What the spec says of a variable.
    fn asked(&self, to: &Variable) -> Vec<Cause> {
        let edges = self.model.edges(&Variable::Spec, &Value::Only);
        let said = edges.into_iter().filter(|edge| edge.to == *to && edge.evidence.origin.is_some());
        said.map(|edge| edge.evidence.into()).collect()
    }

    /// What the chosen builds need of a variable.
    fn needed(&self, to: &Variable) -> Vec<Cause> {
        let mut causes: Vec<Cause> = Vec::new();
        for (family, row) in self.builds() {
            let edges = self.model.row_edges(family, &row).into_iter().filter(|edge| edge.to == *to);
            // Published wheels say more than what a release claims to run on.
            for edge in edges.filter(|edge| edge.evidence.code != Code::RequiresPython) {
                let cause = Cause::from(edge.evidence);
                if !causes.contains(&cause) {
                    causes.push(cause);
                }
            }
        }
        causes
    }

    fn python(&self) -> Explanation {
        let chosen = self.answer.python;
        let newer = self.model.pythons.iter().copied().filter(|line| *line > chosen);
        let outcome = |line: &PythonVersion| {
            let (forced, wish) = with_python(self.model.spec, *line)?;
            let order = "the newest framework comes before the newest Python, and a lock before both";
            Some(self.outcome(&line.to_string(), &forced, wish, &self.asked(&Variable::Python), order))
        };
        let outcomes: Vec<Outcome> = newer.collect::<Vec<_>>().iter().filter_map(outcome).collect();
        let mut chosen_by = self.asked(&Variable::Python);
        chosen_by.extend(self.needed(&Variable::Python));
        if chosen_by.is_empty() {
            chosen_by.push(Cause {
                fact: format!("Python {chosen} is the newest line that has been released"),
                source: self.source_of_python(chosen),
                origin: None,
            });
        }
        let explanation = Explanation {
            subject: "python".to_owned(),
            value: chosen.to_string(),
            chosen_by,
            ..Explanation::default()
        };
        with_outcomes(explanation, outcomes)
    }

    fn source_of_python(&self, line: PythonVersion) -> String {
        let known = self.model.catalog.pythons.iter().find(|known| known.version == line);
        known.map(|known| known.source.clone()).unwrap_or_default()
    }

    fn framework(&self, family: &str, row: &Row<'a>) -> Explanation {
        let spec = self.model.spec;
        let asked = spec.frameworks.iter().find(|framework| framework.family.value == family);
        let table = self.model.families.get(family);
        let package = table.map_or(family, |table| table.package);
        let variable = Variable::Build(family.to_owned());
        let mut chosen_by = self.asked(&variable);
        // Other frameworks that decide this one, as vLLM decides torch.
        for (other, build) in self.builds() {
            let edges = self.model.row_edges(other, &build).into_iter();
            chosen_by.extend(edges.filter(|edge| edge.to == variable).map(|edge| Cause::from(edge.evidence)));
        }
        let newest = format!("{} is the newest build of it that suits every target", row_label(family, row));
        chosen_by.push(Cause { fact: newest, source: row.source().to_owned(), origin: None });
        let outcomes: Vec<Outcome> = self
            .newer_releases(family, row)
            .iter()
            .filter_map(|version| {
                let (forced, wish) = with_version(spec, family, version)?;
                let excluded = asked.is_some_and(|asked| !asked.version.contains(version));
                let said = if excluded { self.asked(&variable) } else { Vec::new() };
                let order =
                    format!("the lock holds the older one; `imgforge lock --upgrade-package {package}` lets it go");
                Some(self.outcome(&version.to_string(), &forced, wish, &said, &order))
            })
            .collect();
        let remarks = match outcomes.is_empty() {
            true => vec!["no newer release is known".to_owned()],
            false => Vec::new(),
        };
        let explanation = Explanation {
            subject: package.to_owned(),
            aliases: vec![family.to_owned()],
            value: format!("{} ({})", row.release.version, row.build.name),
            details: vec![
                ("version", row.release.version.to_string()),
                ("build", row.build.name.clone()),
                ("index", row.build.index.clone()),
            ],
            chosen_by,
            remarks,
            ..Explanation::default()
        };
        with_outcomes(explanation, outcomes)
    }

    /// The next newer release and the newest one.
    fn newer_releases(&self, family: &str, row: &Row<'_>) -> Vec<Version> {
        let rows = self.model.families.get(family).map(|table| table.rows.as_slice()).unwrap_or_default();
        let usable = rows.iter().map(|row| row.release);
        let usable = usable.filter(|release| !release.yanked && !release.version.any_prerelease());
        let newer: BTreeSet<&Version> =
            usable.map(|release| &release.version).filter(|version| **version > row.release.version).collect();
        ends(newer.into_iter().cloned().collect())
    }

    fn companions(&self, family: &str, row: &Row<'a>) -> Vec<Explanation> {
        let chosen = self.answer.frameworks.iter().find(|chosen| chosen.family == family);
        let companions = chosen.map(|chosen| chosen.companions.clone()).unwrap_or_default();
        companions
            .into_iter()
            .map(|(name, version)| {
                let own = format!("{name} {version} was released for {}", row_label(family, row));
                let mut chosen_by = self.asked(&Variable::Build(family.to_owned()));
                chosen_by.push(Cause { fact: own, source: row.release.source.clone(), origin: None });
                let package = self.model.families.get(family).map_or(family, |table| table.package);
                Explanation {
                    subject: name,
                    value: version.to_string(),
                    details: vec![("version", version.to_string()), ("index", row.build.index.clone())],
                    chosen_by,
                    remarks: vec![format!("it moves with {package}: see `imgforge explain SPEC {package}`")],
                    ..Explanation::default()
                }
            })
            .collect()
    }

    fn cuda(&self) -> Option<Explanation> {
        let value = self.answer.cuda.clone()?;
        let mut chosen_by = self.asked(&Variable::Toolkit);
        for (family, row) in self.builds() {
            let Some(toolkit) = &row.build.toolkit else { continue };
            let fact = format!("{} is built with CUDA {toolkit}", row_label(family, &row));
            chosen_by.push(Cause { fact, source: row.source().to_owned(), origin: None });
        }
        let mut outcomes = Vec::new();
        for (family, row) in self.builds() {
            for build in newer_builds(&row) {
                let Some((forced, wish)) = with_build(self.model.spec, family, &row, &build.name) else { continue };
                let label = build.toolkit.as_ref().map(ToString::to_string).unwrap_or_default();
                let label = format!("{label} ({family} {}, {})", row.release.version, build.name);
                let order = "the default index's own build comes first";
                outcomes.push(self.outcome(&label, &forced, wish, &[], order));
            }
        }
        let explanation = Explanation { subject: "cuda".to_owned(), value, chosen_by, ..Explanation::default() };
        Some(with_outcomes(explanation, outcomes))
    }

    fn cudnn(&self) -> Option<Explanation> {
        let value = self.answer.cudnn.clone()?;
        let mut chosen_by = self.asked(&Variable::PinnedCudnn);
        let mut is_pinned = false;
        let mut of_cards: Vec<Cause> = Vec::new();
        for (family, row) in self.builds() {
            let Some(need) = &row.build.cudnn else { continue };
            is_pinned |= !need.or_newer;
            let verb = if need.or_newer { "takes" } else { "is built with" };
            let fact = format!("{} {verb} {}", row_label(family, &row), cudnn::described(need));
            chosen_by.push(Cause { fact, source: row.source().to_owned(), origin: None });
            let edges = self.model.row_edges(family, &row).into_iter();
            let edges = edges.filter(|edge| edge.to == Variable::WheelCudnn);
            let limits = edges.filter(|edge| edge.evidence.code == Code::CcNotSupported);
            of_cards.extend(limits.map(|edge| Cause::from(edge.evidence)));
        }
        for cause in of_cards {
            if !chosen_by.contains(&cause) {
                chosen_by.push(cause);
            }
        }
        let remark = match is_pinned {
            true => "it moves with the framework's build",
            false => "it is the newest that the builds and the cards take",
        };
        Some(Explanation {
            subject: "cudnn".to_owned(),
            value,
            chosen_by,
            remarks: vec![remark.to_owned()],
            ..Explanation::default()
        })
    }

    fn driver(&self) -> Option<Explanation> {
        let minimum = self.answer.driver_minimum.as_ref()?;
        let mut chosen_by: Vec<Cause> = Vec::new();
        for (index, target) in self.model.targets.iter().enumerate() {
            let variable = Variable::Driver(index);
            let first = target.gpu.and_then(|gpu| Some((gpu, gpu.minimum_driver.as_ref()?)));
            let card = first.filter(|(_, first)| *first == minimum).map(|(gpu, first)| Cause {
                fact: format!("{} is known to driver {first} and newer", gpu.name),
                source: gpu.source.clone(),
                origin: target.origin.clone(),
            });
            let pinned = self.model.pinned_cuda_edges().into_iter().filter(|edge| edge.to == variable);
            let pinned = pinned.map(|edge| Cause::from(edge.evidence));
            for cause in self.asked(&variable).into_iter().chain(pinned).chain(self.needed(&variable)).chain(card) {
                if !chosen_by.contains(&cause) {
                    chosen_by.push(cause);
                }
            }
        }
        Some(Explanation {
            subject: "driver".to_owned(),
            value: format!("{minimum} or newer"),
            chosen_by,
            remarks: vec!["any newer driver runs the image as well".to_owned()],
            ..Explanation::default()
        })
    }

    fn base(&self) -> Explanation {
        let base = &self.answer.base;
        let mut chosen_by = self.asked(&Variable::Base);
        chosen_by.extend(self.asked(&Variable::Toolkit));
        chosen_by.push(Cause { fact: self.answer.base_reason.clone(), source: base.source.clone(), origin: None });
        let chosen = self.solution.get(&Variable::Base).and_then(Value::rank).unwrap_or(0);
        // The ranks above are the bases that would have been taken first.
        let better: Vec<usize> = (chosen + 1..self.model.bases.len()).collect();
        let held_back = ends(better).into_iter().filter_map(|rank| self.other_base(rank)).collect();
        Explanation {
            subject: "base".to_owned(),
            aliases: vec!["os".to_owned(), "glibc".to_owned()],
            value: base.label(),
            details: vec![("os", base.os()), ("glibc", base.glibc.to_string()), ("kind", base.kind.to_owned())],
            chosen_by,
            held_back,
            ..Explanation::default()
        }
    }

    fn other_base(&self, rank: usize) -> Option<HeldBack> {
        let base = self.model.bases.get(rank)?;
        let preferred = BTreeMap::new();
        let mut problem = Problem::new(self.model, None, &preferred);
        problem.fixed.insert(Variable::Base, vec![Value::Rank(rank as u32)]);
        let (code, cause) = match problem.solve() {
            Ok(solution) => {
                let other = answer(self.model, &solution, &preferred);
                let instead = relax::result(&other);
                let fact = format!("it would do with {instead}, and newer frameworks and Pythons come first");
                (None, Cause { fact, source: base.source.clone(), origin: None })
            }
            Err(Failed::Source(_)) => return None,
            Err(Failed::Proof(proof)) => first_cause(&Conflict::from_proof(&proof, &problem), &[])?,
        };
        Some(HeldBack { value: base.label(), code, cause })
    }

    /// What comes of a spec in which a newer value is forced. `said` are the lines of the spec that exclude it, `order` is
    /// why it was not taken where nothing excludes it.
    fn outcome(&self, value: &str, forced: &Spec, wish: Wish, said: &[Cause], order: &str) -> Outcome {
        let catalog = self.model.catalog;
        let held = |code, cause| HeldBack { value: value.to_owned(), code, cause };
        if let Some(answer) = answered(forced, catalog) {
            let instead = relax::result(&answer);
            return match said.first() {
                Some(line) => Outcome {
                    held_back: held(Some(Code::PinConflict), line.clone()),
                    freed_by: vec![format!("without that line there is an answer: {instead}")],
                },
                None => Outcome {
                    held_back: held(
                        None,
                        Cause {
                            fact: format!("{instead} would do too, but {order}"),
                            source: "catalog".to_owned(),
                            origin: None,
                        },
                    ),
                    freed_by: Vec::new(),
                },
            };
        }
        let conflict = match resolve_stack_alone(forced, catalog) {
            Some(conflict) => first_cause(&conflict, said),
            None => None,
        };
        let unknown = || {
            let fact = "there is no answer with it".to_owned();
            (Some(Code::Unsatisfiable), Cause { fact, source: "catalog".to_owned(), origin: None })
        };
        let (code, cause) = conflict.unwrap_or_else(unknown);
        let freed_by = relax::freeing(forced, catalog, wish);
        Outcome { held_back: held(code, cause), freed_by }
    }
}

/// What came of forcing a newer value.
struct Outcome {
    held_back: HeldBack,
    freed_by: Vec<String>,
}

/// The outcomes for the next and the newest value; what frees the newest counts, as that is what people want.
fn with_outcomes(mut explanation: Explanation, outcomes: Vec<Outcome>) -> Explanation {
    for Outcome { held_back, freed_by } in ends(outcomes) {
        for change in freed_by {
            let change = format!("{}: {change}", held_back.value);
            if explanation.freed_by.len() < CHANGES && !explanation.freed_by.contains(&change) {
                explanation.freed_by.push(change);
            }
        }
        explanation.held_back.push(held_back);
    }
    explanation
}

/// Builds of the same release with a newer CUDA, the next one and the newest.
fn newer_builds<'a>(row: &Row<'a>) -> Vec<&'a crate::catalog::Build> {
    let Some(own) = &row.build.toolkit else { return Vec::new() };
    let mut newer: Vec<_> = row
        .release
        .builds
        .iter()
        .filter(|build| build.accelerator == row.build.accelerator)
        .filter(|build| build.toolkit.as_ref().is_some_and(|toolkit| toolkit.dotted() > own.dotted()))
        .collect();
    newer.sort_by_key(|build| build.toolkit.as_ref().map(|toolkit| toolkit.dotted().clone()));
    ends(newer)
}

/// First and last of a list.
pub(super) fn ends<T>(mut list: Vec<T>) -> Vec<T> {
    let last = if list.len() > 1 { list.pop() } else { None };
    list.truncate(1);
    list.extend(last);
    list
}

/// The conflict over a stack, without help.
fn resolve_stack_alone(spec: &Spec, catalog: &Catalog) -> Option<Conflict> {
    let model = StackModel::new(spec, catalog).ok()?;
    let preferred = BTreeMap::new();
    let problem = Problem::new(&model, None, &preferred);
    match problem.solve() {
        Err(Failed::Proof(proof)) => Some(Conflict::from_proof(&proof, &problem)),
        _ => None,
    }
}

/// The first reason of a conflict, or the first line of the spec where the lines alone exclude each other.
pub(super) fn first_cause(conflict: &Conflict, said: &[Cause]) -> Option<(Option<Code>, Cause)> {
    let reason = conflict.reasons.first().map(|reason| {
        let (fact, source) = (reason.fact.clone(), reason.source.clone());
        (Some(reason.code), Cause { fact, source, origin: reason.origin.clone() })
    });
    reason.or_else(|| said.first().map(|line| (Some(Code::PinConflict), line.clone())))
}

fn exactly(version: &Version) -> Option<VersionSpecifiers> {
    let specifier = VersionSpecifier::from_version(Operator::Equal, version.clone()).ok()?;
    Some(VersionSpecifiers::from(specifier))
}

/// The spec with one Python line.
fn with_python(spec: &Spec, line: PythonVersion) -> Option<(Spec, Wish)> {
    let mut forced = spec.clone();
    let origin = spec.python.as_ref().and_then(|python| python.origin.clone());
    forced.python = Some(Located { value: format!("=={line}.*").parse().ok()?, origin });
    Some((forced, Wish::Python))
}

/// The spec with one version of a family. One that only packages bring in is asked for as the spec would ask.
fn with_version(spec: &Spec, family: &str, version: &Version) -> Option<(Spec, Wish)> {
    let mut forced = spec.clone();
    let index = position(&mut forced, family);
    forced.frameworks.get_mut(index)?.version = exactly(version)?;
    Some((forced, Wish::Version(index)))
}

fn with_build(spec: &Spec, family: &str, row: &Row<'_>, build: &str) -> Option<(Spec, Wish)> {
    let mut forced = spec.clone();
    let index = position(&mut forced, family);
    let framework = forced.frameworks.get_mut(index)?;
    framework.version = exactly(&row.release.version)?;
    framework.build = Some(Located::default_of(build.to_owned()));
    Some((forced, Wish::Build(index)))
}

fn position(spec: &mut Spec, family: &str) -> usize {
    let known = spec.frameworks.iter().position(|framework| framework.family.value == family);
    known.unwrap_or_else(|| {
        spec.frameworks.push(Framework {
            family: Located::default_of(family.to_owned()),
            version: VersionSpecifiers::empty(),
            version_origin: None,
            build: None,
            with: Vec::new(),
        });
        spec.frameworks.len() - 1
    })
}
