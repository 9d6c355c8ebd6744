//! Level, slope, weekday and day of month, learnt one point at a time: a dynamic linear model (West and Harrison, "Bayesian Forecasting
//! and Dynamic Models", 1997), made robust.
//!
//! Everything is in units of the noise, whose size is learnt beside it. A forecast knows how uncertain it is, so the first weekend
//! of a series, or the first month's end, does not look like an incident. What is far off moves the baseline little: its observation is
//! taken to be as noisy as it is surprising (Masreliez and Martin, "Robust Bayesian estimation for the linear model", 1977).

#![expect(clippy::indexing_slicing, reason = "positions are below the model's size, which is fixed when it is made")]

use crate::model::Heed;
use crate::state::{Reader, StateError, Writer};

/// How fast things change, as variance per step in units of the noise's variance.
const LEVEL_DRIFT: f64 = 0.007;
const SLOPE_DRIFT: f64 = 2e-6;
const CYCLE_DRIFT: f64 = 0.02;
/// How large the effects may be before anything was seen, as variance in the same units.
const LEVEL_PRIOR: f64 = 1e4;
const SLOPE_PRIOR: f64 = 2e-5;
const CYCLE_PRIOR: f64 = 50.0;
/// Small: most days of the month are like the others, and one that is not says so by coming again.
const MONTH_PRIOR: f64 = 0.25;
/// What was off on a day of the month is taken for that day's habit when it is off again by about as much: by no more or less than this
/// share of it.
const HABIT_TOLERANCE: f64 = 0.5;
/// A residual beyond this many standard deviations moves the baseline no more than one at it.
const CLIP: f64 = 2.5;
/// The noise's size is learnt over about this many points.
const NOISE_POINTS: f64 = 90.0;
/// With fewer residuals than this, their size is not believed enough to clip by it.
const CLIP_FROM: f64 = 6.0;
/// A forecast as uncertain as this says nothing of the noise yet.
const VAGUE: f64 = 50.0;
/// Longer gaps than this change nothing more.
const GAP_MAX: f64 = 400.0;
const MONTH_DAYS: usize = 31;
/// The longest cycle: what is known of longer ones would not fit into the state that travels between tasks.
pub(crate) const CYCLE_MAX: usize = 84;

/// Where a point stands in the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of its step.
    pub(crate) index: i64,
    /// Its place in the cycle.
    pub(crate) cycle: usize,
    /// 0 to 30, for series with a point a day.
    pub(crate) month_day: Option<usize>,
}

impl Place {
    /// The same place in a cycle of its own.
    pub(crate) fn in_cycle(self, points: usize) -> Self {
        Self { cycle: usize::try_from(self.index.rem_euclid(points.max(1) as i64)).unwrap_or(0), ..self }
    }

    /// The same place for a model that goes backwards.
    pub(crate) fn mirrored(self) -> Self {
        Self { index: self.index.saturating_neg(), ..self }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Baseline {
    cycle: usize,
    /// Level, slope, cycle, days of the month.
    mean: Vec<f64>,
    /// Row by row; only what is on the diagonal or right of it is kept up to date.
    covariance: Vec<f64>,
    last: Option<i64>,
    squares: f64,
    weight: f64,
    /// The smallest step between two values so far; noise cannot be told below half of it.
    grain: f64,
    previous: Option<f64>,
    seen: u32,
    /// For each day of the month, how far off it was the last time, in standard deviations; zero if it was not far.
    month_off: Vec<f64>,
}

/// What is expected of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Forecast {
    pub(crate) mean: f64,
    /// Zero while nothing ever moved.
    pub(crate) sd: f64,
    /// Variance in units of the noise's.
    spread: f64,
    noise: f64,
    seen: u32,
}

/// Before this many points nothing is unusual.
const WARM_UP_POINTS: u32 = 14;

impl Forecast {
    /// The residual in standard deviations.
    pub(crate) fn z(&self, off: f64) -> f64 {
        if self.seen < WARM_UP_POINTS || off == 0.0 {
            0.0
        } else if self.sd > 0.0 {
            off / self.sd
        } else {
            // A series that never moved: its first move is judged by how often it did not, as no scale can judge it.
            off.signum() * (1.0 + crate::math::log10(f64::from(self.seen)))
        }
    }
}

impl Baseline {
    pub(crate) fn new(cycle: usize, by_month: bool) -> Self {
        let cycle = cycle.clamp(1, CYCLE_MAX);
        let size = 2 + cycle + if by_month { MONTH_DAYS } else { 0 };
        let mut covariance = vec![0.0; size * size];
        let prior = |at: usize| match at {
            0 => LEVEL_PRIOR,
            1 => SLOPE_PRIOR,
            _ if at < 2 + cycle => {
                if cycle > 1 {
                    CYCLE_PRIOR
                } else {
                    0.0
                }
            }
            _ => MONTH_PRIOR,
        };
        for at in 0..size {
            covariance[at * size + at] = prior(at);
        }
        Self {
            cycle,
            mean: vec![0.0; size],
            covariance,
            last: None,
            squares: 0.0,
            weight: 0.0,
            grain: 0.0,
            previous: None,
            seen: 0,
            month_off: vec![0.0; if by_month { MONTH_DAYS } else { 0 }],
        }
    }

    /// A model of the same size that has seen nothing.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.cycle, self.by_month())
    }

    pub(crate) fn cycle(&self) -> usize {
        self.cycle
    }

    /// Whether it knows the days of the month.
    pub(crate) fn by_month(&self) -> bool {
        self.size() > 2 + self.cycle
    }

    /// Keeps level, cycle and month as they are now, and turns the slope round.
    pub(crate) fn turn(&mut self) {
        let size = self.size();
        self.last = None;
        self.previous = None;
        self.mean[1] = -self.mean[1];
        for at in (0..size).filter(|at| *at != 1) {
            let place = upper(1, at, size);
            self.covariance[place] = -self.covariance[place];
        }
    }

    fn size(&self) -> usize {
        self.mean.len()
    }

    /// The entries that speak of this point.
    fn entries(&self, place: Place) -> [Option<usize>; 3] {
        let cycle = 2 + place.cycle.min(self.cycle - 1);
        [Some(0), Some(cycle), place.month_day.map(|day| 2 + self.cycle + day).filter(|at| *at < self.size())]
    }

    /// Moves on to this point's step and says what is expected. `floor` is the least variance the noise can have.
    pub(crate) fn forecast(&mut self, place: Place, floor: f64) -> Forecast {
        self.evolve(place.index);
        let entries = self.entries(place);
        let mean = entries.iter().flatten().map(|at| self.mean[*at]).sum();
        let size = self.size();
        let cross = |row: usize| entries.iter().flatten().map(|at| self.covariance[upper(row, *at, size)]).sum::<f64>();
        let spread = 1.0 + entries.iter().flatten().map(|at| cross(*at)).sum::<f64>();
        let noise = if self.weight > 0.0 { self.squares / self.weight } else { 0.0 };
        let variance = noise.max(if noise > 0.0 { floor.max(self.grain * self.grain / 4.0) } else { 0.0 });
        Forecast { mean, sd: (variance * spread).sqrt(), spread, noise: variance, seen: self.seen }
    }

    fn evolve(&mut self, index: i64) {
        let gap = self.last.map_or(0.0, |last| (index.saturating_sub(last).max(0) as f64).min(GAP_MAX));
        self.last = Some(index);
        if gap == 0.0 {
            return;
        }
        let size = self.size();
        self.mean[0] += gap * self.mean[1];
        // The level takes the slope with it: in its row, and on the diagonal once more for its column.
        self.covariance[0] += gap * self.covariance[1];
        for at in 1..size {
            self.covariance[at] += gap * self.covariance[size + at];
        }
        self.covariance[0] += gap * self.covariance[1];
        self.covariance[0] += LEVEL_DRIFT * gap;
        self.covariance[size + 1] += SLOPE_DRIFT * gap;
        if self.cycle > 1 {
            for at in 2..2 + self.cycle {
                self.covariance[at * size + at] += CYCLE_DRIFT * gap / self.cycle as f64;
            }
        }
    }

    /// Takes the point in, as far as it is believed.
    pub(crate) fn learn(&mut self, place: Place, y: f64, forecast: &Forecast, heed: Heed) {
        if let Some(previous) = self.previous.replace(y) {
            let moved = (y - previous).abs();
            if moved > 0.0 && (self.grain == 0.0 || moved < self.grain) {
                self.grain = moved;
            }
        }
        let first = self.seen == 0;
        if first {
            self.mean[0] = y;
        }
        self.seen = self.seen.saturating_add(1);
        if heed == Heed::Distrust {
            return;
        }
        let off = if first { 0.0 } else { y - forecast.mean };
        let z = if forecast.sd > 0.0 { (off / forecast.sd).abs() } else { 0.0 };
        let clip = self.weight >= CLIP_FROM && heed != Heed::Trust;
        let habit = clip && self.is_habit(place, if forecast.sd > 0.0 { off / forecast.sd } else { 0.0 });
        let belief = if clip && z > CLIP && !habit { CLIP / z } else { 1.0 };
        if forecast.spread < VAGUE || self.seen > 8 {
            let square = off * off / forecast.spread;
            let most = if clip { CLIP * CLIP * forecast.noise } else { f64::INFINITY };
            let keep = 1.0 - 1.0 / NOISE_POINTS;
            self.squares = self.squares * keep + square.min(most);
            self.weight = self.weight * keep + 1.0;
        }
        let mut spread = forecast.spread;
        if let (true, Some(at)) = (habit, self.entries(place)[2]) {
            // As uncertain as it has turned out to be: then most of what is off goes to the day of the month.
            let size = self.size();
            self.covariance[at * size + at] += z * z;
            spread += z * z;
        }
        self.update(place, off, spread - 1.0 + 1.0 / (belief * belief));
    }

    /// Whether this day of the month was as far off the last time. Remembers how far it is this time.
    fn is_habit(&mut self, place: Place, z: f64) -> bool {
        let Some(last) = place.month_day.and_then(|day| self.month_off.get_mut(day)) else { return false };
        let before = std::mem::replace(last, if z.abs() > CLIP { z } else { 0.0 });
        z.abs() > CLIP && before != 0.0 && (z - before).abs() <= HABIT_TOLERANCE * before.abs()
    }

    fn update(&mut self, place: Place, off: f64, spread: f64) {
        let size = self.size();
        let entries = self.entries(place);
        let cross: Vec<f64> =
            (0..size).map(|row| entries.iter().flatten().map(|at| self.covariance[upper(row, *at, size)]).sum::<f64>()).collect();
        let gain = 1.0 / spread;
        for (mean, cross) in self.mean.iter_mut().zip(&cross) {
            *mean += cross * gain * off;
        }
        for (row, across) in cross.iter().enumerate() {
            let across = across * gain;
            for (entry, along) in self.covariance[row * size + row..(row + 1) * size].iter_mut().zip(&cross[row..]) {
                *entry -= across * along;
            }
        }
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.cycle).unwrap_or(1));
        to.u8(u8::from(self.by_month()));
        to.i64(self.last.unwrap_or(i64::MIN));
        to.u32(self.seen);
        [self.squares, self.weight, self.grain, self.previous.unwrap_or(f64::NAN)].into_iter().for_each(|number| to.f64(number));
        self.mean.iter().chain(&self.month_off).for_each(|number| to.f64(*number));
        let size = self.size();
        for row in 0..size {
            self.covariance[row * size + row..(row + 1) * size].iter().for_each(|number| to.f64(*number));
        }
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (cycle, by_month) = (from.count(CYCLE_MAX)?, from.u8()? != 0);
        let mut new = Self::new(cycle, by_month);
        let last = from.i64()?;
        new.last = (last != i64::MIN).then_some(last);
        new.seen = from.u32()?;
        (new.squares, new.weight, new.grain) = (from.f64()?, from.f64()?, from.f64()?);
        new.previous = Some(from.f64()?).filter(|previous| !previous.is_nan());
        let size = new.size();
        for mean in new.mean.iter_mut().chain(&mut new.month_off) {
            *mean = from.f64()?;
        }
        for row in 0..size {
            for column in row..size {
                new.covariance[row * size + column] = from.f64()?;
            }
        }
        Ok(new)
    }
}

/// Where the entry of two rows is kept.
fn upper(one: usize, other: usize, size: usize) -> usize {
    one.min(other) * size + one.max(other)
}
