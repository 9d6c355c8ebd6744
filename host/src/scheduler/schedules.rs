//! Submits what schedules say is due.
//!
//! No host is in charge. Each submits what it finds due under a key made of the schedule's name and the time of the run, which gives a
//! second submitter the first one's task, and then moves the schedule on, which works once. A host that dies in between leaves a
//! schedule that is still due, and the next one goes the same two steps.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::clock::UnixMs;
use crate::event::EventKind;
use crate::schedule::{Schedule, Turn};
use crate::store::{Advance, Conflict, StoreError, Submitted};

/// Schedules that are looked at in one go.
const DUE_MAX: u32 = 100;
/// The longest time between two looks: how late a host may hear of a schedule that was put at another, or of a clock that was set.
const POLL: Duration = Duration::from_secs(10);
/// The pause after an error.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(shared: Arc<Shared>, stopped: CancellationToken) {
    loop {
        // Armed before the look: a change in between rings it.
        let bell = shared.parts.bells.schedules.notified();
        tokio::pin!(bell);
        bell.as_mut().enable();
        let pause = match turn(&shared).await {
            Ok(next_due) => next_due.map_or(POLL, |due| due.since(shared.parts.clock.now()).clamp(Duration::from_millis(1), POLL)),
            Err(error) => {
                tracing::error!(%error, "could not submit what schedules say is due; trying again");
                RETRY_PAUSE
            }
        };
        tokio::select! {
            () = stopped.cancelled() => return,
            () = bell => {}
            () = shared.parts.clock.sleep(pause) => {}
        }
    }
}

/// Everything that is due now; when the next is.
async fn turn(shared: &Shared) -> Result<Option<UnixMs>, StoreError> {
    let now = shared.parts.clock.now();
    let found = shared.parts.store.due_schedules(now, DUE_MAX).await?;
    let mut next_due = found.next_due;
    if found.due.len() >= usize::try_from(DUE_MAX).unwrap_or(usize::MAX) {
        next_due = Some(now);
    }
    for schedule in found.due {
        // One that cannot be submitted must not hold up the others; it is still due and comes again.
        match start(shared, &schedule, now).await {
            Ok(next) => next_due = next_due.into_iter().chain(next).min(),
            Err(error) => {
                tracing::error!(%error, schedule = %schedule.name, "could not submit the task of a schedule; trying again");
                next_due = next_due.into_iter().chain([now.plus(RETRY_PAUSE)]).min();
            }
        }
    }
    Ok(next_due)
}

async fn start(shared: &Shared, schedule: &Schedule, now: UnixMs) -> Result<Option<UnixMs>, StoreError> {
    let (Some(from), Some(turn)) = (schedule.next_due, schedule.turn(now)) else { return Ok(schedule.next_due) };
    let mut step = Advance {
        name: schedule.name.clone(),
        revision: schedule.revision,
        from,
        decided: turn.decided,
        next_due: turn.next,
        task: None,
        problem: None,
    };
    match submit(shared, schedule, turn, now).await? {
        Ok(submitted) => step.task = Some(submitted.id),
        Err(why) => {
            tracing::warn!(schedule = %schedule.name, why, "a run of a schedule was not submitted");
            step.problem = Some(why);
        }
    }
    shared.parts.store.advance_schedule(step).await?;
    Ok(turn.next)
}

/// Submits the task of a turn, or says why this run has none.
async fn submit(shared: &Shared, schedule: &Schedule, turn: Turn, now: UnixMs) -> Result<Result<Submitted, String>, StoreError> {
    let parts = &shared.parts;
    let Some(due) = turn.run else {
        return Ok(Err(format!("no host was there when the run of {} was due", turn.decided.to_rfc3339())));
    };
    if parts.registry.snapshot().route(&schedule.task.lane).is_none() {
        return Ok(Err(format!("no loaded plugin takes tasks of {}", schedule.task.lane)));
    }
    let task = match schedule.task(due) {
        Ok(task) => task,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let (lane, priority) = (task.lane.clone(), task.priority);
    let submitted = match parts.store.submit(vec![task], now).await {
        Ok(answers) => answers.first().copied(),
        // Another host submitted this run under an earlier revision of the schedule: it is done.
        Err(StoreError::Conflict(Conflict::Idempotency { existing, .. })) => {
            return Ok(Err(format!("the run of {} was submitted before the schedule was changed, as {existing}", due.to_rfc3339())));
        }
        Err(StoreError::Conflict(conflict)) => return Ok(Err(conflict.to_string())),
        Err(error) => return Err(error),
    };
    let submitted = submitted.ok_or_else(|| StoreError::Broken("the store answered fewer than it was asked".to_owned()))?;
    if submitted.created {
        let kind = EventKind::State { state: submitted.state, attempt: 0, outcome: None };
        parts.events.publish(now, submitted.id, &lane.task_type, lane.ai_model.as_ref(), kind);
        parts.metrics.submitted(&lane.task_type, 1);
        parts.bells.submitted(priority);
    }
    Ok(Ok(submitted))
}
