//! Bringing a database file to the shape this build expects.
//!
//! All pending migrations run in one transaction: a file is in the old shape or in the new one, and a dry run is the real run
//! with a rollback at its end.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::row;
use crate::store::Result;
use crate::store::migration::{MigrationReport, known, migrations_in};
use crate::store::stored::damaged;

/// Every migration in order: its name, which begins with its number, and its text.
pub const MIGRATIONS: &[(&str, &str)] = migrations_in!("sqlite");

/// Migrates the file at `path`, making it when it is not there. With `dry_run`, says what that would do and leaves the file as it is.
///
/// # Errors
/// When the file cannot be opened, is in use, was made by a newer build, or a migration fails; the file is unchanged then.
pub fn migrate(path: &Path, dry_run: bool) -> Result<MigrationReport> {
    let existed = path.exists();
    let conn = match (existed, dry_run) {
        (false, true) => Connection::open_in_memory()?,
        (true, true) => Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        (_, false) => Connection::open(path)?,
    };
    conn.busy_timeout(Duration::from_secs(5))?;
    migrate_connection(&conn, existed, dry_run)
}

/// The same on an open connection.
pub(super) fn migrate_connection(conn: &Connection, existed: bool, dry_run: bool) -> Result<MigrationReport> {
    // Without this, renaming a table would rewrite what refers to it, and temporary tables would go to disk.
    conn.execute_batch("PRAGMA legacy_alter_table = ON; PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE")?;
    let report = apply(conn, existed, dry_run);
    let keep = report.as_ref().is_ok_and(|report| !dry_run && !report.applied.is_empty());
    let end = conn.execute_batch(if keep { "COMMIT" } else { "ROLLBACK" });
    let report = report?;
    end?;
    Ok(report)
}

fn apply(conn: &Connection, existed: bool, dry_run: bool) -> Result<MigrationReport> {
    let rows_before = count_rows(conn)?;
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at_ms INTEGER NOT NULL) STRICT",
    )?;
    let present: Vec<(i64, String)> =
        row::all(conn, "SELECT number, name FROM schema_migrations ORDER BY number", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let count = present.len();
    let present = known(present, MIGRATIONS)?;
    let mut applied = Vec::new();
    for ((name, text), number) in MIGRATIONS.iter().zip(1_i64..).skip(count) {
        conn.execute_batch(text).map_err(|error| damaged(&format!("the database before migration {name}"), error))?;
        conn.execute(
            "INSERT INTO schema_migrations (number, name, applied_at_ms) VALUES (?, ?, unixepoch('now') * 1000)",
            (number, *name),
        )?;
        applied.push((*name).to_owned());
    }
    let rows_after = count_rows(conn)?;
    Ok(MigrationReport { dry_run, existed, present, applied, rows_before, rows_after })
}

fn count_rows(conn: &Connection) -> Result<Vec<(String, u64)>> {
    let tables: Vec<String> = row::all(
        conn,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'schema_migrations' ORDER BY name",
        [],
        |row| Ok(row.get(0)?),
    )?;
    let mut counts = Vec::with_capacity(tables.len());
    for table in tables {
        let quoted = table.replace('"', "\"\"");
        let rows: i64 = conn.query_row(&format!("SELECT count(*) FROM \"{quoted}\""), [], |row| row.get(0))?;
        counts.push((table, u64::try_from(rows).unwrap_or_default()));
    }
    Ok(counts)
}
