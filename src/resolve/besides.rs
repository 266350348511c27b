//! Conflicts beside the one that is told: whoever mends that should not meet them one after the other.
//!
//! A wish of the conflict told last is given up; where the rest has no answer either, its smallest part without one is the next
//! conflict. So two faults of one line are found as well as those that have nothing in common.

use std::collections::BTreeSet;

use super::conflict::{Conflict, Line};
use super::minimal::{self, Wish};
use super::stack::StackModel;

/// At most this many are told besides; the text should fit a screen.
const OTHERS: usize = 3;

/// Adds the other conflicts of a spec to the one over `wishes`: the reasons for programs, a line of each for people.
pub(super) fn tell(conflict: &mut Conflict, model: &StackModel<'_>, mut wishes: BTreeSet<Wish>) {
    let spec = minimal::with_platforms_written(model);
    let mut given_up = BTreeSet::new();
    for _ in 0..OTHERS {
        let next = in_order_of_giving_up(&wishes).into_iter().find_map(|wish| {
            let mut more = given_up.clone();
            more.insert(wish);
            minimal::is_refused(&minimal::without(&spec, &more), model.catalog).then_some(more)
        });
        let Some(more) = next else { return };
        given_up = more;
        let core = minimal::core(model, &given_up);
        wishes = core.wishes;
        let Some(other) = Conflict::over(&core.spec, model).map(Conflict::in_order) else { return };
        let known: BTreeSet<&String> = conflict.reasons.iter().map(|reason| &reason.fact).collect();
        let new: Vec<_> = other.reasons.iter().filter(|reason| !known.contains(&reason.fact)).cloned().collect();
        if let (Some(first), Some(gist)) = (new.first(), other.gist()) {
            let fact = if *gist == first.fact { gist.clone() } else { format!("{gist}: {}", first.fact) };
            let place = other.reasons.iter().find_map(|reason| reason.origin.as_ref());
            let place = place.map(|place| format!("{}:{}", place.path.display(), place.line()));
            let sources = place.into_iter().chain((first.source != "spec").then(|| first.source.clone())).collect();
            conflict.proof.push(Line { fact: format!("besides, {fact}"), sources });
        }
        conflict.reasons.extend(new);
    }
}

/// What to give up first to see what else there is: a line of its own before one that says more, never a platform.
fn in_order_of_giving_up(wishes: &BTreeSet<Wish>) -> Vec<Wish> {
    let weight = |wish: &Wish| match wish {
        Wish::OperatingSystem | Wish::Base | Wish::Cudnn | Wish::Cuda => 0,
        Wish::Python => 1,
        Wish::Driver(_) => 2,
        Wish::Build(_) => 3,
        Wish::Version(_) | Wish::Bound(_) => 4,
        Wish::Target(_) => 5,
        Wish::Framework(_) | Wish::Package(_) => 6,
        Wish::Platform(_) => 7,
    };
    let mut wishes: Vec<Wish> = wishes.iter().copied().filter(|wish| !matches!(wish, Wish::Platform(_))).collect();
    wishes.sort_by_key(weight);
    wishes
}
