//! Stripe's ledger.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::admin::Parts;
use super::row;
use super::stripe::transactions::Apply;
use super::stripe::{income, wanted};
use super::tx::Tx;
use super::writer::{Turn, Verb};
use crate::clock::UnixMs;
use crate::store::ledger::{LedgerBatch, LedgerCounts, LedgerQuery, LedgerStore, Plan, QuarantinedRow};
use crate::store::stored::damaged;
use crate::store::{Conflict, Result, StoreError};
use crate::stripe::import::Quarantined;
use crate::stripe::ledger::{BalanceTransaction, Origin, Owner};
use crate::stripe::payout::{ListingState, PayoutListing};

pub(super) const COLUMNS: &str = "id, type, reporting_category, balance_type, source, status, currency, amount, fee, net, exchange_rate, created_at_ms, \
                       available_on_ms, payout, charge, payment_intent, order_id, description, origin";

struct Merge {
    batch: LedgerBatch,
    now: UnixMs,
}

impl Verb for Merge {
    type Answer = LedgerCounts;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<LedgerCounts> {
        let owner = &self.batch.owner;
        let mut stored = BTreeMap::new();
        let sought = format!("SELECT {COLUMNS} FROM stripe_balance_transactions WHERE account = ? AND livemode = ? AND id = ?");
        for (_, seen) in &self.batch.transactions {
            if let Some(row) = row::first(tx.conn, &sought, params![owner.account, owner.livemode, seen.id], transaction)? {
                stored.insert(row.id.clone(), row);
            }
        }
        let plan = Plan::of(&self.batch, &stored, self.now).map_err(|overflow| StoreError::Conflict(Conflict::Money(overflow)))?;
        if !self.batch.objects.is_empty() {
            Apply { seen: self.batch.objects.clone(), named: Vec::new(), now: self.now }.apply(tx)?;
        }
        for row in &plan.rows {
            put(tx, owner, row)?;
        }
        income::add(tx, &plan.income, self.now)?;
        wanted::change(tx, &BTreeSet::new(), &plan.settled, self.now)?;
        for row in &plan.quarantined {
            tx.execute(
                "INSERT OR IGNORE INTO stripe_quarantine (id, account, livemode, source, line, reason, row, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                params![row.id, owner.account, owner.livemode, row.source, line(row.row.line), row.row.reason, row.row.row, row.at.0],
            )?;
        }
        for listing in &self.batch.listings {
            // What is complete stays so, however often the payout is seen again.
            tx.execute(
                "INSERT INTO stripe_payout_listings (account, livemode, payout, currency, amount, state, updated_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (account, livemode, payout) DO UPDATE SET currency = excluded.currency, amount = excluded.amount, \
                 state = excluded.state, updated_at_ms = excluded.updated_at_ms WHERE state <> 'complete'",
                params![owner.account, owner.livemode, listing.payout, listing.currency, listing.amount, listing.state.name(), self.now.0],
            )?;
        }
        if let Some(cursor) = &self.batch.cursor {
            tx.execute(
                "INSERT OR REPLACE INTO stripe_cursors (account, livemode, name, value, updated_at_ms) VALUES (?, ?, ?, ?, ?)",
                params![owner.account, owner.livemode, cursor.name, cursor.value, self.now.0],
            )?;
        }
        Ok(plan.counts)
    }

    fn rows(&self) -> usize {
        self.batch.rows() + 1
    }

    fn turn(&self) -> Turn {
        Turn::Bulk
    }
}

fn put(tx: &Tx<'_>, owner: &Owner, row: &BalanceTransaction) -> Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO stripe_balance_transactions (account, livemode, id, type, reporting_category, balance_type, source, status, \
         currency, amount, fee, net, exchange_rate, created_at_ms, available_on_ms, payout, charge, payment_intent, order_id, description, origin) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            owner.account,
            owner.livemode,
            row.id,
            row.kind,
            row.reporting_category,
            row.balance_type,
            row.source,
            row.status,
            row.currency,
            row.amount,
            row.fee,
            row.net,
            row.exchange_rate,
            row.created_at.0,
            row.available_on.0,
            row.payout,
            row.charge,
            row.payment_intent,
            row.order_id,
            row.description,
            row.origin.name()
        ],
    )?;
    Ok(())
}

pub(super) fn transaction(row: &Row<'_>) -> Result<BalanceTransaction> {
    Ok(BalanceTransaction {
        id: row.get("id")?,
        kind: row.get("type")?,
        reporting_category: row.get("reporting_category")?,
        balance_type: row.get("balance_type")?,
        source: row.get("source")?,
        status: row.get("status")?,
        currency: row.get("currency")?,
        amount: row.get("amount")?,
        fee: row.get("fee")?,
        net: row.get("net")?,
        exchange_rate: row.get("exchange_rate")?,
        created_at: UnixMs(row.get("created_at_ms")?),
        available_on: UnixMs(row.get("available_on_ms")?),
        payout: row.get("payout")?,
        charge: row.get("charge")?,
        payment_intent: row.get("payment_intent")?,
        order_id: row.get("order_id")?,
        description: row.get("description")?,
        origin: Origin::parse(row::text(row, "origin")?).map_err(|why| damaged("a balance transaction", why))?,
    })
}

fn listing(row: &Row<'_>) -> Result<PayoutListing> {
    let state = row::text(row, "state")?;
    Ok(PayoutListing {
        payout: row.get("payout")?,
        currency: row.get("currency")?,
        amount: row.get("amount")?,
        state: ListingState::parse(state).ok_or_else(|| damaged("the state of a payout's listing", state))?,
    })
}

fn quarantined(row: &Row<'_>) -> Result<QuarantinedRow> {
    Ok(QuarantinedRow {
        id: row.get("id")?,
        source: row.get("source")?,
        row: Quarantined { line: row.get::<_, i64>("line")?.unsigned_abs(), reason: row.get("reason")?, row: row.get("row")? },
        at: UnixMs(row.get("at_ms")?),
    })
}

fn line(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn page(conn: &Connection, query: &LedgerQuery) -> Result<Vec<BalanceTransaction>> {
    let (after_ms, after_id) = query.after.as_ref().map_or((i64::MIN, ""), |(at, id)| (at.0, id.as_str()));
    let sql = format!(
        "SELECT {COLUMNS} FROM stripe_balance_transactions WHERE account = ? AND livemode = ? AND created_at_ms >= ? AND created_at_ms < ? \
         AND (created_at_ms, id) > (?, ?) ORDER BY created_at_ms, id LIMIT ?"
    );
    let owner = &query.owner;
    let values = params![owner.account, owner.livemode, query.from.0, query.to.0, after_ms, after_id, query.limit];
    row::all(conn, &sql, values, transaction)
}

#[async_trait]
impl<T: Parts> LedgerStore for T {
    async fn merge_ledger(&self, batch: LedgerBatch, now: UnixMs) -> Result<LedgerCounts> {
        self.writer().run(Merge { batch, now }).await
    }

    async fn balance_transactions(&self, query: LedgerQuery) -> Result<Vec<BalanceTransaction>> {
        self.readers().run(move |conn| page(conn, &query)).await
    }

    async fn payout_members(&self, owner: &Owner, payout: &str) -> Result<Vec<BalanceTransaction>> {
        let (owner, payout) = (owner.clone(), payout.to_owned());
        let read = self.readers().run(move |conn| {
            let sql =
                format!("SELECT {COLUMNS} FROM stripe_balance_transactions WHERE account = ? AND livemode = ? AND payout = ? ORDER BY id");
            row::all(conn, &sql, params![owner.account, owner.livemode, payout], transaction)
        });
        read.await
    }

    async fn cursor(&self, owner: &Owner, name: &str) -> Result<Option<String>> {
        let (owner, name) = (owner.clone(), name.to_owned());
        let read = self.readers().run(move |conn| {
            let sql = "SELECT value FROM stripe_cursors WHERE account = ? AND livemode = ? AND name = ?";
            row::first(conn, sql, params![owner.account, owner.livemode, name], |row| Ok(row.get(0)?))
        });
        read.await
    }

    async fn listings(&self, owner: &Owner, states: &[ListingState], limit: u32) -> Result<Vec<PayoutListing>> {
        let (owner, states) = (owner.clone(), states.to_vec());
        let read = self.readers().run(move |conn| {
            let mut found = Vec::new();
            for state in states {
                let sql = "SELECT payout, currency, amount, state FROM stripe_payout_listings \
                           WHERE account = ? AND livemode = ? AND state = ? ORDER BY payout LIMIT ?";
                found.extend(row::all(conn, sql, params![owner.account, owner.livemode, state.name(), limit], listing)?);
            }
            found.sort_by(|one: &PayoutListing, other| one.payout.cmp(&other.payout));
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(found)
        });
        read.await
    }

    async fn overdue_payouts(&self, owner: &Owner, arrived_before: UnixMs, limit: u32) -> Result<Vec<String>> {
        let owner = owner.clone();
        let read = self.readers().run(move |conn| {
            let sql = "SELECT id FROM stripe_transactions WHERE account = ? AND livemode = ? AND kind = 'payout' \
                       AND status IN ('pending', 'in_transit') AND coalesce(arrival_at_ms, created_at_ms) < ? ORDER BY id LIMIT ?";
            row::all(conn, sql, params![owner.account, owner.livemode, arrived_before.0, limit], |row| Ok(row.get(0)?))
        });
        read.await
    }

    async fn quarantine(&self, owner: &Owner, limit: u32) -> Result<Vec<QuarantinedRow>> {
        let owner = owner.clone();
        let read = self.readers().run(move |conn| {
            let sql = "SELECT id, source, line, reason, row, at_ms FROM stripe_quarantine WHERE account = ? AND livemode = ? \
                       ORDER BY at_ms DESC, source, line, id LIMIT ?";
            row::all(conn, sql, params![owner.account, owner.livemode, limit], quarantined)
        });
        read.await
    }
}
