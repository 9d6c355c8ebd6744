//! The runtime against small guests written as text. The larger hostile ones are in the integration tests.

use std::path::Path;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wasmtime::component::Component;
use wasmtime::{Config, InstanceAllocationStrategy, Store};

use super::bindings::types::{Failure, Task};
use super::ports::{MemoryInputs, Ports};
use super::*;
use crate::clock::SystemClock;
use crate::limits::{Limit, LimitSet};
use crate::task::TaskId;

/// A text guest as its author would deliver it: a core module that says in a custom section which world it is for.
fn guest(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("tests/guests/wat").join(name).with_extension("wat")).expect("the guest's text");
    let mut module = wat::parse_str(text).expect("good text");
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(root.join("wit")).expect("good WIT");
    let world = resolve.select_world(&[package], Some("executor")).expect("the world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).expect("embedded");
    module
}

fn runtime(clock: SharedClock) -> Runtime {
    Runtime::new(RuntimeConfig { concurrent_runs: 2, ..RuntimeConfig::default() }, clock).expect("an engine")
}

fn job(limits: Limits) -> Job {
    Job {
        id: TaskId::new(),
        task_type: "echo".parse().expect("a type"),
        ai_model: None,
        attempt: 1,
        max_attempts: 3,
        payload: Bytes::from_static(b"{\"n\":1}"),
        idempotency_key: None,
        limits,
        grants: Arc::new(Grants::default()),
        ports: Ports::in_memory(MemoryInputs::default()),
        cancel: CancellationToken::new(),
    }
}

#[tokio::test]
async fn an_honest_guest_succeeds_and_its_costs_are_known() {
    let runtime = runtime(SystemClock::shared());
    let plugin = runtime.compile(&guest("noop"), None, u64::MAX).expect("accepted");
    assert_eq!(plugin.imports(), ["taskwarden:plugin/types@0.1.0"]);
    let report = runtime.run(&plugin, job(Limits::defaults())).await;
    assert_eq!((report.outcome, report.result.as_deref(), report.error), (Outcome::Succeeded, Some("null"), None));
    assert!(report.usage.fuel > 10, "{:?}", report.usage);
    assert_eq!((report.usage.memory_peak_bytes, report.usage.input_bytes, report.usage.output_bytes), (65_536, 7, 4));
}

#[tokio::test]
async fn fuel_and_memory_limits_end_the_run_with_their_numbers() {
    let runtime = runtime(SystemClock::shared());
    let plugin = runtime.compile(&guest("noop"), None, u64::MAX).expect("accepted");
    let with = |limit, value| job(Limits::defaults().overridden_by(&LimitSet::default().with(limit, value)));
    for (limit, value, outcome, words) in [
        (Limit::Fuel, 10, Outcome::OutOfFuel, "fuel allows 10"),
        (
            Limit::MemoryBytes,
            65_535,
            Outcome::OutOfMemory,
            "asked for 65536 bytes in all memories and tables together; memory_bytes allows 65535",
        ),
        (Limit::OutputBytes, 3, Outcome::OutputTooLarge, "have 4 bytes together and output_bytes allows 3"),
        (Limit::InputBytes, 6, Outcome::HostLimit, "the payload has 7 bytes: input_bytes allows 6"),
    ] {
        let report = runtime.run(&plugin, with(limit, value)).await;
        let error = report.error.unwrap_or_default();
        assert_eq!(report.outcome, outcome, "{limit}: {error}");
        assert!(error.contains(words), "{limit}: {error}");
    }
}

#[test]
fn the_epoch_thread_is_joined_when_the_runtime_goes() {
    let runtime = runtime(SystemClock::shared());
    let engine = runtime.engine.weak();
    drop(runtime);
    assert!(engine.upgrade().is_none());
}

/// What a dispatch costs beside a loop that only instantiates from the pool and calls. Prints; run it with `--ignored`.
///
/// The fastest of many short batches is what counts: on a machine that does other things too, the rest measures those.
#[tokio::test]
#[ignore = "a measurement"]
async fn dispatch_against_a_bare_loop() {
    const BATCHES: u32 = 60;
    const ROUNDS: u32 = 200;
    let clock = SystemClock::shared();
    let artifact = guest("noop");
    let runtime = runtime(Arc::clone(&clock));
    let plugin = runtime.compile(&artifact, None, u64::MAX).expect("accepted");

    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(engine::pools(&RuntimeConfig::default())));
    let engine = Engine::new(&config).expect("an engine");
    let component = Component::new(&engine, inspect::as_component(&artifact).expect("wrapped")).expect("good");
    let mut linker = wasmtime::component::Linker::<()>::new(&engine);
    linker.instance("taskwarden:plugin/types@0.1.0").expect("named");
    let bare = linker.instantiate_pre(&component).expect("linked");

    let micros = |took: std::time::Duration| took.as_secs_f64() * 1e6 / f64::from(ROUNDS);
    let (mut bare_best, mut dispatch_best) = (f64::MAX, f64::MAX);
    for _ in 0..BATCHES {
        let started = clock.monotonic();
        for _ in 0..ROUNDS {
            let mut store = Store::new(&engine, ());
            let instance = bare.instantiate(&mut store).expect("instantiated");
            let execute = instance.get_typed_func::<(Task,), (Result<Vec<u8>, Failure>,)>(&mut store, "execute").expect("typed");
            let task = Task {
                id: "0191d6d2-0000-7000-8000-000000000000".to_owned(),
                task_type: "echo".to_owned(),
                ai_model: None,
                attempt: 1,
                max_attempts: 3,
                payload: b"{\"n\":1}".to_vec(),
                idempotency_key: "0191d6d2-0000-7000-8000-000000000000".to_owned(),
            };
            assert!(execute.call(&mut store, (task,)).expect("called").0.is_ok());
        }
        bare_best = micros(clock.monotonic() - started).min(bare_best);

        let jobs: Vec<Job> = (0..ROUNDS).map(|_| job(Limits::defaults())).collect();
        let started = clock.monotonic();
        for job in jobs {
            assert_eq!(runtime.run(&plugin, job).await.outcome, Outcome::Succeeded);
        }
        dispatch_best = micros(clock.monotonic() - started).min(dispatch_best);
    }
    println!("bare {bare_best:.2} µs, dispatch {dispatch_best:.2} µs, ratio {:.2}", dispatch_best / bare_best);
}
