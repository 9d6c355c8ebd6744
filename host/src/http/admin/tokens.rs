//! Make, list and revoke tokens.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::Api;
use super::super::json::parse;
use super::super::problem::{Answer, Problem, ProblemBody};
use super::super::submit::shown;
use crate::store::{TokenRecord, TokenScope};
use crate::token;

const LABEL_CHARS_MAX: usize = 200;
/// Each request compares with every token, so there must not be any number of them.
const TOKENS_MAX: usize = 1_000;

/// What a new token may do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewToken {
    /// At least one.
    #[schema(min_items = 1)]
    scopes: Vec<TokenScope>,
    /// For the operator's memory.
    #[serde(default)]
    #[schema(max_length = 200)]
    label: String,
}

/// A token, with its text if it was just made: it is shown once and kept nowhere.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(in crate::http) struct TokenView {
    /// What it is revoked by.
    #[schema(value_type = String, format = Uuid)]
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    scopes: Vec<TokenScope>,
    label: String,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<TokenRecord> for TokenView {
    fn from(record: TokenRecord) -> Self {
        Self { id: record.id, token: None, scopes: record.scopes, label: record.label, created_at: record.created_at.to_rfc3339() }
    }
}

/// Every token.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TokenList {
    tokens: Vec<TokenView>,
}

/// Every token, without its text.
#[utoipa::path(get, path = "/v1/admin/tokens", tag = "admin", operation_id = "list_tokens",
    responses((status = 200, description = "the tokens", body = TokenList)))]
pub(in crate::http) async fn list(State(api): State<Arc<Api>>) -> Answer<Json<TokenList>> {
    let tokens = api.store.tokens().await?.into_iter().map(TokenView::from).collect();
    Ok(Json(TokenList { tokens }))
}

/// Make a token. Its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/admin/tokens", tag = "admin", operation_id = "create_token", request_body = NewToken,
    responses((status = 201, description = "the token", body = TokenView),
        (status = 422, description = "a field is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn create(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Response> {
    let bytes = super::read(&api, &headers, body).await?;
    let NewToken { mut scopes, label } = parse(&bytes)?;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Problem::invalid_field("scopes", "a token needs at least one scope of submit, read and admin"));
    }
    if label.chars().count() > LABEL_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(Problem::invalid_field(
            "label",
            format!("this may have {LABEL_CHARS_MAX} characters, none of them a control character"),
        ));
    }
    if api.store.tokens().await?.len() >= TOKENS_MAX {
        return Err(Problem::invalid_field("body", format!("there are {TOKENS_MAX} tokens, which is the limit; revoke some first")));
    }
    let secret = token::NewToken::generate();
    let record = TokenRecord { id: Uuid::now_v7(), hash: secret.hash(), scopes, label, created_at: api.clock.now() };
    api.store.put_token(record.clone()).await?;
    api.tokens.forget();
    let view = TokenView { token: Some(secret.reveal().to_owned()), ..record.into() };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(view)).into_response())
}

/// Revoke a token: at once on this host, within seconds on others.
#[utoipa::path(delete, path = "/v1/admin/tokens/{id}", tag = "admin", operation_id = "revoke_token",
    params(("id" = String, Path, description = "the token's id")),
    responses((status = 204, description = "it is gone"),
        (status = 404, description = "no such token", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn revoke(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<StatusCode> {
    let unknown = || Problem::not_found(format!("there is no token with the id {:?}", shown(&id)));
    let known = Uuid::parse_str(&id).map_err(|_| unknown())?;
    let was_there = api.store.remove_token(known).await?;
    api.tokens.forget();
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}
