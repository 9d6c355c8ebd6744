//! Install and remove plugins.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::super::body::{BodyReader, declared_bytes};
use super::super::limits::take_place;
use super::super::plugins::{PluginView, Plugins, loaded};
use super::super::problem::{Answer, Code, Problem, ProblemBody};
use super::super::submit::shown;
use super::super::{Api, PluginChangeError};

/// Install a plugin, or replace the one of the same name. Running tasks keep the one they started with.
#[utoipa::path(post, path = "/v1/admin/plugins", tag = "admin", operation_id = "install_plugin", request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, description = "what is loaded now", body = PluginView),
        (status = 409, description = "another plugin takes the same tasks, or the name is that of a built-in one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "this is not a plugin that this host can run; says why", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn install(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Response> {
    let _place = take_place(&api.transfers, "uploads and downloads")?;
    let config = &api.config;
    let body = BodyReader::new(body, &headers, &api.clock, config.body_idle_timeout, config.artifact_bytes_max, "artifact_bytes_max")?;
    let artifact = body.all(declared_bytes(&headers), config.body_total_timeout).await?;
    if artifact.is_empty() {
        return Err(Problem::invalid_field("body", "send the plugin's .wasm as the body"));
    }
    let plugin = api.plugins.install(artifact).await?;
    Ok((StatusCode::CREATED, Json(PluginView::from(&*plugin))).into_response())
}

/// The plugins that are loaded.
#[utoipa::path(get, path = "/v1/admin/plugins", tag = "admin", operation_id = "admin_list_plugins",
    responses((status = 200, description = "what is loaded", body = Plugins)))]
pub(in crate::http) async fn list(State(api): State<Arc<Api>>) -> Json<Plugins> {
    Json(loaded(&api))
}

/// Remove a plugin. Running tasks keep it until they end; waiting ones wait for another that takes them.
#[utoipa::path(delete, path = "/v1/admin/plugins/{name}", tag = "admin", operation_id = "remove_plugin", params(("name" = String, Path, description = "the plugin's name")),
    responses((status = 204, description = "it is gone"),
        (status = 404, description = "no such plugin", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "it came with the host", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn remove(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Answer<StatusCode> {
    if api.plugins.remove(&name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(format!("there is no plugin {:?}; GET /v1/plugins says what is loaded", shown(&name))))
}

impl From<PluginChangeError> for Problem {
    fn from(error: PluginChangeError) -> Self {
        let detail = error.to_string();
        match error {
            PluginChangeError::Refused(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::PluginRefused, detail),
            PluginChangeError::RouteTie(_) => Self::new(StatusCode::CONFLICT, Code::RouteTie, detail),
            PluginChangeError::BuiltIn(_) => Self::new(StatusCode::CONFLICT, Code::PluginBuiltIn, detail),
            PluginChangeError::Store(error) => error.into(),
        }
    }
}
