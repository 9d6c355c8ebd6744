//! The store on Postgres: one database, several hosts.
//!
//! * Nothing is updated on the way of a task that succeeds (see migrations/postgres/0003): rows are added and deleted, in narrow tables,
//!   so that an old snapshot somewhere in the database costs space and not speed.
//! * Many small requests share transactions ([`group`]), because a commit costs the same whatever is in it.
//! * Claims go on from where the last one ended ([`fronts`]) and never pass again over what is gone.
//! * Every statement runs in a transaction and names its tables in full, so that a transaction pooler may stand between.
//! * Time is the database's, unless a test says otherwise ([`time`]).

mod admin;
mod blobs;
mod change;
mod claim;
mod error;
mod findings;
mod fronts;
mod granted;
mod group;
mod hosts;
mod lanes;
mod ledger;
mod migrate;
mod notice;
mod orders;
mod pick;
mod ratings;
mod read;
mod row;
mod schedules;
mod settle;
mod share;
mod sql;
mod stats;
mod stripe;
mod submit;
mod sweep;
mod tables;
mod tasks;
mod tenants;
mod time;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{ConnectOptions as _, Transaction};
use sqlx_postgres::{PgConnectOptions, PgPoolOptions};
use sqlx_postgres::{PgPool, Postgres};
use tokio_util::task::TaskTracker;

pub use self::migrate::{MIGRATIONS, migrate};
pub use self::time::TimeSource;
use crate::clock::SharedClock;
use crate::event::Bells;
use crate::store::{Result, Store, StoreError};

/// How a Postgres store is opened.
#[derive(Clone)]
pub struct PostgresOptions {
    /// What one rank of priority is worth in waiting time.
    pub priority_step: Duration,
    /// At most so many combinations of task type and model.
    pub lanes_max: u32,
    /// At most so many tenants.
    pub tenants_max: u32,
    /// What `taskwarden_submit` accepts.
    pub payload_bytes_max: u64,
    /// Connections, all together.
    pub connections: u32,
    /// Whether a transaction pooler stands between: no named prepared statements, no LISTEN.
    pub pooled: bool,
    /// Which process this is; another one is another host, whatever its name.
    pub instance: uuid::Uuid,
    /// Whose clock decides.
    pub time: TimeSource,
    /// For pauses and durations.
    pub clock: SharedClock,
    /// Rung when another host left something to do.
    pub bells: Option<Arc<Bells>>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            priority_step: Duration::from_secs(60),
            lanes_max: 4096,
            tenants_max: 10_000,
            payload_bytes_max: 1 << 20,
            connections: 16,
            pooled: false,
            instance: uuid::Uuid::now_v7(),
            time: TimeSource::Database,
            clock: crate::clock::SystemClock::shared(),
            bells: None,
        }
    }
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions").field("connections", &self.connections).field("pooled", &self.pooled).finish_non_exhaustive()
    }
}

/// Begins every transaction. The plans that these settings leave are index lookups for each row, in any order of tables; without them a
/// plan made while a table was empty would read it whole once it is not. They leave a walk through a whole index too: where a statement of
/// the hot path joins to a table that empties, it says `= ANY (ARRAY[…])` (see `settle::SETTLE`).
const BEGIN: &str = "BEGIN; SET LOCAL jit = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off; SET LOCAL plan_cache_mode = force_generic_plan; \
     SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '30s'";
/// The same for reading, where plans may depend on what is there.
const BEGIN_READ: &str = "BEGIN READ ONLY; SET LOCAL idle_in_transaction_session_timeout = '30s'";

/// Longer than anything takes here. A database that has neither answered nor hung up by then is beyond a broken network, and its answer
/// may never come: TCP by itself waits for it without end.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What all parts of a store share.
struct Db {
    pool: PgPool,
    options: PostgresOptions,
    lanes: lanes::LaneBook,
    tenants: tenants::TenantBook,
    fronts: parking_lot::Mutex<fronts::Fronts>,
    granted: granted::Granted,
    accounts: share::Accounts,
    time: time::Time,
    notices: notice::Notices,
    /// One claim at a time: two would only look at the same tasks.
    claiming: tokio::sync::Mutex<sweep::Pace>,
    commits: AtomicU64,
    /// What runs on its own, to be waited for at the end.
    tracker: TaskTracker,
}

type Tx = Transaction<'static, Postgres>;

impl Db {
    async fn begin(&self) -> Result<Tx> {
        self.begin_with(BEGIN).await
    }

    async fn begin_read(&self) -> Result<Tx> {
        self.begin_with(BEGIN_READ).await
    }

    /// After a restart of the database every connection that rested in the pool is dead, and each is found out by its first use. Nothing
    /// has been asked for at that point, so the next one is tried; the last one tried is a new one.
    async fn begin_with(&self, statement: &'static str) -> Result<Tx> {
        for _ in 0..self.options.connections.max(2) {
            match self.pool.begin_with(statement).await {
                Err(error) if error::hung_up(&error) => tracing::debug!(%error, "a connection to the database was dead"),
                begun => return Ok(begun?),
            }
        }
        Ok(self.pool.begin_with(statement).await?)
    }

    /// Gives up on a database that does not answer. What was asked for may be done all the same.
    async fn answered<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.options.clock.sleep(ANSWER_MAX) => {
                Err(StoreError::Unavailable(format!("it has not answered for {} s", ANSWER_MAX.as_secs())))
            }
        }
    }

    async fn commit(&self, tx: Tx) -> Result<()> {
        tx.commit().await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn step_ms(&self) -> i64 {
        i64::try_from(self.options.priority_step.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A store in one Postgres database, which other hosts may have open too.
pub struct PostgresStore {
    db: Arc<Db>,
    submits: group::Groups<submit::Submits>,
    ends: group::Groups<settle::Settles>,
    listener: parking_lot::Mutex<Option<notice::Listener>>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("instance", &self.db.options.instance).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the database at `url`, migrating it as needed.
    ///
    /// # Errors
    /// When it cannot be reached or migrated, or was made by a newer build. No error shows the URL.
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self> {
        let store = Self::connect(url, options).await?;
        store.db.publish_settings().await?;
        store.db.lanes.reload(&store.db).await?;
        let listener = notice::Listener::start(&store.db);
        *store.listener.lock() = Some(listener);
        Ok(store)
    }

    /// The same for whoever only changes settings beside running hosts: nothing of this store's options is published.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn open_admin(url: &str, options: PostgresOptions) -> Result<Self> {
        Self::connect(url, PostgresOptions { connections: 2, ..options }).await
    }

    async fn connect(url: &str, options: PostgresOptions) -> Result<Self> {
        let connect = connect_options(url, options.pooled)?;
        let clock = Arc::clone(&options.clock);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections.max(2))
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false)
            // A connection that rested may have been closed by the other side; one that did not is not asked each time.
            .before_acquire(|conn, about| {
                Box::pin(async move {
                    if about.idle_for > Duration::from_secs(2) {
                        sqlx::Connection::ping(conn).await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(connect)
            .await?;
        let report = migrate::migrate_pool(&pool, false).await?;
        if report.existed && !report.applied.is_empty() {
            tracing::info!(applied = ?report.applied, "the database was migrated");
        }
        let db = Arc::new(Db {
            pool,
            lanes: lanes::LaneBook::default(),
            tenants: tenants::TenantBook::default(),
            fronts: parking_lot::Mutex::default(),
            granted: granted::Granted::default(),
            accounts: share::Accounts::default(),
            time: time::Time::new(options.time),
            notices: notice::Notices::default(),
            claiming: tokio::sync::Mutex::new(sweep::Pace::new(clock)),
            commits: AtomicU64::new(0),
            tracker: TaskTracker::new(),
            options,
        });
        let submits = group::Groups::start(&db.tracker, submit::Submits(Arc::clone(&db)));
        let ends = group::Groups::start(&db.tracker, settle::Settles(Arc::clone(&db)));
        Ok(Self { db, submits, ends, listener: parking_lot::Mutex::new(None) })
    }

    /// Finishes what was begun and closes every connection. Verbs that come after are refused.
    pub async fn close(&self) {
        let listener = self.listener.lock().take();
        if let Some(listener) = listener {
            listener.stop().await;
        }
        self.submits.close();
        self.ends.close();
        self.db.tracker.close();
        self.db.tracker.wait().await;
        self.db.pool.close().await;
    }

    /// How many transactions were committed since the store was opened; many requests share one.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.db.commits.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn close(&self) {
        Self::close(self).await;
    }
}

/// Reads a URL without ever repeating it: it holds a password.
fn connect_options(url: &str, pooled: bool) -> Result<PgConnectOptions> {
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| match error {
        // The text of a bad URL may be in the message.
        sqlx::Error::Configuration(_) => StoreError::Broken(
            "the database URL cannot be read; it looks like postgres://user:password@host:5432/database?sslmode=require".to_owned(),
        ),
        other => other.into(),
    })?;
    // Floats come whole without being asked for since version 12, and a transaction pooler refuses parameters that it does not know.
    let options = options.extra_float_digits(None).application_name("taskwarden").disable_statement_logging();
    if pooled {
        sql::without_names();
    }
    Ok(options.statement_cache_capacity(128))
}
