//! What Postgres's errors mean to the caller.

use std::io::ErrorKind;

use crate::store::StoreError;

/// Starts of SQLSTATEs after which the same request may succeed: no connection, no resources, a conflict between transactions, a lock
/// that was not to be had, an operator who stopped the server or closed the database, a time limit, a standby that does not write.
const TRY_AGAIN: [&str; 9] = ["08", "53", "40", "55P03", "55000", "57", "25P03", "58", "25006"];
const DISK_FULL: &str = "53100";
/// A prepared statement that is there when it should not be, or the other way round: somebody else uses the same connection.
const NAMES_MIXED_UP: [&str; 2] = ["42P05", "26000"];

/// The other side closed the connection in an orderly or a disorderly way: it was shut down (57P01), it crashed (57P02), or it is gone.
pub(super) fn hung_up(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => matches!(database.code().as_deref(), Some("57P01" | "57P02")),
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
        ),
        _ => false,
    }
}

/// The role lacks a right.
pub(super) fn not_allowed(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some("42501"))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if code == DISK_FULL {
                    Self::Full(text)
                } else if TRY_AGAIN.iter().any(|start| code.starts_with(start)) {
                    Self::Unavailable(text)
                } else if NAMES_MIXED_UP.contains(&code.as_ref()) {
                    Self::Broken(format!("{text}; behind a transaction pooler, set postgres.pooled = true"))
                } else {
                    Self::Broken(text)
                }
            }
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::BeginFailed => Self::Unavailable(text),
            _ => Self::Broken(text),
        }
    }
}
