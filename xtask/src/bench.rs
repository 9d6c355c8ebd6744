//! `cargo xtask bench`: what the host costs, measured in a release build.

use std::fs;
use std::path::PathBuf;

use crate::postgres::{Postgres, Purpose};
use crate::workspace::Workspace;
use crate::{guests, process};

/// A built benchmark and what it is given.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) guests: PathBuf,
    pub(crate) scratch: PathBuf,
}

pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<Program> {
    let guests = guests::build(workspace)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--workspace", "--bin", "taskwarden-bench"]).env("TASKWARDEN_EMBED_DIR", &guests);
    eprintln!("xtask: building the benchmarks (release; the first time takes minutes)");
    process::run(&mut build)?;
    // On the same disk as everything else that is built: a folder in memory would make the figures worthless.
    let scratch = workspace.target.join("bench");
    fs::create_dir_all(&scratch)?;
    Ok(Program { path: workspace.target.join("release").join("taskwarden-bench"), guests, scratch })
}

pub(crate) fn run(workspace: &Workspace, parts: &[&str]) -> anyhow::Result<()> {
    let program = build(workspace)?;
    let mut bench = std::process::Command::new(&program.path);
    bench.arg(&program.guests).arg(&program.scratch);
    let (on_postgres, others): (Vec<&str>, Vec<&str>) = parts.iter().copied().partition(|part| part.starts_with("pg"));
    if parts.is_empty() || !on_postgres.is_empty() {
        match Postgres::start(Purpose::Bench) {
            Ok(postgres) => return process::run(bench.args(parts).env("TASKWARDEN_TEST_POSTGRES", postgres.url())),
            Err(error) if parts.is_empty() => eprintln!("xtask: left out: everything on Postgres ({error:#})"),
            Err(error) => return Err(error),
        }
    }
    let all_others = ["dispatch", "throughput", "queue", "latency", "flood", "fuel", "webhooks"];
    process::run(bench.args(if others.is_empty() { &all_others[..] } else { &others[..] }))
}
