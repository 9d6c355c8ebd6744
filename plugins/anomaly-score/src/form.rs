//! What an incident looks like from outside: against the same times of the cycles before it, which do not move while it lasts. The model's own
//! deviations cannot tell this, as the model gets used to what goes on.
//!
//! Beginning and end are where the sum of what is off, less a drift, is largest: the maximum-likelihood estimate that goes with a CUSUM (Page,
//! "Continuous inspection schemes", Biometrika 1954). Kind and direction follow from what lies between, and from what comes after.

use crate::episode::{Shape, Way};
use crate::fit::fit;
use crate::scorer::Scored;
use crate::stats::{MAD_TO_SIGMA, median};
use crate::time::DAY_MS;

/// Cycles that tell what is usual.
const CYCLES: i64 = 4;
/// A stretch goes on while it is further off than this on average, in standard deviations, ...
const DRIFT: f64 = 1.25;
/// ... and than this share of what its worst points are off.
const DRIFT_SHARE: f64 = 0.35;
/// The same where only the size counts: chance alone is 0.8 off on average.
const DRIFT_UNSIGNED: f64 = 1.75;
/// What is off to the other side weighs less than this share, or it is a swing.
const OTHER_SHARE: f64 = 0.4;
/// This far off the other way, in standard deviations, and half as far as what it is off this way, ...
const OTHER_SIDE: f64 = 3.0;
/// ... so often near an incident, it swings.
const OTHER_SIDE_POINTS: usize = 2;
/// What is left after an incident that came back, at most, as a share of what it was.
const LEFT_SHARE: f64 = 0.35;
/// A change that grows by this factor from its first third to its last is a trend.
const GROWTH: f64 = 1.6;
/// A cycle whose swing follows the usual one by less than this is broken.
const FOLLOWS: f64 = 0.5;
/// What is missing of a swing has to be this many standard errors, or it is too small to see whether it is followed.
const MISSING_MIN: f64 = 4.0;
/// The share of points furthest off that have no say in that: a spike breaks no cycle.
const FURTHEST_SHARE: usize = 8;

/// What an incident is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Form {
    pub(crate) shape: Shape,
    pub(crate) way: Way,
    /// Its first and its last point.
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// A level that was seen as a whole knows its beginning better than the alerts do, if that is so near.
const LEVEL_NEAR: usize = 4;

impl Form {
    /// The same from the beginning of the level nearest to its own.
    pub(crate) fn onset_at_level(self, levels: &[usize]) -> Self {
        let nearest = levels.iter().copied().filter(|at| *at <= self.last).min_by_key(|at| at.abs_diff(self.first));
        Self { first: nearest.filter(|at| at.abs_diff(self.first) <= LEVEL_NEAR).unwrap_or(self.first), ..self }
    }
}

/// The rhythm of a series, by its steps.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    step_ms: i64,
    /// Points in a cycle.
    cycle: usize,
}

impl Rhythm {
    fn of(step_ms: i64) -> Self {
        let step_ms = step_ms.max(1);
        let cycle_ms = if step_ms < DAY_MS / 4 { DAY_MS } else { 7 * DAY_MS };
        let cycle = usize::try_from(cycle_ms / step_ms).unwrap_or(1);
        // Weeks and months have no cycle that a few of them show.
        Self { step_ms, cycle: if cycle < 2 { 7 } else { cycle } }
    }

    /// Which times tell what is usual at a time, if only those count that are `least_ms` back or longer.
    fn back_ms(self, least_ms: i64) -> impl Iterator<Item = i64> {
        let whole = |unit_ms: i64| move |k: i64| (least_ms.max(1).saturating_add(unit_ms - 1) / unit_ms + k).saturating_mul(unit_ms);
        let (cycle_ms, week_ms) = (self.step_ms.saturating_mul(self.cycle as i64), 7 * DAY_MS);
        let by_week = self.step_ms < DAY_MS / 4;
        (0..CYCLES).map(whole(cycle_ms)).chain((0..2).filter(move |_| by_week).map(whole(week_ms)))
    }
}

/// How far off a stretch of a series is from what was usual before a point of it.
struct Outside<'a> {
    scored: &'a [Scored],
    rhythm: Rhythm,
    /// Only what lies before this tells what is usual.
    before: usize,
    /// The first point that is looked at.
    from: usize,
    /// For each of them, how far off in standard deviations.
    off: Vec<f64>,
    usual: Vec<f64>,
    noise: f64,
}

impl<'a> Outside<'a> {
    /// Nothing where too little is known of what came before.
    fn new(scored: &'a [Scored], rhythm: Rhythm, before: usize, to: usize) -> Option<Self> {
        let from = before.saturating_sub(2 * rhythm.cycle);
        let mut new = Self { scored, rhythm, before, from, off: Vec::new(), usual: Vec::new(), noise: 0.0 };
        let usual: Vec<Option<f64>> = (from..to).map(|at| new.usual_at(at)).collect();
        let differences = (from..to).zip(&usual).map(|(at, usual)| Some(scored.get(at)?.value - (*usual)?));
        let differences: Vec<Option<f64>> = differences.collect();
        let mut calm: Vec<f64> = differences.iter().take(before - from).flatten().map(|off| off.abs()).collect();
        if calm.len() < rhythm.cycle.max(4) {
            return None;
        }
        let largest = scored.get(from..before)?.iter().map(|point| point.value.abs()).fold(0.0, f64::max);
        new.noise = (median(&mut calm) * MAD_TO_SIGMA).max(1e-6 * largest);
        if new.noise <= 0.0 {
            return None;
        }
        new.off = differences.into_iter().map(|off| off.map_or(0.0, |off| off / new.noise)).collect();
        new.usual = usual.into_iter().map(|usual| usual.unwrap_or(f64::NAN)).collect();
        Some(new)
    }

    /// The median at the same times of the cycles before.
    fn usual_at(&self, at: usize) -> Option<f64> {
        let time_ms = self.scored.get(at)?.time_ms;
        let limit = self.before.min(at);
        let limit_ms = self.scored.get(limit)?.time_ms;
        let least_ms = time_ms.saturating_sub(limit_ms).max(0).saturating_add(1);
        let mut found = [0.0; 18];
        let mut count = 0;
        let reach = usize::from(self.rhythm.cycle >= 48);
        for back_ms in self.rhythm.back_ms(least_ms) {
            let wanted = time_ms.saturating_sub(back_ms);
            let place = self.scored.partition_point(|point| point.time_ms < wanted.saturating_sub(self.rhythm.step_ms / 2));
            let near = self
                .scored
                .get(place)
                .filter(|point| place < limit && point.time_ms.abs_diff(wanted) <= self.rhythm.step_ms.unsigned_abs() / 2);
            if near.is_none() {
                continue;
            }
            for point in self.scored.get(place.saturating_sub(reach)..(place + reach + 1).min(limit)).unwrap_or_default() {
                if let Some(slot) = found.get_mut(count) {
                    *slot = point.value;
                    count += 1;
                }
            }
        }
        (count > 1).then(|| median(found.get_mut(..count).unwrap_or_default()))
    }

    fn off(&self, at: usize) -> f64 {
        at.checked_sub(self.from).and_then(|at| self.off.get(at)).copied().unwrap_or(0.0)
    }

    fn end(&self) -> usize {
        self.from + self.off.len()
    }

    /// Where a stretch begins that goes on at `first`, by what each point adds.
    fn begin(&self, first: usize, adds: impl Fn(f64) -> f64) -> usize {
        furthest((self.from..first).rev(), first, |at| adds(self.off(at)))
    }

    fn finish(&self, last: usize, adds: impl Fn(f64) -> f64) -> usize {
        furthest(last + 1..self.end(), last, |at| adds(self.off(at)))
    }

    fn middle(&self, range: std::ops::Range<usize>, of: impl Fn(f64) -> f64) -> f64 {
        median(&mut range.map(|at| of(self.off(at))).collect::<Vec<_>>())
    }

    /// Where a straight line through a slope, as far as it rises, reaches what was usual; at most two cycles before it was noticed.
    fn foot(&self, first: usize, last: usize, side: f64) -> usize {
        let third = (last + 1 - first).div_ceil(3);
        let top = self.middle(last + 1 - third..last + 1, |off| side * off);
        let breadth = (self.rhythm.cycle / 24).max(1);
        let level = |at: usize| (at..(at + breadth).min(last + 1)).map(|at| side * self.off(at)).sum::<f64>() / breadth as f64;
        let risen = (first + 2..=last).find(|at| level(*at) >= top).unwrap_or(last).max(first + 1);
        let count = (risen + 1 - first) as f64;
        let middle = (count - 1.0) / 2.0;
        let mean = (first..=risen).map(|at| side * self.off(at) / count).sum::<f64>();
        let (product, square) = (first..=risen).zip(0u32..).fold((0.0, 0.0), |(product, square), (at, x)| {
            let x = f64::from(x) - middle;
            (product + x * side * self.off(at), square + x * x)
        });
        // The place, counted from the first point, at which the line is at nothing.
        let zero = if product > 0.0 { middle - mean * square / product } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by two cycles")]
        let back = (-zero).clamp(0.0, (2 * self.rhythm.cycle) as f64) as usize;
        first.saturating_sub(back)
    }

    /// Whether the swing of a stretch is not the usual one. No stretch shorter than a whole cycle breaks one.
    fn breaks(&self, first: usize, last: usize) -> bool {
        let range = first..(last + 1).max(first + self.rhythm.cycle);
        if range.end > self.end() {
            return false;
        }
        let pair = |at: usize| Some((self.scored.get(at)?.value, *self.usual.get(at.checked_sub(self.from)?)?));
        let mut pairs: Vec<(f64, f64)> = range.filter_map(pair).filter(|pair| !pair.1.is_nan()).collect();
        pairs.sort_by(|one, other| (one.0 - one.1).abs().total_cmp(&(other.0 - other.1).abs()));
        pairs.truncate(pairs.len() - pairs.len().div_ceil(FURTHEST_SHARE));
        let count = pairs.len().max(1) as f64;
        let (mean, mean_usual) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0 / count, sum.1 + pair.1 / count));
        let (product, square) = pairs.iter().fold((0.0, 0.0), |sum, (value, usual)| {
            (sum.0 + (value - mean) * (usual - mean_usual), sum.1 + (usual - mean_usual) * (usual - mean_usual))
        });
        let swing = (square / count).sqrt() / self.noise;
        // A whole new level is not a broken cycle.
        let level = (mean - mean_usual).abs() / self.noise;
        // How far the usual swing is followed: one as always, zero not at all.
        let follows = product / square.max(f64::MIN_POSITIVE);
        follows < FOLLOWS && (1.0 - follows) * swing * count.sqrt() >= MISSING_MIN && level < swing
    }
}

/// A stretch to one side.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    weight: f64,
    first: usize,
    last: usize,
}

/// The stretch within a range whose sum is largest.
fn heaviest(range: std::ops::Range<usize>, adds: impl Fn(usize) -> f64) -> Stretch {
    let mut best = Stretch { weight: 0.0, first: range.start, last: range.start };
    let mut here = best;
    for at in range {
        if here.weight <= 0.0 {
            here = Stretch { weight: 0.0, first: at, last: at };
        }
        here = Stretch { weight: here.weight + adds(at), last: at, ..here };
        if here.weight > best.weight {
            best = here;
        }
    }
    best
}

/// Goes on from place to place and gives the one at which the sum so far was largest, or `here` if it never was positive.
fn furthest(places: impl Iterator<Item = usize>, here: usize, adds: impl Fn(usize) -> f64) -> usize {
    let (mut sum, mut best, mut found) = (0.0, 0.0, here);
    for at in places {
        sum += adds(at);
        if sum > best {
            (best, found) = (sum, at);
        }
    }
    found
}

/// What the points from `first` to `last`, of which those in `core` are off, look like. Nothing where too little came before.
pub(crate) fn form(scored: &[Scored], core: &[usize], step_ms: i64) -> Option<Form> {
    let (first, last) = (*core.first()?, *core.last()?);
    let rhythm = Rhythm::of(step_ms);
    // A few points a week at most have no course of the week, and denser series too many stretches to try.
    if (DAY_MS / 4..=2 * DAY_MS).contains(&rhythm.step_ms)
        && let Some(form) = fit(scored, first, last, step_ms, rhythm.cycle)
    {
        return Some(form);
    }
    let to = (last + 1 + 2 * rhythm.cycle).min(scored.len());
    let near = Outside::new(scored, rhythm, first, to)?;
    let side_of = |side: f64| heaviest(first..last + 1, |at| side * near.off(at) - DRIFT);
    let (up, down) = (side_of(1.0), side_of(-1.0));
    let (side, main, other) = if up.weight >= down.weight { (1.0, up, down) } else { (-1.0, down, up) };
    let height = near.middle(main.first..main.last + 1, |off| side * off);
    let reach = (rhythm.cycle / 2).max(3);
    let around = first.saturating_sub(reach)..(last + 1 + reach).min(near.end());
    let others = around.filter(|at| near.off(*at) * side <= -OTHER_SIDE.max(height / 2.0)).count();
    let one_sided = main.weight > 0.0 && other.weight < OTHER_SHARE * main.weight && others < OTHER_SIDE_POINTS;
    let unsigned = |off: f64| off.abs() - DRIFT_UNSIGNED;
    let drift = DRIFT.max(DRIFT_SHARE * height);
    let toward = |off: f64| side * off - drift;
    if near.breaks(first, last) {
        return Some(Form {
            shape: Shape::SeasonBreak,
            way: Way::Unsteady,
            first: near.begin(first, unsigned),
            last: near.finish(last, unsigned),
        });
    }
    if !one_sided {
        return Some(Form {
            shape: Shape::Variance,
            way: Way::Unsteady,
            first: near.begin(first, unsigned),
            last: near.finish(last, unsigned),
        });
    }
    // What began before it was noticed was part of what is usual; now it is not.
    let begin = near.begin(main.first, toward);
    let outside = Outside::new(scored, rhythm, begin, to).unwrap_or(near);
    let stretch = outside.finish(main.last, toward);
    let length = stretch + 1 - begin;
    let height = outside.middle(begin..stretch + 1, |off| side * off);
    let after = stretch + 1..(stretch + 1 + rhythm.cycle).min(outside.end());
    let seen = after.len() >= (rhythm.cycle / 7).max(2);
    let back = seen && outside.middle(after, |off| side * off) <= LEFT_SHARE * height;
    let third = length.div_ceil(3);
    let (start, end) =
        (outside.middle(begin..begin + third, |off| side * off), outside.middle(stretch + 1 - third..stretch + 1, |off| side * off));
    let grows = length > rhythm.cycle / 2 && end > GROWTH * start;
    let short = if seen { back && length <= rhythm.cycle / 2 } else { length <= (rhythm.cycle / 12).max(2) };
    let way = if side > 0.0 { Way::Up } else { Way::Down };
    let shape = match way {
        Way::Up if short => Shape::Spike,
        _ if short => Shape::Dip,
        _ if grows => Shape::TrendChange,
        _ => Shape::LevelShift,
    };
    let first = if shape == Shape::TrendChange { outside.foot(begin, stretch, side) } else { begin };
    Some(Form { shape, way, first, last: stretch })
}

#[cfg(test)]
mod tests {
    use crate::dice::noise;
    use crate::{Options, Point, Shape, episodes, score};

    #[test]
    fn a_day_upside_down_breaks_the_season_and_a_noisy_one_does_not() {
        // A wave of one and a half standard deviations to each side, and two days on which it is upside down, or the noise is larger.
        let found = |change: &dyn Fn(i64) -> f64| {
            let hour = |at: i64| Point::new(at * 3_600_000, 100.0 + change(at));
            let found = episodes(&score(&(0..24 * 34).map(hour).collect::<Vec<_>>(), &Options::default()).0);
            let worst = found.into_iter().filter(|episode| episode.onset.as_str() >= "1970-01-30");
            worst.max_by(|one, other| one.severity.total_cmp(&other.severity)).map(|episode| episode.shape)
        };
        let wave = |at: i64| 3.0 * libm::sin(std::f64::consts::TAU * (at % 24) as f64 / 24.0);
        let later = |at: i64| (24 * 30..24 * 32).contains(&at);
        assert_eq!(found(&|at| wave(if later(at) { at + 12 } else { at }) + noise(at)), Some(Shape::SeasonBreak));
        assert_eq!(found(&|at| wave(at) + if later(at) { 5.0 } else { 1.0 } * noise(at)), Some(Shape::Variance));
    }
}
