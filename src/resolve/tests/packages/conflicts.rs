//! Conflicts among packages as a person reads them: the lines that take part, who asks, what exists, what was tried.

use super::*;

/// What `imgforge lock` prints.
fn screen(world: &World, body: &str) -> String {
    match solve(world, body, &Preferences::default()) {
        Ok(resolution) => panic!("there is an answer: {:?}", resolution.platforms),
        Err(error) => anstream::adapter::strip_str(&Failure::from(error).render()).to_string(),
    }
}

/// Packages that have no part in anything, with a bound on each other.
fn bystanders(mut world: World) -> (World, String) {
    let mut lines = String::new();
    for number in 0..12 {
        let name = format!("other-{number:02}");
        world = world.wheel(&name, "1.0", &["shared>=1"]).wheel(&name, "2.0", &["shared>=2"]);
        lines.push_str(&format!("  - {name}>=1\n"));
    }
    (world.wheel("shared", "1.0", &[]).wheel("shared", "2.0", &[]).wheel("shared", "3.0", &[]), lines)
}

#[test]
fn only_the_lines_that_take_part_are_told() {
    let world = World::default()
        .wheel("app", "1.0", &["mid"])
        .wheel("mid", "1.0", &["leaf<2", "shared"])
        .wheel("tool", "1.0", &["leaf>=2"])
        .wheel("leaf", "1.0", &[])
        .wheel("leaf", "2.0", &[]);
    let (world, lines) = bystanders(world);
    let body = format!("python: '3.13'\npackages:\n{lines}  - app\n  - tool\n");
    insta::assert_snapshot!(screen(&world, &body), @r"
    error: no environment meets this spec: mid 1.0 requires `leaf<2`, and tool 1.0 requires `leaf>=2`
      --> spec.yaml:16:5
       |
    16 |   - app
       |     ^^^
    note: the spec asks for `app` [spec.yaml:16]
    note: the spec asks for `tool` [spec.yaml:17]
    note: app 1.0 requires `mid` [metadata of app 1.0]
    note: tool 1.0 requires `leaf>=2` [metadata of tool 1.0]
    note: mid 1.0 requires `leaf<2` [metadata of mid 1.0]
    note: the index has leaf 1.0 and 2.0 for Python 3.13 [package index]
    help: without `app` there is an answer: tool 1.0
    help: without `tool` there is an answer: app 1.0
    ");
}

#[test]
fn many_versions_with_the_same_need_are_one_line() {
    let mut world = World::default().wheel("num", "1.0", &[]).wheel("num", "2.0", &[]);
    for number in 0..30 {
        world = world.wheel("big", &format!("0.{number}"), &[if number < 10 { "num<1.5" } else { "num<2" }]);
    }
    let (world, lines) = bystanders(world);
    let body = format!("python: '3.13'\npackages:\n{lines}  - num>=2\n  - big\n");
    insta::assert_snapshot!(screen(&world, &body), @r"
    error: no environment meets this spec: big 0.29 requires `num<2`, and the spec asks for `num>=2`
      --> spec.yaml:16:5
       |
    16 |   - num>=2
       |     ^^^^^^
    note: the spec asks for `num>=2` [spec.yaml:16]
    note: the spec asks for `big` [spec.yaml:17]
    note: big 0.10 to 0.29 require `num<2`; big 0.0 to 0.9 require `num<1.5` [metadata of big]
    note: the index has num 1.0 and 2.0 for Python 3.13 [package index]
    help: without the bound on `num` there is an answer: num 1.0
    ");
}

#[test]
fn a_bound_of_the_spec_against_a_package() {
    let world = World::default()
        .wheel("pan", "1.0", &[])
        .wheel("pan", "2.0", &[])
        .wheel("other", "1.0", &["pan>=2"])
        .wheel("other", "0.9", &["pan"]);
    let body = "python: '3.13'\npackages:\n  - pan==1.0\n  - other>=1\n";
    insta::assert_snapshot!(screen(&world, body), @r"
    error: no environment meets this spec: other 1.0 requires `pan>=2`, and the spec asks for `pan==1.0`
     --> spec.yaml:4:5
      |
    4 |   - pan==1.0
      |     ^^^^^^^^
    note: the spec asks for `pan==1.0` [spec.yaml:4]
    note: the spec asks for `other>=1` [spec.yaml:5]
    note: other 1.0 requires `pan>=2` [metadata of other 1.0]
    note: the index has pan 1.0 and 2.0 for Python 3.13 [package index]
    help: without the bound on `pan` there is an answer: pan 2.0
    help: without the bound on `other` there is an answer: other 0.9
    ");
}

#[test]
fn an_extra_and_a_constraint_are_named_as_such() {
    let world = World::default()
        .wheel("a", "1.0", &["c<2; extra == 'x'"])
        .wheel("b", "1.0", &["c>=2"])
        .wheel("c", "1.0", &[])
        .wheel("c", "2.0", &[]);
    insta::assert_snapshot!(screen(&world, "python: '3.13'\npackages:\n  - a[x]\n  - b\n"), @r"
    error: no environment meets this spec: a[x] 1.0 requires `c<2`, and b 1.0 requires `c>=2`
     --> spec.yaml:4:5
      |
    4 |   - a[x]
      |     ^^^^
    note: the spec asks for `a[x]` [spec.yaml:4]
    note: the spec asks for `b` [spec.yaml:5]
    note: a[x] 1.0 requires `c<2` [metadata of a 1.0]
    note: b 1.0 requires `c>=2` [metadata of b 1.0]
    note: the index has c 1.0 and 2.0 for Python 3.13 [package index]
    help: without `a` there is an answer: b 1.0
    help: without `b` there is an answer: a 1.0
    ");
}

#[test]
fn a_framework_against_a_package() {
    let world = World::default().wheel("serve", "1.0", &["torch==2.8.0"]).wheel("torch", "2.5.0", &[]).wheel(
        "torch",
        "2.8.0",
        &[],
    );
    let (world, lines) = bystanders(world);
    let body = format!(
        "python: '3.12'\ntargets: [{{gpu: Mid}}]\nframeworks: {{pytorch: '2.5.0'}}\npackages:\n{lines}  - serve\n"
    );
    insta::assert_snapshot!(screen(&world, &body), @r#"
    error: no environment meets this spec: serve 1.0 requires `torch==2.8.0`, and the spec asks for pytorch `==2.5.0`
     --> spec.yaml:4:23
      |
    4 | frameworks: {pytorch: '2.5.0'}
      |                       ^^^^^^^
    note: the spec asks for pytorch `==2.5.0` [spec.yaml:4]
    note: the spec asks for `serve` [spec.yaml:18]
    note: serve 1.0 requires `torch==2.8.0` [metadata of serve 1.0]
    help: with `pytorch: "2.8.0"` there is an answer: pytorch 2.8.0 (cu128), Python 3.12
    "#);
}

#[test]
fn a_platform_without_a_wheel_is_named() {
    let world = World::default()
        .file("default", "a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl", "a", "1.0", "", None, &[])
        .wheel("b", "1.0", &[]);
    let body = "python: '3.13'\nplatforms: [linux/amd64, linux/arm64]\npackages:\n  - b\n  - a\n";
    insta::assert_snapshot!(screen(&world, body), @r"
    error: no environment meets this spec: a 1.0 has no wheel for aarch64 Linux
     --> spec.yaml:6:5
      |
    6 |   - a
      |     ^
    note: the spec asks for `a` [spec.yaml:6]
    note: a 1.0 has no wheel for aarch64 Linux [package index]
    note: this is so on linux/arm64; linux/amd64 has an answer
    help: without the platform `linux/arm64` there is an answer: a 1.0
    ");
}

#[test]
fn a_version_that_was_never_released() {
    let world =
        World::default().wheel("a", "1.0", &[]).wheel("a", "1.2", &[]).wheel("a", "2.0", &["b"]).wheel("b", "1.0", &[]);
    let (world, lines) = bystanders(world);
    insta::assert_snapshot!(screen(&world, &format!("python: '3.13'\npackages:\n{lines}  - a==1.1\n")), @r"
    error: no environment meets this spec: the spec asks for `a==1.1`, and no version of a is in that range; the nearest are 1.0 and 1.2, and the newest is 2.0
      --> spec.yaml:16:5
       |
    16 |   - a==1.1
       |     ^^^^^^
    note: the spec asks for `a==1.1` [spec.yaml:16]
    note: no version of a is in that range; the nearest are 1.0 and 1.2, and the newest is 2.0 [package index]
    help: without the bound on `a` there is an answer: a 2.0
    ");
}

#[test]
fn a_python_that_has_the_version_is_offered() {
    // The newest release is only to be built, an older one has a wheel for an older Python.
    let world = World::default()
        .file("default", "a-2.1.tar.gz", "a", "2.1", "", None, &[])
        .file("default", "a-2.0-cp311-cp311-manylinux_2_17_x86_64.whl", "a", "2.0", "", None, &[])
        .wheel("a", "1.0", &[]);
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages: ['a>=2']\n"), @r#"
    no_such_version: a 2.1 has only a source distribution, and only wheels are installed (line 3)
    help: without the bound on `a` there is an answer: a 1.0
    help: with `python: "3.11"` there is an answer: a 2.0
    help: build the wheel once (`pip wheel --no-deps a==2.1`), put it beside the spec and write `a @ file:FILE.whl`, or put it on an index of your own under `indexes:`
    "#);
    // A marker asks for a version that does not exist.
    let world = World::default().wheel("b", "1.0", &["c>=2; python_version >= '3.12'", "c"]).wheel("c", "1.0", &[]);
    insta::assert_snapshot!(refusal(&world, "python: '3.13'\npackages: [b]\n"), @r#"
    no_such_version: no version of c is in that range; the newest is 1.0
    pin_conflict: b 1.0 requires `c>=2` (line 3)
    help: with `python: "3.11"` there is an answer: b 1.0
    "#);
}

#[test]
fn conflicts_beside_each_other_are_helped_by_changes_together() {
    let world = World::default()
        .wheel("a", "1.0", &["c<2"])
        .wheel("b", "1.0", &["c>=2"])
        .wheel("c", "1.0", &[])
        .wheel("c", "2.0", &[])
        .wheel("d", "1.0", &[])
        .wheel("e", "1.0", &["f<2"])
        .wheel("f", "2.0", &[])
        .wheel("f", "1.0", &[]);
    let body = "python: '3.13'\npackages:\n  - a\n  - b\n  - d>=2\n";
    insta::assert_snapshot!(refusal(&world, body), @r"
    pin_conflict: a 1.0 requires `c<2` (line 4)
    pin_conflict: b 1.0 requires `c>=2` (line 5)
    help: without `a` and the bound on `d` there is an answer: d 1.0
    ");
    insta::assert_snapshot!(refusal(&world, &format!("{body}  - e\n  - f==2.0\n")), @r"
    pin_conflict: a 1.0 requires `c<2` (line 4)
    pin_conflict: b 1.0 requires `c>=2` (line 5)
    help: without `a`, the bound on `d` and the bound on `f` there is an answer: f 1.0
    ");
}

/// Whatever becomes of the index while a conflict is looked into: the answer stays no, with lines of the spec.
#[test]
fn a_conflict_is_told_though_the_index_fails_while_it_is_looked_into() {
    let mut outcomes = Vec::new();
    for answers in (0..400).step_by(3) {
        let world = World::default()
            .wheel("a", "1.0", &["c<2"])
            .wheel("b", "1.0", &["c>=2"])
            .wheel("c", "1.0", &[])
            .wheel("c", "2.0", &[]);
        let world = Brittle::after(world, answers);
        match resolve(&spec("python: '3.13'\npackages: [a, b]\n"), &catalog(), &world, &Preferences::default(), &full) {
            Err(super::super::super::Error::Conflict(conflict)) => {
                assert!(conflict.asks.len() == 2, "{:?}", conflict.asks);
                outcomes.push(conflict.help.len());
            }
            Err(super::super::super::Error::Source(_)) => assert!(outcomes.is_empty(), "{answers} answers"),
            outcome => panic!("{outcome:?}"),
        }
    }
    assert!(outcomes.is_sorted() && outcomes.first() == Some(&0) && outcomes.last() == Some(&2), "{outcomes:?}");
}

#[test]
fn a_package_line_is_told_like_a_framework_s() {
    insta::assert_snapshot!(screen(&World::default(), "targets: [{gpu: Old}]\npackages: ['torch==2.5.0']\n"), @r"
    error: no environment meets this spec: no build of `torch==2.5.0` runs on `Old`
     --> spec.yaml:2:17
      |
    2 | targets: [{gpu: Old}]
      |                 ^^^
    note: the spec asks for `torch==2.5.0` [spec.yaml:3]
    note: `Old` (compute capability 5.2, drivers up to R470) runs only pytorch 2.8.0 (cu118): pytorch 2.5.0 (cu124), built with CUDA 12.4, needs driver 525.60.13 or newer [the invented manual]
    help: with `torch==2.8.0` there is an answer: pytorch 2.8.0 (cu118), Python 3.13
    ");
}
