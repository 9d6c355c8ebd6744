//! How long a task waits for its start: on an idle host, and behind a flood of less urgent work.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use taskwarden::clock::{Clock as _, SystemClock, UnixMs};

use crate::host::{Running, batch};
use crate::{Bench, queue, row, table};

const PROBES: usize = 300;
const FLOOD: usize = 100_000;
const BATCH: usize = 1_000;

/// Where the host keeps its tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

impl On {
    async fn start(self, bench: &Bench, name: &str) -> anyhow::Result<Running> {
        match self {
            Self::Sqlite => Running::start(bench, name).await,
            Self::Postgres => {
                let url = queue::database(&format!("bench_{name}")).await?;
                Running::start_on(bench, &format!("pg-{name}"), Some(&url)).await
            }
        }
    }
}

pub(crate) fn idle(bench: &Bench, on: On) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut waits = tokio.block_on(async {
        let host = on.start(bench, "idle").await?;
        let waits = probe(&host, "normal", PROBES).await?;
        host.stop().await;
        anyhow::Ok(waits)
    })?;
    let rows = [row!["", "p50", "p99"], quantiles("submit → start", &mut waits)];
    table::print(
        &format!("(c) pick-up on an idle host on {on:?}, {PROBES} tasks one after another (whole milliseconds, as recorded)"),
        &rows,
    );
    Ok(())
}

pub(crate) fn flood(bench: &Bench, on: On) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut empty, mut flooded, waiting, rate) = tokio.block_on(async {
        let host = on.start(bench, "flood").await?;
        let empty = probe(&host, "critical", PROBES).await?;
        let before = host.succeeded().await?;
        let batch = batch(BATCH, "background");
        for _ in 0..FLOOD / BATCH {
            host.submit_batch(batch.clone()).await?;
        }
        let left_after_submission = FLOOD as u64 + before - host.succeeded().await?;
        let clock = SystemClock::new();
        let mut flooded = Vec::new();
        // Only while the flood lasts.
        while flooded.len() < PROBES && host.succeeded().await? < before + FLOOD as u64 {
            flooded.extend(probe(&host, "critical", 5).await?);
        }
        let ran = host.succeeded().await? + left_after_submission - before - FLOOD as u64;
        let rate = ran as f64 / clock.monotonic().as_secs_f64();
        host.stop().await;
        anyhow::Ok((empty, flooded, left_after_submission, rate))
    })?;
    let ratio = table::quantile(&mut flooded, 0.99).as_secs_f64() / table::quantile(&mut empty, 0.99).as_secs_f64().max(1e-3);
    let rows = [
        row!["critical tasks, submit → start", "p50", "p99"],
        quantiles(&format!("empty queue ({} tasks)", empty.len()), &mut empty),
        quantiles(&format!("behind the flood ({} tasks)", flooded.len()), &mut flooded),
        row!["ratio of p99", "", format!("{ratio:.2}")],
    ];
    table::print(
        &format!(
            "(d) a flood of {FLOOD} background tasks on {on:?}, {waiting} of them waiting when the probes began and run at {rate:.0}/s meanwhile (aim: ratio at most 2)"
        ),
        &rows,
    );
    Ok(())
}

fn quantiles(name: &str, waits: &mut [Duration]) -> Vec<String> {
    row![name, table::millis(table::quantile(waits, 0.5)), table::millis(table::quantile(waits, 0.99))]
}

async fn probe(host: &Running, priority: &str, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut waits = Vec::with_capacity(count);
    for _ in 0..count {
        let ended = host.one(priority).await?;
        let at = |key: &str| -> anyhow::Result<UnixMs> {
            let text = ended.get(key).and_then(Value::as_str).with_context(|| format!("the task has no {key}: {ended}"))?;
            UnixMs::parse_rfc3339(text).map_err(anyhow::Error::msg)
        };
        waits.push(at("started_at")?.since(at("created_at")?));
    }
    Ok(waits)
}
