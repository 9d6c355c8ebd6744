//! What people ask for: cancel, retry, change a lane; and the deletion of what is old.

use async_trait::async_trait;
use sqlx::Row as _;

use super::bulk::json_list;
use super::error::damaged;
use super::mirror::shown;
use super::prepared::Ended;
use super::row;
use super::tx::{Requeue, Tx};
use super::writer::Verb;
use crate::clock::UnixMs;
use crate::store::{CancelAnswer, Lane, LanePatch, Result, RetryAnswer};
use crate::task::{LaneKey, Outcome, Priority, TaskId, TaskState, run_key};

/// Where a task is.
struct Place {
    seq: i64,
    state: TaskState,
    lane_id: i64,
    run_key: i64,
    run_at_ms: i64,
    attempt: u32,
    priority: Priority,
}

async fn find(tx: &mut Tx<'_>, id: TaskId) -> Result<Option<Place>> {
    tx.flush().await?;
    let row = sqlx::query("SELECT seq, state, lane_id, run_key, run_at_ms, attempt, priority FROM execution_tasks WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(&mut *tx.conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Place {
        seq: row.try_get("seq")?,
        state: row.try_get::<&str, _>("state")?.parse().map_err(|error| damaged("a task's state", error))?,
        lane_id: row.try_get("lane_id")?,
        run_key: row.try_get("run_key")?,
        run_at_ms: row.try_get("run_at_ms")?,
        attempt: row.try_get("attempt")?,
        priority: row::priority(row.try_get("priority")?),
    }))
}

pub(super) struct Cancel {
    pub(super) id: TaskId,
    pub(super) now: UnixMs,
}

#[async_trait]
impl Verb for Cancel {
    type Answer = CancelAnswer;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<CancelAnswer> {
        let Some(task) = find(tx, self.id).await? else { return Ok(CancelAnswer::NotFound) };
        match task.state {
            state if state.is_final() => return Ok(CancelAnswer::AlreadyFinal(state)),
            TaskState::Running => {
                sqlx::query("UPDATE running SET cancel_requested = 1 WHERE seq = ?").bind(task.seq).execute(&mut *tx.conn).await?;
                if let Some(running) = tx.mirror.running.get_mut(&task.seq) {
                    running.cancel_requested = true;
                }
                return Ok(CancelAnswer::Requested);
            }
            TaskState::Scheduled => {
                sqlx::query("DELETE FROM scheduled WHERE run_at_ms = ? AND seq = ?")
                    .bind(task.run_at_ms)
                    .bind(task.seq)
                    .execute(&mut *tx.conn)
                    .await?;
                tx.mirror.count(task.lane_id, 0, -1);
                if tx.mirror.next_due_ms == Some(task.run_at_ms) {
                    tx.mirror.next_due_ms = sqlx::query_scalar("SELECT min(run_at_ms) FROM scheduled").fetch_one(&mut *tx.conn).await?;
                }
            }
            _ => {
                sqlx::query("DELETE FROM ready WHERE lane_id = ? AND run_key = ? AND seq = ?")
                    .bind(task.lane_id)
                    .bind(task.run_key)
                    .bind(task.seq)
                    .execute(&mut *tx.conn)
                    .await?;
                tx.mirror.count(task.lane_id, -1, 0);
            }
        }
        tx.end(task.seq, task.attempt, TaskState::Cancelled, Ended::without_run(Outcome::Cancelled, None, self.now.0));
        Ok(CancelAnswer::Cancelled)
    }
}

pub(super) struct Retry {
    pub(super) id: TaskId,
    pub(super) now: UnixMs,
}

#[async_trait]
impl Verb for Retry {
    type Answer = RetryAnswer;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<RetryAnswer> {
        let Some(task) = find(tx, self.id).await? else { return Ok(RetryAnswer::NotFound) };
        if !matches!(task.state, TaskState::Failed | TaskState::Cancelled) {
            return Ok(RetryAnswer::NotRetryable(task.state));
        }
        // The attempt that ended the task does not end it any more, and joins the earlier ones.
        sqlx::query(
            "INSERT OR IGNORE INTO task_attempts (seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms) \
             SELECT seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms FROM execution_tasks \
             WHERE seq = ? AND attempt > 0 AND outcome IS NOT NULL AND finished_at_ms IS NOT NULL",
        )
        .bind(task.seq)
        .execute(&mut *tx.conn)
        .await?;
        // Attempts keep counting, so that logs and earlier attempts stay apart; the full set is granted on top.
        sqlx::query("UPDATE execution_tasks SET finished_at_ms = NULL, lost = 0, max_attempts = attempt + attempts_base WHERE seq = ?")
            .bind(task.seq)
            .execute(&mut *tx.conn)
            .await?;
        let requeue = Requeue {
            seq: task.seq,
            state: TaskState::Queued,
            run_at_ms: self.now.0,
            run_key: run_key(self.now, task.priority, tx.rules.priority_step),
            ended: None,
        };
        tx.requeue(task.lane_id, requeue);
        Ok(RetryAnswer::Queued)
    }
}

pub(super) struct Prune {
    pub(super) ended_before: UnixMs,
    pub(super) limit_tasks: u32,
}

#[async_trait]
impl Verb for Prune {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64> {
        tx.flush().await?;
        let old: Vec<(i64, String, Option<String>)> = sqlx::query_as(
            "SELECT seq, coalesce(tenant, ''), idempotency_key FROM execution_tasks \
             WHERE finished_at_ms IS NOT NULL AND finished_at_ms < ? ORDER BY finished_at_ms LIMIT ?",
        )
        .bind(self.ended_before.0)
        .bind(self.limit_tasks)
        .fetch_all(&mut *tx.conn)
        .await?;
        if old.is_empty() {
            return Ok(0);
        }
        let list = json_list(old.iter().map(|(seq, _, _)| *seq));
        for delete in [
            "DELETE FROM task_attempts WHERE seq IN (SELECT value FROM json_each(?))",
            "DELETE FROM task_logs WHERE seq IN (SELECT value FROM json_each(?))",
            "DELETE FROM task_outputs WHERE seq IN (SELECT value FROM json_each(?))",
            "DELETE FROM journal WHERE seq IN (SELECT value FROM json_each(?))",
            "DELETE FROM task_blobs WHERE seq IN (SELECT value FROM json_each(?))",
            "DELETE FROM execution_tasks WHERE seq IN (SELECT value FROM json_each(?))",
        ] {
            sqlx::query(delete).bind(list.as_str()).execute(&mut *tx.conn).await?;
        }
        let keys: Vec<[&str; 2]> = old.iter().filter_map(|(_, tenant, key)| Some([tenant.as_str(), key.as_deref()?])).collect();
        if !keys.is_empty() {
            let keys = serde_json::to_string(&keys).map_err(|error| damaged("an idempotency key", error))?;
            sqlx::query("DELETE FROM idempotency WHERE (tenant, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))")
                .bind(keys)
                .execute(&mut *tx.conn)
                .await?;
        }
        Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
    }

    fn rows(&self) -> usize {
        usize::try_from(self.limit_tasks).unwrap_or(usize::MAX)
    }
}

/// Changes a lane, or with an empty patch only makes sure that it is there.
pub(super) struct SetLane {
    pub(super) key: LaneKey,
    pub(super) patch: LanePatch,
}

#[async_trait]
impl Verb for SetLane {
    type Answer = Lane;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Lane> {
        let lane_id = tx.lane(&self.key).await?;
        tx.flush().await?;
        if let Some(lane) = tx.mirror.lanes.get_mut(&lane_id) {
            lane.paused = self.patch.paused.unwrap_or(lane.paused);
            lane.concurrency_cap = self.patch.concurrency_cap.unwrap_or(lane.concurrency_cap);
            lane.weight = self.patch.weight.unwrap_or(lane.weight);
            sqlx::query("UPDATE lanes SET paused = ?, concurrency_cap = ?, weight = ? WHERE lane_id = ?")
                .bind(lane.paused)
                .bind(lane.concurrency_cap)
                .bind(lane.weight)
                .bind(lane_id)
                .execute(&mut *tx.conn)
                .await?;
        }
        lanes(tx, Some(lane_id)).await?.pop().ok_or_else(|| damaged("the table lanes", "a lane is missing"))
    }
}

/// Every lane with what is in it, as the writer sees it between two groups.
pub(super) struct Lanes;

#[async_trait]
impl Verb for Lanes {
    type Answer = Vec<Lane>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Lane>> {
        tx.flush().await?;
        lanes(tx, None).await
    }
}

async fn lanes(tx: &mut Tx<'_>, only: Option<i64>) -> Result<Vec<Lane>> {
    // "First" is by run key: the task that will start next. One seek per lane.
    let ids =
        json_list(tx.mirror.lanes.iter().filter(|(id, lane)| lane.queued > 0 && only.is_none_or(|only| only == **id)).map(|(id, _)| *id));
    let oldest: std::collections::HashMap<i64, i64> = sqlx::query_as(
        "SELECT j.value, (SELECT t.run_at_ms FROM ready r JOIN execution_tasks t ON t.seq = r.seq \
                          WHERE r.lane_id = j.value ORDER BY r.run_key, r.seq LIMIT 1) AS at FROM json_each(?) j WHERE at IS NOT NULL",
    )
    .bind(ids)
    .fetch_all(&mut *tx.conn)
    .await?
    .into_iter()
    .collect();
    let chosen = tx.mirror.lanes.iter().filter(|(id, _)| only.is_none_or(|only| only == **id));
    Ok(chosen.map(|(id, lane)| shown(lane, oldest.get(id).copied())).collect())
}
