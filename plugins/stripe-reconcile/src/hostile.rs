//! Inputs that are broken, or made to hurt.

use crate::testing::Case;
use crate::{ReadError, Verdict};

const LEDGER: &str = "kind,id,source,amount,currency,created\n";
const STRIPE: &str = "id,type,source,amount,fee,net,currency,created\n";

#[test]
fn rows_that_cannot_be_read_are_set_aside_with_line_and_reason() {
    let rows = [
        "txn_1,charge,ch_1,10.00,0,0,usd,2026-01-05",
        "txn_2,charge,ch_2,ten,0,0,usd,2026-01-05",
        "txn_3,charge,ch_3,9223372036854775808,0,0,usd,2026-01-05",
        "txn_4,charge,ch_4,100,0,100,dollars,2026-01-05",
        "txn_5,charge,ch_5,100,0,100,usd,yesterday",
        ",charge,ch_6,100,0,100,usd,2026-01-05",
        "txn_7,charge,ch_7,100,0,100,usd,2026-01-05",
        "txn_8,charge,ch",
    ];
    let done = Case::new(&format!("{LEDGER}charge,,ch_7,100,usd,2026-01-05\n"), &format!("{STRIPE}{}", rows.join("\n"))).run();
    assert_eq!((done.summary.verdict, done.summary.quarantined.rows), (Verdict::Incomplete, 7));
    let quarantine = &done.files["quarantine.csv"];
    for said in [
        "stripe,2,amount,has a fraction where whole minor units are expected: 10.00 is written 1000,10.00",
        "stripe,3,amount,is not a number,ten",
        "stripe,4,amount,does not fit into 64 bits",
        "stripe,5,currency,\"a currency is three letters",
        "stripe,6,created,is no moment between 1970 and 2106,yesterday",
        "stripe,7,balance_transaction_id,is empty,",
        "stripe,9,,has 3 cells where the header has 8,txn_8",
    ] {
        assert!(quarantine.contains(said), "{said}\n{quarantine}");
    }
    done.assert_classes(&[("charge_bt matched", 1)]);
}

#[test]
fn bad_utf8_and_endless_ids_are_set_aside() {
    let options = crate::Options::default();
    let stripe = [
        format!("{STRIPE}txn_").as_bytes(),
        b"\xff,charge,ch_1,100,0,100,usd,2026-01-05\n",
        format!("txn_{},charge,ch_1,100,0,100,usd,2026-01-05\n", "x".repeat(300)).as_bytes(),
    ]
    .concat();
    let inputs = crate::Inputs {
        ledger: Box::new(LEDGER.as_bytes()),
        stripe: Box::new(stripe.as_slice()),
        payouts: None,
        bank: None,
        open: None,
        size_bytes: 0,
    };
    struct Nowhere;
    impl crate::Sink for Nowhere {
        type File = std::io::Sink;
        fn create(&mut self, _: &str, _: &str) -> std::io::Result<std::io::Sink> {
            Ok(std::io::sink())
        }
    }
    let summary = crate::reconcile(inputs, &options).and_then(|read| read.write(&mut Nowhere)).expect("reads");
    assert_eq!((summary.quarantined.rows, summary.verdict), (2, Verdict::Incomplete));
}

#[test]
fn headers_that_cannot_be_used_are_the_submitters_mistake() {
    let said = |ledger: &str, stripe: &str| match Case::new(ledger, stripe).try_run() {
        Err(ReadError::Invalid(why)) => why,
        other => panic!("{:?}", other.map(|done| done.summary)),
    };
    assert!(said("order_id,amount,amount,currency\n", STRIPE).contains("\"ledger\" names the column \"amount\" twice"));
    assert!(said("order_id,currency\n", STRIPE).contains("amount"));
    assert!(said("amount,currency\n", STRIPE).contains("order_id"));
    assert!(said("", STRIPE).contains("is empty"));
    assert!(said(LEDGER, "id,currency,created\n").contains("\"stripe\" has none of the columns amount"));
}

#[test]
fn nothing_in_an_input_is_not_green() {
    let one = "txn_1,stripe_fee,,-100,0,-100,usd,2026-01-05\n";
    assert_eq!(Case::new(LEDGER, &format!("{STRIPE}{one}")).run().summary.verdict, Verdict::Incomplete);
    let done = Case::new(&format!("{LEDGER}charge,,ch_7,100,usd,2026-01-05\n"), STRIPE).run();
    assert!(done.summary.verdict == Verdict::Incomplete && done.summary.reasons[0].contains("\"stripe\" has no rows"));
}

#[test]
fn amounts_at_the_end_of_64_bits_add_up() {
    let max = i64::MAX;
    let rows: String = (0..3).map(|n| format!("txn_{n},charge,ch_{n},{max},-1,{max},usd,2026-01-05\n")).collect();
    let books: String = (0..3).map(|n| format!("charge,,ch_{n},{max},usd,2026-01-05\n")).collect();
    let done = Case::new(&format!("{LEDGER}{books}refund,,re_1,{},usd,2026-01-05\n", i64::MIN), &format!("{STRIPE}{rows}")).run();
    done.assert_no_residue();
    let total = 3 * i128::from(max);
    assert!(done.files["report.json"].contains(&format!("\"right_total\": {total},")), "{}", done.files["report.json"]);
}

#[test]
fn many_rows_that_look_alike_have_an_end() {
    const ROWS: usize = 10_000;
    let books: String = (0..ROWS).map(|n| format!("charge,o{n},,100,usd,2026-01-05\n")).collect();
    let rows: String = (0..ROWS).map(|n| format!("txn_{n},charge,,100,0,100,usd,2026-01-05\n")).collect();
    let done = Case::new(&format!("{LEDGER}{books}"), &format!("{STRIPE}{rows}")).payload(r#"{"matches": "none"}"#).run();
    done.assert_classes(&[("charge_bt ambiguous", 2 * ROWS as u64)]);
    // What would be too long is not begun, and what to do is said.
    let case = Case::new(&format!("{LEDGER}{books}"), &format!("{STRIPE}{rows}"));
    let refused = case.clone().payload(r#"{"breaks_bytes_max": 2000000}"#).try_run().err();
    assert!(
        matches!(&refused, Some(ReadError::Invalid(why)) if why.contains("20000 lines, 20000 of them") && why.contains("breaks_bytes_max")),
        "{refused:?}"
    );
    let written = done.files["breaks.csv"].len();
    assert!(case.payload(&format!(r#"{{"breaks_bytes_max": {written}}}"#)).try_run().is_ok());
    // Under one key, with amounts that never agree.
    let books: String = (0..ROWS).map(|n| format!("o1,{},usd,2026-01-05\n", 2 * n + 10)).collect();
    let rows: String = (0..ROWS).map(|n| format!("txn_{n},charge,,o1,{},0,usd,2026-01-05\n", 2 * n + 13)).collect();
    let done = Case::new(
        &format!("order_id,amount,currency,created\n{books}"),
        &format!("id,type,source,order_id,amount,fee,currency,created\n{rows}"),
    )
    .run();
    done.assert_classes(&[("order_charge ambiguous", 2 * ROWS as u64)]);
    // Sums without end: every search is either small or left out, and that is said.
    let books: String = (0..2_000).map(|n| format!("charge,o{n},,{},usd,2026-01-05\n", 1_000_000 + 7 * n)).collect();
    let rows: String = (0..2_000).map(|n| format!("txn_{n},charge,,{},0,{},usd,2026-01-05\n", 3 * n + 1, 3 * n + 1)).collect();
    let done = Case::new(&format!("{LEDGER}{books}"), &format!("{STRIPE}{rows}")).run();
    assert!(done.report()["group_search"]["skipped"].as_u64() > Some(100));
}
