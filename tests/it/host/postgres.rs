//! Hosts as processes that share a Postgres database.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx_postgres::PgConnection;

use super::process::HostProcess;
use crate::store::postgres::Database;

fn settings(url: &str) -> [(&str, &str); 6] {
    [
        ("TASKWARDEN_DATABASE", url),
        ("TASKWARDEN_QUEUE__LEASE_MS", "1000"),
        ("TASKWARDEN_RUNTIME__SLOTS", "1"),
        ("TASKWARDEN_RUNTIME__DRAIN_MS", "100"),
        ("TASKWARDEN_POSTGRES__CONNECTIONS", "6"),
        // What goes wrong here is meant to.
        ("TASKWARDEN_LOG__FILTER", "off"),
    ]
}

/// The plugin for all of these tests, with fuel for more than a minute.
async fn prepare(host: &HostProcess) {
    host.upload("echo").await;
    let limits = host.http.put(format!("{}/v1/admin/limits/host", host.base)).json(&json!({ "fuel": 1_000_000_000_000_u64 }));
    let set = limits.send().await.expect("an answer");
    assert!(set.status().is_success(), "{}", set.text().await.unwrap_or_default());
}

/// Far longer than anybody waits here: only being stopped ends it.
fn endless() -> Value {
    json!({ "task_type": "echo", "payload": { "n": 1, "spin_fuel": 400_000_000_000_u64 } })
}

/// Waits until the leases of all hosts have been renewed for three times their length.
async fn three_leases(conn: &mut PgConnection) {
    let earliest = "SELECT min(lease_until_ms) FROM taskwarden.hosts";
    let start: i64 = sqlx::query_scalar(earliest).fetch_one(&mut *conn).await.expect("read");
    while sqlx::query_scalar::<_, i64>(earliest).fetch_one(&mut *conn).await.expect("read") < start + 3_000 {
        tokio::task::yield_now().await;
    }
}

async fn running(host: &HostProcess) -> u64 {
    let text = host.http.get(format!("{}/metrics", host.base)).send().await.expect("figures").text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("taskwarden_running_attempts ")).expect("the figure");
    line.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_renew_its_lease_stops_its_tasks_and_begins_them_again() {
    let (database, data) = (Database::migrated().await, tempfile::tempdir().expect("a folder"));
    let host = HostProcess::start(data.path(), &settings(&database.url));
    prepare(&host).await;
    let task = endless();
    let id = host.submit(&[task]).await.expect("acknowledged").remove(0);
    while running(&host).await == 0 {
        tokio::task::yield_now().await;
    }
    // The database answers everything but what has to do with hosts: heartbeats hang.
    let mut conn = database.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE taskwarden.hosts IN ACCESS EXCLUSIVE MODE").execute(&mut conn).await.expect("locked");
    while running(&host).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.get("/healthz").await["status"], "ok");
    sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.expect("unlocked");
    // It is begun again, by nobody's order but the lease's, and not over.
    while running(&host).await == 0 {
        tokio::task::yield_now().await;
    }
    let again = host.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!((again["state"].as_str(), again["attempt"].as_u64()), (Some("running"), Some(2)), "{again}");
    let lost: Vec<String> = sqlx::query_scalar("SELECT outcome FROM taskwarden.task_attempts").fetch_all(&mut conn).await.expect("read");
    assert_eq!(lost, ["lost"]);
    conn.close().await.expect("closed");
    host.kill_9();
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_never_yields_keeps_its_lease_and_can_be_cancelled() {
    let (database, data) = (Database::migrated().await, tempfile::tempdir().expect("a folder"));
    let host = HostProcess::start(data.path(), &settings(&database.url));
    prepare(&host).await;
    let id = host.submit(&[endless()]).await.expect("acknowledged").remove(0);
    while running(&host).await == 0 {
        tokio::task::yield_now().await;
    }
    three_leases(&mut database.connect().await).await;
    let asked = host.http.post(format!("{}/v1/tasks/{id}/cancel", host.base)).send().await.expect("an answer");
    assert!(asked.status().is_success());
    let task = host.ended(&id).await;
    assert_eq!((task["state"].as_str(), task["attempt"].as_u64()), (Some("cancelled"), Some(1)), "{task}");
    assert_eq!(host.terminate(), Some(0));
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_slow_to_take_results_makes_no_healthy_task_run_twice() {
    let database = Database::migrated().await;
    let data = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let hosts = data.each_ref().map(|data| HostProcess::start(data.path(), &settings(&database.url)));
    for host in &hosts {
        prepare(host).await;
    }
    let mut conn = database.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE taskwarden.done IN ACCESS EXCLUSIVE MODE").execute(&mut conn).await.expect("locked");
    let ids = hosts[0].submit(&[json!({ "task_type": "echo", "payload": { "n": 1 } })]).await.expect("acknowledged");
    let mut other = database.connect().await;
    let running = "SELECT count(*) FROM taskwarden.running";
    while sqlx::query_scalar::<_, i64>(running).fetch_one(&mut other).await.expect("read") == 0 {
        tokio::task::yield_now().await;
    }
    // Its result waits for longer than any lease lasts, and the lease is renewed meanwhile.
    three_leases(&mut other).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.expect("unlocked");
    let task = hosts[1].ended(&ids[0]).await;
    assert_eq!((task["outcome"].as_str(), task["attempt"].as_u64()), (Some("succeeded"), Some(1)), "{task}");
    for connection in [conn, other] {
        connection.close().await.expect("closed");
    }
    for host in hosts {
        assert_eq!(host.terminate(), Some(0));
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_database_is_gone_says_so_and_can_still_be_stopped() {
    let (database, data) = (Database::migrated().await, tempfile::tempdir().expect("a folder"));
    let host = HostProcess::start(data.path(), &settings(&database.url));
    prepare(&host).await;
    host.submit(&[endless()]).await.expect("acknowledged");
    while running(&host).await == 0 {
        tokio::task::yield_now().await;
    }
    database.shut().await;
    let refused = host.http.post(format!("{}/v1/tasks", host.base)).json(&endless()).send().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.expect("JSON");
    assert_eq!(problem["code"], "unavailable", "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.contains("ALLOW") && detail.contains("try again")), "{problem}");
    let ready = host.http.get(format!("{}/readyz", host.base)).send().await.expect("an answer");
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(host.get("/healthz").await["status"], "ok");
    assert_eq!(host.terminate(), Some(0), "it waits for nobody who is not there");
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_through_one_host_is_followed_by_the_others() {
    let database = Database::migrated().await;
    let data = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let [asked, other] = data.each_ref().map(|data| HostProcess::start(data.path(), &settings(&database.url)));
    // Not one that came with the host, so that it is gone when it is removed.
    asked.upload("ledger").await;
    prepare(&asked).await;
    let plugins = async |host: &HostProcess| {
        let listed = host.get("/v1/plugins").await;
        let names = listed["plugins"].as_array().expect("a list").iter().map(|plugin| plugin["name"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    while !plugins(&other).await.iter().any(|name| name == "ledger") {
        tokio::task::yield_now().await;
    }
    while other.get("/v1/admin/limits").await != asked.get("/v1/admin/limits").await {
        tokio::task::yield_now().await;
    }
    assert!(other.get("/v1/admin/limits").await.to_string().contains("1000000000000"));
    for path in ["plugins/ledger", "limits/host"] {
        let gone = asked.http.delete(format!("{}/v1/admin/{path}", asked.base)).send().await.expect("an answer");
        assert!(gone.status().is_success(), "{path}");
    }
    while plugins(&other).await.iter().any(|name| name == "ledger") {
        tokio::task::yield_now().await;
    }
    while other.get("/v1/admin/limits").await != asked.get("/v1/admin/limits").await {
        tokio::task::yield_now().await;
    }
    assert_eq!((asked.terminate(), other.terminate()), (Some(0), Some(0)));
    database.drop().await;
}
