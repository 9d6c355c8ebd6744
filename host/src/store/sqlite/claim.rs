//! Promoting what is due, and claiming what may run.
//!
//! Each lane keeps its ready tasks in the order of their run keys, so the smallest keys over all lanes are found by merging the
//! fronts of those lanes that may start something. Lanes that may not are never looked at: a million tasks in a paused lane cost nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rusqlite::{Connection, Row, params};

use super::finish::GiveBack;
use super::mirror::{HostState, RunningTask, next_due};
use super::row;
use super::tx::Tx;
use super::writer::{Turn, Verb};
use crate::clock::UnixMs;
use crate::store::{Claim, ClaimRequest, Claimed, ClaimedTask, Result};
use crate::task::LaneKey;

/// Tasks moved from scheduled to ready in one claim; the rest follows in the next.
const PROMOTED_MAX: i64 = 1000;
/// When more lanes than this could start something, only their first tasks are read to begin with.
const LANES_READ_DEEP: usize = 16;

impl Verb for ClaimRequest {
    type Answer = Claimed;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Claimed> {
        promote(tx, self.now)?;
        let picked = pick(tx, self.max_tasks)?;
        let tasks = if picked.is_empty() { Vec::new() } else { start(tx, self, &picked)? };
        Ok(Claimed { tasks, next_due: tx.mirror.next_due_ms.map(UnixMs) })
    }

    fn rows(&self) -> usize {
        usize::try_from(self.max_tasks).unwrap_or(usize::MAX)
    }

    fn turn(&self) -> Turn {
        Turn::Last
    }

    fn undo(&self, answer: &Claimed) -> Option<GiveBack> {
        let claims: Vec<Claim> = answer.tasks.iter().map(|task| task.claim).collect();
        (!claims.is_empty()).then_some(GiveBack { claims, run_at: self.now, now: self.now })
    }
}

/// Moves what is due into its lane.
fn promote(tx: &mut Tx<'_>, now: UnixMs) -> Result<()> {
    if tx.mirror.next_due_ms.is_none_or(|due| due > now.0) {
        return Ok(());
    }
    let due: Vec<[i64; 4]> = row::all(
        tx.conn,
        "SELECT run_at_ms, seq, lane_id, run_key FROM scheduled WHERE run_at_ms <= ? ORDER BY run_at_ms, seq LIMIT ?",
        [now.0, PROMOTED_MAX],
        |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]),
    )?;
    for [run_at_ms, seq, lane_id, run_key] in due {
        tx.execute("DELETE FROM scheduled WHERE run_at_ms = ? AND seq = ?", [run_at_ms, seq])?;
        tx.execute("INSERT INTO ready (lane_id, run_key, seq) VALUES (?, ?, ?)", [lane_id, run_key, seq])?;
        tx.execute("UPDATE execution_tasks SET state = 'queued' WHERE seq = ?", [seq])?;
        tx.mirror.count(lane_id, 1, -1);
    }
    tx.mirror.next_due_ms = next_due(tx.conn)?;
    Ok(())
}

/// A task that was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pick {
    run_key: i64,
    seq: i64,
    lane_id: i64,
}

/// The front of a lane.
struct Front {
    lane_id: i64,
    /// As many as may start.
    slots: usize,
    /// In order, from the very first.
    tasks: Vec<(i64, i64)>,
    /// How many of them were asked for.
    asked: usize,
    taken: usize,
}

impl Front {
    /// Reads the first `asked` tasks.
    fn read(&mut self, conn: &Connection, asked: usize) -> Result<()> {
        self.tasks = row::all(
            conn,
            "SELECT run_key, seq FROM ready WHERE lane_id = ? ORDER BY run_key, seq LIMIT ?",
            [self.lane_id, i64::try_from(asked).unwrap_or(i64::MAX)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        self.asked = asked;
        Ok(())
    }

    /// The next task to take, unless it has to be read first.
    fn next(&self) -> Option<Pick> {
        let (run_key, seq) = *self.tasks.get(self.taken)?;
        (self.taken < self.slots).then_some(Pick { run_key, seq, lane_id: self.lane_id })
    }

    fn must_read(&self) -> bool {
        self.taken == self.tasks.len() && self.tasks.len() == self.asked && self.taken < self.slots
    }
}

/// The tasks with the smallest run keys that may start, in order, taken out of `ready`.
fn pick(tx: &mut Tx<'_>, max_tasks: u32) -> Result<Vec<Pick>> {
    let max = usize::try_from(max_tasks).unwrap_or(usize::MAX);
    let mut fronts = fronts(tx, max)?;
    let mut heap: BinaryHeap<Reverse<(Pick, usize)>> =
        fronts.iter().enumerate().filter_map(|(index, front)| Some(Reverse((front.next()?, index)))).collect();
    let mut picked = Vec::with_capacity(max.min(1024));
    while picked.len() < max
        && let Some(Reverse((pick, index))) = heap.pop()
    {
        picked.push(pick);
        let Some(front) = fronts.get_mut(index) else { continue };
        front.taken += 1;
        if front.must_read() && picked.len() < max {
            front.read(tx.conn, front.asked.saturating_mul(2).min(front.slots.max(front.asked + 1)))?;
        }
        if let Some(next) = front.next() {
            heap.push(Reverse((next, index)));
        }
    }
    for front in fronts.iter().filter(|front| front.taken > 0) {
        if let Some((run_key, seq)) = front.taken.checked_sub(1).and_then(|last| front.tasks.get(last)) {
            // Always the front of the lane, so one range says which.
            tx.execute("DELETE FROM ready WHERE lane_id = ? AND (run_key, seq) <= (?, ?)", [front.lane_id, *run_key, *seq])?;
        }
        tx.mirror.count(front.lane_id, -i64::try_from(front.taken).unwrap_or(i64::MAX), 0);
    }
    Ok(picked)
}

/// The fronts of the lanes that may start something, as far as `max` tasks could reach into them.
fn fronts(tx: &Tx<'_>, max: usize) -> Result<Vec<Front>> {
    let open = tx.mirror.lanes.iter().filter_map(|(lane_id, lane)| {
        let slots = usize::try_from(lane.slots()).unwrap_or(usize::MAX).min(max);
        (lane.queued > 0 && slots > 0).then_some(Front { lane_id: *lane_id, slots, tasks: Vec::new(), asked: 0, taken: 0 })
    });
    let mut fronts: Vec<Front> = open.collect();
    if fronts.len() > LANES_READ_DEEP {
        fronts.iter_mut().try_for_each(|front| front.read(tx.conn, 1))?;
        // The n smallest keys lie in the n lanes whose first keys are smallest.
        fronts.sort_by_key(|front| front.tasks.first().copied().unwrap_or((i64::MAX, i64::MAX)));
        fronts.truncate(max);
    }
    let share = max.div_ceil(fronts.len().max(1)).saturating_mul(2).min(max);
    fronts.iter_mut().try_for_each(|front| front.read(tx.conn, share))?;
    Ok(fronts)
}

/// Gives the picked tasks to the host.
fn start(tx: &mut Tx<'_>, request: &ClaimRequest, picked: &[Pick]) -> Result<Vec<ClaimedTask>> {
    let host_id = host(tx, &request.host, request.now)?;
    let mut update = tx.conn.prepare_cached(
        "UPDATE OR FAIL execution_tasks SET state = 'running', attempt = attempt + 1, started_at_ms = ? WHERE seq = ? \
         RETURNING id, priority, payload, inputs, tags, limits, attempt, max_attempts, lost, tenant, idempotency_key, run_at_ms",
    )?;
    let mut insert = tx.conn.prepare_cached("INSERT OR FAIL INTO running (seq, token, host_id) VALUES (?, ?, ?)")?;
    let mut tasks = Vec::with_capacity(picked.len());
    for pick in picked {
        let Some(lane) = tx.mirror.lanes.get(&pick.lane_id).map(|lane| lane.key.clone()) else { continue };
        let claim = Claim { seq: pick.seq, token: tx.mirror.next_token() };
        let mut rows = update.query(params![request.now.0, pick.seq])?;
        // A row that somebody deleted by hand.
        let Some(row) = rows.next()? else { continue };
        let task = claimed(row, claim, lane, pick.run_key)?;
        insert.execute([claim.seq, claim.token, host_id])?;
        let running = RunningTask {
            token: claim.token,
            host_id,
            cancel_requested: false,
            id: task.id,
            lane_id: pick.lane_id,
            priority: task.priority,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            lost: task.lost,
        };
        tx.mirror.start(pick.seq, running);
        tasks.push(task);
    }
    Ok(tasks)
}

fn claimed(row: &Row<'_>, claim: Claim, lane: LaneKey, run_key: i64) -> Result<ClaimedTask> {
    Ok(ClaimedTask {
        claim,
        id: row::task_id(row::text(row, "id")?)?,
        lane,
        priority: row::priority(row::text(row, "priority")?),
        run_key,
        payload: Box::from(row::text(row, "payload")?),
        plan: row::plan(row::text_or_null(row, "inputs")?, row::text_or_null(row, "tags")?, row::text_or_null(row, "limits")?)?,
        attempt: row.get("attempt")?,
        max_attempts: row.get("max_attempts")?,
        lost: row.get("lost")?,
        tenant: row::tenant(row::text_or_null(row, "tenant")?),
        idempotency_key: row::idempotency_key(row::text_or_null(row, "idempotency_key")?),
        ready_at: UnixMs(row.get("run_at_ms")?),
    })
}

/// The number of a host; one that claims before its first heartbeat has no lease yet.
pub(super) fn host(tx: &mut Tx<'_>, name: &str, lease_until: UnixMs) -> Result<i64> {
    if let Some(host_id) = tx.mirror.host_id(name) {
        return Ok(host_id);
    }
    tx.execute("INSERT INTO hosts (name, lease_until_ms) VALUES (?, ?)", params![name, lease_until.0])?;
    let host_id = tx.conn.last_insert_rowid();
    tx.mirror.hosts.insert(host_id, HostState { name: name.into(), lease_until_ms: lease_until.0 });
    Ok(host_id)
}
