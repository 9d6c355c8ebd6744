//! What happens to tasks, told to whoever listens, and the two bells that wake the scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::{Notify, broadcast};

use crate::clock::UnixMs;
use crate::task::{AiModel, Outcome, TaskId, TaskState, TaskType};

/// One thing that happened to a task.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Grows by one with every event of this host; what `Last-Event-ID` refers to.
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
}

/// A bounded bus: a subscriber that falls behind loses the oldest events and is told so; a publisher never waits.
#[derive(Debug, Clone)]
pub struct EventBus {
    sender: broadcast::Sender<Arc<Event>>,
    next_id: Arc<AtomicU64>,
}

impl EventBus {
    /// A bus that keeps the last `capacity_events` for slow subscribers.
    #[must_use]
    pub fn new(capacity_events: usize) -> Self {
        Self { sender: broadcast::channel(capacity_events.max(1)).0, next_id: Arc::new(AtomicU64::new(1)) }
    }

    /// Tells everybody. Costs next to nothing while nobody listens.
    pub fn publish(&self, at: UnixMs, task: TaskId, task_type: &TaskType, ai_model: Option<&AiModel>, kind: EventKind) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if self.sender.receiver_count() > 0 {
            let event = Event { id, at, task, task_type: task_type.clone(), ai_model: ai_model.cloned(), kind };
            // An error means that the last listener left in between.
            let _ = self.sender.send(Arc::new(event));
        }
    }

    /// Everything published from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.sender.subscribe()
    }
}

/// Rung by whoever changes the store, heard by the scheduler. A bell says "look again", never what to find.
#[derive(Debug, Default)]
pub struct Bells {
    /// There may be something to claim.
    pub work: Notify,
    /// A running task was asked to stop.
    pub cancel: Notify,
}
