//! One transaction of the writer, as the verbs that run in it see it: the rows of the tables and what the mirror knows of them are
//! changed here together.

use rusqlite::{Connection, Params, params};

use super::mirror::{Flow, LaneState, Mirror, NOBODY};
use super::prepared::{Ended, Prepared};
use super::stats::StatsDelta;
use crate::store::{Conflict, Result, StoreError};
use crate::task::fair::{Account, Estimate, LANE_WEIGHT_DEFAULT};
use crate::task::{AiModel, LaneKey, TaskState};

/// What a store is opened with that a transaction has to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) priority_step: std::time::Duration,
    pub(super) lanes_max: u32,
    pub(super) tenants_max: u32,
}

/// A new task with its place in the store.
pub(super) struct Insert<'a> {
    pub(super) task: &'a Prepared,
    pub(super) state: TaskState,
    pub(super) seq: i64,
    pub(super) flow: Flow,
    pub(super) run_key: i64,
    pub(super) run_at_ms: i64,
    pub(super) created_at_ms: i64,
}

/// A way back into the queue.
pub(super) struct Requeue<'a> {
    pub(super) seq: i64,
    pub(super) state: TaskState,
    pub(super) run_at_ms: i64,
    pub(super) run_key: i64,
    /// The attempt that ended, when one did.
    pub(super) ended: Option<(u32, &'a Ended)>,
    /// Whether it has larger limits from now on.
    pub(super) larger_limits: bool,
}

/// The transaction, seen by the verbs that run in it.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c Connection,
    pub(super) mirror: &'c mut Mirror,
    pub(super) rules: Rules,
    /// What its attempts add to the host's own figures.
    pub(super) stats: StatsDelta,
}

impl Tx<'_> {
    /// Runs one statement, which stays prepared for the next time; answers with the number of rows it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// Writes a new task.
    pub(super) fn insert(&mut self, new: &Insert<'_>) -> Result<()> {
        let task = new.task;
        // OR FAIL: a statement that fails leaves what it had done, which spares SQLite the copy it would keep to undo it alone. Nothing
        // comes of it, because any failure here rolls the whole transaction back.
        self.execute(
            "INSERT OR FAIL INTO execution_tasks (seq, id, task_type, ai_model, priority, state, payload, inputs, max_attempts, tenant, \
             idempotency_key, tags, limits, created_at_ms, run_at_ms, lane_id, run_key, attempts_base) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                new.seq,
                task.id_text,
                task.lane.task_type.as_str(),
                task.lane.ai_model.as_ref().map(AiModel::as_str),
                task.priority.name(),
                new.state.name(),
                task.payload,
                task.inputs,
                task.max_attempts,
                task.tenant,
                task.idempotency_key,
                task.tags,
                task.limits,
                new.created_at_ms,
                new.run_at_ms,
                new.flow.0,
                new.run_key,
                task.max_attempts
            ],
        )?;
        if let Some(key) = &task.idempotency_key {
            self.execute(
                "INSERT OR FAIL INTO idempotency (tenant, key, digest, seq) VALUES (?, ?, ?, ?)",
                params![task.tenant.as_deref().unwrap_or_default(), key, task.digest, new.seq],
            )?;
        }
        for (_, blob) in &task.blobs {
            self.execute("INSERT OR IGNORE INTO task_blobs (blob_id, seq) VALUES (?, ?)", params![blob, new.seq])?;
        }
        self.enter(new.seq, new.flow, new.run_key, new.run_at_ms, new.state)
    }

    /// Writes the end of a task.
    pub(super) fn end(&mut self, seq: i64, attempt: u32, state: TaskState, ended: &Ended) -> Result<()> {
        self.leave_records(seq, attempt, ended)?;
        self.execute(
            "UPDATE OR FAIL execution_tasks SET state = ?, outcome = ?, error = ?, receipt = ?, result = ?, \
             started_at_ms = coalesce(?, started_at_ms), finished_at_ms = ? WHERE seq = ?",
            params![
                state.name(),
                ended.outcome.name(),
                ended.error,
                ended.receipt,
                ended.result,
                ended.started_at_ms,
                ended.finished_at_ms,
                seq
            ],
        )?;
        Ok(())
    }

    /// Puts a task back into the queue.
    pub(super) fn requeue(&mut self, flow: Flow, back: &Requeue<'_>) -> Result<()> {
        match back.ended {
            None => self.execute(
                "UPDATE OR FAIL execution_tasks SET state = ?, run_at_ms = ?, run_key = ? WHERE seq = ?",
                params![back.state.name(), back.run_at_ms, back.run_key, back.seq],
            )?,
            Some((attempt, ended)) => {
                self.leave_records(back.seq, attempt, ended)?;
                self.execute(
                    // Who lost it does not say when it was started.
                    "INSERT OR REPLACE INTO task_attempts (seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms) \
                     VALUES (?1, ?2, ?3, ?4, ?5, coalesce(?6, (SELECT started_at_ms FROM execution_tasks WHERE seq = ?1)), ?7)",
                    params![back.seq, attempt, ended.outcome.name(), ended.error, ended.receipt, ended.started_at_ms, ended.finished_at_ms],
                )?;
                self.execute(
                    "UPDATE OR FAIL execution_tasks SET state = ?1, run_at_ms = ?2, run_key = ?3, outcome = ?4, error = ?5, receipt = ?6, \
                     started_at_ms = coalesce(?7, started_at_ms), lost = lost + (?4 = 'lost'), larger_limits = larger_limits OR ?9 WHERE seq = ?8",
                    params![
                        back.state.name(),
                        back.run_at_ms,
                        back.run_key,
                        ended.outcome.name(),
                        ended.error,
                        ended.receipt,
                        ended.started_at_ms,
                        back.seq,
                        back.larger_limits
                    ],
                )?
            }
        };
        self.enter(back.seq, flow, back.run_key, back.run_at_ms, back.state)
    }

    /// Takes a task off `running`.
    pub(super) fn stop(&mut self, seq: i64) -> Result<()> {
        if self.mirror.stop(seq).is_some() {
            self.execute("DELETE FROM running WHERE seq = ?", [seq])?;
        }
        Ok(())
    }

    fn enter(&mut self, seq: i64, flow: Flow, run_key: i64, run_at_ms: i64, state: TaskState) -> Result<()> {
        if state == TaskState::Scheduled {
            self.execute(
                "INSERT OR FAIL INTO scheduled (run_at_ms, seq, lane_id, tenant_id, run_key) VALUES (?, ?, ?, ?, ?)",
                [run_at_ms, seq, flow.0, flow.1, run_key],
            )?;
            self.mirror.count_scheduled(flow.0, 1);
            self.mirror.due(run_at_ms);
        } else {
            let ready = "INSERT OR FAIL INTO ready (lane_id, tenant_id, run_key, seq) VALUES (?, ?, ?, ?)";
            self.execute(ready, [flow.0, flow.1, run_key, seq])?;
            self.mirror.count_ready(flow, 1);
        }
        Ok(())
    }

    /// Writes what an attempt leaves beside its end.
    fn leave_records(&self, seq: i64, attempt: u32, ended: &Ended) -> Result<()> {
        for (number, line) in (0_i64..).zip(&ended.logs) {
            self.execute(
                "INSERT OR REPLACE INTO task_logs (seq, attempt, line, at_ms, level, message, fields) VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![seq, attempt, number, line.at_ms, line.level, line.message, line.fields],
            )?;
        }
        for output in &ended.outputs {
            self.execute(
                "INSERT OR REPLACE INTO task_outputs (seq, name, media_type, bytes) VALUES (?, ?, ?, ?)",
                params![seq, output.name, output.media_type, &*output.bytes],
            )?;
        }
        Ok(())
    }

    /// The lane of this key, made when it is new.
    pub(super) fn lane(&mut self, key: &LaneKey) -> Result<i64> {
        if let Some(lane_id) = self.mirror.lane_id(key) {
            return Ok(lane_id);
        }
        self.check_new_lanes(1)?;
        let names = params![key.task_type.as_str(), key.ai_model.as_ref().map(AiModel::as_str)];
        self.execute("INSERT INTO lanes (task_type, ai_model) VALUES (?, ?)", names)?;
        let lane_id = self.conn.last_insert_rowid();
        let lane = LaneState {
            key: key.clone(),
            paused: false,
            concurrency_cap: None,
            weight: LANE_WEIGHT_DEFAULT,
            queued: 0,
            scheduled: 0,
            running: 0,
            estimate: Estimate::default(),
            dirty: false,
        };
        self.mirror.insert_lane(lane_id, lane);
        Ok(lane_id)
    }

    /// The number of a tenant, which gets an account when it is new.
    pub(super) fn tenant(&mut self, name: Option<&str>) -> Result<i64> {
        let Some(name) = name else { return Ok(NOBODY) };
        if let Some(tenant_id) = self.mirror.tenant_id(name) {
            return Ok(tenant_id);
        }
        self.execute("INSERT INTO tenants (name) VALUES (?)", [name])?;
        let tenant_id = self.conn.last_insert_rowid();
        self.mirror.open_account(tenant_id, name, Account::default());
        Ok(tenant_id)
    }

    /// Whether so many more lanes may be made.
    pub(super) fn check_new_lanes(&self, more: usize) -> Result<()> {
        let max = self.rules.lanes_max;
        let fits = self.mirror.lanes.len().saturating_add(more) <= usize::try_from(max).unwrap_or(usize::MAX);
        if fits || more == 0 { Ok(()) } else { Err(StoreError::Conflict(Conflict::TooManyLanes { max })) }
    }

    /// Whether so many more tenants may be made.
    pub(super) fn check_new_tenants(&self, more: usize) -> Result<()> {
        let max = self.rules.tenants_max;
        let fits = self.mirror.tenant_count().saturating_add(more) <= usize::try_from(max).unwrap_or(usize::MAX);
        if fits || more == 0 { Ok(()) } else { Err(StoreError::Conflict(Conflict::TooManyTenants { max })) }
    }

    /// Writes what the mirror counted, before the commit.
    pub(super) fn finish(&mut self) -> Result<()> {
        std::mem::take(&mut self.stats).write(self)?;
        for (lane_id, lane) in &mut self.mirror.lanes {
            if std::mem::take(&mut lane.dirty) {
                let mut update =
                    self.conn.prepare_cached("UPDATE lanes SET queued = ?, scheduled = ?, expected_us = ? WHERE lane_id = ?")?;
                let expected_us = i64::try_from(lane.estimate.next().micros()).unwrap_or(i64::MAX);
                update.execute([lane.queued, lane.scheduled, expected_us, *lane_id])?;
            }
        }
        for tenant_id in std::mem::take(&mut self.mirror.tenants_dirty) {
            let pass = i64::try_from(self.mirror.shares.pass(tenant_id)).unwrap_or(i64::MAX);
            self.execute("UPDATE tenants SET pass = ? WHERE tenant_id = ?", [pass, tenant_id])?;
        }
        if std::mem::take(&mut self.mirror.counters_dirty) {
            let now = [self.mirror.last_seq, self.mirror.last_token];
            self.execute("UPDATE counters SET value = CASE name WHEN 'seq' THEN ? ELSE ? END", now)?;
        }
        Ok(())
    }
}
