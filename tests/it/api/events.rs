//! Server-sent events.

use futures::StreamExt as _;
use taskwarden::clock::VirtualClock;

use super::*;

/// A stream of events, read one at a time.
struct Listener {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<Bytes>>,
    text: String,
}

/// One event as it came.
#[derive(Debug, PartialEq)]
struct Heard {
    id: Option<String>,
    name: String,
    data: Value,
}

impl Listener {
    async fn open(server: &Server, query: &str, last: Option<&str>) -> Self {
        let mut request = server.request(Method::GET, &format!("/v1/events{query}"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().expect("ok")));
        Self { bytes: response.bytes_stream().boxed(), text: String::new() }
    }

    async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let heard = Heard {
                    id: field("id: "),
                    name: field("event: ").expect("every event has a name"),
                    data: serde_json::from_str(&field("data: ").expect("every event has data")).expect("JSON"),
                };
                self.text = rest.to_owned();
                return Some(heard);
            }
            let bytes = self.bytes.next().await?.expect("an unbroken stream");
            self.text.push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }

    async fn named(&mut self, name: &str) -> Heard {
        let heard = self.next().await.expect("the stream goes on");
        assert_eq!(heard.name, name, "{heard:?}");
        heard
    }
}

#[tokio::test]
async fn a_task_is_followed_from_submission_to_end() {
    let server = Server::start().await;
    let mut listener = Listener::open(&server, "", None).await;
    let id = server.submit(&echo()).await;
    let queued = listener.named("state").await.data;
    assert_eq!((&queued["task"], &queued["task_type"], &queued["state"]), (&json!(id), &json!("echo"), &json!("queued")));
    let task = server.claim().await;
    let note = EventKind::Progress { fraction: 0.5, note: "half\nway".to_owned() };
    server.events.publish(server.clock.now(), task.id, &task.lane.task_type, None, note);
    let progress = listener.named("progress").await.data;
    assert_eq!((&progress["fraction"], &progress["note"]), (&json!(0.5), &json!("half\nway")));
    server.finish(&task, Outcome::Succeeded).await;
    let ended = listener.named("state").await.data;
    assert_eq!((&ended["state"], &ended["outcome"], &ended["attempt"]), (&json!("succeeded"), &json!("succeeded"), &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn one_task_can_be_followed_alone() {
    let server = Server::start().await;
    let id = server.submit(&echo()).await;
    let mut listener = Listener::open(&server, &format!("?task={id}"), None).await;
    let _other = server.submit(&echo()).await;
    server.post(&format!("/v1/tasks/{id}/cancel"), &Value::Null).await;
    let cancelled = listener.named("state").await.data;
    assert_eq!((&cancelled["task"], &cancelled["state"]), (&json!(id), &json!("cancelled")));
    server.get("/v1/events?task=nonsense").await.is_problem(422, "invalid_field", Some("task"));
    server.stop().await;
}

#[tokio::test]
async fn a_listener_that_comes_back_gets_what_it_missed_or_is_told_to_look_anew() {
    let server = Server::start().await;
    let mut listener = Listener::open(&server, "", None).await;
    server.submit(&echo()).await;
    let last = listener.named("state").await.id.expect("an id");
    drop(listener);
    let missed = [server.submit(&echo()).await, server.submit(&echo()).await];
    let mut back = Listener::open(&server, "", Some(&last)).await;
    for id in &missed {
        assert_eq!(back.named("state").await.data["task"], json!(id));
    }
    let after = server.submit(&echo()).await;
    assert_eq!(back.named("state").await.data["task"], json!(after), "nothing comes twice");
    // The bus of these tests remembers 64 events.
    server.post("/v1/tasks/batch", &json!({"tasks": vec![echo(); 70]})).await;
    for stale in [last.as_str(), "0-1", "nonsense"] {
        let mut late = Listener::open(&server, "", Some(stale)).await;
        late.named("resync").await;
        let id = server.submit(&echo()).await;
        assert_eq!(late.named("state").await.data["task"], json!(id));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_silent_stream_says_that_it_lives_and_ends_when_the_host_does() {
    let clock = VirtualClock::starting_at(UnixMs(1_800_000_000_000));
    let server = Server::start_with(clock.clone(), |_| {}).await;
    let mut listener = Listener::open(&server, "", None).await;
    for _ in 0..2 {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(15));
        listener.named("heartbeat").await;
    }
    server.shutdown.cancel();
    assert_eq!(listener.next().await, None);
    server.stop().await;
}

#[tokio::test]
async fn streams_are_bounded_in_number() {
    let server = Server::start_with(SystemClock::shared(), |config| config.streams_max = 1).await;
    let first = Listener::open(&server, "", None).await;
    let second = server.get("/v1/events").await;
    second.is_problem(503, "overloaded", None);
    assert!(!second.header("retry-after").is_empty());
    drop(first);
    // The server hears of a closed connection a moment later.
    while server.request(Method::GET, "/v1/events").send().await.expect("an answer").status() != 200 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}
