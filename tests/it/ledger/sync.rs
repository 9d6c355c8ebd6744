//! The sync against a server that fails, shifts and is cut off: nothing is lost, nothing is doubled.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use taskwarden::clock::{Clock as _, SharedClock, UnixMs};
use taskwarden::native::stripe_sync::{StripeSync, SyncSettings};
use taskwarden::store::ledger::{LedgerQuery, LedgerStore};
use taskwarden::store::sqlite::{SqliteOptions, SqliteStore};
use taskwarden::stripe::ledger::{BalanceTransaction, Owner};
use taskwarden::stripe::payout::ListingState;
use taskwarden::stripe_api::{StripeApi, StripeApiConfig};
use taskwarden::task::{LaneKey, NativeCall, NativeFailure, NativeTask, TaskId, TaskType};
use tokio_util::sync::CancellationToken;

use super::server::{Objects, Scripted, StripeServer};
use super::{LeapingClock, START, api_config};

const TRANSACTIONS: &str = "/v1/balance_transactions";
const PAYOUTS: &str = "/v1/payouts";
pub(crate) const START_S: i64 = START.0 / 1000;

pub(crate) fn owner() -> Owner {
    Owner { account: String::new(), livemode: false }
}

/// A charge of ten euros that is part of a payout, if one is named.
pub(crate) fn charge(number: i64, created_s: i64, payout: Option<&str>) -> Value {
    let mut row = json!({
        "id": format!("txn_{number:06}"), "object": "balance_transaction", "amount": 1000, "fee": 59, "net": 941, "currency": "eur",
        "created": created_s, "available_on": created_s + 604_800, "status": "pending", "type": "charge", "reporting_category": "charge",
        "source": format!("ch_{number:06}"), "exchange_rate": null, "description": null, "balance_type": "payments",
        "fee_details": [{ "amount": 59, "application": null, "currency": "eur", "description": "Stripe processing fees", "type": "stripe_fee" }],
        "-source": { "id": format!("ch_{number:06}"), "object": "charge", "payment_intent": format!("pi_{number:06}"), "metadata": { "order_id": format!("order-{number}") } },
    });
    if let Some(payout) = payout {
        row["-payout"] = json!(payout);
    }
    row
}

pub(crate) fn payout(id: &str, amount: i64, created_s: i64, automatic: bool) -> Value {
    json!({ "id": id, "object": "payout", "amount": amount, "currency": "eur", "created": created_s, "arrival_date": created_s + 86_400, "automatic": automatic,
        "status": "paid", "livemode": false, "reconciliation_status": if automatic { "completed" } else { "not_applicable" },
        "balance_transaction": format!("txn_{id}"), "failure_balance_transaction": null, "method": "standard", "type": "bank_account" })
}

pub(crate) fn payout_movement(id: &str, amount: i64, created_s: i64) -> Value {
    json!({ "id": format!("txn_{id}"), "object": "balance_transaction", "amount": -amount, "fee": 0, "net": -amount, "currency": "eur", "created": created_s,
        "available_on": created_s, "status": "available", "type": "payout", "reporting_category": "payout", "source": id, "exchange_rate": null,
        "fee_details": [], "-payout": id })
}

/// Runs one attempt of a task of the host's own.
pub(crate) async fn run(task: &dyn NativeTask) -> Result<Value, NativeFailure> {
    let call = NativeCall {
        id: TaskId::new(),
        lane: LaneKey { task_type: TaskType::new(task.manifest().task_type).expect("a name"), ai_model: None },
        attempt: 1,
        max_attempts: 3,
        payload: Box::from("{}"),
        idempotency_key: None,
        cancel: CancellationToken::new(),
    };
    task.execute(call).await.map(|text| serde_json::from_str(&text).expect("JSON"))
}

pub(crate) struct World {
    pub(crate) server: StripeServer,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) clock: Arc<LeapingClock>,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(SqliteStore::open(&folder.path().join("t.db"), SqliteOptions::default()).await.expect("a store"));
        Self { server: StripeServer::start().await, store, clock: Arc::default(), folder }
    }

    /// As after a restart of the host: another process would find the same file.
    async fn restart(&mut self) {
        self.store.close().await;
        self.store = Arc::new(SqliteStore::open(&self.folder.path().join("t.db"), SqliteOptions::default()).await.expect("a store"));
    }

    pub(crate) async fn sync(&self) -> Result<Value, NativeFailure> {
        let config = StripeApiConfig { sends_max: 2, ..api_config(&self.server) };
        let api = StripeApi::new(config, Arc::clone(&self.clock) as SharedClock, 7).expect("a client");
        let settings = SyncSettings { owner: owner(), since_s: 0, overlap: Duration::from_secs(3600), order_key: "order_id".to_owned() };
        let sync = StripeSync::new(
            Arc::clone(&self.store) as Arc<dyn taskwarden::store::Store>,
            Arc::new(api),
            Arc::clone(&self.clock) as SharedClock,
            settings,
        );
        run(&sync).await
    }

    pub(crate) async fn rows(&self) -> Vec<BalanceTransaction> {
        let query = LedgerQuery { owner: owner(), from: UnixMs(0), to: UnixMs(i64::MAX), after: None, limit: 10_000 };
        self.store.balance_transactions(query).await.expect("rows")
    }

    /// The rows' ids, which are there once each however they were read.
    async fn ids(&self) -> Vec<String> {
        self.rows().await.into_iter().map(|row| row.id).collect()
    }
}

fn numbered(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|number| format!("txn_{number:06}")).collect()
}

#[tokio::test]
async fn pages_are_read_to_the_end_with_what_is_behind_each_movement() {
    let world = World::new().await;
    (0..250).for_each(|number| world.server.add(TRANSACTIONS, charge(number, START_S - 1000 + number, None)));
    let done = world.sync().await.expect("a sync");
    assert_eq!(done["resources"]["balance_transactions"]["added"], 250, "{done}");
    let rows = world.rows().await;
    assert_eq!(rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), numbered(0..250));
    let found = [&rows[7].charge, &rows[7].payment_intent, &rows[7].order_id].map(|id| id.as_deref().unwrap_or_default());
    assert_eq!(found, ["ch_000007", "pi_000007", "order-7"]);
    let asked = world.server.seen().iter().filter(|seen| seen.path == TRANSACTIONS).count();
    assert_eq!(asked, 3, "a hundred a page");
}

#[tokio::test]
async fn a_sync_that_is_killed_in_the_middle_goes_on_where_it_was() {
    let mut world = World::new().await;
    (0..250).for_each(|number| world.server.add(TRANSACTIONS, charge(number, START_S - 1000 + number, None)));
    // The second page fails for good: what was read before is kept, with the place.
    world.server.script([Scripted::After(Box::new(|_| ())), Scripted::Cut, Scripted::Status(500, vec![])]);
    let failure = world.sync().await.expect_err("cut off");
    assert!(matches!(failure, NativeFailure::Transient { .. }), "{failure:?}");
    assert_eq!(world.ids().await, numbered(150..250));
    world.restart().await;
    let before = world.server.seen().len();
    let done = world.sync().await.expect("the rest");
    assert_eq!(done["resources"]["balance_transactions"]["added"], 150, "{done}");
    assert_eq!(world.server.seen()[before].fields["starting_after"], "txn_000150");
    assert_eq!(world.ids().await, numbered(0..250));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_read_again_and_counted_once() {
    let world = World::new().await;
    (0..150).for_each(|number| world.server.add(TRANSACTIONS, charge(number, START_S - 1000 + number, None)));
    world.server.script([
        Scripted::CutWithin,
        Scripted::After(Box::new(|_| ())),
        Scripted::Status(429, vec![("retry-after", "2".to_owned())]),
    ]);
    let done = world.sync().await.expect("a sync");
    assert_eq!(
        done["resources"]["balance_transactions"],
        json!({ "added": 150, "changed": 0, "unchanged": 0, "quarantined": 0, "objects": 0 })
    );
    assert_eq!(world.ids().await, numbered(0..150));
}

#[tokio::test]
async fn what_happens_during_a_walk_shifts_no_page_and_is_read_by_the_next() {
    let world = World::new().await;
    (0..250).for_each(|number| world.server.add(TRANSACTIONS, charge(number, START_S - 1000 + number, None)));
    let many = |objects: &mut Objects| {
        for number in 250..400 {
            objects.add(TRANSACTIONS, charge(number, START_S + 1, None));
        }
        // And one that appears late, of a time that was read already.
        objects.add(TRANSACTIONS, charge(900, START_S - 800, None));
    };
    world.server.script([Scripted::After(Box::new(|_| ())), Scripted::After(Box::new(many))]);
    world.sync().await.expect("the first");
    let ids = world.ids().await;
    assert!(numbered(0..250).iter().all(|id| ids.contains(id)), "{ids:?}");
    world.clock.sleep(Duration::from_secs(60)).await;
    let done = world.sync().await.expect("the second");
    assert_eq!(world.rows().await.len(), 401, "{done}");
}

#[tokio::test]
async fn a_walk_whose_place_is_gone_begins_again() {
    let world = World::new().await;
    (0..250).for_each(|number| world.server.add(TRANSACTIONS, charge(number, START_S - 1000 + number, None)));
    world
        .server
        .script([Scripted::After(Box::new(|_| ())), Scripted::After(Box::new(|objects| objects.remove(TRANSACTIONS, "txn_000150")))]);
    let done = world.sync().await.expect("a sync");
    assert_eq!(world.ids().await, numbered(0..250), "{done}");
}

#[tokio::test]
async fn the_next_sync_reads_the_overlap_and_what_is_new() {
    let world = World::new().await;
    world.server.add(TRANSACTIONS, charge(1, START_S - 10_000, None));
    world.server.add(TRANSACTIONS, charge(2, START_S - 100, None));
    world.sync().await.expect("the first");
    world.server.change(TRANSACTIONS, "txn_000002", |row| row["status"] = json!("available"));
    world.server.add(TRANSACTIONS, charge(3, START_S + 5, None));
    world.clock.sleep(Duration::from_secs(10)).await;
    let done = world.sync().await.expect("the second");
    assert_eq!(
        done["resources"]["balance_transactions"],
        json!({ "added": 1, "changed": 1, "unchanged": 0, "quarantined": 0, "objects": 0 })
    );
    let statuses: Vec<_> = world.rows().await.into_iter().map(|row| row.status.unwrap_or_default()).collect();
    assert_eq!(statuses, ["pending", "available", "pending"]);
}

#[tokio::test]
async fn members_of_automatic_payouts_are_listed_and_must_sum_up() {
    let world = World::new().await;
    for number in 0..120 {
        world.server.add(TRANSACTIONS, charge(number, START_S - 5000 + number, Some("po_whole")));
    }
    world.server.add(TRANSACTIONS, charge(200, START_S - 4000, Some("po_short")));
    world.server.add(TRANSACTIONS, payout_movement("po_whole", 120 * 941, START_S - 3000));
    world.server.add(PAYOUTS, payout("po_whole", 120 * 941, START_S - 3000, true));
    world.server.add(PAYOUTS, payout("po_short", 2 * 941, START_S - 2000, true));
    world.server.add(PAYOUTS, payout("po_empty", 500, START_S - 2000, true));
    world.server.add(PAYOUTS, payout("po_manual", 700, START_S - 2000, false));
    let done = world.sync().await.expect("a sync");
    assert_eq!(done["payouts"], json!({ "complete": 1, "incomplete": ["po_empty", "po_short"] }));
    let members = world.store.payout_members(&owner(), "po_whole").await.expect("members");
    assert_eq!((members.len(), members.iter().map(|row| row.net).sum::<i64>()), (121, 0), "with its own movement it comes to nothing");
    let manual = world.store.listings(&owner(), &[ListingState::Unattributable], 10).await.expect("listings");
    assert_eq!(manual.iter().map(|listing| listing.payout.as_str()).collect::<Vec<_>>(), ["po_manual"]);

    // The missing member appears; only the payouts that were not whole are asked for again.
    world.server.add(TRANSACTIONS, charge(201, START_S - 4000, Some("po_short")));
    let before = world.server.seen().len();
    let done = world.sync().await.expect("another");
    assert_eq!(done["payouts"], json!({ "complete": 1, "incomplete": ["po_empty"] }));
    assert!(world.server.seen()[before..].iter().all(|seen| seen.fields.get("payout").is_none_or(|payout| payout != "po_whole")));
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_quarantined_and_the_others_kept() {
    let world = World::new().await;
    world.server.add(TRANSACTIONS, charge(1, START_S - 10, None));
    let mut text = charge(2, START_S - 9, None);
    text["amount"] = json!("10.00");
    world.server.add(TRANSACTIONS, text);
    let mut of_tomorrow = charge(3, START_S - 8, None);
    of_tomorrow["type"] = json!("a_type_of_tomorrow");
    of_tomorrow["a_field_of_tomorrow"] = json!({ "deep": [1] });
    world.server.add(TRANSACTIONS, of_tomorrow);
    let done = world.sync().await.expect("a sync");
    assert_eq!(
        done["resources"]["balance_transactions"],
        json!({ "added": 2, "changed": 0, "unchanged": 0, "quarantined": 1, "objects": 0 })
    );
    assert_eq!(world.ids().await, ["txn_000001", "txn_000003"]);
    let kept = world.store.quarantine(&owner(), 10).await.expect("rows");
    assert!(kept[0].row.reason.contains("10.00") && kept[0].row.row.contains("txn_000002"), "{kept:?}");
    world.sync().await.expect("again");
    assert_eq!(world.store.quarantine(&owner(), 10).await.expect("rows").len(), 1, "once, however often it is read");
}

#[tokio::test]
async fn a_key_that_is_refused_is_no_use_trying_again() {
    let world = World::new().await;
    world.server.script([Scripted::Status(401, vec![])]);
    let failure = world.sync().await.expect_err("401");
    assert!(matches!(&failure, NativeFailure::Permanent(why) if why.contains("stripe.api.key")), "{failure:?}");
}
