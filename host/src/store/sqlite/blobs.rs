//! Blobs: pieces through the writer, reads from the readers.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::Row as _;

use super::SqliteStore;
use super::error::damaged;
use super::tx::Tx;
use super::writer::{Turn, Verb};
use crate::clock::UnixMs;
use crate::store::{BlobInfo, BlobStore, Result};
use crate::task::BlobId;

struct PutPiece {
    id: String,
    index: u32,
    piece: Bytes,
    now: UnixMs,
}

#[async_trait]
impl Verb for PutPiece {
    type Answer = ();

    fn turn(&self) -> Turn {
        Turn::Bulk
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        sqlx::query("INSERT INTO blobs (id, created_at_ms) VALUES (?, ?) ON CONFLICT (id) DO NOTHING")
            .bind(self.id.as_str())
            .bind(self.now.0)
            .execute(&mut *tx.conn)
            .await?;
        sqlx::query("INSERT OR REPLACE INTO blob_pieces (blob_id, piece_index, bytes) VALUES (?, ?, ?)")
            .bind(self.id.as_str())
            .bind(self.index)
            .bind(self.piece.to_vec())
            .execute(&mut *tx.conn)
            .await?;
        Ok(())
    }

    fn rows(&self) -> usize {
        // As many rows as would fill the same pages.
        1 + self.piece.len() / 512
    }
}

struct Commit {
    info: BlobInfo,
    now: UnixMs,
}

#[async_trait]
impl Verb for Commit {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        let size = i64::try_from(self.info.bytes).map_err(|error| damaged("a blob's size", error))?;
        sqlx::query(
            "INSERT INTO blobs (id, committed, size_bytes, sha256, created_at_ms) VALUES (?, 1, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET committed = 1, size_bytes = excluded.size_bytes, sha256 = excluded.sha256",
        )
        .bind(self.info.id.0.to_string())
        .bind(size)
        .bind(self.info.sha256.to_vec())
        .bind(self.now.0)
        .execute(&mut *tx.conn)
        .await?;
        Ok(())
    }
}

struct Abandon(String);

#[async_trait]
impl Verb for Abandon {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        let gone = sqlx::query("DELETE FROM blobs WHERE id = ? AND committed = 0").bind(self.0.as_str()).execute(&mut *tx.conn).await?;
        if gone.rows_affected() > 0 {
            sqlx::query("DELETE FROM blob_pieces WHERE blob_id = ?").bind(self.0.as_str()).execute(&mut *tx.conn).await?;
        }
        Ok(())
    }
}

struct Prune {
    made_before: UnixMs,
    limit_blobs: u32,
}

#[async_trait]
impl Verb for Prune {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64> {
        tx.flush().await?;
        let old: Vec<String> = sqlx::query_scalar(
            "SELECT b.id FROM blobs b WHERE b.created_at_ms < ? AND NOT EXISTS (\
                 SELECT 1 FROM task_blobs u JOIN execution_tasks t ON t.seq = u.seq \
                 WHERE u.blob_id = b.id AND t.state IN ('scheduled', 'queued', 'running')) \
             ORDER BY b.created_at_ms LIMIT ?",
        )
        .bind(self.made_before.0)
        .bind(self.limit_blobs)
        .fetch_all(&mut *tx.conn)
        .await?;
        for id in &old {
            sqlx::query("DELETE FROM blob_pieces WHERE blob_id = ?").bind(id.as_str()).execute(&mut *tx.conn).await?;
            sqlx::query("DELETE FROM task_blobs WHERE blob_id = ?").bind(id.as_str()).execute(&mut *tx.conn).await?;
            sqlx::query("DELETE FROM blobs WHERE id = ?").bind(id.as_str()).execute(&mut *tx.conn).await?;
        }
        Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
    }
}

#[async_trait]
impl BlobStore for SqliteStore {
    async fn put_blob_piece(&self, id: BlobId, index: u32, piece: Bytes, now: UnixMs) -> Result<()> {
        self.writer.run(PutPiece { id: id.0.to_string(), index, piece, now }).await
    }

    async fn commit_blob(&self, info: BlobInfo, now: UnixMs) -> Result<()> {
        self.writer.run(Commit { info, now }).await
    }

    async fn abandon_blob(&self, id: BlobId) -> Result<()> {
        self.writer.run(Abandon(id.0.to_string())).await
    }

    async fn blob(&self, id: BlobId) -> Result<Option<BlobInfo>> {
        let row = sqlx::query("SELECT size_bytes, sha256 FROM blobs WHERE id = ? AND committed = 1")
            .bind(id.0.to_string())
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let size: i64 = row.try_get("size_bytes")?;
        let sha256 = <[u8; 32]>::try_from(row.try_get::<&[u8], _>("sha256")?).map_err(|error| damaged("a blob's digest", error))?;
        Ok(Some(BlobInfo { id, bytes: u64::try_from(size).map_err(|error| damaged("a blob's size", error))?, sha256 }))
    }

    async fn blob_piece(&self, id: BlobId, index: u32) -> Result<Option<Bytes>> {
        let piece: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT p.bytes FROM blob_pieces p JOIN blobs b ON b.id = p.blob_id WHERE p.blob_id = ? AND p.piece_index = ? AND b.committed = 1",
        )
        .bind(id.0.to_string())
        .bind(index)
        .fetch_optional(&self.readers)
        .await?;
        Ok(piece.map(Bytes::from))
    }

    async fn prune_blobs(&self, made_before: UnixMs, limit_blobs: u32) -> Result<u64> {
        self.writer.run(Prune { made_before, limit_blobs }).await
    }
}
