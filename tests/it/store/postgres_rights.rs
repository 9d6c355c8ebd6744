//! Roles with as few rights as docs/postgres.md gives them: its very statements, run.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use sqlx_postgres::{PgConnectOptions, PgConnection};
use taskwarden::limits::LimitSetting;
use taskwarden::store::postgres::{MIGRATIONS, PostgresOptions, PostgresStore, migrate};
use taskwarden::store::{LimitScope, Store, StoreError, TaskFilter, TaskStore as _};
use taskwarden::task::{Next, Outcome, TaskState};

use super::postgres::{Database, options};
use super::support::{NOW, at, claim, finish, keyed, simple, state, succeed};

const ROLES: [&str; 3] = ["taskwarden_owner", "taskwarden_host", "taskwarden_submitter"];

/// The SQL under the heading "Rights", with roles that no other test has.
fn blocks(suffix: &str) -> (String, String) {
    let document = include_str!("../../../docs/postgres.md");
    let (_, rights) = document.split_once("## Rights").expect("the heading");
    let mut blocks = rights.split("```sql\n").skip(1).map(|rest| rest.split("```").next().expect("an end"));
    let own = |text: &str| ROLES.iter().fold(text.to_owned(), |text, role| text.replace(role, &format!("{role}_{suffix}")));
    let mut next = || own(blocks.next().expect("a block"));
    (next(), next())
}

struct Roles {
    database: Database,
    suffix: String,
}

impl Roles {
    /// An administrator has made the roles and the owner has migrated.
    async fn new() -> Self {
        let database = Database::empty().await;
        let suffix = database.name().to_owned();
        let (by_administrator, by_owner) = blocks(&suffix);
        let mut administrator = database.connect().await;
        // As PostgreSQL has it since version 15: not everybody may make things in public.
        run(&mut administrator, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.expect("revoked");
        run(&mut administrator, &by_administrator).await.expect("the first block");
        let roles = Self { database, suffix };
        let report = migrate(&roles.url("taskwarden_owner"), false).await.expect("the owner may migrate");
        assert_eq!(report.applied.len(), MIGRATIONS.len());
        run(&mut roles.connect("taskwarden_owner").await, &by_owner).await.expect("the second block");
        roles
    }

    fn url(&self, role: &str) -> String {
        let (before, rest) = self.database.url.split_once("://").expect("a URL");
        let (_, at) = rest.split_once('@').expect("a user");
        format!("{before}://{role}_{}@{at}", self.suffix)
    }

    async fn connect(&self, role: &str) -> PgConnection {
        self.url(role).parse::<PgConnectOptions>().expect("a URL").connect().await.expect("connected")
    }

    async fn drop(self) {
        let mut administrator = self.database.connect().await;
        for role in ROLES {
            let role = format!("{role}_{}", self.suffix);
            run(&mut administrator, &format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await.expect("dropped");
        }
        administrator.close().await.expect("closed");
        self.database.drop().await;
    }
}

async fn run(conn: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(drop)
}

/// SQLSTATE of the refusal.
async fn refusal(conn: &mut PgConnection, sql: &str) -> String {
    let error = run(conn, sql).await.expect_err(sql);
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned()).unwrap_or_else(|| error.to_string())
}

#[tokio::test]
async fn a_host_runs_with_few_rights() {
    let roles = Roles::new().await;
    let host = PostgresStore::open(&roles.url("taskwarden_host"), options()).await.expect("a host starts");
    let store: Arc<dyn Store> = Arc::new(host);
    store.heartbeat("host-a", NOW, at(15_000)).await.expect("it registers");
    store.submit(vec![keyed("k", 1, Some("acme")), simple(), simple()], NOW).await.expect("it submits");
    let tasks = claim(&store, 3, NOW).await.tasks;
    let again = finish(&tasks[1], Outcome::Transient, Next::RetryAt(at(5)), NOW);
    store.finish(vec![succeed(&tasks[0], NOW), again]).await.expect("it records ends");
    store.give_back(vec![tasks[2].claim], NOW, NOW).await.expect("it gives back");
    assert_eq!(state(&store, tasks[0].id).await, TaskState::Succeeded);
    assert_eq!(claim(&store, 3, at(10)).await.tasks.len(), 2);
    store.set_limits(LimitScope::Host, LimitSetting::default(), NOW).await.expect("it keeps settings");
    assert_eq!(store.prune(at(1), 10).await.expect("it deletes what is old"), 1);
    assert_eq!(store.tasks(TaskFilter { limit: 10, ..TaskFilter::default() }).await.expect("it reads").tasks.len(), 2);
    store.close().await;

    let mut host = roles.connect("taskwarden_host").await;
    for forbidden in [
        "CREATE TABLE taskwarden.more (n integer)",
        "ALTER TABLE taskwarden.tasks ADD COLUMN more integer",
        "DROP VIEW public.execution_tasks",
        "TRUNCATE taskwarden.tasks",
        "CREATE TABLE public.more (n integer)",
    ] {
        assert_eq!(refusal(&mut host, forbidden).await, "42501", "{forbidden}");
    }
    host.close().await.expect("closed");
    roles.drop().await;
}

#[tokio::test]
async fn a_program_that_only_submits_can_do_nothing_else() {
    let roles = Roles::new().await;
    let mut submitter = roles.connect("taskwarden_submitter").await;
    run(&mut submitter, "SELECT taskwarden_submit('echo', tenant => 'acme')").await.expect("it submits");
    for forbidden in [
        "SELECT * FROM public.execution_tasks",
        "SELECT * FROM taskwarden.tasks",
        "INSERT INTO taskwarden.tenants (name) VALUES ('mine')",
        "SELECT nextval('taskwarden.task_seq')",
        "CREATE OR REPLACE FUNCTION public.taskwarden_submit(task_type text) RETURNS text LANGUAGE sql AS $$ SELECT task_type $$",
    ] {
        assert_eq!(refusal(&mut submitter, forbidden).await, "42501", "{forbidden}");
    }
    let mut host = roles.connect("taskwarden_host").await;
    let not_given = refusal(&mut host, "SELECT public.taskwarden_submit('echo')").await;
    assert_eq!(not_given, "42501", "the function is given out by name");
    submitter.close().await.expect("closed");
    host.close().await.expect("closed");
    roles.drop().await;
}

#[tokio::test]
async fn a_host_that_may_not_migrate_says_who_has_to() {
    let roles = Roles::new().await;
    // As an older build would have left it.
    let (last, _) = MIGRATIONS.last().expect("a migration");
    let mut owner = roles.connect("taskwarden_owner").await;
    run(&mut owner, &format!("DELETE FROM taskwarden.schema_migrations WHERE name = '{last}'")).await.expect("forgotten");
    let refused = PostgresStore::open(&roles.url("taskwarden_host"), options()).await.expect_err("it may not");
    assert!(matches!(&refused, StoreError::Broken(why) if why.contains("taskwarden migrate")), "{refused}");
    owner.close().await.expect("closed");
    roles.drop().await;
}

#[tokio::test]
async fn transactions_of_others_make_no_more_tenants_than_hosts_do() {
    let database = Database::migrated().await;
    let store = database.open(PostgresOptions { tenants_max: 3, ..options() }).await;
    let mut conn = database.connect().await;
    store.submit(vec![keyed("k", 1, Some("a"))], NOW).await.expect("the first");
    for tenant in ["b", "c", "a"] {
        run(&mut conn, &format!("SELECT taskwarden_submit('echo', tenant => '{tenant}')")).await.expect(tenant);
    }
    assert_eq!(refusal(&mut conn, "SELECT taskwarden_submit('echo', tenant => 'd')").await, "54000");
    run(&mut conn, "SELECT taskwarden_submit('echo', tenant => 'c')").await.expect("one that is there");
    run(&mut conn, "SELECT taskwarden_submit('echo')").await.expect("nobody in particular");
    assert_eq!(store.tenants().await.expect("listed").len(), 4, "three, and nobody in particular");
    store.close().await;
    database.drop().await;
}
