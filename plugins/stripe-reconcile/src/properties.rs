//! What holds for any input: no row is lost or counted twice, no unit of money is left over, and the order of the rows does not show.

use proptest::prelude::*;
use proptest::sample::select;

use crate::testing::Case;

/// Few different values, so that rows collide in every way there is.
fn ledger_row() -> impl Strategy<Value = String> {
    let kind = select(vec!["charge", "charge", "order", "refund", "refund_failure", "dispute", "payout", "fee"]);
    let status = select(vec!["succeeded", "failed", "pending", "lost", "won", ""]);
    (kind, 0..4u8, 0..4u8, 0..6u8, amount(), select(vec!["", "0", "3"]), currency(), status, day()).prop_map(
        |(kind, order, payment, source, amount, fee, currency, status, day)| {
            let id = |prefix: &str, n: u8| if n == 0 { String::new() } else { format!("{prefix}{n}") };
            let prefix = source_prefix(kind);
            let (order, payment, source) = (id("o", order), id("pi_", payment), id(prefix, source));
            format!("{kind},{order},{payment},{source},{amount},{fee},{currency},{status},{day}")
        },
    )
}

fn source_prefix(kind: &str) -> &'static str {
    match kind {
        "refund" | "refund_failure" => "re_",
        "dispute" | "dispute_reversal" => "dp_",
        "payout" | "payout_reversal" => "po_",
        _ => "ch_",
    }
}

fn stripe_row() -> impl Strategy<Value = String> {
    let category = select(vec![
        "charge",
        "charge",
        "charge_failure",
        "partial_capture_reversal",
        "refund",
        "refund_failure",
        "dispute",
        "dispute_reversal",
        "payout",
        "payout_reversal",
        "fee",
        "moon",
    ]);
    let rate = select(vec!["", "", "", "0.5", "2"]);
    let balance = select(vec!["payments", "payments", "risk_reserved"]);
    let ids = (0..12u8, 0..6u8, 0..4u8, 0..4u8, 0..3u8);
    (category, ids, amount(), select(vec![0, 0, 3]), currency(), day(), rate, balance).prop_map(
        |(category, (bt, source, payment, order, payout), amount, fee, currency, day, rate, balance)| {
            let id = |prefix: &str, n: u8| if n == 0 { String::new() } else { format!("{prefix}{n}") };
            let prefix = source_prefix(category);
            let (source, payment) = (id(prefix, source), id("pi_", payment));
            let (order, payout) = (id("o", order), id("po_", payout));
            format!("txn_{bt},{category},{source},{payment},{order},{payout},{amount},{fee},{currency},{day},{day},{rate},{balance}")
        },
    )
}

fn payout_row() -> impl Strategy<Value = String> {
    (1..4u8, amount(), currency(), select(vec!["paid", "failed", "in_transit"]), select(vec!["true", "false", ""]), day(), 0..3u8).prop_map(
        |(id, amount, currency, status, automatic, day, trace)| format!("po_{id},{amount},{currency},{status},{automatic},{day},T{trace}"),
    )
}

fn bank_row() -> impl Strategy<Value = String> {
    (amount(), currency(), day(), select(vec!["STRIPE", "po_1", "rent"]), 0..3u8)
        .prop_map(|(amount, currency, day, text, trace)| format!("{day},{amount},{currency},{text},T{trace}"))
}

fn amount() -> impl Strategy<Value = i64> {
    select(vec![100, 100, 200, 300, -100, -200, 101, 400, 0])
}

fn currency() -> impl Strategy<Value = &'static str> {
    select(vec!["usd", "usd", "usd", "eur"])
}

fn day() -> impl Strategy<Value = String> {
    (1..12u8).prop_map(|day| format!("2026-01-{day:02}"))
}

fn payload() -> impl Strategy<Value = &'static str> {
    select(vec![
        "{}",
        r#"{"repeats": "drop", "foreign": "exclude"}"#,
        r#"{"period": {"from": "2026-01-03", "to": "2026-01-09"}, "timezone": "America/New_York"}"#,
        r#"{"as_of": "2026-01-10", "grace": {"ledger_hours": 72, "stripe_hours": 48, "payout_hours": 24, "bank_hours": 24}}"#,
        r#"{"tolerance": {"amount_minor": {"usd": 2}, "days": 1}, "composite_days": 5, "group_days": 10}"#,
    ])
}

type Rows = (Vec<String>, Vec<String>, Option<Vec<String>>, Option<Vec<String>>);

fn inputs() -> impl Strategy<Value = Rows> {
    let many = |row: BoxedStrategy<String>, most: usize| prop::collection::vec(row, 0..most);
    (
        many(ledger_row().boxed(), 14),
        many(stripe_row().boxed(), 18),
        prop::option::of(many(payout_row().boxed(), 5)),
        prop::option::of(many(bank_row().boxed(), 5)),
    )
}

fn case((ledger, stripe, payouts, bank): &Rows, payload: &str) -> Case {
    let file = |header: &str, rows: &[String]| rows.iter().fold(format!("{header}\n"), |text, row| text + row + "\n");
    Case {
        ledger: file("kind,order_id,payment_intent,source,amount,fee,currency,status,created", ledger),
        stripe: file(
            "id,reporting_category,source,payment_intent,order_id,payout,amount,fee,currency,created,available_on,exchange_rate,balance_type",
            stripe,
        ),
        payouts: payouts.as_ref().map(|rows| file("id,amount,currency,status,automatic,created,trace_id", rows)),
        bank: bank.as_ref().map(|rows| file("date,amount,currency,description,trace_id", rows)),
        open: None,
        payload: payload.to_owned(),
    }
}

/// The same rows in another order, decided by `seed`.
fn shuffled((ledger, stripe, payouts, bank): &Rows, seed: u64) -> Rows {
    let shuffle = |rows: &Vec<String>| {
        let mut keyed: Vec<(u64, &String)> = Vec::new();
        let mut state = seed | 1;
        for row in rows {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            keyed.push((state >> 33, row));
        }
        keyed.sort();
        keyed.into_iter().map(|(_, row)| row.clone()).collect()
    };
    (shuffle(ledger), shuffle(stripe), payouts.as_ref().map(shuffle), bank.as_ref().map(shuffle))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost_and_nothing_is_left_over(rows in inputs(), payload in payload()) {
        let done = case(&rows, payload).run();
        done.assert_no_residue();
        let report = done.report();
        for leg in report["legs"].as_array().expect("legs").iter().filter(|leg| leg["examined"] == true) {
            let of_leg = done.summary.lines.iter().filter(|line| leg["leg"] == line.key.leg.name());
            let (left, right) = of_leg.fold((0, 0), |sum, line| (sum.0 + line.line.left_rows, sum.1 + line.line.right_rows));
            prop_assert_eq!((leg["left_rows"].as_u64(), leg["right_rows"].as_u64()), (Some(left), Some(right)));
        }
    }

    #[test]
    fn the_order_of_the_rows_does_not_show(rows in inputs(), payload in payload(), seed: u64) {
        let (mut one, mut other) = (case(&rows, payload).run(), case(&shuffled(&rows, seed), payload).run());
        // It says on which lines the rows stood that could not be read.
        one.files.remove("quarantine.csv");
        other.files.remove("quarantine.csv");
        for (name, text) in &one.files {
            let lines = text.lines().zip(other.files[name].lines());
            prop_assert_eq!(lines.into_iter().find(|(a, b)| a != b), None, "{}", name);
        }
        prop_assert_eq!(one.files, other.files);
    }

    #[test]
    fn leaving_matches_out_changes_nothing_else(rows in inputs(), payload in payload()) {
        let more = if payload == "{}" { "" } else { "," };
        let without = payload.replacen('{', &format!(r#"{{"matches": "none"{more}"#), 1);
        let (mut all, none) = (case(&rows, payload).run(), case(&rows, &without).run());
        prop_assert!(all.files.remove("matches.csv").is_some());
        // What is exactly as long as it may be is not refused.
        let written = none.files["breaks.csv"].len();
        let just_enough = without.replacen('{', &format!(r#"{{"breaks_bytes_max": {written},"#), 1);
        prop_assert!(case(&rows, &just_enough).try_run().is_ok());
        prop_assert_eq!(all.files, none.files);
    }

    #[test]
    fn a_run_after_another_finds_the_same_breaks_again(rows in inputs(), payload in payload()) {
        let first = case(&rows, payload).run();
        let again = case(&rows, payload).open(&first.files["breaks.csv"]).run();
        let lifecycle = &again.summary.lifecycle;
        prop_assert_eq!((lifecycle.new, lifecycle.resolved, lifecycle.persisting), (0, 0, first.summary.lifecycle.new));
    }
}
