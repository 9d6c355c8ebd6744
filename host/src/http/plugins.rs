//! What is loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use crate::plugin::Capability;
use crate::registry::Plugin;

/// The plugins that are loaded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Plugins {
    pub(super) plugins: Vec<PluginView>,
}

/// A plugin that is loaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(super) struct PluginView {
    name: String,
    version: String,
    description: String,
    /// SHA-256 of its artifact, in hexadecimal.
    digest: String,
    artifact_bytes: u64,
    /// Whether it came with the host.
    built_in: bool,
    /// Whether the host runs these tasks itself, without a sandbox; there is no artifact then.
    native: bool,
    task_types: Vec<String>,
    /// Patterns over `ai_model`: `*`, `prefix*` or a name.
    ai_models: Vec<String>,
    capabilities: Vec<Capability>,
    /// Names of the settings it reads; values are never shown.
    settings: Vec<String>,
    /// The limits that it asks for.
    limits: BTreeMap<String, u64>,
    /// JSON Schema of its payloads.
    #[schema(value_type = Option<serde_json::Value>)]
    payload_schema: Option<serde_json::Value>,
}

impl From<&Plugin> for PluginView {
    fn from(plugin: &Plugin) -> Self {
        let manifest = &plugin.manifest;
        Self {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            description: manifest.description.clone(),
            digest: plugin.digest_hex.clone(),
            artifact_bytes: plugin.artifact_bytes,
            built_in: plugin.built_in,
            native: plugin.is_native(),
            task_types: manifest.task_types.iter().map(ToString::to_string).collect(),
            ai_models: manifest.ai_models.iter().map(ToString::to_string).collect(),
            capabilities: manifest.capabilities.clone(),
            settings: manifest.settings.clone(),
            limits: manifest.limits.0.iter().map(|(limit, value)| (limit.name().to_owned(), *value)).collect(),
            payload_schema: manifest.payload_schema.as_ref().map(|schema| schema.source().clone()),
        }
    }
}

pub(super) fn loaded(api: &Api) -> Plugins {
    Plugins { plugins: api.registry.snapshot().plugins().map(|plugin| PluginView::from(&**plugin)).collect() }
}

/// The plugins that are loaded.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins", operation_id = "list_plugins", responses((status = 200, description = "what is loaded", body = Plugins)))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Plugins> {
    Json(loaded(&api))
}
