//! The command line: one file per verb, each of them thin: parse, call, print.
//!
//! What a verb was asked for goes to stdout, everything said about it to stderr. Exit code 0 is success, 1 is "no", 2 is wrong usage.

mod arguments;
mod bench;
mod client;
mod config;
mod income;
mod migrate;
pub mod plugin;
mod serve;
mod show;
mod stripe;
mod stripe_import;
mod submit;
mod token;

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
    /// Run a host
    Serve(serve::ServeArgs),
    /// Submit a task to a running host
    Submit(Box<submit::SubmitArgs>),
    /// Measure how fast a plugin's task runs on this machine, without a server
    Bench(Box<bench::BenchArgs>),
    /// Work with plugins: make, check, pack, try and list them
    Plugin(plugin::PluginArgs),
    /// Make, list and revoke tokens
    Token(token::TokenArgs),
    /// Check messages from Stripe
    Stripe(stripe::StripeArgs),
    /// Check the income that is kept
    Income(income::IncomeArgs),
    /// Bring a database up to date, or say what that would do
    Migrate(migrate::MigrateArgs),
    /// Show and check settings
    Config(config::ConfigArgs),
}

/// Runs one verb to its end.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    if !matches!(cli.command, Command::Serve(_)) {
        end_with_the_reader();
    }
    let ended = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Submit(args) => submit::run(*args),
        Command::Bench(args) => bench::run(*args),
        Command::Plugin(args) => plugin::run(args),
        Command::Token(args) => token::run(args),
        Command::Stripe(args) => stripe::run(args),
        Command::Income(args) => income::run(args),
        Command::Migrate(args) => migrate::run(args),
        Command::Config(args) => config::run(args),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("taskwarden: {error:#}");
        ExitCode::FAILURE
    })
}

/// Whoever pipes our output into `head` has seen enough when `head` goes: end quietly then, as other commands do. A host must not.
#[cfg(unix)]
#[expect(unsafe_code, reason = "signal takes plain numbers here, and no handler of ours is involved")]
fn end_with_the_reader() {
    // SAFETY: SIG_DFL is a valid disposition for SIGPIPE, and no thread has been started yet.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

#[cfg(not(unix))]
fn end_with_the_reader() {}
