//! What the host is given to do, and what should come of it.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::report::{number, text};
use crate::client::Client;

/// The yearly flow of the Nile at Aswan, 1871 to 1970, in 10^8 m³: a hundred real measurements, which fell for good around 1899.
pub(super) const NILE_CSV: &str = include_str!("../../data/nile.csv");

/// Models with different tasks waiting for each of them.
const MODELS: [&str; 4] = ["claude-opus-4", "gpt-5", "llama-3.3-70b", "mistral-large"];

/// Type, the priority it has when a submission names none, and what is asked.
const KINDS: [(&str, &str, &str); 3] = [
    ("self_improvement", "low", "Find the slowest step of last night's runs and propose a change"),
    ("idea_implementation", "normal", "Build the export that was sketched on Monday"),
    ("implement_idea", "high", "Turn the sketch of the new import into a plan"),
];

/// About a second of work on one core: enough for everything else to pile up behind it.
const HOLD_FUEL: u64 = 1_500_000_000;
const WORK_FUEL: u64 = 3_000_000;
const ENDLESS_FUEL: u64 = 1_000_000_000_000;
const FUEL_LIMIT: u64 = 50_000_000;

/// One task, and what is to be seen once it has ended.
pub(super) struct Submission {
    pub(super) body: Value,
    pub(super) expect: Expect,
}

/// What should come of a task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Keeps a slot busy while the rest is queued; then the payload comes back.
    Hold,
    /// The payload comes back.
    Echo,
    /// An episode where the Nile fell.
    Episode,
    /// Its fuel limit stops it at the first attempt.
    OutOfFuel,
}

/// The whole load, least urgent first, so that running in priority order is not running in order of arrival.
pub(super) fn load(series_blob: &str) -> Vec<Submission> {
    let hold = || Submission {
        body: json!({ "task_type": "echo", "priority": "critical", "payload": { "note": "keeps a slot busy", "spin_fuel": HOLD_FUEL } }),
        expect: Expect::Hold,
    };
    let mut load = vec![hold(), hold()];
    for (task_type, _, idea) in KINDS {
        for round in 1..=2 {
            load.extend(MODELS.iter().map(|model| Submission {
                body: json!({
                    "task_type": task_type,
                    "ai_model": model,
                    "payload": { "idea": idea, "round": round, "progress_steps": 4, "log": "working on it", "spin_fuel": WORK_FUEL },
                    "tags": ["demo"],
                }),
                expect: Expect::Echo,
            }));
        }
    }
    load.push(Submission {
        // The last year is over, unlike the last day of a series that is still being written.
        body: json!({
            "task_type": "anomaly.score", "payload": { "last_point_partial": false }, "inputs": { "series": { "blob": series_blob } },
        }),
        expect: Expect::Episode,
    });
    load.push(Submission {
        body: json!({
            "task_type": "self_improvement", "ai_model": "gpt-5", "payload": { "idea": "think for ever", "spin_fuel": ENDLESS_FUEL },
            "limits": { "fuel": FUEL_LIMIT },
        }),
        expect: Expect::OutOfFuel,
    });
    load
}

/// The load as one request.
pub(super) fn as_batch(load: &[Submission]) -> Value {
    json!({ "tasks": load.iter().map(|submission| submission.body.clone()).collect::<Vec<_>>() })
}

impl Submission {
    /// Whether a task that has ended is what it should be.
    pub(super) fn check(&self, task: &Value) -> anyhow::Result<()> {
        let at = |pointer: &str| task.pointer(pointer).cloned().unwrap_or_default();
        ensure!(number(task, "/receipt/fuel_used") > 0, "a receipt without fuel: {task}");
        ensure!(number(task, "/receipt/memory_peak_bytes") > 0, "a receipt without memory: {task}");
        ensure!(text(task, "/receipt/plugin_digest").len() == 64, "a receipt without the plugin's digest: {task}");
        if self.expect == Expect::OutOfFuel {
            ensure!(text(task, "/outcome") == "out_of_fuel", "its fuel limit should have stopped it: {task}");
            ensure!(number(task, "/attempt") == 1, "what is out of fuel is not tried again: {task}");
            ensure!(number(task, "/receipt/limits/fuel") == FUEL_LIMIT, "the receipt does not show the limit: {task}");
            return Ok(());
        }
        ensure!(text(task, "/outcome") == "succeeded", "it should have succeeded: {task}");
        if self.expect == Expect::Episode {
            ensure!(number(task, "/result/points") == 100, "a hundred years went in: {task}");
            fall_of_the_nile(task)?;
            return Ok(());
        }
        let sent = |key: &str| self.body.get(key).cloned().unwrap_or_default();
        ensure!(at("/result/payload") == sent("payload"), "the payload did not come back: {task}");
        ensure!(at("/result/ai_model") == sent("ai_model"), "the model did not reach the plugin: {task}");
        let default = KINDS.iter().find(|(task_type, ..)| sent("task_type") == *task_type).map(|(_, priority, _)| json!(priority));
        ensure!(default.is_none_or(|priority| at("/priority") == priority), "not the priority of its type: {task}");
        Ok(())
    }
}

/// The episode that begins around 1899.
pub(super) fn fall_of_the_nile(task: &Value) -> anyhow::Result<&Value> {
    let episodes = task.pointer("/result/episodes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    episodes
        .iter()
        .find(|episode| text(episode, "/direction") == "down" && ("1898".."1906").contains(&text(episode, "/onset")))
        .with_context(|| format!("the fall around 1899 was not found in {episodes:?}"))
}

/// The same idempotency key gives the first task back.
pub(super) fn check_repeat(host: &Client) -> anyhow::Result<()> {
    let body = json!({ "task_type": "echo", "payload": { "order": 4711 }, "idempotency_key": "demo-order-4711" });
    let (first_status, first) = host.post_with_status("/v1/tasks", &body)?;
    let (second_status, second) = host.post_with_status("/v1/tasks", &body)?;
    ensure!((first_status, second_status) == (201, 200), "a repeat was answered {first_status} and then {second_status}");
    ensure!(text(&first, "/id") == text(&second, "/id"), "a repeat made a second task");
    let ended = host.get(&format!("/v1/tasks/{}?wait=30s", text(&first, "/id")))?;
    ensure!(text(&ended, "/state") == "succeeded", "the task of the repeat did not succeed: {ended}");
    println!("submitted twice under one idempotency key: one task, {}", text(&ended, "/id"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(expect: Expect, change: impl Fn(&mut Value)) -> anyhow::Result<()> {
        let load = load("blob");
        let submission = load.iter().find(|submission| submission.expect == expect).expect("it is part of the load");
        let mut task = json!({
            "outcome": "succeeded", "priority": "low", "attempt": 1,
            "result": { "payload": submission.body.get("payload"), "ai_model": submission.body.get("ai_model"), "points": 100,
                "episodes": [{ "direction": "down", "onset": "1899-01-01T00:00:00Z" }] },
            "receipt": { "fuel_used": 1, "memory_peak_bytes": 1, "plugin_digest": "0".repeat(64), "limits": { "fuel": FUEL_LIMIT } },
        });
        change(&mut task);
        submission.check(&task)
    }

    fn set(pointer: &'static str, value: Value) -> impl Fn(&mut Value) {
        move |task| *task.pointer_mut(pointer).expect("it is there") = value.clone()
    }

    #[test]
    fn what_is_not_as_it_should_be_is_seen() {
        assert!(ended(Expect::Echo, |_| ()).is_ok());
        assert!(ended(Expect::Echo, set("/outcome", json!("trap"))).is_err());
        assert!(ended(Expect::Echo, set("/result/payload", json!({}))).is_err());
        assert!(ended(Expect::Echo, set("/result/ai_model", json!("other"))).is_err());
        assert!(ended(Expect::Echo, set("/priority", json!("high"))).is_err());
        assert!(ended(Expect::Echo, set("/receipt/fuel_used", json!(0))).is_err());
        assert!(ended(Expect::OutOfFuel, set("/outcome", json!("out_of_fuel"))).is_ok());
        assert!(ended(Expect::OutOfFuel, |_| ()).is_err());
        assert!(ended(Expect::Episode, |_| ()).is_ok());
        assert!(ended(Expect::Episode, set("/result/episodes/0/direction", json!("up"))).is_err());
        assert!(ended(Expect::Episode, set("/result/episodes/0/onset", json!("1950-01-01T00:00:00Z"))).is_err());
    }
}
