//! What the HTTP side is told by whoever starts it.

use std::sync::Arc;
use std::time::Duration;

use super::webhook::StripeEndpoint;
use crate::limits::Limits;
use crate::task::{DefaultsByType, TaskDefaults, TaskType};

/// Who may use the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Whoever shows a token, as far as its scopes go.
    Tokens,
    /// Whoever connects from this machine. Requests that a browser makes for a foreign page are refused, also when that page's
    /// name was made to point at this machine.
    LoopbackOpen,
}

/// Settings of the HTTP side, each with a default that is fit for use.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// This host's name, as receipts have it.
    pub host_name: Arc<str>,
    /// Who may use the API.
    pub auth: AuthMode,
    /// What a submission gets that does not say otherwise.
    pub task_defaults: DefaultsByType,
    /// No submission may ask for more attempts.
    pub max_attempts_max: u32,
    /// Largest payload of one task.
    pub payload_bytes_max: u64,
    /// Largest body of a batch.
    pub batch_bytes_max: u64,
    /// Most tasks in a batch.
    pub batch_tasks_max: usize,
    /// Largest blob.
    pub blob_bytes_max: u64,
    /// Largest plugin.
    pub artifact_bytes_max: u64,
    /// Largest file that is imported.
    pub import_bytes_max: u64,
    /// No operator may set a limit higher than this.
    pub ceilings: Limits,
    /// Requests that are worked on at once, event streams not counted; others are told to come back.
    pub requests_max: usize,
    /// Requests of these that may wait for a task to end.
    pub waits_max: usize,
    /// Blobs and plugins that are uploaded or downloaded at once.
    pub transfers_max: usize,
    /// Event streams open at once.
    pub streams_max: usize,
    /// Connections open at once; others wait to be accepted.
    pub connections_max: usize,
    /// The longest that `?wait` may ask for.
    pub wait_max: Duration,
    /// Where other hosts may end a task without this one hearing of it: the longest time between two looks of a request that waits for one.
    pub looks_every: Option<Duration>,
    /// How long a client may take for the head of a request.
    pub head_read_timeout: Duration,
    /// How long a client may send nothing while it sends a body.
    pub body_idle_timeout: Duration,
    /// How long a client may take for a body that is kept in memory.
    pub body_total_timeout: Duration,
    /// What is read of a body after its request was refused, so that the client gets to see why rather than a connection that breaks.
    pub discard_bytes_max: u64,
    /// How long that may take.
    pub discard_timeout: Duration,
    /// How often an event stream says that it is alive.
    pub heartbeat: Duration,
    /// Where Stripe's events come in.
    pub stripe: StripeEndpoint,
    /// How long requests under way may take to end once the host is asked to stop.
    pub drain_timeout: Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            host_name: Arc::from("localhost"),
            auth: AuthMode::Tokens,
            task_defaults: DefaultsByType::default(),
            max_attempts_max: 100,
            payload_bytes_max: MIB,
            batch_bytes_max: 64 * MIB,
            batch_tasks_max: 10_000,
            blob_bytes_max: 4096 * MIB,
            artifact_bytes_max: 64 * MIB,
            import_bytes_max: 256 * MIB,
            ceilings: Limits::ceilings(),
            requests_max: 2_048,
            waits_max: 1_024,
            transfers_max: 64,
            streams_max: 256,
            connections_max: 4_096,
            wait_max: Duration::from_secs(60),
            looks_every: None,
            head_read_timeout: Duration::from_secs(15),
            body_idle_timeout: Duration::from_secs(15),
            body_total_timeout: Duration::from_secs(120),
            discard_bytes_max: 64 * MIB,
            discard_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(15),
            stripe: StripeEndpoint::default(),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

impl ApiConfig {
    /// What a submission of this type gets that does not say otherwise.
    #[must_use]
    pub fn defaults_of(&self, task_type: &TaskType) -> TaskDefaults {
        self.task_defaults.of(task_type)
    }
}
