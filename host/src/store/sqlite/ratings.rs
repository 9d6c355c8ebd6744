//! What people thought of tasks' results.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::row;
use super::tx::Tx;
use super::writer::Verb;
use crate::clock::UnixMs;
use crate::store::stored::{damaged, lane_key};
use crate::store::{RateAnswer, Rated, RatingStats, RatingStore, Result};
use crate::task::{Rating, TaskId, TaskState};

const RATING: &str = "SELECT rating, rated_at_ms FROM task_ratings WHERE task_id = ?";

fn rated(row: &Row<'_>) -> Result<Rated> {
    let rating = Rating::new(row.get("rating")?).map_err(|error| damaged("a rating", error))?;
    Ok(Rated { rating, at: UnixMs(row.get("rated_at_ms")?) })
}

struct Rate {
    id: TaskId,
    rating: Rating,
    now: UnixMs,
}

impl Verb for Rate {
    type Answer = RateAnswer;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<RateAnswer> {
        let id = self.id.to_string();
        let state = row::first(tx.conn, "SELECT state FROM execution_tasks WHERE id = ?", [&id], |row| {
            row::text(row, "state")?.parse::<TaskState>().map_err(|error| damaged("a task's state", error))
        })?;
        match state {
            None => return Ok(RateAnswer::NotFound),
            Some(state) if !state.is_final() => return Ok(RateAnswer::NotEnded(state)),
            Some(_) => {}
        }
        tx.execute(
            "INSERT INTO task_ratings (task_id, rating, rated_at_ms, lane_id, plugin, plugin_version) \
             SELECT id, ?2, ?3, lane_id, coalesce(json_extract(receipt, '$.plugin'), ''), \
                    coalesce(json_extract(receipt, '$.plugin_version'), '') FROM execution_tasks WHERE id = ?1 \
             ON CONFLICT (task_id) DO UPDATE SET rating = excluded.rating, rated_at_ms = excluded.rated_at_ms \
             WHERE rating <> excluded.rating",
            params![id, self.rating.get(), self.now.0],
        )?;
        let kept = row::first(tx.conn, RATING, [&id], rated)?;
        Ok(kept.map_or(RateAnswer::NotFound, RateAnswer::Kept))
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
            "DELETE FROM task_ratings WHERE task_id IN (SELECT task_id FROM task_ratings WHERE rated_at_ms < ? ORDER BY rated_at_ms LIMIT ?)",
            params![self.before.0, self.limit_rows],
        )?;
        Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
    }

    fn rows(&self) -> usize {
        usize::try_from(self.limit_rows).unwrap_or(usize::MAX)
    }
}

fn stats(row: &Row<'_>) -> Result<RatingStats> {
    let number = |column: &str| -> Result<u64> { Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default()) };
    Ok(RatingStats {
        from: UnixMs(row.get("from_ms")?),
        lane: lane_key(row::text(row, "task_type")?, row::text_or_null(row, "ai_model")?),
        plugin: row.get("plugin")?,
        plugin_version: row.get("plugin_version")?,
        ratings: number("ratings")?,
        satisfied: number("satisfied")?,
    })
}

#[async_trait]
impl RatingStore for SqliteStore {
    async fn rate(&self, id: TaskId, rating: Rating, now: UnixMs) -> Result<RateAnswer> {
        self.writer.run(Rate { id, rating, now }).await
    }

    async fn rating(&self, id: TaskId) -> Result<Option<Rated>> {
        self.readers.run(move |conn| row::first(conn, RATING, [id.to_string()], rated)).await
    }

    async fn rating_stats(&self, from: UnixMs, to: UnixMs, span: Duration, limit_rows: u32) -> Result<(Vec<RatingStats>, bool)> {
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(1);
        let read = self.readers.run(move |conn| {
            row::all(
                conn,
                "SELECT s.from_ms, l.task_type, l.ai_model, s.plugin, s.plugin_version, s.ratings, s.satisfied \
                 FROM (SELECT rated_at_ms - rated_at_ms % ?1 AS from_ms, lane_id, plugin, plugin_version, count(*) AS ratings, \
                              sum(rating >= ?5) AS satisfied \
                       FROM task_ratings WHERE rated_at_ms >= ?2 AND rated_at_ms < ?3 GROUP BY 1, 2, 3, 4) s \
                 JOIN lanes l ON l.lane_id = s.lane_id \
                 ORDER BY s.from_ms DESC, s.lane_id DESC, s.plugin DESC, s.plugin_version DESC LIMIT ?4",
                params![span_ms, from.0, to.0, i64::from(limit_rows) + 1, Rating::SATISFIED_FROM],
                stats,
            )
        });
        let mut rows = read.await?;
        let limit = usize::try_from(limit_rows).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        rows.reverse();
        Ok((rows, more))
    }

    async fn prune_ratings(&self, before: UnixMs, limit_rows: u32) -> Result<u64> {
        self.writer.run(Prune { before, limit_rows }).await
    }
}
