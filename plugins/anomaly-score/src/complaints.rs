//! What users of other detectors complain of, each as a test. The numbers are bounds, not pins: better is welcome.

use crate::dice::{even, noise};
use crate::time::DAY_MS;
use crate::{Direction, Kind, Mode, Note, Options, Point, Scored, Shape, Span, Zone, episodes, score};

const FIVE_MINUTES_MS: i64 = 300_000;

fn series(count: i64, step_ms: i64, value: impl Fn(i64) -> f64) -> Vec<Point> {
    (0..count).map(|at| Point::new(at * step_ms, value(at))).collect()
}

fn days(count: i64, value: impl Fn(i64) -> f64) -> Vec<Scored> {
    score(&series(count, DAY_MS, value), &Options::default()).0
}

fn alerts(scored: &[Scored]) -> Vec<usize> {
    (0..scored.len()).filter(|at| scored[*at].severity >= 50.0).collect()
}

/// Weekdays of a shop: weekends at 60 %, a tenth of noise.
fn shop(day: i64) -> f64 {
    1000.0 * if day % 7 > 4 { 0.6 } else { 1.0 } * (1.0 + 0.05 * noise(day))
}

/// A wave a day and noise, every five minutes.
fn load(at: i64) -> f64 {
    let of_day = (at % 288) as f64 / 288.0;
    50.0 + 120.0 * of_day * (1.0 - of_day) + noise(at)
}

#[test]
fn a_score_says_how_often_a_point_is_as_unusual() {
    // Others: "0.95" alerted on one point in twenty, whatever the series.
    let share = |scored: &[Scored], least: f64| scored.iter().filter(|p| p.score >= least).count() as f64 / scored.len() as f64;
    // And scores of one method could not be compared with those of another: both models, in both modes.
    let scored = |mode: Mode, points: Vec<Point>, from: usize| score(&points, &Options { mode, ..Options::default() }).0.split_off(from);
    let quiet = |mode: Mode| scored(mode, series(2000, DAY_MS, |day| 100.0 + noise(day)), 21);
    let dense = |mode: Mode| scored(mode, series(8000, FIVE_MINUTES_MS, load), 500);
    for scored in [quiet(Mode::Streaming), quiet(Mode::Batch), dense(Mode::Streaming), dense(Mode::Batch)] {
        let shares = [1.0, 2.0, 3.0].map(|least| share(&scored, least));
        assert!((0.01..0.25).contains(&shares[0]) && shares[1] < 0.02 && shares[2] < 0.003, "{shares:?}");
    }
}

#[test]
fn what_only_rose_is_no_alert_for_those_who_fear_drops() {
    for mode in [Mode::Streaming, Mode::Batch] {
        for (factor, direction, heard) in [(1.8, Direction::Down, false), (0.4, Direction::Down, true), (1.8, Direction::Up, true)] {
            let points = series(120, DAY_MS, |day| shop(day) * if day == 100 { factor } else { 1.0 });
            let (scored, _) = score(&points, &Options { mode, direction, ..Options::default() });
            assert_eq!(scored[100].severity >= 50.0, heard, "{mode:?} {direction:?} {factor}");
        }
    }
}

#[test]
fn what_comes_every_month_is_learnt() {
    // Subscriptions are billed on the first: twice as much then.
    let first_of_month = |day: i64| crate::time::civil_from_days(day).2 == 1;
    let scored = days(500, |day| shop(day) * if first_of_month(day) { 2.0 } else { 1.0 });
    let flagged = |from: i64, to: i64| (from..to).filter(|day| first_of_month(*day) && scored[*day as usize].severity >= 50.0).count();
    assert!(flagged(0, 180) >= 1, "it is news in the beginning");
    assert!(flagged(270, 500) <= 1, "and not a year later: {}", flagged(270, 500));
    // A month's first that does not bring it is news then.
    let missed = days(500, |day| shop(day) * if first_of_month(day) && day < 460 { 2.0 } else { 1.0 });
    let day = (460..500).find(|day| first_of_month(*day)).expect("a first") as usize;
    assert!(missed[day].deviation < -2.5, "{:?}", missed[day]);
}

#[test]
fn a_point_is_not_part_of_what_it_is_measured_by_and_an_incident_does_not_hide_the_next() {
    let scored = days(200, |day| shop(day) * if (100..104).contains(&day) || (130..134).contains(&day) { 3.0 } else { 1.0 });
    assert!(scored[100].severity > 60.0 && scored[130].severity > 60.0);
    assert!(scored[130].deviation > 0.5 * scored[100].deviation, "{} and {}", scored[100].deviation, scored[130].deviation);
    // Told that it was an incident, the model learns nothing of it at all.
    let points = series(200, DAY_MS, |day| shop(day) * if (100..130).contains(&day) { 3.0 } else { 1.0 });
    let told = Options { spans: vec![Span { from_ms: 100 * DAY_MS, to_ms: 130 * DAY_MS, note: Note::Incident }], ..Options::default() };
    let (with, _) = score(&points, &told);
    assert!((with[135].expected / shop(135) - 1.0).abs() < 0.2, "{:?}", with[135]);
}

#[test]
fn constant_and_nearly_constant_series_do_not_cry() {
    for step in [DAY_MS, FIVE_MINUTES_MS] {
        let constant = score(&series(500, step, |_| 2.0), &Options::default()).0;
        assert!(alerts(&constant).is_empty());
        // Others: the highest score there is for a two that became a three.
        let moved = score(&series(500, step, |at| if at == 450 { 3.0 } else { 2.0 }), &Options::default()).0;
        assert!(moved[450].severity < 95.0 && moved[450].deviation.is_finite(), "{:?}", moved[450]);
        // Between two and three, mostly two: the hundredth three is no news.
        let nearly = score(&series(2000, step, |at| if at % 23 == 7 { 3.0 } else { 2.0 }), &Options::default()).0;
        let late = alerts(&nearly).into_iter().filter(|at| *at > 1000).count();
        assert!(late <= 2, "{late} at steps of {step} ms");
    }
}

#[test]
fn low_counts_are_allowed_their_noise() {
    // Two a day on average; six happens twice a year.
    let poisson = |day: i64| {
        let (mut product, mut count) = (1.0, -1.0);
        while product > 0.135_335 {
            product *= even(day * 40 + count as i64 + 2) + 0.5;
            count += 1.0;
        }
        count
    };
    let scored = days(730, poisson);
    assert!(episodes(&scored).len() <= 12, "{} in two years", episodes(&scored).len());
    // Four or five a day for months, and then seven: less than chance makes of five. Thirty is more.
    let severity = |worst: f64| days(120, |day| if day == 110 { worst } else { 4.0 + (day % 2) as f64 })[110].severity;
    assert!(severity(7.0) < 50.0 && severity(30.0) > 60.0, "{} and {}", severity(7.0), severity(30.0));
}

#[test]
fn a_doubled_value_scores_above_normal_ones() {
    for (step, at) in [(DAY_MS, 150usize), (3 * 3_600_000, 1000), (FIVE_MINUTES_MS, 3000)] {
        for mode in [Mode::Streaming, Mode::Batch] {
            let value = |i: i64| (if step == DAY_MS { shop(i) } else { 50.0 + noise(i) }) * if i == at as i64 { 2.0 } else { 1.0 };
            let (scored, _) = score(&series(at as i64 + 50, step, value), &Options { mode, ..Options::default() });
            let best = (0..scored.len()).max_by(|a, b| scored[*a].score.total_cmp(&scored[*b].score));
            assert_eq!(best, Some(at), "{mode:?} at steps of {step} ms");
            assert!(scored[at].severity >= 50.0);
        }
    }
}

#[test]
fn months_are_steps_and_years_are_cycles() {
    let month = |at: i64| crate::time::days_from_civil(2016 + at / 12, at % 12 + 1, 1) * DAY_MS;
    let value = |at: i64| 100.0 * if at % 12 == 11 { 2.0 } else { 1.0 } * (1.0 + 0.03 * noise(at)) * if at == 90 { 0.5 } else { 1.0 };
    let points: Vec<Point> = (0..120).map(|at| Point::new(month(at), value(at))).collect();
    let (scored, learnt) = score(&points, &Options::default());
    assert_eq!(learnt.season, Some((12, "month of the year")));
    assert!(scored[90].severity > 50.0 && scored[95].severity < 50.0 && scored[107].severity < 50.0);
}

#[test]
fn five_weeks_of_days_are_enough() {
    let scored = days(35, |day| shop(day) * if day == 30 { 0.3 } else { 1.0 });
    assert!(scored[30].severity > 50.0);
    assert!(alerts(&scored[..30]).is_empty(), "{:?}", alerts(&scored));
}

#[test]
fn one_incident_alerts_once() {
    let value = |at: i64| if (3000..3060).contains(&at) { 150.0 + noise(at) } else { load(at) };
    let (scored, _) = score(&series(4000, FIVE_MINUTES_MS, value), &Options::default());
    let opened: Vec<usize> = (2990..3200).filter(|at| scored[*at].opens).collect();
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert!((3000..3006).contains(&opened[0]), "{opened:?}");
}

#[test]
fn days_of_one_incident_open_it_once() {
    let scored = days(140, |day| shop(day) * if (100..104).contains(&day) { 0.3 } else { 1.0 });
    assert!(scored[100..104].iter().all(|point| point.severity >= 50.0));
    assert_eq!((95..110).filter(|at| scored[*at].opens).collect::<Vec<_>>(), [100]);
}

#[test]
fn what_never_moved_and_falls_has_fallen_until_it_is_back() {
    // Every rating was good for sixty hours, and now two of six are.
    let rate = |hour: i64| Point { time_ms: hour * 3_600_000, value: if hour < 60 { 1.0 } else { 2.0 / 6.0 }, total: Some(6.0) };
    let scored = score(&(0..66).map(rate).collect::<Vec<_>>(), &Options::default()).0;
    let found = episodes(&scored);
    assert_eq!(found.len(), 1, "{found:?}");
    let told = (found[0].direction, found[0].onset.as_str(), found[0].end.as_str(), found[0].ongoing);
    assert_eq!(told, (crate::Way::Down, "1970-01-03T12:00:00Z", "1970-01-03T17:00:00Z", true), "{found:?}");
}

#[test]
fn a_level_that_no_single_point_shows_is_seen_all_the_same() {
    // Less than a standard deviation up, for a day; every such value has been there before.
    let value = |at: i64| 100.0 + noise(at) + if (3000..3288).contains(&at) { 0.8 } else { 0.0 };
    let (scored, _) = score(&series(4000, FIVE_MINUTES_MS, value), &Options::default());
    assert!((3000..3288).any(|at| scored[at].opens));
    assert!(scored[3288..].iter().chain(&scored[1000..3000]).filter(|point| point.opens).count() <= 6);
}

#[test]
fn a_morning_stays_a_morning_when_the_clocks_change() {
    // Everybody comes at eight on the clock. 2026-03-29 the clocks go forward in Berlin.
    let zone = Zone::parse("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
    let start = crate::time::days_from_civil(2026, 3, 1) * DAY_MS;
    let points: Vec<Point> = (0..40 * 24)
        .map(|hour| {
            let time_ms = start + hour * 3_600_000;
            let busy = zone.local_ms(time_ms).rem_euclid(DAY_MS) == 8 * 3_600_000;
            Point::new(time_ms, if busy { 500.0 } else { 100.0 } + noise(hour))
        })
        .collect();
    let after = |options: &Options| {
        let (scored, _) = score(&points, options);
        let from = crate::time::days_from_civil(2026, 3, 29) * DAY_MS;
        scored.iter().filter(|p| (from..from + 2 * DAY_MS).contains(&p.time_ms)).map(|p| p.evidence).fold(0.0, f64::max)
    };
    let (told, untold) = (after(&Options { zone, ..Options::default() }), after(&Options::default()));
    assert!(told < 0.7 * untold, "{told} and {untold}");
}

#[test]
fn a_restless_series_is_not_louder_than_a_calm_one() {
    let share = |spread: f64| {
        let scored = days(1000, |day| 1000.0 * (1.0 + spread * noise(day)));
        alerts(&scored).len() as f64 / scored.len() as f64
    };
    let (calm, restless) = (share(0.01), share(0.1));
    assert!((calm - restless).abs() < 0.02 && calm < 0.06, "{calm} and {restless}");
}

#[test]
fn small_effects_and_small_volumes_can_be_kept_quiet() {
    let points = series(120, DAY_MS, |day| 1000.0 + noise(day) + if day == 100 { 12.0 } else { 0.0 });
    let heard = |options: Options| score(&points, &options).0[100].severity >= 50.0;
    assert!(heard(Options::default()));
    assert!(!heard(Options { min_effect: 20.0, ..Options::default() }));
    assert!(!heard(Options { min_effect_share: 0.05, ..Options::default() }));
    assert!(!heard(Options { min_volume: 5000.0, ..Options::default() }));
}

#[test]
fn a_ratio_of_few_is_not_believed_like_a_ratio_of_many() {
    let rate = |total: f64, day: i64| Point {
        time_ms: day * DAY_MS,
        value: if day == 100 { 0.85 } else { 0.95 + 0.002 * noise(day) },
        total: Some(total),
    };
    let severity = |total: f64| {
        let points: Vec<Point> = (0..120).map(|day| rate(total, day)).collect();
        let (scored, learnt) = score(&points, &Options::default());
        assert_eq!(learnt.kind, Some(Kind::Ratio));
        scored[100].severity
    };
    assert!(severity(20.0) < 50.0, "17 of 20 instead of 19 of 20 is chance: {}", severity(20.0));
    assert!(severity(5000.0) > 80.0, "{}", severity(5000.0));
}

#[test]
fn a_ratio_of_few_is_not_believed_within_the_day_either() {
    // A hundred an hour by day, two at night; one in twenty fails.
    let rate = |hour: i64, bad: i64| {
        let cases: i64 = if hour % 24 < 6 { 2 } else { 100 };
        let failed = if hour == bad { cases / 2 } else { (f64::from(u8::from(cases > 2)) * 5.0 + 2.0 * noise(hour)).max(0.0) as i64 };
        let failed = if cases == 2 && hour != bad { i64::from(even(hour) > 0.45) } else { failed };
        Point { time_ms: hour * 3_600_000, value: (cases - failed) as f64 / cases as f64, total: Some(cases as f64) }
    };
    let scored = |bad: i64| {
        let points: Vec<Point> = (0..24 * 28).map(|hour| rate(hour, bad)).collect();
        let (scored, learnt) = score(&points, &Options { direction: Direction::Down, ..Options::default() });
        assert_eq!(learnt.kind, Some(Kind::Ratio));
        scored[bad as usize]
    };
    let (night, day) = (scored(24 * 25 + 3), scored(24 * 25 + 12));
    assert!(night.severity < 50.0, "one of two failed: {night:?}");
    assert!(day.severity > 60.0 && day.opens, "fifty of a hundred failed: {day:?}");
    assert!((day.expected - 0.95).abs() < 0.03, "{day:?}");
}

#[test]
fn holidays_are_expected_when_they_come_again_and_planned_days_are_left_out() {
    let holiday = |day: i64| day == 100 || day == 180;
    let points = series(220, DAY_MS, |day| {
        shop(day)
            * if holiday(day) {
                0.2
            } else if day == 150 {
                9.0
            } else {
                1.0
            }
    });
    let span = |day: i64, note: Note| Span { from_ms: day * DAY_MS, to_ms: (day + 1) * DAY_MS, note };
    let feast = || Note::Event("feast".to_owned());
    let told = Options { spans: vec![span(100, feast()), span(180, feast()), span(150, Note::Ignore)], ..Options::default() };
    let ((plain, _), (told, _)) = (score(&points, &Options::default()), score(&points, &told));
    assert!(plain[100].severity > 50.0 && plain[180].severity > 50.0 && plain[150].severity > 50.0);
    assert!(told[100].severity < 50.0 && told[150].severity < 50.0);
    assert!(told[180].expected < 0.6 * plain[180].expected, "{} and {}", told[180].expected, plain[180].expected);
}

#[test]
fn what_was_called_normal_does_not_alert_again() {
    let points = series(160, DAY_MS, |day| shop(day) * if day == 100 || day == 140 { 1.6 } else { 1.0 });
    let normal = Span { from_ms: 100 * DAY_MS, to_ms: 101 * DAY_MS, note: Note::Normal };
    let ((plain, _), (told, _)) =
        (score(&points, &Options::default()), score(&points, &Options { spans: vec![normal], ..Options::default() }));
    assert!(plain[140].severity > 50.0 && told[140].severity < 50.0);
}

#[test]
fn a_shift_is_not_a_spike() {
    let found = |change: fn(i64) -> f64| {
        let episodes = episodes(&days(200, |day| shop(day) * change(day)));
        episodes.iter().max_by(|a, b| a.severity.total_cmp(&b.severity)).map(|episode| episode.shape)
    };
    assert_eq!(found(|day| if day == 150 { 1.6 } else { 1.0 }), Some(Shape::Spike));
    assert_eq!(found(|day| if day >= 150 { 1.4 } else { 1.0 }), Some(Shape::LevelShift));
    assert_eq!(found(|day| if (150..153).contains(&day) { 0.0 } else { 1.0 }), Some(Shape::Outage));
}

/// A run time: mostly near its usual level, sometimes a good deal longer, never near nothing.
fn run_time(at: i64, level: f64) -> f64 {
    level * crate::math::exp(0.25 * noise(at))
}

#[test]
fn long_run_times_are_not_news_because_they_are_long() {
    // Ten times slower from one day on: once that is known, as many alerts as before, because noise is a share of what is measured.
    let level = |day: i64| if day < 500 { 40.0 } else { 400.0 };
    let points = series(1000, DAY_MS, |day| run_time(day, level(day)));
    let (scored, learnt) = score(&points, &Options::default());
    assert_eq!(learnt.kind, Some(Kind::Duration));
    let (before, after) = (alerts(&scored[30..500]).len(), alerts(&scored[560..]).len());
    assert!(before <= 25 && after <= 25 && before.abs_diff(after) <= 12, "{before} and {after}");
    // The band is as wide by its factor, and wider above than below.
    let (low, high) = (&scored[480], &scored[980]);
    for point in [low, high] {
        assert!(point.low > 0.0 && point.high - point.expected > 1.3 * (point.expected - point.low), "{point:?}");
    }
    let factor = |point: &Scored| point.high / point.low;
    assert!((factor(low) / factor(high) - 1.0).abs() < 0.3, "{} and {}", factor(low), factor(high));
}

#[test]
fn a_run_time_is_judged_by_its_factor_whatever_the_step() {
    for (step, count) in [(DAY_MS, 300i64), (3_600_000, 24 * 40), (FIVE_MINUTES_MS, 288 * 14)] {
        let at = count - 20;
        let severity = |kind: Kind, factor: f64| {
            let value = |i: i64| run_time(i, 40.0) * if i == at { factor } else { 1.0 };
            let options = Options { kind: Some(kind), ..Options::default() };
            score(&series(count, step, value), &options).0[at as usize].severity
        };
        // Half as long is as unusual as twice as long; on the plain scale it is not.
        let (twice, half) = (severity(Kind::Duration, 8.0), severity(Kind::Duration, 0.125));
        assert!(twice >= 50.0 && half >= 50.0, "{twice} and {half} at steps of {step} ms");
        assert!(severity(Kind::Value, 0.125) < half, "at steps of {step} ms");
    }
    // A measurement of nothing is an outage, not the end of the scale.
    let (scored, _) = score(&series(300, DAY_MS, |day| if day == 250 { 0.0 } else { run_time(day, 40.0) }), &Options::default());
    assert!(scored[250].severity > 50.0 && scored.iter().all(|point| point.score.is_finite() && point.low >= 0.0));
    assert_eq!(episodes(&scored).iter().find(|episode| episode.value == 0.0).map(|episode| episode.shape), Some(Shape::Outage));
}
