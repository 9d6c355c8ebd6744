//! What goes into one run and what comes out of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::ports::Ports;
use crate::limits::Limits;
use crate::plugin::Origin;
use crate::task::{AiModel, IdempotencyKey, LogLine, NewTask, Outcome, Output, TaskId, TaskType, TypeGrant};

/// A directory that the operator granted to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryGrant {
    /// The directory on the host.
    pub host_path: PathBuf,
    /// Where the guest sees it.
    pub guest_path: String,
    /// Whether the guest may change what is in it.
    pub writable: bool,
}

/// An origin that the operator granted to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    /// Where requests may go.
    pub origin: Origin,
    /// Whether it may have addresses that are not of the open internet.
    pub private_addresses: bool,
}

/// What a plugin may touch beyond its own memory. Nothing by default.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Names and values that `settings.get` answers; values may be secrets.
    pub settings: BTreeMap<String, String>,
    /// Directories.
    pub directories: Vec<DirectoryGrant>,
    /// Where it may send requests.
    pub http: Vec<HttpGrant>,
    /// Which tasks it may submit.
    pub child_task_types: Vec<TypeGrant>,
}

impl std::fmt::Debug for Grants {
    /// Shows the names of settings, never their values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grants")
            .field("settings", &self.settings.keys())
            .field("directories", &self.directories)
            .field("http", &self.http)
            .field("child_task_types", &self.child_task_types)
            .finish()
    }
}

/// One attempt of one task.
pub struct Job {
    /// Which task.
    pub id: TaskId,
    /// Its type.
    pub task_type: TaskType,
    /// Its model.
    pub ai_model: Option<AiModel>,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts that may be made.
    pub max_attempts: u32,
    /// JSON text.
    pub payload: Bytes,
    /// The submitter's key, or the task's id when it gave none: stable over retries either way.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The effective limits.
    pub limits: Limits,
    /// What the plugin may touch.
    pub grants: std::sync::Arc<Grants>,
    /// What it is connected to.
    pub ports: Ports,
    /// Stops the run, in guest code and in a blocked host call.
    pub cancel: CancellationToken,
}

/// How a run ended and what it cost.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// JSON text, when it succeeded.
    pub result: Option<Box<str>>,
    /// Why it did not succeed, in words for the plugin's author.
    pub error: Option<String>,
    /// What the plugin asked for with `transient`.
    pub retry_after: Option<Duration>,
    /// What it cost.
    pub usage: Usage,
    /// What it logged.
    pub logs: Vec<LogLine>,
    /// What it wrote.
    pub outputs: Vec<Output>,
    /// What it submitted; none unless it succeeded.
    pub children: Vec<NewTask>,
}

/// What a run cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Fuel used by guest code and charged for host calls.
    pub fuel: u64,
    /// Most bytes that all memories and tables held at once.
    pub memory_peak_bytes: u64,
    /// Calls from the guest into the host.
    pub host_calls: u64,
    /// Bytes of the payload and of everything read from inputs.
    pub input_bytes: u64,
    /// Bytes of the result, of all outputs and of what was submitted.
    pub output_bytes: u64,
    /// Requests sent over HTTP.
    pub http_requests: u64,
    /// Bytes of those requests and their answers, heads included.
    pub http_bytes: u64,
    /// Tasks submitted.
    pub child_tasks: u64,
    /// From the start of instantiation to the end of the call.
    pub run_time: Duration,
}
