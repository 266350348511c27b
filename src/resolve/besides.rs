//! Conflicts beside the one that is told: whoever mends that should not meet them one after the other.
//!
//! Most faults are between two lines of a spec, a few between three: a framework, a machine and one more. Each such part is tried
//! by itself, so that no fault hides another. What takes more lines is found in what is left when a wish of each known conflict
//! is given up: as long as that has no answer, its smallest part without one is the next conflict. The wish is chosen in
//! several orders, as what is given up for one conflict may take part in another.

use std::collections::BTreeSet;

use crate::spec::Spec;

use super::conflict::{Conflict, Reason};
use super::evidence::{Edge, Evidence};
use super::minimal::{self, Wish, without};
use super::stack::StackModel;
use super::variable::{Value, Values, Variable};

/// At most this many parts are tried, so that a spec of many lines is answered nearly as soon as others.
const TRIES: usize = 200;

/// Adds the other conflicts of a spec to the one over `wishes`: the reasons for programs, a line of each for people.
pub(super) fn tell(conflict: &mut Conflict, model: &StackModel<'_>, wishes: BTreeSet<Wish>) {
    let spec = minimal::with_platforms_written(model);
    let asked = minimal::wishes(&spec, model.catalog);
    let mut search = Search { model, spec: &spec, asked, found: vec![wishes], left: TRIES };
    search.by_lines();
    search.in_the_rest();
    search.by_machines();
    for wishes in &search.found[1..] {
        if let Some(other) = search.conflict_over(wishes) {
            conflict.add(&other);
        }
    }
    conflict.add_reasons(&excluded(model));
}

/// A search for parts of a spec that have no answer.
struct Search<'s, 'a> {
    model: &'s StackModel<'a>,
    /// With its platforms written out.
    spec: &'s Spec,
    asked: BTreeSet<Wish>,
    /// The conflicts known, each without a wish that can be spared.
    found: Vec<BTreeSet<Wish>>,
    left: usize,
}

impl Search<'_, '_> {
    /// Each line by itself, and each two.
    fn by_lines(&mut self) {
        let lines = self.lines();
        for (at, line) in lines.iter().enumerate() {
            self.try_part(&[line]);
            for other in &lines[..at] {
                self.try_part(&[line, other]);
            }
        }
    }

    /// A framework with a machine and each other line.
    fn by_machines(&mut self) {
        let lines = self.lines();
        let is = |line: &BTreeSet<Wish>, kind: fn(&Wish) -> bool| line.iter().any(kind);
        let software = |wish: &Wish| matches!(wish, Wish::Framework(_) | Wish::Package(_));
        for framework in lines.iter().filter(|line| is(line, software)) {
            for target in lines.iter().filter(|line| is(line, |wish| matches!(wish, Wish::Target(_)))) {
                for other in lines.iter().filter(|other| *other != framework && *other != target) {
                    self.try_part(&[framework, target, other]);
                }
            }
        }
    }

    /// The wishes of each line; of targets that are the same only the first.
    fn lines(&self) -> Vec<BTreeSet<Wish>> {
        let of = |wishes: &[Wish]| wishes.iter().copied().filter(|wish| self.asked.contains(wish)).collect();
        let targets = &self.spec.targets;
        let is_first = |index: &usize| {
            !targets[..*index].iter().any(|target| Some(&target.value) == targets.get(*index).map(|own| &own.value))
        };
        let single = [Wish::Python, Wish::Cuda, Wish::Cudnn, Wish::OperatingSystem, Wish::Base];
        let mut lines: Vec<BTreeSet<Wish>> = single.iter().map(|wish| of(&[*wish])).collect();
        let frameworks = 0..self.spec.frameworks.len();
        lines.extend(frameworks.map(|index| of(&[Wish::Framework(index), Wish::Version(index), Wish::Build(index)])));
        lines.extend((0..self.spec.packages.len()).map(|index| of(&[Wish::Package(index), Wish::Bound(index)])));
        lines.extend((0..targets.len()).filter(is_first).map(|index| of(&[Wish::Target(index), Wish::Driver(index)])));
        lines.retain(|line| !line.is_empty());
        lines
    }

    /// The part of these lines, for each platform by itself: for several, wheels may lack that one has.
    fn try_part(&mut self, lines: &[&BTreeSet<Wish>]) {
        let part: BTreeSet<Wish> = lines.iter().copied().flatten().copied().collect();
        for index in 0..self.spec.platforms.len() {
            let other_platform = |wish: &Wish| match wish {
                Wish::Target(target) => {
                    let target = self.model.targets.get(*target).map(|target| target.platform);
                    target != self.spec.platforms.get(index).map(|platform| platform.value)
                }
                _ => false,
            };
            if part.iter().any(other_platform) {
                continue;
            }
            let part = part.iter().copied().chain([Wish::Platform(index)]).collect();
            self.try_wishes(&part);
        }
    }

    /// Whether this part has no answer; its smallest part without one is found then, if it is not known.
    fn try_wishes(&mut self, part: &BTreeSet<Wish>) -> bool {
        let is_within = |found: &BTreeSet<Wish>| {
            let mut wishes = found.iter().filter(|wish| !matches!(wish, Wish::Platform(_)));
            wishes.all(|wish| part.contains(wish))
        };
        if self.left == 0 || self.found.iter().any(is_within) {
            return false;
        }
        self.left -= 1;
        let given_up = self.asked.difference(part).copied().collect();
        if !minimal::is_refused(&without(self.spec, &given_up), self.model.catalog) {
            return false;
        }
        self.found.push(minimal::core(self.model, &given_up).wishes);
        true
    }

    /// What is left without a wish of each known conflict, until that has an answer.
    fn in_the_rest(&mut self) {
        for order in ORDERS {
            while self.try_wishes(&self.rest(order)) {}
        }
    }

    fn rest(&self, order: fn(&Wish) -> usize) -> BTreeSet<Wish> {
        let mut given_up = BTreeSet::new();
        for found in &self.found {
            let first = found.iter().filter(|wish| !matches!(wish, Wish::Platform(_))).min_by_key(|wish| order(wish));
            if found.is_disjoint(&given_up) {
                given_up.extend(first);
            }
        }
        self.asked.difference(&given_up).copied().collect()
    }

    /// What is told of a conflict: the builds asked for, where its wishes alone would allow others.
    fn conflict_over(&self, wishes: &BTreeSet<Wish>) -> Option<Conflict> {
        let over = |wishes: &BTreeSet<Wish>| {
            let given_up = self.asked.difference(wishes).copied().collect();
            Conflict::over(&without(self.spec, &given_up), self.model.catalog, None)
        };
        let of_kept = |wish: &&Wish| match wish {
            Wish::Version(index) | Wish::Build(index) => wishes.contains(&Wish::Framework(*index)),
            Wish::Bound(index) => wishes.contains(&Wish::Package(*index)),
            _ => false,
        };
        let fuller: BTreeSet<Wish> = wishes.iter().chain(self.asked.iter().filter(of_kept)).copied().collect();
        let conflict = over(wishes)?;
        if fuller == *wishes {
            return Some(conflict.in_order());
        }
        let reasons = over(&fuller).map(|fuller| fuller.reasons).unwrap_or_default();
        Some(conflict.with_all_reasons(reasons))
    }
}

/// What to give up first of a conflict, to see what else there is.
const ORDERS: [fn(&Wish) -> usize; 3] = [
    |wish| match wish {
        Wish::OperatingSystem | Wish::Base | Wish::Cudnn | Wish::Cuda => 0,
        Wish::Build(_) => 1,
        Wish::Version(_) | Wish::Bound(_) => 2,
        Wish::Driver(_) => 3,
        Wish::Python => 4,
        Wish::Target(_) => 5,
        Wish::Framework(_) | Wish::Package(_) | Wish::Platform(_) => 6,
    },
    |wish| match wish {
        Wish::Python | Wish::Driver(_) => 0,
        Wish::OperatingSystem | Wish::Base | Wish::Cudnn | Wish::Cuda => 1,
        Wish::Target(_) => 2,
        Wish::Build(_) | Wish::Version(_) | Wish::Bound(_) => 3,
        Wish::Framework(_) | Wish::Package(_) | Wish::Platform(_) => 4,
    },
    |wish| match wish {
        Wish::Framework(_) | Wish::Package(_) => 0,
        Wish::Target(_) => 1,
        Wish::Build(_) | Wish::Version(_) | Wish::Bound(_) => 2,
        _ => 3,
    },
];

/// What by itself excludes every build that the spec asks for of a framework, whatever else does so as well.
fn excluded(model: &StackModel<'_>) -> Vec<Reason> {
    let asks = model.asks();
    let of = |to: &Variable| asks.iter().filter(|ask| ask.to == *to).collect::<Vec<_>>();
    let allowed = |asks: &[&Edge]| asks.iter().fold(Values::full(), |set, ask| set.intersection(&ask.values));
    let mut reasons = Vec::new();
    for (family, table) in &model.families {
        let build = Variable::Build((*family).to_owned());
        let own = of(&build);
        if own.is_empty() {
            continue;
        }
        let ranks = (0..table.rows.len() as u32).map(Value::Rank).zip(&table.rows).rev();
        let rows: Vec<Vec<Edge>> = ranks
            .filter(|(rank, _)| allowed(&own).contains(rank))
            .map(|(_, row)| model.row_edges(family, row))
            .collect();
        let needed: BTreeSet<&Variable> = rows.iter().flatten().map(|edge| &edge.to).collect();
        for to in needed {
            let asks = of(to);
            let allowed = allowed(&asks);
            // Asks that exclude each other are a conflict of their own, in which the builds have no part.
            let excludes = |edge: &&Edge| {
                let clashes = !allowed.is_empty() && edge.values.is_disjoint(&allowed);
                edge.to == *to && (edge.values.is_empty() || clashes)
            };
            if !rows.iter().all(|row| row.iter().any(|edge| excludes(&edge))) {
                continue;
            }
            for edge in rows.iter().flatten().filter(excludes) {
                let Evidence { code, fact, source, origin } = edge.evidence.clone();
                if reasons.iter().any(|known: &Reason| known.code == code && known.of == build && known.to == *to) {
                    continue;
                }
                let asked = asks.iter().chain(&own).find_map(|ask| ask.evidence.origin.clone());
                let origin = origin.or(asked);
                reasons.push(Reason { code, fact, source, origin, of: build.clone(), to: to.clone() });
            }
        }
    }
    reasons
}
