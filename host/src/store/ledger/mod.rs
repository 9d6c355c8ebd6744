//! What a store keeps of Stripe's ledger: balance transactions, which payouts they make up, how far the API was read, and the rows
//! that could not be read.

mod load;
mod plan;

pub use load::{LoadError, LoadReport, Source, load};
pub(super) use plan::Plan;

use async_trait::async_trait;
use serde::Serialize;

use super::Result;
use crate::clock::UnixMs;
use crate::stripe::import::{Entry, Quarantined};
use crate::stripe::ledger::{BalanceTransaction, Owner};
use crate::stripe::object::fetched;
use crate::stripe::payout::{ListingState, PayoutListing, payout_listing};
use crate::stripe::transaction::Transaction;

/// Rows that were read together. What is in one batch is kept together, or not at all.
#[derive(Debug, Clone)]
pub struct LedgerBatch {
    /// Whose they are.
    pub owner: Owner,
    /// Where they were read, for whoever looks at a quarantined row: a file's name or a path of the API.
    pub source: String,
    /// Movements with the line each was on.
    pub transactions: Vec<(u64, BalanceTransaction)>,
    /// What could not be read.
    pub quarantined: Vec<Quarantined>,
    /// How far reading has come with this batch.
    pub cursor: Option<Cursor>,
    /// Payouts whose members are to be listed, or were.
    pub listings: Vec<PayoutListing>,
    /// Charges and other objects, as they were shown.
    pub objects: Vec<Transaction>,
    /// How many of the entries were such objects. There can be more in `objects`: one may carry others.
    pub objects_read: u64,
}

impl LedgerBatch {
    /// A batch with nothing in it.
    #[must_use]
    pub fn new(owner: Owner, source: &str) -> Self {
        Self {
            owner,
            source: source.to_owned(),
            transactions: Vec::new(),
            quarantined: Vec::new(),
            cursor: None,
            listings: Vec::new(),
            objects: Vec::new(),
            objects_read: 0,
        }
    }

    /// Puts an entry, which was read at this time, where it belongs. Our order's id stands in the metadata under `order_key`.
    pub fn push(&mut self, entry: Entry, at: UnixMs, order_key: &str) {
        match entry {
            Entry::Transaction(line, row) => self.transactions.push((line, *row)),
            Entry::Quarantined(row) => self.quarantined.push(row),
            Entry::Object(line, object) => {
                let seen = fetched(&self.owner, &object.json, at.0.div_euclid(1000), order_key).map_err(|error| error.to_string());
                match seen.and_then(|seen| Ok((seen, payout_listing(&object)?))) {
                    Ok((seen, listing)) => {
                        self.objects_read += 1;
                        self.objects.extend(seen);
                        self.listings.extend(listing);
                    }
                    Err(reason) => self.quarantined.push(Quarantined::new(line, reason, &object.json)),
                }
            }
        }
    }

    /// How many rows it holds.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.transactions.len() + self.quarantined.len() + self.objects.len()
    }
}

/// How far something has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// What is being read.
    pub name: String,
    /// JSON text.
    pub value: String,
}

/// What became of the rows of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LedgerCounts {
    /// Not known before.
    pub added: u64,
    /// Known, with something new.
    pub changed: u64,
    /// Known as they are.
    pub unchanged: u64,
    /// Not read, or contradicting what is on record; to be looked at.
    pub quarantined: u64,
}

impl LedgerCounts {
    /// Adds the counts of another batch.
    pub fn add(&mut self, other: Self) {
        self.added += other.added;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.quarantined += other.quarantined;
    }
}

/// A quarantined row as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedRow {
    /// A digest of source, line and row: reading a file twice quarantines nothing twice.
    pub id: String,
    /// Where it was read.
    pub source: String,
    /// Where in it, why, and the row.
    pub row: Quarantined,
    /// When.
    pub at: UnixMs,
}

/// Which rows of a table: those that happened from `from` to before `to`, in order of time, after one of them.
#[derive(Debug, Clone)]
pub struct LedgerQuery {
    /// Whose.
    pub owner: Owner,
    /// From this moment.
    pub from: UnixMs,
    /// To before this one.
    pub to: UnixMs,
    /// After this row.
    pub after: Option<(UnixMs, String)>,
    /// At most so many.
    pub limit: u32,
}

/// Stripe's ledger.
#[async_trait]
pub trait LedgerStore: Send + Sync + 'static {
    /// Merges a batch into what is on record, with what that does to the income, in one transaction with its cursor: after a crash all of it is
    /// there, or nothing.
    async fn merge_ledger(&self, batch: LedgerBatch, now: UnixMs) -> Result<LedgerCounts>;
    /// A page of balance transactions by (`created_at`, `id`).
    async fn balance_transactions(&self, query: LedgerQuery) -> Result<Vec<BalanceTransaction>>;
    /// The members of a payout that are on record, its own movement among them.
    async fn payout_members(&self, owner: &Owner, payout: &str) -> Result<Vec<BalanceTransaction>>;
    /// How far something was read.
    async fn cursor(&self, owner: &Owner, name: &str) -> Result<Option<String>>;
    /// Payouts whose members are in one of these states, at most `limit`, by id.
    async fn listings(&self, owner: &Owner, states: &[ListingState], limit: u32) -> Result<Vec<PayoutListing>>;
    /// Payouts that should have arrived before this and have not, at most `limit`, by id.
    async fn overdue_payouts(&self, owner: &Owner, arrived_before: UnixMs, limit: u32) -> Result<Vec<String>>;
    /// Quarantined rows, newest first, at most `limit`.
    async fn quarantine(&self, owner: &Owner, limit: u32) -> Result<Vec<QuarantinedRow>>;
}
