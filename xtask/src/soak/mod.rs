//! `cargo xtask soak`: real hosts under a load whose effects are counted, killed, stopped and cut off from their database at random, and a
//! reckoning.
//!
//! The load is tasks of the guest `ledger`, each with an idempotency key of its own; each attempt that acts leaves one file. What goes
//! wrong and when is drawn from a seed, so that a run can be repeated as far as the machine repeats itself.

mod cluster;
mod crowd;
mod plan;
mod reckoning;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::postgres::{Postgres, Purpose};
use crate::process;
use cluster::{Answer, Cluster};
use plan::{Mishap, Plan};
use reckoning::Ledger;

/// Between two batches: about as much work as two slots can do.
const BATCH_PAUSE: Duration = Duration::from_millis(30);
/// After the last mishap acknowledged tasks end one after the other, and this long without any of them means that one is lost.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// How long and how hard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Seconds of load and mishaps for each database.
    pub(crate) seconds: u64,
    /// What is drawn depends on this alone.
    pub(crate) seed: u64,
}

impl Options {
    /// Reads `[SECONDS [SEED]]`.
    pub(crate) fn parse(words: &[&str]) -> anyhow::Result<Self> {
        let number = |at: usize, default: u64| {
            words.get(at).map_or(Ok(default), |word| word.parse().with_context(|| format!("{word:?} is not a whole number")))
        };
        ensure!(words.len() <= 2, "usage: cargo xtask soak [SECONDS [SEED]]");
        Ok(Self { seconds: number(0, 120)?, seed: number(1, 1)? })
    }
}

/// One host on SQLite: killed, stopped and started.
pub(crate) fn on_sqlite(binary: &Path, components: &Path, options: Options) -> anyhow::Result<()> {
    let cluster = Cluster::start_all(binary, components, 1, None)?;
    run("one host on SQLite", cluster, &[Mishap::Kill, Mishap::Pause], options)
}

/// Three hosts that share a database on Postgres: killed and stopped while the others take over, and the database restarted, crashed and
/// crowded under all of them.
pub(crate) fn on_postgres(binary: &Path, components: &Path, options: Options) -> anyhow::Result<()> {
    let cluster = Cluster::start_all(binary, components, 3, Some(Postgres::start(Purpose::Soak)?))?;
    let mishaps = [Mishap::Kill, Mishap::Pause, Mishap::DatabaseRestart, Mishap::DatabaseCrash, Mishap::Crowd];
    run("three hosts on Postgres", cluster, &mishaps, options)
}

fn submit(cluster: &Cluster, plan: &mut Plan, ledger: &mut Ledger) -> anyhow::Result<()> {
    std::thread::sleep(BATCH_PAUSE);
    let batch = plan.batch();
    match cluster.submit(plan.host(), &batch)? {
        Answer::Acknowledged(ids) => ledger.acknowledged(ids, &batch),
        Answer::Unavailable => ledger.refused(),
        Answer::Unreachable => {}
    }
    Ok(())
}

fn run(what: &str, mut cluster: Cluster, mishaps: &[Mishap], options: Options) -> anyhow::Result<()> {
    let mut plan = Plan::new(options.seed, mishaps, cluster.hosts());
    let mut ledger = Ledger::default();
    let start = process::now();
    while start.elapsed() < Duration::from_secs(options.seconds) || !ledger.has_seen(mishaps) {
        let until = start.elapsed() + plan.pause();
        while start.elapsed() < until {
            submit(&cluster, &mut plan, &mut ledger)?;
        }
        let (mishap, host) = plan.mishap();
        ledger.count(mishap);
        match mishap {
            Mishap::Kill => cluster.kill(host)?,
            Mishap::Pause => cluster.pause(host)?,
            Mishap::DatabaseRestart | Mishap::DatabaseCrash | Mishap::Crowd => {
                let outage = cluster.cut_off(mishap)?;
                let until = start.elapsed() + plan.outage();
                while start.elapsed() < until {
                    submit(&cluster, &mut plan, &mut ledger)?;
                }
                cluster.reconnect(outage)?;
            }
        }
    }
    cluster.recover()?;
    ledger.settle(&cluster, SETTLE_MAX)?;
    ledger.reckon(what, options, &cluster)
}
