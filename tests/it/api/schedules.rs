//! Schedules, as an operator sets them.

use taskwarden::clock::VirtualClock;

use super::*;

const PATH: &str = "/v1/admin/schedules";

fn nightly() -> Value {
    json!({"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "task": {"task_type": "echo", "payload": {"day": "${due.date-1d}"}, "tags": ["nightly"]}})
}

async fn at(start: &str) -> (Server, Arc<VirtualClock>) {
    let clock = VirtualClock::starting_at(UnixMs::parse_rfc3339(start).expect("a time"));
    (Server::start_with(clock.clone(), |_| {}).await, clock)
}

#[tokio::test]
async fn a_schedule_is_put_listed_paused_and_removed() {
    let (server, clock) = at("2026-03-28T12:00:00Z").await;
    let one = format!("{PATH}/nightly");
    let made = server.send(Method::PUT, &one, &nightly()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    // The next night is the one in which Berlin has no half past two.
    assert_eq!(made.body["next_due_at"], "2026-03-29T01:30:00.000Z");
    assert_eq!((&made.body["catch_up"], &made.body["paused"], &made.body["last_due_at"]), (&json!("once"), &json!(false), &Value::Null));
    assert_eq!((&made.body["task"]["payload"]["day"], &made.body["task"]["priority"]), (&json!("${due.date-1d}"), &json!("normal")));
    assert_eq!(server.send(Method::PUT, &one, &nightly()).await.status, 200);

    let paused = server.send(Method::PATCH, &one, &json!({"paused": true})).await;
    assert_eq!((paused.status, &paused.body["paused"], &paused.body["next_due_at"]), (200, &json!(true), &Value::Null));
    clock.advance(Duration::from_secs(2 * 86_400));
    let woken = server.send(Method::PATCH, &one, &json!({"paused": false})).await.body;
    assert_eq!(woken["next_due_at"], "2026-03-31T00:30:00.000Z");
    let list = server.get(PATH).await.body;
    assert_eq!((list["schedules"].as_array().map(Vec::len), &list["schedules"][0]["name"]), (Some(1), &json!("nightly")));
    assert_eq!(server.send(Method::DELETE, &one, &Value::Null).await.status, 204);
    server.send(Method::DELETE, &one, &Value::Null).await.is_problem(404, "not_found", None);
    server.send(Method::PATCH, &one, &json!({"paused": true})).await.is_problem(404, "not_found", None);
    server.stop().await;
}

#[tokio::test]
async fn a_schedule_that_could_not_work_is_refused_when_it_is_put() {
    let (server, _clock) = at("2026-11-25T12:00:00Z").await;
    let with = |path: &[&str], value: Value| {
        let mut body = nightly();
        let mut place = &mut body;
        for key in path {
            place = &mut place[*key];
        }
        *place = value;
        body
    };
    for (body, code, field) in [
        (with(&["cron"], json!("0 25 * * *")), "invalid_field", "cron"),
        (with(&["cron"], json!("@daily")), "invalid_field", "cron"),
        (with(&["time_zone"], json!("Berlin")), "invalid_field", "time_zone"),
        (with(&["catch_up"], json!("all")), "invalid_field", "catch_up"),
        (with(&["timezone"], json!("UTC")), "unknown_field", "timezone"),
        (with(&["task", "colour"], json!(1)), "unknown_field", "task.colour"),
        (with(&["task", "run_at"], json!("2026-11-25T12:00:00Z")), "invalid_field", "task.run_at"),
        (with(&["task", "idempotency_key"], json!("k")), "invalid_field", "task.idempotency_key"),
        (with(&["task", "payload"], json!(["${now}"])), "invalid_field", "task.payload"),
        (with(&["task", "limits"], json!({"fuel": 0})), "invalid_field", "task.limits.fuel"),
        (with(&["task", "task_type"], json!("nobody.takes.this")), "no_plugin_for_task", "task.task_type"),
        // A payload schema sees the payload as it will be.
        (
            with(&["task"], json!({"task_type": "strict", "ai_model": "claude-x", "payload": {"n": "${due}"}})),
            "invalid_field",
            "task.payload.n",
        ),
        (json!({"cron": "0 2 * * *"}), "invalid_field", "task"),
    ] {
        server.send(Method::PUT, &format!("{PATH}/nightly"), &body).await.is_problem(422, code, Some(field));
    }
    server.send(Method::PUT, &format!("{PATH}/two%20words"), &nightly()).await.is_problem(422, "invalid_field", Some("name"));
    server.send(Method::PATCH, &format!("{PATH}/nightly"), &json!({})).await.is_problem(422, "invalid_field", Some("paused"));
    assert_eq!(server.get(PATH).await.body["schedules"], json!([]));
    server.stop().await;
}
