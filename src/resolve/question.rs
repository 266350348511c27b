//! What is asked besides the spec, and the search for its answer: one Python line after the other.

use std::time::Duration;

use pep440_rs::Version;

use crate::catalog::Catalog;
use crate::diagnostic::Failure;
use crate::oci::Platform;
use crate::spec::Spec;
use crate::version::PythonVersion;

use super::hurried::Hurried;
use super::platforms::solve_packages;
use super::solver::Failed;
use super::stack::StackModel;
use super::{
    BaseRow, Conflict, Error, PackageSource, Preferences, Resolution, numbers, resolve_stack, solve_stack, source_error,
};

/// Tells the patch release of a Python line in a base, which some markers look at.
pub trait Interpreters {
    /// The release that an image would have. May block.
    fn release(&self, line: PythonVersion, base: &BaseRow, platform: Platform) -> Result<Version, Failure>;

    /// The same for what is only tried: a good guess that costs little is better than the truth.
    fn guess(&self, line: PythonVersion, base: &BaseRow, platform: Platform) -> Result<Version, Failure> {
        self.release(line, base, platform)
    }
}

impl<F: Fn(PythonVersion, &BaseRow, Platform) -> Result<Version, Failure>> Interpreters for F {
    fn release(&self, line: PythonVersion, base: &BaseRow, platform: Platform) -> Result<Version, Failure> {
        self(line, base, platform)
    }
}

/// Guesses, as long as there is time.
struct Guessed<'a> {
    interpreters: &'a dyn Interpreters,
    source: &'a Hurried<'a>,
}

impl Interpreters for Guessed<'_> {
    fn release(&self, line: PythonVersion, base: &BaseRow, platform: Platform) -> Result<Version, Failure> {
        self.source.check()?;
        self.interpreters.guess(line, base, platform)
    }
}

/// Everything an answer depends on besides the spec.
pub(super) struct Question<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) source: &'a dyn PackageSource,
    pub(super) preferences: &'a Preferences,
    pub(super) interpreters: &'a dyn Interpreters,
}

/// Time for telling a conflict in fewer words than its first proof has, and for trying what would help. What is told depends on the
/// spec and the index alone unless this runs out.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Question<'_> {
    /// The same question for resolutions that are not worth more time than this together.
    pub(super) fn in_a_hurry<T>(&self, patience: Duration, ask: impl FnOnce(&Question<'_>) -> T) -> T {
        let source = Hurried::new(self.source, patience);
        let interpreters = Guessed { interpreters: self.interpreters, source: &source };
        ask(&Question { source: &source, interpreters: &interpreters, ..*self })
    }

    /// The answer for a spec, or the conflict over the first Python line that was tried.
    pub(super) fn answer(&self, spec: &Spec) -> Result<Result<Resolution, Conflict>, Error> {
        let model = StackModel::new(spec, self.catalog)?;
        let first = resolve_stack(spec, self.catalog, self.preferences)?;
        let mut lines: Vec<PythonVersion> =
            model.pythons.iter().rev().copied().filter(|line| *line != first.python).collect();
        lines.insert(0, first.python);
        let mut first_conflict: Option<Conflict> = None;
        let mut tried = Vec::new();
        for line in lines {
            let stack = match solve_stack(&model, self.preferences, Some(line)) {
                Ok(stack) => stack,
                Err(Failed::Source(error)) => return Err(source_error(error)),
                Err(Failed::Proof(_)) => continue,
            };
            let full = |platform| self.interpreters.release(line, &stack.base, platform).map_err(Error::Source);
            match solve_packages(&model, self.source, self.preferences, &stack, &full) {
                Ok(Ok(resolution)) => return Ok(Ok(resolution)),
                Ok(Err(conflict)) => {
                    tried.push(line);
                    first_conflict.get_or_insert(conflict);
                }
                // The base of a later line may be out of reach; that must not hide why the first one does not do.
                Err(error) if first_conflict.is_none() => return Err(error),
                Err(_) => {}
            }
        }
        let mut conflict = first_conflict.unwrap_or_default();
        if let [first, others @ ..] = tried.as_slice()
            && !others.is_empty()
        {
            conflict.remarks.push(format!(
                "this is why Python {first} does not do; Python {} was tried too, without success",
                numbers::describe_lines(others)
            ));
        }
        Ok(Err(conflict))
    }
}
