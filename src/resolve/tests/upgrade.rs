//! An upgrade of one package moves it and what it forces, and nothing else.

use super::packages::{World, solve};
use super::*;
use crate::resolve::Resolution;

const BODY: &str = "targets: [{gpu: Mid}]\nframeworks: {pytorch: '>=2'}\npackages: [a, c]\n";

/// Everything has a newer version than the one that is locked.
fn world() -> World {
    let mut world = World::default();
    for (name, version, requires) in [
        ("torch", "2.5.0", &["six"][..]),
        ("torch", "2.8.0", &["six"]),
        ("six", "1.0", &[]),
        ("six", "2.0", &[]),
        ("a", "1.0", &["b<2"]),
        ("a", "2.0", &["b>=2"]),
        ("b", "1.0", &[]),
        ("b", "2.0", &[]),
        ("b", "3.0", &[]),
        ("c", "1.0", &[]),
        ("c", "2.0", &[]),
    ] {
        world = world.wheel(name, version, requires);
    }
    world
}

/// A lock of the oldest of everything, with what is named in `upgraded` let go.
fn lock(upgraded: &[&str]) -> Preferences {
    let version = |text: &str| -> pep440_rs::Version { text.parse().expect("a version") };
    let all = [("torch", "2.5.0"), ("six", "1.0"), ("a", "1.0"), ("b", "1.0"), ("c", "1.0")];
    let kept = all.into_iter().filter(|(name, _)| !upgraded.contains(name));
    let frameworks = [("pytorch".to_owned(), (version("2.5.0"), "cu124".to_owned()))];
    Preferences {
        packages: kept.map(|(name, text)| (name.to_owned(), version(text))).collect(),
        frameworks: frameworks.into_iter().filter(|_| !upgraded.contains(&"torch")).collect(),
        python: "3.11".parse().ok(),
        base: Some("bookworm".to_owned()),
        upgraded: upgraded.iter().map(|name| (*name).to_owned()).collect(),
        ..Preferences::default()
    }
}

fn described(resolution: &Resolution) -> String {
    let wheels = &resolution.platforms[0].wheels;
    let wheels: Vec<String> = wheels.iter().map(|(name, wheel)| format!("{name} {}", wheel.version)).collect();
    format!("{} / {} / {}", wheels.join(", "), resolution.stack.python, resolution.stack.base.label())
}

fn after(body: &str, upgraded: &[&str]) -> String {
    match solve(&world(), body, &lock(upgraded)) {
        Ok(resolution) => described(&resolution),
        Err(error) => panic!("{}", conflict(&error)),
    }
}

#[test]
fn only_the_package_and_what_it_forces_move() {
    for (upgraded, expected) in [
        (&[][..], "a 1.0, b 1.0, c 1.0, six 1.0, torch 2.5.0 / 3.11 / debian 12 (bookworm)"),
        (&["c"], "a 1.0, b 1.0, c 2.0, six 1.0, torch 2.5.0 / 3.11 / debian 12 (bookworm)"),
        // a 2.0 needs another b: the newest that it takes.
        (&["a"], "a 2.0, b 3.0, c 1.0, six 1.0, torch 2.5.0 / 3.11 / debian 12 (bookworm)"),
        // b alone can move only as far as a 1.0, which stays, lets it.
        (&["b"], "a 1.0, b 1.0, c 1.0, six 1.0, torch 2.5.0 / 3.11 / debian 12 (bookworm)"),
        // A framework moves alone as well: Python and base stay, though torch 2.8.0 has wheels for a newer Python.
        (&["pytorch", "torch"], "a 1.0, b 1.0, c 1.0, six 1.0, torch 2.8.0 / 3.11 / debian 12 (bookworm)"),
        (&["a", "c"], "a 2.0, b 3.0, c 2.0, six 1.0, torch 2.5.0 / 3.11 / debian 12 (bookworm)"),
    ] {
        assert_eq!(after(BODY, upgraded), expected, "{upgraded:?}");
    }
}

#[test]
fn without_a_lock_everything_is_new() {
    let resolution = solve(&world(), BODY, &Preferences::default()).expect("an answer");
    assert_eq!(described(&resolution), "a 2.0, b 3.0, c 2.0, six 2.0, torch 2.8.0 / 3.13 / debian 13 (trixie)");
}

#[test]
fn an_upgraded_framework_moves_the_one_it_pins() {
    let mut preferences = lock(&[]);
    let body = "targets: [{gpu: Mid}]\nframeworks: {pytorch: '>=2', serving: '>=2'}\n";
    let version = |text: &str| -> pep440_rs::Version { text.parse().expect("a version") };
    preferences.frameworks.insert("serving".to_owned(), (version("2.0"), "cu124".to_owned()));
    let of = |preferences: &Preferences| {
        summary(
            &resolve_stack(&spec(body), &catalog(), preferences).unwrap_or_else(|error| panic!("{}", conflict(&error))),
        )
    };
    let kept = "torch 2.5.0 cu124 / serving 2.0 cu124 / python 3.11 / driver 525.60.13 / debian 12 (bookworm)";
    assert_eq!(of(&preferences), kept);
    preferences.frameworks.remove("serving");
    preferences.upgraded.insert("serving".to_owned());
    let moved = "torch 2.8.0 cu128 / serving 3.0 cu128 / python 3.11 / driver 525.60.13 / debian 12 (bookworm)";
    assert_eq!(of(&preferences), moved);
}
