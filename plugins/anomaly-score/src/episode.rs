//! From points to episodes: one entry for each incident, with its beginning, its worst moment, its end, what kind of change it is, and a
//! sentence that says why.

use std::cell::OnceCell;

use serde::Serialize;

use crate::changes::level_starts;
use crate::explain::explain;
use crate::form::{Form, form};
use crate::scorer::Scored;
use crate::stats::median;
use crate::time::{DAY_MS, show};

/// A pause in the alerts of fewer steps than this does not end an episode.
const GAP_STEPS: i64 = 4;
/// Within a day, a pause shorter than this does not either.
const GAP_MS: i64 = DAY_MS * 2 / 5;
/// A point this far off, in units of what is usual, is off by itself; others alert because of their neighbours.
const OFF_BY_ITSELF: f64 = 2.0;
/// And at least this share of how far off the worst point is.
const OFF_SHARE: f64 = 0.25;
/// What is left of the expected value in an outage, at most.
const OUTAGE_SHARE: f64 = 0.05;
/// So many points at most are a spike; more to the same side are a new level.
const SPIKE_POINTS: usize = 2;
/// The share of deviations that have to be to the same side.
const SAME_SIDE: f64 = 0.8;
/// A change that grows by this factor from its first third to its last is a trend.
const GROWTH: f64 = 1.6;
/// An incident goes on while at least this share of its worst deviation is left.
const GOES_ON_SHARE: f64 = 0.5;
/// Values that were seen within this many points before are nothing new; their order may be.
const RANGE_POINTS: usize = 28;

/// Which way an episode went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Above what was expected.
    Up,
    /// Below it.
    Down,
    /// To both sides.
    Unsteady,
}

/// What kind of change an episode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Too high for one or two points, or for less than a cycle (a week of days).
    Spike,
    /// Too low for as long.
    Dip,
    /// Nothing, where something was expected.
    Outage,
    /// A new level, from one step to the next.
    LevelShift,
    /// A new direction: further off from step to step.
    TrendChange,
    /// Usual values at unusual times.
    SeasonBreak,
    /// More swing than usual.
    Variance,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Episode {
    /// When it began: the first point that is off by itself, or else the first that alerts.
    pub onset: String,
    /// When the worst point was.
    pub peak: String,
    /// When the last point was that is off.
    pub end: String,
    /// Whether the series ends inside it.
    pub ongoing: bool,
    /// Points that alert.
    pub points: usize,
    /// What kind of change it is.
    #[serde(rename = "type")]
    pub shape: Shape,
    /// Which way it went.
    pub direction: Way,
    /// The worst score.
    pub score: f64,
    /// The worst severity.
    pub severity: f64,
    /// The worst point's value.
    pub value: f64,
    /// What was expected of it.
    pub expected: f64,
    /// Lower end of its band.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// One sentence.
    pub explanation: String,
}

/// The episodes of a scored series, in the order of time.
#[must_use]
pub fn episodes(scored: &[Scored]) -> Vec<Episode> {
    let step_ms = step_ms(scored);
    let gap_ms = gap_ms(step_ms);
    let alerts: Vec<usize> = (0..scored.len()).filter(|at| scored.get(*at).is_some_and(|point| point.severity >= 50.0)).collect();
    let time = |at: &usize| scored.get(*at).map_or(0, |point| point.time_ms);
    let together = |earlier: &usize, later: &usize| time(later).saturating_sub(time(earlier)) < gap_ms;
    // Looked for when somebody asks: it takes longer than all the rest.
    let levels = OnceCell::new();
    let mut runs = alerts.chunk_by(together).peekable();
    let mut found = Vec::new();
    while let Some(run) = runs.next() {
        let mut run = run.to_vec();
        let Some(mut described) = describe(scored, &run, step_ms, &levels) else { continue };
        // What goes on without a pause is one incident, also where it did not alert for a while.
        while let Some(next) =
            runs.next_if(|next| next.first().is_some_and(|at| *at <= described.1.last) && goes_on(scored, next, described.1.way))
        {
            run.extend_from_slice(next);
            match describe(scored, &run, step_ms, &levels) {
                Some(both) => described = both,
                None => break,
            }
        }
        found.push(described.0);
    }
    found
}

/// Whether alerts are to the same side as an incident.
fn goes_on(scored: &[Scored], run: &[usize], way: Way) -> bool {
    let sum: f64 = run.iter().filter_map(|at| scored.get(*at)).map(|point| point.deviation).sum();
    match way {
        Way::Up => sum > 0.0,
        Way::Down => sum < 0.0,
        Way::Unsteady => true,
    }
}

/// The usual time between two points.
fn step_ms(scored: &[Scored]) -> i64 {
    let steps = scored.windows(2).filter_map(|pair| Some(pair.last()?.time_ms.saturating_sub(pair.first()?.time_ms)));
    let mut steps: Vec<f64> = steps.take(1000).map(|step| step as f64).collect();
    #[expect(clippy::cast_possible_truncation, reason = "it was an integer of milliseconds, or the middle of two")]
    let step_ms = median(&mut steps) as i64;
    step_ms
}

fn gap_ms(step_ms: i64) -> i64 {
    let gap_ms = step_ms.saturating_mul(GAP_STEPS);
    if step_ms < DAY_MS / 4 { gap_ms.max(GAP_MS) } else { gap_ms }
}

/// `levels` are the first points of the series' levels, once they are known.
fn describe(scored: &[Scored], run: &[usize], step_ms: i64, levels: &OnceCell<Vec<usize>>) -> Option<(Episode, Form)> {
    let (gap_ms, first, last) = (gap_ms(step_ms), *run.first()?, *run.last()?);
    let whole = scored.get(first..=last)?;
    let furthest = whole.iter().map(|point| point.deviation.abs()).fold(0.0, f64::max);
    let off = |at: &usize| scored.get(*at).is_some_and(|point| point.deviation.abs() >= OFF_BY_ITSELF.max(OFF_SHARE * furthest));
    // A shift that was noticed on its third day began on its first.
    let before = (0..first).rev().take_while(off).take(RANGE_POINTS / 4).count();
    let mut places: Vec<usize> = (first - before..=last).filter(off).collect();
    if places.is_empty() {
        places = (first..=last).collect();
    }
    let core: Vec<&Scored> = places.iter().filter_map(|at| scored.get(*at)).collect();
    // The earliest of equally bad points: the sentence should lead to where it began.
    let peak = core.iter().rev().max_by(|a, b| a.deviation.abs().total_cmp(&b.deviation.abs()))?;
    let worst = whole.iter().rev().max_by(|a, b| a.severity.total_cmp(&b.severity))?;
    let form = match form(scored, &places, step_ms) {
        // What went down and not to nothing is none, whatever the model has got used to by now.
        Some(form) if !is_outage(&core) || (form.way == Way::Down && step_ms >= DAY_MS / 4 && !gone(scored, &form)) => form,
        _ => {
            let direction = way(&core);
            let earlier = scored.get(first.saturating_sub(RANGE_POINTS)..first - before)?;
            // The model gets used to what goes on; what was expected of the worst point does not.
            let worst_by = peak.value - peak.expected;
            let goes_on = |point: &&Scored| (point.value - peak.expected) * worst_by.signum() >= worst_by.abs() * GOES_ON_SHARE;
            let later = scored.get(last + 1..).unwrap_or_default().iter().take(RANGE_POINTS).take_while(goes_on).count();
            let last = if direction == Way::Unsteady || later == 0 { *places.last()? } else { last + later };
            let places: Vec<usize> = places.iter().copied().chain(places.last().map_or(last, |at| at + 1)..=last).collect();
            let core: Vec<&Scored> = places.iter().filter_map(|at| scored.get(*at)).collect();
            Form { shape: shape(&core, direction, earlier), way: direction, first: *places.first()?, last }
        }
    };
    let form =
        if form.shape == Shape::LevelShift { form.onset_at_level(levels.get_or_init(|| level_starts(scored, step_ms))) } else { form };
    let (onset, end) = (scored.get(form.first)?, scored.get(form.last)?);
    // What was furthest off is part of what is told, and off to the side that is told.
    let off = |point: &Scored| match form.way {
        Way::Up => point.deviation,
        Way::Down => -point.deviation,
        Way::Unsteady => point.deviation.abs(),
    };
    let stretch = scored.get(form.first..=form.last)?;
    let peak = stretch.iter().rev().max_by(|a, b| off(a).total_cmp(&off(b)))?;
    let latest = scored.last()?.time_ms;
    let episode = Episode {
        onset: show(onset.time_ms),
        peak: show(peak.time_ms),
        end: show(end.time_ms),
        ongoing: latest.saturating_sub(scored.get(last)?.time_ms.max(end.time_ms)) < gap_ms,
        points: run.len(),
        shape: form.shape,
        direction: form.way,
        score: worst.score,
        severity: worst.severity,
        value: peak.value,
        expected: peak.expected,
        low: peak.low,
        high: peak.high,
        explanation: explain(form.shape, form.way, peak, stretch),
    };
    Some((episode, form))
}

fn is_outage(core: &[&Scored]) -> bool {
    let gone = |p: &&&Scored| p.expected > 0.0 && p.value >= 0.0 && p.value <= p.expected * OUTAGE_SHARE;
    way(core) == Way::Down && core.iter().filter(gone).count() * 2 > core.len()
}

/// Whether an incident's whole stretch is one of nothing.
fn gone(scored: &[Scored], form: &Form) -> bool {
    is_outage(&scored.get(form.first..=form.last).unwrap_or_default().iter().collect::<Vec<_>>())
}

fn way(core: &[&Scored]) -> Way {
    let (sum, size) = core.iter().fold((0.0, 0.0), |(sum, size), p| (sum + p.deviation, size + p.deviation.abs()));
    // From the share of deviations to one side to their balance.
    let balance = 2.0 * SAME_SIDE - 1.0;
    if sum > size * balance {
        Way::Up
    } else if sum < size * -balance {
        Way::Down
    } else {
        Way::Unsteady
    }
}

fn shape(core: &[&Scored], direction: Way, earlier: &[Scored]) -> Shape {
    if is_outage(core) {
        return Shape::Outage;
    }
    match direction {
        Way::Unsteady => {
            let (low, high) =
                earlier.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p.value), high.max(p.value)));
            let familiar = core.iter().filter(|p| (low..=high).contains(&p.value)).count();
            if familiar as f64 >= SAME_SIDE * core.len() as f64 { Shape::SeasonBreak } else { Shape::Variance }
        }
        Way::Up if core.len() <= SPIKE_POINTS => Shape::Spike,
        Way::Down if core.len() <= SPIKE_POINTS => Shape::Dip,
        Way::Up | Way::Down => {
            let third = core.len().div_ceil(3);
            let mean = |part: &[&Scored]| part.iter().map(|p| p.deviation.abs()).sum::<f64>() / part.len().max(1) as f64;
            let (start, end) = (mean(core.get(..third).unwrap_or_default()), mean(core.get(core.len() - third..).unwrap_or_default()));
            if end > start * GROWTH { Shape::TrendChange } else { Shape::LevelShift }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64, value: f64) -> Scored {
        let deviation = (value - 100.0) / 5.0;
        let severity = if deviation.abs() >= 3.0 { 60.0 + deviation.abs() } else { 20.0 };
        Scored {
            time_ms: day * 86_400_000,
            value,
            score: deviation.abs(),
            severity,
            lately: 0.0,
            evidence: 0.0,
            opens: false,
            expected: 100.0,
            low: 85.0,
            high: 115.0,
            deviation,
        }
    }

    fn found(values: &[f64]) -> Vec<Episode> {
        episodes(&(0..).zip(values).map(|(at, value)| day(at, *value)).collect::<Vec<_>>())
    }

    #[test]
    fn alerts_close_together_are_one_episode() {
        let values = [100.0, 78.0, 100.0, 60.0, 80.0, 100.0, 100.0, 100.0, 100.0, 100.0, 130.0, 100.0, 100.0, 100.0, 100.0];
        let episodes = found(&values);
        assert_eq!(episodes.len(), 2);
        let first = &episodes[0];
        assert_eq!((first.onset.as_str(), first.peak.as_str(), first.end.as_str()), ("1970-01-02", "1970-01-04", "1970-01-05"));
        assert_eq!((first.points, first.direction, first.ongoing), (3, Way::Down, false));
        assert_eq!((episodes[1].shape, episodes[1].direction), (Shape::Spike, Way::Up));
    }

    #[test]
    fn each_kind_of_change_has_its_name() {
        let after = |tail: &[f64]| {
            let calm = (0..30).map(|at| if at % 2 == 0 { 70.0 + 29.0 } else { 101.0 });
            let episodes = found(&calm.chain(tail.iter().copied()).collect::<Vec<_>>());
            (episodes.len(), episodes.first().map(|episode| episode.shape))
        };
        assert_eq!(after(&[140.0]), (1, Some(Shape::Spike)));
        assert_eq!(after(&[70.0, 100.0]), (1, Some(Shape::Dip)));
        assert_eq!(after(&[0.0, 1.0, 0.0]), (1, Some(Shape::Outage)));
        assert_eq!(after(&[130.0, 129.0, 131.0, 130.0, 128.0]), (1, Some(Shape::LevelShift)));
        assert_eq!(after(&[102.0, 104.0, 106.0, 108.0, 110.0, 112.0, 114.0, 116.0, 118.0]), (1, Some(Shape::TrendChange)));
        assert_eq!(after(&[130.0, 70.0, 130.0, 70.0, 130.0, 70.0]), (1, Some(Shape::Variance)));
        assert_eq!(after(&[]), (0, None));
    }

    #[test]
    fn usual_values_at_unusual_times_break_the_season() {
        let week = |at: i64| if at % 7 > 4 { 50.0 } else { 150.0 };
        let mut scored: Vec<Scored> =
            (0..28).map(|at| Scored { deviation: 0.0, severity: 1.0, expected: week(at), ..day(at, week(at) + (at % 3) as f64) }).collect();
        let off = |at: i64| Scored { deviation: (week(at + 3) - week(at)) / 25.0, severity: 70.0, ..day(at, week(at + 3)) };
        scored.extend((28..38).map(|at| Scored { expected: week(at), ..off(at) }));
        assert_eq!(episodes(&scored)[0].shape, Shape::SeasonBreak);
        assert!(episodes(&scored)[0].ongoing);
    }
}
