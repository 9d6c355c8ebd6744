//! Many rows in few statements. A statement per row costs a trip to SQLite's thread; a statement whose text depends on the number
//! of rows would be prepared anew each time. So rows go in chunks of fixed sizes, whose statements stay prepared.

use std::sync::{Arc, OnceLock};

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use crate::store::Result;

/// A query with its values, before it is run.
pub(super) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Rows per statement, largest first. The largest stays far below SQLite's limit of 32 766 values with the widest table here.
const CHUNKS_ROWS: [usize; 3] = [128, 16, 1];

/// A statement with a list of rows in it.
pub(super) struct Bulk {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<Arc<str>>; CHUNKS_ROWS.len()],
}

impl Bulk {
    /// `head VALUES (?, …), (?, …) tail`, with `columns` values in each row.
    pub(super) const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { OnceLock::new() }; CHUNKS_ROWS.len()] }
    }

    fn text(&self, rows: usize) -> Arc<str> {
        let row = format!("({})", vec!["?"; self.columns].join(","));
        Arc::from(format!("{} VALUES {} {}", self.head, vec![row; rows].join(","), self.tail))
    }

    /// Runs the statement over all `rows`; `bind` adds the values of one of them.
    pub(super) async fn run<T: Sync>(
        &self,
        conn: &mut SqliteConnection,
        mut rows: &[T],
        bind: impl for<'q> Fn(Query<'q>, &T) -> Query<'q> + Send + Sync,
    ) -> Result<()> {
        for (size, text) in CHUNKS_ROWS.iter().zip(&self.texts) {
            while let Some((chunk, rest)) = rows.split_at_checked(*size) {
                let text = text.get_or_init(|| self.text(*size));
                let mut query = sqlx::query(AssertSqlSafe(Arc::clone(text)));
                for row in chunk {
                    query = bind(query, row);
                }
                query.execute(&mut *conn).await?;
                rows = rest;
            }
        }
        Ok(())
    }
}

/// Integers as one JSON value, for `IN (SELECT value FROM json_each(?))`: a list of any length in one prepared statement.
pub(super) fn json_list(numbers: impl IntoIterator<Item = i64>) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("[");
    for number in numbers {
        if text.len() > 1 {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{number}");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let bulk = Bulk::new("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING");
        assert_eq!(&*bulk.text(2), "INSERT INTO t (a, b) VALUES (?,?),(?,?) ON CONFLICT DO NOTHING");
        assert_eq!(json_list([]), "[]");
        assert_eq!(json_list([1, -2]), "[1,-2]");
    }
}
