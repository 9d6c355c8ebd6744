//! Stripe's ledger: files into it, and what could not be read.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Api;
use super::super::body::{BodyReader, declared_bytes};
use super::super::limits::take_place;
use super::super::problem::{Answer, Problem, ProblemBody};
use super::super::query::Query;
use super::super::submit::shown;
use crate::store::ledger::{LedgerStore, LoadError, LoadReport, QuarantinedRow, Source, load};
use crate::stripe::import::{DecimalSeparator, ImportError, ImportKind, ImportOptions, read};
use crate::stripe::ledger::{Mode, Owner};

/// Rows of one page.
const PAGE_ROWS_MAX: u32 = 1000;
/// Rows of a page when nothing is said.
const PAGE_ROWS: u32 = 100;

/// What could not be read.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Quarantine {
    /// Newest first.
    rows: Vec<QuarantineView>,
}

/// One row that could not be read, or that contradicts what is on record.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct QuarantineView {
    id: String,
    /// A file's name, or an address of Stripe's API.
    source: String,
    /// Where it began.
    line: u64,
    reason: String,
    /// The row, cut off when it is long.
    row: String,
    #[schema(value_type = String, format = DateTime)]
    at: String,
}

impl From<QuarantinedRow> for QuarantineView {
    fn from(kept: QuarantinedRow) -> Self {
        let row = kept.row;
        Self { id: kept.id, source: kept.source, line: row.line, reason: row.reason, row: row.row, at: kept.at.to_rfc3339() }
    }
}

fn owner(query: &Query) -> Answer<Owner> {
    let mode: Mode = query.get("mode")?.ok_or_else(|| Problem::invalid_field("mode", "say whose money it is: live or test"))?;
    Ok(Owner { account: query.text("account").unwrap_or_default().to_owned(), livemode: mode == Mode::Live })
}

/// Read a file of Stripe's into the ledger. Reading it again changes nothing. Rows that cannot be read are quarantined and counted.
#[utoipa::path(post, path = "/v1/admin/stripe/import", tag = "admin", operation_id = "import_stripe", request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("kind" = String, Query, description = "`api` for JSON of Stripe's API, or the report: `balance_change_from_activity.itemized`, `payouts.itemized`, `payout_reconciliation.itemized`"),
        ("mode" = String, Query, description = "`live` or `test`"),
        ("account" = Option<String>, Query, description = "the connected account (acct_…)"),
        ("source" = Option<String>, Query, description = "what to call the file where its rows are quarantined"),
        ("payout" = Option<String>, Query, description = "the payout that a list of balance transactions was asked for"),
        ("decimal_separator" = Option<String>, Query, description = "`point` or `comma`"),
        ("time_zone" = Option<String>, Query, description = "the IANA zone of a report without UTC columns"),
        ("order_key" = Option<String>, Query, description = "the metadata key of the order's id [default: stripe.sync.order_key]")),
    responses((status = 200, description = "what became of the rows", body = LoadReport),
        (status = 422, description = "this is no such file, or a parameter is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn import(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<LoadReport>> {
    let known = ["kind", "mode", "account", "source", "payout", "decimal_separator", "time_zone", "order_key"];
    let query = Query::parse(query.as_deref(), &known)?;
    let kind: ImportKind = query.get("kind")?.ok_or_else(|| Problem::invalid_field("kind", "say what the file holds"))?;
    let mut options = ImportOptions::new(kind, owner(&query)?);
    options.payout = query.text("payout").map(str::to_owned);
    options.decimal_separator = query.get::<DecimalSeparator>("decimal_separator")?.unwrap_or_default();
    options.time_zone = query.text("time_zone").map(time_zone).transpose()?;
    query.text("order_key").unwrap_or(&api.config.stripe.order_key).clone_into(&mut options.order_key);
    let _place = take_place(&api.transfers, "uploads and downloads")?;
    let config = &api.config;
    let body = BodyReader::new(body, &headers, &api.clock, config.body_idle_timeout, config.import_bytes_max, "http.import_bytes")?;
    let file = body.all(declared_bytes(&headers), config.body_total_timeout).await?;
    let source = format!("upload {}", shown(query.text("source").unwrap_or("without a name")));
    let (owner, order_key) = (options.owner.clone(), options.order_key.clone());
    let entries = read(&*file, options).map_err(refused)?;
    let loaded =
        load(&*api.store as &dyn LedgerStore, Source { owner: &owner, name: &source, order_key: &order_key }, entries, &api.clock).await;
    loaded.map(Json).map_err(|error| match error {
        LoadError::Store(error) => error.into(),
        LoadError::Source(error) => refused(error),
    })
}

fn time_zone(name: &str) -> Answer<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get(name)
        .map_err(|_| Problem::invalid_field("time_zone", format!("{:?} is not an IANA time zone such as Europe/Berlin", shown(name))))
}

fn refused(error: ImportError) -> Problem {
    Problem::invalid_field("body", error.to_string())
}

/// The rows that were quarantined, newest first.
#[utoipa::path(get, path = "/v1/admin/stripe/quarantine", tag = "admin", operation_id = "list_stripe_quarantine",
    params(("mode" = String, Query, description = "`live` or `test`"), ("account" = Option<String>, Query, description = "the connected account (acct_…)"),
        ("limit" = Option<u32>, Query, description = "1 to 1000 [default: 100]")),
    responses((status = 200, description = "the rows", body = Quarantine)))]
pub(in crate::http) async fn quarantine(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Answer<Json<Quarantine>> {
    let query = Query::parse(query.as_deref(), &["mode", "account", "limit"])?;
    let limit = query.number("limit", 1, PAGE_ROWS_MAX)?.unwrap_or(PAGE_ROWS);
    let rows = api.store.quarantine(&owner(&query)?, limit).await?;
    Ok(Json(Quarantine { rows: rows.into_iter().map(QuarantineView::from).collect() }))
}
