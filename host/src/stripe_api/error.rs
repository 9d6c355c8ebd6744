//! Why Stripe did not do what was asked, named by what to do next.

use std::time::Duration;

use serde::Deserialize;

/// Characters of Stripe's own words that are repeated.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Settings have to be changed.
    #[error("{0}")]
    Misconfigured(String),
    /// It may work later.
    #[error("{why}; it may work later")]
    Passing {
        /// What happened.
        why: String,
        /// Not before this has passed, if Stripe said so.
        retry_after: Option<Duration>,
    },
    /// Stripe understood the request and will not do it.
    #[error("Stripe refused with {status}{}: {message}", if code.is_empty() { String::new() } else { format!(" ({code})") })]
    Refused {
        /// HTTP.
        status: u16,
        /// Stripe's code for programs, such as `resource_missing`; empty when there is none.
        code: String,
        /// Stripe's words for people.
        message: String,
    },
    /// The answer is not what the API answers.
    #[error("{0}; is stripe.api.base_url the API's address?")]
    Unreadable(String),
}

#[derive(Deserialize, Default)]
struct Envelope {
    #[serde(default)]
    error: Said,
}

#[derive(Deserialize, Default)]
struct Said {
    #[serde(default)]
    code: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl ApiError {
    pub(super) fn passing(why: String) -> Self {
        Self::Passing { why, retry_after: None }
    }

    pub(super) fn refused(status: u16, body: &[u8]) -> Self {
        let said = serde_json::from_slice::<Envelope>(body).unwrap_or_default().error;
        let message = match status {
            401 => "the key is not accepted; check stripe.api.key".to_owned(),
            403 => format!("the restricted key lacks a permission. {}", said.message.unwrap_or_default()),
            _ => said.message.unwrap_or_else(|| "it did not say why".to_owned()),
        };
        let short = |text: String| text.chars().take(MESSAGE_CHARS_MAX).filter(|c| !c.is_control()).collect();
        Self::Refused { status, code: short(said.code.or(said.kind).unwrap_or_default()), message: short(message) }
    }

    /// Whether there is no such object, so that asking for it again is no use.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status, code, .. } if *status == 404 || code == "resource_missing")
    }
}
