//! Which versions and files count: markers, extras, PEP 440, wheel tags, withdrawn and broken releases, hashes.

use super::*;

/// A pure wheel of `name` on the default index.
fn pure(name: &str, version: &str) -> String {
    format!("{name}-{version}-py3-none-any.whl")
}

#[test]
fn every_marker_variable_has_the_value_of_the_image() {
    let holds = [
        "python_version == '3.13'",
        "python_full_version == '3.13.2'",
        "python_full_version > '3.13'",
        "python_version >= '3.9' and python_version < '3.14'",
        "os_name == 'posix'",
        "sys_platform == 'linux'",
        "sys_platform != 'win32' or os_name == 'nt'",
        "platform_system == 'Linux'",
        "platform_machine == 'x86_64'",
        "platform_machine in 'x86_64 AMD64'",
        "platform_machine not in 'arm64 aarch64'",
        "platform_python_implementation == 'CPython'",
        "implementation_name == 'cpython'",
        "implementation_version >= '3.13.2'",
        "(os_name == 'nt' or os_name == 'posix') and extra != 'none'",
    ];
    let fails = [
        "python_version in '3.9 3.10'",
        "python_full_version < '3.13.2'",
        "sys_platform == 'darwin'",
        "platform_machine == 'aarch64'",
        "implementation_name == 'pypy'",
        "extra == 'fast'",
        "platform_release == '6.1'",
    ];
    let (mut world, mut expected, mut requires) = (World::default(), vec!["a 1".to_owned()], Vec::new());
    for (number, marker) in holds.iter().enumerate() {
        let name = format!("holds-{number:02}");
        expected.push(format!("{name} 1"));
        requires.push(format!("{name}; {marker}"));
        world = world.wheel(&name, "1", &[]);
    }
    requires.extend(fails.iter().map(|marker| format!("nowhere; {marker}")));
    let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
    let world = world.wheel("a", "1", &requires);
    assert_eq!(versions(&world, "python: '3.13'\npackages: [a]\n"), format!("{} on 3.13", expected.join(", ")));
}

#[test]
fn markers_of_the_spec_and_of_constraints_are_read_per_platform() {
    let world =
        World::default().wheel("a", "1.0", &["c"]).wheel("b", "1.0", &[]).wheel("c", "1.0", &[]).wheel("c", "2.0", &[]);
    let body = "platforms: [linux/amd64, linux/arm64]\npackages: [a, \"b; platform_machine == 'aarch64'\"]\n";
    let resolution = solve(&world, body, &Preferences::default()).expect("an answer");
    let names = |at: usize| resolution.platforms[at].wheels.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (names(0), names(1)),
        (vec!["a".to_owned(), "c".to_owned()], ["a", "b", "c"].map(str::to_owned).to_vec())
    );
}

#[test]
fn extras_may_name_other_extras_and_themselves() {
    let world = World::default()
        .wheel(
            "a",
            "1.0",
            &[
                "a[x,Y.y]; extra == 'all'",
                "a[all]; extra == 'loop'",
                "a[loop]; extra == 'loop'",
                "b; extra == 'x'",
                "c; extra == 'y_y'",
                "a>=2; extra == 'never'",
            ],
        )
        .wheel("b", "1.0", &["a[y-y]"])
        .wheel("c", "1.0", &[]);
    assert_eq!(versions(&world, "packages: ['a[ALL]']\n"), "a 1.0, b 1.0, c 1.0 on 3.13");
    assert_eq!(versions(&world, "packages: ['a[loop]']\n"), "a 1.0, b 1.0, c 1.0 on 3.13");
    assert_eq!(versions(&world, "packages: ['a[x]']\n"), "a 1.0, b 1.0, c 1.0 on 3.13");
    assert_eq!(versions(&world, "packages: ['a[y.y]']\n"), "a 1.0, c 1.0 on 3.13");
}

#[test]
fn an_extra_that_nobody_provides_is_said() {
    let world = World::default().wheel("a", "1.0", &[]).wheel("b", "1.0", &[]).saying(
        &pure("a", "1.0"),
        "Name: a\nVersion: 1.0\nProvides-Extra: fast\nRequires-Dist: b; extra == 'undeclared'\n",
    );
    let warnings =
        |body: &str| solve(&world, body, &Preferences::default()).expect("an answer").platforms[0].warnings.clone();
    assert_eq!(warnings("packages: ['a[slow]']\n"), ["a 1.0 has no extra `slow`: nothing is installed for it"]);
    assert!(warnings("packages: ['a[fast,undeclared]']\n").is_empty());
}

#[test]
fn specifiers_mean_what_pep_440_says() {
    let world = ["0.9", "1.0", "1.0.1", "1.0.post1", "1.1", "2.0.dev1", "2.0rc1", "1!0.1", "1!0.2a1"]
        .iter()
        .fold(World::default(), |world, version| world.wheel("a", version, &[]));
    for (requirement, expected) in [
        ("a", "1!0.1"),
        ("a<1!0", "1.1"),
        ("a~=1.0", "1.1"),
        ("a~=1.0.0", "1.0.1"),
        ("a~=1.0.post1", "1.1"),
        ("a!=1.1.*,<1!0", "1.0.1"),
        ("a!=1.1,<1!0", "1.0.1"),
        ("a===1.0", "1.0"),
        ("a==1.0", "1.0"),
        ("a==1.0.0", "1.0"),
        ("a==1.0.*", "1.0.1"),
        // Neither a post-release nor a label of 1.0 is above it.
        ("a>1.0,<1.0.1", "none"),
        ("a>=1.0,<1.0.1", "1.0.post1"),
        ("a<=1.0", "1.0"),
        ("a<1.0", "0.9"),
        ("a>1.1,<2.0", "none"),
        ("a>=2.0rc1,<1!0", "2.0rc1"),
        ("a>=2.0.dev0,<2.0rc1", "2.0.dev1"),
        ("a<2.0,!=2.0rc1", "1.1"),
        ("A>=1!0.2a0", "1!0.2a1"),
    ] {
        let body = format!("python: '3.13'\npackages: ['{requirement}']\n");
        let found = solve(&world, &body, &Preferences::default());
        let version =
            found.map_or_else(|_| "none".to_owned(), |found| found.platforms[0].wheels["a"].version.to_string());
        assert_eq!(version, expected, "{requirement}");
    }
}

/// What `uv pip compile` (0.13.9, `--only-binary :all:`) answers in the same worlds.
#[test]
fn a_prerelease_is_taken_where_no_final_release_is_left() {
    let world = World::default()
        .wheel("a", "1.0", &[])
        .wheel("a", "2.0rc1", &[])
        .wheel("a", "2.0rc2", &[])
        .wheel("ranged", "1.0", &["a>=2.0rc1"])
        .wheel("pinned", "1.0", &["a==2.0rc1"])
        .wheel("wide", "1.0", &["a>=1"])
        .wheel("below", "1.0", &["a<2.0rc2"])
        .wheel("extra", "1.0", &["a==2.0rc1; extra == 'x'", "a"])
        .wheel("only", "0.1b1", &[])
        .wheel("only", "0.1b2", &[])
        .wheel("alone", "1.0", &["only"])
        .file("default", "unbuilt-1.0.tar.gz", "unbuilt", "1.0", "", None, &[])
        .wheel("unbuilt", "2.0rc1", &[])
        .file("default", &pure("withdrawn", "1.0"), "withdrawn", "1.0", "", Some("bad"), &[])
        .wheel("withdrawn", "2.0rc1", &[])
        .file("default", &pure("newer", "1.0"), "newer", "1.0", ">=3.20", None, &[])
        .wheel("newer", "2.0rc1", &[])
        .wheel("b", "1.0", &[])
        .wheel("b", "2.0rc1", &[])
        .wheel("b", "2.0", &[])
        .wheel("b", "3.0rc1", &[])
        .wheel("moves", "0.9", &["b"])
        .wheel("moves", "1.0", &["b>=3.0rc1"]);
    for (packages, expected) in [
        ("a", "a 1.0"),
        ("a>=2.0rc1", "a 2.0rc2"),
        ("a!=2.0rc1", "a 1.0"),
        ("a<2.0rc2", "a 1.0"),
        ("a<=2.0rc1", "a 1.0"),
        ("a>1.0, a!=2.0rc2", "a 2.0rc1"),
        ("a~=2.0rc1", "a 2.0rc2"),
        ("a===2.0rc1", "a 2.0rc1"),
        ("a==2.*", "a 2.0rc2"),
        ("ranged", "a 2.0rc2, ranged 1.0"),
        ("pinned", "a 2.0rc1, pinned 1.0"),
        ("wide, pinned", "a 2.0rc1, pinned 1.0, wide 1.0"),
        ("pinned, wide", "a 2.0rc1, pinned 1.0, wide 1.0"),
        ("ranged, a>=1.0", "a 2.0rc2, ranged 1.0"),
        ("below", "a 1.0, below 1.0"),
        ("below, a>=2.0.dev0", "a 2.0rc1, below 1.0"),
        ("'extra[x]'", "a 2.0rc1, extra 1.0"),
        ("only", "only 0.1b2"),
        ("alone", "alone 1.0, only 0.1b2"),
        ("unbuilt", "unbuilt 2.0rc1"),
        ("withdrawn", "withdrawn 2.0rc1"),
        ("newer", "newer 2.0rc1"),
        ("b>=2.0rc1", "b 2.0"),
        ("b>2", "b 3.0rc1"),
        ("moves, b", "b 3.0rc1, moves 1.0"),
        ("moves, b<3", "b 2.0, moves 0.9"),
    ] {
        let body = format!("python: '3.13'\npackages: [{packages}]\n");
        assert_eq!(versions(&world, &body), format!("{expected} on 3.13"), "{packages}");
    }
    for refused in ["a>=2", "a==2.0", "'a>=2.0a1,<2'"] {
        assert!(solve(&world, &format!("python: '3.13'\npackages: [{refused}]\n"), &Preferences::default()).is_err());
    }
}

#[test]
fn which_requirement_is_met_first_does_not_decide_whether_a_prerelease_counts() {
    // `range` leaves no final release; who pins the pre-release is met before or after it.
    let world = World::default()
        .wheel("a", "1.0", &[])
        .wheel("a", "2.0rc1", &[])
        .wheel("range", "1.0", &["a>=2.0rc1"])
        .wheel("pin", "1.0", &["a==2.0rc1"])
        .wheel("deep", "1.0", &["deeper"])
        .wheel("deeper", "1.0", &["pin"]);
    for packages in ["range, pin", "pin, range", "range, deep", "deep, range", "a, deep", "deep, a", "a, range"] {
        let body = format!("python: '3.13'\npackages: [{packages}]\n");
        let resolution = solve(&world, &body, &Preferences::default()).expect("an answer");
        assert_eq!(resolution.platforms[0].wheels["a"].version.to_string(), "2.0rc1", "{packages}");
    }
}

#[test]
fn a_prerelease_that_the_spec_does_not_speak_of_is_said() {
    let world = World::default()
        .wheel("pinned", "1.0", &["a==2.0rc1", "only"])
        .wheel("a", "1.0", &[])
        .wheel("a", "2.0rc1", &[])
        .wheel("only", "0.1b1", &[]);
    let warnings =
        |body: &str| solve(&world, body, &Preferences::default()).expect("an answer").platforms[0].warnings.clone();
    assert_eq!(warnings("packages: [pinned]\n"), ["a 2.0rc1 is a pre-release, and the spec does not ask for one"]);
    assert!(warnings("packages: [pinned, a>=2.0rc1]\n").is_empty());
}

#[test]
fn a_yanked_version_is_taken_for_an_exact_pin_with_a_warning() {
    let world = World::default()
        .wheel("a", "1.0", &[])
        .file("default", &pure("a", "2.0"), "a", "2.0", "", Some("loses data"), &[])
        .wheel("b", "1.0", &["a==2.0"]);
    assert_eq!(versions(&world, "packages: ['a>=1']\n"), "a 1.0 on 3.13");
    let resolution = solve(&world, "packages: [b, a==2.0]\n", &Preferences::default()).expect("an answer");
    assert_eq!(resolution.platforms[0].wheels["a"].version.to_string(), "2.0");
    let with_extra = "packages: ['a[x]', a==2.0]\n";
    assert_eq!(versions(&world, with_extra), "a 2.0 on 3.13");
    // Two bounds that leave one version are no pin, and neither is what a dependency says.
    assert_eq!(versions(&world, "packages: ['a===2.0']\n"), "a 2.0 on 3.13");
    assert!(solve(&world, "packages: ['a>=2.0,<=2.0']\n", &Preferences::default()).is_err());
    assert!(solve(&world, "packages: ['a==2.0.*']\n", &Preferences::default()).is_err());
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages: [b]\n"), @r"
    no_such_version: a 2.0 was yanked: loses data
    pin_conflict: b 1.0 requires `a==2.0` (line 3)
    ");
    assert_eq!(resolution.platforms[0].warnings, ["a 2.0 was yanked, and is taken because it is pinned: loses data"]);
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages: ['a>=2']\n"), @r"
    no_such_version: a 2.0 was yanked: loses data (line 3)
    help: without the bound on `a` there is an answer: a 1.0
    ");
}

#[test]
fn a_locked_version_stays_though_it_was_yanked_since() {
    let world = World::default()
        .wheel("a", "1.0", &[])
        .file("default", &pure("a", "2.0"), "a", "2.0", "", Some("loses data"), &[])
        .wheel("b", "1.0", &["a"]);
    let mut preferences = Preferences::default();
    preferences.packages.insert("a".to_owned(), "2.0".parse().expect("a version"));
    let resolution = solve(&world, "packages: [b]\n", &preferences).expect("an answer");
    assert_eq!(resolution.platforms[0].wheels["a"].version.to_string(), "2.0");
    assert_eq!(resolution.platforms[0].warnings, ["a 2.0 was yanked, and is taken because it is pinned: loses data"]);
}

#[test]
fn the_best_wheel_of_a_version_is_chosen_whatever_the_order_of_the_page() {
    let order = [
        "a-1.0-py2.py3-none-any.whl",
        "a-1.0-py3-none-linux_x86_64.whl",
        "a-1.0-cp39-abi3-manylinux_2_17_x86_64.whl",
        "a-1.0-cp313-cp313-manylinux2014_x86_64.whl",
        "a-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
        "a-1.0-1-cp313-cp313-manylinux_2_28_x86_64.whl",
        "a-1.0-2a-cp313-cp313-manylinux_2_28_x86_64.whl",
    ];
    let never = [
        "a-1.0-3-cp313-cp313-musllinux_1_2_x86_64.whl",
        "a-1.0-3-cp313-cp313-manylinux_2_28_aarch64.whl",
        "a-1.0-3-cp313-cp313t-manylinux_2_28_x86_64.whl",
        "a-1.0-3-cp314-abi3-manylinux_2_28_x86_64.whl",
        "a-1.0-3-cp312-cp312-manylinux_2_28_x86_64.whl",
        "a-1.0-3-cp313-cp313-manylinux_2_99_x86_64.whl",
        "a-1.0-3-py2-none-any.whl",
        "a-1.0-3-cp313-cp313-win_amd64.whl",
    ];
    for (count, best) in order.iter().enumerate() {
        let listed = never.iter().chain(&order[..=count]);
        let forwards = listed.clone().fold(World::default(), |world, file| world.on("default", file, &[]));
        let backwards = listed.rev().fold(World::default(), |world, file| world.on("default", file, &[]));
        for world in [forwards, backwards] {
            assert_eq!(files(&world, "python: '3.13'\npackages: [a]\n"), [format!("default {best}")]);
        }
    }
}

#[test]
fn names_are_compared_in_their_normal_form() {
    let world = World::default().on("default", "Foo.Bar_baz-1.0-py3-none-any.whl", &["Other_NAME (>=1.0)"]).wheel(
        "other-name",
        "1.0",
        &[],
    );
    assert_eq!(versions(&world, "packages: [foo__BAR.baz]\n"), "foo-bar-baz 1.0, other-name 1.0 on 3.13");
}

#[test]
fn broken_releases_are_passed_over_with_the_reason() {
    let world = World::default()
        .wheel("a", "1.0", &["b (>=1.0,<2)"])
        .wheel("a", "2.0", &[])
        .saying(&pure("a", "2.0"), "Name: a\nVersion: 3.0\n")
        .wheel("a", "3.0", &["b >>= 1"])
        .wheel("a", "4.0", &["b >>= 1; extra == 'docs'", "c @ https://host.example/c-1-py3-none-any.whl"])
        .wheel("a", "5.0", &[])
        .saying(&pure("a", "5.0"), "Version: 5.0\n")
        .wheel("b", "1.5", &[])
        .wheel("b", "2.0", &[]);
    assert_eq!(versions(&world, "packages: [a]\n"), "a 1.0, b 1.5 on 3.13");
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages: ['a>=2']\n"), @r"
    unsatisfiable: a 5.0 cannot be used: METADATA has no field `Name` (line 3)
    unsatisfiable: METADATA of a 2.0 says that it is a 3.0 (line 3)
    unsatisfiable: a 3.0 requires `b >>= 1`, which is no requirement; likewise 1 older version (line 3)
    help: without the bound on `a` there is an answer: a 1.0
    ");
}

#[test]
fn a_requirement_of_an_extra_that_cannot_be_read_matters_to_that_extra_alone() {
    let world = World::default().wheel("a", "1.0", &["b >>= 1; extra == 'docs'"]);
    assert_eq!(versions(&world, "packages: [a]\n"), "a 1.0 on 3.13");
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages: ['a[docs]']\n"), @"unsatisfiable: a 1.0 requires `b >>= 1; extra == 'docs'`, which is no requirement (line 3)");
}

#[test]
fn contradictions_and_repetitions_within_the_spec() {
    let world = World::default().wheel("a", "1.0", &[]).wheel("a", "2.0", &[]);
    assert_eq!(versions(&world, "packages: [a, 'A>=1', 'a<2', 'a==1.*']\n"), "a 1.0 on 3.13");
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages:\n  - a>1\n  - a<=1\n"), @r"
    pin_conflict: the spec asks for `a>1` (line 4)
    pin_conflict: the spec asks for `a<=1` (line 5)
    help: without `a>1` there is an answer: a 1.0
    help: without `a<=1` there is an answer: a 2.0
    ");
}

/// A spec whose requirements file has these lines.
fn with_file(lines: &str) -> (tempfile::TempDir, Spec) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("requirements.txt"), lines).expect("written");
    let text = "name: test\npython: '3.13'\npackages: [{file: requirements.txt}]\n";
    let spec = match Spec::parse(Path::new("spec.yaml"), text, folder.path()) {
        Ok(spec) => spec,
        Err(error) => panic!("{}", Failure::from(error).render()),
    };
    (folder, spec)
}

fn solve_spec(world: &World, spec: &Spec) -> Result<Resolution, super::super::super::Error> {
    let full = |_, _: &super::super::super::BaseRow, _| Ok(pep440_rs::Version::new([3, 13, 2]));
    resolve(spec, &catalog(), world, &Preferences::default(), &full)
}

#[test]
fn a_hash_says_which_file_may_be_installed() {
    let plain = "a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl";
    let world = World::default()
        .on("default", plain, &[])
        .hashed(plain, "compiled")
        .on("default", "a-1.0-py3-none-any.whl", &[])
        .hashed("a-1.0-py3-none-any.whl", "pure");
    let chosen = |lines: String| {
        let (_folder, spec) = with_file(&lines);
        solve_spec(&world, &spec).map(|resolution| {
            let wheel = &resolution.platforms[0].wheels["a"];
            (wheel.file.filename.clone(), wheel.allowed.clone())
        })
    };
    let digest = |text: &str| Digest::of(text.as_bytes());
    let (pure, other) = (digest("pure"), digest("other"));
    let found = chosen(format!("a==1.0 --hash={other} --hash={pure}\n")).expect("an answer");
    assert_eq!(found, ("a-1.0-py3-none-any.whl".to_owned(), vec![other, pure]));
    assert_eq!(chosen("a==1.0\n".to_owned()).expect("an answer").0, plain);
    // Where the marker does not hold, neither do the hashes.
    let elsewhere = format!("a==1.0 ; sys_platform == 'linux'\na==1.0 ; sys_platform == 'win32' --hash={other}\n");
    assert_eq!(chosen(elsewhere).expect("an answer").0, plain);
    let error = chosen(format!("a==1.0 --hash={other}\n")).expect_err("no such file");
    insta::assert_snapshot!(conflict(&error), @"pin_conflict: `a-1.0-py3-none-any.whl` has sha256:b8ba2ec7e90713c1043778164af3250820943c2165c9f19fa29987e016aae5dd, and the spec allows sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa (line 1)");
}

#[test]
fn of_two_that_bound_each_other_the_one_named_first_is_the_newest() {
    let names = ["flask", "jinja", "celery", "click", "zope", "attrs"];
    for first in names {
        for second in names.iter().filter(|second| **second != first) {
            let world = World::default()
                .wheel(first, "1.0", &[])
                .wheel(first, "2.0", &[&format!("{second}<2")])
                .wheel(second, "1.0", &[])
                .wheel(second, "2.0", &[]);
            let resolution = solve(&world, &format!("packages: [{first}, {second}]\n"), &Preferences::default());
            let wheels = &resolution.expect("an answer").platforms[0].wheels;
            let found = [first, second].map(|name| wheels[name].version.to_string());
            assert_eq!(found, ["2.0", "1.0"], "{first} before {second}");
        }
    }
}

/// A spec whose requirements file has `lines` and is bounded by a file of constraints.
fn with_constraints(lines: &str, constraints: &str) -> (tempfile::TempDir, Spec) {
    let (folder, _) = with_file("");
    std::fs::write(folder.path().join("requirements.txt"), format!("{lines}-c constraints.txt\n")).expect("written");
    std::fs::write(folder.path().join("constraints.txt"), constraints).expect("written");
    let text = "name: test\npython: '3.13'\npackages: [{file: requirements.txt}]\n";
    let spec = match Spec::parse(Path::new("spec.yaml"), text, folder.path()) {
        Ok(spec) => spec,
        Err(error) => panic!("{}", Failure::from(error).render()),
    };
    (folder, spec)
}

#[test]
fn constraints_bound_whoever_asks_and_ask_for_nothing() {
    let world = World::default()
        .wheel("a", "1.0", &["b"])
        .wheel("a", "2.0", &["b[x]>=1"])
        .wheel("b", "1.0", &["c; extra == 'x'"])
        .wheel("b", "2.0", &["c; extra == 'x'"])
        .wheel("c", "1.0", &[])
        .wheel("d", "1.0", &["b>=2"]);
    let answer = |lines: &str, constraints: &str| {
        let (_folder, spec) = with_constraints(lines, constraints);
        match solve_spec(&world, &spec) {
            Ok(resolution) => {
                let wheels = resolution.platforms[0].wheels.iter();
                wheels.map(|(name, wheel)| format!("{name} {}", wheel.version)).collect::<Vec<_>>().join(", ")
            }
            Err(error) => conflict(&error),
        }
    };
    assert_eq!(answer("a\n", ""), "a 2.0, b 2.0, c 1.0");
    assert_eq!(answer("a\n", "A<2\n"), "a 1.0, b 2.0");
    assert_eq!(answer("a\n", "b<2\nd==7\n"), "a 2.0, b 1.0, c 1.0");
    assert_eq!(answer("a\n", "b<2; sys_platform == 'win32'\n"), "a 2.0, b 2.0, c 1.0");
    assert_eq!(answer("b[x]\n", "B<2\n"), "b 1.0, c 1.0");
    insta::assert_snapshot!(answer("d\n", "b<2\n"), @r"
    pin_conflict: d 1.0 requires `b>=2` (line 1)
    pin_conflict: a constraint says `b<2` (line 1)
    help: without the constraint `b<2` there is an answer: b 2.0
    ");
    insta::assert_snapshot!(answer("b>=2\n", "b<2\n"), @r"
    pin_conflict: the spec asks for `b>=2` (line 1)
    pin_conflict: a constraint says `b<2` (line 1)
    help: without the bound on `b` there is an answer: b 1.0
    help: without the constraint `b<2` there is an answer: b 2.0
    ");
    insta::assert_snapshot!(answer("b\n", "b>=3\n"), @r"
    no_such_version: no version of b is in that range; the newest is 2.0 (line 1)
    help: without the constraint `b>=3` there is an answer: b 2.0
    ");
}
