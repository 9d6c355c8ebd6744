//! Guests that attack: each is stopped with the outcome and in the words that its author should read, and the next honest task
//! on the same slot succeeds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use taskwarden::clock::{SharedClock, SystemClock, UnixMs, VirtualClock};
use taskwarden::limits::{Limit, Limits};
use taskwarden::runtime::ports::{InputPort, InputStream, MemoryInputs, PortError, Ports, ProgressPort, UnroutedTasks};
use taskwarden::runtime::{Compiled, Job, Refusal, Report, Runtime, RuntimeConfig};
use taskwarden::task::{Outcome, TaskId};
use tokio::sync::mpsc;

use crate::guests;

/// One slot, so that what an attack leaves behind is what the next task finds.
fn runtime(clock: SharedClock) -> Arc<Runtime> {
    let config = RuntimeConfig { concurrent_runs: 1, epoch_tick: Duration::from_millis(2), ..RuntimeConfig::default() };
    Arc::new(Runtime::new(config, clock).expect("an engine"))
}

fn compile(runtime: &Runtime, artifact: &[u8]) -> Compiled {
    runtime.compile(artifact, None, u64::MAX).expect("accepted")
}

/// Small limits, so that every attack is short.
fn tight() -> Limits {
    guests::limits(&[
        (Limit::Fuel, 200_000_000),
        (Limit::MemoryBytes, 64 << 20),
        (Limit::TableElements, 10_000),
        (Limit::InputBytes, 1 << 20),
        (Limit::OutputBytes, 1 << 20),
        (Limit::LogBytes, 64 << 10),
        (Limit::HostCalls, 10_000),
        (Limit::JournalBytes, 64 << 10),
        (Limit::ChildTasks, 50),
    ])
}

/// What a run is connected to, and what the guest told of itself.
#[derive(Default)]
struct Told(Mutex<Vec<(f32, usize)>>);

impl ProgressPort for Told {
    fn report(&self, fraction: f32, note: &str) {
        self.0.lock().push((fraction, note.len()));
    }
}

fn attack(name: &str) -> (Job, Arc<Told>) {
    let told = Arc::new(Told::default());
    let inputs = MemoryInputs::from([("series".to_owned(), Bytes::from(vec![b'0'; 300_000]))]);
    let tasks = UnroutedTasks {
        parent: TaskId::new(),
        granted: vec!["test".parse().expect("a type")],
        payload_bytes_max: 1 << 20,
        clock: SystemClock::shared(),
    };
    let ports = Ports { progress: told.clone(), tasks: Arc::new(tasks), ..Ports::in_memory(inputs) };
    (Job { limits: tight(), ports, ..guests::job(&format!("{{\"attack\":\"{name}\"}}")) }, told)
}

async fn assert_honest_task_succeeds(runtime: &Runtime, echo: &Compiled, after: &str) {
    let report = runtime.run(echo, guests::job("{\"hello\":1}")).await;
    assert_eq!(report.outcome, Outcome::Succeeded, "after {after}: {:?}", report.error);
    assert!(report.result.is_some_and(|result| result.contains("{\"hello\":1}")), "after {after}");
}

/// What each attack of the Rust guest must come to: its outcome, and the words of the error (or of the result).
const EXPECTED: &[(&str, Outcome, &str)] = &[
    ("endless_loop", Outcome::OutOfFuel, "all fuel was used: fuel allows 200000000; do less in one task or ask for more"),
    ("announced_loop", Outcome::OutOfFuel, "all fuel was used: fuel allows 200000000; do less in one task or ask for more"),
    ("deep_recursion", Outcome::Trap, "the guest's call stack overflowed: it recurses too deeply"),
    ("grow_memory", Outcome::OutOfMemory, "bytes in all memories and tables together; memory_bytes allows 67108864"),
    ("one_huge_allocation", Outcome::OutOfMemory, "bytes in all memories and tables together; memory_bytes allows 67108864"),
    ("huge_string", Outcome::HostLimit, "one call into the host carried more than 2097152 bytes of arguments; hand over smaller pieces"),
    ("huge_list", Outcome::HostLimit, "one call into the host carried more than 2097152 bytes of arguments; hand over smaller pieces"),
    ("huge_result", Outcome::OutputTooLarge, "have more than 2097152 bytes together and output_bytes allows 1048576"),
    ("result_over_limit", Outcome::OutputTooLarge, "have 1048577 bytes together and output_bytes allows 1048576"),
    ("log_flood", Outcome::HostLimit, "the task logged too much: log_bytes allows 65536"),
    ("empty_log_flood", Outcome::HostLimit, "the task logged too much: log_bytes allows 65536"),
    ("output_flood", Outcome::OutputTooLarge, "have 1114112 bytes together and output_bytes allows 1048576"),
    ("journal_flood", Outcome::HostLimit, "bytes: journal_bytes allows 65536"),
    ("input_flood", Outcome::HostLimit, "more input was read than is allowed, the payload included: input_bytes allows 1048576"),
    ("host_call_flood", Outcome::HostLimit, "too many calls into the host: host_calls allows 10000"),
    ("expensive_host_calls", Outcome::HostLimit, "too many calls into the host: host_calls allows 10000"),
    ("handle_leak", Outcome::HostLimit, "the guest holds 4096 resource handles, which is the limit; drop readers and writers when done"),
    ("trap_with_resources", Outcome::Trap, "the guest crashed: it executed `unreachable`"),
    ("invalid_utf8", Outcome::Trap, "the guest broke the rules of its interface: invalid utf-8 sequence"),
    ("nan_progress", Outcome::Succeeded, "\"survived\""),
    ("long_note", Outcome::Succeeded, "\"survived\""),
    ("blocked_read", Outcome::Permanent, "there is no input \"stuck\"; the task has series"),
    ("result_not_json", Outcome::Permanent, "the result is not JSON: EOF while parsing a value"),
    ("result_not_text", Outcome::Permanent, "the result is not JSON: invalid utf-8 sequence"),
    ("long_failure", Outcome::Permanent, "long long long"),
    ("endless_retry_after", Outcome::Transient, "never again"),
    ("output_name_escapes", Outcome::Succeeded, "\"survived\""),
    ("ungranted_setting", Outcome::Succeeded, "\"survived\""),
    ("child_flood", Outcome::HostLimit, "too many tasks were submitted: child_tasks allows 50"),
    ("large_children", Outcome::OutputTooLarge, "bytes together and output_bytes allows 1048576"),
    ("ungranted_child", Outcome::Succeeded, "\"survived\""),
];

fn assert_came_to(report: &Report, name: &str, outcome: Outcome, words: &str) {
    let said = report.error.as_deref().or(report.result.as_deref()).unwrap_or_default();
    assert_eq!(report.outcome, outcome, "{name}: {said}");
    assert!(said.contains(words), "{name}: {said}");
    assert!(said.len() <= 4 << 10, "{name}: an error is short, this one has {} bytes", said.len());
    assert_eq!(report.error.is_none(), outcome == Outcome::Succeeded, "{name}");
    assert!(report.usage.fuel > 0, "{name}: the costs are known however a run ends");
    assert!(report.usage.memory_peak_bytes > 0 && report.usage.memory_peak_bytes <= 64 << 20, "{name}: {:?}", report.usage);
    if outcome != Outcome::Succeeded {
        assert!(report.outputs.is_empty(), "{name}: outputs are kept only when the attempt succeeded");
        assert!(report.children.is_empty(), "{name}: children are had only when the attempt succeeded");
    }
}

#[tokio::test]
async fn every_attack_ends_as_it_should_and_the_next_task_succeeds() {
    let runtime = runtime(SystemClock::shared());
    let (hostile, echo) = (compile(&runtime, &guests::component("hostile")), compile(&runtime, &guests::component("echo")));

    let known = runtime.run(&hostile, attack("list").0).await.result.expect("the names");
    let known: BTreeSet<String> = serde_json::from_str(&known).expect("names");
    assert_eq!(known, EXPECTED.iter().map(|(name, ..)| (*name).to_owned()).collect(), "every attack is expected, and only those");

    for (name, outcome, words) in EXPECTED {
        let (job, told) = attack(name);
        let report = runtime.run(&hostile, job).await;
        assert_came_to(&report, name, *outcome, words);
        let told = told.0.lock().clone();
        match *name {
            "nan_progress" => assert_eq!(told, [(1.0, "beyond".len())]),
            "long_note" => assert_eq!(told, [(0.5, 200)]),
            "log_flood" | "empty_log_flood" => assert!(!report.logs.is_empty(), "what was logged before the limit is kept"),
            "endless_retry_after" => assert_eq!(report.retry_after, Some(Duration::from_millis(u64::MAX))),
            _ => {}
        }
        assert_honest_task_succeeds(&runtime, &echo, name).await;
    }
}

/// Calls that cost the host much and the guest little are charged to the guest.
#[tokio::test]
async fn host_calls_use_up_fuel() {
    let runtime = runtime(SystemClock::shared());
    let hostile = compile(&runtime, &guests::component("hostile"));
    let (job, _) = attack("expensive_host_calls");
    let report = runtime.run(&hostile, Job { limits: guests::limits(&[(Limit::Fuel, 1_000_000)]), ..job }).await;
    assert_came_to(&report, "expensive_host_calls", Outcome::OutOfFuel, "fuel allows 1000000");
    assert!((1_000..=2_000).contains(&report.usage.host_calls), "{:?}", report.usage);
    assert_eq!(report.usage.fuel, 1_000_000);
}

#[tokio::test]
async fn attacks_written_as_text() {
    let runtime = runtime(SystemClock::shared());
    let echo = compile(&runtime, &guests::component("echo"));
    for (name, outcome, words) in [
        ("start_loop", Outcome::OutOfFuel, "fuel allows 200000000"),
        ("grow_table", Outcome::OutOfMemory, "asked for 10001 table elements in all; table_elements allows 10000"),
        ("many_memories", Outcome::OutOfMemory, "bytes in all memories and tables together; memory_bytes allows 67108864"),
        ("result_out_of_bounds", Outcome::Trap, "the guest broke the rules of its interface"),
        ("realloc_out_of_bounds", Outcome::Trap, "the guest broke the rules of its interface: realloc return: beyond end of memory"),
        ("own_handles", Outcome::HostLimit, "the guest holds 8192 resource handles, which is the limit"),
    ] {
        let plugin = compile(&runtime, &guests::text(name));
        let report = runtime.run(&plugin, attack(name).0).await;
        assert_came_to(&report, name, outcome, words);
        assert_honest_task_succeeds(&runtime, &echo, name).await;
    }
}

/// Tells the test that the guest has arrived where it is to be interrupted.
struct Arrived(mpsc::UnboundedSender<()>);

impl ProgressPort for Arrived {
    fn report(&self, _fraction: f32, _note: &str) {
        let _ = self.0.send(());
    }
}

#[async_trait]
impl InputPort for Arrived {
    fn names(&self) -> Vec<String> {
        vec!["stuck".to_owned()]
    }

    async fn open(&self, _name: &str) -> Result<Box<dyn InputStream>, PortError> {
        Ok(Box::new(Arrived(self.0.clone())))
    }
}

#[async_trait]
impl InputStream for Arrived {
    fn size_bytes(&self) -> Option<u64> {
        None
    }

    async fn read(&mut self, _max_bytes: u32) -> Result<Bytes, PortError> {
        let _ = self.0.send(());
        std::future::pending().await
    }
}

/// Starts an attack on a thread of its own, as the scheduler does, and returns once the guest is where it stays.
async fn started(runtime: &Arc<Runtime>, plugin: &Compiled, job: Job) -> std::thread::JoinHandle<Report> {
    let (arrived, mut arrival) = mpsc::unbounded_channel();
    let ports = Ports { inputs: Arc::new(Arrived(arrived.clone())), progress: Arc::new(Arrived(arrived)), ..job.ports.clone() };
    let (runtime, plugin, handle) = (Arc::clone(runtime), plugin.clone(), tokio::runtime::Handle::current());
    let thread = std::thread::spawn(move || handle.block_on(runtime.run(&plugin, Job { ports, ..job })));
    arrival.recv().await.expect("the guest arrives");
    thread
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_and_deadline_land_in_loops_and_in_blocked_host_calls() {
    let clock = VirtualClock::starting_at(UnixMs(0));
    let runtime = runtime(clock.clone());
    let (hostile, echo) = (compile(&runtime, &guests::component("hostile")), compile(&runtime, &guests::component("echo")));
    for place in ["announced_loop", "blocked_read"] {
        let endless = || Job { limits: guests::limits(&[(Limit::Fuel, u64::MAX), (Limit::WallMs, 60_000)]), ..attack(place).0 };

        let job = endless();
        let cancel = job.cancel.clone();
        let run = started(&runtime, &hostile, job).await;
        cancel.cancel();
        let report = run.join().expect("joined");
        assert_came_to(&report, place, Outcome::Cancelled, "the task was cancelled while it ran");
        assert_honest_task_succeeds(&runtime, &echo, place).await;

        let run = started(&runtime, &hostile, endless()).await;
        clock.advance(Duration::from_millis(60_000));
        let report = run.join().expect("joined");
        assert_came_to(&report, place, Outcome::Deadline, "the task ran longer than wall_ms allows: 60000 ms");
        assert_eq!(report.usage.run_time, Duration::from_millis(60_000));
        assert_honest_task_succeeds(&runtime, &echo, place).await;
    }
}

/// The start function runs before anything of the plugin's could signal: its deadline has passed before it begins.
#[tokio::test]
async fn the_deadline_covers_instantiation() {
    let runtime = runtime(SystemClock::shared());
    let (plugin, echo) = (compile(&runtime, &guests::text("start_loop")), compile(&runtime, &guests::component("echo")));
    let limits = guests::limits(&[(Limit::Fuel, u64::MAX), (Limit::WallMs, 1)]);
    let report = runtime.run(&plugin, Job { limits, ..guests::job("null") }).await;
    assert_came_to(&report, "start_loop", Outcome::Deadline, "wall_ms allows: 1 ms, instantiation and host calls included");
    assert_honest_task_succeeds(&runtime, &echo, "start_loop").await;
}

#[tokio::test]
async fn artifacts_that_are_refused() {
    let runtime = runtime(SystemClock::shared());
    let echo = guests::component("echo");
    let refusal = |artifact: &[u8], max| runtime.compile(artifact, None, max).err().expect("refused");

    let size = echo.len() as u64;
    assert_eq!(refusal(&echo, size - 1), Refusal::TooLarge { bytes: size, max: size - 1 });

    let cut = &echo[..echo.len() / 2];
    assert!(matches!(refusal(cut, u64::MAX), Refusal::Malformed(_)));
    let mut torn = echo.clone();
    torn[echo.len() / 2..echo.len() / 2 + 64].fill(0xff);
    assert!(matches!(refusal(&torn, u64::MAX), Refusal::Malformed(_)));
    assert!(matches!(refusal(b"", u64::MAX), Refusal::Malformed(_)));

    let ungranted = wat::parse_str(
        r#"(component
            (import "wasi:http/incoming-handler@0.2.0" (instance))
            (import "wasi:cli/stdout@0.2.0" (instance))
            (import "launch" (func)))"#,
    );
    let names = ["wasi:http/incoming-handler@0.2.0", "launch"].map(str::to_owned).to_vec();
    assert_eq!(refusal(&ungranted.expect("good text"), u64::MAX), Refusal::UngrantedImports(names));

    let nothing = wat::parse_str("(component)").expect("good text");
    assert!(matches!(refusal(&nothing, u64::MAX), Refusal::WrongExports(why) if why.contains("there is no function `execute`")));

    let said = refusal(&guests::text("too_many_memories"), u64::MAX).to_string();
    assert!(said.ends_with("it has 9 linear memories and may have 8"), "{said}");

    let plugin = compile(&runtime, &echo);
    assert_honest_task_succeeds(&runtime, &plugin, "refusals").await;
}
