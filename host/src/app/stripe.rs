//! What the host does with Stripe's API, where a key to it is configured.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::config::{Config, StripeApiSection};
use crate::native::stripe_repair::{RepairSettings, StripeRepair};
use crate::native::stripe_sync::{StripeSync, SyncSettings};
use crate::payments::{CheckoutSettings, Checkouts};
use crate::secret::Secret;
use crate::store::Store;
use crate::stripe::ledger::Owner;
use crate::stripe_api::{StripeApi, StripeApiConfig};
use crate::task::{NativeTask, RetryPolicy};

/// The parts of a host that need the key.
#[derive(Default)]
pub(super) struct StripeParts {
    pub(super) tasks: Vec<Arc<dyn NativeTask>>,
    pub(super) checkouts: Option<Arc<Checkouts>>,
}

impl StripeParts {
    /// Nothing, where no key is configured.
    ///
    /// # Errors
    /// When the key must not be sent where the configuration says.
    pub(super) fn new(config: &Config, store: &Arc<dyn Store>, clock: &SharedClock) -> anyhow::Result<Self> {
        let stripe = &config.stripe;
        let [key] = stripe.api.key.0.as_slice() else { return Ok(Self::default()) };
        let api = Arc::new(StripeApi::new(api_config(&stripe.api, key), Arc::clone(clock), rand::random())?);
        let owner = Owner { account: stripe.api.account.clone(), livemode: stripe.api.livemode };
        let settings = SyncSettings {
            owner: owner.clone(),
            since_s: stripe.sync.since_s().unwrap_or_default(),
            overlap: Duration::from_millis(stripe.sync.overlap_ms),
            order_key: stripe.sync.order_key.clone(),
        };
        let sync = StripeSync::new(Arc::clone(store), Arc::clone(&api), Arc::clone(clock), settings);
        let settings = RepairSettings {
            owner: owner.clone(),
            payout_grace: Duration::from_millis(stripe.repair.payout_grace_ms),
            order_key: stripe.sync.order_key.clone(),
        };
        let repair = StripeRepair::new(Arc::clone(store), Arc::clone(&api), Arc::clone(clock), settings);
        let settings = CheckoutSettings {
            owner,
            catalogue: stripe.checkout.catalogue.clone(),
            success_url: stripe.checkout.success_url.clone(),
            cancel_url: stripe.checkout.cancel_url.clone(),
            order_key: stripe.sync.order_key.clone(),
        };
        let checkouts = stripe.checkout.is_set().then(|| Arc::new(Checkouts::new(Arc::clone(store), api, Arc::clone(clock), settings)));
        Ok(Self { tasks: vec![Arc::new(sync), Arc::new(repair)], checkouts })
    }
}

fn api_config(section: &StripeApiSection, key: &Secret) -> StripeApiConfig {
    StripeApiConfig {
        base_url: section.base_url.clone(),
        key: key.clone(),
        version: section.version.clone(),
        account: Some(section.account.clone()).filter(|account| !account.is_empty()),
        requests_per_second: section.requests_per_second,
        sends_max: section.sends_max,
        retry: RetryPolicy {
            backoff_base: Duration::from_millis(section.backoff_base_ms),
            backoff_cap: Duration::from_millis(section.backoff_cap_ms),
            ..RetryPolicy::default()
        },
        wait_max: Duration::from_millis(section.wait_max_ms),
        timeout: Duration::from_millis(section.timeout_ms),
        response_bytes_max: usize::try_from(section.response_bytes).unwrap_or(usize::MAX),
    }
}
