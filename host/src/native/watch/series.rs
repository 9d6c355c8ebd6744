//! From rows of figures and ratings to series: one for each metric of each lane, and of each version where a lane had several.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use super::request::Plan;
use super::scoring::{Asked, Direction, Kind, Point};
use crate::clock::UnixMs;
use crate::store::{RatingStats, TaskStats};
use crate::task::LaneKey;

/// What is watched of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    SuccessRate,
    Duration,
    QueueWait,
    Fuel,
    /// The share of people's ratings that are good.
    Satisfaction,
}

/// What attempts came to, and what people thought of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) queue_ms: u64,
    pub(super) run_ms: u64,
    pub(super) fuel: u64,
    pub(super) ratings: u64,
    pub(super) satisfied: u64,
}

impl Sums {
    pub(super) fn attempts(&self) -> u64 {
        self.succeeded + self.failed
    }
}

impl Sums {
    /// What is left without a part of it.
    pub(super) fn without(mut self, part: &Self) -> Self {
        self.succeeded = self.succeeded.saturating_sub(part.succeeded);
        self.failed = self.failed.saturating_sub(part.failed);
        self.queue_ms = self.queue_ms.saturating_sub(part.queue_ms);
        self.run_ms = self.run_ms.saturating_sub(part.run_ms);
        self.fuel = self.fuel.saturating_sub(part.fuel);
        self.ratings = self.ratings.saturating_sub(part.ratings);
        self.satisfied = self.satisfied.saturating_sub(part.satisfied);
        self
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.queue_ms = self.queue_ms.saturating_add(other.queue_ms);
        self.run_ms = self.run_ms.saturating_add(other.run_ms);
        self.fuel = self.fuel.saturating_add(other.fuel);
        self.ratings += other.ratings;
        self.satisfied += other.satisfied;
    }
}

/// A share has to be lower by this much before it matters.
const SHARE_LOWER_BY: f64 = 0.03;
/// And by this many cases over the whole episode: one failure among twenty may be the first in a month and is no incident.
const CASES_LOWER_BY: f64 = 3.0;

/// A mean run time, and a mean wait, has to differ by this much before it matters.
const DURATION_BY_MS: f64 = 10.0;
const QUEUE_WAIT_BY_MS: f64 = 1_000.0;

impl Metric {
    pub(super) const ALL: [Self; 5] = [Self::SuccessRate, Self::Duration, Self::QueueWait, Self::Fuel, Self::Satisfaction];

    /// Its name in findings.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SuccessRate => "success_rate",
            Self::Duration => "duration",
            Self::QueueWait => "queue_wait",
            Self::Fuel => "fuel",
            Self::Satisfaction => "satisfaction",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::SuccessRate | Self::Satisfaction => Kind::Ratio,
            Self::Duration | Self::QueueWait | Self::Fuel => Kind::Duration,
        }
    }

    /// Which way is bad. That tasks use much less fuel than they did is as odd as that they use more.
    pub(super) fn direction(self) -> Direction {
        match self {
            Self::SuccessRate | Self::Satisfaction => Direction::Down,
            Self::Duration | Self::QueueWait => Direction::Up,
            Self::Fuel => Direction::Both,
        }
    }

    /// What no difference of about that size, or smaller, is worth. Lengths are scored by their logarithm, on which one millisecond and two are as
    /// far apart as one hour and two, and means of a few milliseconds never rest: so this much is added to each before it is scored.
    pub(super) fn grain(self) -> f64 {
        match self {
            Self::Duration => DURATION_BY_MS,
            Self::QueueWait => QUEUE_WAIT_BY_MS,
            Self::SuccessRate | Self::Satisfaction | Self::Fuel => 0.0,
        }
    }

    /// Of a ratio: the cases that count and all cases. Of a mean: the sum and how many it is the mean of.
    pub(super) fn parts(self, sums: &Sums) -> (u64, u64) {
        match self {
            Self::SuccessRate => (sums.succeeded, sums.attempts()),
            Self::Satisfaction => (sums.satisfied, sums.ratings),
            Self::Duration => (sums.run_ms, sums.attempts()),
            Self::QueueWait => (sums.queue_ms, sums.attempts()),
            Self::Fuel => (sums.fuel, sums.attempts()),
        }
    }

    /// The point for some attempts. A mean of few says nothing; a ratio says how few it is of, and the scorer makes of it what it is worth.
    fn point(self, at: i64, sums: Option<&Sums>, min_attempts: u64) -> Point {
        let (sum, count) = sums.map_or((0, 0), |sums| self.parts(sums));
        let value = (count > 0).then(|| sum as f64 / count as f64);
        match self.kind() {
            Kind::Ratio => Point(at, value, Some(count as f64)),
            Kind::Duration => Point(at, value.filter(|_| count >= min_attempts).map(|value| value + self.grain()), None),
        }
    }

    /// Whether a difference is worth anybody's time, however improbable it is. `whole` is what the whole episode came to.
    pub(super) fn matters(self, value: f64, expected: f64, whole: &Sums) -> bool {
        let by = (value - expected).abs();
        match self {
            Self::SuccessRate | Self::Satisfaction => {
                let (good, all) = self.parts(whole);
                by >= SHARE_LOWER_BY && expected * all as f64 - good as f64 >= CASES_LOWER_BY
            }
            Self::Duration => by >= DURATION_BY_MS && by >= 0.25 * expected,
            Self::QueueWait => by >= QUEUE_WAIT_BY_MS && by >= 0.5 * expected,
            Self::Fuel => by >= 0.1 * expected,
        }
    }
}

/// A plugin and its version.
pub(super) type Version = (String, String);

/// What happened in a lane, bucket by bucket.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) all: BTreeMap<UnixMs, Sums>,
    pub(super) by_version: BTreeMap<Version, BTreeMap<UnixMs, Sums>>,
}

impl History {
    /// Versions that ran from `onset` to before `end` and not in as much time before that, a day at least.
    pub(super) fn new_versions(&self, onset: UnixMs, end: UnixMs) -> Vec<&Version> {
        let before = onset.minus(end.since(onset).max(Duration::from_secs(86_400)));
        let old = self.versions(before, onset);
        self.versions(onset, end).into_iter().filter(|version| !old.contains(version)).collect()
    }

    /// Versions that had attempts from `from` to before `to`.
    pub(super) fn versions(&self, from: UnixMs, to: UnixMs) -> Vec<&Version> {
        let ran = |buckets: &BTreeMap<UnixMs, Sums>| from < to && buckets.range(from..to).any(|(_, sums)| sums.attempts() > 0);
        self.by_version.iter().filter(|(_, buckets)| ran(buckets)).map(|(version, _)| version).collect()
    }
}

/// Rows of figures, and of ratings, as histories of lanes.
pub(super) fn histories(attempts: Vec<TaskStats>, ratings: Vec<RatingStats>) -> BTreeMap<LaneKey, History> {
    let mut lanes: BTreeMap<LaneKey, History> = BTreeMap::new();
    let mut add = |lane: LaneKey, version: Version, from: UnixMs, sums: Sums| {
        let history = lanes.entry(lane).or_default();
        *history.all.entry(from).or_default() += sums;
        *history.by_version.entry(version).or_default().entry(from).or_default() += sums;
    };
    for row in attempts {
        let TaskStats { from, lane, plugin, plugin_version, succeeded, failed, queue_ms, run_ms, fuel } = row;
        add(lane, (plugin, plugin_version), from, Sums { succeeded, failed, queue_ms, run_ms, fuel, ..Sums::default() });
    }
    for row in ratings {
        let RatingStats { from, lane, plugin, plugin_version, ratings, satisfied } = row;
        add(lane, (plugin, plugin_version), from, Sums { ratings, satisfied, ..Sums::default() });
    }
    lanes
}

/// The series of a metric from its first bucket on, a point for each span.
pub(super) fn series(metric: Metric, buckets: &BTreeMap<UnixMs, Sums>, plan: &Plan) -> Asked {
    let span_ms = plan.span_ms();
    let first = buckets.iter().find(|(_, sums)| metric.parts(sums).1 > 0).map_or(plan.to.0, |(at, _)| at.0);
    let steps = (plan.to.0 - first) / span_ms;
    let point = |at: i64| metric.point(at, buckets.get(&UnixMs(at)), plan.min_attempts);
    let points = (0..steps).map(|step| point(first + step * span_ms)).collect();
    Asked { points, kind: metric.kind(), direction: metric.direction() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskType;

    fn row(from: i64, version: &str, succeeded: u64, failed: u64) -> TaskStats {
        TaskStats {
            from: UnixMs(from),
            lane: LaneKey { task_type: TaskType::new("echo").expect("a type"), ai_model: None },
            plugin: "echo".to_owned(),
            plugin_version: version.to_owned(),
            succeeded,
            failed,
            queue_ms: 10,
            run_ms: 40,
            fuel: 400,
        }
    }

    fn values(metric: Metric, history: &History, min_attempts: u64) -> Vec<Point> {
        let plan = Plan { span: Duration::from_millis(100), to: UnixMs(300), min_attempts, ..Plan::read("{}", UnixMs(0)).expect("good") };
        series(metric, &history.all, &plan).points
    }

    #[test]
    fn rows_of_versions_add_up_to_the_lane() {
        let lane = || row(0, "", 0, 0).lane;
        let rated = RatingStats {
            from: UnixMs(200),
            lane: lane(),
            plugin: "echo".to_owned(),
            plugin_version: "1.1.0".to_owned(),
            ratings: 4,
            satisfied: 3,
        };
        let lanes = histories(vec![row(0, "1.0.0", 8, 2), row(0, "1.1.0", 0, 10), row(200, "1.1.0", 4, 0)], vec![rated]);
        let history = lanes.values().next().expect("a lane");
        let rate = [Point(0, Some(0.4), Some(20.0)), Point(100, None, Some(0.0)), Point(200, Some(1.0), Some(4.0))];
        assert_eq!(values(Metric::SuccessRate, history, 5), rate, "a ratio of few is told to be one");
        assert_eq!(values(Metric::Duration, history, 4)[0], Point(0, Some(14.0), None), "four milliseconds and the grain");
        assert_eq!(values(Metric::Duration, history, 5)[2], Point(200, None, None), "too few attempts for a mean");
        assert_eq!(values(Metric::Satisfaction, history, 5), [Point(200, Some(0.75), Some(4.0))], "from the first rating on");
        let names = |from, to| history.versions(UnixMs(from), UnixMs(to)).iter().map(|(_, version)| version.as_str()).collect::<Vec<_>>();
        assert_eq!((names(0, 100), names(100, 300), names(300, 100)), (vec!["1.0.0", "1.1.0"], vec!["1.1.0"], vec![]));
    }

    #[test]
    fn small_differences_do_not_matter() {
        let of = |succeeded: u64, failed: u64| Sums { succeeded, failed, ..Sums::default() };
        let rate = |value: f64, whole: Sums| Metric::SuccessRate.matters(value, 0.95, &whole);
        assert!(rate(0.9, of(90, 10)) && !rate(0.93, of(930, 70)));
        assert!(!rate(0.5, of(1, 1)), "two cases are no incident");
        let none = Sums::default();
        assert!(Metric::Duration.matters(200.0, 100.0, &none) && !Metric::Duration.matters(9.0, 4.0, &none));
        assert!(!Metric::Duration.matters(110.0, 100.0, &none));
        assert!(Metric::QueueWait.matters(1_500.0, 10.0, &none) && !Metric::QueueWait.matters(500.0, 10.0, &none));
        assert!(Metric::Fuel.matters(80.0, 100.0, &none) && !Metric::Fuel.matters(105.0, 100.0, &none));
    }
}
