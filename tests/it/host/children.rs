//! Tasks that come of tasks, on a real host: with their parent's success or not at all, also when the host dies in between.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::process::HostProcess;

/// A host whose plugin `ledger` may act in a folder and submit tasks of these types.
fn start(data: &Path, child_task_types: &[&str]) -> HostProcess {
    let effects = data.join("effects");
    std::fs::create_dir_all(&effects).expect("made");
    // Values of TOML are written as JSON writes them.
    HostProcess::start_with(
        data,
        &format!(
            "[queue]\nlost_max = 100\n\n[runtime]\nslots = 2\n\n[plugins.ledger]\nchild_task_types = {}\n\
             directories = [{{ host_path = {}, guest_path = \"/ledger\", writable = true }}]\n",
            json!(child_task_types),
            json!(effects),
        ),
    )
}

fn effects(data: &Path) -> Vec<String> {
    let files = std::fs::read_dir(data.join("effects")).expect("a folder");
    let mut names: Vec<String> = files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// Asks until the host has an answer that will do. What is waited for is on its way, and each answer takes its time.
async fn until(mut asked: impl AsyncFnMut() -> bool) {
    while !asked().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_before_it_records_a_success_leaves_no_child_and_the_next_attempt_has_each_once() {
    let data = tempfile::tempdir().expect("a folder");
    let host = start(data.path(), &["ledger"]);
    host.upload("ledger").await;
    let parent = |key: &str| json!({ "task_type": "ledger", "idempotency_key": key, "payload": { "turns": 60_000_000, "children": ["ledger", "ledger"] } });
    let parents = host.submit(&[parent("a"), parent("b")]).await.expect("the host lives");
    let running = async || {
        let mut states = Vec::new();
        for id in &parents {
            states.push(host.get(&format!("/v1/tasks/{id}")).await["state"] == "running");
        }
        states.iter().all(|running| *running)
    };
    until(running).await;

    // Nobody else can write from here on: the guests run to their ends, and the host cannot record it.
    let db = Connection::open(data.path().join("taskwarden.db")).expect("opens");
    db.busy_timeout(Duration::from_secs(60)).expect("a number");
    db.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let count = |what: &str| -> i64 { db.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).expect("answers") };
    assert_eq!(count("running"), 2, "both still run as far as anybody can know; if not, their loops are too short for this machine");
    until(async || effects(data.path()).len() == 2).await;
    // Each of these answers has to do without the database, and takes as long as the host is patient with it.
    let no_guest_runs = async || {
        let figures = host.http.get(format!("{}/metrics", host.base)).send().await.expect("the host answers").text().await.expect("text");
        figures.lines().any(|line| line == "taskwarden_running_attempts 0")
    };
    until(no_guest_runs).await;
    assert_eq!(effects(data.path()), ["a.1", "b.1"], "both have acted, and they have come to their ends");
    host.kill_9();
    assert_eq!((count("execution_tasks"), count("running")), (2, 2));
    db.execute_batch("ROLLBACK").expect("the lock is free");

    let host = start(data.path(), &["ledger"]);
    host.upload("ledger").await;
    for id in &parents {
        let task = host.ended(id).await;
        assert_eq!((task["outcome"].as_str(), task["attempt"].as_u64()), (Some("succeeded"), Some(2)), "{task}");
        assert_eq!(task["receipt"]["child_tasks"], 2);
    }
    let children = children_of(&host).await;
    let mut keys: Vec<&str> = children.iter().map(|child| child["idempotency_key"].as_str().expect("a key")).collect();
    keys.sort_unstable();
    let mut expected: Vec<String> = parents.iter().flat_map(|id| [format!("{id}/0"), format!("{id}/1")]).collect();
    expected.sort();
    assert_eq!(keys, expected, "each child of each parent, once");
    for child in &children {
        let ended = host.ended(child["id"].as_str().expect("an id")).await;
        assert_eq!((ended["outcome"].as_str(), ended["attempt"].as_u64()), (Some("succeeded"), Some(1)), "{ended}");
    }
    // Dies once more with everything recorded: nothing comes of that.
    host.kill_9();
    let host = start(data.path(), &["ledger"]);
    assert_eq!(children_of(&host).await.len(), 4);
    assert_eq!(host.terminate(), Some(0));
}

/// Every task that a task submitted.
async fn children_of(host: &HostProcess) -> Vec<Value> {
    let listed = host.get("/v1/tasks?limit=100").await;
    let is_child = |task: &&Value| task["idempotency_key"].as_str().is_some_and(|key| key.contains('/'));
    listed["tasks"].as_array().expect("a list").iter().filter(is_child).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_a_host_does_not_take_are_refused_and_none_is_left() {
    let data = tempfile::tempdir().expect("a folder");
    let host = start(data.path(), &["ledger", "nobodys"]);
    host.upload("ledger").await;
    let url = format!("{}/v1/admin/limits/task_type/ledger", host.base);
    let limited = host.http.put(&url).json(&json!({ "child_tasks": 2 })).send().await.expect("the host answers");
    assert!(limited.status().is_success());
    let tasks: Vec<Value> = [
        vec!["ledger", "echo"],
        vec!["ledger", "nobodys"],
        vec!["ledger", "no type"],
        vec!["ledger", "ledger", "ledger"],
        vec!["ledger", "ledger"],
    ]
    .into_iter()
    .map(|children| json!({ "task_type": "ledger", "payload": { "turns": 0, "children": children } }))
    .collect();
    let ids = host.submit(&tasks).await.expect("the host lives");
    for (id, outcome, words) in [
        (&ids[0], "permanent", "may not submit tasks of type echo; the operator grants types in child_task_types"),
        (&ids[1], "permanent", "no loaded plugin takes tasks of nobodys"),
        (&ids[2], "permanent", "task type"),
        (&ids[3], "host_limit", "too many tasks were submitted: child_tasks allows 2"),
    ] {
        let task = host.ended(id).await;
        assert_eq!((task["outcome"].as_str(), task["attempt"].as_u64()), (Some(outcome), Some(1)), "{task}");
        assert!(task["error"].as_str().is_some_and(|error| error.contains(words)), "{task}");
    }
    assert_eq!(host.ended(&ids[4]).await["outcome"], "succeeded");
    let parents: Vec<String> =
        children_of(&host).await.iter().map(|child| child["idempotency_key"].as_str().expect("a key").to_owned()).collect();
    assert!(parents.len() == 2 && parents.iter().all(|key| key.starts_with(&ids[4])), "only the last one has children: {parents:?}");
}
