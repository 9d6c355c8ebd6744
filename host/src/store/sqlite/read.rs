//! Reading tasks and what they left, beside the writer.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Row as _};

use super::SqliteStore;
use super::error::damaged;
use super::row::{TASK_COLUMNS, task};
use crate::clock::UnixMs;
use crate::store::{Claim, Result, TaskFilter, TaskPage};
use crate::task::{AiModel, LogLine, Output, Task, TaskId, TaskState, TaskType, Tenant};

/// With more lanes than this the newest tasks are found by going through all of them.
const LANES_SOUGHT: usize = 64;

impl SqliteStore {
    pub(super) async fn read_task(&self, id: TaskId) -> Result<Option<Task>> {
        let text = select(TASK_COLUMNS, "WHERE id = ?");
        let row = sqlx::query(AssertSqlSafe(text)).bind(id.to_string()).fetch_optional(&self.readers).await?;
        row.as_ref().map(task).transpose()
    }

    /// Newest first. Every filter is answered from an index or from a table that is small, except that the tasks of one model or
    /// in the state succeeded are found by walking back from the newest, which is where most of them are.
    pub(super) async fn read_tasks(&self, filter: TaskFilter) -> Result<TaskPage> {
        let limit = usize::try_from(filter.limit.max(1)).unwrap_or(usize::MAX);
        let mut conn = self.readers.acquire().await?;
        let mut wheres = vec!["t.seq < ?1".to_owned()];
        let mut lanes: Option<Vec<i64>> = None;
        if filter.task_type.is_some() || filter.ai_model.is_some() {
            let found: Vec<i64> = sqlx::query_scalar(
                "SELECT lane_id FROM lanes WHERE (?1 IS NULL OR task_type = ?1) AND (?2 IS NULL OR ai_model = ?2) ORDER BY lane_id",
            )
            .bind(filter.task_type.as_ref().map(TaskType::as_str))
            .bind(filter.ai_model.as_ref().map(AiModel::as_str))
            .fetch_all(&mut *conn)
            .await?;
            if found.len() > LANES_SOUGHT {
                wheres.extend(filter.task_type.iter().map(|_| "t.task_type = ?3".to_owned()));
                wheres.extend(filter.ai_model.iter().map(|_| "t.ai_model = ?4".to_owned()));
            } else {
                lanes = Some(found);
            }
        }
        if let Some(state) = filter.state {
            wheres.push(format!("t.state = '{}'", state.name()));
            if matches!(state, TaskState::Queued | TaskState::Scheduled) {
                let column = state.name();
                let any: bool = sqlx::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM lanes WHERE {column} > 0)")))
                    .fetch_one(&mut *conn)
                    .await?;
                if !any {
                    return Ok(TaskPage { tasks: Vec::new(), next: None });
                }
            }
            if state == TaskState::Running {
                wheres.push("t.seq IN (SELECT seq FROM running)".to_owned());
            }
        }
        if filter.tenant.is_some() {
            wheres.push("t.tenant = ?2".to_owned());
        }
        let text = list_text(lanes.as_deref(), &wheres.join(" AND "), limit.saturating_add(1));
        let rows = sqlx::query(AssertSqlSafe(text))
            .persistent(false)
            .bind(filter.before.unwrap_or(i64::MAX))
            .bind(filter.tenant.as_ref().map(Tenant::as_str))
            .bind(filter.task_type.as_ref().map(TaskType::as_str))
            .bind(filter.ai_model.as_ref().map(AiModel::as_str))
            .fetch_all(&mut *conn)
            .await?;
        let more = rows.len() > limit;
        let shown = rows.get(..limit).unwrap_or(&rows);
        let next = shown.last().filter(|_| more).map(|row| row.try_get("seq")).transpose()?;
        Ok(TaskPage { tasks: shown.iter().map(task).collect::<Result<_>>()?, next })
    }

    pub(super) async fn read_logs(&self, id: TaskId) -> Result<Vec<(u32, LogLine)>> {
        let rows = sqlx::query(
            "SELECT l.attempt, l.at_ms, l.level, l.message, l.fields FROM execution_tasks t JOIN task_logs l ON l.seq = t.seq \
             WHERE t.id = ? ORDER BY l.attempt, l.line",
        )
        .bind(id.to_string())
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let level = serde_json::Value::String(row.try_get("level")?);
                let fields: Option<&str> = row.try_get("fields")?;
                let line = LogLine {
                    at_ms: UnixMs(row.try_get("at_ms")?),
                    level: serde_json::from_value(level).map_err(|error| damaged("a log line's level", error))?,
                    message: row.try_get("message")?,
                    fields: fields
                        .map_or_else(|| Ok(Vec::new()), serde_json::from_str)
                        .map_err(|error| damaged("a log line's fields", error))?,
                };
                Ok((row.try_get("attempt")?, line))
            })
            .collect()
    }

    pub(super) async fn read_output(&self, id: TaskId, name: &str) -> Result<Option<Output>> {
        let row = sqlx::query(
            "SELECT o.name, o.media_type, o.bytes FROM execution_tasks t JOIN task_outputs o ON o.seq = t.seq WHERE t.id = ? AND o.name = ?",
        )
        .bind(id.to_string())
        .bind(name)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Output {
            name: row.try_get("name")?,
            media_type: row.try_get("media_type")?,
            bytes: row.try_get::<Vec<u8>, _>("bytes")?.into(),
        }))
    }

    pub(super) async fn read_outputs(&self, id: TaskId) -> Result<Vec<(String, String, u64)>> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT o.name, o.media_type, length(o.bytes) FROM execution_tasks t JOIN task_outputs o ON o.seq = t.seq \
             WHERE t.id = ? ORDER BY o.output_id",
        )
        .bind(id.to_string())
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(|(name, media_type, bytes)| (name, media_type, u64::try_from(bytes).unwrap_or_default())).collect())
    }

    pub(super) async fn read_journal(&self, claim: Claim, step: &str) -> Result<Option<Vec<u8>>> {
        let value = sqlx::query_scalar("SELECT value FROM journal WHERE seq = ? AND step = ?").bind(claim.seq).bind(step);
        Ok(value.fetch_optional(&self.readers).await?)
    }

    pub(super) async fn read_journal_bytes(&self, claim: Claim) -> Result<u64> {
        let bytes: i64 =
            sqlx::query_scalar("SELECT coalesce(sum(length(CAST(step AS BLOB)) + length(value)), 0) FROM journal WHERE seq = ?")
                .bind(claim.seq)
                .fetch_one(&self.readers)
                .await?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    }
}

fn select(columns: &str, rest: &str) -> String {
    format!("SELECT {columns} FROM execution_tasks {rest}")
}

/// The text of a listing. With lanes, the newest of each are sought in its index and merged.
fn list_text(lanes: Option<&[i64]>, wheres: &str, limit: usize) -> String {
    let Some(lanes) = lanes else {
        return select(TASK_COLUMNS, &format!("t WHERE {wheres} ORDER BY t.seq DESC LIMIT {limit}"));
    };
    let mut sought = String::from("SELECT NULL AS seq WHERE 0");
    for lane in lanes {
        // Writing to a String cannot fail.
        let _ = write!(
            sought,
            " UNION ALL SELECT * FROM (SELECT t.seq FROM execution_tasks t WHERE t.lane_id = {lane} AND {wheres} \
             ORDER BY t.seq DESC LIMIT {limit})"
        );
    }
    select(TASK_COLUMNS, &format!("t WHERE t.seq IN ({sought}) ORDER BY t.seq DESC LIMIT {limit}"))
}
