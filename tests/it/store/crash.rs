//! A host that is killed in the middle of its writing.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use taskwarden::store::Store;
use taskwarden::store::sqlite::{SqliteOptions, SqliteStore};
use taskwarden::task::{Next, TaskId, TaskState};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::sqlite::integrity;
use super::support::{NOW, claim, simple, state, succeed};

const DATABASE: &str = "TASKWARDEN_TEST_CRASH_DATABASE";

/// The process that gets killed: it writes until then, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below, in a process of its own"]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(Path::new(&path), SqliteOptions::default()).await.unwrap());
    loop {
        let (submitted, claimed) = tokio::join!(store.submit(vec![simple(), simple(), simple()], NOW), claim(&store, 2, NOW));
        let mut said = String::new();
        for task in submitted.unwrap() {
            said.push_str(&format!("ack submitted {}\n", task.id));
        }
        store.finish(claimed.tasks.iter().map(|task| succeed(task, NOW)).collect()).await.unwrap();
        for task in claimed.tasks {
            said.push_str(&format!("ack succeeded {}\n", task.id));
        }
        let mut out = std::io::stdout().lock();
        out.write_all(said.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let (mut submitted, mut succeeded) = (Vec::<TaskId>::new(), Vec::<TaskId>::new());
    for _ in 0..3 {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "store::crash::writes_until_it_is_killed"])
            .env(DATABASE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        // Whatever was said before the end counts, also what was still in the pipe.
        while let Some(line) = lines.next_line().await.unwrap() {
            let words: Vec<_> = line.split(' ').collect();
            if let ["ack", what, id] = words[..] {
                let list = if what == "submitted" { &mut submitted } else { &mut succeeded };
                list.push(id.parse().unwrap());
                acknowledged += 1;
                if acknowledged == 100 {
                    child.start_kill().unwrap();
                }
            }
        }
        assert!(acknowledged >= 100);
        child.wait().await.unwrap();
        assert_eq!(integrity(&path), "ok");
    }
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).await.unwrap());
    for id in &succeeded {
        assert_eq!(state(&store, *id).await, TaskState::Succeeded);
    }
    for id in &submitted {
        state(&store, *id).await;
    }
    store.reap(NOW, true, &|_, _, _| Next::RetryAt(NOW)).await.unwrap();
    let lane = store.lanes().await.unwrap().remove(0);
    let waiting = claim(&store, u32::MAX, NOW).await.tasks.len();
    assert_eq!((lane.running, usize::try_from(lane.queued).unwrap()), (0, waiting), "the counters and the queue agree");
    let finished = succeeded_tasks(&store).await;
    assert!(finished >= succeeded.len() && finished + waiting >= submitted.len());
}

/// How many tasks succeeded.
async fn succeeded_tasks(store: &Arc<dyn Store>) -> usize {
    let filter = taskwarden::store::TaskFilter { state: Some(TaskState::Succeeded), limit: 100_000, ..Default::default() };
    store.tasks(filter).await.unwrap().tasks.len()
}
