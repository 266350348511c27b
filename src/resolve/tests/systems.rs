//! Operating systems that have CUDA images and are no base.

use super::*;

/// The spec's list of names and the catalog's entries are two places that must agree.
#[test]
fn every_other_system_may_be_asked_for_and_says_why_it_is_no_base() {
    let catalog = Catalog::load(&[]).expect("the embedded catalog");
    assert!(catalog.other_systems.len() > 10);
    for system in &catalog.other_systems {
        for written in [&system.os, &system.suffix()] {
            let answer = resolve_stack(&spec(&format!("os: {written}\n")), &catalog, &Preferences::default());
            let text = conflict(&answer.expect_err("no base"));
            let expected = format!(
                "no_such_image: the spec asks for {}, {}; the bases known have debian",
                system.os,
                system.reason()
            );
            assert!(text.starts_with(&expected), "{written}: {text}");
            assert!(text.lines().any(|line| line.starts_with("help: ")), "{written}: {text}");
        }
    }
}
