//! Orders to a hosted checkout, through the whole host.

use serde_json::{Value, json};

use super::host::RunningHost;
use super::server::{Scripted, StripeServer};

pub(crate) fn order(id: &str) -> Value {
    json!({ "order_id": id, "items": [{ "product": "shirt", "quantity": 2 }, { "product": "cap", "quantity": 1 }], "shipping": "post" })
}

pub(crate) const CHECKOUT: &str = "/v1/payments/checkout";
pub(crate) const SESSIONS: &str = "/v1/checkout/sessions";

#[tokio::test]
async fn an_order_is_sent_to_a_checkout_once_at_the_catalogues_price() {
    let stripe = StripeServer::start().await;
    let host = RunningHost::start(&stripe).await;
    let (status, made) = host.post(CHECKOUT, &order("o-1")).await;
    assert_eq!(
        (status, made["amount"].as_i64(), made["tax"].as_i64(), made["shipping"].as_i64()),
        (201, Some(6249), Some(760), Some(490)),
        "{made}"
    );
    assert!(made["url"].as_str().is_some_and(|url| url.starts_with("https://checkout.stripe.com/")), "{made}");
    let sent = stripe.seen().pop().expect("Stripe was asked");
    let of = |name: &str| sent.fields.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!(
        (of("adaptive_pricing[enabled]"), of("client_reference_id"), of("payment_intent_data[metadata][order_id]")),
        ("false", "o-1", "o-1")
    );

    let (status, again) = host.post(CHECKOUT, &order("o-1")).await;
    assert_eq!((status, &again), (200, &made));
    let (status, read) = host.get("/v1/payments/orders/o-1").await;
    assert_eq!((status, &read), (200, &made));
    assert_eq!((stripe.written(), stripe.seen().len()), (1, 1), "Stripe was asked once");
    let mut other = order("o-1");
    other["items"][0]["quantity"] = json!(3);
    let (status, refused) = host.post(CHECKOUT, &other).await;
    assert_eq!((status, refused["code"].as_str(), refused["field"].as_str()), (409, Some("order_conflict"), Some("order_id")), "{refused}");
    host.stop().await;
}

#[tokio::test]
async fn a_checkout_that_was_cut_off_is_found_again() {
    let stripe = StripeServer::start().await;
    let host = RunningHost::start(&stripe).await;
    // Stripe makes it, and nobody hears of that: not at once, and not when it is asked again.
    stripe.script([Scripted::CutWithin, Scripted::Status(500, vec![])]);
    let (status, problem) = host.post(CHECKOUT, &order("o-2")).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("unavailable")), "{problem}");
    let (status, pending) = host.get("/v1/payments/orders/o-2").await;
    assert_eq!((status, pending["url"].is_null()), (200, true), "the order is on record: {pending}");
    let (status, made) = host.post(CHECKOUT, &order("o-2")).await;
    assert_eq!((status, made["session"].as_str(), stripe.written()), (200, Some("cs_test_0"), 1), "{made}");
    host.stop().await;
}

#[tokio::test]
async fn a_checkout_at_another_price_is_closed_and_never_shown() {
    let stripe = StripeServer::start().await;
    let host = RunningHost::start(&stripe).await;
    stripe.surcharge(35);
    let (status, problem) = host.post(CHECKOUT, &order("o-3")).await;
    assert_eq!((status, problem["code"].as_str()), (502, Some("payment_refused")), "{problem}");
    assert!(!problem.to_string().contains("checkout.stripe.com"), "{problem}");
    let asked: Vec<_> = stripe.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(asked, [SESSIONS.to_owned(), format!("{SESSIONS}/cs_test_0/expire")]);
    host.stop().await;
}

#[tokio::test]
async fn what_is_not_for_sale_is_refused_before_stripe_hears_of_it() {
    let stripe = StripeServer::start().await;
    let host = RunningHost::start(&stripe).await;
    for (change, field) in [
        (json!({ "items": [{ "product": "hat", "quantity": 1 }] }), "items[0].product"),
        (json!({ "items": [{ "product": "cap", "quantity": 0 }] }), "items[0].quantity"),
        (json!({ "items": [{ "product": "cap", "quantity": 1, "unit_amount": 1 }] }), "items[0].unit_amount"),
        (json!({ "order_id": "" }), "order_id"),
        (json!({ "surcharge": 30 }), "surcharge"),
    ] {
        let mut body = order("o-4");
        body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let (status, problem) = host.post(CHECKOUT, &body).await;
        assert_eq!((status, problem["field"].as_str()), (422, Some(field)), "{problem}");
    }
    assert!(stripe.seen().is_empty());
    host.stop().await;
}

#[tokio::test]
async fn without_a_key_there_is_no_checkout_and_no_sync() {
    let host = RunningHost::without_a_key().await;
    let (status, problem) = host.post(CHECKOUT, &order("o-5")).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("not_configured")), "{problem}");
    let (status, problem) = host.post("/v1/tasks", &json!({ "task_type": "stripe.sync" })).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("no_plugin_for_task")), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("stripe.api.key")), "{problem}");
    host.stop().await;
}
