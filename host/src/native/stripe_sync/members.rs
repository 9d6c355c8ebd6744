//! Which movements make up an automatic payout: the API says it only when it is asked for the members of one payout.

use serde::Serialize;

use super::walk::PAGE_ROWS;
use super::{Resource, StripeSync, SyncError};
use crate::stripe::payout::{ListingState, PayoutListing, is_whole};

/// Payouts that one attempt lists; others wait for the next.
const PAYOUTS_MAX: u32 = 10_000;

/// What became of the payouts that were listed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Listed {
    /// Whose members sum up to what was paid out.
    complete: u64,
    /// Whose members do not, by id: at least one is missing, or one is too many.
    incomplete: Vec<String>,
}

impl StripeSync {
    pub(super) async fn list_members(&self) -> Result<Listed, SyncError> {
        let mut listed = Listed::default();
        let owner = &self.settings.owner;
        for payout in self.store.listings(owner, &[ListingState::Due, ListingState::Incomplete], PAYOUTS_MAX).await? {
            self.read_members(&payout).await?;
            let members = self.store.payout_members(owner, &payout.payout).await?;
            let state = if is_whole(&payout, &members) { ListingState::Complete } else { ListingState::Incomplete };
            let mut batch = self.batch(Resource::BalanceTransactions.path(), Vec::new());
            batch.listings.push(PayoutListing { state, ..payout.clone() });
            self.store.merge_ledger(batch, self.clock.now()).await?;
            match state {
                ListingState::Complete => listed.complete += 1,
                _ => listed.incomplete.push(payout.payout),
            }
        }
        Ok(listed)
    }

    async fn read_members(&self, payout: &PayoutListing) -> Result<(), SyncError> {
        let path = Resource::BalanceTransactions.path();
        let source = format!("{path}?payout={}", payout.payout);
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("limit", PAGE_ROWS), ("payout", payout.payout.as_str())];
            query.extend(Resource::BalanceTransactions.expand().map(|field| ("expand[]", field)));
            query.extend(after.as_deref().map(|after| ("starting_after", after)));
            let text = self.api.get(path, &query).await?;
            let page = self.read_page(&text, Some(&payout.payout))?;
            self.store.merge_ledger(self.batch(&source, page.entries), self.clock.now()).await?;
            if !page.has_more {
                return Ok(());
            }
            if page.last_id.is_none() || page.last_id == after {
                return Err(SyncError::Odd(format!("{source} says that there is more and gives nothing new")));
            }
            after = page.last_id;
        }
    }
}
