//! Every event type that is handled, with the object that Stripe publishes as an example of its kind, through the webhook.

use std::collections::BTreeSet;

use taskwarden::store::stripe::{IncomeFilter, IncomeStore as _, StripeStore as _};
use taskwarden::stripe::kind::{Kind, Subject, subject};
use taskwarden::stripe::ledger::Owner;
use taskwarden::stripe::transaction::Key;
use taskwarden::zone::Period;

use super::payloads::EVENTS;
use super::webhooks::{deliver, process};
use super::*;
use crate::published::resources;

/// Kinds that are younger than some of the published files.
const YOUNG: [&str; 1] = ["invoice_payment"];

#[tokio::test]
async fn every_event_type_is_processed_with_its_published_object() {
    let objects = resources();
    let server = Server::start().await;
    let types: BTreeSet<&str> = EVENTS.iter().map(|(event_type, _)| *event_type).collect();
    let mut seen = Vec::new();
    for event_type in types {
        let kind = match subject(event_type).expect("it is handled") {
            Subject::Object(kind) => Some(kind),
            Subject::Noted => None,
        };
        let name = kind.map_or("balance", Kind::name);
        let Some(object) = objects.get(name) else {
            assert!(YOUNG.contains(&name), "the file has no {name}");
            continue;
        };
        let mut event = objects["event"].clone();
        event["id"] = json!(format!("evt_{event_type}"));
        event["type"] = json!(event_type);
        event["data"]["object"] = object.clone();
        let reply = deliver(&server, &event.to_string()).await;
        assert_eq!((reply.status, reply.body["verdict"].as_str()), (200, Some("accepted")), "{event_type}: {}", reply.body);
        if let Err(failure) = process(&server).await {
            panic!("{event_type}: {failure:?}");
        }
        seen.extend(kind.zip(object["id"].as_str()));
    }
    let owner = Owner { account: String::new(), livemode: false };
    for (kind, id) in seen {
        let key = Key { owner: owner.clone(), kind, id: id.to_owned() };
        let row = server.store.stripe_transaction(&key).await.expect("an answer").expect("a row");
        let object = &objects[kind.name()];
        assert_eq!(row.standing.status, object["status"].as_str().unwrap_or_default(), "{}", kind.name());
        if kind.has_amount() && kind != Kind::Invoice {
            assert_eq!(Some(row.standing.amount), object["amount"].as_i64(), "{}", kind.name());
        }
        assert_eq!(Some(row.created_s), object["created"].as_i64(), "{}", kind.name());
    }
    // The published charge was authorised and never captured, so its refund gives back nothing that came in; the inquiry took no money, but
    // the events about its funds say when it was moved.
    let forever = [Period { start_ms: 0, end_ms: 1 << 50 }];
    let rows = server.store.income(&forever, &IncomeFilter::default()).await.expect("an answer");
    let sum = |category: &str| rows.iter().filter(|row| row.cell.category == category).map(|row| row.sums.amount).sum::<i64>();
    let amount = |kind: &str| objects[kind]["amount"].as_i64().expect("an amount");
    let captured = objects["charge"]["amount_captured"].as_i64().expect("an amount");
    let refunded = if captured == 0 { 0 } else { -amount("refund") };
    assert_eq!((sum("charge"), sum("refund"), sum("payout")), (captured, refunded, -amount("payout")));
    assert_eq!((sum("dispute"), sum("dispute_reversal")), (-amount("dispute"), amount("dispute")));
    assert_eq!(server.store.audit_income().await.expect("an answer").differences, Vec::new());
    server.stop().await;
}
