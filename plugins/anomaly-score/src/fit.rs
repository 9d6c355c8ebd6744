//! Which of the known changes explains best what happened around an alert, for series with a point a day or so: a stretch on another level, a
//! slope, a swing, or another course of the week. Each is fitted to every stretch that the alert could be part of, by least squares in
//! units of the noise, and the most likely one is taken (minus twice its log-likelihood; all of them have about as many parameters).
//!
//! Sums up to each point make every fit a few operations, so that all stretches can be tried.

use crate::episode::{Shape, Way};
use crate::form::Form;
use crate::kind::{Kind, Scale};
use crate::scorer::Scored;
use crate::stats::{MAD_TO_SIGMA, median};

/// Cycles before an alert that are looked at.
const BEFORE_CYCLES: usize = 6;
/// Cycles after it.
const AFTER_CYCLES: usize = 2;
/// What alerts for longer than this is cut there.
const LENGTH_CYCLES: usize = 8;
/// A change began at most this many cycles before it was noticed.
const UNNOTICED_CYCLES: usize = 3;
/// The level before is the mean over at most this many cycles.
const LEVEL_CYCLES: usize = 4;
/// Points that the level before needs.
const LEVEL_POINTS: usize = 7;
/// No point of the level before, or outside of a change, has more of a say than one this far off, in standard deviations.
const CLIP_OUTSIDE: f64 = 4.0;
/// The same within a change.
const CLIP_INSIDE: f64 = 12.0;
/// Cycles before an alert from which on steps between neighbours say how large the noise is.
const STEPS_CYCLES: usize = 3;
/// A slope, and another course of the week, are not told from fewer points.
const SLOPE_POINTS: usize = 8;
const COURSE_POINTS: usize = 5;
/// What is left of a level without its furthest point explains at least this much, in the same unit.
const HOLDS: f64 = 4.0;
/// Within a swing, what is further off than this, in standard deviations, ...
const OFF: f64 = 1.0;
/// ... is off to each side by this share of what it is off to the other, at least.
const OTHER_SHARE: f64 = 0.2;
/// Swings of fewer points are spikes.
const SWING_POINTS: usize = 3;
/// A course that follows the usual one by less than this is another one, ...
const FOLLOWS: f64 = 0.5;
/// ... if the usual one has more than this variance, in units of the noise's.
const COURSE_VARIANCE_MIN: f64 = 4.0;
/// What an explanation has to be better by, in minus twice the logarithm of its likelihood, because it can explain more: that it comes to an
/// end, ...
const RETURNS: f64 = 2.0;
/// ... that it is a slope, ...
const SLOPE: f64 = 4.0;
/// ... and that its end stays, ...
const STAYS: f64 = 4.0;
/// ... that it is a swing, ...
const SWING: f64 = 4.0;
/// ... another course of the week, ...
const COURSE: f64 = 8.0;
/// ... and for each point that it went on unnoticed. A slope begins small.
const UNNOTICED: f64 = 2.0;
const UNNOTICED_SLOPE: f64 = 0.2;

/// Sums of the powers and products that the fits need, up to each point.
struct Sums {
    all: Vec<[f64; TERMS]>,
}

/// The value clipped for outside of a change, and its square; clipped for inside, its square, and its product with its place; that with the
/// course of the week, and its square; the course, its square, and its product with the value.
const TERMS: usize = 10;

impl Sums {
    fn of(values: &[f64], course: &[f64], middle: f64, alerts: &std::ops::Range<usize>) -> Self {
        // Usual values at unusual times are off by this at most.
        let range = course.iter().copied().fold(0.0, f64::max) - course.iter().copied().fold(0.0, f64::min);
        let mut all = vec![[0.0; TERMS]];
        let mut sum = [0.0; TERMS];
        for ((value, course), place) in values.iter().zip(course).zip(0u32..) {
            let off = value - middle;
            let inside = off.clamp(-CLIP_INSIDE, CLIP_INSIDE);
            // It is the alerts that have to be explained.
            let outside = if alerts.contains(&(place as usize)) { inside } else { off.clamp(-CLIP_OUTSIDE, CLIP_OUTSIDE) };
            let whole = off.clamp(-CLIP_INSIDE - range, CLIP_INSIDE + range) + course;
            let terms = [
                outside,
                outside * outside,
                inside,
                inside * inside,
                inside * f64::from(place),
                whole,
                whole * whole,
                *course,
                course * course,
                course * whole,
            ];
            for (sum, term) in sum.iter_mut().zip(terms) {
                *sum += term;
            }
            all.push(sum);
        }
        Self { all }
    }

    fn between(&self, from: usize, to: usize) -> [f64; TERMS] {
        let (Some(high), Some(low)) = (self.all.get(to), self.all.get(from)) else { return [0.0; TERMS] };
        std::array::from_fn(|at| high.get(at).unwrap_or(&0.0) - low.get(at).unwrap_or(&0.0))
    }

    /// What is left of the squares outside of a change, about a level.
    fn left(&self, from: usize, to: usize, level: f64) -> f64 {
        let [sum, square, ..] = self.between(from, to);
        square - 2.0 * level * sum + (to - from) as f64 * level * level
    }
}

/// One explanation.
#[derive(Debug, Clone, Copy)]
struct Fit {
    cost: f64,
    shape: Shape,
    /// How far off its stretch is, at the end of a slope.
    height: f64,
    /// The level before it.
    level: f64,
    first: usize,
    /// One past the last.
    end: usize,
}

/// What the points from `first` to `last`, which hold the alerts, are part of. Nothing where too little came before.
pub(crate) fn fit(scored: &[Scored], first: usize, last: usize, step_ms: i64, cycle: usize) -> Option<Form> {
    let from = first.saturating_sub(BEFORE_CYCLES * cycle);
    let to = (last + 1 + AFTER_CYCLES * cycle).min(scored.len()).min(first + LENGTH_CYCLES * cycle);
    let window = scored.get(from..to)?;
    let (values, course) = even(window, first - from, step_ms, cycle)?;
    let early = (first - from).saturating_sub(UNNOTICED_CYCLES * cycle).max((2 * cycle).min(first - from));
    if early < LEVEL_POINTS {
        return None;
    }
    let middle = median(&mut values.get(..first - from)?.to_vec());
    let alerts = first - from..last.min(to - 1) - from + 1;
    let sums = Sums::of(&values, &course, middle, &alerts);
    let ways = ways(window);
    let best = soundest(&values, &course, middle, |shapes| best(&sums, &ways, early, alerts.clone(), cycle, shapes))?;
    let reaches_end = best.end == values.len();
    let goes_on = reaches_end && to < scored.len();
    let stretch = if goes_on { last.max(from + best.end - 1) } else { from + best.end - 1 };
    let length = best.end - best.first;
    let way = if best.height > 0.0 { Way::Up } else { Way::Down };
    let short = if reaches_end { length <= 2 } else { length < cycle };
    let (shape, way) = match (best.shape, way) {
        (Shape::LevelShift, Way::Up) if short => (Shape::Spike, way),
        (Shape::LevelShift, _) if short => (Shape::Dip, way),
        (Shape::LevelShift | Shape::TrendChange, _) => (best.shape, way),
        (shape, _) => (shape, Way::Unsteady),
    };
    Some(Form { shape, way, first: from + best.first, last: stretch })
}

/// The values without their course of the week, and that course; both in units of the noise.
fn even(window: &[Scored], before: usize, step_ms: i64, cycle: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let calm = window.get(..before)?;
    let scale = scale(&calm.iter().map(|point| point.value).collect::<Vec<_>>());
    let values: Vec<f64> = window.iter().map(|point| scale.forth(point.value)).collect();
    let known = |point: &Scored| point.high > point.low;
    // What was expected says it with less noise than what came.
    let smooth: Vec<f64> = calm.iter().map(|point| scale.forth(if known(point) { point.expected } else { point.value })).collect();
    let mut slots = vec![Vec::new(); cycle];
    let slot = |point: &Scored| {
        usize::try_from((point.time_ms.saturating_add(step_ms / 2)).div_euclid(step_ms).rem_euclid(cycle as i64)).unwrap_or(0)
    };
    for (around, point) in smooth.windows(cycle).zip(calm.get(cycle / 2..).unwrap_or_default()) {
        let mean = around.iter().sum::<f64>() / cycle as f64;
        let own = around.get(cycle / 2).copied().unwrap_or(mean);
        if let Some(slot) = slots.get_mut(slot(point)) {
            slot.push(own - mean);
        }
    }
    let effects: Vec<f64> = slots.iter_mut().map(|slot| median(slot)).collect();
    let course: Vec<f64> = window.iter().map(|point| effects.get(slot(point)).copied().unwrap_or(0.0)).collect();
    let mut off: Vec<f64> =
        calm.iter().filter(|point| known(point)).map(|point| (scale.forth(point.value) - scale.forth(point.expected)).abs()).collect();
    let even: Vec<f64> = values.iter().zip(&course).take(before).map(|(value, course)| value - course).collect();
    if off.len() < LEVEL_POINTS {
        let middle = median(&mut even.clone());
        off = even.iter().map(|value| (value - middle).abs()).collect();
    }
    // What the model knows of other cycles than the week's is still in the values, and is no swing. Of few steps half may be steps into
    // and out of something else.
    let mut steps: Vec<f64> = even.windows(2).filter_map(|pair| Some((pair.last()? - pair.first()?).abs())).collect();
    let rough = if steps.len() < STEPS_CYCLES * cycle { 0.0 } else { median(&mut steps) / f64::sqrt(2.0) };
    let noise = median(&mut off).max(rough) * MAD_TO_SIGMA;
    let largest = values.iter().take(before).map(|value| value.abs()).fold(0.0, f64::max);
    let noise = noise.max(1e-6 * largest);
    if noise <= 0.0 {
        return None;
    }
    let course: Vec<f64> = course.iter().map(|course| course / noise).collect();
    let values = values.iter().zip(&course).map(|(value, course)| value / noise - course).collect();
    Some((values, course))
}

/// The scale on which a change is the same at every level: the logarithm for what is never negative, unless it is a share.
fn scale(values: &[f64]) -> Scale {
    match Kind::guess(values) {
        Kind::Count => Kind::Duration.scale(values),
        kind => kind.scale(values),
    }
}

/// Sums of the model's own deviations up to each point: which way it says that things went.
fn ways(window: &[Scored]) -> Vec<f64> {
    let mut sum = 0.0;
    let sums = window.iter().map(|point| {
        sum += point.deviation.clamp(-CLIP_INSIDE, CLIP_INSIDE);
        sum
    });
    std::iter::once(0.0).chain(sums).collect()
}

/// Everything that a fit of one stretch needs.
struct Stretch<'a> {
    sums: &'a Sums,
    first: usize,
    end: usize,
    /// The level before it.
    level: f64,
    /// What is left outside of it.
    outside: f64,
}

impl Stretch<'_> {
    /// All explanations of a stretch.
    fn fits(&self, offer: &mut impl FnMut(Fit)) {
        let Self { sums, first, end, level, outside } = *self;
        let (length, count) = (end - first, sums.all.len() - 1);
        let n = length as f64;
        let returns = if end < count { RETURNS } else { 0.0 };
        let fit = |shape: Shape, cost: f64, height: f64| Fit { cost, shape, height, level, first, end };
        let [_, _, sum, square, product, whole, whole_square, course, course_square, course_product] = sums.between(first, end);
        let about = square - 2.0 * level * sum + n * level * level;
        let height = sum / n - level;
        offer(fit(Shape::LevelShift, outside + about - n * height * height + returns, height));
        if length >= SLOPE_POINTS {
            // Along places from one over the length to one.
            let squares = (n + 1.0) * (2.0 * n + 1.0) / (6.0 * n);
            let along = (product - (first as f64 - 1.0) * sum) / n - level * (n + 1.0) / 2.0;
            let height = along / squares;
            let inside = about - along * height + SLOPE;
            offer(fit(Shape::TrendChange, outside + inside + returns, height));
            if end < count {
                let [_, _, later, later_square, ..] = sums.between(end, count);
                let still = level + height;
                let after = later_square - 2.0 * still * later + (count - end) as f64 * still * still;
                let before = outside - sums.left(end, count, level);
                offer(fit(Shape::TrendChange, before + inside + after + returns + STAYS, height));
            }
        }
        if length >= SWING_POINTS {
            offer(fit(Shape::Variance, outside + swing(about, n) + returns + SWING, 0.0));
        }
        if length >= COURSE_POINTS
            && let Some(gain) = course_gain([whole, whole_square, course, course_square, course_product], n)
        {
            offer(fit(Shape::SeasonBreak, outside + swing(about, n) - gain + returns + COURSE, 0.0));
        }
    }
}

/// The most likely explanation that does not hang on a single point: one day far off is a spike or a dip, whatever else would explain it too.
fn soundest(values: &[f64], course: &[f64], middle: f64, best: impl Fn(&[Shape]) -> Option<Fit>) -> Option<Fit> {
    let mut refused = Vec::new();
    loop {
        let fit = best(&refused)?;
        let stretch = fit.first..fit.end;
        let sound = match (fit.shape, values.get(stretch.clone()), course.get(stretch)) {
            (Shape::LevelShift | Shape::TrendChange, Some(values), _) if values.len() > 2 => {
                let slopes = fit.shape == Shape::TrendChange;
                let along = |at: usize| if slopes { (at + 1) as f64 / values.len() as f64 } else { 1.0 };
                holds(values, middle + fit.level, fit.height, along)
            }
            (Shape::Variance, Some(values), _) => swings(values, middle + fit.level),
            (Shape::SeasonBreak, Some(values), Some(course)) => breaks(values, course, middle + fit.level),
            _ => true,
        };
        if sound {
            return Some(fit);
        }
        refused.push(fit.shape);
    }
}

/// Whether a stretch is on another level, or on a slope, also without the point that says so loudest. `along` is what the change has come to at
/// each point, as a share of the whole.
fn holds(values: &[f64], level: f64, height: f64, along: impl Fn(usize) -> f64) -> bool {
    let off = |value: &f64| height.signum() * (value - level).clamp(-CLIP_INSIDE, CLIP_INSIDE);
    let parts = values.iter().enumerate().map(|(at, value)| (off(value) * along(at), along(at) * along(at)));
    let (sum, square) = parts.clone().fold((0.0, 0.0), |sums, part| (sums.0 + part.0, sums.1 + part.1));
    let loudest = parts.reduce(|one, other| if other.0 > one.0 { other } else { one }).unwrap_or_default();
    let (sum, square) = (sum - loudest.0, square - loudest.1);
    sum > 0.0 && sum * sum / square > HOLDS
}

/// Whether a stretch swings: to both sides, and also without its furthest point.
fn swings(values: &[f64], level: f64) -> bool {
    let off = |value: &f64| (value - level).clamp(-CLIP_INSIDE, CLIP_INSIDE);
    let beyond = |side: f64| values.iter().map(|value| (side * off(value) - OFF).max(0.0)).sum::<f64>();
    let (up, down) = (beyond(1.0), beyond(-1.0));
    let squares = values.iter().map(|value| off(value) * off(value));
    let furthest = squares.clone().fold(0.0, f64::max);
    let (square, n) = (squares.sum::<f64>() - furthest, values.len() as f64 - 1.0);
    up.min(down) >= OTHER_SHARE * up.max(down) && square > swing(square, n)
}

/// Whether a stretch has another course than the usual one, also without any one of its points.
fn breaks(values: &[f64], course: &[f64], level: f64) -> bool {
    (0..values.len()).all(|left_out| {
        let mut sums = [0.0; 5];
        let others = values.iter().zip(course).enumerate().filter(|(at, _)| *at != left_out);
        for (_, (value, course)) in others {
            let whole = value - level + course;
            for (sum, term) in sums.iter_mut().zip([whole, whole * whole, *course, course * course, course * whole]) {
                *sum += term;
            }
        }
        course_gain(sums, values.len() as f64 - 1.0).is_some_and(|gain| gain > 0.0)
    })
}

/// Minus twice the logarithm of how likely `n` points with this sum of squares are, if their variance is whatever it is, at least that of the
/// noise.
fn swing(square: f64, n: f64) -> f64 {
    let variance = (square / n.max(1.0)).max(1.0);
    n * crate::math::ln(variance) + square / variance
}

/// By how much less likely a swing about the usual course is than one about another course. Of `n` points, the sums of the values with their
/// course, of the squares of these, of the course, of its squares, and of the products of both. Nothing where there is no course to speak of, or
/// where it is followed.
fn course_gain([whole, whole_square, course, course_square, course_product]: [f64; 5], n: f64) -> Option<f64> {
    let (usual, both, own) = (course_square - course * course / n, course_product - course * whole / n, whole_square - whole * whole / n);
    let follows = both / usual.max(f64::MIN_POSITIVE);
    (usual > COURSE_VARIANCE_MIN * n && follows < FOLLOWS).then(|| swing(own - 2.0 * both + usual, n) - swing(own - follows * both, n))
}

/// The most likely explanation that is not of one of the refused shapes. A change may begin from `early` on, and has to reach the alerts.
fn best(sums: &Sums, ways: &[f64], early: usize, alerts: std::ops::Range<usize>, cycle: usize, refused: &[Shape]) -> Option<Fit> {
    let count = sums.all.len() - 1;
    let way = |at: usize| ways.get(at).copied().unwrap_or(0.0);
    let mut best: Option<Fit> = None;
    let mut offer = |fit: Fit| {
        if refused.contains(&fit.shape) {
            return;
        }
        // What the model says of the alerts goes the same way.
        if fit.height * (way(fit.end.min(alerts.end)) - way(fit.first.max(alerts.start))) < 0.0 {
            return;
        }
        let unnoticed = alerts.start.saturating_sub(fit.first) as f64;
        let cost = fit.cost + unnoticed * if fit.shape == Shape::TrendChange { UNNOTICED_SLOPE } else { UNNOTICED };
        if best.is_none_or(|best| cost < best.cost) {
            best = Some(Fit { cost, ..fit });
        }
    };
    for first in early..alerts.end {
        let level_from = first.saturating_sub(LEVEL_CYCLES * cycle);
        let [level, ..] = sums.between(level_from, first).map(|sum| sum / (first - level_from) as f64);
        let before = sums.left(0, first, level);
        for end in (first + 1).max(alerts.start + 1)..=count {
            Stretch { sums, first, end, level, outside: before + sums.left(end, count, level) }.fits(&mut offer);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::noise;
    use crate::time::DAY_MS;
    use crate::{Episode, Options, Point, episodes, score};

    /// The episode of a change from day 100 on, in a series with weekends.
    fn found(change: impl Fn(i64, f64) -> f64) -> Episode {
        let week = |day: i64| if day.rem_euclid(7) > 4 { 60.0 } else { 100.0 };
        let points = (0..130).map(|day| Point::new(day * DAY_MS, 10.0 * (change(day, week(day)) + 2.0 * noise(day))));
        let found = episodes(&score(&points.collect::<Vec<_>>(), &Options::default()).0);
        found.into_iter().max_by(|one, other| one.severity.total_cmp(&other.severity)).expect("an episode")
    }

    #[test]
    fn a_slow_decline_is_a_trend_from_where_it_began() {
        let since = |day: i64| (day - 99).clamp(0, 20) as f64;
        let stays = found(|day, usual| usual * (1.0 - 0.02 * since(day)));
        assert_eq!((stays.shape, stays.direction), (Shape::TrendChange, Way::Down));
        let returns = found(|day, usual| usual * if day < 120 { 1.0 - 0.02 * since(day) } else { 1.0 });
        assert_eq!((returns.shape, returns.direction), (Shape::TrendChange, Way::Down));
        for episode in [&stays, &returns] {
            assert!(("1970-04-07".."1970-04-15").contains(&episode.onset.as_str()), "{}", episode.onset);
        }
        assert_eq!(returns.end, "1970-04-30");
    }

    #[test]
    fn a_swing_is_no_spike_and_a_spike_is_no_swing() {
        let swings = found(|day, usual| usual + if (100..109).contains(&day) { 12.0 * noise(day + 1000).signum() } else { 0.0 });
        assert_eq!((swings.shape, swings.direction), (Shape::Variance, Way::Unsteady));
        let spike = found(|day, usual| usual * if day == 100 { 1.7 } else { 1.0 });
        assert_eq!((spike.shape, spike.onset, spike.end), (Shape::Spike, "1970-04-11".to_owned(), "1970-04-11".to_owned()));
    }

    #[test]
    fn a_day_is_one_day_where_a_cycle_was_found_that_the_week_does_not_show() {
        let shop = |day: i64| 5_000 + (day * 37) % 11 * 40 - if day % 7 > 4 { 1_500 } else { 0 };
        let value = |day: i64| shop(day) as f64 * if day == 100 { 0.25 } else { 1.0 };
        for last in [100, 101, 104, 120] {
            let points: Vec<Point> = (0..=last).map(|day| Point::new(day * DAY_MS, value(day))).collect();
            let found = episodes(&score(&points, &Options::default()).0);
            let worst = found.iter().max_by(|one, other| one.severity.total_cmp(&other.severity)).expect("an episode");
            let told = (worst.shape, worst.onset.as_str(), worst.end.as_str());
            assert_eq!(told, (Shape::Dip, "1970-04-11", "1970-04-11"), "{last}: {found:?}");
        }
    }

    #[test]
    fn a_cycle_of_its_own_is_no_swing() {
        let dip = found(|day, usual| usual + ((day * 37).rem_euclid(11) * 5) as f64 - if day == 129 { 90.0 } else { 0.0 });
        assert_eq!((dip.shape, dip.onset.as_str()), (Shape::Dip, "1970-05-10"));
    }

    #[test]
    fn a_level_is_one_whether_the_week_shows_or_not() {
        let level = found(|day, usual| usual * if day >= 100 { 0.8 } else { 1.0 });
        assert_eq!((level.shape, level.direction, level.onset.as_str()), (Shape::LevelShift, Way::Down, "1970-04-11"));
    }

    #[test]
    fn what_hangs_on_one_day_is_that_day() {
        // A weekend day like a weekday, after a day a little low: neither another course of the week nor a swing.
        let busy = found(|day, usual| match day {
            100 => usual - 8.0,
            103 => 2.0 * usual,
            _ => usual,
        });
        assert_eq!(
            (busy.shape, busy.direction, busy.onset.as_str(), busy.end.as_str()),
            (Shape::Spike, Way::Up, "1970-04-14", "1970-04-14")
        );
        // Two days apart to the same side are no swing either.
        let low = found(|day, usual| if day == 100 || day == 102 { 0.8 * usual } else { usual });
        assert_eq!((low.shape, low.direction), (Shape::Dip, Way::Down));
    }

    #[test]
    fn another_course_of_the_week_is_a_season_break() {
        let early =
            found(|day, usual| if (100..114).contains(&day) { if (day + 3).rem_euclid(7) > 4 { 60.0 } else { 100.0 } } else { usual });
        assert_eq!((early.shape, early.direction), (Shape::SeasonBreak, Way::Unsteady));
    }
}
