//! Cycles that are in no calendar: a payroll every ten days, a menu of five. Looked for when the whole series is known, in what the calendar leaves
//! unexplained; found when it comes again and again, and taken only when it explains more than the calendar does.

use crate::options::Options;
use crate::scorer::{Scored, stream};
use crate::series::Point;
use crate::stats::median;

/// Longer cycles are not looked for: what is known of them would take too long to learn from.
const LONGEST: usize = 35;
/// A cycle has to be seen so often.
const CYCLES_MIN: usize = 4;
/// Longer series are not searched: each try is another pass over all of it.
const POINTS_MAX: usize = 4_000;
/// What is off comes again after a cycle: at least with this correlation, ...
const CORRELATION_MIN: f64 = 0.3;
/// ... and by this many standard errors of one.
const ERRORS_MIN: f64 = 5.0;
/// A shorter cycle speaks for its multiples when it correlates almost as well.
const ALMOST: f64 = 0.9;
/// No single point has more of a say than this, in standard deviations.
const CLIP: f64 = 3.0;
/// What the calendar leaves has to become smaller by this share.
const SMALLER_BY: f64 = 0.15;

/// The cycle of a series that the calendar (with its own cycle of so many points) does not explain.
pub(crate) fn found(points: &[Point], scored: &[Scored], calendar: usize, options: &Options) -> Option<usize> {
    if points.len() > POINTS_MAX {
        return None;
    }
    let period = period(&scored.iter().map(|point| point.deviation.clamp(-CLIP, CLIP)).collect::<Vec<_>>())?;
    let left = |scored: &[Scored]| {
        let later = scored.get(scored.len() / 2..).unwrap_or_default();
        median(&mut later.iter().map(|point| (point.value - point.expected).abs()).collect::<Vec<_>>())
    };
    let mut best = (None, left(scored) * (1.0 - SMALLER_BY));
    for cycle in [period, least_common_multiple(period, calendar)] {
        if cycle <= LONGEST && best.0 != Some(cycle) {
            let tried = left(&stream(points, &Options { season_points: Some(cycle), ..options.clone() }).0);
            if tried < best.1 {
                best = (Some(cycle), tried);
            }
        }
    }
    best.0
}

/// The lag at which a series is most like itself, if it is.
fn period(off: &[f64]) -> Option<usize> {
    let mean = off.iter().sum::<f64>() / off.len().max(1) as f64;
    let square: f64 = off.iter().map(|x| (x - mean) * (x - mean)).sum();
    let correlation = |lag: usize| {
        let later = off.get(lag..).unwrap_or_default();
        later.iter().zip(off).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / square.max(f64::MIN_POSITIVE)
    };
    let longest = LONGEST.min(off.len() / CYCLES_MIN);
    let all: Vec<f64> = (0..=longest + 1).map(correlation).collect();
    let at = |lag: usize| all.get(lag).copied().unwrap_or(0.0);
    // A cycle is a peak: what only changes slowly is like itself at every lag.
    let peak = |lag: &usize| at(*lag) > at(lag - 1) && at(*lag) >= at(lag + 1) && at(*lag) > at(1) + 0.1;
    let least = CORRELATION_MIN.max(ERRORS_MIN / (off.len() as f64).sqrt());
    let lags = || (2..=longest).filter(peak).filter(|lag| at(*lag) >= least);
    let highest = lags().map(at).fold(0.0, f64::max);
    lags().find(|lag| at(*lag) >= ALMOST * highest)
}

fn least_common_multiple(one: usize, other: usize) -> usize {
    let (mut a, mut b) = (one, other);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    one / a.max(1) * other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mode, score};

    const DAY_MS: i64 = 86_400_000;

    fn days(value: impl Fn(i64) -> f64) -> Vec<Point> {
        (0..300).map(|day| Point::new(day * DAY_MS, value(day))).collect()
    }

    fn batch(points: &[Point]) -> (Vec<Scored>, Option<(usize, &'static str)>) {
        let (scored, learnt) = score(points, &Options { mode: Mode::Batch, ..Options::default() });
        (scored, learnt.season)
    }

    fn noise(day: i64) -> f64 {
        3.0 * crate::dice::noise(day)
    }

    #[test]
    fn a_cycle_of_five_days_is_found_and_its_break_is_seen() {
        let menu = |day: i64| 200.0 + [0.0, 60.0, 20.0, 90.0, 40.0][(day % 5) as usize] + noise(day);
        let (scored, season) = batch(&days(|day| if day == 250 { menu(251) + 10.0 } else { menu(day) }));
        assert_eq!(season, Some((5, "found in the series")));
        assert!(scored[250].severity > 50.0 && scored[245].severity < 50.0, "{:?}", scored[250]);
        let alerts = scored.iter().filter(|point| point.severity >= 50.0).count();
        assert!(alerts < 12, "{alerts}");
    }

    #[test]
    fn a_cycle_beside_the_week_makes_one_of_both() {
        let every_other_week =
            |day: i64| 200.0 - if day % 7 > 4 { 50.0 } else { 0.0 } + if day % 14 == 3 { 80.0 } else { 0.0 } + noise(day);
        assert_eq!(batch(&days(every_other_week)).1, Some((14, "found in the series")));
    }

    #[test]
    fn weeks_trends_and_noise_are_left_to_the_calendar() {
        for value in [|day: i64| 200.0 - if day % 7 > 4 { 50.0 } else { 0.0 } + noise(day), |day| day as f64 + noise(day), noise] {
            assert_eq!(batch(&days(value)).1, Some((7, "day of the week")));
        }
        assert_eq!((least_common_multiple(10, 7), least_common_multiple(14, 7), period(&[])), (70, 14, None));
    }
}
