//! The host's own figures, on every backend.

use std::sync::Arc;
use std::time::Duration;

use taskwarden::clock::UnixMs;
use taskwarden::store::{Finish, STATS_BUCKET, StatsPage, Store};
use taskwarden::task::{Next, Outcome, Priority, TaskState};

use super::support::{NOW, claim, lane, new_task, succeed};

conformance!(attempts_are_counted_where_and_when_they_ended, old_figures_are_pruned);

/// A quarter of an hour begins here.
const START: UnixMs = UnixMs(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

async fn stats(store: &Arc<dyn Store>, span: Duration, limit_rows: u32) -> StatsPage {
    store.task_stats(START.minus(HOUR), START.plus(24 * HOUR), span, limit_rows).await.unwrap()
}

/// Ends a task of a lane at a time, as `change` says.
async fn end(store: &Arc<dyn Store>, model: Option<&str>, at: UnixMs, change: impl FnOnce(&mut Finish)) {
    store.submit(vec![new_task(lane("echo", model), Priority::Normal)], NOW).await.unwrap();
    let task = claim(store, 1, at).await.tasks.remove(0);
    let mut done = succeed(&task, at);
    change(&mut done);
    store.finish(vec![done]).await.unwrap();
}

async fn attempts_are_counted_where_and_when_they_ended(store: Arc<dyn Store>) {
    store.heartbeat("host-a", START, START.plus(48 * HOUR)).await.unwrap();
    assert!(stats(&store, STATS_BUCKET, 10).await.rows.is_empty());
    for _ in 0..3 {
        end(&store, None, START, |_| {}).await;
    }
    let last_ms = START.plus(STATS_BUCKET).minus(Duration::from_millis(1));
    end(&store, None, last_ms, |done| {
        (done.outcome, done.next, done.result) = (Outcome::Trap, Next::Final(TaskState::Failed), None);
        (done.receipt.fuel_used, done.receipt.run_ms, done.receipt.queue_ms) = (1, 10, 100);
    })
    .await;
    end(&store, None, START.plus(STATS_BUCKET), |done| done.receipt.plugin_version = "2.0.0".to_owned()).await;
    end(&store, Some("m"), START.plus(2 * STATS_BUCKET), |_| {}).await;
    // What somebody cancelled says nothing about the plugin.
    end(&store, None, START, |done| (done.outcome, done.next, done.result) = (Outcome::Cancelled, Next::Final(TaskState::Cancelled), None))
        .await;

    let page = stats(&store, STATS_BUCKET, 10).await;
    let shown: Vec<_> = page
        .rows
        .iter()
        .map(|row| (row.from.since(START).as_secs() / 60, row.lane.to_string(), row.plugin_version.as_str(), row.succeeded, row.failed))
        .collect();
    let expected =
        [(0, "echo".to_owned(), "1.0.0", 3, 1), (15, "echo".to_owned(), "2.0.0", 1, 0), (30, "echo/m".to_owned(), "1.0.0", 1, 0)];
    assert_eq!(shown, expected);
    let first = &page.rows[0];
    // Three times what the test's receipt says, and the attempt that failed.
    assert_eq!((first.fuel, first.run_ms, first.queue_ms, first.plugin.as_str()), (3 * 12_345 + 1, 3 * 7 + 10, 3 * 3 + 100, "echo"));
    assert!(!page.cut_off);

    let hourly = stats(&store, HOUR, 10).await;
    assert_eq!(
        hourly.rows.iter().map(|row| (row.from, row.succeeded, row.failed)).collect::<Vec<_>>(),
        [(START, 3, 1), (START, 1, 0), (START, 1, 0)]
    );
    let last = stats(&store, STATS_BUCKET, 2).await;
    assert!(last.cut_off);
    assert_eq!(last.rows, page.rows[1..], "the latest");
    let before = store.task_stats(START, START.plus(STATS_BUCKET), STATS_BUCKET, 10).await.unwrap();
    assert_eq!(before.rows, page.rows[..1]);
}

async fn old_figures_are_pruned(store: Arc<dyn Store>) {
    store.heartbeat("host-a", START, START.plus(48 * HOUR)).await.unwrap();
    for hour in 0..5 {
        end(&store, None, START.plus(hour * HOUR), |_| {}).await;
    }
    assert_eq!(store.prune_task_stats(START.plus(3 * HOUR), 2).await.unwrap(), 2);
    assert_eq!(store.prune_task_stats(START.plus(3 * HOUR), 10).await.unwrap(), 1);
    let left: Vec<_> = stats(&store, HOUR, 10).await.rows.iter().map(|row| row.from).collect();
    assert_eq!(left, [START.plus(3 * HOUR), START.plus(4 * HOUR)]);
}
