//! Hosts as processes that share a Postgres database.

use serde_json::json;
use sqlx::Connection as _;

use super::process::HostProcess;
use crate::store::postgres::Database;

fn settings(url: &str) -> [(&str, &str); 5] {
    [
        ("TASKWARDEN_DATABASE", url),
        ("TASKWARDEN_QUEUE__LEASE_MS", "1000"),
        ("TASKWARDEN_RUNTIME__SLOTS", "1"),
        ("TASKWARDEN_POSTGRES__CONNECTIONS", "6"),
        // What goes wrong here is meant to.
        ("TASKWARDEN_LOG__FILTER", "off"),
    ]
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
    host.upload("echo").await;
    // Far longer than anybody waits here: only being stopped ends its first attempt.
    let task = json!({ "task_type": "echo", "payload": { "n": 1, "spin_fuel": 400_000_000_000_u64 }, "limits": {} });
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
