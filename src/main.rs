//! The `imgforge` binary: parse, run, print the failure, exit.

use std::process::ExitCode;

use clap::Parser as _;
use imgforge::cli::{Cli, Color};
use imgforge::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    match commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            anstream::eprint!("{}", failure.render());
            ExitCode::from(failure.exit_code())
        }
    }
}
