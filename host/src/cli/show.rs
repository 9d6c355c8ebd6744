//! How results, outcomes and receipts look to a person.

use serde_json::Value;

/// Prints an ended task: the result alone on stdout, everything about it on stderr.
pub(super) fn ended_task(task: &Value) {
    if let Some(result) = task.get("result").filter(|result| !result.is_null()) {
        println!("{}", serde_json::to_string_pretty(result).unwrap_or_default());
    }
    let text = |key: &str| task.get(key).and_then(Value::as_str).unwrap_or("-");
    eprintln!("outcome   {}", text("outcome"));
    if let Some(error) = task.get("error").and_then(Value::as_str) {
        eprintln!("error     {error}");
    }
    if let Some(receipt) = task.get("receipt").filter(|receipt| receipt.is_object()) {
        eprint!("{}", receipt_lines(receipt));
    }
}

/// A receipt as lines of `name value`.
#[must_use]
pub(super) fn receipt_lines(receipt: &Value) -> String {
    let number = |key: &str| receipt.get(key).and_then(Value::as_u64).unwrap_or(0);
    let word = |key: &str| receipt.get(key).and_then(Value::as_str).unwrap_or("-");
    let limit = |key: &str| receipt.get("limits").and_then(|limits| limits.get(key)).and_then(Value::as_u64).unwrap_or(0);
    let mut lines = String::new();
    for (name, value) in [
        ("fuel", format!("{} of {}", grouped(number("fuel_used")), grouped(limit("fuel")))),
        ("memory", format!("{} of {}", bytes(number("memory_peak_bytes")), bytes(limit("memory_bytes")))),
        (
            "time",
            format!("{} ms of {} ms, after {} ms in the queue", number("run_ms"), grouped(limit("wall_ms")), grouped(number("queue_ms"))),
        ),
        (
            "bytes",
            format!(
                "{} in, {} out, {} host calls",
                bytes(number("input_bytes")),
                bytes(number("output_bytes")),
                grouped(number("host_calls"))
            ),
        ),
        ("http", format!("{} requests, {} both ways", grouped(number("http_requests")), bytes(number("http_bytes")))),
        ("children", format!("{} tasks submitted", grouped(number("child_tasks")))),
        ("plugin", format!("{} {} ({:.12})", word("plugin"), word("plugin_version"), word("plugin_digest"))),
    ] {
        // Most tasks have neither.
        if (name == "http" && number("http_requests") == 0) || (name == "children" && number("child_tasks") == 0) {
            continue;
        }
        lines.push_str(&format!("{name:<9} {value}\n"));
    }
    lines
}

/// `1234567` as `1 234 567`.
#[must_use]
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in the largest binary unit that leaves a number of at least one.
#[must_use]
pub(super) fn bytes(count: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / size as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
    }

    #[test]
    fn a_receipt_shows_requests_and_children_where_there_were_any() {
        let without = receipt_lines(&serde_json::json!({"fuel_used": 5}));
        assert!(without.contains("fuel      5 of 0") && !without.contains("http") && !without.contains("children"), "{without}");
        let with = receipt_lines(&serde_json::json!({"http_requests": 2, "http_bytes": 2048, "child_tasks": 1_000}));
        assert!(with.contains("http      2 requests, 2.0 KiB both ways") && with.contains("children  1 000 tasks submitted"), "{with}");
    }
}
