//! Several platforms: one version per package wherever wheels allow.

use super::packages::{World, solve};
use super::*;

const BOTH: &str = "platforms: [linux/amd64, linux/arm64]\npackages: [a, b]\n";

/// A wheel of `a` for one machine.
fn built(world: World, version: &str, machine: &str) -> World {
    let file = format!("a-{version}-cp313-cp313-manylinux_2_17_{machine}.whl");
    world.file("default", &file, "a", version, "", None, &["b"])
}

/// `linux/amd64: a 1.0, b 1.0`, a line per platform.
fn of_platforms(world: &World, body: &str, preferences: &Preferences) -> String {
    let resolution = solve(world, body, preferences).unwrap_or_else(|error| panic!("{}", conflict(&error)));
    let line = |platform: &crate::resolve::PlatformPackages| {
        let wheels: Vec<String> =
            platform.wheels.iter().map(|(name, wheel)| format!("{name} {}", wheel.version)).collect();
        format!("{}: {}", platform.platform, wheels.join(", "))
    };
    resolution.platforms.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_platform_follows_the_second_where_the_second_cannot_follow_the_first() {
    let world = World::default().wheel("b", "1.0", &[]).wheel("b", "2.0", &[]);
    let world = built(built(built(world, "1.0", "x86_64"), "2.0", "x86_64"), "1.0", "aarch64");
    assert_eq!(
        of_platforms(&world, BOTH, &Preferences::default()),
        "linux/amd64: a 1.0, b 2.0\nlinux/arm64: a 1.0, b 2.0"
    );
}

#[test]
fn versions_differ_only_where_no_wheel_is_for_both() {
    let world = World::default().wheel("b", "1.0", &[]).wheel("b", "2.0", &[]);
    let world = built(built(world, "2.0", "x86_64"), "1.0", "aarch64");
    assert_eq!(
        of_platforms(&world, BOTH, &Preferences::default()),
        "linux/amd64: a 2.0, b 2.0\nlinux/arm64: a 1.0, b 2.0"
    );
}

#[test]
fn platforms_that_differ_in_the_lock_keep_their_own_versions() {
    let world = World::default().wheel("b", "2.0", &[]);
    let world = built(built(built(world, "2.0", "x86_64"), "1.0", "aarch64"), "1.1", "aarch64");
    let version = |text: &str| -> pep440_rs::Version { text.parse().expect("a version") };
    let of =
        |platform: &str, text: &str| (platform.parse().expect("a platform"), [("a".to_owned(), version(text))].into());
    let lock = Preferences {
        packages: [("a".to_owned(), version("2.0"))].into(),
        platform_packages: [of("linux/amd64", "2.0"), of("linux/arm64", "1.0")].into(),
        ..Preferences::default()
    };
    assert_eq!(of_platforms(&world, BOTH, &lock), "linux/amd64: a 2.0, b 2.0\nlinux/arm64: a 1.0, b 2.0");
}
