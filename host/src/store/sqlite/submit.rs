//! Submitting a batch.

use std::collections::{HashMap, HashSet};

use super::prepared::Prepared;
use super::row;
use super::tx::{Insert, Tx};
use super::writer::{BULK_ROWS, Turn, Verb};
use crate::clock::UnixMs;
use crate::store::stored::damaged;
use crate::store::{Conflict, Result, StoreError, Submitted};
use crate::task::{TaskId, TaskState, run_key};

pub(super) struct Submit {
    pub(super) batch: Vec<Prepared>,
    pub(super) now: UnixMs,
}

/// Tenant and key.
type KeyOf = (Box<str>, Box<str>);

struct Known {
    digest: [u8; 32],
    answer: Submitted,
}

fn key_of(task: &Prepared) -> Option<KeyOf> {
    Some((task.tenant.clone().unwrap_or_default(), task.idempotency_key.clone()?))
}

impl Verb for Submit {
    type Answer = Vec<Submitted>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Submitted>> {
        let mut known = self.known(tx)?;
        self.check_blobs(tx)?;
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
        let tenants: HashSet<_> =
            new.iter().filter_map(|(task, _)| task.tenant.as_deref()).filter(|name| tx.mirror.tenant_id(name).is_none()).collect();
        tx.check_new_tenants(tenants.len())?;
        drop((lanes, tenants));
        self.write(tx, new)?;
        Ok(answers)
    }

    fn rows(&self) -> usize {
        self.batch.len()
    }

    fn turn(&self) -> Turn {
        if self.batch.len() > BULK_ROWS { Turn::Bulk } else { Turn::Soon }
    }

    fn is_urgent(&self) -> bool {
        self.batch.iter().any(|task| task.priority.is_urgent())
    }
}

impl Submit {
    fn write(&self, tx: &mut Tx<'_>, new: Vec<(&Prepared, TaskState)>) -> Result<()> {
        for (task, state) in new {
            let run_at_ms = task.run_at_ms.max(self.now.0);
            let insert = Insert {
                task,
                state,
                seq: tx.mirror.next_seq(),
                flow: (tx.lane(&task.lane)?, tx.tenant(task.tenant.as_deref())?),
                run_key: run_key(UnixMs(run_at_ms), task.priority, tx.rules.priority_step),
                run_at_ms,
                created_at_ms: self.now.0,
            };
            tx.insert(&insert)?;
        }
        Ok(())
    }

    /// The tasks that were submitted before under the keys of this batch.
    fn known(&self, tx: &Tx<'_>) -> Result<HashMap<KeyOf, Known>> {
        let mut known = HashMap::new();
        for key in self.batch.iter().filter_map(key_of) {
            let first = row::first(
                tx.conn,
                "SELECT i.digest, t.id, t.state FROM idempotency i JOIN execution_tasks t ON t.seq = i.seq WHERE i.tenant = ? AND i.key = ?",
                [&*key.0, &*key.1],
                |row| {
                    let id: TaskId = row::task_id(row::text(row, "id")?)?;
                    let state = row::text(row, "state")?.parse().map_err(|error| damaged("a task's state", error))?;
                    Ok(Known { digest: row.get("digest")?, answer: Submitted { id, created: false, state } })
                },
            )?;
            known.extend(first.map(|first| (key, first)));
        }
        Ok(known)
    }

    fn check_blobs(&self, tx: &Tx<'_>) -> Result<()> {
        let mut there = HashSet::new();
        for (index, task) in self.batch.iter().enumerate() {
            for (input, blob) in &task.blobs {
                if there.insert(blob)
                    && row::first(tx.conn, "SELECT 1 FROM blobs WHERE committed = 1 AND id = ?", [blob], |_| Ok(()))?.is_none()
                {
                    return Err(StoreError::Conflict(Conflict::NoSuchBlob { index, input: input.clone() }));
                }
            }
        }
        Ok(())
    }
}
