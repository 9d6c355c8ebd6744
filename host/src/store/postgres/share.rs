//! What tenants were served, and whose turn it is.
//!
//! Every host keeps accounts in memory, charges them when it claims and settles them when a task has ended (see
//! [`fair`](crate::task::fair)). While there are other hosts, each also writes down what it served, and counts in once in a while what
//! the others did: so weights are shares of what all hosts do together. An account starts anew with its host: where all stand at the
//! same place, none is owed anything.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;
use sqlx_postgres::PgConnection;

use super::Db;
use super::fronts::{FrontKey, Place};
use super::pick::{Shown, quotas};
use super::settle::{Settle, Way};
use super::sql;
use crate::store::{Claim, Result};
use crate::task::fair::{Account, Estimate, Service, Shares, WEIGHT_DEFAULT};
use crate::task::turn::LaneShares;

/// What a claim was charged with.
#[derive(Debug, Clone, Copy)]
struct Charge {
    lane_id: i32,
    tenant_id: i32,
    /// Of the lane.
    weight: u32,
    expected: Service,
}

#[derive(Debug, Default)]
struct Books {
    shares: Shares<i32>,
    /// Of this host alone: where each serves lanes by weight, all do together.
    lanes: LaneShares<i32>,
    /// What tasks of each lane have cost lately, as far as this host ran them.
    estimates: HashMap<i32, Estimate>,
    charges: HashMap<Claim, Charge>,
    /// Tenants whose weight is not the usual one.
    weighted: HashSet<i32>,
    /// What each other host was heard to have served each tenant, in microseconds; nothing before the first time.
    heard: Option<HashMap<(i32, i32), i64>>,
}

impl Books {
    fn expected(&self, lane_id: i32) -> Service {
        self.estimates.get(&lane_id).copied().unwrap_or_default().next()
    }
}

#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<Books>);

impl Accounts {
    /// These fronts, and no others, have something that may start now; each with the weight of its lane.
    pub(super) fn gather(&self, open: impl Iterator<Item = (FrontKey, u32)> + Clone) {
        let mut books = self.0.lock();
        books.shares.gather(open.clone().map(|(key, _)| key.tenant_id));
        books.lanes.gather(open.map(|(key, weight)| (key.tenant_id, key.lane_id, weight)));
    }

    pub(super) fn account(&self, tenant_id: i32) -> Account {
        self.0.lock().shares.account(tenant_id)
    }

    /// The fronts of those `max` tenants whose turn is next: a claim of `max` tasks gets no further.
    pub(super) fn next_in_turn(&self, open: &[(FrontKey, Place)], max: usize) -> Vec<(FrontKey, Place)> {
        let books = self.0.lock();
        let turn = |tenant_id: i32| (books.shares.pass(tenant_id), tenant_id);
        let mut turns: Vec<(u64, i32)> = open.iter().map(|(key, _)| turn(key.tenant_id)).collect();
        turns.sort_unstable();
        turns.dedup();
        match max.checked_sub(1).and_then(|last| turns.get(last)) {
            Some(last) => open.iter().filter(|(key, _)| turn(key.tenant_id) <= *last).copied().collect(),
            None => open.to_vec(),
        }
    }

    /// See [`quotas`].
    pub(super) fn quotas(
        &self,
        shown: &[Shown],
        slots: &HashMap<i32, u32>,
        max: usize,
        weight: impl Fn(i32) -> u32,
    ) -> std::result::Result<Vec<(FrontKey, u32)>, FrontKey> {
        let books = self.0.lock();
        let accounts = |tenant: i32, weight: Option<u32>| match weight {
            None => books.shares.account(tenant),
            Some(weight) => books.lanes.account(tenant, weight),
        };
        quotas(shown, slots, max, accounts, weight, |lane| books.expected(lane))
    }

    /// These tasks start.
    pub(super) fn charge(&self, claimed: impl Iterator<Item = (FrontKey, u32, Claim)>) {
        let mut books = self.0.lock();
        for (FrontKey { lane_id, tenant_id, .. }, weight, claim) in claimed {
            let expected = books.expected(lane_id);
            books.shares.charge(tenant_id, expected);
            books.lanes.charge(tenant_id, weight, expected);
            books.charges.insert(claim, Charge { lane_id, tenant_id, weight, expected });
        }
    }

    /// These have ended, or were given back.
    pub(super) fn settle<'a>(&self, settled: impl Iterator<Item = &'a Settle>) {
        let mut books = self.0.lock();
        for settle in settled {
            let Some(Charge { lane_id, tenant_id, weight, expected }) = books.charges.remove(&settle.claim) else { continue };
            if matches!(settle.way, Way::Back(_)) {
                books.shares.refund(tenant_id, expected);
                books.lanes.refund(tenant_id, weight, expected);
            } else if let Some(actual) = settle.service {
                books.shares.settle(tenant_id, expected, actual);
                books.lanes.settle(tenant_id, weight, expected, actual);
                books.estimates.entry(lane_id).or_default().learn(actual);
            }
        }
    }

    /// This host does not hold these any more. What they cost is not known, so what was expected of them stands.
    pub(super) fn forget(&self, claims: impl Iterator<Item = Claim>) {
        let mut books = self.0.lock();
        for claim in claims {
            books.charges.remove(&claim);
        }
    }

    /// What the ends of a group cost each tenant, in microseconds.
    fn served<'a>(&self, ended: impl Iterator<Item = &'a Settle>) -> BTreeMap<i32, i64> {
        let books = self.0.lock();
        let mut served = BTreeMap::new();
        for settle in ended {
            if let (Some(charge), Some(service)) = (books.charges.get(&settle.claim), settle.service) {
                *served.entry(charge.tenant_id).or_default() += i64::try_from(service.micros()).unwrap_or(i64::MAX);
            }
        }
        served
    }

    /// All weights that are not the usual one.
    fn set_weights(&self, weights: &[(i32, i32)]) {
        let mut books = self.0.lock();
        let now: HashSet<i32> = weights.iter().map(|(tenant_id, _)| *tenant_id).collect();
        let usual: Vec<i32> = books.weighted.difference(&now).copied().collect();
        for tenant_id in usual {
            books.shares.set_weight(tenant_id, WEIGHT_DEFAULT);
        }
        for (tenant_id, weight) in weights {
            books.shares.set_weight(*tenant_id, u32::try_from(*weight).unwrap_or(WEIGHT_DEFAULT));
        }
        books.weighted = now;
    }

    /// Counts in what other hosts did since this was last heard: all they have served so far, by host and tenant.
    fn hear(&self, totals: Vec<(i32, i32, i64)>) {
        let mut books = self.0.lock();
        let totals: HashMap<(i32, i32), i64> =
            totals.into_iter().map(|(host_id, tenant_id, total)| ((host_id, tenant_id), total)).collect();
        // What was served before the first time is not counted against anybody.
        if let Some(before) = books.heard.take() {
            for ((host_id, tenant_id), total) in &totals {
                let more = total.saturating_sub(before.get(&(*host_id, *tenant_id)).copied().unwrap_or_default());
                if let Ok(more @ 1..) = u64::try_from(more) {
                    books.shares.charge(*tenant_id, Service::from_micros(more));
                }
            }
        }
        books.heard = Some(totals);
    }
}

impl Db {
    /// Writes down what the ends of a group cost, for other hosts to count in.
    pub(super) async fn write_service<'a>(&self, conn: &mut PgConnection, ended: impl Iterator<Item = &'a Settle>) -> Result<()> {
        let served = self.accounts.served(ended);
        // Of the hosts in this process any one will do: what counts is that it is none of another.
        let (false, Some(host_id)) = (served.is_empty(), self.granted.host_ids().into_iter().min()) else { return Ok(()) };
        sql::query(
            "INSERT INTO taskwarden.tenant_service (host_id, tenant_id, service_us) SELECT $1, * FROM unnest($2::int[], $3::bigint[])",
        )
        .bind(host_id)
        .bind(served.keys().copied().collect::<Vec<_>>())
        .bind(served.values().copied().collect::<Vec<_>>())
        .execute(conn)
        .await?;
        Ok(())
    }

    /// Reads the weights, and what other hosts have served.
    pub(super) async fn read_shares(&self, conn: &mut PgConnection) -> Result<()> {
        let weights: Vec<(i32, i32)> = sql::query_as("SELECT tenant_id, weight FROM taskwarden.tenants WHERE weight <> $1")
            .bind(i32::try_from(WEIGHT_DEFAULT).unwrap_or(i32::MAX))
            .fetch_all(&mut *conn)
            .await?;
        self.accounts.set_weights(&weights);
        if self.notices.has_others() {
            let totals: Vec<(i32, i32, i64)> = sql::query_as(
                "SELECT host_id, tenant_id, sum(service_us)::bigint FROM taskwarden.tenant_service WHERE host_id <> ALL($1) GROUP BY 1, 2",
            )
            .bind(self.granted.host_ids())
            .fetch_all(conn)
            .await?;
            self.accounts.hear(totals);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_hosts_serve_counts_from_the_first_time_on() {
        let accounts = Accounts::default();
        accounts.set_weights(&[(7, 200)]);
        accounts.hear(vec![(2, 7, 1_000_000), (3, 7, 5)]);
        assert_eq!(accounts.account(7), Account { weight: 200, pass: 0 }, "what was before is nobody's debt");
        accounts.hear(vec![(2, 7, 1_000_400), (3, 8, 100)]);
        // 400 µs at a weight of 200, and 100 µs at the usual 100; a host that is gone takes nothing back.
        assert_eq!((accounts.account(7).pass, accounts.account(8).pass), (20_000, 10_000));
        accounts.set_weights(&[]);
        assert_eq!(accounts.account(7), Account { weight: WEIGHT_DEFAULT, pass: 20_000 });
    }

    #[test]
    fn no_more_tenants_are_looked_at_than_can_be_served() {
        let accounts = Accounts::default();
        let open: Vec<(FrontKey, Place)> = (0..100).map(|tenant| (FrontKey::new(1, tenant, 2), (0, 0))).collect();
        accounts.0.lock().shares.charge(0, Service::from_micros(9));
        let next: Vec<i32> = accounts.next_in_turn(&open, 3).into_iter().map(|(key, _)| key.tenant_id).collect();
        assert_eq!(next, [1, 2, 3]);
        assert_eq!(accounts.next_in_turn(&open, 1000).len(), 100);
    }
}
