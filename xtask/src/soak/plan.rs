//! What is done to the hosts, drawn from a seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

const PRIORITIES: [&str; 5] = ["critical", "high", "normal", "low", "background"];

/// Something that happens to hosts in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    /// kill -9, and a new start.
    Kill,
    /// Stopped for longer than its lease (SIGSTOP), then let go on.
    Pause,
}

/// A stream of decisions that depends on the seed alone.
pub(super) struct Plan {
    random: SmallRng,
    mishaps: Vec<Mishap>,
    hosts: usize,
    seed: u64,
    keys: u64,
}

impl Plan {
    pub(super) fn new(seed: u64, mishaps: &[Mishap], hosts: usize) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), mishaps: mishaps.to_vec(), hosts, seed, keys: 0 }
    }

    /// How long until the next mishap.
    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(400..1_500))
    }

    /// One of the hosts.
    pub(super) fn host(&mut self) -> usize {
        self.random.random_range(0..self.hosts)
    }

    pub(super) fn mishap(&mut self) -> (Mishap, usize) {
        let which = self.random.random_range(0..self.mishaps.len());
        let mishap = self.mishaps.get(which).copied().unwrap_or(Mishap::Kill);
        (mishap, self.host())
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
            (0..20).map(|_| format!("{:?} {:?} {:?} {:?}", plan.pause(), plan.host(), plan.batch(), plan.mishap())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
