//! One attempt of a task that the host runs itself, under the same deadline and cancellation as a guest.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::runtime::{Report, Usage};
use crate::store::ClaimedTask;
use crate::task::{NativeCall, NativeFailure, NativeTask, Outcome};

pub(super) async fn run(
    native: &dyn NativeTask,
    task: &ClaimedTask,
    wall_ms: u64,
    clock: &SharedClock,
    cancel: CancellationToken,
) -> Report {
    let started = clock.monotonic();
    let call = NativeCall {
        id: task.id,
        lane: task.lane.clone(),
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        payload: task.payload.clone(),
        idempotency_key: task.idempotency_key.clone(),
        cancel: cancel.child_token(),
    };
    // What the call has started besides itself hears of its end, however it ends.
    let _stops_with_this = call.cancel.clone().drop_guard();
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Err((Outcome::Cancelled, "the task was cancelled while it ran".to_owned(), None)),
        () = clock.sleep(Duration::from_millis(wall_ms)) => {
            Err((Outcome::Deadline, format!("the task ran longer than wall_ms allows: {wall_ms} ms"), None))
        }
        answer = native.execute(call) => answer.map_err(failed),
    };
    let (outcome, result, error, retry_after) = match ended {
        Ok(result) => (Outcome::Succeeded, Some(result), None, None),
        Err((outcome, error, retry_after)) => (outcome, None, Some(error), retry_after),
    };
    let bytes = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
    let usage = Usage {
        input_bytes: bytes(&task.payload),
        output_bytes: result.as_deref().map_or(0, bytes),
        run_time: clock.monotonic().saturating_sub(started),
        ..Usage::default()
    };
    Report { outcome, result, error, retry_after, usage, logs: Vec::new(), outputs: Vec::new(), children: Vec::new() }
}

fn failed(failure: NativeFailure) -> (Outcome, String, Option<Duration>) {
    match failure {
        NativeFailure::Invalid(reason) => (Outcome::Invalid, reason, None),
        NativeFailure::Permanent(reason) => (Outcome::Permanent, reason, None),
        NativeFailure::Transient { reason, retry_after } => (Outcome::Transient, reason, retry_after),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::clock::{UnixMs, VirtualClock};
    use crate::store::Claim;
    use crate::task::{LaneKey, NativeManifest, Priority, TaskId, TaskPlan, TaskType};

    /// Does what its payload says.
    struct Obedient;

    #[async_trait]
    impl NativeTask for Obedient {
        fn manifest(&self) -> NativeManifest {
            NativeManifest { name: "obedient", task_type: "test.obey", description: "", wall_ms: 100 }
        }

        async fn execute(&self, call: NativeCall) -> Result<Box<str>, NativeFailure> {
            match &*call.payload {
                "1" => Ok(Box::from("{}")),
                "2" => Err(NativeFailure::Transient { reason: "later".to_owned(), retry_after: Some(Duration::from_millis(7)) }),
                "3" => Err(NativeFailure::Invalid("no".to_owned())),
                _ => std::future::pending().await,
            }
        }
    }

    fn task(payload: &str) -> ClaimedTask {
        ClaimedTask {
            claim: Claim { seq: 1, token: 1 },
            id: TaskId::new(),
            lane: LaneKey { task_type: TaskType::new("test.obey").unwrap(), ai_model: None },
            priority: Priority::Normal,
            run_key: 0,
            payload: payload.into(),
            plan: TaskPlan::default(),
            attempt: 1,
            max_attempts: 3,
            lost: 0,
            larger_limits: false,
            tenant: None,
            idempotency_key: None,
            ready_at: UnixMs(0),
        }
    }

    async fn outcome_of(payload: &str, cancel: CancellationToken, later: Duration) -> Report {
        let time = VirtualClock::starting_at(UnixMs(0));
        let clock: SharedClock = Arc::clone(&time) as SharedClock;
        let task = task(payload);
        let run = run(&Obedient, &task, 100, &clock, cancel);
        tokio::pin!(run);
        // The first poll arms the deadline; only then may time move.
        if let std::task::Poll::Ready(report) = futures::poll!(&mut run) {
            return report;
        }
        time.advance(later);
        run.await
    }

    #[tokio::test]
    async fn answers_become_outcomes() {
        let never = CancellationToken::new;
        let done = outcome_of("1", never(), Duration::ZERO).await;
        assert_eq!((done.outcome, done.result.as_deref()), (Outcome::Succeeded, Some("{}")));
        let later = outcome_of("2", never(), Duration::ZERO).await;
        assert_eq!((later.outcome, later.retry_after), (Outcome::Transient, Some(Duration::from_millis(7))));
        assert_eq!(outcome_of("3", never(), Duration::ZERO).await.outcome, Outcome::Invalid);
    }

    #[tokio::test]
    async fn the_deadline_and_a_cancellation_end_a_call_that_would_not() {
        let late = outcome_of("4", CancellationToken::new(), Duration::from_millis(100)).await;
        assert_eq!((late.outcome, late.usage.run_time), (Outcome::Deadline, Duration::from_millis(100)));
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert_eq!(outcome_of("4", cancel, Duration::ZERO).await.outcome, Outcome::Cancelled);
    }
}
