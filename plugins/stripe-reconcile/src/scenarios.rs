//! Stripe's own worked examples, and every class at least once.

use crate::testing::Case;
use crate::{Class, Verdict};

const LEDGER: &str = "kind,order_id,payment_intent,source,amount,fee,currency,status,created\n";
const STRIPE: &str = "id,type,reporting_category,source,payment_intent,order_id,amount,fee,net,currency,created,available_on,payout\n";

fn ledger(rows: &[&str]) -> String {
    LEDGER.to_owned() + &rows.iter().map(|row| format!("{row}\n")).collect::<String>()
}

fn stripe(rows: &[&str]) -> String {
    STRIPE.to_owned() + &rows.iter().map(|row| format!("{row}\n")).collect::<String>()
}

#[test]
fn equal_rows_are_reconciled() {
    let done = Case::new(
        &ledger(&["charge,o1,pi_1,ch_1,1000,59,usd,succeeded,2026-01-05", "refund,,pi_1,re_1,400,0,usd,succeeded,2026-01-06"]),
        &stripe(&[
            "txn_1,charge,charge,ch_1,pi_1,o1,1000,59,941,usd,2026-01-05,2026-01-07,",
            "txn_2,refund,refund,re_1,pi_1,,-400,0,-400,usd,2026-01-06,2026-01-06,",
        ]),
    )
    .run();
    done.assert_classes(&[("charge_bt matched", 2)]);
    assert_eq!(done.summary.verdict, Verdict::Reconciled);
    assert!(
        done.files["matches.csv"].contains("charge_bt,matched,source_id,usd,,1000,1000,o1,pi_1,ch_1,ch_1,txn_1"),
        "{}",
        done.files["matches.csv"]
    );
    assert!(!done.files.contains_key("quarantine.csv"));
}

#[test]
fn the_roll_forward_of_30_and_150_less_60_is_120() {
    let rows = stripe(&[
        "txn_1,charge,charge,ch_1,pi_1,o1,15000,0,15000,usd,2026-01-05,2026-01-07,",
        "txn_2,payout,payout,po_1,,,-6000,0,-6000,usd,2026-01-08,2026-01-09,",
    ]);
    let case = |end: i64| {
        let payload = format!(
            r#"{{"period": {{"from": "2026-01-01", "to": "2026-02-01"}}, "balances": {{"usd": {{"start": 3000, "end": {end}}}}}}}"#
        );
        Case::new(&ledger(&["charge,o1,pi_1,ch_1,15000,,usd,succeeded,2026-01-05"]), &rows).payload(&payload).run()
    };
    let done = case(12_000);
    assert_eq!(done.summary.verdict, Verdict::Reconciled, "{:?}", done.summary.reasons);
    let roll = &done.report()["invariants"]["roll_forward"][0];
    assert_eq!([&roll["activity"], &roll["payouts"], &roll["expected_end"], &roll["difference"]], [15_000, -6000, 12_000, 0]);
    let wrong = case(12_001);
    assert_eq!((wrong.summary.verdict, &wrong.report()["invariants"]["roll_forward"][0]["difference"]), (Verdict::Breaks, &1.into()));
}

/// 60 USD come in at 0.88 and go back at 0.86.
#[test]
fn a_charge_and_a_refund_at_the_rates_of_their_days_are_no_break() {
    let books = ledger(&["charge,o1,pi_1,ch_1,6000,,usd,succeeded,2026-01-05", "refund,,pi_1,re_1,-6000,,usd,succeeded,2026-01-09"]);
    let api = "id,type,source,payment_intent,amount,fee,net,currency,exchange_rate,created\n\
               txn_1,charge,ch_1,pi_1,5280,0,5280,eur,0.88,1767571200\n\
               txn_2,refund,re_1,pi_1,-5160,0,-5160,eur,0.86,1767916800\n";
    let done = Case::new(&books, api).run();
    done.assert_classes(&[("charge_bt fx_difference", 2)]);
    assert_eq!(done.summary.verdict, Verdict::Reconciled);
    let fx = &done.report()["fx"][0];
    assert_eq!([&fx["left_currency"], &fx["right_currency"]], ["usd", "eur"]);
    assert_eq!([&fx["left_total"], &fx["right_total"], &fx["realised"]], [0, 120, 120]);

    let report = "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id,customer_facing_amount,customer_facing_currency\n\
                  txn_1,2026-01-05 00:00:00,eur,52.80,0.00,52.80,charge,ch_1,60.00,usd\n\
                  txn_2,2026-01-09 00:00:00,eur,-51.60,0.00,-51.60,refund,re_1,-60.00,usd\n";
    Case::new(&books, report).run().assert_classes(&[("charge_bt fx_difference", 2)]);

    let wrong = api.replace("0.86", "0.85");
    Case::new(&books, &wrong).run().assert_classes(&[("charge_bt currency_mismatch", 1), ("charge_bt fx_difference", 1)]);
}

#[test]
fn a_won_dispute_returns_its_fee() {
    let rows = [
        "txn_1,charge,charge,ch_1,pi_1,o1,10000,320,9680,usd,2026-01-05,2026-01-07,",
        "txn_2,adjustment,dispute,dp_1,pi_1,,-10000,1500,-11500,usd,2026-01-10,2026-01-10,",
        "txn_3,adjustment,dispute_reversal,dp_1,pi_1,,10000,-1500,11500,usd,2026-02-10,2026-02-10,",
    ];
    let books = ledger(&["charge,o1,pi_1,ch_1,10000,320,usd,succeeded,2026-01-05"]);
    let done = Case::new(&books, &stripe(&rows)).run();
    done.assert_classes(&[("charge_bt dispute_won", 1), ("charge_bt matched", 1)]);
    assert_eq!(
        (done.summary.verdict, done.report()["invariants"]["net_is_amount_less_fee"]["violations"].as_u64()),
        (Verdict::Reconciled, Some(0))
    );
    let open = Case::new(&books, &stripe(&rows[..2])).run();
    open.assert_classes(&[("charge_bt dispute_open", 1), ("charge_bt matched", 1)]);
    assert_eq!(open.summary.gross_break_value["usd"], 10_000);
    let recorded = books + "dispute,,pi_1,dp_1,10000,,usd,won,2026-01-10\n";
    Case::new(&recorded, &stripe(&rows)).run().assert_classes(&[("charge_bt dispute_won", 1), ("charge_bt matched", 1)]);
    let lost = recorded.replace("usd,won", "usd,lost");
    Case::new(&lost, &stripe(&rows)).run().assert_classes(&[("charge_bt matched", 1), ("charge_bt status_mismatch", 1)]);
    let booked = Case::new(&lost, &stripe(&rows[..2])).run();
    booked.assert_classes(&[("charge_bt dispute_lost", 1), ("charge_bt matched", 1)]);
    assert_eq!(booked.summary.verdict, Verdict::Reconciled, "the books have taken the loss");
}

#[test]
fn a_quote_that_is_never_closed_is_no_green_result() {
    let books = "kind,source,amount,currency,note\ncharge,ch_1,1000,usd,ok\ncharge,ch_2,500,usd,\"5 inches\ncharge,ch_3,700,usd,ok\n";
    let rows = stripe(&["txn_1,charge,charge,ch_1,pi_1,o1,1000,59,941,usd,2026-01-05,2026-01-07,"]);
    let done = Case::new(books, &rows).run();
    assert_eq!(done.summary.verdict, Verdict::Incomplete);
    let set_aside = &done.files["quarantine.csv"];
    assert!(set_aside.contains("ledger,3,") && set_aside.contains("never closed"), "{set_aside}");
}

#[test]
fn tables_as_spreadsheets_save_them() {
    let books = "kind\tsource\tamount_major\tcurrency\ncharge\tch_1\t1,234.50\tusd\n";
    let rows = "balance_transaction_id;reporting_category;source_id;gross;fee;net;currency\ntxn_1;charge;ch_1;1 234.50;0.50;1'234.00;usd\n";
    let done = Case::new(books, rows).run();
    done.assert_classes(&[("charge_bt matched", 1)]);
    assert_eq!(done.summary.verdict, Verdict::Reconciled, "{:?}", done.files.get("quarantine.csv"));
}

#[test]
fn a_partial_capture_is_no_refund() {
    let rows = stripe(&[
        "txn_1,charge,charge,ch_1,pi_1,o1,10000,0,10000,usd,2026-01-05,2026-01-07,",
        "txn_2,refund,partial_capture_reversal,ch_1,pi_1,,-4000,0,-4000,usd,2026-01-05,2026-01-07,",
    ]);
    for captured in ["6000", "10000"] {
        let done = Case::new(&ledger(&[&format!("charge,o1,pi_1,ch_1,{captured},,usd,succeeded,2026-01-05")]), &rows).run();
        done.assert_classes(&[("charge_bt partial_capture", 1)]);
        assert_eq!(done.summary.verdict, Verdict::Reconciled);
    }
    let by_type = rows.replace("partial_capture_reversal", "").replace(",charge,charge,", ",charge,,");
    Case::new(&ledger(&["charge,o1,pi_1,ch_1,6000,,usd,succeeded,2026-01-05"]), &by_type)
        .run()
        .assert_classes(&[("charge_bt partial_capture", 1)]);
}

const PAYOUTS: &str = "id,amount,currency,status,automatic,created,arrival_date,reconciliation_status,trace_id\n";

fn paid_out(own: bool) -> String {
    let mut rows = vec![
        "txn_1,charge,charge,ch_1,pi_1,o1,1000,59,941,usd,2026-01-05,2026-01-07,po_1",
        "txn_2,refund,refund,re_1,pi_1,,-400,0,-400,usd,2026-01-06,2026-01-06,po_1",
    ];
    if own {
        rows.push("txn_3,payout,payout,po_1,,,-541,0,-541,usd,2026-01-08,2026-01-09,po_1");
    }
    stripe(&rows)
}

fn books() -> String {
    ledger(&["charge,o1,pi_1,ch_1,1000,59,usd,succeeded,2026-01-05", "refund,,pi_1,re_1,400,0,usd,succeeded,2026-01-06"])
}

#[test]
fn a_payout_is_the_sum_of_its_members_without_its_own_movement() {
    let payouts = PAYOUTS.to_owned() + "po_1,541,usd,paid,true,2026-01-08,2026-01-09,completed,T1\n";
    let done = Case::new(&books(), &paid_out(true)).payouts(&payouts).run();
    done.assert_classes(&[("bt_payout matched", 1), ("charge_bt matched", 2), ("charge_bt payout_movement", 1)]);
    assert_eq!(done.summary.verdict, Verdict::Reconciled);
    // Without an input of payouts, the payout's own movement says what it was.
    let derived = Case::new(&books(), &paid_out(true)).run();
    derived.assert_classes(&[("bt_payout matched", 1), ("charge_bt matched", 2), ("charge_bt payout_movement", 1)]);
    let wrong = payouts.replace("541", "542");
    let done = Case::new(&books(), &paid_out(false)).payouts(&wrong).run();
    done.assert_classes(&[("bt_payout payout_sum_mismatch", 1), ("charge_bt matched", 2)]);
    assert_eq!(done.summary.gross_break_value["usd"], 1);
    let not_final = wrong.replace("completed", "in_progress");
    Case::new(&books(), &paid_out(false))
        .payouts(&not_final)
        .run()
        .assert_classes(&[("bt_payout timing_in_transit", 1), ("charge_bt matched", 2)]);
}

#[test]
fn a_failed_payout_is_a_break_until_the_money_is_back() {
    let payouts = PAYOUTS.to_owned() + "po_1,541,usd,failed,true,2026-01-08,2026-01-09,completed,T1\n";
    let done = Case::new(&books(), &paid_out(true)).payouts(&payouts).run();
    done.assert_classes(&[("bt_payout payout_failed", 1), ("charge_bt matched", 2), ("charge_bt payout_movement", 1)]);
    assert_eq!(done.summary.verdict, Verdict::Breaks);
    let back = paid_out(true) + "txn_4,payout_failure,payout_reversal,po_1,,,541,0,541,usd,2026-01-12,2026-01-12,\n";
    let done = Case::new(&books(), &back).payouts(&payouts).run();
    done.assert_classes(&[("bt_payout payout_failed", 1), ("charge_bt matched", 2), ("charge_bt payout_movement", 2)]);
    assert_eq!(done.summary.verdict, Verdict::Reconciled);
}

#[test]
fn no_members_is_incomplete_and_manual_payouts_are_said_to_be_unknowable() {
    let payouts = PAYOUTS.to_owned() + "po_9,541,usd,paid,true,2026-01-08,2026-01-09,completed,T1\n";
    let done = Case::new(&books(), &paid_out(false).replace("po_1", "")).payouts(&payouts).run();
    assert_eq!(done.summary.verdict, Verdict::Incomplete);
    assert!(done.summary.reasons[0].contains("no members"), "{:?}", done.summary.reasons);
    let manual = payouts.replace("true", "false");
    // Exactly one set of movements adds up to it.
    let done = Case::new(&books(), &paid_out(false).replace("po_1", "")).payouts(&manual).run();
    done.assert_classes(&[("bt_payout matched", 1), ("charge_bt matched", 2)]);
    let none = manual.replace("541", "777");
    let done = Case::new(&books(), &paid_out(false).replace("po_1", "")).payouts(&none).run();
    done.assert_classes(&[("bt_payout in_balance", 2), ("bt_payout payout_unattributable", 1), ("charge_bt matched", 2)]);
    assert_eq!(done.summary.verdict, Verdict::Reconciled);
}

#[test]
fn negative_payouts_debit_the_bank() {
    let rows = stripe(&["txn_2,refund,refund,re_1,pi_1,,-400,0,-400,usd,2026-01-06,2026-01-06,po_1"]);
    let books = ledger(&["refund,,pi_1,re_1,400,0,usd,succeeded,2026-01-06"]);
    let payouts = PAYOUTS.to_owned() + "po_1,-400,usd,paid,true,2026-01-08,2026-01-09,completed,T1\n";
    let done =
        Case::new(&books, &rows).payouts(&payouts).bank("date,amount,currency,description\n2026-01-10,-400,usd,STRIPE DEBIT\n").run();
    done.assert_classes(&[("bt_payout matched", 1), ("charge_bt matched", 1), ("payout_bank matched", 1)]);
}

#[test]
fn payouts_meet_the_bank_by_trace_by_id_by_amount_and_by_sum() {
    let payouts = PAYOUTS.to_owned()
        + "po_1,100,usd,paid,false,2026-01-08,2026-01-09,,TRACE1\n\
           po_2,200,usd,paid,false,2026-01-08,2026-01-09,,\n\
           po_3,300,usd,paid,false,2026-01-08,2026-01-09,,\n\
           po_4,410,usd,paid,false,2026-01-08,2026-01-09,,\n\
           po_5,520,usd,paid,false,2026-01-08,2026-01-09,,\n\
           po_6,600,usd,paid,false,2026-01-08,2026-01-09,,\n\
           po_7,700,usd,in_transit,false,2026-01-30,2026-02-03,,\n";
    let bank = "id,date,amount,currency,description,trace_id\n\
                b1,2026-01-09,100,usd,deposit,TRACE1\n\
                b2,2026-01-20,200,usd,STRIPE po_2,\n\
                b3,2026-01-10,300,usd,deposit,\n\
                b4,2026-01-11,930,usd,STRIPE TRANSFER,\n\
                b5,2026-01-12,55,usd,coffee machine,\n\
                b6,2026-01-13,66,usd,Stripe Inc,\n";
    let done = Case::new(LEDGER, STRIPE).payouts(&payouts).bank(bank).payload(r#"{"as_of": "2026-02-01"}"#).run();
    let bank: Vec<_> = done.classes().into_iter().filter(|(class, _)| class.starts_with("payout_bank")).collect();
    let expected = [("matched", 4), ("missing_in_stripe", 1), ("not_ours", 1), ("payout_not_at_bank", 1), ("timing_in_transit", 1)];
    assert_eq!(bank, expected.map(|(class, count)| (format!("payout_bank {class}"), count)));
    assert!(done.files["matches.csv"].contains("unique_subset_sum"), "{}", done.files["matches.csv"]);
    done.assert_no_residue();
}

/// Each with the one class that it has to end in.
#[test]
fn what_differs_has_a_class_that_says_how() {
    let row = |rest: &str| format!("txn_1,charge,charge,ch_1,pi_1,o1,{rest},2026-01-05,2026-01-07,");
    let entry = |rest: &str| format!("charge,o1,pi_1,ch_1,{rest},2026-01-05");
    let cases: [(&str, &str, &str, Class); 13] = [
        ("1000,59,usd,paid", "1000,59,941,usd", "{}", Class::Matched),
        ("1000,59,usd,paid", "1001,59,942,usd", "{}", Class::Rounding),
        ("1000,59,usd,paid", "1002,59,943,usd", "{}", Class::AmountOver),
        ("1000,59,usd,paid", "900,59,841,usd", "{}", Class::AmountUnder),
        ("1000,59,usd,paid", "995,59,936,usd", r#"{"tolerance": {"amount_minor": {"usd": 5}}}"#, Class::MatchedWithinTolerance),
        ("1000,59,usd,paid", "995,59,936,usd", r#"{"tolerance": {"amount_minor": {"eur": 5}}}"#, Class::AmountUnder),
        ("1000,58,usd,paid", "1000,59,941,usd", "{}", Class::FeeMismatch),
        ("1000,59,usd,paid", "1000,59,940,usd", "{}", Class::NetMismatch),
        ("1000,,eur,paid", "1000,59,941,usd", "{}", Class::CurrencyMismatch),
        ("1000,59,usd,failed", "1000,59,941,usd", "{}", Class::StatusMismatch),
        ("1000,59,usd,paid", "1000,59,941,usd", r#"{"tolerance": {"days": 0}}"#, Class::Matched),
        ("-5,0,usd,paid", "-5,0,-5,usd", "{}", Class::Matched),
        ("9223372036854775807,0,usd,paid", "9223372036854775807,0,9223372036854775807,usd", "{}", Class::Matched),
    ];
    for (books, moved, payload, class) in cases {
        let done = Case::new(&ledger(&[&entry(books)]), &stripe(&[&row(moved)])).payload(payload).run();
        done.assert_classes(&[(&format!("charge_bt {}", class.name()), 1)]);
    }
    let late = stripe(&["txn_1,charge,charge,ch_1,pi_1,o1,1000,59,941,usd,2026-01-08,2026-01-09,"]);
    for (days, class) in [(3, Class::MatchedWithinTolerance), (2, Class::DateMismatch)] {
        let payload = format!(r#"{{"tolerance": {{"days": {days}}}}}"#);
        let done = Case::new(&ledger(&[&entry("1000,59,usd,paid")]), &late).payload(&payload).run();
        done.assert_classes(&[(&format!("charge_bt {}", class.name()), 1)]);
    }
}

#[test]
fn what_has_no_partner_has_a_class_that_says_why() {
    let payload = r#"{"period": {"from": "2026-01-01", "to": "2026-02-01"}, "as_of": "2026-02-01", "grace": {"stripe_hours": 48, "ledger_hours": 48}}"#;
    let books = ledger(&[
        "charge,o1,pi_1,ch_1,1000,,usd,paid,2026-01-05",
        "charge,o2,pi_2,ch_2,2000,,usd,paid,2026-01-31",
        "charge,o3,pi_3,ch_3,3000,,usd,failed,2026-01-05",
        "charge,o4,pi_4,ch_4,4000,,usd,processing,2026-01-05",
        "charge,o5,pi_5,ch_5,5000,,usd,paid,2025-12-31",
    ]);
    let rows = stripe(&[
        "txn_11,charge,charge,ch_11,pi_11,o11,1100,0,1100,usd,2026-01-05,2026-01-07,",
        "txn_12,charge,charge,ch_12,pi_12,o12,1200,0,1200,usd,2026-01-31,2026-02-02,",
        "txn_13,refund,refund,re_13,pi_13,,-1300,0,-1300,usd,2026-01-05,2026-01-07,",
        "txn_14,stripe_fee,fee,,,,-140,0,-140,usd,2026-01-05,2026-01-05,",
        "txn_15,moon_base_fee,,,,,-150,0,-150,usd,2026-01-05,2026-01-05,",
        "txn_16,refund_failure,refund_failure,re_16,pi_16,,1600,0,1600,usd,2026-01-05,2026-01-05,",
        "txn_17,payment_failure_refund,charge_failure,py_17,pi_17,,-1700,0,-1700,usd,2026-01-05,2026-01-05,",
    ]);
    let done = Case::new(&books, &rows).payload(payload).run();
    done.assert_classes(&[
        ("charge_bt fee_or_adjustment_only", 1),
        ("charge_bt missing_in_ledger", 1),
        ("charge_bt missing_in_stripe", 1),
        ("charge_bt not_paid", 1),
        ("charge_bt outside_period", 1),
        ("charge_bt refund_failed", 1),
        ("charge_bt refund_unrecorded", 1),
        ("charge_bt status_mismatch", 1),
        ("charge_bt timing_in_transit", 3),
        ("charge_bt unclassified", 1),
    ]);
    let breaks = done.breaks();
    assert_eq!((breaks[0]["class"].as_str(), breaks[0]["priority"].as_str()), ("status_mismatch", "1"));
    let in_transit = breaks.iter().find(|row| row["order_id"] == "o2").expect("listed");
    assert_eq!(in_transit["becomes_break_on"], "2026-02-02");
    // +1,100 and −1,000 do not cancel out here.
    assert_eq!(done.summary.gross_break_value["usd"], 1000 + 1100 + 1300 + 1600 + 1700);
}

#[test]
fn the_same_thing_twice_on_either_side() {
    let books = ledger(&[
        "charge,o1,pi_1,ch_1,1000,,usd,paid,2026-01-05",
        "charge,o1,pi_1,ch_1,1000,,usd,paid,2026-01-05",
        "charge,o2,pi_2,ch_2,2000,,usd,paid,2026-01-05",
    ]);
    let twice = "txn_2,charge,charge,ch_2,pi_2,o2,2000,0,2000,usd,2026-01-05,2026-01-07,";
    let other = twice.replace("2000", "2001");
    let rows = stripe(&["txn_1,charge,charge,ch_1,pi_1,o1,1000,0,1000,usd,2026-01-05,2026-01-07,", twice, twice, &other]);
    let done = Case::new(&books, &rows).run();
    done.assert_classes(&[("charge_bt duplicate_in_ledger", 1), ("charge_bt duplicate_in_stripe", 2), ("charge_bt matched", 2)]);
    let rules: Vec<_> = done.breaks().iter().map(|row| row["rule"].clone()).collect();
    assert!(rules.contains(&"exact_repeat".to_owned()) && rules.contains(&"conflicting_repeat".to_owned()), "{rules:?}");
    let dropped = Case::new(&books, &rows).payload(r#"{"repeats": "drop"}"#).run();
    dropped.assert_classes(&[("charge_bt duplicate_in_ledger", 1), ("charge_bt duplicate_in_stripe", 1), ("charge_bt matched", 2)]);
    assert_eq!(dropped.report()["repeats_dropped"], 1);
}

#[test]
fn two_paid_charges_for_one_order() {
    let rows = stripe(&[
        "txn_1,charge,charge,ch_1,pi_1,o1,1000,0,1000,usd,2026-01-05T10:00:00Z,2026-01-07,",
        "txn_2,charge,charge,ch_2,pi_2,o1,1000,0,1000,usd,2026-01-05T10:00:03Z,2026-01-07,",
    ]);
    let by_order = "order_id,amount,currency,created\no1,1000,usd,2026-01-05\n";
    let done = Case::new(by_order, &rows).run();
    done.assert_classes(&[("order_charge double_charge", 1), ("order_charge matched", 1)]);
    assert_eq!(done.breaks()[0]["right_source"], "ch_2");
    Case::new(&ledger(&["charge,o1,pi_1,ch_1,1000,,usd,paid,2026-01-05"]), &rows)
        .run()
        .assert_classes(&[("charge_bt double_charge", 1), ("charge_bt matched", 1)]);
    // Two parts that make the whole are a split payment.
    let split = by_order.replace("1000", "2000");
    Case::new(&split, &rows).run().assert_classes(&[("order_charge matched", 1)]);
}

#[test]
fn orders_meet_the_ledgers_own_charges_where_it_has_some() {
    let books = ledger(&[
        "order,o1,,,1000,,usd,paid,2026-01-05",
        "order,o2,,,2000,,usd,paid,2026-01-05",
        "charge,o1,pi_1,ch_1,1000,,usd,succeeded,2026-01-05",
    ]);
    let rows = stripe(&["txn_1,charge,charge,ch_1,pi_1,,1000,0,1000,usd,2026-01-05,2026-01-07,"]);
    let done = Case::new(&books, &rows).run();
    done.assert_classes(&[("charge_bt matched", 1), ("order_charge matched", 1), ("order_charge missing_in_stripe", 1)]);
    assert_eq!(done.report()["legs"][0]["right"], "ledger charges");
}

#[test]
fn refunds_explain_books_that_hold_what_is_left() {
    let rows = stripe(&[
        "txn_1,charge,charge,ch_1,pi_1,o1,1000,0,1000,usd,2026-01-05,2026-01-07,",
        "txn_2,refund,refund,re_1,pi_1,,-300,0,-300,usd,2026-01-06,2026-01-06,",
    ]);
    Case::new("order_id,amount,currency,created\no1,700,usd,2026-01-05\n", &rows)
        .run()
        .assert_classes(&[("charge_bt refund_unrecorded", 1), ("order_charge amount_over", 1)]);
    Case::new(&ledger(&["charge,o1,pi_1,ch_1,700,,usd,paid,2026-01-05"]), &rows).run().assert_classes(&[("charge_bt partial_refund", 1)]);
    let too_much = rows.replace("-300", "-1300");
    let done =
        Case::new(&ledger(&["charge,o1,pi_1,ch_1,1000,,usd,paid,2026-01-05", "refund,,pi_1,re_1,1300,,usd,paid,2026-01-06"]), &too_much)
            .run();
    assert_eq!(done.report()["invariants"]["refunds_within_captured"]["examples"], serde_json::json!(["pi_1"]));
    assert_eq!(done.summary.verdict, Verdict::Breaks);
}

#[test]
fn a_refund_that_came_back() {
    let rows = stripe(&[
        "txn_2,refund,refund,re_1,pi_1,,-300,0,-300,usd,2026-01-06,2026-01-06,",
        "txn_3,refund_failure,refund_failure,re_1,pi_1,,300,0,300,usd,2026-01-20,2026-01-20,",
    ]);
    let recorded = |status: &str| ledger(&[&format!("refund,,pi_1,re_1,300,,usd,{status},2026-01-06")]);
    let thought_done = Case::new(&recorded("succeeded"), &rows).run();
    thought_done.assert_classes(&[("charge_bt refund_failed", 1)]);
    assert_eq!((thought_done.summary.verdict, thought_done.summary.gross_break_value["usd"]), (Verdict::Breaks, 300));
    let known = Case::new(&recorded("failed"), &rows).run();
    assert_eq!(known.summary.verdict, Verdict::Reconciled);
}

#[test]
fn without_ids_only_what_is_unique_in_both_directions_is_matched() {
    let books = "kind,id,amount,currency,created\ncharge,a,100,usd,2026-01-05\ncharge,b,200,usd,2026-01-05\ncharge,c,200,usd,2026-01-06\n";
    let rows = "id,type,amount,currency,created\ntxn_1,charge,100,usd,2026-01-06\ntxn_2,charge,200,usd,2026-01-06\n";
    let done = Case::new(books, rows).run();
    done.assert_classes(&[("charge_bt ambiguous", 3), ("charge_bt matched", 1)]);
    let ambiguous = done.breaks().into_iter().find(|row| row["left_amount"].is_empty()).expect("the one of Stripe");
    assert_eq!(ambiguous["suggestions"], "b c");
    assert!(done.files["matches.csv"].contains("unique_composite"));
    let far = rows.replace("2026-01-06", "2026-01-09");
    Case::new(books, &far).run().assert_classes(&[("charge_bt missing_in_ledger", 2), ("charge_bt missing_in_stripe", 3)]);
    let sum = "kind,id,amount,currency,created\ncharge,a,300,usd,2026-01-05\n";
    let done = Case::new(sum, rows).run();
    done.assert_classes(&[("charge_bt matched", 1)]);
}

#[test]
fn candidates_that_are_not_shown_are_counted() {
    let rows = |header: &str, row: &dyn Fn(u32) -> String| (1..=7).fold(header.to_owned(), |text, n| text + &row(n));
    let books = rows("kind,id,amount,currency,created\n", &|n| format!("charge,o{n},200,usd,2026-01-05\n"));
    let stripe = rows("id,type,amount,currency,created\n", &|n| format!("txn_{n},charge,200,usd,2026-01-06\n"));
    let done = Case::new(&books, &stripe).run();
    done.assert_classes(&[("charge_bt ambiguous", 14)]);
    assert!(done.breaks().iter().all(|row| row["suggestions"].split(' ').count() == 5));
    // Seven fit each of the fourteen, and five are shown.
    assert!(done.files["report.json"].contains("\"suggestions_left_out\": 28"), "{}", done.files["report.json"]);
}

#[test]
fn a_type_that_is_not_known_is_said_with_the_verdict() {
    let books = "kind,id,amount,currency,created\ncharge,ch_1,200,usd,2026-01-05\n";
    let rows = "id,type,source,amount,currency,created\ntxn_1,charge,ch_1,200,usd,2026-01-06\ntxn_2,moon_tax,mt_1,-5,usd,2026-01-06\n";
    let done = Case::new(books, rows).run();
    done.assert_classes(&[("charge_bt matched", 1), ("charge_bt unclassified", 1)]);
    assert_eq!(done.summary.reasons, ["1 movements are of a type that is not known: see breaks.csv"]);
}

#[test]
fn what_is_not_ours_is_excluded_and_counted() {
    let books = "order_id,amount,currency,created,account,livemode\no1,100,usd,2026-01-05,acct_1,true\n";
    let rows = "id,type,source,order_id,amount,currency,created,account,livemode\n\
                txn_1,charge,ch_1,o1,100,usd,2026-01-05,acct_1,true\n\
                txn_2,charge,ch_2,o2,200,usd,2026-01-05,acct_2,true\n\
                txn_3,charge,ch_3,o3,300,usd,2026-01-05,acct_1,false\n\
                txn_4,charge,ch_4,,400,usd,2026-01-05,acct_1,true\n";
    let several = Case::new(books, rows).try_run();
    assert!(matches!(several, Err(crate::ReadError::Invalid(why)) if why.contains("acct_1, acct_2")));
    let done = Case::new(books, rows).payload(r#"{"account": "acct_1", "foreign": "exclude"}"#).run();
    done.assert_classes(&[
        ("order_charge matched", 1),
        ("order_charge not_ours", 1),
        ("order_charge test_live_mixed", 1),
        ("order_charge wrong_account", 1),
    ]);
    assert_eq!(done.summary.verdict, Verdict::Reconciled);
    assert_eq!(done.breaks().len(), 0);
}

#[test]
fn open_items_are_carried_to_the_next_run() {
    let header = |name: &str| if name == "ledger" { LEDGER } else { STRIPE };
    let december = Case::new(
        &ledger(&["charge,o1,pi_1,ch_1,1000,,usd,paid,2025-12-31T23:59:00Z", "charge,o2,pi_2,ch_2,500,,usd,paid,2025-12-01"]),
        &stripe(&["txn_9,charge,charge,ch_9,pi_9,o9,900,0,900,usd,2025-12-05,2025-12-07,"]),
    );
    let first = december.payload(r#"{"as_of": "2026-01-01", "grace": {"stripe_hours": 24}}"#).run();
    first.assert_classes(&[("charge_bt missing_in_ledger", 1), ("charge_bt missing_in_stripe", 1), ("charge_bt timing_in_transit", 1)]);
    assert_eq!((first.summary.lifecycle.new, first.breaks()[0]["first_seen"].as_str()), (3, "2026-01-01"));

    let january =
        Case::new(header("ledger"), &stripe(&["txn_1,charge,charge,ch_1,pi_1,o1,1000,0,1000,usd,2026-01-01T00:01:00Z,2026-01-07,"]))
            .open(&first.files["breaks.csv"])
            .payload(r#"{"period": {"from": "2026-01-01", "to": "2026-02-01"}, "grace": {"stripe_hours": 24}}"#)
            .run();
    january.assert_classes(&[("charge_bt matched", 1), ("charge_bt missing_in_ledger", 1), ("charge_bt missing_in_stripe", 1)]);
    let lifecycle = &january.summary.lifecycle;
    assert_eq!((lifecycle.new, lifecycle.persisting, lifecycle.resolved), (0, 2, 1));
    assert!(january.breaks().iter().all(|row| row["first_seen"] == "2026-01-01" && row["lifecycle"] == "persisting"));
    assert_eq!(january.report()["carried_rows"], 3);
}

/// The example of the manual is what the plugin does.
#[test]
fn the_manual_tells_the_truth() {
    let manual = include_str!("../../../docs/stripe-reconcile.md");
    let example = |name: &str| {
        let (_, after) = manual.split_once(&format!("<!-- example:{name} -->\n")).expect("the example");
        let (_, block) = after.split_once('\n').expect("a fence");
        block.split_once("```").expect("its end").0
    };
    let done = Case::new(example("ledger"), example("stripe")).payload(example("payload")).run();
    done.assert_classes(&[("charge_bt fee_or_adjustment_only", 1), ("charge_bt fx_difference", 2), ("charge_bt missing_in_stripe", 1)]);
    assert_eq!((done.summary.verdict, done.summary.gross_break_value["usd"]), (Verdict::Breaks, 2500));
    let fx = &done.report()["fx"][0];
    assert_eq!((&fx["realised"], &fx["right_currency"]), (&120.into(), &"eur".into()));
    for class in Class::ALL {
        assert!(manual.contains(&format!("`{}`", class.name())), "{} is not in the manual", class.name());
    }
}
