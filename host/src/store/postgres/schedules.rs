//! Schedules.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};
use sqlx_postgres::PgRow;

use super::PostgresStore;
use super::sql;
use crate::clock::UnixMs;
use crate::schedule::{CatchUp, Cron, Schedule, ScheduleName, Timetable};
use crate::store::stored::{damaged, task_id};
use crate::store::{Advance, Conflict, DueSchedules, NewSchedule, Result, ScheduleStore, StoreError};
use crate::zone::Zone;

fn select(rest: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT name, cron, time_zone, skip_missed, paused, task, revision, next_due_ms, last_due_ms, last_task, last_problem \
         FROM taskwarden.schedules {rest}"
    ))
}

fn schedule(row: &PgRow) -> Result<Schedule> {
    let cron = Cron::parse(row.try_get("cron")?).map_err(|error| damaged("a schedule's cron expression", error))?;
    let zone = Zone::parse(row.try_get("time_zone")?).map_err(|error| damaged("a schedule's time zone", error))?;
    Ok(Schedule {
        name: ScheduleName::new(row.try_get("name")?).map_err(|error| damaged("a schedule's name", error))?,
        timetable: Timetable { cron, zone },
        catch_up: if row.try_get("skip_missed")? { CatchUp::Skip } else { CatchUp::Once },
        paused: row.try_get("paused")?,
        task: serde_json::from_str(row.try_get("task")?).map_err(|error| damaged("a schedule's task", error))?,
        revision: row.try_get("revision")?,
        next_due: row.try_get::<Option<i64>, _>("next_due_ms")?.map(UnixMs),
        last_due: row.try_get::<Option<i64>, _>("last_due_ms")?.map(UnixMs),
        last_task: row.try_get::<Option<&str>, _>("last_task")?.map(task_id).transpose()?,
        last_problem: row.try_get("last_problem")?,
    })
}

#[async_trait]
impl ScheduleStore for PostgresStore {
    async fn schedules(&self) -> Result<Vec<Schedule>> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(select("ORDER BY name")).fetch_all(&mut *tx).await?;
        rows.iter().map(schedule).collect()
    }

    async fn schedule(&self, name: &ScheduleName) -> Result<Option<Schedule>> {
        let mut tx = self.db.begin_read().await?;
        let row = sql::query(select("WHERE name = $1")).bind(name.as_str()).fetch_optional(&mut *tx).await?;
        row.as_ref().map(schedule).transpose()
    }

    async fn put_schedule(&self, new: NewSchedule, max: u32, now: UnixMs) -> Result<bool> {
        let task = serde_json::to_string(&new.task).map_err(|error| damaged("a schedule's task", error))?;
        let mut tx = self.db.begin().await?;
        // Two that are put at once must not both be the last there is room for.
        sql::query("LOCK TABLE taskwarden.schedules IN SHARE ROW EXCLUSIVE MODE").execute(&mut *tx).await?;
        let (others, there): (i64, bool) =
            sql::query_as("SELECT count(*) FILTER (WHERE name <> $1), count(*) FILTER (WHERE name = $1) > 0 FROM taskwarden.schedules")
                .bind(new.name.as_str())
                .fetch_one(&mut *tx)
                .await?;
        if !there && others >= i64::from(max) {
            return Err(StoreError::Conflict(Conflict::TooManySchedules { max }));
        }
        sql::query(
            "INSERT INTO taskwarden.schedules AS s (name, cron, time_zone, skip_missed, paused, task, revision, next_due_ms, updated_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8) ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, \
             time_zone = excluded.time_zone, skip_missed = excluded.skip_missed, paused = excluded.paused, task = excluded.task, \
             revision = s.revision + 1, updated_at_ms = excluded.updated_at_ms, \
             next_due_ms = CASE WHEN s.cron = excluded.cron AND s.time_zone = excluded.time_zone AND NOT s.paused \
                                THEN s.next_due_ms ELSE excluded.next_due_ms END",
        )
        .bind(new.name.as_str())
        .bind(new.timetable.cron.as_str())
        .bind(new.timetable.zone.name())
        .bind(new.catch_up == CatchUp::Skip)
        .bind(new.paused)
        .bind(task)
        .bind(new.next_due.map(|due| due.0))
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await?;
        Ok(!there)
    }

    async fn pause_schedule(&self, name: &ScheduleName, revision: i64, paused: bool, next_due: Option<UnixMs>) -> Result<bool> {
        let query = sql::query(
            "UPDATE taskwarden.schedules SET next_due_ms = CASE WHEN paused = $1 THEN next_due_ms ELSE $2 END, paused = $1 \
             WHERE name = $3 AND revision = $4",
        );
        let query = query.bind(paused).bind(next_due.map(|due| due.0)).bind(name.as_str()).bind(revision);
        self.db.write(query).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool> {
        self.db.write(sql::query("DELETE FROM taskwarden.schedules WHERE name = $1").bind(name.as_str())).await
    }

    async fn due_schedules(&self, now: UnixMs, limit: u32) -> Result<DueSchedules> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(select("WHERE NOT paused AND next_due_ms <= $1 ORDER BY next_due_ms, name LIMIT $2"))
            .bind(now.0)
            .bind(i64::from(limit))
            .fetch_all(&mut *tx)
            .await?;
        let next: Option<i64> =
            sql::query_scalar("SELECT min(next_due_ms) FROM taskwarden.schedules WHERE NOT paused AND next_due_ms > $1")
                .bind(now.0)
                .fetch_one(&mut *tx)
                .await?;
        Ok(DueSchedules { due: rows.iter().map(schedule).collect::<Result<_>>()?, next_due: next.map(UnixMs) })
    }

    async fn advance_schedule(&self, step: Advance) -> Result<bool> {
        let query = sql::query(
            "UPDATE taskwarden.schedules SET next_due_ms = $1, last_due_ms = $2, last_task = coalesce($3, last_task), last_problem = $4 \
             WHERE name = $5 AND revision = $6 AND next_due_ms = $7 AND NOT paused",
        )
        .bind(step.next_due.map(|due| due.0))
        .bind(step.decided.0)
        .bind(step.task.map(|task| task.to_string()))
        .bind(step.problem)
        .bind(step.name.as_str().to_owned())
        .bind(step.revision)
        .bind(step.from.0);
        self.db.write(query).await
    }
}
