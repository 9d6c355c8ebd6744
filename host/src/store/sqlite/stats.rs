//! The host's own figures.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::prepared::Ended;
use super::row;
use super::tx::Tx;
use super::writer::Verb;
use crate::clock::UnixMs;
use crate::store::stored::lane_key;
use crate::store::{Result, STATS_BUCKET, StatsPage, StatsStore, TaskStats};
use crate::task::Outcome;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    bucket_ms: i64,
    lane_id: i64,
    plugin: Box<str>,
    plugin_version: Box<str>,
}

#[derive(Debug, Default)]
struct Sums {
    succeeded: u64,
    failed: u64,
    queue_ms: u64,
    run_ms: u64,
    fuel: u64,
}

/// What the attempts of one transaction add: a row for each lane and version, however many attempts there were.
#[derive(Debug, Default)]
pub(super) struct StatsDelta(BTreeMap<Key, Sums>);

// A sum over a quarter of an hour cannot leave 64 bits: that would take a billion times the instructions a machine executes in it.
const ADD: &str = "INSERT INTO task_stats (bucket_ms, lane_id, plugin, plugin_version, succeeded, failed, queue_ms, run_ms, fuel) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (bucket_ms, lane_id, plugin, plugin_version) DO UPDATE SET \
    succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed, queue_ms = queue_ms + excluded.queue_ms, \
    run_ms = run_ms + excluded.run_ms, fuel = fuel + excluded.fuel";

impl StatsDelta {
    /// Counts the end of an attempt.
    pub(super) fn count(&mut self, lane_id: i64, ended: &Ended) {
        let Some(figures) = &ended.figures else { return };
        if matches!(ended.outcome, Outcome::Cancelled | Outcome::Lost) {
            return;
        }
        let bucket = i64::try_from(STATS_BUCKET.as_millis()).unwrap_or(i64::MAX);
        let key = Key {
            bucket_ms: ended.finished_at_ms.div_euclid(bucket) * bucket,
            lane_id,
            plugin: figures.plugin.clone(),
            plugin_version: figures.plugin_version.clone(),
        };
        let sums = self.0.entry(key).or_default();
        let (succeeded, failed) = if ended.outcome == Outcome::Succeeded { (1, 0) } else { (0, 1) };
        sums.succeeded += succeeded;
        sums.failed += failed;
        sums.queue_ms = sums.queue_ms.saturating_add(figures.queue_ms);
        sums.run_ms = sums.run_ms.saturating_add(figures.run_ms);
        sums.fuel = sums.fuel.saturating_add(figures.fuel);
    }

    pub(super) fn write(self, tx: &Tx<'_>) -> Result<()> {
        let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (Key { bucket_ms, lane_id, plugin, plugin_version }, sums) in self.0 {
            let [queue_ms, run_ms, fuel] = [sums.queue_ms, sums.run_ms, sums.fuel].map(int);
            let (succeeded, failed) = (int(sums.succeeded), int(sums.failed));
            tx.execute(ADD, params![bucket_ms, lane_id, plugin, plugin_version, succeeded, failed, queue_ms, run_ms, fuel])?;
        }
        Ok(())
    }
}

struct Prune {
    before: UnixMs,
    limit_rows: u32,
}

impl Verb for Prune {
    type Answer = u64;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let deleted = tx.execute(
            "DELETE FROM task_stats WHERE (bucket_ms, lane_id, plugin, plugin_version) IN \
             (SELECT bucket_ms, lane_id, plugin, plugin_version FROM task_stats WHERE bucket_ms < ? LIMIT ?)",
            params![self.before.0, self.limit_rows],
        )?;
        Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
    }

    fn rows(&self) -> usize {
        usize::try_from(self.limit_rows).unwrap_or(usize::MAX)
    }
}

fn stats(row: &Row<'_>) -> Result<TaskStats> {
    let number = |column: &str| -> Result<u64> { Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default()) };
    Ok(TaskStats {
        from: UnixMs(row.get("from_ms")?),
        lane: lane_key(row::text(row, "task_type")?, row::text_or_null(row, "ai_model")?),
        plugin: row.get("plugin")?,
        plugin_version: row.get("plugin_version")?,
        succeeded: number("succeeded")?,
        failed: number("failed")?,
        queue_ms: number("queue_ms")?,
        run_ms: number("run_ms")?,
        fuel: number("fuel")?,
    })
}

#[async_trait]
impl StatsStore for SqliteStore {
    async fn task_stats(&self, from: UnixMs, to: UnixMs, span: Duration, limit_rows: u32) -> Result<StatsPage> {
        let span_ms = i64::try_from(span.max(STATS_BUCKET).as_millis()).unwrap_or(i64::MAX);
        let read = self.readers.run(move |conn| {
            row::all(
                conn,
                "SELECT s.from_ms, l.task_type, l.ai_model, s.plugin, s.plugin_version, s.succeeded, s.failed, s.queue_ms, s.run_ms, \
                        s.fuel \
                 FROM (SELECT bucket_ms - bucket_ms % ?1 AS from_ms, lane_id, plugin, plugin_version, sum(succeeded) AS succeeded, \
                              sum(failed) AS failed, sum(queue_ms) AS queue_ms, sum(run_ms) AS run_ms, sum(fuel) AS fuel \
                       FROM task_stats WHERE bucket_ms >= ?2 AND bucket_ms < ?3 GROUP BY 1, 2, 3, 4) s \
                 JOIN lanes l ON l.lane_id = s.lane_id \
                 ORDER BY s.from_ms DESC, s.lane_id DESC, s.plugin DESC, s.plugin_version DESC LIMIT ?4",
                params![span_ms, from.0, to.0, i64::from(limit_rows) + 1],
                stats,
            )
        });
        let mut rows = read.await?;
        let limit = usize::try_from(limit_rows).unwrap_or(usize::MAX);
        let cut_off = rows.len() > limit;
        rows.truncate(limit);
        rows.reverse();
        Ok(StatsPage { rows, cut_off })
    }

    async fn prune_task_stats(&self, before: UnixMs, limit_rows: u32) -> Result<u64> {
        self.writer.run(Prune { before, limit_rows }).await
    }
}
