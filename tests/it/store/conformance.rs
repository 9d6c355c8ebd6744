//! What every store must do, written against the traits. Each function takes a fresh store; `conformance!` runs it on each backend.

use std::sync::Arc;

use taskwarden::store::{CancelAnswer, Claim, Conflict, Finished, LanePatch, RetryAnswer, Store, StoreError, TaskFilter};
use taskwarden::task::{LogLevel, LogLine, NewTask, Next, Outcome, Output, Priority, TaskId, TaskState, TaskType};

use super::children::children_come_with_the_success_of_their_parent_or_not_at_all;
use super::settings::{a_retry_with_larger_limits_is_remembered, settings_plugins_and_tokens};
use super::sharing::{
    a_noisy_tenant_does_not_delay_a_quiet_one, hosts_are_shown_with_what_they_hold, lanes_are_served_by_weight_and_not_by_count,
    lanes_of_one_weight_go_by_priority_and_age_and_an_idle_one_costs_nothing, tenants_are_served_by_weight_and_not_by_count,
    within_a_tenant_priority_decides,
};
use super::support::{NOW, at, claim, claim_urgent, finish, keyed, lane, new_task, simple, state, submit, succeed};

macro_rules! conformance {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let opened = crate::store::sqlite::open().await;
                    super::$name(opened.shared()).await;
                    opened.store.close().await;
                }
            )+
        }

        mod on_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    let opened = crate::store::postgres::open().await;
                    super::$name(opened.shared()).await;
                    opened.close().await;
                }
            )+
        }
    };
}

conformance!(
    a_task_goes_through_its_life,
    urgent_tasks_come_first_and_age_counts,
    lanes_that_are_paused_or_full_are_passed_over,
    many_lanes_are_merged_in_order,
    scheduled_tasks_wait_for_their_time,
    a_failed_attempt_is_retried_when_it_was_told_to,
    a_retry_with_larger_limits_is_remembered,
    a_late_result_is_refused,
    a_repeated_key_gives_the_first_task_back,
    a_batch_is_all_or_nothing,
    cancelling,
    cancelling_wins_over_a_retry,
    retrying_by_hand_grants_a_full_set_of_attempts,
    claims_are_given_back_uncounted,
    a_host_that_fell_silent_loses_its_tasks,
    logs_and_outputs_and_journal,
    the_listing_is_newest_first_in_pages,
    children_come_with_the_success_of_their_parent_or_not_at_all,
    old_tasks_are_pruned_with_all_that_is_theirs,
    too_many_lanes_are_refused,
    settings_plugins_and_tokens,
    a_flood_does_not_hold_up_what_is_urgent,
    within_a_tenant_priority_decides,
    hosts_are_shown_with_what_they_hold,
    a_noisy_tenant_does_not_delay_a_quiet_one,
    tenants_are_served_by_weight_and_not_by_count,
    lanes_are_served_by_weight_and_not_by_count,
    lanes_of_one_weight_go_by_priority_and_age_and_an_idle_one_costs_nothing,
);

async fn a_task_goes_through_its_life(store: Arc<dyn Store>) {
    let mut new = new_task(lane("implement_idea", Some("claude-3/opus latest")), Priority::High);
    new.plan.tags = vec!["a".to_owned(), "b \"quoted\"".to_owned()];
    new.plan.limits = new.plan.limits.with(taskwarden::limits::Limit::Fuel, 5);
    let submitted = store.submit(vec![new.clone()], NOW).await.unwrap()[0];
    assert_eq!((submitted.id, submitted.created, submitted.state), (new.id, true, TaskState::Queued));
    let task = store.task(new.id).await.unwrap().unwrap();
    assert_eq!((task.lane.clone(), task.priority, task.plan, task.attempt), (new.lane.clone(), Priority::High, new.plan.clone(), 0));
    assert_eq!((task.created_at, task.run_at, task.started_at, task.finished_at), (NOW, NOW, None, None));

    let claimed = claim(&store, 5, at(10)).await.tasks.remove(0);
    assert_eq!((claimed.id, claimed.lane.clone(), claimed.attempt, claimed.max_attempts, claimed.lost), (new.id, new.lane, 1, 3, 0));
    assert_eq!((&*claimed.payload, claimed.plan.clone(), claimed.ready_at), (r#"{"n":1}"#, new.plan, NOW));
    let running = store.task(new.id).await.unwrap().unwrap();
    assert_eq!((running.state, running.attempt, running.started_at), (TaskState::Running, 1, Some(at(10))));
    assert!(claim(&store, 5, at(10)).await.tasks.is_empty(), "nobody gets it twice");

    let done = succeed(&claimed, at(20));
    assert_eq!(store.finish(vec![done.clone()]).await.unwrap(), [Finished::Recorded]);
    let task = store.task(new.id).await.unwrap().unwrap();
    assert_eq!((task.state, task.outcome, task.finished_at), (TaskState::Succeeded, Some(Outcome::Succeeded), Some(at(20))));
    assert_eq!(task.result.unwrap().get(), r#"{"ok":true}"#);
    assert_eq!(task.receipt, Some(done.receipt));
    let lane = store.lanes().await.unwrap().remove(0);
    assert_eq!((lane.queued, lane.scheduled, lane.running, lane.oldest_ready_at), (0, 0, 0, None));
    assert!(store.task(TaskId::new()).await.unwrap().is_none());
}

async fn urgent_tasks_come_first_and_age_counts(store: Arc<dyn Store>) {
    let mut ids = Vec::new();
    for priority in Priority::ALL {
        ids.extend(submit(&store, vec![new_task(lane("a", None), priority), new_task(lane("b", Some("m")), priority)]).await);
    }
    // Critical, but so late that even a background task has waited longer than the four steps between them.
    let late = new_task(lane("a", None), Priority::Critical);
    store.submit(vec![late.clone()], at(4 * 60_000 + 1)).await.unwrap();
    let mut order: Vec<_> = claim(&store, 3, at(300_000)).await.tasks;
    order.extend(claim(&store, 100, at(300_000)).await.tasks);
    let keys: Vec<i64> = order.iter().map(|task| task.run_key).collect();
    assert!(keys.is_sorted());
    let priorities: Vec<_> = order.iter().map(|task| task.priority).collect();
    use Priority::{Background, Critical, High, Low, Normal};
    assert_eq!(priorities, [Critical, Critical, High, High, Normal, Normal, Low, Low, Background, Background, Critical]);
    assert_eq!(order[10].id, late.id);
    assert_eq!([order[0].id, order[1].id], [ids[8], ids[9]], "equals in the order they came");
}

async fn lanes_that_are_paused_or_full_are_passed_over(store: Arc<dyn Store>) {
    let (paused, capped, free) = (lane("paused", None), lane("capped", None), lane("free", None));
    for lane in [&paused, &capped, &free] {
        submit(&store, (0..10).map(|_| new_task(lane.clone(), Priority::Normal)).collect()).await;
    }
    store.set_lane(&paused, LanePatch { paused: Some(true), ..LanePatch::default() }).await.unwrap();
    let set = store.set_lane(&capped, LanePatch { concurrency_cap: Some(Some(2)), ..LanePatch::default() }).await.unwrap();
    assert_eq!((set.concurrency_cap, set.queued, set.weight, set.oldest_ready_at), (Some(2), 10, 1, Some(NOW)));
    let tasks = claim(&store, 100, NOW).await.tasks;
    let of = |name: &str| tasks.iter().filter(|task| task.lane.task_type.as_str() == name).count();
    assert_eq!((of("paused"), of("capped"), of("free")), (0, 2, 10));
    let one = tasks.iter().find(|task| task.lane == capped).unwrap();
    store.finish(vec![succeed(one, NOW)]).await.unwrap();
    assert_eq!(claim(&store, 100, NOW).await.tasks.len(), 1, "a slot of the capped lane is free again");
    store.set_lane(&capped, LanePatch { concurrency_cap: Some(None), ..LanePatch::default() }).await.unwrap();
    assert_eq!(claim(&store, 100, NOW).await.tasks.len(), 7);
    store.set_lane(&paused, LanePatch { paused: Some(false), weight: Some(9), ..LanePatch::default() }).await.unwrap();
    assert_eq!(claim(&store, 4, NOW).await.tasks.len(), 4);
    let lanes = store.lanes().await.unwrap();
    let lane = lanes.iter().find(|lane| lane.key == paused).unwrap();
    assert_eq!((lane.queued, lane.running, lane.weight, lane.paused), (6, 4, 9, false));
}

async fn many_lanes_are_merged_in_order(store: Arc<dyn Store>) {
    // More lanes than are read deeply at once, some of them deep, with keys that interleave.
    for round in 0..6_i64 {
        for number in 0..40_i64 {
            let new = new_task(lane("many", Some(&format!("model-{number}"))), Priority::Normal);
            let depth = if number % 7 == 0 { 8 } else { 1 };
            let batch = (0..depth).map(|_| NewTask { id: TaskId::new(), ..new.clone() }).collect();
            store.submit(batch, at((number * 37 + round * 11) % 101)).await.unwrap();
        }
    }
    let total: u64 = store.lanes().await.unwrap().iter().map(|lane| lane.queued).sum();
    let mut keys = Vec::new();
    for size in [1, 3, 30, 64, 500] {
        keys.extend(claim(&store, size, at(200)).await.tasks.into_iter().map(|task| (task.run_key, task.claim.seq)));
    }
    assert_eq!(u64::try_from(keys.len()).unwrap(), total);
    assert!(keys.is_sorted(), "the smallest keys over all lanes come first");
}

async fn scheduled_tasks_wait_for_their_time(store: Arc<dyn Store>) {
    let later = NewTask { run_at: at(5_000), ..simple() };
    let submitted = store.submit(vec![later.clone(), simple()], NOW).await.unwrap();
    assert_eq!([submitted[0].state, submitted[1].state], [TaskState::Scheduled, TaskState::Queued]);
    let claimed = claim(&store, 10, at(4_999)).await;
    assert_eq!((claimed.tasks.len(), claimed.next_due), (1, Some(at(5_000))));
    let lane = store.lanes().await.unwrap().remove(0);
    assert_eq!((lane.queued, lane.scheduled, lane.running), (0, 1, 1));
    let claimed = claim(&store, 10, at(5_000)).await;
    assert_eq!((claimed.tasks[0].id, claimed.next_due), (later.id, None));
    assert_eq!(claimed.tasks[0].ready_at, at(5_000), "its wait counts from when it was due");
}

async fn a_failed_attempt_is_retried_when_it_was_told_to(store: Arc<dyn Store>) {
    let id = submit(&store, vec![simple()]).await[0];
    let first = claim(&store, 1, NOW).await.tasks.remove(0);
    store.finish(vec![finish(&first, Outcome::Transient, Next::RetryAt(at(1_000)), at(10))]).await.unwrap();
    let task = store.task(id).await.unwrap().unwrap();
    assert_eq!((task.state, task.outcome, task.run_at), (TaskState::Scheduled, Some(Outcome::Transient), at(1_000)));
    assert_eq!((task.finished_at, task.error.as_deref()), (None, Some("it ended as transient")));
    assert!(claim(&store, 1, at(999)).await.tasks.is_empty());
    let second = claim(&store, 1, at(1_000)).await.tasks.remove(0);
    assert_eq!((second.id, second.attempt, second.lost), (id, 2, 0));
    assert!(second.claim.token != first.claim.token);
    store.finish(vec![finish(&second, Outcome::Trap, Next::RetryAt(at(1_010)), at(1_010))]).await.unwrap();
    assert_eq!(state(&store, id).await, TaskState::Queued, "a retry that is due at once does not wait");
    let third = claim(&store, 1, at(1_010)).await.tasks.remove(0);
    store.finish(vec![finish(&third, Outcome::Invalid, Next::Final(TaskState::Failed), at(1_020))]).await.unwrap();
    let task = store.task(id).await.unwrap().unwrap();
    assert_eq!((task.state, task.outcome, task.attempt, task.finished_at), (TaskState::Failed, Some(Outcome::Invalid), 3, Some(at(1_020))));
}

async fn a_late_result_is_refused(store: Arc<dyn Store>) {
    let id = submit(&store, vec![simple()]).await[0];
    let first = claim(&store, 1, NOW).await.tasks.remove(0);
    store.give_back(vec![first.claim], NOW, NOW).await.unwrap();
    let second = claim(&store, 1, NOW).await.tasks.remove(0);
    let forged = Claim { seq: first.claim.seq + 1000, token: second.claim.token };
    let answers = store
        .finish(vec![
            finish(&first, Outcome::Trap, Next::Final(TaskState::Failed), NOW),
            succeed(&second, NOW),
            succeed(&second, NOW),
            taskwarden::store::Finish { claim: forged, ..succeed(&second, NOW) },
        ])
        .await
        .unwrap();
    assert_eq!(answers, [Finished::Stale, Finished::Recorded, Finished::Stale, Finished::Stale]);
    assert_eq!(state(&store, id).await, TaskState::Succeeded);
}

async fn a_repeated_key_gives_the_first_task_back(store: Arc<dyn Store>) {
    let first = keyed("k", 1, None);
    let answers = store.submit(vec![first.clone(), keyed("k", 1, None), keyed("other", 1, None)], NOW).await.unwrap();
    assert_eq!((answers[1].id, answers[1].created), (first.id, false), "within one batch");
    assert!(answers[2].created);
    claim(&store, 1, NOW).await;
    let again = store.submit(vec![keyed("k", 1, None)], NOW).await.unwrap()[0];
    assert_eq!((again.id, again.created, again.state), (first.id, false, TaskState::Running));
    assert!(store.submit(vec![keyed("k", 2, Some("acme"))], NOW).await.unwrap()[0].created, "another tenant's key is another key");
    let refused = store.submit(vec![simple(), keyed("k", 2, None)], NOW).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(Conflict::Idempotency { index: 1, existing }) if existing == first.id), "{refused}");
    let (a, b) = (keyed("race", 1, None), keyed("race", 1, None));
    let (a, b) = tokio::join!(store.submit(vec![a], NOW), store.submit(vec![b], NOW));
    let (a, b) = (a.unwrap()[0], b.unwrap()[0]);
    assert_eq!(a.id, b.id);
    assert!(a.created != b.created);
}

async fn a_batch_is_all_or_nothing(store: Arc<dyn Store>) {
    let mut with_input = simple();
    let blob = taskwarden::task::BlobId(TaskId::new().0);
    with_input.plan.inputs.insert("series".to_owned(), taskwarden::task::InputRef::Blob(blob));
    let fine = simple();
    let refused = store.submit(vec![fine.clone(), with_input.clone()], NOW).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict(Conflict::NoSuchBlob { index: 1, input }) if input == "series"), "{refused}");
    assert!(store.task(fine.id).await.unwrap().is_none());
    store.put_blob_piece(blob, 0, bytes::Bytes::from_static(b"x"), NOW).await.unwrap();
    assert!(store.submit(vec![with_input.clone()], NOW).await.is_err(), "an upload that has not ended is not there");
    store.commit_blob(taskwarden::store::BlobInfo { id: blob, bytes: 1, sha256: [0; 32] }, NOW).await.unwrap();
    store.submit(vec![with_input], NOW).await.unwrap();
    assert_eq!(store.prune_blobs(at(1), 10).await.unwrap(), 0, "an unfinished task names it");
    let claimed = claim(&store, 10, NOW).await.tasks.remove(0);
    store.finish(vec![succeed(&claimed, NOW)]).await.unwrap();
    assert_eq!(store.prune_blobs(NOW, 10).await.unwrap(), 0, "too young");
    assert_eq!(store.prune_blobs(at(1), 10).await.unwrap(), 1);
    assert!(store.blob(blob).await.unwrap().is_none());
}

async fn cancelling(store: Arc<dyn Store>) {
    let scheduled = NewTask { run_at: at(1_000), ..simple() };
    let ids = submit(&store, vec![simple(), scheduled]).await;
    assert_eq!(store.cancel(ids[1], at(1)).await.unwrap(), CancelAnswer::Cancelled);
    let claimed = claim(&store, 10, at(2)).await;
    assert_eq!((claimed.tasks.len(), claimed.next_due), (1, None));
    assert_eq!(store.cancel(ids[0], at(3)).await.unwrap(), CancelAnswer::Requested);
    let beat = store.heartbeat("host-a", at(4), at(10_000)).await.unwrap();
    assert_eq!((beat.cancel, beat.held), (vec![claimed.tasks[0].claim], vec![claimed.tasks[0].claim]));
    assert!(store.heartbeat("host-b", at(4), at(10_000)).await.unwrap().held.is_empty());
    store.finish(vec![finish(&claimed.tasks[0], Outcome::Cancelled, Next::Final(TaskState::Cancelled), at(5))]).await.unwrap();
    assert_eq!(store.cancel(ids[0], at(6)).await.unwrap(), CancelAnswer::AlreadyFinal(TaskState::Cancelled));
    assert_eq!(store.cancel(TaskId::new(), at(6)).await.unwrap(), CancelAnswer::NotFound);
    let queued = submit(&store, vec![simple(), simple()]).await;
    assert_eq!(store.cancel(queued[0], at(7)).await.unwrap(), CancelAnswer::Cancelled);
    let task = store.task(queued[0]).await.unwrap().unwrap();
    assert_eq!(
        (task.state, task.outcome, task.finished_at, task.attempt),
        (TaskState::Cancelled, Some(Outcome::Cancelled), Some(at(7)), 0)
    );
    assert_eq!(claim(&store, 10, at(8)).await.tasks.len(), 1);
}

async fn cancelling_wins_over_a_retry(store: Arc<dyn Store>) {
    let ids = submit(&store, vec![simple(), simple(), simple()]).await;
    let tasks = claim(&store, 3, NOW).await.tasks;
    for id in &ids {
        store.cancel(*id, NOW).await.unwrap();
    }
    store.finish(vec![finish(&tasks[0], Outcome::Transient, Next::RetryAt(at(50)), NOW)]).await.unwrap();
    store.give_back(vec![tasks[1].claim], NOW, NOW).await.unwrap();
    store.reap(at(1), true, &|_, _, _| Next::RetryAt(at(1))).await.unwrap();
    for id in ids {
        assert_eq!(state(&store, id).await, TaskState::Cancelled);
    }
    assert!(claim(&store, 3, at(100)).await.tasks.is_empty());
}

async fn retrying_by_hand_grants_a_full_set_of_attempts(store: Arc<dyn Store>) {
    let id = submit(&store, vec![simple()]).await[0];
    assert_eq!(store.retry(id, NOW).await.unwrap(), RetryAnswer::NotRetryable(TaskState::Queued));
    let first = claim(&store, 1, NOW).await.tasks.remove(0);
    store.journal_put(first.claim, "step", b"kept".to_vec()).await.unwrap();
    store.finish(vec![finish(&first, Outcome::Permanent, Next::Final(TaskState::Failed), NOW)]).await.unwrap();
    assert_eq!(store.retry(id, at(9)).await.unwrap(), RetryAnswer::Queued);
    assert_eq!(store.task(id).await.unwrap().unwrap().finished_at, None);
    let again = claim(&store, 1, at(9)).await.tasks.remove(0);
    assert_eq!((again.id, again.attempt, again.ready_at), (id, 2, at(9)));
    assert_eq!(again.max_attempts - (again.attempt - 1), 3, "three more may be made");
    assert_eq!(store.journal_get(again.claim, "step").await.unwrap(), Some(b"kept".to_vec()));
    store.finish(vec![succeed(&again, at(10))]).await.unwrap();
    assert_eq!(store.retry(id, at(11)).await.unwrap(), RetryAnswer::NotRetryable(TaskState::Succeeded));
    assert_eq!(store.retry(TaskId::new(), at(11)).await.unwrap(), RetryAnswer::NotFound);
}

async fn claims_are_given_back_uncounted(store: Arc<dyn Store>) {
    let ids = submit(&store, vec![simple(), simple()]).await;
    let tasks = claim(&store, 2, NOW).await.tasks;
    store.give_back(tasks.iter().map(|task| task.claim).collect(), at(3), at(2)).await.unwrap();
    let task = store.task(ids[0]).await.unwrap().unwrap();
    assert_eq!((task.state, task.attempt, task.started_at, task.run_at), (TaskState::Scheduled, 0, None, at(3)));
    let early = claim(&store, 2, at(2)).await;
    assert_eq!((early.tasks.len(), early.next_due), (0, Some(at(3))), "it is not claimed over and over before its time");
    let again = claim(&store, 2, at(3)).await.tasks;
    assert_eq!((again.len(), again[0].attempt, again[0].ready_at), (2, 1, at(3)));
    assert!(store.heartbeat("host-a", at(3), at(9)).await.unwrap().held.len() == 2);
}

async fn a_host_that_fell_silent_loses_its_tasks(store: Arc<dyn Store>) {
    store.heartbeat("host-a", NOW, at(100)).await.unwrap();
    let ids = submit(&store, vec![simple(), simple()]).await;
    let tasks = claim(&store, 2, NOW).await.tasks;
    let again = |_: u32, _: u32, _: u32| Next::RetryAt(at(101));
    assert!(store.reap(at(100), false, &again).await.unwrap().is_empty(), "its lease still runs");
    store.heartbeat("host-a", at(99), at(200)).await.unwrap();
    assert!(store.reap(at(150), false, &again).await.unwrap().is_empty(), "it was renewed");
    let seen = std::sync::Mutex::new(Vec::new());
    let lost = store
        .reap(at(201), false, &|attempt, max, lost| {
            seen.lock().unwrap().push((attempt, max, lost));
            Next::RetryAt(at(201))
        })
        .await
        .unwrap();
    assert_eq!(lost, ids);
    assert_eq!(*seen.lock().unwrap(), [(1, 3, 1), (1, 3, 1)]);
    assert_eq!(store.finish(vec![succeed(&tasks[0], at(202))]).await.unwrap(), [Finished::Stale]);
    assert!(matches!(store.journal_put(tasks[0].claim, "s", vec![1]).await, Err(StoreError::Conflict(Conflict::LeaseLost))));
    let task = store.task(ids[0]).await.unwrap().unwrap();
    assert_eq!((task.state, task.outcome, task.attempt), (TaskState::Queued, Some(Outcome::Lost), 1));
    let again = claim(&store, 1, at(201)).await.tasks.remove(0);
    assert_eq!((again.attempt, again.lost), (2, 1));
    let lost = store.reap(at(300), true, &|_, _, _| Next::Final(TaskState::Failed)).await.unwrap();
    assert_eq!(lost, [ids[0]]);
    let task = store.task(ids[0]).await.unwrap().unwrap();
    assert_eq!((task.state, task.outcome, task.finished_at), (TaskState::Failed, Some(Outcome::Lost), Some(at(300))));
}

async fn logs_and_outputs_and_journal(store: Arc<dyn Store>) {
    let id = submit(&store, vec![simple()]).await[0];
    let line =
        |message: &str, level| LogLine { at_ms: at(1), level, message: message.to_owned(), fields: vec![("k".to_owned(), "v".to_owned())] };
    let output = |bytes: &[u8]| Output { name: "report.csv".to_owned(), media_type: "text/csv".to_owned(), bytes: bytes.into() };
    let first = claim(&store, 1, NOW).await.tasks.remove(0);
    assert_eq!(store.journal_get(first.claim, "a").await.unwrap(), None);
    store.journal_put(first.claim, "a", vec![0, 255]).await.unwrap();
    store.journal_put(first.claim, "é", vec![1, 2, 3]).await.unwrap();
    store.journal_put(first.claim, "a", vec![9]).await.unwrap();
    assert_eq!(store.journal_get(first.claim, "a").await.unwrap(), Some(vec![9]));
    assert_eq!(store.journal_bytes(first.claim).await.unwrap(), 1 + 1 + 2 + 3);
    let mut failed = finish(&first, Outcome::Trap, Next::RetryAt(NOW), NOW);
    failed.logs = vec![line("one", LogLevel::Warn), line("two", LogLevel::Error)];
    failed.outputs = vec![output(b"half")];
    store.finish(vec![failed]).await.unwrap();
    assert!(store.outputs(id).await.unwrap().is_empty(), "outputs are kept only when the attempt succeeded");
    let second = claim(&store, 1, NOW).await.tasks.remove(0);
    assert_eq!(store.journal_get(second.claim, "é").await.unwrap(), Some(vec![1, 2, 3]), "the journal survives a retry");
    let mut done = succeed(&second, NOW);
    done.logs = vec![LogLine { fields: Vec::new(), ..line("three", LogLevel::Trace) }];
    done.outputs = vec![output(b"a,b\n")];
    store.finish(vec![done.clone()]).await.unwrap();
    let logs = store.logs(id).await.unwrap();
    let told: Vec<_> = logs.iter().map(|(attempt, line)| (*attempt, line.message.as_str(), line.level, line.fields.len())).collect();
    assert_eq!(told, [(1, "one", LogLevel::Warn, 1), (1, "two", LogLevel::Error, 1), (2, "three", LogLevel::Trace, 0)]);
    assert_eq!(store.output(id, "report.csv").await.unwrap(), Some(output(b"a,b\n")));
    assert_eq!(store.output(id, "other").await.unwrap(), None);
    assert_eq!(store.outputs(id).await.unwrap(), [("report.csv".to_owned(), "text/csv".to_owned(), 4)]);
}

async fn the_listing_is_newest_first_in_pages(store: Arc<dyn Store>) {
    let mut ids = Vec::new();
    for number in 0..20 {
        let mut new = new_task(lane(if number % 2 == 0 { "even" } else { "odd" }, (number % 4 == 0).then_some("m")), Priority::Normal);
        new.tenant = (number % 5 == 0).then(|| taskwarden::task::Tenant::new("acme").unwrap());
        ids.extend(submit(&store, vec![new]).await);
    }
    ids.reverse();
    let list = async |filter: TaskFilter| {
        let (mut all, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = store.tasks(TaskFilter { before, ..filter.clone() }).await.unwrap();
            assert!(page.tasks.len() <= 3);
            all.extend(page.tasks.into_iter().map(|task| task.id));
            pages += 1;
            before = page.next;
            if before.is_none() {
                return (all, pages);
            }
        }
    };
    let all = TaskFilter { limit: 3, ..TaskFilter::default() };
    assert_eq!(list(all.clone()).await, (ids.clone(), 7));
    let pick =
        |keep: fn(usize) -> bool| ids.iter().enumerate().filter(|(index, _)| keep(19 - index)).map(|(_, id)| *id).collect::<Vec<_>>();
    let even = TaskFilter { task_type: Some(TaskType::new("even").unwrap()), ..all.clone() };
    assert_eq!(list(even.clone()).await.0, pick(|number| number % 2 == 0));
    let model = TaskFilter { ai_model: Some(taskwarden::task::AiModel::new("m").unwrap()), ..all.clone() };
    assert_eq!(list(model).await.0, pick(|number| number % 4 == 0));
    let tenant = TaskFilter { tenant: Some(taskwarden::task::Tenant::new("acme").unwrap()), ..even };
    assert_eq!(list(tenant).await.0, pick(|number| number % 10 == 0));
    let of = |state| TaskFilter { state: Some(state), ..all.clone() };
    assert!(list(of(TaskState::Running)).await.0.is_empty());
    assert!(list(of(TaskState::Scheduled)).await.0.is_empty());
    let running = claim(&store, 4, NOW).await.tasks;
    let expected: Vec<_> = running.iter().rev().map(|task| task.id).collect();
    assert_eq!(list(of(TaskState::Running)).await.0, expected);
    store.finish(vec![finish(&running[1], Outcome::Invalid, Next::Final(TaskState::Failed), NOW)]).await.unwrap();
    assert_eq!(list(of(TaskState::Failed)).await.0, [running[1].id]);
    assert_eq!(list(of(TaskState::Queued)).await.0.len(), 16);
}

async fn old_tasks_are_pruned_with_all_that_is_theirs(store: Arc<dyn Store>) {
    let first = keyed("k", 1, Some("acme"));
    let ids = submit(&store, vec![first, simple(), simple()]).await;
    for (index, task) in claim(&store, 2, NOW).await.tasks.iter().enumerate() {
        let mut done = succeed(task, at(10 * i64::try_from(index).unwrap()));
        done.outputs = vec![Output { name: "o".to_owned(), media_type: "m".to_owned(), bytes: b"x"[..].into() }];
        done.logs = vec![LogLine { at_ms: NOW, level: LogLevel::Info, message: "m".to_owned(), fields: Vec::new() }];
        store.finish(vec![done]).await.unwrap();
    }
    assert_eq!(store.prune(at(10), 10).await.unwrap(), 1);
    assert!(store.task(ids[0]).await.unwrap().is_none());
    assert!(store.logs(ids[0]).await.unwrap().is_empty());
    assert_eq!(store.logs(ids[1]).await.unwrap().len(), 1);
    assert_eq!(state(&store, ids[2]).await, TaskState::Queued);
    assert!(store.submit(vec![keyed("k", 2, Some("acme"))], NOW).await.unwrap()[0].created, "its key is free again");
    assert_eq!(store.prune(at(1_000), 0).await.unwrap(), 0);
    assert_eq!(store.prune(at(1_000), 10).await.unwrap(), 1);
}

async fn too_many_lanes_are_refused(store: Arc<dyn Store>) {
    let many = |numbers: std::ops::Range<u32>| {
        numbers.map(|number| new_task(lane("t", Some(&format!("m{number}"))), Priority::Normal)).collect::<Vec<_>>()
    };
    submit(&store, many(0..60)).await;
    let refused = store.submit(many(58..65), NOW).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(Conflict::TooManyLanes { max: 64 })), "{refused}");
    assert_eq!(store.lanes().await.unwrap().len(), 60, "nothing of the refused batch is left");
    submit(&store, many(50..64)).await;
    assert_eq!(store.lanes().await.unwrap().len(), 64);
}

async fn a_flood_does_not_hold_up_what_is_urgent(store: Arc<dyn Store>) {
    // Many more than a claim reads of a lane at once, in lanes that may and may not start something.
    let batch = |name: &str, count: usize| (0..count).map(|_| new_task(lane(name, None), Priority::Background)).collect::<Vec<_>>();
    for _ in 0..5 {
        submit(&store, batch("flood", 2_000)).await;
        submit(&store, batch("blocked", 2_000)).await;
    }
    store.set_lane(&lane("blocked", None), LanePatch { paused: Some(true), ..LanePatch::default() }).await.unwrap();
    let urgent = |count: usize| (0..count).map(|_| new_task(lane("urgent", None), Priority::Critical)).collect::<Vec<_>>();
    let first = store.submit(urgent(3), at(1_000)).await.unwrap();
    let tasks = claim(&store, 5, at(1_000)).await.tasks;
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    assert_eq!(ids[..3], first.iter().map(|task| task.id).collect::<Vec<_>>());
    // Who asks for what is urgent gets nothing else, and the rest is where it was.
    let second = store.submit(urgent(2), at(1_000)).await.unwrap();
    let tasks = claim_urgent(&store, 5, at(1_000)).await.tasks;
    assert_eq!(tasks.iter().map(|task| task.id).collect::<Vec<_>>(), second.iter().map(|task| task.id).collect::<Vec<_>>());
    assert!(claim_urgent(&store, 5, at(1_000)).await.tasks.is_empty());
    let all = claim(&store, 20_000, at(1_000)).await.tasks;
    assert_eq!(all.len(), 9_998);
    assert!(all.iter().map(|task| (task.run_key, task.claim.seq)).is_sorted());
    assert_eq!(store.finish(all.iter().map(|task| succeed(task, at(2_000))).collect()).await.unwrap().len(), 9_998);
    assert!(claim(&store, 10, at(3_000)).await.tasks.is_empty());
}
