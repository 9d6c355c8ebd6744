//! Stripe's ledger.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};
use sqlx_postgres::PgRow;

use super::sql;
use super::stripe::{income, transactions, wanted};
use super::{PostgresStore, Tx};
use crate::clock::UnixMs;
use crate::store::ledger::{LedgerBatch, LedgerCounts, LedgerQuery, LedgerStore, Plan, QuarantinedRow};
use crate::store::stored::damaged;
use crate::store::{Conflict, Result, StoreError};
use crate::stripe::import::Quarantined;
use crate::stripe::ledger::{BalanceTransaction, Origin, Owner};
use crate::stripe::payout::{ListingState, PayoutListing};

pub(super) const COLUMNS: &str = "id, type, reporting_category, balance_type, source, status, currency, amount, fee, net, exchange_rate, created_at_ms, \
                       available_on_ms, payout, charge, payment_intent, order_id, description, origin";

async fn put(tx: &mut Tx, owner: &Owner, row: &BalanceTransaction) -> Result<()> {
    sql::query(
        "INSERT INTO taskwarden.stripe_balance_transactions (account, livemode, id, type, reporting_category, balance_type, source, status, currency, \
         amount, fee, net, exchange_rate, created_at_ms, available_on_ms, payout, charge, payment_intent, order_id, description, origin) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) \
         ON CONFLICT (account, livemode, id) DO UPDATE SET type = excluded.type, reporting_category = excluded.reporting_category, \
         source = excluded.source, status = excluded.status, exchange_rate = excluded.exchange_rate, created_at_ms = excluded.created_at_ms, \
         available_on_ms = excluded.available_on_ms, payout = excluded.payout, charge = excluded.charge, \
         payment_intent = excluded.payment_intent, order_id = excluded.order_id, description = excluded.description, origin = excluded.origin",
    )
    .bind(&owner.account)
    .bind(owner.livemode)
    .bind(&row.id)
    .bind(&row.kind)
    .bind(&row.reporting_category)
    .bind(&row.balance_type)
    .bind(&row.source)
    .bind(&row.status)
    .bind(&row.currency)
    .bind(row.amount)
    .bind(row.fee)
    .bind(row.net)
    .bind(&row.exchange_rate)
    .bind(row.created_at.0)
    .bind(row.available_on.0)
    .bind(&row.payout)
    .bind(&row.charge)
    .bind(&row.payment_intent)
    .bind(&row.order_id)
    .bind(&row.description)
    .bind(row.origin.name())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn quarantine(tx: &mut Tx, owner: &Owner, row: &QuarantinedRow) -> Result<()> {
    sql::query(
        "INSERT INTO taskwarden.stripe_quarantine (id, account, livemode, source, line, reason, \"row\", at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, livemode, id) DO NOTHING",
    )
    .bind(&row.id)
    .bind(&owner.account)
    .bind(owner.livemode)
    .bind(&row.source)
    .bind(i64::try_from(row.row.line).unwrap_or(i64::MAX))
    .bind(without_nul(&row.row.reason))
    .bind(without_nul(&row.row.row))
    .bind(row.at.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Postgres keeps any text but one with a zero byte in it, which a torn file may well have.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

async fn list(tx: &mut Tx, owner: &Owner, listing: &PayoutListing, now: UnixMs) -> Result<()> {
    // What is complete stays so, however often the payout is seen again.
    sql::query(
        "INSERT INTO taskwarden.stripe_payout_listings AS l (account, livemode, payout, currency, amount, state, updated_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, livemode, payout) DO UPDATE SET currency = excluded.currency, \
         amount = excluded.amount, state = excluded.state, updated_at_ms = excluded.updated_at_ms WHERE l.state <> 'complete'",
    )
    .bind(&owner.account)
    .bind(owner.livemode)
    .bind(&listing.payout)
    .bind(&listing.currency)
    .bind(listing.amount)
    .bind(listing.state.name())
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) fn transaction(row: &PgRow) -> Result<BalanceTransaction> {
    Ok(BalanceTransaction {
        id: row.try_get("id")?,
        kind: row.try_get("type")?,
        reporting_category: row.try_get("reporting_category")?,
        balance_type: row.try_get("balance_type")?,
        source: row.try_get("source")?,
        status: row.try_get("status")?,
        currency: row.try_get("currency")?,
        amount: row.try_get("amount")?,
        fee: row.try_get("fee")?,
        net: row.try_get("net")?,
        exchange_rate: row.try_get("exchange_rate")?,
        created_at: UnixMs(row.try_get("created_at_ms")?),
        available_on: UnixMs(row.try_get("available_on_ms")?),
        payout: row.try_get("payout")?,
        charge: row.try_get("charge")?,
        payment_intent: row.try_get("payment_intent")?,
        order_id: row.try_get("order_id")?,
        description: row.try_get("description")?,
        origin: Origin::parse(row.try_get("origin")?).map_err(|why| damaged("a balance transaction", why))?,
    })
}

fn listing(row: &PgRow) -> Result<PayoutListing> {
    let state: &str = row.try_get("state")?;
    Ok(PayoutListing {
        payout: row.try_get("payout")?,
        currency: row.try_get("currency")?,
        amount: row.try_get("amount")?,
        state: ListingState::parse(state).ok_or_else(|| damaged("the state of a payout's listing", state))?,
    })
}

fn quarantined(row: &PgRow) -> Result<QuarantinedRow> {
    Ok(QuarantinedRow {
        id: row.try_get("id")?,
        source: row.try_get("source")?,
        row: Quarantined { line: row.try_get::<i64, _>("line")?.unsigned_abs(), reason: row.try_get("reason")?, row: row.try_get("row")? },
        at: UnixMs(row.try_get("at_ms")?),
    })
}

#[async_trait]
impl LedgerStore for PostgresStore {
    async fn merge_ledger(&self, batch: LedgerBatch, now: UnixMs) -> Result<LedgerCounts> {
        let owner = &batch.owner;
        let mut tx = self.db.begin().await?;
        // Whoever joins objects holds the same lock: what was read must still be so when it is written.
        transactions::lock(&mut tx).await?;
        let ids: Vec<&str> = batch.transactions.iter().map(|(_, row)| row.id.as_str()).collect();
        let sought =
            format!("SELECT {COLUMNS} FROM taskwarden.stripe_balance_transactions WHERE account = $1 AND livemode = $2 AND id = ANY($3)");
        let rows = sql::query(AssertSqlSafe(sought)).bind(&owner.account).bind(owner.livemode).bind(ids).fetch_all(&mut *tx).await?;
        let stored = rows.iter().map(|row| transaction(row).map(|row| (row.id.clone(), row))).collect::<Result<BTreeMap<_, _>>>()?;
        let plan = Plan::of(&batch, &stored, now).map_err(|overflow| StoreError::Conflict(Conflict::Money(overflow)))?;
        if !batch.objects.is_empty() {
            transactions::join(&mut tx, batch.objects.clone(), Vec::new(), now).await?;
        }
        for row in &plan.rows {
            put(&mut tx, owner, row).await?;
        }
        income::add(&mut tx, &plan.income, now).await?;
        wanted::change(&mut tx, &BTreeSet::new(), &plan.settled, now).await?;
        for row in &plan.quarantined {
            quarantine(&mut tx, owner, row).await?;
        }
        for listing in &batch.listings {
            list(&mut tx, owner, listing, now).await?;
        }
        if let Some(cursor) = &batch.cursor {
            sql::query(
                "INSERT INTO taskwarden.stripe_cursors (account, livemode, name, value, updated_at_ms) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (account, livemode, name) DO UPDATE SET value = excluded.value, updated_at_ms = excluded.updated_at_ms",
            )
            .bind(&owner.account)
            .bind(owner.livemode)
            .bind(&cursor.name)
            .bind(&cursor.value)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        }
        self.db.commit(tx).await?;
        Ok(plan.counts)
    }

    async fn balance_transactions(&self, query: LedgerQuery) -> Result<Vec<BalanceTransaction>> {
        let (after_ms, after_id) = query.after.as_ref().map_or((i64::MIN, ""), |(at, id)| (at.0, id.as_str()));
        let sql = format!(
            "SELECT {COLUMNS} FROM taskwarden.stripe_balance_transactions WHERE account = $1 AND livemode = $2 AND created_at_ms >= $3 \
             AND created_at_ms < $4 AND (created_at_ms, id) > ($5, $6) ORDER BY created_at_ms, id LIMIT $7"
        );
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(AssertSqlSafe(sql))
            .bind(&query.owner.account)
            .bind(query.owner.livemode)
            .bind(query.from.0)
            .bind(query.to.0)
            .bind(after_ms)
            .bind(after_id)
            .bind(i64::from(query.limit))
            .fetch_all(&mut *tx)
            .await?;
        rows.iter().map(transaction).collect()
    }

    async fn payout_members(&self, owner: &Owner, payout: &str) -> Result<Vec<BalanceTransaction>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM taskwarden.stripe_balance_transactions WHERE account = $1 AND livemode = $2 AND payout = $3 ORDER BY id"
        );
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(AssertSqlSafe(sql)).bind(&owner.account).bind(owner.livemode).bind(payout).fetch_all(&mut *tx).await?;
        rows.iter().map(transaction).collect()
    }

    async fn cursor(&self, owner: &Owner, name: &str) -> Result<Option<String>> {
        let mut tx = self.db.begin_read().await?;
        let value = sql::query_scalar("SELECT value FROM taskwarden.stripe_cursors WHERE account = $1 AND livemode = $2 AND name = $3")
            .bind(&owner.account)
            .bind(owner.livemode)
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
        Ok(value)
    }

    async fn listings(&self, owner: &Owner, states: &[ListingState], limit: u32) -> Result<Vec<PayoutListing>> {
        let states: Vec<&str> = states.iter().map(|state| state.name()).collect();
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(
            "SELECT payout, currency, amount, state FROM taskwarden.stripe_payout_listings \
             WHERE account = $1 AND livemode = $2 AND state = ANY($3) ORDER BY payout LIMIT $4",
        )
        .bind(&owner.account)
        .bind(owner.livemode)
        .bind(states)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        rows.iter().map(listing).collect()
    }

    async fn overdue_payouts(&self, owner: &Owner, arrived_before: UnixMs, limit: u32) -> Result<Vec<String>> {
        let mut tx = self.db.begin_read().await?;
        let ids = sql::query_scalar(
            "SELECT id FROM taskwarden.stripe_transactions WHERE account = $1 AND livemode = $2 AND kind = 'payout' \
             AND status IN ('pending', 'in_transit') AND coalesce(arrival_at_ms, created_at_ms) < $3 ORDER BY id LIMIT $4",
        )
        .bind(&owner.account)
        .bind(owner.livemode)
        .bind(arrived_before.0)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        Ok(ids)
    }

    async fn quarantine(&self, owner: &Owner, limit: u32) -> Result<Vec<QuarantinedRow>> {
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(
            "SELECT id, source, line, reason, \"row\", at_ms FROM taskwarden.stripe_quarantine WHERE account = $1 AND livemode = $2 \
             ORDER BY at_ms DESC, source, line, id LIMIT $3",
        )
        .bind(&owner.account)
        .bind(owner.livemode)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        rows.iter().map(quarantined).collect()
    }
}
