//! Permit, then listen, then look.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::held::Stop;
use super::local_queue::WAIT_MAX;
use crate::clock::UnixMs;
use crate::store::{Claim, ClaimRequest, Claimed, ClaimedTask};

/// Claims tasks for as long as there is room, until `shutdown`.
pub(super) async fn run(shared: &Arc<Shared>, shutdown: &CancellationToken) {
    tokio::join!(run_ordinary(shared, shutdown), run_urgent(shared, shutdown));
}

async fn run_ordinary(shared: &Arc<Shared>, shutdown: &CancellationToken) {
    let ended = shutdown.cancelled();
    tokio::pin!(ended);
    loop {
        let room = tokio::select! {
            biased;
            () = &mut ended => return,
            room = shared.queue.room() => room,
        };
        // Armed before the look: what arrives in between rings it.
        let bell = shared.parts.bells.work.notified();
        tokio::pin!(bell);
        bell.as_mut().enable();
        let asked = shared.parts.clock.monotonic();
        let claimed = claim(shared, room, false).await;
        shared.queue.claim_took(shared.parts.clock.monotonic().saturating_sub(asked));
        let (full, next_due) = (claimed.tasks.len() >= room as usize, claimed.next_due);
        take_in(shared, claimed.tasks, false);
        if full {
            continue;
        }
        tokio::select! {
            () = &mut ended => return,
            () = bell => {}
            () = shared.parts.clock.sleep(wait_for(shared, next_due)) => {}
        }
    }
}

/// Claims what has slots of its own and is not to wait for the claim that is under way, let alone for what it brings.
async fn run_urgent(shared: &Arc<Shared>, shutdown: &CancellationToken) {
    let ended = shutdown.cancelled();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            biased;
            () = &mut ended => return,
            () = shared.parts.bells.urgent.notified() => {}
            // The usual claims look from time to time, unless there is no room for what they would find.
            () = shared.parts.clock.sleep(shared.config.poll) => {
                if shared.queue.room_now().is_some() {
                    continue;
                }
            }
        }
        let room = shared.queue.room_for_urgent();
        let claimed = if room > 0 { claim(shared, room, true).await } else { Claimed::default() };
        let left = claimed.tasks.len() >= room as usize;
        take_in(shared, claimed.tasks, true);
        if left {
            // There may be more of it, for which there is room in its turn.
            shared.parts.bells.work.notify_one();
        } else {
            shared.queue.no_urgent_left();
        }
    }
}

async fn claim(shared: &Shared, room: u32, urgent_only: bool) -> Claimed {
    let request = ClaimRequest { host: Arc::clone(&shared.config.host), now: shared.parts.clock.now(), max_tasks: room, urgent_only };
    match shared.parts.store.claim(request).await {
        Ok(claimed) => claimed,
        Err(error) => {
            // The next look comes after the poll interval: the queue is durable, only time is lost.
            tracing::error!(%error, "could not claim tasks; trying again");
            Claimed::default()
        }
    }
}

fn take_in(shared: &Shared, tasks: Vec<ClaimedTask>, urgent: bool) {
    if !tasks.is_empty() {
        shared.held.add(tasks.iter().map(|task| task.claim));
        shared.queue.put(tasks, urgent);
    }
}

fn wait_for(shared: &Shared, next_due: Option<UnixMs>) -> std::time::Duration {
    let poll = shared.config.poll;
    // At least a millisecond: a task that became due while we looked must not make a busy loop.
    next_due.map_or(poll, |due| due.since(shared.parts.clock.now()).clamp(std::time::Duration::from_millis(1), poll))
}

/// Gives claimed tasks back that no thread took in time: another host may be free, and a more urgent task may have come.
pub(super) async fn return_overdue(shared: Arc<Shared>, stopped: CancellationToken) {
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            () = shared.queue.filled() => {}
        }
        tokio::select! {
            // What still waits then is given back by `drain`.
            () = stopped.cancelled() => return,
            () = shared.parts.clock.sleep(WAIT_MAX) => {}
        }
        let overdue = shared.queue.overdue();
        if !overdue.is_empty() {
            tracing::debug!(tasks = overdue.len(), "gave back tasks that no slot took in time");
            let places = overdue.iter().map(|task| (task.claim, task.ready_at)).collect();
            give_back(&shared, places).await;
        }
    }
}

/// Puts claims back in the queue at their old places.
pub(super) async fn give_back(shared: &Shared, places: Vec<(Claim, UnixMs)>) {
    let mut by_place: BTreeMap<UnixMs, Vec<Claim>> = BTreeMap::new();
    for (claim, ready_at) in places {
        shared.held.remove(claim);
        by_place.entry(ready_at).or_default().push(claim);
    }
    for (ready_at, claims) in by_place {
        if let Err(error) = shared.parts.store.give_back(claims.clone(), ready_at, shared.parts.clock.now()).await {
            // As long as this host lives nobody else takes them: they are its own to bring back.
            tracing::error!(%error, tasks = claims.len(), "could not give tasks back; trying again");
            shared.not_given_back.lock().extend(claims.into_iter().map(|claim| (claim, ready_at)));
        }
    }
}

/// Puts back what could not be put back before. Doing it twice does no harm: a claim that is not held any more is passed over.
pub(super) async fn give_back_again(shared: &Shared) {
    let places = std::mem::take(&mut *shared.not_given_back.lock());
    if !places.is_empty() {
        give_back(shared, places).await;
        shared.parts.bells.work.notify_one();
    }
}

/// Ends the day: what waits goes back, what runs may end within the drain time, the rest is stopped and goes back too.
pub(super) async fn drain(shared: &Arc<Shared>) {
    let waiting = shared.queue.empty();
    give_back(shared, waiting.iter().map(|task| (task.claim, task.ready_at)).collect()).await;
    let running = shared.queue.running();
    if running > 0 {
        tracing::info!(running, drain_ms = shared.config.drain.as_millis(), "waiting for running tasks to end");
    }
    let all_ended = async {
        while shared.queue.running() > 0 {
            shared.queue.changed().await;
        }
    };
    tokio::select! {
        () = all_ended => {}
        () = shared.parts.clock.sleep(shared.config.drain) => {
            shared.held.stop_all(Stop::Shutdown);
        }
    }
}
