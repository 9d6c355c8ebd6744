//! What was promised against what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::Options;
use super::cluster::Cluster;
use super::plan::Mishap;
use crate::process;

#[derive(Default)]
pub(super) struct Ledger {
    /// Key of each acknowledged task, with its id.
    acknowledged: BTreeMap<String, String>,
    mishaps: BTreeMap<Mishap, u32>,
    /// Batches that a host refused because its database was away.
    refused: u32,
    /// How each acknowledged task ended: outcome and attempts, by key.
    ended: BTreeMap<String, (String, u64)>,
}

impl Ledger {
    pub(super) fn acknowledged(&mut self, ids: Vec<String>, batch: &[Value]) {
        let keys = batch.iter().filter_map(|task| task.get("idempotency_key")?.as_str());
        self.acknowledged.extend(keys.map(str::to_owned).zip(ids));
    }

    pub(super) fn count(&mut self, mishap: Mishap) {
        *self.mishaps.entry(mishap).or_default() += 1;
    }

    pub(super) fn refused(&mut self) {
        self.refused += 1;
    }

    /// Whether each of these has happened.
    pub(super) fn has_seen(&self, mishaps: &[Mishap]) -> bool {
        mishaps.iter().all(|mishap| self.mishaps.contains_key(mishap))
    }

    /// Waits until every acknowledged task has ended.
    pub(super) fn settle(&mut self, cluster: &Cluster, patience: Duration) -> anyhow::Result<()> {
        for (key, id) in &self.acknowledged {
            let start = process::now();
            loop {
                ensure!(
                    start.elapsed() < patience,
                    "for {} s nothing has ended; {} of {} acknowledged tasks have ended; {key} has not",
                    patience.as_secs(),
                    self.ended.len(),
                    self.acknowledged.len()
                );
                let task = cluster.get(&format!("/v1/tasks/{id}?wait=5s"))?;
                let text = |name: &str| task.get(name).and_then(Value::as_str).map(str::to_owned);
                if ["succeeded", "failed", "cancelled"].contains(&text("state").context("a task without a state")?.as_str()) {
                    let attempt = task.get("attempt").and_then(Value::as_u64).context("a task without an attempt")?;
                    self.ended.insert(key.clone(), (text("outcome").unwrap_or_default(), attempt));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Compares, prints, and fails when a promise was broken.
    pub(super) fn reckon(&self, what: &str, options: Options, cluster: &Cluster) -> anyhow::Result<()> {
        let effects = cluster.effects()?;
        let lost: Vec<&String> =
            self.acknowledged.keys().filter(|key| self.ended.get(*key).is_none_or(|(outcome, _)| outcome != "succeeded")).collect();
        let twice = self.acknowledged.keys().filter(|key| effects.get(*key).is_some_and(|attempts| attempts.len() > 1)).count();
        // The guest never fails by itself, so each attempt before the last one was lost. The last one must have acted, and an effect beyond
        // the attempts that were counted would be work that nobody accounts for.
        let unaccounted: Vec<&String> = self
            .acknowledged
            .keys()
            .filter(|key| {
                let none = BTreeSet::new();
                let (acted, attempts) = (effects.get(*key).unwrap_or(&none), self.ended.get(*key).map_or(0, |(_, attempts)| *attempts));
                !acted.contains(&attempts) || acted.iter().any(|attempt| *attempt > attempts)
            })
            .collect();
        let retried = self.ended.values().filter(|(_, attempts)| *attempts > 1).count();
        println!("soak: {what}, {} s, seed {}", options.seconds, options.seed);
        println!("soak:   mishaps                 {:?}", self.mishaps);
        println!("soak:   acknowledged            {}", self.acknowledged.len());
        println!("soak:   batches answered 503    {}", self.refused);
        println!("soak:   finished                {}", self.ended.len());
        println!("soak:   lost                    {}", lost.len());
        println!("soak:   begun more than once    {retried}");
        println!(
            "soak:   effects run twice       {twice} (each by an attempt that had acted before it was lost: at least once, as promised)"
        );
        println!("soak:   stale results refused   {}", cluster.stale_results()?);
        if !lost.is_empty() || !unaccounted.is_empty() {
            bail!("{what}: lost {:?}, not accounted for {:?}", first(&lost), first(&unaccounted));
        }
        ensure!(!self.acknowledged.is_empty(), "nothing was acknowledged, so nothing was shown");
        Ok(())
    }
}

/// Enough to look into it by.
fn first<'a>(keys: &[&'a String]) -> Vec<&'a String> {
    keys.iter().take(5).copied().collect()
}
