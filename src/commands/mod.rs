//! One file per subcommand, each a short list of calls to the stages.

mod archives;
mod attach;
mod attestations;
mod bases;
mod build;
mod cache;
mod catalog;
mod compilers;
mod diff;
mod engines;
mod explain;
mod export;
mod images;
mod inspect;
mod kept;
mod keys;
mod lock;
mod mirror;
mod named;
mod outflow;
mod output;
mod outside;
mod pull;
mod push;
mod render;
mod resolve;
mod signatures;
mod stage;
mod summary;
mod verify;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::CommandFactory as _;

use crate::catalog::Catalog;
use crate::cli::{Cli, Command, Format, Global};
use crate::diagnostic::Failure;
use crate::progress::{Progress, Verbosity};
use crate::settings::{Environment, catalog_folders};
use crate::spec::Spec;
use crate::store;

/// What every command needs.
pub(crate) struct Context {
    /// Settings of the command line.
    pub(crate) global: Global,
    /// The display.
    pub(crate) progress: Progress,
    catalog: OnceLock<&'static Catalog>,
}

impl Context {
    /// The catalog with the overlays of the settings and of `--catalog`.
    pub(crate) fn catalog(&self) -> Result<&Catalog, Failure> {
        if let Some(catalog) = self.catalog.get() {
            return Ok(catalog);
        }
        let catalog = Catalog::load(&self.catalog_folders()?)?;
        // Taking its thousands of entries apart when the command is done would only keep the user waiting.
        Ok(self.catalog.get_or_init(|| Box::leak(Box::new(catalog))))
    }

    /// Folders of overlays, a later one over an earlier one: those of the settings, then those of `--catalog`.
    pub(crate) fn catalog_folders(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut folders = catalog_folders(&Environment::of_process())?;
        folders.extend(self.global.catalogs.iter().cloned());
        Ok(folders)
    }
}

/// Runs a command line; the value is the exit code.
pub fn run(cli: Cli) -> Result<u8, Failure> {
    // Without it an interrupted command leaves unfinished files, which does no harm.
    let _ = store::remove_when_interrupted();
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let context = Context { progress: Progress::new(verbosity), global: cli.global, catalog: OnceLock::new() };
    match cli.command {
        Command::Lock(arguments) => lock::run(&context, &arguments),
        Command::Resolve(arguments) => resolve::run(&context, &arguments),
        Command::Explain(arguments) => explain::run(&context, &arguments),
        Command::Diff(arguments) => diff::run(&context, &arguments),
        Command::Catalog(command) => catalog::run(&context, &command),
        Command::Build(arguments) => build::run(&context, &arguments),
        Command::Render(arguments) => render::run(&context, &arguments),
        Command::Push(arguments) => push::run(&context, &arguments),
        Command::Inspect(arguments) => inspect::run(&context, &arguments),
        Command::Mirror(arguments) => mirror::run(&context, &arguments),
        Command::Pull(arguments) => pull::run(&context, &arguments),
        Command::Verify(arguments) => verify::run(&context, &arguments),
        Command::Export(arguments) => export::run(&context, &arguments),
        Command::Signatures(arguments) => signatures::run(&context, &arguments),
        Command::Keys(command) => keys::run(&context, &command),
        Command::Up(arguments) => engines::stack(&arguments, true),
        Command::Down(arguments) => engines::stack(&arguments, false),
        Command::Cache(command) => cache::run(&context, &command),
        Command::Schema => {
            print_json(&Spec::schema());
            Ok(0)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "imgforge", &mut std::io::stdout());
            Ok(0)
        }
    }
}

/// Writes to stdout; a reader that went away is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(stdout, "{text}{newline}").and_then(|()| stdout.flush());
}

/// Prints a JSON value.
pub(crate) fn print_json(value: &serde_json::Value) {
    print(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A failure that has an answer as data prints it on stdout when JSON was asked for; the prose goes to stderr as always.
pub(crate) fn answer_in<T>(format: Format, result: Result<T, Failure>) -> Result<T, Failure> {
    if let (Format::Json, Err(failure)) = (format, &result)
        && let Some(json) = failure.0.json()
    {
        print_json(&json);
    }
    result
}
