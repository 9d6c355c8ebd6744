//! The income: running sums that are added to, and read by period.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::super::admin::Parts;
use super::super::ledger::{COLUMNS as MOVEMENT_COLUMNS, transaction as movement};
use super::super::row::all;
use super::super::tx::Tx;
use super::row::{cell, owner, sums, transaction};
use crate::clock::UnixMs;
use crate::store::stored::damaged;
use crate::store::stripe::{Difference, IncomeAudit, IncomeFilter, IncomeRow, IncomeStore};
use crate::store::{Conflict, Result, StoreError};
use crate::stripe::income::{BUCKET_MS, Basis, CLOSED_AFTER_MS, Cell, Deltas, Sums, bucket, of_movement, of_transaction};
use crate::zone::Period;

const ADD: &str = "INSERT INTO stripe_income (bucket_ms, account, livemode, basis, balance_type, currency, category, facts, amount, fee, net) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
    facts = facts + excluded.facts, amount = amount + excluded.amount, fee = fee + excluded.fee, net = net + excluded.net";
const RESTATE: &str = "INSERT INTO stripe_income_restated \
    (bucket_ms, account, livemode, basis, balance_type, currency, category, facts, amount, fee, net, restated_at_ms) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
    facts = facts + excluded.facts, amount = amount + excluded.amount, fee = fee + excluded.fee, net = net + excluded.net";
/// What has come to nothing goes, so that the rows do not tell in which order the facts came.
const DROP: [&str; 2] = [
    "DELETE FROM stripe_income WHERE bucket_ms = ? AND account = ? AND livemode = ? AND basis = ? AND balance_type = ? \
     AND currency = ? AND category = ? AND facts = 0 AND amount = 0 AND fee = 0 AND net = 0",
    "DELETE FROM stripe_income_restated WHERE bucket_ms = ? AND account = ? AND livemode = ? AND basis = ? AND balance_type = ? \
     AND currency = ? AND category = ? AND facts = 0 AND amount = 0 AND fee = 0 AND net = 0",
];

/// Adds to the running sums. What is added to a time that may have been reported already is noted beside.
pub(in crate::store::sqlite) fn add(tx: &Tx<'_>, deltas: &Deltas, now: UnixMs) -> Result<()> {
    let restated_at_ms = bucket(now.0);
    for (cell, sums) in deltas.iter() {
        let Cell { owner, basis, bucket_ms, balance_type, currency, category } = cell;
        let (account, livemode, basis) = (&owner.account, owner.livemode, basis.name());
        let Sums { count, amount, fee, net } = sums;
        tx.execute(ADD, params![bucket_ms, account, livemode, basis, balance_type, currency, category, count, amount, fee, net])?;
        if bucket_ms + BUCKET_MS + CLOSED_AFTER_MS <= now.0 {
            let at = restated_at_ms;
            tx.execute(
                RESTATE,
                params![bucket_ms, account, livemode, basis, balance_type, currency, category, count, amount, fee, net, at],
            )?;
        }
        // Only what was taken from can have come to nothing.
        if count <= 0 {
            for drop in DROP {
                tx.execute(drop, params![bucket_ms, account, livemode, basis, balance_type, currency, category])?;
            }
        }
    }
    Ok(())
}

/// Sums by period, from one of the two tables.
fn by_period(conn: &Connection, text: &str, periods: &[Period], filter: &IncomeFilter) -> Result<Vec<IncomeRow>> {
    let periods: Vec<_> = periods.iter().map(|period| (period.start_ms, period.end_ms)).collect();
    let periods = serde_json::to_string(&periods).map_err(|error| damaged("a period", error))?;
    let asked = params![periods, filter.basis.map(Basis::name), filter.currency, filter.livemode, filter.account];
    all(conn, text, asked, |row| {
        let restated_at = row.get::<_, Option<i64>>("restated_at_ms")?.map(UnixMs);
        Ok(IncomeRow { cell: cell(row)?, sums: sums(row)?, restated_at })
    })
}

fn select(table: &str, restated_at: &str, more: &str) -> String {
    format!(
        "SELECT j.value ->> 0 AS bucket_ms, i.account, i.livemode, i.basis, i.balance_type, i.currency, i.category, \
         {restated_at} AS restated_at_ms, sum(i.facts) AS facts, sum(i.amount) AS amount, sum(i.fee) AS fee, sum(i.net) AS net \
         FROM json_each(?1) j CROSS JOIN {table} i ON i.bucket_ms >= j.value ->> 0 AND i.bucket_ms < j.value ->> 1 \
         WHERE (?2 IS NULL OR i.basis = ?2) AND (?3 IS NULL OR i.currency = ?3) AND (?4 IS NULL OR i.livemode = ?4) \
         AND (?5 IS NULL OR i.account = ?5) {more} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8"
    )
}

#[async_trait]
impl<T: Parts> IncomeStore for T {
    async fn income(&self, periods: &[Period], filter: &IncomeFilter) -> Result<Vec<IncomeRow>> {
        let (periods, filter) = (periods.to_vec(), filter.clone());
        let text = select("stripe_income", "NULL", "");
        self.readers().run(move |conn| by_period(conn, &text, &periods, &filter)).await
    }

    async fn income_restated(&self, periods: &[Period], filter: &IncomeFilter) -> Result<Vec<IncomeRow>> {
        let (periods, filter) = (periods.to_vec(), filter.clone());
        let after_closing = format!("AND i.restated_at_ms >= (j.value ->> 1) + {CLOSED_AFTER_MS}");
        let text = select("stripe_income_restated", "i.restated_at_ms", &after_closing);
        self.readers().run(move |conn| by_period(conn, &text, &periods, &filter)).await
    }

    async fn audit_income(&self) -> Result<IncomeAudit> {
        let audit = self.readers().run(|conn| {
            // One transaction, so that facts and sums are of the same moment. It reads only, so that its end changes nothing.
            let at_once = conn.unchecked_transaction()?;
            audit(&at_once)
        });
        audit.await
    }
}

fn audit(conn: &Connection) -> Result<IncomeAudit> {
    let (facts, recomputed) = recompute(conn)?;
    let mut both = BTreeMap::<Cell, (Sums, Sums)>::new();
    for (cell, recomputed) in recomputed.iter() {
        both.insert(cell.clone(), (Sums::default(), recomputed));
    }
    for (cell, running) in all(conn, "SELECT * FROM stripe_income", [], |row| Ok((cell(row)?, sums(row)?)))? {
        both.entry(cell).or_default().0 = running;
    }
    let cells = u64::try_from(both.len()).unwrap_or(u64::MAX);
    let differing = both.into_iter().filter(|(_, (running, recomputed))| running != recomputed);
    let differences = differing.map(|(cell, (running, recomputed))| Difference { cell, running, recomputed }).collect();
    Ok(IncomeAudit { facts, cells, differences })
}

/// How many facts there are, and what they say.
fn recompute(conn: &Connection) -> Result<(u64, Deltas)> {
    let (mut facts, mut said) = (0, Deltas::default());
    let mut statement = conn.prepare(
        "SELECT t.*, iif(t.kind = 'charge', (SELECT coalesce(sum(r.amount), 0) FROM stripe_transactions r WHERE r.account = t.account \
         AND r.livemode = t.livemode AND r.charge = t.id AND r.kind = 'refund' AND r.charge IS NOT NULL) \
         + (SELECT coalesce(sum(r.amount), 0) FROM stripe_transactions r WHERE +r.account = t.account AND +r.livemode = t.livemode \
         AND r.payment_intent = t.payment_intent AND +r.kind = 'refund' AND r.charge IS NULL), 0) AS refunds \
         FROM stripe_transactions t",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        facts += 1;
        let parts = of_transaction(&transaction(row)?, row.get("refunds")?);
        said.add(parts).map_err(|overflow| StoreError::Conflict(Conflict::Money(overflow)))?;
    }
    let mut statement = conn.prepare(&format!("SELECT account, livemode, {MOVEMENT_COLUMNS} FROM stripe_balance_transactions"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        facts += 1;
        let part = of_movement(&owner(row)?, &movement(row)?);
        said.add([part]).map_err(|overflow| StoreError::Conflict(Conflict::Money(overflow)))?;
    }
    Ok((facts, said))
}
