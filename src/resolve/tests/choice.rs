//! The order in which answers are preferred, one rule at a time.

use super::stack::answer;
use super::*;

fn with(body: &str, preferences: &Preferences) -> String {
    match resolve_stack(&spec(body), &catalog(), preferences) {
        Ok(answer) => summary(&answer),
        Err(error) => panic!("{}", Failure::from(error).render()),
    }
}

fn locked(version: &str, build: &str) -> Preferences {
    let version = version.parse().expect("a version");
    Preferences { frameworks: [("pytorch".to_owned(), (version, build.to_owned()))].into(), ..Preferences::default() }
}

#[test]
fn first_what_the_lock_holds_if_it_still_suits() {
    let wish = "frameworks: {pytorch: '>=2'}\n";
    let lock = locked("2.5.0", "cu124");
    let kept = "torch 2.5.0 cu124 / python 3.12 / driver 525.60.13 / python:3.12-slim-bookworm";
    assert_eq!(with(&format!("targets: [{{gpu: Mid}}]\n{wish}"), &lock), kept);
    // It has no code for this card.
    let moved = "torch 2.8.0 cu118 / python 3.13 / driver 450.80.02 / debian 13 (trixie)";
    assert_eq!(with(&format!("targets: [{{gpu: Old}}]\n{wish}"), &lock), moved);
}

#[test]
fn a_locked_python_and_base_stay_before_a_framework_becomes_newer() {
    let body = "targets: [{gpu: Mid}]\nframeworks: {pytorch: '>=2'}\n";
    let python = |text: &str| text.parse().ok();
    let lock = Preferences { python: python("3.11"), ..Preferences::default() };
    assert_eq!(with(body, &lock), "torch 2.8.0 cu128 / python 3.11 / driver 525.60.13 / debian 12 (bookworm)");
    let lock = Preferences {
        python: python("3.12"),
        base: Some("python:3.12-slim-bookworm".to_owned()),
        ..Preferences::default()
    };
    assert_eq!(with(body, &lock), "torch 2.8.0 cu128 / python 3.12 / driver 525.60.13 / python:3.12-slim-bookworm");
    // The spec's own word counts more than the lock's.
    assert_eq!(
        with(&format!("{body}python: '3.13'\n"), &lock),
        "torch 2.8.0 cu128 / python 3.13 / driver 525.60.13 / debian 13 (trixie)"
    );
}

#[test]
fn then_the_newest_release_that_suits_every_target() {
    let of = |cards: &str| answer(&format!("targets: [{cards}]\nframeworks: {{pytorch: '>=2'}}\n"));
    assert_eq!(of("{gpu: New}"), "torch 2.8.0 cu128 / python 3.13 / driver 540.10 / debian 13 (trixie)");
    assert_eq!(of("{gpu: Red}"), "torch 2.5.0 rocm6.2 / python 3.12 / python:3.12-slim-bookworm");
}

#[test]
fn of_one_release_the_default_index_before_an_extra_one() {
    let of = |cards: &str| answer(&format!("targets: [{cards}]\nframeworks: {{pytorch: '2.8.0'}}\n"));
    // cu118 serves this card as well, and older drivers besides.
    assert_eq!(of("{gpu: Mid}"), "torch 2.8.0 cu128 / python 3.13 / driver 525.60.13 / debian 13 (trixie)");
    assert_eq!(of("{gpu: Old}"), "torch 2.8.0 cu118 / python 3.13 / driver 450.80.02 / debian 13 (trixie)");
    // A newer release on an extra index goes before an older one on the default index.
    assert_eq!(
        answer("targets: [{gpu: Old}]\nframeworks: {pytorch: '>=2'}\n"),
        "torch 2.8.0 cu118 / python 3.13 / driver 450.80.02 / debian 13 (trixie)"
    );
}

#[test]
fn then_the_newest_python() {
    assert_eq!(answer("python: '<3.13'\n"), "python 3.12 / python:3.12-slim-bookworm");
    // 3.12 is newer than 3.11, though Debian's packages have 3.11 and need no registry.
    assert_eq!(
        answer("frameworks: {pytorch: '2.5.0'}\n"),
        "torch 2.5.0 cu124 / python 3.12 / python:3.12-slim-bookworm"
    );
}

#[test]
fn then_the_smallest_base() {
    assert_eq!(answer("python: '3.11'\n"), "python 3.11 / debian 12 (bookworm)");
    assert_eq!(answer("base: slim\n"), "python 3.12 / python:3.12-slim-bookworm");
}

#[test]
fn of_two_frameworks_the_first_by_name_chooses_first_whatever_the_order_of_keys() {
    // `serving` 3.0 is built on torch 2.8.0 and 2.0 on torch 2.5.0, so one of them has to follow the other.
    let lock = locked("2.5.0", "cu124");
    let old = "torch 2.5.0 cu124 / serving 2.0 cu124 / python 3.12 / driver 525.60.13 / python:3.12-slim-bookworm";
    let new = "torch 2.8.0 cu128 / serving 3.0 cu128 / python 3.13 / driver 525.60.13 / debian 13 (trixie)";
    for frameworks in ["pytorch: '>=2', serving: '>=2'", "serving: '>=2', pytorch: '>=2'"] {
        let body = format!("targets: [{{gpu: Mid}}]\nframeworks: {{{frameworks}}}\n");
        assert_eq!(with(&body, &lock), old, "{frameworks}");
        assert_eq!(answer(&body), new, "{frameworks}");
    }
    // Asked for alone, `serving` chooses and torch follows.
    assert_eq!(
        with("targets: [{gpu: Mid}]\nframeworks: {serving: '>=2'}\n", &lock),
        "serving 3.0 cu128 / torch 2.8.0 cu128 / python 3.13 / driver 525.60.13 / debian 13 (trixie)"
    );
}
