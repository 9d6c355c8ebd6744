//! Pause, resume, cap and weigh lanes.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::super::Api;
use super::super::json::parse;
use super::super::problem::{Answer, Problem, ProblemBody};
use super::super::wire::LaneView;
use crate::store::LanePatch;
use crate::task::fair::WEIGHT_MAX;
use crate::task::{AiModel, LaneKey, TaskType};

/// Every lane.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Lanes {
    lanes: Vec<LaneView>,
}

/// What to change about a lane; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LaneChange {
    #[schema(value_type = String)]
    task_type: TaskType,
    /// Left out: the lane of tasks without a model.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    ai_model: Option<AiModel>,
    /// True: no task of it starts until this is false again. What runs goes on.
    #[serde(default)]
    paused: Option<bool>,
    /// How many of its tasks may run at once, on all hosts together; null lifts the cap.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    concurrency_cap: Option<Option<u32>>,
    /// Its share against other lanes that have work, 1 to 10 000; 1 unless it was changed. Lanes of one weight go by priority and age.
    #[serde(default)]
    weight: Option<u32>,
}

/// Tells a null that was given from a field that was not.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Every lane: how much is in it and how it is set.
#[utoipa::path(get, path = "/v1/admin/lanes", tag = "admin", operation_id = "list_lanes",
    responses((status = 200, description = "the lanes", body = Lanes)))]
pub(in crate::http) async fn list(State(api): State<Arc<Api>>) -> Answer<Json<Lanes>> {
    let lanes = api.store.lanes().await?.into_iter().map(LaneView::from).collect();
    Ok(Json(Lanes { lanes }))
}

/// Change a lane; in force from the next dispatch. A lane that no task has been in yet is made.
#[utoipa::path(patch, path = "/v1/admin/lanes", tag = "admin", operation_id = "change_lane", request_body = LaneChange,
    responses((status = 200, description = "the lane as it is now", body = LaneView),
        (status = 422, description = "a field is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn change(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Json<LaneView>> {
    let bytes = super::read(&api, &headers, body).await?;
    let change: LaneChange = parse(&bytes)?;
    if change.concurrency_cap == Some(Some(0)) {
        return Err(Problem::invalid_field("concurrency_cap", "a cap of 0 would stop the lane; set paused to true for that"));
    }
    if change.weight.is_some_and(|weight| !(1..=WEIGHT_MAX).contains(&weight)) {
        return Err(Problem::invalid_field("weight", format!("this must be a whole number from 1 to {WEIGHT_MAX}")));
    }
    let key = LaneKey { task_type: change.task_type, ai_model: change.ai_model };
    let patch = LanePatch { paused: change.paused, concurrency_cap: change.concurrency_cap, weight: change.weight };
    let lane = api.store.set_lane(&key, patch).await?;
    // What a pause or a cap held back may run now.
    api.bells.changed();
    Ok(Json(lane.into()))
}
