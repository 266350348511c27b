//! What upstream leaves open is no disagreement: a person's word stands.

use super::*;

/// `FLOW` with another last build and the lines of its wheels.
fn flow(from: &[(&str, &str)]) -> String {
    from.iter().fold(FLOW.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

fn told(text: &str, world: &World) -> Vec<String> {
    let outcome = run(&files(&[("flow.yaml", text)]), world, &["flow"]);
    assert_eq!(outcome.changes, []);
    sentences(&outcome)
}

const COMING: &str =
    "format: \"1.0.0\"\npythons:\n  - {version: \"3.15\", status: prerelease, source: our word for it}\n";

#[test]
fn a_wheel_for_every_python_may_be_listed_for_a_line_that_is_not_released() {
    let mut world = world();
    world.pages.insert(
        ("default", "flow"),
        vec!["flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl", "flow-1.1.0-cp313-abi3-manylinux_2_28_x86_64.whl"],
    );
    world.metadata.insert(
        "flow-1.1.0-cp313-abi3-manylinux_2_28_x86_64.whl",
        "Requires-Python: >=3.10\nRequires-Dist: nvidia-cuda-runtime-cu12==12.4.127\nRequires-Dist: nvidia-cudnn-cu12==9.1.0.70\n",
    );
    for (listed, expected) in [
        ("3.13 3.14", None),
        ("3.13 3.14 3.15", None),
        ("3.14 3.15", Some("curated says 3.14 3.15, upstream says 3.13 3.14")),
        ("3.12 3.13 3.14", Some("curated says 3.12 3.13 3.14, upstream says 3.13 3.14")),
    ] {
        let text = flow(&[("\"3.10 3.11\"", &format!("\"{listed}\""))]);
        let outcome = run(&files(&[("coming.yaml", COMING), ("flow.yaml", &text)]), &world, &["flow"]);
        let expected = expected.map(|end| format!("framework flow 1.1.0 cu124: pythons on linux/amd64: {end}"));
        assert_eq!(sentences(&outcome), expected.into_iter().collect::<Vec<_>>(), "{listed}");
    }
}

#[test]
fn without_requires_python_a_person_says_which_old_lines_count() {
    let mut world = world();
    let wheel = "flow-1.1.0-py3-none-manylinux_2_28_x86_64.whl";
    world.pages.insert(("default", "flow"), vec!["flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl", wheel]);
    let pins = "Requires-Dist: nvidia-cuda-runtime-cu12==12.4.127\nRequires-Dist: nvidia-cudnn-cu12==9.1.0.70\n";
    world.metadata.insert(wheel, pins);
    let text = flow(&[("        requires_python: \">=3.10\"\n", ""), ("\"3.10 3.11\"", "\"3.11 3.12\"")]);
    assert_eq!(told(&text, &world), [""; 0]);
    world.metadata.insert(wheel, Box::leak(format!("Requires-Python: >=3.11\n{pins}").into_boxed_str()));
    let text = text.replace(
        "        companions: {flowvision: \"0.2.0\"}",
        "        requires_python: \">=3.11\"\n        companions: {flowvision: \"0.2.0\"}",
    );
    assert_eq!(
        told(&text, &world),
        [
            "framework flow 1.1.0 cu124: pythons on linux/amd64: curated says 3.11 3.12, upstream says 3.11 3.12 3.13 3.14"
        ]
    );
}

#[test]
fn a_pure_python_tag_with_a_minor_is_where_it_begins() {
    let mut world = world();
    let wheel = "flow-1.1.0-py311-none-manylinux_2_28_x86_64.whl";
    world.pages.insert(("default", "flow"), vec!["flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl", wheel]);
    world.metadata.insert(
        wheel,
        "Requires-Python: >=3.10\nRequires-Dist: nvidia-cuda-runtime-cu12==12.4.127\nRequires-Dist: nvidia-cudnn-cu12==9.1.0.70\n",
    );
    assert_eq!(told(&flow(&[("\"3.10 3.11\"", "\"3.11 3.12 3.13 3.14\"")]), &world), [""; 0]);
}

#[test]
fn a_release_reaches_as_far_as_the_parts_that_it_pins() {
    let mut world = world();
    let wheel = "flow-1.1.0-cp310-abi3-manylinux_2_28_x86_64.whl";
    world.pages.insert(("default", "flow"), vec!["flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl", wheel]);
    world.pages.insert(
        ("default", "flow-kernels"),
        vec![
            "flow_kernels-7.0-cp310-cp310-manylinux_2_28_x86_64.whl",
            "flow_kernels-7.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        ],
    );
    world.metadata.insert(
        wheel,
        "Requires-Python: >=3.10\nRequires-Dist: flow-kernels==7.0\nRequires-Dist: nvidia-cuda-runtime-cu12==12.4.127\n\
         Requires-Dist: nvidia-cudnn-cu12==9.1.0.70\n",
    );
    assert_eq!(told(FLOW, &world), [""; 0]);
}

#[test]
fn a_range_of_cudnn_is_met_by_what_is_above_its_lower_end() {
    let mut world = world();
    let wheel = "flow-1.1.0-cp311-cp311-manylinux_2_28_x86_64.whl";
    let requires = |cudnn: &str| {
        let text = format!(
            "Requires-Python: >=3.10\nRequires-Dist: nvidia-cuda-runtime-cu12==12.4.127\nRequires-Dist: nvidia-cudnn-cu12{cudnn}\n"
        );
        &*Box::leak(text.into_boxed_str())
    };
    for (cudnn, expected) in [(">=9.0,<10", None), (">=9.2", Some("9.2 or newer")), ("==9.0.0.312", Some("9.0.0.312"))]
    {
        world.metadata.insert(wheel, requires(cudnn));
        let expected = expected.map(|upstream| {
            format!("framework flow 1.1.0 cu124: cudnn: curated says 9.1.0.70, upstream says {upstream}")
        });
        assert_eq!(told(FLOW, &world), expected.into_iter().collect::<Vec<_>>(), "{cudnn}");
    }
}

/// What a pinned torch asks for is torch's, and the resolver meets it there.
#[test]
fn the_cudnn_of_a_pinned_torch_need_not_be_repeated() {
    let mut world = world();
    let wheel = "flow-1.1.0-cp311-cp311-manylinux_2_28_x86_64.whl";
    world.metadata.insert(wheel, "Requires-Python: >=3.10\nRequires-Dist: torch==2.5.1\n");
    let torch = "torch-2.5.1-cp311-cp311-manylinux1_x86_64.whl";
    world.pages.insert(("default", "torch"), vec![torch, "torch-2.5.1-cp310-cp310-manylinux1_x86_64.whl"]);
    world.metadata.insert(
        torch,
        "Requires-Dist: nvidia-cuda-runtime-cu12==12.4.127\nRequires-Dist: nvidia-cudnn-cu12==9.1.0.70\n",
    );
    assert_eq!(told(&flow(&[("cudnn: \"9.1.0.70\", ", "")]), &world), [""; 0]);
    assert_eq!(
        told(&flow(&[("9.1.0.70", "9.2.0.82")]), &world),
        ["framework flow 1.1.0 cu124: cudnn: curated says 9.2.0.82, upstream says 9.1.0.70"]
    );
}

#[test]
fn machine_code_in_a_wheel_for_every_platform_is_a_persons_word() {
    let mut world = world();
    let text = flow(&[("cudnn: \"9.1.0.70\", ", "")]);
    for (file, expected) in [
        ("flow-1.1.0-py3-none-any.whl large", None),
        ("flow-1.1.0-py3-none-any.whl", Some("some, upstream says `flow==1.1.0` brings none with machine code")),
    ] {
        world.pages.insert(("default", "flow"), vec!["flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl", file]);
        world.metadata.insert(
            "flow-1.1.0-py3-none-any.whl",
            "Requires-Python: >=3.10\nRequires-Dist: nvidia-cuda-runtime-cu12==12.4.127\n",
        );
        let expected =
            expected.map(|end| format!("framework flow 1.1.0 cu124: wheels on linux/amd64: curated says {end}"));
        assert_eq!(told(&text, &world), expected.into_iter().collect::<Vec<_>>(), "{file}");
    }
}

#[test]
fn a_build_of_two_packages_reaches_as_far_as_the_one_with_machine_code() {
    let mut world = world();
    let text = flow(&[(
        "cudnn: \"9.1.0.70\", sass: \"7.5 8.0\", ptx: \"8.0\", source: wheels",
        "sass: \"7.5 8.0\", source: wheels, requirements: [\"flow==1.1.0\", \"core==7.0\"]",
    )]);
    world.pages.insert(
        ("default", "flow"),
        vec!["flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl", "flow-1.1.0-py3-none-any.whl"],
    );
    world.metadata.insert(
        "flow-1.1.0-py3-none-any.whl",
        "Requires-Python: >=3.10\nRequires-Dist: nvidia-cuda-runtime-cu12==12.4.127\n",
    );
    let core =
        |line: &str| &*Box::leak(format!("core-7.0-cp{line}-cp{line}-manylinux_2_28_x86_64.whl").into_boxed_str());
    world.pages.insert(("default", "core"), vec![core("39"), core("310"), core("311")]);
    assert_eq!(told(&text, &world), [""; 0]);
    world.pages.insert(("default", "core"), vec![core("39"), core("310")]);
    assert_eq!(
        told(&text, &world),
        ["framework flow 1.1.0 cu124: pythons on linux/amd64: curated says 3.10 3.11, upstream says 3.10"]
    );
}

#[test]
fn a_release_without_wheels_has_none_upstream_and_newer_sources_are_told() {
    let mut world = world();
    let source = "{name: source, accelerator: cuda, source_only: true}";
    let text = flow(&[
        (
            "        platforms:\n          linux/amd64: {pythons: \"3.10 3.11\", glibc: \"2.28\"}\n        builds:\n          - {name: cu124, default: true, toolkit: \"12.4\", cudnn: \"9.1.0.70\", sass: \"7.5 8.0\", ptx: \"8.0\", source: wheels}",
            &format!("        builds:\n          - {source}"),
        ),
        ("        companions: {flowvision: \"0.2.0\"}   # by hand\n", ""),
    ]);
    world.pages.insert(("default", "flowvision"), Vec::new());
    let wheel = "flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl";
    world.pages.insert(
        ("default", "flow"),
        vec![wheel, "flow-1.1.0.tar.gz", "flow-1.2.0.tar.gz", "flow-1.3.0rc1.tar.gz", "flow-0.9.0.tar.gz"],
    );
    assert_eq!(told(&text, &world), ["framework flow: not in the catalog: flow 1.2.0 (source)"]);
    world.pages.insert(("default", "flow"), vec![wheel, "flow-1.1.0-cp311-cp311-manylinux_2_28_x86_64.whl"]);
    assert_eq!(
        told(&text, &world),
        ["framework flow 1.1.0 source: wheels: curated says a source distribution alone, upstream says some"]
    );
}
