//! Tasks that the host runs itself: they go through the queue, its limits and its retries like any other, but call the host's own
//! code instead of a plugin's. For work that no sandbox could be given, such as reading the host's own tables.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{IdempotencyKey, LaneKey, TaskId};

/// One attempt of a task that the host runs itself.
#[derive(Debug)]
pub struct NativeCall {
    /// Which task.
    pub id: TaskId,
    /// Its type and model.
    pub lane: LaneKey,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts that may be made.
    pub max_attempts: u32,
    /// JSON text. Anybody who may submit tasks can have written it: it names things, it proves nothing.
    pub payload: Box<str>,
    /// The submitter's key.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Cancelled when the attempt is to stop. The call's future is dropped then; this is for what it has started besides.
    pub cancel: CancellationToken,
}

/// Why an attempt did not succeed; the same choices that a plugin has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NativeFailure {
    /// The task itself is wrong.
    Invalid(String),
    /// Trying again will not help.
    Permanent(String),
    /// Trying again may help.
    Transient {
        /// Why.
        reason: String,
        /// Not before this much time has passed; `None` leaves it to the back-off.
        retry_after: Option<Duration>,
    },
}

/// What the host says of a task type that it runs itself, in the place where a plugin has its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeManifest {
    /// By this name it is listed among the plugins and given limits: 1 to 64 of `a-z 0-9 -`.
    pub name: &'static str,
    /// The one task type it takes, for every model. No plugin may take it.
    pub task_type: &'static str,
    /// One sentence for people.
    pub description: &'static str,
    /// The wall time it asks for, in milliseconds.
    pub wall_ms: u64,
}

/// A task type that the host runs itself. `execute` may be dropped at any await: at the deadline, on cancellation, at shutdown. What it does has to be
/// safe to do again, because an attempt can be lost after it.
#[async_trait]
pub trait NativeTask: Send + Sync + 'static {
    /// What it is.
    fn manifest(&self) -> NativeManifest;

    /// Runs one attempt; on success gives the result as JSON text.
    async fn execute(&self, call: NativeCall) -> Result<Box<str>, NativeFailure>;
}
