//! The records that travel between the edge, the store and the scheduler.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{AiModel, IdempotencyKey, InputRef, LaneKey, Outcome, Priority, Receipt, TaskId, TaskState, TaskType, Tenant};
use crate::clock::UnixMs;
use crate::limits::LimitSet;

/// What a submission asks for, beside the payload. Small tasks leave most of it empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPlan {
    /// Named byte streams for the guest.
    pub inputs: BTreeMap<String, InputRef>,
    /// Labels to search by.
    pub tags: Vec<String>,
    /// Limits lower than those that would hold anyway.
    pub limits: LimitSet,
}

/// A submission that has been checked: what the store writes.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Chosen by the edge.
    pub id: TaskId,
    /// Type and model.
    pub lane: LaneKey,
    /// Decided: the submission's own, or the default of its type.
    pub priority: Priority,
    /// Any JSON.
    pub payload: Box<RawValue>,
    /// Inputs, tags and limits.
    pub plan: TaskPlan,
    /// Not before this; a moment in the past means now.
    pub run_at: UnixMs,
    /// Attempts that may be made because of the task's own failures; at least 1.
    pub max_attempts: u32,
    /// For whom.
    pub tenant: Option<Tenant>,
    /// The submitter's key and a digest of what was submitted under it.
    pub idempotency: Option<(IdempotencyKey, [u8; 32])>,
}

/// Everything the store knows of a task, as the API shows it.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its identity.
    pub id: TaskId,
    /// Type and model.
    pub lane: LaneKey,
    /// How urgent.
    pub priority: Priority,
    /// Where it is in its life.
    pub state: TaskState,
    /// Any JSON.
    pub payload: Box<RawValue>,
    /// Inputs, tags and limits.
    pub plan: TaskPlan,
    /// JSON, once it succeeded.
    pub result: Option<Box<RawValue>>,
    /// How the last attempt ended.
    pub outcome: Option<Outcome>,
    /// Why, in words.
    pub error: Option<String>,
    /// What the last attempt cost.
    pub receipt: Option<Receipt>,
    /// The number of the last attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts that may be made.
    pub max_attempts: u32,
    /// For whom.
    pub tenant: Option<Tenant>,
    /// The submitter's key.
    pub idempotency_key: Option<IdempotencyKey>,
    /// When it was submitted.
    pub created_at: UnixMs,
    /// When it may run (next).
    pub run_at: UnixMs,
    /// When the last attempt started.
    pub started_at: Option<UnixMs>,
    /// When it reached its final state.
    pub finished_at: Option<UnixMs>,
}

impl Task {
    /// The task type, for short.
    #[must_use]
    pub fn task_type(&self) -> &TaskType {
        &self.lane.task_type
    }

    /// The model, for short.
    #[must_use]
    pub fn ai_model(&self) -> Option<&AiModel> {
        self.lane.ai_model.as_ref()
    }
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For the plugin's author.
    Debug,
    /// For the operator.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// One line that a guest logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at_ms: UnixMs,
    /// How loud.
    pub level: LogLevel,
    /// The message.
    pub message: String,
    /// Names and values beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

/// A byte stream that a guest wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Unique within the task.
    pub name: String,
    /// As the guest declared it.
    pub media_type: String,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}
