//! Say that somebody has seen a finding.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::Api;
use super::super::findings::{FindingView, finding_id, unknown};
use super::super::json::parse;
use super::super::problem::{Answer, Problem, ProblemBody};
use crate::finding::Acknowledgement;

const NOTE_CHARS_MAX: usize = 1_000;

/// What there is to say about a finding.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewAcknowledgement {
    /// For whoever looks next.
    #[serde(default)]
    #[schema(max_length = 1000)]
    note: String,
}

/// Say that somebody has seen a finding. It stays until a report finds it gone; when it comes back after that, nobody has seen it.
#[utoipa::path(put, path = "/v1/admin/findings/{id}/acknowledgement", tag = "admin", operation_id = "acknowledge_finding",
    request_body = NewAcknowledgement, params(("id" = String, Path, description = "the finding's id")),
    responses((status = 200, description = "the finding as it is now", body = FindingView),
        (status = 404, description = "no such finding", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a field is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn acknowledge(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<FindingView>> {
    let bytes = super::read(&api, &headers, body).await?;
    let NewAcknowledgement { note } = parse(&bytes)?;
    if note.chars().count() > NOTE_CHARS_MAX {
        return Err(Problem::invalid_field("note", format!("this may have {NOTE_CHARS_MAX} characters")));
    }
    set(&api, &id, Some(Acknowledgement { at: api.clock.now(), note })).await
}

/// Take that back.
#[utoipa::path(delete, path = "/v1/admin/findings/{id}/acknowledgement", tag = "admin", operation_id = "withdraw_acknowledgement",
    params(("id" = String, Path, description = "the finding's id")),
    responses((status = 200, description = "the finding as it is now", body = FindingView),
        (status = 404, description = "no such finding", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn withdraw(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Json<FindingView>> {
    set(&api, &id, None).await
}

async fn set(api: &Api, id: &str, acknowledged: Option<Acknowledgement>) -> Answer<Json<FindingView>> {
    let finding = api.store.acknowledge_finding(finding_id(id)?, acknowledged).await?;
    Ok(Json(finding.ok_or_else(|| unknown(id))?.into()))
}
