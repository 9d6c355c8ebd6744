//! The engine's settings, and the thread that moves its epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::{RuntimeConfig, RuntimeError};
use crate::limits::Limit;

/// Linear memories that one component may have, over all its core modules.
pub(super) const MEMORIES_MAX: u32 = 8;

/// Tables that one component may have, over all its core modules.
pub(super) const TABLES_MAX: u32 = 16;

/// Core instances that one component may have; interpreters that are linked from shared libraries have dozens.
const CORE_INSTANCES_MAX: u32 = 128;

/// Bytes of an instance's own bookkeeping (functions, globals): enough for a component of the largest size accepted.
const INSTANCE_STATE_BYTES_MAX: usize = 16 << 20;

/// Native stack beyond the guest's share, for host functions that a guest calls.
const HOST_STACK_BYTES: usize = 512 << 10;

/// The largest a 32-bit memory can be, which is also the address space reserved for each, so that bounds checks cost nothing.
const MEMORY_BYTES_MAX: u64 = 1 << 32;

/// Bytes that are cleared by hand when a memory goes back to the pool, rather than given back to the operating system: cheaper
/// up to a point, and the next run finds them in place.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;

/// The pools that sandboxes are made from.
pub(super) fn pools(config: &RuntimeConfig) -> PoolingAllocationConfig {
    let runs = config.concurrent_runs.max(1);
    let memory_bytes = config.ceilings.get(Limit::MemoryBytes).min(MEMORY_BYTES_MAX);
    let table_elements = config.ceilings.get(Limit::TableElements);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(runs)
        .total_core_instances(runs.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(runs.saturating_mul(MEMORIES_MAX))
        .total_tables(runs.saturating_mul(TABLES_MAX))
        .total_stacks(runs)
        .max_memories_per_component(MEMORIES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_component_instance_size(INSTANCE_STATE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_STATE_BYTES_MAX)
        .max_memory_size(usize::try_from(memory_bytes).unwrap_or(usize::MAX))
        .table_elements(usize::try_from(table_elements).unwrap_or(usize::MAX))
        .max_unused_warm_slots(runs)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Builds the engine.
///
/// # Errors
/// When the machine cannot give the address space the pools need.
pub(super) fn build(config: &RuntimeConfig) -> Result<Engine, RuntimeError> {
    let mut engine = Config::new();
    engine
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pools(config)))
        .memory_init_cow(true)
        .cranelift_opt_level(OptLevel::Speed)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(config.stack_bytes)
        .async_stack_size(config.stack_bytes.saturating_add(HOST_STACK_BYTES))
        // One call at a time into each instance: what the concurrent component model adds would only cost.
        .concurrency_support(false)
        // A guest that is run again on another machine should see the same numbers.
        .relaxed_simd_deterministic(true)
        // A heap of its own that the sum of memories and tables would not see.
        .wasm_gc(false)
        .wasm_exceptions(false);
    Engine::new(&engine).map_err(|error| RuntimeError(format!("{error:#}")))
}

/// Moves the epoch until it is dropped, and is joined then.
pub(super) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts it.
    ///
    /// # Errors
    /// When the machine gives no more threads.
    pub(super) fn start(engine: &Engine, tick: Duration) -> Result<Self, RuntimeError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (engine, stopped) = (engine.weak(), Arc::clone(&stop));
        let run = move || {
            while !stopped.load(Ordering::Acquire) {
                std::thread::park_timeout(tick);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("epoch".to_owned()).spawn(run);
        let thread = thread.map_err(|error| RuntimeError(format!("no thread for the epoch: {error}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread has nothing that can panic, and nothing to tell.
            let _ = thread.join();
        }
    }
}
