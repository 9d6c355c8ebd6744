//! `taskwarden plugin …`: for plugin authors.

mod artifact;
mod check;
mod disk;
mod list;
mod new;
mod pack;
mod run;
mod shown;
mod trial;

pub(in crate::cli) use trial::{Trial, TrialArgs, drive};

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Exit code for arguments that cannot be meant.
pub(in crate::cli) const WRONG_USAGE: u8 = 2;

/// Arguments of `taskwarden plugin`.
#[derive(Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Make a folder with a new plugin that builds and tests as it is
    New(new::NewArgs),
    /// Say what a .wasm imports, exports and asks for, and whether a host would take it
    Check(check::CheckArgs),
    /// Put plugin.toml into the .wasm, so that the plugin is one file
    Pack(pack::PackArgs),
    /// Run one task without a server, in the same sandbox and under the same limits
    Run(Box<run::RunArgs>),
    /// Show what a running host has loaded
    List(list::ListArgs),
}

/// Runs one of the verbs.
///
/// # Errors
/// What went wrong, for stderr.
pub fn run(args: PluginArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        PluginCommand::New(args) => new::run(&args),
        PluginCommand::Check(args) => check::run(&args),
        PluginCommand::Pack(args) => pack::run(&args),
        PluginCommand::Run(args) => run::run(*args),
        PluginCommand::List(args) => list::run(&args),
    }
}
