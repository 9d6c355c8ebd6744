//! Blobs: a transaction for each piece, since a piece is large.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::Row as _;
use uuid::Uuid;

use super::sql;
use super::{Db, PostgresStore};
use crate::clock::UnixMs;
use crate::store::stored::{damaged, digest};
use crate::store::{BlobInfo, BlobStore, Result};
use crate::task::BlobId;

impl Db {
    async fn prune_blobs(&self, made_before_ms: i64, limit_blobs: u32) -> Result<u64> {
        let mut tx = self.begin().await?;
        // Locked first and asked after: a submission that names one of them holds it until its own commit, and is seen then.
        let old: Vec<Uuid> = sql::query_scalar(
            "SELECT b.id FROM taskwarden.blobs b WHERE b.created_at_ms < $1 AND NOT EXISTS (\
                 SELECT 1 FROM taskwarden.task_blobs u WHERE u.blob_id = b.id \
                     AND NOT EXISTS (SELECT 1 FROM taskwarden.done d WHERE d.seq = u.seq)) \
             ORDER BY b.created_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED",
        )
        .bind(made_before_ms)
        .bind(i64::from(limit_blobs))
        .fetch_all(&mut *tx)
        .await?;
        let gone: Vec<Uuid> = sql::query_scalar(
            "DELETE FROM taskwarden.blobs b WHERE b.id = ANY($1) AND NOT EXISTS (\
                 SELECT 1 FROM taskwarden.task_blobs u WHERE u.blob_id = b.id \
                     AND NOT EXISTS (SELECT 1 FROM taskwarden.done d WHERE d.seq = u.seq)) RETURNING b.id",
        )
        .bind(old)
        .fetch_all(&mut *tx)
        .await?;
        for delete in
            ["DELETE FROM taskwarden.blob_pieces WHERE blob_id = ANY($1)", "DELETE FROM taskwarden.task_blobs WHERE blob_id = ANY($1)"]
        {
            sql::query(delete).bind(&gone).execute(&mut *tx).await?;
        }
        self.commit(tx).await?;
        Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
    }
}

#[async_trait]
impl BlobStore for PostgresStore {
    async fn put_blob_piece(&self, id: BlobId, index: u32, piece: Bytes, now: UnixMs) -> Result<()> {
        let mut tx = self.db.begin().await?;
        sql::query("INSERT INTO taskwarden.blobs (id, created_at_ms) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
            .bind(id.0)
            .bind(self.db.time.to_database(now))
            .execute(&mut *tx)
            .await?;
        sql::query(
            "INSERT INTO taskwarden.blob_pieces (blob_id, piece_index, bytes) VALUES ($1, $2, $3) \
             ON CONFLICT (blob_id, piece_index) DO UPDATE SET bytes = excluded.bytes",
        )
        .bind(id.0)
        .bind(i32::try_from(index).map_err(|error| damaged("a piece's number", error))?)
        .bind(&*piece)
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await
    }

    async fn commit_blob(&self, info: BlobInfo, now: UnixMs) -> Result<()> {
        let size = i64::try_from(info.bytes).map_err(|error| damaged("a blob's size", error))?;
        let mut tx = self.db.begin().await?;
        sql::query(
            "INSERT INTO taskwarden.blobs (id, committed, size_bytes, sha256, created_at_ms) VALUES ($1, true, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET committed = true, size_bytes = excluded.size_bytes, sha256 = excluded.sha256",
        )
        .bind(info.id.0)
        .bind(size)
        .bind(info.sha256.as_slice())
        .bind(self.db.time.to_database(now))
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await
    }

    async fn abandon_blob(&self, id: BlobId) -> Result<()> {
        let mut tx = self.db.begin().await?;
        sql::query(
            "WITH gone AS (DELETE FROM taskwarden.blobs WHERE id = $1 AND NOT committed RETURNING id) \
             DELETE FROM taskwarden.blob_pieces p USING gone WHERE p.blob_id = gone.id",
        )
        .bind(id.0)
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await
    }

    async fn blob(&self, id: BlobId) -> Result<Option<BlobInfo>> {
        let mut tx = self.db.begin_read().await?;
        let row = sql::query("SELECT size_bytes, sha256 FROM taskwarden.blobs WHERE id = $1 AND committed")
            .bind(id.0)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let size: i64 = row.try_get("size_bytes")?;
        let bytes = u64::try_from(size).map_err(|error| damaged("a blob's size", error))?;
        Ok(Some(BlobInfo { id, bytes, sha256: digest(row.try_get("sha256")?)? }))
    }

    async fn blob_piece(&self, id: BlobId, index: u32) -> Result<Option<Bytes>> {
        let mut tx = self.db.begin_read().await?;
        let piece: Option<Vec<u8>> = sql::query_scalar(
            "SELECT p.bytes FROM taskwarden.blob_pieces p JOIN taskwarden.blobs b ON b.id = p.blob_id \
             WHERE p.blob_id = $1 AND p.piece_index = $2 AND b.committed",
        )
        .bind(id.0)
        .bind(i32::try_from(index).unwrap_or(i32::MAX))
        .fetch_optional(&mut *tx)
        .await?;
        Ok(piece.map(Bytes::from))
    }

    async fn prune_blobs(&self, made_before: UnixMs, limit_blobs: u32) -> Result<u64> {
        self.db.prune_blobs(self.db.time.to_database(made_before), limit_blobs).await
    }
}
