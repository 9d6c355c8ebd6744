//! Batch mode: each point by the whole series, what came before it and what came after.
//!
//! Within the day, the streaming model runs there and back, and windows that look unlike the others add to what both say; `lately` becomes
//! what is unusual around a point, on both sides. By the calendar, the baseline learns from the whole series backwards first, so that the
//! first days are scored with everything that is known.

use crate::intraday;
use crate::options::{Note, Options, Span};
use crate::scorer::{FOUND, Learnt, Scored, Scorer, WARM_UP_POINTS, stream};
use crate::season;
use crate::series::Point;
use crate::windows::unlike_others;
use crate::zone::Zone;

/// What is unusual around a point is a mean over this share of the series, twice.
const AROUND_SHARE: usize = 40;
/// And over no fewer points than this.
const AROUND_POINTS_MIN: usize = 12;

pub(crate) fn score(points: &[Point], options: &Options) -> (Vec<Scored>, Learnt) {
    let (forward, learnt) = stream(points, options);
    if points.len() < 2 * WARM_UP_POINTS {
        return (forward, learnt);
    }
    if learnt.intraday {
        return (there_and_back(points, forward, options), learnt);
    }
    let calendar = learnt.season.map_or(1, |season| season.0);
    let own = if options.season_points.is_none() { season::found(points, &forward, calendar, options) } else { None };
    drop(forward);
    let mut scorer = Scorer::new(Options { season_points: own.or(options.season_points), ..options.clone() });
    scorer.study(points);
    let scored = points.iter().map(|point| scorer.push(*point)).collect();
    let learnt = scorer.learnt();
    (scored, Learnt { season: own.map(|cycle| (cycle, FOUND)).or(learnt.season), ..learnt })
}

/// What was found going forwards is completed in place: a long series need not fit into memory more than once.
fn there_and_back(points: &[Point], mut scored: Vec<Scored>, options: &Options) -> Vec<Scored> {
    let mut around: Vec<f64> = unlike_others(points.len(), points.iter().map(|point| point.value)).unwrap_or_default();
    around.resize(points.len(), 0.0);
    let mut backward = Scorer::new(mirrored_options(options));
    for (at, (there, around)) in scored.iter_mut().zip(&mut around).enumerate().rev() {
        let Some(point) = points.get(at) else { continue };
        let back = backward.push(mirrored(point, options));
        there.evidence = (there.evidence + back.evidence) / 2.0;
        *around += there.evidence;
        // What the first days are expected to be is known from the days after them.
        if there.high <= there.low {
            (there.expected, there.low, there.high, there.deviation) = (back.expected, back.low, back.high, back.deviation);
        }
    }
    let reach = (points.len() / AROUND_SHARE).max(AROUND_POINTS_MIN);
    let around = mean_around(&mean_around(&around, reach), reach);
    let judge = intraday::Retrospect::new(options);
    let mut opened_ms = None;
    for (point, around) in scored.iter_mut().zip(around) {
        *point = judge.judge(Scored { lately: around, ..*point }, &mut opened_ms);
    }
    scored
}

/// The same point in a mirror, on the series' own clock: time of day and weekday keep their rhythm, backwards.
fn mirrored(point: &Point, options: &Options) -> Point {
    Point { time_ms: options.zone.local_ms(point.time_ms).saturating_neg(), ..*point }
}

fn mirrored_options(options: &Options) -> Options {
    let mirror = |time_ms: i64| options.zone.local_ms(time_ms).saturating_neg();
    let span = |span: &Span| {
        // An event is met again where it was; what it did the first time is not known from behind.
        let note = if matches!(span.note, Note::Event(_)) { Note::Ignore } else { span.note.clone() };
        Span { from_ms: mirror(span.to_ms).saturating_add(1), to_ms: mirror(span.from_ms).saturating_add(1), note }
    };
    Options { zone: Zone::default(), spans: options.spans.iter().map(span).collect(), ..options.clone() }
}

/// The mean over as many points before as after, fewer at the ends.
fn mean_around(values: &[f64], points: usize) -> Vec<f64> {
    let mut sums = Vec::with_capacity(values.len() + 1);
    sums.push(0.0);
    let mut sum = 0.0;
    sums.extend(values.iter().map(|value| {
        sum += value;
        sum
    }));
    let reach = points / 2;
    let sum_to = |at: usize| sums.get(at.min(values.len())).copied().unwrap_or(0.0);
    let mean = |at: usize| {
        let (from, to) = (at.saturating_sub(reach), (at + reach + 1).min(values.len()));
        (sum_to(to) - sum_to(from)) / (to - from).max(1) as f64
    };
    (0..values.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_around_points_are_narrower_at_the_ends() {
        assert_eq!(mean_around(&[0.0, 3.0, 6.0, 9.0], 2), [1.5, 3.0, 6.0, 7.5]);
        assert_eq!(mean_around(&[], 2), Vec::<f64>::new());
    }

    #[test]
    fn the_first_days_are_scored_too() {
        let values = (0..60).map(|day| if day == 5 { 900.0 } else { 500.0 + f64::from(day * 29 % 17) });
        let points: Vec<Point> = (0..).zip(values).map(|(day, value)| Point::new(day * 86_400_000, value)).collect();
        let (scored, _) = score(&points, &Options::default());
        assert!(scored[5].severity > 50.0 && scored[5].opens, "{:?}", scored[5]);
        assert!(scored[4].severity < 50.0);
        assert_eq!(stream(&points, &Options::default()).0[5].severity, 0.0);
    }
}
