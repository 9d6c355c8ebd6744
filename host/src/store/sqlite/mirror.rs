//! What the writer knows by heart: lanes, hosts, what runs, and the counters. All of it is in the database too and is read from
//! there at the start and after every rollback; it can be kept in memory because nobody else writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::{Row as _, SqliteConnection};

use super::error::damaged;
use super::row;
use crate::store::{Claim, Lane, Result};
use crate::task::{LaneKey, Priority, TaskId};

/// A lane as the writer needs it.
#[derive(Debug, Clone)]
pub(super) struct LaneState {
    pub(super) key: LaneKey,
    pub(super) paused: bool,
    pub(super) concurrency_cap: Option<u32>,
    pub(super) weight: u32,
    pub(super) queued: i64,
    pub(super) scheduled: i64,
    pub(super) running: u32,
    /// Whether the counters differ from those in the table.
    pub(super) dirty: bool,
}

impl LaneState {
    /// How many more of its tasks may start now.
    pub(super) fn slots(&self) -> u32 {
        if self.paused { 0 } else { self.concurrency_cap.unwrap_or(u32::MAX).saturating_sub(self.running) }
    }
}

/// A task that runs.
#[derive(Debug, Clone)]
pub(super) struct RunningTask {
    pub(super) token: i64,
    pub(super) host_id: i64,
    pub(super) cancel_requested: bool,
    pub(super) id: TaskId,
    pub(super) lane_id: i64,
    pub(super) priority: Priority,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) lost: u32,
}

/// A host that said it is alive.
#[derive(Debug, Clone)]
pub(super) struct HostState {
    pub(super) name: Arc<str>,
    pub(super) lease_until_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) lanes: BTreeMap<i64, LaneState>,
    lane_ids: HashMap<LaneKey, i64>,
    pub(super) hosts: HashMap<i64, HostState>,
    pub(super) running: HashMap<i64, RunningTask>,
    pub(super) last_seq: i64,
    pub(super) last_token: i64,
    pub(super) counters_dirty: bool,
    /// When the next scheduled task is due.
    pub(super) next_due_ms: Option<i64>,
}

impl Mirror {
    pub(super) async fn load(conn: &mut SqliteConnection) -> Result<Self> {
        let mut mirror = Self::default();
        for row in sqlx::query("SELECT * FROM lanes ORDER BY lane_id").fetch_all(&mut *conn).await? {
            let key = row::lane_key(row.try_get("task_type")?, row.try_get("ai_model")?);
            let lane = LaneState {
                key,
                paused: row.try_get("paused")?,
                concurrency_cap: row.try_get("concurrency_cap")?,
                weight: row.try_get("weight")?,
                queued: row.try_get("queued")?,
                scheduled: row.try_get("scheduled")?,
                running: 0,
                dirty: false,
            };
            mirror.insert_lane(row.try_get("lane_id")?, lane);
        }
        for row in sqlx::query("SELECT host_id, name, lease_until_ms FROM hosts").fetch_all(&mut *conn).await? {
            let host = HostState { name: Arc::from(row.try_get::<&str, _>("name")?), lease_until_ms: row.try_get("lease_until_ms")? };
            mirror.hosts.insert(row.try_get("host_id")?, host);
        }
        let running = sqlx::query(
            "SELECT r.seq, r.token, r.host_id, r.cancel_requested, t.id, t.lane_id, t.priority, t.attempt, t.max_attempts, t.lost \
             FROM running r JOIN execution_tasks t ON t.seq = r.seq",
        );
        for row in running.fetch_all(&mut *conn).await? {
            let task = RunningTask {
                token: row.try_get("token")?,
                host_id: row.try_get("host_id")?,
                cancel_requested: row.try_get("cancel_requested")?,
                id: row::task_id(row.try_get("id")?)?,
                lane_id: row.try_get("lane_id")?,
                priority: row::priority(row.try_get("priority")?),
                attempt: row.try_get("attempt")?,
                max_attempts: row.try_get("max_attempts")?,
                lost: row.try_get("lost")?,
            };
            mirror.start(row.try_get("seq")?, task);
        }
        for row in sqlx::query("SELECT name, value FROM counters").fetch_all(&mut *conn).await? {
            match row.try_get::<&str, _>("name")? {
                "token" => mirror.last_token = row.try_get("value")?,
                "seq" => mirror.last_seq = row.try_get("value")?,
                other => return Err(damaged("the table counters", other)),
            }
        }
        mirror.next_due_ms = sqlx::query_scalar("SELECT min(run_at_ms) FROM scheduled").fetch_one(&mut *conn).await?;
        Ok(mirror)
    }

    pub(super) fn insert_lane(&mut self, lane_id: i64, lane: LaneState) {
        // Two rows can only have the same key when one of them holds a name that had to be mended; the first one keeps it.
        self.lane_ids.entry(lane.key.clone()).or_insert(lane_id);
        self.lanes.insert(lane_id, lane);
    }

    pub(super) fn lane_id(&self, key: &LaneKey) -> Option<i64> {
        self.lane_ids.get(key).copied()
    }

    /// Moves the counters of a lane.
    pub(super) fn count(&mut self, lane_id: i64, queued: i64, scheduled: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane_id) {
            lane.queued += queued;
            lane.scheduled += scheduled;
            lane.dirty = true;
        }
    }

    pub(super) fn start(&mut self, seq: i64, task: RunningTask) {
        if let Some(lane) = self.lanes.get_mut(&task.lane_id) {
            lane.running += 1;
        }
        self.running.insert(seq, task);
    }

    /// The running task that this claim holds, if it still does.
    pub(super) fn held(&self, claim: Claim) -> Option<&RunningTask> {
        self.running.get(&claim.seq).filter(|task| task.token == claim.token)
    }

    /// Takes a task off the list of what runs.
    pub(super) fn stop(&mut self, seq: i64) -> Option<RunningTask> {
        let task = self.running.remove(&seq)?;
        if let Some(lane) = self.lanes.get_mut(&task.lane_id) {
            lane.running = lane.running.saturating_sub(1);
        }
        Some(task)
    }

    pub(super) fn host_id(&self, name: &str) -> Option<i64> {
        self.hosts.iter().find(|(_, host)| &*host.name == name).map(|(id, _)| *id)
    }

    pub(super) fn next_seq(&mut self) -> i64 {
        self.counters_dirty = true;
        self.last_seq += 1;
        self.last_seq
    }

    pub(super) fn next_token(&mut self) -> i64 {
        self.counters_dirty = true;
        self.last_token += 1;
        self.last_token
    }

    /// Remembers that a task is due at this time.
    pub(super) fn due(&mut self, run_at_ms: i64) {
        self.next_due_ms = Some(self.next_due_ms.map_or(run_at_ms, |next| next.min(run_at_ms)));
    }
}

/// A lane as the trait shows it.
pub(super) fn shown(lane: &LaneState, oldest_ready_at: Option<i64>) -> Lane {
    Lane {
        key: lane.key.clone(),
        paused: lane.paused,
        concurrency_cap: lane.concurrency_cap,
        weight: lane.weight,
        queued: u64::try_from(lane.queued).unwrap_or_default(),
        scheduled: u64::try_from(lane.scheduled).unwrap_or_default(),
        running: u64::from(lane.running),
        oldest_ready_at: oldest_ready_at.map(crate::clock::UnixMs),
    }
}
