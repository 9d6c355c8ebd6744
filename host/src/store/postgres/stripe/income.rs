//! The income: running sums that are added to, and read by period.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};
use sqlx_postgres::{PgArguments, PgConnection};

use super::super::PostgresStore;
use super::super::ledger::{COLUMNS as MOVEMENT_COLUMNS, transaction as movement};
use super::row::{cell, owner, sums, transaction};
use crate::clock::UnixMs;
use crate::store::postgres::sql;
use crate::store::stripe::{Difference, IncomeAudit, IncomeFilter, IncomeRow, IncomeStore};
use crate::store::{Conflict, Result, StoreError};
use crate::stripe::income::{BUCKET_MS, Basis, CLOSED_AFTER_MS, Cell, Deltas, Sums, bucket, of_movement, of_transaction};
use crate::zone::Period;

const ADD: &str = "INSERT INTO taskwarden.stripe_income AS i \
    (bucket_ms, account, livemode, basis, balance_type, currency, category, facts, amount, fee, net) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
    ON CONFLICT (bucket_ms, account, livemode, basis, balance_type, currency, category) DO UPDATE SET \
    facts = i.facts + excluded.facts, amount = i.amount + excluded.amount, fee = i.fee + excluded.fee, net = i.net + excluded.net";
const RESTATE: &str = "INSERT INTO taskwarden.stripe_income_restated AS i \
    (bucket_ms, account, livemode, basis, balance_type, currency, category, facts, amount, fee, net, restated_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
    ON CONFLICT (bucket_ms, account, livemode, basis, balance_type, currency, category, restated_at_ms) DO UPDATE SET \
    facts = i.facts + excluded.facts, amount = i.amount + excluded.amount, fee = i.fee + excluded.fee, net = i.net + excluded.net";
/// What has come to nothing goes, so that the rows do not tell in which order the facts came.
const DROP: [&str; 2] = [
    "DELETE FROM taskwarden.stripe_income WHERE bucket_ms = $1 AND account = $2 AND livemode = $3 AND basis = $4 AND balance_type = $5 \
     AND currency = $6 AND category = $7 AND facts = 0 AND amount = 0 AND fee = 0 AND net = 0",
    "DELETE FROM taskwarden.stripe_income_restated WHERE bucket_ms = $1 AND account = $2 AND livemode = $3 AND basis = $4 \
     AND balance_type = $5 AND currency = $6 AND category = $7 AND facts = 0 AND amount = 0 AND fee = 0 AND net = 0",
];

type Query<'q> = sqlx::query::Query<'q, sqlx_postgres::Postgres, PgArguments>;

/// A statement about a cell.
fn about<'q>(text: &'static str, cell: &'q Cell) -> Query<'q> {
    sql::query(text)
        .bind(cell.bucket_ms)
        .bind(&cell.owner.account)
        .bind(cell.owner.livemode)
        .bind(cell.basis.name())
        .bind(&cell.balance_type)
        .bind(&cell.currency)
        .bind(&cell.category)
}

fn with_sums<'q>(query: Query<'q>, sums: &Sums) -> Query<'q> {
    query.bind(sums.count).bind(sums.amount).bind(sums.fee).bind(sums.net)
}

/// Adds to the running sums. What is added to a time that may have been reported already is noted beside.
pub(in crate::store::postgres) async fn add(conn: &mut PgConnection, deltas: &Deltas, now: UnixMs) -> Result<()> {
    for (cell, sums) in deltas.iter() {
        with_sums(about(ADD, cell), &sums).execute(&mut *conn).await?;
        if cell.bucket_ms + BUCKET_MS + CLOSED_AFTER_MS <= now.0 {
            with_sums(about(RESTATE, cell), &sums).bind(bucket(now.0)).execute(&mut *conn).await?;
        }
        // Only what was taken from can have come to nothing.
        if sums.count <= 0 {
            for drop in DROP {
                about(drop, cell).execute(&mut *conn).await?;
            }
        }
    }
    Ok(())
}

/// The text of a question about sums by period, to one of the two tables.
fn select(table: &str, restated_at: &str, more: &str) -> String {
    format!(
        "SELECT j.start_ms AS bucket_ms, i.account, i.livemode, i.basis, i.balance_type, i.currency, i.category, \
         {restated_at} AS restated_at_ms, sum(i.facts)::bigint AS facts, sum(i.amount)::bigint AS amount, sum(i.fee)::bigint AS fee, \
         sum(i.net)::bigint AS net \
         FROM unnest($1::bigint[], $2::bigint[]) AS j(start_ms, end_ms) \
         JOIN taskwarden.{table} i ON i.bucket_ms >= j.start_ms AND i.bucket_ms < j.end_ms \
         WHERE ($3::text IS NULL OR i.basis = $3) AND ($4::text IS NULL OR i.currency = $4) AND ($5::boolean IS NULL OR i.livemode = $5) \
         AND ($6::text IS NULL OR i.account = $6) {more} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8"
    )
}

impl PostgresStore {
    async fn by_period(&self, text: String, periods: &[Period], filter: &IncomeFilter) -> Result<Vec<IncomeRow>> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(AssertSqlSafe(text))
            .bind(periods.iter().map(|period| period.start_ms).collect::<Vec<_>>())
            .bind(periods.iter().map(|period| period.end_ms).collect::<Vec<_>>())
            .bind(filter.basis.map(Basis::name))
            .bind(filter.currency.as_deref())
            .bind(filter.livemode)
            .bind(filter.account.as_deref())
            .fetch_all(&mut *tx)
            .await?;
        rows.iter()
            .map(|row| {
                let restated_at = row.try_get::<Option<i64>, _>("restated_at_ms")?.map(UnixMs);
                Ok(IncomeRow { cell: cell(row)?, sums: sums(row)?, restated_at })
            })
            .collect()
    }
}

#[async_trait]
impl IncomeStore for PostgresStore {
    async fn income(&self, periods: &[Period], filter: &IncomeFilter) -> Result<Vec<IncomeRow>> {
        self.by_period(select("stripe_income", "NULL::bigint", ""), periods, filter).await
    }

    async fn income_restated(&self, periods: &[Period], filter: &IncomeFilter) -> Result<Vec<IncomeRow>> {
        let after_closing = format!("AND i.restated_at_ms >= j.end_ms + {CLOSED_AFTER_MS}");
        self.by_period(select("stripe_income_restated", "i.restated_at_ms", &after_closing), periods, filter).await
    }

    async fn audit_income(&self) -> Result<IncomeAudit> {
        // One snapshot, so that facts and sums are of the same moment.
        let mut tx = self.db.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let (facts, recomputed) = recompute(&mut tx).await?;
        let mut both = BTreeMap::<Cell, (Sums, Sums)>::new();
        for (cell, recomputed) in recomputed.iter() {
            both.insert(cell.clone(), (Sums::default(), recomputed));
        }
        for row in sql::query("SELECT * FROM taskwarden.stripe_income").fetch_all(&mut *tx).await? {
            both.entry(cell(&row)?).or_default().0 = sums(&row)?;
        }
        let cells = u64::try_from(both.len()).unwrap_or(u64::MAX);
        let differing = both.into_iter().filter(|(_, (running, recomputed))| running != recomputed);
        let differences = differing.map(|(cell, (running, recomputed))| Difference { cell, running, recomputed }).collect();
        Ok(IncomeAudit { facts, cells, differences })
    }
}

/// How many facts there are, and what they say.
async fn recompute(conn: &mut PgConnection) -> Result<(u64, Deltas)> {
    use futures::TryStreamExt as _;
    let (mut facts, mut said) = (0, Deltas::default());
    let mut rows = sql::query(
        "SELECT t.*, CASE WHEN t.kind = 'charge' THEN (SELECT coalesce(sum(r.amount), 0) FROM taskwarden.stripe_transactions r \
         WHERE r.account = t.account AND r.livemode = t.livemode AND r.charge = t.id AND r.kind = 'refund' AND r.charge IS NOT NULL) \
         + (SELECT coalesce(sum(r.amount), 0) FROM taskwarden.stripe_transactions r WHERE r.account = t.account \
         AND r.livemode = t.livemode AND r.payment_intent = t.payment_intent AND r.kind = 'refund' AND r.charge IS NULL) \
         ELSE 0 END::bigint AS refunds FROM taskwarden.stripe_transactions t",
    )
    .fetch(&mut *conn);
    while let Some(row) = rows.try_next().await? {
        facts += 1;
        let parts = of_transaction(&transaction(&row)?, row.try_get("refunds")?);
        said.add(parts).map_err(|overflow| StoreError::Conflict(Conflict::Money(overflow)))?;
    }
    drop(rows);
    let movements = format!("SELECT account, livemode, {MOVEMENT_COLUMNS} FROM taskwarden.stripe_balance_transactions");
    let mut rows = sql::query(AssertSqlSafe(movements)).fetch(conn);
    while let Some(row) = rows.try_next().await? {
        facts += 1;
        let part = of_movement(&owner(&row)?, &movement(&row)?);
        said.add([part]).map_err(|overflow| StoreError::Conflict(Conflict::Money(overflow)))?;
    }
    Ok((facts, said))
}
