//! What the two models of a series (by the calendar, and within the day) have in common.

/// Which deviations count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Values that are too high or too low.
    #[default]
    Both,
    /// Only values that are too high.
    Up,
    /// Only values that are too low.
    Down,
}

impl Direction {
    pub(crate) fn wants(self, deviation: f64) -> bool {
        match self {
            Self::Both => true,
            Self::Up => deviation > 0.0,
            Self::Down => deviation < 0.0,
        }
    }
}

/// What is to be done with a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Heed {
    /// Score it and learn from it, warily.
    #[default]
    Normal,
    /// Somebody said that this is normal: learn from it in full.
    Trust,
    /// Somebody said that this was an incident: score it, learn nothing.
    Distrust,
    /// Neither score it nor learn from it.
    Ignore,
}

impl Heed {
    /// As it is written into a state.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The one of a code.
    pub(crate) fn of_code(code: u8) -> Option<Self> {
        [Self::Normal, Self::Trust, Self::Distrust, Self::Ignore].into_iter().find(|heed| heed.code() == code)
    }
}

/// What a model says of one point before it takes it in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judged {
    pub(crate) expected: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// −log10 of how rare it is.
    pub(crate) score: f64,
    /// How far off, in units of what is usual; signed.
    pub(crate) deviation: f64,
    /// A running mean of what was unusual lately.
    pub(crate) lately: f64,
    /// How unusual, in the model's own unit.
    pub(crate) evidence: f64,
    /// How far towards the alert boundary, 1 is at it.
    pub(crate) ratio: f64,
    /// Whether an incident begins here.
    pub(crate) opens: bool,
}

impl Judged {
    /// Nothing to say but what was expected.
    pub(crate) fn quiet(expected: f64) -> Self {
        Self { expected, low: expected, high: expected, score: 0.0, deviation: 0.0, lately: 0.0, evidence: 0.0, ratio: 0.0, opens: false }
    }
}
