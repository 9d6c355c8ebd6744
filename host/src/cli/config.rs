//! `taskwarden config …`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{Config, DEFAULT_TOML};

/// Arguments of `taskwarden config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting with its default and what it means
    PrintDefault,
    /// Read a configuration as `serve` would and say what is wrong with it
    Check {
        /// The file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Runs one of the verbs.
///
/// # Errors
/// What is wrong with the configuration.
pub(super) fn run(args: ConfigArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        ConfigCommand::PrintDefault => print!("{DEFAULT_TOML}"),
        ConfigCommand::Check { config } => {
            Config::load(config.as_deref())?;
            println!("the configuration is good");
        }
    }
    Ok(ExitCode::SUCCESS)
}
