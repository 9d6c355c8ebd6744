//! Every event type that is handled, with objects as complete as Stripe's are: of versions that carry charges and refunds inside and of those
//! that do not, with references as ids and expanded, and as thin events. What is not known in them must never be an error.

use serde_json::{Map, Value, json};
use taskwarden::store::ledger::{LedgerQuery, LedgerStore as _};
use taskwarden::store::stripe::{IncomeFilter, IncomeStore as _, StripeStore as _};
use taskwarden::stripe::event::{Content, Event};
use taskwarden::stripe::income::Basis;
use taskwarden::stripe::kind::{Kind, Subject, subject};
use taskwarden::stripe::ledger::{ORDER_KEY, Owner};
use taskwarden::stripe::object::told;
use taskwarden::stripe::transaction::{Key, Transaction};
use taskwarden::zone::Period;

use super::webhooks::{deliver, event, process};
use super::*;

macro_rules! payloads {
    ($(($event_type:literal, $object:literal)),+ $(,)?) => {
        &[$(($event_type, include_str!(concat!("payloads/", $object, ".json")))),+]
    };
}

/// In no particular order: none may matter.
pub(super) const EVENTS: &[(&str, &str)] = payloads![
    ("payment_intent.created", "payment_intent_failed"),
    ("payment_intent.processing", "payment_intent"),
    ("payment_intent.requires_action", "payment_intent_failed"),
    ("payment_intent.amount_capturable_updated", "payment_intent"),
    ("payment_intent.partially_funded", "payment_intent"),
    ("payment_intent.succeeded", "payment_intent"),
    ("payment_intent.succeeded", "payment_intent_with_charges"),
    ("payment_intent.succeeded", "payment_intent_expanded"),
    ("payment_intent.payment_failed", "payment_intent_failed"),
    ("payment_intent.canceled", "payment_intent_failed"),
    ("charge.pending", "charge"),
    ("charge.succeeded", "charge"),
    ("charge.captured", "charge_settled"),
    ("charge.failed", "charge_declined"),
    ("charge.expired", "charge_declined"),
    ("charge.updated", "charge_settled"),
    ("charge.refunded", "charge_refunded"),
    ("charge.refunded", "charge_with_refunds"),
    ("charge.refund.updated", "refund"),
    ("refund.created", "refund_of_payment"),
    ("refund.updated", "refund"),
    ("refund.failed", "refund_failed"),
    ("charge.dispute.created", "dispute"),
    ("charge.dispute.created", "inquiry"),
    ("charge.dispute.updated", "dispute"),
    ("charge.dispute.closed", "dispute_won"),
    ("charge.dispute.funds_withdrawn", "dispute"),
    ("charge.dispute.funds_reinstated", "dispute_won"),
    ("checkout.session.completed", "checkout_session"),
    ("checkout.session.async_payment_succeeded", "checkout_session"),
    ("checkout.session.async_payment_failed", "checkout_session_setup"),
    ("checkout.session.expired", "checkout_session_setup"),
    ("radar.early_fraud_warning.created", "early_fraud_warning"),
    ("radar.early_fraud_warning.updated", "early_fraud_warning"),
    ("payout.created", "payout"),
    ("payout.updated", "payout_debit"),
    ("payout.paid", "payout"),
    ("payout.failed", "payout_failed"),
    ("payout.canceled", "payout_failed"),
    ("payout.reconciliation_completed", "payout"),
    ("balance.available", "balance"),
    ("reporting.report_run.succeeded", "report_run"),
    ("reporting.report_run.failed", "report_run"),
    ("invoice.paid", "invoice"),
    ("invoice.payment_failed", "invoice"),
    ("invoice_payment.paid", "invoice_payment"),
    ("transfer.created", "transfer"),
    ("transfer.updated", "transfer"),
    ("transfer.reversed", "transfer"),
    ("application_fee.created", "application_fee"),
    ("application_fee.refunded", "application_fee"),
    ("topup.created", "topup"),
    ("topup.succeeded", "topup"),
    ("topup.failed", "topup"),
    ("topup.canceled", "topup"),
    ("topup.reversed", "topup"),
];

const CREATED_S: i64 = 1_679_090_540;

fn seen(event_type: &str, object: &Value) -> Result<Vec<Transaction>, String> {
    let body = event("evt_1", event_type, CREATED_S, &object.to_string());
    let event = Event::parse(body.as_bytes()).map_err(|error| error.to_string())?;
    told(&event, ORDER_KEY).map(|told| told.seen).map_err(|error| error.to_string())
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).expect("an object")
}

/// With fields that nobody knows, at every level.
fn with_unknown_fields(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Map<_, _> = fields.iter().map(|(name, value)| (name.clone(), with_unknown_fields(value))).collect();
            fields.insert("of_tomorrow".to_owned(), json!({ "nested": [1, null, "two"] }));
            Value::Object(fields)
        }
        Value::Array(items) => items.iter().map(with_unknown_fields).collect(),
        other => other.clone(),
    }
}

#[test]
fn what_is_not_known_in_an_object_is_passed_over() {
    for (event_type, text) in EVENTS {
        let whole = object(text);
        let plain = seen(event_type, &Value::Object(whole.clone())).unwrap_or_else(|error| panic!("{event_type}: {error}"));
        let more = with_unknown_fields(&Value::Object(whole.clone()));
        assert_eq!(seen(event_type, &more).as_ref(), Ok(&plain), "{event_type}");
        let mut other_state = whole.clone();
        for field in ["status", "payment_status", "reconciliation_status", "type", "reason", "method", "capture_method"] {
            other_state.entry(field).and_modify(|value| *value = json!("of_tomorrow"));
        }
        assert!(seen(event_type, &Value::Object(other_state)).is_ok(), "{event_type}");
        for name in whole.keys() {
            let mut without = whole.clone();
            without.remove(name);
            let mut empty = whole.clone();
            empty.insert(name.clone(), Value::Null);
            for changed in [without, empty] {
                // Without its id nothing can be said of an object, and without its amount nothing of its money.
                let needed = matches!(name.as_str(), "id" | "amount");
                let read = seen(event_type, &Value::Object(changed));
                assert!(read.is_ok() || needed, "{event_type} without {name}: {read:?}");
            }
        }
    }
}

#[test]
fn objects_inside_are_seen_and_references_found_wherever_they_stand() {
    let ids = |event_type: &str, text: &str| {
        let rows = seen(event_type, &Value::Object(object(text))).expect("readable");
        rows.iter().map(|row| row.key.id.clone()).collect::<Vec<_>>()
    };
    let (payment, charge) = ("pi_3MmlLrLkdIwHu7ix0mE2uJqL", "ch_3MmlLrLkdIwHu7ix0snN0B15");
    let with_charges = include_str!("payloads/payment_intent_with_charges.json");
    let expanded = include_str!("payloads/payment_intent_expanded.json");
    assert_eq!(ids("payment_intent.succeeded", with_charges), [payment, charge]);
    assert_eq!(ids("payment_intent.succeeded", expanded), [payment, charge]);
    assert_eq!(ids("charge.refunded", include_str!("payloads/charge_with_refunds.json")), [charge, "re_1Nispe2eZvKYlo2Cd31jOCgZ"]);
    let first = |event_type: &str, text: &str| seen(event_type, &Value::Object(object(text))).expect("readable").remove(0);
    assert_eq!(first("payment_intent.succeeded", expanded).links.charge.as_deref(), Some(charge));
    let payment_of = |row: Transaction| row.links.payment_intent;
    assert_eq!(payment_of(first("invoice_payment.paid", include_str!("payloads/invoice_payment.json"))).as_deref(), Some(payment));
    let mut refund = object(include_str!("payloads/refund.json"));
    refund.insert("payment_intent".to_owned(), json!({ "id": payment, "object": "payment_intent" }));
    let refund = seen("refund.updated", &Value::Object(refund)).expect("readable").remove(0);
    assert_eq!(payment_of(refund).as_deref(), Some(payment));
}

#[test]
fn each_of_them_may_come_as_a_thin_event() {
    for (event_type, text) in EVENTS {
        let Some(Subject::Object(kind)) = subject(event_type) else { continue };
        let id = object(text)["id"].clone();
        let body = json!({
            "id": "evt_65REfP", "object": "v2.core.event", "type": format!("v1.{event_type}"), "created": "2026-10-04T15:13:32.232083866Z",
            "livemode": true, "context": "acct_1", "reason": { "type": "request", "request": { "id": "req_1" } },
            "related_object": { "id": id, "type": kind.name(), "url": "/v1/somewhere" }, "snapshot_event": "evt_1",
        });
        let body = body.to_string();
        let event = Event::parse(body.as_bytes()).expect("an event");
        assert!(matches!(&event.content, Content::Thin { snapshot_event: Some(snapshot), .. } if snapshot == "evt_1"), "{event_type}");
        let fetch = told(&event, ORDER_KEY).expect("readable").fetch.expect("an object to fetch");
        assert_eq!((fetch.kind, Value::from(fetch.id), fetch.owner.account.as_str()), (kind, id, "acct_1"), "{event_type}");
    }
}

#[tokio::test]
async fn a_payment_with_everything_that_can_happen_to_it_ends_in_figures_that_add_up() {
    let server = Server::start().await;
    for (number, (event_type, text)) in EVENTS.iter().enumerate() {
        // The same second for many: whole seconds are all that Stripe says.
        let body = event(&format!("evt_{number}"), event_type, CREATED_S + i64::try_from(number / 20).expect("small"), text);
        let reply = deliver(&server, &body).await;
        assert_eq!((reply.status, reply.body["verdict"].as_str()), (200, Some("accepted")), "{event_type}");
        if let Err(failure) = process(&server).await {
            panic!("{event_type}: {failure:?}");
        }
    }
    let owner = Owner { account: String::new(), livemode: true };
    let key = Key { owner: owner.clone(), kind: Kind::Charge, id: "ch_3MmlLrLkdIwHu7ix0snN0B15".to_owned() };
    let charge = server.store.stripe_transaction(&key).await.expect("an answer").expect("a row");
    assert_eq!((charge.captured.amount, charge.refunded.amount), (2000, 700));
    assert_eq!(charge.links.balance_transaction.as_deref(), Some("txn_3MmlLrLkdIwHu7ix0uke3Ezy"));

    let all = LedgerQuery { owner, from: UnixMs(0), to: UnixMs(i64::MAX), after: None, limit: 10 };
    let movements = server.store.balance_transactions(all).await.expect("an answer");
    let sums: Vec<_> = movements.iter().map(|row| (row.reporting_category.as_deref().unwrap_or_default(), row.net)).collect();
    assert_eq!(sums, [("dispute", -3500), ("dispute_reversal", 3500)], "the dispute carried them");
    assert_eq!(movements[0].charge.as_deref(), Some("ch_3MmlLrLkdIwHu7ix0snN0B15"));

    let forever = [Period { start_ms: 0, end_ms: 1 << 50 }];
    let filter = IncomeFilter { basis: Some(Basis::Provisional), currency: Some("usd".to_owned()), ..IncomeFilter::default() };
    let rows = server.store.income(&forever, &filter).await.expect("an answer");
    let sum = |category: &str| rows.iter().filter(|row| row.cell.category == category).map(|row| row.sums.amount).sum::<i64>();
    assert_eq!((sum("charge"), sum("refund"), sum("refund_failure")), (2000, -700, 700), "one refund, seen five times, that failed");
    assert_eq!((sum("dispute"), sum("dispute_reversal")), (-2000, 2000));
    assert_eq!((sum("payout"), sum("payout_reversal")), (2500 - 110_000, 110_000));
    assert_eq!(server.store.audit_income().await.expect("an answer").differences, Vec::new());
    server.stop().await;
}
