//! One resource, page by page, over a span of time with two fixed ends.

use serde::{Deserialize, Serialize};

use super::{Resource, StripeSync, SyncError};
use crate::store::StoreError;
use crate::store::ledger::{Cursor, LedgerBatch, LedgerCounts};
use crate::stripe::import::{ApiList, Entry, ImportKind, ImportOptions, read_list};
use crate::stripe_api::ApiError;

/// As many as the API gives.
pub(super) const PAGE_ROWS: &str = "100";

/// How far a resource was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// Everything from before this second was read.
    until_s: Option<i64>,
    /// A walk that has not ended.
    walk: Option<Walk>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Walk {
    from_s: i64,
    to_s: i64,
    /// The last object that was kept; newest come first.
    after: Option<String>,
}

/// What a walk read.
#[derive(Debug, Default, Serialize)]
pub(super) struct Walked {
    /// Rows of the balance.
    #[serde(flatten)]
    counts: LedgerCounts,
    /// Charges, payouts and other objects, new or known.
    objects: u64,
}

impl StripeSync {
    /// Ends the walk that was begun, or begins one and ends it.
    pub(super) async fn walk(&self, resource: Resource) -> Result<Walked, SyncError> {
        let name = resource.path();
        let mut progress = match self.store.cursor(&self.settings.owner, name).await? {
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| StoreError::Broken(format!("the cursor {name} cannot be read: {error}")))?
            }
            None => Progress::default(),
        };
        let mut walked = Walked::default();
        let mut walk = progress.walk.take().unwrap_or_else(|| self.new_walk(resource, progress.until_s));
        loop {
            let Some(page) = self.page(resource, &mut walk).await? else { continue };
            let ended = !page.has_more;
            if !ended && (page.last_id.is_none() || page.last_id == walk.after) {
                return Err(SyncError::Odd(format!(
                    "{name} says that there is more and gives nothing new; is stripe.api.base_url the API's address?"
                )));
            }
            let mut batch = self.batch(name, page.entries);
            walk.after = page.last_id;
            let now_at = if ended {
                Progress { until_s: Some(walk.to_s), walk: None }
            } else {
                Progress { until_s: progress.until_s, walk: Some(walk.clone()) }
            };
            batch.cursor = Some(Cursor {
                name: name.to_owned(),
                value: serde_json::to_string(&now_at).map_err(|error| SyncError::Odd(error.to_string()))?,
            });
            let objects = batch.objects_read;
            walked.counts.add(self.store.merge_ledger(batch, self.clock.now()).await?);
            walked.objects += objects;
            if ended {
                return Ok(walked);
            }
        }
    }

    fn new_walk(&self, resource: Resource, until_s: Option<i64>) -> Walk {
        let overlap_s = i64::try_from(resource.overlap(&self.settings).as_secs()).unwrap_or(i64::MAX);
        let from_s = until_s.map_or(self.settings.since_s, |until| until.saturating_sub(overlap_s).max(self.settings.since_s));
        // The running second is not over: what happens in the rest of it belongs to the next walk.
        Walk { from_s, to_s: self.clock.now().0.div_euclid(1000), after: None }
    }

    /// The next page, or nothing when the walk had to be begun again: the object it stood at is no longer there.
    async fn page(&self, resource: Resource, walk: &mut Walk) -> Result<Option<ApiList>, SyncError> {
        let (from, to) = (walk.from_s.to_string(), walk.to_s.to_string());
        let mut query = vec![("limit", PAGE_ROWS), ("created[gte]", from.as_str()), ("created[lt]", to.as_str())];
        query.extend(resource.expand().map(|field| ("expand[]", field)));
        query.extend(walk.after.as_deref().map(|after| ("starting_after", after)));
        match self.api.get(resource.path(), &query).await {
            Ok(text) => self.read_page(&text, None).map(Some),
            Err(error) if error.is_missing() && walk.after.is_some() => {
                tracing::info!(resource = resource.path(), "the object that a walk stood at is gone; the walk begins again");
                walk.after = None;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an answer as a list; `payout` is the one that its rows were asked for.
    pub(super) fn read_page(&self, text: &str, payout: Option<&str>) -> Result<ApiList, SyncError> {
        let mut options = ImportOptions::new(ImportKind::Api, self.settings.owner.clone());
        options.order_key.clone_from(&self.settings.order_key);
        options.payout = payout.map(str::to_owned);
        read_list(text, &options).map_err(|error| ApiError::Unreadable(error.to_string()).into())
    }

    pub(super) fn batch(&self, source: &str, entries: Vec<Entry>) -> LedgerBatch {
        let mut batch = LedgerBatch::new(self.settings.owner.clone(), source);
        let now = self.clock.now();
        entries.into_iter().for_each(|entry| batch.push(entry, now, &self.settings.order_key));
        batch
    }
}
