//! What every store must do with the ledger and with orders, written against the traits.

use std::sync::Arc;

use taskwarden::clock::UnixMs;
use taskwarden::store::Store;
use taskwarden::store::ledger::{Cursor, LedgerBatch, LedgerCounts, LedgerQuery};
use taskwarden::store::orders::{Order, OrderSession, Placed};
use taskwarden::store::tables::{TableQuery, columns, csv_line};
use taskwarden::stripe::import::Quarantined;
use taskwarden::stripe::ledger::{BalanceTransaction, Origin, Owner};
use taskwarden::stripe::payout::{ListingState, PayoutListing};
use taskwarden::task::HostTable;

use crate::store::support::on_each_store;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn owner(account: &str, livemode: bool) -> Owner {
    Owner { account: account.to_owned(), livemode }
}

fn row(number: i64) -> BalanceTransaction {
    BalanceTransaction {
        id: format!("txn_{number:04}"),
        kind: Some("charge".to_owned()),
        reporting_category: Some("charge".to_owned()),
        balance_type: "payments".to_owned(),
        source: Some(format!("ch_{number:04}")),
        status: Some("pending".to_owned()),
        currency: "eur".to_owned(),
        amount: 1000 + number,
        fee: -number,
        net: 1000 + 2 * number,
        exchange_rate: Some("0.88".to_owned()),
        // Two of a moment, so that the order within one matters.
        created_at: UnixMs(1_700_000_000_000 + number / 2 * 1000),
        available_on: UnixMs(1_700_600_000_000),
        payout: None,
        charge: Some(format!("ch_{number:04}")),
        payment_intent: None,
        order_id: Some("an \"odd\", id".to_owned()),
        description: None,
        origin: Origin::Api,
    }
}

fn batch(owner: &Owner, rows: impl IntoIterator<Item = BalanceTransaction>) -> LedgerBatch {
    let mut batch = LedgerBatch::new(owner.clone(), "a test");
    batch.transactions = (1..).zip(rows).collect();
    batch
}

fn counts(added: u64, changed: u64, unchanged: u64, quarantined: u64) -> LedgerCounts {
    LedgerCounts { added, changed, unchanged, quarantined }
}

async fn rows(store: &Arc<dyn Store>, owner: &Owner) -> Vec<BalanceTransaction> {
    let query = LedgerQuery { owner: owner.clone(), from: UnixMs(0), to: UnixMs(i64::MAX), after: None, limit: 1000 };
    store.balance_transactions(query).await.unwrap()
}

on_each_store!(
    rows_are_kept_once_whatever_comes_twice,
    what_contradicts_is_quarantined_and_changes_nothing,
    owners_never_meet,
    a_cursor_is_kept_with_its_rows,
    a_payout_once_complete_stays_so,
    a_table_is_read_in_pages_in_order_of_time,
    an_order_is_placed_once,
);

async fn rows_are_kept_once_whatever_comes_twice(store: Arc<dyn Store>) {
    let ours = owner("", true);
    let all: Vec<_> = (0..5).map(row).collect();
    assert_eq!(store.merge_ledger(batch(&ours, all.clone()), NOW).await.unwrap(), counts(5, 0, 0, 0));
    let twice = all.iter().chain(&all).cloned();
    assert_eq!(store.merge_ledger(batch(&ours, twice), NOW).await.unwrap(), counts(0, 0, 10, 0));
    let paid_out = BalanceTransaction { payout: Some("po_1".to_owned()), status: Some("available".to_owned()), ..row(3) };
    assert_eq!(store.merge_ledger(batch(&ours, [paid_out.clone(), paid_out.clone()]), NOW).await.unwrap(), counts(0, 1, 1, 0));
    let mut expected = all;
    expected[3] = paid_out.clone();
    assert_eq!(rows(&store, &ours).await, expected);
    assert_eq!(store.payout_members(&ours, "po_1").await.unwrap(), [paid_out]);
}

async fn what_contradicts_is_quarantined_and_changes_nothing(store: Arc<dyn Store>) {
    let ours = owner("", true);
    store.merge_ledger(batch(&ours, [row(1)]), NOW).await.unwrap();
    let mut wrong = batch(&ours, [BalanceTransaction { amount: 100_100, ..row(1) }]);
    wrong.quarantined.push(Quarantined::new(7, "it is torn", "txn_9,2026-\0"));
    for _ in 0..2 {
        assert_eq!(store.merge_ledger(wrong.clone(), NOW).await.unwrap(), counts(0, 0, 0, 2));
    }
    assert_eq!(rows(&store, &ours).await, [row(1)]);
    let kept = store.quarantine(&ours, 10).await.unwrap();
    assert_eq!(kept.len(), 2, "the same twice is one: {kept:?}");
    assert!(kept[0].row.reason.contains("amount is 1001 on record and 100100 here"), "{kept:?}");
    assert_eq!((kept[1].row.line, kept[1].row.reason.as_str(), kept[1].source.as_str()), (7, "it is torn", "a test"));
}

async fn owners_never_meet(store: Arc<dyn Store>) {
    let owners = [owner("", true), owner("", false), owner("acct_1", true)];
    for one in &owners {
        assert_eq!(store.merge_ledger(batch(one, [row(1)]), NOW).await.unwrap(), counts(1, 0, 0, 0));
    }
    let other = BalanceTransaction { payout: Some("po_1".to_owned()), ..row(1) };
    store.merge_ledger(batch(&owners[1], [other]), NOW).await.unwrap();
    assert_eq!(rows(&store, &owners[0]).await, [row(1)]);
    assert!(store.payout_members(&owners[2], "po_1").await.unwrap().is_empty());
}

async fn a_cursor_is_kept_with_its_rows(store: Arc<dyn Store>) {
    let ours = owner("acct_1", false);
    assert_eq!(store.cursor(&ours, "/v1/payouts").await.unwrap(), None);
    for value in ["{\"a\":1}", "{\"a\":2}"] {
        let mut with = batch(&ours, [row(1)]);
        with.cursor = Some(Cursor { name: "/v1/payouts".to_owned(), value: value.to_owned() });
        store.merge_ledger(with, NOW).await.unwrap();
        assert_eq!(store.cursor(&ours, "/v1/payouts").await.unwrap().as_deref(), Some(value));
    }
    assert_eq!(store.cursor(&owner("", false), "/v1/payouts").await.unwrap(), None);
}

async fn a_payout_once_complete_stays_so(store: Arc<dyn Store>) {
    let ours = owner("", true);
    let listing = |payout: &str, state| PayoutListing { payout: payout.to_owned(), currency: "eur".to_owned(), amount: -5, state };
    let set = async |listings: Vec<PayoutListing>| {
        store.merge_ledger(LedgerBatch { listings, ..LedgerBatch::new(ours.clone(), "a test") }, NOW).await.unwrap();
    };
    set(vec![listing("po_1", ListingState::Due), listing("po_2", ListingState::Due)]).await;
    set(vec![listing("po_1", ListingState::Complete), listing("po_2", ListingState::Incomplete)]).await;
    set(vec![listing("po_1", ListingState::Due), listing("po_2", ListingState::Due)]).await;
    let open = store.listings(&ours, &[ListingState::Due, ListingState::Incomplete], 10).await.unwrap();
    assert_eq!(open, [listing("po_2", ListingState::Due)]);
    assert_eq!(store.listings(&ours, &[ListingState::Complete], 10).await.unwrap(), [listing("po_1", ListingState::Complete)]);
}

async fn a_table_is_read_in_pages_in_order_of_time(store: Arc<dyn Store>) {
    let ours = owner("acct_1", false);
    store.merge_ledger(batch(&ours, (0..25).rev().map(row)), NOW).await.unwrap();
    let mut query = TableQuery {
        table: HostTable::StripeBalanceTransactions,
        owner: ours,
        from: row(4).created_at,
        to: row(20).created_at,
        after: None,
        limit: 7,
    };
    let mut read = Vec::new();
    loop {
        let page = store.table_page(query.clone()).await.unwrap();
        read.extend(page.rows);
        match page.last {
            Some(last) => query.after = Some(last),
            None => break,
        }
    }
    let ids: Vec<_> = read.iter().map(|row| row[0].clone().unwrap()).collect();
    assert_eq!(ids, (4..20).map(|number| row(number).id).collect::<Vec<_>>());
    let mut line = String::new();
    csv_line(&mut line, columns(query.table));
    csv_line(&mut line, read[1].iter().map(|value| value.as_deref().unwrap_or_default()));
    let (header, first) = line.split_once('\n').unwrap();
    assert_eq!(
        header,
        "id,type,reporting_category,balance_type,source,status,currency,amount,fee,net,exchange_rate,created,available_on,payout,charge,\
         payment_intent,order_id,description,account,livemode"
    );
    assert_eq!(
        first,
        "txn_0005,charge,charge,payments,ch_0005,pending,eur,1005,-5,1010,0.88,1700000002,1700600000,,ch_0005,,\"an \"\"odd\"\", id\",,acct_1,false\n"
    );
}

async fn an_order_is_placed_once(store: Arc<dyn Store>) {
    let ours = owner("", true);
    let order = Order {
        id: "o-1".to_owned(),
        digest: [7; 32],
        currency: "eur".to_owned(),
        amount: 6249,
        tax: 760,
        shipping: 490,
        basket: "{}".to_owned(),
        session: None,
        created_at: NOW,
    };
    assert_eq!(store.place_order(&ours, order.clone()).await.unwrap(), Placed::New);
    assert_eq!(store.place_order(&ours, order.clone()).await.unwrap(), Placed::Known(order.clone()));
    assert_eq!(store.place_order(&ours, Order { digest: [8; 32], ..order.clone() }).await.unwrap(), Placed::Different);
    assert_eq!(store.place_order(&owner("", false), order.clone()).await.unwrap(), Placed::New);
    let session = |id: &str| OrderSession { id: id.to_owned(), url: format!("https://pay.example/{id}") };
    store.set_order_session(&ours, "o-1", session("cs_1")).await.unwrap();
    store.set_order_session(&ours, "o-1", session("cs_2")).await.unwrap();
    let known = store.order(&ours, "o-1").await.unwrap().unwrap();
    assert_eq!(known, Order { session: Some(session("cs_1")), ..order }, "the first word counts");
    assert_eq!(store.order(&ours, "o-2").await.unwrap(), None);
}
