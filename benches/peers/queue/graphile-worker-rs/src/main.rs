//! graphile_worker with a handler that does nothing: jobs added, then jobs gone from the table, per second;
//! and the time from adding one to its start on the idle worker.
//! Settings: 500 at once, a local queue of 5 000, ends written in batches of 5 ms; what measured best here.
//!
//!     PEER_POSTGRES=postgres://… cargo run --release -- JOBS

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graphile_worker::{IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, WorkerContext, WorkerOptions};

#[derive(Clone, Debug)]
struct Handled(Arc<AtomicU64>, tokio::sync::mpsc::UnboundedSender<Instant>);

/// Jobs that are added one by one to an idle worker.
const PROBES: usize = 300;

#[derive(serde::Serialize, serde::Deserialize)]
struct Nothing {
    id: u64,
}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(Handled(count, started)) = context.get_ext::<Handled>() {
            let _ = started.send(Instant::now());
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), String>(())
    }
}

#[tokio::main]
async fn main() {
    let jobs: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("the number of jobs");
    let url = std::env::var("PEER_POSTGRES").expect("PEER_POSTGRES is the URL of an empty database");
    let pool = ::sqlx::postgres::PgPoolOptions::new().max_connections(20).connect(&url).await.expect("a connection");
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let handled = Handled(Arc::default(), started);
    let worker = WorkerOptions::default()
        .database(pool.clone())
        .schema("graphile_worker_rs")
        .concurrency(500)
        .poll_interval(Duration::from_millis(5))
        .complete_job_batch_delay(Duration::from_millis(5))
        .local_queue(LocalQueueConfig::default().with_size(5_000))
        .add_extension(handled.clone())
        .define_job::<Nothing>()
        .init()
        .await
        .expect("a worker");
    let all: Vec<RawJobSpec> = (0..jobs)
        .map(|id| RawJobSpec { identifier: "nothing".into(), payload: serde_json::json!({ "id": id }), spec: JobSpec::default() })
        .collect();
    let utils = worker.create_utils();
    let start = Instant::now();
    for some in all.chunks(20_000) {
        utils.add_raw_jobs(some).await.expect("jobs are added");
    }
    let added = start.elapsed();
    let worker = Arc::new(worker);
    let start = Instant::now();
    let running = tokio::spawn({
        let worker = Arc::clone(&worker);
        async move { worker.run().await }
    });
    while handled.0.load(Ordering::Relaxed) < jobs {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    loop {
        let left: i64 =
            ::sqlx::query_scalar("SELECT count(*) FROM graphile_worker_rs._private_jobs").fetch_one(&pool).await.expect("a count");
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let done = start.elapsed();
    while starts.try_recv().is_ok() {}
    let mut waits = Vec::new();
    for id in 0..PROBES as u64 {
        let added = Instant::now();
        utils.add_job(Nothing { id }, JobSpec::default()).await.expect("a job is added");
        waits.push(starts.recv().await.expect("a start").duration_since(added));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    waits.sort();
    println!(
        "{{\"added_per_s\": {:.0}, \"done_per_s\": {:.0}, \"p50_ms\": {:.1}, \"p99_ms\": {:.1}}}",
        jobs as f64 / added.as_secs_f64(),
        jobs as f64 / done.as_secs_f64(),
        waits[PROBES / 2].as_secs_f64() * 1e3,
        waits[PROBES * 99 / 100].as_secs_f64() * 1e3,
    );
    worker.request_shutdown();
    let _ = running.await;
}
