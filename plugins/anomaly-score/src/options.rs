//! What a run can be told about a series.

use crate::kind::Kind;
use crate::model::Direction;
use crate::zone::Zone;

/// How a series is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each point by what came before it: the scores of the first rows do not change when more rows follow.
    #[default]
    Streaming,
    /// Each point by the whole series, what came before it and what came after.
    Batch,
}

/// The alert boundary at the usual sensitivity: three points in a hundred of an uneventful series are as unusual, which makes about four
/// incidents a year of daily points, as unusual points come together.
pub const ALERT_SCORE: f64 = 1.5;

/// Something that is known about a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// First moment, in milliseconds since 1970 UTC.
    pub from_ms: i64,
    /// First moment after it.
    pub to_ms: i64,
    /// What is known.
    pub note: Note,
}

/// What is known about a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Neither scored nor learnt from.
    Ignore,
    /// A holiday or a planned event. Not scored the first time; what it did then is expected the next time its name comes up.
    Event(String),
    /// Somebody looked and says: an incident. It is scored, and nothing is learnt from it.
    Incident,
    /// Somebody looked and says: normal. It is learnt from in full, and as much alone will not alert again.
    Normal,
}

/// What a run can be told. The default is what the benchmarks are run with.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How the series is looked at.
    pub mode: Mode,
    /// Which deviations count.
    pub direction: Direction,
    /// The score from which a point alerts; [`ALERT_SCORE`] unless told otherwise. Each one more asks for ten times as rare.
    pub alert_score: f64,
    /// What kind of quantity it is; by default told by the first values.
    pub kind: Option<Kind>,
    /// A cycle of this many points instead of the calendar's, for series with a point a day or fewer.
    pub season_points: Option<usize>,
    /// The time zone of the people behind the numbers.
    pub zone: Zone,
    /// What is known about stretches of time.
    pub spans: Vec<Span>,
    /// A deviation smaller than this is no alert, whatever its score.
    pub min_effect: f64,
    /// The same, as a share of what was expected.
    pub min_effect_share: f64,
    /// Where less than this was expected (of a ratio: where its denominator is less), nothing is an alert.
    pub min_volume: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            direction: Direction::default(),
            alert_score: ALERT_SCORE,
            kind: None,
            season_points: None,
            zone: Zone::default(),
            spans: Vec::new(),
            min_effect: 0.0,
            min_effect_share: 0.0,
            min_volume: 0.0,
        }
    }
}

impl Options {
    /// What is known of a moment; of several notes the first.
    pub(crate) fn note(&self, time_ms: i64) -> Option<&Note> {
        self.spans.iter().find(|span| (span.from_ms..span.to_ms).contains(&time_ms)).map(|span| &span.note)
    }
}
