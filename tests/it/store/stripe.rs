//! What is kept of Stripe: that no order and no repetition of events makes a difference, and that sums are what the facts say.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use taskwarden::clock::UnixMs;
use taskwarden::store::Store;
use taskwarden::store::stripe::{IncomeFilter, Recorded, StripeEvent, Verdict};
use taskwarden::stripe::event::Event;
use taskwarden::stripe::income::{BUCKET_MS, Basis};
use taskwarden::stripe::kind::Kind;
use taskwarden::stripe::ledger::{ORDER_KEY, Owner};
use taskwarden::stripe::object::told;
use taskwarden::stripe::plan::Reason;
use taskwarden::stripe::transaction::Key;
use taskwarden::task::TaskState;
use taskwarden::zone::Period;

use super::support::{NOW, at, lane, new_task, on_each_store};

on_each_store!(
    an_event_and_its_task_are_written_together_and_once,
    doubt_is_noted_and_settled,
    income_is_read_by_period_and_filter,
    a_refund_that_names_its_payment_only_counts_once,
    bodies_are_taken_out_when_they_are_old_and_nothing_else_is
);

fn event(id: &str, verdict: Verdict) -> StripeEvent {
    StripeEvent {
        id: id.to_owned(),
        event_type: "charge.succeeded".to_owned(),
        owner: owner(true),
        api_version: None,
        verdict,
        created_at: NOW,
        received_at: at(5),
        body_sha256: [7; 32],
        body: bytes::Bytes::from_static(b"{\xff"),
    }
}

fn owner(livemode: bool) -> Owner {
    Owner { account: String::new(), livemode }
}

async fn an_event_and_its_task_are_written_together_and_once(store: Arc<dyn Store>) {
    let task = || new_task(lane("stripe.event", None), taskwarden::task::Priority::Normal);
    let first = task();
    let Recorded::New(Some(submitted)) =
        store.record_stripe_event(event("evt_1", Verdict::Accepted), Some(first.clone()), NOW).await.unwrap()
    else {
        panic!("it is new")
    };
    assert_eq!((submitted.id, submitted.state), (first.id, TaskState::Queued));
    let second = task();
    let other = StripeEvent { body_sha256: [8; 32], ..event("evt_1", Verdict::Accepted) };
    assert_eq!(store.record_stripe_event(other, Some(second.clone()), NOW).await.unwrap(), Recorded::Known);
    assert!(store.task(first.id).await.unwrap().is_some() && store.task(second.id).await.unwrap().is_none());
    assert_eq!(store.stripe_event("evt_1").await.unwrap(), Some(event("evt_1", Verdict::Accepted)), "the first stays as it came");
    for (number, verdict) in Verdict::ALL.into_iter().enumerate() {
        let event = event(&format!("evt_v{number}"), verdict);
        assert_eq!(store.record_stripe_event(event.clone(), None, NOW).await.unwrap(), Recorded::New(None));
        assert_eq!(store.stripe_event(&event.id).await.unwrap(), Some(event));
    }
    assert_eq!(store.stripe_event("evt_none").await.unwrap(), None);
}

/// Tells the store what an event says.
async fn tell(store: &Arc<dyn Store>, body: &str, now: UnixMs) {
    let told = told(&Event::parse(body.as_bytes()).unwrap(), ORDER_KEY).unwrap();
    store.apply_stripe(told.seen, told.fetch.into_iter().collect(), now).await.unwrap();
}

fn body(id: usize, event_type: &str, at_s: i64, livemode: bool, object: &str) -> String {
    format!(
        r#"{{"id":"evt_{id:02}","type":"{event_type}","created":{at_s},"livemode":{livemode},"data":{{"object":{{"currency":"usd",{object}}}}}}}"#
    )
}

async fn doubt_is_noted_and_settled(store: Arc<dyn Store>) {
    let intent = |id: usize, status: &str| {
        body(id, "payment_intent.processing", 10, true, &format!(r#""object":"payment_intent","id":"pi_1","status":"{status}","amount":5"#))
    };
    tell(&store, &intent(1, "processing"), NOW).await;
    tell(&store, &intent(2, "requires_action"), at(1)).await;
    let wanted = store.stripe_wanted(&owner(true), at(1), 5).await.unwrap();
    assert_eq!(wanted.iter().map(|one| (one.id.as_str(), one.reason)).collect::<Vec<_>>(), [("pi_1", Reason::Contested)]);
    store.settle_stripe_wanted(wanted.clone(), Some(at(60))).await.unwrap();
    assert!(store.stripe_wanted(&owner(true), at(59), 5).await.unwrap().is_empty());
    assert_eq!(store.stripe_wanted(&owner(true), at(60), 5).await.unwrap(), wanted);
    tell(
        &store,
        &body(3, "payment_intent.succeeded", 10, true, r#""object":"payment_intent","id":"pi_1","status":"succeeded","amount":5"#),
        at(2),
    )
    .await;
    assert!(store.stripe_wanted(&owner(true), at(60), 5).await.unwrap().is_empty());
    let key = Key { owner: owner(true), kind: Kind::PaymentIntent, id: "pi_1".to_owned() };
    let row = store.stripe_transaction(&key).await.unwrap().unwrap();
    assert_eq!((row.standing.status.as_str(), row.standing.contested), ("succeeded", false));
    let test = Key { owner: owner(false), ..key };
    assert!(store.stripe_transaction(&test).await.unwrap().is_none(), "test and live are two worlds");
}

async fn income_is_read_by_period_and_filter(store: Arc<dyn Store>) {
    let charge = |id: usize, at_ms: i64, livemode: bool| {
        let object = format!(
            r#""object":"charge","id":"ch_{id}","status":"succeeded","amount":{id},"amount_captured":{id},"created":{}"#,
            at_ms / 1000
        );
        body(id, "charge.succeeded", at_ms / 1000, livemode, &object)
    };
    for (id, quarter, livemode) in [(1, 0, true), (2, 1, true), (4, 2, true), (8, 2, false)] {
        tell(&store, &charge(id, quarter * BUCKET_MS, livemode), UnixMs(3 * BUCKET_MS)).await;
    }
    let periods = [Period { start_ms: 0, end_ms: 2 * BUCKET_MS }, Period { start_ms: 2 * BUCKET_MS, end_ms: 3 * BUCKET_MS }];
    let read = |filter: IncomeFilter| {
        let store = Arc::clone(&store);
        async move {
            let rows = store.income(&periods, &filter).await.unwrap();
            rows.iter().map(|row| (row.cell.owner.livemode, row.cell.bucket_ms / BUCKET_MS, row.sums.amount)).collect::<Vec<_>>()
        }
    };
    let mut all = read(IncomeFilter::default()).await;
    all.sort_unstable();
    assert_eq!(all, [(false, 2, 8), (true, 0, 3), (true, 2, 4)]);
    assert_eq!(read(IncomeFilter { livemode: Some(false), ..IncomeFilter::default() }).await, [(false, 2, 8)]);
    assert_eq!(read(IncomeFilter { currency: Some("eur".to_owned()), ..IncomeFilter::default() }).await, []);
    assert_eq!(read(IncomeFilter { basis: Some(Basis::Final), ..IncomeFilter::default() }).await, []);
    assert_eq!(read(IncomeFilter { account: Some("acct_1".to_owned()), ..IncomeFilter::default() }).await, []);
    assert!(store.income_restated(&periods, &IncomeFilter::default()).await.unwrap().is_empty());
    let much_later = UnixMs(1_000_000 * BUCKET_MS + 5);
    tell(&store, &charge(16, 0, true), much_later).await;
    let restated = store.income_restated(&periods, &IncomeFilter::default()).await.unwrap();
    assert_eq!(
        restated.iter().map(|row| (row.sums.amount, row.restated_at)).collect::<Vec<_>>(),
        [(16, Some(UnixMs(1_000_000 * BUCKET_MS)))]
    );
    let audit = store.audit_income().await.unwrap();
    assert_eq!((audit.facts, audit.differences), (5, Vec::new()));
}

async fn bodies_are_taken_out_when_they_are_old_and_nothing_else_is(store: Arc<dyn Store>) {
    for (number, verdict) in Verdict::ALL.into_iter().enumerate() {
        let received_at = at(i64::try_from(number).unwrap());
        let event = StripeEvent { received_at, ..event(&format!("evt_{number}"), verdict) };
        store.record_stripe_event(event, None, NOW).await.unwrap();
    }
    assert_eq!(store.prune_stripe_bodies(at(3), 2).await.unwrap(), 2, "the oldest first");
    assert_eq!(store.prune_stripe_bodies(at(3), 2).await.unwrap(), 1);
    assert_eq!(store.prune_stripe_bodies(at(3), 2).await.unwrap(), 0);
    for (number, verdict) in Verdict::ALL.into_iter().enumerate() {
        let kept = store.stripe_event(&format!("evt_{number}")).await.unwrap().unwrap();
        let whole = event(&kept.id, verdict);
        let body = if number < 3 { bytes::Bytes::new() } else { whole.body.clone() };
        assert_eq!(kept, StripeEvent { body, received_at: at(i64::try_from(number).unwrap()), ..whole });
    }
    let again = StripeEvent { body_sha256: [9; 32], ..event("evt_0", Verdict::Accepted) };
    assert_eq!(store.record_stripe_event(again, None, NOW).await.unwrap(), Recorded::Known, "it is still known");
}

async fn a_refund_that_names_its_payment_only_counts_once(store: Arc<dyn Store>) {
    let charge = |refunded: i64| {
        format!(
            r#""object":"charge","id":"ch_1","status":"succeeded","amount":1000,"amount_captured":1000,"amount_refunded":{refunded},"payment_intent":"pi_1","created":1"#
        )
    };
    let refund = |id: &str, charge: &str| {
        format!(r#""object":"refund","id":"{id}","status":"succeeded","amount":200,"charge":{charge},"payment_intent":"pi_1","created":2"#)
    };
    // Whichever comes first; the one refund learns its charge later, the other never.
    let events = [
        ("refund.created", refund("re_1", "null")),
        ("charge.refunded", charge(200)),
        ("charge.refunded", charge(400)),
        ("refund.created", refund("re_2", "null")),
        ("refund.updated", refund("re_1", "\"ch_1\"")),
    ];
    let period = [Period { start_ms: 0, end_ms: BUCKET_MS }];
    let mut sums = Vec::new();
    for (id, (event_type, object)) in events.iter().enumerate() {
        tell(&store, &body(id, event_type, 3, true, object), NOW).await;
        let rows = store.income(&period, &IncomeFilter::default()).await.unwrap();
        sums.push(rows.iter().filter(|row| row.cell.category == "refund").map(|row| row.sums.amount).sum::<i64>());
        assert_eq!(store.audit_income().await.unwrap().differences, Vec::new(), "after {event_type}");
    }
    assert_eq!(sums, [-200, -200, -400, -400, -400]);
}

/// Payments, refunds, disputes and payouts with states in the same second, in two modes.
fn week() -> Vec<String> {
    let charge = |captured: i64, refunded: i64, more: &str| {
        format!(
            r#""object":"charge","id":"ch_1","status":"succeeded","amount":1000,"amount_captured":{captured},"amount_refunded":{refunded},"captured":{},"created":1000{more}"#,
            captured > 0
        )
    };
    let refund =
        |status: &str, more: &str| format!(r#""object":"refund","id":"re_1","status":"{status}","amount":200,"created":5000{more}"#);
    let intent =
        |status: &str| format!(r#""object":"payment_intent","id":"pi_1","status":"{status}","amount":1000,"latest_charge":"ch_1""#);
    let dispute = |status: &str| format!(r#""object":"dispute","id":"dp_1","status":"{status}","amount":500,"charge":"ch_1""#);
    let payout = |status: &str| format!(r#""object":"payout","id":"po_1","status":"{status}","amount":-800,"arrival_date":90000"#);
    let session = |paid: &str| {
        format!(
            r#""object":"checkout.session","id":"cs_1","status":"complete","payment_status":"{paid}","amount_total":1000,"client_reference_id":"o-1""#
        )
    };
    let list = [
        (1000, "payment_intent.created", intent("requires_payment_method")),
        (1000, "payment_intent.processing", intent("processing")),
        (1000, "payment_intent.requires_action", intent("requires_action")),
        (1002, "payment_intent.succeeded", intent("succeeded")),
        (1002, "payment_intent.payment_failed", intent("requires_payment_method")),
        (1001, "checkout.session.completed", session("unpaid")),
        (1002, "checkout.session.async_payment_succeeded", session("paid")),
        (1002, "charge.succeeded", charge(0, 0, "")),
        (4000, "charge.captured", charge(700, 300, "")),
        (4000, "charge.updated", charge(700, 300, r#","balance_transaction":"txn_1""#)),
        (5000, "refund.created", refund("pending", "")),
        (5000, "charge.refunded", charge(700, 500, "")),
        (5001, "refund.updated", refund("succeeded", r#","charge":"ch_1""#)),
        (95_000, "refund.failed", refund("failed", r#","charge":"ch_1","failure_balance_transaction":"txn_2""#)),
        (6000, "charge.dispute.created", dispute("needs_response")),
        (6000, "charge.dispute.funds_withdrawn", dispute("under_review")),
        (90_000, "charge.dispute.closed", dispute("won")),
        (90_000, "charge.dispute.funds_reinstated", dispute("won")),
        (80_000, "payout.created", payout("paid")),
        (80_000, "payout.paid", payout("paid")),
        (99_000, "payout.failed", payout("failed")),
    ];
    list.into_iter().enumerate().map(|(id, (at_s, event_type, object))| body(id, event_type, at_s, id % 7 != 6, &object)).collect()
}

fn shown(value: rusqlite::types::ValueRef<'_>) -> String {
    match value {
        rusqlite::types::ValueRef::Text(text) => format!("{:?}", std::str::from_utf8(text).unwrap()),
        other => format!("{other:?}"),
    }
}

/// Every row of every table that events end in, as text.
fn dump(path: &std::path::Path) -> String {
    let conn = rusqlite::Connection::open(path).unwrap();
    let mut text = String::new();
    for table in ["stripe_transactions", "stripe_wanted", "stripe_income", "stripe_income_restated"] {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<_> = (0..columns).map(|column| shown(row.get_ref(column).unwrap())).collect();
            text.push_str(&format!("{table} {}\n", values.join(" ")));
        }
    }
    text
}

async fn after(events: &[&String]) -> String {
    let opened = super::sqlite::open().await;
    let store = opened.shared();
    for event in events {
        tell(&store, event, NOW).await;
    }
    let audit = store.audit_income().await.unwrap();
    assert_eq!(audit.differences, Vec::new());
    drop(store);
    opened.store.close().await;
    dump(&opened.path)
}

#[test]
fn any_order_and_any_repetition_of_events_ends_in_the_same_rows_byte_for_byte() {
    let events = week();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let in_order = runtime.block_on(after(&events.iter().collect::<Vec<_>>()));
    assert!(in_order.contains("stripe_income_restated") && in_order.contains("txn_2"), "{in_order}");
    let count = events.len();
    let orders = (Just((0..count).collect::<Vec<_>>()).prop_shuffle(), proptest::collection::vec((0..count, 0..count), 0..10));
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&orders, |(order, again)| {
            let mut picked: Vec<_> = order.iter().map(|place| &events[*place]).collect();
            for (place, which) in again {
                picked.insert(place, &events[which]);
            }
            prop_assert_eq!(runtime.block_on(after(&picked)), in_order.clone());
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn events_are_neither_changed_nor_removed() {
    let opened = super::sqlite::open().await;
    opened.shared().record_stripe_event(event("evt_1", Verdict::UnknownType), None, NOW).await.unwrap();
    opened.store.close().await;
    let conn = rusqlite::Connection::open(&opened.path).unwrap();
    for text in [
        "UPDATE stripe_events SET verdict = 'accepted'",
        "UPDATE stripe_events SET body = x'00'",
        "UPDATE stripe_events SET body = x'', body_sha256 = x'00'",
        "DELETE FROM stripe_events",
    ] {
        assert!(conn.execute(text, []).is_err_and(|error| error.to_string().contains("append-only")), "{text}");
    }
}

#[tokio::test]
async fn an_audit_finds_what_was_changed_by_hand() {
    let opened = super::sqlite::open().await;
    for event in &week() {
        tell(&opened.shared(), event, NOW).await;
    }
    opened.store.close().await;
    let conn = rusqlite::Connection::open(&opened.path).unwrap();
    conn.execute("UPDATE stripe_income SET amount = amount + 1 WHERE category = 'payout' AND livemode = 1", []).unwrap();
    drop(conn);
    let admin = taskwarden::store::sqlite::SqliteAdmin::open(&opened.path, Default::default()).await.unwrap();
    use taskwarden::store::stripe::IncomeStore as _;
    let audit = admin.audit_income().await.unwrap();
    assert_eq!(audit.differences.len(), 1);
    let difference = &audit.differences[0];
    assert_eq!((difference.cell.category.as_str(), difference.running.amount - difference.recomputed.amount), ("payout", 1));
    admin.close().await;
}
