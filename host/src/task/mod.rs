//! What a task is: names that cannot be wrong, its states and outcomes, when it runs and what happens after an attempt. Pure.

pub mod fair;
mod name;
mod native;
mod outcome;
mod priority;
mod record;
mod state;

pub use name::{AiModel, IdempotencyKey, LaneKey, NameError, TaskId, TaskType, Tenant};
pub use native::{NativeCall, NativeFailure, NativeManifest, NativeTask};
pub use outcome::{Outcome, Receipt};
pub use priority::{Priority, run_key};
pub use record::{BlobId, InputRef, LogLevel, LogLine, NewTask, Output, Task, TaskPlan};
pub use state::{Next, RetryPolicy, TaskState, next};
