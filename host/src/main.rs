//! The `taskwarden` binary: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    taskwarden::cli::main(taskwarden::cli::Cli::parse())
}
