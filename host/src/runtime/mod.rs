//! Running a component once, inside every limit. The only users of wasmtime are below this module.

mod bindings;
mod cache;
mod caps;
mod compile;
mod engine;
mod guest;
mod inspect;
mod job;
mod limiter;
mod meter;
pub mod ports;
mod read_ahead;
mod run;
#[cfg(test)]
mod tests;
mod verdict;
mod wasi;

pub use inspect::{Inspection, MemoryShape, TableShape, inspect};
pub use job::{DirectoryGrant, Grants, HttpGrant, Job, Report, Usage};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::clock::SharedClock;
use crate::limits::Limits;
use crate::plugin::Manifest;
use crate::task::Outcome;
use bindings::ExecutorPre;
use cache::Cache;
use compile::{Accepted, Compiler};
use engine::Ticker;
use guest::Guest;

/// What the engine is built with.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Runs that may be under way at once; the pools are sized for this and no run beyond it is admitted.
    pub concurrent_runs: u32,
    /// The largest values that any run may be given; the pools are sized for these.
    pub ceilings: Limits,
    /// Native stack for guest code, in bytes.
    pub stack_bytes: usize,
    /// How often the epoch moves: the granularity of deadlines and cancellation inside guest code.
    pub epoch_tick: Duration,
    /// How long compiling one artifact may take.
    pub compile_time_max: Duration,
    /// Where compiled code is kept between starts; `None` keeps none.
    pub cache_dir: Option<PathBuf>,
}

impl Default for RuntimeConfig {
    /// Two runs for each core, the shipped ceilings, and no cache.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        Self {
            concurrent_runs: cores.saturating_mul(2),
            ceilings: Limits::ceilings(),
            stack_bytes: 1 << 20,
            epoch_tick: Duration::from_millis(5),
            compile_time_max: Duration::from_secs(120),
            cache_dir: None,
        }
    }
}

/// Why the engine could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine could not be started: {0}")]
pub struct RuntimeError(pub String);

/// Why an artifact was not accepted as a plugin. Each says what its author does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Larger than `artifact_bytes`.
    #[error(
        "the artifact has {bytes} bytes and artifact_bytes allows {max}; make it smaller (build with opt-level \"s\", strip it) or raise artifact_bytes"
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// Not a component, nor a core module that can be wrapped into one.
    #[error("this is not a usable WebAssembly component: {0}")]
    Malformed(String),
    /// It imports what this host does not have or what its manifest does not ask for.
    #[error(
        "the component imports what it was not granted: {}; ask for its capabilities in plugin.toml (`plugin check` names them), or do without what no capability covers",
        .0.join(", ")
    )]
    UngrantedImports(Vec<String>),
    /// It does not export `execute` with the right type.
    #[error("the component does not export what a plugin must: {0}")]
    WrongExports(String),
    /// Its shape exceeds the engine's pools: memories, tables, instances.
    #[error("the component is larger than this host's engine allows: {0}")]
    BeyondEngine(String),
    /// Compiling it took too long.
    #[error("compiling the component took longer than {0:?}; it is too large or was built to be slow to compile")]
    CompileTime(Duration),
}

/// The engine: compiles plugins and runs them.
///
/// The WebAssembly stack, the pools and the thread that moves the epoch belong to it; the thread is joined when it is dropped.
pub struct Runtime {
    clock: SharedClock,
    linker: Linker<Guest>,
    compiler: Compiler,
    /// As many as the pools have room for: no run is admitted beyond, and so none fails for want of room.
    slots: Semaphore,
    _ticker: Ticker,
    engine: Engine,
}

impl Runtime {
    /// Builds the engine and starts what moves its epoch.
    ///
    /// # Errors
    /// When the machine cannot give the address space the pools need, or the cache folder cannot be used.
    pub fn new(config: RuntimeConfig, clock: SharedClock) -> Result<Self, RuntimeError> {
        let engine = engine::build(&config)?;
        let linker = guest::linker(&engine).map_err(|error| RuntimeError(format!("{error:#}")))?;
        let open = |folder: &PathBuf| {
            Cache::open(folder).map_err(|error| RuntimeError(format!("the cache folder {} cannot be used: {error}", folder.display())))
        };
        let cache = config.cache_dir.as_ref().map(open).transpose()?;
        Ok(Self {
            clock,
            linker,
            compiler: Compiler::new(&engine, &config, cache),
            slots: Semaphore::new(usize::try_from(config.concurrent_runs.max(1)).unwrap_or(1)),
            _ticker: Ticker::start(&engine, config.epoch_tick)?,
            engine,
        })
    }

    /// Checks and compiles an artifact (or takes its compiled code from the cache). Blocks for as long as that takes, at most
    /// `compile_time_max` and as long again when others compile at the same time.
    ///
    /// With a manifest, only the capabilities it names may be imported; without one, all of `taskwarden:plugin` may be.
    ///
    /// # Errors
    /// Why the artifact was refused.
    pub fn compile(&self, artifact: &[u8], manifest: Option<&Manifest>, artifact_bytes_max: u64) -> Result<Compiled, Refusal> {
        let bytes = meter::to_u64(artifact.len());
        if bytes > artifact_bytes_max {
            return Err(Refusal::TooLarge { bytes, max: artifact_bytes_max });
        }
        let digest: [u8; 32] = Sha256::digest(artifact).into();
        let Accepted { component, imports } = self.compiler.compile(artifact, digest, manifest)?;
        let unfit = |error: wasmtime::Error| Refusal::Malformed(format!("an import does not fit what this host has: {error:#}"));
        let instance = self.linker.instantiate_pre(&component).map_err(unfit)?;
        let plugin = ExecutorPre::new(instance).map_err(|error| Refusal::WrongExports(format!("{error:#}")))?;
        Ok(Compiled { inner: Arc::new(CompiledInner { digest, imports, plugin }) })
    }

    /// Runs one job in a fresh sandbox. To be driven by a thread that does nothing else meanwhile: guest code runs inside `poll`.
    ///
    /// Waits for a slot when `concurrent_runs` are under way; the wait does not count as the task's time, and ends when the job
    /// is cancelled.
    pub async fn run(&self, plugin: &Compiled, job: Job) -> Report {
        let _slot = match self.slots.try_acquire() {
            Ok(slot) => Some(slot),
            Err(_) => tokio::select! {
                biased;
                () = job.cancel.cancelled() => return run::not_started(&job, Outcome::Cancelled, verdict::CANCELLED.to_owned()),
                slot = self.slots.acquire() => slot.ok(),
            },
        };
        run::run(&self.engine, &plugin.inner.plugin, &self.clock, job).await
    }
}

/// A verified, compiled component, ready to be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    inner: Arc<CompiledInner>,
}

struct CompiledInner {
    digest: [u8; 32],
    imports: Vec<String>,
    plugin: ExecutorPre<Guest>,
}

impl Compiled {
    /// SHA-256 of the artifact it was made from.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.inner.digest
    }

    /// The interfaces it imports, as `namespace:package/interface@version`.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }
}
