//! What operators set. Rarely written, so each write is a statement of its own in the writer's next group.

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::params;

use super::connection::Readers;
use super::row;
use super::tx::Tx;
use super::writer::{Verb, WriterHandle};
use super::{SqliteAdmin, SqliteStore};
use crate::clock::UnixMs;
use crate::limits::{LimitSetting, RetryPercent};
use crate::store::stored::{damaged, scope_back, scope_text};
use crate::store::{AdminStore, LimitScope, PluginArtifact, Result, TokenRecord};

enum Write {
    Limits { scope: &'static str, name: String, limits: Option<String>, retry_percent: Option<u16>, now: UnixMs },
    PutPlugin(PluginArtifact),
    RemovePlugin(String),
    PutToken { token: TokenRecord, scopes: String },
    RemoveToken(String),
}

impl Verb for Write {
    type Answer = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let changed = match self {
            Self::Limits { scope, name, limits: Some(limits), retry_percent, now } => tx.execute(
                "INSERT INTO limit_settings (scope, name, limits, retry_limits_percent, updated_at_ms) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT (scope, name) DO UPDATE SET limits = excluded.limits, retry_limits_percent = excluded.retry_limits_percent, \
                     updated_at_ms = excluded.updated_at_ms",
                params![scope, name, limits, retry_percent, now.0],
            ),
            Self::Limits { scope, name, limits: None, .. } => {
                tx.execute("DELETE FROM limit_settings WHERE scope = ? AND name = ?", params![scope, name])
            }
            Self::PutPlugin(plugin) => tx.execute(
                "INSERT OR REPLACE INTO plugins (name, version, digest, bytes, uploaded_at_ms) VALUES (?, ?, ?, ?, ?)",
                params![plugin.name, plugin.version, plugin.digest, &*plugin.bytes, plugin.uploaded_at.0],
            ),
            Self::RemovePlugin(name) => tx.execute("DELETE FROM plugins WHERE name = ?", [name]),
            Self::PutToken { token, scopes } => tx.execute(
                "INSERT OR REPLACE INTO tokens (id, hash, scopes, label, created_at_ms) VALUES (?, ?, ?, ?, ?)",
                params![token.id.to_string(), token.hash, scopes, token.label, token.created_at.0],
            ),
            Self::RemoveToken(id) => tx.execute("DELETE FROM tokens WHERE id = ?", [id]),
        };
        Ok(changed? > 0)
    }
}

/// The two ways to the tables of this module: a whole store, or only the administrator's part of one.
pub(super) trait Parts: Send + Sync + 'static {
    fn writer(&self) -> &WriterHandle;
    fn readers(&self) -> &Readers;
}

impl Parts for SqliteStore {
    fn writer(&self) -> &WriterHandle {
        &self.writer
    }
    fn readers(&self) -> &Readers {
        &self.readers
    }
}

impl Parts for SqliteAdmin {
    fn writer(&self) -> &WriterHandle {
        &self.0.writer
    }
    fn readers(&self) -> &Readers {
        &self.0.readers
    }
}

#[async_trait]
impl<T: Parts> AdminStore for T {
    async fn limit_settings(&self) -> Result<Vec<(LimitScope, LimitSetting)>> {
        let read = self.readers().run(|conn| {
            row::all(conn, "SELECT scope, name, limits, retry_limits_percent FROM limit_settings ORDER BY scope, name", [], |row| {
                let limits = serde_json::from_str(row::text(row, "limits")?).map_err(|error| damaged("a limit setting", error))?;
                let percent: Option<u32> = row.get("retry_limits_percent")?;
                let retry_percent = percent.and_then(|percent| RetryPercent::new(u64::from(percent)));
                Ok((scope_back(row::text(row, "scope")?, row.get("name")?)?, LimitSetting { limits, retry_percent }))
            })
        });
        read.await
    }

    async fn set_limits(&self, scope: LimitScope, setting: LimitSetting, now: UnixMs) -> Result<()> {
        let (scope, name) = scope_text(scope);
        let text = serde_json::to_string(&setting.limits).map_err(|error| damaged("a limit setting", error))?;
        let limits = (!setting.is_empty()).then_some(text);
        let retry_percent = setting.retry_percent.map(RetryPercent::get);
        self.writer().run(Write::Limits { scope, name, limits, retry_percent, now }).await?;
        Ok(())
    }

    async fn plugins(&self) -> Result<Vec<PluginArtifact>> {
        let read = self.readers().run(|conn| {
            row::all(conn, "SELECT name, version, digest, bytes, uploaded_at_ms FROM plugins ORDER BY name", [], |row| {
                Ok(PluginArtifact {
                    name: row.get("name")?,
                    version: row.get("version")?,
                    digest: row.get("digest")?,
                    bytes: Bytes::from(row.get::<_, Vec<u8>>("bytes")?),
                    uploaded_at: UnixMs(row.get("uploaded_at_ms")?),
                })
            })
        });
        read.await
    }

    async fn plugin_digests(&self) -> Result<Vec<(String, [u8; 32])>> {
        let read = self.readers().run(|conn| {
            row::all(conn, "SELECT name, digest FROM plugins ORDER BY name", [], |row| Ok((row.get("name")?, row.get("digest")?)))
        });
        read.await
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
        let read = self.readers().run(|conn| {
            row::all(conn, "SELECT id, hash, scopes, label, created_at_ms FROM tokens ORDER BY created_at_ms, id", [], |row| {
                Ok(TokenRecord {
                    id: row::text(row, "id")?.parse().map_err(|error| damaged("a token's id", error))?,
                    hash: row.get("hash")?,
                    scopes: serde_json::from_str(row::text(row, "scopes")?).map_err(|error| damaged("a token's scopes", error))?,
                    label: row.get("label")?,
                    created_at: UnixMs(row.get("created_at_ms")?),
                })
            })
        });
        read.await
    }

    async fn remove_token(&self, id: uuid::Uuid) -> Result<bool> {
        self.writer().run(Write::RemoveToken(id.to_string())).await
    }

    async fn ping(&self) -> Result<()> {
        self.readers().run(|conn| Ok(conn.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }
}
