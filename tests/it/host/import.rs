//! `taskwarden stripe import` as a command: files as Stripe hands them out and as they are when something went wrong on the way.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::process::{HostProcess, binary};

/// Imports a file with these contents; the exit code, the answer, and what was said to the operator.
fn import(data: &Path, name: &str, contents: &str, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let file = data.join(name);
    std::fs::write(&file, contents).expect("written");
    let mut command = Command::new(binary());
    command.args(["stripe", "import"]).arg(&file).args(["--mode", "live", "--json", "--data"]).arg(data.join("host")).args(arguments);
    let ran = command.output().expect("the command runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    (ran.status.code(), serde_json::from_slice(&ran.stdout).unwrap_or(Value::Null), said)
}

fn counts(report: &Value) -> [u64; 4] {
    ["added", "changed", "unchanged", "quarantined"].map(|name| report[name].as_u64().unwrap_or_else(|| panic!("{name}: {report}")))
}

fn lines(report: &Value) -> Vec<(u64, String)> {
    let rows = report["first_quarantined"].as_array().expect("rows").iter();
    rows.map(|row| (row["line"].as_u64().expect("a line"), row["reason"].as_str().expect("a reason").to_owned())).collect()
}

fn movement(id: &str, amount: &str, net: i64) -> String {
    format!(
        r#"{{"id":"{id}","object":"balance_transaction","amount":{amount},"fee":59,"net":{net},"currency":"eur","created":1769860800,"available_on":1770465600,"status":"available","type":"charge","reporting_category":"charge","source":"ch_{id}"}}"#
    )
}

#[tokio::test]
async fn reports_are_read_row_by_row_and_what_is_wrong_is_kept_with_its_line() {
    // With a byte-order mark, as spreadsheets write it, and torn in its last line, as a cut download is.
    const REPORT: &str = "\u{feff}balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id,description\r\n\
        txn_1,2026-01-31 12:00:00,eur,\"30.00\",0.59,29.41,charge,ch_1,\"two\r\nlines, one cell\"\r\n\
        txn_2,2026-01-31 12:00:01,jpy,500,18,482,charge,ch_2,\r\n\
        txn_3,2026-01-31 12:00:02,eur,-250.00,0.00,-250.00,payout,po_1,\r\n\
        txn_4,2026-01-31 12:00:03,eur,30.00,0.59,29.42,charge,ch_4,\r\n\
        txn_5,2026-01-31 12:00:04,eur,ten,0.59,9.41,charge,ch_5,\r\n\
        txn_6,2026-01-31 12:00:05,eur,7.00,0.00,7.00,moon_tax,,\r\n\
        txn_7,2026-01-31 12:00:06,eur,30.00,0.5";
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let kind = ["--kind", "balance_change_from_activity.itemized.3"];
    let (code, report, _) = import(data, "january.csv", REPORT, &kind);
    assert_eq!((code, counts(&report)), (Some(1), [4, 0, 0, 3]), "{report}");
    let quarantined = lines(&report);
    assert_eq!(quarantined.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [6, 7, 9], "{quarantined:?}");
    assert!(quarantined[0].1.contains("net") && quarantined[1].1.contains("gross"), "{quarantined:?}");
    let (code, again, _) = import(data, "january.csv", REPORT, &kind);
    assert_eq!((code, counts(&again)), (Some(1), [0, 0, 4, 3]), "{again}");

    let german = "balance_transaction_id;created;currency;gross;fee;net;reporting_category\ntxn_8;2026-01-31 13:00:00;eur;1234,50;0,00;1234,50;charge\n";
    let (code, report, _) = import(
        data,
        "german.csv",
        german,
        &["--kind", "balance_change_from_activity.itemized.3", "--decimal-separator", "comma", "--time-zone", "Europe/Berlin"],
    );
    assert_eq!((code, counts(&report)), (Some(0), [1, 0, 0, 0]), "{report}");

    // A host over the same data shows what the files said, to the unit, and where they could not be read.
    let host = HostProcess::start(&data.join("host"), &[]);
    let income = host.get("/v1/income?bucket=month&basis=final&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z").await;
    let mut rows: Vec<_> = income["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["currency"].as_str().expect("text"), row["gross"].as_i64(), row["other"].as_i64(), row["unclassified"].as_i64()))
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [("eur", Some(3000 + 123_450), Some(700), Some(1)), ("jpy", Some(500), Some(0), Some(0))], "{income}");
    let kept = host.get("/v1/admin/stripe/quarantine?mode=live").await;
    let kept: Vec<_> = kept["rows"].as_array().expect("rows").iter().map(|row| row["line"].as_u64()).collect();
    assert_eq!(kept.len(), 3, "the second reading quarantined nothing twice");
    assert_eq!(host.terminate(), Some(0));
}

#[test]
fn lists_of_the_api_are_read_in_every_form_and_text_is_no_amount() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let api = ["--kind", "api"];
    let list = json!({ "object": "list", "url": "/v1/balance_transactions", "has_more": false,
        "data": [serde_json::from_str::<Value>(&movement("txn_1", "1000", 941)).expect("JSON"),
                 serde_json::from_str::<Value>(&movement("txn_2", "\"10.00\"", 941)).expect("JSON")] });
    let (code, report, _) = import(data, "page.json", &serde_json::to_string_pretty(&list).expect("JSON"), &api);
    assert_eq!((code, counts(&report)), (Some(1), [1, 0, 0, 1]), "{report}");
    let wrong = lines(&report);
    assert!(wrong[0].0 > 15 && wrong[0].1.starts_with("amount: invalid type: string \"10.00\""), "{wrong:?}");

    // One object a line, the last of them torn; the payout is known from the request.
    let whole = movement("txn_3", "1000", 941);
    let torn = format!("{}\n{}\n{}", whole, movement("txn_4", "2000", 1941), &whole[..70]);
    let (code, report, _) = import(data, "lines.jsonl", &torn, &["--kind", "api", "--payout", "po_1"]);
    assert_eq!((code, counts(&report), lines(&report)[0].0), (Some(1), [2, 0, 0, 1], 3), "{report}");

    let objects = r#"[{"id":"po_1","object":"payout","amount":2882,"currency":"eur","status":"paid","automatic":true,"created":1,"arrival_date":2},
                      {"id":"cus_1","object":"customer"}]"#;
    let (code, report, _) = import(data, "objects.json", objects, &api);
    assert_eq!((code, report["objects"].as_u64(), lines(&report)[0].0), (Some(1), Some(1), 2), "{report}");

    for (contents, arguments, says) in [
        ("{\"object\":\"list\",\"data\":[", &api[..], "JSON"),
        ("id,amount\n1,2\n", &api[..], "JSON"),
        ("id,amount\n1,2\n", &["--kind", "payouts.itemized.3"][..], "payout"),
        ("", &["--kind", "payouts.itemized.3"][..], "payouts.itemized"),
        ("[]", &["--kind", "sales"][..], "is no kind of import"),
    ] {
        let (code, _, said) = import(data, "wrong", contents, arguments);
        assert!(code.is_some_and(|code| code != 0) && said.contains(says), "{code:?} {said}");
    }
}
