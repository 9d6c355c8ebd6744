//! kill -9 in the middle of a load, several times over: nothing acknowledged is lost, nothing is recorded twice.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use serde_json::json;

use super::process::HostProcess;

const CRASHES: usize = 4;
const BATCHES_PER_LIFE: usize = 6;
const BATCH: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn killed_hosts_lose_nothing_and_record_nothing_twice() {
    let data = tempfile::tempdir().expect("a folder");
    // An innocent task may be lost in each of the crashes.
    let settings = [("TASKWARDEN_QUEUE__LOST_MAX", "100")];
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    for life in 0..CRASHES {
        let host = HostProcess::start(data.path(), &settings);
        host.upload("echo").await;
        for number in 0..BATCHES_PER_LIFE {
            let key = |place: usize| format!("{life}-{number}-{place}");
            // Long enough that each life ends with tasks in every state.
            let tasks: Vec<_> = (0..BATCH)
                .map(|place| json!({ "task_type": "echo", "idempotency_key": key(place), "payload": { "n": key(place), "spin_fuel": 3_000_000 } }))
                .collect();
            let ids = host.submit(&tasks).await.expect("the host lives");
            acknowledged.extend(ids.into_iter().enumerate().map(|(place, id)| (id, key(place))));
        }
        // One submission is in the air when the host dies: it may or may not be acknowledged, and both are right.
        let last_words = [json!({ "task_type": "echo", "payload": { "n": "last words" } })];
        let (_, ()) = tokio::join!(async { host.submit(&last_words).await }, async { tokio::task::yield_now().await });
        host.kill_9();
    }

    let host = HostProcess::start(data.path(), &settings);
    host.upload("echo").await;
    for (id, key) in &acknowledged {
        let task = host.ended(id).await;
        assert_eq!(task["outcome"], "succeeded", "{task}");
        assert_eq!(task["result"]["payload"]["n"], **key, "each result belongs to its own task");
    }
    // Submitting all of it again changes nothing.
    let again = json!({ "task_type": "echo", "idempotency_key": "0-0-0", "payload": { "n": "0-0-0", "spin_fuel": 3_000_000 } });
    let same = host.submit(&[again]).await.expect("the host lives");
    assert_eq!(acknowledged.get(&same[0]).map(String::as_str), Some("0-0-0"));
    assert_eq!(host.terminate(), Some(0), "a host that is asked to stop ends well");

    let db = Connection::open(data.path().join("taskwarden.db")).expect("opens");
    let count = |what: &str| -> i64 { db.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).expect("answers") };
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("answers");
    assert_eq!(check, "ok");
    let mut succeeded = db.prepare("SELECT id FROM execution_tasks WHERE state = 'succeeded'").expect("a statement");
    let ids: Vec<String> = succeeded.query_map([], |row| row.get(0)).expect("answers").map(|id| id.expect("a text")).collect();
    assert!(acknowledged.keys().all(|id| ids.contains(id)));
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len());
    for hot in ["ready", "running", "scheduled"] {
        assert_eq!(count(hot), 0, "{hot} is empty once everything has ended");
    }
    assert!(count("execution_tasks WHERE lost > 0") > 0, "no crash met a running task, so this test proved nothing; make the tasks longer");
    // An attempt that was lost and then recorded would show up as two ends of one attempt.
    assert_eq!(count("task_attempts a JOIN execution_tasks t USING (seq) WHERE a.attempt >= t.attempt"), 0);
}
