//! Promoting what is due, and claiming what may run.
//!
//! Each lane keeps its ready tasks in the order of their run keys, so the smallest keys over all lanes are found by merging the
//! fronts of those lanes that may start something. Lanes that may not are never looked at: a million tasks in a paused lane cost nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use async_trait::async_trait;
use sqlx::{Row as _, SqliteConnection};

use super::bulk::{Bulk, json_list};
use super::error::damaged;
use super::finish::GiveBack;
use super::mirror::{HostState, RunningTask};
use super::row;
use super::tx::Tx;
use super::writer::{Turn, Verb};
use crate::clock::UnixMs;
use crate::store::{Claim, ClaimRequest, Claimed, ClaimedTask, Result};

/// Tasks moved from scheduled to ready in one claim; the rest follows in the next.
const PROMOTED_MAX: i64 = 1000;
/// When more lanes than this could start something, only their first tasks are read to begin with.
const LANES_READ_DEEP: usize = 16;

static INSERT_RUNNING: Bulk = Bulk::new("INSERT OR FAIL INTO running (seq, token, host_id)", 3, "");

#[async_trait]
impl Verb for ClaimRequest {
    type Answer = Claimed;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Claimed> {
        tx.flush().await?;
        promote(tx, self.now).await?;
        let picked = pick(tx, self.max_tasks).await?;
        let tasks = if picked.is_empty() { Vec::new() } else { start(tx, self, &picked).await? };
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
async fn promote(tx: &mut Tx<'_>, now: UnixMs) -> Result<()> {
    if tx.mirror.next_due_ms.is_none_or(|due| due > now.0) {
        return Ok(());
    }
    let due: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT run_at_ms, seq, lane_id FROM scheduled WHERE run_at_ms <= ? ORDER BY run_at_ms, seq LIMIT ?")
            .bind(now.0)
            .bind(PROMOTED_MAX)
            .fetch_all(&mut *tx.conn)
            .await?;
    if let Some((run_at_ms, seq, _)) = due.last() {
        sqlx::query(
            "INSERT INTO ready (lane_id, run_key, seq) SELECT lane_id, run_key, seq FROM scheduled WHERE (run_at_ms, seq) <= (?, ?)",
        )
        .bind(run_at_ms)
        .bind(seq)
        .execute(&mut *tx.conn)
        .await?;
        sqlx::query("DELETE FROM scheduled WHERE (run_at_ms, seq) <= (?, ?)").bind(run_at_ms).bind(seq).execute(&mut *tx.conn).await?;
        sqlx::query("UPDATE execution_tasks SET state = 'queued' WHERE seq IN (SELECT value FROM json_each(?))")
            .bind(json_list(due.iter().map(|(_, seq, _)| *seq)))
            .execute(&mut *tx.conn)
            .await?;
    }
    for (_, _, lane_id) in due {
        tx.mirror.count(lane_id, 1, -1);
    }
    tx.mirror.next_due_ms = sqlx::query_scalar("SELECT min(run_at_ms) FROM scheduled").fetch_one(&mut *tx.conn).await?;
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
    /// The next task to take, unless it has to be read first.
    fn next(&self) -> Option<Pick> {
        let (run_key, seq) = *self.tasks.get(self.taken)?;
        (self.taken < self.slots).then_some(Pick { run_key, seq, lane_id: self.lane_id })
    }

    fn must_read(&self) -> bool {
        self.taken == self.tasks.len() && self.tasks.len() == self.asked && self.taken < self.slots
    }
}

/// The tasks with the smallest run keys that may start, in order.
async fn pick(tx: &mut Tx<'_>, max_tasks: u32) -> Result<Vec<Pick>> {
    let max = usize::try_from(max_tasks).unwrap_or(usize::MAX);
    let mut fronts: Vec<Front> = Vec::new();
    for (lane_id, lane) in &tx.mirror.lanes {
        let slots = usize::try_from(lane.slots()).unwrap_or(usize::MAX).min(max);
        if lane.queued > 0 && slots > 0 {
            fronts.push(Front { lane_id: *lane_id, slots, tasks: Vec::new(), asked: 0, taken: 0 });
        }
    }
    if fronts.len() > LANES_READ_DEEP {
        read(tx.conn, &mut fronts, 1).await?;
        // The n smallest keys lie in the n lanes whose first keys are smallest.
        fronts.sort_by_key(|front| front.tasks.first().copied().unwrap_or((i64::MAX, i64::MAX)));
        fronts.truncate(max);
    }
    if !fronts.is_empty() {
        let share = max.div_ceil(fronts.len()).saturating_mul(2).min(max);
        read(tx.conn, &mut fronts, share).await?;
    }
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
            let asked = front.asked.saturating_mul(2).min(front.slots.max(front.asked + 1));
            read(tx.conn, std::slice::from_mut(front), asked).await?;
        }
        if let Some(next) = front.next() {
            heap.push(Reverse((next, index)));
        }
    }
    for front in fronts.iter().filter(|front| front.taken > 0) {
        if let Some((run_key, seq)) = front.taken.checked_sub(1).and_then(|last| front.tasks.get(last)) {
            // Always the front of the lane, so one range says which.
            sqlx::query("DELETE FROM ready WHERE lane_id = ? AND (run_key, seq) <= (?, ?)")
                .bind(front.lane_id)
                .bind(run_key)
                .bind(seq)
                .execute(&mut *tx.conn)
                .await?;
        }
        tx.mirror.count(front.lane_id, -i64::try_from(front.taken).unwrap_or(i64::MAX), 0);
    }
    Ok(picked)
}

/// Reads the first `asked` tasks of each lane: one row per lane, because a row that crosses from SQLite's thread costs more than
/// the few digits in it.
async fn read(conn: &mut SqliteConnection, fronts: &mut [Front], asked: usize) -> Result<()> {
    let rows: Vec<(i64, Option<String>)> = sqlx::query_as(
        "SELECT j.value, (SELECT group_concat(r.run_key || ' ' || r.seq) \
                          FROM (SELECT run_key, seq FROM ready WHERE lane_id = j.value ORDER BY run_key, seq LIMIT ?) r) \
         FROM json_each(?) j",
    )
    .bind(i64::try_from(asked).unwrap_or(i64::MAX))
    .bind(json_list(fronts.iter().map(|front| front.lane_id)))
    .fetch_all(conn)
    .await?;
    let mut texts: HashMap<i64, String> = rows.into_iter().filter_map(|(lane_id, text)| Some((lane_id, text?))).collect();
    for front in fronts {
        let text = texts.remove(&front.lane_id).unwrap_or_default();
        let pair = |pair: &str| {
            let (run_key, seq) = pair.split_once(' ')?;
            Some((run_key.parse().ok()?, seq.parse().ok()?))
        };
        front.tasks = text.split_terminator(',').map(pair).collect::<Option<_>>().ok_or_else(|| damaged("the table ready", &text))?;
        front.asked = asked;
        // The order inside an aggregate is not promised.
        front.tasks.sort_unstable();
    }
    Ok(())
}

async fn start(tx: &mut Tx<'_>, request: &ClaimRequest, picked: &[Pick]) -> Result<Vec<ClaimedTask>> {
    let host_id = host(tx, &request.host, request.now).await?;
    let rows = sqlx::query(
        "UPDATE OR FAIL execution_tasks SET state = 'running', attempt = attempt + 1, started_at_ms = ? \
         WHERE seq IN (SELECT value FROM json_each(?)) \
         RETURNING seq, id, priority, payload, inputs, tags, limits, attempt, max_attempts, lost, tenant, idempotency_key, run_at_ms",
    )
    .bind(request.now.0)
    .bind(json_list(picked.iter().map(|pick| pick.seq)))
    .fetch_all(&mut *tx.conn)
    .await?;
    let order: HashMap<i64, (usize, &Pick)> = picked.iter().enumerate().map(|(index, pick)| (pick.seq, (index, pick))).collect();
    let mut tasks = Vec::with_capacity(rows.len());
    for row in rows {
        let seq: i64 = row.try_get(0)?;
        let Some((index, pick)) = order.get(&seq) else { continue };
        let Some(lane) = tx.mirror.lanes.get(&pick.lane_id).map(|lane| lane.key.clone()) else { continue };
        let token = tx.mirror.next_token();
        let task = ClaimedTask {
            claim: Claim { seq, token },
            id: row::task_id(row.try_get(1)?)?,
            lane,
            priority: row::priority(row.try_get(2)?),
            run_key: pick.run_key,
            payload: Box::from(row.try_get::<&str, _>(3)?),
            plan: row::plan(row.try_get(4)?, row.try_get(5)?, row.try_get(6)?)?,
            attempt: row.try_get(7)?,
            max_attempts: row.try_get(8)?,
            lost: row.try_get(9)?,
            tenant: row::tenant(row.try_get(10)?),
            idempotency_key: row::idempotency_key(row.try_get(11)?),
            ready_at: UnixMs(row.try_get(12)?),
        };
        let running = RunningTask {
            token,
            host_id,
            cancel_requested: false,
            id: task.id,
            lane_id: pick.lane_id,
            priority: task.priority,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            lost: task.lost,
        };
        tx.mirror.start(seq, running);
        tasks.push((*index, task));
    }
    tasks.sort_unstable_by_key(|(index, _)| *index);
    let tasks: Vec<ClaimedTask> = tasks.into_iter().map(|(_, task)| task).collect();
    INSERT_RUNNING.run(tx.conn, &tasks, |query, task| query.bind(task.claim.seq).bind(task.claim.token).bind(host_id)).await?;
    Ok(tasks)
}

/// The number of a host; one that claims before its first heartbeat has no lease yet.
pub(super) async fn host(tx: &mut Tx<'_>, name: &str, lease_until: UnixMs) -> Result<i64> {
    if let Some(host_id) = tx.mirror.host_id(name) {
        return Ok(host_id);
    }
    let host_id: i64 = sqlx::query_scalar("INSERT INTO hosts (name, lease_until_ms) VALUES (?, ?) RETURNING host_id")
        .bind(name)
        .bind(lease_until.0)
        .fetch_one(&mut *tx.conn)
        .await?;
    tx.mirror.hosts.insert(host_id, HostState { name: name.into(), lease_until_ms: lease_until.0 });
    Ok(host_id)
}
