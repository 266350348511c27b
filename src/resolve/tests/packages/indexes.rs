//! Where a package may come from: several indexes, claimed names, builds of a framework, wheels by place.

use super::*;

const INTERNAL: &str = "{name: internal, url: 'https://internal.invalid/simple'";

#[test]
fn the_first_index_that_has_a_project_serves_it_whatever_others_have() {
    let world = World::default()
        .on("internal", "a-1.0-py3-none-any.whl", &["b", "c"])
        .on("second", "a-3.0-py3-none-any.whl", &[])
        .on("second", "b-2.0-py3-none-any.whl", &[])
        .wheel("a", "99.0", &[])
        .wheel("b", "99.0", &[])
        .wheel("c", "1.0", &[]);
    let body = format!(
        "indexes:\n  - {INTERNAL}}}\n  - {{name: second, url: 'https://second.invalid/simple'}}\npackages: [a]\n"
    );
    assert_eq!(
        files(&world, &body),
        ["internal a-1.0-py3-none-any.whl", "second b-2.0-py3-none-any.whl", "default c-1.0-py3-none-any.whl"]
    );
    // A version that only a later index has is not looked for there.
    let refused = refusal(&world, &format!("python: '3.13'\nindexes: [{INTERNAL}}}]\npackages: ['a>=2']\n"));
    insta::assert_snapshot!(refused, @r"
    no_such_version: no version of a is in that range; the newest of the index `internal`, which serves that name, is 1.0 (line 4)
    help: without the bound on `a` there is an answer: a 1.0
    ");
}

#[test]
fn a_claimed_name_is_asked_of_no_other_index() {
    let world = World::default()
        .wheel("acme-core", "99.0", &[])
        .wheel("acme_tools", "99.0", &[])
        .on("internal", "other-1.0-py3-none-any.whl", &[])
        .wheel("other", "2.0", &["Acme.Core"]);
    let indexes = format!("python: '3.13'\nindexes: [{INTERNAL}, packages: ['Acme_*']}}]\n");
    for package in ["acme-core", "acme_tools"] {
        let refused = refusal(&world, &format!("{indexes}packages: [{package}]\n"));
        let name = package.replace('_', "-");
        let expected = format!(
            "no_such_version: the index `internal`, which alone may serve `{name}`, has no such package (line 4)\n\
             help: check the spelling of `{name}`, or list the index that has it under `indexes:`\n"
        );
        assert_eq!(refused, expected);
    }
    // An index that claims names serves no others, and a dependency's name is claimed as well.
    let refused = refusal(&world, &format!("{indexes}packages: [other]\n"));
    insta::assert_snapshot!(refused, @r"
    no_such_version: the index `internal`, which alone may serve `acme-core`, has no such package
    pin_conflict: other 2.0 requires `acme-core` (line 4)
    help: check the spelling of `acme-core`, or list the index that has it under `indexes:`
    ");
}

/// torch for CUDA 11.8 on its own index, with what else lies there.
fn builds() -> World {
    World::default()
        .wheel("torch", "2.8.0", &["six"])
        .wheel("torchvision", "0.23.0", &["torch==2.8.0"])
        .wheel("torchvision", "0.24.0", &["torch"])
        .wheel("six", "1.0", &[])
        .wheel("libs", "12.8", &[])
        .on("pytorch-cu118", "torch-2.8.0+cu118-py3-none-any.whl", &["six", "libs==11.8"])
        .on("pytorch-cu118", "torchvision-0.23.0+cu118-py3-none-any.whl", &["torch==2.8.0"])
        .on("pytorch-cu118", "six-9.0-py3-none-any.whl", &[])
        .on("pytorch-cu118", "libs-11.8-py3-none-any.whl", &[])
        .on("pytorch-cu118", "only_there-1.0-py3-none-any.whl", &[])
}

const OLD_CARD: &str = "python: '3.13'\ntargets: [{gpu: Old}]\nframeworks: {pytorch: '2.8.0'}\n";

#[test]
fn an_index_of_builds_serves_the_framework_and_what_its_wheels_pin() {
    let expected = [
        "pytorch-cu118 libs-11.8-py3-none-any.whl",
        "default six-1.0-py3-none-any.whl",
        "pytorch-cu118 torch-2.8.0+cu118-py3-none-any.whl",
    ];
    assert_eq!(files(&builds(), OLD_CARD), expected);
    let refused = refusal(&builds(), &format!("{OLD_CARD}packages: [only-there]\n"));
    insta::assert_snapshot!(refused, @r"
    no_such_version: no index has a package `only-there` (line 5)
    help: check the spelling of `only-there`, or list the index that has it under `indexes:`
    ");
}

#[test]
fn what_a_build_pins_is_found_whoever_asks_for_it_first() {
    let world = builds().wheel("a", "1.0", &["libs==11.8"]).wheel("b", "1.0", &["libs>=11,<12"]);
    for packages in ["libs==11.8", "a", "b", "a, b"] {
        let found = files(&world, &format!("{OLD_CARD}packages: [{packages}]\n"));
        assert!(found.contains(&"pytorch-cu118 libs-11.8-py3-none-any.whl".to_owned()), "{packages}: {found:?}");
    }
    // What nobody pins is not looked for there, whatever lies there.
    let refused = refusal(&world, &format!("{OLD_CARD}packages: [six==9.0]\n"));
    insta::assert_snapshot!(refused, @r"
    no_such_version: no version of six is in that range; the newest is 1.0 (line 5)
    help: without the bound on `six` there is an answer: six 1.0
    ");
}

#[test]
fn companions_are_of_the_build_that_the_framework_is() {
    for packages in ["packages: [torchvision]\n", "packages: ['torchvision>=0.23', torch]\n"] {
        let found = files(&builds(), &format!("{OLD_CARD}{packages}"));
        assert!(found.contains(&"pytorch-cu118 torchvision-0.23.0+cu118-py3-none-any.whl".to_owned()), "{found:?}");
    }
    let found = files(&builds(), "python: '3.13'\nframeworks: {pytorch: '2.8.0'}\npackages: [torchvision]\n");
    let default = ["six-1.0", "torch-2.8.0", "torchvision-0.24.0"];
    assert_eq!(found, default.map(|file| format!("default {file}-py3-none-any.whl")));
}

#[test]
fn a_framework_in_packages_must_be_the_one_under_frameworks() {
    let refused = refusal(&builds(), &format!("{OLD_CARD}packages: ['torch<2.8']\n"));
    insta::assert_snapshot!(refused, @r"
    no_wheel_for_python: pytorch 2.5.0 (cu124) has wheels for Python 3.11 to 3.12 (line 2)
    no_wheel_for_python: pytorch 2.5.0 (cpu) has wheels for Python 3.11 to 3.12 (line 2)
    pin_conflict: the spec asks for pytorch `==2.8.0` (line 4)
    pin_conflict: the spec asks for `torch<2.8` (line 5)
    driver_branch_ends: pytorch 2.5.0 (cu124), built with CUDA 12.4, needs driver 525.60.13 or newer (line 3)
    help: with `torch==2.8.0` there is an answer: pytorch 2.8.0 (cu118), Python 3.13
    ");
}

#[test]
fn a_claimed_framework_comes_from_that_index_alone() {
    let world = builds().on("internal", "torch-2.8.0+cu118-py3-none-any.whl", &[]);
    let body = format!("{OLD_CARD}indexes: [{INTERNAL}, packages: [torch]}}]\n");
    assert_eq!(files(&world, &body), ["internal torch-2.8.0+cu118-py3-none-any.whl"]);
    let refused = refusal(&builds(), &body);
    insta::assert_snapshot!(refused, @r"
    no_such_version: the index `internal`, which alone may serve `torch`, has no such package
    cc_removed_from_toolkit: pytorch 2.8.0 (cu128) is built with CUDA 12.8, which no longer compiles for compute capability 5.2, that of Old (line 4)
    driver_branch_ends: pytorch 2.8.0 (cu128), built with CUDA 12.8, needs driver 525.60.13 or newer, and the last branch for Old is R470 (line 3)
    pin_conflict: pytorch 2.8.0 (cu118) is installed as `torch==2.8.0+cu118` (line 4)
    help: check the spelling of `torch`, or list the index that has it under `indexes:`
    ");
}

#[test]
fn a_wheel_by_place_is_the_only_one_of_its_name() {
    let world = World::default()
        .on("direct", "acme-1.0-py3-none-any.whl", &["b<2", "c; extra == 'fast'"])
        .wheel("acme", "9.0", &[])
        .wheel("b", "1.0", &["acme"])
        .wheel("b", "2.0", &[])
        .wheel("c", "1.0", &[])
        .wheel("d", "1.0", &["acme>=2"]);
    let place = "https://packages.example.com/acme-1.0-py3-none-any.whl";
    let body = format!("python: '3.13'\npackages: ['acme[fast] @ {place}', b]\n");
    assert_eq!(
        files(&world, &body),
        ["direct acme-1.0-py3-none-any.whl", "default b-1.0-py3-none-any.whl", "default c-1.0-py3-none-any.whl"]
    );
    let resolution = solve(&world, &body, &Preferences::default()).expect("an answer");
    let found = resolution.platforms[0].wheels["acme"].place.as_ref().map(ToString::to_string);
    assert_eq!(found.as_deref(), Some(place));
    let refused = refusal(&world, &format!("python: '3.13'\npackages: ['acme @ {place}', d]\n"));
    insta::assert_snapshot!(refused, @r"
    pin_conflict: d 1.0 requires `acme>=2` (line 3)
    help: without `d` there is an answer: acme 1.0
    ");
}

#[test]
fn of_wheels_by_place_the_one_that_fits_is_taken() {
    let world = World::default().on("direct", "acme-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", &[]).on(
        "direct",
        "acme-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        &[],
    );
    let place =
        |line: &str| format!("acme @ https://packages.example.com/acme-1.0-{line}-{line}-manylinux_2_17_x86_64.whl");
    let both = format!("packages: ['{}', '{}']\n", place("cp312"), place("cp311"));
    assert_eq!(files(&world, &both), ["direct acme-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"]);
    assert_eq!(
        files(&world, &format!("python: '3.11'\n{both}")),
        ["direct acme-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"]
    );
    let refused = refusal(&world, &format!("python: '3.13'\npackages: ['{}']\n", place("cp312")));
    insta::assert_snapshot!(refused, @r#"
    no_wheel_for_python: acme 1.0 has wheels for Python 3.12, not for Python 3.13 (line 3)
    help: with `python: "3.12"` there is an answer: acme 1.0
    "#);
}
