//! Rows of the host's own tables as tasks read them: CSV with a header, money in minor units, times in seconds since 1970.

use async_trait::async_trait;

use super::Result;
use crate::clock::UnixMs;
use crate::stripe::ledger::Owner;
use crate::task::HostTable;

/// Which rows: those from `from` to before `to` in order of time, after one of them.
#[derive(Debug, Clone)]
pub struct TableQuery {
    /// Of which table.
    pub table: HostTable,
    /// Whose.
    pub owner: Owner,
    /// From this moment.
    pub from: UnixMs,
    /// To before this one.
    pub to: UnixMs,
    /// After this row.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: u32,
}

/// Where a row stands in the order of a table.
pub type Place = (UnixMs, String);

/// Some rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablePage {
    /// The values of each, in the order of [`columns`].
    pub rows: Vec<Vec<Option<String>>>,
    /// Where the last one stands; nothing when there is none.
    pub last: Option<Place>,
}

/// Reading tables for tasks.
#[async_trait]
pub trait TableStore: Send + Sync + 'static {
    /// A page of rows.
    async fn table_page(&self, query: TableQuery) -> Result<TablePage>;
}

/// A column's name and where it comes from, in words that both databases understand.
type Column = (&'static str, &'static str);

const BALANCE_TRANSACTIONS: [Column; 20] = [
    ("id", "t.id"),
    ("type", "t.type"),
    ("reporting_category", "t.reporting_category"),
    ("balance_type", "t.balance_type"),
    ("source", "t.source"),
    ("status", "t.status"),
    ("currency", "t.currency"),
    ("amount", "t.amount"),
    ("fee", "t.fee"),
    ("net", "t.net"),
    ("exchange_rate", "t.exchange_rate"),
    ("created", "t.created_at_ms / 1000"),
    ("available_on", "t.available_on_ms / 1000"),
    ("payout", "t.payout"),
    ("charge", "t.charge"),
    ("payment_intent", "t.payment_intent"),
    ("order_id", "t.order_id"),
    ("description", "t.description"),
    ("account", "t.account"),
    LIVEMODE,
];

const LIVEMODE: Column = ("livemode", "CASE WHEN t.livemode THEN 'true' ELSE 'false' END");

const TRANSACTIONS: [Column; 15] = [
    ("id", "t.id"),
    ("kind", "t.kind"),
    ("status", "t.status"),
    ("currency", "t.currency"),
    ("amount", "t.amount"),
    ("amount_captured", "t.amount_captured"),
    ("amount_refunded", "t.amount_refunded"),
    ("payment_intent", "t.payment_intent"),
    ("charge", "t.charge"),
    ("balance_transaction", "t.balance_transaction"),
    ("failure_balance_transaction", "t.failure_balance_transaction"),
    ("order_id", "t.order_id"),
    ("created", "t.created_at_ms / 1000"),
    ("account", "t.account"),
    LIVEMODE,
];

const PAYOUTS: [Column; 12] = [
    ("id", "t.id"),
    ("status", "t.status"),
    ("currency", "t.currency"),
    ("amount", "t.amount"),
    ("created", "t.created_at_ms / 1000"),
    ("arrival_date", "t.arrival_at_ms / 1000"),
    (
        "automatic",
        "(SELECT CASE WHEN l.state = 'unattributable' THEN 'false' ELSE 'true' END FROM {schema}stripe_payout_listings l \
         WHERE l.account = t.account AND l.livemode = t.livemode AND l.payout = t.id)",
    ),
    (
        "reconciliation_status",
        "CASE WHEN t.reconciled THEN 'completed' WHEN EXISTS (SELECT 1 FROM {schema}stripe_payout_listings l WHERE l.account = t.account \
         AND l.livemode = t.livemode AND l.payout = t.id AND l.state = 'unattributable') THEN 'not_applicable' ELSE 'in_progress' END",
    ),
    ("balance_transaction", "t.balance_transaction"),
    ("failure_balance_transaction", "t.failure_balance_transaction"),
    ("account", "t.account"),
    LIVEMODE,
];

/// Whether an order is paid is what Stripe says of its checkout, which is not what our side believes and is no proof of it: the charge has
/// to be there as well.
const ORDERS: [Column; 9] = [
    ("order_id", "t.id"),
    ("kind", "'charge'"),
    (
        "status",
        "CASE WHEN EXISTS (SELECT 1 FROM {schema}stripe_transactions s WHERE s.account = t.account AND s.livemode = t.livemode \
         AND s.kind = 'checkout.session' AND s.id = t.session AND s.paid) THEN 'paid' \
         WHEN EXISTS (SELECT 1 FROM {schema}stripe_transactions s WHERE s.account = t.account AND s.livemode = t.livemode \
         AND s.kind = 'checkout.session' AND s.id = t.session AND s.status = 'expired') THEN 'expired' ELSE 'pending' END",
    ),
    ("currency", "t.currency"),
    ("amount", "t.amount"),
    ("created", "t.created_at_ms / 1000"),
    (
        "payment_intent",
        "(SELECT s.payment_intent FROM {schema}stripe_transactions s WHERE s.account = t.account AND s.livemode = t.livemode \
         AND s.kind = 'checkout.session' AND s.id = t.session)",
    ),
    ("account", "t.account"),
    LIVEMODE,
];

/// The columns of a table, where its rows are, and which of them.
fn source(table: HostTable) -> (&'static [Column], &'static str, &'static str) {
    match table {
        HostTable::StripeBalanceTransactions => (&BALANCE_TRANSACTIONS, "stripe_balance_transactions", ""),
        HostTable::StripeTransactions => (&TRANSACTIONS, "stripe_transactions", ""),
        HostTable::StripePayouts => (&PAYOUTS, "stripe_transactions", "AND t.kind = 'payout' "),
        HostTable::StripeOrders => (&ORDERS, "stripe_orders", ""),
    }
}

/// The statement for a page, with what stands before a table's name. Its values are account, livemode, from, to, the time and the id of the
/// place, and the limit; `place` writes the n-th of them. It answers the columns as text, and then `at_ms` and `key`.
pub(super) fn select(table: HostTable, schema: &str, place: impl Fn(usize) -> String) -> String {
    let (columns, from, only) = source(table);
    let values: Vec<_> =
        columns.iter().map(|(_, expression)| format!("CAST({} AS TEXT)", expression.replace("{schema}", schema))).collect();
    format!(
        "SELECT {}, t.created_at_ms AS at_ms, t.id AS key FROM {schema}{from} t WHERE t.account = {} AND t.livemode = {} {only}\
         AND t.created_at_ms >= {} AND t.created_at_ms < {} AND (t.created_at_ms, t.id) > ({}, {}) ORDER BY t.created_at_ms, t.id LIMIT {}",
        values.join(", "),
        place(1),
        place(2),
        place(3),
        place(4),
        place(5),
        place(6),
        place(7),
    )
}

/// The names of a table's columns.
pub fn columns(table: HostTable) -> impl Iterator<Item = &'static str> {
    source(table).0.iter().map(|(name, _)| *name)
}

/// Adds a line of CSV.
pub fn csv_line<'a>(line: &mut String, values: impl Iterator<Item = &'a str>) {
    for (at, value) in values.enumerate() {
        if at > 0 {
            line.push(',');
        }
        if value.contains(['"', ',', '\n', '\r']) {
            line.push('"');
            line.push_str(&value.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(value);
        }
    }
    line.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_is_quoted() {
        let mut line = String::new();
        csv_line(&mut line, ["plain", "", "a,b", "say \"no\"", "two\nlines"].into_iter());
        assert_eq!(line, "plain,,\"a,b\",\"say \"\"no\"\"\",\"two\nlines\"\n");
    }

    #[test]
    fn a_statement_names_every_column_once() {
        let sql = select(HostTable::StripeBalanceTransactions, "", |n| format!("?{n}"));
        assert!(sql.starts_with("SELECT CAST(t.id AS TEXT), CAST(t.type AS TEXT)"), "{sql}");
        assert!(sql.ends_with("(t.created_at_ms, t.id) > (?5, ?6) ORDER BY t.created_at_ms, t.id LIMIT ?7"), "{sql}");
        assert_eq!(columns(HostTable::StripeBalanceTransactions).count(), 20);
    }
}
