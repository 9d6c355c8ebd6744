//! Promoting what is due, and claiming what may run.
//!
//! A claim first asks what the first tasks of each front are, without touching them, decides how many of each it wants ([`pick`]), and
//! takes that many, passing over what another host is taking at the same moment. Lanes with a cap are locked meanwhile, so that hosts
//! count one after the other; lanes without one are not.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx_postgres::PgConnection;

use super::Db;
use super::fronts::{FrontKey, Place};
use super::group::closed;
use super::pick::Shown;
use super::sql;
use super::sweep::Pace;
use crate::clock::UnixMs;
use crate::store::stored::{damaged, idempotency_key, plan, task_id, tenant};
use crate::store::{Claim, ClaimRequest, Claimed, ClaimedTask, Result};
use crate::task::urgent_key;

/// Tasks moved from scheduled to ready at a time.
const PROMOTED_MAX: i64 = 1000;
/// When more fronts than this are open, only the first tasks of each are shown to begin with.
const FRONTS_SHOWN_DEEP: usize = 16;
/// Rows of `taken` that other hosts may have had first, before a claim is content with what it has.
const ROUNDS_MAX: usize = 8;

/// How far into the fronts a claim may reach.
#[derive(Clone, Copy)]
struct Reach {
    /// So many tasks.
    max: usize,
    /// Those whose run key is not above this; all where nothing is said.
    key_max: Option<i64>,
}

/// A front with a number of tasks wanted of it.
type Wanted = (FrontKey, Place, u32);

impl Db {
    /// Claims in a task of its own, so that a caller who leaves does not leave claims behind.
    pub(super) async fn claim(self: &Arc<Self>, request: ClaimRequest) -> Result<Claimed> {
        if self.tracker.is_closed() {
            return Err(closed());
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let db = Arc::clone(self);
        self.tracker.spawn(async move {
            let mut pace = db.claiming.lock().await;
            // Nobody waits any more, and nothing was promised. A claim made now would be held by nobody.
            if reply.is_closed() {
                return;
            }
            let claimed = db.claim_now(&request, &mut pace).await;
            drop(pace);
            if let Err(Ok(unheard)) = reply.send(claimed) {
                let claims = unheard.tasks.iter().map(|task| (task.claim, db.time.to_database(task.ready_at))).collect();
                if let Err(error) = db.give_back(claims, db.time.to_database(request.now)).await {
                    tracing::warn!(%error, "tasks whose claimer is gone were not given back; the next looks do that");
                    db.granted.remove(unheard.tasks.iter().map(|task| task.claim));
                    db.claiming.lock().await.suspect();
                }
            }
        });
        answer.await.map_err(|_| closed())?
    }

    async fn claim_now(self: &Arc<Self>, request: &ClaimRequest, pace: &mut Pace) -> Result<Claimed> {
        let now_ms = self.time.to_database(request.now);
        let host_id = self.host_id(&request.host, request.now).await?;
        let max = usize::try_from(request.max_tasks).unwrap_or(usize::MAX);
        let key_max = request.urgent_only.then(|| urgent_key(UnixMs(now_ms), self.options.priority_step));
        if self.notices.take_look() || pace.must_look() {
            self.sweep(pace).await?;
        }
        let mut tasks: Vec<ClaimedTask> = Vec::new();
        for _ in 0..ROUNDS_MAX {
            self.answered(self.promote(now_ms)).await?;
            let wanted = max.saturating_sub(tasks.len());
            let got = match self.answered(self.claim_round(host_id, now_ms, Reach { max: wanted, key_max })).await {
                Ok(got) => got,
                Err(error) => {
                    // It may have been done all the same, with nobody to hear of it.
                    pace.suspect();
                    if tasks.is_empty() {
                        return Err(error);
                    }
                    tracing::warn!(%error, "a part of a claim failed");
                    break;
                }
            };
            let progress = got.as_ref().is_some_and(|got| !got.is_empty());
            tasks.extend(got.into_iter().flatten());
            if tasks.len() >= max {
                break;
            }
            // Nothing to be had where tasks are known to be: perhaps where they are not known to be.
            if progress {
                continue;
            }
            let found = tasks.is_empty() && pace.may_look() && self.sweep(pace).await?;
            if !found {
                break;
            }
        }
        tasks.sort_unstable_by_key(|task| (task.run_key, task.claim.seq));
        for task in &mut tasks {
            task.ready_at = self.time.to_host(task.ready_at.0);
        }
        let next_due = self.fronts.lock().next_due_ms().map(|at| self.time.to_host(at));
        Ok(Claimed { tasks, next_due })
    }

    /// Moves what is due into its lane.
    async fn promote(&self, now_ms: i64) -> Result<()> {
        let Some(from) = self.fronts.lock().begin_due(now_ms) else { return Ok(()) };
        let mut tx = self.begin().await?;
        let moved: Vec<(i32, i32, i16, i64, i64)> = sql::query_as(
            "WITH due AS (SELECT ctid FROM taskwarden.scheduled WHERE run_at_ms >= $1 AND run_at_ms <= $2 ORDER BY run_at_ms, seq LIMIT $3 \
                          FOR UPDATE SKIP LOCKED), \
             moved AS (DELETE FROM taskwarden.scheduled s USING due WHERE s.ctid = due.ctid \
                       RETURNING s.run_key, s.seq, s.lane_id, s.tenant_id, s.rank), \
             waiting AS (INSERT INTO taskwarden.ready (run_key, seq, lane_id, tenant_id, rank) \
                         SELECT run_key, seq, lane_id, tenant_id, rank FROM moved), \
             counted AS (INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running) \
                         SELECT lane_id, count(*), -count(*), 0 FROM moved GROUP BY lane_id) \
             SELECT lane_id, tenant_id, rank, run_key, seq FROM moved",
        )
        .bind(from)
        .bind(now_ms)
        .bind(PROMOTED_MAX)
        .fetch_all(&mut *tx)
        .await?;
        let next: Option<i64> = sql::query_scalar("SELECT min(run_at_ms) FROM taskwarden.scheduled WHERE run_at_ms >= $1")
            .bind(from)
            .fetch_one(&mut *tx)
            .await?;
        self.commit(tx).await?;
        let mut fronts = self.fronts.lock();
        fronts.advance_due(next);
        let mut ready = std::collections::BTreeMap::new();
        for (lane_id, tenant_id, rank, run_key, seq) in moved {
            let front = FrontKey { lane_id, tenant_id, rank };
            fronts.put_back(front, (run_key, seq));
            ready.entry(front).and_modify(|lowest: &mut i64| *lowest = (*lowest).min(run_key)).or_insert(run_key);
        }
        drop(fronts);
        self.notices.arrived(&ready, None);
        Ok(())
    }

    /// One transaction of a claim, as far as it may reach; nothing when no front is open.
    async fn claim_round(&self, host_id: i32, now_ms: i64, reach: Reach) -> Result<Option<Vec<ClaimedTask>>> {
        let open = {
            let mut fronts = self.fronts.lock();
            fronts.begin();
            let mut open: Vec<(FrontKey, Place)> = fronts.open().collect();
            open.retain(|(key, from)| {
                reach.key_max.is_none_or(|most| from.0 <= most)
                    && self.lanes.get(key.lane_id).is_none_or(|lane| !lane.paused && lane.cap != Some(0))
            });
            open
        };
        if open.is_empty() || reach.max == 0 {
            return Ok(None);
        }
        let mut tx = self.begin().await?;
        let mut capped: Vec<i32> =
            open.iter().map(|(key, _)| key.lane_id).filter(|lane| self.lanes.get(*lane).is_some_and(|lane| lane.cap.is_some())).collect();
        capped.dedup();
        let slots = if capped.is_empty() { HashMap::new() } else { free_slots(&mut tx, &capped).await? };
        let open: Vec<(FrontKey, Place)> = open.into_iter().filter(|(key, _)| slots.get(&key.lane_id) != Some(&0)).collect();
        self.accounts.gather(open.iter().map(|(key, _)| (*key, self.lanes.weight(key.lane_id))));
        let wanted: Vec<Wanted> = match open.as_slice() {
            [] => return Ok(None),
            // Nothing to compare with.
            [(key, from)] => {
                let most = u32::try_from(reach.max).unwrap_or(u32::MAX);
                vec![(*key, *from, slots.get(&key.lane_id).copied().unwrap_or(u32::MAX).min(most))]
            }
            _ => self.choose(&mut tx, &open, &slots, reach).await?,
        };
        if !self.lanes.knows(wanted.iter().map(|(key, ..)| key.lane_id)) {
            // Made by another host a moment ago.
            self.lanes.read(&mut tx).await?;
        }
        let rows = self.take(&mut tx, (host_id, now_ms), &capped, (&wanted, reach)).await?;
        self.commit(tx).await?;
        self.granted.add(host_id, rows.iter().map(|task| task.1.claim));
        self.accounts.charge(rows.iter().map(|(front, task)| (*front, self.lanes.weight(front.lane_id), task.claim)));
        let mut fronts = self.fronts.lock();
        for (key, from, quota) in wanted {
            let of_front = rows.iter().filter(|(front, _)| *front == key).map(|(_, task)| (task.run_key, task.claim.seq));
            let (count, last) = of_front.fold((0_u32, from), |(count, last), place| (count + 1, last.max(place)));
            // Fewer than wanted: the front is empty, but for what other hosts are taking and what was not looked at.
            let behind = if count > 0 { (last.0, last.1.saturating_add(1)) } else { from };
            fronts.advance(key, (count == quota || reach.key_max.is_some()).then_some(behind));
        }
        drop(fronts);
        Ok(Some(rows.into_iter().map(|(_, task)| task).collect()))
    }

    /// How many of each front are among those whose turn it is.
    async fn choose(
        &self,
        conn: &mut PgConnection,
        open: &[(FrontKey, Place)],
        slots: &HashMap<i32, u32>,
        reach: Reach,
    ) -> Result<Vec<Wanted>> {
        let from: HashMap<FrontKey, Place> = open.iter().copied().collect();
        let mut rest = open.to_vec();
        let mut open = rest.clone();
        while rest.len() > FRONTS_SHOWN_DEEP {
            open = self.accounts.next_in_turn(&rest, reach.max);
            let mut firsts = show(conn, &open, Reach { max: 1, ..reach }).await?;
            self.close_empty(&firsts, reach);
            firsts.retain(|front| !front.places.is_empty());
            if firsts.is_empty() {
                // Whose turn it was has nothing after all.
                rest.retain(|front| !open.contains(front));
                open.clone_from(&rest);
                continue;
            }
            // The n smallest of a tenant's lanes of one weight lie in those n of its fronts whose first ones are smallest, as far as caps
            // let them.
            firsts.sort_by_key(|front| front.places.first().copied());
            if slots.is_empty() {
                let mut kept: HashMap<(i32, u32), usize> = HashMap::new();
                firsts.retain(|front| {
                    let kept = kept.entry((front.key.tenant_id, self.lanes.weight(front.key.lane_id))).or_default();
                    *kept += 1;
                    *kept <= reach.max
                });
            }
            open = firsts.into_iter().filter_map(|front| Some((front.key, *from.get(&front.key)?))).collect();
            break;
        }
        let depth = reach.max.div_ceil(open.len().max(1)).saturating_mul(2).min(reach.max);
        let mut shown = show(conn, &open, Reach { max: depth, ..reach }).await?;
        loop {
            match self.accounts.quotas(&shown, slots, reach.max, |lane_id| self.lanes.weight(lane_id)) {
                Ok(quotas) => {
                    self.close_empty(&shown, reach);
                    return Ok(quotas.into_iter().filter_map(|(key, quota)| Some((key, *from.get(&key)?, quota))).collect());
                }
                // All that a claim can take, so that each front is shown again at most once.
                Err(key) => {
                    let further = from.get(&key).map(|place| (key, *place));
                    let further = show(conn, further.as_slice(), reach).await?;
                    shown.retain(|front| front.key != key);
                    shown.extend(further);
                }
            }
        }
    }

    /// Fronts that showed nothing, and were looked at to their end, are not looked at again until something is put there.
    fn close_empty(&self, shown: &[Shown], reach: Reach) {
        if reach.key_max.is_some() {
            return;
        }
        let mut fronts = self.fronts.lock();
        for front in shown.iter().filter(|front| front.places.is_empty()) {
            fronts.advance(front.key, None);
        }
    }
}

/// How many tasks of lanes with a cap may start. The lanes stay locked until the end of the transaction, and what is counted after that is
/// all that any host has committed.
async fn free_slots(conn: &mut PgConnection, lanes: &[i32]) -> Result<HashMap<i32, u32>> {
    let caps: Vec<(i32, bool, Option<i32>)> = sql::query_as(
        "SELECT lane_id, paused, concurrency_cap FROM taskwarden.lanes WHERE lane_id = ANY($1) ORDER BY lane_id FOR NO KEY UPDATE",
    )
    .bind(lanes)
    .fetch_all(&mut *conn)
    .await?;
    let running: Vec<(i32, i64)> =
        sql::query_as("SELECT lane_id, count(*) FROM taskwarden.running WHERE lane_id = ANY($1) GROUP BY lane_id")
            .bind(lanes)
            .fetch_all(conn)
            .await?;
    let running: HashMap<i32, i64> = running.into_iter().collect();
    let free = |lane_id: i32, paused: bool, cap: Option<i32>| match cap {
        _ if paused => 0,
        None => u32::MAX,
        Some(cap) => u32::try_from(i64::from(cap) - running.get(&lane_id).copied().unwrap_or(0)).unwrap_or(0),
    };
    Ok(caps.into_iter().map(|(lane_id, paused, cap)| (lane_id, free(lane_id, paused, cap))).collect())
}

/// A front's number, and the run keys and seqs of its first tasks.
type ShownRow = (i64, Option<Vec<i64>>, Option<Vec<i64>>);

/// The first tasks of each front, in order, as many as may be reached.
async fn show(conn: &mut PgConnection, open: &[(FrontKey, Place)], reach: Reach) -> Result<Vec<Shown>> {
    let rows: Vec<ShownRow> = sql::query_as(
        "SELECT f.ord, array_agg(r.run_key ORDER BY r.run_key, r.seq), array_agg(r.seq ORDER BY r.run_key, r.seq) \
         FROM unnest($1::int[], $2::int[], $3::smallint[], $4::bigint[], $5::bigint[]) WITH ORDINALITY AS f(lane_id, tenant_id, rank, run_key, seq, ord) \
         CROSS JOIN LATERAL (SELECT r.run_key, r.seq FROM taskwarden.ready r WHERE r.lane_id = f.lane_id AND r.tenant_id = f.tenant_id AND r.rank = f.rank \
                             AND (r.run_key, r.seq) >= (f.run_key, f.seq) AND r.run_key <= $7 ORDER BY r.run_key, r.seq LIMIT $6) r \
         GROUP BY f.ord",
    )
    .bind(open.iter().map(|(key, _)| key.lane_id).collect::<Vec<_>>())
    .bind(open.iter().map(|(key, _)| key.tenant_id).collect::<Vec<_>>())
    .bind(open.iter().map(|(key, _)| key.rank).collect::<Vec<_>>())
    .bind(open.iter().map(|(_, from)| from.0).collect::<Vec<_>>())
    .bind(open.iter().map(|(_, from)| from.1).collect::<Vec<_>>())
    .bind(i64::try_from(reach.max).unwrap_or(i64::MAX))
    .bind(reach.key_max.unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    let mut by_number: HashMap<i64, Vec<Place>> = rows
        .into_iter()
        .map(|(ord, keys, seqs)| (ord, keys.unwrap_or_default().into_iter().zip(seqs.unwrap_or_default()).collect()))
        .collect();
    Ok((1_i64..)
        .zip(open)
        .map(|(ord, (key, _))| {
            let places = by_number.remove(&ord).unwrap_or_default();
            Shown { key: *key, more: places.len() >= reach.max, places }
        })
        .collect())
}

impl Db {
    /// Takes the wanted number of tasks from each front. A lane that was paused or capped since this host last heard of it gives nothing.
    async fn take(
        &self,
        conn: &mut PgConnection,
        (host_id, now_ms): (i32, i64),
        capped: &[i32],
        (wanted, reach): (&[Wanted], Reach),
    ) -> Result<Vec<(FrontKey, ClaimedTask)>> {
        let rows = sql::query(
            "WITH picked AS (\
                 SELECT r.ctid FROM unnest($3::int[], $4::int[], $5::smallint[], $6::bigint[], $7::bigint[], $8::int[]) \
                      AS f(lane_id, tenant_id, rank, run_key, seq, quota) \
                 JOIN taskwarden.lanes l ON l.lane_id = f.lane_id AND NOT l.paused AND (l.concurrency_cap IS NULL OR f.lane_id = ANY($9)) \
                 JOIN taskwarden.hosts h ON h.host_id = $1 \
                 CROSS JOIN LATERAL (SELECT q.ctid FROM taskwarden.ready q WHERE q.lane_id = f.lane_id AND q.tenant_id = f.tenant_id AND q.rank = f.rank \
                                     AND (q.run_key, q.seq) >= (f.run_key, f.seq) AND q.run_key <= $10 ORDER BY q.run_key, q.seq LIMIT f.quota \
                                     FOR UPDATE SKIP LOCKED) r), \
             taken AS (DELETE FROM taskwarden.ready r USING picked WHERE r.ctid = picked.ctid RETURNING r.run_key, r.seq, r.lane_id, r.tenant_id, r.rank), \
             claimed AS MATERIALIZED (\
                 SELECT k.seq, nextval('taskwarden.claim_token') AS token, k.lane_id, k.tenant_id, k.rank, k.run_key, t.id, t.payload, t.inputs, t.tags, \
                        t.limits, coalesce(p.attempt, 0) + 1 AS attempt, coalesce(p.max_attempts, t.max_attempts) AS max_attempts, \
                        coalesce(p.lost, 0) AS lost, coalesce(p.larger_limits, false) AS larger_limits, t.tenant, t.idempotency_key, coalesce(p.run_at_ms, t.run_at_ms) AS ready_at_ms \
                 FROM taken k JOIN taskwarden.tasks t ON t.seq = ANY (ARRAY[k.seq]) LEFT JOIN taskwarden.progress p ON p.seq = ANY (ARRAY[k.seq])), \
             started AS (INSERT INTO taskwarden.running (seq, token, started_at_ms, host_id, lane_id, tenant_id, attempt) \
                         SELECT seq, token, $2, $1, lane_id, tenant_id, attempt FROM claimed), \
             counted AS (INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running) \
                         SELECT lane_id, -count(*), 0, count(*) FROM taken GROUP BY lane_id) \
             SELECT * FROM claimed",
        )
        .bind(host_id)
        .bind(now_ms)
        .bind(wanted.iter().map(|(key, ..)| key.lane_id).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(key, ..)| key.tenant_id).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(key, ..)| key.rank).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, from, _)| from.0).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, from, _)| from.1).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(.., quota)| i32::try_from(*quota).unwrap_or(i32::MAX)).collect::<Vec<_>>())
        .bind(capped)
        .bind(reach.key_max.unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
        rows.iter().map(|row| self.claimed_task(row)).collect()
    }

    fn claimed_task(&self, row: &sqlx_postgres::PgRow) -> Result<(FrontKey, ClaimedTask)> {
        let number = |name: &str| row.try_get::<i32, _>(name).map(|value| u32::try_from(value).unwrap_or_default());
        let rank: i16 = row.try_get("rank")?;
        let lane_id: i32 = row.try_get("lane_id")?;
        let task = ClaimedTask {
            claim: Claim { seq: row.try_get("seq")?, token: row.try_get("token")? },
            id: task_id(row.try_get("id")?)?,
            lane: self.lanes.key(lane_id).ok_or_else(|| damaged("the table lanes", "a lane is missing"))?,
            priority: super::row::priority_of(rank),
            run_key: row.try_get("run_key")?,
            payload: Box::from(row.try_get::<&str, _>("payload")?),
            plan: plan(row.try_get("inputs")?, row.try_get("tags")?, row.try_get("limits")?)?,
            attempt: number("attempt")?,
            max_attempts: number("max_attempts")?,
            lost: number("lost")?,
            larger_limits: row.try_get("larger_limits")?,
            tenant: tenant(row.try_get("tenant")?),
            idempotency_key: idempotency_key(row.try_get("idempotency_key")?),
            ready_at: UnixMs(row.try_get("ready_at_ms")?),
        };
        Ok((FrontKey { lane_id, tenant_id: row.try_get("tenant_id")?, rank }, task))
    }
}
