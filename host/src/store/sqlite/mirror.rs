//! What the writer knows by heart: lanes, hosts, what runs, and the counters. All of it is in the database too and is read from
//! there at the start and after every rollback; it can be kept in memory because nobody else writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::Connection;

use super::row;
use crate::store::stored::damaged;
use crate::store::{Claim, Lane, Result};
use crate::task::fair::{Account, Estimate, LANE_WEIGHT_DEFAULT, Service, Shares};
use crate::task::turn::LaneShares;
use crate::task::{LaneKey, Priority, TaskId, Tenant};

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
    /// What its tasks have cost lately.
    pub(super) estimate: Estimate,
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
    pub(super) tenant_id: i64,
    /// What its tenant was charged with at its start.
    pub(super) expected: Service,
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

/// Where a task waits: of what kind it is, and whose.
pub(super) type Flow = (i64, i64);

/// Tasks of nobody in particular.
pub(super) const NOBODY: i64 = 0;

#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) lanes: BTreeMap<i64, LaneState>,
    lane_ids: HashMap<LaneKey, i64>,
    /// How many tasks wait in each flow; none that is empty.
    pub(super) flows: BTreeMap<Flow, u64>,
    tenant_ids: HashMap<Box<str>, i64>,
    pub(super) shares: Shares<i64>,
    /// Not in the database: after a start or a rollback lanes stand alike.
    pub(super) lane_shares: LaneShares<i64>,
    /// Tenants whose account differs from that in the table.
    pub(super) tenants_dirty: BTreeSet<i64>,
    pub(super) hosts: HashMap<i64, HostState>,
    pub(super) running: HashMap<i64, RunningTask>,
    pub(super) last_seq: i64,
    pub(super) last_token: i64,
    pub(super) counters_dirty: bool,
    /// When the next scheduled task is due.
    pub(super) next_due_ms: Option<i64>,
}

impl Mirror {
    pub(super) fn load(conn: &Connection) -> Result<Self> {
        let mut mirror = Self::default();
        row::all(conn, "SELECT * FROM lanes ORDER BY lane_id", [], |row| {
            let lane = LaneState {
                key: row::lane_key(row::text(row, "task_type")?, row::text_or_null(row, "ai_model")?),
                paused: row.get("paused")?,
                concurrency_cap: row.get("concurrency_cap")?,
                weight: row.get("weight")?,
                queued: row.get("queued")?,
                scheduled: row.get("scheduled")?,
                running: 0,
                estimate: Estimate::of(Service::from_micros(row.get::<_, i64>("expected_us")?.unsigned_abs())),
                dirty: false,
            };
            mirror.insert_lane(row.get("lane_id")?, lane);
            Ok(())
        })?;
        row::all(conn, "SELECT tenant_id, name, weight, pass FROM tenants", [], |row| {
            let account = Account { weight: row.get("weight")?, pass: row.get::<_, i64>("pass")?.unsigned_abs() };
            mirror.open_account(row.get("tenant_id")?, row::text(row, "name")?, account);
            Ok(())
        })?;
        row::all(conn, "SELECT lane_id, tenant_id, count(*) FROM ready GROUP BY lane_id, tenant_id", [], |row| {
            mirror.flows.insert((row.get(0)?, row.get(1)?), row.get::<_, i64>(2)?.unsigned_abs());
            Ok(())
        })?;
        row::all(conn, "SELECT host_id, name, lease_until_ms FROM hosts", [], |row| {
            let host = HostState { name: Arc::from(row::text(row, "name")?), lease_until_ms: row.get("lease_until_ms")? };
            mirror.hosts.insert(row.get("host_id")?, host);
            Ok(())
        })?;
        let running = "SELECT r.seq, r.token, r.host_id, r.cancel_requested, t.id, t.lane_id, coalesce(t.tenant, '') AS tenant, t.priority, t.attempt, t.max_attempts, t.lost \
                       FROM running r JOIN execution_tasks t ON t.seq = r.seq";
        row::all(conn, running, [], |row| {
            let task = RunningTask {
                token: row.get("token")?,
                host_id: row.get("host_id")?,
                cancel_requested: row.get("cancel_requested")?,
                id: row::task_id(row::text(row, "id")?)?,
                lane_id: row.get("lane_id")?,
                tenant_id: mirror.tenant_ids.get(row::text(row, "tenant")?).copied().unwrap_or(NOBODY),
                expected: Estimate::default().next(),
                priority: row::priority(row::text(row, "priority")?),
                attempt: row.get("attempt")?,
                max_attempts: row.get("max_attempts")?,
                lost: row.get("lost")?,
            };
            mirror.start(row.get("seq")?, task);
            Ok(())
        })?;
        row::all(conn, "SELECT name, value FROM counters", [], |row| {
            match row::text(row, "name")? {
                "token" => mirror.last_token = row.get("value")?,
                "seq" => mirror.last_seq = row.get("value")?,
                other => return Err(damaged("the table counters", other)),
            }
            Ok(())
        })?;
        mirror.next_due_ms = next_due(conn)?;
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

    pub(super) fn open_account(&mut self, tenant_id: i64, name: &str, account: Account) {
        self.tenant_ids.insert(Box::from(name), tenant_id);
        self.shares.open(tenant_id, account);
    }

    /// The number of a tenant that has been seen before.
    pub(super) fn tenant_id(&self, name: &str) -> Option<i64> {
        self.tenant_ids.get(name).copied()
    }

    /// How many tenants there are.
    pub(super) fn tenant_count(&self) -> usize {
        self.tenant_ids.len()
    }

    /// Every tenant there is, by name; nobody in particular is `None`.
    pub(super) fn tenants(&self) -> impl Iterator<Item = (i64, Option<Tenant>)> {
        self.tenant_ids.iter().map(|(name, id)| (*id, Tenant::new(name).ok()))
    }

    /// So many more (or fewer) tasks wait in a flow.
    pub(super) fn count_ready(&mut self, flow: Flow, more: i64) {
        let waiting = self.flows.entry(flow).or_default();
        *waiting = waiting.saturating_add_signed(more);
        if *waiting == 0 {
            self.flows.remove(&flow);
        }
        if let Some(lane) = self.lanes.get_mut(&flow.0) {
            lane.queued += more;
            lane.dirty = true;
        }
    }

    /// So many more (or fewer) tasks of a lane wait for their time.
    pub(super) fn count_scheduled(&mut self, lane_id: i64, more: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane_id) {
            lane.scheduled += more;
            lane.dirty = true;
        }
    }

    /// A lane's share against other lanes.
    pub(super) fn lane_weight(&self, lane_id: i64) -> u32 {
        self.lanes.get(&lane_id).map_or(LANE_WEIGHT_DEFAULT, |lane| lane.weight)
    }

    /// These flows have something that may start now, and no others.
    pub(super) fn gather(&mut self, open: impl Iterator<Item = Flow> + Clone) {
        self.shares.gather(open.clone().map(|(_, tenant_id)| tenant_id));
        let lanes = &self.lanes;
        let weight = |lane_id: i64| lanes.get(&lane_id).map_or(LANE_WEIGHT_DEFAULT, |lane| lane.weight);
        self.lane_shares.gather(open.map(|(lane_id, tenant_id)| (tenant_id, lane_id, weight(lane_id))));
    }

    /// A task of this lane and tenant starts: what it is expected to cost, charged to its tenant and to lanes of that weight; and the weight.
    pub(super) fn charge(&mut self, flow: Flow) -> (Service, u32) {
        let lane = self.lanes.get(&flow.0);
        let (estimate, weight) = lane.map_or((Estimate::default(), LANE_WEIGHT_DEFAULT), |lane| (lane.estimate, lane.weight));
        let expected = estimate.next();
        self.shares.charge(flow.1, expected);
        self.lane_shares.charge(flow.1, weight, expected);
        self.tenants_dirty.insert(flow.1);
        (expected, weight)
    }

    /// A task that was charged for did not run.
    pub(super) fn refund(&mut self, task: &RunningTask) {
        self.shares.refund(task.tenant_id, task.expected);
        self.lane_shares.refund(task.tenant_id, self.lane_weight(task.lane_id), task.expected);
        self.tenants_dirty.insert(task.tenant_id);
    }

    /// A task has ended and cost this much.
    pub(super) fn settle(&mut self, task: &RunningTask, actual: Service) {
        self.shares.settle(task.tenant_id, task.expected, actual);
        self.tenants_dirty.insert(task.tenant_id);
        if let Some(lane) = self.lanes.get_mut(&task.lane_id) {
            self.lane_shares.settle(task.tenant_id, lane.weight, task.expected, actual);
            lane.estimate.learn(actual);
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

/// When the next scheduled task is due.
pub(super) fn next_due(conn: &Connection) -> Result<Option<i64>> {
    Ok(conn.prepare_cached("SELECT min(run_at_ms) FROM scheduled")?.query_row([], |row| row.get(0))?)
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
