//! The host's figures, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Api;

/// Figures in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "read_metrics",
    responses((status = 200, description = "the figures", body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    // Lanes carry counters of their own, so this counts nothing. Without a database the other figures are still worth having.
    match api.store.lanes().await {
        Ok(lanes) => api.metrics.lanes(lanes.iter().map(|lane| (&lane.key, lane.queued, lane.scheduled, lane.running))),
        Err(error) => tracing::warn!(%error, "the lanes could not be read for the metrics"),
    }
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], api.metrics.to_text()).into_response()
}
