//! What people ask for: cancel and retry; and the deletion of what is old.

use sqlx::Row as _;

use super::Db;
use super::fronts::FrontKey;
use super::sql;
use crate::store::stored::damaged;
use crate::store::{CancelAnswer, Result, RetryAnswer, StoreError};
use crate::task::{TaskId, TaskState};

/// How often a task may change its place while somebody cancels it.
const TRIES: usize = 10;

impl Db {
    pub(super) async fn cancel(&self, id: TaskId, now_ms: i64) -> Result<CancelAnswer> {
        for _ in 0..TRIES {
            if let Some(answer) = self.try_cancel(id, now_ms).await? {
                return Ok(answer);
            }
        }
        Err(StoreError::Unavailable("the task keeps changing; try again".to_owned()))
    }

    /// Nothing when the task was somewhere else by the time it was to be changed.
    async fn try_cancel(&self, id: TaskId, now_ms: i64) -> Result<Option<CancelAnswer>> {
        let mut tx = self.begin().await?;
        let row = sql::query(
            "SELECT v.seq, v.state, v.lane_id, t.rank, v.run_key, v.run_at_ms, n.tenant_id FROM public.execution_tasks v \
             JOIN taskwarden.tasks t ON t.seq = v.seq JOIN taskwarden.tenants n ON n.name = coalesce(t.tenant, '') WHERE v.id = $1",
        )
        .bind(id.to_string())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(Some(CancelAnswer::NotFound)) };
        let state: TaskState = row.try_get::<&str, _>("state")?.parse().map_err(|error| damaged("a task's state", error))?;
        let (seq, lane_id): (i64, i32) = (row.try_get("seq")?, row.try_get("lane_id")?);
        let removed = match state {
            state if state.is_final() => return Ok(Some(CancelAnswer::AlreadyFinal(state))),
            TaskState::Running => {
                let asked =
                    sql::query("UPDATE taskwarden.running SET cancel_requested = true WHERE seq = $1").bind(seq).execute(&mut *tx).await?;
                self.commit(tx).await?;
                if asked.rows_affected() == 0 {
                    return Ok(None);
                }
                self.notices.cancel_asked();
                return Ok(Some(CancelAnswer::Requested));
            }
            TaskState::Scheduled => {
                sql::query("DELETE FROM taskwarden.scheduled WHERE run_at_ms = $1 AND seq = $2")
                    .bind(row.try_get::<i64, _>("run_at_ms")?)
                    .bind(seq)
                    .execute(&mut *tx)
                    .await?
            }
            _ => {
                sql::query("DELETE FROM taskwarden.ready WHERE lane_id = $1 AND rank = $2 AND run_key = $3 AND seq = $4 AND tenant_id = $5")
                    .bind(lane_id)
                    .bind(row.try_get::<i16, _>("rank")?)
                    .bind(row.try_get::<i64, _>("run_key")?)
                    .bind(seq)
                    .bind(row.try_get::<i32, _>("tenant_id")?)
                    .execute(&mut *tx)
                    .await?
            }
        };
        if removed.rows_affected() == 0 {
            return Ok(None);
        }
        sql::query(
            "WITH over AS (INSERT INTO taskwarden.done (seq, finished_at_ms, started_at_ms, attempt, state, outcome) \
                 SELECT t.seq, $2, p.started_at_ms, coalesce(p.attempt, 0), 5, 'cancelled' \
                 FROM taskwarden.tasks t LEFT JOIN taskwarden.progress p USING (seq) WHERE t.seq = $1) \
             INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running) VALUES ($3, $4::int - 1, -$4::int, 0)",
        )
        .bind(seq)
        .bind(now_ms)
        .bind(lane_id)
        .bind(i32::from(state == TaskState::Scheduled))
        .execute(&mut *tx)
        .await?;
        self.commit(tx).await?;
        if state == TaskState::Scheduled {
            // Whoever asks when the next task is due must not hear of this one.
            self.fronts.lock().doubt_due();
        }
        Ok(Some(CancelAnswer::Cancelled))
    }

    pub(super) async fn retry(&self, id: TaskId, now_ms: i64) -> Result<RetryAnswer> {
        let mut tx = self.begin().await?;
        let state: Option<String> = sql::query_scalar("SELECT state FROM public.execution_tasks WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(state) = state else { return Ok(RetryAnswer::NotFound) };
        let state: TaskState = state.parse().map_err(|error| damaged("a task's state", error))?;
        if !matches!(state, TaskState::Failed | TaskState::Cancelled) {
            return Ok(RetryAnswer::NotRetryable(state));
        }
        // The attempt that ended the task does not end it any more, and joins the earlier ones. Attempts keep counting, so that logs and
        // earlier attempts stay apart; the full set is granted on top.
        let back: Option<(i64, i32, i32, i16, i64)> = sql::query_as(
            "WITH was AS (DELETE FROM taskwarden.done d USING taskwarden.tasks t JOIN taskwarden.tenants n ON n.name = coalesce(t.tenant, '') \
                          WHERE t.id = $1 AND d.seq = t.seq AND d.state IN (4, 5) \
                          RETURNING d.*, t.lane_id, n.tenant_id, t.rank, t.max_attempts, $2::bigint - t.rank * $3::bigint AS run_key), \
             ended AS (INSERT INTO taskwarden.task_attempts (seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms) \
                       SELECT seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms FROM was WHERE attempt > 0 \
                       ON CONFLICT DO NOTHING), \
             moved AS (INSERT INTO taskwarden.progress (seq, run_at_ms, run_key, started_at_ms, attempt, max_attempts, lost, outcome, error, receipt) \
                       SELECT seq, $2, run_key, started_at_ms, attempt, attempt + max_attempts, 0, outcome, error, receipt FROM was \
                       ON CONFLICT (seq) DO UPDATE SET run_at_ms = excluded.run_at_ms, run_key = excluded.run_key, \
                           started_at_ms = excluded.started_at_ms, attempt = excluded.attempt, max_attempts = excluded.max_attempts, \
                           lost = 0, larger_limits = false, outcome = excluded.outcome, error = excluded.error, receipt = excluded.receipt), \
             waiting AS (INSERT INTO taskwarden.ready (run_key, seq, lane_id, tenant_id, rank) \
                         SELECT run_key, seq, lane_id, tenant_id, rank FROM was), \
             counted AS (INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running) SELECT lane_id, 1, 0, 0 FROM was) \
             SELECT seq, lane_id, tenant_id, rank, run_key FROM was",
        )
        .bind(id.to_string())
        .bind(now_ms)
        .bind(self.step_ms())
        .fetch_optional(&mut *tx)
        .await?;
        self.commit(tx).await?;
        let Some((seq, lane_id, tenant_id, rank, run_key)) = back else {
            // Somebody else was faster with the same.
            return Ok(RetryAnswer::NotRetryable(TaskState::Queued));
        };
        let front = FrontKey { lane_id, tenant_id, rank };
        self.fronts.lock().put_back(front, (run_key, seq));
        self.notices.arrived(&std::collections::BTreeMap::from([(front, run_key)]), None);
        Ok(RetryAnswer::Queued)
    }

    pub(super) async fn prune(&self, ended_before_ms: i64, limit_tasks: u32) -> Result<u64> {
        let mut tx = self.begin().await?;
        let old: Vec<i64> = sql::query_scalar(
            "SELECT seq FROM taskwarden.done WHERE finished_at_ms < $1 ORDER BY finished_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED",
        )
        .bind(ended_before_ms)
        .bind(i64::from(limit_tasks))
        .fetch_all(&mut *tx)
        .await?;
        if old.is_empty() {
            return Ok(0);
        }
        for delete in [
            "DELETE FROM taskwarden.done WHERE seq = ANY($1)",
            "DELETE FROM taskwarden.progress WHERE seq = ANY($1)",
            "DELETE FROM taskwarden.task_attempts WHERE seq = ANY($1)",
            "DELETE FROM taskwarden.task_logs WHERE seq = ANY($1)",
            "DELETE FROM taskwarden.task_outputs WHERE seq = ANY($1)",
            "DELETE FROM taskwarden.journal WHERE seq = ANY($1)",
            "DELETE FROM taskwarden.task_blobs WHERE seq = ANY($1)",
            "WITH gone AS (DELETE FROM taskwarden.tasks WHERE seq = ANY($1) RETURNING coalesce(tenant, '') AS tenant, idempotency_key) \
             DELETE FROM taskwarden.idempotency i USING gone g WHERE i.tenant = g.tenant AND i.key = g.idempotency_key",
        ] {
            sql::query(delete).bind(&old).execute(&mut *tx).await?;
        }
        self.commit(tx).await?;
        Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
    }
}
