//! Rows of Stripe's tables to checked types.

use rusqlite::Row;

use super::super::row::text;
use crate::store::Result;
use crate::store::stored::damaged;
use crate::stripe::income::{Cell, Sums};
use crate::stripe::ledger::Owner;
use crate::stripe::transaction::{Grown, Key, Links, Standing, Transaction};

/// Seconds, which is what Stripe counts in, as the tables have them.
pub(super) fn ms(seconds: i64) -> i64 {
    seconds.saturating_mul(1000)
}

fn seconds(row: &Row<'_>, column: &str) -> Result<i64> {
    Ok(row.get::<_, i64>(column)?.div_euclid(1000))
}

fn seconds_or_null(row: &Row<'_>, column: &str) -> Result<Option<i64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|ms| ms.div_euclid(1000)))
}

pub(super) fn owner(row: &Row<'_>) -> Result<Owner> {
    Ok(Owner { account: row.get("account")?, livemode: row.get("livemode")? })
}

pub(super) fn transaction(row: &Row<'_>) -> Result<Transaction> {
    let kind = text(row, "kind")?.parse().map_err(|error| damaged("the kind of a Stripe object", error))?;
    Ok(Transaction {
        key: Key { owner: owner(row)?, kind, id: row.get("id")? },
        standing: Standing {
            status: row.get("status")?,
            amount: row.get("amount")?,
            currency: row.get("currency")?,
            arrival_s: seconds_or_null(row, "arrival_at_ms")?,
            at_s: seconds(row, "seen_at_ms")?,
            by: row.get("seen_by")?,
            contested: row.get("contested")?,
        },
        rank_since_s: seconds(row, "rank_since_ms")?,
        created_s: seconds(row, "created_at_ms")?,
        captured: Grown { amount: row.get("amount_captured")?, since_s: seconds(row, "captured_at_ms")? },
        refunded: Grown { amount: row.get("amount_refunded")?, since_s: seconds(row, "refunded_at_ms")? },
        held: row.get("held")?,
        paid: row.get("paid")?,
        reconciled: row.get("reconciled")?,
        withdrawn_s: seconds_or_null(row, "withdrawn_at_ms")?,
        reinstated_s: seconds_or_null(row, "reinstated_at_ms")?,
        links: Links {
            payment_intent: row.get("payment_intent")?,
            charge: row.get("charge")?,
            balance_transaction: row.get("balance_transaction")?,
            failure_balance_transaction: row.get("failure_balance_transaction")?,
            order_id: row.get("order_id")?,
        },
    })
}

pub(super) fn cell(row: &Row<'_>) -> Result<Cell> {
    Ok(Cell {
        owner: owner(row)?,
        basis: text(row, "basis")?.parse().map_err(|error| damaged("the basis of a sum", error))?,
        bucket_ms: row.get("bucket_ms")?,
        balance_type: row.get("balance_type")?,
        currency: row.get("currency")?,
        category: row.get("category")?,
    })
}

pub(super) fn sums(row: &Row<'_>) -> Result<Sums> {
    Ok(Sums { count: row.get("facts")?, amount: row.get("amount")?, fee: row.get("fee")?, net: row.get("net")? })
}
