//! Turns what reconciliations left behind into findings.
//!
//! The finisher rings when one has succeeded; the latest are looked at then and at the start, so that none is missed because a host died
//! between the two. Reporting twice changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::clock::UnixMs;
use crate::store::{Reported, StoreError, TaskFilter};
use crate::stripe::breaks::{OUTPUT, Reconciled, TASK_TYPE, report};
use crate::task::{Task, TaskId, TaskState, TaskType};

/// How many of the latest reconciliations are looked at.
const LATEST_MAX: u32 = 20;
const RETRY_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn run(shared: Arc<Shared>, stopped: CancellationToken) {
    // Read once each, as long as this host lives.
    let mut told: BTreeSet<TaskId> = BTreeSet::new();
    loop {
        // Armed before the look: an end in between rings it.
        let bell = shared.reconciled.notified();
        tokio::pin!(bell);
        bell.as_mut().enable();
        let looked = look(&shared, &mut told).await;
        if let Err(error) = &looked {
            tracing::error!(%error, "could not look at reconciliations; trying again");
        }
        tokio::select! {
            () = stopped.cancelled() => return,
            () = bell => {}
            () = shared.parts.clock.sleep(RETRY_PAUSE), if looked.is_err() => {}
        }
    }
}

async fn look(shared: &Shared, told: &mut BTreeSet<TaskId>) -> Result<(), StoreError> {
    let task_type = TaskType::new(TASK_TYPE).map_err(|error| StoreError::Broken(error.0))?;
    let filter = TaskFilter { state: Some(TaskState::Succeeded), task_type: Some(task_type), limit: LATEST_MAX, ..TaskFilter::default() };
    let latest = shared.parts.store.tasks(filter).await?.tasks;
    told.retain(|id| latest.iter().any(|task| task.id == *id));
    // Oldest first: what the earlier ones found is new before the later ones find it gone.
    for task in latest.iter().rev() {
        if !told.contains(&task.id) {
            tell(shared, task).await?;
            told.insert(task.id);
        }
    }
    Ok(())
}

async fn tell(shared: &Shared, task: &Task) -> Result<(), StoreError> {
    let (Some(result), Some(breaks)) = (&task.result, shared.parts.store.output(task.id, OUTPUT).await?) else {
        tracing::warn!(task = %task.id, "a reconciliation left no list of breaks; it changes no findings");
        return Ok(());
    };
    let reconciled = Reconciled {
        task: task.id,
        payload: task.payload.get(),
        carries_open: task.plan.inputs.contains_key("open"),
        result: result.get(),
        breaks_csv: &breaks.bytes,
        finished_at: task.finished_at.unwrap_or(UnixMs(0)),
    };
    let report = match report(&reconciled) {
        Ok(report) => report,
        Err(error) => {
            tracing::warn!(task = %task.id, %error, "what a reconciliation left cannot be read; it changes no findings");
            return Ok(());
        }
    };
    if let Reported::Applied(changes) = shared.parts.store.report_findings(report).await? {
        shared.parts.events.publish_findings(shared.parts.clock.now(), task.id, task.task_type(), task.ai_model(), &changes);
    }
    Ok(())
}
