//! Tasks that this host has claimed and not yet started, most urgent first, and the room for more.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::run_ahead::RunAhead;
use crate::clock::SharedClock;
use crate::store::ClaimedTask;

/// A claimed task that waits longer than this for a thread goes back to the store, where another host may take it.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(100);

/// No claim takes more than this: whoever submits something urgent meanwhile waits for the transaction it is in.
const CLAIM_MAX: u32 = 128;

pub(super) struct LocalQueue {
    clock: SharedClock,
    slots: u32,
    state: Mutex<State>,
    /// Guest threads wait here.
    work: Condvar,
    /// The claimer waits here.
    room: Notify,
    /// Whoever looks for overdue tasks waits here.
    filled: Notify,
}

struct State {
    waiting: BinaryHeap<Waiting>,
    running: u32,
    ahead: RunAhead,
    /// Nothing is claimed any more; whoever waits for running tasks to end wants to hear of each.
    closing: bool,
    closed: bool,
}

impl State {
    fn waiting_count(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// How many more tasks this host wants now, if any. Not each one singly: a claim is a transaction, so the next one waits until
    /// half the room is free or the threads are about to run dry.
    fn room(&self, slots: u32) -> Option<u32> {
        let (waiting, all) = (self.waiting_count(), slots.saturating_add(self.ahead.depth()));
        let room = all.saturating_sub(waiting.saturating_add(self.running));
        (room > 0 && (waiting < slots || room >= all / 2)).then_some(room)
    }
}

struct Waiting {
    since: Duration,
    task: ClaimedTask,
}

impl Waiting {
    fn urgency(&self) -> (i64, i64) {
        (self.task.run_key, self.task.claim.seq)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.urgency() == other.urgency()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    /// The heap gives the greatest first, and the smallest run key is the most urgent.
    fn cmp(&self, other: &Self) -> Ordering {
        other.urgency().cmp(&self.urgency())
    }
}

impl LocalQueue {
    pub(super) fn new(slots: u32, run_ahead: Duration, clock: SharedClock) -> Self {
        let state = State { waiting: BinaryHeap::new(), running: 0, ahead: RunAhead::new(slots, run_ahead), closing: false, closed: false };
        Self { clock, slots, state: Mutex::new(state), work: Condvar::new(), room: Notify::new(), filled: Notify::new() }
    }

    /// How many tasks may be claimed now; waits until it is at least one. This is the permit that comes before the claim.
    pub(super) async fn room(&self) -> u32 {
        loop {
            let freed = self.room.notified();
            if let Some(room) = self.state.lock().room(self.slots) {
                return room.min(CLAIM_MAX);
            }
            freed.await;
        }
    }

    /// How many tasks may be claimed when something urgent came in, which is to run before what waits here: one for each thread beyond
    /// the usual room, so that a flood of them does not pile up either.
    pub(super) fn room_for_urgent(&self) -> u32 {
        let state = self.state.lock();
        let (waiting, all) = (state.waiting_count(), self.slots.saturating_mul(2).saturating_add(state.ahead.depth()));
        all.saturating_sub(waiting.saturating_add(state.running)).min(self.slots)
    }

    /// A claim took this long, whatever it brought.
    pub(super) fn claim_took(&self, took: Duration) {
        self.state.lock().ahead.claimed(took);
    }

    /// Takes in what was claimed.
    pub(super) fn put(&self, tasks: Vec<ClaimedTask>) {
        let since = self.clock.monotonic();
        let count = tasks.len();
        let mut state = self.state.lock();
        state.waiting.extend(tasks.into_iter().map(|task| Waiting { since, task }));
        let idle = usize::try_from(self.slots.saturating_sub(state.running)).unwrap_or(usize::MAX);
        drop(state);
        for _ in 0..count.min(idle) {
            self.work.notify_one();
        }
        self.filled.notify_one();
    }

    /// The next task for a guest thread; blocks the thread until there is one. `None` once the queue is closed.
    pub(super) fn take(&self) -> Option<ClaimedTask> {
        let mut state = self.state.lock();
        loop {
            if let Some(next) = state.waiting.pop() {
                state.running += 1;
                return Some(next.task);
            }
            if state.closed {
                return None;
            }
            self.work.wait(&mut state);
        }
    }

    /// A guest thread is done with a task that ran for this long (`None`: it did not run).
    pub(super) fn ended(&self, ran_for: Option<Duration>) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        if let Some(ran_for) = ran_for {
            state.ahead.observe(ran_for);
        }
        let wake = state.closing || state.room(self.slots).is_some();
        drop(state);
        if wake {
            self.room.notify_one();
        }
    }

    /// How many tasks run.
    pub(super) fn running(&self) -> u32 {
        self.state.lock().running
    }

    /// Waits until a running task ends or a claimed one leaves.
    pub(super) async fn changed(&self) {
        self.room.notified().await;
    }

    /// Waits until something was put in.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes out what has waited too long.
    pub(super) fn overdue(&self) -> Vec<ClaimedTask> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let (overdue, waiting): (Vec<_>, Vec<_>) = state.waiting.drain().partition(|waiting| now.saturating_sub(waiting.since) >= WAIT_MAX);
        state.waiting = waiting.into();
        if !overdue.is_empty() {
            state.ahead.overrun();
        }
        drop(state);
        self.room.notify_one();
        overdue.into_iter().map(|waiting| waiting.task).collect()
    }

    /// Takes out everything that waits; nothing is put in after this.
    pub(super) fn empty(&self) -> Vec<ClaimedTask> {
        let mut state = self.state.lock();
        state.closing = true;
        state.waiting.drain().map(|waiting| waiting.task).collect()
    }

    /// Whether the host is stopping.
    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Lets the guest threads go once nothing waits.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }
}
