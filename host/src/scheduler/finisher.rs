//! Records the ends of attempts in batches: what ends while one batch is being written makes up the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::attempt::{Ended, EndedRun, Facts};
use super::{Shared, claims};
use crate::event::EventKind;
use crate::store::{Conflict, Finish, Finished};
use crate::task::{Next, Outcome, TaskState};

/// Ends that may wait to be recorded; beyond that, guest threads wait.
pub(super) const ENDS_MAX: usize = 4096;
const BATCH_MAX: usize = 256;
const RETRY_PAUSE: Duration = Duration::from_millis(250);

pub(super) async fn run(shared: Arc<Shared>, mut ends: mpsc::Receiver<Ended>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while ends.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut runs = Vec::with_capacity(batch.len());
        let mut places = Vec::new();
        for end in batch.drain(..) {
            match end {
                Ended::Run(run) => runs.push(*run),
                Ended::GiveBack(claim, ready_at) => places.push((claim, ready_at)),
            }
        }
        if !places.is_empty() {
            claims::give_back(&shared, places).await;
        }
        if !runs.is_empty() {
            record(&shared, runs).await;
        }
        // A lane at its cap has room again.
        shared.parts.bells.work.notify_one();
    }
}

/// Records ends, and then those again, as failures, whose children could not be had.
async fn record(shared: &Shared, runs: Vec<EndedRun>) {
    let mut refused = write(shared, runs).await;
    if !refused.is_empty() {
        refused = write(shared, refused).await;
    }
    for run in refused {
        // A failure has no children that could be refused.
        tracing::error!(task = %run.facts.id, "the end of a task was refused twice; its lease gives it back");
    }
}

/// Writes ends and announces them; gives those back, turned into failures, that were refused.
async fn write(shared: &Shared, runs: Vec<EndedRun>) -> Vec<EndedRun> {
    let (facts, finishes): (Vec<_>, Vec<_>) = runs.into_iter().map(|run| (run.facts, run.finish)).unzip();
    let clock = &shared.parts.clock;
    let since = clock.monotonic();
    let answers = loop {
        // The batch is copied because a second try needs all of it, and the store takes it.
        match shared.parts.store.finish(finishes.clone()).await {
            Ok(answers) => break answers,
            Err(error) => {
                // The results are kept and tried again for as long as the host is there; if the lease ends meanwhile, they are refused. A
                // host that is stopping does not wait for longer than that.
                if shared.queue.is_closing() && clock.monotonic().saturating_sub(since) >= shared.config.lease {
                    tracing::error!(%error, tasks = finishes.len(), "could not record results before the end; their tasks will be begun again");
                    return Vec::new();
                }
                tracing::error!(%error, tasks = finishes.len(), "could not record results; trying again");
                clock.sleep(RETRY_PAUSE).await;
            }
        }
    };
    let mut refused = Vec::new();
    for ((facts, finish), answer) in facts.into_iter().zip(finishes).zip(answers) {
        if let Finished::Refused(conflict) = answer {
            refused.push(EndedRun { facts, finish: without_children(finish, &conflict) });
            continue;
        }
        shared.held.remove(finish.claim);
        if answer == Finished::Recorded {
            announce(shared, &facts, &finish);
        } else {
            shared.parts.metrics.stale_results.inc();
            tracing::warn!(task = %facts.id, attempt = facts.attempt, "a result came after its lease was lost and was refused");
        }
    }
    refused
}

/// A success without its children would be half of one.
fn without_children(finish: Finish, conflict: &Conflict) -> Finish {
    Finish {
        outcome: Outcome::Permanent,
        next: Next::Final(TaskState::Failed),
        result: None,
        error: Some(format!(
            "what the task submitted could not be taken, so nothing of it counts: {conflict}; retry it when that has changed"
        )),
        outputs: Vec::new(),
        children: Vec::new(),
        ..finish
    }
}

fn announce(shared: &Shared, facts: &Facts, finish: &Finish) {
    let parts = &shared.parts;
    let (queued, ran) = (Duration::from_millis(finish.receipt.queue_ms), facts.ran_for);
    let is_final = matches!(finish.next, Next::Final(_));
    parts.metrics.attempt(&facts.lane.task_type, finish.outcome, is_final, queued, ran, finish.receipt.fuel_used);
    let state = match finish.next {
        Next::Final(state) => state,
        Next::RetryAt(at) | Next::RetryLarger(at) if at <= finish.finished_at => TaskState::Queued,
        Next::RetryAt(_) | Next::RetryLarger(_) => TaskState::Scheduled,
    };
    let kind = EventKind::State { state, attempt: facts.attempt, outcome: Some(finish.outcome) };
    parts.events.publish(finish.finished_at, facts.id, &facts.lane.task_type, facts.lane.ai_model.as_ref(), kind);
    for child in &finish.children {
        let kind = EventKind::State { state: TaskState::Queued, attempt: 0, outcome: None };
        parts.events.publish(finish.finished_at, child.id, &child.lane.task_type, child.lane.ai_model.as_ref(), kind);
        parts.metrics.submitted(&child.lane.task_type, 1);
        parts.bells.submitted(child.priority);
    }
    if state == TaskState::Succeeded && facts.lane.task_type.as_str() == crate::stripe::breaks::TASK_TYPE {
        shared.reconciled.notify_one();
    }
}
