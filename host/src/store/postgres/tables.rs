//! Pages of tables, for tasks.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};

use super::PostgresStore;
use super::sql;
use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::tables::{TablePage, TableQuery, TableStore, columns, select};

#[async_trait]
impl TableStore for PostgresStore {
    async fn table_page(&self, query: TableQuery) -> Result<TablePage> {
        let (after_ms, after_id) = query.after.as_ref().map_or((i64::MIN, ""), |(at, id)| (at.0, id.as_str()));
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(AssertSqlSafe(select(query.table, "taskwarden.", |n| format!("${n}"))))
            .bind(&query.owner.account)
            .bind(query.owner.livemode)
            .bind(query.from.0)
            .bind(query.to.0)
            .bind(after_ms)
            .bind(after_id)
            .bind(i64::from(query.limit))
            .fetch_all(&mut *tx)
            .await?;
        let count = columns(query.table).count();
        let mut page = TablePage::default();
        for row in &rows {
            page.last = Some((UnixMs(row.try_get("at_ms")?), row.try_get("key")?));
            page.rows.push((0..count).map(|column| Ok(row.try_get(column)?)).collect::<Result<_>>()?);
        }
        Ok(page)
    }
}
