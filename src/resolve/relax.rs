//! What would help: changes to the spec that were tried, so that a `help:` line never promises what does not hold.
//!
//! Each candidate change gives up one wish of the spec; the stack is solved again without it, which takes milliseconds.

use pep440_rs::VersionSpecifiers;
use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};

use crate::catalog::Catalog;
use crate::diagnostic::Origin;
use crate::spec::{BaseChoice, Located, Spec, Target};
use crate::version::wheel_tag::normalize_name;

use super::{Conflict, Preferences, Resolution, StackAnswer, StackModel, solve_stack};

/// At most this many changes are offered.
const OFFERS: usize = 4;

/// The card of the example for specs that name no machine.
const COMMON_CARD: &str = "L4";

/// The changes that lead to an answer, as sentences.
pub(super) fn suggestions(spec: &Spec, catalog: &Catalog) -> Vec<String> {
    let mut offers = Vec::new();
    let known = StackModel::new(spec, catalog).ok();
    let family_of = |requirement: &Requirement<VerbatimUrl>| {
        let model = known.as_ref()?;
        let name = normalize_name(requirement.name.as_ref());
        model.distributions.get(&name).map(|known| known.family.to_owned())
    };
    for (change, text) in changes(spec, &family_of) {
        let answer = StackModel::new(&change, catalog)
            .ok()
            .and_then(|model| solve_stack(&model, &Preferences::default(), None).ok());
        if let Some(answer) = answer {
            let offer = text(&answer);
            // The same answer by giving up more is no offer.
            let result = |offer: &str| offer.split_once(": ").map(|(_, result)| result.to_owned());
            if result(&offer).is_none() || !offers.iter().any(|known: &String| result(known) == result(&offer)) {
                offers.push(offer);
            }
        }
        if offers.len() == OFFERS {
            break;
        }
    }
    offers
}

type Sentence = Box<dyn Fn(&StackAnswer) -> String>;

/// `family_of` names the family behind a package that the catalog knows.
fn changes(spec: &Spec, family_of: &dyn Fn(&Requirement<VerbatimUrl>) -> Option<String>) -> Vec<(Spec, Sentence)> {
    let mut changes: Vec<(Spec, Sentence)> = Vec::new();
    for (index, framework) in spec.frameworks.iter().enumerate() {
        let family = framework.family.value.clone();
        if let Some(build) = &framework.build {
            let mut changed = spec.clone();
            changed.frameworks[index].build = None;
            let build = build.value.clone();
            let family = family.clone();
            changes.push((
                changed,
                Box::new(move |answer| {
                    format!("without `build: {build}` there is an answer: {}", framework_of(answer, &family))
                }),
            ));
        }
        if !framework.version.is_empty() {
            let mut changed = spec.clone();
            changed.frameworks[index].version = VersionSpecifiers::empty();
            changed.frameworks[index].build = None;
            changes.push((
                changed,
                Box::new(move |answer| {
                    format!("another version of {family} would do: {}", framework_of(answer, &family))
                }),
            ));
        }
    }
    for (index, package) in spec.packages.iter().enumerate() {
        let Some(family) = family_of(&package.value) else { continue };
        if !matches!(&package.value.version_or_url, Some(VersionOrUrl::VersionSpecifier(set)) if !set.is_empty()) {
            continue;
        }
        let mut changed = spec.clone();
        changed.packages[index].value.version_or_url = None;
        let name = normalize_name(package.value.name.as_ref());
        changes.push((
            changed,
            Box::new(move |answer| format!("another version of {name} would do: {}", framework_of(answer, &family))),
        ));
    }
    if spec.python.is_some() {
        let mut changed = spec.clone();
        changed.python = None;
        changes.push((changed, Box::new(|answer| format!("another Python would do: `python: \"{}\"`", answer.python))));
    }
    if let Some(cuda) = &spec.cuda {
        let mut changed = spec.clone();
        changed.cuda = None;
        let cuda = cuda.value.to_string();
        changes.push((
            changed,
            Box::new(move |answer| match &answer.cuda {
                Some(found) => format!("without `cuda: \"{cuda}\"` there is an answer with CUDA {found}"),
                None => format!("without `cuda: \"{cuda}\"` there is an answer"),
            }),
        ));
    }
    if let Some(cudnn) = &spec.cudnn {
        let mut changed = spec.clone();
        changed.cudnn = None;
        let cudnn = cudnn.value.to_string();
        changes.push((
            changed,
            Box::new(move |answer| match &answer.cudnn {
                Some(found) => format!("without `cudnn: \"{cudnn}\"` there is an answer with cuDNN {found}"),
                None => format!("without `cudnn: \"{cudnn}\"` there is an answer"),
            }),
        ));
    }
    if spec.os.is_some() || spec.base.value != BaseChoice::Auto {
        let mut changed = spec.clone();
        changed.os = None;
        changed.base = Located::default_of(BaseChoice::Auto);
        changes.push((
            changed,
            Box::new(|answer| format!("with `base: auto` and no `os:` there is an answer on {}", answer.base.label())),
        ));
    }
    if let [only] = spec.targets.as_slice()
        && only.value == Target::Cpu
    {
        let mut changed = spec.clone();
        changed.targets[0].value = Target::Card { gpu: COMMON_CARD.to_owned(), driver: None, platform: None };
        changes.push((
            changed,
            Box::new(|answer| {
                let frameworks: Vec<String> =
                    answer.frameworks.iter().map(|framework| framework_of(answer, &framework.family)).collect();
                format!(
                    "name the machine with the GPU, as in `targets: [{{gpu: {COMMON_CARD}}}]`: {}",
                    frameworks.join(", ")
                )
            }),
        ));
    }
    for (index, target) in spec.targets.iter().enumerate() {
        if let Target::Card { gpu, driver: Some(_), .. } = &target.value {
            let gpu = gpu.clone();
            let mut changed = spec.clone();
            if let Target::Card { driver, .. } = &mut changed.targets[index].value {
                *driver = None;
            }
            changes.push((
                changed,
                Box::new(move |answer| match &answer.driver_minimum {
                    Some(driver) => format!("a driver from {driver} on would do on the machine with the {gpu}"),
                    None => format!("another driver would do on the machine with the {gpu}"),
                }),
            ));
        }
        if spec.targets.len() > 1 {
            let mut changed = spec.clone();
            changed.targets.remove(index);
            let name = match &target.value {
                Target::Cpu => "cpu".to_owned(),
                Target::Card { gpu, .. } => gpu.clone(),
                Target::Instance { cloud, instance } => format!("{cloud}/{instance}"),
            };
            changes.push((
                changed,
                Box::new(move |answer| {
                    let frameworks: Vec<String> =
                        answer.frameworks.iter().map(|framework| framework_of(answer, &framework.family)).collect();
                    format!("without the target `{name}` there is an answer: {}", frameworks.join(", "))
                }),
            ));
        }
    }
    changes
}

type PackageSentence = Box<dyn Fn(&Resolution) -> String>;

/// Changes to the packages and to Python that could resolve a conflict among packages: one bound given up at a time, of
/// those that take part in it.
pub(super) fn package_changes(spec: &Spec, conflict: &Conflict) -> Vec<(Spec, PackageSentence)> {
    let mut changes: Vec<(Spec, PackageSentence)> = Vec::new();
    let takes_part = |origin: &Option<Origin>| {
        let asks = conflict.asks.iter().map(|ask| &ask.origin);
        origin.is_some()
            && asks.chain(conflict.reasons.iter().map(|reason| &reason.origin)).any(|known| known == origin)
    };
    for (index, package) in spec.packages.iter().enumerate() {
        let bounded =
            matches!(&package.value.version_or_url, Some(VersionOrUrl::VersionSpecifier(set)) if !set.is_empty());
        if !bounded || !takes_part(&package.origin) {
            continue;
        }
        let mut changed = spec.clone();
        changed.packages[index].value.version_or_url = None;
        let name = normalize_name(package.value.name.as_ref());
        changes.push((
            changed,
            Box::new(move |resolution| {
                let wheels = resolution.platforms.iter().find_map(|platform| platform.wheels.get(&name));
                match wheels {
                    Some(wheel) => {
                        format!("without the bound on `{name}` there is an answer: {name} {}", wheel.version)
                    }
                    None => format!("without the bound on `{name}` there is an answer"),
                }
            }),
        ));
    }
    for (index, framework) in spec.frameworks.iter().enumerate() {
        if framework.version.is_empty() || !takes_part(&framework.version_origin) {
            continue;
        }
        let mut changed = spec.clone();
        changed.frameworks[index].version = VersionSpecifiers::empty();
        let family = framework.family.value.clone();
        changes.push((
            changed,
            Box::new(move |resolution| {
                format!("another version of {family} would do: {}", framework_of(&resolution.stack, &family))
            }),
        ));
    }
    if spec.python.is_some() {
        let mut changed = spec.clone();
        changed.python = None;
        changes.push((
            changed,
            Box::new(|resolution| format!("another Python would do: `python: \"{}\"`", resolution.stack.python)),
        ));
    }
    changes.truncate(OFFERS);
    changes
}

fn framework_of(answer: &StackAnswer, family: &str) -> String {
    match answer.frameworks.iter().find(|framework| framework.family == family) {
        Some(framework) => {
            format!("{family} {} ({}), Python {}", framework.version, framework.build, answer.python)
        }
        None => format!("Python {}", answer.python),
    }
}
