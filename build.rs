//! Turns the catalog's YAML into JSON for the program to embed beside it: every command begins with the catalog, and JSON is
//! read in a tenth of the time. What the files say, and whether it makes sense, is left to `src/catalog`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("catalog");
    println!("cargo::rerun-if-changed={}", folder.display());

    let mut files = yaml_files(&folder)?;
    files.extend(yaml_files(&folder.join("framework"))?);
    files.sort();
    let mut table = String::from("&[\n");
    for path in files {
        let name = path.strip_prefix(&folder)?.to_str().ok_or("a file's name is not UTF-8")?;
        let text = fs::read_to_string(&path)?;
        let value: serde_json::Value = serde_saphyr::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        let json = value.to_string();
        writeln!(table, "Embedded {{ name: {name:?}, text: {text:?}, json: {json:?} }},")?;
    }
    let output = Path::new(&std::env::var("OUT_DIR")?).join("catalog.rs");
    fs::write(output, table + "]\n")?;
    Ok(())
}

/// `sources.yaml` holds indexes and archives, not facts.
fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let is_catalog =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("sources.yaml");
    paths.filter(|path| path.as_ref().map_or(true, is_catalog)).collect()
}
