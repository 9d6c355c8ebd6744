//! Rows of the public view back to checked types.

use sqlx::Row as _;
use sqlx_postgres::PgRow;

use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::stored::{damaged, idempotency_key, json, lane_key, plan, priority, task_id, tenant};
use crate::task::{Priority, Task};

/// The columns of [`task`].
pub(super) const TASK_COLUMNS: &str = "seq, id, task_type, ai_model, priority, state, payload, inputs, result, outcome, error, receipt, \
     attempt, max_attempts, tenant, idempotency_key, tags, limits, created_at_ms, run_at_ms, started_at_ms, finished_at_ms";

/// The priority of a rank.
pub(super) fn priority_of(rank: i16) -> Priority {
    Priority::ALL.into_iter().find(|priority| priority.rank() == i64::from(rank)).unwrap_or_default()
}

/// A whole task, from a row with [`TASK_COLUMNS`].
pub(super) fn task(row: &PgRow) -> Result<Task> {
    let outcome: Option<&str> = row.try_get("outcome")?;
    let receipt: Option<&str> = row.try_get("receipt")?;
    let number = |name: &str| row.try_get::<i32, _>(name).map(|value| u32::try_from(value).unwrap_or_default());
    Ok(Task {
        id: task_id(row.try_get("id")?)?,
        lane: lane_key(row.try_get("task_type")?, row.try_get("ai_model")?),
        priority: priority(row.try_get("priority")?),
        state: row.try_get::<&str, _>("state")?.parse().map_err(|error| damaged("a task's state", error))?,
        payload: json(row.try_get("payload")?)?,
        plan: plan(row.try_get("inputs")?, row.try_get("tags")?, row.try_get("limits")?)?,
        result: row.try_get::<Option<String>, _>("result")?.map(json).transpose()?,
        outcome: outcome.map(str::parse).transpose().map_err(|error| damaged("a task's outcome", error))?,
        error: row.try_get("error")?,
        receipt: receipt.map(serde_json::from_str).transpose().map_err(|error| damaged("a task's receipt", error))?,
        attempt: number("attempt")?,
        max_attempts: number("max_attempts")?,
        tenant: tenant(row.try_get("tenant")?),
        idempotency_key: idempotency_key(row.try_get("idempotency_key")?),
        created_at: UnixMs(row.try_get("created_at_ms")?),
        run_at: UnixMs(row.try_get("run_at_ms")?),
        started_at: row.try_get::<Option<i64>, _>("started_at_ms")?.map(UnixMs),
        finished_at: row.try_get::<Option<i64>, _>("finished_at_ms")?.map(UnixMs),
    })
}
