//! What a task is: names that cannot be wrong, its states and outcomes, when it runs and what happens after an attempt. Pure.

mod child;
pub mod fair;
mod input;
mod name;
mod native;
mod outcome;
mod priority;
mod rating;
mod record;
mod state;
mod submission;
pub mod turn;

pub use child::{ChildRequest, ChildRules, TypeGrant};
pub use input::{BlobId, HostTable, InputRef, Moment, TableInput};
pub use name::{AiModel, IdempotencyKey, LaneKey, NameError, TaskId, TaskType, Tenant};
pub use native::{NativeCall, NativeFailure, NativeManifest, NativeTask};
pub use outcome::{Outcome, Receipt};
pub use priority::{Priority, run_key, urgent_key};
pub use rating::Rating;
pub use record::{LogLevel, LogLine, NewTask, Output, Task, TaskPlan};
pub use state::{Next, RetryPolicy, TaskState, backoff, next};
pub use submission::{DefaultsByType, PAYLOAD_DEPTH_MAX, TaskDefaults, is_shallow};
