//! Writing what an event says, however it came.

use crate::clock::UnixMs;
use crate::store::ledger::LedgerBatch;
use crate::store::stripe::Applied;
use crate::store::{Store, StoreError};
use crate::stripe::event::Event;
use crate::stripe::object::Told;

/// Joins what an event says to what is known: its objects, and the movements of the balance that they carry. Either may be written without the
/// other when the host dies in between; writing both again changes nothing.
///
/// # Errors
/// Those of the store.
pub(super) async fn keep(store: &dyn Store, event: &Event<'_>, told: Told, now: UnixMs) -> Result<Applied, StoreError> {
    let applied = store.apply_stripe(told.seen, told.fetch.into_iter().collect(), now).await?;
    if !told.movements.is_empty() {
        let mut batch = LedgerBatch::new(event.owner.clone(), &event.id);
        batch.transactions.extend((1..).zip(told.movements.read));
        batch.quarantined = told.movements.unreadable;
        store.merge_ledger(batch, now).await?;
    }
    Ok(applied)
}
