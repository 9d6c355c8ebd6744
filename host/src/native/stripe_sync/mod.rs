//! `stripe.sync`: reads Stripe's ledger into the host's, from where it left off.
//!
//! Every resource is read in walks. A walk covers a span of time with two fixed ends, so what happens meanwhile shifts no page of it; each
//! page is kept in one transaction with the place it ended at. Whoever is stopped in the middle goes on at that place, and the next walk
//! begins some time before the end of the last one, for what appears late. Reading anything twice changes nothing.

mod members;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::SharedClock;
use crate::store::{Conflict, Store, StoreError};
use crate::stripe::ledger::Owner;
use crate::stripe_api::{ApiError, StripeApi};
use crate::task::{NativeCall, NativeFailure, NativeManifest, NativeTask};

/// How long one attempt may take; what it has read by then is kept.
const WALL_MS: u64 = 3_600_000;

/// What is read, and how far back each walk begins before the end of the last: as long as its objects still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Movements of the balance.
    BalanceTransactions,
    /// Payouts, which are reconciled days after they were made and may fail days after they were paid.
    Payouts,
    /// Charges.
    Charges,
    /// Refunds, which may fail thirty days after they succeeded.
    Refunds,
    /// Disputes, which last for months.
    Disputes,
}

impl Resource {
    const ALL: [Self; 5] = [Self::BalanceTransactions, Self::Payouts, Self::Charges, Self::Refunds, Self::Disputes];

    fn path(self) -> &'static str {
        match self {
            Self::BalanceTransactions => "/v1/balance_transactions",
            Self::Payouts => "/v1/payouts",
            Self::Charges => "/v1/charges",
            Self::Refunds => "/v1/refunds",
            Self::Disputes => "/v1/disputes",
        }
    }

    fn expand(self) -> Option<&'static str> {
        match self {
            // The charge or refund behind a movement names the payment and our order.
            Self::BalanceTransactions => Some("data.source"),
            _ => None,
        }
    }

    fn overlap(self, settings: &SyncSettings) -> Duration {
        let days = match self {
            Self::BalanceTransactions | Self::Charges => 0,
            Self::Payouts => 30,
            Self::Refunds => 35,
            Self::Disputes => 120,
        };
        settings.overlap.max(Duration::from_secs(days * 24 * 3600))
    }
}

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct SyncSettings {
    /// Whose ledger the key opens.
    pub owner: Owner,
    /// Nothing from before this is read; seconds since 1970.
    pub since_s: i64,
    /// How much of the last walk is read again.
    pub overlap: Duration,
    /// Metadata key of our order's id.
    pub order_key: String,
}

/// The task type.
pub struct StripeSync {
    store: Arc<dyn Store>,
    api: Arc<StripeApi>,
    clock: SharedClock,
    settings: SyncSettings,
}

/// What a task asks for; an empty object asks for everything.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Payload {
    resources: Vec<Resource>,
}

/// What an attempt did.
#[derive(Debug, Default, Serialize)]
struct Done {
    resources: BTreeMap<Resource, walk::Walked>,
    payouts: members::Listed,
}

impl StripeSync {
    /// The task type over a store and a key.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, api: Arc<StripeApi>, clock: SharedClock, settings: SyncSettings) -> Self {
        Self { store, api, clock, settings }
    }

    async fn sync(&self, payload: &Payload) -> Result<Done, SyncError> {
        let mut done = Done::default();
        for resource in Resource::ALL {
            if payload.resources.is_empty() || payload.resources.contains(&resource) {
                done.resources.insert(resource, self.walk(resource).await?);
            }
        }
        done.payouts = self.list_members().await?;
        Ok(done)
    }
}

#[async_trait]
impl NativeTask for StripeSync {
    fn manifest(&self) -> NativeManifest {
        NativeManifest {
            name: "stripe-sync",
            task_type: "stripe.sync",
            description: "Reads Stripe's ledger, its objects and the members of payouts into the host's tables, from where it left off.",
            wall_ms: WALL_MS,
        }
    }

    async fn execute(&self, call: NativeCall) -> Result<Box<str>, NativeFailure> {
        let payload: Option<Payload> =
            serde_json::from_str(&call.payload).map_err(|error| NativeFailure::Invalid(format!("the payload does not fit: {error}")))?;
        let done = self.sync(&payload.unwrap_or_default()).await?;
        serde_json::to_string(&done).map(Box::from).map_err(|error| NativeFailure::Permanent(error.to_string()))
    }
}

/// Why a sync stopped. What it had read is kept.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Stripe.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The host's own database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An answer that is none.
    #[error("{0}")]
    Odd(String),
}

impl From<SyncError> for NativeFailure {
    fn from(error: SyncError) -> Self {
        let reason = error.to_string();
        match error {
            SyncError::Api(ApiError::Passing { retry_after, .. }) => Self::Transient { reason, retry_after },
            SyncError::Api(_) | SyncError::Odd(_) | SyncError::Store(StoreError::Conflict(Conflict::LeaseLost)) => Self::Permanent(reason),
            SyncError::Store(_) => {
                tracing::error!(%reason, "a sync with Stripe could not keep what it read");
                Self::Transient { reason: "the host's database did not take it; the host has logged why".to_owned(), retry_after: None }
            }
        }
    }
}
