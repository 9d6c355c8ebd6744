//! Stored text back to checked types.

use rusqlite::Row;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::damaged;
use crate::clock::UnixMs;
use crate::store::Result;
use crate::task::{AiModel, IdempotencyKey, LaneKey, Priority, Task, TaskId, TaskPlan, TaskType, Tenant};

/// The columns of [`task`].
pub(super) const TASK_COLUMNS: &str = "seq, id, task_type, ai_model, priority, state, payload, inputs, result, outcome, error, receipt, \
     attempt, max_attempts, tenant, idempotency_key, tags, limits, created_at_ms, run_at_ms, started_at_ms, finished_at_ms";

/// A lane's name. People may write into the public table by hand; a name that could never have come in is mended rather than
/// refused, so that one odd row does not hide all the others.
pub(super) fn lane_key(task_type: &str, ai_model: Option<&str>) -> LaneKey {
    let task_type = TaskType::new(task_type).unwrap_or_else(|_| {
        let mended: String =
            task_type.chars().take(128).map(|c| if c.is_ascii_alphanumeric() || "._-:".contains(c) { c } else { '_' }).collect();
        TaskType::new(&mended).unwrap_or_else(|_| unnamed())
    });
    LaneKey { task_type, ai_model: ai_model.and_then(|model| AiModel::new(model).ok()) }
}

#[expect(clippy::expect_used, reason = "a constant that is a valid name")]
fn unnamed() -> TaskType {
    TaskType::new("unknown").expect("a valid name")
}

pub(super) fn task_id(text: &str) -> Result<TaskId> {
    text.parse().map_err(|error| damaged("a task's id", error))
}

/// An unknown word reads as normal: urgency is no reason to lose a task.
pub(super) fn priority(text: &str) -> Priority {
    text.parse().unwrap_or_default()
}

/// JSON as it was kept; text that is not JSON (written by hand) reads as a JSON string.
pub(super) fn json(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text.clone()).or_else(|_| serde_json::value::to_raw_value(&text)).map_err(|error| damaged("a JSON value", error))
}

fn parsed<T: DeserializeOwned + Default>(what: &str, text: Option<&str>) -> Result<T> {
    text.map_or_else(|| Ok(T::default()), |text| serde_json::from_str(text).map_err(|error| damaged(what, error)))
}

pub(super) fn plan(inputs: Option<&str>, tags: Option<&str>, limits: Option<&str>) -> Result<TaskPlan> {
    Ok(TaskPlan {
        inputs: parsed("a task's inputs", inputs)?,
        tags: parsed("a task's tags", tags)?,
        limits: parsed("a task's limits", limits)?,
    })
}

pub(super) fn tenant(text: Option<&str>) -> Option<Tenant> {
    text.and_then(|text| Tenant::new(text).ok())
}

pub(super) fn idempotency_key(text: Option<&str>) -> Option<IdempotencyKey> {
    text.and_then(|text| IdempotencyKey::new(text).ok())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_by_hand_is_mended_rather_than_hidden() {
        assert_eq!(lane_key("two words", Some("a*")).to_string(), "two_words");
        assert_eq!(lane_key("", None).to_string(), "unknown");
        assert_eq!(priority("urgent"), Priority::Normal);
        assert!(json("{oops".to_owned()).is_ok_and(|json| json.get() == r#""{oops""#));
        assert!(plan(Some("[]"), None, None).is_err());
        assert!(task_id("17").is_err());
    }
}
