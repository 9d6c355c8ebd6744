//! Processing one of Stripe's events: what it says of an object is joined to what is known.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::stripe_told::keep;
use crate::clock::SharedClock;
use crate::store::stripe::Verdict;
use crate::store::{Store, StoreError};
use crate::stripe::event::{Content, Event, TASK_TYPE};
use crate::stripe::object::told;
use crate::task::{NativeCall, NativeFailure, NativeManifest, NativeTask};

/// Processes events that were received before. Doing it twice changes nothing.
pub struct ProcessStripeEvent {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: SharedClock,
    /// Metadata key of our order's id.
    pub order_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    event: String,
}

#[async_trait]
impl NativeTask for ProcessStripeEvent {
    fn manifest(&self) -> NativeManifest {
        NativeManifest {
            name: "stripe-event",
            task_type: TASK_TYPE,
            description: "Joins what one of Stripe's events says to what is known of its object.",
            wall_ms: 30_000,
        }
    }

    async fn execute(&self, call: NativeCall) -> Result<Box<str>, NativeFailure> {
        let payload: Payload = serde_json::from_str(&call.payload)
            .map_err(|error| NativeFailure::Invalid(format!("the payload must be {{\"event\": \"evt_…\"}}: {error}")))?;
        let kept = self.store.stripe_event(&payload.event).await.map_err(failed)?;
        let Some(kept) = kept else { return Err(NativeFailure::Invalid(format!("there is no event {}", payload.event))) };
        if kept.verdict != Verdict::Accepted {
            return Err(NativeFailure::Invalid(format!("the event {} is not processed: {}", kept.id, kept.verdict.name())));
        }
        if kept.body.is_empty() {
            let id = &kept.id;
            return Err(NativeFailure::Invalid(format!(
                "the body of the event {id} was taken out at the end of stripe.webhook.body_retention_ms; a stripe.sync reads what it told of"
            )));
        }
        // What cannot be read will not be readable later. It is kept as it came, and the task says what is wrong with it.
        let unreadable = |why: String| NativeFailure::Permanent(format!("{} ({}): {why}", kept.id, kept.event_type));
        let event = Event::parse(&kept.body).map_err(|error| unreadable(error.to_string()))?;
        let mut told = told(&event, &self.order_key).map_err(|error| unreadable(error.to_string()))?;
        if let Content::Thin { snapshot_event: Some(snapshot), .. } = &event.content
            && self.store.stripe_event(snapshot).await.map_err(failed)?.is_some()
        {
            // The same was told in full.
            told.fetch = None;
        }
        let applied = keep(self.store.as_ref(), &event, told, self.clock.now()).await.map_err(failed)?;
        let result = json!({ "event": kept.id, "type": kept.event_type, "changed": applied.changed, "wanted": applied.wanted });
        Ok(result.to_string().into())
    }
}

fn failed(error: StoreError) -> NativeFailure {
    match error {
        StoreError::Unavailable(_) | StoreError::Full(_) => NativeFailure::Transient { reason: error.to_string(), retry_after: None },
        StoreError::Conflict(_) | StoreError::Broken(_) => NativeFailure::Permanent(error.to_string()),
    }
}
