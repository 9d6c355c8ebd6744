//! The two ways to run a guest that are compared: wasmtime alone, and the host's runtime.

use std::sync::Arc;
use std::time::Duration;

use ::taskwarden::clock::SystemClock;
use ::taskwarden::limits::Limits;
use ::taskwarden::plugin::unpack;
use ::taskwarden::runtime::ports::{InputPort, InputStream, JournalPort, NoHttp, NoTasks, PortError, Ports, ProgressPort};
use ::taskwarden::runtime::{Compiled, Grants, Job, Runtime, RuntimeConfig};
use ::taskwarden::task::{TaskId, TaskType};
use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

wasmtime::component::bindgen!({ path: "../wit", world: "executor" });

/// Wasmtime alone: instances from a pool, copy-on-write images, neither fuel nor epochs nor limits nor host functions.
pub(crate) struct Bare {
    engine: Engine,
    plugin: ExecutorPre<()>,
}

impl Bare {
    pub(crate) fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        // As in the host's own engine, so that the difference is not in how pages are given back to the pool.
        pool.linear_memory_keep_resident(256 << 10).table_keep_resident(256 << 10).pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool)).concurrency_support(false);
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let plugin = ExecutorPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, plugin })
    }

    pub(crate) fn call(&self, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut store = Store::new(&self.engine, ());
        let instance = self.plugin.instantiate(&mut store)?;
        let task = taskwarden::plugin::types::Task {
            id: "00000000-0000-7000-8000-000000000000".to_owned(),
            task_type: "noop".to_owned(),
            ai_model: None,
            attempt: 1,
            max_attempts: 3,
            payload: payload.to_vec(),
            idempotency_key: "00000000-0000-7000-8000-000000000000".to_owned(),
        };
        instance.call_execute(&mut store, &task)?.map_err(|failure| anyhow::anyhow!("the guest failed: {failure:?}"))
    }
}

/// The host's runtime with everything on.
pub(crate) struct Guarded {
    runtime: Runtime,
    plugin: Compiled,
    ports: Ports,
    grants: Arc<Grants>,
    driver: tokio::runtime::Runtime,
}

impl Guarded {
    pub(crate) fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        let config = RuntimeConfig {
            concurrent_runs: 8,
            ceilings: Limits::ceilings(),
            stack_bytes: 1 << 20,
            epoch_tick: Duration::from_millis(10),
            compile_time_max: Duration::from_secs(60),
            cache_dir: None,
        };
        let runtime = Runtime::new(config, SystemClock::shared())?;
        let plugin = runtime.compile(wasm, unpack(wasm)?.as_ref(), u64::MAX)?;
        let nothing = Arc::new(Nothing);
        let ports = Ports {
            inputs: nothing.clone(),
            journal: nothing.clone(),
            progress: nothing,
            tasks: Arc::new(NoTasks),
            http: Arc::new(NoHttp),
        };
        let driver = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime, plugin, ports, grants: Arc::default(), driver })
    }

    /// One dispatch, from a claimed task to its report. The caller is a thread that does nothing else, as in the host.
    pub(crate) fn call(&self, payload: &[u8]) -> anyhow::Result<Box<str>> {
        let job = Job {
            id: TaskId::new(),
            task_type: TaskType::new("noop")?,
            ai_model: None,
            attempt: 1,
            max_attempts: 3,
            payload: Bytes::copy_from_slice(payload),
            idempotency_key: None,
            limits: Limits::ceilings(),
            grants: Arc::clone(&self.grants),
            ports: self.ports.clone(),
            cancel: CancellationToken::new(),
        };
        let report = self.driver.handle().block_on(self.runtime.run(&self.plugin, job));
        report.result.ok_or_else(|| anyhow::anyhow!("the guest failed: {:?}", report.error))
    }
}

/// Ports for a guest that uses none.
struct Nothing;

#[async_trait]
impl InputPort for Nothing {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
    async fn open(&self, _name: &str) -> Result<Box<dyn InputStream>, PortError> {
        Err("no inputs here".to_owned())
    }
}

#[async_trait]
impl JournalPort for Nothing {
    async fn get(&self, _step: &str) -> Result<Option<Vec<u8>>, PortError> {
        Ok(None)
    }
    async fn put(&self, _step: &str, _value: Vec<u8>) -> Result<(), PortError> {
        Err("no journal here".to_owned())
    }
    async fn used_bytes(&self) -> Result<u64, PortError> {
        Ok(0)
    }
}

impl ProgressPort for Nothing {
    fn report(&self, _fraction: f32, _note: &str) {}
}
