//! `anomaly.watch` from end to end: a success rate that falls becomes a finding that explains itself, persists, and is resolved; tasks
//! that no longer come are found too. The host is the real one, with the real scorer in its sandbox; only its clock stands where the
//! test puts it, and what happened before is put on record through the store as a host would.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use taskwarden::app::{Host, database_path};
use taskwarden::clock::{UnixMs, VirtualClock};
use taskwarden::config::Config;
use taskwarden::store::sqlite::{SqliteOptions, SqliteStore};
use taskwarden::store::{Finish, Store};
use taskwarden::task::{Next, Outcome, Priority, TaskState};

use crate::store::support::{claim, lane, new_task, succeed};

const HOUR: Duration = Duration::from_secs(3_600);
const ATTEMPTS: usize = 25;

fn start() -> UnixMs {
    UnixMs::parse_rfc3339("2026-11-16T00:00:00Z").expect("a time")
}

fn hour(number: u32) -> UnixMs {
    start().plus(HOUR * number)
}

fn config(data: &Path) -> Config {
    let set = |name: &str, value: &str| (format!("TASKWARDEN_{name}"), value.to_owned());
    let data = data.to_str().expect("a path of text");
    let settings = [set("LISTEN", "127.0.0.1:0"), set("DATA_DIR", data), set("AUTH__MODE", "loopback_open"), set("RUNTIME__SLOTS", "1")];
    Config::assemble(None, settings).expect("good settings")
}

/// What happened in some hours: how many of 25 attempts failed, and the version that ran.
async fn history(data: &Path, hours: std::ops::Range<u32>, failed: impl Fn(u32) -> usize, version: &str) {
    std::fs::create_dir_all(data).expect("a folder");
    let opened = SqliteStore::open(&database_path(&config(data)), SqliteOptions::default()).await.expect("a store");
    let opened = Arc::new(opened);
    let store: Arc<dyn Store> = opened.clone();
    for number in hours {
        let now = hour(number).plus(HOUR / 2);
        store.heartbeat("host-a", now, now.plus(HOUR)).await.expect("alive");
        let tasks = (0..ATTEMPTS).map(|_| new_task(lane("implement_idea", Some("m/1")), Priority::Normal)).collect();
        store.submit(tasks, now).await.expect("submitted");
        let claimed = claim(&store, 100, now).await.tasks;
        assert_eq!(claimed.len(), ATTEMPTS);
        let ends = claimed.iter().enumerate().map(|(index, task)| {
            let mut done = succeed(task, now);
            if index < failed(number) {
                done = Finish { outcome: Outcome::Permanent, next: Next::Final(TaskState::Failed), result: None, ..done };
            }
            done.receipt.plugin = "idea".to_owned();
            done.receipt.plugin_version = version.to_owned();
            done
        });
        store.finish(ends.collect()).await.expect("recorded");
    }
    opened.close().await;
}

/// One attempt in fifty fails at most, as always.
fn usual(number: u32) -> usize {
    usize::from(number.is_multiple_of(3))
}

struct Watched {
    host: Host,
    http: Client,
    base: String,
}

impl Watched {
    async fn start(data: &Path, now: UnixMs, plugins: &[&str]) -> Self {
        let host = Host::start(config(data), VirtualClock::starting_at(now)).await.expect("a host");
        let watched =
            Self { base: format!("http://{}", host.address()), host, http: Client::builder().no_proxy().build().expect("a client") };
        for plugin in plugins {
            let request = watched.http.post(format!("{}/v1/admin/plugins", watched.base)).body(crate::guests::component(plugin));
            let answer = request.send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        }
        watched
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.http.request(method, format!("{}{path}", self.base)).json(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        answer.json().await.expect("JSON")
    }

    /// Runs the task and gives it back as it ended.
    async fn run(&self, payload: Value) -> Value {
        let task = self.json(Method::POST, "/v1/tasks", &json!({"task_type": "anomaly.watch", "payload": payload})).await;
        let id = task["id"].as_str().expect("an id");
        self.json(Method::GET, &format!("/v1/tasks/{id}?wait=60s"), &Value::Null).await
    }

    async fn findings(&self, query: &str) -> Vec<Value> {
        let page = self.json(Method::GET, &format!("/v1/findings?{query}"), &Value::Null).await;
        page["findings"].as_array().expect("findings").clone()
    }
}

fn payload() -> Value {
    json!({"history_days": 8, "recent_hours": 2})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_rate_that_falls_is_found_explained_kept_and_resolved() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path();
    // A week as always, then three hours of a version in which ten of 25 attempts fail.
    history(data, 0..168, usual, "1.1.0").await;
    history(data, 168..171, |_| 10, "1.2.0").await;

    let host = Watched::start(data, hour(171), &["anomaly-score"]).await;
    let ran = host.run(payload()).await;
    assert_eq!(ran["state"], "succeeded", "{}", ran["error"]);
    let result = &ran["result"];
    assert_eq!((&result["complete"], &result["findings"]["new"], &result["lanes"]), (&json!(true), &json!(1), &json!(1)), "{result}");
    let found = host.findings("state=new").await;
    assert_eq!(found.len(), 1, "{found:?}");
    let finding = &found[0];
    assert_eq!((&finding["kind"], &finding["source_task"]), (&json!("watch.success_rate"), &ran["id"]));
    assert_eq!(finding["keys"], json!({"metric": "success_rate", "task_type": "implement_idea", "ai_model": "m/1"}));
    let said = finding["explanation"].as_str().expect("a sentence");
    assert!(said.contains("15 of 25 attempts of implement_idea for model m/1 succeeded in the 60 minutes from 2026-11-23 0"), "{said}");
    assert!(said.contains(": 60 %, where ") && said.contains("it goes on") && said.contains("idea 1.2.0 did not run before"), "{said}");
    assert_eq!((&finding["detail"]["attempts"], &finding["detail"]["new_versions"]), (&json!(25), &json!(["idea 1.2.0"])));
    assert!(finding["severity"].as_u64() >= Some(50), "{finding}");
    // The same again, at the same time, is the same.
    let again = host.run(payload()).await;
    assert_eq!(again["result"]["findings"]["persisting"], 1, "{}", again["result"]);
    host.host.stop().await;

    history(data, 171..172, |_| 11, "1.2.0").await;
    let host = Watched::start(data, hour(172), &[]).await;
    assert_eq!(host.run(payload()).await["result"]["findings"]["persisting"], 1);
    let kept = host.findings("state=persisting").await;
    assert_eq!((kept.len(), &kept[0]["id"], &kept[0]["times_seen"]), (1, &finding["id"], &json!(3)));
    assert_eq!(kept[0]["first_seen_at"], finding["first_seen_at"]);
    host.host.stop().await;

    // The version before comes back, and with it the rate.
    history(data, 172..180, usual, "1.1.0").await;
    let host = Watched::start(data, hour(180), &[]).await;
    let ran = host.run(payload()).await;
    assert_eq!(ran["result"]["findings"], json!({"new": 0, "persisting": 0, "resolved": 1, "superseded": false}), "{}", ran["result"]);
    let resolved = host.findings("state=resolved").await;
    assert_eq!((resolved.len(), &resolved[0]["id"], &resolved[0]["source_task"]), (1, &finding["id"], &ran["id"]));

    // Then nothing comes at all, which no rate would show.
    host.host.stop().await;
    let host = Watched::start(data, hour(184), &[]).await;
    let ran = host.run(payload()).await;
    assert_eq!(ran["result"]["findings"]["new"], 1, "{}", ran["result"]);
    let silent = host.findings("state=new").await;
    assert_eq!((&silent[0]["kind"], &silent[0]["keys"]["task_type"]), (&json!("watch.stopped"), &json!("implement_idea")));
    let said = silent[0]["explanation"].as_str().expect("a sentence");
    assert!(said.contains("has ended since 2026-11-23 12:00 UTC, for 4 hours; before that it was never longer than 0 hours"), "{said}");
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_scorer_the_task_fails_and_says_so_and_a_wrong_payload_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    history(data.path(), 0..30, usual, "1.0.0").await;
    let host = Watched::start(data.path(), hour(30), &[]).await;
    let has_scorer = host.json(Method::GET, "/v1/plugins", &Value::Null).await.to_string().contains("anomaly.score");
    if !has_scorer {
        let ran = host.run(Value::Null).await;
        assert_eq!((&ran["state"], &ran["outcome"]), (&json!("failed"), &json!("permanent")));
        assert!(ran["error"].as_str().is_some_and(|why| why.contains("anomaly.score")), "{ran}");
    }
    let wrong = host.run(json!({"bucket_minutes": 7})).await;
    assert_eq!(wrong["outcome"], "invalid");
    assert!(wrong["error"].as_str().is_some_and(|why| why.contains("bucket_minutes is 7")), "{wrong}");
    assert!(host.findings("").await.is_empty());
    host.host.stop().await;
}
