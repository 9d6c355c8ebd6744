//! Tasks that are submitted by the clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::Api;
use super::super::json::parse;
use super::super::problem::{Answer, Problem, ProblemBody};
use super::super::submit::{Checker, shown};
use super::super::wire::{InputBody, Submission};
use crate::clock::UnixMs;
use crate::schedule::{CatchUp, Cron, Schedule, ScheduleName, TaskTemplate, Timetable, fill};
use crate::store::NewSchedule;
use crate::task::{InputRef, Priority};
use crate::zone::Zone;

const SCHEDULES_MAX: u32 = 1_000;

/// When a task is submitted, and which.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewSchedule)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ScheduleBody<'a> {
    /// Minute, hour, day of the month, month, day of the week.
    #[schema(example = "0 2 * * *")]
    cron: String,
    /// The IANA name of the zone that the expression is meant in; UTC when left out.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// What about runs that were due while no host was there.
    #[serde(default)]
    catch_up: CatchUp,
    /// Whether it rests.
    #[serde(default)]
    paused: bool,
    /// What is submitted, without `run_at` and `idempotency_key`. A string of the payload that is `${due}`, `${due.date}` or
    /// `${due.date-1d}` becomes the time of the run, its date, or the day before.
    #[serde(borrow)]
    #[schema(value_type = Submission)]
    task: Submission<'a>,
}

/// What to change about a schedule.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SchedulePause {
    /// True: it rests. False: it goes on with the next run after now.
    paused: bool,
}

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(in crate::http) struct ScheduleView {
    name: String,
    cron: String,
    time_zone: String,
    catch_up: CatchUp,
    paused: bool,
    task: TemplateView,
    /// When it runs next; null while it rests.
    #[schema(format = DateTime)]
    next_due_at: Option<String>,
    /// The last run there was, whether or not a task was submitted for it.
    #[schema(format = DateTime)]
    last_due_at: Option<String>,
    /// The last task that was submitted.
    #[schema(format = Uuid)]
    last_task: Option<String>,
    /// Why the last run has no task, when it has none.
    last_problem: Option<String>,
}

/// What a schedule submits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScheduledTask)]
pub(in crate::http) struct TemplateView {
    task_type: String,
    ai_model: Option<String>,
    priority: Priority,
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    #[schema(value_type = BTreeMap<String, InputBody>)]
    inputs: BTreeMap<String, InputRef>,
    max_attempts: u32,
    tenant: Option<String>,
    tags: Vec<String>,
    limits: BTreeMap<String, u64>,
}

impl From<Schedule> for ScheduleView {
    fn from(schedule: Schedule) -> Self {
        let TaskTemplate { lane, priority, payload, plan, max_attempts, tenant } = schedule.task;
        Self {
            name: schedule.name.to_string(),
            cron: schedule.timetable.cron.to_string(),
            time_zone: schedule.timetable.zone.name().to_owned(),
            catch_up: schedule.catch_up,
            paused: schedule.paused,
            task: TemplateView {
                task_type: lane.task_type.to_string(),
                ai_model: lane.ai_model.map(|model| model.to_string()),
                priority,
                payload,
                inputs: plan.inputs,
                max_attempts,
                tenant: tenant.map(|tenant| tenant.to_string()),
                tags: plan.tags,
                limits: plan.limits.0.into_iter().map(|(limit, value)| (limit.name().to_owned(), value)).collect(),
            },
            next_due_at: schedule.next_due.filter(|_| !schedule.paused).map(UnixMs::to_rfc3339),
            last_due_at: schedule.last_due.map(UnixMs::to_rfc3339),
            last_task: schedule.last_task.map(|task| task.to_string()),
            last_problem: schedule.last_problem,
        }
    }
}

/// Every schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ScheduleList {
    schedules: Vec<ScheduleView>,
}

/// Every schedule, by name.
#[utoipa::path(get, path = "/v1/admin/schedules", tag = "admin", operation_id = "list_schedules",
    responses((status = 200, description = "the schedules", body = ScheduleList)))]
pub(in crate::http) async fn list(State(api): State<Arc<Api>>) -> Answer<Json<ScheduleList>> {
    let schedules = api.store.schedules().await?.into_iter().map(ScheduleView::from).collect();
    Ok(Json(ScheduleList { schedules }))
}

/// Make a schedule, or replace the one of this name.
#[utoipa::path(put, path = "/v1/admin/schedules/{name}", tag = "admin", operation_id = "put_schedule", request_body = ScheduleBody,
    params(("name" = String, Path, description = "1 to 128 letters, digits, `.`, `_`, `-` or `:`")),
    responses((status = 201, description = "it is new", body = ScheduleView),
        (status = 200, description = "it was replaced", body = ScheduleView),
        (status = 422, description = "a field is wrong, or no plugin takes such tasks", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn put(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let name = ScheduleName::new(&name).map_err(|error| Problem::invalid_field("name", error.0))?;
    let bytes = super::read(&api, &headers, body).await?;
    let now = api.clock.now();
    let new = checked(&api, name.clone(), parse(&bytes)?, now)?;
    let is_new = api.store.put_schedule(new, SCHEDULES_MAX, now).await?;
    api.bells.schedules.notify_one();
    let view = ScheduleView::from(find(&api, &name).await?);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(view)).into_response())
}

fn checked(api: &Api, name: ScheduleName, body: ScheduleBody<'_>, now: UnixMs) -> Answer<NewSchedule> {
    let cron = Cron::parse(&body.cron).map_err(|error| Problem::invalid_field("cron", error.to_string()))?;
    let zone = Zone::parse(body.time_zone.as_deref().unwrap_or("UTC")).map_err(|error| Problem::invalid_field("time_zone", error))?;
    let timetable = Timetable { cron, zone };
    let mut task = body.task;
    if task.run_at.is_some() {
        return Err(Problem::invalid_field("task.run_at", "the schedule says when its task runs; leave this out"));
    }
    if task.idempotency_key.is_some() {
        return Err(Problem::invalid_field("task.idempotency_key", "each run gets a key of its own; leave this out"));
    }
    let next_due = timetable.next_after(now);
    // What is checked is the payload as the plugin will see it; what is kept is the one with the places in it.
    let payload = task.payload.unwrap_or(RawValue::NULL).to_owned();
    let filled = fill(&payload, next_due.unwrap_or(now), &timetable.zone);
    let filled = filled.map_err(|error| Problem::invalid_field("task.payload", error.to_string()))?;
    task.payload = Some(&filled);
    let snapshot = api.registry.snapshot();
    let new = Checker::new(&api.config, &snapshot, now).check(&task, None).map_err(|problem| problem.within("task"))?;
    let task = TaskTemplate {
        lane: new.lane,
        priority: new.priority,
        payload,
        plan: new.plan,
        max_attempts: new.max_attempts,
        tenant: new.tenant,
    };
    Ok(NewSchedule { name, timetable, catch_up: body.catch_up, paused: body.paused, task, next_due })
}

/// Let a schedule rest, or go on.
#[utoipa::path(patch, path = "/v1/admin/schedules/{name}", tag = "admin", operation_id = "pause_schedule", request_body = SchedulePause,
    params(("name" = String, Path, description = "its name")),
    responses((status = 200, description = "the schedule as it is now", body = ScheduleView),
        (status = 404, description = "no such schedule", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn pause(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<ScheduleView>> {
    let bytes = super::read(&api, &headers, body).await?;
    let SchedulePause { paused } = parse(&bytes)?;
    let name = ScheduleName::new(&name).map_err(|_| unknown(&name))?;
    // A put in between changes the revision; then the look was at something old and is taken again.
    loop {
        let schedule = find(&api, &name).await?;
        let next_due = schedule.timetable.next_after(api.clock.now());
        if api.store.pause_schedule(&name, schedule.revision, paused, next_due).await? {
            break;
        }
    }
    api.bells.schedules.notify_one();
    Ok(Json(find(&api, &name).await?.into()))
}

/// Remove a schedule. Tasks that it submitted stay.
#[utoipa::path(delete, path = "/v1/admin/schedules/{name}", tag = "admin", operation_id = "remove_schedule",
    params(("name" = String, Path, description = "its name")),
    responses((status = 204, description = "it is gone"),
        (status = 404, description = "no such schedule", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn remove(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Answer<StatusCode> {
    let known = ScheduleName::new(&name).map_err(|_| unknown(&name))?;
    if api.store.remove_schedule(&known).await? { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(&name)) }
}

async fn find(api: &Api, name: &ScheduleName) -> Answer<Schedule> {
    api.store.schedule(name).await?.ok_or_else(|| unknown(name.as_str()))
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no schedule {:?}; GET /v1/admin/schedules lists them", shown(name)))
}
