//! `cargo xtask demo`: a host on a database of its own, a mixed load over HTTP, and what came of it. Nothing of it stays.

mod load;
mod report;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::client::{Client, Host, Scratch};
use crate::process;

/// A load of this size takes seconds; a host that needs longer has stopped working.
const PATIENCE: Duration = Duration::from_secs(90);
/// Two slots, so that the queue has something to decide; open, because only this machine can reach it.
const CONFIGURATION: &str = "[auth]\nmode = \"loopback_open\"\n\n[runtime]\nslots = 2\n";
const HOST: &str = "host";
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Runs the demonstration with a host that carries the plugins, and fails if anything is not as it should be.
pub(crate) fn run(binary: &Path) -> anyhow::Result<()> {
    let scratch = Scratch::new("demo")?;
    let host = Host::start(binary, &scratch, HOST, CONFIGURATION)?;
    let shown = show(host.client());
    let stopped = host.stop();
    if shown.is_err() || stopped.is_err() {
        eprintln!("the host said:\n{}", scratch.host_log(HOST));
    }
    shown.and(stopped)?;
    report::how_to_go_on(binary);
    Ok(())
}

fn show(host: &Client) -> anyhow::Result<()> {
    println!("a host is running at {} on SQLite in a temporary folder, two tasks at a time", host.address());
    report::plugins(&host.get("/v1/plugins")?)?;

    let series = host.upload(load::NILE_CSV)?;
    let load = load::load(&series);
    let submitted = host.post("/v1/tasks/batch", &load::as_batch(&load))?;
    let ids: Vec<String> = submitted
        .get("tasks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|task| Some(task.get("id")?.as_str()?.to_owned()))
        .collect();
    ensure!(ids.len() == load.len(), "{} tasks were sent and {} came back: {submitted}", load.len(), ids.len());
    println!("\n{} tasks are in, lowest priority first, in one transaction", ids.len());

    let mut tasks = wait_for_all(host, &ids)?;
    let pairs: Vec<_> = load.iter().zip(ids.iter().filter_map(|id| tasks.remove(id))).collect();
    ensure!(pairs.len() == load.len(), "some tasks cannot be read back");
    report::table(&pairs)?;
    report::results(&pairs)?;
    load.iter().zip(&pairs).try_for_each(|(expected, (_, task))| expected.check(task))?;
    report::order(&pairs)?;
    load::check_repeat(host)
}

/// Follows the load until every task has ended, and answers with the tasks by id.
fn wait_for_all(host: &Client, ids: &[String]) -> anyhow::Result<BTreeMap<String, Value>> {
    let start = process::now();
    let mut said = String::new();
    loop {
        let page = host.get("/v1/tasks?limit=500")?;
        let tasks: BTreeMap<String, Value> = page
            .get("tasks")
            .and_then(Value::as_array)
            .context("the host lists no tasks")?
            .iter()
            .filter_map(|task| Some((task.get("id")?.as_str()?.to_owned(), task.clone())))
            .filter(|(id, _)| ids.contains(id))
            .collect();
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for task in tasks.values() {
            *states.entry(report::text(task, "/state")).or_default() += 1;
        }
        let count = |state: &str| states.get(state).copied().unwrap_or(0);
        let ended = count("succeeded") + count("failed") + count("cancelled");
        let line = format!(
            "{:>5.1} s  {:>2} waiting  {} running  {:>2} succeeded  {} failed",
            start.elapsed().as_secs_f32(),
            count("queued") + count("scheduled"),
            count("running"),
            count("succeeded"),
            count("failed")
        );
        if said.get(7..) != line.get(7..) {
            println!("{line}");
            said = line;
        }
        if ended == ids.len() {
            return Ok(tasks);
        }
        ensure!(start.elapsed() < PATIENCE, "after {} s only {ended} of {} tasks have ended", PATIENCE.as_secs(), ids.len());
        std::thread::sleep(PROGRESS_EVERY);
    }
}
