//! Numbers as values of the solver: Python lines, CUDA toolkits, drivers; and sets of them.

use pep440_rs::Version;
use pubgrub::Ranges;

use crate::version::{Dotted, PythonVersion};

use super::variable::{Value, Values, one_of};

/// A value of a literal number of this module's own making.
pub(super) fn number(text: &str) -> Value {
    match text.parse() {
        Ok(number) => Value::Number(number),
        Err(_) => Value::Only,
    }
}

pub(super) fn zero() -> Value {
    number("0")
}

/// The value of a Python line.
pub fn python_value(line: PythonVersion) -> Value {
    number(&line.to_string())
}

pub(super) fn within_major(major: u64) -> Values {
    Ranges::between(number(&major.to_string()), number(&(major + 1).to_string()))
}

/// All numbers that begin with the components of `prefix`: 12.4 takes 12.4 and 12.4.1.
pub(super) fn starting_with(prefix: &Dotted) -> Values {
    let mut upper = prefix.components().to_vec();
    if let Some(last) = upper.last_mut() {
        *last += 1;
    }
    let upper = upper.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
    Ranges::between(Value::Number(prefix.clone()), number(&upper))
}

/// All pins a version meets: 9.1.0.70 meets 9, 9.1, 9.1.0 and 9.1.0.70.
pub(super) fn prefixes_of(version: &Dotted) -> Values {
    let parts: Vec<String> = version.components().iter().map(u64::to_string).collect();
    one_of((1..=parts.len()).map(|count| number(&parts[..count].join("."))))
}

/// Whether a specifier takes some patch release of a Python line: `>=3.8.1` takes 3.8, `!=3.9.7` takes 3.9.
pub(super) fn python_allowed(specifiers: &pep440_rs::VersionSpecifiers, line: PythonVersion) -> bool {
    let release = |patch: u64| Version::new([u64::from(line.major), u64::from(line.minor), patch]);
    [0, 1, 8, 12, 99].into_iter().any(|patch| specifiers.contains(&release(patch)))
}

/// `3.9 to 3.12`, or a list where there are gaps.
pub(super) fn describe_lines(lines: &[PythonVersion]) -> String {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    lines.dedup();
    match lines.as_slice() {
        [] => "none".to_owned(),
        [only] => only.to_string(),
        [first, .., last]
            if lines.windows(2).all(|pair| pair[0].major == pair[1].major && pair[0].minor + 1 == pair[1].minor) =>
        {
            format!("{first} to {last}")
        }
        all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
