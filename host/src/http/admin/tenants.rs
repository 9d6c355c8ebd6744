//! Tenants and their shares of the hosts.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::Api;
use super::super::json::parse;
use super::super::problem::{Answer, Problem, ProblemBody};
use crate::store::TenantShare;
use crate::task::Tenant;
use crate::task::fair::WEIGHT_MAX;

/// Every tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Tenants {
    tenants: Vec<TenantView>,
}

/// A tenant and its share.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantShare)]
pub(in crate::http) struct TenantView {
    /// Null stands for the tasks of nobody in particular.
    tenant: Option<String>,
    /// Its share against other tenants that have work at the same time.
    weight: u32,
    /// Service it has had, in microseconds of run time and fuel, divided by its weight. Only differences between tenants mean anything:
    /// the one with the smallest pass is served next.
    pass: u64,
    queued: u64,
    running: u64,
}

impl From<TenantShare> for TenantView {
    fn from(share: TenantShare) -> Self {
        let tenant = share.tenant.map(|tenant| tenant.to_string());
        Self { tenant, weight: share.weight, pass: share.pass, queued: share.queued, running: share.running }
    }
}

/// A tenant's new weight.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TenantChange {
    /// Left out or null: the tasks of nobody in particular.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    tenant: Option<Tenant>,
    /// 1 to 10 000; 100 unless it was changed.
    weight: u32,
}

/// Every tenant that has submitted anything or was given a weight.
#[utoipa::path(get, path = "/v1/admin/tenants", tag = "admin", operation_id = "list_tenants",
    responses((status = 200, description = "the tenants", body = Tenants)))]
pub(in crate::http) async fn list(State(api): State<Arc<Api>>) -> Answer<Json<Tenants>> {
    let tenants = api.store.tenants().await?.into_iter().map(TenantView::from).collect();
    Ok(Json(Tenants { tenants }))
}

/// Change a tenant's weight; in force from the next dispatch.
#[utoipa::path(patch, path = "/v1/admin/tenants", tag = "admin", operation_id = "change_tenant", request_body = TenantChange,
    responses((status = 200, description = "the tenant as it is now", body = TenantView),
        (status = 422, description = "a field is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::http) async fn change(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Json<TenantView>> {
    let bytes = super::read(&api, &headers, body).await?;
    let change: TenantChange = parse(&bytes)?;
    if !(1..=WEIGHT_MAX).contains(&change.weight) {
        return Err(Problem::invalid_field("weight", format!("this must be a whole number from 1 to {WEIGHT_MAX}")));
    }
    Ok(Json(api.store.set_tenant(change.tenant.as_ref(), change.weight).await?.into()))
}
