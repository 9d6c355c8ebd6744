//! One span and one count for each request.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::Api;

/// Middleware: logs and counts. The route is the pattern that matched, so that ids in paths do not become labels.
pub(super) async fn observe(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let started = api.clock.monotonic();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| Arc::from("unmatched"), |path| Arc::<str>::from(path.as_str()));
    let method = method_name(request.method());
    let span = tracing::info_span!("http", method, route = &*route, status = tracing::field::Empty);
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let took = api.clock.monotonic().saturating_sub(started);
    span.record("status", status);
    span.in_scope(|| tracing::debug!(took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "answered"));
    api.metrics.request(method, &route, status, took);
    response
}

/// Clients can make up methods; labels cannot be made up.
fn method_name(method: &Method) -> &'static str {
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS]
        .iter()
        .position(|known| known == method)
        .and_then(|index| ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].get(index).copied())
        .unwrap_or("OTHER")
}
