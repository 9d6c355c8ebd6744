//! Examples that Stripe's documentation works out, and others worked out by hand: the movements of each, and the figures of the income they
//! must come to.

use serde_json::{Value, json};

use super::host::RunningHost;

/// Type, reporting category, amount, fee, source. Net is what is left.
type Movement = (&'static str, &'static str, i64, i64, &'static str);

struct Example {
    what: &'static str,
    currency: &'static str,
    movements: &'static [Movement],
    /// Gross, refunds, disputes, fees, other, net, payouts.
    figures: [i64; 7],
}

const EXAMPLES: [Example; 9] = [
    // 2.9 percent and 30 cents of 100.00; a refund gives back all of it and none of the fee.
    Example {
        what: "a charge and its refund",
        currency: "usd",
        movements: &[("charge", "charge", 10_000, 320, "ch_1"), ("refund", "refund", -10_000, 0, "re_1")],
        figures: [10_000, -10_000, 0, 320, 0, -320, 0],
    },
    Example {
        what: "a refund that fails and comes back",
        currency: "sek",
        movements: &[
            ("charge", "charge", 10_000, 320, "ch_1"),
            ("refund", "refund", -4_000, 0, "re_1"),
            ("refund_failure", "refund_failure", 4_000, 0, "re_1"),
        ],
        figures: [10_000, 0, 0, 320, 0, 9_680, 0],
    },
    // 60 dollars at 0.88, refunded at 0.86: the difference is lost to the rate.
    Example {
        what: "a charge and its refund at the rates of their days",
        currency: "eur",
        movements: &[("charge", "charge", 5_280, 0, "ch_1"), ("refund", "refund", -5_160, 0, "re_1")],
        figures: [5_280, -5_160, 0, 0, 0, 120, 0],
    },
    Example {
        what: "a dispute that is lost keeps its fee",
        currency: "gbp",
        movements: &[("charge", "charge", 1_000, 59, "ch_1"), ("adjustment", "dispute", -1_000, 1_500, "dp_1")],
        figures: [1_000, 0, -1_000, 1_559, 0, -1_559, 0],
    },
    Example {
        what: "a dispute that is won gives its fee back",
        currency: "chf",
        movements: &[
            ("charge", "charge", 1_000, 59, "ch_1"),
            ("adjustment", "dispute", -1_000, 1_500, "dp_1"),
            ("adjustment", "dispute_reversal", 1_000, -1_500, "dp_1"),
        ],
        figures: [1_000, 0, 0, 59, 0, 941, 0],
    },
    // Authorised for 10.00, captured for 7.00: what was not captured is no refund.
    Example {
        what: "a partial capture",
        currency: "nok",
        movements: &[("charge", "charge", 1_000, 50, "ch_1"), ("refund", "partial_capture_reversal", -300, 0, "ch_1")],
        figures: [700, 0, 0, 50, 0, 650, 0],
    },
    // Paid out, came back, and paid out at once for a fee of one percent, which the balance pays beside the payout.
    Example {
        what: "a payout that fails after it was paid, and an instant one",
        currency: "cad",
        movements: &[
            ("charge", "charge", 20_000, 610, "ch_1"),
            ("payout", "payout", -19_390, 0, "po_1"),
            ("payout_failure", "payout_reversal", 19_390, 0, "po_1"),
            ("payout", "payout", -19_196, 194, "po_2"),
        ],
        figures: [20_000, 0, 0, 804, 0, 19_196, -19_196],
    },
    // The bank is debited for what the balance lacks.
    Example {
        what: "a negative payout",
        currency: "dkk",
        movements: &[
            ("charge", "charge", 5_000, 175, "ch_1"),
            ("refund", "refund", -10_000, 0, "re_1"),
            ("payout", "payout", 5_175, 0, "po_1"),
        ],
        figures: [5_000, -10_000, 0, 175, 0, -5_175, 5_175],
    },
    Example {
        what: "fees, reserves, platform earnings, adjustments and what is of tomorrow",
        currency: "aud",
        movements: &[
            ("charge", "charge", 10_000, 1_320, "ch_1"),
            ("stripe_fee", "fee", -200, 0, ""),
            ("tax_fee", "tax", -38, 0, ""),
            ("application_fee", "platform_earning", 100, 0, "fee_1"),
            ("application_fee_refund", "platform_earning_refund", -40, 0, "fr_1"),
            ("reserve_transaction", "risk_reserved_funds", -1_000, 0, ""),
            ("reserve_hold", "reserve_hold", -500, 0, ""),
            ("reserve_release", "reserve_release", 500, 0, ""),
            ("adjustment", "other_adjustment", -7, 0, ""),
            ("moon_tax", "moon_tax", -3, 0, ""),
        ],
        figures: [10_000, 0, 0, 1_558, -950, 7_492, 0],
    },
];

fn movement(example: &Example, number: usize, (kind, category, amount, fee, source): Movement) -> Value {
    // In two parts where it can be parted: Stripe's own and the platform's.
    let details: Vec<Value> = [fee / 2, fee - fee / 2].iter().filter(|part| **part != 0).map(|part| json!({ "amount": part })).collect();
    json!({
        "id": format!("txn_{}_{number}", example.currency), "object": "balance_transaction", "type": kind, "reporting_category": category,
        "amount": amount, "fee": fee, "net": amount - fee, "fee_details": details, "currency": example.currency, "created": 1_700_000_000,
        "available_on": 1_700_000_000, "status": "available", "source": if source.is_empty() { Value::Null } else { json!(source) },
    })
}

#[tokio::test]
async fn each_comes_to_the_figures_it_must() {
    let host = RunningHost::without_a_key().await;
    let file: Vec<Value> = EXAMPLES
        .iter()
        .flat_map(|example| example.movements.iter().enumerate().map(|(number, one)| movement(example, number, *one)))
        .collect();
    let (_, report) = host.upload("/v1/admin/stripe/import?kind=api&mode=live", Value::from(file.clone()).to_string()).await;
    assert_eq!((report["added"].as_u64(), report["quarantined"].as_u64()), (Some(file.len() as u64), Some(0)), "{report}");
    let (_, income) = host.get("/v1/income?from=2023-11-14&to=2023-11-14&basis=final").await;
    let rows = income["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), EXAMPLES.len(), "currencies are never added up: {income}");
    for example in &EXAMPLES {
        let row = rows.iter().find(|row| row["currency"] == example.currency).expect("its row");
        let figures = ["gross", "refunds", "disputes", "fees", "other", "net", "payouts"].map(|name| row[name].as_i64().expect("a figure"));
        assert_eq!(figures, example.figures, "{}", example.what);
        let moved: i64 = example.movements.iter().map(|(_, _, amount, fee, _)| amount - fee).sum();
        assert_eq!(figures[5] + figures[6], moved, "{}: the change of the balance", example.what);
        let unknown = example.movements.iter().filter(|movement| movement.1 == "moon_tax").count();
        assert_eq!(row["unclassified"].as_u64(), Some(unknown as u64), "{}", example.what);
    }
    host.stop().await;
}
