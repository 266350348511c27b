//! `imgforge resolve`: the stack from the catalog alone, and why.

use serde_json::{Value, json};

use crate::cli::{Format, ResolveArgs};
use crate::diagnostic::Failure;
use crate::lock::Lock;
use crate::resolve::{Preferences, StackAnswer, resolve_stack};
use crate::spec::Spec;

use super::{Context, answer_in, print, print_json};

pub(super) fn run(context: &Context, arguments: &ResolveArgs) -> Result<u8, Failure> {
    let spec = Spec::load(&arguments.spec)?;
    let catalog = context.catalog()?;
    let locked = Lock::read(&Lock::path_for(&arguments.spec))?;
    let preferences = locked.map_or_else(Preferences::default, |lock| lock.preferences(false, &[]));
    let answer = answer_in(arguments.format, resolve_stack(&spec, catalog, &preferences).map_err(Failure::from))?;
    match arguments.format {
        Format::Json => print_json(&to_json(&answer)),
        Format::Text => print(&to_text(&answer)),
    }
    Ok(0)
}

fn to_json(answer: &StackAnswer) -> Value {
    let frameworks: serde_json::Map<String, Value> = answer
        .frameworks
        .iter()
        .map(|framework| {
            let mut entry = serde_json::Map::from_iter([
                ("version".to_owned(), json!(framework.version.to_string())),
                ("build".to_owned(), json!(framework.build)),
                ("index".to_owned(), json!(framework.index)),
            ]);
            for (name, version) in &framework.companions {
                entry.insert(name.clone(), json!(version.to_string()));
            }
            (framework.package.clone(), Value::Object(entry))
        })
        .collect();
    json!({
        "status": "ok",
        "python": answer.python,
        "accelerator": answer.accelerator,
        "stack": {
            "cuda": answer.cuda,
            "cudnn": answer.cudnn,
            "driver_minimum": answer.driver_minimum,
            "os": answer.base.os(),
            "glibc": answer.base.glibc,
        },
        "frameworks": frameworks,
        "base": {"kind": answer.base.kind, "reference": answer.base.reference, "reason": answer.base_reason},
        "targets": answer.targets.iter().map(|target| json!({
            "name": target.name,
            "gpu": target.gpu,
            "compute_capability": target.compute_capability,
            "platform": target.platform,
        })).collect::<Vec<_>>(),
        "platforms": answer.platforms,
        "because": answer.because.iter().map(|(fact, source)| json!({"fact": fact, "source": source})).collect::<Vec<_>>(),
    })
}

fn to_text(answer: &StackAnswer) -> String {
    let mut text = stack_lines(answer).join("\n");
    text.push_str("\n\nbecause\n");
    for (fact, source) in &answer.because {
        text.push_str(&format!("  {fact}\n    [{source}]\n"));
    }
    text
}

/// The chosen stack, one aligned line per layer of it; `build` shows the same.
pub(super) fn stack_lines(answer: &StackAnswer) -> Vec<String> {
    let mut lines = vec![format!("python      {}", answer.python)];
    for framework in &answer.frameworks {
        let companions: Vec<String> =
            framework.companions.iter().map(|(name, version)| format!(", {name} {version}")).collect();
        lines.push(format!(
            "{:<11} {} ({}, index `{}`){}",
            framework.package,
            framework.version,
            framework.build,
            framework.index,
            companions.concat()
        ));
    }
    if let Some(cuda) = &answer.cuda {
        let cudnn = answer.cudnn.as_ref().map(|cudnn| format!(", cuDNN {cudnn}")).unwrap_or_default();
        lines.push(format!("cuda        {cuda}{cudnn}"));
    }
    if let Some(driver) = &answer.driver_minimum {
        lines.push(format!("driver      {driver} or newer"));
    }
    lines.push(format!("base        {}, glibc {}", answer.base.label(), answer.base.glibc));
    for target in &answer.targets {
        let card = match (&target.gpu, &target.compute_capability) {
            (Some(gpu), Some(capability)) => format!("{gpu}, compute capability {capability}, "),
            (Some(gpu), None) => format!("{gpu}, "),
            _ => String::new(),
        };
        lines.push(format!("target      {}: {card}{}", target.name, target.platform));
    }
    lines
}
