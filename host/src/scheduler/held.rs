//! Every claim this host holds, from the claim until its end is on its way to the store, so that it can be stopped.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::store::Claim;

/// Why a run is being stopped by this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody cancelled the task.
    Cancelled,
    /// The host is shutting down; the task goes back to the queue.
    Shutdown,
    /// The lease is gone: whatever the run yields will be refused.
    LeaseLost,
}

#[derive(Default)]
pub(super) struct Held {
    claims: Mutex<HashMap<Claim, Entry>>,
}

struct Entry {
    cancel: CancellationToken,
    stop: Option<Stop>,
}

impl Held {
    pub(super) fn add(&self, claims: impl IntoIterator<Item = Claim>) {
        let mut held = self.claims.lock();
        held.extend(claims.into_iter().map(|claim| (claim, Entry { cancel: CancellationToken::new(), stop: None })));
    }

    /// What stops this claim's run. A claim that is not held is stopped already.
    pub(super) fn cancel_token(&self, claim: Claim) -> CancellationToken {
        self.claims.lock().get(&claim).map_or_else(
            || {
                let stopped = CancellationToken::new();
                stopped.cancel();
                stopped
            },
            |entry| entry.cancel.clone(),
        )
    }

    /// Forgets a claim.
    pub(super) fn remove(&self, claim: Claim) {
        self.claims.lock().remove(&claim);
    }

    /// Why a claim is being stopped, if it is.
    pub(super) fn why_stopped(&self, claim: Claim) -> Option<Stop> {
        self.claims.lock().get(&claim).and_then(|entry| entry.stop)
    }

    /// Stops one claim's run. The first reason stands.
    pub(super) fn stop(&self, claim: Claim, why: Stop) {
        if let Some(entry) = self.claims.lock().get_mut(&claim) {
            entry.stop.get_or_insert(why);
            entry.cancel.cancel();
        }
    }

    /// Stops everything; how many claims had not been stopped before.
    pub(super) fn stop_all(&self, why: Stop) -> usize {
        let mut stopped = 0;
        for entry in self.claims.lock().values_mut() {
            if entry.stop.is_none() {
                entry.stop = Some(why);
                stopped += 1;
            }
            entry.cancel.cancel();
        }
        stopped
    }

    /// The claims held now.
    pub(super) fn all(&self) -> Vec<Claim> {
        self.claims.lock().keys().copied().collect()
    }
}
