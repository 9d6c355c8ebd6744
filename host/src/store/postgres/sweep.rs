//! Looking from the very beginning, for what nobody told of: tasks whose notice was lost, that were committed late, or whose claim came
//! to nothing. Also for lanes that other hosts made or changed, for weights and what other hosts served, and for claims that this host
//! holds without knowing.
//!
//! When an old snapshot keeps dead rows from being cleaned away, a look passes over all of them. So looks take at most a twentieth of the
//! time, and everything else stays as fast as it was.

use std::sync::Arc;
use std::time::Duration;

use super::Db;
use super::fronts::FrontKey;
use super::sql;
use crate::clock::SharedClock;
use crate::store::{Claim, Result};

/// While there is enough to do, a look is due after this long.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// A look that took less than this may be repeated at once.
const CHEAP: Duration = Duration::from_millis(5);
/// A look is followed by a pause of so many times its length.
const PAUSE_FACTOR: u32 = 20;
/// After a claim that may have been made without anybody hearing of it: so many looks, this far apart, for what it left.
const SUSPECT_LOOKS: u8 = 3;

/// When to look again.
pub(super) struct Pace {
    clock: SharedClock,
    ended_at: Option<Duration>,
    took: Duration,
    suspect: u8,
}

impl Pace {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, ended_at: None, took: Duration::ZERO, suspect: 0 }
    }

    /// Whether a look is due whatever else there is to do.
    pub(super) fn must_look(&self) -> bool {
        self.rested(BUSY_PAUSE)
    }

    /// Whether a look can be afforded when there is nothing else to do.
    pub(super) fn may_look(&self) -> bool {
        self.took < CHEAP || self.rested(Duration::ZERO)
    }

    fn rested(&self, least: Duration) -> bool {
        let pause = least.max(self.took.saturating_mul(PAUSE_FACTOR));
        self.ended_at.is_none_or(|ended| self.clock.monotonic().saturating_sub(ended) >= pause)
    }

    /// A claim may have been made without anybody hearing of it.
    pub(super) fn suspect(&mut self) {
        self.suspect = SUSPECT_LOOKS;
    }
}

impl Db {
    /// Looks; whether there was anything that was not known of.
    pub(super) async fn sweep(self: &Arc<Self>, pace: &mut Pace) -> Result<bool> {
        let started = pace.clock.monotonic();
        let found = self.answered(self.look()).await;
        if pace.suspect > 0 {
            self.answered(self.give_back_unheard()).await?;
            pace.suspect -= 1;
        }
        let ended = pace.clock.monotonic();
        (pace.ended_at, pace.took) = (Some(ended), ended.saturating_sub(started));
        found
    }

    pub(super) async fn look(&self) -> Result<bool> {
        self.lanes.reload(self).await?;
        let mut tx = self.begin().await?;
        // The first task of each front: from one to the next in one seek.
        let firsts: Vec<(i32, i32, i16, i64, i64)> = sql::query_as(
            "WITH RECURSIVE firsts AS (\
                 (SELECT lane_id, tenant_id, rank, run_key, seq FROM taskwarden.ready \
                  ORDER BY lane_id, tenant_id, rank, run_key, seq LIMIT 1) \
                 UNION ALL \
                 SELECT n.* FROM firsts f CROSS JOIN LATERAL (\
                     SELECT r.lane_id, r.tenant_id, r.rank, r.run_key, r.seq FROM taskwarden.ready r \
                     WHERE (r.lane_id, r.tenant_id, r.rank) > (f.lane_id, f.tenant_id, f.rank) \
                     ORDER BY r.lane_id, r.tenant_id, r.rank, r.run_key, r.seq LIMIT 1) n) \
             SELECT lane_id, tenant_id, rank, run_key, seq FROM firsts",
        )
        .fetch_all(&mut *tx)
        .await?;
        let due: Option<i64> = sql::query_scalar("SELECT run_at_ms FROM taskwarden.scheduled ORDER BY run_at_ms, seq LIMIT 1")
            .fetch_optional(&mut *tx)
            .await?;
        self.read_shares(&mut tx).await?;
        self.commit(tx).await?;
        let mut found = false;
        let mut fronts = self.fronts.lock();
        for (lane_id, tenant_id, rank, run_key, seq) in firsts {
            let (key, place) = (FrontKey { lane_id, tenant_id, rank }, (run_key, seq));
            if fronts.from(key).is_none_or(|from| place < from) {
                fronts.put_back(key, place);
                found = true;
            }
        }
        if let Some(due) = due
            && fronts.next_due_ms().is_none_or(|known| due < known)
        {
            fronts.put_back_due(due);
            found = true;
        }
        Ok(found)
    }

    /// Gives back what this process holds in the database and does not know of.
    async fn give_back_unheard(self: &Arc<Self>) -> Result<()> {
        let mut tx = self.begin_read().await?;
        let held: Vec<(i64, i64, i64)> = sql::query_as(
            "SELECT r.seq, r.token, coalesce(p.run_at_ms, t.run_at_ms) FROM taskwarden.running r JOIN taskwarden.tasks t USING (seq) \
             LEFT JOIN taskwarden.progress p USING (seq) WHERE r.host_id = ANY($1)",
        )
        .bind(self.granted.host_ids())
        .fetch_all(&mut *tx)
        .await?;
        drop(tx);
        let unheard: Vec<(Claim, i64)> = held
            .into_iter()
            .map(|(seq, token, run_at_ms)| (Claim { seq, token }, run_at_ms))
            .filter(|(claim, _)| !self.granted.contains(*claim))
            .collect();
        if !unheard.is_empty() {
            tracing::warn!(tasks = unheard.len(), "gave back tasks whose claim nobody heard of");
            self.give_back(unheard, self.time.to_database(self.options.clock.now())).await?;
        }
        Ok(())
    }
}
