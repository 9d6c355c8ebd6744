//! From points to episodes: one entry per incident, with its beginning, its worst moment, its end, and a sentence that says why.

use serde::Serialize;

use crate::scorer::Scored;
use crate::time::show;

/// A pause in the alerts shorter than this many points does not end an episode.
const GAP_POINTS: usize = 3;

/// Which way an episode went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Above what was expected.
    Up,
    /// Below it.
    Down,
    /// More restless than usual, without a direction.
    Unsteady,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Episode {
    /// When the first anomalous point was.
    pub onset: String,
    /// When the worst point was.
    pub peak: String,
    /// When the last anomalous point was.
    pub end: String,
    /// Whether the series ends inside it.
    pub ongoing: bool,
    /// Anomalous points in it.
    pub points: usize,
    /// Which way it went.
    pub direction: Way,
    /// The worst score.
    pub score: f64,
    /// The worst severity.
    pub severity: f64,
    /// One sentence.
    pub explanation: String,
}

/// The episodes of a scored series, in the order of time.
#[must_use]
pub fn episodes(scored: &[Scored], alert_score: f64) -> Vec<Episode> {
    let alerts: Vec<usize> = scored.iter().enumerate().filter(|(_, point)| point.score >= alert_score).map(|(at, _)| at).collect();
    alerts.chunk_by(|earlier, later| later - earlier <= GAP_POINTS).filter_map(|run| describe(scored, run)).collect()
}

fn describe(scored: &[Scored], run: &[usize]) -> Option<Episode> {
    let at = |index: usize| scored.get(index);
    let (first, last) = (at(*run.first()?)?, at(*run.last()?)?);
    // The earliest of equally bad points: the sentence should lead to where it began.
    let peak = run.iter().filter_map(|index| at(*index)).rev().max_by(|a, b| a.score.total_cmp(&b.score))?;
    let whole = scored.get(*run.first()?..=*run.last()?)?;
    let direction = way(peak, whole);
    Some(Episode {
        onset: show(first.time_ms),
        peak: show(peak.time_ms),
        end: show(last.time_ms),
        ongoing: run.last()? + GAP_POINTS >= scored.len(),
        points: run.len(),
        direction,
        score: peak.score,
        severity: peak.severity,
        explanation: explain(peak, direction, whole.len()),
    })
}

/// A point outside its band has a direction of its own; one inside it alerts because of its neighbours, so they decide.
fn way(peak: &Scored, whole: &[Scored]) -> Way {
    if peak.value > peak.high {
        return Way::Up;
    }
    if peak.value < peak.low {
        return Way::Down;
    }
    let (sum, size) = whole.iter().fold((0.0, 0.0), |(sum, size), p| (sum + p.deviation, size + p.deviation.abs()));
    if sum > size * 0.5 {
        Way::Up
    } else if sum < size * -0.5 {
        Way::Down
    } else {
        Way::Unsteady
    }
}

fn explain(peak: &Scored, direction: Way, points: usize) -> String {
    let when = show(peak.time_ms);
    let (value, expected, low, high) = (number(peak.value), number(peak.expected), number(peak.low), number(peak.high));
    let change = if peak.expected == 0.0 {
        String::new()
    } else {
        let percent = (peak.value - peak.expected) / peak.expected.abs() * 100.0;
        format!(", {} {}", percent_text(percent.abs()), if percent < 0.0 { "lower" } else { "higher" })
    };
    let lasted = if points > 1 { format!("; it lasted {points} points") } else { String::new() };
    match direction {
        Way::Unsteady => {
            format!("Around {when} the values swing more than usual: {value} where {expected} was expected ({low} to {high}){lasted}.")
        }
        Way::Up | Way::Down if (peak.low..=peak.high).contains(&peak.value) => {
            let side = if direction == Way::Up { "above" } else { "below" };
            format!(
                "Up to {when} several values in a row lie {side} what was expected, the last {value} where {expected} was expected{change}{lasted}."
            )
        }
        Way::Up | Way::Down => format!("On {when} the value was {value} where {expected} was expected ({low} to {high}){change}{lasted}."),
    }
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

    fn point(day: i64, value: f64, score: f64) -> Scored {
        let deviation = value - 100.0;
        Scored { time_ms: day * 86_400_000, value, score, severity: score, expected: 100.0, low: 90.0, high: 110.0, deviation }
    }

    #[test]
    fn alerts_close_together_are_one_episode() {
        let scores = [0.0, 5.0, 0.0, 7.0, 4.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0];
        let scored: Vec<_> = scores.iter().enumerate().map(|(day, score)| point(day as i64, 100.0 - score * 5.0, *score)).collect();
        let found = episodes(&scored, 3.0);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].onset.as_str(), found[0].peak.as_str(), found[0].end.as_str()), ("1970-01-02", "1970-01-04", "1970-01-05"));
        assert_eq!((found[0].points, found[0].direction, found[0].ongoing), (3, Way::Down, false));
        assert_eq!(
            found[0].explanation,
            "On 1970-01-04 the value was 65 where 100 was expected (90 to 110), 35 % lower; it lasted 4 points."
        );
    }

    #[test]
    fn the_last_episode_is_ongoing_and_a_drift_has_a_direction() {
        let drift: Vec<_> = (0..4).map(|day| point(day, 105.0, 4.0)).collect();
        let found = episodes(&drift, 3.0);
        assert!(found[0].ongoing && found[0].direction == Way::Up);
        assert!(found[0].explanation.contains("several values in a row lie above"));
        let unrest: Vec<_> = (0..4).map(|day| point(day, if day % 2 == 0 { 109.0 } else { 91.0 }, 4.0)).collect();
        assert_eq!(episodes(&unrest, 3.0)[0].direction, Way::Unsteady);
        assert!(episodes(&[], 3.0).is_empty());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([1234567.8, 412.06, 1.5, 0.01234, 1e-9, 0.0].map(number), ["1234568", "412.1", "1.5", "0.01234", "1.000e-9", "0"]);
    }
}
