//! From a queued task to a recorded result: permit, claim, run, finish.
//!
//! The pieces run side by side and meet in three places: `LocalQueue` (claimed, waiting for a guest thread), `Held` (every claim of this
//! host, so that it can be stopped) and the finisher's channel (ended, waiting to be recorded).
//!
//! * `claims`: asks the store for as many tasks as there is room for; arms the bell before it looks.
//! * `threads`: one guest each at a time, some for urgent tasks alone. Guest code runs here and nowhere else, so that it never holds up the async side.
//! * `attempt`: one attempt from claim to outcome; `native`: the same for what the host runs itself.
//! * `finisher`: records ends in batches.
//! * `lease`: heartbeat, cancellation, taking back what dead hosts held.
//! * `schedules`: submits what the clock says is due.
//! * `breaks`: turns what reconciliations left behind into findings.
//! * `janitor`: retention.

mod attempt;
mod breaks;
mod claims;
mod finisher;
mod held;
mod janitor;
mod lease;
mod local_queue;
mod native;
mod ports;
mod run_ahead;
mod schedules;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use local_queue::Sizes;

use crate::clock::{SharedClock, UnixMs};
use crate::event::{Bells, EventBus};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::outgoing::Outgoing;
use crate::registry::Registry;
use crate::runtime::Runtime;
use crate::store::{Claim, Store};
use crate::task::{DefaultsByType, RetryPolicy};

/// What the scheduler is told by the operator.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// The host's name, in leases and receipts.
    pub host: Arc<str>,
    /// Guest threads: tasks that run at once.
    pub slots: u32,
    /// Guest threads beside these that run urgent tasks only.
    pub urgent_slots: u32,
    /// While urgent tasks come in, no claim takes more than this, so that they wait for short transactions only; at most 128.
    pub claim_max_beside_urgent: u32,
    /// What no task may exceed.
    pub ceilings: Limits,
    /// What a task gets that a guest submits.
    pub task_defaults: DefaultsByType,
    /// Largest payload of a task that a guest submits.
    pub payload_bytes_max: u64,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// How long this host may be silent before its tasks are taken back.
    pub lease: Duration,
    /// The longest time between two looks at the queue.
    pub poll: Duration,
    /// Tasks expected to start within this time are claimed ahead of a free thread.
    pub run_ahead: Duration,
    /// How long running tasks get on shutdown.
    pub drain: Duration,
    /// How long ended tasks are kept; `None` keeps them.
    pub retention: Option<Duration>,
    /// How long blobs that nobody waits for are kept; `None` keeps them.
    pub blob_retention: Option<Duration>,
    /// How long the bodies of Stripe's events are kept; `None` keeps them.
    pub stripe_body_retention: Option<Duration>,
    /// Whether this host alone can have the store open, so that whatever is claimed at start was claimed by a dead predecessor.
    pub alone: bool,
    /// Seed of the retry jitter.
    pub jitter_seed: u64,
}

/// What the scheduler works with.
#[derive(Clone)]
pub struct SchedulerParts {
    /// Where tasks are kept.
    pub store: Arc<dyn Store>,
    /// Where they run.
    pub runtime: Arc<Runtime>,
    /// By which plugin and under which limits.
    pub registry: Arc<Registry>,
    /// Who sends the requests of guests.
    pub outgoing: Arc<Outgoing>,
    /// Who hears about it.
    pub events: EventBus,
    /// What wakes the scheduler.
    pub bells: Arc<Bells>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: SharedClock,
}

/// What all pieces share.
struct Shared {
    config: SchedulerConfig,
    parts: SchedulerParts,
    queue: local_queue::LocalQueue,
    held: held::Held,
    /// Claims that the store could not take back, with their places.
    not_given_back: Mutex<Vec<(Claim, UnixMs)>>,
    jitter: Mutex<SmallRng>,
    task_defaults: Arc<DefaultsByType>,
    /// Rung when a reconciliation has succeeded.
    reconciled: Notify,
}

/// Runs tasks until `shutdown`, then lets running ones end or gives them back. Returns when everything it started has stopped.
pub async fn run(config: SchedulerConfig, parts: SchedulerParts, shutdown: CancellationToken) {
    let SchedulerConfig { slots, urgent_slots, claim_max_beside_urgent, run_ahead, .. } = config;
    let queue = local_queue::LocalQueue::new(Sizes { slots, urgent_slots, claim_max_beside_urgent, run_ahead }, Arc::clone(&parts.clock));
    let jitter = Mutex::new(SmallRng::seed_from_u64(config.jitter_seed));
    let task_defaults = Arc::new(config.task_defaults.clone());
    let (held, not_given_back) = (held::Held::default(), Mutex::default());
    let shared = Arc::new(Shared { config, parts, queue, held, not_given_back, jitter, task_defaults, reconciled: Notify::new() });

    lease::take_over(&shared).await;
    let (ended, ends) = mpsc::channel(finisher::ENDS_MAX);
    let threads = threads::start(&shared, &ended, &Handle::current());
    let finisher = tokio::spawn(finisher::run(Arc::clone(&shared), ends));
    // Lease and janitor outlive the claims: a draining host is still alive.
    let stopped = CancellationToken::new();
    let lease = tokio::spawn(lease::run(Arc::clone(&shared), stopped.clone()));
    let janitor = tokio::spawn(janitor::run(Arc::clone(&shared), stopped.clone()));
    let returns = tokio::spawn(claims::return_overdue(Arc::clone(&shared), stopped.clone()));
    // A host that takes nothing on any more leaves what becomes due to another, or to its own next start.
    let schedules = tokio::spawn(schedules::run(Arc::clone(&shared), shutdown.clone()));

    let breaks = tokio::spawn(breaks::run(Arc::clone(&shared), stopped.clone()));

    claims::run(&shared, &shutdown).await;
    joined("schedules", schedules.await);
    claims::drain(&shared).await;
    shared.queue.close();
    drop(ended);
    joined("guest threads", tokio::task::spawn_blocking(move || threads.into_iter().for_each(threads::join)).await);
    joined("finisher", finisher.await);
    stopped.cancel();
    joined("lease keeper", lease.await);
    joined("janitor", janitor.await);
    joined("breaks", breaks.await);
    joined("returns", returns.await);
}

fn joined(what: &str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the scheduler's {what} ended abnormally");
    }
}
