//! Everything that a store can do, in one.

use async_trait::async_trait;

use super::ledger::LedgerStore;
use super::orders::OrderStore;
use super::stripe::{IncomeStore, StripeStore};
use super::tables::TableStore;
use super::{AdminStore, BlobStore, FindingStore, RatingStore, ScheduleStore, StatsStore, TaskStore};

/// What may be opened beside a running host, by commands.
pub trait SideStore: AdminStore + IncomeStore + LedgerStore {}

impl<T: AdminStore + IncomeStore + LedgerStore> SideStore for T {}

/// The queue and all that belongs to it.
pub trait QueueStore: TaskStore + BlobStore + AdminStore + ScheduleStore + FindingStore + StatsStore + RatingStore {}

impl<T: TaskStore + BlobStore + AdminStore + ScheduleStore + FindingStore + StatsStore + RatingStore> QueueStore for T {}

/// What is known of money.
pub trait MoneyStore: StripeStore + IncomeStore + LedgerStore + OrderStore + TableStore {}

impl<T: StripeStore + IncomeStore + LedgerStore + OrderStore + TableStore> MoneyStore for T {}

/// All of it: what `app` builds and hands out.
#[async_trait]
pub trait Store: QueueStore + MoneyStore {
    /// Finishes what was begun and closes every connection; what was acknowledged is safe without. Verbs that come after are refused.
    async fn close(&self);
}
