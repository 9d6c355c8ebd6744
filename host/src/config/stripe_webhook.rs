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
        /// How long bodies of events are kept; 0 keeps them for ever.
        body_retention_ms: u64,
    }
}

/// Stripe sends an event again for three days, and a task that processes one may wait.
const BODY_RETENTION_MS_MIN: u64 = 7 * 24 * 3600 * 1000;

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
        if (1..BODY_RETENTION_MS_MIN).contains(&self.body_retention_ms) {
            return Some(format!(
                "stripe.webhook.body_retention_ms must be 0, which keeps the bodies for ever, or at least {BODY_RETENTION_MS_MIN} (seven days): an \
                 event that waits to be processed needs its body"
            ));
        }
        (self.body_bytes == 0).then(|| "stripe.webhook.body_bytes is too small to work with".to_owned())
    }
}
