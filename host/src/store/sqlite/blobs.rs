//! Blobs: pieces through the writer, reads from the readers.

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::params;

use super::SqliteStore;
use super::row;
use super::tx::Tx;
use super::writer::{Turn, Verb};
use crate::clock::UnixMs;
use crate::store::stored::damaged;
use crate::store::{BlobInfo, BlobStore, Result};
use crate::task::BlobId;

struct PutPiece {
    id: String,
    index: u32,
    piece: Bytes,
    now: UnixMs,
}

impl Verb for PutPiece {
    type Answer = ();

    fn turn(&self) -> Turn {
        Turn::Bulk
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        let new = "INSERT INTO blobs (id, created_at_ms) VALUES (?, ?) ON CONFLICT (id) DO NOTHING";
        tx.execute(new, params![self.id, self.now.0])?;
        let piece = "INSERT OR REPLACE INTO blob_pieces (blob_id, piece_index, bytes) VALUES (?, ?, ?)";
        tx.execute(piece, params![self.id, self.index, &*self.piece])?;
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

impl Verb for Commit {
    type Answer = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        let size = i64::try_from(self.info.bytes).map_err(|error| damaged("a blob's size", error))?;
        tx.execute(
            "INSERT INTO blobs (id, committed, size_bytes, sha256, created_at_ms) VALUES (?, 1, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET committed = 1, size_bytes = excluded.size_bytes, sha256 = excluded.sha256",
            params![self.info.id.0.to_string(), size, self.info.sha256, self.now.0],
        )?;
        Ok(())
    }
}

struct Abandon(String);

impl Verb for Abandon {
    type Answer = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        if tx.execute("DELETE FROM blobs WHERE id = ? AND committed = 0", [&self.0])? > 0 {
            tx.execute("DELETE FROM blob_pieces WHERE blob_id = ?", [&self.0])?;
        }
        Ok(())
    }
}

struct Prune {
    made_before: UnixMs,
    limit_blobs: u32,
}

impl Verb for Prune {
    type Answer = u64;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let old: Vec<String> = row::all(
            tx.conn,
            "SELECT b.id FROM blobs b WHERE b.created_at_ms < ? AND NOT EXISTS (\
                 SELECT 1 FROM task_blobs u JOIN execution_tasks t ON t.seq = u.seq \
                 WHERE u.blob_id = b.id AND t.state IN ('scheduled', 'queued', 'running')) \
             ORDER BY b.created_at_ms LIMIT ?",
            params![self.made_before.0, self.limit_blobs],
            |row| Ok(row.get(0)?),
        )?;
        for id in &old {
            tx.execute("DELETE FROM blob_pieces WHERE blob_id = ?", [id])?;
            tx.execute("DELETE FROM task_blobs WHERE blob_id = ?", [id])?;
            tx.execute("DELETE FROM blobs WHERE id = ?", [id])?;
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
        let read = self.readers.run(move |conn| {
            let found = "SELECT size_bytes, sha256 FROM blobs WHERE id = ? AND committed = 1";
            row::first(conn, found, [id.0.to_string()], |row| {
                let size: i64 = row.get("size_bytes")?;
                let bytes = u64::try_from(size).map_err(|error| damaged("a blob's size", error))?;
                Ok(BlobInfo { id, bytes, sha256: row.get("sha256")? })
            })
        });
        read.await
    }

    async fn blob_piece(&self, id: BlobId, index: u32) -> Result<Option<Bytes>> {
        let read = self.readers.run(move |conn| {
            row::first(
                conn,
                "SELECT p.bytes FROM blob_pieces p JOIN blobs b ON b.id = p.blob_id \
                 WHERE p.blob_id = ? AND p.piece_index = ? AND b.committed = 1",
                params![id.0.to_string(), index],
                |row| Ok(Bytes::from(row.get::<_, Vec<u8>>(0)?)),
            )
        });
        read.await
    }

    async fn prune_blobs(&self, made_before: UnixMs, limit_blobs: u32) -> Result<u64> {
        self.writer.run(Prune { made_before, limit_blobs }).await
    }
}
