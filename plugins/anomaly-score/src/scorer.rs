//! Scores a series point by point (streaming), or with all of it in view (batch).

use crate::model::{Direction, Judged, Model};
use crate::season::{Grid, Season, find};
use crate::series::Point;

/// How a series is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each point by what came before it: the scores of the first rows do not change when more rows follow.
    #[default]
    Streaming,
    /// Each point by the whole series, so that the first weeks are scored as well as the last.
    Batch,
}

/// What a run can be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How the series is looked at.
    pub mode: Mode,
    /// Which deviations count.
    pub direction: Direction,
    /// The score from which a point is anomalous: −log10 of how often a point as unusual is to be expected.
    pub alert_score: f64,
}

/// The score at which alerts begin unless the submitter chooses another.
pub const ALERT_SCORE: f64 = 2.5;

impl Default for Options {
    fn default() -> Self {
        Self { mode: Mode::Streaming, direction: Direction::Both, alert_score: ALERT_SCORE }
    }
}

/// One point and what was found of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// As it was given.
    pub value: f64,
    /// −log10 of a tail probability against the series' own history.
    pub score: f64,
    /// 0 to 100; 50 is the alert boundary.
    pub severity: f64,
    /// What was expected.
    pub expected: f64,
    /// Lower end of the band of what would not alert by itself.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// How far off it is, in units of what is usual.
    pub deviation: f64,
}

/// What was learnt of a series as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learnt {
    /// Period in points and its name, if the series repeats.
    pub season: Option<(usize, &'static str)>,
    /// Strength of the season, 0 to 1.
    pub season_strength: f64,
}

/// The history that is kept for finding seasons.
const HISTORY_MAX: usize = 4096;
/// The first look for a season: two weeks of days.
const FIRST_REVIEW: usize = 14;

/// Scores a series. The same input gives the same bits on every machine.
#[must_use]
pub fn score(points: &[Point], options: &Options) -> (Vec<Scored>, Learnt) {
    let mut scorer = Scorer::new(*options);
    if options.mode == Mode::Batch {
        scorer.study(points);
    }
    let scored = points.iter().map(|point| scorer.push(*point)).collect();
    (scored, scorer.learnt())
}

/// The streaming scorer: remembers what it needs and nothing of what comes.
#[derive(Debug)]
pub struct Scorer {
    options: Options,
    model: Model,
    season: Option<Season>,
    grid: Option<Grid>,
    history: Vec<Point>,
    next_review: usize,
    seen: usize,
}

impl Scorer {
    /// A scorer that has seen nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let model = Model::new(None, options.direction);
        Self { options, model, season: None, grid: None, history: Vec::new(), next_review: FIRST_REVIEW, seen: 0 }
    }

    /// Scores the next point, then learns from it.
    pub fn push(&mut self, point: Point) -> Scored {
        let index = self.grid.map_or(0, |grid| grid.index(point.time_ms));
        let judged = self.model.push(index, point.value, self.options.alert_score);
        self.seen += 1;
        if self.options.mode == Mode::Streaming {
            if self.history.len() >= HISTORY_MAX {
                self.history.drain(..HISTORY_MAX / 2);
            }
            self.history.push(point);
            if self.seen >= self.next_review {
                self.review();
            }
        }
        scored(point, judged, self.options.alert_score)
    }

    /// Looks for a season in what was seen. Reviews become rarer as the series grows, so their cost per point stays the same.
    fn review(&mut self) {
        self.next_review = self.seen + (self.seen / 3).clamp(7, HISTORY_MAX / 2);
        let grid = Grid::fit(&self.history.iter().map(|p| p.time_ms).collect::<Vec<_>>());
        let found = find(grid, &on_grid(grid, &self.history));
        let changed =
            found.map(|s| s.period) != self.season.map(|s| s.period) || self.grid.is_some_and(|old| old != grid && found.is_some());
        self.grid.get_or_insert(grid);
        if changed {
            self.adopt(grid, found);
            let history = std::mem::take(&mut self.history);
            self.replay(&history);
            self.history = history;
        }
    }

    /// Learns from the whole series before scoring it.
    fn study(&mut self, points: &[Point]) {
        let grid = Grid::fit(&points.iter().map(|p| p.time_ms).collect::<Vec<_>>());
        let recent = points.get(points.len().saturating_sub(HISTORY_MAX)..).unwrap_or_default();
        self.adopt(grid, find(grid, &on_grid(grid, recent)));
        // Backwards, so that the model ends in the state that fits the first points best.
        for point in points.iter().rev() {
            self.model.push(grid.index(point.time_ms), point.value, self.options.alert_score);
        }
    }

    fn adopt(&mut self, grid: Grid, season: Option<Season>) {
        self.grid = Some(grid);
        self.season = season;
        self.model = Model::new(season, self.options.direction);
    }

    fn replay(&mut self, points: &[Point]) {
        for (index, value) in self.grid.map(|grid| on_grid(grid, points)).unwrap_or_default() {
            self.model.push(index, value, self.options.alert_score);
        }
    }

    /// What is known of the series so far.
    #[must_use]
    pub fn learnt(&self) -> Learnt {
        Learnt { season: self.season.map(|s| (s.period, s.name)), season_strength: self.season.map_or(0.0, |s| s.echo) }
    }
}

fn on_grid(grid: Grid, points: &[Point]) -> Vec<(i64, f64)> {
    points.iter().map(|point| (grid.index(point.time_ms), point.value)).collect()
}

fn scored(point: Point, judged: Judged, alert: f64) -> Scored {
    let severity = 100.0 * judged.score / (judged.score + alert);
    Scored {
        time_ms: point.time_ms,
        value: point.value,
        score: judged.score,
        severity,
        expected: judged.expected,
        low: judged.low,
        high: judged.high,
        deviation: judged.deviation,
    }
}
