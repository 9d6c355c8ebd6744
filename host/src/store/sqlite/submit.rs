//! Submitting a batch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row as _;

use super::error::damaged;
use super::prepared::Prepared;
use super::row;
use super::tx::{Insert, Tx};
use super::writer::{BULK_ROWS, Turn, Verb};
use crate::clock::UnixMs;
use crate::store::{Conflict, Result, StoreError, Submitted};
use crate::task::{AiModel, LaneKey, TaskId, TaskState, run_key};

pub(super) struct Submit {
    pub(super) batch: Vec<Arc<Prepared>>,
    pub(super) now: UnixMs,
}

/// Tenant and key.
type KeyOf = (Arc<str>, Arc<str>);

struct Known {
    digest: [u8; 32],
    answer: Submitted,
}

fn key_of(task: &Prepared) -> Option<KeyOf> {
    Some((task.tenant.clone().unwrap_or_default(), task.idempotency_key.clone()?))
}

#[async_trait]
impl Verb for Submit {
    type Answer = Vec<Submitted>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Submitted>> {
        let mut known = self.known(tx).await?;
        self.check_blobs(tx).await?;
        let mut answers = Vec::with_capacity(self.batch.len());
        let mut new = Vec::new();
        for (index, task) in self.batch.iter().enumerate() {
            let key = key_of(task);
            if let Some(first) = key.as_ref().and_then(|key| known.get(key)) {
                if first.digest != task.digest {
                    return Err(StoreError::Conflict(Conflict::Idempotency { index, existing: first.answer.id }));
                }
                answers.push(first.answer);
                continue;
            }
            let state = if task.run_at_ms > self.now.0 { TaskState::Scheduled } else { TaskState::Queued };
            let answer = Submitted { id: task.id, created: true, state };
            if let Some(key) = key {
                known.insert(key, Known { digest: task.digest, answer: Submitted { created: false, ..answer } });
            }
            answers.push(answer);
            new.push((task, state));
        }
        let lanes: HashSet<_> = new.iter().map(|(task, _)| &task.lane).filter(|lane| tx.mirror.lane_id(lane).is_none()).collect();
        tx.check_new_lanes(lanes.len())?;
        drop(lanes);
        self.write(tx, new).await?;
        Ok(answers)
    }

    fn rows(&self) -> usize {
        self.batch.len()
    }

    fn turn(&self) -> Turn {
        if self.batch.len() > BULK_ROWS { Turn::Bulk } else { Turn::Soon }
    }
}

/// A lane as its rows have it.
struct RenderedLane<'a> {
    key: &'a LaneKey,
    id: i64,
    task_type: Arc<str>,
    ai_model: Option<Arc<str>>,
}

impl Submit {
    async fn write(&self, tx: &mut Tx<'_>, new: Vec<(&Arc<Prepared>, TaskState)>) -> Result<()> {
        // A batch is mostly of one lane: the names are rendered once for each run of tasks of the same lane.
        let mut last: Option<RenderedLane<'_>> = None;
        for (task, state) in new {
            let lane = match last {
                Some(lane) if *lane.key == task.lane => lane,
                _ => RenderedLane {
                    key: &task.lane,
                    id: tx.lane(&task.lane).await?,
                    task_type: Arc::from(task.lane.task_type.as_str()),
                    ai_model: task.lane.ai_model.as_ref().map(AiModel::as_str).map(Arc::from),
                },
            };
            let run_at_ms = task.run_at_ms.max(self.now.0);
            let insert = Insert {
                seq: tx.mirror.next_seq(),
                lane_id: lane.id,
                run_key: run_key(UnixMs(run_at_ms), task.priority, tx.rules.priority_step),
                run_at_ms,
                created_at_ms: self.now.0,
                state,
                task: Arc::clone(task),
                task_type: Arc::clone(&lane.task_type),
                ai_model: lane.ai_model.clone(),
            };
            last = Some(lane);
            tx.insert(insert);
        }
        Ok(())
    }

    /// The tasks that were submitted before under the keys of this batch.
    async fn known(&self, tx: &mut Tx<'_>) -> Result<HashMap<KeyOf, Known>> {
        let keys: Vec<KeyOf> = self.batch.iter().filter_map(|task| key_of(task)).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        if tx.has_inserts() {
            // A neighbour in this group may have the same key.
            tx.flush().await?;
        }
        let pairs: Vec<[&str; 2]> = keys.iter().map(|(tenant, key)| [&**tenant, &**key]).collect();
        let pairs = serde_json::to_string(&pairs).map_err(|error| damaged("an idempotency key", error))?;
        let rows = sqlx::query(
            "SELECT i.tenant, i.key, i.digest, t.id, t.state FROM json_each(?) j \
             CROSS JOIN idempotency i ON i.tenant = j.value ->> 0 AND i.key = j.value ->> 1 \
             CROSS JOIN execution_tasks t ON t.seq = i.seq",
        )
        .bind(pairs)
        .fetch_all(&mut *tx.conn)
        .await?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in rows {
            let digest = <[u8; 32]>::try_from(row.try_get::<&[u8], _>("digest")?).map_err(|error| damaged("a digest", error))?;
            let id: TaskId = row::task_id(row.try_get("id")?)?;
            let state = row.try_get::<&str, _>("state")?.parse().map_err(|error| damaged("a task's state", error))?;
            let key = (Arc::from(row.try_get::<&str, _>("tenant")?), Arc::from(row.try_get::<&str, _>("key")?));
            known.insert(key, Known { digest, answer: Submitted { id, created: false, state } });
        }
        Ok(known)
    }

    async fn check_blobs(&self, tx: &mut Tx<'_>) -> Result<()> {
        let named: HashSet<&str> = self.batch.iter().flat_map(|task| task.blobs.iter().map(|(_, blob)| &**blob)).collect();
        if named.is_empty() {
            return Ok(());
        }
        let list = serde_json::to_string(&named).map_err(|error| damaged("a blob's id", error))?;
        let there: HashSet<String> =
            sqlx::query_scalar("SELECT id FROM blobs WHERE committed = 1 AND id IN (SELECT value FROM json_each(?))")
                .bind(list)
                .fetch_all(&mut *tx.conn)
                .await?
                .into_iter()
                .collect();
        for (index, task) in self.batch.iter().enumerate() {
            if let Some((input, _)) = task.blobs.iter().find(|(_, blob)| !there.contains(&**blob)) {
                return Err(StoreError::Conflict(Conflict::NoSuchBlob { index, input: input.clone() }));
            }
        }
        Ok(())
    }
}
