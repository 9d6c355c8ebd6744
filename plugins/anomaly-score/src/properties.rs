//! What holds for every series.

use proptest::prelude::*;

use crate::{Direction, Kind, Mode, Options, Point, episodes, score};

fn series(values: &[f64], step_ms: i64) -> Vec<Point> {
    (0i64..).zip(values).map(|(at, value)| Point::new(at * step_ms, *value)).collect()
}

fn options() -> impl Strategy<Value = Options> {
    let mode = prop_oneof![Just(Mode::Streaming), Just(Mode::Batch)];
    let direction = prop_oneof![Just(Direction::Both), Just(Direction::Up), Just(Direction::Down)];
    (mode, direction, 0.5..6.0).prop_map(|(mode, direction, alert_score)| Options {
        mode,
        direction,
        alert_score,
        kind: Some(Kind::Value),
        ..Options::default()
    })
}

fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![Just(86_400_000), Just(3_600_000), Just(300_000), Just(1), 1..10_000_000i64]
}

/// Whole numbers, so that scaling and shifting by powers of two is exact.
fn whole_values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-500..500i32).prop_map(f64::from), 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_later_changes_nothing_before_it(values in whole_values(), step in steps(), cut in 0.0..1.0f64) {
        let points = series(&values, step);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small count")]
        let some = (points.len() as f64 * cut) as usize;
        let (all, _) = score(&points, &Options::default());
        let (first, _) = score(&points[..some], &Options::default());
        prop_assert_eq!(&all[..some], first.as_slice());
    }

    #[test]
    fn units_do_not_matter(values in whole_values(), step in steps(), options in options(), exponent in -8..8i32, shift in -1000..1000i32) {
        let factor = 2f64.powi(exponent);
        let moved: Vec<f64> = values.iter().map(|value| (value + f64::from(shift)) * factor).collect();
        let (plain, _) = score(&series(&values, step), &options);
        let (other, _) = score(&series(&moved, step), &options);
        for (a, b) in plain.iter().zip(&other) {
            prop_assert!((a.score - b.score).abs() < 1e-6, "{} and {}", a.score, b.score);
        }
    }

    #[test]
    fn every_series_is_scored_with_finite_numbers(
        rows in prop::collection::vec((any::<i64>(), -1e100..1e100f64), 0..120),
        options in options(),
    ) {
        let mut points: Vec<Point> = rows.iter().map(|(time_ms, value)| Point::new(*time_ms, *value)).collect();
        points.sort_by_key(|point| point.time_ms);
        let (scored, _) = score(&points, &options);
        prop_assert_eq!(scored.len(), points.len());
        for point in &scored {
            let numbers = [point.score, point.severity, point.expected, point.low, point.high, point.deviation];
            prop_assert!(numbers.iter().all(|number| number.is_finite()), "{:?}", point);
            prop_assert!(point.score >= 0.0 && (0.0..=100.0).contains(&point.severity) && point.low <= point.high);
        }
        let found = episodes(&scored);
        prop_assert!(found.len() <= scored.len());
        for episode in &found {
            let at = |text: &str| crate::time::parse_ms(text);
            prop_assert!(at(&episode.onset) <= at(&episode.peak) && at(&episode.peak) <= at(&episode.end), "{:?}", episode);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[0-9,;.:TZ+\\-\n\r\"a-fnN é]{0,200}") {
        let _ = crate::read_csv(text.as_bytes()).map(|series| score(&series.points, &Options::default()));
    }
}

#[test]
fn constant_and_tiny_series_never_alert() {
    for count in [0, 1, 2, 7, 300] {
        let (scored, _) = score(&series(&vec![3.25; count], 86_400_000), &Options::default());
        assert!(scored.iter().all(|point| point.score == 0.0 && point.severity == 0.0));
    }
}

#[test]
fn both_modes_see_an_outage() {
    let values: Vec<f64> = (0..120).map(|day| if day == 100 { 0.0 } else { 500.0 + f64::from(day * 29 % 17) }).collect();
    for mode in [Mode::Streaming, Mode::Batch] {
        let options = Options { mode, ..Options::default() };
        let (scored, _) = score(&series(&values, 86_400_000), &options);
        let worst = (0..120).max_by(|a, b| scored[*a].score.total_cmp(&scored[*b].score));
        assert_eq!(worst, Some(100), "{mode:?}");
        assert!(scored[100].severity > 50.0);
    }
}
