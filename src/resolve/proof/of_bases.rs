//! What bases have, told of all of a kind together: `` 42 images of nvidia/cuda on ubuntu 24.04 have CUDA 12.5.0 to 13.0.0 ``.

use std::collections::BTreeSet;

use crate::version::{CudnnVersion, Dotted, ToolkitVersion};

use super::super::bases::BaseRow;
use super::super::conflict::Line;
use super::super::numbers::describe_lines;
use super::super::reading::Step;
use super::super::served::ends;
use super::super::stack::StackModel;
use super::super::variable::Variable;

/// Up to this many bases are told one by one.
const FEW: usize = 3;

/// The line of a step from bases; `None` where they are few, or what they have cannot be summed up.
pub(super) fn line(step: &Step, model: &StackModel<'_>) -> Option<Line> {
    if step.from != Variable::Base || step.evidence.len() <= FEW {
        return None;
    }
    let mut kinds: Vec<Vec<&BaseRow>> = Vec::new();
    for (value, _) in &step.evidence {
        let row = model.bases.get(value.rank()?)?;
        match kinds.iter_mut().find(|rows| rows.iter().all(|known| repository(known) == repository(row))) {
            Some(rows) if rows.contains(&row) => {}
            Some(rows) => rows.push(row),
            None => kinds.push(vec![row]),
        }
    }
    let told = |rows: &Vec<&BaseRow>| Some(format!("{} {}", subject(rows, model), has(rows, &step.to, model)?));
    let facts: Option<Vec<String>> = kinds.iter().map(told).collect();
    let source = step.evidence.first().map(|(_, evidence)| evidence.source.clone());
    Some(Line { fact: facts?.join("; "), sources: source.into_iter().collect() })
}

/// `nvidia/cuda`; none for a base made of packages.
fn repository(row: &BaseRow) -> Option<&str> {
    row.reference.as_deref()?.split([':', '@']).next()
}

/// `all 14 images of nvidia/cuda on ubuntu 22.04`.
fn subject(rows: &[&BaseRow], model: &StackModel<'_>) -> String {
    let [first, others @ ..] = rows else { return "no base".to_owned() };
    if others.is_empty() {
        return format!("base {}", first.label());
    }
    let one_system = others.iter().all(|other| other.os() == first.os());
    let is_alike = |row: &&BaseRow| repository(row) == repository(first) && (!one_system || row.os() == first.os());
    let all = if model.bases.iter().filter(is_alike).count() == rows.len() { "all " } else { "" };
    let count = rows.len();
    match (repository(first), one_system) {
        (Some(name), true) => format!("{all}{count} images of {name} on {}", first.os()),
        (Some(name), false) => format!("{all}{count} images of {name}"),
        (None, _) => format!("{all}{count} bases of {} packages", first.distribution),
    }
}

/// What these bases have of what is needed.
fn has(rows: &[&BaseRow], needed: &Variable, model: &StackModel<'_>) -> Option<String> {
    let one = rows.len() == 1;
    let has = if one { "has" } else { "have" };
    let toolkits = || rows.iter().filter_map(|row| row.toolkit.as_ref());
    let cuda = || span(toolkits().map(ToolkitVersion::dotted));
    Some(match needed {
        Variable::Toolkit if toolkits().next().is_none() => format!("{has} no CUDA toolkit"),
        Variable::Toolkit | Variable::ToolkitUse => format!("{has} CUDA {}", cuda()),
        Variable::Driver(_) => {
            let drivers = toolkits().filter_map(|toolkit| Some(model.floor(toolkit.major())?.0));
            let driver = drivers.min()?;
            format!("{has} CUDA {}, and {} driver {driver} or newer", cuda(), if one { "needs" } else { "need" })
        }
        Variable::SystemCudnn => {
            let known = || rows.iter().filter_map(|row| row.cudnn.as_ref());
            match (known().count(), known().count() == rows.len()) {
                (0, _) => format!("{has} no cuDNN"),
                (_, true) => format!("{has} cuDNN {}", span(known().map(CudnnVersion::dotted))),
                (_, false) => format!("{has} cuDNN {} or none", span(known().map(CudnnVersion::dotted))),
            }
        }
        Variable::Glibc => format!("{has} glibc {}", span(rows.iter().map(|row| &row.glibc))),
        Variable::Python => {
            let lines: Vec<_> = rows.iter().filter_map(|row| row.python).collect();
            format!("{} Python {}", if one { "carries" } else { "carry" }, describe_lines(&lines))
        }
        Variable::Platform(platform) => {
            format!("{} not exist for {platform}", if one { "does" } else { "do" })
        }
        _ => return None,
    })
}

/// `11.8.0`, `11.8.0, 12.1.1`, `11.0.3 to 13.0.0`.
fn span<'v>(versions: impl Iterator<Item = &'v Dotted>) -> String {
    let sorted: BTreeSet<&Dotted> = versions.collect();
    ends(&sorted.into_iter().map(ToString::to_string).collect::<Vec<_>>())
}
