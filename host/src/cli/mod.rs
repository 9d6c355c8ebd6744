//! The command line: one file per verb, each of them thin: parse, call, print.
//!
//! What a verb was asked for goes to stdout, everything said about it to stderr. Exit code 0 is success, 1 is "no", 2 is wrong usage.

pub mod plugin;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A host for background tasks in WebAssembly sandboxes.
#[derive(Debug, Parser)]
#[command(name = "taskwarden", version, about, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work with plugins: make, check, pack, try and list them
    Plugin(plugin::PluginArgs),
}

/// Runs one verb to its end.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let ended = match cli.command {
        Command::Plugin(args) => plugin::run(args),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("taskwarden: {error:#}");
        ExitCode::FAILURE
    })
}
