//! What never came by the webhook is found, once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use taskwarden::clock::{Clock as _, SharedClock};
use taskwarden::native::stripe_repair::{RepairSettings, StripeRepair};
use taskwarden::store::Store;
use taskwarden::store::stripe::{IncomeFilter, IncomeStore as _, StripeStore as _, Verdict};
use taskwarden::stripe::income::Basis;
use taskwarden::stripe::kind::Kind;
use taskwarden::stripe::ledger::Owner;
use taskwarden::stripe::transaction::Key;
use taskwarden::stripe_api::StripeApi;
use taskwarden::zone::Period;

use super::sync::{START_S, World, charge, owner, payout, run};
use super::{START, api_config};

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn repair(world: &World) -> Value {
    let api = StripeApi::new(api_config(&world.server), Arc::clone(&world.clock) as SharedClock, 7).expect("a client");
    let settings = RepairSettings { owner: owner(), payout_grace: 5 * DAY, order_key: "order_id".to_owned() };
    let store = Arc::clone(&world.store) as Arc<dyn Store>;
    let task = StripeRepair::new(store, Arc::new(api), Arc::clone(&world.clock) as SharedClock, settings);
    run(&task).await.expect("a repair")
}

fn event(id: &str, event_type: &str, object: &Value) -> Value {
    json!({ "id": id, "object": "event", "type": event_type, "created": START_S - 100, "livemode": false, "api_version": "2026-09-30.endive",
        "data": { "object": object }, "pending_webhooks": 1, "-delivered": false })
}

fn charge_object(id: &str, movement: Option<&str>) -> Value {
    json!({ "id": id, "object": "charge", "status": "succeeded", "amount": 1000, "amount_captured": 1000, "amount_refunded": 0, "captured": true,
        "currency": "eur", "created": START_S - 200, "livemode": false, "balance_transaction": movement, "payment_intent": "pi_1",
        "metadata": { "order_id": "o-1" } })
}

fn key(kind: Kind, id: &str) -> Key {
    Key { owner: owner(), kind, id: id.to_owned() }
}

#[tokio::test]
async fn events_that_never_came_are_taken_in_once() {
    let world = World::new().await;
    for number in 0..120 {
        let object = charge_object(&format!("ch_{number:03}"), None);
        world.server.add("/v1/events", event(&format!("evt_{number:03}"), "charge.succeeded", &object));
    }
    world.server.add("/v1/events", event("evt_new_type", "a.type.of.tomorrow", &json!({ "id": "x_1", "object": "x" })));
    let done = repair(&world).await;
    assert_eq!((done["events"].as_u64(), done["unreadable"].as_u64()), (Some(121), Some(0)), "{done}");
    let known = world.store.stripe_transaction(&key(Kind::Charge, "ch_007")).await.expect("readable").expect("known");
    assert_eq!((known.standing.amount, known.links.order_id.as_deref()), (1000, Some("o-1")));
    let kept = world.store.stripe_event("evt_new_type").await.expect("readable").expect("kept");
    assert_eq!(kept.verdict, Verdict::UnknownType);
    assert_eq!(repair(&world).await["events"], 0, "they are there now");
}

#[tokio::test]
async fn movements_that_something_points_to_are_fetched_and_reach_the_income() {
    let world = World::new().await;
    world.server.add("/v1/balance_transactions", charge(1, START_S - 150, None));
    world.server.add("/v1/events", event("evt_1", "charge.updated", &charge_object("ch_000001", Some("txn_000001"))));
    let done = repair(&world).await;
    assert_eq!((done["fetched"].as_u64(), done["missing"].as_u64()), (Some(1), Some(0)), "{done}");
    assert_eq!(world.rows().await.len(), 1);
    assert!(world.store.stripe_wanted(&owner(), world.clock.now(), 10).await.expect("readable").is_empty());
    let all_time = [Period { start_ms: 0, end_ms: START.0 * 2 }];
    let filter = IncomeFilter { basis: Some(Basis::Final), ..IncomeFilter::default() };
    let income = world.store.income(&all_time, &filter).await.expect("sums");
    let sums: Vec<_> = income.iter().map(|row| (row.cell.currency.as_str(), row.sums.amount, row.sums.fee, row.sums.net)).collect();
    assert_eq!(sums, [("eur", 1000, 59, 941)]);
    let audit = world.store.audit_income().await.expect("an audit");
    assert_eq!((audit.facts, audit.differences.len()), (2, 0), "{audit:?}");
    // Seen again the other way round: the movement is known, so nothing is wanted.
    world.server.add("/v1/events", event("evt_2", "charge.updated", &charge_object("ch_000002", Some("txn_000001"))));
    assert_eq!(repair(&world).await["fetched"], 0);
}

#[tokio::test]
async fn what_was_only_named_is_fetched_and_what_stripe_does_not_have_is_let_go() {
    let world = World::new().await;
    world.server.add("/v1/charges", charge_object("ch_1", None));
    let named = vec![key(Kind::Charge, "ch_1"), key(Kind::Refund, "re_gone")];
    world.store.apply_stripe(Vec::new(), named, world.clock.now()).await.expect("kept");
    let done = repair(&world).await;
    assert_eq!((done["fetched"].as_u64(), done["missing"].as_u64()), (Some(1), Some(1)), "{done}");
    assert!(world.store.stripe_transaction(&key(Kind::Charge, "ch_1")).await.expect("readable").is_some());
    assert!(world.store.stripe_wanted(&owner(), world.clock.now().plus(30 * DAY), 10).await.expect("readable").is_empty());
}

#[tokio::test]
async fn what_belongs_to_others_holds_up_nothing() {
    let world = World::new().await;
    world.server.add("/v1/charges", charge_object("ch_1", None));
    // Events of test data, or of connected accounts: no key opens these, and they wait for ever.
    let of_others = (0..150).map(|number| {
        let owner = Owner { account: format!("acct_{}", number % 2), livemode: true };
        Key { owner, kind: Kind::Charge, id: format!("ch_other_{number}") }
    });
    world.store.apply_stripe(Vec::new(), of_others.collect(), world.clock.now()).await.expect("kept");
    world.clock.sleep(Duration::from_secs(1)).await;
    world.store.apply_stripe(Vec::new(), vec![key(Kind::Charge, "ch_1")], world.clock.now()).await.expect("kept");
    let done = repair(&world).await;
    assert_eq!((done["fetched"].as_u64(), done["missing"].as_u64()), (Some(1), Some(0)), "{done}");
}

#[tokio::test]
async fn an_object_that_was_deleted_is_let_go() {
    let world = World::new().await;
    world.server.add("/v1/invoices", json!({ "id": "in_1", "object": "invoice", "deleted": true, "created": START_S }));
    world.store.apply_stripe(Vec::new(), vec![key(Kind::Invoice, "in_1")], world.clock.now()).await.expect("kept");
    let done = repair(&world).await;
    assert_eq!((done["missing"].as_u64(), done["unreadable"].as_u64()), (Some(1), Some(0)), "{done}");
    assert!(world.store.stripe_wanted(&owner(), world.clock.now().plus(30 * DAY), 10).await.expect("readable").is_empty());
}

#[tokio::test]
async fn payouts_that_should_have_arrived_are_asked_for_and_named() {
    let world = World::new().await;
    let on_its_way = |id: &str| {
        let mut object = payout(id, 5000, START_S - 100, true);
        object["status"] = json!("in_transit");
        object["reconciliation_status"] = json!("in_progress");
        object
    };
    for id in ["po_late", "po_lost"] {
        world.server.add("/v1/payouts", on_its_way(id));
        world.server.add("/v1/events", event(&format!("evt_{id}"), "payout.created", &on_its_way(id)));
    }
    assert_eq!(repair(&world).await["payouts_overdue"], json!([]), "they have time");
    world.clock.sleep(7 * DAY).await;
    world.server.change("/v1/payouts", "po_late", |object| object["status"] = json!("paid"));
    assert_eq!(repair(&world).await["payouts_overdue"], json!(["po_lost"]));
    let paid = world.store.stripe_transaction(&key(Kind::Payout, "po_late")).await.expect("readable").expect("known");
    assert_eq!(paid.standing.status, "paid", "the event never came, and it is known all the same");
}
