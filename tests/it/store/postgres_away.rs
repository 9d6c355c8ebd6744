//! A database that hangs up, or that is of another version than the host.

use std::sync::Arc;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx_postgres::PgConnection;
use taskwarden::clock::VirtualClock;
use taskwarden::event::Bells;
use taskwarden::store::postgres::{MIGRATIONS, PostgresOptions, PostgresStore};
use taskwarden::store::{Store, StoreError, TaskStore as _};
use taskwarden::task::TaskState;

use super::postgres::{Database, options};
use super::support::{NOW, at, claim, simple, state, succeed};

/// Cuts every connection but the caller's own, as a restart of the server would.
async fn hang_up(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .fetch_one(conn)
    .await
    .expect("hung up")
}

async fn listeners(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
        .fetch_one(conn)
        .await
        .expect("counted")
}

#[tokio::test]
async fn connections_that_died_at_rest_fail_no_request() {
    let database = Database::migrated().await;
    let store = database.open(options()).await;
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let mut conn = database.connect().await;
    for round in 0..5 {
        // As many connections as there may be, all back in the pool.
        let lists: Vec<_> = (0..6).map(|_| store.lanes()).collect();
        for list in futures::future::join_all(lists).await {
            list.expect("read");
        }
        assert!(hang_up(&mut conn).await > 0);
        store.submit(vec![simple()], NOW).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(hang_up(&mut conn).await > 0);
        let tasks = claim(&shared, 1, NOW).await.tasks;
        assert!(hang_up(&mut conn).await > 0);
        store.finish(vec![succeed(&tasks[0], NOW)]).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(hang_up(&mut conn).await > 0);
        assert_eq!(state(&shared, tasks[0].id).await, TaskState::Succeeded);
    }
    store.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_host_listens_again_when_its_ear_was_cut_off() {
    let database = Database::migrated().await;
    let clock = VirtualClock::starting_at(NOW);
    let bells = Arc::new(Bells::default());
    let store = database.open(PostgresOptions { clock: clock.clone(), bells: Some(Arc::clone(&bells)), ..options() }).await;
    let mut conn = database.connect().await;
    while listeners(&mut conn).await == 0 {
        tokio::task::yield_now().await;
    }
    hang_up(&mut conn).await;
    while listeners(&mut conn).await == 0 {
        // The pause before it tries again is on this clock.
        clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    // What another program submits rings here at once, not at the next look.
    let heard = bells.work.notified();
    sqlx::raw_sql("SELECT taskwarden_submit('echo')").execute(&mut conn).await.expect("submitted");
    heard.await;
    store.close().await;
    database.drop().await;
}

/// The migrations before `until`, as an older build would have run them.
async fn migrated_until(database: &Database, until: usize) -> PgConnection {
    let mut conn = database.connect().await;
    let mut text = "BEGIN; CREATE SCHEMA taskwarden; \
         CREATE TABLE taskwarden.schema_migrations (number bigint PRIMARY KEY, name text NOT NULL, applied_at_ms bigint NOT NULL);"
        .to_owned();
    for (number, (name, migration)) in (1..).zip(&MIGRATIONS[..until]) {
        text.push_str(migration);
        text.push_str(&format!("; INSERT INTO taskwarden.schema_migrations VALUES ({number}, '{name}', 0);"));
    }
    text.push_str("COMMIT");
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.expect("the older shape");
    conn
}

#[tokio::test]
async fn a_database_of_each_older_shape_goes_on_where_it_was() {
    let first_with_submit = MIGRATIONS.iter().position(|(name, _)| *name == "0008_tenants").expect("it is there") + 1;
    for until in first_with_submit..=MIGRATIONS.len() {
        let database = Database::empty().await;
        let mut conn = migrated_until(&database, until).await;
        let id: String =
            sqlx::query_scalar("SELECT taskwarden_submit('echo', tenant => 'acme')").fetch_one(&mut conn).await.expect("submitted");
        let store = database.open(options()).await;
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let task = claim(&shared, 1, at(i64::from(i32::MAX))).await.tasks.pop().unwrap_or_else(|| panic!("lost by {until}"));
        assert_eq!((task.id.to_string(), task.tenant.map(|tenant| tenant.to_string())), (id, Some("acme".to_owned())));
        store.close().await;
        database.drop().await;
    }
}

#[tokio::test]
async fn a_host_goes_on_while_a_newer_one_extends_the_database_and_only_a_new_start_is_refused() {
    let database = Database::migrated().await;
    let store = database.open(options()).await;
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    store.submit(vec![simple(), simple()], NOW).await.expect("submitted");
    let before = claim(&shared, 1, NOW).await.tasks;
    let mut conn = database.connect().await;
    // What the first half of a change in two halves may do: add, with defaults.
    sqlx::raw_sql(
        "BEGIN; ALTER TABLE taskwarden.tasks ADD COLUMN newer integer NOT NULL DEFAULT 0; \
         ALTER TABLE taskwarden.ready ADD COLUMN newer integer NOT NULL DEFAULT 0; \
         ALTER TABLE taskwarden.running ADD COLUMN newer text; ALTER TABLE taskwarden.done ADD COLUMN newer text; \
         CREATE TABLE taskwarden.newer (n integer); \
         INSERT INTO taskwarden.schema_migrations VALUES (999, '0999_newer', 0); COMMIT",
    )
    .execute(&mut conn)
    .await
    .expect("extended");
    store.finish(vec![succeed(&before[0], NOW)]).await.expect("recorded");
    store.submit(vec![simple()], NOW).await.expect("submitted");
    let after = claim(&shared, 5, NOW).await.tasks;
    assert_eq!(after.len(), 2);
    store.finish(after.iter().map(|task| succeed(task, NOW)).collect()).await.expect("recorded");
    for task in before.iter().chain(&after) {
        assert_eq!(state(&shared, task.id).await, TaskState::Succeeded);
    }
    let refused = PostgresStore::open(&database.url, options()).await.expect_err("it would not know what it works on");
    assert!(matches!(&refused, StoreError::Broken(why) if why.contains("0999_newer")), "{refused}");
    store.close().await;
    database.drop().await;
}
