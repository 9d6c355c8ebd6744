//! The queue alone: submit, claim and finish through the store, with a no-op in place of the sandbox; and the whole host on Postgres.
//! History, results and receipts are kept, and every commit is on the disk.

use std::sync::Arc;

use anyhow::Context;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection as _};
use sqlx_postgres::PgConnection;
use taskwarden::clock::{Clock as _, SystemClock, UnixMs};
use taskwarden::limits::Limits;
use taskwarden::store::postgres::{PostgresOptions, PostgresStore};
use taskwarden::store::sqlite::{SqliteOptions, SqliteStore};
use taskwarden::store::{ClaimRequest, ClaimedTask, Finish, Store};
use taskwarden::task::fair::Service;
use taskwarden::task::{LaneKey, NewTask, Next, Outcome, Priority, Receipt, TaskId, TaskPlan, TaskState, TaskType};
use tokio::task::JoinSet;

use crate::host::Running;
use crate::{Bench, row, table, throughput};

const ROUNDS: usize = 3;
const TASKS: usize = 100_000;
/// Tasks in one submission.
const BATCH: usize = 500;
/// Tasks in one claim, and in one batch of ends.
const CLAIM: usize = 2_000;
const SUBMITTERS: usize = 4;
/// Batches of ends on their way at once, as a host with many slots has them.
const ENDING: usize = 4;
/// Tasks after which sizes are looked at.
const MILLION: usize = 1_000_000;
/// So often is each of the databases drained whose contents are compared.
const FLAT_ROUNDS: usize = 7;
/// Rows that the large cases begin with.
const MANY: i64 = 5_000_000;

fn server() -> anyhow::Result<String> {
    let url = std::env::var_os("TASKWARDEN_TEST_POSTGRES").and_then(|url| url.into_string().ok());
    url.context("TASKWARDEN_TEST_POSTGRES is not set; run this through `cargo xtask bench`")
}

/// A database of this name, new.
pub(crate) async fn database(name: &str) -> anyhow::Result<String> {
    let server = server()?;
    let mut conn = PgConnection::connect(&server).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).execute(&mut conn).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut conn).await?;
    let (base, parameters) = server.split_once('?').unwrap_or((&server, ""));
    let (host, _) = base.rsplit_once('/').context("a URL with a database")?;
    Ok(format!("{host}/{name}?{parameters}"))
}

/// The priorities of tasks one after the other: all the same, as in queues that have none, or five that take turns.
#[derive(Debug, Clone, Copy)]
enum Priorities {
    One,
    Five,
}

impl Priorities {
    fn of(self, number: usize) -> Priority {
        match self {
            Self::One => Priority::Normal,
            Self::Five => *Priority::ALL.get(number % Priority::ALL.len()).unwrap_or(&Priority::Normal),
        }
    }
}

fn task(priority: Priority) -> anyhow::Result<NewTask> {
    Ok(NewTask {
        id: TaskId::new(),
        lane: LaneKey { task_type: TaskType::new("noop")?, ai_model: None },
        priority,
        payload: RawValue::from_string(
            r#"{"to":"user@example.com","data":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#.to_owned(),
        )?,
        plan: TaskPlan::default(),
        run_at: UnixMs(0),
        max_attempts: 3,
        tenant: None,
        idempotency: None,
    })
}

fn receipt() -> Receipt {
    Receipt {
        fuel_used: 1_000,
        memory_peak_bytes: 1 << 17,
        queue_ms: 10,
        run_ms: 0,
        host_calls: 0,
        input_bytes: 2,
        output_bytes: 4,
        http_requests: 0,
        http_bytes: 0,
        child_tasks: 0,
        plugin: "noop".to_owned(),
        plugin_version: "0.1.0".to_owned(),
        plugin_digest: "0".repeat(64),
        host: "bench".to_owned(),
        limits: Limits::defaults(),
    }
}

fn end(task: &ClaimedTask, now: UnixMs) -> Finish {
    Finish {
        claim: task.claim,
        outcome: Outcome::Succeeded,
        next: Next::Final(TaskState::Succeeded),
        started_at: now,
        finished_at: now,
        result: Some(Box::from("null")),
        error: None,
        receipt: receipt(),
        service: Service::from_micros(1),
        logs: Vec::new(),
        outputs: Vec::new(),
        children: Vec::new(),
    }
}

async fn submit(store: &Arc<dyn Store>, tasks: usize, priorities: Priorities) -> anyhow::Result<f64> {
    let clock = SystemClock::new();
    let mut submitters = JoinSet::new();
    for submitter in 0..SUBMITTERS {
        let store = Arc::clone(store);
        submitters.spawn(async move {
            let clock = SystemClock::new();
            for first in (submitter * BATCH..tasks).step_by(SUBMITTERS * BATCH) {
                let batch =
                    (first..(first + BATCH).min(tasks)).map(|number| task(priorities.of(number))).collect::<anyhow::Result<Vec<_>>>()?;
                store.submit(batch, clock.now()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = submitters.join_next().await {
        done??;
    }
    Ok(number(tasks) / clock.monotonic().as_secs_f64())
}

/// Tasks per second from claim to committed end, until so many are done.
async fn drain(store: &Arc<dyn Store>, tasks: usize) -> anyhow::Result<f64> {
    let clock = SystemClock::new();
    let (mut done, mut ending) = (0, JoinSet::new());
    while done < tasks {
        let request = ClaimRequest { host: "bench".into(), now: clock.now(), max_tasks: u32::try_from(CLAIM)?, urgent_only: false };
        let claimed = store.claim(request).await?.tasks;
        if claimed.is_empty() {
            break;
        }
        done += claimed.len();
        while ending.len() >= ENDING
            && let Some(ended) = ending.join_next().await
        {
            ended??;
        }
        let (store, now) = (Arc::clone(store), clock.now());
        ending.spawn(async move { store.finish(claimed.iter().map(|task| end(task, now)).collect()).await.map(drop) });
    }
    while let Some(ended) = ending.join_next().await {
        ended??;
    }
    Ok(number(done) / clock.monotonic().as_secs_f64())
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Tasks per second that are submitted, and that are claimed and finished: medians.
async fn rates(store: &Arc<dyn Store>, priorities: Priorities) -> anyhow::Result<(f64, f64)> {
    let (mut submitted, mut drained) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        submitted.push(submit(store, TASKS, priorities).await?);
        drained.push(drain(store, TASKS).await?);
    }
    Ok((table::median(submitted), table::median(drained)))
}

/// The rates of one kind of database, as a table. Both at once is what comes of one second that is spent on both.
async fn all_rates(store: &Arc<dyn Store>, title: &str) -> anyhow::Result<()> {
    let mut rows = vec![row!["", "submitted", "claimed and finished", "both"]];
    for (name, priorities) in [("one priority", Priorities::One), ("five priorities in turn", Priorities::Five)] {
        let (submitted, drained) = rates(store, priorities).await?;
        let both = 1.0 / (1.0 / submitted + 1.0 / drained);
        rows.push(row![name, table::per_second(submitted), table::per_second(drained), table::per_second(both)]);
    }
    table::print(
        &format!(
            "{title}: {TASKS} no-op tasks with result and receipt, {SUBMITTERS} submitters of batches of {BATCH}, one claimer of {CLAIM} at a time, median of {ROUNDS}"
        ),
        &rows,
    );
    Ok(())
}

/// The queue alone on SQLite.
pub(crate) fn on_sqlite(bench: &Bench) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(async {
        let path = bench.folder("queue")?.join("queue.db");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).await?);
        all_rates(&store, "(queue) SQLite at synchronous=FULL").await?;
        store.close().await;
        Ok(())
    })
}

/// A whole host on Postgres, every task in a sandbox of its own.
pub(crate) fn host(bench: &Bench) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(async {
        let (mut submitted, mut run, mut through) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let start = async |name: &str| Running::start_on(bench, &format!("{name}-{round}"), Some(&database("bench_host").await?)).await;
            let (submits, runs) = throughput::one_after_the_other(start("pg-host-apart").await?).await?;
            submitted.push(submits);
            run.push(runs);
            through.push(throughput::through(start("pg-host").await?).await?);
        }
        let rows = [
            row!["", "tasks"],
            row!["HTTP batch → committed, none running", table::per_second(table::median(submitted))],
            row!["claimed → sandbox → committed, none coming in", table::per_second(table::median(run))],
            row!["HTTP batch → sandbox → committed, all at once", table::per_second(table::median(through))],
        ];
        table::print(&format!("(pg-host) no-op tasks through a host on Postgres, median of {ROUNDS}"), &rows);
        Ok(())
    })
}

/// The queue alone on Postgres, and what the tables hold afterwards.
pub(crate) fn on_postgres() -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(async {
        let url = database("bench_queue").await?;
        let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url, PostgresOptions::default()).await?);
        all_rates(&store, "(pg) Postgres with default durability").await?;
        // Up to a million, for the sizes.
        for _ in 2 * ROUNDS..MILLION / TASKS {
            submit(&store, TASKS, Priorities::Five).await?;
            drain(&store, TASKS).await?;
        }
        let mut conn = PgConnection::connect(&url).await?;
        print!("{}", sizes(&mut conn).await?);
        store.close().await;
        Ok(())
    })
}

/// A database with so much in it, and perhaps a transaction that keeps anything from being cleaned up.
struct Flat {
    name: &'static str,
    queued: i64,
    store: Arc<dyn Store>,
    /// Never used again; it is there.
    _pin: Option<PgConnection>,
    rates: Vec<f64>,
}

impl Flat {
    async fn fill(number: usize, name: &'static str, queued: i64, ended: i64, pinned: bool) -> anyhow::Result<Self> {
        let url = database(&format!("bench_flat_{number}")).await?;
        let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url, PostgresOptions::default()).await?);
        // Makes the lane.
        store.submit(vec![task(Priority::Normal)?], SystemClock::new().now()).await?;
        let mut conn = PgConnection::connect(&url).await?;
        fill(&mut conn, queued, ended).await?;
        let pin = if pinned {
            sqlx::raw_sql("BEGIN; SELECT txid_current()").execute(&mut conn).await?;
            Some(conn)
        } else {
            None
        };
        Ok(Self { name, queued, store, _pin: pin, rates: Vec::new() })
    }
}

/// The same with little and with much in the tables, and while an old transaction keeps anything from being cleaned up. The databases
/// take turns, so that a noisy moment of the machine meets all of them.
pub(crate) fn flat() -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(async {
        let mut databases = [
            Flat::fill(0, "1 000 queued", 1_000, 0, false).await?,
            Flat::fill(1, "1 000 queued, horizon pinned", 1_000, 0, true).await?,
            Flat::fill(2, "5 000 000 queued and 5 000 000 done", MANY, MANY, false).await?,
            Flat::fill(3, "5 000 000 queued and 5 000 000 done, horizon pinned", MANY, MANY, true).await?,
        ];
        eprintln!("the tables are filled; measuring");
        for _ in 0..FLAT_ROUNDS {
            for database in &mut databases {
                // Where little waits, what is taken is put back, so that there is always about as much.
                if database.queued < MANY {
                    submit(&database.store, TASKS, Priorities::One).await?;
                }
                database.rates.push(drain(&database.store, TASKS).await?);
            }
        }
        let mut rows = vec![row!["", "tasks", "of the first", "round by round"]];
        let first = databases.first().map_or(f64::NAN, |first| table::median(first.rates.clone()));
        for database in databases {
            database.store.close().await;
            let shown: Vec<String> = database.rates.iter().map(|rate| format!("{rate:.0}")).collect();
            let rate = table::median(database.rates);
            rows.push(row![database.name, table::per_second(rate), format!("{:.2}", rate / first), shown.join(" ")]);
        }
        table::print(&format!("(pg-flat) claim {CLAIM} and finish, {TASKS} tasks a round, median of {FLAT_ROUNDS} rounds"), &rows);
        Ok(())
    })
}

/// Tasks written by the database itself, in the lane that is there.
async fn fill(conn: &mut PgConnection, queued: i64, done: i64) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(format!(
        "WITH n AS (SELECT nextval('taskwarden.task_seq') AS seq, g AS number FROM generate_series(1, {queued} + {done}) g), \
         t AS (INSERT INTO taskwarden.tasks (seq, created_at_ms, run_at_ms, run_key, lane_id, max_attempts, rank, id, payload) \
               SELECT seq, 1000 + seq, 1000 + seq, 1000 + seq - 120000, 1, 3, 2, gen_random_uuid()::text, '{{}}' FROM n), \
         d AS (INSERT INTO taskwarden.done (seq, finished_at_ms, started_at_ms, attempt, state, outcome, receipt, result) \
               SELECT seq, 2000 + seq, 1000 + seq, 1, 3, 'succeeded', '{{}}', 'null' FROM n WHERE number <= {done}), \
         r AS (INSERT INTO taskwarden.ready (run_key, seq, lane_id, rank) \
               SELECT 1000 + seq - 120000, seq, 1, 2 FROM n WHERE number > {done}) \
         INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running) VALUES (1, {queued}, 0, 0)"
    )))
    .execute(&mut *conn)
    .await?;
    sqlx::raw_sql("VACUUM (ANALYZE)").execute(&mut *conn).await?;
    sqlx::raw_sql("CHECKPOINT").execute(conn).await?;
    Ok(())
}

async fn sizes(conn: &mut PgConnection) -> anyhow::Result<String> {
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT c.relname::text, c.reltuples::bigint, pg_table_size(c.oid), pg_indexes_size(c.oid) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'taskwarden' AND c.relkind = 'r' AND pg_table_size(c.oid) > 100000 \
         ORDER BY 3 DESC",
    )
    .fetch_all(conn)
    .await?;
    let lines = rows.iter().map(|(name, tuples, table, indexes)| {
        format!(
            "  {name:<16} {:>9} rows at the last vacuum, table {:>6} KiB, indexes {:>6} KiB\n",
            tuples.max(&0),
            table / 1024,
            indexes / 1024
        )
    });
    Ok(lines.collect())
}
