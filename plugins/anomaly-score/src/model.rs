//! The causal baseline of one series: level, season, scale and calibration, all from points that came before.

use crate::season::Season;
use crate::stats::{MAD_TO_SIGMA, Window, median};
use crate::tail::Tail;

/// What share of anomalies one looks at.
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
    /// The part of a standardised deviation that counts.
    fn part(self, deviation: f64) -> f64 {
        match self {
            Self::Both => deviation.abs(),
            Self::Up => deviation.max(0.0),
            Self::Down => (-deviation).max(0.0),
        }
    }
}

/// What the model says of one point before it takes it in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judged {
    pub(crate) expected: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) score: f64,
    /// Residual over scale.
    pub(crate) deviation: f64,
}

/// The level is the median of about this many points: three weeks of days.
const LEVEL_POINTS: usize = 21;
/// A seasonal effect is the median of this many periods.
const SEASON_PERIODS: usize = 10;
/// The scale comes from this many residuals.
const SCALE_POINTS: usize = 180;
/// Calibration looks at this many points.
const TAIL_POINTS: usize = 720;
/// Before this many points nothing is scored: two weeks of days, or the first weekends would look like incidents.
const WARM_UP_POINTS: usize = 14;
/// Deviations are kept no larger than this, so that one of them cannot fill a week's mean.
const DEVIATION_MAX: f64 = 12.0;

#[derive(Debug, Clone)]
pub(crate) struct Model {
    direction: Direction,
    season: Option<Season>,
    level: Window,
    slots: Vec<Window>,
    centre: f64,
    since_centred: usize,
    residuals: Window,
    deviations: Window,
    tails: [Tail; 4],
    combined: Tail,
    resolution: f64,
    previous: Option<f64>,
    seen: usize,
}

impl Model {
    pub(crate) fn new(season: Option<Season>, direction: Direction) -> Self {
        let period = season.map_or(1, |s| s.period);
        let level_points =
            if period <= LEVEL_POINTS { period * LEVEL_POINTS.div_ceil(period) } else { (period / 4).clamp(LEVEL_POINTS, 96) };
        Self {
            direction,
            season,
            level: Window::new(level_points),
            slots: vec![Window::new(SEASON_PERIODS); if season.is_some() { period } else { 0 }],
            centre: 0.0,
            since_centred: 0,
            residuals: Window::new(SCALE_POINTS),
            deviations: Window::new(7),
            tails: [
                Tail::of_deviations(TAIL_POINTS),
                Tail::of_deviations(TAIL_POINTS),
                Tail::of_deviations(TAIL_POINTS),
                Tail::with_prior(TAIL_POINTS, (1.05, 0.2)),
            ],
            combined: Tail::with_prior(TAIL_POINTS, (0.9, 0.43)),
            resolution: 0.0,
            previous: None,
            seen: 0,
        }
    }

    /// Judges a point by what came before it, then learns from it.
    pub(crate) fn push(&mut self, index: i64, value: f64, alert: f64) -> Judged {
        let slot = self.season.and_then(|s| usize::try_from(index.rem_euclid(i64::try_from(s.period).ok()?)).ok());
        let effect = slot.map_or(0.0, |slot| self.effect(slot));
        let level = if self.seen == 0 { value } else { self.level.median() };
        let expected = level + effect;
        let residual = value - expected;
        let scale = self.scale();
        let judged = self.judge(expected, residual, scale, alert);
        self.learn(slot, value, level, effect, residual);
        judged
    }

    fn judge(&mut self, expected: f64, residual: f64, scale: f64, alert: f64) -> Judged {
        if self.seen < WARM_UP_POINTS {
            return Judged { expected, low: expected, high: expected, score: 0.0, deviation: 0.0 };
        }
        if scale <= 0.0 {
            // A series that never moved. Its first move is judged by how often it did not move, as no scale can judge it.
            let score = if residual == 0.0 { 0.0 } else { log10_of(self.seen + 1) };
            return Judged { expected, low: expected, high: expected, score, deviation: residual.signum() };
        }
        let deviation = residual / scale;
        self.deviations.push(deviation.clamp(-DEVIATION_MAX, DEVIATION_MAX));
        let direction = self.direction;
        let [single, three, week, unrest] = &mut self.tails;
        let width = single.value_at(alert) * scale;
        let scores = [
            single.score(direction.part(deviation)),
            three.score(direction.part(self.deviations.drift(3))),
            week.score(direction.part(self.deviations.drift(7))),
            unrest.score(if direction == Direction::Both { self.deviations.unrest(7) } else { 0.0 }),
        ];
        let raw = combine(scores);
        let score = self.combined.score(raw);
        Judged { expected, low: expected - width, high: expected + width, score, deviation }
    }

    fn learn(&mut self, slot: Option<usize>, value: f64, level: f64, effect: f64, residual: f64) {
        if self.seen > 0 {
            self.residuals.push(residual);
        }
        if let Some(previous) = self.previous {
            let moved = (value - previous).abs();
            if moved > 0.0 && (self.resolution == 0.0 || moved < self.resolution) {
                self.resolution = moved;
            }
        }
        self.previous = Some(value);
        self.level.push(value - effect);
        if let Some(window) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            window.push(value - level);
        }
        self.since_centred += 1;
        if self.since_centred >= self.slots.len() {
            // The effects of one period add up to nothing: what they have in common belongs to the level.
            self.since_centred = 0;
            self.centre = 0.0;
            let sum: f64 = (0..self.slots.len()).map(|slot| self.effect(slot)).sum();
            self.centre = sum / self.slots.len().max(1) as f64;
        }
        self.seen += 1;
    }

    /// What is expected of a slot above the level, drawn towards nothing while it has been seen only once or twice.
    fn effect(&self, slot: usize) -> f64 {
        let Some(window) = self.slots.get(slot) else { return 0.0 };
        let count = window.len() as f64;
        (window.median() - self.centre) * (count / (count + 0.5))
    }

    /// The usual size of a residual. Zero only if the series never moved.
    fn scale(&self) -> f64 {
        let mut sizes: Vec<f64> = self.residuals.iter().map(f64::abs).collect();
        let mean = sizes.iter().sum::<f64>() / sizes.len().max(1) as f64;
        // Where more than half of the residuals are the same the MAD is zero and says nothing; the mean still does. The smallest
        // move ever seen is the grain of the measurement: less than half of it cannot be told from rounding.
        (median(&mut sizes) * MAD_TO_SIGMA).max(mean * 0.4).max(self.resolution * 0.5)
    }
}

/// One score from those of the parts: the strongest counts in full, the others confirm it.
fn combine(scores: [f64; 4]) -> f64 {
    let strongest = scores.iter().copied().fold(0.0, f64::max);
    let sum: f64 = scores.iter().sum();
    strongest + CONFIRMATION * (sum - strongest)
}

/// How much of what the weaker parts say is added to the strongest.
const CONFIRMATION: f64 = 0.2;

/// log10 of a count, straight between the powers of ten: near enough, and the same bits everywhere.
fn log10_of(count: usize) -> f64 {
    let (mut power, mut exponent) = (1usize, 0.0);
    while count / power >= 10 {
        power *= 10;
        exponent += 1.0;
    }
    exponent + (count - power) as f64 / (power as f64 * 9.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_series_expects_itself_and_its_first_move_scores_by_its_age() {
        let mut model = Model::new(None, Direction::Both);
        for index in 0..99 {
            let judged = model.push(index, 5.0, 3.0);
            assert_eq!((judged.expected, judged.score), (5.0, 0.0));
        }
        assert!((model.push(99, 6.0, 3.0).score - 2.0).abs() < 1e-12);
    }

    #[test]
    fn direction_down_ignores_peaks() {
        for (direction, peaks, dips) in [(Direction::Up, true, false), (Direction::Down, false, true), (Direction::Both, true, true)] {
            let mut model = Model::new(None, direction);
            for index in 0..60 {
                model.push(index, f64::from((index * 7 % 5) as i32), 3.0);
            }
            assert_eq!(model.clone().push(60, 60.0, 3.0).score > 3.0, peaks, "{direction:?}");
            assert_eq!(model.push(60, -60.0, 3.0).score > 3.0, dips, "{direction:?}");
        }
    }

    #[test]
    fn log10_is_exact_at_powers_of_ten() {
        assert_eq!([1, 10, 100, 1000].map(log10_of), [0.0, 1.0, 2.0, 3.0]);
        assert!((log10_of(500) - 500f64.log10()).abs() < 0.3);
    }
}
