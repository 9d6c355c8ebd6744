//! `taskwarden plugin …`: for plugin authors.

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `taskwarden plugin`.
#[derive(Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {}

/// Runs one of the verbs.
///
/// # Errors
/// What went wrong, for stderr.
pub fn run(args: PluginArgs) -> anyhow::Result<ExitCode> {
    match args.command {}
}
