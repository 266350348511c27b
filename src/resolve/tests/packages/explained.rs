//! Why a package is there and in which version.

use super::*;
use crate::resolve::PackageExplanation;

fn explain(
    world: &World,
    body: &str,
    preferences: &Preferences,
    name: &str,
) -> Result<Vec<PackageExplanation>, Vec<String>> {
    crate::resolve::explain_package(&spec(body), &catalog(), world, preferences, &full, name).expect("an answer")
}

/// All that is said, a line for each thing.
fn told(world: &World, body: &str, preferences: &Preferences, name: &str) -> String {
    let mut text = String::new();
    let mut line = |mark: &str, told: &str| text.push_str(&format!("{mark} {told}\n"));
    for known in explain(world, body, preferences, name).expect("the package is there") {
        let platforms: Vec<String> = known.platforms.iter().map(ToString::to_string).collect();
        let PackageExplanation { files, explanation, .. } = known;
        line(
            "-",
            &format!(
                "{} {} on {}: {}",
                explanation.subject,
                explanation.value,
                platforms.join(" and "),
                files.join(", ")
            ),
        );
        for cause in &explanation.chosen_by {
            line("because", &cause.fact);
        }
        for cause in &explanation.also_required {
            line("also", &cause.fact);
        }
        for held in &explanation.held_back {
            line("not", &format!("{}: {} [{}]", held.value, held.cause.fact, held.cause.source));
        }
        for change in &explanation.freed_by {
            line("freed", change);
        }
        for remark in &explanation.remarks {
            line("remark", remark);
        }
    }
    text
}

/// The index of a framework's builds may be out of reach for a version that is only wondered about.
#[test]
fn what_an_index_cannot_be_asked_about_hides_nothing_else() {
    let world = World::default()
        .wheel("a", "1.0", &["c<2"])
        .wheel("a", "0.9", &["c", "d"])
        .wheel("c", "1.0", &[])
        .wheel("c", "2.0", &[]);
    let world = Brittle::new(world, "d");
    let spec = spec("python: '3.13'\npackages: [a]\n");
    let known = crate::resolve::explain_package(&spec, &catalog(), &world, &Preferences::default(), &full, "c");
    let known = known.expect("an answer").expect("the package is there").remove(0).explanation;
    let held: Vec<String> = known.held_back.iter().map(|held| format!("{}: {}", held.value, held.cause.fact)).collect();
    assert_eq!(held, ["2.0: a 1.0 requires `c<2`"]);
    assert_eq!(known.remarks, ["what would free 2.0 could not be found out: the index is out of reach"]);
}

const BOTH: &str = "python: '3.13'\nplatforms: [linux/amd64, linux/arm64]\n";

fn compiled(world: World, name: &str, version: &str, machines: &[&str]) -> World {
    machines.iter().fold(world, |world, machine| {
        world.on("default", &format!("{name}-{version}-cp313-cp313-manylinux_2_17_{machine}.whl"), &[])
    })
}

#[test]
fn a_package_is_explained_by_who_requires_it_and_what_excludes_newer_ones() {
    let world = World::default()
        .wheel("a", "1.0", &["c<2"])
        .wheel("b", "1.0", &["c"])
        .wheel("c", "1.0", &[])
        .wheel("c", "2.0", &[])
        .file("default", "c-3.0.tar.gz", "c", "3.0", "", None, &[]);
    let body = "python: '3.13'\npackages:\n  - a==1.0\n  - b\n";
    insta::assert_snapshot!(told(&world, body, &Preferences::default(), "C"), @r"
    - c 1.0 on linux/amd64: c-1.0-py3-none-any.whl
    because the spec asks for `a==1.0`
    because a 1.0 requires `c<2`
    also b 1.0 requires `c`
    not 2.0: a 1.0 requires `c<2` [metadata of a 1.0]
    not 3.0: c 3.0 has only a source distribution, and only wheels are installed [package index]
    ");
    assert_eq!(explain(&world, body, &Preferences::default(), "d").expect_err("d is not there"), ["a", "b", "c"]);
}

#[test]
fn what_is_the_same_on_all_platforms_is_said_once() {
    let world = compiled(World::default().wheel("a", "1.0", &["c<2"]), "c", "1.0", &["x86_64", "aarch64"]);
    let world = compiled(world, "c", "2.0", &["x86_64", "aarch64"]);
    insta::assert_snapshot!(told(&world, &format!("{BOTH}packages: [a]\n"), &Preferences::default(), "c"), @r"
    - c 1.0 on linux/amd64 and linux/arm64: c-1.0-cp313-cp313-manylinux_2_17_x86_64.whl, c-1.0-cp313-cp313-manylinux_2_17_aarch64.whl
    because the spec asks for `a`
    because a 1.0 requires `c<2`
    not 2.0: a 1.0 requires `c<2` [metadata of a 1.0]
    ");
}

#[test]
fn what_differs_between_platforms_is_said_of_each() {
    // The second platform has no wheel of the newest version, and there a further package bounds it.
    let world = World::default()
        .wheel("a", "1.0", &["c<2; platform_machine == 'aarch64'", "c", "b; platform_machine == 'aarch64'"])
        .wheel("b", "1.0", &["c"]);
    let world = compiled(world, "c", "1.0", &["x86_64", "aarch64"]);
    let world = compiled(world, "c", "2.0", &["x86_64", "aarch64"]);
    let world = compiled(world, "c", "3.0", &["x86_64"]);
    let body = format!("{BOTH}packages: [a]\n");
    insta::assert_snapshot!(told(&world, &body, &Preferences::default(), "c"), @r"
    - c 1.0 on linux/amd64: c-1.0-cp313-cp313-manylinux_2_17_x86_64.whl
    because the spec asks for `a`
    because a 1.0 requires `c`
    not 2.0: linux/arm64 has no answer with it, and platforms share a version [package index]
    not 3.0: linux/arm64 has no answer with it, and platforms share a version [package index]
    - c 1.0 on linux/arm64: c-1.0-cp313-cp313-manylinux_2_17_aarch64.whl
    because the spec asks for `a`
    because a 1.0 requires `c<2`
    also a 1.0 requires `c`
    also b 1.0 requires `c`
    not 2.0: a 1.0 requires `c<2` [metadata of a 1.0]
    not 3.0: c 3.0 has no wheel for aarch64 Linux [package index]
    freed 2.0: without the platform `linux/arm64` there is an answer: a 1.0, c 2.0
    freed 3.0: without the platform `linux/arm64` there is an answer: c 3.0
    ");
    insta::assert_snapshot!(told(&world, &body, &Preferences::default(), "b"), @r"
    - b 1.0 on linux/arm64: b-1.0-py3-none-any.whl
    because the spec asks for `a`
    because a 1.0 requires `b`
    remark the index has no newer release
    ");
}

#[test]
fn a_version_that_nothing_excludes_is_not_blamed_on_a_lock_without_one() {
    let world = World::default().wheel("a", "1.0", &[]).wheel("a", "2.0", &["b<2"]).wheel("b", "1.0", &[]).wheel(
        "b",
        "2.0",
        &[],
    );
    let body = "python: '3.13'\npackages: [a, b]\n";
    insta::assert_snapshot!(told(&world, body, &Preferences::default(), "b"), @r"
    - b 1.0 on linux/amd64: b-1.0-py3-none-any.whl
    because the spec asks for `b`
    also a 2.0 requires `b<2`
    not 2.0: it would do with a 1.0 instead of 2.0, and what the spec names first is newest [package index]
    freed 2.0: with `b==2.0` in the spec there is an answer
    ");
    let mut preferences = Preferences::default();
    preferences.packages.insert("a".to_owned(), "1.0".parse().expect("a version"));
    insta::assert_snapshot!(told(&world, "python: '3.13'\npackages: [a]\n", &preferences, "a"), @r"
    - a 1.0 on linux/amd64: a-1.0-py3-none-any.whl
    because the spec asks for `a`
    not 2.0: nothing excludes it but what is locked [imgforge.lock]
    freed 2.0: `imgforge lock --upgrade-package a` may take it
    ");
    // A platform without the newer version holds back the other one too.
    let world = compiled(World::default(), "c", "1.0", &["x86_64", "aarch64"]);
    let world = compiled(world, "c", "2.0", &["aarch64"]);
    insta::assert_snapshot!(told(&world, &format!("{BOTH}packages: [c]\n"), &Preferences::default(), "c"), @r"
    - c 1.0 on linux/amd64: c-1.0-cp313-cp313-manylinux_2_17_x86_64.whl
    because the spec asks for `c`
    not 2.0: c 2.0 has no wheel for x86_64 Linux [package index]
    freed 2.0: without the platform `linux/amd64` there is an answer: c 2.0
    - c 1.0 on linux/arm64: c-1.0-cp313-cp313-manylinux_2_17_aarch64.whl
    because the spec asks for `c`
    not 2.0: linux/amd64 has no answer with it, and platforms share a version [package index]
    ");
}
