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
/// For so long after something urgent came in, more of it is expected.
const URGENT_SPELL: Duration = Duration::from_secs(1);

/// Who takes a task to run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Takes what is most urgent.
    Ordinary,
    /// Takes urgent tasks alone, so that they need not wait for an ordinary one to end.
    Urgent,
}

/// How much there is of what; see [`SchedulerConfig`](super::SchedulerConfig).
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) slots: u32,
    pub(super) urgent_slots: u32,
    pub(super) claim_max_beside_urgent: u32,
    pub(super) run_ahead: Duration,
}

pub(super) struct LocalQueue {
    clock: SharedClock,
    sizes: Sizes,
    state: Mutex<State>,
    /// Guest threads wait here.
    work: Condvar,
    /// Those for urgent tasks wait here.
    urgent_work: Condvar,
    /// The claimer waits here.
    room: Notify,
    /// Whoever looks for overdue tasks waits here.
    filled: Notify,
}

struct State {
    urgent: BinaryHeap<Waiting>,
    ordinary: BinaryHeap<Waiting>,
    running: u32,
    /// Of urgent tasks, on slots of their own.
    running_urgent: u32,
    /// More urgent tasks may wait in the store than there were slots for.
    urgent_left: bool,
    /// When something urgent last came in.
    urgent_at: Option<Duration>,
    ahead: RunAhead,
    /// Nothing is claimed any more; whoever waits for running tasks to end wants to hear of each.
    closing: bool,
    closed: bool,
}

impl State {
    fn waiting_count(&self) -> u32 {
        count(&self.urgent).saturating_add(count(&self.ordinary))
    }

    /// How many more tasks this host wants now, if any. Not each one singly: a claim is a transaction, so the next one waits until
    /// half the room is free or the threads are about to run dry.
    fn room(&self, slots: u32) -> Option<u32> {
        let (waiting, all) = (self.waiting_count(), slots.saturating_add(self.ahead.depth()));
        let room = all.saturating_sub(waiting.saturating_add(self.running));
        (room > 0 && (waiting < slots || room >= all / 2)).then_some(room)
    }

    fn take(&mut self, slot: Slot) -> Option<ClaimedTask> {
        let urgent_first = slot == Slot::Urgent || self.urgent.peek() > self.ordinary.peek();
        let next = if urgent_first { self.urgent.pop() } else { self.ordinary.pop() }?;
        match slot {
            Slot::Ordinary => self.running += 1,
            Slot::Urgent => self.running_urgent += 1,
        }
        Some(next.task)
    }
}

fn count(waiting: &BinaryHeap<Waiting>) -> u32 {
    u32::try_from(waiting.len()).unwrap_or(u32::MAX)
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
    pub(super) fn new(sizes: Sizes, clock: SharedClock) -> Self {
        let state = State {
            urgent: BinaryHeap::new(),
            ordinary: BinaryHeap::new(),
            running: 0,
            running_urgent: 0,
            urgent_left: false,
            urgent_at: None,
            ahead: RunAhead::new(sizes.slots, sizes.run_ahead),
            closing: false,
            closed: false,
        };
        Self {
            clock,
            sizes,
            state: Mutex::new(state),
            work: Condvar::new(),
            urgent_work: Condvar::new(),
            room: Notify::new(),
            filled: Notify::new(),
        }
    }

    /// How many tasks may be claimed now; waits until it is at least one. This is the permit that comes before the claim.
    pub(super) async fn room(&self) -> u32 {
        loop {
            let freed = self.room.notified();
            if let Some(room) = self.room_now() {
                return room;
            }
            freed.await;
        }
    }

    /// The same without waiting; nothing while there is no room.
    pub(super) fn room_now(&self) -> Option<u32> {
        let state = self.state.lock();
        let urgent_lately = state.urgent_at.is_some_and(|at| self.clock.monotonic().saturating_sub(at) < URGENT_SPELL);
        let max = if urgent_lately { self.sizes.claim_max_beside_urgent.min(CLAIM_MAX) } else { CLAIM_MAX };
        Some(state.room(self.sizes.slots)?.min(max))
    }

    /// How many urgent tasks may be claimed beside the usual room: one for each slot that they have for themselves, and where tasks
    /// are short one for each of the others, which will be free in a moment. No more, so that a flood of them does not pile up here.
    pub(super) fn room_for_urgent(&self) -> u32 {
        let mut state = self.state.lock();
        // Until the look has shown otherwise.
        state.urgent_left = true;
        let soon_free = state.ahead.depth().min(self.sizes.slots);
        self.sizes.urgent_slots.saturating_add(soon_free).saturating_sub(count(&state.urgent).saturating_add(state.running_urgent))
    }

    /// A claim took this long, whatever it brought.
    pub(super) fn claim_took(&self, took: Duration) {
        self.state.lock().ahead.claimed(took);
    }

    /// Takes in what was claimed; `urgent` when it is urgent whatever its priority says.
    pub(super) fn put(&self, tasks: Vec<ClaimedTask>, urgent: bool) {
        let since = self.clock.monotonic();
        let mut state = self.state.lock();
        let before = count(&state.urgent);
        let all = tasks.len();
        for task in tasks {
            let heap = if urgent || task.priority.is_urgent() { &mut state.urgent } else { &mut state.ordinary };
            heap.push(Waiting { since, task });
        }
        let came = count(&state.urgent).saturating_sub(before);
        if came > 0 {
            state.urgent_at = Some(since);
        }
        let urgent = came.min(self.sizes.urgent_slots.saturating_sub(state.running_urgent));
        let idle = usize::try_from(self.sizes.slots.saturating_sub(state.running)).unwrap_or(usize::MAX);
        drop(state);
        // Whoever comes first takes it; the other finds nothing and waits again.
        for _ in 0..urgent {
            self.urgent_work.notify_one();
        }
        for _ in 0..all.min(idle) {
            self.work.notify_one();
        }
        self.filled.notify_one();
    }

    /// The next task for a guest thread; blocks the thread until there is one. `None` once the queue is closed.
    pub(super) fn take(&self, slot: Slot) -> Option<ClaimedTask> {
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.take(slot) {
                return Some(task);
            }
            if state.closed {
                return None;
            }
            match slot {
                Slot::Ordinary => self.work.wait(&mut state),
                Slot::Urgent => self.urgent_work.wait(&mut state),
            }
        }
    }

    /// The last look for urgent tasks left none.
    pub(super) fn no_urgent_left(&self) {
        self.state.lock().urgent_left = false;
    }

    /// A guest thread is done with a task that ran for this long (`None`: it did not run). Whether to look for urgent ones again.
    pub(super) fn ended(&self, slot: Slot, ran_for: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        let running = match slot {
            Slot::Ordinary => &mut state.running,
            Slot::Urgent => &mut state.running_urgent,
        };
        *running = running.saturating_sub(1);
        // How long urgent tasks take says nothing about when an ordinary slot will be free.
        if let Some(ran_for) = ran_for.filter(|_| slot == Slot::Ordinary) {
            state.ahead.observe(ran_for);
        }
        let wake = state.closing || state.room(self.sizes.slots).is_some();
        let look = slot == Slot::Urgent && std::mem::take(&mut state.urgent_left);
        drop(state);
        if wake {
            self.room.notify_one();
        }
        look
    }

    /// How many tasks run.
    pub(super) fn running(&self) -> u32 {
        let state = self.state.lock();
        state.running.saturating_add(state.running_urgent)
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
        let mut overdue = Vec::new();
        let State { urgent, ordinary, .. } = &mut *state;
        for heap in [urgent, ordinary] {
            let (late, waiting): (Vec<_>, Vec<_>) = heap.drain().partition(|waiting| now.saturating_sub(waiting.since) >= WAIT_MAX);
            *heap = waiting.into();
            overdue.extend(late.into_iter().map(|waiting| waiting.task));
        }
        if !overdue.is_empty() {
            state.ahead.overrun();
        }
        drop(state);
        self.room.notify_one();
        overdue
    }

    /// Takes out everything that waits; nothing is put in after this.
    pub(super) fn empty(&self) -> Vec<ClaimedTask> {
        let mut state = self.state.lock();
        state.closing = true;
        let State { urgent, ordinary, .. } = &mut *state;
        urgent.drain().chain(ordinary.drain()).map(|waiting| waiting.task).collect()
    }

    /// Whether the host is stopping.
    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Lets the guest threads go once nothing waits.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
        self.urgent_work.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixMs, VirtualClock};
    use crate::store::Claim;
    use crate::task::{LaneKey, Priority, TaskId, TaskPlan, run_key};

    const SECOND: Duration = Duration::from_secs(1);

    fn task(seq: i64, priority: Priority) -> ClaimedTask {
        ClaimedTask {
            claim: Claim { seq, token: seq },
            id: TaskId(uuid::Uuid::from_u128(seq.unsigned_abs().into())),
            lane: LaneKey { task_type: "t".parse().expect("a type"), ai_model: None },
            priority,
            run_key: run_key(UnixMs(0), priority, SECOND),
            payload: "{}".into(),
            plan: TaskPlan::default(),
            attempt: 1,
            max_attempts: 1,
            lost: 0,
            larger_limits: false,
            tenant: None,
            idempotency_key: None,
            ready_at: UnixMs(0),
        }
    }

    fn queue(slots: u32) -> (LocalQueue, std::sync::Arc<VirtualClock>) {
        let clock = VirtualClock::starting_at(UnixMs(0));
        let sizes = Sizes { slots, urgent_slots: 1, claim_max_beside_urgent: 32, run_ahead: Duration::from_millis(5) };
        (LocalQueue::new(sizes, clock.clone()), clock)
    }

    fn next(queue: &LocalQueue, slot: Slot) -> Option<i64> {
        let mut state = queue.state.lock();
        state.take(slot).map(|task| task.claim.seq)
    }

    #[test]
    fn a_slot_for_urgent_tasks_takes_nothing_else_and_the_others_take_what_is_most_urgent() {
        let (queue, _) = queue(4);
        queue.put(vec![task(1, Priority::Normal), task(2, Priority::High), task(3, Priority::Critical), task(4, Priority::High)], false);
        assert_eq!(next(&queue, Slot::Ordinary), Some(3));
        assert_eq!(next(&queue, Slot::Urgent), Some(2));
        assert_eq!(next(&queue, Slot::Ordinary), Some(4));
        assert_eq!(next(&queue, Slot::Urgent), None);
        assert_eq!(next(&queue, Slot::Ordinary), Some(1));
        assert_eq!(queue.running(), 4);
        // What was claimed as urgent is so by its age.
        queue.put(vec![task(5, Priority::Background)], true);
        assert_eq!(next(&queue, Slot::Urgent), Some(5));
    }

    #[test]
    fn urgent_tasks_are_claimed_for_their_own_slot_when_the_others_hold_long_ones() {
        let (queue, _) = queue(2);
        queue.put(vec![task(1, Priority::Normal), task(2, Priority::Normal)], false);
        assert!(next(&queue, Slot::Ordinary).is_some() && next(&queue, Slot::Ordinary).is_some());
        assert_eq!((queue.room_now(), queue.room_for_urgent()), (None, 1));
        queue.put(vec![task(3, Priority::High)], true);
        assert_eq!(queue.room_for_urgent(), 0);
        assert_eq!(next(&queue, Slot::Urgent), Some(3));
        assert_eq!(queue.room_for_urgent(), 0);
        assert!(queue.ended(Slot::Urgent, Some(SECOND)), "a look was refused meanwhile");
        assert_eq!(queue.room_for_urgent(), 1);
        queue.no_urgent_left();
        assert!(!queue.ended(Slot::Urgent, None));
    }

    #[test]
    fn claims_are_small_for_a_while_after_something_urgent_came() {
        let (queue, clock) = queue(400);
        assert_eq!(queue.room_now(), Some(CLAIM_MAX));
        queue.put(vec![task(1, Priority::Critical)], false);
        assert_eq!(queue.room_now(), Some(32));
        clock.advance(URGENT_SPELL);
        assert_eq!(queue.room_now(), Some(CLAIM_MAX));
    }
}
