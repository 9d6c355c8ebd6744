//! The income as it is shown.

use taskwarden::clock::VirtualClock;
use taskwarden::store::stripe::IncomeStore as _;

use super::webhooks::{deliver, event, process};
use super::*;

const START: &str = "2026-03-29T10:00:00Z";

fn ms(text: &str) -> i64 {
    UnixMs::parse_rfc3339(text).expect("a time").0
}

fn charge(id: &str, amount: i64, currency: &str, created: &str) -> String {
    let created_s = ms(created) / 1000;
    format!(
        r#"{{"id":"{id}","object":"charge","status":"succeeded","amount":{amount},"amount_captured":{amount},"captured":true,"currency":"{currency}","created":{created_s}}}"#
    )
}

async fn tell(server: &Server, id: &str, event_type: &str, at: &str, object: &str) {
    let reply = deliver(server, &event(id, event_type, ms(at) / 1000, object)).await;
    assert_eq!(reply.body["verdict"], "accepted", "{}", reply.body);
    process(server).await.expect("processed");
}

/// One charge.
pub(super) async fn fill(server: &Server) {
    tell(server, "evt_fill", "charge.succeeded", START, &charge("ch_fill", 1000, "eur", START)).await;
}

async fn at(start: &str) -> (Arc<VirtualClock>, Server) {
    let clock = VirtualClock::starting_at(UnixMs(ms(start)));
    let server = Server::start_with(Arc::clone(&clock) as SharedClock, |_| {}).await;
    (clock, server)
}

fn rows(reply: &Reply) -> Vec<(String, String, i64, i64)> {
    let rows = reply.body["rows"].as_array().unwrap_or_else(|| panic!("{}", reply.body));
    rows.iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            (text("date"), text("currency"), row["gross"].as_i64().unwrap_or_default(), row["refunds"].as_i64().unwrap_or_default())
        })
        .collect()
}

fn row(date: &str, currency: &str, gross: i64, refunds: i64) -> (String, String, i64, i64) {
    (date.to_owned(), currency.to_owned(), gross, refunds)
}

#[tokio::test]
async fn days_are_those_of_the_zone_and_currencies_stay_apart() {
    let (_, server) = at(START).await;
    // The last quarter before Berlin's 23-hour day, and its first and last.
    for (number, created) in
        ["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"].iter().enumerate()
    {
        let object = charge(&format!("ch_{number}"), 100 << number, "eur", created);
        tell(&server, &format!("evt_{number}"), "charge.succeeded", created, &object).await;
    }
    tell(&server, "evt_jpy", "charge.succeeded", START, &charge("ch_jpy", 7, "jpy", START)).await;
    let berlin = server.get("/v1/income?from=2026-03-28&to=2026-03-30&bucket=day&tz=Europe/Berlin").await;
    assert_eq!(
        rows(&berlin),
        [
            row("2026-03-28", "eur", 100, 0),
            row("2026-03-29", "eur", 600, 0),
            row("2026-03-29", "jpy", 7, 0),
            row("2026-03-30", "eur", 800, 0)
        ]
    );
    let day = &berlin.body["rows"][1];
    assert_eq!((day["start"].as_str(), day["end"].as_str()), (Some("2026-03-28T23:00:00.000Z"), Some("2026-03-29T22:00:00.000Z")));
    assert_eq!(
        (day["basis"].as_str(), &day["fees"], &day["net"], day["livemode"].as_bool()),
        (Some("provisional"), &Value::Null, &Value::Null, Some(true))
    );
    let utc = server.get("/v1/income?from=2026-03-28&to=2026-03-29&currency=EUR").await;
    assert_eq!(rows(&utc), [row("2026-03-28", "eur", 300, 0), row("2026-03-29", "eur", 1200, 0)]);
    let kathmandu = server.get("/v1/income?from=2026-03-29&to=2026-03-29&tz=Asia/Kathmandu&currency=eur").await;
    assert_eq!(rows(&kathmandu), [row("2026-03-29", "eur", 300, 0)], "22:59 is 4:44 there, 21:59 of the day after is 3:44 of the next");
    let quarters = server.get("/v1/income?from=2026-03-28T22:45:00Z&to=2026-03-28T23:15:00Z&bucket=quarter_hour").await;
    assert_eq!(quarters.body["rows"].as_array().map(Vec::len), Some(2));
    server.stop().await;
}

#[tokio::test]
async fn a_closed_day_is_restated_for_all_to_see() {
    let (clock, server) = at(START).await;
    tell(&server, "evt_1", "charge.succeeded", START, &charge("ch_1", 1000, "eur", START)).await;
    let day = "/v1/income?from=2026-03-29&to=2026-03-29";
    let open = server.get(day).await;
    assert_eq!((open.body["rows"][0]["closed"].as_bool(), open.body["rows"][0]["revision"].as_i64()), (Some(false), Some(0)));
    // Before the day is closed nothing is restated, however late it comes.
    clock.advance(Duration::from_secs(25 * 3600));
    tell(&server, "evt_2", "charge.succeeded", START, &charge("ch_2", 200, "eur", START)).await;
    assert_eq!(server.get(day).await.body["rows"][0]["revision"], 0);
    clock.advance(Duration::from_secs(2 * 3600));
    let closed = server.get(day).await;
    assert_eq!((closed.body["rows"][0]["closed"].as_bool(), closed.body["rows"][0]["gross"].as_i64()), (Some(true), Some(1200)));
    tell(&server, "evt_3", "charge.succeeded", START, &charge("ch_3", 34, "eur", START)).await;
    // A refund is a fact of its own day.
    let refund = format!(
        r#"{{"id":"re_1","object":"refund","status":"succeeded","amount":500,"currency":"eur","charge":"ch_1","created":{}}}"#,
        ms("2026-03-30T12:00:00Z") / 1000
    );
    tell(&server, "evt_4", "refund.created", "2026-03-30T12:00:00Z", &refund).await;
    let restated = server.get(day).await.body["rows"][0].clone();
    assert_eq!((restated["gross"].as_i64(), restated["refunds"].as_i64(), restated["revision"].as_i64()), (Some(1234), Some(0), Some(1)));
    assert_eq!((restated["as_closed"]["gross"].as_i64(), restated["as_closed"]["count"].as_i64()), (Some(1200), Some(2)));
    assert_eq!(restated["restated_at"], "2026-03-30T13:00:00.000Z");
    assert_eq!(rows(&server.get("/v1/income?from=2026-03-30&to=2026-03-30").await), [row("2026-03-30", "eur", 0, -500)]);
    let audit = server.store.audit_income().await.expect("an answer");
    assert_eq!((audit.facts, audit.differences.len()), (4, 0));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_named() {
    let (_, server) = at(START).await;
    for (query, field) in [
        ("tz=Atlantis", "tz"),
        ("bucket=week", "bucket"),
        ("from=yesterday", "from"),
        ("from=2026-13-01", "from"),
        ("from=2026-03-29T10:01:00Z", "from"),
        ("from=2026-03-29&to=2026-03-28", "to"),
        ("from=2020-01-01&bucket=hour", "to"),
        ("currency=euro", "currency"),
        ("basis=true", "basis"),
        ("livemode=maybe", "livemode"),
    ] {
        server.get(&format!("/v1/income?{query}")).await.is_problem(422, "invalid_field", Some(field));
    }
    server.get("/v1/income?curency=eur").await.is_problem(422, "unknown_field", Some("curency"));
    let nothing = server.get("/v1/income").await;
    assert_eq!((nothing.status, nothing.body["rows"].as_array().map(Vec::len)), (200, Some(0)));
    assert_eq!(
        (nothing.body["from"].as_str(), nothing.body["to"].as_str()),
        (Some("2026-02-27T00:00:00.000Z"), Some("2026-03-29T10:15:00.000Z"))
    );
    server.stop().await;
}
