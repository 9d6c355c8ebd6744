//! What is printed: what ran in which order, what came of it, what it cost.

use std::path::Path;

use anyhow::ensure;
use serde_json::Value;

use super::load::{self, Expect, Submission};

/// From most to least urgent.
const PRIORITIES: [&str; 5] = ["critical", "high", "normal", "low", "background"];

/// The text at a place, or nothing.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a place, or 0.
pub(super) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// The plugins that are loaded.
pub(super) fn plugins(answer: &Value) -> anyhow::Result<()> {
    let plugins = answer.get("plugins").or(Some(answer)).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    ensure!(plugins.len() >= 2, "echo and anomaly-score should be loaded: {answer}");
    for plugin in plugins {
        let types = plugin.get("task_types").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        println!("  plugin {} {} for {}", text(plugin, "/name"), text(plugin, "/version"), types.collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// Every task in the order in which it started.
pub(super) fn table(pairs: &[(&Submission, Value)]) -> anyhow::Result<()> {
    println!("\nwhat ran, in the order in which it started:\n");
    println!(
        "  {:>2}  {:<19} {:<14} {:<9} {:<11} {:>8} {:>8} {:>14} {:>9}",
        "#", "task type", "model", "priority", "outcome", "wait ms", "run ms", "fuel", "peak KiB"
    );
    for (place, task) in in_order(pairs).into_iter().enumerate() {
        println!(
            "  {:>2}  {:<19} {:<14} {:<9} {:<11} {:>8} {:>8} {:>14} {:>9}",
            place + 1,
            text(task, "/task_type"),
            Some(text(task, "/ai_model")).filter(|model| !model.is_empty()).unwrap_or("-"),
            text(task, "/priority"),
            text(task, "/outcome"),
            number(task, "/receipt/queue_ms"),
            number(task, "/receipt/run_ms"),
            grouped(number(task, "/receipt/fuel_used")),
            number(task, "/receipt/memory_peak_bytes") / 1024,
        );
    }
    Ok(())
}

/// One result of each kind.
pub(super) fn results(pairs: &[(&Submission, Value)]) -> anyhow::Result<()> {
    println!();
    for (kind, what) in [(Expect::Echo, "an idea"), (Expect::Episode, "the Nile, 1871 to 1970"), (Expect::OutOfFuel, "an endless task")] {
        let Some((_, task)) = pairs.iter().find(|(submission, _)| submission.expect == kind) else { continue };
        let answer = match kind {
            Expect::Echo | Expect::Hold => task.pointer("/result").cloned().unwrap_or_default().to_string(),
            Expect::Episode => text(load::fall_of_the_nile(task)?, "/explanation").to_owned(),
            Expect::OutOfFuel => format!("{}: {}", text(task, "/outcome"), text(task, "/error")),
        };
        println!("{what}: {answer}");
    }
    Ok(())
}

/// Says how well priorities were kept, and fails when they were not.
pub(super) fn order(pairs: &[(&Submission, Value)]) -> anyhow::Result<()> {
    let queued: Vec<(&Submission, Value)> = pairs
        .iter()
        .filter(|(submission, _)| submission.expect == Expect::Echo)
        .map(|(submission, task)| (*submission, task.clone()))
        .collect();
    let started = in_order(&queued);
    let mut means: Vec<(&str, f64)> = Vec::new();
    for priority in PRIORITIES {
        let places: Vec<usize> =
            started.iter().enumerate().filter(|(_, task)| text(task, "/priority") == priority).map(|(place, _)| place + 1).collect();
        if !places.is_empty() {
            means.push((priority, places.iter().sum::<usize>() as f64 / places.len() as f64));
        }
    }
    let said: Vec<String> = means.iter().map(|(priority, mean)| format!("{priority} {mean:.1}")).collect();
    println!("mean place among the {} that had to queue: {}", started.len(), said.join(", "));
    ensure!(means.len() == 3 && means.is_sorted_by(|a, b| a.1 < b.1), "more urgent tasks should have started earlier");
    Ok(())
}

fn in_order<'a>(pairs: &'a [(&Submission, Value)]) -> Vec<&'a Value> {
    let mut tasks: Vec<&Value> = pairs.iter().map(|(_, task)| task).collect();
    // Times are RFC 3339 in UTC with a fixed number of digits, which sort as text.
    tasks.sort_by(|a, b| (text(a, "/started_at"), text(a, "/finished_at")).cmp(&(text(b, "/started_at"), text(b, "/finished_at"))));
    tasks
}

/// 12345678 as 12,345,678.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What to type next.
pub(super) fn how_to_go_on(binary: &Path) {
    let binary = binary.display();
    println!(
        "
everything was as it should be. To go on:
  {binary} serve --data taskwarden-data     a host that stays (TASKWARDEN_AUTH__MODE=loopback_open to try it without tokens)
  {binary} submit --task-type echo --payload '{{\"hello\":1}}' --wait
  {binary} plugin new my-plugin             a plugin of your own, with a test
  cargo xtask test                          everything that can be checked"
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(priorities: &[&str]) -> Vec<Value> {
        let task = |(at, priority): (usize, &&str)| json!({ "priority": priority, "started_at": format!("2026-01-01T00:00:00.{at:03}Z") });
        priorities.iter().enumerate().map(task).collect()
    }

    #[test]
    fn priorities_that_are_not_kept_are_seen() {
        let submission = Submission { body: Value::Null, expect: Expect::Echo };
        let check = |priorities: &[&str]| order(&ended(priorities).into_iter().map(|task| (&submission, task)).collect::<Vec<_>>());
        assert!(check(&["high", "high", "normal", "normal", "low", "low"]).is_ok());
        assert!(check(&["high", "normal", "high", "low", "normal", "low"]).is_ok());
        assert!(check(&["low", "high", "high", "normal", "normal", "low", "low"]).is_ok());
        assert!(check(&["low", "low", "high", "high", "normal", "normal"]).is_err());
        assert!(check(&["high", "high"]).is_err());
    }

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
    }
}
