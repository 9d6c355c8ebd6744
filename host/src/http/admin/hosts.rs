//! The hosts that share the work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Api;
use super::super::problem::Answer;
use crate::clock::UnixMs;
use crate::store::{HostShown, RunningShown};

/// Every host.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Hosts {
    hosts: Vec<HostView>,
}

/// A host and what it runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Host)]
pub(in crate::http) struct HostView {
    name: String,
    /// Whether its lease holds. A host whose lease is over has lost its tasks, or will at the next look.
    alive: bool,
    #[schema(format = DateTime)]
    lease_until: String,
    running: Vec<RunningView>,
}

/// A task that a host runs or is about to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunningTask)]
pub(in crate::http) struct RunningView {
    id: uuid::Uuid,
    task_type: String,
    ai_model: Option<String>,
    attempt: u32,
}

impl From<RunningShown> for RunningView {
    fn from(task: RunningShown) -> Self {
        let ai_model = task.lane.ai_model.map(|model| model.to_string());
        Self { id: task.id.0, task_type: task.lane.task_type.to_string(), ai_model, attempt: task.attempt }
    }
}

fn view(host: HostShown, now: UnixMs) -> HostView {
    HostView {
        name: host.name.to_string(),
        alive: host.lease_until >= now,
        lease_until: host.lease_until.to_rfc3339(),
        running: host.running.into_iter().map(RunningView::from).collect(),
    }
}

/// The hosts that share the work, and what each runs.
#[utoipa::path(get, path = "/v1/admin/hosts", tag = "admin", operation_id = "list_hosts",
    responses((status = 200, description = "the hosts", body = Hosts)))]
pub(in crate::http) async fn list(State(api): State<Arc<Api>>) -> Answer<Json<Hosts>> {
    let now = api.clock.now();
    Ok(Json(Hosts { hosts: api.store.hosts().await?.into_iter().map(|host| view(host, now)).collect() }))
}
