//! Fair shares between tenants, by what their tasks really cost.
//!
//! Stride scheduling (C. A. Waldspurger and W. E. Weihl, "Stride Scheduling: Deterministic Proportional-Share Resource Management",
//! MIT/LCS/TM-528, 1995): each tenant has a *pass*, the service it has had divided by its weight; whoever has the smallest is served
//! next. A task is charged with an estimate when it starts and with the rest when it has ended and its cost is known, so shares are
//! shares of work and not of tasks. A tenant that comes back after a pause starts at the present pass: it neither finds a debt of
//! others waiting for it nor is it paid for the time it was away.
//!
//! Who has the same pass is told apart by run key, and within one tenant tasks go by run key alone. So where there is one tenant, or
//! none, fairness changes nothing.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

/// A tenant's weight unless the operator gives it another.
pub const WEIGHT_DEFAULT: u32 = 100;
/// A lane's weight unless the operator gives it another.
pub const LANE_WEIGHT_DEFAULT: u32 = 1;
/// The largest weight, of a tenant or a lane.
pub const WEIGHT_MAX: u32 = 10_000;

/// So much fuel counts like a microsecond of run time. About what a core executes; only the proportion between tasks that compute and
/// tasks that wait depends on it.
const FUEL_PER_MICROSECOND: u64 = 1_000;
/// What a task of a lane is expected to cost before one of them has run.
const ESTIMATE_FIRST: Service = Service(1_000);
/// One part in so many of the estimate is renewed by each task that ends.
const ESTIMATE_INERTIA: u64 = 8;

/// What a task cost: microseconds of run time and of fuel together. Never zero, so that nothing is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service(u64);

impl Service {
    /// The cost of an attempt.
    #[must_use]
    pub fn of(run_time: Duration, fuel: u64) -> Self {
        let micros = u64::try_from(run_time.as_micros()).unwrap_or(u64::MAX);
        Self(micros.saturating_add(fuel / FUEL_PER_MICROSECOND).max(1))
    }

    /// A cost that was kept as microseconds.
    #[must_use]
    pub fn from_micros(micros: u64) -> Self {
        Self(micros.max(1))
    }

    /// Microseconds.
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0
    }
}

/// What tasks of one kind have cost lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate(Service);

impl Default for Estimate {
    fn default() -> Self {
        Self(ESTIMATE_FIRST)
    }
}

impl Estimate {
    /// An estimate that was kept.
    #[must_use]
    pub fn of(expected: Service) -> Self {
        Self(expected)
    }

    /// What the next one is charged with at its start.
    #[must_use]
    pub fn next(self) -> Service {
        self.0
    }

    /// One of them cost this much.
    pub fn learn(&mut self, actual: Service) {
        let Service(before) = self.0;
        self.0 = Service((before - before / ESTIMATE_INERTIA).saturating_add(actual.0 / ESTIMATE_INERTIA).max(1));
    }
}

/// A tenant's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its share against others.
    pub weight: u32,
    /// Service per weight so far.
    pub pass: u64,
}

impl Default for Account {
    fn default() -> Self {
        Self { weight: WEIGHT_DEFAULT, pass: 0 }
    }
}

impl Account {
    /// A task starts that is expected to cost so much.
    pub fn charge(&mut self, expected: Service) {
        self.pass = self.pass.saturating_add(self.stride(expected));
    }

    fn stride(&self, service: Service) -> u64 {
        (service.0.saturating_mul(u64::from(WEIGHT_MAX)) / u64::from(self.weight.max(1))).max(1)
    }
}

/// The accounts of all tenants, each known by a `K`.
#[derive(Debug)]
pub struct Shares<K> {
    accounts: HashMap<K, Account>,
    /// The smallest pass among those who wait: where a newcomer starts.
    present: u64,
    waiting: HashSet<K>,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { accounts: HashMap::new(), present: 0, waiting: HashSet::new() }
    }
}

impl<K: Copy + Eq + Hash> Shares<K> {
    /// Opens an account, or puts another in its place.
    pub fn open(&mut self, tenant: K, account: Account) {
        self.accounts.insert(tenant, account);
    }

    /// A tenant's account.
    #[must_use]
    pub fn account(&self, tenant: K) -> Account {
        self.accounts.get(&tenant).copied().unwrap_or_default()
    }

    /// Changes a weight; what was served before stays as it was.
    pub fn set_weight(&mut self, tenant: K, weight: u32) {
        self.accounts.entry(tenant).or_default().weight = weight.clamp(1, WEIGHT_MAX);
    }

    /// These tenants have something that may start now, and no others. To be called before each round of [`Shares::charge`]. Who did
    /// not wait in the round before starts at the present pass, unless it is ahead of it.
    pub fn gather(&mut self, waiting: impl IntoIterator<Item = K>) {
        let waiting: HashSet<K> = waiting.into_iter().collect();
        let stayed = waiting.intersection(&self.waiting).map(|tenant| self.account(*tenant).pass);
        // When everybody is new the present stays where it was.
        self.present = self.present.max(stayed.min().unwrap_or(0));
        for tenant in waiting.difference(&self.waiting) {
            let account = self.accounts.entry(*tenant).or_default();
            account.pass = account.pass.max(self.present);
        }
        self.waiting = waiting;
    }

    /// A tenant's place in the order: the smallest goes first.
    #[must_use]
    pub fn pass(&self, tenant: K) -> u64 {
        self.account(tenant).pass
    }

    /// A task of this tenant starts, and is expected to cost so much. Answers with the tenant's new pass.
    pub fn charge(&mut self, tenant: K, expected: Service) -> u64 {
        let account = self.accounts.entry(tenant).or_default();
        account.charge(expected);
        account.pass
    }

    /// A task ended that was charged with `expected` and cost `actual`.
    pub fn settle(&mut self, tenant: K, expected: Service, actual: Service) {
        self.refund(tenant, expected);
        self.charge(tenant, actual);
    }

    /// A task that was charged with `expected` did not run after all.
    pub fn refund(&mut self, tenant: K, expected: Service) {
        let account = self.accounts.entry(tenant).or_default();
        account.pass = account.pass.saturating_sub(account.stride(expected));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;

    use proptest::prelude::*;

    use super::*;

    /// Tenants that always have work, on `slots` servers, in virtual time: service had by each.
    fn simulate(weights: &[u32], costs_us: &[u64], slots: usize, tasks: usize) -> Vec<u64> {
        let mut shares = Shares::default();
        let mut estimates = vec![Estimate::default(); weights.len()];
        let mut had = vec![0; weights.len()];
        for (tenant, weight) in weights.iter().enumerate() {
            shares.set_weight(tenant, *weight);
        }
        // When each running task ends, soonest first.
        let mut running: BinaryHeap<(std::cmp::Reverse<u64>, usize, Service)> = BinaryHeap::new();
        let mut now = 0;
        for _ in 0..tasks {
            if running.len() == slots
                && let Some((std::cmp::Reverse(at), tenant, expected)) = running.pop()
            {
                now = at;
                let actual = Service::of(Duration::from_micros(costs_us[tenant]), 0);
                had[tenant] += actual.micros();
                shares.settle(tenant, expected, actual);
                estimates[tenant].learn(actual);
            }
            shares.gather(0..weights.len());
            let next = (0..weights.len()).min_by_key(|tenant| shares.pass(*tenant)).unwrap();
            let expected = estimates[next].next();
            shares.charge(next, expected);
            running.push((std::cmp::Reverse(now + costs_us[next]), next, expected));
        }
        had
    }

    fn assert_shares(weights: &[u32], had: &[u64], within: f64) {
        let (all, weight) = (had.iter().sum::<u64>() as f64, f64::from(weights.iter().sum::<u32>()));
        for (tenant, weight_here) in weights.iter().enumerate() {
            let (share, due) = (had[tenant] as f64 / all, f64::from(*weight_here) / weight);
            assert!((share - due).abs() <= within * due, "tenant {tenant} had {share:.4} of the service and {due:.4} was due to it");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn weights_6_3_1_are_shares_of_service_whatever_a_task_costs(
            costs in prop::collection::vec(prop::sample::select(vec![1_000_u64, 5_000, 20_000, 100_000]), 3),
            slots in 1_usize..8,
        ) {
            let weights = [600, 300, 100];
            // Enough that one task more or less of the dearest kind is below the tolerance.
            let had = simulate(&weights, &costs, slots, 40_000);
            assert_shares(&weights, &had, 0.05);
        }
    }

    #[test]
    fn costs_that_differ_a_hundredfold_leave_the_shares_as_they_are() {
        for costs in [[100_000, 1_000, 1_000], [1_000, 100_000, 1_000], [1_000, 1_000, 100_000]] {
            assert_shares(&[600, 300, 100], &simulate(&[600, 300, 100], &costs, 4, 40_000), 0.05);
        }
    }

    #[test]
    fn who_was_away_is_neither_paid_for_it_nor_in_debt() {
        let mut shares = Shares::default();
        let cost = Service(100);
        for _ in 0..1000 {
            shares.gather([1]);
            shares.charge(1, cost);
        }
        // The newcomer is served next, and then they take turns: it has no credit for a thousand tasks.
        let mut served = Vec::new();
        for _ in 0..10 {
            shares.gather([1, 2]);
            let next = if shares.pass(2) <= shares.pass(1) { 2 } else { 1 };
            shares.charge(next, cost);
            served.push(next);
        }
        assert_eq!(served.iter().filter(|tenant| **tenant == 2).count(), 5, "{served:?}");
        assert_eq!(served[0], 2);
    }

    #[test]
    fn a_wrong_estimate_is_put_right_when_the_cost_is_known() {
        let mut shares = Shares::default();
        shares.gather(['a']);
        shares.charge('a', Service(1));
        shares.settle('a', Service(1), Service(1_000_000));
        assert_eq!(shares.pass('a'), 1_000_000 * u64::from(WEIGHT_MAX / WEIGHT_DEFAULT));
        let mut estimate = Estimate::default();
        for _ in 0..100 {
            estimate.learn(Service(50_000));
        }
        assert!((45_000..=50_000).contains(&estimate.next().micros()), "{estimate:?}");
    }
}
