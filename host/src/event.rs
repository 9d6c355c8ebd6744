//! What happens to tasks, told to whoever listens, and the bells that wake the scheduler.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, broadcast};

use crate::clock::UnixMs;
use crate::finding::{Change, FindingId, FindingState};
use crate::task::{AiModel, Outcome, Priority, TaskId, TaskState, TaskType};

/// One thing that happened to a task.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Grows by one with every event of this host that somebody could hear; what `Last-Event-ID` refers to.
    pub id: u64,
    /// When it happened.
    #[serde(rename = "at_ms")]
    pub at: UnixMs,
    /// Which task.
    pub task: TaskId,
    /// Its type.
    pub task_type: TaskType,
    /// Its AI model, when it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ai_model: Option<AiModel>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen to a task.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// It entered a state.
    State {
        /// The state it is in now.
        state: TaskState,
        /// Which attempt this is about.
        attempt: u32,
        /// How the attempt ended, when one did.
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome>,
    },
    /// The guest reported how far it is.
    Progress {
        /// 0 to 1.
        fraction: f32,
        /// The guest's own words, shortened.
        note: String,
    },
    /// It found something, or found it gone.
    Finding {
        /// What was found.
        finding: FindingId,
        /// `new` or `resolved`; what persists is not told again.
        finding_state: FindingState,
        /// What kind of thing.
        finding_kind: String,
        /// How bad, 0 to 100.
        severity: u8,
    },
}

/// A bounded bus: a subscriber that falls behind loses the oldest events and is told so; a publisher never waits.
#[derive(Debug, Clone)]
pub struct EventBus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sender: broadcast::Sender<Arc<Event>>,
    /// Nobody has ever subscribed while this is false, so nothing need be made or kept.
    heard: AtomicBool,
    ring: Mutex<Ring>,
    watched: Watched,
}

/// The last events, for a subscriber that comes back. Its lock also keeps the ids and the order of sending the same.
#[derive(Debug)]
struct Ring {
    next_id: u64,
    capacity_events: usize,
    events: VecDeque<Arc<Event>>,
}

/// What a returning subscriber missed.
#[derive(Debug, Clone)]
pub enum Missed {
    /// These, oldest first; possibly none.
    Events(Vec<Arc<Event>>),
    /// More than is remembered: it must look at everything anew.
    TooMuch,
}

impl EventBus {
    /// A bus that keeps the last `capacity_events` for slow and for returning subscribers.
    #[must_use]
    pub fn new(capacity_events: usize) -> Self {
        let capacity_events = capacity_events.max(1);
        Self {
            inner: Arc::new(Inner {
                sender: broadcast::channel(capacity_events).0,
                heard: AtomicBool::new(false),
                ring: Mutex::new(Ring { next_id: 1, capacity_events, events: VecDeque::new() }),
                watched: Watched::default(),
            }),
        }
    }

    /// Tells everybody. Costs next to nothing until somebody has listened.
    pub fn publish(&self, at: UnixMs, task: TaskId, task_type: &TaskType, ai_model: Option<&AiModel>, kind: EventKind) {
        if let EventKind::State { state, .. } = kind
            && state.is_final()
        {
            self.inner.watched.wake(task);
        }
        if !self.inner.heard.load(Ordering::Acquire) {
            return;
        }
        let mut ring = self.inner.ring.lock();
        let event = Arc::new(Event { id: ring.next_id, at, task, task_type: task_type.clone(), ai_model: ai_model.cloned(), kind });
        ring.next_id += 1;
        if ring.events.len() == ring.capacity_events {
            ring.events.pop_front();
        }
        ring.events.push_back(Arc::clone(&event));
        // An error means that nobody listens at the moment.
        let _ = self.inner.sender.send(event);
    }

    /// Tells of findings that are new or gone, as something that happened to the task that found so.
    pub fn publish_findings(&self, at: UnixMs, task: TaskId, task_type: &TaskType, ai_model: Option<&AiModel>, changes: &[Change]) {
        for finding in changes.iter().filter(|change| !matches!(change, Change::Persists(_))).map(Change::finding) {
            let kind = EventKind::Finding {
                finding: finding.id,
                finding_state: finding.state,
                finding_kind: finding.kind.as_str().to_owned(),
                severity: finding.severity,
            };
            self.publish(at, task, task_type, ai_model, kind);
        }
    }

    /// Everything published from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.inner.heard.store(true, Ordering::Release);
        self.inner.sender.subscribe()
    }

    /// Everything published after the event `last_id`, as far as it is remembered, and everything from now on: nothing in
    /// between is lost or told twice.
    #[must_use]
    pub fn subscribe_after(&self, last_id: u64) -> (Missed, broadcast::Receiver<Arc<Event>>) {
        let ring = self.inner.ring.lock();
        let receiver = self.subscribe();
        let oldest = ring.events.front().map_or(ring.next_id, |event| event.id);
        let missed = if last_id >= ring.next_id || last_id.saturating_add(1) < oldest {
            Missed::TooMuch
        } else {
            Missed::Events(ring.events.iter().filter(|event| event.id > last_id).cloned().collect())
        };
        (missed, receiver)
    }

    /// Waits for one task to reach a final state. To be made *before* looking at the task, so that an end in between is not missed.
    /// Any number of these costs a publisher one look-up, which is why waiting does not go through the broadcast.
    #[must_use]
    pub fn watch(&self, task: TaskId) -> Watch {
        let bell = Arc::new(Notify::new());
        self.inner.watched.add(task, Arc::clone(&bell));
        Watch { inner: Arc::clone(&self.inner), task, bell }
    }

    /// How many tasks are waited for now.
    #[must_use]
    pub fn watched_tasks(&self) -> usize {
        self.inner.watched.tasks.load(Ordering::SeqCst)
    }
}

/// Waits for one task; see [`EventBus::watch`].
#[derive(Debug)]
pub struct Watch {
    inner: Arc<Inner>,
    task: TaskId,
    bell: Arc<Notify>,
}

impl Watch {
    /// Completes once the task was said to be in a final state, also when that was before this call.
    pub async fn ended(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.inner.watched.remove(self.task, &self.bell);
    }
}

#[derive(Debug, Default)]
struct Watched {
    /// How many tasks are watched: lets a publisher pass by without taking the lock.
    tasks: AtomicUsize,
    bells: Mutex<HashMap<TaskId, Vec<Arc<Notify>>>>,
}

impl Watched {
    fn add(&self, task: TaskId, bell: Arc<Notify>) {
        let mut bells = self.bells.lock();
        bells.entry(task).or_default().push(bell);
        self.tasks.store(bells.len(), Ordering::SeqCst);
    }

    fn remove(&self, task: TaskId, bell: &Arc<Notify>) {
        let mut bells = self.bells.lock();
        if let Some(of_task) = bells.get_mut(&task) {
            of_task.retain(|other| !Arc::ptr_eq(other, bell));
            if of_task.is_empty() {
                bells.remove(&task);
            }
        }
        self.tasks.store(bells.len(), Ordering::SeqCst);
    }

    fn wake(&self, task: TaskId) {
        if self.tasks.load(Ordering::SeqCst) == 0 {
            return;
        }
        for bell in self.bells.lock().get(&task).into_iter().flatten() {
            // `notify_one` is remembered by a watcher that does not wait yet.
            bell.notify_one();
        }
    }
}

/// Rung by whoever changes the store, heard by the scheduler. A bell says "look again", never what to find.
#[derive(Debug, Default)]
pub struct Bells {
    /// There may be something to claim.
    pub work: Notify,
    /// There may be something to claim that has slots of its own and is not to wait behind what was claimed already.
    pub urgent: Notify,
    /// A running task was asked to stop.
    pub cancel: Notify,
    /// A schedule was changed.
    pub schedules: Notify,
}

impl Bells {
    /// Tasks came in, the most urgent of them with this priority.
    pub fn submitted(&self, most_urgent: Priority) {
        // One look answers: whoever hears of urgent work and cannot take all of it rings the other bell.
        if most_urgent.is_urgent() { self.urgent.notify_one() } else { self.work.notify_one() }
    }

    /// Anything may have become ready, urgent or not.
    pub fn changed(&self) {
        self.urgent.notify_one();
        self.work.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(bus: &EventBus, task: TaskId, state: TaskState) {
        let task_type = TaskType::new("t").expect("valid");
        bus.publish(UnixMs(0), task, &task_type, None, EventKind::State { state, attempt: 0, outcome: None });
    }

    fn missed(bus: &EventBus, last_id: u64) -> Option<Vec<u64>> {
        match bus.subscribe_after(last_id).0 {
            Missed::Events(events) => Some(events.iter().map(|event| event.id).collect()),
            Missed::TooMuch => None,
        }
    }

    #[test]
    fn a_returning_subscriber_gets_what_it_missed_or_is_told_that_it_is_too_much() {
        let bus = EventBus::new(3);
        publish(&bus, TaskId::new(), TaskState::Queued);
        let first = bus.subscribe();
        for _ in 0..5 {
            publish(&bus, TaskId::new(), TaskState::Queued);
        }
        drop(first);
        assert_eq!(missed(&bus, 5), Some(vec![]));
        assert_eq!(missed(&bus, 3), Some(vec![4, 5]));
        assert_eq!(missed(&bus, 2), Some(vec![3, 4, 5]));
        assert_eq!(missed(&bus, 1), None, "event 2 is forgotten");
        assert_eq!(missed(&bus, 6), None, "an id that was never given out");
    }

    #[tokio::test]
    async fn a_watch_hears_an_end_that_came_before_it_waited_and_forgets_itself() {
        let bus = EventBus::new(1);
        let task = TaskId::new();
        let (one, other) = (bus.watch(task), bus.watch(task));
        publish(&bus, TaskId::new(), TaskState::Failed);
        publish(&bus, task, TaskState::Running);
        publish(&bus, task, TaskState::Failed);
        one.ended().await;
        other.ended().await;
        drop((one, other));
        assert!(bus.inner.watched.bells.lock().is_empty());
    }
}
