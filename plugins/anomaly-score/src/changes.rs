//! Where a series went over to another level, once it is known as a whole: the segmentation with the least squares and a penalty for each
//! change, found exactly by dynamic programming with pruning (PELT: Killick, Fearnhead and Eckley, "Optimal detection of changepoints with a
//! linear computational cost", JASA 2012). For series with a point every six hours or fewer; denser ones have too many to be of use.

use serde::Serialize;

use crate::scorer::Scored;
use crate::stats::{MAD_TO_SIGMA, median};
use crate::time::{DAY_MS, show};

/// Longer series are not segmented.
const POINTS_MAX: usize = 5_000;
/// Levels of fewer points are incidents, not levels.
const LEVEL_POINTS: usize = 3;
/// No point has more of a say than this, in standard deviations.
const CLIP: f64 = 12.0;
/// The penalty for a change is this many times the logarithm of the number of points: three times what would do for independent noise
/// (Schwarz's criterion counts two), as days are not independent.
const PENALTY: f64 = 6.0;

/// A new level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangePoint {
    /// Its first point.
    pub at: String,
    /// The median of the level before.
    pub before: f64,
    /// The median of the new level.
    pub after: f64,
}

/// The new levels of a scored series, in the order of time.
#[must_use]
pub fn change_points(scored: &[Scored], step_ms: i64) -> Vec<ChangePoint> {
    let places = level_starts(scored, step_ms);
    let ends = places.iter().skip(1).copied().chain([scored.len()]);
    let level =
        |from: usize, to: usize| median(&mut scored.get(from..to).unwrap_or_default().iter().map(|point| point.value).collect::<Vec<_>>());
    let mut from = 0;
    let change = |(at, end): (usize, usize)| {
        let change = ChangePoint { at: show(scored.get(at)?.time_ms), before: level(from, at), after: level(at, end) };
        from = at;
        Some(change)
    };
    places.iter().copied().zip(ends).filter_map(change).collect()
}

/// The first point of each new level.
pub(crate) fn level_starts(scored: &[Scored], step_ms: i64) -> Vec<usize> {
    if step_ms < DAY_MS / 4 || scored.len() > POINTS_MAX || scored.len() < 2 * LEVEL_POINTS {
        return Vec::new();
    }
    let cycle = usize::try_from(7 * DAY_MS / step_ms).unwrap_or(1).max(1);
    segments(&even(scored.iter().map(|point| point.value).collect(), cycle))
}

/// The values without their weekdays, in units of their noise.
fn even(mut values: Vec<f64>, cycle: usize) -> Vec<f64> {
    for at in 0..cycle {
        let usual = median(&mut values.iter().skip(at).step_by(cycle).copied().collect::<Vec<_>>());
        values.iter_mut().skip(at).step_by(cycle).for_each(|value| *value -= usual);
    }
    let steps = values.windows(2).filter_map(|pair| Some((pair.last()? - pair.first()?).abs()));
    let noise = median(&mut steps.collect::<Vec<_>>()) * MAD_TO_SIGMA / std::f64::consts::SQRT_2;
    let noise = if noise > 0.0 { noise } else { f64::INFINITY };
    values.iter().map(|value| (value / noise).clamp(-CLIP, CLIP)).collect()
}

fn segments(values: &[f64]) -> Vec<usize> {
    let count = values.len();
    let (mut sums, mut squares) = (vec![0.0], vec![0.0]);
    let (mut sum, mut square) = (0.0, 0.0);
    for value in values {
        sum += value;
        square += value * value;
        sums.push(sum);
        squares.push(square);
    }
    let at = |list: &[f64], place: usize| list.get(place).copied().unwrap_or(0.0);
    // What is left of the squares when the points from one place to before another are on one level.
    let cost = |from: usize, to: usize| {
        let sum = at(&sums, to) - at(&sums, from);
        at(&squares, to) - at(&squares, from) - sum * sum / (to - from).max(1) as f64
    };
    let penalty = PENALTY * crate::math::ln(count.max(2) as f64);
    let mut least = vec![f64::INFINITY; count + 1];
    let mut last = vec![0; count + 1];
    if let Some(first) = least.first_mut() {
        *first = -penalty;
    }
    let mut open = vec![0];
    for to in LEVEL_POINTS..=count {
        let totals: Vec<(f64, usize)> = open.iter().map(|from| (at(&least, *from) + cost(*from, to), *from)).collect();
        let Some(best) = totals.iter().copied().reduce(|one, other| if other.0 < one.0 { other } else { one }) else { continue };
        if let (Some(least), Some(last)) = (least.get_mut(to), last.get_mut(to)) {
            (*least, *last) = (best.0 + penalty, best.1);
        }
        // What is worse by more than a change now can only become worse.
        open = totals.into_iter().filter(|(total, _)| *total <= best.0 + penalty).map(|(_, from)| from).collect();
        open.push(to + 1 - LEVEL_POINTS);
        open.retain(|from| *from == 0 || *from >= LEVEL_POINTS);
    }
    let mut places = Vec::new();
    let mut to = count;
    while let Some(from) = last.get(to).copied().filter(|from| *from > 0) {
        places.push(from);
        to = from;
    }
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::noise;
    use crate::{Options, Point, score};

    fn found(value: impl Fn(i64) -> f64) -> Vec<ChangePoint> {
        let points: Vec<Point> = (0..200).map(|day| Point::new(day * DAY_MS, value(day))).collect();
        change_points(&score(&points, &Options::default()).0, DAY_MS)
    }

    #[test]
    fn new_levels_are_found_to_the_day_and_spikes_are_none() {
        let week = |day: i64| 100.0 + 2.0 * noise(day) - if day % 7 > 4 { 30.0 } else { 0.0 };
        let changes = found(|day| week(day) + if (80..140).contains(&day) { 20.0 } else { 0.0 } + if day == 30 { 90.0 } else { 0.0 });
        assert_eq!(changes.iter().map(|change| change.at.as_str()).collect::<Vec<_>>(), ["1970-03-22", "1970-05-21"]);
        assert!((changes[0].after - changes[0].before - 20.0).abs() < 5.0, "{changes:?}");
        assert!(found(week).is_empty() && found(|_| 5.0).is_empty());
    }

    #[test]
    fn segments_are_the_best_ones() {
        let values = [0.0, 0.1, -0.1, 0.0, 9.0, 9.1, 8.9, 9.0, 9.1, -5.0, -5.1, -4.9];
        assert_eq!(segments(&values), [4, 9]);
        assert_eq!((segments(&[]), segments(&[1.0, 2.0])), (vec![], vec![]));
    }
}
