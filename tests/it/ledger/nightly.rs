//! A night as an operator schedules it: the account is read from Stripe into the host's tables, and the plugin reconciles them in its sandbox.

use serde_json::{Value, json};

use super::host::RunningHost;
use super::server::StripeServer;
use super::sync::{START_S, charge, payout, payout_movement};

const NET: i64 = 941;

/// The charge behind the movement of this number.
fn charge_object(number: i64, created_s: i64) -> Value {
    json!({ "id": format!("ch_{number:06}"), "object": "charge", "status": "succeeded", "amount": 1000, "amount_captured": 1000, "captured": true,
        "amount_refunded": 0, "currency": "eur", "created": created_s, "livemode": false, "payment_intent": format!("pi_{number:06}"),
        "balance_transaction": format!("txn_{number:06}"), "metadata": { "order_id": format!("order-{number}") } })
}

async fn done(host: &RunningHost, task: &Value) -> Value {
    let (status, submitted) = host.post("/v1/tasks", task).await;
    assert_eq!(status, 201, "{submitted}");
    let (_, ended) = host.get(&format!("/v1/tasks/{}?wait=60s", submitted["id"].as_str().expect("an id"))).await;
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    ended["result"].clone()
}

#[tokio::test]
async fn what_was_read_by_night_is_reconciled_and_what_is_under_way_waits() {
    let stripe = StripeServer::start().await;
    let day = |number: i64| START_S - 86_400 * (20 - number);
    for number in 1..=4 {
        let of = (number <= 3).then_some("po_paid");
        stripe.add("/v1/balance_transactions", charge(number, day(number), of));
        stripe.add("/v1/charges", charge_object(number, day(number)));
    }
    // One that has arrived, and one that Stripe has not yet taken apart: nobody can say what is in it.
    stripe.add("/v1/balance_transactions", payout_movement("po_paid", 3 * NET, day(8)));
    stripe.add("/v1/payouts", payout("po_paid", 3 * NET, day(8), true));
    let mut on_its_way = payout("po_on_its_way", NET, day(19), true);
    on_its_way["status"] = json!("in_transit");
    on_its_way["reconciliation_status"] = json!("in_progress");
    stripe.add("/v1/balance_transactions", payout_movement("po_on_its_way", NET, day(19)));
    stripe.add("/v1/payouts", on_its_way);
    // Authorised, and not captured: nothing of it is in the balance.
    let mut held = charge_object(9, day(9));
    for (field, value) in [("captured", json!(false)), ("amount_captured", json!(0)), ("balance_transaction", Value::Null)] {
        held[field] = value;
    }
    stripe.add("/v1/charges", held);

    let host = RunningHost::start(&stripe).await;
    let (status, plugin) = host.upload("/v1/admin/plugins", crate::guests::component("stripe-reconcile")).await;
    assert!(status < 300, "{plugin}");
    let read = done(&host, &json!({ "task_type": "stripe.sync" })).await;
    assert_eq!((&read["payouts"]["complete"], &read["resources"]["charges"]["objects"]), (&json!(1), &json!(5)), "{read}");
    let table = |name: &str| json!({ "table": name, "livemode": false });
    let inputs = json!({ "ledger": table("stripe_transactions"), "stripe": table("stripe_balance_transactions"), "payouts": table("stripe_payouts") });
    let result = done(&host, &json!({ "task_type": "stripe.reconcile", "payload": { "livemode": false }, "inputs": inputs })).await;
    assert_eq!((&result["verdict"], &result["gross_break_value"]), (&json!("RECONCILED"), &json!({})), "{result}");
    let counted = |leg: &str, class: &str| {
        let lines = result["lines"].as_array().expect("lines").iter().filter(|line| line["leg"] == leg && line["class"] == class);
        lines.map(|line| line["findings"].as_u64().expect("a count")).sum::<u64>()
    };
    assert_eq!([counted("charge_bt", "not_paid"), counted("bt_payout", "matched"), counted("bt_payout", "timing_in_transit")], [1, 1, 1]);
    host.stop().await;
}
