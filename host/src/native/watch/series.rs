//! From rows of figures to series: one for each metric of each lane, and of each version where a lane had several.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use crate::clock::UnixMs;
use crate::store::TaskStats;
use crate::task::LaneKey;

/// What is watched of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    SuccessRate,
    Duration,
    QueueWait,
    Fuel,
}

/// What attempts came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) queue_ms: u64,
    pub(super) run_ms: u64,
    pub(super) fuel: u64,
}

impl Sums {
    pub(super) fn attempts(&self) -> u64 {
        self.succeeded + self.failed
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.queue_ms = self.queue_ms.saturating_add(other.queue_ms);
        self.run_ms = self.run_ms.saturating_add(other.run_ms);
        self.fuel = self.fuel.saturating_add(other.fuel);
    }
}

impl Metric {
    pub(super) const ALL: [Self; 4] = [Self::SuccessRate, Self::Duration, Self::QueueWait, Self::Fuel];

    /// Its name in findings.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SuccessRate => "success_rate",
            Self::Duration => "duration",
            Self::QueueWait => "queue_wait",
            Self::Fuel => "fuel",
        }
    }

    /// Which way is bad, in the words of `anomaly.score`. That tasks use much less fuel than they did is as odd as that they use more.
    pub(super) fn direction(self) -> &'static str {
        match self {
            Self::SuccessRate => "down",
            Self::Duration | Self::QueueWait => "up",
            Self::Fuel => "both",
        }
    }

    /// Its value over some attempts; nothing where there were none.
    pub(super) fn value(self, sums: &Sums) -> Option<f64> {
        let attempts = sums.attempts();
        let of_each = |sum: u64| sum as f64 / attempts as f64;
        (attempts > 0).then(|| match self {
            Self::SuccessRate => of_each(sums.succeeded),
            Self::Duration => of_each(sums.run_ms),
            Self::QueueWait => of_each(sums.queue_ms),
            Self::Fuel => of_each(sums.fuel),
        })
    }

    /// Whether a difference is worth anybody's time, however improbable it is.
    pub(super) fn matters(self, value: f64, expected: f64) -> bool {
        let by = (value - expected).abs();
        match self {
            Self::SuccessRate => by >= 0.03,
            Self::Duration => by >= 10.0 && by >= 0.25 * expected,
            Self::QueueWait => by >= 1_000.0 && by >= 0.5 * expected,
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
        let ran = |buckets: &BTreeMap<UnixMs, Sums>| from < to && buckets.range(from..to).next().is_some();
        self.by_version.iter().filter(|(_, buckets)| ran(buckets)).map(|(version, _)| version).collect()
    }
}

pub(super) fn histories(rows: Vec<TaskStats>) -> BTreeMap<LaneKey, History> {
    let mut lanes: BTreeMap<LaneKey, History> = BTreeMap::new();
    for row in rows {
        let sums = Sums { succeeded: row.succeeded, failed: row.failed, queue_ms: row.queue_ms, run_ms: row.run_ms, fuel: row.fuel };
        let history = lanes.entry(row.lane).or_default();
        *history.all.entry(row.from).or_default() += sums;
        *history.by_version.entry((row.plugin, row.plugin_version)).or_default().entry(row.from).or_default() += sums;
    }
    lanes
}

/// The points of a metric from its first bucket on, one for each span: nothing where too few attempts ended.
pub(super) fn points(
    metric: Metric,
    buckets: &BTreeMap<UnixMs, Sums>,
    to: UnixMs,
    span_ms: i64,
    min_attempts: u64,
) -> Vec<(i64, Option<f64>)> {
    let Some((first, _)) = buckets.first_key_value() else { return Vec::new() };
    let steps = (to.0 - first.0) / span_ms.max(1);
    let value = |at: i64| buckets.get(&UnixMs(at)).filter(|sums| sums.attempts() >= min_attempts).and_then(|sums| metric.value(sums));
    (0..steps).map(|step| first.0 + step * span_ms).map(|at| (at, value(at))).collect()
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

    #[test]
    fn rows_of_versions_add_up_to_the_lane() {
        let lanes = histories(vec![row(0, "1.0.0", 8, 2), row(0, "1.1.0", 0, 10), row(200, "1.1.0", 4, 0)]);
        let history = lanes.values().next().expect("a lane");
        assert_eq!(points(Metric::SuccessRate, &history.all, UnixMs(300), 100, 4), [(0, Some(0.4)), (100, None), (200, Some(1.0))]);
        assert_eq!(points(Metric::SuccessRate, &history.all, UnixMs(300), 100, 5)[2], (200, None), "too few attempts");
        assert_eq!(points(Metric::Duration, &history.all, UnixMs(300), 100, 4)[0], (0, Some(4.0)));
        let names = |from, to| history.versions(UnixMs(from), UnixMs(to)).iter().map(|(_, version)| version.as_str()).collect::<Vec<_>>();
        assert_eq!((names(0, 100), names(100, 300), names(300, 100)), (vec!["1.0.0", "1.1.0"], vec!["1.1.0"], vec![]));
    }

    #[test]
    fn small_differences_do_not_matter() {
        assert!(Metric::SuccessRate.matters(0.9, 0.95) && !Metric::SuccessRate.matters(0.93, 0.95));
        assert!(Metric::Duration.matters(200.0, 100.0) && !Metric::Duration.matters(9.0, 4.0) && !Metric::Duration.matters(110.0, 100.0));
        assert!(Metric::QueueWait.matters(1_500.0, 10.0) && !Metric::QueueWait.matters(500.0, 10.0));
        assert!(Metric::Fuel.matters(80.0, 100.0) && !Metric::Fuel.matters(105.0, 100.0));
        assert_eq!(Metric::Fuel.value(&Sums::default()), None);
    }
}
