//! What a batch changes, decided without a database, so that every database decides alike.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::{LedgerBatch, LedgerCounts, QuarantinedRow};
use crate::clock::UnixMs;
use crate::stripe::import::Quarantined;
use crate::stripe::income::{Deltas, Overflow, of_movement};
use crate::stripe::ledger::{BalanceTransaction, Merged};
use crate::stripe::plan::{BALANCE_TRANSACTION, Reason, Wanted};

/// What a transaction has to write for a batch, given what is on record.
#[derive(Default)]
pub(in crate::store) struct Plan {
    pub(in crate::store) rows: Vec<BalanceTransaction>,
    pub(in crate::store) quarantined: Vec<QuarantinedRow>,
    pub(in crate::store) counts: LedgerCounts,
    /// What the rows do to the final income.
    pub(in crate::store) income: Deltas,
    /// Movements that need not be fetched any more.
    pub(in crate::store) settled: BTreeSet<Wanted>,
}

impl Plan {
    /// Decides, without a database: `stored` holds those rows of the batch that are on record.
    pub(in crate::store) fn of(batch: &LedgerBatch, stored: &BTreeMap<String, BalanceTransaction>, now: UnixMs) -> Result<Self, Overflow> {
        let mut plan = Self::default();
        let mut known = stored.clone();
        let mut touched = BTreeSet::new();
        for (line, seen) in &batch.transactions {
            let (owner, object) = (batch.owner.clone(), BALANCE_TRANSACTION.to_owned());
            plan.settled.insert(Wanted { owner, object, id: seen.id.clone(), reason: Reason::Movement });
            match known.get(&seen.id).map(|stored| stored.merge(seen)) {
                None => {
                    plan.counts.added += 1;
                    known.insert(seen.id.clone(), seen.clone());
                    touched.insert(seen.id.clone());
                }
                Some(Merged::Same) => plan.counts.unchanged += 1,
                Some(Merged::Changed(row)) => {
                    plan.counts.changed += 1;
                    touched.insert(row.id.clone());
                    known.insert(row.id.clone(), *row);
                }
                Some(Merged::Contradiction(reason)) => {
                    plan.quarantine(batch, Quarantined { line: *line, reason, row: format!("{seen:?}") }, now);
                }
            }
        }
        for row in &batch.quarantined {
            plan.quarantine(batch, row.clone(), now);
        }
        plan.rows = touched.into_iter().filter_map(|id| known.remove(&id)).collect();
        for row in &plan.rows {
            plan.income.take(stored.get(&row.id).map(|before| of_movement(&batch.owner, before)))?;
            plan.income.add([of_movement(&batch.owner, row)])?;
        }
        Ok(plan)
    }

    fn quarantine(&mut self, batch: &LedgerBatch, row: Quarantined, now: UnixMs) {
        let mut hasher = Sha256::new();
        for part in [batch.source.as_str(), &row.line.to_string(), &row.reason, &row.row] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        self.counts.quarantined += 1;
        self.quarantined.push(QuarantinedRow { id: hex::encode(hasher.finalize()), source: batch.source.clone(), row, at: now });
    }
}
