//! Numbers and times as the sentences of findings say them.

use crate::clock::UnixMs;

/// The scorer shows midnight as a date alone.
pub(super) fn time(text: &str) -> Option<UnixMs> {
    UnixMs::parse_rfc3339(text).or_else(|_| UnixMs::parse_rfc3339(&format!("{text}T00:00:00Z"))).ok()
}

/// Buckets begin at whole minutes.
pub(super) fn shown_time(at: UnixMs) -> String {
    let text = at.to_rfc3339();
    text.get(..16).map_or_else(|| text.clone(), |minute| format!("{} UTC", minute.replace('T', " ")))
}

pub(super) fn percent(ratio: f64) -> String {
    format!("{} %", amount(ratio * 100.0))
}

pub(super) fn milliseconds(ms: f64) -> String {
    let ms = ms.max(0.0);
    if ms < 10_000.0 { format!("{} ms", amount(ms)) } else { format!("{} s", amount(ms / 1_000.0)) }
}

/// A length of time, in hours.
pub(super) fn hours(ms: i64) -> String {
    let text = amount(ms as f64 / 3_600_000.0);
    if text == "1" { "1 hour".to_owned() } else { format!("{text} hours") }
}

/// Three digits or so: enough to compare.
pub(super) fn amount(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [milliseconds(12.345), milliseconds(98_765.0), percent(0.9999), amount(123_456.7), hours(9_000_000), hours(3_600_000)],
            ["12.3 ms", "98.8 s", "100 %", "123457", "2.5 hours", "1 hour"]
        );
    }

    #[test]
    fn times_are_read_as_the_scorer_shows_them() {
        assert_eq!(time("2026-11-25"), time("2026-11-25T00:00:00Z"));
        assert_eq!(time("2026-11-25T08:15:00Z").map(shown_time).as_deref(), Some("2026-11-25 08:15 UTC"));
        assert_eq!(time("soon"), None);
    }
}
