//! What is kept of Stripe: events through the writer with their tasks, objects joined in the writer's transaction, income beside both.

mod events;
pub(super) mod income;
mod row;
pub(super) mod transactions;
pub(super) mod wanted;

use async_trait::async_trait;

use self::events::{PruneBodies, Record};
use self::transactions::Apply;
use self::wanted::Settle;
use super::SqliteStore;
use super::prepared::Prepared;
use super::submit::Submit;
use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::stripe::{Applied, Recorded, StripeEvent, StripeStore};
use crate::stripe::ledger::Owner;
use crate::stripe::plan::Wanted;
use crate::stripe::transaction::{Key, Transaction};
use crate::task::NewTask;

#[async_trait]
impl StripeStore for SqliteStore {
    async fn record_stripe_event(&self, event: StripeEvent, task: Option<NewTask>, now: UnixMs) -> Result<Recorded> {
        let task = task.map(|task| Prepared::new(task).map(|task| Submit { batch: vec![task], now })).transpose()?;
        self.writer.run(Record { event, task }).await
    }

    async fn prune_stripe_bodies(&self, before: UnixMs, limit_rows: u32) -> Result<u64> {
        self.writer.run(PruneBodies { before, limit_rows }).await
    }

    async fn stripe_event(&self, id: &str) -> Result<Option<StripeEvent>> {
        let id = id.to_owned();
        self.readers.run(move |conn| events::read(conn, &id)).await
    }

    async fn apply_stripe(&self, seen: Vec<Transaction>, named: Vec<Key>, now: UnixMs) -> Result<Applied> {
        self.writer.run(Apply { seen, named, now }).await
    }

    async fn stripe_transaction(&self, key: &Key) -> Result<Option<Transaction>> {
        let key = key.clone();
        self.readers.run(move |conn| transactions::read(conn, &key)).await
    }

    async fn stripe_wanted(&self, owner: &Owner, now: UnixMs, limit: u32) -> Result<Vec<Wanted>> {
        let owner = owner.clone();
        self.readers.run(move |conn| wanted::due(conn, &owner, now, limit)).await
    }

    async fn settle_stripe_wanted(&self, wanted: Vec<Wanted>, again_at: Option<UnixMs>) -> Result<()> {
        self.writer.run(Settle { wanted, again_at }).await
    }
}
