//! Settings about Stripe.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::secret::Secrets;
use crate::stripe::checkout::Catalogue;

section! {
    /// How Stripe's API is used.
    StripeApiSection {
        /// A restricted key.
        key: Secrets,
        /// Whether the key is for real money.
        livemode: bool,
        /// A connected account to act for.
        account: String,
        /// Where the API is.
        base_url: String,
        /// The version that answers are written in.
        version: String,
        /// Requests that may start in a second.
        requests_per_second: u32,
        /// How often one request is sent.
        sends_max: u32,
        /// The first back-off.
        backoff_base_ms: u64,
        /// The longest back-off.
        backoff_cap_ms: u64,
        /// The longest wait within a task.
        wait_max_ms: u64,
        /// How long one answer may take.
        timeout_ms: u64,
        /// Bytes of one answer.
        response_bytes: u64,
    }
}

section! {
    /// Reading the ledger.
    StripeSyncSection {
        /// Nothing from before this is read (RFC 3339).
        since: String,
        /// How much of the last walk is read again.
        overlap_ms: u64,
        /// Metadata key of our order's id.
        order_key: String,
    }
}

section! {
    /// Looking for what never came.
    StripeRepairSection {
        /// How long after its day a payout is overdue.
        payout_grace_ms: u64,
    }
}

section! {
    /// Hosted checkouts.
    StripeCheckoutSection {
        /// Where customers come back to.
        success_url: String,
        /// Where customers come back to without having paid.
        cancel_url: String,
        /// What is for sale.
        catalogue: Catalogue,
    }
}

impl super::Stripe {
    /// What cannot be worked with, in words.
    pub(super) fn wrong(&self) -> Option<String> {
        self.webhook.wrong().or_else(|| self.api.wrong()).or_else(|| self.sync.wrong()).or_else(|| self.checkout.wrong())
    }
}

impl StripeApiSection {
    /// What cannot be worked with, by its name.
    pub(super) fn wrong(&self) -> Option<String> {
        let zero = [
            ("stripe.api.requests_per_second", u64::from(self.requests_per_second)),
            ("stripe.api.sends_max", u64::from(self.sends_max)),
            ("stripe.api.timeout_ms", self.timeout_ms),
            ("stripe.api.response_bytes", self.response_bytes),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, value)| *value == 0) {
            return Some(format!("{name} is too small to work with"));
        }
        let key = match self.key.0.as_slice() {
            [] => return None,
            [key] => key.expose(),
            _ => return Some("stripe.api.key must be one key".to_owned()),
        };
        // A key says which mode it is for. Whoever confuses the two books test data as money.
        match key.split('_').nth(1) {
            Some("live") if !self.livemode => Some("stripe.api.key is a live key and stripe.api.livemode is false".to_owned()),
            Some("test") if self.livemode => Some("stripe.api.key is a test key and stripe.api.livemode is true".to_owned()),
            _ => None,
        }
    }
}

impl StripeSyncSection {
    /// Nothing from before this is read, in seconds since 1970.
    #[must_use]
    pub fn since_s(&self) -> Option<i64> {
        UnixMs::parse_rfc3339(&self.since).ok().map(|since| since.0.div_euclid(1000))
    }

    fn wrong(&self) -> Option<String> {
        if self.order_key.is_empty() {
            return Some("stripe.sync.order_key is empty; it is the metadata key of your order's id".to_owned());
        }
        self.since_s()
            .is_none()
            .then(|| format!("stripe.sync.since: {:?} is not an RFC 3339 time such as 2026-01-31T12:00:00Z", self.since))
    }
}

impl StripeCheckoutSection {
    /// Whether customers can be sent to a checkout.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.success_url.is_empty() && !self.cancel_url.is_empty()
    }

    fn wrong(&self) -> Option<String> {
        for (name, url) in [("success_url", &self.success_url), ("cancel_url", &self.cancel_url)] {
            if !url.is_empty() && !url.starts_with("https://") {
                return Some(format!("stripe.checkout.{name} must begin with https://"));
            }
        }
        if self.success_url.is_empty() != self.cancel_url.is_empty() {
            return Some("stripe.checkout needs both success_url and cancel_url, or neither".to_owned());
        }
        self.catalogue.check().err().map(|why| format!("stripe.checkout.catalogue: {why}"))
    }
}
