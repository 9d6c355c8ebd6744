//! The host's own figures; added to by `settle`.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx_postgres::PgRow;

use super::PostgresStore;
use super::sql;
use crate::clock::UnixMs;
use crate::store::stored::lane_key;
use crate::store::{Result, STATS_BUCKET, StatsPage, StatsStore, TaskStats};

fn stats(row: &PgRow) -> Result<TaskStats> {
    let number = |column: &str| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default()) };
    Ok(TaskStats {
        from: UnixMs(row.try_get("from_ms")?),
        lane: lane_key(row.try_get("task_type")?, row.try_get("ai_model")?),
        plugin: row.try_get("plugin")?,
        plugin_version: row.try_get("plugin_version")?,
        succeeded: number("succeeded")?,
        failed: number("failed")?,
        queue_ms: number("queue_ms")?,
        run_ms: number("run_ms")?,
        fuel: number("fuel")?,
    })
}

#[async_trait]
impl StatsStore for PostgresStore {
    async fn task_stats(&self, from: UnixMs, to: UnixMs, span: Duration, limit_rows: u32) -> Result<StatsPage> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(
            "SELECT s.from_ms, l.task_type, l.ai_model, s.plugin, s.plugin_version, s.succeeded, s.failed, s.queue_ms, s.run_ms, s.fuel \
             FROM (SELECT bucket_ms - bucket_ms % $1 AS from_ms, lane_id, plugin, plugin_version, sum(succeeded)::bigint AS succeeded, \
                          sum(failed)::bigint AS failed, sum(queue_ms)::bigint AS queue_ms, sum(run_ms)::bigint AS run_ms, \
                          sum(fuel)::bigint AS fuel \
                   FROM taskwarden.task_stats WHERE bucket_ms >= $2 AND bucket_ms < $3 GROUP BY 1, 2, 3, 4) s \
             JOIN taskwarden.lanes l USING (lane_id) \
             ORDER BY s.from_ms DESC, lane_id DESC, s.plugin DESC, s.plugin_version DESC LIMIT $4",
        )
        .bind(i64::try_from(span.max(STATS_BUCKET).as_millis()).unwrap_or(i64::MAX))
        .bind(from.0)
        .bind(to.0)
        .bind(i64::from(limit_rows) + 1)
        .fetch_all(&mut *tx)
        .await?;
        let mut rows = rows.iter().map(stats).collect::<Result<Vec<_>>>()?;
        let limit = usize::try_from(limit_rows).unwrap_or(usize::MAX);
        let cut_off = rows.len() > limit;
        rows.truncate(limit);
        rows.reverse();
        Ok(StatsPage { rows, cut_off })
    }

    async fn prune_task_stats(&self, before: UnixMs, limit_rows: u32) -> Result<u64> {
        let mut tx = self.db.begin().await?;
        let done = sql::query(
            "DELETE FROM taskwarden.task_stats WHERE (bucket_ms, lane_id, plugin, plugin_version) IN \
             (SELECT bucket_ms, lane_id, plugin, plugin_version FROM taskwarden.task_stats WHERE bucket_ms < $1 LIMIT $2)",
        )
        .bind(before.0)
        .bind(i64::from(limit_rows))
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await?;
        Ok(done.rows_affected())
    }
}
