//! Where tasks are kept. The verbs are few, coarse and batch-first; each database answers them in its own tongue, and one
//! conformance suite holds all of them to the same behaviour. The only users of rusqlite and sqlx are below this module.

mod findings;
pub mod ledger;
mod migration;
pub mod orders;
pub mod postgres;
mod ratings;
mod schedules;
mod sharing;
pub mod sqlite;
mod stats;
mod stored;
pub mod stripe;
pub mod tables;
mod whole;

pub use self::findings::{FindingFilter, FindingPage, FindingStore, Reported};
pub use self::migration::MigrationReport;
pub use self::ratings::{RateAnswer, Rated, RatingStats, RatingStore};
pub use self::schedules::{Advance, DueSchedules, NewSchedule, ScheduleStore};
pub use self::sharing::{HostShown, RunningShown, TenantShare};
pub use self::stats::{STATS_BUCKET, StatsPage, StatsStore, TaskStats};
pub use self::whole::{SideStore, Store};

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::UnixMs;
use crate::limits::LimitSetting;
use crate::stripe::income::Overflow;
use crate::task::fair::Service;
use crate::task::{
    AiModel, BlobId, IdempotencyKey, LaneKey, LogLine, NewTask, Next, Outcome, Output, Priority, Receipt, Task, TaskId, TaskPlan,
    TaskState, TaskType, Tenant,
};

/// What went wrong in the store, named by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or is overloaded: try again later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The request contradicts what is stored: tell the caller.
    #[error("{0}")]
    Conflict(Conflict),
    /// Disk full or another hard limit: an operator has to act.
    #[error("the database is full: {0}")]
    Full(String),
    /// A bug or a damaged database.
    #[error("the database answered unexpectedly: {0}")]
    Broken(String),
}

/// A request that contradicts what is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The idempotency key was used before with another body.
    #[error("the idempotency key of task {index} of the batch was used before, for {existing}, with another body")]
    Idempotency {
        /// Position in the submitted batch.
        index: usize,
        /// The task that has the key.
        existing: TaskId,
    },
    /// There would be more lanes than `lanes_max`.
    #[error("there are {max} lanes already, which is the limit; use fewer combinations of task type and model")]
    TooManyLanes {
        /// The limit.
        max: u32,
    },
    /// There would be more tenants than `tenants_max`.
    #[error("there are {max} tenants already, which is the limit; raise queue.tenants_max or use fewer")]
    TooManyTenants {
        /// The limit.
        max: u32,
    },
    /// An input names a blob that is not there.
    #[error("input {input:?} of task {index} of the batch names a blob that does not exist; upload it with POST /v1/blobs first")]
    NoSuchBlob {
        /// Position in the submitted batch.
        index: usize,
        /// The input's name.
        input: String,
    },
    /// There would be more schedules than there may be.
    #[error("there are {max} schedules already, which is the limit; remove some first")]
    TooManySchedules {
        /// The limit.
        max: u32,
    },
    /// The claim this write belongs to is no longer held.
    #[error("the lease on this task was lost")]
    LeaseLost,
    /// Sums of money that cannot be true.
    #[error(transparent)]
    Money(Overflow),
}

/// Answer of every verb.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What became of one submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The task: new, or the one that was there under the same idempotency key.
    pub id: TaskId,
    /// Whether it is new.
    pub created: bool,
    /// Its state at that moment.
    pub state: TaskState,
}

/// A right to write the result of one attempt. A later claim of the same task has another token, so a late writer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The store's own key of the task.
    pub seq: i64,
    /// The fencing token: never used twice.
    pub token: i64,
}

/// A task that this host is to run now.
#[derive(Debug, Clone)]
pub struct ClaimedTask {
    /// The right to finish it.
    pub claim: Claim,
    /// Its identity.
    pub id: TaskId,
    /// Type and model.
    pub lane: LaneKey,
    /// How urgent.
    pub priority: Priority,
    /// By which it was picked: smaller is sooner.
    pub run_key: i64,
    /// JSON text.
    pub payload: Box<str>,
    /// Inputs, tags and limits.
    pub plan: TaskPlan,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts that may be made.
    pub max_attempts: u32,
    /// Attempts that were lost with their host so far.
    pub lost: u32,
    /// Whether it runs with larger limits, as [`Next::RetryLarger`] said after an earlier attempt.
    pub larger_limits: bool,
    /// For whom.
    pub tenant: Option<Tenant>,
    /// The submitter's key.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Since when it could have run.
    pub ready_at: UnixMs,
}

/// What a host asks for when it has free slots.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The host's name, as in [`TaskStore::heartbeat`].
    pub host: Arc<str>,
    /// Now.
    pub now: UnixMs,
    /// At most this many tasks.
    pub max_tasks: u32,
    /// Only tasks that are as urgent as one of high priority that comes now, by priority or by age.
    pub urgent_only: bool,
}

/// What a host gets.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// Smallest run key first. Fewer than asked for means that nothing more can run now.
    pub tasks: Vec<ClaimedTask>,
    /// When the next scheduled task becomes ready, if one waits.
    pub next_due: Option<UnixMs>,
}

/// The end of one attempt.
#[derive(Debug, Clone)]
pub struct Finish {
    /// The right to write it.
    pub claim: Claim,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// What happens to the task now, as [`crate::task::next`] decided.
    pub next: Next,
    /// When the attempt started and ended.
    pub started_at: UnixMs,
    /// When it ended.
    pub finished_at: UnixMs,
    /// JSON text, when it succeeded.
    pub result: Option<Box<str>>,
    /// Why it did not.
    pub error: Option<String>,
    /// What it cost.
    pub receipt: Receipt,
    /// What its tenant is charged with.
    pub service: Service,
    /// What the guest logged.
    pub logs: Vec<LogLine>,
    /// What the guest wrote; kept only when the attempt succeeded.
    pub outputs: Vec<Output>,
    /// What the guest submitted. In the transaction that records a success they enter the queue, as [`TaskStore::submit`] would put them
    /// there; of any other end there are none. So a host that dies leaves either a success with its children or neither.
    pub children: Vec<NewTask>,
}

/// What became of a [`Finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// It is on disk.
    Recorded,
    /// The claim was no longer held: nothing was written.
    Stale,
    /// The children contradict what is stored: nothing was written, and the claim is still held.
    Refused(Conflict),
}

/// What a cancel request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It had not started; it is cancelled now.
    Cancelled,
    /// It runs; its host has been asked to stop it.
    Requested,
    /// It was over already, in this state.
    AlreadyFinal(TaskState),
    /// There is no such task.
    NotFound,
}

/// What a retry request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryAnswer {
    /// It is queued again, with a full set of attempts.
    Queued,
    /// Only failed and cancelled tasks can be retried; this one is in this state.
    NotRetryable(TaskState),
    /// There is no such task.
    NotFound,
}

/// What a host hears when it reports that it is alive.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    /// Claims of this host whose tasks were asked to stop.
    pub cancel: Vec<Claim>,
    /// How many claims the store counts for this host. Fewer than the host runs means that some were taken away.
    pub held: Vec<Claim>,
}

/// Which tasks to list. Newest first.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// In this state.
    pub state: Option<TaskState>,
    /// Of this type.
    pub task_type: Option<TaskType>,
    /// For this model.
    pub ai_model: Option<AiModel>,
    /// For this tenant.
    pub tenant: Option<Tenant>,
    /// Older than the task at this cursor.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<i64>,
}

/// One lane and how much is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Type and model.
    pub key: LaneKey,
    /// Whether its tasks may start.
    pub paused: bool,
    /// How many of its tasks may run at once, over all hosts; `None` is no cap.
    pub concurrency_cap: Option<u32>,
    /// Its share against other lanes, see [`turn`](crate::task::turn).
    pub weight: u32,
    /// Tasks waiting for a slot.
    pub queued: u64,
    /// Tasks waiting for their time.
    pub scheduled: u64,
    /// Tasks running.
    pub running: u64,
    /// Since when its first waiting task could have run.
    pub oldest_ready_at: Option<UnixMs>,
}

/// What to change about a lane; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LanePatch {
    /// Pause or resume.
    pub paused: Option<bool>,
    /// Set (`Some(Some)`) or lift (`Some(None)`) the cap.
    pub concurrency_cap: Option<Option<u32>>,
    /// Set the weight.
    pub weight: Option<u32>,
}

/// Tasks, their life and what they leave behind.
#[async_trait]
pub trait TaskStore: Send + Sync + 'static {
    /// Writes a batch in one transaction, all or nothing, and returns once it is durable. Answers in order. A repeated
    /// idempotency key (of the same tenant) with the same digest gives the first task back.
    async fn submit(&self, batch: Vec<NewTask>, now: UnixMs) -> Result<Vec<Submitted>>;

    /// Moves what is due from scheduled to queued, then takes the tasks with the smallest run keys from lanes that are neither
    /// paused nor at their cap, for this host. Durable before it returns. A caller that leaves before the answer has claimed nothing; one
    /// that leaves an answer unread holds what is in it.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed>;

    /// Records the ends of attempts, each only while its claim is held. Answers in order.
    async fn finish(&self, batch: Vec<Finish>) -> Result<Vec<Finished>>;

    /// Gives claims back unrun: the tasks are queued (or scheduled, when that is after `now`) at `run_at` as if they had not been claimed,
    /// and the attempt is not counted.
    async fn give_back(&self, claims: Vec<Claim>, run_at: UnixMs, now: UnixMs) -> Result<()>;

    /// Says that `host` is alive until `lease_until`; also its first word.
    async fn heartbeat(&self, host: &str, now: UnixMs, lease_until: UnixMs) -> Result<Heartbeat>;

    /// Takes back what hosts hold whose lease ran out before `now` (or, with `all`, what any host holds: for a store that only
    /// one host can have open). `decide` says what comes next for a lost attempt, given its number, `max_attempts` and the
    /// times the task was lost, this one included. Returns what was taken back.
    async fn reap(&self, now: UnixMs, all: bool, decide: &(dyn Fn(u32, u32, u32) -> Next + Send + Sync)) -> Result<Vec<TaskId>>;

    /// Cancels a task or asks its host to.
    async fn cancel(&self, id: TaskId, now: UnixMs) -> Result<CancelAnswer>;

    /// Queues a failed or cancelled task again. Its journal is kept.
    async fn retry(&self, id: TaskId, now: UnixMs) -> Result<RetryAnswer>;

    /// Deletes at most `limit_tasks` tasks that ended before `ended_before`, with all that belongs to them. Returns how many.
    async fn prune(&self, ended_before: UnixMs, limit_tasks: u32) -> Result<u64>;

    /// One task.
    async fn task(&self, id: TaskId) -> Result<Option<Task>>;

    /// A page of tasks.
    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage>;

    /// What the attempts of a task logged, in order, with the attempt's number.
    async fn logs(&self, id: TaskId) -> Result<Vec<(u32, LogLine)>>;

    /// One output of a task.
    async fn output(&self, id: TaskId, name: &str) -> Result<Option<Output>>;

    /// Name, media type and size of each output of a task.
    async fn outputs(&self, id: TaskId) -> Result<Vec<(String, String, u64)>>;

    /// What an earlier attempt (or this one) put in the journal under `step`.
    async fn journal_get(&self, claim: Claim, step: &str) -> Result<Option<Vec<u8>>>;

    /// Bytes in the journal of a task, names included.
    async fn journal_bytes(&self, claim: Claim) -> Result<u64>;

    /// Keeps `value` under `step`; durable before it returns, and only while the claim is held ([`Conflict::LeaseLost`]).
    async fn journal_put(&self, claim: Claim, step: &str, value: Vec<u8>) -> Result<()>;

    /// Every lane there is.
    async fn lanes(&self) -> Result<Vec<Lane>>;

    /// Changes a lane, creating it if it is new.
    async fn set_lane(&self, key: &LaneKey, patch: LanePatch) -> Result<Lane>;

    /// Every host that has said that it lives, by name, with what it holds.
    async fn hosts(&self) -> Result<Vec<HostShown>>;

    /// Every tenant that has submitted anything or was given a weight, by name; first the tasks of nobody in particular.
    async fn tenants(&self) -> Result<Vec<TenantShare>>;

    /// Gives a tenant (or the tasks of nobody in particular) a weight from 1 to [`WEIGHT_MAX`](crate::task::fair::WEIGHT_MAX), opening
    /// its account if it is new.
    async fn set_tenant(&self, tenant: Option<&Tenant>, weight: u32) -> Result<TenantShare>;
}

/// A stored byte stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its identity.
    pub id: BlobId,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// Byte streams that are too large for a payload. They are written and read in pieces, so that no one of them is ever in memory whole.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Keeps piece number `index` (from 0) of a blob that is being uploaded. Not visible before [`BlobStore::commit_blob`].
    async fn put_blob_piece(&self, id: BlobId, index: u32, piece: Bytes, now: UnixMs) -> Result<()>;
    /// Makes an upload visible; durable before it returns.
    async fn commit_blob(&self, info: BlobInfo, now: UnixMs) -> Result<()>;
    /// Forgets an upload that was cut off.
    async fn abandon_blob(&self, id: BlobId) -> Result<()>;
    /// Size and digest.
    async fn blob(&self, id: BlobId) -> Result<Option<BlobInfo>>;
    /// Piece number `index`; `None` after the last.
    async fn blob_piece(&self, id: BlobId, index: u32) -> Result<Option<Bytes>>;
    /// Deletes blobs made before `made_before` that no unfinished task names, at most `limit_blobs`.
    async fn prune_blobs(&self, made_before: UnixMs, limit_blobs: u32) -> Result<u64>;
}

/// To whom a limit setting applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitScope {
    /// Every task on every host: values here are ceilings.
    Host,
    /// Every task of a type.
    TaskType(TaskType),
    /// Every task for a model.
    AiModel(AiModel),
    /// Every task that a plugin runs, by the plugin's name.
    Plugin(String),
}

/// A plugin's file as it was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginArtifact {
    /// The manifest's name; one artifact per name is current.
    pub name: String,
    /// The manifest's version.
    pub version: String,
    /// SHA-256 of `bytes`.
    pub digest: [u8; 32],
    /// The `.wasm`, manifest inside.
    pub bytes: Bytes,
    /// When it was uploaded.
    pub uploaded_at: UnixMs,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    /// Submit tasks and blobs, cancel and retry.
    Submit,
    /// Read tasks, events and plugins.
    Read,
    /// Everything under `/v1/admin`.
    Admin,
}

/// A token as it is stored: its hash, never itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Public name of the token, to list and revoke it by.
    pub id: uuid::Uuid,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<TokenScope>,
    /// For the operator's memory.
    pub label: String,
    /// When it was made.
    pub created_at: UnixMs,
}

/// What operators set: limits, plugins, tokens. Small, rarely written, kept in the database so that every host sees it.
#[async_trait]
pub trait AdminStore: Send + Sync + 'static {
    /// Every limit setting.
    async fn limit_settings(&self) -> Result<Vec<(LimitScope, LimitSetting)>>;
    /// Replaces what one scope says; an empty one makes it silent.
    async fn set_limits(&self, scope: LimitScope, setting: LimitSetting, now: UnixMs) -> Result<()>;
    /// Every current plugin.
    async fn plugins(&self) -> Result<Vec<PluginArtifact>>;
    /// Name and digest of every current plugin, without its bytes.
    async fn plugin_digests(&self) -> Result<Vec<(String, [u8; 32])>>;
    /// Makes an artifact the current one under its name.
    async fn put_plugin(&self, artifact: PluginArtifact) -> Result<()>;
    /// Removes the current artifact of a name; whether there was one.
    async fn remove_plugin(&self, name: &str) -> Result<bool>;
    /// Keeps a token.
    async fn put_token(&self, token: TokenRecord) -> Result<()>;
    /// Every token.
    async fn tokens(&self) -> Result<Vec<TokenRecord>>;
    /// Forgets a token; whether there was one.
    async fn remove_token(&self, id: uuid::Uuid) -> Result<bool>;
    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;
}
