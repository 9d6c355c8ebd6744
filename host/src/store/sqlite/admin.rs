//! What operators set. Rarely written, so each write is a statement of its own in the writer's next group.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::Row as _;

use super::error::damaged;
use super::tx::Tx;
use super::writer::{Verb, WriterHandle};
use super::{SqliteAdmin, SqliteStore};
use crate::clock::UnixMs;
use crate::limits::LimitSet;
use crate::store::{AdminStore, LimitScope, PluginArtifact, Result, TokenRecord};
use crate::task::{AiModel, TaskType};

enum Write {
    Limits { scope: &'static str, name: String, limits: Option<String>, now: UnixMs },
    PutPlugin(PluginArtifact),
    RemovePlugin(String),
    PutToken { token: TokenRecord, scopes: String },
    RemoveToken(String),
}

#[async_trait]
impl Verb for Write {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let query = match self {
            Self::Limits { scope, name, limits: Some(limits), now } => sqlx::query(
                "INSERT INTO limit_settings (scope, name, limits, updated_at_ms) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (scope, name) DO UPDATE SET limits = excluded.limits, updated_at_ms = excluded.updated_at_ms",
            )
            .bind(*scope)
            .bind(name.as_str())
            .bind(limits.as_str())
            .bind(now.0),
            Self::Limits { scope, name, limits: None, .. } => {
                sqlx::query("DELETE FROM limit_settings WHERE scope = ? AND name = ?").bind(*scope).bind(name.as_str())
            }
            Self::PutPlugin(plugin) => {
                sqlx::query("INSERT OR REPLACE INTO plugins (name, version, digest, bytes, uploaded_at_ms) VALUES (?, ?, ?, ?, ?)")
                    .bind(plugin.name.as_str())
                    .bind(plugin.version.as_str())
                    .bind(plugin.digest.to_vec())
                    .bind(plugin.bytes.to_vec())
                    .bind(plugin.uploaded_at.0)
            }
            Self::RemovePlugin(name) => sqlx::query("DELETE FROM plugins WHERE name = ?").bind(name.as_str()),
            Self::PutToken { token, scopes } => {
                sqlx::query("INSERT OR REPLACE INTO tokens (id, hash, scopes, label, created_at_ms) VALUES (?, ?, ?, ?, ?)")
                    .bind(token.id.to_string())
                    .bind(token.hash.to_vec())
                    .bind(scopes.as_str())
                    .bind(token.label.as_str())
                    .bind(token.created_at.0)
            }
            Self::RemoveToken(id) => sqlx::query("DELETE FROM tokens WHERE id = ?").bind(id.as_str()),
        };
        Ok(query.execute(&mut *tx.conn).await?.rows_affected() > 0)
    }
}

fn digest(bytes: &[u8]) -> Result<[u8; 32]> {
    <[u8; 32]>::try_from(bytes).map_err(|error| damaged("a digest", error))
}

fn scope_text(scope: LimitScope) -> (&'static str, String) {
    match scope {
        LimitScope::Host => ("host", String::new()),
        LimitScope::TaskType(name) => ("task_type", name.to_string()),
        LimitScope::AiModel(name) => ("ai_model", name.to_string()),
        LimitScope::Plugin(name) => ("plugin", name),
    }
}

fn scope_back(scope: &str, name: String) -> Result<LimitScope> {
    match scope {
        "host" => Ok(LimitScope::Host),
        "task_type" => Ok(LimitScope::TaskType(TaskType::new(&name).map_err(|error| damaged("a limit's scope", error))?)),
        "ai_model" => Ok(LimitScope::AiModel(AiModel::new(&name).map_err(|error| damaged("a limit's scope", error))?)),
        "plugin" => Ok(LimitScope::Plugin(name)),
        other => Err(damaged("a limit's scope", other)),
    }
}

/// The two ways to the tables of this module: a whole store, or only the administrator's part of one.
trait Parts: Send + Sync + 'static {
    fn writer(&self) -> &WriterHandle;
    fn readers(&self) -> &sqlx::SqlitePool;
}

impl Parts for SqliteStore {
    fn writer(&self) -> &WriterHandle {
        &self.writer
    }
    fn readers(&self) -> &sqlx::SqlitePool {
        &self.readers
    }
}

impl Parts for SqliteAdmin {
    fn writer(&self) -> &WriterHandle {
        &self.0.writer
    }
    fn readers(&self) -> &sqlx::SqlitePool {
        &self.0.readers
    }
}

#[async_trait]
impl<T: Parts> AdminStore for T {
    async fn limit_settings(&self) -> Result<Vec<(LimitScope, LimitSet)>> {
        let rows = sqlx::query("SELECT scope, name, limits FROM limit_settings ORDER BY scope, name").fetch_all(self.readers()).await?;
        rows.iter()
            .map(|row| {
                let limits = serde_json::from_str(row.try_get("limits")?).map_err(|error| damaged("a limit setting", error))?;
                Ok((scope_back(row.try_get("scope")?, row.try_get("name")?)?, limits))
            })
            .collect()
    }

    async fn set_limits(&self, scope: LimitScope, limits: LimitSet, now: UnixMs) -> Result<()> {
        let (scope, name) = scope_text(scope);
        let text = serde_json::to_string(&limits).map_err(|error| damaged("a limit setting", error))?;
        let limits = (!limits.is_empty()).then_some(text);
        self.writer().run(Write::Limits { scope, name, limits, now }).await?;
        Ok(())
    }

    async fn plugins(&self) -> Result<Vec<PluginArtifact>> {
        let rows =
            sqlx::query("SELECT name, version, digest, bytes, uploaded_at_ms FROM plugins ORDER BY name").fetch_all(self.readers()).await?;
        rows.iter()
            .map(|row| {
                Ok(PluginArtifact {
                    name: row.try_get("name")?,
                    version: row.try_get("version")?,
                    digest: digest(row.try_get("digest")?)?,
                    bytes: Bytes::from(row.try_get::<Vec<u8>, _>("bytes")?),
                    uploaded_at: UnixMs(row.try_get("uploaded_at_ms")?),
                })
            })
            .collect()
    }

    async fn put_plugin(&self, artifact: PluginArtifact) -> Result<()> {
        self.writer().run(Write::PutPlugin(artifact)).await?;
        Ok(())
    }

    async fn remove_plugin(&self, name: &str) -> Result<bool> {
        self.writer().run(Write::RemovePlugin(name.to_owned())).await
    }

    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        let scopes = serde_json::to_string(&token.scopes).map_err(|error| damaged("a token's scopes", error))?;
        self.writer().run(Write::PutToken { token, scopes }).await?;
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        let rows = sqlx::query("SELECT id, hash, scopes, label, created_at_ms FROM tokens ORDER BY created_at_ms, id")
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TokenRecord {
                    id: row.try_get::<&str, _>("id")?.parse().map_err(|error| damaged("a token's id", error))?,
                    hash: digest(row.try_get("hash")?)?,
                    scopes: serde_json::from_str(row.try_get("scopes")?).map_err(|error| damaged("a token's scopes", error))?,
                    label: row.try_get("label")?,
                    created_at: UnixMs(row.try_get("created_at_ms")?),
                })
            })
            .collect()
    }

    async fn remove_token(&self, id: uuid::Uuid) -> Result<bool> {
        self.writer().run(Write::RemoveToken(id.to_string())).await
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.readers()).await?;
        Ok(())
    }
}
