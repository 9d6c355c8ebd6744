//! Submit → run → result committed, over HTTP, every task in a sandbox of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskwarden::clock::{Clock as _, SystemClock};

use crate::host::{Running, batch};
use crate::sandbox::Bare;
use crate::{Bench, floor, row, table};

const ROUNDS: usize = 3;
const TASKS: usize = 60_000;
const BATCH: usize = 500;
const SUBMITTERS: usize = 4;
const SANDBOX_CALLS: u32 = 100_000;

pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut sandboxes, mut batches, mut rates, mut shares) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let s = sandbox_calls_per_second(bench)?;
        let q = floor::tasks_per_second(bench, BATCH, TASKS)?;
        std::fs::remove_dir_all(bench.folder(&format!("floor-{BATCH}"))?)?;
        let rate = tokio.block_on(through_the_host(bench, round))?;
        sandboxes.push(s);
        batches.push(q);
        rates.push(rate);
        shares.push(rate * (1.0 / s + 1.0 / q));
    }
    let rows = [
        row!["", "tasks", "share of the bound"],
        row!["S: bare sandbox calls, all cores", table::per_second(table::median(sandboxes)), ""],
        row![format!("Q: bare SQLite, insert + claim + finish, batches of {BATCH}"), table::per_second(table::median(batches)), ""],
        row![
            "the host: HTTP batch → sandbox → committed",
            table::per_second(table::median(rates)),
            format!("{:.2}", table::median(shares))
        ],
    ];
    table::print(
        &format!("(b) {TASKS} no-op tasks at synchronous=FULL, median of {ROUNDS}; bound = 1/(1/S + 1/Q) (aim: at least 0.4, goal 0.7)"),
        &rows,
    );
    Ok(())
}

fn sandbox_calls_per_second(bench: &Bench) -> anyhow::Result<f64> {
    let bare = Bare::new(&bench.guest("noop")?)?;
    let cores = u32::try_from(std::thread::available_parallelism().map_or(1, usize::from))?;
    let clock = SystemClock::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..cores).map(|_| scope.spawn(|| (0..SANDBOX_CALLS / cores).try_for_each(|_| bare.call(b"{}").map(drop)))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))))
    })?;
    Ok(f64::from(SANDBOX_CALLS) / clock.monotonic().as_secs_f64())
}

async fn through_the_host(bench: &Bench, round: usize) -> anyhow::Result<f64> {
    through(Running::start(bench, &format!("throughput-{round}")).await?).await
}

/// Tasks per second through a host, which is stopped afterwards.
pub(crate) async fn through(host: Running) -> anyhow::Result<f64> {
    let host = Arc::new(host);
    warm_up(&host).await?;
    let clock = SystemClock::new();
    submit(&host).await?;
    host.until_succeeded((TASKS + BATCH) as u64).await?;
    let rate = TASKS as f64 / clock.monotonic().as_secs_f64();
    stop(host).await;
    Ok(rate)
}

/// Tasks per second that a host takes while it runs none, and that it runs while it takes none. It is stopped afterwards.
pub(crate) async fn one_after_the_other(host: Running) -> anyhow::Result<(f64, f64)> {
    let host = Arc::new(host);
    warm_up(&host).await?;
    host.pause(true).await?;
    let clock = SystemClock::new();
    submit(&host).await?;
    let submitted = TASKS as f64 / clock.monotonic().as_secs_f64();
    let clock = SystemClock::new();
    host.pause(false).await?;
    host.until_succeeded((TASKS + BATCH) as u64).await?;
    let run = TASKS as f64 / clock.monotonic().as_secs_f64();
    stop(host).await;
    Ok((submitted, run))
}

/// Connections, statement caches, pool slots.
async fn warm_up(host: &Running) -> anyhow::Result<()> {
    host.submit_batch(batch(BATCH, "normal")).await?;
    host.until_succeeded(BATCH as u64).await
}

async fn stop(host: Arc<Running>) {
    if let Ok(host) = Arc::try_unwrap(host).map_err(|_| ()) {
        host.stop().await;
    }
}

/// Submits all tasks, and returns when they are acknowledged.
async fn submit(host: &Arc<Running>) -> anyhow::Result<()> {
    let batch = batch(BATCH, "normal");
    let left = Arc::new(AtomicUsize::new(TASKS / BATCH));
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|_| {
            let (host, left, batch) = (Arc::clone(host), Arc::clone(&left), batch.clone());
            tokio::spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    host.submit_batch(batch.clone()).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await??;
    }
    Ok(())
}
