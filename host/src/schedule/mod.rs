//! Schedules: tasks that are submitted by the clock. Pure; what is due is submitted by `scheduler::schedules`.

mod cron;
mod template;
mod timetable;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use cron::{Cron, CronError};
pub use template::{PlaceholderError, TaskTemplate, fill};
pub use timetable::Timetable;

use crate::clock::UnixMs;
use crate::task::{NameError, TaskId, TaskType};

/// A run that is started no later than this after it was due has not been missed.
pub const ON_TIME: Duration = Duration::from_secs(60);

/// What an operator calls a schedule: 1 to 128 of `A-Z a-z 0-9 . _ - :`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleName(Box<str>);

impl ScheduleName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is not one.
    pub fn new(name: &str) -> Result<Self, NameError> {
        // The same letters as a task type, and for the same reasons.
        match TaskType::new(name) {
            Ok(_) => Ok(Self(name.into())),
            Err(error) => Err(NameError(error.0.replace("a task type", "the name of a schedule"))),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to runs that were due while no host was there to start them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// One run makes up for all of them: the last that was due.
    #[default]
    Once,
    /// None does; the next run is the next that becomes due.
    Skip,
}

/// A task that is submitted by the clock.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// What it is called.
    pub name: ScheduleName,
    /// When.
    pub timetable: Timetable,
    /// What about runs that were missed.
    pub catch_up: CatchUp,
    /// Whether it rests.
    pub paused: bool,
    /// What is submitted.
    pub task: TaskTemplate,
    /// Grows with every change of what or when.
    pub revision: i64,
    /// The earliest run that was not decided about yet.
    pub next_due: Option<UnixMs>,
    /// The last run that was decided about.
    pub last_due: Option<UnixMs>,
    /// The last task that was submitted.
    pub last_task: Option<TaskId>,
    /// Why the last run was not submitted.
    pub last_problem: Option<String>,
}

/// What a schedule does at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The run to start.
    pub run: Option<UnixMs>,
    /// The run that was decided about: all up to this one are dealt with.
    pub decided: UnixMs,
    /// When there is something to decide again.
    pub next: Option<UnixMs>,
}

impl Schedule {
    /// What is to be done now; nothing while it is paused or nothing is due. However many runs were missed, it is one turn.
    #[must_use]
    pub fn turn(&self, now: UnixMs) -> Option<Turn> {
        let first = self.next_due.filter(|due| !self.paused && *due <= now)?;
        // Never before what was promised, should the rules of the zone have changed under it.
        let decided = self.timetable.last_until(now).map_or(first, |last| last.max(first));
        let missed = now.since(decided) > ON_TIME;
        let run = (!missed || self.catch_up == CatchUp::Once).then_some(decided);
        Some(Turn { run, decided, next: self.timetable.next_after(now) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{LaneKey, Priority, TaskPlan};

    fn ms(text: &str) -> UnixMs {
        UnixMs::parse_rfc3339(text).expect(text)
    }

    fn nightly(catch_up: CatchUp) -> Schedule {
        Schedule {
            name: ScheduleName::new("nightly").expect("a name"),
            timetable: Timetable { cron: Cron::parse("0 2 * * *").expect("cron"), zone: "Europe/Berlin".parse().expect("a zone") },
            catch_up,
            paused: false,
            task: TaskTemplate {
                lane: LaneKey { task_type: TaskType::new("echo").expect("a type"), ai_model: None },
                priority: Priority::Normal,
                payload: serde_json::value::RawValue::NULL.to_owned(),
                plan: TaskPlan::default(),
                max_attempts: 1,
                tenant: None,
            },
            revision: 1,
            next_due: Some(ms("2026-11-25T01:00:00Z")),
            last_due: None,
            last_task: None,
            last_problem: None,
        }
    }

    #[test]
    fn on_time_a_run_is_started_and_before_it_none() {
        let schedule = nightly(CatchUp::Skip);
        assert_eq!(schedule.turn(ms("2026-11-25T00:59:59.999Z")), None);
        let due = ms("2026-11-25T01:00:00Z");
        for now in ["2026-11-25T01:00:00Z", "2026-11-25T01:01:00Z"] {
            let expected = Turn { run: Some(due), decided: due, next: Some(ms("2026-11-26T01:00:00Z")) };
            assert_eq!(schedule.turn(ms(now)), Some(expected));
        }
        assert_eq!(Schedule { paused: true, ..schedule }.turn(due), None);
    }

    #[test]
    fn after_two_days_without_a_host_one_run_makes_up_or_none() {
        let now = ms("2026-11-27T10:00:00Z");
        let (last, next) = (ms("2026-11-27T01:00:00Z"), Some(ms("2026-11-28T01:00:00Z")));
        assert_eq!(nightly(CatchUp::Once).turn(now), Some(Turn { run: Some(last), decided: last, next }));
        assert_eq!(nightly(CatchUp::Skip).turn(now), Some(Turn { run: None, decided: last, next }));
    }

    #[test]
    fn the_task_of_a_run_is_the_same_whoever_makes_it() {
        let schedule = nightly(CatchUp::Once);
        let due = ms("2026-11-25T01:00:00Z");
        let (one, other) = (schedule.task(due).expect("a task"), schedule.task(due).expect("a task"));
        assert_eq!(one.idempotency, other.idempotency);
        assert_eq!(one.idempotency.as_ref().map(|(key, _)| key.as_str()), Some("schedule:nightly:2026-11-25T01:00:00.000Z"));
        let changed = Schedule { revision: 2, ..schedule }.task(due).expect("a task");
        assert_ne!(one.idempotency.map(|(_, digest)| digest), changed.idempotency.map(|(_, digest)| digest));
        assert!(ScheduleName::new("no spaces").is_err_and(|error| error.0.contains("the name of a schedule")));
    }
}
