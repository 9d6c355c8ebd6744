//! The runtime as the rest of the host uses it: what an honest plugin gets, capabilities by manifest, the cache of compiled code,
//! and no more runs at once than there are slots.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use taskwarden::clock::SystemClock;
use taskwarden::plugin::Manifest;
use taskwarden::runtime::ports::{InputPort, InputStream, PortError, Ports};
use taskwarden::runtime::{Job, Refusal, Runtime, RuntimeConfig, inspect};
use taskwarden::task::Outcome;

use crate::guests;

fn runtime(cache: Option<PathBuf>, concurrent_runs: u32) -> Runtime {
    let config = RuntimeConfig { concurrent_runs, cache_dir: cache, ..RuntimeConfig::default() };
    Runtime::new(config, SystemClock::shared()).expect("an engine")
}

fn manifest(capabilities: &str) -> Manifest {
    let text = format!("name = \"echo\"\nversion = \"1.0.0\"\ntask_types = [\"echo\"]\ncapabilities = [{capabilities}]");
    Manifest::parse(&text).expect("a manifest")
}

#[tokio::test]
async fn outputs_logs_and_costs_come_back() {
    let runtime = runtime(None, 1);
    let plugin = runtime.compile(&guests::component("echo"), None, u64::MAX).expect("accepted");
    let report = runtime.run(&plugin, guests::job(r#"{"log":"a line","output_bytes":1000}"#)).await;
    assert_eq!(report.outcome, Outcome::Succeeded, "{:?}", report.error);
    assert_eq!(report.logs.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["a line"]);
    assert_eq!(report.outputs.iter().map(|output| output.bytes.len()).sum::<usize>(), 1_000);
    let result = report.result.map_or(0, |result| result.len() as u64);
    assert_eq!(report.usage.output_bytes, 1_000 + result);
    assert!(report.usage.host_calls >= 3 && report.usage.fuel > 1_000, "{:?}", report.usage);
}

#[test]
fn a_manifest_grants_what_it_names_and_no_more() {
    let (runtime, echo) = (runtime(None, 1), guests::component("echo"));
    let imports = inspect(&echo).expect("a component").imports;
    let all = r#""log", "progress", "inputs", "outputs", "journal", "settings""#;
    assert!(runtime.compile(&echo, Some(&manifest(all)), u64::MAX).is_ok());
    match runtime.compile(&echo, Some(&manifest("\"log\"")), u64::MAX).err() {
        Some(Refusal::UngrantedImports(names)) => {
            let expected: Vec<_> = imports.into_iter().filter(|name| !name.contains("/types@") && !name.contains("/log@")).collect();
            assert!(!names.is_empty());
            assert_eq!(names, expected);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_takes_too_long_to_compile_is_refused_and_the_next_plugin_is_not() {
    let time_max = std::time::Duration::from_millis(400);
    let config = RuntimeConfig { concurrent_runs: 1, compile_time_max: time_max, ..RuntimeConfig::default() };
    let runtime = Runtime::new(config, SystemClock::shared()).expect("an engine");
    // One function of half a million instructions that all depend on the one before: seconds of work for any optimising compiler.
    let steps: String = (0..250_000).map(|step| format!("(local.set 0 (i64.mul (local.get 0) (i64.const {})))\n", step | 1)).collect();
    let honest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/guests/wat/noop.wat")).expect("the guest's text");
    let bomb = honest
        .trim_end()
        .strip_suffix(')')
        .map(|open| format!("{open}\n(func (export \"bomb\") (param i64) (result i64)\n{steps}(local.get 0)))"));
    let bomb = guests::from_text(&bomb.expect("a module ends with a bracket"));
    assert_eq!(runtime.compile(&bomb, None, u64::MAX).err(), Some(Refusal::CompileTime(time_max)));
    assert!(runtime.compile(&guests::text("noop"), None, u64::MAX).is_ok());
}

fn code_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("there").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

/// Whatever somebody does to the cache, the plugin that was given is the plugin that runs.
#[tokio::test]
async fn a_cache_that_was_tampered_with_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (echo, noop) = (guests::component("echo"), guests::text("noop"));
    let first = runtime(Some(folder.path().to_owned()), 1);
    first.compile(&noop, None, u64::MAX).expect("accepted");
    let noop_file = code_files(folder.path()).pop().expect("kept");
    first.compile(&echo, None, u64::MAX).expect("accepted");
    let echo_file = code_files(folder.path()).into_iter().find(|path| *path != noop_file).expect("kept");
    drop(first);

    let noop_code = fs::read(&noop_file).expect("read");
    let mut flipped = fs::read(&echo_file).expect("read");
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    for (what, planted) in [("another plugin's code", noop_code), ("a flipped bit", flipped), ("nothing", Vec::new())] {
        fs::write(&echo_file, planted).expect("planted");
        let runtime = runtime(Some(folder.path().to_owned()), 1);
        let plugin = runtime.compile(&echo, None, u64::MAX).expect("compiled again");
        let report = runtime.run(&plugin, guests::job("{\"who\":\"echo\"}")).await;
        assert!(report.result.is_some_and(|result| result.contains("echo")), "{what}");
    }
}

/// Counts how many runs are inside at once.
struct Turnstile {
    inside: AtomicU32,
    most: AtomicU32,
}

#[async_trait]
impl InputPort for Turnstile {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn open(&self, _name: &str) -> Result<Box<dyn InputStream>, PortError> {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
        Err("closed".to_owned())
    }
}

#[tokio::test]
async fn no_more_runs_at_once_than_there_are_slots() {
    let runtime = runtime(None, 2);
    let hostile = runtime.compile(&guests::component("hostile"), None, u64::MAX).expect("accepted");
    let turnstile = Arc::new(Turnstile { inside: AtomicU32::new(0), most: AtomicU32::new(0) });
    let job = || {
        let job = guests::job("{\"attack\":\"handle_leak\"}");
        Job { ports: Ports { inputs: turnstile.clone(), ..job.ports.clone() }, ..job }
    };
    let reports = futures::future::join_all((0..6).map(|_| runtime.run(&hostile, job()))).await;
    assert!(reports.iter().all(|report| report.outcome == Outcome::Permanent), "{:?}", reports.first());
    assert_eq!(turnstile.most.load(Ordering::SeqCst), 2);

    // A job that waits for a slot can be cancelled there.
    let waiting = job();
    waiting.cancel.cancel();
    let (first, second, waited) =
        futures::join!(runtime.run(&hostile, job()), runtime.run(&hostile, job()), runtime.run(&hostile, waiting));
    assert_eq!([first.outcome, second.outcome, waited.outcome], [Outcome::Permanent, Outcome::Permanent, Outcome::Cancelled]);
}
