//! Where Stripe sends its events. There is no token: the signature is what lets a message in. What is answered with success is on disk,
//! with the task that processes it; whatever goes wrong on this side is answered so that Stripe sends it again.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::Api;
use super::body::{BodyReader, declared_bytes};
use super::problem::{Answer, Code, Problem, ProblemBody};
use super::tasks::announce;
use crate::clock::UnixMs;
use crate::secret::Secret;
use crate::store::stripe::{Recorded, StripeEvent, Verdict};
use crate::stripe::event::{Event, TASK_TYPE};
use crate::stripe::ledger::{ORDER_KEY, Owner};
use crate::stripe::signature::{self, TOLERANCE_S};
use crate::task::{LaneKey, NewTask, TaskId, TaskPlan, TaskType};

const SIGNATURE: &str = "stripe-signature";

/// What the endpoint takes.
#[derive(Debug, Clone)]
pub struct StripeEndpoint {
    /// Signing secrets; with none, nothing is taken.
    pub secrets: Vec<Secret>,
    /// Only events of real money (or only others) count.
    pub livemode: Option<bool>,
    /// Only events of this account count; empty for the endpoint's own.
    pub account: Option<String>,
    /// How far the time of signing may be from now, either way.
    pub tolerance_s: u64,
    /// Largest event.
    pub body_bytes_max: u64,
    /// Metadata key of our order's id, where an import names none.
    pub order_key: String,
}

impl Default for StripeEndpoint {
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            livemode: None,
            account: None,
            tolerance_s: TOLERANCE_S,
            body_bytes_max: 1 << 20,
            order_key: ORDER_KEY.to_owned(),
        }
    }
}

impl StripeEndpoint {
    fn verdict(&self, event: &Event<'_>) -> Verdict {
        if self.livemode.is_some_and(|livemode| livemode != event.owner.livemode) {
            Verdict::OtherMode
        } else if self.account.as_ref().is_some_and(|account| *account != event.owner.account) {
            Verdict::OtherAccount
        } else if event.subject().is_none() {
            Verdict::UnknownType
        } else {
            Verdict::Accepted
        }
    }
}

/// An event was received.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReceivedEvent {
    /// The event's id.
    event: String,
    /// What was decided about it: `accepted`, `unknown_type`, `other_mode`, `other_account` or `unreadable`. All but the first are kept and counted.
    verdict: &'static str,
    /// Whether it had been received before.
    known: bool,
    /// The task that processes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    task: Option<TaskId>,
}

/// Receive an event from Stripe: the body as it was sent, and its `Stripe-Signature`.
#[utoipa::path(post, path = "/v1/webhooks/stripe", tag = "stripe", operation_id = "receive_stripe_event", security(),
    request_body(content = serde_json::Value, description = "the event, byte for byte as it was signed"),
    params(("Stripe-Signature" = String, Header, description = "`t=…,v1=…`")),
    responses(
        (status = 200, description = "it is on disk, and is processed if it is of a known type", body = ReceivedEvent),
        (status = 400, description = "it is not signed, or not as it should be", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "it is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no secret is configured", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn receive(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Json<ReceivedEvent>> {
    let endpoint = &api.config.stripe;
    if endpoint.secrets.is_empty() {
        let detail = "no signing secret is configured, so no event can be believed; set stripe.webhook.secrets";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::WebhookNotConfigured, detail));
    }
    let header = signature_of(&headers)?;
    let reader =
        BodyReader::new(body, &headers, &api.clock, api.config.body_idle_timeout, endpoint.body_bytes_max, "stripe.webhook.body_bytes")?;
    let body = reader.all(declared_bytes(&headers), api.config.body_total_timeout).await?;
    let now = api.clock.now();
    if let Err(refusal) = signature::verify(&endpoint.secrets, header, &body, now.0.div_euclid(1000), endpoint.tolerance_s) {
        api.metrics.stripe_refused(refusal.code());
        return Err(bad_signature(refusal.to_string()));
    }
    let event = read(endpoint, body, now);
    let task = if event.verdict == Verdict::Accepted { Some(task(&api, &event, now)?) } else { None };
    let lane = task.as_ref().map(|task| task.lane.clone());
    let (id, verdict) = (event.id.clone(), event.verdict);
    let recorded = api.store.record_stripe_event(event, task, now).await?;
    let (known, submitted) = match recorded {
        Recorded::Known => (true, None),
        Recorded::New(submitted) => (false, submitted),
    };
    api.metrics.stripe_event(if known { "known" } else { verdict.name() });
    if let (Some(submitted), Some(lane)) = (submitted, lane) {
        announce(&api, now, submitted.id, &lane, submitted.state);
        api.metrics.submitted(&lane.task_type, 1);
        api.bells.work.notify_one();
    }
    Ok(Json(ReceivedEvent { event: id, verdict: verdict.name(), known, task: submitted.map(|submitted| submitted.id) }))
}

fn bad_signature(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::InvalidSignature, detail)
}

/// The one header. With several it would be anybody's guess which of them counts.
fn signature_of(headers: &HeaderMap) -> Answer<&[u8]> {
    let mut all = headers.get_all(SIGNATURE).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one.as_bytes()),
        (None, _) => Err(bad_signature(signature::Refusal::NoHeader.to_string())),
        (Some(_), Some(_)) => Err(bad_signature("there is more than one Stripe-Signature header".to_owned())),
    }
}

/// The event with what is decided about it. What Stripe signed is kept even if it cannot be read, under a name made of its digest.
fn read(endpoint: &StripeEndpoint, body: Bytes, now: UnixMs) -> StripeEvent {
    let body_sha256: [u8; 32] = Sha256::digest(&body).into();
    match Event::parse(&body) {
        Ok(event) => StripeEvent {
            verdict: endpoint.verdict(&event),
            id: event.id,
            event_type: event.event_type,
            owner: event.owner,
            api_version: event.api_version,
            created_at: UnixMs(event.created_s.saturating_mul(1000)),
            received_at: now,
            body_sha256,
            body,
        },
        Err(error) => {
            let id = format!("sha256:{}", hex::encode(body_sha256));
            tracing::warn!(event = id, %error, "Stripe signed something that is no event; it is kept and not processed");
            StripeEvent {
                id,
                event_type: String::new(),
                owner: Owner { account: String::new(), livemode: false },
                api_version: None,
                verdict: Verdict::Unreadable,
                created_at: now,
                received_at: now,
                body_sha256,
                body,
            }
        }
    }
}

fn task(api: &Api, event: &StripeEvent, now: UnixMs) -> Answer<NewTask> {
    let broken = |error: &dyn std::fmt::Display| Problem::internal(&error.to_string());
    let task_type = TaskType::new(TASK_TYPE).map_err(|error| broken(&error))?;
    let defaults = api.config.defaults_of(&task_type);
    let payload = serde_json::value::to_raw_value(&serde_json::json!({ "event": event.id })).map_err(|error| broken(&error))?;
    Ok(NewTask {
        id: TaskId::new(),
        lane: LaneKey { task_type, ai_model: None },
        priority: defaults.priority,
        payload,
        plan: TaskPlan::default(),
        run_at: now,
        max_attempts: defaults.max_attempts,
        tenant: None,
        idempotency: None,
    })
}
