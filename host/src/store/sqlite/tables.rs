//! Pages of tables, for tasks.

use async_trait::async_trait;
use rusqlite::params;

use super::SqliteStore;
use super::row;
use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::tables::{TablePage, TableQuery, TableStore, columns, select};

#[async_trait]
impl TableStore for SqliteStore {
    async fn table_page(&self, query: TableQuery) -> Result<TablePage> {
        let read = self.readers.run(move |conn| {
            let (after_ms, after_id) = query.after.as_ref().map_or((i64::MIN, ""), |(at, id)| (at.0, id.as_str()));
            let owner = &query.owner;
            let values = params![owner.account, owner.livemode, query.from.0, query.to.0, after_ms, after_id, query.limit];
            let count = columns(query.table).count();
            let mut page = TablePage::default();
            page.rows = row::all(conn, &select(query.table, "", |n| format!("?{n}")), values, |row| {
                page.last = Some((UnixMs(row.get("at_ms")?), row.get("key")?));
                (0..count).map(|column| Ok(row.get(column)?)).collect()
            })?;
            Ok(page)
        });
        read.await
    }
}
