//! Which plugin takes which tasks, and under which limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Api;
use super::super::problem::{Answer, ProblemBody};
use super::super::query::Query;
use super::super::submit::no_plugin;
use crate::limits::{Limit, LimitSet};
use crate::plugin::ModelPattern;
use crate::registry::{Plugin, Snapshot};
use crate::task::{LaneKey, TaskType};

/// The routes.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Routes {
    routes: Vec<RouteView>,
}

/// A plugin takes tasks of a type for the models that fit a pattern. The closest pattern wins.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub(in crate::http) struct RouteView {
    task_type: String,
    /// `*`, `prefix*` or a model's name; when one model was asked for, that one, or null for none.
    ai_model: Option<String>,
    plugin: String,
    plugin_version: String,
    /// What a task would run under that asks for nothing lower. For a pattern, limits set for single models are not in it.
    limits: BTreeMap<&'static str, u64>,
}

/// Which plugin takes which tasks, and under which limits. With `task_type`, the one that takes just those.
#[utoipa::path(get, path = "/v1/admin/routes", tag = "admin", operation_id = "list_routes",
    params(("task_type" = Option<String>, Query, description = "ask for one route: who takes tasks of this type"),
        ("ai_model" = Option<String>, Query, description = "and for this model")),
    responses((status = 200, description = "the routes", body = Routes),
        (status = 422, description = "nobody takes such tasks, or a parameter is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Answer<Json<Routes>> {
    let query = Query::parse(query.as_deref(), &["task_type", "ai_model"])?;
    let snapshot = api.registry.snapshot();
    let routes = match query.get::<TaskType>("task_type")? {
        Some(task_type) => {
            let lane = LaneKey { task_type, ai_model: query.get("ai_model")? };
            let plugin = snapshot.route(&lane).ok_or_else(|| no_plugin(&lane))?;
            let model = lane.ai_model.as_ref().map(ToString::to_string);
            vec![view(&api, &snapshot, plugin, &lane, model)]
        }
        None => snapshot.plugins().flat_map(|plugin| all_of(&api, &snapshot, plugin)).collect(),
    };
    Ok(Json(Routes { routes }))
}

fn all_of(api: &Api, snapshot: &Snapshot, plugin: &Plugin) -> Vec<RouteView> {
    let manifest = &plugin.manifest;
    let pairs = manifest.task_types.iter().flat_map(|task_type| manifest.ai_models.iter().map(move |pattern| (task_type, pattern)));
    let route = |(task_type, pattern): (&TaskType, &ModelPattern)| {
        let ai_model = if let ModelPattern::Exact(model) = pattern { Some(model.clone()) } else { None };
        let lane = LaneKey { task_type: task_type.clone(), ai_model };
        view(api, snapshot, plugin, &lane, Some(pattern.to_string()))
    };
    pairs.map(route).collect()
}

fn view(api: &Api, snapshot: &Snapshot, plugin: &Plugin, lane: &LaneKey, ai_model: Option<String>) -> RouteView {
    let limits = snapshot.effective_limits(&api.config.ceilings, lane, plugin, &LimitSet::default());
    RouteView {
        task_type: lane.task_type.to_string(),
        ai_model,
        plugin: plugin.manifest.name.clone(),
        plugin_version: plugin.manifest.version.to_string(),
        limits: Limit::ALL.iter().map(|limit| (limit.name(), limits.get(*limit))).collect(),
    }
}
