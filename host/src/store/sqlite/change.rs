//! What people ask for: cancel, retry, change a lane; and the deletion of what is old.

use rusqlite::params;

use super::mirror::{Flow, NOBODY, next_due, shown};
use super::prepared::Ended;
use super::row;
use super::tx::{Requeue, Tx};
use super::writer::Verb;
use crate::clock::UnixMs;
use crate::store::stored::damaged;
use crate::store::{CancelAnswer, Lane, LanePatch, Result, RetryAnswer};
use crate::task::{LaneKey, Outcome, Priority, TaskId, TaskState, run_key};

/// Where a task is.
struct Place {
    seq: i64,
    state: TaskState,
    flow: Flow,
    run_key: i64,
    run_at_ms: i64,
    attempt: u32,
    priority: Priority,
}

fn find(tx: &Tx<'_>, id: TaskId) -> Result<Option<Place>> {
    let columns = "SELECT seq, state, lane_id, coalesce(tenant, '') AS tenant, run_key, run_at_ms, attempt, priority FROM execution_tasks WHERE id = ?";
    row::first(tx.conn, columns, [id.to_string()], |row| {
        Ok(Place {
            seq: row.get("seq")?,
            state: row::text(row, "state")?.parse().map_err(|error| damaged("a task's state", error))?,
            flow: (row.get("lane_id")?, tx.mirror.tenant_id(row::text(row, "tenant")?).unwrap_or(NOBODY)),
            run_key: row.get("run_key")?,
            run_at_ms: row.get("run_at_ms")?,
            attempt: row.get("attempt")?,
            priority: row::priority(row::text(row, "priority")?),
        })
    })
}

pub(super) struct Cancel {
    pub(super) id: TaskId,
    pub(super) now: UnixMs,
}

impl Verb for Cancel {
    type Answer = CancelAnswer;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<CancelAnswer> {
        let Some(task) = find(tx, self.id)? else { return Ok(CancelAnswer::NotFound) };
        match task.state {
            state if state.is_final() => return Ok(CancelAnswer::AlreadyFinal(state)),
            TaskState::Running => {
                tx.execute("UPDATE running SET cancel_requested = 1 WHERE seq = ?", [task.seq])?;
                if let Some(running) = tx.mirror.running.get_mut(&task.seq) {
                    running.cancel_requested = true;
                }
                return Ok(CancelAnswer::Requested);
            }
            TaskState::Scheduled => {
                tx.execute("DELETE FROM scheduled WHERE run_at_ms = ? AND seq = ?", [task.run_at_ms, task.seq])?;
                tx.mirror.count_scheduled(task.flow.0, -1);
                if tx.mirror.next_due_ms == Some(task.run_at_ms) {
                    tx.mirror.next_due_ms = next_due(tx.conn)?;
                }
            }
            _ => {
                let ready = "DELETE FROM ready WHERE lane_id = ? AND tenant_id = ? AND run_key = ? AND seq = ?";
                tx.execute(ready, [task.flow.0, task.flow.1, task.run_key, task.seq])?;
                tx.mirror.count_ready(task.flow, -1);
            }
        }
        tx.end(task.seq, task.attempt, TaskState::Cancelled, &Ended::without_run(Outcome::Cancelled, None, self.now.0))?;
        Ok(CancelAnswer::Cancelled)
    }
}

pub(super) struct Retry {
    pub(super) id: TaskId,
    pub(super) now: UnixMs,
}

impl Verb for Retry {
    type Answer = RetryAnswer;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<RetryAnswer> {
        let Some(task) = find(tx, self.id)? else { return Ok(RetryAnswer::NotFound) };
        if !matches!(task.state, TaskState::Failed | TaskState::Cancelled) {
            return Ok(RetryAnswer::NotRetryable(task.state));
        }
        // The attempt that ended the task does not end it any more, and joins the earlier ones.
        tx.execute(
            "INSERT OR IGNORE INTO task_attempts (seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms) \
             SELECT seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms FROM execution_tasks \
             WHERE seq = ? AND attempt > 0 AND outcome IS NOT NULL AND finished_at_ms IS NOT NULL",
            [task.seq],
        )?;
        // Attempts keep counting, so that logs and earlier attempts stay apart; the full set is granted on top.
        tx.execute(
            "UPDATE execution_tasks SET finished_at_ms = NULL, lost = 0, larger_limits = 0, max_attempts = attempt + attempts_base WHERE seq = ?",
            [task.seq],
        )?;
        let requeue = Requeue {
            seq: task.seq,
            state: TaskState::Queued,
            run_at_ms: self.now.0,
            run_key: run_key(self.now, task.priority, tx.rules.priority_step),
            ended: None,
            larger_limits: false,
        };
        tx.requeue(task.flow, &requeue)?;
        Ok(RetryAnswer::Queued)
    }
}

pub(super) struct Prune {
    pub(super) ended_before: UnixMs,
    pub(super) limit_tasks: u32,
}

impl Verb for Prune {
    type Answer = u64;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let old: Vec<(i64, String, Option<String>)> = row::all(
            tx.conn,
            "SELECT seq, coalesce(tenant, ''), idempotency_key FROM execution_tasks \
             WHERE finished_at_ms IS NOT NULL AND finished_at_ms < ? ORDER BY finished_at_ms LIMIT ?",
            params![self.ended_before.0, self.limit_tasks],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        for (seq, tenant, key) in &old {
            for delete in [
                "DELETE FROM task_attempts WHERE seq = ?",
                "DELETE FROM task_logs WHERE seq = ?",
                "DELETE FROM task_outputs WHERE seq = ?",
                "DELETE FROM journal WHERE seq = ?",
                "DELETE FROM task_blobs WHERE seq = ?",
                "DELETE FROM execution_tasks WHERE seq = ?",
            ] {
                tx.execute(delete, [seq])?;
            }
            if let Some(key) = key {
                tx.execute("DELETE FROM idempotency WHERE tenant = ? AND key = ?", [tenant, key])?;
            }
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

impl Verb for SetLane {
    type Answer = Lane;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Lane> {
        let lane_id = tx.lane(&self.key)?;
        if let Some(lane) = tx.mirror.lanes.get_mut(&lane_id) {
            lane.paused = self.patch.paused.unwrap_or(lane.paused);
            lane.concurrency_cap = self.patch.concurrency_cap.unwrap_or(lane.concurrency_cap);
            lane.weight = self.patch.weight.unwrap_or(lane.weight);
            let mut update = tx.conn.prepare_cached("UPDATE lanes SET paused = ?, concurrency_cap = ?, weight = ? WHERE lane_id = ?")?;
            update.execute(params![lane.paused, lane.concurrency_cap, lane.weight, lane_id])?;
        }
        lanes(tx, Some(lane_id))?.pop().ok_or_else(|| damaged("the table lanes", "a lane is missing"))
    }
}

/// Every lane with what is in it, as the writer sees it between two groups.
pub(super) struct Lanes;

impl Verb for Lanes {
    type Answer = Vec<Lane>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Lane>> {
        lanes(tx, None)
    }
}

fn lanes(tx: &Tx<'_>, only: Option<i64>) -> Result<Vec<Lane>> {
    let chosen = tx.mirror.lanes.iter().filter(|(id, _)| only.is_none_or(|only| only == **id));
    chosen.map(|(lane_id, lane)| Ok(shown(lane, oldest(tx, *lane_id)?))).collect()
}

/// When the task of a lane that has the smallest run key became ready. One seek for each tenant that waits in it.
fn oldest(tx: &Tx<'_>, lane_id: i64) -> Result<Option<i64>> {
    let first = "SELECT r.run_key, t.run_at_ms FROM ready r JOIN execution_tasks t ON t.seq = r.seq \
                 WHERE r.lane_id = ? AND r.tenant_id = ? ORDER BY r.run_key, r.seq LIMIT 1";
    let mut oldest: Option<(i64, i64)> = None;
    for ((_, tenant_id), _) in tx.mirror.flows.range((lane_id, i64::MIN)..=(lane_id, i64::MAX)) {
        let found = row::first(tx.conn, first, [lane_id, *tenant_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        oldest = oldest.into_iter().chain(found).min();
    }
    Ok(oldest.map(|(_, run_at_ms)| run_at_ms))
}
