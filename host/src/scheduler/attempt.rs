//! One attempt, from claim to outcome.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use tracing::Instrument;
use tracing::field::Empty;

use super::Shared;
use super::held::Stop;
use super::ports::{BusProgress, ChildTasks, StoreInputs, StoreJournal};
use crate::clock::UnixMs;
use crate::event::EventKind;
use crate::limits::{Limit, Limits};
use crate::registry::{Code, Plugin, Snapshot};
use crate::runtime::ports::{NoHttp, Ports};
use crate::runtime::{Job, Report};
use crate::store::{Claim, ClaimedTask, Finish};
use crate::task::fair::Service;
use crate::task::{LaneKey, Outcome, Receipt, TaskId, TaskState, next};

/// A task whose plugin is gone waits this long before it is looked at again.
const NO_PLUGIN_PAUSE: Duration = Duration::from_secs(30);

/// What became of a claim.
pub(super) enum Ended {
    /// It ran.
    Run(Box<EndedRun>),
    /// It did not, or not to its end, through no doing of its own: it goes back to the queue at this place.
    GiveBack(Claim, UnixMs),
}

pub(super) struct EndedRun {
    pub(super) facts: Facts,
    pub(super) finish: Finish,
}

/// What the finisher says about the task when it announces its end.
pub(super) struct Facts {
    pub(super) id: TaskId,
    pub(super) lane: LaneKey,
    pub(super) attempt: u32,
    pub(super) ran_for: Duration,
}

impl Ended {
    /// How long it ran, if it did.
    pub(super) fn ran_for(&self) -> Option<Duration> {
        match self {
            Self::Run(run) => Some(run.facts.ran_for),
            Self::GiveBack(..) => None,
        }
    }
}

/// Runs one claimed task. To be driven by a guest thread.
pub(super) async fn run(shared: &Shared, task: ClaimedTask) -> Ended {
    let snapshot = shared.parts.registry.snapshot();
    let Some(plugin) = snapshot.route(&task.lane).cloned() else {
        tracing::warn!(task = %task.id, lane = %task.lane, "no plugin takes this task any more; it waits for one");
        return Ended::GiveBack(task.claim, shared.parts.clock.now().plus(NO_PLUGIN_PAUSE));
    };
    let span = tracing::info_span!(
        "task",
        task = %task.id,
        task_type = %task.lane.task_type,
        ai_model = task.lane.ai_model.as_ref().map(tracing::field::display),
        plugin = plugin.manifest.name,
        attempt = task.attempt,
        outcome = Empty,
    );
    run_with(shared, &snapshot, &plugin, task).instrument(span).await
}

async fn run_with(shared: &Shared, snapshot: &Arc<Snapshot>, plugin: &Plugin, task: ClaimedTask) -> Ended {
    let parts = &shared.parts;
    let started_at = parts.clock.now();
    parts.metrics.running.inc();
    parts.events.publish(
        started_at,
        task.id,
        &task.lane.task_type,
        task.lane.ai_model.as_ref(),
        EventKind::State { state: TaskState::Running, attempt: task.attempt, outcome: None },
    );
    let ordinary = || snapshot.effective_limits(&shared.config.ceilings, &task.lane, plugin, &task.plan.limits);
    let larger = || snapshot.retry_limits(&shared.config.ceilings, &task.lane, plugin, &task.plan.limits);
    let limits = if task.larger_limits { larger().unwrap_or_else(ordinary) } else { ordinary() };
    let mut report = match &plugin.code {
        Code::Component(component) => parts.runtime.run(component, job(shared, snapshot, plugin, &task, limits)).await,
        Code::Native(native) => {
            let cancel = shared.held.cancel_token(task.claim);
            super::native::run(&**native, &task, limits.get(Limit::WallMs), &parts.clock, cancel).await
        }
    };
    parts.metrics.running.dec();
    // Cleared by the finisher only once the end is recorded, so that a heartbeat in between still finds the claim.
    let why_stopped = shared.held.why_stopped(task.claim).filter(|_| report.outcome == Outcome::Cancelled);
    if why_stopped == Some(Stop::Shutdown) {
        tracing::info!("stopped by shutdown; the task goes back to the queue");
        return Ended::GiveBack(task.claim, task.ready_at);
    }
    if why_stopped == Some(Stop::LeaseLost) {
        // Nobody asked for the task to be cancelled. If nobody has taken it over either, it is begun again like any that was lost.
        report.outcome = Outcome::Lost;
        report.error = Some("its host lost the lease while it ran".to_owned());
    }
    tracing::Span::current().record("outcome", report.outcome.name());
    match &report.error {
        Some(error) => tracing::info!(error, fuel = report.usage.fuel, run_ms = millis(report.usage.run_time), "task failed"),
        None => tracing::debug!(fuel = report.usage.fuel, run_ms = millis(report.usage.run_time), "task done"),
    }
    let reached = report.outcome.limits();
    let may_grow = !task.larger_limits && !reached.is_empty() && larger().is_some_and(|larger| larger.exceed(&limits, reached));
    ended(shared, plugin, task, limits, may_grow, started_at, report)
}

fn job(shared: &Shared, snapshot: &Arc<Snapshot>, plugin: &Plugin, task: &ClaimedTask, limits: Limits) -> Job {
    let parts = &shared.parts;
    let children = ChildTasks {
        parent: task.id,
        tenant: task.tenant.clone(),
        grants: Arc::clone(&plugin.grants),
        snapshot: Arc::clone(snapshot),
        defaults: Arc::clone(&shared.task_defaults),
        payload_bytes_max: shared.config.payload_bytes_max,
        clock: Arc::clone(&parts.clock),
    };
    Job {
        id: task.id,
        task_type: task.lane.task_type.clone(),
        ai_model: task.lane.ai_model.clone(),
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        payload: Bytes::copy_from_slice(task.payload.as_bytes()),
        idempotency_key: task.idempotency_key.clone(),
        limits,
        grants: Arc::clone(&plugin.grants),
        ports: Ports {
            inputs: Arc::new(StoreInputs::new(Arc::clone(&parts.store), task.plan.inputs.clone(), parts.clock.now())),
            journal: Arc::new(StoreJournal::new(Arc::clone(&parts.store), task.claim)),
            progress: Arc::new(BusProgress::new(parts.events.clone(), Arc::clone(&parts.clock), task.id, task.lane.clone())),
            tasks: Arc::new(children),
            // Most plugins send none, and need no client.
            http: if plugin.grants.http.is_empty() { Arc::new(NoHttp) } else { parts.outgoing.of(&plugin.manifest.name) },
        },
        cancel: shared.held.cancel_token(task.claim),
    }
}

fn ended(shared: &Shared, plugin: &Plugin, task: ClaimedTask, limits: Limits, may_grow: bool, started_at: UnixMs, report: Report) -> Ended {
    let finished_at = shared.parts.clock.now();
    let jitter = shared.jitter.lock().random::<f64>();
    let lost = task.lost + u32::from(report.outcome == Outcome::Lost);
    let policy = &shared.config.retry;
    let next = next(report.outcome, task.attempt, task.max_attempts, lost, report.retry_after, may_grow, policy, finished_at, jitter);
    let receipt = Receipt {
        fuel_used: report.usage.fuel,
        memory_peak_bytes: report.usage.memory_peak_bytes,
        queue_ms: millis(started_at.since(task.ready_at)),
        run_ms: millis(report.usage.run_time),
        host_calls: report.usage.host_calls,
        input_bytes: report.usage.input_bytes,
        output_bytes: report.usage.output_bytes,
        http_requests: report.usage.http_requests,
        http_bytes: report.usage.http_bytes,
        child_tasks: report.usage.child_tasks,
        plugin: plugin.manifest.name.clone(),
        plugin_version: plugin.manifest.version.to_string(),
        plugin_digest: plugin.digest_hex.clone(),
        host: shared.config.host.to_string(),
        limits,
    };
    let finish = Finish {
        claim: task.claim,
        outcome: report.outcome,
        next,
        started_at,
        finished_at,
        result: report.result,
        error: report.error,
        receipt,
        service: Service::of(report.usage.run_time, report.usage.fuel),
        logs: report.logs,
        outputs: report.outputs,
        children: report.children,
    };
    let facts = Facts { id: task.id, lane: task.lane, attempt: task.attempt, ran_for: report.usage.run_time };
    Ended::Run(Box::new(EndedRun { facts, finish }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
