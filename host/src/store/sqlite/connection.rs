//! Connections to the file: one that writes, and a few that read beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::SqliteOptions;
use crate::store::{Result, StoreError};

/// Statements that stay prepared on a connection.
const STATEMENTS_KEPT: usize = 256;
/// A reader that is not free after this long is not going to be.
const READER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Opens a connection for checkpoints of a file that is there.
pub(super) fn open_for_checkpoints(path: &Path, options: &SqliteOptions) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
    conn.busy_timeout(options.busy_timeout)?;
    conn.execute_batch("PRAGMA synchronous = FULL")?;
    Ok(conn)
}

/// Opens the connection that writes, making the file when it is not there.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | NO_MUTEX)?;
    conn.busy_timeout(options.busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; \
         PRAGMA cache_size = -{}; PRAGMA journal_size_limit = 67108864",
        options.cache_kib
    ))?;
    Ok(conn)
}

/// Every connection is used by one thread at a time, so SQLite needs no lock of its own.
const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Connections that read. WAL lets them see the last commit while the next one is being written.
#[derive(Debug)]
pub(super) struct Readers {
    free: Arc<Mutex<Vec<Connection>>>,
    /// One permit for each connection; closed with the store.
    permits: Arc<Semaphore>,
    count: usize,
}

impl Readers {
    pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Self> {
        let open = || -> Result<Connection> {
            let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | NO_MUTEX)?;
            conn.busy_timeout(options.busy_timeout)?;
            conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
            Ok(conn)
        };
        let free = (0..options.readers.max(1)).map(|_| open()).collect::<Result<Vec<_>>>()?;
        let count = free.len();
        Ok(Self { permits: Arc::new(Semaphore::new(count)), free: Arc::new(Mutex::new(free)), count })
    }

    /// Runs `read` on a connection of its own, on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(&self, read: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let permit = tokio::time::timeout(READER_WAIT_MAX, Arc::clone(&self.permits).acquire_owned());
        let permit = permit.await.map_err(|_| StoreError::Unavailable("no connection for reading became free".to_owned()))?;
        let permit = permit.map_err(|_| closed())?;
        let free = Arc::clone(&self.free);
        let read = tokio::task::spawn_blocking(move || {
            let conn = free.lock().pop().ok_or_else(closed)?;
            let answer = read(&conn);
            free.lock().push(conn);
            drop(permit);
            answer
        });
        read.await.map_err(|error| StoreError::Broken(format!("a read ended abnormally: {error}")))?
    }

    /// Waits for reads that are under way and closes the connections.
    pub(super) async fn close(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        let all_back = self.permits.acquire_many(all).await;
        self.free.lock().clear();
        drop(all_back);
        self.permits.close();
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}
