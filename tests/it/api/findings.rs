//! Findings, as people and programs read them.

use taskwarden::finding::{Currency, GrossValue, Observation};
use taskwarden::store::FindingStore as _;

use crate::store::findings::{observation, report};

use super::*;

async fn with_findings() -> Server {
    let server = Server::start().await;
    let money = GrossValue { minor: 1_999, currency: "usd".parse::<Currency>().expect("a currency") };
    let found = vec![
        Observation { gross: Some(money), ..observation("break.amount_under", "order 1") },
        observation("break.missing_in_ledger", "order 2"),
        observation("break.missing_in_ledger", "order 3"),
    ];
    server.store.report_findings(report("stripe.reconcile", 10, found)).await.expect("reported");
    server
}

#[tokio::test]
async fn findings_are_listed_filtered_and_paged() {
    let server = with_findings().await;
    let all = server.get("/v1/findings").await;
    assert_eq!((all.status, all.body["findings"].as_array().map(Vec::len), &all.body["next_cursor"]), (200, Some(3), &Value::Null));
    let amount = server.get("/v1/findings?kind=break.amount_under&state=new").await.body;
    let finding = &amount["findings"][0];
    assert_eq!((&finding["gross_value"], &finding["keys"]), (&json!({"minor": 1_999, "currency": "usd"}), &json!({"about": "order 1"})));
    assert_eq!((&finding["state"], &finding["severity"], &finding["times_seen"]), (&json!("new"), &json!(60), &json!(1)));
    assert_eq!((&finding["explanation"], &finding["acknowledged"]), (&json!("order 1 is not as it should be."), &Value::Null));
    let one = server.get(&format!("/v1/findings/{}", finding["id"].as_str().expect("an id"))).await;
    assert_eq!((one.status, &one.body), (200, finding));
    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let page = server.get(&format!("/v1/findings?limit=2&cursor={cursor}")).await.body;
        seen += page["findings"].as_array().map_or(0, Vec::len);
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    assert_eq!(seen, 3);
    for nothing in ["state=resolved", "scope=other", "acknowledged=true", "kind=break.other"] {
        assert_eq!(server.get(&format!("/v1/findings?{nothing}")).await.body["findings"], json!([]), "{nothing}");
    }
    for (query, code, field) in [
        ("state=open", "invalid_field", "state"),
        ("kind=two%20words", "invalid_field", "kind"),
        ("acknowledged=1", "invalid_field", "acknowledged"),
        ("severity=5", "unknown_field", "severity"),
        ("limit=0", "invalid_field", "limit"),
        ("cursor=x", "invalid_field", "cursor"),
    ] {
        server.get(&format!("/v1/findings?{query}")).await.is_problem(422, code, Some(field));
    }
    for unknown in ["ff", "00000000000000000000000000000000"] {
        server.get(&format!("/v1/findings/{unknown}")).await.is_problem(404, "not_found", None);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_finding_is_acknowledged_and_that_is_taken_back() {
    let server = with_findings().await;
    let id = server.get("/v1/findings?limit=1").await.body["findings"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/admin/findings/{id}/acknowledgement");
    let seen = server.send(Method::PUT, &path, &json!({"note": "the courier lost it"})).await;
    assert_eq!((seen.status, &seen.body["acknowledged"]["note"]), (200, &json!("the courier lost it")));
    assert!(seen.body["acknowledged"]["at"].is_string());
    assert_eq!(server.get("/v1/findings?acknowledged=true").await.body["findings"].as_array().map(Vec::len), Some(1));
    let back = server.send(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((back.status, &back.body["acknowledged"]), (200, &Value::Null));
    server.send(Method::PUT, &path, &json!({"text": "x"})).await.is_problem(422, "unknown_field", Some("text"));
    server.send(Method::PUT, &path, &json!({"note": "x".repeat(1_001)})).await.is_problem(422, "invalid_field", Some("note"));
    let other = "/v1/admin/findings/00000000000000000000000000000000/acknowledgement";
    server.send(Method::PUT, other, &json!({})).await.is_problem(404, "not_found", None);
    server.stop().await;
}
