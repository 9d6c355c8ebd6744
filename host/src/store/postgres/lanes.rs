//! Lanes: known to every host by heart, made and changed in the database.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::RwLock;
use sqlx::{AssertSqlSafe, Row as _};
use sqlx_postgres::PgConnection;

use super::Db;
use super::fronts::{FrontKey, Place};
use super::sql;
use crate::clock::UnixMs;
use crate::store::stored::{damaged, lane_key};
use crate::store::{Conflict, Lane, LanePatch, Result, StoreError};
use crate::task::fair::LANE_WEIGHT_DEFAULT;
use crate::task::{AiModel, LaneKey};

/// Held while lanes are made, so that there are never more than the limit.
const LOCK: i64 = 0x7461_736b_6c61_6e65;
/// Changes are added up once there are more rows of them than this.
const CHANGES_MAX: i64 = 2_000;
/// Tables of changes, and how each is added up. What a host that is gone served is left out: whoever had to hear of it has.
const ADDED_UP: [(&str, &str); 2] = [
    (
        "lane_changes",
        "WITH old AS (DELETE FROM taskwarden.lane_changes RETURNING lane_id, queued, scheduled, running) \
         INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running) \
         SELECT lane_id, sum(queued), sum(scheduled), sum(running) FROM old GROUP BY lane_id",
    ),
    (
        "tenant_service",
        "WITH old AS (DELETE FROM taskwarden.tenant_service RETURNING host_id, tenant_id, service_us) \
         INSERT INTO taskwarden.tenant_service (host_id, tenant_id, service_us) \
         SELECT host_id, tenant_id, sum(service_us) FROM old JOIN taskwarden.hosts USING (host_id) GROUP BY 1, 2",
    ),
];

/// What a host knows of a lane.
#[derive(Debug)]
struct Entry {
    key: LaneKey,
    known: Known,
}

/// What a claim has to know of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) paused: bool,
    pub(super) cap: Option<u32>,
    pub(super) weight: u32,
}

#[derive(Debug, Default)]
struct Book {
    ids: HashMap<LaneKey, i32>,
    lanes: BTreeMap<i32, Entry>,
}

#[derive(Debug, Default)]
pub(super) struct LaneBook(RwLock<Book>);

impl LaneBook {
    pub(super) fn id(&self, key: &LaneKey) -> Option<i32> {
        self.0.read().ids.get(key).copied()
    }

    /// Whether every one of these is known.
    pub(super) fn knows(&self, mut lane_ids: impl Iterator<Item = i32>) -> bool {
        let book = self.0.read();
        lane_ids.all(|lane_id| book.lanes.contains_key(&lane_id))
    }

    pub(super) fn key(&self, lane_id: i32) -> Option<LaneKey> {
        self.0.read().lanes.get(&lane_id).map(|lane| lane.key.clone())
    }

    pub(super) fn get(&self, lane_id: i32) -> Option<Known> {
        self.0.read().lanes.get(&lane_id).map(|lane| lane.known)
    }

    /// A lane's share against other lanes.
    pub(super) fn weight(&self, lane_id: i32) -> u32 {
        self.get(lane_id).map_or(LANE_WEIGHT_DEFAULT, |lane| lane.weight)
    }

    /// Reads all lanes from the database.
    pub(super) async fn reload(&self, db: &Db) -> Result<()> {
        let mut tx = db.begin_read().await?;
        self.read(&mut tx).await?;
        Ok(())
    }

    pub(super) async fn read(&self, conn: &mut PgConnection) -> Result<()> {
        let rows =
            sql::query("SELECT lane_id, task_type, ai_model, paused, concurrency_cap, weight FROM taskwarden.lanes ORDER BY lane_id")
                .fetch_all(conn)
                .await?;
        let mut book = Book::default();
        for row in rows {
            let key = lane_key(row.try_get("task_type")?, row.try_get("ai_model")?);
            let lane_id: i32 = row.try_get("lane_id")?;
            let cap: Option<i32> = row.try_get("concurrency_cap")?;
            // Two rows can only have the same key when one of them holds a name that had to be mended; the first one keeps it.
            book.ids.entry(key.clone()).or_insert(lane_id);
            let known = Known {
                paused: row.try_get("paused")?,
                cap: cap.and_then(|cap| u32::try_from(cap).ok()),
                weight: u32::try_from(row.try_get::<i32, _>("weight")?).unwrap_or(LANE_WEIGHT_DEFAULT),
            };
            book.lanes.insert(lane_id, Entry { key, known });
        }
        *self.0.write() = book;
        Ok(())
    }
}

impl Db {
    /// Makes the lanes of these keys that are not there; all or none of them.
    pub(super) async fn make_lanes(&self, keys: &[&LaneKey]) -> Result<()> {
        if keys.iter().all(|key| self.lanes.id(key).is_some()) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sql::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
        self.lanes.read(&mut tx).await?;
        let mut new: Vec<&LaneKey> = keys.iter().copied().filter(|key| self.lanes.id(key).is_none()).collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            return Ok(());
        }
        let there = self.lanes.0.read().lanes.len();
        let max = self.options.lanes_max;
        if there.saturating_add(new.len()) > usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(StoreError::Conflict(Conflict::TooManyLanes { max }));
        }
        let types: Vec<&str> = new.iter().map(|key| key.task_type.as_str()).collect();
        let models: Vec<Option<&str>> = new.iter().map(|key| key.ai_model.as_ref().map(AiModel::as_str)).collect();
        sql::query("INSERT INTO taskwarden.lanes (task_type, ai_model) SELECT * FROM unnest($1::text[], $2::text[])")
            .bind(types)
            .bind(models)
            .execute(&mut *tx)
            .await?;
        self.commit(tx).await?;
        self.lanes.reload(self).await
    }

    pub(super) async fn read_lanes(&self, only: Option<i32>) -> Result<Vec<Lane>> {
        self.add_up_changes().await?;
        let mut tx = self.begin_read().await?;
        // "First" is by run key: the task that will start next. One seek for each front, from where this host knows that it begins.
        let rows = sql::query(
            "SELECT l.lane_id, l.task_type, l.ai_model, l.paused, l.concurrency_cap, l.weight, \
                    coalesce(c.queued, 0)::bigint AS queued, coalesce(c.scheduled, 0)::bigint AS scheduled, coalesce(c.running, 0)::bigint AS running \
             FROM taskwarden.lanes l \
             LEFT JOIN (SELECT lane_id, sum(queued) AS queued, sum(scheduled) AS scheduled, sum(running) AS running \
                        FROM taskwarden.lane_changes GROUP BY lane_id) c USING (lane_id) \
             WHERE $1::int IS NULL OR l.lane_id = $1 ORDER BY l.lane_id",
        )
        .bind(only)
        .fetch_all(&mut *tx)
        .await?;
        let mut lanes = Vec::with_capacity(rows.len());
        for row in rows {
            let lane_id: i32 = row.try_get("lane_id")?;
            let count = |name: &str| row.try_get::<i64, _>(name).map(|count| u64::try_from(count).unwrap_or_default());
            let cap: Option<i32> = row.try_get("concurrency_cap")?;
            let lane = Lane {
                key: lane_key(row.try_get("task_type")?, row.try_get("ai_model")?),
                paused: row.try_get("paused")?,
                concurrency_cap: cap.and_then(|cap| u32::try_from(cap).ok()),
                weight: u32::try_from(row.try_get::<i32, _>("weight")?).unwrap_or_default(),
                queued: count("queued")?,
                scheduled: count("scheduled")?,
                running: count("running")?,
                oldest_ready_at: None,
            };
            lanes.push((lane_id, lane));
        }
        let waiting: HashSet<i32> = lanes.iter().filter(|(_, lane)| lane.queued > 0).map(|(lane_id, _)| *lane_id).collect();
        let mut sought = self.fronts_of(&waiting);
        if waiting.iter().any(|lane_id| !sought.iter().any(|(key, _)| key.lane_id == *lane_id)) {
            self.look().await?;
            sought = self.fronts_of(&waiting);
        }
        let firsts: Vec<(i32, i64)> = sql::query_as(
            "SELECT DISTINCT ON (f.lane_id) f.lane_id, coalesce(p.run_at_ms, t.run_at_ms) \
             FROM unnest($1::int[], $2::int[], $3::smallint[], $4::bigint[], $5::bigint[]) f(lane_id, tenant_id, rank, run_key, seq) \
             CROSS JOIN LATERAL (SELECT r.run_key, r.seq FROM taskwarden.ready r WHERE r.lane_id = f.lane_id AND r.tenant_id = f.tenant_id AND r.rank = f.rank \
                                 AND (r.run_key, r.seq) >= (f.run_key, f.seq) ORDER BY r.run_key, r.seq LIMIT 1) first \
             JOIN taskwarden.tasks t ON t.seq = first.seq LEFT JOIN taskwarden.progress p ON p.seq = first.seq \
             ORDER BY f.lane_id, first.run_key, first.seq",
        )
        .bind(sought.iter().map(|(key, _)| key.lane_id).collect::<Vec<_>>())
        .bind(sought.iter().map(|(key, _)| key.tenant_id).collect::<Vec<_>>())
        .bind(sought.iter().map(|(key, _)| key.rank).collect::<Vec<_>>())
        .bind(sought.iter().map(|(_, from)| from.0).collect::<Vec<_>>())
        .bind(sought.iter().map(|(_, from)| from.1).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await?;
        let firsts: HashMap<i32, i64> = firsts.into_iter().collect();
        Ok(lanes.into_iter().map(|(lane_id, lane)| Lane { oldest_ready_at: firsts.get(&lane_id).map(|at| UnixMs(*at)), ..lane }).collect())
    }

    /// From where on this host would look for tasks of these lanes.
    fn fronts_of(&self, lanes: &HashSet<i32>) -> Vec<(FrontKey, Place)> {
        self.fronts.lock().open().filter(|(key, _)| lanes.contains(&key.lane_id)).collect()
    }

    /// Adds up the rows of `lane_changes` and `tenant_service` when there are many. Two hosts that do this at once wait for each other's rows and then find
    /// them gone.
    pub(super) async fn add_up_changes(&self) -> Result<()> {
        for (table, add_up) in ADDED_UP {
            let mut tx = self.begin().await?;
            let many: bool =
                sql::query_scalar(AssertSqlSafe(format!("SELECT count(*) = $1 FROM (SELECT 1 FROM taskwarden.{table} LIMIT $1) c")))
                    .bind(CHANGES_MAX)
                    .fetch_one(&mut *tx)
                    .await?;
            if many {
                sql::query(add_up).execute(&mut *tx).await?;
            }
            self.commit(tx).await?;
        }
        Ok(())
    }

    pub(super) async fn change_lane(&self, key: &LaneKey, patch: LanePatch) -> Result<Lane> {
        self.make_lanes(&[key]).await?;
        let lane_id = self.lanes.id(key).ok_or_else(|| damaged("the table lanes", "a lane is missing"))?;
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let mut tx = self.begin().await?;
        sql::query(
            "UPDATE taskwarden.lanes SET paused = coalesce($2, paused), weight = coalesce($3, weight), \
             concurrency_cap = CASE WHEN $4 THEN $5 ELSE concurrency_cap END WHERE lane_id = $1",
        )
        .bind(lane_id)
        .bind(patch.paused)
        .bind(patch.weight.map(number))
        .bind(patch.concurrency_cap.is_some())
        .bind(patch.concurrency_cap.flatten().map(number))
        .execute(&mut *tx)
        .await?;
        self.commit(tx).await?;
        self.lanes.reload(self).await?;
        self.notices.lanes_changed();
        self.read_lanes(Some(lane_id)).await?.pop().ok_or_else(|| damaged("the table lanes", "a lane is missing"))
    }

    /// Tells functions in the database what this host is configured with.
    pub(super) async fn publish_settings(&self) -> Result<()> {
        let mut tx = self.begin().await?;
        let changed = sql::query(
            "UPDATE taskwarden.queue_settings SET priority_step_ms = $1, lanes_max = $2, payload_bytes_max = $3, tenants_max = $4 \
             WHERE (priority_step_ms, lanes_max, payload_bytes_max, tenants_max) <> ($1, $2, $3, $4)",
        )
        .bind(self.step_ms())
        .bind(i32::try_from(self.options.lanes_max).unwrap_or(i32::MAX))
        .bind(i64::try_from(self.options.payload_bytes_max).unwrap_or(i64::MAX))
        .bind(i32::try_from(self.options.tenants_max).unwrap_or(i32::MAX))
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() > 0 {
            tracing::info!("the queue's settings in the database are now those of this host; all hosts should have the same");
        }
        self.commit(tx).await
    }
}
