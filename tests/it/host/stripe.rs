//! Stripe's events from the door to the figures, through a host in a process of its own.

use serde_json::{Value, json};
use taskwarden::clock::{Clock as _, SystemClock};
use taskwarden::secret::Secret;
use taskwarden::stripe::signature::sign;

use super::process::HostProcess;

#[tokio::test]
async fn an_event_becomes_income() {
    let data = tempfile::tempdir().expect("a folder");
    let host = HostProcess::start(data.path(), &[("TASKWARDEN_STRIPE__WEBHOOK__SECRETS", "whsec_old,whsec_new")]);
    let now_s = SystemClock::new().now().0 / 1000;
    let body = json!({
        "id": "evt_1", "object": "event", "type": "charge.succeeded", "created": now_s, "livemode": true,
        "data": { "object": { "id": "ch_1", "object": "charge", "status": "succeeded", "amount": 1999, "amount_captured": 1999,
                              "captured": true, "currency": "eur", "created": now_s } }
    })
    .to_string();
    let header = sign(&Secret::new("whsec_new").expect("a secret"), body.as_bytes(), now_s.cast_unsigned());
    let request = host.http.post(format!("{}/v1/webhooks/stripe", host.base)).header("Stripe-Signature", header).body(body);
    let received: Value = request.send().await.expect("the host answers").json().await.expect("JSON");
    let ended = host.ended(received["task"].as_str().unwrap_or_else(|| panic!("{received}"))).await;
    assert_eq!((&ended["state"], &ended["result"]["changed"]), (&json!("succeeded"), &json!(1)), "{ended}");
    let income = host.get("/v1/income?bucket=month&tz=Pacific/Chatham").await;
    let rows: Vec<_> = income["rows"].as_array().expect("rows").iter().map(|row| (&row["currency"], &row["gross"])).collect();
    assert_eq!(rows, [(&json!("eur"), &json!(1999))], "{income}");
}
