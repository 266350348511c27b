//! `imgforge catalog`: what is known.

mod update;

use serde_json::json;

use crate::catalog::{check, view};
use crate::cli::{CatalogCommand, Format};
use crate::diagnostic::Failure;

use super::{Context, print, print_json};

pub(super) fn run(context: &Context, command: &CatalogCommand) -> Result<u8, Failure> {
    let catalog = context.catalog()?;
    let (view, format) = match command {
        CatalogCommand::List { kind, format } => (view::list(&catalog, kind.parse()?), *format),
        CatalogCommand::Show { words, format } => (view::show(&catalog, words)?, *format),
        CatalogCommand::Update(arguments) => return update::run(context, arguments),
        CatalogCommand::Check { format } => {
            let findings = check(&catalog);
            match format {
                Format::Json => print_json(&json!({
                    "findings": findings.iter().map(|finding| json!({
                        "entry": finding.entry, "problem": finding.problem,
                    })).collect::<Vec<_>>(),
                })),
                Format::Text => {
                    for finding in &findings {
                        print(&format!("{}: {}", finding.entry, finding.problem));
                    }
                }
            }
            if findings.is_empty() {
                context.progress.say("the catalog is consistent");
            }
            return Ok(u8::from(!findings.is_empty()));
        }
    };
    match format {
        Format::Json => print_json(&view.json),
        Format::Text => print(&view.text),
    }
    Ok(0)
}
