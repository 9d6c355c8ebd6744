//! Guests that import WASI: they run, and they get nothing that was not granted.

use std::sync::Arc;
use std::time::Duration;

use taskwarden::clock::{SharedClock, SystemClock, UnixMs, VirtualClock};
use taskwarden::limits::Limit;
use taskwarden::runtime::{Compiled, DirectoryGrant, Grants, Job, Report, Runtime, RuntimeConfig};
use taskwarden::task::{LogLevel, Outcome};

use crate::guests;

struct Host {
    runtime: Runtime,
    plugin: Compiled,
}

impl Host {
    fn new(clock: SharedClock) -> Self {
        let runtime = Runtime::new(RuntimeConfig { concurrent_runs: 1, ..RuntimeConfig::default() }, clock).expect("an engine");
        let plugin = runtime.compile(&guests::component("wasi"), None, u64::MAX).expect("accepted");
        Self { runtime, plugin }
    }

    async fn run(&self, payload: serde_json::Value, grants: &Arc<Grants>) -> Report {
        self.runtime.run(&self.plugin, Job { grants: Arc::clone(grants), ..guests::job(&payload.to_string()) }).await
    }

    /// The result, or why there is none.
    async fn says(&self, payload: serde_json::Value, grants: &Arc<Grants>) -> Result<serde_json::Value, String> {
        let report = self.run(payload, grants).await;
        match report.result {
            Some(result) => Ok(serde_json::from_str(&result).expect("JSON")),
            None => Err(report.error.expect("a reason")),
        }
    }
}

macro_rules! json {
    ($($text:tt)+) => { serde_json::json!($($text)+) };
}

#[tokio::test]
async fn nothing_is_granted_by_default() {
    let host = Host::new(VirtualClock::starting_at(UnixMs(1_700_000_000_500)));
    let none = Arc::new(Grants::default());
    assert_eq!(host.says(json!({"do": "directories"}), &none).await, Ok(json!([])));
    assert_eq!(host.says(json!({"do": "environment"}), &none).await, Ok(json!([0, 0])));
    assert_eq!(host.says(json!({"do": "read", "path": "/etc/passwd"}), &none).await, Err("no directory was granted".to_owned()));
    assert_eq!(host.says(json!({"do": "resolve", "name": "localhost"}), &none).await, Err("permanent-resolver-failure".to_owned()));
    assert_eq!(host.says(json!({"do": "now"}), &none).await, Ok(json!(1_700_000_000)), "time is the host's clock");
    assert_eq!(host.says(json!({"do": "random", "bytes": 32}), &none).await, Ok(json!(32)));
    let report = host.run(json!({"do": "random", "bytes": 1 << 30}), &none).await;
    assert_eq!(report.outcome, Outcome::Trap, "{:?}", report.error);
    let report = host.run(json!({"do": "exit", "ok": true}), &none).await;
    assert_eq!(report.outcome, Outcome::Trap);
    assert!(report.error.is_some_and(|error| error.contains("the guest called exit(0)")));
}

#[tokio::test]
async fn a_granted_directory_can_be_used_and_not_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("secret.txt"));
    std::fs::create_dir_all(inside.join("sub")).expect("made");
    std::fs::write(inside.join("hello.txt"), "hello").expect("written");
    std::fs::write(&outside, "secret").expect("written");
    std::os::unix::fs::symlink(&outside, inside.join("absolute")).expect("linked");
    std::os::unix::fs::symlink("../secret.txt", inside.join("relative")).expect("linked");
    std::os::unix::fs::symlink("..", inside.join("up")).expect("linked");
    let grants = |writable| {
        let directory = DirectoryGrant { host_path: inside.clone(), guest_path: "/data".to_owned(), writable };
        Arc::new(Grants { directories: vec![directory], ..Grants::default() })
    };
    let host = Host::new(SystemClock::shared());
    let (reads, writes) = (grants(false), grants(true));

    assert_eq!(host.says(json!({"do": "directories"}), &reads).await, Ok(json!(["/data"])));
    assert_eq!(host.says(json!({"do": "read", "path": "hello.txt"}), &reads).await, Ok(json!("hello")));
    assert_eq!(host.says(json!({"do": "read", "path": "sub/../hello.txt"}), &reads).await, Ok(json!("hello")));
    for path in ["../secret.txt", "sub/../../secret.txt", "absolute", "relative", "up/secret.txt", "/etc/passwd", "../inside/hello.txt"] {
        for grants in [&reads, &writes] {
            let said = host.says(json!({"do": "read", "path": path}), grants).await;
            assert_eq!(said, Err("not-permitted".to_owned()), "{path}");
            let said = host.says(json!({"do": "write", "path": path, "text": "overwritten"}), grants).await;
            assert!(said.is_err(), "{path}: {said:?}");
        }
    }

    let new = json!({"do": "write", "path": "new.txt", "text": "made"});
    assert!(host.says(new.clone(), &reads).await.is_err());
    assert_eq!(host.says(new, &writes).await, Ok(json!(4)));
    assert_eq!(std::fs::read_to_string(inside.join("new.txt")).expect("there"), "made");
    // A link that the guest makes itself leads it no further than one it found.
    for (to, name) in [("../secret.txt", "own"), ("/etc/passwd", "own_absolute")] {
        let _ = host.says(json!({"do": "link", "to": to, "path": name}), &writes).await;
        assert!(host.says(json!({"do": "read", "path": name}), &writes).await.is_err(), "{name}");
    }
    assert_eq!(std::fs::read_to_string(&outside).expect("there"), "secret");

    let gone = Arc::new(Grants {
        directories: vec![DirectoryGrant { host_path: folder.path().join("gone"), guest_path: "/data".to_owned(), writable: false }],
        ..Grants::default()
    });
    let report = host.run(json!({"do": "directories"}), &gone).await;
    let error = report.error.unwrap_or_default();
    assert_eq!(report.outcome, Outcome::Transient);
    assert!(error.contains("\"/data\" cannot be opened") && !error.contains("gone"), "the host's own path stays the host's: {error}");
}

#[tokio::test]
async fn what_is_printed_becomes_the_log_and_counts_as_it() {
    let host = Host::new(SystemClock::shared());
    let none = Arc::new(Grants::default());
    let report = host.run(json!({"do": "print", "text": "one\ntwo"}), &none).await;
    assert_eq!(report.outcome, Outcome::Succeeded, "{:?}", report.error);
    let mut lines: Vec<_> = report.logs.iter().map(|line| (line.level, line.message.as_str())).collect();
    lines.sort();
    let expected = [(LogLevel::Info, "one"), (LogLevel::Info, "two"), (LogLevel::Warn, "one"), (LogLevel::Warn, "two")];
    assert_eq!(lines, expected);
    assert!(report.usage.host_calls >= 4, "calls of WASI are counted: {:?}", report.usage);

    let flood = guests::job(&json!({"do": "print_flood"}).to_string());
    let report = host.runtime.run(&host.plugin, Job { limits: guests::limits(&[(Limit::LogBytes, 100_000)]), ..flood }).await;
    assert_eq!(report.outcome, Outcome::HostLimit);
    assert_eq!(report.error.as_deref(), Some("the task logged too much: log_bytes allows 100000"));
    assert!(report.logs.len() > 5);

    let flood = guests::job(&json!({"do": "print_flood"}).to_string());
    let report = host.runtime.run(&host.plugin, Job { limits: guests::limits(&[(Limit::HostCalls, 10)]), ..flood }).await;
    assert_eq!(report.error.as_deref(), Some("too many calls into the host: host_calls allows 10"));
}

/// Whatever moves them: ten times the bytes cost at least one unit of fuel for each byte more.
#[tokio::test]
async fn bytes_that_wasi_moves_cost_fuel() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = DirectoryGrant { host_path: folder.path().to_owned(), guest_path: "/data".to_owned(), writable: true };
    let grants = Arc::new(Grants { directories: vec![directory], ..Grants::default() });
    let host = Host::new(SystemClock::shared());
    let (few, many) = (6_000_u64, 60_000);
    // Writing comes first, so that there is something to read.
    for how in ["write", "read", "write stream", "write zeroes", "read stream", "skip", "splice", "random"] {
        let mut fuel = Vec::new();
        for bytes in [few, many] {
            std::fs::write(folder.path().join("moved"), vec![0; 60_000]).expect("written");
            let report = host.run(json!({"do": "move", "how": how, "bytes": bytes}), &grants).await;
            assert_eq!(report.result.as_deref(), Some(bytes.to_string().as_str()), "{how}: {:?}", report.error);
            fuel.push(report.usage.fuel);
        }
        let more = fuel[1] - fuel[0];
        assert!(more >= many - few, "{how}: {} bytes more cost {more} units of fuel", many - few);
    }
    // And a guest that only moves bytes runs out of it.
    let payload = json!({"do": "move", "how": "splice", "bytes": many}).to_string();
    let job = Job { grants: Arc::clone(&grants), limits: guests::limits(&[(Limit::Fuel, 60_000)]), ..guests::job(&payload) };
    assert_eq!(host.runtime.run(&host.plugin, job).await.outcome, Outcome::OutOfFuel);
}

/// A guest that sleeps waits in the host: its deadline reaches it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_lands_in_a_sleep() {
    let clock = VirtualClock::starting_at(UnixMs(0));
    let host = Arc::new(Host::new(clock.clone()));
    let (runs, handle) = (Arc::clone(&host), tokio::runtime::Handle::current());
    let run = std::thread::spawn(move || handle.block_on(runs.run(json!({"do": "sleep"}), &Arc::new(Grants::default()))));
    while clock.sleepers() == 0 && !run.is_finished() {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_millis(Limit::WallMs.default_value()));
    let report = run.join().expect("joined");
    assert_eq!(report.outcome, Outcome::Deadline, "{:?}", report.error);
}
