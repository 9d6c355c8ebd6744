//! Statements, with names or without.
//!
//! A named statement is parsed and planned once for each connection. Behind a transaction pooler a name would be found on whichever
//! connection to the server it was left on, by whoever comes next, so there no statement has one.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::SqlSafeStr;
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx_postgres::{PgArguments, PgRow, Postgres};

/// Of the process and not of a store: a process has one database, and statements are written where no store is at hand. Where a process
/// does have several, as tests do, one pooler among them costs all of them their names and nothing else.
static NAMED: AtomicBool = AtomicBool::new(true);

/// From here on no statement of this process has a name.
pub(super) fn without_names() {
    NAMED.store(false, Ordering::Relaxed);
}

fn named() -> bool {
    NAMED.load(Ordering::Relaxed)
}

pub(super) fn query<'q>(text: impl SqlSafeStr) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(text).persistent(named())
}

pub(super) fn query_as<'q, O: for<'r> sqlx::FromRow<'r, PgRow>>(text: impl SqlSafeStr) -> QueryAs<'q, Postgres, O, PgArguments> {
    sqlx::query_as(text).persistent(named())
}

pub(super) fn query_scalar<'q, O>(text: impl SqlSafeStr) -> QueryScalar<'q, Postgres, O, PgArguments>
where
    (O,): for<'r> sqlx::FromRow<'r, PgRow>,
{
    sqlx::query_scalar(text).persistent(named())
}
