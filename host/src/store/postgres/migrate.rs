//! Bringing a database to the shape this build expects.
//!
//! All pending migrations run in one transaction, which holds a lock that hosts starting at the same time wait for; a dry run is the
//! real run with a rollback at its end. A database that is up to date is only read, so that a host needs no right to change tables.

use sqlx::AssertSqlSafe;
use sqlx_postgres::PgPoolOptions;
use sqlx_postgres::{PgConnection, PgPool};

use super::error;
use super::sql;
use crate::store::migration::{MigrationReport, known, migrations_in};
use crate::store::stored::damaged;
use crate::store::{Result, StoreError};

/// Every migration in order: its name, which begins with its number, and its text.
pub const MIGRATIONS: &[(&str, &str)] = migrations_in!("postgres");

/// Held while migrating. Any number will do that other programs in the same database do not use.
const LOCK: i64 = 0x7461_736b_7761_7264;

/// Migrates the database at `url`. With `dry_run`, says what that would do and leaves the database as it is.
///
/// # Errors
/// When the database cannot be reached, was made by a newer build, or a migration fails; the database is unchanged then.
pub async fn migrate(url: &str, dry_run: bool) -> Result<MigrationReport> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(super::connect_options(url, false)?).await?;
    let report = migrate_pool(&pool, dry_run).await;
    pool.close().await;
    report
}

pub(super) async fn migrate_pool(pool: &PgPool, dry_run: bool) -> Result<MigrationReport> {
    let mut tx = pool.begin().await?;
    let (existed, present) = present(&mut tx).await?;
    if present.len() >= MIGRATIONS.len() && !dry_run {
        let present = known(present, MIGRATIONS)?;
        return Ok(MigrationReport { dry_run, existed, present, applied: Vec::new(), rows_before: Vec::new(), rows_after: Vec::new() });
    }
    sql::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    let report = apply(&mut tx, dry_run).await?;
    if dry_run || report.applied.is_empty() {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(report)
}

/// Whether there was anything before, and the migrations it has had.
async fn present(conn: &mut PgConnection) -> Result<(bool, Vec<(i64, String)>)> {
    let (table, ours): (bool, bool) =
        sql::query_as("SELECT to_regclass('public.execution_tasks') IS NOT NULL, to_regclass('taskwarden.schema_migrations') IS NOT NULL")
            .fetch_one(&mut *conn)
            .await?;
    if !ours {
        return Ok((table, Vec::new()));
    }
    let present = sql::query_as("SELECT number, name FROM taskwarden.schema_migrations ORDER BY number").fetch_all(conn).await?;
    Ok((true, present))
}

async fn apply(conn: &mut PgConnection, dry_run: bool) -> Result<MigrationReport> {
    let (existed, present) = present(conn).await?;
    let rows_before = count_rows(conn).await?;
    let count = present.len();
    let present = known(present, MIGRATIONS)?;
    if count < MIGRATIONS.len() {
        // Each is made only where it is missing, because each needs a right that whoever migrates may not have.
        let (schema, table): (bool, bool) =
            sql::query_as("SELECT to_regnamespace('taskwarden') IS NOT NULL, to_regclass('taskwarden.schema_migrations') IS NOT NULL")
                .fetch_one(&mut *conn)
                .await?;
        if !schema {
            sqlx::raw_sql("CREATE SCHEMA taskwarden").execute(&mut *conn).await.map_err(may_not)?;
        }
        if !table {
            let text =
                "CREATE TABLE taskwarden.schema_migrations (number bigint PRIMARY KEY, name text NOT NULL, applied_at_ms bigint NOT NULL)";
            sqlx::raw_sql(text).execute(&mut *conn).await.map_err(may_not)?;
        }
    }
    let mut applied = Vec::new();
    for ((name, text), number) in MIGRATIONS.iter().zip(1_i64..).skip(count) {
        let done = sqlx::raw_sql(*text).execute(&mut *conn).await;
        done.map_err(|error| {
            if error::not_allowed(&error) { may_not(error) } else { damaged(&format!("the database before migration {name}"), error) }
        })?;
        sql::query(AssertSqlSafe(format!(
            "INSERT INTO taskwarden.schema_migrations (number, name, applied_at_ms) VALUES ($1, $2, {})",
            super::time::NOW_MS
        )))
        .bind(number)
        .bind(*name)
        .execute(&mut *conn)
        .await?;
        applied.push((*name).to_owned());
    }
    let rows_after = count_rows(conn).await?;
    Ok(MigrationReport { dry_run, existed, present, applied, rows_before, rows_after })
}

/// A host that runs with few rights cannot migrate, and does not have to.
fn may_not(error: sqlx::Error) -> StoreError {
    if !error::not_allowed(&error) {
        return error.into();
    }
    StoreError::Broken(format!(
        "it has to be migrated, and this role may not do that ({error}); run `taskwarden migrate` as the role that owns the schema first"
    ))
}

/// The rows of every table of ours, and of the public table before it was taken over.
async fn count_rows(conn: &mut PgConnection) -> Result<Vec<(String, u64)>> {
    let tables: Vec<(String, String)> = sql::query_as(
        "SELECT schemaname::text, tablename::text FROM pg_tables \
         WHERE (schemaname = 'taskwarden' AND tablename <> 'schema_migrations') OR (schemaname = 'public' AND tablename = 'execution_tasks') \
         ORDER BY 1, 2",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut counts = Vec::with_capacity(tables.len());
    for (schema, table) in tables {
        let quoted = table.replace('"', "\"\"");
        let text = format!("SELECT count(*) FROM {schema}.\"{quoted}\"");
        let rows: i64 = sql::query_scalar(AssertSqlSafe(text)).fetch_one(&mut *conn).await?;
        counts.push((table, u64::try_from(rows).unwrap_or_default()));
    }
    Ok(counts)
}
