//! From a source's entries into the store, a batch at a time.

use serde::Serialize;

use super::{LedgerBatch, LedgerCounts, LedgerStore};
use crate::clock::SharedClock;
use crate::store::StoreError;
use crate::stripe::import::{Entry, ImportError};
use crate::stripe::ledger::Owner;

/// Rows in one transaction: enough to share its price, few enough that nobody waits long for it.
const BATCH_ROWS: usize = 500;
/// Quarantined rows that a report shows; all of them are in the table.
const SHOWN_MAX: usize = 20;

/// Why a source was not read to its end. What came before is kept, and reading it again from the start changes nothing of that.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The source.
    #[error(transparent)]
    Source(#[from] ImportError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LoadReport {
    /// Rows of the balance.
    #[serde(flatten)]
    pub counts: LedgerCounts,
    /// Payouts and other objects that were in it.
    pub objects: u64,
    /// The first of the rows that were quarantined.
    pub first_quarantined: Vec<ShownRow>,
}

/// A quarantined row, as a report shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ShownRow {
    /// Where it began.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What is read.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Whose rows are in it.
    pub owner: &'a Owner,
    /// What to call it where its rows are quarantined.
    pub name: &'a str,
    /// The metadata key of our order's id.
    pub order_key: &'a str,
}

/// Reads all entries into the store.
///
/// # Errors
/// See [`LoadError`].
pub async fn load(
    store: &dyn LedgerStore,
    source: Source<'_>,
    entries: impl Iterator<Item = Result<Entry, ImportError>> + Send,
    clock: &SharedClock,
) -> Result<LoadReport, LoadError> {
    let mut report = LoadReport::default();
    let empty = || LedgerBatch::new(source.owner.clone(), source.name);
    let mut batch = empty();
    for entry in entries {
        let quarantined = batch.quarantined.len();
        batch.push(entry?, clock.now(), source.order_key);
        if let Some(row) = batch.quarantined.get(quarantined)
            && report.first_quarantined.len() < SHOWN_MAX
        {
            report.first_quarantined.push(ShownRow { line: row.line, reason: row.reason.clone() });
        }
        if batch.rows() >= BATCH_ROWS {
            let full = std::mem::replace(&mut batch, empty());
            report.objects += full.objects_read;
            report.counts.add(store.merge_ledger(full, clock.now()).await?);
        }
    }
    if batch.rows() > 0 {
        report.objects += batch.objects_read;
        report.counts.add(store.merge_ledger(batch, clock.now()).await?);
    }
    Ok(report)
}
