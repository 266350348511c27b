//! The smallest part of a spec that has no answer by itself.
//!
//! A spec may ask for ten things of which two exclude each other; a proof over all ten mentions what has no part in it.
//! So wishes are given up one by one, and whatever leaves the rest without an answer stays given up: what remains is
//! needed, every piece of it. This is deletion-based extraction of a minimal unsatisfiable subset; each step is a solve
//! of the stack alone, which takes milliseconds.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::VersionSpecifiers;

use crate::catalog::Catalog;
use crate::spec::{BaseChoice, Located, Spec, Target};
use crate::version::wheel_tag::normalize_name;

use super::packages::specifiers;
use super::solver::{Failed, Problem};
use super::variable::{Value, Values, Variable};
use super::{Preferences, StackAnswer, StackModel, packages_of_families, solve_stack};

/// One thing a spec asks of the stack. The order is that in which they are given up: the last stay longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// `os:`.
    OperatingSystem,
    /// `base:`.
    Base,
    /// `cudnn:`.
    Cudnn,
    /// `cuda:`.
    Cuda,
    /// The driver of target `n`.
    Driver(usize),
    /// Target `n`.
    Target(usize),
    /// Platform `n`; after the targets, of which each needs its own.
    Platform(usize),
    /// A framework as a whole.
    Framework(usize),
    /// Package `n`, if the catalog knows it or a family's companion of this name.
    Package(usize),
    /// `python:`.
    Python,
    /// The build of framework `n`.
    Build(usize),
    /// The version of framework `n`.
    Version(usize),
    /// The bound on package `n`, if the catalog knows it.
    Bound(usize),
}

/// What a spec asks of the stack, in the order of [`Wish`].
pub(super) fn wishes(spec: &Spec, catalog: &Catalog) -> BTreeSet<Wish> {
    let companions = catalog.frameworks.iter().flat_map(|family| &family.companions).cloned();
    let known: BTreeSet<String> =
        packages_of_families(catalog).into_iter().map(|(package, _)| package).chain(companions).collect();
    let mut wishes = BTreeSet::new();
    let mut add = |asked: bool, wish| {
        if asked {
            wishes.insert(wish);
        }
    };
    add(spec.os.is_some(), Wish::OperatingSystem);
    add(spec.base.value != BaseChoice::Auto, Wish::Base);
    add(spec.cudnn.is_some(), Wish::Cudnn);
    add(spec.cuda.is_some(), Wish::Cuda);
    add(spec.python.is_some(), Wish::Python);
    for index in 0..spec.platforms.len() {
        add(true, Wish::Platform(index));
    }
    for (index, target) in spec.targets.iter().enumerate() {
        add(true, Wish::Target(index));
        add(matches!(target.value, Target::Card { driver: Some(_), .. }), Wish::Driver(index));
    }
    for (index, framework) in spec.frameworks.iter().enumerate() {
        add(true, Wish::Framework(index));
        add(framework.build.is_some(), Wish::Build(index));
        add(!framework.version.is_empty(), Wish::Version(index));
    }
    for (index, package) in spec.packages.iter().enumerate() {
        let is_known = known.contains(&normalize_name(package.value.name.as_ref()));
        add(is_known, Wish::Package(index));
        add(is_known && specifiers(&package.value).is_some_and(|set| !set.is_empty()), Wish::Bound(index));
    }
    wishes
}

/// The spec without these wishes.
pub(super) fn without(spec: &Spec, given_up: &BTreeSet<Wish>) -> Spec {
    let mut changed = spec.clone();
    for wish in given_up {
        match *wish {
            Wish::OperatingSystem => changed.os = None,
            Wish::Base => changed.base = Located::default_of(BaseChoice::Auto),
            Wish::Cudnn => changed.cudnn = None,
            Wish::Cuda => changed.cuda = None,
            Wish::Python => changed.python = None,
            Wish::Driver(index) => {
                if let Some(Target::Card { driver, .. }) =
                    changed.targets.get_mut(index).map(|target| &mut target.value)
                {
                    *driver = None;
                }
            }
            Wish::Build(index) => {
                if let Some(framework) = changed.frameworks.get_mut(index) {
                    framework.build = None;
                }
            }
            Wish::Version(index) => {
                if let Some(framework) = changed.frameworks.get_mut(index) {
                    framework.version = VersionSpecifiers::empty();
                }
            }
            Wish::Bound(index) => {
                if let Some(package) = changed.packages.get_mut(index) {
                    package.value.version_or_url = None;
                }
            }
            Wish::Platform(_) | Wish::Target(_) | Wish::Framework(_) | Wish::Package(_) => {}
        }
    }
    // Lists last, so that the positions above mean the spec's own.
    retain_kept(&mut changed.platforms, |index| !given_up.contains(&Wish::Platform(index)));
    retain_kept(&mut changed.targets, |index| !given_up.contains(&Wish::Target(index)));
    retain_kept(&mut changed.packages, |index| !given_up.contains(&Wish::Package(index)));
    retain_kept(&mut changed.frameworks, |index| !given_up.contains(&Wish::Framework(index)));
    changed
}

fn retain_kept<T>(list: &mut Vec<T>, keep: impl Fn(usize) -> bool) {
    let mut index = 0;
    list.retain(|_| {
        index += 1;
        keep(index - 1)
    });
}

/// The answer to a spec's stack, if there is one.
pub(super) fn answered(spec: &Spec, catalog: &Catalog) -> Option<StackAnswer> {
    let model = StackModel::new(spec, catalog).ok()?;
    if leaves_no_build(&model) {
        return None;
    }
    solve_stack(&model, &Preferences::default(), None).ok()
}

/// Whether there is none, which is found out faster than what it is.
pub(super) fn is_refused(spec: &Spec, catalog: &Catalog) -> bool {
    StackModel::new(spec, catalog).is_ok_and(|model| {
        let preferred = BTreeMap::new();
        leaves_no_build(&model) || matches!(Problem::new(&model, None, &preferred).solve(), Err(Failed::Proof(_)))
    })
}

/// Whether the spec's lines by themselves exclude every build of one of its frameworks. Most conflicts are of this kind,
/// and looking is many times cheaper than proving.
fn leaves_no_build(model: &StackModel<'_>) -> bool {
    let mut asked: BTreeMap<Variable, Values> = BTreeMap::new();
    for edge in model.edges(&Variable::Spec, &Value::Only) {
        let allowed = asked.entry(edge.to).or_insert_with(Values::full);
        *allowed = allowed.intersection(&edge.values);
    }
    model.families.iter().any(|(family, table)| {
        let Some(allowed) = asked.get(&Variable::Build((*family).to_owned())) else { return false };
        let ranks = (0..table.rows.len() as u32).map(Value::Rank);
        let mut rows = table.rows.iter().zip(ranks).filter(|(_, rank)| allowed.contains(rank));
        rows.all(|(row, _)| {
            model.row_edges(family, row).iter().any(|edge| match asked.get(&edge.to) {
                Some(allowed) => allowed.is_disjoint(&edge.values),
                None => edge.values == Values::empty(),
            })
        })
    })
}

/// The spec with its platforms written out, so that giving up a target does not change them.
pub(super) fn with_platforms_written(model: &StackModel<'_>) -> Spec {
    let mut spec = model.spec.clone();
    let written = spec.platforms.iter().map(|platform| (platform.value, platform.origin.clone()));
    let written: Vec<_> = written.collect();
    spec.platforms = model
        .platforms
        .iter()
        .map(|platform| {
            let origin = written.iter().find(|(known, _)| known == platform).and_then(|(_, origin)| origin.clone());
            Located { value: *platform, origin }
        })
        .collect();
    spec
}

/// A part of a spec that has no answer, and none of whose wishes can be spared.
pub(super) struct Core {
    /// The part.
    pub(super) spec: Spec,
    /// Its wishes, at their positions in the whole spec.
    pub(super) wishes: BTreeSet<Wish>,
}

/// A spec without an answer, and without what was given up before, reduced to wishes of which none can be spared.
///
/// Its platforms are written out, and one always stays: without any, no wheel is asked for, and a build that has none
/// would seem to fit.
pub(super) fn core(model: &StackModel<'_>, given_up: &BTreeSet<Wish>) -> Core {
    let spec = with_platforms_written(model);
    let asked = wishes(&spec, model.catalog);
    let mut given_up = given_up.clone();
    for wish in asked.iter().copied().filter(|wish| !given_up.contains(wish)).collect::<Vec<_>>() {
        if let Wish::Platform(index) = wish {
            let mut kept = model.targets.iter().enumerate();
            let needed = kept.any(|(target, facts)| {
                !given_up.contains(&Wish::Target(target)) && Some(&facts.platform) == model.platforms.get(index)
            });
            let others = (0..spec.platforms.len()).filter(|other| !given_up.contains(&Wish::Platform(*other)));
            if needed || others.count() == 1 {
                continue;
            }
        }
        given_up.insert(wish);
        if !is_refused(&without(&spec, &given_up), model.catalog) {
            given_up.remove(&wish);
        }
    }
    Core { spec: without(&spec, &given_up), wishes: asked.difference(&given_up).copied().collect() }
}

/// Wishes to give up so that the rest has an answer, none of them in vain. What `order` names first is kept before what follows.
pub(super) fn correction(spec: &Spec, catalog: &Catalog, order: &[Wish]) -> Option<BTreeSet<Wish>> {
    let mut given_up: BTreeSet<Wish> = order.iter().copied().collect();
    answered(&without(spec, &given_up), catalog)?;
    for wish in order {
        given_up.remove(wish);
        if is_refused(&without(spec, &given_up), catalog) {
            given_up.insert(*wish);
        }
    }
    Some(given_up)
}

#[cfg(test)]
mod tests {
    use crate::resolve::tests::{catalog, spec};

    use super::*;

    #[test]
    fn only_what_takes_part_remains() {
        let spec =
            spec("targets: [{gpu: Mid}, {gpu: New}]\npython: '3.13'\ncudnn: '9'\nframeworks: {pytorch: '2.5.0'}\n");
        let catalog = catalog();
        let core = core(&StackModel::new(&spec, &catalog).expect("a model"), &BTreeSet::new()).spec;
        assert_eq!(core.python, spec.python);
        assert!(core.cudnn.is_none());
        assert_eq!((core.targets.len(), core.frameworks[0].version.to_string()), (0, "==2.5.0".to_owned()));
        assert_eq!(core.platforms.len(), 1, "wheels are for a platform");
    }

    #[test]
    fn wishes_are_given_up_at_the_spec_s_own_positions() {
        let spec = spec("targets: [{gpu: Mid}, {gpu: New, driver: '570.26'}, cpu]\nframeworks: {pytorch: '2.5.0'}\n");
        let changed = without(&spec, &[Wish::Target(0), Wish::Driver(1)].into());
        let expected = Target::Card { gpu: "New".to_owned(), driver: None, platform: None };
        assert_eq!(changed.targets.iter().map(|target| &target.value).collect::<Vec<_>>(), [&expected, &Target::Cpu]);
    }
}
