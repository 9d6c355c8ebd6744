//! What is done to the hosts, drawn from a seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

const PRIORITIES: [&str; 5] = ["critical", "high", "normal", "low", "background"];

/// Something that happens to hosts, or to their database, in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    /// kill -9, and a new start.
    Kill,
    /// Stopped for longer than its lease (SIGSTOP), then let go on.
    Pause,
    /// The database is shut down, and started again after a while.
    DatabaseRestart,
    /// The database crashes, and recovers after a while.
    DatabaseCrash,
    /// The hosts' connections are cut, and other clients hold all that the database has to give.
    Crowd,
}

/// A stream of decisions that depends on the seed alone.
pub(super) struct Plan {
    random: SmallRng,
    mishaps: Vec<Mishap>,
    /// Those of this round that are still to come.
    to_come: Vec<Mishap>,
    hosts: usize,
    seed: u64,
    keys: u64,
}

impl Plan {
    pub(super) fn new(seed: u64, mishaps: &[Mishap], hosts: usize) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), mishaps: mishaps.to_vec(), to_come: Vec::new(), hosts, seed, keys: 0 }
    }

    /// How long until the next mishap.
    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(300..1_000))
    }

    /// One of the hosts.
    pub(super) fn host(&mut self) -> usize {
        self.random.random_range(0..self.hosts)
    }

    /// What happens next, and to whom: every kind once, in an order of chance, and then again.
    pub(super) fn mishap(&mut self) -> (Mishap, usize) {
        if self.to_come.is_empty() {
            self.to_come.clone_from(&self.mishaps);
            self.to_come.shuffle(&mut self.random);
        }
        (self.to_come.pop().unwrap_or(Mishap::Kill), self.host())
    }

    /// How long the database is away: sometimes shorter than a lease, sometimes longer.
    pub(super) fn outage(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(300..3_000))
    }

    /// A batch of tasks, each with a key of its own, some of them long enough to be met by a mishap.
    pub(super) fn batch(&mut self) -> Vec<Value> {
        let count = self.random.random_range(1..=20);
        let task = |plan: &mut Self| {
            plan.keys += 1;
            let turns: u64 = if plan.random.random_bool(0.2) { 5_000_000 } else { 10_000 };
            let priority = PRIORITIES.get(plan.random.random_range(0..PRIORITIES.len())).copied().unwrap_or("normal");
            json!({
                "task_type": "ledger",
                "priority": priority,
                "idempotency_key": format!("{}-{}", plan.seed, plan.keys),
                "payload": { "turns": turns },
            })
        };
        (0..count).map(|_| task(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_gives_another() {
        let draw = |seed| {
            let mut plan = Plan::new(seed, &[Mishap::Kill, Mishap::Pause], 3);
            (0..20)
                .map(|_| format!("{:?} {:?} {:?} {:?} {:?}", plan.pause(), plan.host(), plan.batch(), plan.mishap(), plan.outage()))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_kind_of_mishap_comes_before_any_comes_again() {
        let kinds = [Mishap::Kill, Mishap::Pause, Mishap::DatabaseRestart, Mishap::DatabaseCrash, Mishap::Crowd];
        let mut plan = Plan::new(3, &kinds, 3);
        for _ in 0..4 {
            let mut round: Vec<Mishap> = kinds.iter().map(|_| plan.mishap().0).collect();
            round.sort_unstable();
            assert_eq!(round, kinds);
        }
    }
}
