//! Records the ends of attempts in batches: what ends while one batch is being written makes up the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::attempt::{Ended, EndedRun};
use super::{Shared, claims};
use crate::event::EventKind;
use crate::store::Finished;
use crate::task::{Next, TaskState};

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

async fn record(shared: &Shared, runs: Vec<EndedRun>) {
    let (facts, finishes): (Vec<_>, Vec<_>) = runs.into_iter().map(|run| (run.facts, run.finish)).unzip();
    let answers = loop {
        // The batch is copied because a second try needs all of it, and the store takes it.
        match shared.parts.store.finish(finishes.clone()).await {
            Ok(answers) => break answers,
            Err(error) => {
                // The results are kept and tried again for as long as the process lives; if the lease ends meanwhile, they are refused.
                tracing::error!(%error, tasks = finishes.len(), "could not record results; trying again");
                shared.parts.clock.sleep(RETRY_PAUSE).await;
            }
        }
    };
    for ((facts, finish), answer) in facts.iter().zip(&finishes).zip(answers) {
        shared.held.remove(finish.claim);
        match answer {
            Finished::Recorded => {
                let (queued, ran) = (Duration::from_millis(finish.receipt.queue_ms), facts.ran_for);
                let is_final = matches!(finish.next, Next::Final(_));
                shared.parts.metrics.attempt(&facts.lane.task_type, finish.outcome, is_final, queued, ran, finish.receipt.fuel_used);
                let state = match finish.next {
                    Next::Final(state) => state,
                    Next::RetryAt(at) if at <= finish.finished_at => TaskState::Queued,
                    Next::RetryAt(_) => TaskState::Scheduled,
                };
                let kind = EventKind::State { state, attempt: facts.attempt, outcome: Some(finish.outcome) };
                shared.parts.events.publish(finish.finished_at, facts.id, &facts.lane.task_type, facts.lane.ai_model.as_ref(), kind);
                if state == TaskState::Succeeded && facts.lane.task_type.as_str() == crate::stripe::breaks::TASK_TYPE {
                    shared.reconciled.notify_one();
                }
            }
            Finished::Stale => {
                shared.parts.metrics.stale_results.inc();
                tracing::warn!(task = %facts.id, attempt = facts.attempt, "a result came after its lease was lost and was refused");
            }
        }
    }
}
