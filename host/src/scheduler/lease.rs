//! Says that this host is alive, hears which of its tasks to stop, and takes back what dead hosts held.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::held::Stop;
use crate::task::{Next, Outcome, next};

/// Before anything is claimed: says that this host lives, because a claim without a lease could be taken back at once; and where only one host can have the store open, whatever is claimed already was claimed by a predecessor
/// that died.
pub(super) async fn take_over(shared: &Shared) {
    heartbeat(shared).await;
    if shared.config.alone {
        reap(shared, true).await;
    }
}

pub(super) async fn run(shared: Arc<Shared>, stopped: CancellationToken) {
    let parts = &shared.parts;
    let beat = shared.config.lease / 3;
    let mut last_heard = parts.clock.monotonic();
    loop {
        let asked = parts.clock.monotonic();
        if heartbeat(&shared).await {
            last_heard = asked;
        } else if asked.saturating_sub(last_heard) >= shared.config.lease {
            // Other hosts may have taken these tasks over by now; going on could only do things twice.
            tracing::error!("the lease could not be renewed in time; stopping what runs");
            shared.held.stop_all(Stop::LeaseLost);
        }
        reap(&shared, false).await;
        let next_beat = parts.clock.sleep(beat);
        tokio::pin!(next_beat);
        loop {
            tokio::select! {
                () = stopped.cancelled() => return,
                () = &mut next_beat => break,
                () = parts.bells.cancel.notified() => {
                    heartbeat(&shared).await;
                }
            }
        }
    }
}

async fn heartbeat(shared: &Shared) -> bool {
    // Looked at before the store is asked: a claim granted after this cannot be mistaken for a lost one.
    let held_before = shared.held.all();
    let now = shared.parts.clock.now();
    match shared.parts.store.heartbeat(&shared.config.host, now, now.plus(shared.config.lease)).await {
        Ok(heard) => {
            for claim in heard.cancel {
                shared.held.stop(claim, Stop::Cancelled);
            }
            let still_ours: HashSet<_> = heard.held.into_iter().collect();
            for claim in held_before.into_iter().filter(|claim| !still_ours.contains(claim)) {
                shared.held.stop(claim, Stop::LeaseLost);
            }
            true
        }
        Err(error) => {
            tracing::error!(%error, "could not renew the lease");
            false
        }
    }
}

async fn reap(shared: &Shared, all: bool) {
    let now = shared.parts.clock.now();
    let policy = shared.config.retry;
    let decide = move |attempt: u32, max_attempts: u32, lost: u32| -> Next {
        next(Outcome::Lost, attempt, max_attempts, lost, None::<Duration>, &policy, now, 0.0)
    };
    match shared.parts.store.reap(now, all, &decide).await {
        Ok(lost) if lost.is_empty() => {}
        Ok(lost) => {
            tracing::warn!(tasks = lost.len(), "took back tasks of a host that is gone");
            shared.parts.metrics.reaped.inc_by(lost.len() as u64);
            shared.parts.bells.work.notify_one();
        }
        Err(error) => tracing::error!(%error, "could not look for tasks of dead hosts"),
    }
}
