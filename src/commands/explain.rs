//! `imgforge explain`: why a value is what it is, what holds it back, and what would free it.
//!
//! The stack is explained from the catalog alone. A package needs the index, which is asked as `lock` asks it, with the
//! versions of the lock preferred; where it cannot be asked, what the lock knows is told, and that the rest is unknown.

use std::collections::BTreeSet;

use pep440_rs::Version;
use serde_json::{Value, json};

use crate::cli::{ExplainArgs, Format};
use crate::diagnostic::{Failure, Hint, Origin, suggestion};
use crate::lock::Lock;
use crate::oci::Platform;
use crate::resolve::{
    BaseRow, Cause, Explanation, PackageExplanation, Preferences, StackAnswer, explain_package, explain_stack,
    short_citation,
};
use crate::spec::Spec;
use crate::version::PythonVersion;
use crate::version::wheel_tag::normalize_name;

use super::bases::BaseFacts;
use super::outside::Outside;
use super::{Context, answer_in, print, print_json};

/// The environment has nothing of that name.
#[derive(Debug, thiserror::Error)]
#[error("the environment of `{spec}` has no `{name}`")]
struct Absent {
    /// As asked for.
    name: String,
    /// Name of the spec.
    spec: String,
    /// One that looks like it.
    suggestion: Option<String>,
    /// What of the stack can be asked about.
    stack: Vec<String>,
}

impl Hint for Absent {
    fn help(&self) -> Vec<String> {
        let meant = self.suggestion.as_ref().map(|found| format!("did you mean `{found}`?"));
        let names: Vec<String> = self.stack.iter().map(|name| format!("`{name}`")).collect();
        let all = format!("the stack's values are {}; packages go by the names in the lock", names.join(", "));
        meant.into_iter().chain([all]).collect()
    }
    fn exit_code(&self) -> u8 {
        1
    }
}

pub(super) fn run(context: &Context, arguments: &ExplainArgs) -> Result<u8, Failure> {
    let spec = Spec::load(&arguments.spec)?;
    let catalog = context.catalog()?;
    let lock = Lock::read(&Lock::path_for(&arguments.spec))?;
    let stale = lock.as_ref().is_some_and(|lock| !lock.is_of(&spec));
    if stale {
        context.progress.say("the lock is stale: this explains the spec as it is now");
    }
    let preferences = lock.as_ref().map_or_else(Preferences::default, |lock| lock.preferences(false, &[]));
    let stack = explain_stack(&spec, catalog, &preferences).map_err(Failure::from);
    let (answer, stack) = answer_in(arguments.format, stack)?;
    let Some(name) = &arguments.package else {
        match arguments.format {
            Format::Json => print_json(&whole_json(&answer, &stack)),
            Format::Text => {
                let mut cited = BTreeSet::new();
                print(&stack.iter().map(|known| to_text(known, &mut cited)).collect::<Vec<_>>().join("\n"));
            }
        }
        return Ok(0);
    };
    let wanted = normalize_name(name);
    let of_stack = stack.iter().find(|known| known.subject == wanted || known.aliases.contains(&wanted));
    let explanations = if let Some(known) = of_stack {
        vec![PackageExplanation { platforms: answer.platforms.clone(), files: Vec::new(), explanation: known.clone() }]
    } else {
        // A lock that answers the spec holds every package there is; only what it has is worth asking an index about.
        let package = match lock.as_ref().filter(|_| !stale).map(|lock| from_lock(lock, &wanted)) {
            Some(Err(names)) => Ok(Err(names)),
            _ => package(context, &spec, catalog, &preferences, lock.as_ref(), &wanted),
        };
        let absent = |names: Vec<String>| Absent {
            name: name.clone(),
            spec: spec.name.value.clone(),
            suggestion: {
                let known = names.iter().map(String::as_str).chain(stack.iter().map(|known| known.subject.as_str()));
                suggestion(&wanted, known).map(str::to_owned)
            },
            stack: stack.iter().map(|known| known.subject.clone()).collect(),
        };
        answer_in(arguments.format, package)?.map_err(absent)?
    };
    match arguments.format {
        Format::Json => print_json(&package_json(&explanations, &answer.platforms)),
        Format::Text => print(&package_text(&explanations, &answer.platforms)),
    }
    Ok(0)
}

/// The explanation of a package, or the names of those there are.
fn package(
    context: &Context,
    spec: &Spec,
    catalog: &crate::catalog::Catalog,
    preferences: &Preferences,
    lock: Option<&Lock>,
    name: &str,
) -> Result<Result<Vec<PackageExplanation>, Vec<String>>, Failure> {
    let outside = Outside::new(context, spec)?;
    let bases = BaseFacts::new(context, &outside, catalog);
    let full_python = |line: PythonVersion, base: &BaseRow, platform: Platform| -> Result<Version, Failure> {
        bases.known_python(line, base, platform)
    };
    let task = context.progress.task(format!("asking the index about `{name}`"), None);
    let asked = explain_package(spec, catalog, &outside.index, preferences, &full_python, name);
    drop(task);
    match (asked, lock) {
        (Ok(found), _) => Ok(found),
        // The lock answers in part what the index cannot be asked.
        (Err(crate::resolve::Error::Source(failure)), Some(lock)) => {
            Ok(from_lock(lock, name).map(|mut explanations| {
                for known in &mut explanations {
                    known.explanation.remarks.push(format!(
                        "what requires it and what holds it back is unknown, as the index cannot be asked: {}",
                        failure.0
                    ));
                }
                explanations
            }))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// What a lock alone knows of a package.
fn from_lock(lock: &Lock, name: &str) -> Result<Vec<PackageExplanation>, Vec<String>> {
    let mut explanations = Vec::new();
    for platform in &lock.platforms {
        for wheel in platform.wheels.iter().filter(|wheel| wheel.name == name) {
            let explanation = Explanation {
                subject: name.to_owned(),
                value: wheel.version.clone(),
                details: vec![("version", wheel.version.clone()), ("index", wheel.index.clone())],
                ..Explanation::default()
            };
            PackageExplanation::add(&mut explanations, platform.name, wheel.file.clone(), explanation);
        }
    }
    let names = || lock.platforms.iter().flat_map(|platform| &platform.wheels).map(|wheel| wheel.name.clone());
    if explanations.is_empty() { Err(names().collect()) } else { Ok(explanations) }
}

/// Platforms of the environment that do not have the package.
fn absent_on(explanations: &[PackageExplanation], all: &[Platform]) -> Vec<Platform> {
    let has = |platform: &&Platform| explanations.iter().any(|known| known.platforms.contains(platform));
    all.iter().filter(|platform| !has(platform)).copied().collect()
}

/// The first explanation's keys, and the others beside it where platforms differ.
fn package_json(explanations: &[PackageExplanation], all: &[Platform]) -> Value {
    let one = |known: &PackageExplanation| {
        let mut told = to_json(&known.explanation);
        told["platforms"] = known.platforms.iter().map(ToString::to_string).collect();
        if let Some(file) = known.files.first() {
            let files = known.platforms.iter().zip(&known.files);
            let files = files.map(|(platform, file)| (platform.to_string(), json!(file)));
            told["details"]["file"] = json!(file);
            told["files"] = Value::Object(files.collect());
        }
        told
    };
    let mut told = explanations.iter().map(one);
    let mut first = told.next().unwrap_or_default();
    first["on_other_platforms"] = told.collect();
    first["absent_on"] = absent_on(explanations, all).iter().map(ToString::to_string).collect();
    first
}

/// What is said of a package, once for all platforms of which the same is true.
fn package_text(explanations: &[PackageExplanation], all: &[Platform]) -> String {
    let absent = absent_on(explanations, all);
    let named = |platforms: &[Platform]| platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let is_everywhere = explanations.len() == 1 && absent.is_empty();
    let mut cited = BTreeSet::new();
    let mut texts: Vec<String> = Vec::new();
    for known in explanations {
        let mut explanation = known.explanation.clone();
        let is_one = known.files.iter().all(|file| Some(file) == known.files.first());
        for (platform, file) in known.platforms.iter().zip(&known.files).take(if is_one { 1 } else { usize::MAX }) {
            let file = if is_one { file.clone() } else { format!("{file} for {platform}") };
            explanation.details.push(("file", file));
        }
        if !is_everywhere {
            explanation.value = format!("{} on {}", explanation.value, named(&known.platforms));
        }
        texts.push(to_text(&explanation, &mut cited));
    }
    if !absent.is_empty() {
        let name = explanations.first().map(|known| known.explanation.subject.as_str()).unwrap_or_default();
        texts.push(format!("{name} is not in the environment for {}: nothing requires it there\n", named(&absent)));
    }
    texts.join("\n")
}

fn whole_json(answer: &StackAnswer, stack: &[Explanation]) -> Value {
    let because = answer.because.iter().map(|(fact, source)| json!({"fact": fact, "source": source}));
    json!({
        "status": "ok",
        "explanations": stack.iter().map(to_json).collect::<Vec<_>>(),
        "because": because.collect::<Vec<_>>(),
    })
}

fn to_json(explanation: &Explanation) -> Value {
    let cause = |cause: &Cause| {
        json!({
            "fact": cause.fact,
            "source": cause.source,
            "spec_line": cause.origin.as_ref().map(Origin::line),
        })
    };
    let causes = |list: &[Cause]| list.iter().map(cause).collect::<Vec<_>>();
    let details: serde_json::Map<String, Value> =
        explanation.details.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let held_back = explanation.held_back.iter().map(|held| {
        json!({
            "value": held.value,
            "code": held.code.map(crate::resolve::Code::name),
            "fact": held.cause.fact,
            "source": held.cause.source,
            "spec_line": held.cause.origin.as_ref().map(Origin::line),
        })
    });
    json!({
        "status": "ok",
        "subject": explanation.subject,
        "value": explanation.value,
        "details": details,
        "chosen_by": causes(&explanation.chosen_by),
        "also_required": causes(&explanation.also_required),
        "held_back": held_back.collect::<Vec<_>>(),
        "freed_by": explanation.freed_by,
        "remarks": explanation.remarks,
    })
}

/// `known` are the sources cited before, of which the first words are enough.
fn to_text(explanation: &Explanation, known: &mut BTreeSet<String>) -> String {
    let mut text = format!("{} {}\n", explanation.subject, explanation.value);
    for (name, value) in explanation.details.iter().filter(|(_, value)| !explanation.value.contains(value.as_str())) {
        text.push_str(&format!("  {name} {value}\n"));
    }
    let sections = [("chosen because", &explanation.chosen_by), ("also required", &explanation.also_required)];
    for (heading, causes) in sections.iter().filter(|(_, causes)| !causes.is_empty()) {
        text.push_str(&format!("  {heading}\n"));
        for cause in *causes {
            text.push_str(&format!("    {}\n", cited(cause, known)));
        }
    }
    if !explanation.held_back.is_empty() {
        text.push_str("  why not\n");
        for held in &explanation.held_back {
            text.push_str(&format!("    {}: {}\n", held.value, cited(&held.cause, known)));
        }
    }
    if !explanation.freed_by.is_empty() {
        text.push_str("  what would free it\n");
        for change in &explanation.freed_by {
            text.push_str(&format!("    {change}\n"));
        }
    }
    for remark in &explanation.remarks {
        text.push_str(&format!("  {remark}\n"));
    }
    text
}

/// A fact with its place in the spec and its citation.
fn cited(cause: &Cause, known: &mut BTreeSet<String>) -> String {
    let place = cause.origin.as_ref().map(|origin| format!("{}:{}", origin.path.display(), origin.line()));
    let source = (cause.source != "spec" && !cause.source.is_empty()).then(|| {
        let first = known.insert(cause.source.clone());
        if first { cause.source.as_str() } else { short_citation(&cause.source) }.to_owned()
    });
    let places: Vec<String> = place.into_iter().chain(source).collect();
    if places.is_empty() { cause.fact.clone() } else { format!("{} [{}]", cause.fact, places.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(platform: &str, version: &str, fact: &str, known: &mut Vec<PackageExplanation>) {
        let cause = Cause { fact: fact.to_owned(), source: "metadata of a 1.0".to_owned(), origin: None };
        let explanation = Explanation {
            subject: "c".to_owned(),
            value: version.to_owned(),
            details: vec![("version", version.to_owned()), ("index", "default".to_owned())],
            chosen_by: vec![cause],
            ..Explanation::default()
        };
        let platform: Platform = platform.parse().expect("a platform");
        let file = format!("c-{version}-{}.whl", platform.architecture_name());
        PackageExplanation::add(known, platform, file, explanation);
    }

    fn platforms(names: &[&str]) -> Vec<Platform> {
        names.iter().map(|name| name.parse().expect("a platform")).collect()
    }

    #[test]
    fn the_same_on_all_platforms_is_one_text_with_a_file_for_each() {
        let mut known = Vec::new();
        said("linux/amd64", "1.0", "a 1.0 requires `c<2`", &mut known);
        said("linux/arm64", "1.0", "a 1.0 requires `c<2`", &mut known);
        let all = platforms(&["linux/amd64", "linux/arm64"]);
        insta::assert_snapshot!(package_text(&known, &all), @r"
        c 1.0
          index default
          file c-1.0-amd64.whl for linux/amd64
          file c-1.0-arm64.whl for linux/arm64
          chosen because
            a 1.0 requires `c<2` [metadata of a 1.0]
        ");
        let json = package_json(&known, &all);
        assert_eq!(json["platforms"], json!(["linux/amd64", "linux/arm64"]));
        assert_eq!(json["details"]["file"], "c-1.0-amd64.whl");
        assert_eq!(json["files"]["linux/arm64"], "c-1.0-arm64.whl");
        assert_eq!((&json["on_other_platforms"], &json["absent_on"]), (&json!([]), &json!([])));
    }

    #[test]
    fn what_differs_is_told_platform_by_platform() {
        let mut known = Vec::new();
        said("linux/amd64", "2.0", "a 1.0 requires `c`", &mut known);
        said("linux/arm64", "1.0", "a 1.0 requires `c<2`", &mut known);
        let all = platforms(&["linux/amd64", "linux/arm64"]);
        insta::assert_snapshot!(package_text(&known, &all), @r"
        c 2.0 on linux/amd64
          index default
          file c-2.0-amd64.whl
          chosen because
            a 1.0 requires `c` [metadata of a 1.0]

        c 1.0 on linux/arm64
          index default
          file c-1.0-arm64.whl
          chosen because
            a 1.0 requires `c<2` [metadata of a 1.0]
        ");
        let json = package_json(&known, &all);
        assert_eq!((&json["value"], &json["platforms"]), (&json!("2.0"), &json!(["linux/amd64"])));
        assert_eq!(json["on_other_platforms"][0]["value"], "1.0");
    }

    #[test]
    fn a_platform_without_the_package_is_named() {
        let mut known = Vec::new();
        said("linux/arm64", "1.0", "a 1.0 requires `c`", &mut known);
        let all = platforms(&["linux/amd64", "linux/arm64"]);
        insta::assert_snapshot!(package_text(&known, &all), @r"
        c 1.0 on linux/arm64
          index default
          file c-1.0-arm64.whl
          chosen because
            a 1.0 requires `c` [metadata of a 1.0]

        c is not in the environment for linux/amd64: nothing requires it there
        ");
        assert_eq!(package_json(&known, &all)["absent_on"], json!(["linux/amd64"]));
    }
}
