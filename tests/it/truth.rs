//! The table of truth: what anybody who knows GPUs and wheels would answer, case by case with a citation, against what the
//! program says from the catalog alone. The cases are data in `tests/truth`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;

use serde::Deserialize;
use serde_json::Value;

use crate::support::forge::Forge;
use crate::support::repository;

/// A file of cases; each cites one of the file's sources.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    sources: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    spec: String,
    #[serde(flatten)]
    verdict: Verdict,
    why: String,
    source: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Exit 0 and at least this in the answer.
    Expect(Value),
    /// Exit 1 and a reason of this kind; `help` is what one of the changes offered says.
    Conflict { code: String, first: Option<bool>, line: Option<u64>, help: Option<String> },
    /// Exit 2 and these words.
    Refused { message: String, line: u64, help: Option<String> },
}

/// What a person sees of a conflict at once: a terminal's rows, and columns that stay readable.
const ROWS: usize = 24;
const COLUMNS: usize = 110;

/// The codes of the contract that the catalog alone can give. `unsatisfiable` is for packages whose metadata says no.
const CODES: [&str; 14] = [
    "cc_not_supported",
    "cc_removed_from_toolkit",
    "cuda_mismatch",
    "cudnn_mismatch",
    "driver_below_floor",
    "driver_branch_ends",
    "glibc_too_old",
    "no_accelerator_build",
    "no_build_for_platform",
    "no_such_image",
    "no_such_version",
    "no_wheel_for_python",
    "pin_conflict",
    "requires_python",
];

fn tables() -> Vec<(String, Table)> {
    let mut tables: Vec<(String, Table)> = fs::read_dir(repository().join("tests/truth"))
        .expect("the folder of cases")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a file of cases");
            let table = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_name().expect("a name").to_string_lossy().into_owned(), table)
        })
        .collect();
    tables.sort_by(|(one, _), (other, _)| one.cmp(other));
    tables
}

/// Where `answer` lacks something of `expected`: objects may hold more, lists may not.
fn differences(expected: &Value, answer: &Value, place: &str) -> Vec<String> {
    match (expected, answer) {
        (Value::Object(expected), Value::Object(answer)) => expected
            .iter()
            .flat_map(|(key, value)| {
                differences(value, answer.get(key).unwrap_or(&Value::Null), &format!("{place}.{key}"))
            })
            .collect(),
        (Value::Array(expected), Value::Array(answer)) if expected.len() == answer.len() => expected
            .iter()
            .zip(answer)
            .enumerate()
            .flat_map(|(index, (expected, answer))| differences(expected, answer, &format!("{place}[{index}]")))
            .collect(),
        _ if expected == answer => Vec::new(),
        _ => vec![format!("{place} is {answer}, not {expected}")],
    }
}

/// What is wrong with the program's answer to a case.
fn disagreements(forge: &Forge, case: &Case) -> Vec<String> {
    let spec = forge.write("spec.yaml", format!("{}name: truth\n", case.spec));
    let output = forge.imgforge().args(["resolve", "--format", "json"]).arg(spec).output().expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    let status = output.status.code();
    let expected = match &case.verdict {
        Verdict::Expect(_) => 0,
        Verdict::Conflict { .. } => 1,
        Verdict::Refused { .. } => 2,
    };
    if status != Some(expected) {
        let said = String::from_utf8_lossy(&output.stdout);
        return vec![format!("the exit code is {status:?}, not {expected}:\n{said}{errors}")];
    }
    let answer = || serde_json::from_slice::<Value>(&output.stdout).expect("an answer in JSON");
    match &case.verdict {
        Verdict::Expect(expected) => differences(expected, &answer(), ""),
        Verdict::Conflict { code, first, line, help } => {
            let answer = answer();
            let reasons = answer["reasons"].as_array().expect("reasons");
            let of_kind: Vec<&Value> = reasons.iter().filter(|reason| reason["code"] == **code).collect();
            let mut found = Vec::new();
            if of_kind.is_empty() {
                found.push(format!("no reason is `{code}`"));
            }
            if *first == Some(true) && reasons.first().is_none_or(|reason| reason["code"] != **code) {
                found.push(format!("`{code}` is not the first reason"));
            }
            if let Some(line) = line
                && !of_kind.iter().any(|reason| reason["spec_line"] == *line)
            {
                found.push(format!("no `{code}` is for line {line}"));
            }
            let offers = answer["help"].as_array().expect("changes");
            let offers = || offers.iter().filter_map(Value::as_str);
            if let Some(help) = help.as_ref().filter(|help| !offers().any(|offer| offer.contains(help.as_str()))) {
                found.push(format!("`{help}` is not offered"));
            }
            for reason in reasons {
                if reason["fact"].as_str().is_none_or(str::is_empty)
                    || reason["source"].as_str().is_none_or(str::is_empty)
                {
                    found.push(format!("{reason} lacks a fact or a source"));
                }
            }
            let proof = errors.lines().filter(|line| line.starts_with("note: "));
            let rows: usize = proof.map(|line| line.chars().count().div_ceil(COLUMNS)).sum();
            if rows > ROWS {
                found.push(format!("the proof takes {rows} rows:\n{errors}"));
            }
            if !found.is_empty() {
                found.push(format!("{answer:#}"));
            }
            found
        }
        Verdict::Refused { message, line, help } => {
            let place = format!("spec.yaml:{line}:");
            let words = [message.as_str(), &place].into_iter().chain(help.as_deref());
            words
                .filter(|words| !errors.contains(words))
                .map(|words| format!("`{words}` is not in:\n{errors}"))
                .collect()
        }
    }
}

fn failures(file: &str, table: &Table) -> Vec<String> {
    let forge = Forge::new();
    let mut failures = Vec::new();
    for case in &table.cases {
        let found = disagreements(&forge, case);
        if !found.is_empty() {
            let source = &table.sources[&case.source];
            let case = format!("{file}: {}: {} [{source}]", case.name, case.why);
            failures.push(format!("{case}\n  {}", found.join("\n  ")));
        }
    }
    failures
}

#[test]
fn the_program_agrees_with_every_case() {
    let tables = tables();
    // A file at a time on each thread: the program reads the whole catalog for every case.
    let failures: Vec<String> = thread::scope(|scope| {
        let files: Vec<_> = tables.iter().map(|(file, table)| scope.spawn(move || failures(file, table))).collect();
        files.into_iter().flat_map(|file| file.join().expect("a file of cases")).collect()
    });
    assert!(failures.is_empty(), "{} cases disagree:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn cases_are_cited_and_every_code_has_two() {
    let mut names = BTreeSet::new();
    let mut codes: BTreeMap<String, usize> = CODES.iter().map(|code| ((*code).to_owned(), 0)).collect();
    for (file, table) in tables() {
        let cited: BTreeSet<&String> = table.cases.iter().map(|case| &case.source).collect();
        assert_eq!(cited, table.sources.keys().collect(), "{file}: sources and citations");
        for case in &table.cases {
            assert!(names.insert(case.name.clone()), "{file}: `{}` is there twice", case.name);
            assert!(!case.why.is_empty(), "{file}: `{}` says no reason", case.name);
            if let Verdict::Conflict { code, .. } = &case.verdict {
                *codes.get_mut(code).unwrap_or_else(|| panic!("{file}: `{code}` is no code")) += 1;
            }
        }
    }
    let rare: Vec<&String> = codes.iter().filter(|(_, count)| **count < 2).map(|(code, _)| code).collect();
    assert!(rare.is_empty(), "{rare:?} have less than two cases");
}
