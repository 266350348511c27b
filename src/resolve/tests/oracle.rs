//! The solver against plain enumeration, over random small catalogs and specs.
//!
//! `world` and `request` make the question and write it as YAML, so that reading it is part of the test; `rules` says anew
//! what an answer is; `claims` holds explanations to the truth; `packages` does the same for Python packages. A failing
//! case prints both texts. `PROPTEST_CASES` sets how many cases there are.

mod claims;
mod packages;
mod request;
mod rules;
mod world;

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::catalog::Catalog;
use crate::resolve::{Error, Preferences, StackAnswer, resolve_stack};
use crate::spec::Spec;

use super::summary;
use request::Request;
use rules::{Combination, Oracle, compare};
use world::{Kind, RELEASES, World};

/// Fewer than proptest's own default where a debug build is slow; the variable goes before.
pub(super) fn cases(default: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(default), failure_persistence: None, ..ProptestConfig::default() }
}

fn solve(world: &World, request: &Request) -> Result<StackAnswer, Error> {
    let catalog = Catalog::from_texts(&[("world.yaml", &world.to_yaml())]);
    let catalog = catalog.unwrap_or_else(|error| panic!("{error}\n{}", world.to_yaml()));
    let spec = Spec::parse(Path::new("spec.yaml"), &request.to_yaml(), Path::new("/nonexistent"));
    let spec = spec.unwrap_or_else(|error| panic!("{error}\n{}", request.to_yaml()));
    resolve_stack(&spec, &catalog, &Preferences::default())
}

/// The solver's answer among those of the oracle.
fn found<'a>(answers: &[Combination<'a>], answer: &StackAnswer) -> Option<Combination<'a>> {
    let same = |combination: &&Combination<'a>| {
        let base = combination.base;
        let reference = answer.base.reference.as_ref().or(answer.base.suite.as_ref());
        let has_row = |(family, row): &(&str, rules::Row<'_>)| {
            answer.frameworks.iter().any(|chosen| {
                let version = chosen.version.to_string() == RELEASES[row.release.version];
                chosen.family == *family && version && chosen.build == row.build.name
            })
        };
        combination.python == answer.python.to_string()
            && reference.is_some_and(|reference| reference.ends_with(&base.name))
            && combination.rows.len() == answer.frameworks.len()
            && combination.rows.iter().all(has_row)
    };
    answers.iter().find(same).cloned()
}

/// Checks that nothing is better than `chosen` by the documented order: family by family the newest release, on the default
/// index if there is a build of it; then the newest Python, on an image without one the newest of an archive; then the
/// smallest base.
fn is_best(
    answers: &[Combination<'_>],
    chosen: &Combination<'_>,
    world: &World,
    request: &Request,
) -> Result<(), String> {
    let mut left: Vec<&Combination<'_>> = answers.iter().collect();
    for (index, (family, row)) in chosen.rows.iter().enumerate() {
        let newest = left.iter().map(|answer| answer.rows[index].1.release.version).max();
        if newest > Some(row.release.version) {
            return Err(format!("{family} could be {}", RELEASES[newest.unwrap_or_default()]));
        }
        left.retain(|answer| answer.rows[index].1.release.version == row.release.version);
        // A build of the pinned toolkit itself goes before the default index.
        let default = left.iter().any(|answer| !answer.rows[index].1.build.has_own_index);
        if request.cuda.is_none() && row.build.has_own_index && default {
            return Err(format!("{family} has a build on the default index"));
        }
        left.retain(|answer| answer.rows[index].1.build.name == row.build.name);
    }
    let python = best_python(&left, world);
    if python != chosen.python {
        return Err(format!("Python could be {python}"));
    }
    let size = |base: &world::Base| (base.kind, world.archive_python(base) == Some(chosen.python), !base.has_compilers);
    left.retain(|answer| answer.python == chosen.python);
    match left.iter().find(|answer| size(answer.base) > size(chosen.base)) {
        Some(smaller) => Err(format!("the base could be {}", smaller.base.name)),
        None => Ok(()),
    }
}

/// The newest line, unless it is only to be had on an image that neither carries it nor has it in its archive: then the
/// newest that some base has itself, if any of these suits.
fn best_python<'a>(answers: &[&Combination<'a>], world: &World) -> &'a str {
    let newest = |answers: &[&Combination<'a>]| {
        answers.iter().map(|answer| answer.python).max_by(|one, other| compare(one, other))
    };
    let all = newest(answers).expect("the answer that was chosen is one");
    let own =
        |answer: &&&Combination<'a>| answer.base.python.or(world.archive_python(answer.base)) == Some(answer.python);
    let own: Vec<&Combination<'a>> = answers.iter().filter(own).copied().collect();
    newest(&own).unwrap_or(all)
}

fn check(world: &World, request: &Request) -> Result<(), TestCaseError> {
    let answers = Oracle::new(world, request).answers();
    match solve(world, request) {
        Ok(answer) => {
            let Some(chosen) = found(&answers, &answer) else {
                return Err(TestCaseError::fail(format!("no answer by the rules: {}", summary(&answer))));
            };
            is_best(&answers, &chosen, world, request)
                .map_err(|better| TestCaseError::fail(format!("{better}, and not {}", summary(&answer))))
        }
        Err(Error::Conflict(conflict)) => {
            if let Some(answer) = answers.first() {
                let facts: Vec<&str> = conflict.reasons.iter().map(|reason| reason.fact.as_str()).collect();
                return Err(TestCaseError::fail(format!("there is an answer, {answer}; the solver says {facts:#?}")));
            }
            claims::check(world, request, &conflict).map_err(TestCaseError::fail)
        }
        Err(error) => Err(TestCaseError::fail(error.to_string())),
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_solver_answers_exactly_when_enumeration_does_and_its_answer_is_the_best(
        question in request::question()
    ) {
        check(&question.world, &question.request)?;
    }
}

/// What the random worlds are for: enough of them have an answer, and enough have none.
#[test]
fn the_random_questions_have_both_answers_and_conflicts() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = request::question();
    let mut answered = 0;
    for _ in 0..100 {
        let question = strategy.new_tree(&mut runner).expect("a question").current();
        answered += usize::from(!Oracle::new(&question.world, &question.request).answers().is_empty());
    }
    assert!((20..=80).contains(&answered), "{answered} of 100 questions have an answer");
}

/// The order of kinds is the order of sizes, largest first.
#[test]
fn debian_is_the_smallest_base() {
    assert!(Kind::Debian > Kind::Slim && Kind::Slim > Kind::Cuda);
}
