//! Wrong inputs and the exact text that a person gets.

use super::{blamed, parse, rendered};

/// Lines after `name: x`.
const LINES: &[&str] = &[
    // Shape.
    "target: [cpu]",
    "nmae: y",
    "name: y",
    "zzz: 1",
    "targets: cpu",
    "targets:",
    "targets: []",
    "platforms: []",
    "workdir: /lib/churn",
    "workdir: /var/run",
    "workdir: /proc/churn",
    "targets: [[cpu]]",
    "targets: [~]",
    "targets: [{driver: 535.104.05}]",
    "targets: [{gpu: T4, drivers: 5}]",
    "targets: [{gpu: [T4]}]",
    "frameworks: [pytorch]",
    "frameworks: {pytorch: [2]}",
    "frameworks: {pytorch: {version: 2.5, biuld: cpu}}",
    "frameworks: {pytorch: 2.5, PyTorch: 2.4}",
    "packages: [{path: requirements.txt}]",
    "services: {redis: }",
    "services: {postgers: {}}",
    "env: [A]",
    "env: {A: [1]}",
    "env: {A: 1, A: 2}",
    "command: python main.py",
    "image: {<<: {tags: [a]}}",
    "user: *nobody",
    "user: \"abc",
    "command: [python",
    "services:\n\tredis: {}",
    "---\nname: y",
    // Targets and platforms.
    "targets: [cpus]",
    "targets: [T4]",
    "targets: [aws/g4dn.xlarge/2]",
    "targets: [cpu, aws/a, cpu]",
    "targets: [{gpu: T4, driver: R535}]",
    "targets: [{gpu: T4, platform: linux/arm}]",
    "targets: [{gpu: \"\"}]",
    "targets: [{gpu: T4}, {gpu: T4}]",
    "targets: [4]",
    "platforms: [linux/amd46]",
    // Versions.
    "python: 3.11.4",
    "python: '>=3.9.2'",
    "python: latest",
    "python: '===3.11'",
    "python: ''",
    "frameworks: {pytorch: 2.5.1+cu124}",
    "frameworks: {pytorch: '>>2'}",
    "frameworks: {pytorch: '===2.5'}",
    "frameworks: {pytorch: {build: cuda12.4}}",
    "frameworks: {\"py torch\": 2.5}",
    "cuda: v12",
    "cudnn: 9.x",
    "os: alpine 3.20",
    "os: ubunto 22.04",
    "os: debian bookworm",
    "compile: maybe",
    "compile: [true]",
    // Packages and indexes.
    "packages: [\"torch >>= 2\"]",
    "packages: [\"numpy>=1.26,<\"]",
    "packages: [\"größe>=1\"]",
    "packages: [\"requests[\"]",
    "packages: [numpy->=1]",
    "packages: [\"requests[socks-]\"]",
    "packages: [\"numpy ; python_versio < '3'\"]",
    "packages: [\"\"]",
    "packages: [\"7 up\"]",
    "packages: [../wheels/acme.whl]",
    "packages: [\"acme @ git+https://token@code.example.com/acme\"]",
    "indexes: [{name: internal}]",
    "indexes: [{url: \"https://packages.example.com/simple\"}]",
    "indexes: [{name: internal, url: \"https://me:secret@packages.example.com/simple\"}]",
    "indexes: [{name: internal, url: packages.example.com}]",
    "indexes: [{name: internal, url: \"ftp://packages.example.com\"}]",
    "indexes: [{name: internal, url: \"https://packages.example.com/?token=secret\"}]",
    "indexes: [{name: default, url: \"https://packages.example.com\"}]",
    "indexes: [{name: internal, url: \"https://a.example.com\", packages: [\"acme/*\"]}]",
    "system: [git=1:2.39]",
    "system: [Git]",
    // The image.
    "base: slmi",
    "base: registry.example.com/base",
    "base: Registry/UPPER:1",
    "image: {repository: registry.example.com/ml/churn:1}",
    "image: {repository: ML/churn}",
    "image: {tags: []}",
    "image: {tags: [latest, .hidden]}",
    "image: {tags: [a, a]}",
    "image: {tags: [\"{{ version }}\"]}",
    "image: {tags: [\"{{ digest }}\"]}",
    "image: {tags: [latest, \"{{ torhc }}\"]}",
    "image: {tags: [latest, \"{{ python\"]}",
    "image: {version: a b}",
    "env: {2FAST: 1}",
    "env: {A: \"x\\ny\"}",
    "env: {A: }",
    "workdir: workspace",
    "workdir: /a/../b",
    "user: Root",
    "user: 1000",
    "command: [\"a\\0b\"]",
    "run: [\" \"]",
    // Services.
    "services: {postgres: {version: sixteen}}",
    "services: {mlflow: {backend: postgres}}",
    "services: {mlflow: {backend: mysql}}",
    "services: {mlflow: {artifacts: bucket}}",
    "services: {mlflow: {artifacts: \"gcs://bucket\"}}",
    "services: {mlflow: {artifacts: \"s3://key:secret@bucket/x\"}}",
    "services: {mlflow: {artifacts: \"s3:///x\"}}",
    "services: {mlflow: {artifacts: \"wasbs://box/x\"}}",
];

#[test]
fn every_message() {
    let mut report = String::new();
    for line in LINES {
        let text = format!("name: x\n{line}\n");
        report.push_str(&rendered(parse(&text).expect_err(line)));
        report.push('\n');
    }
    assert!(!report.contains("secret"), "a credential is printed");
    insta::assert_snapshot!(report);
}

#[test]
fn whole_files() {
    let mut report = String::new();
    for text in [
        "",
        "# only a comment\n---\n",
        "- a\n- b\n",
        "churn\n",
        "python: 3.11\n",
        "name:\n",
        "name: Churn\n",
        "name: a..b\n",
    ] {
        report.push_str(&rendered(parse(text).expect_err(text)));
        report.push('\n');
    }
    insta::assert_snapshot!(report);
}

#[test]
fn places_are_right_after_other_alphabets_and_line_ends() {
    for (text, line, column, bytes) in [
        ("name: x\nenv: {A: größe, B: 日本}\nuser: Wrong\n", 3, 7, "Wrong"),
        ("name: x\r\nenv: {A: größe, B: 日本}\r\nuser: Wrong\r\n", 3, 7, "Wrong"),
        ("\u{feff}name: x\nuser: Wrong\n", 2, 7, "Wrong"),
        ("\u{feff}# größe 日本 🚀\r\nname: x\r\nenv: {A: 日本, Bö: 1}\r\n", 3, 14, "Bö"),
        ("name: x\n# 🚀\nfoo: 1\n", 3, 1, "foo"),
        ("name: x\n# 🚀\nuser: *é\n", 3, 7, "*"),
        ("name: x\npackages: ['größe']\n", 2, 15, "öße"),
        ("name: x\npackages:\n  - >-\n    numpy\n    >>1\n", 4, 5, "numpy\n    >>1\n"),
        ("name: x\nuser: |\n  Größe\n", 3, 3, "Größe\n"),
    ] {
        let error = parse(text).expect_err(text);
        let origin = crate::diagnostic::Hint::origin(&error).expect("a place");
        assert_eq!(
            (origin.line(), origin.column(), blamed(&error).as_str()),
            (line, column, bytes),
            "{text:?}: {error}"
        );
    }
}
