//! Many tasks at once: the fast way in.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::Api;
use super::auth::may_name_tables;
use super::json::parse;
use super::problem::{Answer, Code, Problem, ProblemBody};
use super::submit::Checker;
use super::tasks::{announce, read_json};
use super::wire::{Batch, BatchAnswer};
use crate::clock::UnixMs;
use crate::store::Submitted;
use crate::task::{LaneKey, NewTask, TaskId};

/// Bodies above this are read on a thread of their own, so that one large batch does not hold up small requests.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// Submit up to 10 000 tasks in one transaction: all of them or none.
#[utoipa::path(post, path = "/v1/tasks/batch", tag = "tasks", request_body = Batch,
    responses(
        (status = 200, description = "all are on disk, in the order in which they were sent", body = BatchAnswer),
        (status = 409, description = "an idempotency key was used with another body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "one of them is wrong; `field` says which, as in `tasks[17].priority`", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn submit_batch(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Json<BatchAnswer>> {
    let bytes = read_json(&api, &headers, body, api.config.batch_bytes_max, "batch_bytes_max").await?;
    let now = api.clock.now();
    let batch = if bytes.len() <= INLINE_BYTES_MAX {
        check(&api, &bytes, now)?
    } else {
        let api = Arc::clone(&api);
        tokio::task::spawn_blocking(move || check(&api, &bytes, now)).await.map_err(|e| Problem::internal(&e.to_string()))??
    };
    if batch.is_empty() {
        return Ok(Json(BatchAnswer { tasks: Vec::new() }));
    }
    may_name_tables(&api, &headers, &batch).await?;
    let told: Vec<(TaskId, LaneKey)> = batch.iter().map(|task| (task.id, task.lane.clone())).collect();
    let most_urgent = batch.iter().map(|task| task.priority).max().unwrap_or_default();
    let answers = api.store.submit(batch, now).await?;
    tell(&api, &told, &answers, now);
    // Also for scheduled ones: the scheduler may sleep past the time of the first of them.
    if answers.iter().any(|answer| answer.created) {
        api.bells.submitted(most_urgent);
    }
    Ok(Json(BatchAnswer { tasks: answers.into_iter().map(Into::into).collect() }))
}

fn check(api: &Api, bytes: &Bytes, now: UnixMs) -> Answer<Vec<NewTask>> {
    let batch: Batch<'_> = parse(bytes)?;
    let max = api.config.batch_tasks_max;
    if batch.tasks.len() > max {
        let detail = format!("a batch may have at most {max} tasks and this one has {}; send several", batch.tasks.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, detail).at("tasks"));
    }
    let snapshot = api.registry.snapshot();
    let mut checker = Checker::new(&api.config, &snapshot, now);
    let check = |(index, submission)| checker.check(submission, None).map_err(|problem| problem.within(&format!("tasks[{index}]")));
    batch.tasks.iter().enumerate().map(check).collect()
}

fn tell(api: &Api, told: &[(TaskId, LaneKey)], answers: &[Submitted], now: UnixMs) {
    let mut by_type: BTreeMap<_, u64> = BTreeMap::new();
    let created = told.iter().zip(answers).filter(|(_, answer)| answer.created);
    for ((id, lane), answer) in created {
        *by_type.entry(&lane.task_type).or_default() += 1;
        announce(api, now, *id, lane, answer.state);
    }
    for (task_type, count) in by_type {
        api.metrics.submitted(task_type, count);
    }
}
