//! `imgforge catalog`: what is known.

mod update;

use serde_json::json;

use crate::catalog::{Catalog, check, locate, read_overlay, view};
use crate::cli::{CatalogCommand, Format};
use crate::diagnostic::{Failure, Origin};

use super::{Context, print, print_json};

pub(super) fn run(context: &Context, command: &CatalogCommand) -> Result<u8, Failure> {
    let catalog = context.catalog()?;
    let (view, format) = match command {
        CatalogCommand::List { kind, cloud, gpu, format } => {
            let filter = view::Filter { cloud: cloud.clone(), gpu: gpu.clone() };
            (view::list(catalog, kind.parse()?, &filter)?, *format)
        }
        CatalogCommand::Show { words, format } => (view::show(catalog, words)?, *format),
        CatalogCommand::Update(arguments) => return update::run(context, arguments),
        CatalogCommand::Check { format } => return run_check(context, catalog, *format),
    };
    match format {
        Format::Json => print_json(&view.json),
        Format::Text => print(&view.text),
    }
    Ok(0)
}

fn run_check(context: &Context, catalog: &Catalog, format: Format) -> Result<u8, Failure> {
    let findings = check(catalog);
    let mut files = Vec::new();
    for folder in context.catalog_folders()? {
        files.extend(read_overlay(&folder)?);
    }
    // The topmost file that has the entry is the one to correct; embedded files are nobody's to correct.
    let place = |entry: &str| files.iter().rev().find_map(|(path, text)| locate(path, text, entry));
    let findings: Vec<_> = findings.iter().map(|finding| (finding, place(&finding.entry))).collect();
    match format {
        Format::Json => print_json(&json!({
            "findings": findings.iter().map(|(finding, place)| json!({
                "entry": finding.entry,
                "problem": finding.problem,
                "file": place.as_ref().map(|place| &place.path),
                "line": place.as_ref().map(Origin::line),
                "column": place.as_ref().map(Origin::column),
            })).collect::<Vec<_>>(),
        })),
        Format::Text => {
            for (finding, place) in &findings {
                let place = place
                    .as_ref()
                    .map(|place| format!("{}:{}:{}: ", place.path.display(), place.line(), place.column()));
                print(&format!("{}{}: {}", place.unwrap_or_default(), finding.entry, finding.problem));
            }
        }
    }
    if findings.is_empty() {
        context.progress.say("the catalog is consistent");
    }
    Ok(u8::from(!findings.is_empty()))
}
