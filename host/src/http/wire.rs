//! The JSON that goes over the wire, and nothing else: what it means is decided elsewhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::clock::UnixMs;
use crate::store::{Lane, Submitted};
use crate::task::{InputRef, LogLevel, LogLine, Outcome, Priority, Receipt, Task, TaskState};

/// Text that is borrowed from the body wherever it has no escapes in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A JSON object whose keys are not known in advance, each of which may stand in it once.
#[derive(Debug)]
pub(super) struct UniqueMap<V>(pub(super) BTreeMap<String, V>);

impl<V> Default for UniqueMap<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OncePerKey<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for OncePerKey<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if entries.insert(key, value).is_some() {
                        return Err(serde::de::Error::custom("a key of this object is given twice"));
                    }
                }
                Ok(UniqueMap(entries))
            }
        }

        deserializer.deserialize_map(OncePerKey(PhantomData))
    }
}

/// A task to be run.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Submission)]
#[serde(deny_unknown_fields)]
pub(super) struct Submission<'a> {
    /// What kind of work: with the model it chooses the plugin. 1 to 128 letters, digits, `.`, `_`, `-` or `:`.
    #[serde(borrow)]
    #[schema(value_type = String, max_length = 128, min_length = 1)]
    pub(super) task_type: Text<'a>,
    /// The AI model the work is meant for.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255, min_length = 1)]
    pub(super) ai_model: Option<Text<'a>>,
    /// How urgent; the default of the task type when left out.
    #[serde(default)]
    pub(super) priority: Option<Priority>,
    /// Any JSON; handed to the plugin as it is.
    #[serde(borrow, default)]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) payload: Option<&'a RawValue>,
    /// Byte streams for the plugin, by name.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, InputBody>)]
    pub(super) inputs: UniqueMap<InputRef>,
    /// Not before this (RFC 3339).
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) run_at: Option<Text<'a>>,
    /// Attempts that may be made because of the task's own failures.
    #[serde(default)]
    pub(super) max_attempts: Option<u32>,
    /// For whom.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 128, min_length = 1)]
    pub(super) tenant: Option<Text<'a>>,
    /// Labels.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub(super) tags: Vec<String>,
    /// Limits lower than those that would hold anyway; a higher value changes nothing.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(super) limits: UniqueMap<u64>,
    /// A repeat with the same key gives the first task back; may be given in the `Idempotency-Key` header instead.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255, min_length = 1)]
    pub(super) idempotency_key: Option<Text<'a>>,
}

/// Where the bytes of an input come from: either a blob, or rows of a table of the host's, as CSV with a header. Naming a table needs the scope
/// `read` as well.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Input)]
pub(super) struct InputBody {
    /// The id that `POST /v1/blobs` answered.
    #[schema(format = Uuid, nullable = false)]
    pub(super) blob: Option<String>,
    /// `stripe_balance_transactions`, `stripe_transactions`, `stripe_payouts` or `stripe_orders`.
    #[schema(nullable = false)]
    pub(super) table: Option<String>,
    /// From this time (RFC 3339), or so long before the task runs: `-35d`, `-12h`, `-15m`.
    #[schema(nullable = false)]
    pub(super) from: Option<String>,
    /// To before this time, in the same form.
    #[schema(nullable = false)]
    pub(super) to: Option<String>,
    /// The connected account (`acct_…`) whose rows these are.
    #[schema(nullable = false)]
    pub(super) account: Option<String>,
    /// Whether they are about real money; they are unless this says otherwise.
    #[schema(nullable = false)]
    pub(super) livemode: Option<bool>,
}

/// Up to 10 000 tasks, written together or not at all.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Batch)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch<'a> {
    /// The tasks.
    #[serde(borrow)]
    pub(super) tasks: Vec<Submission<'a>>,
}

/// What became of a batch, in its order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchAnswer {
    /// One entry per task that was sent.
    pub(super) tasks: Vec<SubmittedView>,
}

/// What became of one submission.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubmittedView {
    /// The task: new, or the first one of a repeated idempotency key.
    #[schema(value_type = String, format = Uuid)]
    pub(super) id: uuid::Uuid,
    /// Its state now.
    pub(super) state: TaskState,
    /// Whether it is new.
    pub(super) created: bool,
}

impl From<Submitted> for SubmittedView {
    fn from(submitted: Submitted) -> Self {
        Self { id: submitted.id.0, state: submitted.state, created: submitted.created }
    }
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
pub(super) struct TaskView {
    #[schema(value_type = String, format = Uuid)]
    id: uuid::Uuid,
    task_type: String,
    ai_model: Option<String>,
    priority: Priority,
    state: TaskState,
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    #[schema(value_type = BTreeMap<String, InputBody>)]
    inputs: BTreeMap<String, InputRef>,
    tags: Vec<String>,
    /// The limits that the submission asked for; the receipt has those that were in force.
    limits: BTreeMap<String, u64>,
    /// What the plugin returned.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// How the last attempt ended.
    outcome: Option<Outcome>,
    /// Why it did not succeed.
    error: Option<String>,
    /// What the last attempt cost.
    receipt: Option<Receipt>,
    /// The number of the last attempt; 0 before the first.
    attempt: u32,
    max_attempts: u32,
    tenant: Option<String>,
    idempotency_key: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    run_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        Self {
            id: task.id.0,
            task_type: task.lane.task_type.to_string(),
            ai_model: task.lane.ai_model.map(|model| model.to_string()),
            priority: task.priority,
            state: task.state,
            payload: task.payload,
            inputs: task.plan.inputs,
            tags: task.plan.tags,
            limits: task.plan.limits.0.into_iter().map(|(limit, value)| (limit.name().to_owned(), value)).collect(),
            result: task.result,
            outcome: task.outcome,
            error: task.error,
            receipt: task.receipt,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            tenant: task.tenant.map(|tenant| tenant.to_string()),
            idempotency_key: task.idempotency_key.map(|key| key.to_string()),
            created_at: task.created_at.to_rfc3339(),
            run_at: task.run_at.to_rfc3339(),
            started_at: task.started_at.map(UnixMs::to_rfc3339),
            finished_at: task.finished_at.map(UnixMs::to_rfc3339),
        }
    }
}

/// One page of tasks, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskList {
    /// The tasks; fewer than the limit when they are large.
    pub(super) tasks: Vec<TaskView>,
    /// What to send as `cursor` for the next page; null on the last.
    pub(super) next_cursor: Option<String>,
}

/// What a cancel or retry request did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    #[schema(value_type = String, format = Uuid)]
    pub(super) id: uuid::Uuid,
    /// The task's state now; `running` after a cancel request that its host has yet to follow.
    pub(super) state: TaskState,
}

/// What the attempts of a task logged, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Logs {
    pub(super) lines: Vec<LogView>,
}

/// One line that a plugin logged.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogView {
    /// In which attempt.
    attempt: u32,
    #[schema(format = DateTime)]
    at: String,
    level: LogLevel,
    message: String,
    /// Names and values beside the message.
    fields: Vec<(String, String)>,
}

impl From<(u32, LogLine)> for LogView {
    fn from((attempt, line): (u32, LogLine)) -> Self {
        Self { attempt, at: line.at_ms.to_rfc3339(), level: line.level, message: line.message, fields: line.fields }
    }
}

/// What a task's plugin wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outputs {
    pub(super) outputs: Vec<OutputView>,
}

/// One byte stream that a plugin wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OutputView {
    pub(super) name: String,
    /// As the plugin declared it.
    pub(super) media_type: String,
    pub(super) bytes: u64,
}

/// A stored byte stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BlobView {
    /// What an input names it by.
    #[schema(value_type = String, format = Uuid)]
    pub(super) blob: uuid::Uuid,
    pub(super) bytes: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub(super) sha256: String,
}

/// A lane and how much is in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lane)]
pub(super) struct LaneView {
    task_type: String,
    ai_model: Option<String>,
    /// Whether its tasks may start.
    paused: bool,
    /// How many of its tasks may run at once, on all hosts together; null is no cap.
    concurrency_cap: Option<u32>,
    weight: u32,
    queued: u64,
    scheduled: u64,
    running: u64,
    /// Since when its first waiting task could have run.
    #[schema(format = DateTime)]
    oldest_ready_at: Option<String>,
}

impl From<Lane> for LaneView {
    fn from(lane: Lane) -> Self {
        Self {
            task_type: lane.key.task_type.to_string(),
            ai_model: lane.key.ai_model.map(|model| model.to_string()),
            paused: lane.paused,
            concurrency_cap: lane.concurrency_cap,
            weight: lane.weight,
            queued: lane.queued,
            scheduled: lane.scheduled,
            running: lane.running,
            oldest_ready_at: lane.oldest_ready_at.map(UnixMs::to_rfc3339),
        }
    }
}
