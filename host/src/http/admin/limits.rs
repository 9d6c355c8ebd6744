//! Read and set limits while the host runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Api;
use super::super::json::parse;
use super::super::problem::{Answer, Problem, ProblemBody};
use super::super::submit::{limit_set, shown};
use super::super::wire::UniqueMap;
use crate::limits::{Limit, LimitSetting, RetryPercent};
use crate::store::LimitScope;
use crate::task::{AiModel, NameError, TaskType};

/// Beside the limits of a task type.
const RETRY_PERCENT: &str = "retry_limits_percent";

/// Every limit, and what each scope says of it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct LimitsView {
    limits: Vec<LimitView>,
    /// The scopes that speak. The smallest value among those that apply to a task holds.
    scopes: Vec<ScopeView>,
}

/// One limit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limit)]
pub(in crate::http) struct LimitView {
    name: &'static str,
    /// What it bounds.
    about: &'static str,
    /// What holds where no scope speaks.
    default: u64,
    /// No scope may be set higher.
    ceiling: u64,
}

/// What one scope says.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ScopeView {
    /// `host`, `task_type`, `ai_model` or `plugin`.
    scope: &'static str,
    /// Which task type, model or plugin; null for the host.
    name: Option<String>,
    limits: BTreeMap<&'static str, u64>,
    /// Of a task type: a task that ended at a limit is tried once more with limits of this percentage, ceilings and what its submission
    /// asked for aside. Left out where there is no such retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>, minimum = 101, maximum = 10_000)]
    retry_limits_percent: Option<RetryPercent>,
}

fn view(scope: &LimitScope, setting: &LimitSetting) -> ScopeView {
    let (kind, name) = match scope {
        LimitScope::Host => ("host", None),
        LimitScope::TaskType(name) => ("task_type", Some(name.to_string())),
        LimitScope::AiModel(name) => ("ai_model", Some(name.to_string())),
        LimitScope::Plugin(name) => ("plugin", Some(name.clone())),
    };
    let limits = setting.limits.0.iter().map(|(limit, value)| (limit.name(), *value)).collect();
    ScopeView { scope: kind, name, limits, retry_limits_percent: setting.retry_percent }
}

/// Every limit, its default and ceiling, and what each scope says.
#[utoipa::path(get, path = "/v1/admin/limits", tag = "admin", operation_id = "read_limits",
    responses((status = 200, description = "the limits", body = LimitsView)))]
pub(in crate::http) async fn read(State(api): State<Arc<Api>>) -> Json<LimitsView> {
    let of = |limit: &Limit| LimitView {
        name: limit.name(),
        about: limit.about(),
        default: limit.default_value(),
        ceiling: api.config.ceilings.get(*limit),
    };
    let snapshot = api.registry.snapshot();
    let scopes = snapshot.limit_settings().iter().map(|(scope, setting)| view(scope, setting)).collect();
    Json(LimitsView { limits: Limit::ALL.iter().map(of).collect(), scopes })
}

/// Replace what the host scope says: ceilings for every task. In force from the next dispatch.
#[utoipa::path(put, path = "/v1/admin/limits/host", tag = "admin", operation_id = "set_host_limits", request_body = BTreeMap<String, u64>,
    responses((status = 200, description = "what the scope says now", body = ScopeView),
        (status = 422, description = "there is no such limit, or the value is above its ceiling", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn set_host(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Json<ScopeView>> {
    set(&api, LimitScope::Host, &headers, body).await
}

/// Make the host scope silent.
#[utoipa::path(delete, path = "/v1/admin/limits/host", tag = "admin", operation_id = "clear_host_limits",
    responses((status = 204, description = "it says nothing now")))]
pub(in crate::http) async fn clear_host(State(api): State<Arc<Api>>) -> Answer<StatusCode> {
    clear(&api, LimitScope::Host).await
}

/// Replace what a scope says. In force from the next dispatch. A task type may have `retry_limits_percent` beside its limits, from 101 to
/// 10 000: a task that ended at a limit is then tried once more, at once, with limits of that percentage.
#[utoipa::path(put, path = "/v1/admin/limits/{scope}/{name}", tag = "admin", operation_id = "set_limits", request_body = BTreeMap<String, u64>,
    params(("scope" = String, Path, description = "`task_type`, `ai_model` or `plugin`"), ("name" = String, Path, description = "which one")),
    responses((status = 200, description = "what the scope says now", body = ScopeView),
        (status = 404, description = "there is no such scope", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "there is no such limit, or the value is above its ceiling", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn set_named(
    State(api): State<Arc<Api>>,
    Path((scope, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<ScopeView>> {
    set(&api, scope_of(&scope, &name)?, &headers, body).await
}

/// Make a scope silent.
#[utoipa::path(delete, path = "/v1/admin/limits/{scope}/{name}", tag = "admin", operation_id = "clear_limits",
    params(("scope" = String, Path, description = "`task_type`, `ai_model` or `plugin`"), ("name" = String, Path, description = "which one")),
    responses((status = 204, description = "it says nothing now"),
        (status = 404, description = "there is no such scope", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn clear_named(State(api): State<Arc<Api>>, Path((scope, name)): Path<(String, String)>) -> Answer<StatusCode> {
    clear(&api, scope_of(&scope, &name)?).await
}

fn scope_of(scope: &str, name: &str) -> Answer<LimitScope> {
    let named = |result: Result<LimitScope, NameError>| result.map_err(|e| Problem::invalid_field("name", e.to_string()));
    match scope {
        "task_type" => named(TaskType::new(name).map(LimitScope::TaskType)),
        "ai_model" => named(AiModel::new(name).map(LimitScope::AiModel)),
        "plugin" if !name.is_empty() && name.len() <= 64 => Ok(LimitScope::Plugin(name.to_owned())),
        "plugin" => Err(Problem::invalid_field("name", "this is not a plugin's name: 1 to 64 of a-z, 0-9 and '-'")),
        other => Err(Problem::not_found(format!("there is no scope {:?}; they are host, task_type, ai_model and plugin", shown(other)))),
    }
}

async fn set(api: &Api, scope: LimitScope, headers: &HeaderMap, body: Body) -> Answer<Json<ScopeView>> {
    let bytes = super::read(api, headers, body).await?;
    let mut sent: UniqueMap<u64> = parse(&bytes)?;
    let retry_percent = sent.0.remove(RETRY_PERCENT).map(|percent| retry_percent(&scope, percent)).transpose()?;
    let limits = limit_set(&sent).map_err(Problem::without_limits_prefix)?;
    for (limit, value) in &limits.0 {
        let ceiling = api.config.ceilings.get(*limit);
        if *value > ceiling {
            let detail = format!("{value} is above the ceiling of {ceiling}, which only the host's configuration can move");
            return Err(Problem::invalid_field(limit.name(), detail));
        }
    }
    let setting = LimitSetting { limits, retry_percent };
    put(api, scope.clone(), setting.clone()).await?;
    Ok(Json(view(&scope, &setting)))
}

fn retry_percent(scope: &LimitScope, percent: u64) -> Answer<RetryPercent> {
    if !matches!(scope, LimitScope::TaskType(_)) {
        return Err(Problem::invalid_field(
            RETRY_PERCENT,
            "only a task type can have this; set it with PUT /v1/admin/limits/task_type/NAME",
        ));
    }
    RetryPercent::new(percent).ok_or_else(|| {
        let (min, max) = (RetryPercent::MIN, RetryPercent::MAX);
        Problem::invalid_field(
            RETRY_PERCENT,
            format!("this must be a whole number from {min} to {max}: percent of the limits that hold otherwise"),
        )
    })
}

async fn clear(api: &Api, scope: LimitScope) -> Answer<StatusCode> {
    put(api, scope, LimitSetting::default()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// First the database, then this host's own view of it: what is in force here is on disk.
async fn put(api: &Api, scope: LimitScope, setting: LimitSetting) -> Answer<()> {
    api.store.set_limits(scope.clone(), setting.clone(), api.clock.now()).await?;
    api.registry.set_limits(scope, setting).map_err(|e| Problem::internal(&e.to_string()))
}
