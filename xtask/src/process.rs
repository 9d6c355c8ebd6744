//! Running other programs: what they are given, and what is said when they fail.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

/// The value of an environment variable, if it is set to something.
pub(crate) fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The time, for saying how long something took.
#[expect(clippy::disallowed_methods, reason = "this is a build program: only people read these times")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The cargo that started this program, so that its toolchain is used throughout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env("CARGO").unwrap_or_else(|| "cargo".into()));
    // These were set for this program by `cargo run` and mean nothing to what it starts.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether a program of this name can be started.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&env("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs a program that talks to the user itself.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command_line(command);
    let status = command.status().with_context(|| format!("could not start {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Runs a program and takes what it prints; what it complains about becomes the error.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command_line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} did not print UTF-8"))
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_string_lossy);
    let mut line = words.collect::<Vec<_>>().join(" ");
    if line.len() > 200 {
        let end = line.char_indices().map(|(at, _)| at).take_while(|at| *at <= 200).last().unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}
