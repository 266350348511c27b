//! The smallest part of a spec whose packages have no answer.
//!
//! As [`super::minimal`] does for the stack: parts are given up one after the other, and whatever leaves the rest without an
//! answer stays given up. A search with packages costs more, so what the proof does not mention goes at once, and the number
//! of tries is bounded: what remains after that is told though some of it may have no part.

use std::collections::BTreeSet;

use crate::spec::Spec;

use super::evidence::Evidence;
use super::minimal::{Wish, wishes, with_platforms_written, without};
use super::stack::StackModel;
use super::world::World;
use super::{Conflict, Error, Question};

/// At most this many searches are made.
const TRIES: usize = 40;

/// The conflict over what takes part in it. `conflict` is the one over the whole spec, and is told as it is where nothing more can
/// be found out; `retries` is the question for searches that are not worth any time.
pub(super) fn of_core(question: &Question<'_>, retries: &Question<'_>, spec: &Spec, conflict: Conflict) -> Conflict {
    found(question, retries, spec, &conflict).ok().flatten().unwrap_or(conflict)
}

fn found(
    question: &Question<'_>,
    retries: &Question<'_>,
    spec: &Spec,
    conflict: &Conflict,
) -> Result<Option<Conflict>, Error> {
    let (mut failing, mut answered) = (None, Vec::new());
    for world in World::all(retries, spec)? {
        match world.try_out(spec)? {
            Ok(_) => answered.push(world.platform.to_string()),
            Err(found) => _ = failing.get_or_insert((world, found)),
        }
    }
    let Some((world, found)) = failing else { return Ok(None) };
    let Some(mut told) = in_world(&world, question, spec, found, conflict)? else { return Ok(None) };
    if !answered.is_empty() {
        told.platform = Some(world.platform);
        told.remarks.push(format!("this is so on {}; {} has an answer", world.platform, answered.join(", ")));
    }
    Ok(Some(told))
}

/// The same for one environment. `found` is its conflict over the whole spec, `whole` the one to be told otherwise.
pub(super) fn in_world(
    world: &World<'_>,
    question: &Question<'_>,
    spec: &Spec,
    found: Conflict,
    whole: &Conflict,
) -> Result<Option<Conflict>, Error> {
    let model = StackModel::new(spec, question.catalog)?;
    let spec = with_platforms_written(&model);
    let core = Core { world, spec: &spec, given_up: BTreeSet::new(), left: TRIES }.shrink(found);
    let mut told = None;
    // What the proof is read from was asked for before.
    world.asked_by(question).ask(&core, &mut |problem, solved| {
        told = solved.err().map(|proof| Conflict::of_part(proof, problem, &model, whole));
    })?;
    Ok(told)
}

/// A part of a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// What it asks of the stack, or a package.
    Wish(Wish),
    /// Constraint `n`.
    Constraint(usize),
}

/// A spec on its way to its core.
struct Core<'w, 'a> {
    world: &'w World<'a>,
    spec: &'w Spec,
    given_up: BTreeSet<Part>,
    left: usize,
}

impl Core<'_, '_> {
    fn shrink(mut self, mut conflict: Conflict) -> Spec {
        let stack: BTreeSet<Part> = wishes(self.spec, self.world.question.catalog)
            .into_iter()
            .filter(|wish| !matches!(wish, Wish::Platform(_) | Wish::Python | Wish::Package(_) | Wish::Bound(_)))
            .map(Part::Wish)
            .collect();
        self.give_up(&stack);
        // A smaller spec may have another proof, which mentions less.
        while let Some(smaller) = self.give_up(&self.unmentioned(&conflict)) {
            conflict = smaller;
        }
        let constraints = (0..self.spec.constraints.len()).rev().map(Part::Constraint);
        let packages = (0..self.spec.packages.len()).rev().map(|index| Part::Wish(Wish::Package(index)));
        for part in stack.into_iter().chain(constraints).chain(packages) {
            self.give_up(&BTreeSet::from([part]));
        }
        self.rest(&self.given_up)
    }

    /// Gives up these parts if there is no answer without them either; the conflict over the rest then.
    fn give_up(&mut self, parts: &BTreeSet<Part>) -> Option<Conflict> {
        if self.left == 0 || parts.is_subset(&self.given_up) {
            return None;
        }
        self.left -= 1;
        let given_up: BTreeSet<Part> = self.given_up.union(parts).copied().collect();
        // An index that fails now has nothing to do with the conflict.
        let conflict = self.world.try_out(&self.rest(&given_up)).ok()?.err()?;
        self.given_up = given_up;
        Some(conflict)
    }

    fn rest(&self, given_up: &BTreeSet<Part>) -> Spec {
        let wishes = given_up.iter().filter_map(|part| match part {
            Part::Wish(wish) => Some(*wish),
            Part::Constraint(_) => None,
        });
        let mut rest = without(self.spec, &wishes.collect());
        let mut index = 0;
        rest.constraints.retain(|_| {
            index += 1;
            !given_up.contains(&Part::Constraint(index - 1))
        });
        rest
    }

    /// Packages and constraints of which a conflict does not speak.
    fn unmentioned(&self, conflict: &Conflict) -> BTreeSet<Part> {
        let reasons = conflict.reasons.iter().map(|reason| (&reason.fact, &reason.origin));
        let asks = conflict.asks.iter().map(|Evidence { fact, origin, .. }| (fact, origin));
        let said: Vec<_> = reasons.chain(asks).collect();
        let packages = self.spec.packages.iter().enumerate().filter(|(_, package)| {
            let fact = format!("the spec asks for `{}`", package.value);
            !said.contains(&(&fact, &package.origin))
        });
        let constraints = self.spec.constraints.iter().enumerate().filter(|(_, constraint)| {
            let fact = format!("a constraint says `{}`", constraint.value);
            !said.contains(&(&fact, &constraint.origin))
        });
        let packages = packages.map(|(index, _)| Part::Wish(Wish::Package(index)));
        packages.chain(constraints.map(|(index, _)| Part::Constraint(index))).collect()
    }
}
