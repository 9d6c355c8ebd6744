//! Deletes what has been kept long enough, a little at a time, so that nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;

const PAUSE: Duration = Duration::from_secs(60);
const SHORT_PAUSE: Duration = Duration::from_millis(200);
const TASKS_PER_TURN: u32 = 1_000;
const BLOBS_PER_TURN: u32 = 100;
const STRIPE_BODIES_PER_TURN: u32 = 500;
const FINDINGS_PER_TURN: u32 = 1_000;
const STATS_PER_TURN: u32 = 1_000;
/// How long the host's own figures and people's ratings are kept: as far back as `anomaly.watch` can look, and a little more.
const STATS_KEPT: Duration = Duration::from_secs(92 * 86_400);

pub(super) async fn run(shared: Arc<Shared>, stopped: CancellationToken) {
    loop {
        let more = turn(&shared).await;
        let pause = if more { SHORT_PAUSE } else { PAUSE };
        tokio::select! {
            () = stopped.cancelled() => return,
            () = shared.parts.clock.sleep(pause) => {}
        }
    }
}

/// One turn; whether there may be more to delete.
async fn turn(shared: &Shared) -> bool {
    let now = shared.parts.clock.now();
    let mut more = false;
    if let Some(keep) = shared.config.retention {
        match shared.parts.store.prune(now.minus(keep), TASKS_PER_TURN).await {
            Ok(deleted) => more |= deleted >= u64::from(TASKS_PER_TURN),
            Err(error) => tracing::error!(%error, "could not delete old tasks"),
        }
        match shared.parts.store.prune_findings(now.minus(keep), FINDINGS_PER_TURN).await {
            Ok(deleted) => more |= deleted >= u64::from(FINDINGS_PER_TURN),
            Err(error) => tracing::error!(%error, "could not delete old findings"),
        }
    }
    match shared.parts.store.prune_task_stats(now.minus(STATS_KEPT), STATS_PER_TURN).await {
        Ok(deleted) => more |= deleted >= u64::from(STATS_PER_TURN),
        Err(error) => tracing::error!(%error, "could not delete old figures"),
    }
    match shared.parts.store.prune_ratings(now.minus(STATS_KEPT), STATS_PER_TURN).await {
        Ok(deleted) => more |= deleted >= u64::from(STATS_PER_TURN),
        Err(error) => tracing::error!(%error, "could not delete old ratings"),
    }
    if let Some(keep) = shared.config.blob_retention {
        match shared.parts.store.prune_blobs(now.minus(keep), BLOBS_PER_TURN).await {
            Ok(deleted) => more |= deleted >= u64::from(BLOBS_PER_TURN),
            Err(error) => tracing::error!(%error, "could not delete old blobs"),
        }
    }
    if let Some(keep) = shared.config.stripe_body_retention {
        match shared.parts.store.prune_stripe_bodies(now.minus(keep), STRIPE_BODIES_PER_TURN).await {
            Ok(pruned) => more |= pruned >= u64::from(STRIPE_BODIES_PER_TURN),
            Err(error) => tracing::error!(%error, "could not take out old bodies of Stripe's events"),
        }
    }
    more
}
