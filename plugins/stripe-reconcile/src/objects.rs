//! The host's table of Stripe's objects as the ledger: it holds everything that was ever told, and much of that moves no money.

use crate::testing::Case;
use crate::{Class, Verdict};

const OBJECTS: &str = "id,kind,status,currency,amount,amount_captured,amount_refunded,payment_intent,charge,balance_transaction,\
                       failure_balance_transaction,order_id,created,account,livemode\n";
const STRIPE: &str = "id,type,reporting_category,source,amount,fee,net,currency,created\n";

fn objects(rows: &[&str]) -> String {
    OBJECTS.to_owned() + &rows.iter().map(|row| format!("{row}\n")).collect::<String>()
}

#[test]
fn what_moves_no_money_is_counted_and_waits_for_nothing() {
    let table = objects(&[
        "pi_1,payment_intent,succeeded,usd,1000,1000,0,,ch_1,,,o1,1767600000,,true",
        "ch_1,charge,succeeded,usd,1000,1000,0,pi_1,,txn_1,,o1,1767600000,,true",
        "cs_1,checkout.session,complete,usd,1000,0,0,pi_1,,,,o1,1767600000,,true",
        "cs_2,checkout.session,complete,,0,0,0,,,,,,1767600000,,true",
        "in_1,invoice,paid,usd,1000,0,0,,,,,,1767600000,,true",
        "inpay_1,invoice_payment,paid,usd,1000,0,0,pi_1,,,,,1767600000,,true",
        "issfr_1,radar.early_fraud_warning,,,0,0,0,,ch_1,,,,1767600000,,true",
        "frr_1,reporting.report_run,succeeded,,0,0,0,,,,,,1767600000,,true",
        "dp_1,dispute,warning_under_review,usd,1000,0,0,pi_1,ch_1,,,,1767600000,,true",
    ]);
    let stripe = STRIPE.to_owned() + "txn_1,charge,charge,ch_1,1000,59,941,usd,1767600000\n";
    let done = Case::new(&table, &stripe).run();
    assert_eq!(done.summary.verdict, Verdict::Reconciled, "{:?} {:?}", done.summary.reasons, done.files.get("quarantine.csv"));
    done.assert_classes(&[
        ("charge_bt fee_or_adjustment_only", 6),
        ("charge_bt matched", 1),
        ("charge_bt not_paid", 1),
        ("order_charge matched", 1),
    ]);
    let lines = done.summary.lines.iter().filter(|line| line.key.class == Class::FeeOrAdjustmentOnly);
    assert!(lines.map(|line| line.line.left_total).all(|total| total == 0), "{:?}", done.summary.lines);
}

#[test]
fn what_was_authorised_and_not_captured_is_not_missing() {
    let held = "ch_1,charge,succeeded,usd,1000,0,0,pi_1,,,,o1,1767600000,,true";
    let fine = "ch_2,charge,succeeded,usd,500,500,0,pi_2,,,,o2,1767600000,,true";
    let row = STRIPE.to_owned() + "txn_2,charge,charge,ch_2,500,0,500,usd,1767600000\n";
    let done = Case::new(&objects(&[held, fine]), &row).run();
    done.assert_classes(&[("charge_bt matched", 1), ("charge_bt not_paid", 1)]);
    assert_eq!(done.summary.verdict, Verdict::Reconciled);
    // Money came for it all the same.
    let captured = row + "txn_1,charge,charge,ch_1,1000,0,1000,usd,1767600000\n";
    Case::new(&objects(&[held, fine]), &captured).run().assert_classes(&[("charge_bt matched", 1), ("charge_bt status_mismatch", 1)]);
}

#[test]
fn an_object_that_belongs_to_nothing_else_is_known_by_its_own_id() {
    let fee = "fee_1,application_fee,,usd,100,0,0,,,,,,1767600000,,true";
    let topup = "tu_1,topup,succeeded,usd,5000,0,0,,,,,,1767600000,,true";
    let stripe = STRIPE.to_owned()
        + "txn_1,application_fee,platform_earning,fee_1,100,0,100,usd,1767600000\n"
        + "txn_2,topup,topup,tu_1,5000,0,5000,usd,1767600000\n";
    let done = Case::new(&objects(&[fee, topup]), &stripe).run();
    assert_eq!(done.summary.verdict, Verdict::Reconciled, "{:?} {:?}", done.summary.reasons, done.files.get("quarantine.csv"));
}
