//! The composition root: it knows every concrete type, puts them together, and takes them apart again.

mod follow;
mod plugins;
mod scorer;
mod stripe;

pub use plugins::{LoadError, Plugins};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::scorer::SandboxScorer;
use self::stripe::StripeParts;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{AuthMode, Config, StripeMode};
use crate::event::{Bells, EventBus};
use crate::http::{self, ApiConfig, ApiState, PluginAdmin, StripeEndpoint};
use crate::limits::Limit;
use crate::metrics::Metrics;
use crate::native::stripe_event::ProcessStripeEvent;
use crate::native::watch::Watch;
use crate::registry::Registry;
use crate::runtime::{Runtime, RuntimeConfig};
use crate::scheduler::{self, SchedulerConfig, SchedulerParts};
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::{SqliteAdmin, SqliteOptions, SqliteStore};
use crate::store::{SideStore, Store};
use crate::task::{DefaultsByType, NativeTask, TaskDefaults};

/// A running host.
pub struct Host {
    address: SocketAddr,
    store: Arc<dyn Store>,
    ready: Arc<AtomicBool>,
    scheduling: CancellationToken,
    scheduler: JoinHandle<()>,
    serving: CancellationToken,
    http: JoinHandle<std::io::Result<()>>,
    /// Where there may be other hosts.
    follower: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts a host: opens the store, loads the plugins, listens, and runs what is queued.
    ///
    /// # Errors
    /// Why it cannot start, in words for the operator.
    pub async fn start(config: Config, clock: SharedClock) -> anyhow::Result<Self> {
        make_data_dir(&config.data_dir)?;
        let bells = Arc::new(Bells::default());
        let store = open_store(&config, &clock, &bells).await?;
        refuse_exposure(&config, &*store).await?;
        let listener = TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;

        let runtime = Arc::new(Runtime::new(runtime_config(&config), Arc::clone(&clock))?);
        let registry = Arc::new(Registry::default());
        let plugins = Arc::new(Plugins {
            runtime: Arc::clone(&runtime),
            registry: Arc::clone(&registry),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            grants: config.plugins.clone(),
            ceilings: config.ceilings(),
            changing: tokio::sync::Mutex::new(()),
        });
        let StripeParts { tasks, checkouts } = StripeParts::new(&config, &store, &clock)?;
        let events = EventBus::new(config.http.event_ring);
        let scorer = SandboxScorer::new(Arc::clone(&registry), Arc::clone(&runtime), config.ceilings())?;
        plugins.add_native(native_tasks(&config, &store, scorer, &events, &clock).into_iter().chain(tasks).collect())?;
        plugins.load_all().await?;

        let parts = SchedulerParts {
            store: Arc::clone(&store),
            runtime,
            registry: Arc::clone(&registry),
            outgoing: Arc::default(),
            events,
            bells,
            metrics: Arc::new(Metrics::new()),
            clock: Arc::clone(&clock),
        };
        let ready = Arc::new(AtomicBool::new(true));
        let state = ApiState {
            store: Arc::clone(&store),
            registry,
            plugins: Arc::clone(&plugins) as Arc<dyn PluginAdmin>,
            checkouts,
            events: parts.events.clone(),
            bells: Arc::clone(&parts.bells),
            clock,
            metrics: Arc::clone(&parts.metrics),
            config: Arc::new(api_config(&config)),
            ready: Arc::clone(&ready),
        };
        let (scheduling, serving) = (CancellationToken::new(), CancellationToken::new());
        let scheduler = tokio::spawn(scheduler::run(scheduler_config(&config), parts, scheduling.clone()));
        let http = tokio::spawn(http::serve(listener, state, serving.clone()));
        let follower = config.database.expose().map(|_| tokio::spawn(follow::run(plugins, serving.clone())));
        tracing::info!(%address, "the host is ready");
        Ok(Self { address, store, ready, scheduling, scheduler, serving, http, follower })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops in order: no new tasks are started, what runs ends or goes back to the queue, requests are answered, the database is closed.
    pub async fn stop(self) {
        self.ready.store(false, Ordering::Release);
        self.scheduling.cancel();
        if let Err(error) = self.scheduler.await {
            tracing::error!(%error, "the scheduler ended abnormally");
        }
        // Last, so that whoever waits for a task hears of its end.
        self.serving.cancel();
        match self.http.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the API ended abnormally"),
            Err(error) => tracing::error!(%error, "the API ended abnormally"),
        }
        if let Some(follower) = self.follower
            && let Err(error) = follower.await
        {
            tracing::error!(%error, "following other hosts ended abnormally");
        }
        self.store.close().await;
    }
}

/// What this host runs itself.
fn native_tasks(
    config: &Config,
    store: &Arc<dyn Store>,
    scorer: SandboxScorer,
    events: &EventBus,
    clock: &SharedClock,
) -> Vec<Arc<dyn NativeTask>> {
    vec![
        Arc::new(ProcessStripeEvent {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            order_key: config.stripe.sync.order_key.clone(),
        }),
        Arc::new(Watch { store: Arc::clone(store), scorer: Arc::new(scorer), events: events.clone(), clock: Arc::clone(clock) }),
    ]
}

/// The database's file.
#[must_use]
pub fn database_path(config: &Config) -> PathBuf {
    config.data_dir.join("taskwarden.db")
}

/// Makes the data folder, readable by its owner only.
///
/// # Errors
/// When it cannot be made.
pub fn make_data_dir(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the data folder {}", path.display()))
}

/// Opens what operators set, beside a host that may be running.
///
/// # Errors
/// When the database cannot be opened.
pub async fn open_admin(config: &Config) -> anyhow::Result<Box<dyn SideStore>> {
    if let Some(url) = config.database.expose() {
        let options = postgres_options(config, &SystemClock::shared());
        return Ok(Box::new(PostgresStore::open_admin(url, options).await?));
    }
    make_data_dir(&config.data_dir)?;
    Ok(Box::new(SqliteAdmin::open(&database_path(config), sqlite_options(config)).await?))
}

/// Opens the store that the configuration names.
async fn open_store(config: &Config, clock: &SharedClock, bells: &Arc<Bells>) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match config.database.expose() {
        Some(url) => {
            let options = PostgresOptions { bells: Some(Arc::clone(bells)), ..postgres_options(config, clock) };
            Arc::new(PostgresStore::open(url, options).await?)
        }
        None => {
            let options = SqliteOptions { bells: Some(Arc::clone(bells)), ..sqlite_options(config) };
            Arc::new(SqliteStore::open(&database_path(config), options).await?)
        }
    })
}

fn postgres_options(config: &Config, clock: &SharedClock) -> PostgresOptions {
    PostgresOptions {
        priority_step: Duration::from_millis(config.queue.priority_step_ms),
        lanes_max: config.queue.lanes_max,
        tenants_max: config.queue.tenants_max,
        payload_bytes_max: config.http.task_body_bytes,
        connections: config.postgres.connections,
        pooled: config.postgres.pooled,
        clock: Arc::clone(clock),
        ..PostgresOptions::default()
    }
}

/// Refuses to start where somebody could call who should not.
async fn refuse_exposure(config: &Config, store: &dyn Store) -> anyhow::Result<()> {
    if config.listen.ip().is_loopback() {
        return Ok(());
    }
    if config.auth.mode == AuthMode::LoopbackOpen {
        bail!(
            "auth.mode is \"loopback_open\" and {} is not a loopback address; set auth.mode to \"tokens\", or listen on 127.0.0.1",
            config.listen
        );
    }
    if store.tokens().await?.is_empty() {
        bail!(
            "{} is not a loopback address and there is no token yet; make one with `taskwarden token create --scope admin,submit,read` first",
            config.listen
        );
    }
    Ok(())
}

fn sqlite_options(config: &Config) -> SqliteOptions {
    SqliteOptions {
        priority_step: Duration::from_millis(config.queue.priority_step_ms),
        lanes_max: config.queue.lanes_max,
        tenants_max: config.queue.tenants_max,
        ..SqliteOptions::default()
    }
}

fn runtime_config(config: &Config) -> RuntimeConfig {
    RuntimeConfig {
        concurrent_runs: config.slots().saturating_add(config.runtime.urgent_slots),
        ceilings: config.ceilings(),
        stack_bytes: config.runtime.stack_bytes,
        epoch_tick: Duration::from_millis(config.runtime.epoch_tick_ms),
        compile_time_max: Duration::from_millis(config.runtime.compile_time_max_ms),
        cache_dir: Some(config.data_dir.join("compiled")),
    }
}

/// What a claim takes while urgent tasks come in, as measured: less makes them wait less and costs everything else more, and a claim of
/// its own costs several times as much on Postgres.
const CLAIM_MAX_SQLITE: u32 = 32;
const CLAIM_MAX_POSTGRES: u32 = 64;

fn scheduler_config(config: &Config) -> SchedulerConfig {
    let kept = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    SchedulerConfig {
        host: host_name(config).into(),
        slots: config.slots(),
        urgent_slots: config.runtime.urgent_slots,
        claim_max_beside_urgent: if config.database.expose().is_none() { CLAIM_MAX_SQLITE } else { CLAIM_MAX_POSTGRES },
        ceilings: config.ceilings(),
        task_defaults: task_defaults(config),
        payload_bytes_max: config.http.task_body_bytes,
        retry: config.retry_policy(),
        lease: Duration::from_millis(config.queue.lease_ms),
        poll: Duration::from_millis(config.queue.poll_ms),
        run_ahead: Duration::from_millis(config.runtime.run_ahead_ms),
        drain: Duration::from_millis(config.runtime.drain_ms),
        retention: kept(config.queue.retention_ms),
        blob_retention: kept(config.queue.blob_retention_ms),
        stripe_body_retention: kept(config.stripe.webhook.body_retention_ms),
        alone: config.database.expose().is_none(),
        jitter_seed: rand::random(),
    }
}

fn task_defaults(config: &Config) -> DefaultsByType {
    let defaults =
        |priority, max_attempts: Option<u32>| TaskDefaults { priority, max_attempts: max_attempts.unwrap_or(config.queue.max_attempts) };
    DefaultsByType {
        own: config.task_types.iter().map(|(name, own)| (name.clone(), defaults(own.priority, own.max_attempts))).collect(),
        others: TaskDefaults { max_attempts: config.queue.max_attempts, ..TaskDefaults::default() },
    }
}

fn api_config(config: &Config) -> ApiConfig {
    ApiConfig {
        host_name: host_name(config).into(),
        auth: match config.auth.mode {
            AuthMode::Tokens => http::AuthMode::Tokens,
            AuthMode::LoopbackOpen => http::AuthMode::LoopbackOpen,
        },
        task_defaults: task_defaults(config),
        payload_bytes_max: config.http.task_body_bytes,
        batch_bytes_max: config.http.batch_body_bytes,
        blob_bytes_max: config.http.blob_bytes,
        import_bytes_max: config.http.import_bytes,
        artifact_bytes_max: config.ceilings().get(Limit::ArtifactBytes),
        ceilings: config.ceilings(),
        requests_max: config.http.concurrent_requests,
        streams_max: config.http.event_streams,
        looks_every: config.database.expose().map(|_| Duration::from_millis(config.queue.poll_ms)),
        stripe: stripe_endpoint(config),
        ..ApiConfig::default()
    }
}

fn stripe_endpoint(config: &Config) -> StripeEndpoint {
    let webhook = &config.stripe.webhook;
    StripeEndpoint {
        secrets: webhook.secrets.0.clone(),
        livemode: match webhook.mode {
            StripeMode::Any => None,
            StripeMode::Live => Some(true),
            StripeMode::Test => Some(false),
        },
        account: match webhook.account.as_str() {
            "any" => None,
            "own" => Some(String::new()),
            account => Some(account.to_owned()),
        },
        tolerance_s: webhook.tolerance_s,
        body_bytes_max: webhook.body_bytes,
        order_key: config.stripe.sync.order_key.clone(),
    }
}

fn host_name(config: &Config) -> String {
    if !config.host_name.is_empty() {
        return config.host_name.clone();
    }
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    named.map(|name| name.trim().to_owned()).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}
