//! The packages' part of a lock on its own, for comparison with other resolvers: no base, no Debian packages, no file.
//!
//! ```text
//! cargo bench --bench packages -- SPEC PYTHON      for example spec.yaml 3.11.2
//! ```
//!
//! Prints the number of packages, the number of requests, and milliseconds: reading spec and catalog, resolving.
//! Settings and cache are those of `imgforge` itself (`IMGFORGE_CACHE`). Without arguments it does nothing.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use imgforge::catalog::Catalog;
use imgforge::http;
use imgforge::index::IndexClient;
use imgforge::resolve::{Preferences, resolve};
use imgforge::settings::{Environment, Settings};
use imgforge::spec::Spec;
use imgforge::store::Store;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds `--bench` of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [spec, python] = arguments.as_slice() else { return Ok(()) };
    let python: pep440_rs::Version = python.parse()?;
    let started = Instant::now();
    let spec = Spec::load(Path::new(spec)).map_err(|error| error.to_string())?;
    let catalog = Catalog::load(&[]).map_err(|error| error.to_string())?;
    let settings = Settings::load(&Environment::of_process())?;
    let offline = std::env::args().any(|argument| argument == "--offline");
    let http = http::Client::new(&http::Options { ca_files: settings.ca_files.clone(), offline })?;
    let index = IndexClient::new(http.clone(), Store::open(&Store::default_root()), Arc::new(settings));
    let read = started.elapsed();
    let asked = Instant::now();
    let resolution = resolve(&spec, &catalog, &index, &Preferences::default(), &|_, _, _| Ok(python.clone()))
        .map_err(|error| error.to_string())?;
    let count: usize = resolution.platforms.iter().map(|platform| platform.wheels.len()).sum();
    let resolved = asked.elapsed();
    // As `imgforge` does, which leaves pages to the end of the process.
    std::mem::forget(index.clone());
    println!("{count} {} {} {}", http.request_count(), read.as_millis(), resolved.as_millis());
    Ok(())
}
