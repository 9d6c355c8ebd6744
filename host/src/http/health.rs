//! Whether the host lives and whether it takes tasks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::problem::{Answer, Problem, ProblemBody};

/// Whoever asks whether a host is ready waits a few seconds at most for the answer.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

/// All is well.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok` or `ready`.
    status: &'static str,
    /// This host's name.
    host: String,
    version: &'static str,
}

fn health(api: &Api, status: &'static str) -> Json<Health> {
    Json(Health { status, host: api.config.host_name.to_string(), version: env!("CARGO_PKG_VERSION") })
}

/// The process lives. Asks nothing of the database: restarting the host would not bring that back.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "it lives", body = Health)), security())]
pub(super) async fn healthz(State(api): State<Arc<Api>>) -> Json<Health> {
    health(&api, "ok")
}

/// The host takes tasks: it has started, is not stopping, and its database answers.
#[utoipa::path(get, path = "/readyz", tag = "health", security(),
    responses((status = 200, description = "it does", body = Health),
        (status = 503, description = "it does not, for now", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Answer<Json<Health>> {
    if !api.ready.load(Ordering::Acquire) || api.shutdown.is_cancelled() {
        return Err(Problem::unavailable("this host is starting or stopping"));
    }
    tokio::select! {
        answer = api.store.ping() => answer?,
        () = api.clock.sleep(DATABASE_PATIENCE) => {
            return Err(Problem::unavailable(format!("the database has not answered for {} s", DATABASE_PATIENCE.as_secs())));
        }
    }
    Ok(health(&api, "ready"))
}
