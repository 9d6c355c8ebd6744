//! Which of the ready tasks start next.
//!
//! Tasks wait in flows, one for each lane and tenant, each in the order of its run keys. Tenants take turns by their passes (see
//! [`fair`](crate::task::fair)); whose turn it is gives the first task of those of its flows whose lane may still start something, in the order
//! of [`turn`](crate::task::turn). Flows that may not are never looked at: a million tasks in a paused lane cost nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use rusqlite::Connection;

use super::mirror::Flow;
use super::row;
use super::tx::Tx;
use crate::store::Result;
use crate::task::fair::Service;
use crate::task::turn::{Place, Turn};

/// When more flows than this could start something, only their first tasks are read to begin with.
const FLOWS_READ_DEEP: usize = 16;

/// A task that was picked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick {
    pub(super) run_key: i64,
    pub(super) seq: i64,
    pub(super) flow: Flow,
    /// What its tenant was charged with.
    pub(super) expected: Service,
}

/// The front of a flow.
struct Front {
    flow: Flow,
    /// No task with a greater run key is looked at.
    key_max: i64,
    /// Run key and number of the first tasks, in order.
    tasks: Vec<Place>,
    /// How many of them were asked for.
    asked: usize,
    taken: usize,
}

impl Front {
    /// Reads the first `asked` tasks.
    fn read(&mut self, conn: &Connection, asked: usize) -> Result<()> {
        self.tasks = row::all(
            conn,
            "SELECT run_key, seq FROM ready WHERE lane_id = ? AND tenant_id = ? AND run_key <= ? ORDER BY run_key, seq LIMIT ?",
            [self.flow.0, self.flow.1, self.key_max, i64::try_from(asked).unwrap_or(i64::MAX)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        self.asked = asked;
        Ok(())
    }

    /// The next task, read from the table when those in memory are used up.
    fn next(&mut self, conn: &Connection) -> Result<Option<Place>> {
        if self.taken == self.tasks.len() && self.tasks.len() == self.asked {
            self.read(conn, self.asked.saturating_mul(2).max(1))?;
        }
        Ok(self.tasks.get(self.taken).copied())
    }
}

/// Tenants by pass, then by their next task.
type Turns = BinaryHeap<Reverse<(u64, Place, i64)>>;

/// At most `max` tasks that start now and whose run key is not above `key_max`, in the order in which they were picked, taken out of `ready`.
pub(super) fn pick(tx: &mut Tx<'_>, max: u32, key_max: i64) -> Result<Vec<Pick>> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut slots: HashMap<i64, u32> = HashMap::new();
    let mut fronts = fronts(tx, (max, key_max), &mut slots)?;
    let mut turns: HashMap<i64, Turn> = HashMap::new();
    for (index, front) in fronts.iter_mut().enumerate() {
        if let Some(first) = front.next(tx.conn)? {
            let (lane_id, tenant_id) = front.flow;
            let weight = tx.mirror.lane_weight(lane_id);
            turns.entry(tenant_id).or_default().push(weight, || tx.mirror.lane_shares.account(tenant_id, weight), first, index);
        }
    }
    let mut tenants: Turns =
        turns.iter().filter_map(|(tenant, turn)| Some(Reverse((tx.mirror.shares.pass(*tenant), turn.head()?, *tenant)))).collect();
    let mut picked = Vec::with_capacity(max.min(1024));
    while picked.len() < max
        && let Some(Reverse((pass, _, tenant))) = tenants.pop()
    {
        let Some(turn) = turns.get_mut(&tenant) else { continue };
        let Some(((run_key, seq), index)) = turn.pop() else { continue };
        let Some(front) = fronts.get_mut(index) else { continue };
        let mut pass = pass;
        // A lane that is full by now leaves the turn, with this task in it.
        if let Some(left @ 1..) = slots.get_mut(&front.flow.0) {
            *left -= 1;
            front.taken += 1;
            let (expected, weight) = tx.mirror.charge(front.flow);
            turn.charge(weight, expected);
            picked.push(Pick { run_key, seq, flow: front.flow, expected });
            pass = tx.mirror.shares.pass(tenant);
            if picked.len() < max
                && let Some(next) = front.next(tx.conn)?
            {
                turn.push(weight, || tx.mirror.lane_shares.account(tenant, weight), next, index);
            }
        }
        if let Some(head) = turn.head() {
            tenants.push(Reverse((pass, head, tenant)));
        }
    }
    take_out(tx, &fronts)?;
    Ok(picked)
}

/// The fronts of the flows that may start something, as far as `max` tasks could reach into them; `slots` says how many may start in
/// each of their lanes.
fn fronts(tx: &mut Tx<'_>, (max, key_max): (usize, i64), slots: &mut HashMap<i64, u32>) -> Result<Vec<Front>> {
    let mut fronts = Vec::new();
    for flow in tx.mirror.flows.keys() {
        let left = slots.entry(flow.0).or_insert_with(|| tx.mirror.lanes.get(&flow.0).map_or(0, super::mirror::LaneState::slots));
        if *left > 0 {
            fronts.push(Front { flow: *flow, key_max, tasks: Vec::new(), asked: 0, taken: 0 });
        }
    }
    tx.mirror.gather(fronts.iter().map(|front| front.flow));
    if fronts.len() > FLOWS_READ_DEEP {
        // A round of `max` picks gets no further than to the `max` tenants whose turn is next.
        let mut passes: Vec<(u64, i64)> = fronts.iter().map(|front| (tx.mirror.shares.pass(front.flow.1), front.flow.1)).collect();
        passes.sort_unstable();
        passes.dedup();
        if let Some(last) = max.checked_sub(1).and_then(|last| passes.get(last)) {
            fronts.retain(|front| (tx.mirror.shares.pass(front.flow.1), front.flow.1) <= *last);
        }
        fronts.iter_mut().try_for_each(|front| front.read(tx.conn, 1))?;
        // The n smallest keys of a tenant's lanes of one weight lie in those n of its flows whose first keys are smallest.
        let mut left: HashMap<(i64, u32), usize> = HashMap::new();
        fronts.sort_by_key(|front| front.tasks.first().copied().unwrap_or((i64::MAX, i64::MAX)));
        fronts.retain(|front| {
            let kept = left.entry((front.flow.1, tx.mirror.lane_weight(front.flow.0))).or_default();
            *kept += 1;
            *kept <= max
        });
    }
    let share = max.div_ceil(fronts.len().max(1)).saturating_mul(2).min(max);
    if share > 1 {
        fronts.iter_mut().try_for_each(|front| front.read(tx.conn, share))?;
    }
    Ok(fronts)
}

/// Takes what was picked out of the table: always the front of a flow, so one range says which.
fn take_out(tx: &mut Tx<'_>, fronts: &[Front]) -> Result<()> {
    for front in fronts.iter().filter(|front| front.taken > 0) {
        if let Some((run_key, seq)) = front.taken.checked_sub(1).and_then(|last| front.tasks.get(last)) {
            let (lane_id, tenant_id) = front.flow;
            let range = "DELETE FROM ready WHERE lane_id = ? AND tenant_id = ? AND (run_key, seq) <= (?, ?)";
            tx.execute(range, [lane_id, tenant_id, *run_key, *seq])?;
        }
        tx.mirror.count_ready(front.flow, -i64::try_from(front.taken).unwrap_or(i64::MAX));
    }
    Ok(())
}
