//! Health, figures, bounds, and an orderly end.

use std::sync::atomic::Ordering;

use taskwarden::clock::{Clock as _, VirtualClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn health_and_readiness_are_two_things() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.body["status"], "ok");
    assert_eq!(server.get("/readyz").await.body["status"], "ready");
    server.ready.store(false, Ordering::Release);
    assert_eq!(server.get("/healthz").await.status, 200);
    let starting = server.get("/readyz").await;
    starting.is_problem(503, "unavailable", None);
    assert_eq!(starting.header("retry-after"), "5");
    server.stop().await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_a_503_and_health_still_answers() {
    let server = Server::start().await;
    server.store.close().await;
    server.post("/v1/tasks", &echo()).await.is_problem(503, "unavailable", None);
    server.get("/readyz").await.is_problem(503, "unavailable", None);
    assert_eq!(server.get("/healthz").await.status, 200);
    let figures = server.request(Method::GET, "/metrics").send().await.expect("an answer");
    assert_eq!(figures.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn figures_count_what_happened_under_names_that_cannot_grow() {
    let server = Server::start().await;
    server.post("/v1/tasks/batch", &json!({"tasks": [echo(), echo()]})).await;
    server.submit(&json!({"task_type": "echo", "ai_model": "m\"1"})).await;
    for number in 0..20 {
        server.get(&format!("/v1/made-up/{number}")).await;
        server.get(&format!("/v1/tasks/{number}")).await;
    }
    let response = server.request(Method::GET, "/metrics").send().await.expect("an answer");
    assert!(response.headers()["content-type"].to_str().is_ok_and(|kind| kind.starts_with("application/openmetrics-text")));
    let text = response.text().await.expect("text");
    for line in [
        "taskwarden_tasks_submitted_total{task_type=\"echo\"} 3",
        "taskwarden_lane_queued_tasks{task_type=\"echo\",ai_model=\"\"} 2",
        "taskwarden_lane_queued_tasks{task_type=\"echo\",ai_model=\"m\\\"1\"} 1",
        "taskwarden_http_requests_total{method=\"GET\",route=\"/v1/tasks/{id}\",status=\"404\"} 20",
        "taskwarden_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 20",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("made-up"));
    server.stop().await;
}

#[tokio::test]
async fn too_many_waits_are_turned_away_and_nothing_else_is() {
    let server = Arc::new(Server::start_with(SystemClock::shared(), |config| config.waits_max = 1).await);
    let id = server.submit(&echo()).await;
    let path = format!("/v1/tasks/{id}?wait=60s");
    let (first, second) = tokio::join!(
        async {
            let reply = server.get(&path).await;
            if reply.status == 503 {
                reply.is_problem(503, "overloaded", None);
            }
            reply.status
        },
        async {
            let mut refused = server.get(&format!("/v1/tasks/{id}?wait=1ms")).await.status;
            // Whichever of the two came first holds the place; the long one cannot end before the task does.
            while refused != 503 {
                refused = server.get(&format!("/v1/tasks/{id}?wait=1ms")).await.status;
            }
            assert_eq!(server.get(&format!("/v1/tasks/{id}")).await.status, 200);
            let task = server.claim().await;
            server.finish(&task, Outcome::Succeeded).await;
            refused
        }
    );
    assert_eq!((first, second), (200, 503));
}

#[tokio::test]
async fn stopping_ends_waits_finishes_requests_and_takes_no_more() {
    let server = Server::start().await;
    let id = server.submit(&echo()).await;
    let (client, address, shutdown) = (server.client.clone(), server.address, server.shutdown.clone());
    let mut slow = TcpStream::connect(address).await.expect("connected");
    // A request whose body is still on its way when the host is asked to stop.
    let head = format!(
        "POST /v1/tasks HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    let mut interim = [0; 25];
    slow.read_exact(&mut interim).await.expect("100 Continue");
    let waiting = tokio::spawn(async move {
        let response = client.get(format!("http://{address}/v1/tasks/{id}?wait=60s")).send().await.expect("an answer");
        response.json::<Value>().await.expect("JSON")
    });
    while server.events.watched_tasks() == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    assert_eq!(waiting.await.expect("no panic")["state"], "queued", "a wait is answered with what is there");
    slow.write_all(br#"{"task_type":"echo"}"#).await.expect("sent");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("an answer, then the end");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    server.serving.await.expect("no panic").expect("an orderly end");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_client_that_sends_nothing_more_is_not_waited_for() {
    let clock = VirtualClock::starting_at(UnixMs(1_800_000_000_000));
    let server = Server::start_with(clock.clone(), |_| {}).await;
    let mut slow = TcpStream::connect(server.address).await.expect("connected");
    let head = format!("POST /v1/tasks HTTP/1.1\r\nHost: {}\r\nContent-Length: 20\r\n\r\n{{", server.address);
    slow.write_all(head.as_bytes()).await.expect("sent");
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(15));
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 408");
    server.stop().await;
}

/// Sends a body that the host has no use for, then asks for its health on the same connection; what it answers to each.
async fn after_a_refusal(server: &Server, body_bytes: usize) -> String {
    let mut connection = TcpStream::connect(server.address).await.expect("connected");
    let head =
        format!("POST /v1/tasks HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n", server.address);
    connection.write_all(head.as_bytes()).await.expect("sent");
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 1 << 16], b"\r\n"].concat();
    for _ in 0..body_bytes >> 16 {
        // A host that has hung up is what some callers look for.
        let _ = connection.write_all(&chunk).await;
    }
    let _ = connection
        .write_all(format!("0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address).as_bytes())
        .await;
    let mut answers = Vec::new();
    let _ = connection.read_to_end(&mut answers).await;
    String::from_utf8_lossy(&answers).into_owned()
}

#[tokio::test]
async fn a_client_that_is_refused_in_the_middle_of_its_body_is_told_why() {
    let server = Server::start().await;
    let answers = after_a_refusal(&server, 8 << 20).await;
    assert!(answers.starts_with("HTTP/1.1 415"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200"), "the connection goes on: {answers}");
    server.stop().await;
}

#[tokio::test]
async fn no_more_of_a_refused_body_is_read_than_is_allowed() {
    let server = Server::start_with(SystemClock::shared(), |config| config.discard_bytes_max = 1 << 20).await;
    let answers = after_a_refusal(&server, 64 << 20).await;
    assert!(!answers.contains("HTTP/1.1 200"), "the connection has ended: {answers}");
    server.stop().await;
}

#[tokio::test]
async fn a_refused_body_that_does_not_come_is_not_waited_for() {
    let clock = VirtualClock::starting_at(UnixMs(1_800_000_000_000));
    let server = Server::start_with(clock.clone(), |_| {}).await;
    let head = |more: &str| {
        format!("POST /v1/tasks HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n{more}\r\n", server.address)
    };
    // Nothing was asked of this client yet, so nothing is thrown away and it is answered at once.
    let mut polite = TcpStream::connect(server.address).await.expect("connected");
    polite.write_all(head("Expect: 100-continue\r\n").as_bytes()).await.expect("sent");
    let mut answer = vec![0; 12];
    polite.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 415");
    let mut silent = TcpStream::connect(server.address).await.expect("connected");
    silent.write_all(head("").as_bytes()).await.expect("sent");
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(5));
    silent.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 415");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_hung_up_on() {
    let server = Server::start_with(SystemClock::shared(), |config| config.head_read_timeout = Duration::from_millis(50)).await;
    let mut slow = TcpStream::connect(server.address).await.expect("connected");
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("sent");
    let mut answer = Vec::new();
    // It may be told why or not; what counts is that it does not keep the connection.
    let _ = slow.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn http_2_is_spoken_and_a_hundred_requests_share_a_connection() {
    // One connection is all there is, so requests that did not share it would wait for ever.
    let server = Server::start_with(SystemClock::shared(), |config| config.connections_max = 1).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let url = format!("http://{}", server.address);
    let submit = || async {
        let answer = client.post(format!("{url}/v1/tasks")).json(&echo()).send().await.expect("an answer");
        (answer.version(), answer.status().as_u16())
    };
    assert_eq!(submit().await, (reqwest::Version::HTTP_2, 201));
    let answers = futures::future::join_all((0..100).map(|_| submit())).await;
    assert!(answers.iter().all(|answer| *answer == (reqwest::Version::HTTP_2, 201)), "{answers:?}");
    let waiting = client.get(format!("{url}/v1/tasks?limit=1")).send().await.expect("an answer");
    assert_eq!(waiting.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_at_the_end_of_the_drain_timeout() {
    let clock = VirtualClock::starting_at(UnixMs(1_800_000_000_000));
    let drain = Duration::from_secs(3);
    let server = Server::start_with(clock.clone(), |config| config.drain_timeout = drain).await;
    let mut slow = TcpStream::connect(server.address).await.expect("connected");
    let head = format!("POST /v1/tasks HTTP/1.1\r\nHost: {}\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n", server.address);
    slow.write_all(head.as_bytes()).await.expect("sent");
    slow.read_exact(&mut [0; 25]).await.expect("100 Continue");
    let before = clock.sleepers();
    server.shutdown.cancel();
    // Besides the patience with the body, the drain timeout is being waited for now.
    while clock.sleepers() <= before {
        tokio::task::yield_now().await;
    }
    clock.advance(drain - Duration::from_millis(1));
    tokio::task::yield_now().await;
    assert!(!server.serving.is_finished(), "it still has a moment");
    clock.advance(Duration::from_millis(1));
    server.serving.await.expect("no panic").expect("an orderly end");
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer).await;
    assert_eq!(answer, "", "the connection ends without an answer");
}

#[tokio::test]
async fn a_wait_ends_when_another_host_ends_the_task() {
    let clock = VirtualClock::starting_at(UnixMs(1_800_000_000_000));
    let server = Server::start_with(clock.clone(), |config| config.looks_every = Some(Duration::from_secs(1))).await;
    let id = server.submit(&echo()).await;
    let task = server.claim().await;
    let path = format!("/v1/tasks/{id}?wait=60s");
    let (waited, ()) = tokio::join!(server.get(&path), async {
        while server.events.watched_tasks() == 0 {
            tokio::task::yield_now().await;
        }
        // Another host does not tell this one.
        server.record_end(&task, Outcome::Succeeded).await;
        while server.events.watched_tasks() > 0 {
            // Time passes while the request sleeps towards its next look and towards its end, and stands still while it looks.
            if clock.sleepers() >= 2 {
                clock.advance(Duration::from_millis(100));
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(waited.body["state"], "succeeded");
    assert!(clock.now() < UnixMs(1_800_000_060_000), "it did not wait to the end");
    server.stop().await;
}
