//! Random small worlds, pre-releases among their versions: there is an answer if and only if trying every combination finds one, and the answer is one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const VERSIONS: [&str; 4] = ["1", "2rc1", "2", "3"];
const RANGES: [&str; 10] = ["", "", ">=2", "<2", "==1", "!=2", "<3", ">1,<4", "==2rc1", ">=2.dev0"];

/// `b[x]>=2`, wanted always or for the extra `x` alone.
#[derive(Debug, Clone)]
struct Need {
    name: usize,
    range: &'static str,
    extra: bool,
    for_extra: bool,
}

impl Need {
    fn text(&self) -> String {
        let extra = if self.extra { "[x]" } else { "" };
        format!("{}{extra}{}", NAMES[self.name], self.range)
    }
    /// Whether it takes version `at` of those there are.
    fn takes(&self, at: usize) -> bool {
        let specifiers: pep440_rs::VersionSpecifiers = self.range.parse().expect("a range");
        specifiers.contains(&VERSIONS[at].parse().expect("a version"))
    }
}

fn need() -> impl Strategy<Value = Need> {
    (0..NAMES.len(), prop::sample::select(&RANGES[..]), prop::bool::weighted(0.3), prop::bool::weighted(0.25))
        .prop_map(|(name, range, extra, for_extra)| Need { name, range, extra, for_extra })
}

/// Needs by package and version.
type Releases = Vec<Vec<Vec<Need>>>;

fn releases() -> impl Strategy<Value = Releases> {
    let version = prop::collection::vec(need(), 0..=2);
    prop::collection::vec(prop::collection::vec(version, 1..=VERSIONS.len()), NAMES.len())
}

/// Whether all that can be reached from `asked` is met when package `n` has the version `versions[n]`.
fn holds(releases: &Releases, asked: &[Need], versions: &[usize]) -> bool {
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut seen = BTreeSet::new();
    let meets = |needs: &[Need], open: &mut Vec<(usize, bool)>| {
        needs.iter().all(|need| {
            let nodes = [(need.name, false), (need.name, true)];
            open.extend(nodes.into_iter().filter(|(_, extra)| need.extra || !extra));
            need.takes(versions[need.name])
        })
    };
    if !meets(asked, &mut open) {
        return false;
    }
    while let Some((name, extra)) = open.pop() {
        if seen.insert((name, extra)) {
            let needs = &releases[name][versions[name]];
            let own = needs.iter().filter(|need| need.for_extra == extra).cloned();
            let own: Vec<Need> = own.collect();
            if !meets(&own, &mut open) {
                return false;
            }
        }
    }
    true
}

/// All combinations of versions.
fn combinations(releases: &Releases) -> Vec<Vec<usize>> {
    releases.iter().fold(vec![Vec::new()], |known, versions| {
        let longer = |start: &Vec<usize>| {
            (0..versions.len()).map(|version| start.iter().copied().chain([version]).collect()).collect::<Vec<_>>()
        };
        known.iter().flat_map(longer).collect()
    })
}

fn world(releases: &Releases) -> World {
    let mut world = World::default();
    for (name, versions) in NAMES.iter().zip(releases) {
        for (at, needs) in versions.iter().enumerate() {
            let line = |need: &Need| match need.for_extra {
                true => format!("{}; extra == 'x'", need.text()),
                false => need.text(),
            };
            let lines: Vec<String> = needs.iter().map(line).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            world = world.wheel(name, VERSIONS[at], &lines);
        }
    }
    world
}

/// The lines that a conflict tells of have no answer together, and have one without any of them.
fn none_can_be_spared(world: &World, asks: &[crate::resolve::Evidence]) -> Result<(), TestCaseError> {
    let lines: Vec<&str> = asks.iter().filter_map(|ask| ask.fact.strip_prefix("the spec asks for `")).collect();
    let has_answer = |without: usize| {
        let kept = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != without)
            .map(|(_, line)| format!("'{}", line.replace('`', "'")));
        let body = format!("python: '3.13'\npackages: [{}]\n", kept.collect::<Vec<_>>().join(", "));
        solve(world, &body, &Preferences::default()).is_ok()
    };
    prop_assert!(!has_answer(lines.len()), "{lines:?} have an answer");
    for (at, line) in lines.iter().enumerate() {
        prop_assert!(has_answer(at), "{line} of {lines:?} has no part in it");
    }
    Ok(())
}

/// The change of each line of help leads to an answer.
fn what_is_offered_helps(world: &World, wishes: &[Need], help: &[String]) -> Result<(), TestCaseError> {
    for line in help {
        let edits = line.split_once(" there is an answer: ").map(|(edits, _)| edits);
        let Some(edits) = edits else { continue };
        let mut left = wishes.to_vec();
        for edit in edits.split(" and ").flat_map(|edits| edits.split("`, ")) {
            let named = edit.split('`').nth(1).unwrap_or_default();
            let is_named = |wish: &Need| NAMES[wish.name] == named || wish.text() == named;
            prop_assert!(wishes.iter().any(is_named), "{line}");
            match edit.contains("the bound on") {
                true => left.iter_mut().filter(|wish| is_named(wish)).for_each(|wish| wish.range = ""),
                false => left.retain(|wish| !is_named(wish)),
            }
        }
        let wishes: Vec<String> = left.iter().map(|wish| format!("'{}'", wish.text())).collect();
        let body = format!("python: '3.13'\npackages: [{}]\n", wishes.join(", "));
        prop_assert!(solve(world, &body, &Preferences::default()).is_ok(), "does not help: {line}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(super::super::oracle::cases(96))]
    #[test]
    fn an_answer_is_found_exactly_where_one_exists(
        releases in releases(),
        asked in prop::collection::vec(need(), 1..=5),
    ) {
        let asked: Vec<Need> = asked.into_iter().map(|need| Need { for_extra: false, ..need }).collect();
        let wishes: Vec<String> = asked.iter().map(|need| format!("'{}'", need.text())).collect();
        let body = format!("python: '3.13'\npackages: [{}]\n", wishes.join(", "));
        let exists = combinations(&releases).iter().any(|versions| holds(&releases, &asked, versions));
        match solve(&world(&releases), &body, &Preferences::default()) {
            Ok(resolution) => {
                let wheels: &BTreeMap<_, _> = &resolution.platforms[0].wheels;
                let place = |version: &pep440_rs::Version| {
                    VERSIONS.iter().position(|known| *known == version.to_string()).expect("a known version")
                };
                let version = |name: &&str| wheels.get(*name).map_or(0, |wheel| place(&wheel.version));
                let versions: Vec<usize> = NAMES.iter().map(version).collect();
                prop_assert!(holds(&releases, &asked, &versions), "{versions:?} is no answer");
            }
            Err(super::super::super::Error::Conflict(conflict)) => {
                prop_assert!(!exists, "there is an answer");
                none_can_be_spared(&world(&releases), &conflict.asks)?;
                what_is_offered_helps(&world(&releases), &asked, &conflict.help)?;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
