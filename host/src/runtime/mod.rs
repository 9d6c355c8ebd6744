//! Running a component once, inside every limit. The only users of wasmtime are below this module.

mod job;
pub mod ports;

pub use job::{DirectoryGrant, Grants, Job, Report, Usage};

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::limits::Limits;
use crate::plugin::Manifest;

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
    #[error("the component imports what it was not granted: {}", .0.join(", "))]
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
pub struct Runtime {
    _clock: SharedClock,
}

impl Runtime {
    /// Builds the engine and starts what moves its epoch.
    ///
    /// # Errors
    /// When the machine cannot give the address space the pools need.
    pub fn new(_config: RuntimeConfig, clock: SharedClock) -> Result<Self, RuntimeError> {
        Ok(Self { _clock: clock })
    }

    /// Checks and compiles an artifact (or takes its compiled code from the cache). Blocks for as long as that takes.
    ///
    /// With a manifest, only the capabilities it names may be imported; without one, all of `taskwarden:plugin` may be.
    ///
    /// # Errors
    /// Why the artifact was refused.
    pub fn compile(&self, _artifact: &[u8], _manifest: Option<&Manifest>, _artifact_bytes_max: u64) -> Result<Compiled, Refusal> {
        Err(Refusal::Malformed("not built yet".to_owned()))
    }

    /// Runs one job in a fresh sandbox. To be driven by a thread that does nothing else meanwhile: guest code runs inside `poll`.
    pub async fn run(&self, _plugin: &Compiled, _job: Job) -> Report {
        std::future::pending().await
    }
}

/// A verified, compiled component, ready to be instantiated.
#[derive(Clone)]
pub struct Compiled {
    digest: [u8; 32],
}

impl Compiled {
    /// SHA-256 of the artifact it was made from.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The interfaces it imports, as `namespace:package/interface@version`.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &[]
    }
}
