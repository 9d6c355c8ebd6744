//! What is particular to the SQLite store: the file, its lock, group commit, and what a crash leaves.

use std::path::PathBuf;
use std::sync::Arc;

use taskwarden::store::sqlite::{SqliteAdmin, SqliteOptions, SqliteStore};
use taskwarden::store::{AdminStore as _, BlobStore as _, Store, StoreError, TaskStore as _};
use taskwarden::task::{Priority, TaskState};

use super::support::{NOW, claim, lane, new_task, simple, state, succeed};

pub(crate) struct Opened {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Opened {
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }
}

pub(crate) async fn open() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let store = SqliteStore::open(&path, SqliteOptions { lanes_max: 64, ..SqliteOptions::default() }).await.unwrap();
    Opened { store: Arc::new(store), path, _folder: folder }
}

pub(crate) fn integrity(path: &std::path::Path) -> String {
    rusqlite::Connection::open(path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_second_host_is_kept_out_until_the_first_lets_go() {
    let opened = open().await;
    let refused = SqliteStore::open(&opened.path, SqliteOptions::default()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains("another host")), "{refused}");
    opened.store.close().await;
    assert!(matches!(opened.store.submit(vec![simple()], NOW).await, Err(StoreError::Unavailable(_))));
    let again = SqliteStore::open(&opened.path, SqliteOptions::default()).await.unwrap();
    again.close().await;
}

/// Urgent submissions go before everything else, in every second transaction; were it in each, nothing else would ever be done.
#[tokio::test(flavor = "multi_thread")]
async fn urgent_submissions_that_never_end_leave_room_for_the_rest() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let opened = open().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut submitters = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, done) = (Arc::clone(&opened.store), Arc::clone(&done));
        submitters.spawn(async move {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                store.submit(vec![new_task(lane("urgent", None), Priority::Critical)], NOW).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let mut ordinary = 0;
    for _ in 0..20 {
        // Many enough to be bulk.
        opened.store.submit((0..100).map(|_| simple()).collect(), NOW).await.unwrap();
        let claimed = claim(&opened.shared(), 50, NOW).await.tasks;
        ordinary += claimed.len();
        opened.store.finish(claimed.iter().map(|task| succeed(task, NOW)).collect()).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    let urgent: u64 = submitters.join_all().await.into_iter().sum();
    assert!(urgent > 0 && ordinary == 1_000, "{urgent} urgent submissions, {ordinary} tasks claimed meanwhile");
    opened.store.close().await;
}

#[tokio::test]
async fn tokens_can_be_made_while_a_host_has_the_store_open() {
    use taskwarden::clock::UnixMs;
    use taskwarden::store::{TokenRecord, TokenScope};
    let opened = open().await;
    let beside = SqliteAdmin::open(&opened.path, SqliteOptions::default()).await.unwrap();
    let id = taskwarden::task::TaskId::new().0;
    let token = TokenRecord {
        id,
        hash: [7; 32],
        scopes: vec![TokenScope::Submit, TokenScope::Read],
        label: "ci".to_owned(),
        created_at: UnixMs(5),
    };
    beside.put_token(token.clone()).await.unwrap();
    assert_eq!(opened.store.tokens().await.unwrap(), [token]);
    opened.store.submit(vec![simple()], NOW).await.unwrap();
    beside.close().await;
    opened.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_submitters_share_commits() {
    let opened = open().await;
    let before = opened.store.commits();
    let mut submitters = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let store = Arc::clone(&opened.store);
        submitters.spawn(async move { store.submit(vec![simple()], NOW).await.unwrap().remove(0) });
    }
    let answers = submitters.join_all().await;
    let commits = opened.store.commits() - before;
    assert!(commits <= 100, "1000 submissions took {commits} commits");
    let store = opened.shared();
    for answer in &answers {
        assert!(answer.created);
        assert_eq!(state(&store, answer.id).await, TaskState::Queued);
    }
    assert_eq!(store.lanes().await.unwrap()[0].queued, 1000);
}

#[tokio::test]
async fn one_bad_request_does_not_spoil_its_group() {
    let opened = open().await;
    let twice = simple();
    opened.store.submit(vec![twice.clone()], NOW).await.unwrap();
    // The same identity again is an error that only the database finds, in the middle of a group.
    let good = [simple(), simple()];
    let (first, bad, last) = tokio::join!(
        opened.store.submit(vec![good[0].clone()], NOW),
        opened.store.submit(vec![twice], NOW),
        opened.store.submit(vec![good[1].clone()], NOW),
    );
    assert!(first.unwrap()[0].created);
    assert!(matches!(bad, Err(StoreError::Broken(_))));
    assert!(last.unwrap()[0].created);
    let store = opened.shared();
    assert_eq!(store.lanes().await.unwrap()[0].queued, 3);
    assert_eq!(claim(&store, 10, NOW).await.tasks.len(), 3);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_store_was_dropped_without_closing() {
    let opened = open().await;
    let store = opened.shared();
    let ids: Vec<_> =
        store.submit((0..50).map(|_| simple()).collect(), NOW).await.unwrap().into_iter().map(|submitted| submitted.id).collect();
    let claimed = claim(&store, 20, NOW).await.tasks;
    store.finish(claimed[..10].iter().map(|task| succeed(task, NOW)).collect()).await.unwrap();
    // A copy of the files as they are now is what a machine that lost its power would find.
    let copy = tempfile::tempdir().unwrap();
    for name in ["tasks.db", "tasks.db-wal"] {
        std::fs::copy(opened.path.with_file_name(name), copy.path().join(name)).unwrap();
    }
    let path = copy.path().join("tasks.db");
    assert_eq!(integrity(&path), "ok");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).await.unwrap());
    let mut counts = [0; 3];
    for id in ids {
        match state(&store, id).await {
            TaskState::Succeeded => counts[0] += 1,
            TaskState::Running => counts[1] += 1,
            TaskState::Queued => counts[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, [10, 10, 30]);
    let back = store.reap(NOW, true, &|_, _, _| taskwarden::task::Next::RetryAt(NOW)).await.unwrap();
    assert_eq!(back.len(), 10);
    assert_eq!(claim(&store, 100, NOW).await.tasks.len(), 40);
}

#[tokio::test]
async fn blobs_are_kept_in_pieces() {
    use bytes::Bytes;
    use taskwarden::store::BlobInfo;
    use taskwarden::task::BlobId;
    let opened = open().await;
    let id = BlobId(taskwarden::task::TaskId::new().0);
    opened.store.put_blob_piece(id, 0, Bytes::from(vec![1; 1 << 20]), NOW).await.unwrap();
    opened.store.put_blob_piece(id, 1, Bytes::from_static(b"end"), NOW).await.unwrap();
    assert_eq!(opened.store.blob(id).await.unwrap(), None, "not visible before the commit");
    assert_eq!(opened.store.blob_piece(id, 0).await.unwrap(), None);
    let info = BlobInfo { id, bytes: (1 << 20) + 3, sha256: [3; 32] };
    opened.store.commit_blob(info.clone(), NOW).await.unwrap();
    assert_eq!(opened.store.blob(id).await.unwrap(), Some(info));
    assert_eq!(opened.store.blob_piece(id, 1).await.unwrap().unwrap(), "end");
    assert_eq!(opened.store.blob_piece(id, 2).await.unwrap(), None);
}

#[tokio::test]
async fn a_claim_whose_caller_left_is_held_by_nobody() {
    let opened = open().await;
    let store = opened.shared();
    store.submit(vec![simple()], NOW).await.unwrap();
    // Somebody else holds the file, so the writer has the claim and cannot begin; then the caller leaves.
    let other = rusqlite::Connection::open(&opened.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    {
        let mut unheard = std::pin::pin!(claim(&store, 1, NOW));
        assert!(futures::poll!(&mut unheard).is_pending());
    }
    other.execute_batch("ROLLBACK").unwrap();
    let task = claim(&store, 1, NOW).await.tasks.remove(0);
    assert_eq!(task.attempt, 1);
}
