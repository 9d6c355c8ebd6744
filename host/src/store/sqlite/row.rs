//! Rows of the public table back to checked types.

use rusqlite::Row;

use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::stored::damaged;
use crate::task::Task;

pub(super) use crate::store::stored::{idempotency_key, json, lane_key, plan, priority, task_id, tenant};

/// The columns of [`task`].
pub(super) const TASK_COLUMNS: &str = "seq, id, task_type, ai_model, priority, state, payload, inputs, result, outcome, error, receipt, \
     attempt, max_attempts, tenant, idempotency_key, tags, limits, created_at_ms, run_at_ms, started_at_ms, finished_at_ms";

/// A text column, borrowed from the row.
pub(super) fn text<'r>(row: &'r Row<'_>, column: &str) -> Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(|error| damaged(&format!("the column {column}"), error))
}

/// A text column that may be NULL, borrowed from the row.
pub(super) fn text_or_null<'r>(row: &'r Row<'_>, column: &str) -> Result<Option<&'r str>> {
    row.get_ref(column)?.as_str_or_null().map_err(|error| damaged(&format!("the column {column}"), error))
}

/// A whole task, from a row with [`TASK_COLUMNS`].
pub(super) fn task(row: &Row<'_>) -> Result<Task> {
    let outcome = text_or_null(row, "outcome")?;
    let receipt = text_or_null(row, "receipt")?;
    Ok(Task {
        id: task_id(text(row, "id")?)?,
        lane: lane_key(text(row, "task_type")?, text_or_null(row, "ai_model")?),
        priority: priority(text(row, "priority")?),
        state: text(row, "state")?.parse().map_err(|error| damaged("a task's state", error))?,
        payload: json(row.get("payload")?)?,
        plan: plan(text_or_null(row, "inputs")?, text_or_null(row, "tags")?, text_or_null(row, "limits")?)?,
        result: row.get::<_, Option<String>>("result")?.map(json).transpose()?,
        outcome: outcome.map(str::parse).transpose().map_err(|error| damaged("a task's outcome", error))?,
        error: row.get("error")?,
        receipt: receipt.map(serde_json::from_str).transpose().map_err(|error| damaged("a task's receipt", error))?,
        attempt: row.get("attempt")?,
        max_attempts: row.get("max_attempts")?,
        tenant: tenant(text_or_null(row, "tenant")?),
        idempotency_key: idempotency_key(text_or_null(row, "idempotency_key")?),
        created_at: UnixMs(row.get("created_at_ms")?),
        run_at: UnixMs(row.get("run_at_ms")?),
        started_at: row.get::<_, Option<i64>>("started_at_ms")?.map(UnixMs),
        finished_at: row.get::<_, Option<i64>>("finished_at_ms")?.map(UnixMs),
    })
}

/// Every row of a query, made into `T`.
pub(super) fn all<T>(
    conn: &rusqlite::Connection,
    sql: &str,
    params: impl rusqlite::Params,
    mut make: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(make(row)?);
    }
    Ok(found)
}

/// The first row of a query, made into `T`.
pub(super) fn first<T>(
    conn: &rusqlite::Connection,
    sql: &str,
    params: impl rusqlite::Params,
    make: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(make).transpose()
}
