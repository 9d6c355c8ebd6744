//! How much the API does at once.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Api;
use super::problem::{Answer, Problem};

/// Middleware: refuses what is too much at once, rather than letting it pile up in memory.
pub(super) async fn admit(State(api): State<Arc<Api>>, request: Request, next: Next) -> Answer<Response> {
    let _permit = api.requests.try_acquire().map_err(|_| Problem::overloaded("this host is busy with other requests; try again"))?;
    Ok(next.run(request).await)
}

/// A place among things that last longer than their handler: streams and transfers.
pub(super) fn take_place(places: &Arc<Semaphore>, what: &str) -> Answer<OwnedSemaphorePermit> {
    let refused = |_| Problem::overloaded(format!("there are as many {what} as this host allows; close one or try again"));
    Arc::clone(places).try_acquire_owned().map_err(refused)
}
