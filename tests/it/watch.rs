//! `anomaly.watch` from end to end: a success rate that falls becomes a finding that explains itself, persists, and is resolved; tasks
//! that no longer come are found too. The host is the real one, with the real scorer in its sandbox; only its clock stands where the
//! test puts it, and what happened before is put on record through the store as a host would.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use taskwarden::app::{Host, database_path};
use taskwarden::clock::{SharedClock, UnixMs, VirtualClock};
use taskwarden::config::Config;
use taskwarden::store::sqlite::{SqliteOptions, SqliteStore};
use taskwarden::store::stripe::StripeStore as _;
use taskwarden::store::{Finish, Store};
use taskwarden::stripe::event::Event;
use taskwarden::stripe::object::told;
use taskwarden::task::{Next, Outcome, Priority, Rating, TaskState};

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

/// Six ratings an hour of tasks of another type, of which some are good.
async fn rated_history(data: &Path, hours: std::ops::Range<u32>, good: impl Fn(u32) -> usize) {
    let opened = Arc::new(SqliteStore::open(&database_path(&config(data)), SqliteOptions::default()).await.expect("a store"));
    let store: Arc<dyn Store> = opened.clone();
    for number in hours {
        let now = hour(number).plus(HOUR / 2);
        store.heartbeat("host-a", now, now.plus(HOUR)).await.expect("alive");
        store.submit((0..6).map(|_| new_task(lane("write_text", None), Priority::Normal)).collect(), now).await.expect("submitted");
        let claimed = claim(&store, 100, now).await.tasks;
        let ids: Vec<_> = claimed.iter().map(|task| task.id).collect();
        store.finish(claimed.iter().map(|task| succeed(task, now)).collect()).await.expect("recorded");
        for (index, id) in ids.into_iter().enumerate() {
            let rating = Rating::new(if index < good(number) { 5 } else { 2 }).expect("a rating");
            store.rate(id, rating, now).await.expect("rated");
        }
    }
    opened.close().await;
}

/// Charges of some days, every hour from eight to eight, as Stripe would have told of them.
async fn charges(data: &Path, days: std::ops::Range<i64>, currency: &str, cents: impl Fn(i64) -> i64) {
    std::fs::create_dir_all(data).expect("a folder");
    let opened = SqliteStore::open(&database_path(&config(data)), SqliteOptions::default()).await.expect("a store");
    let mut seen = Vec::new();
    for (day, hour) in days.flat_map(|day| (8..20).map(move |hour| (day, hour))) {
        let (at_s, amount) = (start().0 / 1000 + day * 86_400 + hour * 3_600, cents(day) + 10 * hour);
        let id = format!("{currency}_{day}_{hour}");
        let charge = json!({"id": format!("ch_{id}"), "object": "charge", "status": "succeeded", "amount": amount, "amount_captured": amount,
                            "captured": true, "currency": currency, "created": at_s});
        let event = json!({"id": format!("evt_{id}"), "object": "event", "type": "charge.succeeded", "created": at_s, "livemode": true,
                           "data": {"object": charge}});
        let event = event.to_string();
        seen.extend(
            told(&Event::parse(event.as_bytes()).expect("an event"), taskwarden::stripe::ledger::ORDER_KEY).expect("a charge").seen,
        );
    }
    opened.apply_stripe(seen, Vec::new(), start()).await.expect("applied");
    opened.close().await;
}

struct Watched {
    host: Host,
    clock: Arc<VirtualClock>,
    http: Client,
    base: String,
}

impl Watched {
    async fn start(data: &Path, now: UnixMs, plugins: &[&str]) -> Self {
        let clock = VirtualClock::starting_at(now);
        let host = Host::start(config(data), Arc::clone(&clock) as SharedClock).await.expect("a host");
        let watched =
            Self { base: format!("http://{}", host.address()), host, clock, http: Client::builder().no_proxy().build().expect("a client") };
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
    assert!(
        said.contains(": 60 %, where ") && said.contains("was not over at ") && said.contains("idea 1.2.0 did not run before"),
        "{said}"
    );
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
    assert!(said.contains("has ended since 2026-11-23 12:00 UTC, for 4 hours; before that there was no such pause at all"), "{said}");
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_schedule_nobody_has_to_ask() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path();
    history(data, 0..60, usual, "1.1.0").await;
    history(data, 60..63, |_| 12, "1.1.0").await;
    let host = Watched::start(data, hour(63), &["anomaly-score"]).await;
    let schedule = json!({"cron": "5 * * * *", "task": {"task_type": "anomaly.watch", "payload": payload()}});
    host.json(Method::PUT, "/v1/admin/schedules/watch", &schedule).await;
    // Its time comes, and once more an hour later; what it found is the same thing then.
    for (minutes, state) in [(5, "new"), (60, "persisting")] {
        host.clock.advance(Duration::from_secs(60 * minutes));
        let mut ran = Value::Null;
        for _ in 0..2_000 {
            let tasks = host.json(Method::GET, "/v1/tasks?task_type=anomaly.watch", &Value::Null).await;
            let latest = tasks["tasks"][0].clone();
            if tasks["tasks"].as_array().map_or(0, Vec::len) == if state == "new" { 1 } else { 2 } {
                let id = latest["id"].as_str().expect("an id").to_owned();
                ran = host.json(Method::GET, &format!("/v1/tasks/{id}?wait=60s"), &Value::Null).await;
                break;
            }
            // The scheduler looks again after a while by its own clock.
            host.clock.advance(Duration::from_millis(100));
        }
        assert_eq!(ran["state"], "succeeded", "{ran}");
        let found = host.findings(&format!("state={state}")).await;
        assert_eq!(found.iter().map(|finding| &finding["kind"]).collect::<Vec<_>>(), [&json!("watch.success_rate")], "{state}: {ran}");
    }
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_was_bad_from_the_start_is_seen_beside_the_good_one() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path();
    history(data, 0..60, usual, "1.1.0").await;
    // Six times as many attempts go to the version of always, and succeed, so that the lane as a whole does not show it.
    for _ in 0..6 {
        history(data, 60..63, |_| 0, "1.1.0").await;
    }
    history(data, 60..63, |_| 4, "1.2.0").await;
    let host = Watched::start(data, hour(63), &["anomaly-score"]).await;
    let ran = host.run(json!({"history_days": 8, "recent_hours": 3})).await;
    let found = host.findings("state=new").await;
    assert_eq!(found.len(), 1, "{} {found:?}", ran["result"]);
    assert_eq!((&found[0]["kind"], &found[0]["keys"]["plugin_version"]), (&json!("watch.version"), &json!("1.2.0")));
    let said = found[0]["explanation"].as_str().expect("a sentence");
    assert!(
        said.contains("63 of 75 attempts of implement_idea for model m/1 by idea 1.2.0 succeeded from 2026-11-18 12:00 UTC on: 84 %"),
        "{said}"
    );
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ratings_are_watched_with_how_many_there_were_and_missed_when_nobody_rates() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path();
    // Five of six like it, now and then four; then a day on which two do.
    std::fs::create_dir_all(data).expect("a folder");
    rated_history(data, 0..168, |number| if number.is_multiple_of(5) { 4 } else { 5 }).await;
    rated_history(data, 168..180, |_| 2).await;
    let host = Watched::start(data, hour(180), &["anomaly-score"]).await;
    let ran = host.run(payload()).await;
    assert_eq!(ran["result"]["findings"]["new"], 1, "{} {}", ran["result"], ran["error"]);
    let found = host.findings("state=new").await;
    assert_eq!(found[0]["kind"], "watch.satisfaction");
    assert_eq!(found[0]["keys"], json!({"metric": "satisfaction", "task_type": "write_text"}));
    let said = found[0]["explanation"].as_str().expect("a sentence");
    assert!(said.contains("2 of 6 ratings of write_text were good") && said.contains(": 33.3 %, where 8"), "{said}");
    assert_eq!((&found[0]["detail"]["ratings"], &found[0]["detail"]["satisfied"]), (&json!(6), &json!(2)));
    host.host.stop().await;

    // Nothing comes any more: neither tasks nor ratings.
    let host = Watched::start(data, hour(190), &[]).await;
    host.run(payload()).await;
    let stopped = host.findings("state=new&kind=watch.stopped").await;
    let metrics: Vec<_> = stopped.iter().map(|finding| finding["keys"]["metric"].as_str().unwrap_or_default()).collect();
    assert_eq!((metrics.len(), metrics.contains(&"attempts"), metrics.contains(&"ratings")), (2, true, true), "{stopped:?}");
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn income_is_watched_by_currency_and_missed_when_it_stops() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path();
    let usual = |day: i64| 5_000 + (day * 37).rem_euclid(11) * 40 - if day.rem_euclid(7) > 4 { 1_500 } else { 0 };
    charges(data, -100..1, "eur", |day| if day == 0 { usual(day) / 4 } else { usual(day) }).await;
    charges(data, -100..1, "usd", |day| 2 * usual(day)).await;
    let host = Watched::start(data, hour(25), &["anomaly-score"]).await;
    let ran = host.run(payload()).await;
    assert_eq!(
        (&ran["result"]["currencies"], &ran["result"]["findings"]["new"]),
        (&json!(2), &json!(1)),
        "{} {}",
        ran["result"],
        ran["error"]
    );
    let found = host.findings("state=new").await;
    let finding = &found[0];
    assert_eq!((&finding["kind"], &finding["scope"]), (&json!("watch.income"), &json!("anomaly.watch:income:live:UTC")));
    let keys = json!({"metric": "income", "currency": "eur", "basis": "provisional", "balance_type": "payments"});
    assert_eq!(finding["keys"], keys);
    let said = finding["explanation"].as_str().expect("a sentence");
    assert!(said.contains("On 2026-11-16 the income in EUR was 166.20, where "), "{said}");
    assert_eq!((&finding["gross_value"]["currency"], &finding["detail"]["value_minor"]), (&json!("eur"), &json!(16_620)));
    assert!(finding["gross_value"]["minor"].as_u64() > Some(30_000), "{finding}");
    host.host.stop().await;

    // The next day is as usual in euros; dollars stop at noon, which is noticed before the day is over.
    charges(data, 1..2, "eur", usual).await;
    let host = Watched::start(data, hour(44), &[]).await;
    let ran = host.run(payload()).await;
    assert_eq!(ran["result"]["findings"]["persisting"], 1, "{}", ran["result"]);
    let stopped = host.findings("state=new").await;
    assert_eq!((&stopped[0]["kind"], &stopped[0]["keys"]["currency"]), (&json!("watch.stopped"), &json!("usd")), "{stopped:?}");
    let said = stopped[0]["explanation"].as_str().expect("a sentence");
    assert!(said.contains("There has been no income in USD since 2026-11-16 20:00 UTC, for 24 hours"), "{said}");
    host.host.stop().await;

    // Three days later the euros are as they were, and the dollars came back.
    charges(data, 2..5, "eur", usual).await;
    charges(data, 2..5, "usd", |day| 2 * usual(day)).await;
    let host = Watched::start(data, hour(121), &[]).await;
    let ran = host.run(payload()).await;
    assert_eq!(ran["result"]["findings"]["resolved"].as_u64(), Some(2), "{} {:?}", ran["result"], host.findings("").await);
    let resolved = host.findings("state=resolved&kind=watch.income").await;
    assert_eq!((&resolved[0]["id"], resolved.len()), (&finding["id"], 1));
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
