//! A measurement, not a test: `cargo test --release -p taskwarden-tests --test it store::speed -- --ignored --nocapture`.

use std::io::{Seek as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use taskwarden::clock::{Clock as _, SystemClock};
use taskwarden::store::Store;

use super::support::{NOW, claim, simple, succeed};

const TASKS: u32 = 100_000;

fn flushes_per_second() -> f64 {
    let clock = SystemClock::new();
    let mut file = tempfile::tempfile().unwrap();
    let start = clock.monotonic();
    for _ in 0..200 {
        file.rewind().unwrap();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    200.0 / (clock.monotonic() - start).as_secs_f64()
}

async fn cycles(store: &Arc<dyn Store>, batch: u32) -> [Duration; 3] {
    let clock = SystemClock::new();
    let mut spent = [Duration::ZERO; 3];
    for _ in 0..TASKS / batch {
        let new = (0..batch).map(|_| simple()).collect();
        let start = clock.monotonic();
        store.submit(new, NOW).await.unwrap();
        let submitted = clock.monotonic();
        let tasks = claim(store, batch, NOW).await.tasks;
        let claimed = clock.monotonic();
        assert_eq!(tasks.len(), usize::try_from(batch).unwrap());
        let ends: Vec<_> = tasks.iter().map(|task| succeed(task, NOW)).collect();
        let ran = clock.monotonic();
        store.finish(ends).await.unwrap();
        let finished = clock.monotonic();
        for (sum, took) in spent.iter_mut().zip([submitted - start, claimed - submitted, finished - ran]) {
            *sum += took;
        }
    }
    spent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it alone"]
async fn submit_claim_finish() {
    println!("flushes to disk: {:.0}/s", flushes_per_second());
    for batch in [64, 256, 512] {
        let opened = super::sqlite::open().await;
        let store = opened.shared();
        let before = opened.store.commits();
        let spent = cycles(&store, batch).await;
        let total: Duration = spent.iter().sum();
        let each = spent.map(|spent| format!("{:.1}", spent.as_secs_f64() * 1e6 / f64::from(TASKS)));
        println!(
            "one at a time, batch {batch}: {:.0} tasks/s; µs per task: submit {}, claim {}, finish {}; {} commits",
            f64::from(TASKS) / total.as_secs_f64(),
            each[0],
            each[1],
            each[2],
            opened.store.commits() - before
        );
        opened.store.close().await;
    }
    // The same as a busy host does it: finish, submit and claim wait together and share a commit.
    for batch in [64, 256, 512] {
        let opened = super::sqlite::open().await;
        let store = opened.shared();
        let clock = SystemClock::new();
        let before = opened.store.commits();
        let start = clock.monotonic();
        let mut ends = Vec::new();
        for round in 0..=TASKS / batch {
            let new = (0..if round < TASKS / batch { batch } else { 0 }).map(|_| simple()).collect();
            let (finished, submitted, claimed) =
                tokio::join!(store.finish(std::mem::take(&mut ends)), store.submit(new, NOW), claim(&store, batch, NOW));
            finished.unwrap();
            submitted.unwrap();
            ends = claimed.tasks.iter().map(|task| succeed(task, NOW)).collect();
        }
        let total = clock.monotonic() - start;
        println!(
            "together, batch {batch}: {:.0} tasks/s, {:.1} µs per task; {} commits",
            f64::from(TASKS) / total.as_secs_f64(),
            total.as_secs_f64() * 1e6 / f64::from(TASKS),
            opened.store.commits() - before
        );
        opened.store.close().await;
    }
}
