//! What SQLite's errors mean to the caller.

use crate::store::StoreError;

/// `SQLITE_BUSY` and `SQLITE_LOCKED`: somebody else holds the file. `SQLITE_IOERR`, `SQLITE_CANTOPEN`: the disk is in trouble.
const TRY_AGAIN: [i32; 4] = [5, 6, 10, 14];
const FULL: i32 = 13;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                // The low byte is the kind; the rest says more precisely where it happened.
                let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default() & 0xff;
                if code == FULL {
                    Self::Full(error.to_string())
                } else if TRY_AGAIN.contains(&code) {
                    Self::Unavailable(error.to_string())
                } else {
                    Self::Broken(error.to_string())
                }
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// A stored value that this host would never have written.
pub(super) fn damaged(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Broken(format!("{what} cannot be read back ({why}); was the table changed by hand?"))
}
