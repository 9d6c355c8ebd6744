//! The host's figures in Prometheus' terms. `app` makes them once and hands them to those who count and to the one who prints.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::task::{LaneKey, Outcome, TaskType};

/// Task types that are counted by name; later ones are counted together as `other`, so that a submitter who makes up types
/// cannot fill the memory of the host or of whoever scrapes it.
const TASK_TYPES_MAX: usize = 200;
/// Lanes that are printed by name, for the same reason.
const LANES_MAX: usize = 500;
const OTHER: &str = "other";

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfType {
    task_type: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfOutcome {
    task_type: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLane {
    task_type: String,
    ai_model: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRequest {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRoute {
    route: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfVerdict {
    verdict: &'static str,
}

fn seconds_from_a_millisecond() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 10))
}

type Seconds = Family<OfType, Histogram, fn() -> Histogram>;

/// Everything that is counted. Cheap to share; every method may be called from any thread and none waits.
pub struct Metrics {
    registry: Mutex<Registry>,
    of_type: RwLock<HashMap<TaskType, Arc<TypeMetrics>>>,
    submitted: Family<OfType, Counter>,
    finished: Family<OfOutcome, Counter>,
    retried: Family<OfType, Counter>,
    fuel: Family<OfType, Counter>,
    queue_seconds: Seconds,
    run_seconds: Seconds,
    lane_queued: Family<OfLane, Gauge>,
    lane_scheduled: Family<OfLane, Gauge>,
    lane_running: Family<OfLane, Gauge>,
    requests: Family<OfRequest, Counter>,
    request_seconds: Family<OfRoute, Histogram, fn() -> Histogram>,
    stripe_events: Family<OfVerdict, Counter>,
    stripe_refused: Family<OfVerdict, Counter>,
    /// Attempts that run on this host now.
    pub running: Gauge,
    /// Results that came after their lease was lost, and were dropped.
    pub stale_results: Counter,
    /// Tasks taken back from hosts that died.
    pub reaped: Counter,
    /// Event streams that are open now.
    pub event_streams: Gauge,
}

/// What is counted for one task type, looked up once per batch rather than once per task.
struct TypeMetrics {
    submitted: Counter,
    retried: Counter,
    fuel: Counter,
    finished: Vec<(Outcome, Counter)>,
    queue_seconds: Histogram,
    run_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All figures at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("taskwarden");
        let made = Self {
            of_type: RwLock::default(),
            submitted: Family::default(),
            finished: Family::default(),
            retried: Family::default(),
            fuel: Family::default(),
            queue_seconds: Family::new_with_constructor(seconds_from_a_millisecond),
            run_seconds: Family::new_with_constructor(seconds_from_a_millisecond),
            lane_queued: Family::default(),
            lane_scheduled: Family::default(),
            lane_running: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds_from_a_millisecond),
            stripe_events: Family::default(),
            stripe_refused: Family::default(),
            running: Gauge::default(),
            stale_results: Counter::default(),
            reaped: Counter::default(),
            event_streams: Gauge::default(),
            registry: Mutex::default(),
        };
        registry.register("tasks_submitted", "Tasks accepted, repeats of an idempotency key not counted", made.submitted.clone());
        registry.register(
            "tasks_finished",
            "Tasks that reached a final state, by the outcome of their last attempt",
            made.finished.clone(),
        );
        registry.register("attempts_retried", "Attempts after which the task was queued again", made.retried.clone());
        registry.register("fuel_used", "Fuel used by attempts", made.fuel.clone());
        registry.register("queue_seconds", "From ready to started, per attempt", made.queue_seconds.clone());
        registry.register("run_seconds", "From started to ended, per attempt", made.run_seconds.clone());
        registry.register("lane_queued_tasks", "Tasks that wait for a slot, per lane", made.lane_queued.clone());
        registry.register("lane_scheduled_tasks", "Tasks that wait for their time, per lane", made.lane_scheduled.clone());
        registry.register("lane_running_tasks", "Tasks that run, per lane, on all hosts", made.lane_running.clone());
        registry.register("http_requests", "Requests answered", made.requests.clone());
        registry.register("http_request_seconds", "From the request's head to the answer's head", made.request_seconds.clone());
        registry.register(
            "stripe_events",
            "Events of Stripe's that were genuine, by what was decided about them",
            made.stripe_events.clone(),
        );
        registry.register("stripe_events_refused", "Events that were not taken for Stripe's, by why", made.stripe_refused.clone());
        registry.register("running_attempts", "Attempts that run on this host", made.running.clone());
        registry.register("results_stale", "Results that came after their lease was lost", made.stale_results.clone());
        registry.register("tasks_reaped", "Tasks taken back from hosts that died", made.reaped.clone());
        registry.register("event_streams", "Event streams that are open", made.event_streams.clone());
        *made.registry.lock() = registry;
        made
    }

    /// `count` tasks of a type were accepted.
    pub fn submitted(&self, task_type: &TaskType, count: u64) {
        self.of_type(task_type).submitted.inc_by(count);
    }

    /// A task reached a final state without an attempt: cancelled while it waited.
    pub fn ended_unrun(&self, task_type: &TaskType, outcome: Outcome) {
        self.of_type(task_type).count(outcome);
    }

    /// An attempt ended. `is_final` says whether the task did as well.
    pub fn attempt(&self, task_type: &TaskType, outcome: Outcome, is_final: bool, queued: Duration, ran: Duration, fuel: u64) {
        let metrics = self.of_type(task_type);
        metrics.queue_seconds.observe(queued.as_secs_f64());
        metrics.run_seconds.observe(ran.as_secs_f64());
        metrics.fuel.inc_by(fuel);
        if is_final {
            metrics.count(outcome);
        } else {
            metrics.retried.inc();
        }
    }

    /// An event of Stripe's was genuine.
    pub fn stripe_event(&self, verdict: &'static str) {
        self.stripe_events.get_or_create(&OfVerdict { verdict }).inc();
    }

    /// Something was not taken for an event of Stripe's.
    pub fn stripe_refused(&self, verdict: &'static str) {
        self.stripe_refused.get_or_create(&OfVerdict { verdict }).inc();
    }

    /// How full the lanes are, as the store's own counters say.
    pub fn lanes<'a>(&self, lanes: impl IntoIterator<Item = (&'a LaneKey, u64, u64, u64)>) {
        // Lanes that are gone must not keep their last figure.
        self.lane_queued.clear();
        self.lane_scheduled.clear();
        self.lane_running.clear();
        for (key, queued, scheduled, running) in lanes.into_iter().take(LANES_MAX) {
            let ai_model = key.ai_model.as_ref().map_or_else(String::new, ToString::to_string);
            let labels = OfLane { task_type: key.task_type.to_string(), ai_model };
            for (family, value) in [(&self.lane_queued, queued), (&self.lane_scheduled, scheduled), (&self.lane_running, running)] {
                family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }

    /// A request was answered. `route` is the pattern that matched, never the path as it was sent.
    pub fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&OfRequest { method, route: route.to_owned(), status }).inc();
        self.request_seconds.get_or_create(&OfRoute { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// All of it in the OpenMetrics text format, which Prometheus reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }

    fn of_type(&self, task_type: &TaskType) -> Arc<TypeMetrics> {
        if let Some(known) = self.of_type.read().get(task_type) {
            return Arc::clone(known);
        }
        let mut all = self.of_type.write();
        if all.len() < TASK_TYPES_MAX {
            let made = Arc::new(self.make(task_type.as_str()));
            return Arc::clone(all.entry(task_type.clone()).or_insert(made));
        }
        drop(all);
        Arc::new(self.make(OTHER))
    }

    fn make(&self, task_type: &str) -> TypeMetrics {
        let labels = OfType { task_type: task_type.to_owned() };
        let of_outcome = |outcome: Outcome| OfOutcome { task_type: task_type.to_owned(), outcome: outcome.name() };
        TypeMetrics {
            submitted: self.submitted.get_or_create_owned(&labels),
            retried: self.retried.get_or_create_owned(&labels),
            fuel: self.fuel.get_or_create_owned(&labels),
            finished: Outcome::ALL.into_iter().map(|o| (o, self.finished.get_or_create_owned(&of_outcome(o)))).collect(),
            queue_seconds: self.queue_seconds.get_or_create_owned(&labels),
            run_seconds: self.run_seconds.get_or_create_owned(&labels),
        }
    }
}

impl TypeMetrics {
    fn count(&self, outcome: Outcome) {
        if let Some((_, counter)) = self.finished.iter().find(|(of, _)| *of == outcome) {
            counter.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_task_types_are_counted_together() {
        let metrics = Metrics::new();
        for number in 0..TASK_TYPES_MAX + 50 {
            metrics.submitted(&TaskType::new(&format!("t{number}")).expect("valid"), 1);
        }
        let text = metrics.to_text();
        assert!(text.contains("taskwarden_tasks_submitted_total{task_type=\"other\"} 50\n"), "{text}");
        assert!(!text.contains("\"t200\""));
    }

    #[test]
    fn an_attempt_shows_up_under_its_outcome() {
        let metrics = Metrics::new();
        let echo = TaskType::new("echo").expect("valid");
        metrics.attempt(&echo, Outcome::Trap, false, Duration::from_millis(2), Duration::from_millis(3), 70);
        metrics.attempt(&echo, Outcome::Succeeded, true, Duration::from_millis(2), Duration::from_millis(3), 30);
        let text = metrics.to_text();
        for line in [
            "taskwarden_tasks_finished_total{task_type=\"echo\",outcome=\"succeeded\"} 1",
            "taskwarden_attempts_retried_total{task_type=\"echo\"} 1",
            "taskwarden_fuel_used_total{task_type=\"echo\"} 100",
            "taskwarden_run_seconds_count{task_type=\"echo\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}
