//! One environment of a resolution: its Python, its base and one platform, to be asked again with something in the spec changed.

use std::collections::BTreeMap;

use pep440_rs::Version;

use crate::oci::Platform;
use crate::spec::Spec;

use super::numbers::python_value;
use super::packages::PackageModel;
use super::solver::{Failed, Problem, Proof, Solution, is_over_builds};
use super::stack::StackModel;
use super::variable::{Value, Variable};
use super::{Conflict, Error, Question, StackAnswer, preferred_values, solve_stack, source_error};

/// An environment.
pub(super) struct World<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) stack: StackAnswer,
    pub(super) platform: Platform,
    /// The interpreter's patch release.
    pub(super) full: Version,
    /// Versions to prefer.
    pub(super) locked: BTreeMap<String, Version>,
}

/// What is told of a solved problem: the solution or the proof.
type Hear<'h> = &'h mut dyn FnMut(&Problem<'_>, Result<&Solution, &Proof>);

impl<'a> World<'a> {
    /// An environment of a stack.
    pub(super) fn new(
        question: &'a Question<'a>,
        stack: &StackAnswer,
        platform: Platform,
        locked: BTreeMap<String, Version>,
    ) -> Result<Self, Error> {
        let full = question.interpreters.release(stack.python, &stack.base, platform).map_err(Error::Source)?;
        Ok(Self { question, stack: stack.clone(), platform, full, locked })
    }

    /// The same environment for another question.
    pub(super) fn asked_by<'b>(&self, question: &'b Question<'b>) -> World<'b> {
        let (stack, platform) = (self.stack.clone(), self.platform);
        World { question, stack, platform, full: self.full.clone(), locked: self.locked.clone() }
    }

    /// The environments of the Python that is tried first, one for each platform.
    pub(super) fn all(question: &'a Question<'a>, spec: &Spec) -> Result<Vec<Self>, Error> {
        let model = StackModel::new(spec, question.catalog)?;
        let Ok(first) = solve_stack(&model, question.preferences, None) else { return Ok(Vec::new()) };
        let Ok(stack) = solve_stack(&model, question.preferences, Some(first.python)) else { return Ok(Vec::new()) };
        let locked = &question.preferences.packages;
        stack.platforms.iter().map(|platform| Self::new(question, &stack, *platform, locked.clone())).collect()
    }

    /// The versions of a variant of the spec, or why there is no answer.
    pub(super) fn try_out(&self, spec: &Spec) -> Result<Result<BTreeMap<String, Version>, Conflict>, Error> {
        let mut outcome = Ok(BTreeMap::new());
        self.ask(spec, &mut |problem, solved| {
            outcome = match solved {
                Ok(solution) => Ok(versions(solution)),
                Err(proof) => Err(Conflict::from_proof(proof, problem)),
            };
        })?;
        Ok(outcome)
    }

    /// Solves a variant of the spec for the same Python and base, and hands over problem and outcome.
    pub(super) fn ask(&self, spec: &Spec, hear: Hear<'_>) -> Result<(), Error> {
        let model = StackModel::new(spec, self.question.catalog)?;
        let preferred = preferred_values(&model, self.question.preferences);
        let packages = self.packages(&model);
        let problem = self.problem(&model, &packages, &preferred);
        let proof = match problem.solve() {
            Ok(solution) => {
                hear(&problem, Ok(&solution));
                return Ok(());
            }
            Err(Failed::Proof(proof)) => proof,
            Err(Failed::Source(error)) => return Err(source_error(error)),
        };
        // As in a resolution: releases that the catalog does not have are the last resort.
        if is_over_builds(&proof) {
            let mut packages = self.packages(&model);
            packages.unknown_releases = true;
            let problem = self.problem(&model, &packages, &preferred);
            if let Ok(solution) = problem.solve() {
                hear(&problem, Ok(&solution));
                return Ok(());
            }
        }
        hear(&problem, Err(&proof));
        Ok(())
    }

    fn problem<'m>(
        &self,
        model: &'m StackModel<'m>,
        packages: &'m PackageModel<'m>,
        preferred: &'m BTreeMap<Variable, Value>,
    ) -> Problem<'m> {
        let mut problem = Problem::new(model, Some(packages), preferred);
        problem.fixed.insert(Variable::Python, vec![python_value(self.stack.python)]);
        if let Some(base) = model.bases.iter().position(|base| *base == self.stack.base) {
            problem.fixed.insert(Variable::Base, vec![Value::Rank(base as u32)]);
        }
        problem
    }

    /// The packages' tables for a variant of the spec.
    pub(super) fn packages<'m>(&'m self, model: &'m StackModel<'m>) -> PackageModel<'m> {
        let (python, glibc) = (self.stack.python, &self.stack.base.glibc);
        PackageModel::new(model, self.question.source, self.platform, python, &self.full, glibc, &self.locked)
    }
}

/// The packages of a solution.
fn versions(solution: &Solution) -> BTreeMap<String, Version> {
    let of_package = |(variable, value): (&Variable, &Value)| match (variable, value) {
        (Variable::Distribution(name), Value::Release(version)) => Some((name.clone(), version.clone())),
        _ => None,
    };
    solution.iter().filter_map(of_package).collect()
}
