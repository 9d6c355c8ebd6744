//! What checks found wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Api;
use super::problem::{Answer, Problem, ProblemBody};
use super::query::Query;
use super::submit::shown;
use super::tasks::{read_cursor, write_cursor};
use crate::clock::UnixMs;
use crate::finding::{Finding, FindingId, FindingState};
use crate::store::FindingFilter;

const LIST_DEFAULT: u32 = 50;
const LIST_MAX: u32 = 500;

/// Something that a check found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(super) struct FindingView {
    /// A digest of scope, kind and keys: the same thing found again has the same id.
    id: String,
    /// The check that found it.
    scope: String,
    kind: String,
    /// What it is about.
    keys: BTreeMap<String, String>,
    state: FindingState,
    /// How bad it was when last found, 0 to 100.
    severity: u8,
    /// How much money was in question then; null where it is not about money.
    gross_value: Option<MoneyView>,
    /// One sentence.
    explanation: String,
    /// More, for programs.
    #[schema(value_type = Option<serde_json::Value>)]
    detail: Option<Box<RawValue>>,
    /// The task that found it last, or found it gone.
    source_task: String,
    #[schema(format = DateTime)]
    first_seen_at: String,
    /// When it was first found since it was last resolved.
    #[schema(format = DateTime)]
    opened_at: String,
    #[schema(format = DateTime)]
    last_seen_at: String,
    #[schema(format = DateTime)]
    resolved_at: Option<String>,
    /// How many reports found it.
    times_seen: u32,
    /// How often it came back after it was resolved.
    times_reopened: u32,
    /// That somebody has seen it; null while nobody has.
    acknowledged: Option<AcknowledgementView>,
}

/// An amount in the smallest unit of its currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GrossValue)]
pub(super) struct MoneyView {
    minor: u64,
    /// ISO 4217, in lower case.
    currency: String,
}

/// That somebody has seen a finding.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Acknowledgement)]
pub(super) struct AcknowledgementView {
    #[schema(format = DateTime)]
    at: String,
    note: String,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        Self {
            id: finding.id.to_string(),
            scope: finding.scope.as_str().to_owned(),
            kind: finding.kind.as_str().to_owned(),
            keys: finding.keys,
            state: finding.state,
            severity: finding.severity,
            gross_value: finding.gross.map(|gross| MoneyView { minor: gross.minor, currency: gross.currency.code().to_owned() }),
            explanation: finding.explanation,
            detail: finding.detail,
            source_task: finding.source.to_string(),
            first_seen_at: finding.first_seen.to_rfc3339(),
            opened_at: finding.opened.to_rfc3339(),
            last_seen_at: finding.last_seen.to_rfc3339(),
            resolved_at: finding.resolved.map(UnixMs::to_rfc3339),
            times_seen: finding.times_seen,
            times_reopened: finding.times_reopened,
            acknowledged: finding.acknowledged.map(|seen| AcknowledgementView { at: seen.at.to_rfc3339(), note: seen.note }),
        }
    }
}

/// One page of findings, the latest first found first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FindingList {
    findings: Vec<FindingView>,
    /// What to send as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// List findings, the latest first found first.
#[utoipa::path(get, path = "/v1/findings", tag = "findings", operation_id = "list_findings",
    params(("state" = Option<FindingState>, Query, description = "only those in this state"),
        ("kind" = Option<String>, Query, description = "only those of this kind"),
        ("scope" = Option<String>, Query, description = "only those of this check"),
        ("acknowledged" = Option<bool>, Query, description = "only those that somebody has seen, or that nobody has"),
        ("limit" = Option<u32>, Query, description = "at most this many, 1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, description = "one page", body = FindingList),
        (status = 422, description = "a parameter is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Answer<Json<FindingList>> {
    let query = Query::parse(query.as_deref(), &["state", "kind", "scope", "acknowledged", "limit", "cursor"])?;
    let filter = FindingFilter {
        state: query.get("state")?,
        kind: query.get("kind")?,
        scope: query.get("scope")?,
        acknowledged: query.get("acknowledged")?,
        before: query.text("cursor").map(read_cursor).transpose()?,
        limit: query.number("limit", 1, LIST_MAX)?.unwrap_or(LIST_DEFAULT),
    };
    let page = api.store.findings(filter).await?;
    let findings = page.findings.into_iter().map(FindingView::from).collect();
    Ok(Json(FindingList { findings, next_cursor: page.next.map(write_cursor) }))
}

/// One finding.
#[utoipa::path(get, path = "/v1/findings/{id}", tag = "findings", operation_id = "get_finding",
    params(("id" = String, Path, description = "the finding's id")),
    responses((status = 200, description = "the finding", body = FindingView),
        (status = 404, description = "no such finding", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn get(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Json<FindingView>> {
    let known = finding_id(&id)?;
    let finding = api.store.finding(known).await?.ok_or_else(|| unknown(&id))?;
    Ok(Json(finding.into()))
}

pub(super) fn finding_id(text: &str) -> Answer<FindingId> {
    text.parse().map_err(|_| unknown(text))
}

pub(super) fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("there is no finding {:?}; it may have been deleted at the end of its retention", shown(id)))
}
