//! Rows of Stripe's tables to checked types.

use sqlx::Row as _;
use sqlx_postgres::PgRow;

use crate::store::Result;
use crate::store::stored::damaged;
use crate::stripe::income::{Cell, Sums};
use crate::stripe::ledger::Owner;
use crate::stripe::transaction::{Grown, Key, Links, Standing, Transaction};

/// Seconds, which is what Stripe counts in, as the tables have them.
pub(super) fn ms(seconds: i64) -> i64 {
    seconds.saturating_mul(1000)
}

fn seconds(row: &PgRow, column: &str) -> Result<i64> {
    Ok(row.try_get::<i64, _>(column)?.div_euclid(1000))
}

fn seconds_or_null(row: &PgRow, column: &str) -> Result<Option<i64>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(|ms| ms.div_euclid(1000)))
}

pub(super) fn owner(row: &PgRow) -> Result<Owner> {
    Ok(Owner { account: row.try_get("account")?, livemode: row.try_get("livemode")? })
}

pub(super) fn transaction(row: &PgRow) -> Result<Transaction> {
    let kind = row.try_get::<&str, _>("kind")?.parse().map_err(|error| damaged("the kind of a Stripe object", error))?;
    Ok(Transaction {
        key: Key { owner: owner(row)?, kind, id: row.try_get("id")? },
        standing: Standing {
            status: row.try_get("status")?,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            arrival_s: seconds_or_null(row, "arrival_at_ms")?,
            at_s: seconds(row, "seen_at_ms")?,
            by: row.try_get("seen_by")?,
            contested: row.try_get("contested")?,
        },
        rank_since_s: seconds(row, "rank_since_ms")?,
        created_s: seconds(row, "created_at_ms")?,
        captured: Grown { amount: row.try_get("amount_captured")?, since_s: seconds(row, "captured_at_ms")? },
        refunded: Grown { amount: row.try_get("amount_refunded")?, since_s: seconds(row, "refunded_at_ms")? },
        held: row.try_get("held")?,
        paid: row.try_get("paid")?,
        reconciled: row.try_get("reconciled")?,
        withdrawn_s: seconds_or_null(row, "withdrawn_at_ms")?,
        reinstated_s: seconds_or_null(row, "reinstated_at_ms")?,
        links: Links {
            payment_intent: row.try_get("payment_intent")?,
            charge: row.try_get("charge")?,
            balance_transaction: row.try_get("balance_transaction")?,
            failure_balance_transaction: row.try_get("failure_balance_transaction")?,
            order_id: row.try_get("order_id")?,
        },
    })
}

pub(super) fn cell(row: &PgRow) -> Result<Cell> {
    Ok(Cell {
        owner: owner(row)?,
        basis: row.try_get::<&str, _>("basis")?.parse().map_err(|error| damaged("the basis of a sum", error))?,
        bucket_ms: row.try_get("bucket_ms")?,
        balance_type: row.try_get("balance_type")?,
        currency: row.try_get("currency")?,
        category: row.try_get("category")?,
    })
}

pub(super) fn sums(row: &PgRow) -> Result<Sums> {
    Ok(Sums { count: row.try_get("facts")?, amount: row.try_get("amount")?, fee: row.try_get("fee")?, net: row.try_get("net")? })
}
