//! Cycles that are in no calendar, once the whole series is known: a payroll every ten days, a menu of five. Looked for in what the calendar leaves
//! unexplained; found when it comes again and again, and taken only when it explains more than the calendar does.

use crate::cycle::{CLIP, SMALLER_BY, candidates};
use crate::options::Options;
use crate::scorer::{Scored, stream};
use crate::series::Point;
use crate::stats::median;

/// Longer series are not searched: each try is another pass over all of it.
const POINTS_MAX: usize = 4_000;

/// The cycle of a series that the calendar (with its own cycle of so many points) does not explain.
pub(crate) fn found(points: &[Point], scored: &[Scored], calendar: usize, options: &Options) -> Option<usize> {
    if points.len() > POINTS_MAX {
        return None;
    }
    let off: Vec<f64> = scored.iter().map(|point| point.deviation.clamp(-CLIP, CLIP)).collect();
    let left = |scored: &[Scored]| {
        let later = scored.get(scored.len() / 2..).unwrap_or_default();
        median(&mut later.iter().map(|point| (point.value - point.expected).abs()).collect::<Vec<_>>())
    };
    let mut best = (None, left(scored) * (1.0 - SMALLER_BY));
    for cycle in candidates(&off, calendar) {
        let tried = left(&stream(points, &Options { season_points: Some(cycle), ..options.clone() }).0);
        if tried < best.1 {
            best = (Some(cycle), tried);
        }
    }
    best.0
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
    }
}
