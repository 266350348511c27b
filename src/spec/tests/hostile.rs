//! Bytes that nobody would write in good faith: no panic, no long wait, and every error points into the text.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Error, Problem};
use super::{parse, rendered};
use crate::diagnostic::Hint as _;

/// Parses, and checks what every error promises.
fn survive(text: &str) {
    let Err(error) = parse(text) else { return };
    if let Some(origin) = error.origin() {
        assert!(origin.span.start <= origin.span.end, "{error}");
        assert!(origin.text.get(origin.span.clone()).is_some(), "{error}: {:?}", origin.span);
    }
    assert!(rendered(error).starts_with("error: "));
}

#[test]
fn bombs_are_refused_at_once() {
    let mut levels = String::new();
    for level in 1..12 {
        levels.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")));
    }
    let padding = "# padding\n".repeat(100_000);
    let bombs = [
        format!("name: x\ncommand:\n  - &a0 [x]\n{levels}"),
        format!("name: x\ntargets: &a0 [cpu]\n{levels}{padding}"),
        format!("env: &a0 {{A: {}}}\nname: x\n", "[".repeat(100_000)),
        format!("name: x\ncommand: [{}]\n", "x,".repeat(500_000)),
        format!("name: x\ncommand: [&a x{}]\n", ", *a".repeat(200_000)),
        format!("name: x\n{}", "---\n".repeat(200_000)),
        format!("name: x\ntargets: {}\n", "{gpu: ".repeat(100_000)),
        format!("name: x\n? {}\n", "? ".repeat(100_000)),
        format!("name: x\n{}a\n", "- ".repeat(300_000)),
        format!("name: x\npackages: [\"a ; {}\"]\n", "(".repeat(100_000)),
        format!("name: x\npackages: [\"a ; {}\"]\n", "(os_name=='a' or os_name=='b') and ".repeat(20_000)),
        format!("name: x\npackages: [\"a>={}\"]\n", "9".repeat(500_000)),
        format!("name: x\npython: \"{}\"\n", "1.".repeat(400_000)),
        format!("name: x\ncuda: \"{}\"\n", "1.".repeat(400_000)),
        format!("name: x\nbase: \"a/{}:1\"\n", "a".repeat(400_000)),
    ];
    for bomb in bombs {
        let start = Instant::now();
        let error = parse(&bomb).expect_err("a bomb");
        let taken = start.elapsed();
        let head: String = bomb.chars().take(60).collect();
        assert!(error.origin().is_some(), "{head:?}");
        assert!(taken < Duration::from_secs(2), "{taken:?} for {head:?}");
    }
}

#[test]
fn an_alias_bomb_names_its_place() {
    let error = parse("name: x\ncommand: [&a x, *a, *a, *a, *a, *a, *a, *a]\nenv: {A: &b [*a]}\n").expect_err("a list");
    assert!(matches!(error, Error::Invalid { problem: Problem::WrongType { .. }, .. }), "{error}");
    let error = parse(&format!("name: x\ncommand: [&a x{}]\n", ", *a".repeat(100))).expect_err("too many");
    assert!(matches!(error, Error::Invalid { problem: Problem::TooComplex, .. }), "{error}");
    assert_eq!(error.origin().map(|origin| origin.line()), Some(2));
}

const VALID: &str = "name: churn\ntargets: [aws/g4dn.xlarge, {gpu: RTX 4090, driver: \"535.104.05\"}]\npython: \"3.11\"\n\
frameworks:\n  pytorch: {version: \">=2.4,<2.7\", build: cu121, with: [torchvision]}\npackages:\n  - transformers>=4.44\n  \
- \"numpy ; python_version < '3.12' and (os_name == 'posix')\"\nindexes:\n  - {name: internal, url: \"https://a.example.com/simple\", \
packages: [\"acme-*\"]}\nos: ubuntu 22.04\nbase: a/b:1\nimage: {repository: a.example.com/b, tags: [latest]}\n\
env: {A: größe}\nworkdir: /w\ncommand: [python]\nservices:\n  postgres: {version: 16}\n  mlflow: {artifacts: \"s3://b/p\"}\n";

#[test]
fn the_seed_of_the_mutations_is_valid() {
    parse(VALID).expect("valid");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        survive(&text);
    }

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn yaml_like(text in "(name: x\n)?([a-z]{1,5}|targets|packages|env|\\*a|<<)( ?)(:|-|\\?)( |\n|\t)[-\\[\\]{}:,&*!|>'\"%@`#a-z0-9 \n\t]{0,60}") {
        survive(&text);
    }

    #[test]
    fn mutated(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "\\PC{0,3}|[-\\[\\]{}:,&*!|>'\"\n\t\\\\#]{0,3}"), 1..5)) {
        let mut text: Vec<char> = VALID.chars().collect();
        for (from, length, inserted) in edits {
            let from = from.index(text.len() + 1);
            let end = (from + length.index(6)).min(text.len());
            text.splice(from..end, inserted.chars());
        }
        survive(&text.into_iter().collect::<String>());
    }

    #[test]
    fn requirements(text in "[-a-zA-Z0-9._\\[\\](),;<>=~!@'\" \t]{0,60}|[a-z]{1,4} ?; ?(python_version|os_name|extra|sys_platform) ?(<|==|in|not in|~=) ?['\"][a-z0-9.*]{0,6}['\"]?( and| or)?.{0,20}") {
        if let Err((_, part)) = super::super::requirements::parse(&text) {
            prop_assert!(part.start <= part.end && part.end <= text.len());
        }
    }
}
