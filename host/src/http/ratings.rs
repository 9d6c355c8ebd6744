//! What people thought of tasks' results.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::json::parse;
use super::problem::{Answer, Problem, ProblemBody};
use super::tasks::{no_task, read_json, task_id, wrong_state};
use crate::store::{RateAnswer, Rated};
use crate::task::{Rating, TaskId};

const BODY_BYTES_MAX: u64 = 1 << 10;

/// What somebody thought of a task's result.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRating {
    /// 1 (useless) to 5 (just right).
    #[schema(minimum = 1, maximum = 5)]
    rating: u8,
}

/// A task's rating.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rating)]
pub(super) struct RatingView {
    /// The task's id.
    task: String,
    /// 1 to 5.
    rating: u8,
    /// When it was given, or changed last.
    #[schema(format = DateTime)]
    rated_at: String,
}

impl RatingView {
    fn new(id: TaskId, rated: Rated) -> Self {
        Self { task: id.to_string(), rating: rated.rating.get(), rated_at: rated.at.to_rfc3339() }
    }
}

/// Rate the result of a task that has ended. Another rating of the same task replaces it; the same one again changes nothing.
#[utoipa::path(post, path = "/v1/tasks/{id}/rating", tag = "tasks", operation_id = "rate_task", request_body = NewRating,
    params(("id" = String, Path, description = "the task's id")),
    responses((status = 200, description = "it is kept", body = RatingView),
        (status = 404, description = "no such task", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the task has not ended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a field is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn rate(State(api): State<Arc<Api>>, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Answer<Json<RatingView>> {
    let id = task_id(&id)?;
    let bytes = read_json(&api, &headers, body, BODY_BYTES_MAX, "limit for ratings").await?;
    let NewRating { rating } = parse(&bytes)?;
    let rating = Rating::new(rating).map_err(|error| Problem::invalid_field("rating", error.0))?;
    match api.store.rate(id, rating, api.clock.now()).await? {
        RateAnswer::Kept(rated) => Ok(Json(RatingView::new(id, rated))),
        RateAnswer::NotEnded(state) => Err(wrong_state(format!("this task is {}; it can be rated when it has ended", state.name()))),
        RateAnswer::NotFound => Err(no_task(id)),
    }
}

/// A task's rating.
#[utoipa::path(get, path = "/v1/tasks/{id}/rating", tag = "tasks", operation_id = "get_task_rating",
    params(("id" = String, Path, description = "the task's id")),
    responses((status = 200, description = "the rating", body = RatingView),
        (status = 404, description = "no such task, or nobody has rated it", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn get(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Json<RatingView>> {
    let id = task_id(&id)?;
    let rated = api.store.rating(id).await?.ok_or_else(|| Problem::not_found(format!("nobody has rated task {id}")))?;
    Ok(Json(RatingView::new(id, rated)))
}
