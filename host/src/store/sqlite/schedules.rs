//! Schedules.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::row;
use super::tx::Tx;
use super::writer::Verb;
use crate::clock::UnixMs;
use crate::schedule::{CatchUp, Cron, Schedule, ScheduleName, Timetable};
use crate::store::stored::{damaged, task_id};
use crate::store::{Advance, Conflict, DueSchedules, NewSchedule, Result, ScheduleStore, StoreError};
use crate::zone::Zone;

fn select(rest: &str) -> String {
    format!(
        "SELECT name, cron, time_zone, skip_missed, paused, task, revision, next_due_ms, last_due_ms, last_task, last_problem \
         FROM schedules {rest}"
    )
}

fn schedule(row: &Row<'_>) -> Result<Schedule> {
    let cron = Cron::parse(row::text(row, "cron")?).map_err(|error| damaged("a schedule's cron expression", error))?;
    let zone = Zone::parse(row::text(row, "time_zone")?).map_err(|error| damaged("a schedule's time zone", error))?;
    Ok(Schedule {
        name: ScheduleName::new(row::text(row, "name")?).map_err(|error| damaged("a schedule's name", error))?,
        timetable: Timetable { cron, zone },
        catch_up: if row.get("skip_missed")? { CatchUp::Skip } else { CatchUp::Once },
        paused: row.get("paused")?,
        task: serde_json::from_str(row::text(row, "task")?).map_err(|error| damaged("a schedule's task", error))?,
        revision: row.get("revision")?,
        next_due: row.get::<_, Option<i64>>("next_due_ms")?.map(UnixMs),
        last_due: row.get::<_, Option<i64>>("last_due_ms")?.map(UnixMs),
        last_task: row::text_or_null(row, "last_task")?.map(task_id).transpose()?,
        last_problem: row.get("last_problem")?,
    })
}

struct Put {
    schedule: NewSchedule,
    task: String,
    max: u32,
    now: UnixMs,
}

impl Verb for Put {
    type Answer = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let new = &self.schedule;
        let (others, there): (u32, bool) = tx.conn.query_row(
            "SELECT count(*) FILTER (WHERE name <> ?1), count(*) FILTER (WHERE name = ?1) > 0 FROM schedules",
            [new.name.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if !there && others >= self.max {
            return Err(StoreError::Conflict(Conflict::TooManySchedules { max: self.max }));
        }
        tx.execute(
            "INSERT INTO schedules (name, cron, time_zone, skip_missed, paused, task, revision, next_due_ms, updated_at_ms) \
             VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, time_zone = excluded.time_zone, \
             skip_missed = excluded.skip_missed, paused = excluded.paused, task = excluded.task, revision = schedules.revision + 1, \
             next_due_ms = iif(schedules.cron = excluded.cron AND schedules.time_zone = excluded.time_zone AND NOT schedules.paused, \
                               schedules.next_due_ms, excluded.next_due_ms), \
             updated_at_ms = excluded.updated_at_ms",
            params![
                new.name.as_str(),
                new.timetable.cron.as_str(),
                new.timetable.zone.name(),
                new.catch_up == CatchUp::Skip,
                new.paused,
                self.task,
                new.next_due.map(|due| due.0),
                self.now.0
            ],
        )?;
        Ok(!there)
    }
}

enum Change {
    Pause { name: ScheduleName, revision: i64, paused: bool, next_due: Option<UnixMs> },
    Remove(ScheduleName),
    Advance(Advance),
}

impl Verb for Change {
    type Answer = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let changed = match self {
            // Somebody who pauses twice, or wakes what is awake, changes nothing about when it runs.
            Self::Pause { name, revision, paused, next_due } => tx.execute(
                "UPDATE schedules SET next_due_ms = iif(paused = ?1, next_due_ms, ?2), paused = ?1 WHERE name = ?3 AND revision = ?4",
                params![paused, next_due.map(|due| due.0), name.as_str(), revision],
            ),
            Self::Remove(name) => tx.execute("DELETE FROM schedules WHERE name = ?", [name.as_str()]),
            Self::Advance(step) => tx.execute(
                "UPDATE schedules SET next_due_ms = ?, last_due_ms = ?, last_task = coalesce(?, last_task), last_problem = ? \
                 WHERE name = ? AND revision = ? AND next_due_ms = ? AND NOT paused",
                params![
                    step.next_due.map(|due| due.0),
                    step.decided.0,
                    step.task.map(|task| task.to_string()),
                    step.problem,
                    step.name.as_str(),
                    step.revision,
                    step.from.0
                ],
            ),
        };
        Ok(changed? > 0)
    }
}

#[async_trait]
impl ScheduleStore for SqliteStore {
    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.readers.run(|conn| row::all(conn, &select("ORDER BY name"), [], schedule)).await
    }

    async fn schedule(&self, name: &ScheduleName) -> Result<Option<Schedule>> {
        let name = name.clone();
        self.readers.run(move |conn| row::first(conn, &select("WHERE name = ?"), [name.as_str()], schedule)).await
    }

    async fn put_schedule(&self, schedule: NewSchedule, max: u32, now: UnixMs) -> Result<bool> {
        let task = serde_json::to_string(&schedule.task).map_err(|error| damaged("a schedule's task", error))?;
        self.writer.run(Put { schedule, task, max, now }).await
    }

    async fn pause_schedule(&self, name: &ScheduleName, revision: i64, paused: bool, next_due: Option<UnixMs>) -> Result<bool> {
        self.writer.run(Change::Pause { name: name.clone(), revision, paused, next_due }).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool> {
        self.writer.run(Change::Remove(name.clone())).await
    }

    async fn due_schedules(&self, now: UnixMs, limit: u32) -> Result<DueSchedules> {
        let read = self.readers.run(move |conn| {
            let text = select("WHERE NOT paused AND next_due_ms <= ? ORDER BY next_due_ms, name LIMIT ?");
            let due = row::all(conn, &text, params![now.0, limit], schedule)?;
            let mut next = conn.prepare_cached("SELECT min(next_due_ms) FROM schedules WHERE NOT paused AND next_due_ms > ?")?;
            let next_due: Option<i64> = next.query_row([now.0], |row| row.get(0))?;
            Ok(DueSchedules { due, next_due: next_due.map(UnixMs) })
        });
        read.await
    }

    async fn advance_schedule(&self, advance: Advance) -> Result<bool> {
        self.writer.run(Change::Advance(advance)).await
    }
}
