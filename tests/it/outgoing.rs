//! Requests that guests send: to a server of the test's own, through the real client, and no farther than was granted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use taskwarden::clock::{SharedClock, SystemClock, UnixMs, VirtualClock};
use taskwarden::limits::Limit;
use taskwarden::outgoing::Outgoing;
use taskwarden::runtime::ports::{MemoryInputs, Ports};
use taskwarden::runtime::{Compiled, Grants, HttpGrant, Job, Report, Runtime, RuntimeConfig};
use taskwarden::task::Outcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::guests;

/// Answers every request with a redirect to somewhere else and a body; counts the connections.
struct Server {
    origin: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("bound"));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 << 10];
                    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                        let answer = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 5\r\n\r\nhello";
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { origin, connections }
    }

    /// Takes requests and never answers one.
    async fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("bound"));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                held.push(stream);
            }
        });
        Self { origin, connections }
    }

    /// Requests that have come in, where none is answered; connections elsewhere.
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

struct Host {
    runtime: Runtime,
    http: Compiled,
    echo: Compiled,
}

impl Host {
    fn new() -> Self {
        Self::on(SystemClock::shared())
    }

    fn on(clock: SharedClock) -> Self {
        let runtime = Runtime::new(RuntimeConfig { concurrent_runs: 1, ..RuntimeConfig::default() }, clock).expect("an engine");
        let compile = |name| runtime.compile(&guests::component(name), None, u64::MAX).expect("accepted");
        let (http, echo) = (compile("http"), compile("echo"));
        Self { runtime, http, echo }
    }

    async fn run(&self, payload: serde_json::Value, granted: &[(&str, bool)], limits: &[(Limit, u64)]) -> Report {
        let grant = |(origin, private_addresses): &(&str, bool)| HttpGrant {
            origin: origin.parse().expect("an origin"),
            private_addresses: *private_addresses,
        };
        let grants = Arc::new(Grants { http: granted.iter().map(grant).collect(), ..Grants::default() });
        let ports = Ports { http: Outgoing::default().of("http"), ..Ports::in_memory(MemoryInputs::default()) };
        let report =
            self.runtime.run(&self.http, Job { grants, ports, limits: guests::limits(limits), ..guests::job(&payload.to_string()) }).await;
        let honest = self.runtime.run(&self.echo, guests::job("1")).await;
        assert_eq!(honest.outcome, Outcome::Succeeded, "an honest task on the same slot: {:?}", honest.error);
        report
    }
}

fn get(url: &str) -> serde_json::Value {
    serde_json::json!({"do": "send", "method": "GET", "url": url})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_origin_answers_and_no_redirect_is_followed() {
    let (server, host) = (Server::start().await, Host::new());
    let report = host.run(get(&format!("{}/x", server.origin)), &[(&server.origin, true)], &[]).await;
    assert_eq!(report.outcome, Outcome::Succeeded, "{:?}", report.error);
    let answer: serde_json::Value = serde_json::from_str(&report.result.expect("a result")).expect("JSON");
    assert_eq!((&answer["status"], &answer["body"]), (&serde_json::json!(302), &serde_json::json!("hello")));
    assert_eq!((report.usage.http_requests, server.connections()), (1, 1));
    assert!(report.usage.http_bytes > 5 && report.usage.host_calls > 5, "{:?}", report.usage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_granted_is_not_even_connected_to() {
    let (server, host) = (Server::start().await, Host::new());
    let by_name = server.origin.replace("127.0.0.1", "localhost");
    for (url, granted, words) in [
        (&server.origin, vec![], "this origin was not granted"),
        (&server.origin, vec![("https://api.example.com", false)], "this origin was not granted"),
        (&server.origin, vec![(server.origin.as_str(), false)], "private address only"),
        (&by_name, vec![(by_name.as_str(), false)], "private address only"),
    ] {
        let report = host.run(get(url), &granted, &[]).await;
        let error = report.error.unwrap_or_default();
        assert_eq!(report.outcome, Outcome::Permanent, "{error}");
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_at_their_limits() {
    let (server, host) = (Server::start().await, Host::new());
    let granted = [(server.origin.as_str(), true)];
    let flood = serde_json::json!({"do": "flood", "url": server.origin});
    let report = host.run(flood, &granted, &[(Limit::HttpRequests, 7)]).await;
    assert_eq!((report.outcome, report.error.as_deref()), (Outcome::HostLimit, Some("too many HTTP requests: http_requests allows 7")));
    let upload = serde_json::json!({"do": "upload", "url": server.origin, "bytes": 20_000});
    let report = host.run(upload, &granted, &[(Limit::HttpBytes, 100_000)]).await;
    let expected = "too many bytes over HTTP, both ways together: http_bytes allows 100000";
    assert_eq!((report.outcome, report.error.as_deref()), (Outcome::HostLimit, Some(expected)));
}

/// A guest that waits for an answer waits in the host: its deadline and whoever cancels it reach it there, and the slot is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadline_and_cancellation_land_in_a_request_that_waits() {
    let server = Server::silent().await;
    let clock = VirtualClock::starting_at(UnixMs(0));
    let host = Arc::new(Host::on(clock.clone()));
    for (requests, expected) in [(1, Outcome::Deadline), (2, Outcome::Cancelled)] {
        let cancel = CancellationToken::new();
        let grant = HttpGrant { origin: server.origin.parse().expect("an origin"), private_addresses: true };
        let job = Job {
            grants: Arc::new(Grants { http: vec![grant], ..Grants::default() }),
            ports: Ports { http: Outgoing::default().of("http"), ..Ports::in_memory(MemoryInputs::default()) },
            cancel: cancel.clone(),
            ..guests::job(&get(&server.origin).to_string())
        };
        let (running, reactor) = (Arc::clone(&host), tokio::runtime::Handle::current());
        let run = std::thread::spawn(move || reactor.block_on(running.runtime.run(&running.http, job)));
        // The request has arrived, and the run waits by the clock.
        while (server.connections() < requests || clock.sleepers() == 0) && !run.is_finished() {
            tokio::task::yield_now().await;
        }
        match expected {
            Outcome::Cancelled => cancel.cancel(),
            _ => clock.advance(Duration::from_millis(Limit::WallMs.default_value())),
        }
        let report = run.join().expect("joined");
        assert_eq!(report.outcome, expected, "{:?}", report.error);
        assert_eq!(report.usage.http_requests, 1);
        let honest = host.runtime.run(&host.echo, guests::job("1")).await;
        assert_eq!(honest.outcome, Outcome::Succeeded, "an honest task on the same slot: {:?}", honest.error);
    }
}
