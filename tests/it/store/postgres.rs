//! What is particular to the Postgres store, and a database of its own for each test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use sqlx_postgres::{PgConnectOptions, PgConnection};
use taskwarden::store::Store;
use taskwarden::store::postgres::{PostgresOptions, PostgresStore, TimeSource, migrate};

/// A database of its own, gone again with [`Database::drop`].
pub(crate) struct Database {
    name: String,
    pub(crate) url: String,
}

fn server() -> String {
    std::env::var_os("TASKWARDEN_TEST_POSTGRES").and_then(|url| url.into_string().ok()).expect(
        "TASKWARDEN_TEST_POSTGRES is the URL of a PostgreSQL in which databases may be made; `cargo xtask test` starts one and sets it",
    )
}

async fn on_server(sql: String) {
    let mut conn = server().parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

fn url_of(name: &str) -> String {
    let (base, parameters) =
        server().split_once('?').map(|(base, rest)| (base.to_owned(), format!("?{rest}"))).unwrap_or((server(), String::new()));
    let (host, _) = base.rsplit_once('/').expect("a URL with a database");
    format!("{host}/{name}{parameters}")
}

impl Database {
    /// An empty one.
    pub(crate) async fn empty() -> Self {
        Self::make("template0").await
    }

    /// A migrated one, copied from one that was migrated before.
    pub(crate) async fn migrated() -> Self {
        static TEMPLATE: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(async || {
                let template = Self::make("template0").await;
                migrate(&template.url, false).await.unwrap();
                template.name
            })
            .await;
        Self::make(template).await
    }

    async fn make(template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("tw_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        on_server(format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        Self { url: url_of(&name), name }
    }

    /// What no other test has.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        self.url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    pub(crate) async fn open(&self, options: PostgresOptions) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open(&self.url, options).await.unwrap())
    }

    /// Takes it away from everybody who uses it; they cannot come back either.
    pub(crate) async fn shut(&self) {
        on_server(format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", self.name)).await;
        on_server(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", self.name)).await;
    }

    pub(crate) async fn drop(self) {
        on_server(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

/// As tests want it: their clock decides, and one instance is another store's host.
pub(crate) fn options() -> PostgresOptions {
    PostgresOptions { lanes_max: 64, connections: 6, time: TimeSource::Caller, ..PostgresOptions::default() }
}

pub(crate) struct Opened {
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) database: Database,
}

impl Opened {
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    pub(crate) async fn close(self) {
        self.store.close().await;
        self.database.drop().await;
    }
}

pub(crate) async fn open() -> Opened {
    let database = Database::migrated().await;
    Opened { store: database.open(options()).await, database }
}

mod tests {
    use std::collections::HashSet;

    use sqlx::Row as _;
    use taskwarden::clock::UnixMs;
    use taskwarden::store::postgres::MIGRATIONS;
    use taskwarden::store::{ClaimRequest, ClaimedTask, StoreError, TaskFilter, TaskStore as _};
    use taskwarden::task::{Next, Priority, TaskState};

    use super::super::support::{NOW, at, claim, lane, new_task, simple, state, succeed};
    use super::*;

    /// Claims until there is something: what others put there is told of or found, but not at once.
    async fn claim_soon(store: &Arc<dyn Store>, max_tasks: u32, now: UnixMs) -> Vec<ClaimedTask> {
        for _ in 0..1_000_000 {
            let tasks = claim(store, max_tasks, now).await.tasks;
            if !tasks.is_empty() {
                return tasks;
            }
            tokio::task::yield_now().await;
        }
        panic!("there is nothing to claim");
    }

    #[tokio::test]
    async fn hosts_that_start_together_migrate_once() {
        let database = Database::empty().await;
        let opening = (0..4).map(|_| database.open(options()));
        let stores = futures::future::join_all(opening).await;
        let mut conn = database.connect().await;
        let names: Vec<String> =
            sqlx::query_scalar("SELECT name FROM taskwarden.schema_migrations ORDER BY number").fetch_all(&mut conn).await.unwrap();
        assert_eq!(names, MIGRATIONS.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
        for store in stores {
            store.close().await;
        }
        database.drop().await;
    }

    #[tokio::test]
    async fn a_dry_run_tells_and_leaves_the_database_as_it_was() {
        let database = Database::empty().await;
        let report = migrate(&database.url, true).await.unwrap();
        assert_eq!((report.existed, report.applied.len()), (false, MIGRATIONS.len()));
        let mut conn = database.connect().await;
        let schemas: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = 'taskwarden'").fetch_one(&mut conn).await.unwrap();
        assert_eq!(schemas, 0);
        assert_eq!(migrate(&database.url, false).await.unwrap().applied.len(), MIGRATIONS.len());
        assert!(migrate(&database.url, false).await.unwrap().applied.is_empty());
        sqlx::raw_sql("INSERT INTO taskwarden.schema_migrations VALUES (999, '0999_from_the_future', 0)").execute(&mut conn).await.unwrap();
        let refused = PostgresStore::open(&database.url, options()).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Broken(why) if why.contains("0999_from_the_future")), "{refused}");
        database.drop().await;
    }

    #[tokio::test]
    async fn a_table_of_the_first_shape_is_taken_over() {
        let database = Database::empty().await;
        let mut conn = database.connect().await;
        sqlx::raw_sql(MIGRATIONS[0].1).execute(&mut conn).await.unwrap();
        sqlx::raw_sql(
            "INSERT INTO execution_tasks (id, task_type, state, priority, payload, result, error, attempt, created_at_ms, started_at_ms) VALUES \
             ('0190b2a0-0000-7000-8000-000000000001', 'implement_idea', 'queued', 'high', '{\"ai_model\":\"opus\",\"model\":\"x\"}', NULL, NULL, 0, 10, NULL), \
             ('0190b2a0-0000-7000-8000-000000000002', 'implement_idea', 'running', 'normal', '{\"model\":\"sonnet\"}', NULL, NULL, 2, 20, 21), \
             ('0190b2a0-0000-7000-8000-000000000003', 'implement_idea', 'scheduled', 'low', '{\"model\":\"a*\"}', NULL, 'once', 1, 30, 31), \
             ('0190B2A0-0000-7000-8000-00000000000A', 'two words', 'succeeded', 'urgent', 'no json', '{\"a\":1}', NULL, 1, 40, 41), \
             ('not-a-uuid', 'echo', 'odd', 'normal', '{}', NULL, 'why', 3, 50, NULL)",
        )
        .execute(&mut conn)
        .await
        .unwrap();
        let store: Arc<dyn Store> = database.open(options()).await;
        let page = store.tasks(TaskFilter { limit: 10, ..TaskFilter::default() }).await.unwrap().tasks;
        let told: Vec<_> = page.iter().rev().map(|task| (task.lane.to_string(), task.state, task.attempt)).collect();
        let named = |task_type: &str, model| lane(task_type, model).to_string();
        assert_eq!(
            told,
            [
                (named("implement_idea", Some("opus")), TaskState::Queued, 0),
                (named("implement_idea", Some("sonnet")), TaskState::Running, 2),
                (named("implement_idea", None), TaskState::Scheduled, 1),
                (named("unknown", None), TaskState::Succeeded, 1),
                (named("echo", None), TaskState::Failed, 3),
            ]
        );
        assert_eq!((page[1].payload.get(), page[1].priority), ("\"no json\"", Priority::Normal));
        let legacy: Vec<String> = sqlx::query_scalar("SELECT legacy FROM execution_tasks WHERE legacy IS NOT NULL ORDER BY seq")
            .fetch_all(&mut conn)
            .await
            .unwrap();
        assert!(legacy[0].contains("two words") && legacy[0].contains("urgent") && legacy[1].contains("not-a-uuid"), "{legacy:?}");
        let back = store.reap(NOW, false, &|_, _, _| Next::RetryAt(NOW)).await.unwrap();
        assert_eq!(back.len(), 1, "the host that ran it before is gone");
        assert_eq!(claim(&store, 10, at(1)).await.tasks.len(), 3);
        store.close().await;
        database.drop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_thousand_submitters_share_commits() {
        let opened = open().await;
        let before = opened.store.commits();
        let mut submitters = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let store = Arc::clone(&opened.store);
            submitters.spawn(async move { store.submit(vec![simple()], NOW).await.unwrap().remove(0).id });
        }
        let ids: HashSet<_> = submitters.join_all().await.into_iter().collect();
        let commits = opened.store.commits() - before;
        assert!(ids.len() == 1000 && commits <= 200, "1000 submissions took {commits} commits");
        assert_eq!(opened.store.lanes().await.unwrap()[0].queued, 1000);
        opened.close().await;
    }

    #[tokio::test]
    async fn one_bad_request_does_not_spoil_its_group() {
        let opened = open().await;
        let twice = simple();
        opened.store.submit(vec![twice.clone()], NOW).await.unwrap();
        // The same identity again is an error that only the database finds, in the middle of a group.
        let (first, bad, refused, last) = tokio::join!(
            opened.store.submit(vec![simple()], NOW),
            opened.store.submit(vec![twice], NOW),
            opened.store.submit((0..65).map(|n| new_task(lane("t", Some(&format!("m{n}"))), Priority::Low)).collect(), NOW),
            opened.store.submit(vec![simple()], NOW),
        );
        assert!(first.unwrap()[0].created && last.unwrap()[0].created);
        assert!(matches!(bad, Err(StoreError::Broken(_))));
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
        let store = opened.shared();
        assert_eq!(claim(&store, 10, NOW).await.tasks.len(), 3);
        opened.close().await;
    }

    #[tokio::test]
    async fn a_claim_whose_caller_left_is_held_by_nobody() {
        let opened = open().await;
        let store = opened.shared();
        store.submit(vec![simple()], NOW).await.unwrap();
        for turns in 0..20 {
            {
                let mut unheard = std::pin::pin!(claim(&store, 1, NOW));
                assert!(futures::poll!(&mut unheard).is_pending());
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                if let std::task::Poll::Ready(claimed) = futures::poll!(&mut unheard) {
                    store.give_back(claimed.tasks.into_iter().map(|task| task.claim).collect(), NOW, NOW).await.unwrap();
                }
            }
            // The claim that nobody heard of is given back by the time the next one has its turn, or a moment later.
            let tasks = claim_soon(&store, 1, NOW).await;
            assert_eq!(tasks[0].attempt, 1);
            store.give_back(vec![tasks[0].claim], NOW, NOW).await.unwrap();
        }
        opened.close().await;
    }

    #[tokio::test]
    async fn behind_a_pooler_nothing_is_left_in_a_connection() {
        let database = Database::migrated().await;
        let store = database.open(PostgresOptions { pooled: true, connections: 2, ..options() }).await;
        let shared: Arc<dyn Store> = store.clone();
        shared.submit(vec![simple(), simple()], NOW).await.unwrap();
        let tasks = claim(&shared, 2, NOW).await.tasks;
        shared.finish(vec![succeed(&tasks[0], NOW)]).await.unwrap();
        assert_eq!(state(&shared, tasks[0].id).await, TaskState::Succeeded);
        let mut conn = database.connect().await;
        let listening: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'")
                .fetch_one(&mut conn)
                .await
                .unwrap();
        assert_eq!(listening, 0);
        store.close().await;
        database.drop().await;
    }

    #[tokio::test]
    async fn a_program_submits_in_its_own_transaction() {
        let opened = open().await;
        let store = opened.shared();
        let mut conn = opened.database.connect().await;
        sqlx::raw_sql("CREATE TABLE orders (id integer PRIMARY KEY)").execute(&mut conn).await.unwrap();
        let submit = "SELECT taskwarden_submit('implement_idea', jsonb_build_object('order', 7), ai_model => 'opus', priority => 'high', \
                      tenant => 'acme', idempotency_key => 'order-7', tags => ARRAY['a', 'b'])";
        // Rolled back: neither the order nor the task is there.
        sqlx::raw_sql("BEGIN; INSERT INTO orders VALUES (7)").execute(&mut conn).await.unwrap();
        sqlx::query(submit).execute(&mut conn).await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.unwrap();
        assert!(claim(&store, 10, NOW).await.tasks.is_empty());

        sqlx::raw_sql("BEGIN; INSERT INTO orders VALUES (7)").execute(&mut conn).await.unwrap();
        let id: String = sqlx::query(submit).fetch_one(&mut conn).await.unwrap().get(0);
        assert!(claim(&store, 10, NOW).await.tasks.is_empty(), "not before the commit");
        sqlx::raw_sql("COMMIT").execute(&mut conn).await.unwrap();
        let again: String = sqlx::query(submit).fetch_one(&mut conn).await.unwrap().get(0);
        assert_eq!(again, id, "the key was used before");
        let task = claim_soon(&store, 10, at(1)).await.remove(0);
        assert_eq!((task.id.to_string(), &*task.payload, task.priority), (id, r#"{"order": 7}"#, Priority::High));
        assert_eq!((task.lane, task.plan.tags), (lane("implement_idea", Some("opus")), vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(task.id.0.get_version_num(), 7);

        for (arguments, code) in [
            ("'two words'", "22023"),
            ("NULL", "22023"),
            ("'t', ai_model => 'a*'", "22023"),
            ("'t', priority => 'urgent'", "22023"),
            ("'t', tenant => ''", "22023"),
            ("'t', max_attempts => 0", "22023"),
            ("'t', tags => ARRAY['']", "22023"),
            ("'t', payload => NULL", "22023"),
            ("'t', payload => to_jsonb(repeat('x', 2000000))", "54000"),
            ("'t', '{oops'", "22P02"),
            ("'implement_idea', '{}', tenant => 'acme', idempotency_key => 'order-7'", "23505"),
        ] {
            let sql = format!("SELECT taskwarden_submit({arguments})");
            let error = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap_err();
            assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some(code), "{arguments}: {error}");
        }
        let later: String =
            sqlx::query_scalar("SELECT taskwarden_submit('t', run_at => now() + interval '1 hour')").fetch_one(&mut conn).await.unwrap();
        assert_eq!(state(&store, later.parse().unwrap()).await, TaskState::Scheduled);
        opened.close().await;
    }

    #[tokio::test]
    async fn what_was_committed_late_is_not_passed_over() {
        let opened = open().await;
        let store = opened.shared();
        let mut conn = opened.database.connect().await;
        store.submit(vec![simple()], NOW).await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut conn).await.unwrap();
        let late: String =
            sqlx::query_scalar("SELECT taskwarden_submit('echo', priority => 'critical')").fetch_one(&mut conn).await.unwrap();
        // Claimed far beyond it meanwhile.
        store.submit((0..49).map(|_| simple()).collect(), at(10_000_000_000)).await.unwrap();
        assert_eq!(claim(&store, 20, at(10_000_000_000)).await.tasks.len(), 20);
        sqlx::raw_sql("COMMIT").execute(&mut conn).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 31 {
            let tasks = claim_soon(&store, 7, at(10_000_000_000)).await;
            seen.extend(tasks.into_iter().map(|task| task.id.to_string()));
        }
        assert!(seen.contains(&late));
        opened.close().await;
    }

    #[tokio::test]
    async fn leases_run_by_the_clock_of_the_database_whatever_hosts_think() {
        let database = Database::migrated().await;
        let fast = database.open(PostgresOptions { time: TimeSource::Database, ..options() }).await;
        let slow = database.open(PostgresOptions { time: TimeSource::Database, ..options() }).await;
        // One host's clock is a day ahead and the other's a day behind.
        let now = taskwarden::clock::Clock::now(&taskwarden::clock::SystemClock::new());
        let day = Duration::from_secs(86_400);
        let (ahead, behind) = (now.plus(day), now.minus(day));
        let lease = Duration::from_secs(15);
        fast.heartbeat("fast", ahead, ahead.plus(lease)).await.unwrap();
        slow.heartbeat("slow", behind, behind.plus(lease)).await.unwrap();
        fast.submit(vec![simple(), simple()], ahead).await.unwrap();
        let request = |host: &str, now| ClaimRequest { host: host.into(), now, max_tasks: 1, urgent_only: false };
        let by_slow = slow.claim(request("slow", behind)).await.unwrap().tasks;
        let by_fast = fast.claim(request("fast", ahead)).await.unwrap().tasks;
        assert_eq!((by_slow.len(), by_fast.len()), (1, 1));
        let waited = behind.since(by_slow[0].ready_at).max(ahead.since(by_fast[0].ready_at));
        assert!(waited < Duration::from_secs(60), "times are shown by the clock of whoever asks: {waited:?}");
        let never = |_: u32, _: u32, _: u32| panic!("nobody is dead");
        assert!(fast.reap(ahead, false, &never).await.unwrap().is_empty());
        assert!(slow.reap(behind, false, &never).await.unwrap().is_empty());
        fast.close().await;
        slow.close().await;
        database.drop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hosts_share_the_work_and_keep_to_the_caps() {
        let database = Database::migrated().await;
        let stores = futures::future::join_all((0..3).map(|_| database.open(options()))).await;
        let (capped, free) = (lane("capped", None), lane("free", None));
        let patch = taskwarden::store::LanePatch { concurrency_cap: Some(Some(3)), ..Default::default() };
        stores[0].set_lane(&capped, patch).await.unwrap();
        for lane in [&capped, &free] {
            stores[0].submit((0..150).map(|_| new_task(lane.clone(), Priority::Normal)).collect(), NOW).await.unwrap();
        }
        let (running, ended) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut hosts = tokio::task::JoinSet::new();
        for (number, store) in stores.iter().cloned().enumerate() {
            let (running, ended, capped) = (Arc::clone(&running), Arc::clone(&ended), capped.clone());
            hosts.spawn(async move {
                let mut ids = Vec::new();
                while ended.load(Ordering::SeqCst) < 300 {
                    let request = ClaimRequest { host: format!("host-{number}").into(), now: NOW, max_tasks: 5, urgent_only: false };
                    let tasks = store.claim(request).await.unwrap().tasks;
                    let of_lane = u32::try_from(tasks.iter().filter(|task| task.lane == capped).count()).unwrap();
                    let now_running = running.fetch_add(of_lane, Ordering::SeqCst) + of_lane;
                    assert!(now_running <= 3, "{now_running} of a lane that may have 3");
                    tokio::task::yield_now().await;
                    running.fetch_sub(of_lane, Ordering::SeqCst);
                    store.finish(tasks.iter().map(|task| succeed(task, NOW)).collect()).await.unwrap();
                    ended.fetch_add(u32::try_from(tasks.len()).unwrap(), Ordering::SeqCst);
                    ids.extend(tasks.into_iter().map(|task| task.id));
                }
                ids
            });
        }
        let all: Vec<_> = hosts.join_all().await.into_iter().flatten().collect();
        assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (300, 300), "each task once");
        for store in stores {
            store.close().await;
        }
        database.drop().await;
    }

    #[tokio::test]
    async fn a_host_that_starts_anew_is_another_host() {
        let database = Database::migrated().await;
        let first = database.open(options()).await;
        first.heartbeat("host-a", NOW, at(15_000)).await.unwrap();
        first.submit(vec![simple()], NOW).await.unwrap();
        let shared: Arc<dyn Store> = first.clone();
        let held = claim(&shared, 1, NOW).await.tasks.remove(0);
        // It dies here, and its successor of the same name says that it lives.
        let second: Arc<dyn Store> = database.open(options()).await;
        assert!(second.heartbeat("host-a", at(5_000), at(20_000)).await.unwrap().held.is_empty());
        let again = |_: u32, _: u32, _: u32| Next::RetryAt(at(15_001));
        assert!(second.reap(at(15_000), false, &again).await.unwrap().is_empty(), "the lease of the first still runs");
        assert_eq!(second.reap(at(15_001), false, &again).await.unwrap(), [held.id]);
        let task = claim(&second, 1, at(15_001)).await.tasks.remove(0);
        assert_eq!((task.id, task.attempt), (held.id, 2));
        assert_eq!(first.finish(vec![succeed(&held, at(15_002))]).await.unwrap(), [taskwarden::store::Finished::Stale]);
        assert!(first.heartbeat("host-a", at(15_003), at(30_000)).await.unwrap().held.is_empty(), "it hears that it lost it");
        first.close().await;
        second.close().await;
        database.drop().await;
    }
}
