//! Files, sync, repair and checkout over the objects that Stripe publishes as examples, served as its API would.

use serde_json::{Map, Value, json};
use taskwarden::store::stripe::{IncomeStore as _, StripeStore as _};
use taskwarden::stripe::kind::Kind;
use taskwarden::stripe::transaction::Key;

use super::checkout::{CHECKOUT, SESSIONS, order};
use super::host::RunningHost;
use super::repair::repair;
use super::server::StripeServer;
use super::sync::{World, owner};
use crate::published::resources;
use taskwarden::clock::Clock as _;

/// Where each kind is listed and retrieved.
const PATHS: [(&str, &str); 15] = [
    ("application_fee", "/v1/application_fees"),
    ("balance_transaction", "/v1/balance_transactions"),
    ("charge", "/v1/charges"),
    ("checkout.session", SESSIONS),
    ("dispute", "/v1/disputes"),
    ("event", "/v1/events"),
    ("invoice", "/v1/invoices"),
    ("invoice_payment", "/v1/invoice_payments"),
    ("payment_intent", "/v1/payment_intents"),
    ("payout", "/v1/payouts"),
    ("radar.early_fraud_warning", "/v1/radar/early_fraud_warnings"),
    ("refund", "/v1/refunds"),
    ("reporting.report_run", "/v1/reporting/report_runs"),
    ("topup", "/v1/topups"),
    ("transfer", "/v1/transfers"),
];

/// What the sync reads.
const SYNCED: [&str; 5] = ["balance_transaction", "charge", "dispute", "payout", "refund"];

fn serve_all(objects: &Map<String, Value>, server: &StripeServer) {
    for (kind, path) in PATHS {
        let Some(object) = objects.get(kind) else { continue };
        let mut object = object.clone();
        if kind == "event" {
            object["-delivered"] = json!(false);
        }
        server.add(path, object);
    }
}

#[tokio::test]
async fn a_sync_reads_every_list() {
    let objects = resources();
    let world = World::new().await;
    serve_all(&objects, &world.server);
    let done = world.sync().await.expect("a sync");
    for (resource, counts) in done["resources"].as_object().expect("resources") {
        let (added, objects) = if resource == "balance_transactions" { (1, 0) } else { (0, 1) };
        assert_eq!(counts, &json!({ "added": added, "changed": 0, "unchanged": 0, "quarantined": 0, "objects": objects }), "{resource}");
    }
    let row = world.rows().await.remove(0);
    let published = &objects["balance_transaction"];
    let money = [row.amount, row.fee, row.net].map(Some);
    assert_eq!(money, ["amount", "fee", "net"].map(|field| published[field].as_i64()));
    assert_eq!((Some(row.id.as_str()), row.source.as_deref()), (published["id"].as_str(), published["source"].as_str()));
    let audit = world.store.audit_income().await.expect("an audit");
    assert_eq!((audit.facts, audit.differences), (5, Vec::new()));
    assert_eq!(world.sync().await.expect("again")["payouts"], json!({ "complete": 0, "incomplete": [] }));
}

#[tokio::test]
async fn a_repair_fetches_every_kind() {
    let objects = resources();
    let world = World::new().await;
    serve_all(&objects, &world.server);
    let key = |kind: Kind| Some(Key { owner: owner(), kind, id: objects.get(kind.name())?["id"].as_str()?.to_owned() });
    let named: Vec<Key> = Kind::ALL.into_iter().filter_map(key).collect();
    world.store.apply_stripe(Vec::new(), named.clone(), world.clock.now()).await.expect("kept");
    let done = repair(&world).await;
    assert_eq!((done["events"].as_u64(), done["unreadable"].as_u64()), (Some(1), Some(0)), "{done}");
    let missing = done["missing"].as_u64().expect("a count");
    for key in &named {
        assert!(world.store.stripe_transaction(key).await.expect("readable").is_some(), "{key:?}");
    }
    let fetched = usize::try_from(done["fetched"].as_u64().expect("a count")).expect("small");
    assert!(fetched >= named.len(), "{done}");
    // What an example points to and is no example itself is not there, and let go.
    assert!(missing <= 2, "{done}");
    assert!(world.store.stripe_wanted(&owner(), world.clock.now(), 10).await.expect("readable").is_empty());
    assert_eq!(world.store.audit_income().await.expect("an audit").differences, Vec::new());
}

#[tokio::test]
async fn files_of_them_are_imported_in_every_form() {
    let objects = resources();
    let host = RunningHost::without_a_key().await;
    let all: Vec<&Value> = SYNCED.iter().map(|kind| &objects[*kind]).collect();
    let list = json!({ "object": "list", "url": "/v1/things", "has_more": false, "data": all }).to_string();
    let lines = all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let path = "/v1/admin/stripe/import?kind=api&mode=test";
    let counts = |answer: &Value| ["added", "objects", "unchanged", "quarantined"].map(|name| answer[name].as_u64().expect("a count"));
    let (status, first) = host.upload(path, list).await;
    assert_eq!((status, counts(&first)), (200, [1, 4, 0, 0]), "{first}");
    let mut texts = vec![lines, serde_json::to_string_pretty(&all).expect("JSON")];
    texts.extend(all.iter().map(ToString::to_string));
    for text in texts {
        let (status, again) = host.upload(path, text).await;
        assert_eq!((status, again["added"].as_u64(), again["quarantined"].as_u64()), (200, Some(0), Some(0)), "{again}");
    }
    // Everything there is: kinds that are not followed are set aside, each with its line, and hold nothing up.
    let with_ids: Vec<&Value> = objects.values().filter(|object| object["id"].is_string()).collect();
    let (status, whole) = host.upload(path, serde_json::to_string(&with_ids).expect("JSON")).await;
    let followed = with_ids.iter().filter(|object| object["object"].as_str().is_some_and(is_followed)).count();
    assert_eq!((status, whole["quarantined"].as_u64()), (200, Some((with_ids.len() - followed) as u64)), "{whole}");
    host.stop().await;
}

fn is_followed(kind: &str) -> bool {
    kind == "balance_transaction" || kind.parse::<Kind>().is_ok()
}

#[tokio::test]
async fn a_checkout_has_the_published_shape_and_is_refused_without_a_total() {
    let session = resources().remove("checkout.session").expect("the file has one");
    let stripe = StripeServer::start().await;
    stripe.sessions_look_like(session.clone(), true);
    let host = RunningHost::start(&stripe).await;
    let (status, made) = host.post(CHECKOUT, &order("o-1")).await;
    assert_eq!((status, made["amount"].as_i64()), (201, Some(6249)), "{made}");
    // The example as it stands says neither a total nor a currency: nobody can say what the customer would pay.
    stripe.sessions_look_like(session, false);
    let (status, problem) = host.post(CHECKOUT, &order("o-2")).await;
    assert_eq!((status, problem["code"].as_str()), (502, Some("payment_refused")), "{problem}");
    host.stop().await;
}
