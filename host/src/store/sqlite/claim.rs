//! Promoting what is due, and claiming what may run.

use rusqlite::{Row, params};

use super::finish::GiveBack;
use super::host::host;
use super::mirror::{RunningTask, next_due};
use super::pick::{Pick, pick};
use super::row;
use super::tx::Tx;
use super::writer::{Turn, Verb};
use crate::clock::UnixMs;
use crate::store::{Claim, ClaimRequest, Claimed, ClaimedTask, Result};
use crate::task::{LaneKey, urgent_key};

/// Tasks moved from scheduled to ready in one claim; the rest follows in the next.
const PROMOTED_MAX: i64 = 1000;

impl Verb for ClaimRequest {
    type Answer = Claimed;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Claimed> {
        promote(tx, self.now)?;
        let key_max = if self.urgent_only { urgent_key(self.now, tx.rules.priority_step) } else { i64::MAX };
        let picked = pick(tx, self.max_tasks, key_max)?;
        let tasks = if picked.is_empty() { Vec::new() } else { start(tx, self, &picked)? };
        Ok(Claimed { tasks, next_due: tx.mirror.next_due_ms.map(UnixMs) })
    }

    fn rows(&self) -> usize {
        usize::try_from(self.max_tasks).unwrap_or(usize::MAX)
    }

    fn turn(&self) -> Turn {
        Turn::Last
    }

    fn is_urgent(&self) -> bool {
        self.urgent_only
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
    let due: Vec<[i64; 5]> = row::all(
        tx.conn,
        "SELECT run_at_ms, seq, lane_id, tenant_id, run_key FROM scheduled WHERE run_at_ms <= ? ORDER BY run_at_ms, seq LIMIT ?",
        [now.0, PROMOTED_MAX],
        |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]),
    )?;
    for [run_at_ms, seq, lane_id, tenant_id, run_key] in due {
        tx.execute("DELETE FROM scheduled WHERE run_at_ms = ? AND seq = ?", [run_at_ms, seq])?;
        tx.execute("INSERT INTO ready (lane_id, tenant_id, run_key, seq) VALUES (?, ?, ?, ?)", [lane_id, tenant_id, run_key, seq])?;
        tx.execute("UPDATE execution_tasks SET state = 'queued' WHERE seq = ?", [seq])?;
        tx.mirror.count_scheduled(lane_id, -1);
        tx.mirror.count_ready((lane_id, tenant_id), 1);
    }
    tx.mirror.next_due_ms = next_due(tx.conn)?;
    Ok(())
}

/// Gives the picked tasks to the host.
fn start(tx: &mut Tx<'_>, request: &ClaimRequest, picked: &[Pick]) -> Result<Vec<ClaimedTask>> {
    let host_id = host(tx, &request.host, request.now)?;
    let mut update = tx.conn.prepare_cached(
        "UPDATE OR FAIL execution_tasks SET state = 'running', attempt = attempt + 1, started_at_ms = ? WHERE seq = ? \
         RETURNING id, priority, payload, inputs, tags, limits, attempt, max_attempts, lost, larger_limits, tenant, idempotency_key, run_at_ms",
    )?;
    let mut insert = tx.conn.prepare_cached("INSERT OR FAIL INTO running (seq, token, host_id) VALUES (?, ?, ?)")?;
    let mut tasks = Vec::with_capacity(picked.len());
    for pick in picked {
        let Some(lane) = tx.mirror.lanes.get(&pick.flow.0).map(|lane| lane.key.clone()) else { continue };
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
            lane_id: pick.flow.0,
            tenant_id: pick.flow.1,
            expected: pick.expected,
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
        larger_limits: row.get("larger_limits")?,
        tenant: row::tenant(row::text_or_null(row, "tenant")?),
        idempotency_key: row::idempotency_key(row::text_or_null(row, "idempotency_key")?),
        ready_at: UnixMs(row.get("run_at_ms")?),
    })
}
