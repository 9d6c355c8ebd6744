//! One transaction of the writer: what its requests want to write, gathered and written in bulk.

use std::sync::Arc;

use sqlx::SqliteConnection;

use super::bulk::{Bulk, json_list};
use super::mirror::{LaneState, Mirror};
use super::prepared::{Ended, Prepared};
use crate::store::{Conflict, Result, StoreError};
use crate::task::{LaneKey, TaskState};

/// What a store is opened with that a transaction has to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) priority_step: std::time::Duration,
    pub(super) lanes_max: u32,
}

/// A new task with its place in the store.
pub(super) struct Insert {
    pub(super) seq: i64,
    pub(super) lane_id: i64,
    pub(super) run_key: i64,
    pub(super) run_at_ms: i64,
    pub(super) created_at_ms: i64,
    pub(super) state: TaskState,
    pub(super) task: Arc<Prepared>,
    /// Names of the lane, shared by all its tasks.
    pub(super) task_type: Arc<str>,
    pub(super) ai_model: Option<Arc<str>>,
}

/// The end of an attempt that ended its task.
pub(super) struct Final {
    pub(super) seq: i64,
    pub(super) state: TaskState,
    pub(super) ended: Arc<Ended>,
}

/// The end of an attempt that did not end its task; or any other way back into the queue.
pub(super) struct Requeue {
    pub(super) seq: i64,
    pub(super) state: TaskState,
    pub(super) run_at_ms: i64,
    pub(super) run_key: i64,
    /// The attempt that ended, when one did.
    pub(super) ended: Option<(u32, Arc<Ended>)>,
}

#[derive(Default)]
struct Buffers {
    inserts: Vec<Insert>,
    finals: Vec<Final>,
    requeues: Vec<Requeue>,
    ready: Vec<(i64, i64, i64)>,
    scheduled: Vec<(i64, i64, i64, i64)>,
    stopped: Vec<i64>,
    logs: Vec<(i64, u32, Arc<Ended>)>,
}

// OR FAIL: a statement that fails leaves what it had done, which spares SQLite a copy of every page it touches in case it has to undo
// the statement alone. Nothing comes of it, because any failure here rolls the whole transaction back.
static INSERT_TASKS: Bulk = Bulk::new(
    "INSERT OR FAIL INTO execution_tasks (seq, id, task_type, ai_model, priority, state, payload, inputs, max_attempts, tenant, idempotency_key, \
     tags, limits, created_at_ms, run_at_ms, lane_id, run_key, attempts_base)",
    18,
    "",
);
static INSERT_IDEMPOTENCY: Bulk = Bulk::new("INSERT OR FAIL INTO idempotency (tenant, key, digest, seq)", 4, "");
static INSERT_TASK_BLOBS: Bulk = Bulk::new("INSERT OR IGNORE INTO task_blobs (blob_id, seq)", 2, "");
static INSERT_READY: Bulk = Bulk::new("INSERT OR FAIL INTO ready (lane_id, run_key, seq)", 3, "");
static INSERT_SCHEDULED: Bulk = Bulk::new("INSERT OR FAIL INTO scheduled (run_at_ms, seq, lane_id, run_key)", 4, "");
static UPDATE_FINAL: Bulk = Bulk::new(
    "UPDATE OR FAIL execution_tasks SET state = v.column2, outcome = v.column3, error = v.column4, receipt = v.column5, result = v.column6, \
     started_at_ms = coalesce(v.column7, started_at_ms), finished_at_ms = v.column8 FROM (",
    8,
    ") v WHERE execution_tasks.seq = v.column1",
);
static UPDATE_REQUEUE: Bulk = Bulk::new(
    "UPDATE OR FAIL execution_tasks SET state = v.column2, run_at_ms = v.column3, run_key = v.column4, outcome = coalesce(v.column5, outcome), \
     error = iif(v.column5 IS NULL, error, v.column6), receipt = iif(v.column5 IS NULL, receipt, v.column7), \
     started_at_ms = coalesce(v.column8, started_at_ms), lost = lost + (v.column5 IS 'lost') FROM (",
    8,
    ") v WHERE execution_tasks.seq = v.column1",
);
static INSERT_ATTEMPTS: Bulk =
    Bulk::new("INSERT OR REPLACE INTO task_attempts (seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms)", 7, "");
static INSERT_LOGS: Bulk = Bulk::new("INSERT OR REPLACE INTO task_logs (seq, attempt, line, at_ms, level, message, fields)", 7, "");
static INSERT_OUTPUTS: Bulk = Bulk::new("INSERT OR REPLACE INTO task_outputs (seq, name, media_type, bytes)", 4, "");
static UPDATE_LANES: Bulk =
    Bulk::new("UPDATE OR FAIL lanes SET queued = v.column2, scheduled = v.column3 FROM (", 3, ") v WHERE lanes.lane_id = v.column1");

/// The transaction, seen by the verbs that run in it.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c mut SqliteConnection,
    pub(super) mirror: &'c mut Mirror,
    pub(super) rules: Rules,
    buffers: Buffers,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c mut SqliteConnection, mirror: &'c mut Mirror, rules: Rules) -> Self {
        Self { conn, mirror, rules, buffers: Buffers::default() }
    }

    pub(super) fn insert(&mut self, insert: Insert) {
        self.enter(insert.seq, insert.lane_id, insert.run_key, insert.run_at_ms, insert.state);
        self.buffers.inserts.push(insert);
    }

    pub(super) fn has_inserts(&self) -> bool {
        !self.buffers.inserts.is_empty()
    }

    pub(super) fn end(&mut self, seq: i64, attempt: u32, state: TaskState, ended: Arc<Ended>) {
        self.leave_records(seq, attempt, &ended);
        self.buffers.finals.push(Final { seq, state, ended });
    }

    pub(super) fn requeue(&mut self, lane_id: i64, requeue: Requeue) {
        if let Some((attempt, ended)) = &requeue.ended {
            self.leave_records(requeue.seq, *attempt, ended);
        }
        self.enter(requeue.seq, lane_id, requeue.run_key, requeue.run_at_ms, requeue.state);
        self.buffers.requeues.push(requeue);
    }

    /// Takes a task off `running`, here and in the table.
    pub(super) fn stop(&mut self, seq: i64) {
        if self.mirror.stop(seq).is_some() {
            self.buffers.stopped.push(seq);
        }
    }

    fn enter(&mut self, seq: i64, lane_id: i64, run_key: i64, run_at_ms: i64, state: TaskState) {
        if state == TaskState::Scheduled {
            self.buffers.scheduled.push((run_at_ms, seq, lane_id, run_key));
            self.mirror.count(lane_id, 0, 1);
            self.mirror.due(run_at_ms);
        } else {
            self.buffers.ready.push((lane_id, run_key, seq));
            self.mirror.count(lane_id, 1, 0);
        }
    }

    fn leave_records(&mut self, seq: i64, attempt: u32, ended: &Arc<Ended>) {
        if !ended.logs.is_empty() || !ended.outputs.is_empty() {
            self.buffers.logs.push((seq, attempt, Arc::clone(ended)));
        }
    }

    /// The lane of this key, made when it is new.
    pub(super) async fn lane(&mut self, key: &LaneKey) -> Result<i64> {
        if let Some(lane_id) = self.mirror.lane_id(key) {
            return Ok(lane_id);
        }
        self.check_new_lanes(1)?;
        let lane_id: i64 = sqlx::query_scalar("INSERT INTO lanes (task_type, ai_model) VALUES (?, ?) RETURNING lane_id")
            .bind(key.task_type.as_str())
            .bind(key.ai_model.as_ref().map(crate::task::AiModel::as_str))
            .fetch_one(&mut *self.conn)
            .await?;
        let lane = LaneState {
            key: key.clone(),
            paused: false,
            concurrency_cap: None,
            weight: 1,
            queued: 0,
            scheduled: 0,
            running: 0,
            dirty: false,
        };
        self.mirror.insert_lane(lane_id, lane);
        Ok(lane_id)
    }

    /// Whether so many more lanes may be made.
    pub(super) fn check_new_lanes(&self, more: usize) -> Result<()> {
        let max = self.rules.lanes_max;
        let fits = self.mirror.lanes.len().saturating_add(more) <= usize::try_from(max).unwrap_or(usize::MAX);
        if fits || more == 0 { Ok(()) } else { Err(StoreError::Conflict(Conflict::TooManyLanes { max })) }
    }

    /// Writes what was gathered, so that what follows can read it.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let buffers = std::mem::take(&mut self.buffers);
        let conn = &mut *self.conn;
        INSERT_TASKS
            .run(conn, &buffers.inserts, |query, row| {
                let task = &row.task;
                query
                    .bind(row.seq)
                    .bind(Arc::clone(&task.id_text))
                    .bind(Arc::clone(&row.task_type))
                    .bind(row.ai_model.clone())
                    .bind(task.priority.name())
                    .bind(row.state.name())
                    .bind(Arc::clone(&task.payload))
                    .bind(task.inputs.clone())
                    .bind(task.max_attempts)
                    .bind(task.tenant.clone())
                    .bind(task.idempotency_key.clone())
                    .bind(task.tags.clone())
                    .bind(task.limits.clone())
                    .bind(row.created_at_ms)
                    .bind(row.run_at_ms)
                    .bind(row.lane_id)
                    .bind(row.run_key)
                    .bind(task.max_attempts)
            })
            .await?;
        let keyed: Vec<_> = buffers.inserts.iter().filter_map(|row| Some((row, row.task.idempotency_key.as_ref()?))).collect();
        INSERT_IDEMPOTENCY
            .run(conn, &keyed, |query, (row, key)| {
                query.bind(row.task.tenant.clone().unwrap_or_default()).bind(Arc::clone(key)).bind(row.task.digest.to_vec()).bind(row.seq)
            })
            .await?;
        let blobs: Vec<_> = buffers.inserts.iter().flat_map(|row| row.task.blobs.iter().map(|(_, blob)| (blob, row.seq))).collect();
        INSERT_TASK_BLOBS.run(conn, &blobs, |query, (blob, seq)| query.bind(Arc::clone(blob)).bind(*seq)).await?;
        Self::flush_ends(conn, &buffers).await?;
        INSERT_READY.run(conn, &buffers.ready, |query, row| query.bind(row.0).bind(row.1).bind(row.2)).await?;
        INSERT_SCHEDULED.run(conn, &buffers.scheduled, |query, row| query.bind(row.0).bind(row.1).bind(row.2).bind(row.3)).await?;
        if !buffers.stopped.is_empty() {
            sqlx::query("DELETE FROM running WHERE seq IN (SELECT value FROM json_each(?))")
                .bind(json_list(buffers.stopped))
                .execute(&mut *conn)
                .await?;
        }
        Ok(())
    }

    async fn flush_ends(conn: &mut SqliteConnection, buffers: &Buffers) -> Result<()> {
        UPDATE_FINAL
            .run(conn, &buffers.finals, |query, row| {
                query
                    .bind(row.seq)
                    .bind(row.state.name())
                    .bind(row.ended.outcome.name())
                    .bind(row.ended.error.clone())
                    .bind(row.ended.receipt.clone())
                    .bind(row.ended.result.clone())
                    .bind(row.ended.started_at_ms)
                    .bind(row.ended.finished_at_ms)
            })
            .await?;
        UPDATE_REQUEUE
            .run(conn, &buffers.requeues, |query, row| {
                let ended = row.ended.as_ref().map(|(_, ended)| ended);
                query
                    .bind(row.seq)
                    .bind(row.state.name())
                    .bind(row.run_at_ms)
                    .bind(row.run_key)
                    .bind(ended.map(|ended| ended.outcome.name()))
                    .bind(ended.and_then(|ended| ended.error.clone()))
                    .bind(ended.and_then(|ended| ended.receipt.clone()))
                    .bind(ended.and_then(|ended| ended.started_at_ms))
            })
            .await?;
        let attempts: Vec<_> =
            buffers.requeues.iter().filter_map(|row| row.ended.as_ref().map(|(attempt, ended)| (row.seq, *attempt, ended))).collect();
        INSERT_ATTEMPTS
            .run(conn, &attempts, |query, (seq, attempt, ended)| {
                query
                    .bind(*seq)
                    .bind(*attempt)
                    .bind(ended.outcome.name())
                    .bind(ended.error.clone())
                    .bind(ended.receipt.clone())
                    .bind(ended.started_at_ms)
                    .bind(ended.finished_at_ms)
            })
            .await?;
        for (seq, attempt, ended) in &buffers.logs {
            let lines: Vec<_> = (0_i64..).zip(&ended.logs).collect();
            INSERT_LOGS
                .run(conn, &lines, |query, (number, line)| {
                    query
                        .bind(*seq)
                        .bind(*attempt)
                        .bind(*number)
                        .bind(line.at_ms)
                        .bind(line.level)
                        .bind(Arc::clone(&line.message))
                        .bind(line.fields.clone())
                })
                .await?;
            INSERT_OUTPUTS
                .run(conn, &ended.outputs, |query, output| {
                    query.bind(*seq).bind(output.name.clone()).bind(output.media_type.clone()).bind(output.bytes.to_vec())
                })
                .await?;
        }
        Ok(())
    }

    /// Writes everything that is still to be written before the commit.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.flush().await?;
        let dirty: Vec<_> =
            self.mirror.lanes.iter_mut().filter_map(|(id, lane)| std::mem::take(&mut lane.dirty).then_some((id, lane))).collect();
        UPDATE_LANES.run(self.conn, &dirty, |query, (lane_id, lane)| query.bind(**lane_id).bind(lane.queued).bind(lane.scheduled)).await?;
        if std::mem::take(&mut self.mirror.counters_dirty) {
            sqlx::query("UPDATE counters SET value = CASE name WHEN 'seq' THEN ? ELSE ? END")
                .bind(self.mirror.last_seq)
                .bind(self.mirror.last_token)
                .execute(&mut *self.conn)
                .await?;
        }
        Ok(())
    }
}
