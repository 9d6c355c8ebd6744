//! Series with several points a day: streaming, one pass, constant memory.
//!
//! Four questions are asked of each point, each answered as −log10 of how rarely the answer is as bad: how far is the value from every
//! value before; how far is the level (over 12, 24 and 144 points) from every level before; how far is the last hour from the same
//! hour of the last days and of the same weekdays; how far from anything, for its time of day. The answers are added, the calendar's
//! twice. Alerts go through a [`Gate`]. Weights and windows were chosen once, on the development half of the Numenta corpus and on
//! halved and reversed copies of it, where many neighbours of this choice do as well.

mod gate;
mod lens;
mod novelty;
mod phase;
mod slots;
mod tail;

use std::collections::VecDeque;

use crate::kind::Kind;
use crate::math::{interpolate, interpolate_back};
use crate::model::{Heed, Judged};
use crate::series::Point;
use crate::state::{Reader, StateError, Writer};
use crate::stats::quantile;
use gate::Gate;
pub(crate) use lens::Lens;
use novelty::Novelty;
use phase::Phase;
use slots::{Slots, Usual};
use tail::Tail;

/// Windows whose mean is a level, in points.
const LEVELS: [usize; 3] = [12, 24, 144];
/// The level that is compared with the same time of day by nearest neighbour.
const PHASE_LEVEL: usize = 12;
/// The longest window there is.
const RECENT_POINTS: usize = 144;
/// The spread of the series is taken from this many first points.
const SPREAD_POINTS: usize = 400;
/// How much the calendar's answers weigh against one of the others.
const CALENDAR_WEIGHT: f64 = 2.0;
/// The band holds all but one in a hundred values, or more if alerts are to be rarer.
const BAND_SCORE: f64 = 2.0;
/// How far off the edge of the band is, in the unit in which deviations are told: that of a normal standard deviation.
const BAND_DEVIATION: f64 = 2.6;
/// Nothing is further off than this: where nothing ever moved, the first move is infinitely far, and infinities cannot be added up.
const DEVIATION_MAX: f64 = 1e6;
/// The rise and fall of what was unusual lately: a mean that forgets by a factor of e over this many points.
const LATELY_POINTS: f64 = 48.0;
/// From the sum of the answers to −log10 of the share of points that have as large a one: measured on the development half of the
/// Numenta corpus, outside of its labelled windows.
const CALIBRATION: [(f64, f64); 10] =
    [(0.0, 0.0), (1.44, 0.3), (2.0, 0.52), (3.16, 1.0), (4.5, 1.5), (6.0, 2.0), (7.9, 2.52), (9.9, 3.0), (16.0, 3.52), (23.0, 4.0)];

/// Alerts of a series that is known as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retrospect {
    boundary: f64,
}

impl Retrospect {
    pub(crate) fn new(options: &crate::Options) -> Self {
        Self { boundary: interpolate_back(&CALIBRATION, options.alert_score) }
    }

    /// A point by its evidence; `opened_ms` is when the last incident began.
    pub(crate) fn judge(self, point: crate::Scored, opened_ms: &mut Option<i64>) -> crate::Scored {
        let ratio = point.evidence / self.boundary;
        let opens = ratio >= 1.0 && opened_ms.is_none_or(|opened| point.time_ms.saturating_sub(opened) >= gate::SHUT_MS);
        if opens {
            *opened_ms = Some(point.time_ms);
        }
        let severity = 100.0 * ratio / (1.0 + ratio);
        crate::Scored { score: interpolate(&CALIBRATION, point.evidence), severity, opens, ..point }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Intraday {
    hour_points: usize,
    lens: Lens,
    origin: Option<f64>,
    recent: VecDeque<f64>,
    early: Vec<f64>,
    spread: f64,
    value: Novelty,
    levels: [Novelty; 3],
    phase: Phase,
    slots: Slots,
    /// Of the value, the levels, the day, the week, the time of day, and of the value's own distance from what was expected.
    tails: [Tail; 8],
    gate: Gate,
    lately: f64,
}

impl Intraday {
    pub(crate) fn new(step_ms: i64, lens: Lens) -> Self {
        let hour = usize::try_from((3_600_000 + step_ms / 2) / step_ms.max(1)).unwrap_or(usize::MAX);
        Self {
            hour_points: hour.clamp(2, RECENT_POINTS),
            lens,
            origin: None,
            recent: VecDeque::with_capacity(RECENT_POINTS + 1),
            early: Vec::new(),
            spread: 1.0,
            value: Novelty::default(),
            levels: std::array::from_fn(|_| Novelty::default()),
            phase: Phase::default(),
            slots: Slots::new(step_ms),
            tails: std::array::from_fn(|_| Tail::new()),
            gate: Gate::default(),
            lately: 0.0,
        }
    }

    /// The kind of quantity that the series is taken for, if it is taken for one.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.lens.kind()
    }

    /// Judges a point by what came before it, then learns from it. `local_ms` is its time on the clock of the series' time zone.
    pub(crate) fn push(&mut self, point: Point, local_ms: i64, heed: Heed, options: &crate::Options) -> Judged {
        let focus = self.lens.focus(point.total);
        let value = self.lens.forth(focus, point.value);
        let judged = self.judge(point.time_ms, local_ms, value, heed, options);
        if heed != Heed::Ignore {
            self.lens.learn(&point);
        }
        let back = |value: f64| self.lens.back(focus, value);
        Judged { expected: back(judged.expected), low: back(judged.low), high: back(judged.high), ..judged }
    }

    /// The same for a value on the scale of the lens.
    fn judge(&mut self, time_ms: i64, local_ms: i64, value: f64, heed: Heed, options: &crate::Options) -> Judged {
        let origin = *self.origin.get_or_insert(value);
        let (slot, of_day) = self.slots.slot(local_ms);
        let usual = self.slots.usual(slot);
        if heed == Heed::Ignore {
            let expected = usual.week.or(usual.day).map_or(value, |level| level + origin);
            return Judged::quiet(expected);
        }
        let y = value - origin;
        let before = self.mean(self.hour_points);
        self.recent.push_back(y);
        if self.recent.len() > RECENT_POINTS {
            self.recent.pop_front();
        }
        self.learn_spread(y);
        let hour = self.mean(self.hour_points).unwrap_or(y);
        let expected = usual.week.or(usual.day).or(before).unwrap_or(y);
        let sum = self.sum(y, hour, usual, of_day);
        let [.., own] = &mut self.tails;
        let width = own.value_at(options.alert_score.max(BAND_SCORE));
        own.score((y - expected).abs());
        self.slots.put(slot, hour);
        let sum = if options.direction.wants(y - expected) { sum } else { 0.0 };
        self.lately += (sum - self.lately) / LATELY_POINTS;
        let verdict = self.gate.judge(time_ms, sum, interpolate_back(&CALIBRATION, options.alert_score));
        let width = if width.is_finite() { width } else { 0.0 };
        Judged {
            expected: expected + origin,
            low: expected + origin - width,
            high: expected + origin + width,
            score: interpolate(&CALIBRATION, sum),
            deviation: if width > 0.0 { (BAND_DEVIATION * (y - expected) / width).clamp(-DEVIATION_MAX, DEVIATION_MAX) } else { 0.0 },
            lately: self.lately,
            evidence: sum,
            ratio: sum / verdict.boundary,
            opens: verdict.opens,
        }
    }

    fn sum(&mut self, y: f64, hour: f64, usual: Usual, of_day: f64) -> f64 {
        let levels = LEVELS.map(|points| self.mean(points).unwrap_or(y));
        let phase_level = self.mean(PHASE_LEVEL).unwrap_or(y);
        let [value, level_0, level_1, level_2, day, week, phase, _] = &mut self.tails;
        let value = value.score(self.value.distance(y));
        let [net_0, net_1, net_2] = &mut self.levels;
        let level = [(level_0, net_0, levels[0]), (level_1, net_1, levels[1]), (level_2, net_2, levels[2])]
            .map(|(tail, net, level)| tail.score(net.distance(level)));
        // Until there is a day before, an hour is compared with nothing: there is no answer, and nothing to measure later ones by.
        let calendar = usual.day.map_or(0.0, |usual_day| {
            let off_day = (hour - usual_day).abs();
            let off_week = usual.week.map_or(off_day, |usual| (hour - usual).abs());
            (day.score(off_day) + week.score(off_week)) / 2.0
        });
        let phase = phase.score(self.phase.distance(phase_level, of_day, self.spread));
        value + level.iter().sum::<f64>() / 3.0 + CALENDAR_WEIGHT * calendar + phase
    }

    fn mean(&self, points: usize) -> Option<f64> {
        let count = points.min(self.recent.len());
        (count > 0).then(|| self.recent.iter().rev().take(count).sum::<f64>() / count as f64)
    }

    /// The distance between the first and the last tenth of the first values: looked at whenever their number has doubled.
    fn learn_spread(&mut self, y: f64) {
        if self.early.len() >= SPREAD_POINTS {
            return;
        }
        self.early.push(y);
        let count = self.early.len();
        // Or while it never moved: until it does there is no unit.
        let moved_first = y != 0.0 && self.early.iter().take(count - 1).all(|before| *before == 0.0);
        if count.is_power_of_two() || count == SPREAD_POINTS || moved_first {
            let tenths = |values: &[f64]| quantile(&mut values.to_vec(), 0.9) - quantile(&mut values.to_vec(), 0.1);
            let largest = |values: &[f64]| values.iter().map(|y| y.abs()).fold(0.0, f64::max);
            let spread = Some(tenths(&self.early)).filter(|spread| *spread > 0.0).unwrap_or_else(|| largest(&self.early));
            self.spread = if spread > 0.0 { spread } else { 1.0 };
        }
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.hour_points).unwrap_or(u32::MAX));
        self.lens.save(to);
        to.f64(self.origin.unwrap_or(f64::NAN));
        to.f64s(self.recent.iter().copied());
        // Once they have done their work the first points need not travel.
        let done = self.early.len() >= SPREAD_POINTS;
        to.u8(u8::from(done));
        to.f64s(if done { &[] } else { self.early.as_slice() }.iter().copied());
        to.f64(self.spread);
        to.f64(self.lately);
        self.gate.save(to);
        self.value.save(to);
        self.levels.iter().for_each(|net| net.save(to));
        self.phase.save(to);
        self.slots.save(to);
        self.tails.iter().for_each(|tail| tail.save(to));
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut new = Self::new(3_600_000, Lens::Plain);
        new.hour_points = from.count(RECENT_POINTS)?;
        new.lens = Lens::load(from)?;
        new.origin = Some(from.f64()?).filter(|origin| !origin.is_nan());
        new.recent = from.f64s(RECENT_POINTS)?.into();
        let done = from.u8()? != 0;
        new.early = from.f64s(SPREAD_POINTS)?;
        if done {
            new.early = vec![0.0; SPREAD_POINTS];
        }
        (new.spread, new.lately) = (from.f64()?, from.f64()?);
        new.gate = Gate::load(from)?;
        new.value = Novelty::load(from)?;
        for net in &mut new.levels {
            *net = Novelty::load(from)?;
        }
        new.phase = Phase::load(from)?;
        new.slots = Slots::load(from)?;
        for tail in &mut new.tails {
            *tail = Tail::load(from)?;
        }
        Ok(new)
    }
}
