//! Databases of older shapes are taken over without losing a row.

use std::path::Path;

use rusqlite::{Connection, params};
use taskwarden::store::sqlite::{MIGRATIONS, SqliteOptions, SqliteStore, migrate};
use taskwarden::store::{StoreError, TaskFilter, TaskStore as _};
use taskwarden::task::{Priority, TaskId, TaskState};

use super::support::{NOW, at};

struct Old {
    id: &'static str,
    task_type: &'static str,
    state: &'static str,
    priority: &'static str,
    payload: &'static [u8],
}

const OLD: [Old; 12] = [
    Old {
        id: "0190b2a0-0000-7000-8000-000000000001",
        task_type: "implement_idea",
        state: "queued",
        priority: "high",
        payload: br#"{"ai_model":"opus","model":"other"}"#,
    },
    Old {
        id: "0190b2a0-0000-7000-8000-000000000002",
        task_type: "idea_implementation",
        state: "queued",
        priority: "normal",
        payload: br#"{"model":"sonnet"}"#,
    },
    Old {
        id: "0190B2A0-0000-7000-8000-00000000000A",
        task_type: "self_improvement",
        state: "queued",
        priority: "low",
        payload: br#"{"ai_model":7,"model":"haiku"}"#,
    },
    Old {
        id: "0190b2a0-0000-7000-8000-000000000004",
        task_type: "implement_idea",
        state: "running",
        priority: "high",
        payload: br#"{"ai_model":""}"#,
    },
    Old {
        id: "0190b2a0-0000-7000-8000-000000000005",
        task_type: "implement_idea",
        state: "scheduled",
        priority: "critical",
        payload: br#"{"model":"*"}"#,
    },
    Old {
        id: "0190b2a0-0000-7000-8000-000000000006",
        task_type: "implement_idea",
        state: "succeeded",
        priority: "high",
        payload: b"[1,2]",
    },
    Old {
        id: "0190b2a0-0000-7000-8000-000000000007",
        task_type: "self_improvement",
        state: "failed",
        priority: "low",
        payload: b"{not json",
    },
    Old { id: "0190b2a0-0000-7000-8000-000000000008", task_type: "self_improvement", state: "cancelled", priority: "low", payload: b"" },
    Old {
        id: "0190b2a0-0000-7000-8000-000000000009",
        task_type: "implement_idea",
        state: "queued",
        priority: "urgent",
        payload: b"\xff\xfe{",
    },
    Old {
        id: "0190b2a0-0000-7000-8000-00000000000a",
        task_type: "implement_idea",
        state: "queued",
        priority: "high",
        payload: b"\"text\"",
    },
    Old { id: "task 17", task_type: "not a type!", state: "waiting", priority: "normal", payload: b"null" },
    Old {
        id: "0190b2a0-0000-7000-8000-00000000000b",
        task_type: "implement_idea",
        state: "queued",
        priority: "background",
        payload: b"{\"ai_model\":\"a\\u0000b\"}",
    },
];

/// What another tool made from the text of the first migration alone.
fn old_database(path: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(MIGRATIONS[0].1).unwrap();
    let insert =
        "INSERT INTO execution_tasks (id, task_type, state, priority, payload, created_at_ms, run_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)";
    for (index, old) in (0_i64..).zip(&OLD) {
        let run_at = (old.state == "scheduled").then_some(NOW.0 + 60_000);
        let payload: &dyn rusqlite::ToSql = match std::str::from_utf8(old.payload) {
            Ok(text) => &text.to_owned(),
            Err(_) => &old.payload,
        };
        conn.execute(insert, params![old.id, old.task_type, old.state, old.priority, payload, NOW.0 + index, run_at]).unwrap();
    }
}

fn rows(counts: &[(String, u64)], table: &str) -> Option<u64> {
    counts.iter().find(|(name, _)| name == table).map(|(_, rows)| *rows)
}

#[tokio::test]
async fn a_database_of_the_first_shape_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    old_database(&path);
    let before = std::fs::read(&path).unwrap();
    let rehearsal = migrate(&path, true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before, "a dry run changes nothing");
    let report = migrate(&path, false).unwrap();
    assert_eq!((&report.applied, &report.rows_after), (&rehearsal.applied, &rehearsal.rows_after));
    assert_eq!(report.applied.len(), MIGRATIONS.len());
    assert!(report.present.is_empty() && report.existed);
    for counts in [&report.rows_before, &report.rows_after] {
        assert_eq!(rows(counts, "execution_tasks"), Some(12));
    }
    assert_eq!(
        [rows(&report.rows_after, "ready"), rows(&report.rows_after, "running"), rows(&report.rows_after, "scheduled")],
        [Some(6), Some(1), Some(1)]
    );
    let again = migrate(&path, false).unwrap();
    assert!(again.applied.is_empty());
    assert_eq!(again.present.len(), MIGRATIONS.len());

    let store = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
    let page = store.tasks(TaskFilter { limit: 100, ..TaskFilter::default() }).await.unwrap();
    assert_eq!(page.tasks.len(), 12);
    let task = async |number: usize| store.task(OLD[number].id.parse::<TaskId>().unwrap()).await.unwrap().unwrap();
    let model = async |number: usize| task(number).await.ai_model().map(ToString::to_string);
    let found = [model(0).await, model(1).await, model(2).await, model(3).await, model(4).await, model(11).await];
    assert_eq!(found, [Some("opus".to_owned()), Some("sonnet".to_owned()), Some("haiku".to_owned()), None, None, None]);
    assert_eq!(task(6).await.payload.get(), r#""{not json""#);
    assert_eq!(task(7).await.payload.get(), r#""""#);
    assert_eq!(task(8).await.payload.get(), r#""FFFE7B""#);
    assert_eq!((task(8).await.priority, task(0).await.priority), (Priority::Normal, Priority::High));
    let odd = page.tasks.iter().find(|task| task.task_type().as_str() == "unknown").unwrap();
    assert_eq!((odd.state, odd.created_at), (TaskState::Failed, at(10)));
    // Two old ids were one UUID in two spellings; both rows are there.
    assert_eq!(page.tasks.iter().filter(|task| task.payload.get() == "\"text\"").count(), 1);
    let conn = Connection::open(&path).unwrap();
    let mut legacy = conn.prepare("SELECT legacy ->> 'id' FROM execution_tasks WHERE legacy IS NOT NULL ORDER BY seq").unwrap();
    let legacy: Vec<String> = legacy.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(legacy, [OLD[2].id, OLD[8].id, OLD[9].id, OLD[10].id]);

    let lost = store.reap(NOW, false, &|_, _, _| taskwarden::task::Next::RetryAt(NOW)).await.unwrap();
    assert_eq!(lost, [OLD[3].id.parse::<TaskId>().unwrap()], "nobody holds what ran then");
    let claimed =
        store.claim(taskwarden::store::ClaimRequest { host: "h".into(), now: at(100), max_tasks: 100, urgent_only: false }).await.unwrap();
    assert_eq!((claimed.tasks.len(), claimed.next_due), (7, Some(at(60_000))));
    assert!(claimed.tasks.iter().map(|task| task.run_key).is_sorted());
    assert_eq!(claimed.tasks.last().unwrap().priority, Priority::Background);
    let fresh = super::support::simple();
    store.submit(vec![fresh.clone()], at(100)).await.unwrap();
    assert!(store.tasks(TaskFilter { limit: 1, ..TaskFilter::default() }).await.unwrap().tasks[0].id == fresh.id);
    store.close().await;
}

#[test]
fn a_dry_run_of_nothing_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let report = migrate(&path, true).unwrap();
    assert_eq!((report.existed, report.applied.len()), (false, MIGRATIONS.len()));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_database_of_a_newer_build_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    migrate(&path, false).unwrap();
    Connection::open(&path).unwrap().execute("INSERT INTO schema_migrations VALUES (999, '0999_from_the_future', 0)", []).unwrap();
    let refused = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Broken(why) if why.contains("0999_from_the_future")), "{refused}");
}
