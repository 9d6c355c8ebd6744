//! Which task runs when, seen from outside.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::{Value, json};

use super::process::HostProcess;

/// Events of a host, as they come.
struct Events {
    chunks: futures::stream::BoxStream<'static, Result<bytes::Bytes, reqwest::Error>>,
    rest: String,
}

impl Events {
    async fn listen(host: &HostProcess) -> Self {
        let answer = host.http.get(format!("{}/v1/events", host.base)).send().await.expect("the host answers");
        assert!(answer.status().is_success());
        Self { chunks: answer.bytes_stream().boxed(), rest: String::new() }
    }

    /// The next change of a task's state.
    async fn state(&mut self) -> (String, String) {
        loop {
            while let Some((line, after)) = self.rest.split_once('\n') {
                let event: Option<Value> = line.strip_prefix("data:").and_then(|data| serde_json::from_str(data).ok());
                self.rest = after.to_owned();
                if let Some(event) = event
                    && event["state"].is_string()
                {
                    let text = |key: &str| event[key].as_str().expect("text").to_owned();
                    return (text("task"), text("state"));
                }
            }
            let chunk = self.chunks.next().await.expect("the stream goes on").expect("the stream is whole");
            self.rest.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// Waits until `task` is in `state`; the states of other tasks that went by.
    async fn until(&mut self, task: &str, state: &str) -> Vec<(String, String)> {
        let mut passed = Vec::new();
        loop {
            let seen = self.state().await;
            if seen.0 == task && seen.1 == state {
                return passed;
            }
            passed.push(seen);
        }
    }
}

async fn lane(host: &HostProcess, change: Value) {
    let answer = host.http.patch(format!("{}/v1/admin/lanes", host.base)).json(&change).send().await.expect("the host answers");
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
}

async fn submit_one(host: &HostProcess, task: Value) -> String {
    host.submit(&[task]).await.expect("the host lives").remove(0)
}

const ONE_SLOT: [(&str, &str); 3] =
    [("TASKWARDEN_RUNTIME__SLOTS", "1"), ("TASKWARDEN_RUNTIME__URGENT_SLOTS", "0"), ("TASKWARDEN_RUNTIME__RUN_AHEAD_MS", "0")];

#[tokio::test]
async fn the_most_urgent_task_runs_first_and_types_have_their_defaults() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &ONE_SLOT);
    host.upload("echo").await;
    let types = ["self_improvement", "idea_implementation", "implement_idea", "echo"];
    for task_type in types {
        lane(&host, json!({ "task_type": task_type, "paused": true })).await;
    }
    let tasks = [
        json!({ "task_type": "self_improvement" }),
        json!({ "task_type": "idea_implementation" }),
        json!({ "task_type": "implement_idea" }),
        json!({ "task_type": "echo", "priority": "background" }),
        json!({ "task_type": "echo", "priority": "critical" }),
    ];
    let ids = host.submit(&tasks).await.expect("the host lives");
    let names: BTreeMap<&str, &str> = ids.iter().map(String::as_str).zip(["low", "normal", "high", "background", "critical"]).collect();
    let mut events = Events::listen(&host).await;
    // A task that keeps the only slot busy until the lanes are opened, so that all five are there to choose from.
    let busy = submit_one(&host, json!({ "task_type": "echo", "ai_model": "busy", "payload": { "spin_fuel": 9_000_000_000_u64 } })).await;
    events.until(&busy, "running").await;
    for task_type in types {
        lane(&host, json!({ "task_type": task_type, "paused": false })).await;
    }
    let cancelled = host.http.post(format!("{}/v1/tasks/{busy}/cancel", host.base)).send().await.expect("the host answers");
    assert_eq!(cancelled.status(), 202, "it was still running");
    let mut order = Vec::new();
    while order.len() < names.len() {
        let (task, state) = events.state().await;
        if state == "running" {
            order.push(names[task.as_str()]);
        }
    }
    assert_eq!(order, ["critical", "high", "normal", "low", "background"]);
    assert_eq!(host.ended(&ids[2]).await["priority"], "high");
}

#[tokio::test]
async fn urgent_tasks_do_not_wait_for_ordinary_ones_to_end() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &[("TASKWARDEN_RUNTIME__SLOTS", "2")]);
    host.upload("echo").await;
    let mut events = Events::listen(&host).await;
    let endless = json!({ "task_type": "echo", "ai_model": "busy", "payload": { "spin_fuel": 9_000_000_000_u64 } });
    let mut busy = Vec::new();
    for _ in 0..2 {
        let task = submit_one(&host, endless.clone()).await;
        events.until(&task, "running").await;
        busy.push(task);
    }
    let waiting = submit_one(&host, json!({ "task_type": "echo" })).await;
    // More than there are slots for them, in more than one way.
    let urgent = ["high", "critical", "high"].map(|priority| json!({ "task_type": "echo", "priority": priority }));
    for id in host.submit(&urgent).await.expect("the host lives") {
        assert_eq!(host.ended(&id).await["state"], "succeeded");
    }
    // A lane that is opened lets its urgent tasks go as well.
    lane(&host, json!({ "task_type": "echo", "ai_model": "later", "paused": true })).await;
    let later = submit_one(&host, json!({ "task_type": "echo", "ai_model": "later", "priority": "critical" })).await;
    lane(&host, json!({ "task_type": "echo", "ai_model": "later", "paused": false })).await;
    assert_eq!(host.ended(&later).await["state"], "succeeded");
    assert_eq!(host.get(&format!("/v1/tasks/{waiting}")).await["state"], "queued");
    for task in &busy {
        let cancelled = host.http.post(format!("{}/v1/tasks/{task}/cancel", host.base)).send().await.expect("the host answers");
        assert_eq!(cancelled.status(), 202, "it was running all the time");
    }
    assert_eq!(host.ended(&waiting).await["state"], "succeeded");
}

#[tokio::test]
async fn a_lane_never_runs_more_than_its_cap() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &[("TASKWARDEN_RUNTIME__SLOTS", "4")]);
    host.upload("echo").await;
    lane(&host, json!({ "task_type": "echo", "concurrency_cap": 2 })).await;
    let tasks = vec![json!({ "task_type": "echo", "payload": { "spin_fuel": 30_000_000 } }); 60];
    let ids = host.submit(&tasks).await.expect("the host lives");
    // By the records, not by the events: a task is told to have ended a moment after the next of its lane may have started.
    let mut changes = Vec::new();
    for id in &ids {
        let task = host.ended(id).await;
        let at = |key: &str| task[key].as_str().expect("a time").to_owned();
        changes.extend([(at("started_at"), 1), (at("finished_at"), -1)]);
    }
    // Of one millisecond, ends come first: the next of the lane is claimed after the end is on record.
    changes.sort();
    let mut running = 0;
    let most = changes.iter().map(|(_, change)| {
        running += change;
        running
    });
    assert_eq!(most.max(), Some(2));
}

#[tokio::test]
async fn endless_loops_on_every_slot_leave_the_api_answering_and_can_be_cancelled() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &[("TASKWARDEN_RUNTIME__SLOTS", "4")]);
    host.upload("echo").await;
    let mut events = Events::listen(&host).await;
    let tasks = vec![json!({ "task_type": "echo", "payload": { "spin_fuel": u64::MAX / 2 } }); 4];
    let ids = host.submit(&tasks).await.expect("the host lives");
    let mut running = 0;
    while running < 4 {
        running += i32::from(events.state().await.1 == "running");
    }
    for _ in 0..20 {
        let health = host.http.get(format!("{}/healthz", host.base)).send().await.expect("the host answers");
        assert!(health.status().is_success());
    }
    for id in &ids {
        let answer = host.http.post(format!("{}/v1/tasks/{id}/cancel", host.base)).send().await.expect("the host answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    for id in &ids {
        let task = host.ended(id).await;
        assert_eq!((task["state"].as_str(), task["outcome"].as_str()), (Some("cancelled"), Some("cancelled")));
        assert!(task["receipt"]["fuel_used"].as_u64().is_some_and(|fuel| fuel > 0), "what it cost is on the receipt all the same");
    }
    // The slots are free again.
    let next = submit_one(&host, json!({ "task_type": "echo", "payload": "next" })).await;
    assert_eq!(host.ended(&next).await["result"]["payload"], "next");
}

#[tokio::test]
async fn failures_are_retried_by_their_outcome() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &[("TASKWARDEN_QUEUE__BACKOFF_BASE_MS", "1")]);
    host.upload("echo").await;
    for (fail, attempts) in [("transient", 3), ("permanent", 1), ("invalid", 1)] {
        let id = submit_one(&host, json!({ "task_type": "echo", "payload": { "fail": fail } })).await;
        let task = host.ended(&id).await;
        assert_eq!((task["outcome"].as_str(), task["attempt"].as_u64()), (Some(fail), Some(attempts)));
    }
    let id =
        submit_one(&host, json!({ "task_type": "echo", "limits": { "fuel": 1_000_000 }, "payload": { "spin_fuel": 50_000_000 } })).await;
    let task = host.ended(&id).await;
    assert_eq!((task["outcome"].as_str(), task["attempt"].as_u64()), (Some("out_of_fuel"), Some(1)));
    assert_eq!(task["receipt"]["limits"]["fuel"], 1_000_000, "the receipt shows the limits that were in force");
}

#[tokio::test]
async fn limits_set_by_the_operator_hold_from_the_next_task_on() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &[]);
    host.upload("echo").await;
    let spin = json!({ "task_type": "echo", "payload": { "spin_fuel": 20_000_000 } });
    let before = submit_one(&host, spin.clone()).await;
    assert_eq!(host.ended(&before).await["outcome"], "succeeded");
    let url = format!("{}/v1/admin/limits/task_type/echo", host.base);
    let answer = host.http.put(&url).json(&json!({ "fuel": 5_000_000 })).send().await.expect("the host answers");
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    let after = submit_one(&host, spin.clone()).await;
    assert_eq!(host.ended(&after).await["outcome"], "out_of_fuel");
    // And after a restart: they are in the database.
    assert_eq!(host.terminate(), Some(0));
    let host = HostProcess::start(data.path(), &[]);
    let later = submit_one(&host, spin).await;
    assert_eq!(host.ended(&later).await["outcome"], "out_of_fuel", "the plugin and the limit are both still there");
}

#[tokio::test]
async fn a_type_may_allow_one_retry_with_larger_limits() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &[("TASKWARDEN_LIMITS__CEILINGS__FUEL", "50000000")]);
    host.upload("echo").await;
    let url = format!("{}/v1/admin/limits/task_type/echo", host.base);
    let allow = json!({ "fuel": 5_000_000, "retry_limits_percent": 400 });
    let answer = host.http.put(&url).json(&allow).send().await.expect("the host answers");
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    let tasks = [
        json!({ "task_type": "echo", "payload": { "spin_fuel": 15_000_000 } }),
        json!({ "task_type": "echo", "payload": { "spin_fuel": 30_000_000 } }),
        // Who submits it does not want to pay more; and the one attempt that it may have is used up.
        json!({ "task_type": "echo", "payload": { "spin_fuel": 15_000_000 }, "limits": { "fuel": 5_000_000 } }),
        json!({ "task_type": "echo", "payload": { "spin_fuel": 15_000_000 }, "max_attempts": 1 }),
    ];
    let ids = host.submit(&tasks).await.expect("the host lives");
    for (id, outcome, attempt, fuel) in [
        (&ids[0], "succeeded", 2, 20_000_000),
        (&ids[1], "out_of_fuel", 2, 20_000_000),
        (&ids[2], "out_of_fuel", 1, 5_000_000),
        (&ids[3], "out_of_fuel", 1, 5_000_000),
    ] {
        let task = host.ended(id).await;
        let seen = (task["outcome"].as_str(), task["attempt"].as_u64(), task["receipt"]["limits"]["fuel"].as_u64());
        assert_eq!(seen, (Some(outcome), Some(attempt), Some(fuel)), "{task}");
    }
    // The ceiling holds, and what would not be larger is not tried again.
    let answer =
        host.http.put(&url).json(&json!({ "fuel": 50_000_000, "retry_limits_percent": 400 })).send().await.expect("the host answers");
    assert!(answer.status().is_success());
    let id = submit_one(&host, json!({ "task_type": "echo", "payload": { "spin_fuel": 60_000_000 } })).await;
    let task = host.ended(&id).await;
    assert_eq!((task["outcome"].as_str(), task["attempt"].as_u64()), (Some("out_of_fuel"), Some(1)));
}

#[tokio::test]
async fn a_host_that_is_told_to_stop_gives_back_what_it_cannot_finish() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &[("TASKWARDEN_RUNTIME__DRAIN_MS", "50")]);
    host.upload("echo").await;
    let mut events = Events::listen(&host).await;
    let id = submit_one(&host, json!({ "task_type": "echo", "payload": { "spin_fuel": 8_000_000_000_u64 } })).await;
    events.until(&id, "running").await;
    drop(events);
    assert_eq!(host.terminate(), Some(0));
    let host = HostProcess::start(data.path(), &[]);
    let mut events = Events::listen(&host).await;
    let task = host.get(&format!("/v1/tasks/{id}")).await;
    if task["state"] != "running" {
        events.until(&id, "running").await;
    }
    let task = host.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(task["attempt"], 1, "an attempt that the host broke off does not count");
}
