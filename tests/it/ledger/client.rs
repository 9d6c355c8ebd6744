//! The client against a server that fails on purpose.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use taskwarden::clock::SharedClock;
use taskwarden::stripe_api::{ApiError, StripeApi, StripeApiConfig};

use super::server::{Scripted, StripeServer};
use super::{KEY, LeapingClock, api, api_config};

const PAYOUTS: &str = "/v1/payouts";

async fn one_payout() -> (StripeServer, Arc<LeapingClock>) {
    let server = StripeServer::start().await;
    server.add(PAYOUTS, json!({ "id": "po_1", "object": "payout", "created": 1_700_000_000 }));
    (server, Arc::default())
}

/// Waits that were for a failure, not for the pace.
fn back_offs(clock: &LeapingClock) -> Vec<Duration> {
    clock.waits.lock().iter().copied().filter(|wait| *wait > Duration::from_millis(50)).collect()
}

#[tokio::test]
async fn a_request_says_who_and_which_version() {
    let (server, clock) = one_payout().await;
    let config = StripeApiConfig { account: Some("acct_1".to_owned()), ..api_config(&server) };
    let api = StripeApi::new(config, clock as SharedClock, 7).expect("a client");
    let text = api.get(PAYOUTS, &[("limit", "5"), ("created[gte]", "0")]).await.expect("an answer");
    assert!(text.contains("po_1"), "{text}");
    let seen = server.seen();
    assert_eq!(seen[0].headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!((seen[0].headers["stripe-version"].as_str(), seen[0].headers["stripe-account"].as_str()), ("2026-09-30.endive", "acct_1"));
    assert_eq!((seen[0].fields["limit"].as_str(), seen[0].fields["created[gte]"].as_str()), ("5", "0"));
}

#[tokio::test]
async fn too_many_requests_are_sent_again_when_stripe_says() {
    let (server, clock) = one_payout().await;
    server.script([Scripted::Status(429, vec![("retry-after", "7".to_owned())])]);
    api(&server, &clock).get(PAYOUTS, &[]).await.expect("the second time");
    assert_eq!(back_offs(&clock), [Duration::from_secs(7)]);
}

#[tokio::test]
async fn failures_that_pass_back_off_with_jitter_and_end_after_so_many() {
    let (server, clock) = one_payout().await;
    let failing = || [Scripted::Status(500, vec![]), Scripted::Cut, Scripted::CutWithin, Scripted::Status(503, vec![])];
    server.script(failing());
    let error = api(&server, &clock).get(PAYOUTS, &[]).await.expect_err("four failures");
    assert!(matches!(error, ApiError::Passing { retry_after: None, .. }), "{error}");
    assert_eq!(server.seen().len(), 4);
    let waits = clock.waits.lock().clone();
    let ceilings = [500, 1000, 2000].map(Duration::from_millis);
    assert!(waits.len() >= 3 && waits.iter().all(|wait| *wait <= ceilings[2]), "{waits:?}");
    server.script(failing().into_iter().take(3));
    api(&server, &clock).get(PAYOUTS, &[]).await.expect("the fourth time");
}

#[tokio::test]
async fn a_long_wait_is_left_to_the_queue() {
    let (server, clock) = one_payout().await;
    server.script([Scripted::Status(429, vec![("retry-after", "3600".to_owned())])]);
    let error = api(&server, &clock).get(PAYOUTS, &[]).await.expect_err("an hour is too long");
    assert!(matches!(error, ApiError::Passing { retry_after: Some(wait), .. } if wait == Duration::from_secs(3600)), "{error}");
    assert_eq!((server.seen().len(), back_offs(&clock).len()), (1, 0));
}

#[tokio::test]
async fn refusals_are_not_repeated_and_do_not_show_the_key() {
    let (server, clock) = one_payout().await;
    let api = api(&server, &clock);
    let missing = api.get("/v1/payouts/po_none", &[]).await.expect_err("there is none");
    assert!(missing.is_missing(), "{missing}");
    server.script([Scripted::Status(401, vec![])]);
    let refused = api.get(PAYOUTS, &[]).await.expect_err("401");
    assert_eq!(server.seen().len(), 2);
    for text in [format!("{missing} {refused}"), format!("{missing:?} {refused:?} {api:?} {:?}", api_config(&server))] {
        assert!(!text.contains(KEY), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (server, clock) = one_payout().await;
    let elsewhere = StripeServer::start().await;
    server.script([Scripted::Status(302, vec![("location", elsewhere.url())])]);
    let error = api(&server, &clock).get(PAYOUTS, &[]).await.expect_err("a redirect is no answer");
    assert!(matches!(error, ApiError::Refused { status: 302, .. }), "{error}");
    assert!(elsewhere.seen().is_empty(), "the key stayed where it belongs");
}

#[tokio::test]
async fn a_write_that_was_cut_off_happens_once() {
    let (server, clock) = one_payout().await;
    let fields = [
        ("line_items[0][price_data][unit_amount]", "1000"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "eur"),
    ];
    server.script([Scripted::CutWithin, Scripted::Cut]);
    let api = api(&server, &clock);
    let answer = api.post("/v1/checkout/sessions", &fields, "order-1").await.expect("the third time");
    assert!(answer.contains("cs_test_0"), "{answer}");
    assert_eq!((server.written(), server.seen().len()), (1, 3));
    assert!(server.seen().iter().all(|seen| seen.headers["idempotency-key"] == "order-1"));
    let other = api.post("/v1/checkout/sessions", &[("line_items[0][quantity]", "2")], "order-1").await.expect_err("other fields");
    assert!(matches!(other, ApiError::Refused { status: 400, .. }), "{other}");
}

#[tokio::test]
async fn requests_keep_their_distance() {
    let (server, clock) = one_payout().await;
    let api = api(&server, &clock);
    for _ in 0..5 {
        api.get(PAYOUTS, &[]).await.expect("an answer");
    }
    assert_eq!(*clock.waits.lock(), [Duration::from_millis(50); 4], "twenty a second");
}
