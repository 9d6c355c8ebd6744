//! Reading tasks and what they left.

use sqlx::{AssertSqlSafe, Row as _};

use super::Db;
use super::row::{TASK_COLUMNS, task};
use super::sql;
use crate::clock::UnixMs;
use crate::store::stored::damaged;
use crate::store::{Claim, Result, TaskFilter, TaskPage};
use crate::task::{AiModel, LogLine, Output, Task, TaskId, TaskState, TaskType, Tenant};

/// With more lanes than this the newest tasks are found by going through all of them.
const LANES_SOUGHT: usize = 64;

impl Db {
    pub(super) async fn read_task(&self, id: TaskId) -> Result<Option<Task>> {
        let mut tx = self.begin_read().await?;
        let text = format!("SELECT {TASK_COLUMNS} FROM public.execution_tasks WHERE id = $1");
        let row = sql::query(AssertSqlSafe(text)).bind(id.to_string()).fetch_optional(&mut *tx).await?;
        row.as_ref().map(task).transpose()
    }

    /// Newest first. Tasks of a lane, of a tenant, running, failed or cancelled are found by an index; those in other states by walking back
    /// from the newest, which is where most of them are.
    pub(super) async fn read_tasks(&self, filter: TaskFilter) -> Result<TaskPage> {
        let limit = usize::try_from(filter.limit.max(1)).unwrap_or(usize::MAX);
        let mut tx = self.begin_read().await?;
        let mut wheres = vec!["v.seq < $1".to_owned()];
        let mut lanes: Vec<i32> = Vec::new();
        let by_lane = filter.task_type.is_some() || filter.ai_model.is_some();
        if by_lane {
            lanes = sql::query_scalar(
                "SELECT lane_id FROM taskwarden.lanes WHERE ($1::text IS NULL OR task_type = $1) AND ($2::text IS NULL OR ai_model = $2)",
            )
            .bind(filter.task_type.as_ref().map(TaskType::as_str))
            .bind(filter.ai_model.as_ref().map(AiModel::as_str))
            .fetch_all(&mut *tx)
            .await?;
        }
        if let Some(state) = filter.state {
            wheres.push(match state {
                TaskState::Running => "v.seq IN (SELECT seq FROM taskwarden.running)".to_owned(),
                TaskState::Failed => "v.seq IN (SELECT seq FROM taskwarden.done WHERE state = 4)".to_owned(),
                TaskState::Cancelled => "v.seq IN (SELECT seq FROM taskwarden.done WHERE state = 5)".to_owned(),
                state => format!("v.state = '{}'", state.name()),
            });
            if matches!(state, TaskState::Queued | TaskState::Scheduled) {
                let table = if state == TaskState::Queued { "ready" } else { "scheduled" };
                let any: bool = sql::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM taskwarden.{table})")))
                    .fetch_one(&mut *tx)
                    .await?;
                if !any {
                    return Ok(TaskPage { tasks: Vec::new(), next: None });
                }
            }
        }
        if filter.tenant.is_some() {
            wheres.push("v.tenant = $2".to_owned());
        }
        let asked = limit.saturating_add(1);
        let some =
            |wheres: &str| format!("SELECT {TASK_COLUMNS} FROM public.execution_tasks v WHERE {wheres} ORDER BY v.seq DESC LIMIT {asked}");
        let text = if by_lane && lanes.len() <= LANES_SOUGHT {
            // The newest of each lane are sought in its index and merged.
            wheres.push("v.lane_id = lane".to_owned());
            format!(
                "SELECT s.* FROM unnest($3::int[]) AS lane CROSS JOIN LATERAL ({}) s ORDER BY s.seq DESC LIMIT {asked}",
                some(&wheres.join(" AND "))
            )
        } else {
            if by_lane {
                wheres.push("v.lane_id = ANY($3)".to_owned());
            }
            some(&wheres.join(" AND "))
        };
        // The text says how many parameters there are; those that it does not name are named here.
        let text = format!("{text} OFFSET CASE WHEN $2::text IS NULL OR $3::int[] IS NULL THEN 0 ELSE 0 END");
        let rows = sql::query(AssertSqlSafe(text))
            .persistent(false)
            .bind(filter.before.unwrap_or(i64::MAX))
            .bind(filter.tenant.as_ref().map(Tenant::as_str))
            .bind(lanes)
            .fetch_all(&mut *tx)
            .await?;
        let more = rows.len() > limit;
        let shown = rows.get(..limit).unwrap_or(&rows);
        let next = shown.last().filter(|_| more).map(|row| row.try_get("seq")).transpose()?;
        Ok(TaskPage { tasks: shown.iter().map(task).collect::<Result<_>>()?, next })
    }

    pub(super) async fn read_logs(&self, id: TaskId) -> Result<Vec<(u32, LogLine)>> {
        let mut tx = self.begin_read().await?;
        let rows = sql::query(
            "SELECT l.attempt, l.at_ms, l.level, l.message, l.fields FROM taskwarden.tasks t JOIN taskwarden.task_logs l USING (seq) \
             WHERE t.id = $1 ORDER BY l.attempt, l.line",
        )
        .bind(id.to_string())
        .fetch_all(&mut *tx)
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
                Ok((u32::try_from(row.try_get::<i32, _>("attempt")?).unwrap_or_default(), line))
            })
            .collect()
    }

    pub(super) async fn read_output(&self, id: TaskId, name: &str) -> Result<Option<Output>> {
        let mut tx = self.begin_read().await?;
        let row = sql::query(
            "SELECT o.name, o.media_type, o.bytes FROM taskwarden.tasks t JOIN taskwarden.task_outputs o USING (seq) \
             WHERE t.id = $1 AND o.name = $2",
        )
        .bind(id.to_string())
        .bind(name.replace('\0', "\u{fffd}"))
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Output {
            name: row.try_get("name")?,
            media_type: row.try_get("media_type")?,
            bytes: row.try_get::<&[u8], _>("bytes")?.into(),
        }))
    }

    pub(super) async fn read_outputs(&self, id: TaskId) -> Result<Vec<(String, String, u64)>> {
        let mut tx = self.begin_read().await?;
        let rows: Vec<(String, String, i32)> = sql::query_as(
            "SELECT o.name, o.media_type, length(o.bytes) FROM taskwarden.tasks t JOIN taskwarden.task_outputs o USING (seq) \
             WHERE t.id = $1 ORDER BY o.number",
        )
        .bind(id.to_string())
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows.into_iter().map(|(name, media_type, bytes)| (name, media_type, u64::try_from(bytes).unwrap_or_default())).collect())
    }

    pub(super) async fn read_journal(&self, claim: Claim, step: &str) -> Result<Option<Vec<u8>>> {
        let mut tx = self.begin_read().await?;
        let value = sql::query_scalar("SELECT value FROM taskwarden.journal WHERE seq = $1 AND step = $2");
        Ok(value.bind(claim.seq).bind(step.as_bytes()).fetch_optional(&mut *tx).await?)
    }

    pub(super) async fn read_journal_bytes(&self, claim: Claim) -> Result<u64> {
        let mut tx = self.begin_read().await?;
        let bytes: i64 =
            sql::query_scalar("SELECT coalesce(sum(length(step) + length(value)), 0)::bigint FROM taskwarden.journal WHERE seq = $1")
                .bind(claim.seq)
                .fetch_one(&mut *tx)
                .await?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    }
}
