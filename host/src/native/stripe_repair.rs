//! `stripe.repair`: what the webhook alone cannot know. Events that never came, objects whose state is in doubt or that were only named,
//! and payouts that should have arrived.
//!
//! All of it goes the same way as what the webhook brings, which gives the same whatever comes first and however often. So this can run at
//! any time, beside anything, and be stopped at any point.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::stripe_sync::SyncError;
use super::stripe_told::keep;
use crate::clock::{SharedClock, UnixMs};
use crate::store::Store;
use crate::store::ledger::LedgerBatch;
use crate::store::stripe::{Recorded, StripeEvent, Verdict};
use crate::stripe::event::Event;
use crate::stripe::import::{ImportKind, ImportOptions, Quarantined, read_transaction};
use crate::stripe::ledger::Owner;
use crate::stripe::object::{fetched, told};
use crate::stripe::plan::{BALANCE_TRANSACTION, Wanted};
use crate::stripe_api::{ApiError, StripeApi};
use crate::task::{NativeCall, NativeFailure, NativeManifest, NativeTask};

const WALL_MS: u64 = 3_600_000;
/// Payouts that one attempt asks for.
const PAYOUTS_MAX: u32 = 1000;
/// What Stripe gave and this host cannot read is asked for again after this: an update may have come.
const UNREADABLE_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Where an object is asked for, by its kind as Stripe says it.
const PATHS: [(&str, &str); 14] = [
    ("application_fee", "/v1/application_fees"),
    ("balance_transaction", "/v1/balance_transactions"),
    ("charge", "/v1/charges"),
    ("checkout.session", "/v1/checkout/sessions"),
    ("dispute", "/v1/disputes"),
    ("invoice", "/v1/invoices"),
    ("invoice_payment", "/v1/invoice_payments"),
    ("payment_intent", "/v1/payment_intents"),
    ("payout", "/v1/payouts"),
    ("radar.early_fraud_warning", "/v1/radar/early_fraud_warnings"),
    ("refund", "/v1/refunds"),
    ("reporting.report_run", "/v1/reporting/report_runs"),
    ("topup", "/v1/topups"),
    ("transfer", "/v1/transfers"),
];

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct RepairSettings {
    /// Whose account the key opens.
    pub owner: Owner,
    /// A payout that has not arrived so long after its day is asked for.
    pub payout_grace: Duration,
    /// Metadata key of our order's id.
    pub order_key: String,
}

/// The task type.
pub struct StripeRepair {
    store: Arc<dyn Store>,
    api: Arc<StripeApi>,
    clock: SharedClock,
    settings: RepairSettings,
}

/// What an attempt did.
#[derive(Debug, Default, Serialize)]
struct Done {
    /// Events that had never come.
    events: u64,
    /// Objects that were fetched because they were in doubt or only named.
    fetched: u64,
    /// Objects that Stripe does not have, or has no longer.
    missing: u64,
    /// Objects that could not be read.
    unreadable: u64,
    /// Payouts that are overdue, and are so after asking, by id.
    payouts_overdue: Vec<String>,
}

/// What came of asking for an object.
enum Fetched {
    Read,
    Unreadable,
    Deleted,
}

#[derive(Deserialize)]
struct Deleted {
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
struct EventList<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(default)]
    has_more: bool,
}

impl StripeRepair {
    /// The task type over a store and a key.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, api: Arc<StripeApi>, clock: SharedClock, settings: RepairSettings) -> Self {
        Self { store, api, clock, settings }
    }

    async fn repair(&self) -> Result<Done, SyncError> {
        let mut done = Done::default();
        self.undelivered(&mut done).await?;
        self.wanted(&mut done).await?;
        self.overdue(&mut done).await?;
        Ok(done)
    }

    /// Events that Stripe could not deliver. It keeps them for thirty days.
    async fn undelivered(&self, done: &mut Done) -> Result<(), SyncError> {
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("delivery_success", "false"), ("limit", "100")];
            query.extend(after.as_deref().map(|after| ("starting_after", after)));
            let text = self.api.get("/v1/events", &query).await?;
            let list: EventList<'_> = serde_json::from_str(&text).map_err(|error| ApiError::Unreadable(error.to_string()))?;
            let mut last = None;
            for body in &list.data {
                match Event::parse(body.get().as_bytes()) {
                    Ok(event) => {
                        last = Some(event.id.clone());
                        done.events += u64::from(self.take(&event, body.get()).await?);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "Stripe lists something as an event that is none");
                        done.unreadable += 1;
                    }
                }
            }
            if !list.has_more {
                return Ok(());
            }
            if last.is_none() || last == after {
                return Err(SyncError::Odd("/v1/events says that there is more and gives nothing new".to_owned()));
            }
            after = last;
        }
    }

    /// Takes an event in, unless it came after all. Its effect comes first: what is on record as an event has had it.
    async fn take(&self, event: &Event<'_>, body: &str) -> Result<bool, SyncError> {
        if self.store.stripe_event(&event.id).await?.is_some() {
            return Ok(false);
        }
        let now = self.clock.now();
        let verdict = if event.owner.livemode != self.settings.owner.livemode {
            Verdict::OtherMode
        } else if event.subject().is_none() {
            Verdict::UnknownType
        } else {
            Verdict::Accepted
        };
        if verdict == Verdict::Accepted {
            match told(event, &self.settings.order_key) {
                Ok(told) => {
                    keep(self.store.as_ref(), event, told, now).await?;
                }
                Err(error) => tracing::warn!(event = event.id, %error, "an event's object could not be read; the event is kept"),
            }
        }
        let kept = StripeEvent {
            id: event.id.clone(),
            event_type: event.event_type.clone(),
            owner: event.owner.clone(),
            api_version: event.api_version.clone(),
            verdict,
            created_at: UnixMs(event.created_s.saturating_mul(1000)),
            received_at: now,
            body_sha256: Sha256::digest(body).into(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        Ok(self.store.record_stripe_event(kept, None, now).await? != Recorded::Known)
    }

    /// Objects that something is waiting for.
    async fn wanted(&self, done: &mut Done) -> Result<(), SyncError> {
        loop {
            // One at a time: what is fetched may settle others.
            let due = self.store.stripe_wanted(&self.settings.owner, self.clock.now(), 1).await?;
            let Some(one) = due.into_iter().next() else { return Ok(()) };
            let Some(path) = PATHS.iter().find(|(object, _)| *object == one.object).map(|(_, path)| *path) else {
                self.settle(one, false).await?;
                done.unreadable += 1;
                continue;
            };
            match self.fetch(path, &one.object, &one.id).await {
                Ok(Fetched::Read) => {
                    done.fetched += 1;
                    self.settle(one, true).await?;
                }
                Ok(Fetched::Unreadable) => {
                    done.unreadable += 1;
                    self.settle(one, false).await?;
                }
                Ok(Fetched::Deleted) => {
                    done.missing += 1;
                    self.settle(one, true).await?;
                }
                Err(SyncError::Api(error)) if error.is_missing() => {
                    done.missing += 1;
                    self.settle(one, true).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn settle(&self, wanted: Wanted, settled: bool) -> Result<(), SyncError> {
        let again_at = (!settled).then(|| self.clock.now().plus(UNREADABLE_AGAIN));
        Ok(self.store.settle_stripe_wanted(vec![wanted], again_at).await?)
    }

    async fn fetch(&self, path: &str, object: &str, id: &str) -> Result<Fetched, SyncError> {
        let expand: &[(&str, &str)] = if object == BALANCE_TRANSACTION { &[("expand[]", "source")] } else { &[] };
        let path = format!("{path}/{id}");
        let text = self.api.get(&path, expand).await?;
        let now = self.clock.now();
        let owner = &self.settings.owner;
        if object == BALANCE_TRANSACTION {
            let mut options = ImportOptions::new(ImportKind::Api, owner.clone());
            options.order_key.clone_from(&self.settings.order_key);
            let mut batch = LedgerBatch::new(owner.clone(), &path);
            let row = read_transaction(&text, &options);
            let readable = row.is_ok();
            match row {
                Ok(row) => batch.transactions.push((1, row)),
                Err(reason) => batch.quarantined.push(Quarantined::new(1, reason, &text)),
            }
            self.store.merge_ledger(batch, now).await?;
            return Ok(if readable { Fetched::Read } else { Fetched::Unreadable });
        }
        // What was deleted is answered by its id and this word, without anything else that it had.
        if serde_json::from_str::<Deleted>(&text).is_ok_and(|answer| answer.deleted) {
            return Ok(Fetched::Deleted);
        }
        match fetched(owner, &text, now.0.div_euclid(1000), &self.settings.order_key) {
            Ok(seen) => {
                self.store.apply_stripe(seen, Vec::new(), now).await?;
                Ok(Fetched::Read)
            }
            Err(error) => {
                tracing::warn!(path, %error, "an object of Stripe's could not be read");
                Ok(Fetched::Unreadable)
            }
        }
    }

    /// Payouts that should have arrived. One that is not heard of any more would else stay on its way for ever.
    async fn overdue(&self, done: &mut Done) -> Result<(), SyncError> {
        let before = self.clock.now().minus(self.settings.payout_grace);
        let owner = &self.settings.owner;
        for id in self.store.overdue_payouts(owner, before, PAYOUTS_MAX).await? {
            match self.fetch("/v1/payouts", "payout", &id).await {
                Ok(_) => {}
                Err(SyncError::Api(error)) if error.is_missing() => done.missing += 1,
                Err(error) => return Err(error),
            }
        }
        done.payouts_overdue = self.store.overdue_payouts(owner, before, PAYOUTS_MAX).await?;
        Ok(())
    }
}

#[async_trait]
impl NativeTask for StripeRepair {
    fn manifest(&self) -> NativeManifest {
        NativeManifest {
            name: "stripe-repair",
            task_type: "stripe.repair",
            description: "Fetches events that never came, objects in doubt, and payouts that are overdue.",
            wall_ms: WALL_MS,
        }
    }

    async fn execute(&self, call: NativeCall) -> Result<Box<str>, NativeFailure> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        serde_json::from_str::<Option<Nothing>>(&call.payload)
            .map_err(|error| NativeFailure::Invalid(format!("the payload must be an empty object: {error}")))?;
        let done = self.repair().await?;
        serde_json::to_string(&done).map(Box::from).map_err(|error| NativeFailure::Permanent(error.to_string()))
    }
}
