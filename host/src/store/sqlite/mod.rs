//! The store on SQLite: one file, one host.
//!
//! * One writer with group commit ([`writer`]), on a thread of its own; readers on connections of their own, which WAL lets read beside it.
//! * `synchronous=FULL`: what was acknowledged survives a power cut, not only a crash.
//! * Hot rows are narrow and apart: `ready` is ordered as it is claimed, `running` is as small as the number of slots, `scheduled`
//!   is ordered by time. `execution_tasks` is what people query.
//! * Lanes, hosts and running tasks are known to the writer by heart ([`mirror`]). That is why a second host is kept out by a lock.

mod admin;
mod blobs;
mod change;
mod checkpoint;
mod claim;
mod connection;
mod error;
mod findings;
mod finish;
mod host;
mod ledger;
mod migrate;
mod mirror;
mod orders;
mod pick;
mod prepared;
mod ratings;
mod read;
mod row;
mod schedules;
mod stats;
mod stripe;
mod submit;
mod tables;
mod tasks;
mod tenant;
mod tx;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;

use self::connection::Readers;
pub use self::migrate::{MIGRATIONS, migrate};
use self::tx::Rules;
use self::writer::WriterHandle;
use crate::event::Bells;
pub use crate::store::migration::MigrationReport;
use crate::store::{Result, Store, StoreError};

/// How a SQLite store is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// What one rank of priority is worth in waiting time.
    pub priority_step: Duration,
    /// At most so many combinations of task type and model.
    pub lanes_max: u32,
    /// At most so many tenants.
    pub tenants_max: u32,
    /// How long to wait for another process that holds the file, such as a backup.
    pub busy_timeout: Duration,
    /// Connections for reading.
    pub readers: u32,
    /// Page cache of the writer, in KiB.
    pub cache_kib: u32,
    /// Rung when something urgent is about to be written: whoever asks then can have it in the same transaction.
    pub bells: Option<Arc<Bells>>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            priority_step: Duration::from_secs(60),
            lanes_max: 4096,
            tenants_max: 100_000,
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            cache_kib: 64 << 10,
            bells: None,
        }
    }
}

/// A store in one SQLite file. Call [`SqliteStore::close`] to end it in good order; what was acknowledged is safe without.
pub struct SqliteStore {
    writer: WriterHandle,
    readers: Readers,
    bells: Option<Arc<Bells>>,
    path: PathBuf,
    /// Held as long as the store is open; the system lets go of it when the process dies.
    lock: parking_lot::Mutex<Option<File>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the file at `path` for this host alone, making and migrating it as needed.
    ///
    /// # Errors
    /// When another host has it open, it cannot be opened or migrated, or was made by a newer build.
    pub async fn open(path: &Path, options: SqliteOptions) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError::Unavailable(format!("{} cannot be made: {error}", folder.display())))?;
        }
        let lock = lock(path)?;
        Self::connect(path, options, Some(lock)).await
    }

    async fn connect(path: &Path, options: SqliteOptions, lock: Option<File>) -> Result<Self> {
        let path = path.to_owned();
        let connected = tokio::task::spawn_blocking(move || {
            let _turn = wait_for_turn(&path)?;
            let existed = path.exists();
            let conn = connection::open_writer(&path, &options)?;
            let report = migrate::migrate_connection(&conn, existed, false)?;
            if existed && !report.applied.is_empty() {
                tracing::info!(applied = ?report.applied, "the database was migrated");
            }
            let readers = Readers::open(&path, &options)?;
            let rules = Rules { priority_step: options.priority_step, lanes_max: options.lanes_max, tenants_max: options.tenants_max };
            let for_checkpoints = connection::open_for_checkpoints(&path, &options)?;
            let writer = WriterHandle::start(conn, for_checkpoints, rules)?;
            Ok(Self { writer, readers, bells: options.bells, path, lock: parking_lot::Mutex::new(lock) })
        });
        connected.await.map_err(|error| StoreError::Broken(format!("opening the database ended abnormally: {error}")))?
    }

    /// Finishes what was begun, closes every connection and lets go of the file. Verbs that come after are refused.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
        self.lock.lock().take();
    }

    /// How many transactions were committed since the store was opened; many requests share one.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.counts.commits.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn close(&self) {
        Self::close(self).await;
    }
}

/// The administrator's part of a store: limits, plugins and tokens. It may be opened while a host has the store open, because it
/// touches nothing that the host's writer knows by heart.
#[derive(Debug)]
pub struct SqliteAdmin(SqliteStore);

impl SqliteAdmin {
    /// Opens the file at `path` beside whoever has it open.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], except that another host does not matter.
    pub async fn open(path: &Path, options: SqliteOptions) -> Result<Self> {
        SqliteStore::connect(path, options, None).await.map(Self)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Held while a file is made and migrated, so that a host and whoever sets something beside it can start at the same moment: one waits
/// for the other.
fn wait_for_turn(path: &Path) -> Result<File> {
    let file = lock_file(path, ".setup")?;
    file.lock().map_err(|error| cannot_lock(path, &error))?;
    Ok(file)
}

fn lock_file(path: &Path, ending: &str) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    let file = File::options().create(true).truncate(false).write(true).open(PathBuf::from(name));
    file.map_err(|error| cannot_lock(path, &error))
}

fn cannot_lock(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{} cannot be locked: {error}", path.display()))
}

/// Held by a host for as long as it lives.
fn lock(path: &Path) -> Result<File> {
    let file = lock_file(path, ".lock")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
            "{} is open in another host; stop that host, or give this one another data folder",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(cannot_lock(path, &error)),
    }
}
