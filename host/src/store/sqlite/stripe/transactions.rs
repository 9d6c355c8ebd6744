//! Objects: what is on record is read, joined to what was seen, and written, all in the writer's transaction.

use rusqlite::{Connection, params};

use super::super::row::first;
use super::super::tx::Tx;
use super::super::writer::{BULK_ROWS, Turn, Verb};
use super::row::{ms, transaction};
use super::{income, wanted};
use crate::clock::UnixMs;
use crate::store::stripe::Applied;
use crate::store::{Conflict, Result, StoreError};
use crate::stripe::plan::{Known, charges_of, plan};
use crate::stripe::transaction::{Key, Transaction};

pub(in crate::store::sqlite) struct Apply {
    pub(in crate::store::sqlite) seen: Vec<Transaction>,
    pub(in crate::store::sqlite) named: Vec<Key>,
    pub(in crate::store::sqlite) now: UnixMs,
}

impl Verb for Apply {
    type Answer = Applied;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Applied> {
        let known = self.known(tx.conn)?;
        let plan =
            plan(&known, self.seen.clone(), self.named.clone()).map_err(|overflow| StoreError::Conflict(Conflict::Money(overflow)))?;
        for row in &plan.rows {
            write(tx, row)?;
        }
        income::add(tx, &plan.income, self.now)?;
        let wanted = wanted::change(tx, &plan.wanted, &plan.settled, self.now)?;
        Ok(Applied { changed: plan.rows.len(), wanted })
    }

    fn rows(&self) -> usize {
        self.seen.len() + self.named.len()
    }

    fn turn(&self) -> Turn {
        if self.rows() > BULK_ROWS { Turn::Bulk } else { Turn::Soon }
    }
}

impl Apply {
    fn known(&self, conn: &Connection) -> Result<Known> {
        let mut known = Known::default();
        for seen in &self.seen {
            known.rows.extend(read(conn, &seen.key)?.map(|row| (row.key.clone(), row)));
        }
        for charge in charges_of(&known.rows, &self.seen) {
            if !known.rows.contains_key(&charge) {
                known.rows.extend(read(conn, &charge)?.map(|row| (row.key.clone(), row)));
            }
            known.refunds.insert(charge.clone(), refunds(conn, &charge)?);
        }
        Ok(known)
    }
}

/// One object, if it is on record.
pub(super) fn read(conn: &Connection, key: &Key) -> Result<Option<Transaction>> {
    first(
        conn,
        "SELECT * FROM stripe_transactions WHERE account = ? AND livemode = ? AND kind = ? AND id = ?",
        params![key.owner.account, key.owner.livemode, key.kind.name(), key.id],
        transaction,
    )
}

/// The sum of the refunds of a charge that are on record.
fn refunds(conn: &Connection, charge: &Key) -> Result<i64> {
    let sum = first(
        conn,
        "SELECT coalesce(sum(amount), 0) FROM stripe_transactions \
         WHERE account = ? AND livemode = ? AND charge = ? AND kind = 'refund' AND charge IS NOT NULL",
        params![charge.owner.account, charge.owner.livemode, charge.id],
        |row| Ok(row.get(0)?),
    )?;
    Ok(sum.unwrap_or_default())
}

fn write(tx: &Tx<'_>, row: &Transaction) -> Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO stripe_transactions (account, livemode, kind, id, status, rank, contested, currency, amount, amount_captured, \
         amount_refunded, held, paid, reconciled, payment_intent, charge, balance_transaction, failure_balance_transaction, order_id, \
         created_at_ms, captured_at_ms, refunded_at_ms, arrival_at_ms, withdrawn_at_ms, reinstated_at_ms, rank_since_ms, seen_at_ms, seen_by) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.key.owner.account,
            row.key.owner.livemode,
            row.key.kind.name(),
            row.key.id,
            row.standing.status,
            row.rank(),
            row.standing.contested,
            row.standing.currency,
            row.standing.amount,
            row.captured.amount,
            row.refunded.amount,
            row.held,
            row.paid,
            row.reconciled,
            row.links.payment_intent,
            row.links.charge,
            row.links.balance_transaction,
            row.links.failure_balance_transaction,
            row.links.order_id,
            ms(row.created_s),
            ms(row.captured.since_s),
            ms(row.refunded.since_s),
            row.standing.arrival_s.map(ms),
            row.withdrawn_s.map(ms),
            row.reinstated_s.map(ms),
            ms(row.rank_since_s),
            ms(row.standing.at_s),
            row.standing.by
        ],
    )?;
    Ok(())
}
