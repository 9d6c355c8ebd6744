//! apalis on SQLite with a handler that does nothing, 50 at once in batches of 100: jobs added, then jobs handled, per second.
//!
//!     cargo run --release -- JOBS FOLDER

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_sqlite::{Config, SqlitePool, SqliteStorage};

static HANDLED: AtomicUsize = AtomicUsize::new(0);

async fn nothing(_: usize, _: WorkerContext) -> Result<(), BoxDynError> {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let jobs: usize = arguments.next().and_then(|text| text.parse().ok()).expect("the number of jobs");
    let folder = std::path::PathBuf::from(arguments.next().expect("a folder on the disk that is to be measured"));
    let path = folder.join("apalis.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    let pool = SqlitePool::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.expect("a database");
    SqliteStorage::setup(&pool).await.expect("a schema");
    let mut storage = SqliteStorage::new(&pool).with_config(Config::default().queue("peer").batch_size(100));
    let start = Instant::now();
    let mut all = futures::stream::iter((0..jobs).map(|job| TaskBuilder::new(job).build()));
    storage.push_all(&mut all).await.expect("jobs are added");
    let added = jobs as f64 / start.elapsed().as_secs_f64();
    let worker = WorkerBuilder::new("peer").backend(storage).concurrency(50).build(nothing);
    let start = Instant::now();
    let running = tokio::spawn(async move { worker.run().await.expect("a run") });
    while HANDLED.load(Ordering::Relaxed) < jobs {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let done = jobs as f64 / start.elapsed().as_secs_f64();
    println!("{{\"added_per_s\": {added:.0}, \"done_per_s\": {done:.0}}}");
    running.abort();
}
