//! Single tasks.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::auth::may_name_tables;
use super::blobs::attachment;
use super::body::{BodyReader, declared_bytes, expect_json};
use super::json::parse;
use super::problem::{Answer, Code, Problem, ProblemBody};
use super::query::Query;
use super::submit::{Checker, shown};
use super::wire::{Changed, LogView, Logs, OutputView, Outputs, Submission, TaskList, TaskView};
use crate::clock::UnixMs;
use crate::event::EventKind;
use crate::store::{CancelAnswer, RetryAnswer, TaskFilter};
use crate::task::{LaneKey, NewTask, Outcome, Task, TaskId, TaskState};

const LIST_DEFAULT: u32 = 50;
const LIST_MAX: u32 = 500;
/// Tasks are read in groups of this many until a page is full of tasks or of bytes, so that a page of large ones stays small.
const LIST_GROUP: u32 = 20;
const LIST_BYTES_MAX: usize = 4 << 20;
/// Beside the payload, a submission holds names, tags and limits: room for all of them at their largest.
const SUBMISSION_FRAME_BYTES: u64 = 256 << 10;

/// Submit one task.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", operation_id = "submit_task", request_body = Submission,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same as `idempotency_key` in the body")),
    responses(
        (status = 201, description = "it is on disk and will run", body = TaskView),
        (status = 200, description = "a repeat: the first task of this idempotency key", body = TaskView),
        (status = 422, description = "a field is wrong, or no plugin takes such tasks", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the idempotency key was used with another body", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn submit(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Response> {
    let bytes = read_json(&api, &headers, body, api.config.payload_bytes_max + SUBMISSION_FRAME_BYTES, "payload_bytes_max").await?;
    let now = api.clock.now();
    let new = {
        let snapshot = api.registry.snapshot();
        let submission: Submission<'_> = parse(&bytes)?;
        Checker::new(&api.config, &snapshot, now).check(&submission, idempotency_header(&headers)?)?
    };
    drop(bytes);
    may_name_tables(&api, &headers, std::slice::from_ref(&new)).await?;
    let kept = new.clone();
    let answers = api.store.submit(vec![new], now).await.map_err(|e| Problem::from(e).of_single())?;
    let answer = answers.first().ok_or_else(|| Problem::internal("the store answered fewer than it was asked"))?;
    let (status, task) = if answer.created {
        announce(&api, now, kept.id, &kept.lane, answer.state);
        api.metrics.submitted(&kept.lane.task_type, 1);
        api.bells.submitted(kept.priority);
        (StatusCode::CREATED, as_stored(kept, answer.state, now))
    } else {
        (StatusCode::OK, find(&api, answer.id).await?)
    };
    let location = HeaderValue::try_from(format!("/v1/tasks/{}", task.id)).map_err(|e| Problem::internal(&e.to_string()))?;
    Ok((status, [(header::LOCATION, location)], Json(TaskView::from(task))).into_response())
}

/// One task.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", operation_id = "get_task",
    params(("id" = String, Path, description = "the task's id"),
        ("wait" = Option<String>, Query, description = "wait for a final state, such as `30s`; at most 60s. The answer is the task as it is then, final or not")),
    responses((status = 200, description = "the task", body = TaskView),
        (status = 404, description = "no such task", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn get(State(api): State<Arc<Api>>, Path(id): Path<String>, RawQuery(query): RawQuery) -> Answer<Json<TaskView>> {
    let id = task_id(&id)?;
    let wait = Query::parse(query.as_deref(), &["wait"])?.duration("wait", api.config.wait_max)?;
    let task = match wait {
        None => find(&api, id).await?,
        Some(wait) => find_ended(&api, id, wait).await?,
    };
    Ok(Json(task.into()))
}

/// The first of several looks for a task comes after this part of the longest pause between them: most tasks are short.
const FIRST_LOOK: u32 = 32;

async fn find_ended(api: &Api, id: TaskId, wait: Duration) -> Answer<Task> {
    let _place =
        api.waits.try_acquire().map_err(|_| Problem::overloaded("too many requests wait for tasks; ask without ?wait or try again"))?;
    // Listen, then look: an end between the two is heard.
    let watch = api.events.watch(id);
    let over = api.clock.sleep(wait);
    tokio::pin!(over);
    let mut pause = api.config.looks_every.map(|longest| longest / FIRST_LOOK);
    loop {
        let task = find(api, id).await?;
        if task.state.is_final() {
            return Ok(task);
        }
        let look = async {
            match pause {
                Some(pause) => api.clock.sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = watch.ended() => break,
            () = &mut over => break,
            () = api.shutdown.cancelled() => break,
            () = look => pause = pause.zip(api.config.looks_every).map(|(pause, longest)| (pause * 2).min(longest)),
        }
    }
    find(api, id).await
}

/// List tasks, newest first.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", operation_id = "list_tasks",
    params(("state" = Option<TaskState>, Query, description = "only those in this state"),
        ("task_type" = Option<String>, Query, description = "only those of this type"),
        ("ai_model" = Option<String>, Query, description = "only those for this model"),
        ("tenant" = Option<String>, Query, description = "only those of this tenant"),
        ("limit" = Option<u32>, Query, description = "at most this many, 1 to 500; 50 when left out. A page of large tasks ends earlier"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, description = "one page", body = TaskList),
        (status = 422, description = "a parameter is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Answer<Json<TaskList>> {
    let query = Query::parse(query.as_deref(), &["state", "task_type", "ai_model", "tenant", "limit", "cursor"])?;
    let mut filter = TaskFilter {
        state: query.get("state")?,
        task_type: query.get("task_type")?,
        ai_model: query.get("ai_model")?,
        tenant: query.get("tenant")?,
        before: query.text("cursor").map(read_cursor).transpose()?,
        limit: 0,
    };
    let mut wanted = query.number("limit", 1, LIST_MAX)?.unwrap_or(LIST_DEFAULT);
    let (mut tasks, mut bytes, mut next) = (Vec::new(), 0, None);
    while wanted > 0 && bytes < LIST_BYTES_MAX {
        filter.limit = wanted.min(LIST_GROUP);
        let page = api.store.tasks(filter.clone()).await?;
        wanted = wanted.saturating_sub(u32::try_from(page.tasks.len()).unwrap_or(u32::MAX));
        bytes += page.tasks.iter().map(text_bytes).sum::<usize>();
        tasks.extend(page.tasks.into_iter().map(TaskView::from));
        next = page.next;
        filter.before = next;
        if next.is_none() {
            break;
        }
    }
    Ok(Json(TaskList { tasks, next_cursor: next.map(write_cursor) }))
}

/// Cancel a task: at once when it waits; when it runs, its host is asked to stop it.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", tag = "tasks", operation_id = "cancel_task", params(("id" = String, Path, description = "the task's id")),
    responses((status = 200, description = "it is cancelled", body = Changed),
        (status = 202, description = "it runs; its host was asked to stop it", body = Changed),
        (status = 404, description = "no such task", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "it was over already", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn cancel(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Response> {
    let id = task_id(&id)?;
    match api.store.cancel(id, api.clock.now()).await? {
        CancelAnswer::Cancelled => {
            let task = find(&api, id).await?;
            api.metrics.ended_unrun(task.task_type(), Outcome::Cancelled);
            say_state(&api, &task, Some(Outcome::Cancelled));
            Ok(Json(Changed { id: id.0, state: TaskState::Cancelled }).into_response())
        }
        CancelAnswer::Requested => {
            api.bells.cancel.notify_one();
            Ok((StatusCode::ACCEPTED, Json(Changed { id: id.0, state: TaskState::Running })).into_response())
        }
        CancelAnswer::AlreadyFinal(state) => Err(wrong_state(format!("this task is {} already", state.name()))),
        CancelAnswer::NotFound => Err(no_task(id)),
    }
}

/// Queue a failed or cancelled task again, with a full set of attempts.
#[utoipa::path(post, path = "/v1/tasks/{id}/retry", tag = "tasks", operation_id = "retry_task", params(("id" = String, Path, description = "the task's id")),
    responses((status = 200, description = "it is queued", body = Changed),
        (status = 404, description = "no such task", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "it neither failed nor was cancelled", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn retry(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Json<Changed>> {
    let id = task_id(&id)?;
    match api.store.retry(id, api.clock.now()).await? {
        RetryAnswer::Queued => {
            api.bells.changed();
            let task = find(&api, id).await?;
            say_state(&api, &task, None);
            Ok(Json(Changed { id: id.0, state: task.state }))
        }
        RetryAnswer::NotRetryable(state) => {
            Err(wrong_state(format!("this task is {}; only failed and cancelled tasks can be retried", state.name())))
        }
        RetryAnswer::NotFound => Err(no_task(id)),
    }
}

/// What a task's attempts logged.
#[utoipa::path(get, path = "/v1/tasks/{id}/logs", tag = "tasks", operation_id = "get_task_logs", params(("id" = String, Path, description = "the task's id")),
    responses((status = 200, description = "the lines, in order", body = Logs),
        (status = 404, description = "no such task", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn logs(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Json<Logs>> {
    let id = task_id(&id)?;
    let lines: Vec<LogView> = api.store.logs(id).await?.into_iter().map(LogView::from).collect();
    if lines.is_empty() {
        find(&api, id).await?;
    }
    Ok(Json(Logs { lines }))
}

/// The byte streams that a task's plugin wrote.
#[utoipa::path(get, path = "/v1/tasks/{id}/outputs", tag = "tasks", operation_id = "list_task_outputs", params(("id" = String, Path, description = "the task's id")),
    responses((status = 200, description = "names, media types and sizes", body = Outputs),
        (status = 404, description = "no such task", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn outputs(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Json<Outputs>> {
    let id = task_id(&id)?;
    let found = api.store.outputs(id).await?;
    if found.is_empty() {
        find(&api, id).await?;
    }
    let view = |(name, media_type, bytes)| OutputView { name, media_type, bytes };
    Ok(Json(Outputs { outputs: found.into_iter().map(view).collect() }))
}

/// The bytes of one output.
#[utoipa::path(get, path = "/v1/tasks/{id}/outputs/{name}", tag = "tasks", operation_id = "get_task_output",
    params(("id" = String, Path, description = "the task's id"), ("name" = String, Path, description = "the output's name")),
    responses((status = 200, description = "its bytes, as a download, with the media type that the plugin declared where that is a plain one",
            body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "no such task or output", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn output(State(api): State<Arc<Api>>, Path((id, name)): Path<(String, String)>) -> Answer<Response> {
    let id = task_id(&id)?;
    let output = api.store.output(id, &name).await?;
    let output = output.ok_or_else(|| Problem::not_found(format!("task {id} has no output {:?}", shown(&name))))?;
    let media_type = safe_media_type(&output.media_type);
    Ok((attachment(media_type), Bytes::from_owner(output.bytes)).into_response())
}

/// Plugins are not trusted to name a type that a browser would run something of.
fn safe_media_type(declared: &str) -> HeaderValue {
    const PLAIN: [&str; 8] = [
        "application/json",
        "application/x-ndjson",
        "application/octet-stream",
        "image/jpeg",
        "image/png",
        "text/csv",
        "text/markdown",
        "text/plain",
    ];
    let essence = declared.split(';').next().unwrap_or_default().trim();
    let known = PLAIN.iter().find(|plain| plain.eq_ignore_ascii_case(essence));
    HeaderValue::from_static(known.copied().unwrap_or("application/octet-stream"))
}

/// Reads a JSON body into memory.
pub(super) async fn read_json(api: &Api, headers: &HeaderMap, body: Body, max_bytes: u64, limit_name: &'static str) -> Answer<Bytes> {
    expect_json(headers)?;
    let reader = BodyReader::new(body, headers, &api.clock, api.config.body_idle_timeout, max_bytes, limit_name)?;
    reader.all(declared_bytes(headers), api.config.body_total_timeout).await
}

fn idempotency_header(headers: &HeaderMap) -> Answer<Option<&str>> {
    const NAME: HeaderName = HeaderName::from_static("idempotency-key");
    let wrong = |detail| Problem::invalid_field("Idempotency-Key", detail);
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong("this header is given twice"));
    }
    value.to_str().map(Some).map_err(|_| wrong("this header must be visible ASCII; longer alphabets fit in the body's idempotency_key"))
}

/// Tells listeners of a new task.
pub(super) fn announce(api: &Api, now: UnixMs, id: TaskId, lane: &LaneKey, state: TaskState) {
    let kind = EventKind::State { state, attempt: 0, outcome: None };
    api.events.publish(now, id, &lane.task_type, lane.ai_model.as_ref(), kind);
}

fn say_state(api: &Api, task: &Task, outcome: Option<Outcome>) {
    let kind = EventKind::State { state: task.state, attempt: task.attempt, outcome };
    api.events.publish(api.clock.now(), task.id, task.task_type(), task.ai_model(), kind);
}

/// A new task as the store will show it, without asking the store.
fn as_stored(new: NewTask, state: TaskState, now: UnixMs) -> Task {
    Task {
        id: new.id,
        lane: new.lane,
        priority: new.priority,
        state,
        payload: new.payload,
        plan: new.plan,
        result: None,
        outcome: None,
        error: None,
        receipt: None,
        attempt: 0,
        max_attempts: new.max_attempts,
        tenant: new.tenant,
        idempotency_key: new.idempotency.map(|(key, _)| key),
        created_at: now,
        run_at: new.run_at,
        started_at: None,
        finished_at: None,
    }
}

async fn find(api: &Api, id: TaskId) -> Answer<Task> {
    api.store.task(id).await?.ok_or_else(|| no_task(id))
}

pub(super) fn no_task(id: TaskId) -> Problem {
    Problem::not_found(format!("there is no task {id}; it may have been deleted at the end of its retention"))
}

pub(super) fn wrong_state(detail: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, Code::WrongState, detail)
}

pub(super) fn task_id(text: &str) -> Answer<TaskId> {
    shown(text).parse().map_err(|e: crate::task::NameError| Problem::not_found(e.to_string()))
}

fn text_bytes(task: &Task) -> usize {
    task.payload.get().len() + task.result.as_ref().map_or(0, |result| result.get().len())
}

/// Cursors are opaque: clients that take them apart would break when the order of listings changes.
pub(super) fn write_cursor(position: i64) -> String {
    format!("c{position:x}")
}

pub(super) fn read_cursor(text: &str) -> Answer<i64> {
    let position = text.strip_prefix('c').and_then(|hex| i64::from_str_radix(hex, 16).ok()).filter(|position| *position >= 0);
    position.ok_or_else(|| Problem::invalid_field("cursor", "this is not a cursor; send next_cursor of the page before, as it is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_that_a_browser_would_run_become_bytes() {
        assert_eq!(safe_media_type("text/csv; charset=utf-8"), "text/csv");
        for unsafe_type in ["text/html", "image/svg+xml", "text/javascript", "application/xhtml+xml", "", "text/csv\r\nx: y"] {
            assert_eq!(safe_media_type(unsafe_type), "application/octet-stream", "{unsafe_type}");
        }
    }

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        assert_eq!(read_cursor(&write_cursor(12_345)).ok(), Some(12_345));
        for bad in ["", "c", "12", "c-1", "cffffffffffffffffff"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
