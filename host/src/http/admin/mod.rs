//! What operators do.

pub(super) mod findings;
pub(super) mod hosts;
pub(super) mod lanes;
pub(super) mod limits;
pub(super) mod plugins;
pub(super) mod routes;
pub(super) mod schedules;
pub(super) mod stripe;
pub(super) mod tenants;
pub(super) mod tokens;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;

use super::Api;
use super::problem::Answer;
use super::tasks::read_json;

/// What operators send is small.
const BODY_BYTES_MAX: u64 = 64 << 10;

async fn read(api: &Api, headers: &HeaderMap, body: Body) -> Answer<Bytes> {
    read_json(api, headers, body, BODY_BYTES_MAX, "limit for such requests").await
}
