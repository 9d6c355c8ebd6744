//! One sentence about an episode, with its numbers.

use crate::episode::{Shape, Way};
use crate::scorer::Scored;
use crate::time::show;

/// `stretch` is everything from the first to the last point of the episode.
pub(crate) fn explain(shape: Shape, direction: Way, peak: &Scored, stretch: &[Scored]) -> String {
    let onset = stretch.first().unwrap_or(peak);
    let (when, since) = (show(peak.time_ms), show(onset.time_ms));
    let expected = format!("{} was expected ({} to {})", number(peak.expected), number(peak.low), number(peak.high));
    let value = number(peak.value);
    let change = change(peak.value, peak.expected);
    let lasted = if stretch.len() > 1 { format!("; it lasted {} points", stretch.len()) } else { String::new() };
    let side = if direction == Way::Up { "up" } else { "down" };
    match shape {
        Shape::Spike | Shape::Dip => format!("On {when} the value was {value} where {expected}{change}{lasted}."),
        Shape::Outage => format!("From {since} on there was {value} where {} was expected{lasted}.", number(peak.expected)),
        Shape::LevelShift => {
            let over = if stretch.len() > 1 { format!("; {} points are on it", stretch.len()) } else { String::new() };
            format!("From {since} on the level is {side}: {value} on {when} where {expected}{change}{over}.")
        }
        Shape::TrendChange => {
            format!(
                "Since {since} values move {side} and away from what was expected; the furthest so far was {value} on {when}, {} was expected.",
                number(peak.expected)
            )
        }
        Shape::SeasonBreak => {
            format!(
                "From {since} on usual values come at unusual times: {value} on {when} where {} was expected{lasted}.",
                number(peak.expected)
            )
        }
        Shape::Variance => {
            format!(
                "From {since} on values swing more than usual: {value} on {when} where {} was expected ({} to {}){lasted}.",
                number(peak.expected),
                number(peak.low),
                number(peak.high)
            )
        }
    }
}

fn change(value: f64, expected: f64) -> String {
    if expected == 0.0 {
        return String::new();
    }
    let percent = (value - expected) / expected.abs() * 100.0;
    format!(", {} {}", percent_text(percent.abs()), if percent < 0.0 { "lower" } else { "higher" })
}

fn percent_text(percent: f64) -> String {
    if percent < 1000.0 { format!("{percent:.0} %") } else { format!("{:.0} times", percent / 100.0) }
}

/// Four significant digits or so: enough to compare, short enough to read.
fn number(value: f64) -> String {
    let size = value.abs();
    let digits = if size == 0.0 || size >= 1000.0 {
        0
    } else if size >= 100.0 {
        1
    } else if size >= 1.0 {
        2
    } else if size >= 0.001 {
        5
    } else {
        return format!("{value:.3e}");
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([1234567.8, 412.06, 1.5, 0.01234, 1e-9, 0.0].map(number), ["1234568", "412.1", "1.5", "0.01234", "1.000e-9", "0"]);
        assert_eq!(change(65.0, 100.0), ", 35 % lower");
        assert_eq!(change(5000.0, 100.0), ", 49 times higher");
        assert_eq!(change(5.0, 0.0), "");
    }
}
