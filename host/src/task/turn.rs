//! Whose turn it is within a tenant: lanes share by weight, and among lanes of one weight tasks go by run key.
//!
//! As between tenants (see [`fair`](super::fair)) this is stride scheduling over what tasks cost. Lanes of equal weight stand together as
//! one class, which weighs as much as those of its lanes that have something to start. So where all weigh the same, as they do unless an
//! operator says otherwise, priority and ageing alone decide, and nothing is kept or compared.
//!
//! Shares are kept for each tenant, not for all together: otherwise a tenant that only uses one lane would have to make up for what others
//! did in it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::hash::Hash;

use super::fair::{Account, Service, Shares};

/// Run key and number of a task: the order among lanes of one weight.
pub type Place = (i64, i64);

/// A pass beyond this is near the end of its type; where it stands to others is then forgotten, long before numbers run out.
const PASS_MAX: u64 = u64::MAX / 2;

/// What the lanes of each tenant were served, by weight.
#[derive(Debug)]
pub struct LaneShares<K> {
    tenants: HashMap<K, Shares<u32>>,
}

impl<K> Default for LaneShares<K> {
    fn default() -> Self {
        Self { tenants: HashMap::new() }
    }
}

impl<K: Copy + Ord + Hash> LaneShares<K> {
    /// These lanes, and no others, have something that may start now: each with its tenant and its weight, any number of times. To be called
    /// before each round of [`LaneShares::charge`].
    pub fn gather<L: Ord>(&mut self, open: impl Iterator<Item = (K, L, u32)> + Clone) {
        let mut weights = open.clone().map(|(.., weight)| weight);
        let first = weights.next();
        if self.tenants.is_empty() && weights.all(|weight| Some(weight) == first) {
            return;
        }
        let lanes: BTreeSet<(K, u32, L)> = open.map(|(tenant, lane, weight)| (tenant, weight, lane)).collect();
        let mut classes: Vec<(K, u32, u32)> = Vec::new();
        for (tenant, weight, _) in lanes {
            match classes.last_mut() {
                Some((last, of, lanes)) if (*last, *of) == (tenant, weight) => *lanes += 1,
                _ => classes.push((tenant, weight, 1)),
            }
        }
        for of_tenant in classes.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((tenant, ..)) = of_tenant.first() else { continue };
            let shares = self.tenants.entry(*tenant).or_default();
            shares.gather(of_tenant.iter().map(|(_, weight, _)| *weight));
            for (_, weight, lanes) in of_tenant {
                shares.open(*weight, Account { weight: weight.saturating_mul(*lanes), ..shares.account(*weight) });
            }
        }
    }

    /// How the lanes of this weight stand.
    #[must_use]
    pub fn account(&self, tenant: K, weight: u32) -> Account {
        self.tenants.get(&tenant).map(|shares| shares.account(weight)).unwrap_or_default()
    }

    /// A task of a lane of this weight starts, and is expected to cost so much.
    pub fn charge(&mut self, tenant: K, weight: u32, expected: Service) {
        if let Some(shares) = self.tenants.get_mut(&tenant)
            && shares.charge(weight, expected) > PASS_MAX
        {
            self.tenants.remove(&tenant);
        }
    }

    /// A task ended that was charged with `expected` and cost `actual`.
    pub fn settle(&mut self, tenant: K, weight: u32, expected: Service, actual: Service) {
        if let Some(shares) = self.tenants.get_mut(&tenant) {
            shares.settle(weight, expected, actual);
        }
    }

    /// A task that was charged with `expected` did not run after all.
    pub fn refund(&mut self, tenant: K, weight: u32, expected: Service) {
        if let Some(shares) = self.tenants.get_mut(&tenant) {
            shares.refund(weight, expected);
        }
    }
}

/// Lanes of one weight.
#[derive(Debug)]
struct Class {
    weight: u32,
    account: Account,
    /// Where each of their fronts begins; the one with the smallest run key first.
    fronts: BinaryHeap<Reverse<(Place, usize)>>,
}

/// The fronts of one tenant, each by its index, in the order in which they give tasks.
#[derive(Debug, Default)]
pub struct Turn {
    /// As many as there are different weights, which are few.
    classes: Vec<Class>,
}

impl Turn {
    /// Adds a front of a lane of this weight, or what comes after its first task. `account` tells how lanes of that weight stand.
    pub fn push(&mut self, weight: u32, account: impl FnOnce() -> Account, first: Place, front: usize) {
        let entry = Reverse((first, front));
        if let Some(class) = self.classes.iter_mut().find(|class| class.weight == weight) {
            class.fronts.push(entry);
        } else {
            self.classes.push(Class { weight, account: account(), fronts: BinaryHeap::from([entry]) });
        }
    }

    /// The next task.
    #[must_use]
    pub fn head(&self) -> Option<Place> {
        self.next().map(|(_, place, _)| place)
    }

    /// Takes the front out that has the next task.
    pub fn pop(&mut self) -> Option<(Place, usize)> {
        let (.., class) = self.next()?;
        self.classes.get_mut(class)?.fronts.pop().map(|Reverse(entry)| entry)
    }

    /// A task of a lane of this weight is taken, and is expected to cost so much.
    pub fn charge(&mut self, weight: u32, expected: Service) {
        if let Some(class) = self.classes.iter_mut().find(|class| class.weight == weight) {
            class.account.charge(expected);
        }
    }

    fn next(&self) -> Option<(u64, Place, usize)> {
        let first = |(index, class): (usize, &Class)| class.fronts.peek().map(|Reverse((place, _))| (class.account.pass, *place, index));
        self.classes.iter().enumerate().filter_map(first).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::fair::Estimate;

    const TENANT: i64 = 7;

    /// Lanes, by weight and by what one of their tasks costs, that always have work, all of it as old; virtual time: each round one of
    /// `slots` servers is free. Service had by each lane.
    fn simulate(lanes: &[(u32, u64)], slots: usize, tasks: usize) -> Vec<u64> {
        let mut shares = LaneShares::default();
        let mut estimates = vec![Estimate::default(); lanes.len()];
        let mut had = vec![0; lanes.len()];
        let mut running: BinaryHeap<(Reverse<u64>, usize, Service)> = BinaryHeap::new();
        let mut now = 0;
        for number in 0..tasks {
            if running.len() == slots
                && let Some((Reverse(at), lane, expected)) = running.pop()
            {
                now = at;
                let actual = Service::from_micros(lanes[lane].1);
                had[lane] += actual.micros();
                shares.settle(TENANT, lanes[lane].0, expected, actual);
                estimates[lane].learn(actual);
            }
            shares.gather(lanes.iter().enumerate().map(|(lane, (weight, _))| (TENANT, lane, *weight)));
            let mut turn = Turn::default();
            for (lane, (weight, _)) in lanes.iter().enumerate() {
                // Among lanes of one weight whoever has waited longest is first.
                let waits_since = i64::try_from(had[lane]).unwrap();
                turn.push(*weight, || shares.account(TENANT, *weight), (waits_since, i64::try_from(number).unwrap()), lane);
            }
            let (_, lane) = turn.pop().unwrap();
            let expected = estimates[lane].next();
            shares.charge(TENANT, lanes[lane].0, expected);
            running.push((Reverse(now + lanes[lane].1), lane, expected));
        }
        had
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lanes_share_by_weight_whatever_a_task_costs(
            costs in prop::collection::vec(prop::sample::select(vec![1_000_u64, 5_000, 20_000, 100_000]), 4),
            slots in 1_usize..8,
        ) {
            // Two of one weight, which have twice that between them.
            let weights = [600, 300, 50, 50];
            let lanes: Vec<(u32, u64)> = weights.into_iter().zip(costs).collect();
            let had = simulate(&lanes, slots, 40_000);
            let all = had.iter().sum::<u64>() as f64;
            for (name, had, due) in [("600", had[0], 0.6), ("300", had[1], 0.3), ("50 and 50", had[2] + had[3], 0.1)] {
                let share = had as f64 / all;
                prop_assert!((share - due).abs() <= 0.05 * due, "lanes of weight {name} had {share:.4} and {due} was due to them");
            }
        }

        #[test]
        fn where_all_weigh_the_same_run_keys_alone_decide(keys in prop::collection::vec((0_usize..5, -100..100_i64), 1..60)) {
            let mut shares: LaneShares<i64> = LaneShares::default();
            let mut turn = Turn::default();
            shares.gather(keys.iter().map(|(lane, _)| (TENANT, *lane, 1)));
            for (number, (lane, run_key)) in (0_i64..).zip(&keys) {
                turn.push(1, || shares.account(TENANT, 1), (*run_key, number), *lane);
            }
            let mut order = Vec::new();
            while let Some((place, _)) = turn.pop() {
                turn.charge(1, Service::from_micros(1_000));
                shares.charge(TENANT, 1, Service::from_micros(1_000));
                order.push(place);
            }
            prop_assert!(order.is_sorted());
            prop_assert!(shares.tenants.is_empty(), "nothing is kept");
        }
    }

    #[test]
    fn a_lane_that_was_empty_is_neither_paid_for_it_nor_in_debt() {
        let mut shares = LaneShares::default();
        let cost = Service::from_micros(100);
        shares.gather([(TENANT, 'a', 1), (TENANT, 'b', 2)].into_iter());
        for _ in 0..1000 {
            shares.gather([(TENANT, 'a', 1)].into_iter());
            shares.charge(TENANT, 1, cost);
        }
        shares.gather([(TENANT, 'a', 1), (TENANT, 'b', 2)].into_iter());
        let mut turn = Turn::default();
        turn.push(1, || shares.account(TENANT, 1), (1, 1), 1);
        turn.push(2, || shares.account(TENANT, 2), (2, 1), 2);
        let mut served = Vec::new();
        for number in 2..11 {
            let (_, lane) = turn.pop().unwrap();
            let weight = u32::try_from(lane).unwrap();
            turn.charge(weight, cost);
            turn.push(weight, Account::default, (i64::from(weight), number), lane);
            served.push(lane);
        }
        assert_eq!(served.iter().filter(|lane| **lane == 2).count(), 6, "{served:?}");
    }

    #[test]
    fn a_pass_never_runs_into_the_end_of_its_type() {
        let mut shares = LaneShares::default();
        shares.gather([(TENANT, 'a', 1), (TENANT, 'b', 2)].into_iter());
        shares.charge(TENANT, 1, Service::from_micros(u64::MAX / 10_000));
        assert_eq!(shares.account(TENANT, 1).pass, 0, "where it stood is forgotten");
    }
}
