//! Reading tasks and what they left, beside the writer.

use std::fmt::Write as _;

use rusqlite::{Connection, params};

use super::SqliteStore;
use super::row::{self, TASK_COLUMNS, task};
use crate::clock::UnixMs;
use crate::store::stored::damaged;
use crate::store::{Claim, Result, TaskFilter, TaskPage};
use crate::task::{AiModel, LogLine, Output, Task, TaskId, TaskState, TaskType, Tenant};

/// With more lanes than this the newest tasks are found by going through all of them.
const LANES_SOUGHT: usize = 64;

impl SqliteStore {
    pub(super) async fn read_task(&self, id: TaskId) -> Result<Option<Task>> {
        self.readers.run(move |conn| row::first(conn, &select(TASK_COLUMNS, "WHERE id = ?"), [id.to_string()], task)).await
    }

    pub(super) async fn read_tasks(&self, filter: TaskFilter) -> Result<TaskPage> {
        self.readers.run(move |conn| page(conn, &filter)).await
    }

    pub(super) async fn read_logs(&self, id: TaskId) -> Result<Vec<(u32, LogLine)>> {
        let read = self.readers.run(move |conn| {
            let lines = "SELECT l.attempt, l.at_ms, l.level, l.message, l.fields FROM execution_tasks t JOIN task_logs l ON l.seq = t.seq \
                         WHERE t.id = ? ORDER BY l.attempt, l.line";
            row::all(conn, lines, [id.to_string()], |row| {
                let level = serde_json::Value::String(row.get("level")?);
                let fields = row::text_or_null(row, "fields")?.map(serde_json::from_str).transpose();
                let line = LogLine {
                    at_ms: UnixMs(row.get("at_ms")?),
                    level: serde_json::from_value(level).map_err(|error| damaged("a log line's level", error))?,
                    message: row.get("message")?,
                    fields: fields.map_err(|error| damaged("a log line's fields", error))?.unwrap_or_default(),
                };
                Ok((row.get("attempt")?, line))
            })
        });
        read.await
    }

    pub(super) async fn read_output(&self, id: TaskId, name: &str) -> Result<Option<Output>> {
        let name = name.to_owned();
        let read = self.readers.run(move |conn| {
            let output = "SELECT o.media_type, o.bytes FROM execution_tasks t JOIN task_outputs o ON o.seq = t.seq \
                          WHERE t.id = ? AND o.name = ?";
            row::first(conn, output, params![id.to_string(), name], |row| {
                Ok(Output { name: name.clone(), media_type: row.get("media_type")?, bytes: row.get::<_, Vec<u8>>("bytes")?.into() })
            })
        });
        read.await
    }

    pub(super) async fn read_outputs(&self, id: TaskId) -> Result<Vec<(String, String, u64)>> {
        let read = self.readers.run(move |conn| {
            let outputs = "SELECT o.name, o.media_type, length(o.bytes) FROM execution_tasks t JOIN task_outputs o ON o.seq = t.seq \
                           WHERE t.id = ? ORDER BY o.output_id";
            row::all(conn, outputs, [id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, unsigned(row.get(2)?))))
        });
        read.await
    }

    pub(super) async fn read_journal(&self, claim: Claim, step: &str) -> Result<Option<Vec<u8>>> {
        let step = step.to_owned();
        let read = self.readers.run(move |conn| {
            row::first(conn, "SELECT value FROM journal WHERE seq = ? AND step = ?", params![claim.seq, step], |row| Ok(row.get(0)?))
        });
        read.await
    }

    pub(super) async fn read_journal_bytes(&self, claim: Claim) -> Result<u64> {
        let read = self.readers.run(move |conn| {
            let bytes = "SELECT coalesce(sum(length(CAST(step AS BLOB)) + length(value)), 0) FROM journal WHERE seq = ?";
            Ok(unsigned(conn.prepare_cached(bytes)?.query_row([claim.seq], |row| row.get(0))?))
        });
        read.await
    }
}

/// A page of tasks, newest first. Every filter is answered from an index or from a table that is small, except that the tasks of one
/// model or in the state succeeded are found by walking back from the newest, which is where most of them are.
fn page(conn: &Connection, filter: &TaskFilter) -> Result<TaskPage> {
    let limit = usize::try_from(filter.limit.max(1)).unwrap_or(usize::MAX);
    let (task_type, ai_model) = (filter.task_type.as_ref().map(TaskType::as_str), filter.ai_model.as_ref().map(AiModel::as_str));
    // Every parameter is named in the text, whatever it asks for, so that one list of values fits all of them.
    let mut wheres = vec!["t.seq < ?1 AND (?2 IS NULL OR t.tenant = ?2)".to_owned()];
    let mut lanes: Option<Vec<i64>> = None;
    if task_type.is_some() || ai_model.is_some() {
        let found: Vec<i64> = row::all(
            conn,
            "SELECT lane_id FROM lanes WHERE (?1 IS NULL OR task_type = ?1) AND (?2 IS NULL OR ai_model = ?2) ORDER BY lane_id",
            [task_type, ai_model],
            |row| Ok(row.get(0)?),
        )?;
        if found.is_empty() {
            return Ok(TaskPage { tasks: Vec::new(), next: None });
        }
        if found.len() <= LANES_SOUGHT {
            lanes = Some(found);
        }
    }
    wheres.push("(?3 IS NULL OR t.task_type = ?3) AND (?4 IS NULL OR t.ai_model = ?4)".to_owned());
    if let Some(state) = filter.state {
        wheres.push(format!("t.state = '{}'", state.name()));
        if matches!(state, TaskState::Queued | TaskState::Scheduled) {
            let any = format!("SELECT EXISTS (SELECT 1 FROM lanes WHERE {} > 0)", state.name());
            if !conn.prepare_cached(&any)?.query_row([], |row| row.get::<_, bool>(0))? {
                return Ok(TaskPage { tasks: Vec::new(), next: None });
            }
        }
        if state == TaskState::Running {
            wheres.push("t.seq IN (SELECT seq FROM running)".to_owned());
        }
    }
    if filter.tenant.is_some() {
        // Said once more in the form that the index on tenants answers.
        wheres.push("t.tenant = ?2".to_owned());
    }
    let mut statement = conn.prepare(&list_text(lanes.as_deref(), &wheres.join(" AND "), limit.saturating_add(1)))?;
    let tenant = filter.tenant.as_ref().map(Tenant::as_str);
    let mut rows = statement.query(params![filter.before.unwrap_or(i64::MAX), tenant, task_type, ai_model])?;
    let (mut tasks, mut last_seq) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        if tasks.len() == limit {
            return Ok(TaskPage { tasks, next: last_seq });
        }
        tasks.push(task(row)?);
        last_seq = Some(row.get("seq")?);
    }
    Ok(TaskPage { tasks, next: None })
}

/// A length or a sum of lengths, which SQLite has as a signed number.
fn unsigned(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or_default()
}

fn select(columns: &str, rest: &str) -> String {
    format!("SELECT {columns} FROM execution_tasks {rest}")
}

/// The text of a listing. With lanes, the newest of each are sought in its index and merged.
fn list_text(lanes: Option<&[i64]>, wheres: &str, limit: usize) -> String {
    let Some(lanes) = lanes else {
        return select(TASK_COLUMNS, &format!("t WHERE {wheres} ORDER BY t.seq DESC LIMIT {limit}"));
    };
    let mut sought = String::new();
    for lane in lanes {
        let union = if sought.is_empty() { "" } else { " UNION ALL " };
        // Writing to a String cannot fail.
        let _ = write!(
            sought,
            "{union}SELECT * FROM (SELECT t.seq FROM execution_tasks t WHERE t.lane_id = {lane} AND {wheres} \
             ORDER BY t.seq DESC LIMIT {limit})"
        );
    }
    select(TASK_COLUMNS, &format!("t WHERE t.seq IN ({sought}) ORDER BY t.seq DESC LIMIT {limit}"))
}
