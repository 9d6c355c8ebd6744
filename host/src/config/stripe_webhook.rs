//! Settings of the endpoint that Stripe sends its events to.

use serde::{Deserialize, Serialize};

use crate::secret::Secrets;

section! {
    /// The endpoint that Stripe sends its events to.
    StripeWebhookSection {
        /// Signing secrets; any of them will do.
        secrets: Secrets,
        /// Which events count.
        mode: StripeMode,
        /// Whose events count.
        account: String,
        /// How far the time of signing may be from now.
        tolerance_s: u64,
        /// Bytes of one event.
        body_bytes: u64,
    }
}

/// Whether events about real money count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StripeMode {
    /// Both kinds, kept apart.
    Any,
    /// Only real money.
    Live,
    /// Only test data.
    Test,
}

impl StripeWebhookSection {
    /// What cannot be worked with, in words.
    pub(super) fn wrong(&self) -> Option<String> {
        if !(matches!(self.account.as_str(), "any" | "own") || self.account.starts_with("acct_")) {
            return Some("stripe.webhook.account must be \"any\", \"own\" or the id of an account, acct_…".to_owned());
        }
        (self.body_bytes == 0).then(|| "stripe.webhook.body_bytes is too small to work with".to_owned())
    }
}
