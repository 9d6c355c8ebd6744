//! Objects: what is on record is read, joined to what was seen, and written, all in the writer's transaction.

use rusqlite::{Connection, params};

use super::super::row::{all, first};
use super::super::tx::Tx;
use super::super::writer::{BULK_ROWS, Turn, Verb};
use super::row::{ms, transaction};
use super::{income, wanted};
use crate::clock::UnixMs;
use crate::store::stripe::Applied;
use crate::store::{Conflict, Result, StoreError};
use crate::stripe::kind::Kind;
use crate::stripe::plan::{Known, charges_of, payments_of, plan, sums_of};
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
        }
        for payment in payments_of(&known.rows, &self.seen) {
            known.rows.extend(charges(conn, &payment)?.into_iter().map(|row| (row.key.clone(), row)));
        }
        for named in sums_of(&known.rows, &self.seen) {
            let sum = refunds(conn, &named)?;
            known.refunds.insert(named, sum);
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

/// The charges of a payment intent that are on record.
fn charges(conn: &Connection, payment: &Key) -> Result<Vec<Transaction>> {
    all(
        conn,
        // Its own index, and not the primary key, whose first columns nearly all rows share.
        "SELECT * FROM stripe_transactions WHERE +account = ? AND +livemode = ? AND +kind = 'charge' AND payment_intent = ?",
        params![payment.owner.account, payment.owner.livemode, payment.id],
        transaction,
    )
}

/// The sum of the refunds on record that name this charge, or this payment intent and no charge.
fn refunds(conn: &Connection, named: &Key) -> Result<i64> {
    let sql = if named.kind == Kind::Charge {
        "SELECT coalesce(sum(amount), 0) FROM stripe_transactions \
         WHERE account = ? AND livemode = ? AND charge = ? AND kind = 'refund' AND charge IS NOT NULL"
    } else {
        "SELECT coalesce(sum(amount), 0) FROM stripe_transactions \
         WHERE +account = ? AND +livemode = ? AND payment_intent = ? AND +kind = 'refund' AND charge IS NULL"
    };
    let sum = first(conn, sql, params![named.owner.account, named.owner.livemode, named.id], |row| Ok(row.get(0)?))?;
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
