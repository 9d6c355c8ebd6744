//! `cargo xtask bench`: what the host costs, measured in a release build.

use std::fs;

use crate::workspace::Workspace;
use crate::{guests, process};

pub(crate) fn run(workspace: &Workspace, parts: &[&str]) -> anyhow::Result<()> {
    let components = guests::build(workspace)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--workspace", "--bin", "taskwarden-bench"]).env("TASKWARDEN_EMBED_DIR", &components);
    eprintln!("xtask: building the benchmarks (release; the first time takes minutes)");
    process::run(&mut build)?;
    // On the same disk as everything else that is built: a folder in memory would make the figures worthless.
    let scratch = workspace.target.join("bench");
    fs::create_dir_all(&scratch)?;
    let mut bench = std::process::Command::new(workspace.target.join("release").join("taskwarden-bench"));
    process::run(bench.arg(&components).arg(&scratch).args(parts))
}
