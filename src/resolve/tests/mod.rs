//! An invented world: four cards, a few frameworks, three Pythons, a few packages. Exact answers.

mod cards;
mod choice;
mod cudnn;
mod listed;
mod oracle;
mod packages;
mod platforms;
mod stack;
mod systems;
mod toolkit;
mod upgrade;

use std::path::Path;

use crate::catalog::Catalog;
use crate::diagnostic::{Failure, Hint as _};
use crate::spec::Spec;

use super::{Preferences, StackAnswer, resolve_stack};

pub(super) fn catalog() -> Catalog {
    Catalog::from_texts(&[("world.yaml", include_str!("world.yaml"))]).expect("the invented catalog")
}

pub(super) fn spec(body: &str) -> Spec {
    let text = format!("name: test\n{body}");
    match Spec::parse(Path::new("spec.yaml"), &text, Path::new(".")) {
        Ok(spec) => spec,
        Err(error) => panic!("{}", Failure::from(error).render()),
    }
}

fn stack_of(body: &str) -> Result<StackAnswer, super::Error> {
    resolve_stack(&spec(body), &catalog(), &Preferences::default())
}

/// The same in a world of a test's own.
fn stack_in(world: &str, body: &str) -> Result<StackAnswer, super::Error> {
    let catalog = Catalog::from_texts(&[("world.yaml", world)]).expect("the invented catalog");
    resolve_stack(&spec(body), &catalog, &Preferences::default())
}

/// The answer where one is due.
fn answered(outcome: Result<StackAnswer, super::Error>) -> StackAnswer {
    outcome.unwrap_or_else(|error| panic!("{}", Failure::from(error).render()))
}

/// The conflict where one is due.
fn refused(outcome: Result<StackAnswer, super::Error>) -> String {
    match outcome {
        Ok(answer) => panic!("there is an answer: {}", summary(&answer)),
        Err(error) => conflict(&error),
    }
}

/// `torch 2.8.0 cu128 / python 3.13 / driver 525.60.13 / debian 13 (trixie)`.
fn summary(answer: &StackAnswer) -> String {
    let frameworks =
        answer.frameworks.iter().map(|chosen| format!("{} {} {}", chosen.package, chosen.version, chosen.build));
    let mut parts: Vec<String> = frameworks.collect();
    parts.push(format!("python {}", answer.python));
    parts.extend(answer.driver_minimum.iter().map(|driver| format!("driver {driver}")));
    parts.push(answer.base.label());
    parts.join(" / ")
}

/// A conflict's reasons as `code: fact (line)`, then its help.
fn conflict(error: &super::Error) -> String {
    let super::Error::Conflict(conflict) = error else { panic!("not a conflict: {error}") };
    assert_eq!(error.exit_code(), 1);
    let mut text = String::new();
    for reason in &conflict.reasons {
        let line = reason.origin.as_ref().map(|origin| format!(" (line {})", origin.line())).unwrap_or_default();
        text.push_str(&format!("{}: {}{line}\n", reason.code.name(), reason.fact));
    }
    for help in &conflict.help {
        text.push_str(&format!("help: {help}\n"));
    }
    text
}
