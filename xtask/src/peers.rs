//! `cargo xtask peers FOLDER`: the queue beside other queues, on one PostgreSQL and in one run.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::postgres::{Postgres, Purpose};
use crate::workspace::Workspace;
use crate::{bench, process};

/// Installs the peers into `folder` and measures.
pub(crate) fn run(workspace: &Workspace, folder: &Path, options: &[&str]) -> anyhow::Result<()> {
    let program = bench::build(workspace)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let postgres = Postgres::start(Purpose::Bench)?;
    let mut compare = Command::new("python3");
    compare.arg(workspace.root.join("benches/peers/queue/compare.py")).arg("--folder").arg(folder);
    compare.arg("--bench").arg(&program.path).arg(&program.guests).arg(&program.scratch).args(options);
    process::run(compare.env("TASKWARDEN_TEST_POSTGRES", postgres.url()))
}
