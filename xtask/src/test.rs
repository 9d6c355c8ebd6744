//! `cargo xtask test`: everything that can be checked on this machine, and one line at the end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::postgres::{Postgres, Purpose};
use crate::workspace::Workspace;
use crate::{demo, foreign, guests, host, process, soak};

/// Long enough for a mishap of each kind.
const SOAK_SQLITE: soak::Options = soak::Options { seconds: 5, seed: 1 };
const SOAK_POSTGRES: soak::Options = soak::Options { seconds: 12, seed: 1 };

/// Names the file of example objects that Stripe publishes; it is Stripe's, and no part of this project.
const STRIPE_FIXTURES: &str = "TASKWARDEN_STRIPE_FIXTURES";
const STRIPE_FIXTURES_MISSING: &str =
    "TASKWARDEN_STRIPE_FIXTURES does not name the file: it is openapi/fixtures3.json of the public repository stripe/openapi";

/// What passed and what did not, tests and other checks alike.
#[derive(Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    notes: Vec<String>,
}

impl Tally {
    /// Counts one check; a failure is said at once and again at the end.
    pub(crate) fn check(&mut self, what: &str, result: anyhow::Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                self.failed += 1;
                eprintln!("xtask: {what}: {error:#}");
                self.notes.push(format!("failed: {what}"));
            }
        }
    }

    /// Remembers what could not be run here.
    pub(crate) fn left_out(&mut self, what: &str, why: &str) {
        self.notes.push(format!("left out: {what} ({why})"));
    }

    fn add_summary(&mut self, line: &str) -> bool {
        let Some((passed, failed)) = summary(line) else { return false };
        self.passed += passed;
        self.failed += failed;
        true
    }

    /// Says how it ended.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        for note in &self.notes {
            println!("{note}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        anyhow::ensure!(self.failed == 0, "not everything passed");
        Ok(())
    }
}

/// Runs every check, or with words only the tests whose names contain them.
pub(crate) fn run(workspace: &Workspace, filters: &[&str]) -> anyhow::Result<()> {
    let start = process::now();
    let mut tally = Tally::default();
    let components = guests::build(workspace)?;
    if filters.is_empty() {
        lint(workspace, &mut tally, "fmt", &["--all", "--check"]);
        lint(workspace, &mut tally, "clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"]);
    }
    // Tests that start the real program find it by this name.
    let binary = host::build(workspace, &components, host::Profile::Dev)?;
    let postgres = Postgres::start(Purpose::Tests);
    let mut skip: Vec<&str> = Vec::new();
    if let Err(error) = &postgres {
        tally.left_out("everything on Postgres", &format!("{error:#}"));
        skip.extend(["--skip", "postgres"]);
    }
    if std::env::var_os(STRIPE_FIXTURES).is_none() {
        tally.left_out("Stripe's published example objects", STRIPE_FIXTURES_MISSING);
        skip.extend(["--skip", "published_fixtures"]);
    }
    let prepare = |command: &mut Command| {
        command.env("TASKWARDEN_GUESTS", &components).env("TASKWARDEN_EMBED_DIR", &components).env("TASKWARDEN_BIN", &binary);
        if let Ok(postgres) = &postgres {
            command.env("TASKWARDEN_TEST_POSTGRES", postgres.url());
        }
    };
    let names = [filters, &skip].concat();
    cargo_test(workspace, &mut tally, &["--lib", "--bins", "--tests"], &names, &prepare)?;
    cargo_test(workspace, &mut tally, &["--doc"], filters, &prepare)?;
    if filters.is_empty() {
        tally.check("demo", demo::run(Path::new(&binary)));
        tally.check("soak on SQLite, short form", soak::on_sqlite(Path::new(&binary), &components, SOAK_SQLITE));
        if postgres.is_ok() {
            tally.check("soak on Postgres, short form", soak::on_postgres(Path::new(&binary), &components, SOAK_POSTGRES));
        }
    }
    drop(postgres);
    if filters.is_empty() {
        foreign::check(workspace, Path::new(&binary), &mut tally, foreign::WhenMissing::LeaveOut);
    }
    println!("everything took {:.0} s", start.elapsed().as_secs_f32());
    tally.finish()
}

fn lint(workspace: &Workspace, tally: &mut Tally, component: &str, arguments: &[&str]) {
    if process::output(workspace.cargo().args([component, "--version"])).is_err() {
        tally.left_out(component, "it is not part of this toolchain; rustup component add brings it");
        return;
    }
    eprintln!("xtask: cargo {component}");
    tally.check(&format!("cargo {component}"), process::run(workspace.cargo().arg(component).args(arguments)));
}

fn cargo_test(
    workspace: &Workspace,
    tally: &mut Tally,
    kinds: &[&str],
    filters: &[&str],
    prepare: &dyn Fn(&mut Command),
) -> anyhow::Result<()> {
    let mut command = workspace.cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(kinds).arg("--").args(filters);
    prepare(&mut command);
    eprintln!("xtask: cargo test {}", kinds.join(" "));
    let mut child = command.stdout(Stdio::piped()).spawn().context("could not start cargo test")?;
    let mut summaries = 0;
    let failed_before = tally.failed;
    for line in BufReader::new(child.stdout.take().context("cargo test has no output")?).lines() {
        let line = line?;
        summaries += u64::from(tally.add_summary(&line));
        println!("{line}");
    }
    let status = child.wait()?;
    // A test program that does not compile, or dies, prints no summary of its own.
    if !status.success() && tally.failed == failed_before {
        tally.check(&format!("cargo test {}", kinds.join(" ")), Err(anyhow::anyhow!("{status} after {summaries} test programs")));
    }
    Ok(())
}

/// The counts in a line like `test result: ok. 3 passed; 1 failed; 0 ignored; …`.
fn summary(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let count = |name: &str| rest.split([';', '.']).find_map(|part| part.trim().strip_suffix(name)?.trim().parse().ok());
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_added_up() {
        let mut tally = Tally::default();
        assert!(tally.add_summary("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s"));
        assert!(tally.add_summary("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s"));
        assert!(!tally.add_summary("test result_is_kept ... ok"));
        assert_eq!((tally.passed, tally.failed), (15, 2));
    }

    #[test]
    fn one_failed_check_fails_the_run() {
        let mut tally = Tally::default();
        tally.check("this", Ok(()));
        tally.left_out("that", "not here");
        assert!(tally.finish().is_ok());
        let mut tally = Tally::default();
        tally.check("this", Err(anyhow::anyhow!("no")));
        assert!(tally.finish().is_err());
    }
}
