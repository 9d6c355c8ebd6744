//! Hosts: who lives, what each holds, and taking back what the dead held. Leases run by the database's clock.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Row as _};

use super::Db;
use super::settle::{Settle, Way, settle};
use super::sql;
use super::time::NOW_MS;
use crate::clock::UnixMs;
use crate::store::stored::{lane_key, task_id};
use crate::store::{Claim, Heartbeat, HostShown, Result, RunningShown};
use crate::task::{Next, Outcome, TaskId};

/// Tasks taken back in one transaction; the rest follows in the next.
const TAKEN_BACK_MAX: i64 = 1_000;
/// A host that was silent for this long beyond its lease, and holds nothing, is forgotten.
const FORGOTTEN_AFTER_MS: i64 = 600_000;

impl Db {
    /// What time it is in SQL, given a parameter that says it when the caller's clock decides.
    fn now_sql(&self, parameter: &str) -> String {
        if self.time.is_database() { NOW_MS.to_owned() } else { parameter.to_owned() }
    }

    /// The number of a host; one that claims before its first heartbeat has no lease yet.
    pub(super) async fn host_id(&self, name: &str, now: UnixMs) -> Result<i32> {
        match self.granted.host_id(name) {
            Some(host_id) => Ok(host_id),
            None => self.register(name, now, now).await,
        }
    }

    async fn register(&self, name: &str, now: UnixMs, lease_until: UnixMs) -> Result<i32> {
        let lease_ms = lease_until.0.saturating_sub(now.0);
        let text = format!(
            "INSERT INTO taskwarden.hosts (name, instance, lease_until_ms) VALUES ($1, $2, {} + $4) \
             ON CONFLICT (name, instance) DO UPDATE SET lease_until_ms = CASE WHEN $4 > 0 THEN excluded.lease_until_ms ELSE hosts.lease_until_ms END \
             RETURNING host_id, {}",
            self.now_sql("$3::bigint"),
            self.now_sql("$3::bigint")
        );
        let mut tx = self.begin().await?;
        let (host_id, database_ms): (i32, i64) = sql::query_as(AssertSqlSafe(text))
            .bind(name)
            .bind(self.options.instance)
            .bind(now.0)
            .bind(lease_ms)
            .fetch_one(&mut *tx)
            .await?;
        // Of an earlier life of this very instance.
        let held: Vec<(i64, i64)> =
            sql::query_as("SELECT seq, token FROM taskwarden.running WHERE host_id = $1").bind(host_id).fetch_all(&mut *tx).await?;
        self.commit(tx).await?;
        self.time.seen(now, database_ms);
        self.granted.add(host_id, held.into_iter().map(|(seq, token)| Claim { seq, token }));
        self.granted.set_host(name, Some(host_id));
        Ok(host_id)
    }

    pub(super) async fn beat(&self, name: &str, now: UnixMs, lease_until: UnixMs) -> Result<Heartbeat> {
        let lease_ms = lease_until.0.saturating_sub(now.0);
        let host_id = match self.granted.host_id(name) {
            Some(host_id) => host_id,
            None => self.register(name, now, lease_until).await?,
        };
        // Looked at before the database is asked: a claim granted after this cannot be mistaken for a lost one.
        let granted = self.granted.of(host_id);
        let mut tx = self.begin().await?;
        let clock = self.now_sql("$2::bigint");
        let text = format!("UPDATE taskwarden.hosts SET lease_until_ms = {clock} + $3 WHERE host_id = $1 RETURNING {clock}, $2");
        let renewed: Option<(i64, i64)> =
            sql::query_as(AssertSqlSafe(text)).bind(host_id).bind(now.0).bind(lease_ms).fetch_optional(&mut *tx).await?;
        let rows: Vec<(i64, i64, bool)> = sql::query_as(
            "SELECT r.seq, r.token, r.cancel_requested FROM unnest($1::bigint[], $2::bigint[]) AS c(seq, token) \
             JOIN taskwarden.running r ON r.seq = c.seq AND r.token = c.token",
        )
        .bind(granted.iter().map(|claim| claim.seq).collect::<Vec<_>>())
        .bind(granted.iter().map(|claim| claim.token).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await?;
        let others: bool = sql::query_scalar("SELECT count(*) > 1 FROM taskwarden.hosts").fetch_one(&mut *tx).await?;
        self.commit(tx).await?;
        self.notices.others(others);
        match renewed {
            Some((database_ms, _)) => self.time.seen(now, database_ms),
            None => {
                // Forgotten for being silent so long. It holds nothing any more, and starts anew.
                self.granted.set_host(name, None);
                self.register(name, now, lease_until).await?;
            }
        }
        let mut answer = Heartbeat::default();
        for (seq, token, cancel_requested) in rows {
            let claim = Claim { seq, token };
            answer.held.push(claim);
            if cancel_requested {
                answer.cancel.push(claim);
            }
        }
        answer.held.sort_unstable();
        answer.cancel.sort_unstable();
        let lost: Vec<Claim> = granted.into_iter().filter(|claim| answer.held.binary_search(claim).is_err()).collect();
        self.accounts.forget(lost.iter().copied());
        self.granted.remove(lost);
        Ok(answer)
    }

    /// Every process with what it holds; one that started anew is shown beside its predecessor until that one is forgotten.
    pub(super) async fn read_hosts(&self) -> Result<Vec<HostShown>> {
        let mut tx = self.begin_read().await?;
        // The one that stands for a database's former owner never lived; it is of interest as long as tasks are laid to its account.
        let rows = sql::query(
            "SELECT h.host_id, h.name, h.lease_until_ms, t.id, l.task_type, l.ai_model, r.attempt FROM taskwarden.hosts h \
             LEFT JOIN taskwarden.running r USING (host_id) LEFT JOIN taskwarden.tasks t USING (seq) \
             LEFT JOIN taskwarden.lanes l ON l.lane_id = t.lane_id \
             WHERE h.lease_until_ms > 0 OR r.seq IS NOT NULL ORDER BY h.name, h.host_id, r.token",
        )
        .fetch_all(&mut *tx)
        .await?;
        let (mut hosts, mut last): (Vec<HostShown>, Option<i32>) = (Vec::new(), None);
        for row in rows {
            let host_id: i32 = row.try_get("host_id")?;
            if last != Some(host_id) {
                let lease_until = self.time.to_host(row.try_get("lease_until_ms")?);
                hosts.push(HostShown { name: Arc::from(row.try_get::<&str, _>("name")?), lease_until, running: Vec::new() });
                last = Some(host_id);
            }
            if let (Some(id), Some(host)) = (row.try_get::<Option<&str>, _>("id")?, hosts.last_mut()) {
                let lane = lane_key(row.try_get("task_type")?, row.try_get("ai_model")?);
                let attempt = u32::try_from(row.try_get::<i32, _>("attempt")?).unwrap_or_default();
                host.running.push(RunningShown { id: task_id(id)?, lane, attempt });
            }
        }
        Ok(hosts)
    }

    /// Gives claims back to places in time, each only while it is held.
    pub(super) async fn give_back(&self, claims: Vec<(Claim, i64)>, now_ms: i64) -> Result<()> {
        let back: Vec<Settle> = claims
            .into_iter()
            .map(|(claim, run_at_ms)| Settle::without_run(claim, Way::Back(run_at_ms), Outcome::Cancelled, None, now_ms))
            .collect();
        let mut tx = self.begin().await?;
        let settled = settle(&mut tx, self.step_ms(), &back.iter().collect::<Vec<_>>()).await?;
        self.commit(tx).await?;
        self.ended(back.iter());
        self.requeued(&settled.requeued);
        Ok(())
    }

    /// Takes back what is held by hosts whose lease is over; `all` takes everything.
    pub(super) async fn take_back(
        self: &Arc<Self>,
        now: UnixMs,
        all: bool,
        decide: &(dyn Fn(u32, u32, u32) -> Next + Send + Sync),
    ) -> Result<Vec<TaskId>> {
        self.add_up_changes().await?;
        let mut taken = Vec::new();
        loop {
            let some = self.answered(self.take_back_some(now, all, decide)).await?;
            let more = some.len() >= usize::try_from(TAKEN_BACK_MAX).unwrap_or(usize::MAX);
            taken.extend(some);
            if !more {
                return Ok(taken);
            }
        }
    }

    async fn take_back_some(&self, now: UnixMs, all: bool, decide: &(dyn Fn(u32, u32, u32) -> Next + Send + Sync)) -> Result<Vec<TaskId>> {
        let clock = self.now_sql("$1::bigint");
        let mut tx = self.begin().await?;
        let expired: bool = sql::query_scalar(AssertSqlSafe(format!(
            "SELECT $1::bigint IS NOT NULL AND EXISTS (SELECT 1 FROM taskwarden.hosts WHERE lease_until_ms < {clock})"
        )))
        .bind(now.0)
        .fetch_one(&mut *tx)
        .await?;
        if !expired && !all {
            return Ok(Vec::new());
        }
        // What another host takes back at this moment is passed over.
        let rows = sql::query(AssertSqlSafe(format!(
            "SELECT r.seq, r.token, r.attempt, coalesce(p.max_attempts, t.max_attempts) AS max_attempts, coalesce(p.lost, 0) + 1 AS lost, t.id \
             FROM taskwarden.running r JOIN taskwarden.tasks t USING (seq) LEFT JOIN taskwarden.progress p USING (seq) \
             WHERE $2 OR NOT EXISTS (SELECT 1 FROM taskwarden.hosts h WHERE h.host_id = r.host_id AND h.lease_until_ms >= {clock}) \
             ORDER BY r.seq LIMIT $3 FOR UPDATE OF r SKIP LOCKED"
        )))
        .bind(now.0)
        .bind(all)
        .bind(TAKEN_BACK_MAX)
        .fetch_all(&mut *tx)
        .await?;
        let now_ms = self.time.to_database(now);
        let (mut lost, mut ids) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in rows {
            let number = |name: &str| row.try_get::<i32, _>(name).map(|value| u32::try_from(value).unwrap_or_default());
            let way = match decide(number("attempt")?, number("max_attempts")?, number("lost")?) {
                Next::Final(state) => Way::Final(state),
                Next::RetryAt(at) | Next::RetryLarger(at) => Way::Again(self.time.to_database(at)),
            };
            let claim = Claim { seq: row.try_get("seq")?, token: row.try_get("token")? };
            lost.push(Settle::without_run(claim, way, Outcome::Lost, Some("the host that ran it was lost"), now_ms));
            ids.push(task_id(row.try_get("id")?)?);
        }
        let settled = settle(&mut tx, self.step_ms(), &lost.iter().collect::<Vec<_>>()).await?;
        if lost.is_empty() {
            sql::query(AssertSqlSafe(format!(
                "DELETE FROM taskwarden.hosts WHERE lease_until_ms < {clock} - $2 AND $1::bigint IS NOT NULL"
            )))
            .bind(now.0)
            .bind(FORGOTTEN_AFTER_MS)
            .execute(&mut *tx)
            .await?;
        }
        self.commit(tx).await?;
        self.ended(lost.iter());
        self.requeued(&settled.requeued);
        Ok(ids)
    }
}
