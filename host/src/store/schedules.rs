//! Where schedules are kept.

use async_trait::async_trait;

use super::Result;
use crate::clock::UnixMs;
use crate::schedule::{CatchUp, Schedule, ScheduleName, TaskTemplate, Timetable};
use crate::task::TaskId;

/// A schedule as an operator puts it.
#[derive(Debug, Clone)]
pub struct NewSchedule {
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
    /// Its first run, counted from now. One that exists, was awake and keeps its timetable keeps what it had: a run that is overdue is
    /// not forgotten because somebody put the same again.
    pub next_due: Option<UnixMs>,
}

/// What is due, earliest first.
#[derive(Debug, Clone, Default)]
pub struct DueSchedules {
    /// At most as many as asked for.
    pub due: Vec<Schedule>,
    /// When the next of the others becomes due.
    pub next_due: Option<UnixMs>,
}

/// Moves a schedule on after its turn.
#[derive(Debug, Clone)]
pub struct Advance {
    /// Which.
    pub name: ScheduleName,
    /// As it was when the turn was taken: nothing is written when it is different now.
    pub revision: i64,
    /// The same.
    pub from: UnixMs,
    /// The run that was decided about.
    pub decided: UnixMs,
    /// What there is to decide next.
    pub next_due: Option<UnixMs>,
    /// The task that was submitted; without one, the last stays on record.
    pub task: Option<TaskId>,
    /// Why none was.
    pub problem: Option<String>,
}

/// Schedules. Few, rarely changed, and seen by every host.
#[async_trait]
pub trait ScheduleStore: Send + Sync + 'static {
    /// Every schedule, by name.
    async fn schedules(&self) -> Result<Vec<Schedule>>;
    /// One schedule.
    async fn schedule(&self, name: &ScheduleName) -> Result<Option<Schedule>>;
    /// Makes or replaces a schedule; whether it is new. [`super::Conflict::TooManySchedules`] when there would be more than `max`.
    async fn put_schedule(&self, schedule: NewSchedule, max: u32, now: UnixMs) -> Result<bool>;
    /// Lets a schedule of this revision rest, or wakes it with its next run at `next_due`; whether it was there.
    async fn pause_schedule(&self, name: &ScheduleName, revision: i64, paused: bool, next_due: Option<UnixMs>) -> Result<bool>;
    /// Forgets a schedule; whether there was one. What it submitted stays.
    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool>;
    /// What is due at `now`, paused ones not counted.
    async fn due_schedules(&self, now: UnixMs, limit: u32) -> Result<DueSchedules>;
    /// Moves a schedule on; whether it was still where the turn was taken. Of several hosts that took it, one gets a yes.
    async fn advance_schedule(&self, advance: Advance) -> Result<bool>;
}
