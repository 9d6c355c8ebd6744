//! Objects: what is on record is read, joined to what was seen, and written, in one transaction at a time over all hosts.

use sqlx::Row as _;
use sqlx_postgres::PgConnection;

use super::super::Db;
use super::row::{ms, transaction};
use super::{income, wanted};
use crate::clock::UnixMs;
use crate::store::postgres::sql;
use crate::store::stripe::Applied;
use crate::store::{Conflict, Result, StoreError};
use crate::stripe::kind::Kind;
use crate::stripe::plan::{Known, charges_of, payments_of, plan, sums_of};
use crate::stripe::transaction::{Key, Transaction};

/// Held while objects are joined: what was read must still be so when it is written.
const LOCK: i64 = 0x7461_736b_7374_7269;

pub(super) async fn apply(db: &Db, seen: Vec<Transaction>, named: Vec<Key>, now: UnixMs) -> Result<Applied> {
    let mut tx = db.begin().await?;
    lock(&mut tx).await?;
    let applied = join(&mut tx, seen, named, now).await?;
    db.commit(tx).await?;
    Ok(applied)
}

/// Taken before anything is read that is to be joined.
pub(in crate::store::postgres) async fn lock(conn: &mut PgConnection) -> Result<()> {
    sql::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(conn).await?;
    Ok(())
}

/// The joining itself, for whoever holds the lock and commits.
pub(in crate::store::postgres) async fn join(
    conn: &mut PgConnection,
    seen: Vec<Transaction>,
    named: Vec<Key>,
    now: UnixMs,
) -> Result<Applied> {
    let known = known(conn, &seen).await?;
    let plan = plan(&known, seen, named).map_err(|overflow| StoreError::Conflict(Conflict::Money(overflow)))?;
    for row in &plan.rows {
        write(conn, row).await?;
    }
    income::add(conn, &plan.income, now).await?;
    let wanted = wanted::change(conn, &plan.wanted, &plan.settled, now).await?;
    Ok(Applied { changed: plan.rows.len(), wanted })
}

async fn known(conn: &mut PgConnection, seen: &[Transaction]) -> Result<Known> {
    let mut known = Known::default();
    for seen in seen {
        known.rows.extend(read(conn, &seen.key).await?.map(|row| (row.key.clone(), row)));
    }
    for charge in charges_of(&known.rows, seen) {
        if !known.rows.contains_key(&charge) {
            known.rows.extend(read(conn, &charge).await?.map(|row| (row.key.clone(), row)));
        }
    }
    for payment in payments_of(&known.rows, seen) {
        known.rows.extend(charges(conn, &payment).await?.into_iter().map(|row| (row.key.clone(), row)));
    }
    for named in sums_of(&known.rows, seen) {
        let sum = refunds(conn, &named).await?;
        known.refunds.insert(named, sum);
    }
    Ok(known)
}

/// One object, if it is on record.
pub(super) async fn read(conn: &mut PgConnection, key: &Key) -> Result<Option<Transaction>> {
    let row = sql::query("SELECT * FROM taskwarden.stripe_transactions WHERE account = $1 AND livemode = $2 AND kind = $3 AND id = $4")
        .bind(&key.owner.account)
        .bind(key.owner.livemode)
        .bind(key.kind.name())
        .bind(&key.id)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(transaction).transpose()
}

/// The charges of a payment intent that are on record.
async fn charges(conn: &mut PgConnection, payment: &Key) -> Result<Vec<Transaction>> {
    let rows = sql::query(
        "SELECT * FROM taskwarden.stripe_transactions WHERE account = $1 AND livemode = $2 AND kind = 'charge' AND payment_intent = $3",
    )
    .bind(&payment.owner.account)
    .bind(payment.owner.livemode)
    .bind(&payment.id)
    .fetch_all(conn)
    .await?;
    rows.iter().map(transaction).collect()
}

/// The sum of the refunds on record that name this charge, or this payment intent and no charge.
async fn refunds(conn: &mut PgConnection, named: &Key) -> Result<i64> {
    let text = if named.kind == Kind::Charge {
        "SELECT coalesce(sum(amount), 0)::bigint FROM taskwarden.stripe_transactions \
         WHERE account = $1 AND livemode = $2 AND charge = $3 AND kind = 'refund' AND charge IS NOT NULL"
    } else {
        "SELECT coalesce(sum(amount), 0)::bigint FROM taskwarden.stripe_transactions \
         WHERE account = $1 AND livemode = $2 AND payment_intent = $3 AND kind = 'refund' AND charge IS NULL"
    };
    let row = sql::query(text).bind(&named.owner.account).bind(named.owner.livemode).bind(&named.id).fetch_one(conn).await?;
    Ok(row.try_get(0)?)
}

async fn write(conn: &mut PgConnection, row: &Transaction) -> Result<()> {
    sql::query(
        "INSERT INTO taskwarden.stripe_transactions AS t (account, livemode, kind, id, status, rank, contested, currency, amount, \
         amount_captured, amount_refunded, held, paid, reconciled, payment_intent, charge, balance_transaction, \
         failure_balance_transaction, order_id, created_at_ms, captured_at_ms, refunded_at_ms, arrival_at_ms, withdrawn_at_ms, \
         reinstated_at_ms, rank_since_ms, seen_at_ms, seen_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, \
         $27, $28) ON CONFLICT (account, livemode, kind, id) DO UPDATE SET status = excluded.status, rank = excluded.rank, \
         contested = excluded.contested, currency = excluded.currency, amount = excluded.amount, \
         amount_captured = excluded.amount_captured, amount_refunded = excluded.amount_refunded, held = excluded.held, \
         paid = excluded.paid, reconciled = excluded.reconciled, payment_intent = excluded.payment_intent, charge = excluded.charge, \
         balance_transaction = excluded.balance_transaction, failure_balance_transaction = excluded.failure_balance_transaction, \
         order_id = excluded.order_id, created_at_ms = excluded.created_at_ms, captured_at_ms = excluded.captured_at_ms, \
         refunded_at_ms = excluded.refunded_at_ms, arrival_at_ms = excluded.arrival_at_ms, withdrawn_at_ms = excluded.withdrawn_at_ms, \
         reinstated_at_ms = excluded.reinstated_at_ms, rank_since_ms = excluded.rank_since_ms, seen_at_ms = excluded.seen_at_ms, \
         seen_by = excluded.seen_by",
    )
    .bind(&row.key.owner.account)
    .bind(row.key.owner.livemode)
    .bind(row.key.kind.name())
    .bind(&row.key.id)
    .bind(&row.standing.status)
    .bind(i64::from(row.rank()))
    .bind(row.standing.contested)
    .bind(&row.standing.currency)
    .bind(row.standing.amount)
    .bind(row.captured.amount)
    .bind(row.refunded.amount)
    .bind(row.held)
    .bind(row.paid)
    .bind(row.reconciled)
    .bind(&row.links.payment_intent)
    .bind(&row.links.charge)
    .bind(&row.links.balance_transaction)
    .bind(&row.links.failure_balance_transaction)
    .bind(&row.links.order_id)
    .bind(ms(row.created_s))
    .bind(ms(row.captured.since_s))
    .bind(ms(row.refunded.since_s))
    .bind(row.standing.arrival_s.map(ms))
    .bind(row.withdrawn_s.map(ms))
    .bind(row.reinstated_s.map(ms))
    .bind(ms(row.rank_since_s))
    .bind(ms(row.standing.at_s))
    .bind(&row.standing.by)
    .execute(conn)
    .await?;
    Ok(())
}
