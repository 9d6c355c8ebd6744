//! What the scorer is asked and what it answers, as far as it is needed here.

use serde::{Deserialize, Serialize};

/// The typed kinds of a series, in the words of `anomaly.score`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A share of cases; each point carries how many cases.
    Ratio,
    /// A length of time, an amount of work or of money.
    Duration,
}

/// Which deviations count, in the words of `anomaly.score`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    Both,
    Up,
    Down,
}

/// One point: its time in Unix milliseconds, its value, and of a ratio its denominator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Point(pub(super) i64, pub(super) Option<f64>, pub(super) Option<f64>);

/// A series to be scored.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) points: Vec<Point>,
    pub(super) kind: Kind,
    pub(super) direction: Direction,
}

/// The payload of `anomaly.score`.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    series: &'a [Point],
    kind: Kind,
    direction: Direction,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert_score: Option<f64>,
    /// What has begun and not ended is not among the points.
    last_point_partial: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(asked: &'a Asked, alert_score: Option<f64>) -> Self {
        let Asked { points, kind, direction } = asked;
        Self { series: points, kind: *kind, direction: *direction, alert_score, last_point_partial: false }
    }
}

/// The result of `anomaly.score`.
#[derive(Debug, Deserialize)]
pub(super) struct Scored {
    pub(super) episodes: Vec<Episode>,
}

impl Scored {
    /// The same for values to which so much was added before they were scored.
    pub(super) fn without(mut self, grain: f64) -> Self {
        for episode in &mut self.episodes {
            for number in [&mut episode.value, &mut episode.expected, &mut episode.low, &mut episode.high] {
                *number -= grain;
            }
        }
        self
    }
}

/// An episode. Value, expectation and band are those of its worst point.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Episode {
    pub(super) onset: String,
    pub(super) peak: String,
    pub(super) end: String,
    pub(super) ongoing: bool,
    #[serde(rename = "type")]
    pub(super) shape: String,
    pub(super) severity: f64,
    pub(super) value: f64,
    pub(super) expected: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A severity as findings have it.
pub(super) fn severity(episode: &Episode) -> u8 {
    // A saturating cast, after which it is bounded above too.
    (episode.severity.round() as u8).min(100)
}
