//! What migrating means, whatever the database.

use serde::Serialize;

use super::{Result, StoreError};

/// The migrations of a database by the name of its folder, in order, each with its text. One list, because both databases have the
/// same ones.
macro_rules! migrations_in {
    ($database:literal) => {
        $crate::store::migration::migrations_in!($database:
            "0001_execution_tasks",
            "0002_ai_model",
            "0003_lanes",
            "0004_task_records",
            "0005_blobs",
            "0006_administration",
            "0007_stripe",
            "0008_tenants",
            "0009_stripe_ledger",
            "0010_stripe_orders",
            "0011_schedules",
            "0012_findings",
            "0013_task_stats",
            "0014_tenant_shares",
            "0015_task_ratings",
            "0016_tenants_max",
            "0017_stripe_event_bodies",
            "0018_larger_limits",
        )
    };
    ($database:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../migrations/", $database, "/", $name, ".sql")))),+]
    };
}
pub(super) use migrations_in;

/// What a migration did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationReport {
    /// Whether everything was undone at the end.
    pub dry_run: bool,
    /// Whether there was a database before.
    pub existed: bool,
    /// Migrations that had run before.
    pub present: Vec<String>,
    /// Migrations that ran now.
    pub applied: Vec<String>,
    /// Rows of each table before.
    pub rows_before: Vec<(String, u64)>,
    /// Rows of each table after.
    pub rows_after: Vec<(String, u64)>,
}

/// The names of the migrations a database has had, given their numbers and names in order, if this build knows each of them.
pub(super) fn known(present: Vec<(i64, String)>, migrations: &[(&str, &str)]) -> Result<Vec<String>> {
    let known = migrations.iter().map(|(name, _)| Some(*name)).chain(std::iter::repeat(None));
    for ((number, name), known) in present.iter().zip(known) {
        if known != Some(name.as_str()) {
            return Err(StoreError::Broken(format!(
                "the database has had migration {number} ({name}), which this build does not know; use the build that made it, or a newer one"
            )));
        }
    }
    Ok(present.into_iter().map(|(_, name)| name).collect())
}
