//! awa with a worker that does nothing: jobs added, then jobs completed, per second.
//! Settings: 500 at once, claims of 512, four claimers.
//!
//!     PEER_POSTGRES=postgres://… cargo run --release -- JOBS

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use awa::{Client, InsertOpts, JobArgs, JobResult, JobState, QueueConfig, QueueStorageConfig, admin, migrations};

#[derive(serde::Serialize, serde::Deserialize, JobArgs)]
struct Nothing {
    id: u64,
}

#[tokio::main]
async fn main() {
    let jobs: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("the number of jobs");
    let url = std::env::var("PEER_POSTGRES").expect("PEER_POSTGRES is the URL of an empty database");
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(20).connect(&url).await.expect("a connection");
    migrations::run(&pool).await.expect("a schema");
    let handled = Arc::new(AtomicU64::new(0));
    let client = Client::builder(pool.clone())
        .queue(
            "peer",
            QueueConfig {
                max_workers: 500,
                claimers: 4,
                claim_batch_size: 512,
                poll_interval: Duration::from_millis(50),
                deadline_duration: Duration::ZERO,
                ..QueueConfig::default()
            },
        )
        .queue_storage(QueueStorageConfig::default(), Duration::from_millis(1_000), Duration::from_millis(50))
        .register::<Nothing, _, _>({
            let handled = Arc::clone(&handled);
            move |_: Nothing, _| {
                let handled = Arc::clone(&handled);
                async move {
                    handled.fetch_add(1, Ordering::Relaxed);
                    Ok(JobResult::Completed)
                }
            }
        })
        .build()
        .expect("a client");
    let start = Instant::now();
    for first in (0..jobs).step_by(1_000) {
        let some: Vec<_> = (first..(first + 1_000).min(jobs))
            .map(|id| {
                let options = InsertOpts { queue: "peer".into(), ..InsertOpts::default() };
                awa::model::insert::params_with(&Nothing { id }, options).expect("a job")
            })
            .collect();
        awa::insert_many_copy_from_pool(&pool, &some).await.expect("jobs are added");
    }
    let added = start.elapsed();
    let start = Instant::now();
    client.start().await.expect("a worker");
    // Ends are recorded in batches behind the handlers: done is what the storage counts.
    while handled.load(Ordering::Relaxed) < jobs {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let completed = async || admin::state_counts(&pool).await.expect("counts").get(&JobState::Completed).copied().unwrap_or_default();
    while completed().await < i64::try_from(jobs).expect("a count") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let done = start.elapsed();
    println!("{{\"added_per_s\": {:.0}, \"done_per_s\": {:.0}}}", jobs as f64 / added.as_secs_f64(), jobs as f64 / done.as_secs_f64());
    client.shutdown(Duration::from_secs(5)).await;
}
