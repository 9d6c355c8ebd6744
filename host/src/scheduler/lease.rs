//! Says that this host is alive, hears which of its tasks to stop, and takes back what dead hosts held.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::held::Stop;
use super::{Shared, claims};
use crate::task::{Next, Outcome, next};

/// Parts of a lease between two heartbeats.
const BEATS: u32 = 3;
/// The same while the store does not answer, so that a lease that is nearly over is renewed as soon as it can be.
const BEATS_IN_NEED: u32 = 15;

/// Before anything is claimed: says that this host lives, because a claim without a lease could be taken back at once; and where only one
/// host can have the store open, whatever is claimed already was claimed by a predecessor that died.
pub(super) async fn take_over(shared: &Shared) {
    heartbeat(shared).await;
    if shared.config.alone {
        reap(shared, true).await;
    }
}

pub(super) async fn run(shared: Arc<Shared>, stopped: CancellationToken) {
    let (clock, lease) = (&shared.parts.clock, shared.config.lease);
    let mut lease_end = clock.monotonic() + lease;
    loop {
        let asked = clock.monotonic();
        let renewed = tokio::select! {
            renewed = renew(&shared, lease_end) => renewed,
            // A store that does not answer must not keep a host from stopping.
            () = stopped.cancelled() => return,
        };
        let pause = if renewed {
            lease_end = asked + lease;
            claims::give_back_again(&shared).await;
            reap(&shared, false).await;
            lease / BEATS
        } else {
            let left = lease_end.saturating_sub(clock.monotonic());
            let pause = lease / BEATS_IN_NEED;
            if left.is_zero() { pause } else { pause.min(left) }
        };
        tokio::select! {
            () = stopped.cancelled() => return,
            () = clock.sleep(pause) => {}
            () = shared.parts.bells.cancel.notified() => {}
        }
    }
}

/// Renews the lease; whether that was done. At the lease's end, whether or not the store has answered, everything stops that runs under it.
async fn renew(shared: &Shared, lease_end: Duration) -> bool {
    let clock = &shared.parts.clock;
    let beat = heartbeat(shared);
    tokio::pin!(beat);
    let renewed = tokio::select! {
        biased;
        renewed = &mut beat => Some(renewed),
        () = clock.sleep(lease_end.saturating_sub(clock.monotonic())) => None,
    };
    if renewed == Some(true) {
        return true;
    }
    if clock.monotonic() >= lease_end && shared.held.stop_all(Stop::LeaseLost) > 0 {
        // Other hosts may have taken these tasks over by now; going on could only do things twice.
        tracing::error!("the lease could not be renewed in time; stopping what runs");
    }
    match renewed {
        Some(renewed) => renewed,
        None => beat.await,
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
        next(Outcome::Lost, attempt, max_attempts, lost, None::<Duration>, false, &policy, now, 0.0)
    };
    match shared.parts.store.reap(now, all, &decide).await {
        Ok(lost) if lost.is_empty() => {}
        Ok(lost) => {
            tracing::warn!(tasks = lost.len(), "took back tasks of a host that is gone");
            shared.parts.metrics.reaped.inc_by(lost.len() as u64);
            shared.parts.bells.changed();
        }
        Err(error) => tracing::error!(%error, "could not look for tasks of dead hosts"),
    }
}
