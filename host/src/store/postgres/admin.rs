//! What operators set. Rarely written, so each write is a transaction of its own.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::Row as _;
use sqlx_postgres::PgArguments;

use super::sql;
use super::{Db, PostgresStore};
use crate::clock::UnixMs;
use crate::limits::{LimitSetting, RetryPercent};
use crate::store::stored::{damaged, digest, scope_back, scope_text};
use crate::store::{AdminStore, LimitScope, PluginArtifact, Result, TokenRecord};

type Query<'q> = sqlx::query::Query<'q, sqlx_postgres::Postgres, PgArguments>;

impl Db {
    /// Runs a statement that writes; whether it wrote anything.
    pub(super) async fn write(&self, query: Query<'_>) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = query.execute(&mut *tx).await?;
        self.commit(tx).await?;
        Ok(done.rows_affected() > 0)
    }
}

#[async_trait]
impl AdminStore for PostgresStore {
    async fn limit_settings(&self) -> Result<Vec<(LimitScope, LimitSetting)>> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query("SELECT scope, name, limits, retry_limits_percent FROM taskwarden.limit_settings ORDER BY scope, name")
            .fetch_all(&mut *tx)
            .await?;
        rows.iter()
            .map(|row| {
                let limits = serde_json::from_str(row.try_get("limits")?).map_err(|error| damaged("a limit setting", error))?;
                let percent: Option<i32> = row.try_get("retry_limits_percent")?;
                let retry_percent = percent.and_then(|percent| RetryPercent::new(u64::try_from(percent).ok()?));
                Ok((scope_back(row.try_get("scope")?, row.try_get("name")?)?, LimitSetting { limits, retry_percent }))
            })
            .collect()
    }

    async fn set_limits(&self, scope: LimitScope, setting: LimitSetting, now: UnixMs) -> Result<()> {
        let (scope, name) = scope_text(scope);
        let query = if setting.is_empty() {
            sql::query("DELETE FROM taskwarden.limit_settings WHERE scope = $1 AND name = $2").bind(scope).bind(name)
        } else {
            let limits = serde_json::to_string(&setting.limits).map_err(|error| damaged("a limit setting", error))?;
            sql::query(
                "INSERT INTO taskwarden.limit_settings (scope, name, limits, updated_at_ms, retry_limits_percent) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (scope, name) DO UPDATE SET limits = excluded.limits, retry_limits_percent = excluded.retry_limits_percent, \
                     updated_at_ms = excluded.updated_at_ms",
            )
            .bind(scope)
            .bind(name)
            .bind(limits)
            .bind(self.db.time.to_database(now))
            .bind(setting.retry_percent.map(|percent| i32::from(percent.get())))
        };
        self.db.write(query).await?;
        Ok(())
    }

    async fn plugins(&self) -> Result<Vec<PluginArtifact>> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query("SELECT name, version, digest, bytes, uploaded_at_ms FROM taskwarden.plugins ORDER BY name")
            .fetch_all(&mut *tx)
            .await?;
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

    async fn plugin_digests(&self) -> Result<Vec<(String, [u8; 32])>> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query("SELECT name, digest FROM taskwarden.plugins ORDER BY name").fetch_all(&mut *tx).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, digest(row.try_get("digest")?)?))).collect()
    }

    async fn put_plugin(&self, artifact: PluginArtifact) -> Result<()> {
        let query = sql::query(
            "INSERT INTO taskwarden.plugins (name, version, digest, bytes, uploaded_at_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (name) DO UPDATE SET version = excluded.version, digest = excluded.digest, bytes = excluded.bytes, \
                 uploaded_at_ms = excluded.uploaded_at_ms",
        )
        .bind(artifact.name)
        .bind(artifact.version)
        .bind(artifact.digest.to_vec())
        .bind(artifact.bytes.to_vec())
        .bind(artifact.uploaded_at.0);
        self.db.write(query).await?;
        Ok(())
    }

    async fn remove_plugin(&self, name: &str) -> Result<bool> {
        self.db.write(sql::query("DELETE FROM taskwarden.plugins WHERE name = $1").bind(name)).await
    }

    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        let scopes = serde_json::to_string(&token.scopes).map_err(|error| damaged("a token's scopes", error))?;
        let query = sql::query(
            "INSERT INTO taskwarden.tokens (id, hash, scopes, label, created_at_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, scopes = excluded.scopes, label = excluded.label, \
                 created_at_ms = excluded.created_at_ms",
        )
        .bind(token.id)
        .bind(token.hash.to_vec())
        .bind(scopes)
        .bind(token.label)
        .bind(token.created_at.0);
        self.db.write(query).await?;
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query("SELECT id, hash, scopes, label, created_at_ms FROM taskwarden.tokens ORDER BY created_at_ms, id")
            .fetch_all(&mut *tx)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TokenRecord {
                    id: row.try_get("id")?,
                    hash: digest(row.try_get("hash")?)?,
                    scopes: serde_json::from_str(row.try_get("scopes")?).map_err(|error| damaged("a token's scopes", error))?,
                    label: row.try_get("label")?,
                    created_at: UnixMs(row.try_get("created_at_ms")?),
                })
            })
            .collect()
    }

    async fn remove_token(&self, id: uuid::Uuid) -> Result<bool> {
        self.db.write(sql::query("DELETE FROM taskwarden.tokens WHERE id = $1").bind(id)).await
    }

    async fn ping(&self) -> Result<()> {
        let mut tx = self.db.begin_read().await?;
        sql::query("SELECT 1").execute(&mut *tx).await?;
        Ok(())
    }
}
