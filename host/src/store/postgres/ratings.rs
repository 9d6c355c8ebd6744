//! What people thought of tasks' results.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx_postgres::PgRow;

use super::PostgresStore;
use super::sql;
use crate::clock::UnixMs;
use crate::store::stored::{damaged, lane_key};
use crate::store::{RateAnswer, Rated, RatingStats, RatingStore, Result};
use crate::task::{Rating, TaskId, TaskState};

const RATING: &str = "SELECT rating, rated_at_ms FROM taskwarden.task_ratings WHERE task_id = $1";

fn rated(row: &PgRow) -> Result<Rated> {
    let rating = u8::try_from(row.try_get::<i16, _>("rating")?).map_err(|error| damaged("a rating", error))?;
    let rating = Rating::new(rating).map_err(|error| damaged("a rating", error.0))?;
    Ok(Rated { rating, at: UnixMs(row.try_get("rated_at_ms")?) })
}

fn stats(row: &PgRow) -> Result<RatingStats> {
    let number = |column: &str| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default()) };
    Ok(RatingStats {
        from: UnixMs(row.try_get("from_ms")?),
        lane: lane_key(row.try_get("task_type")?, row.try_get("ai_model")?),
        plugin: row.try_get("plugin")?,
        plugin_version: row.try_get("plugin_version")?,
        ratings: number("ratings")?,
        satisfied: number("satisfied")?,
    })
}

#[async_trait]
impl RatingStore for PostgresStore {
    async fn rate(&self, id: TaskId, rating: Rating, now: UnixMs) -> Result<RateAnswer> {
        let id = id.to_string();
        let mut tx = self.db.begin().await?;
        let row = sql::query("SELECT state FROM public.execution_tasks WHERE id = $1").bind(&id).fetch_optional(&mut *tx).await?;
        let Some(row) = row else { return Ok(RateAnswer::NotFound) };
        let state: TaskState = row.try_get::<&str, _>("state")?.parse().map_err(|error| damaged("a task's state", error))?;
        if !state.is_final() {
            return Ok(RateAnswer::NotEnded(state));
        }
        sql::query(
            "INSERT INTO taskwarden.task_ratings AS r (task_id, rating, rated_at_ms, lane_id, plugin, plugin_version) \
             SELECT id, $2, $3, lane_id, coalesce(receipt::json ->> 'plugin', ''), coalesce(receipt::json ->> 'plugin_version', '') \
             FROM public.execution_tasks WHERE id = $1 \
             ON CONFLICT (task_id) DO UPDATE SET rating = excluded.rating, rated_at_ms = excluded.rated_at_ms \
             WHERE r.rating <> excluded.rating",
        )
        .bind(&id)
        .bind(i16::from(rating.get()))
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        let kept = sql::query(RATING).bind(&id).fetch_optional(&mut *tx).await?.as_ref().map(rated).transpose()?;
        self.db.commit(tx).await?;
        // Nothing where the task was deleted between the two statements.
        Ok(kept.map_or(RateAnswer::NotFound, RateAnswer::Kept))
    }

    async fn rating(&self, id: TaskId) -> Result<Option<Rated>> {
        let mut tx = self.db.begin_read().await?;
        let row = sql::query(RATING).bind(id.to_string()).fetch_optional(&mut *tx).await?;
        row.as_ref().map(rated).transpose()
    }

    async fn rating_stats(&self, from: UnixMs, to: UnixMs, span: Duration, limit_rows: u32) -> Result<(Vec<RatingStats>, bool)> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(
            "SELECT s.from_ms, l.task_type, l.ai_model, s.plugin, s.plugin_version, s.ratings, s.satisfied \
             FROM (SELECT rated_at_ms - rated_at_ms % $1 AS from_ms, lane_id, plugin, plugin_version, count(*) AS ratings, \
                          count(*) FILTER (WHERE rating >= $5) AS satisfied \
                   FROM taskwarden.task_ratings WHERE rated_at_ms >= $2 AND rated_at_ms < $3 GROUP BY 1, 2, 3, 4) s \
             JOIN taskwarden.lanes l USING (lane_id) \
             ORDER BY s.from_ms DESC, lane_id DESC, s.plugin DESC, s.plugin_version DESC LIMIT $4",
        )
        .bind(i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(1))
        .bind(from.0)
        .bind(to.0)
        .bind(i64::from(limit_rows) + 1)
        .bind(i16::from(Rating::SATISFIED_FROM))
        .fetch_all(&mut *tx)
        .await?;
        let mut rows = rows.iter().map(stats).collect::<Result<Vec<_>>>()?;
        let limit = usize::try_from(limit_rows).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        rows.reverse();
        Ok((rows, more))
    }

    async fn prune_ratings(&self, before: UnixMs, limit_rows: u32) -> Result<u64> {
        let mut tx = self.db.begin().await?;
        let done = sql::query(
            "DELETE FROM taskwarden.task_ratings WHERE task_id IN \
             (SELECT task_id FROM taskwarden.task_ratings WHERE rated_at_ms < $1 ORDER BY rated_at_ms LIMIT $2)",
        )
        .bind(before.0)
        .bind(i64::from(limit_rows))
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await?;
        Ok(done.rows_affected())
    }
}
