//! Payouts: the API's objects as our own export has them, and `payouts.itemized`.

use std::io::BufRead;

use super::cells::{Common, MoneyColumn, flag, moment, name, status, utc_moment};
use super::{Bad, Columned, Input, ReadError, Reading, each_row};
use crate::kind::Kind;
use crate::rows::{Extra, Flags, KindByte, Row};
use crate::store::Name;
use crate::text::{ABSENT, Columns, HeaderError, Record};

struct Layout {
    common: Common,
    amount: MoneyColumn,
    /// A report's amounts are what the balance feels: a payout is negative there and positive on the payout object.
    from_balance: bool,
    id: usize,
    balance_transaction: usize,
    category: usize,
    status: usize,
    created: usize,
    arrival_utc: usize,
    arrival: usize,
    automatic: usize,
    method: usize,
    reconciliation_status: usize,
    trace: usize,
}

/// Reads the input `payouts` and answers with the number of records.
pub(crate) fn read_payouts(from: impl BufRead, reading: &mut Reading<'_>) -> Result<u64, ReadError> {
    each_row(from, Input::Payouts, reading, |columns, _| Layout::find(columns), read_row)
}

impl Columned for Layout {}

impl Layout {
    fn find(columns: &Columns) -> Result<Self, HeaderError> {
        Ok(Self {
            common: Common::find(columns)?,
            amount: MoneyColumn::need(columns, "amount", &["amount", "amount_minor"], &["gross", "amount_major"])?,
            from_balance: columns.has("gross") && !columns.has("amount") && !columns.has("amount_minor"),
            id: columns.need(&["payout_id", "id"])?,
            balance_transaction: columns.find(&["balance_transaction_id", "balance_transaction"]),
            category: columns.find(&["reporting_category"]),
            status: columns.find(&["payout_status", "status"]),
            created: columns.find(&["created", "created_at", "created_ms", "created_at_ms", "created_utc"]),
            arrival_utc: columns.find(&["effective_at_utc"]),
            arrival: columns.find(&["arrival_date", "arrival_at_ms", "payout_expected_arrival_date", "effective_at"]),
            automatic: columns.find(&["automatic"]),
            method: columns.find(&["method"]),
            reconciliation_status: columns.find(&["reconciliation_status"]),
            trace: columns.find(&["trace_id"]),
        })
    }
}

fn read_row(layout: &Layout, record: Record<'_>, reading: &mut Reading<'_>) -> Result<(), Bad> {
    let (currency, currency_number) = layout.common.currency(record, reading)?;
    let written = layout.amount.read(record, currency, reading.options.separator)?;
    let amount = if layout.from_balance { written.checked_neg() } else { Some(written) };
    let amount = amount.ok_or_else(|| Bad::new("amount", "does not fit into 64 bits", layout.amount.cell(record)))?;
    let id = record.cell(layout.id);
    if id.is_empty() {
        return Err(Bad::new("payout_id", "is empty", b""));
    }
    let kind = if record.cell(layout.category) == b"payout_reversal" { Kind::PayoutReversal } else { Kind::Payout };
    let arrival = if layout.arrival_utc == ABSENT {
        moment("arrival_date", record.cell(layout.arrival), reading)?
    } else {
        utc_moment("effective_at_utc", record.cell(layout.arrival_utc))?
    };
    let mut row = Row {
        amount,
        ids: [
            name("balance_transaction", record.cell(layout.balance_transaction), reading)?,
            name("payout_id", id, reading)?,
            trace(record.cell(layout.trace), reading)?,
            Name::NONE,
        ],
        created: moment("created", record.cell(layout.created), reading)?,
        available: arrival,
        currency: currency_number,
        scope: layout.common.scope(record, reading)?,
        kind: KindByte(kind),
        status: status(record.cell(layout.status))?,
        ..Row::default()
    };
    let automatic = match record.cell(layout.method) {
        b"instant" => Some(false),
        _ => flag("automatic", record.cell(layout.automatic))?,
    };
    if let Some(automatic) = automatic {
        row.flags.set(Flags::SCHEDULE_KNOWN);
        if automatic {
            row.flags.set(Flags::AUTOMATIC);
        }
    }
    match record.cell(layout.reconciliation_status) {
        b"" | b"completed" => {}
        b"in_progress" => row.flags.set(Flags::NOT_FINAL),
        b"not_applicable" => row.flags.set(Flags::SCHEDULE_KNOWN),
        other => return Err(Bad::new("reconciliation_status", "is not completed, in_progress or not_applicable", other)),
    }
    reading.book.payouts.push(row, Extra::default()).map(|_| ()).ok_or_else(|| Bad::new("", "is one row too many for 32 bits", b""))
}

/// The API gives the trace as an object; exports may keep it as JSON.
pub(super) fn trace(cell: &[u8], reading: &mut Reading<'_>) -> Result<Name, Bad> {
    if cell.first() != Some(&b'{') {
        return name("trace_id", cell, reading);
    }
    #[derive(serde::Deserialize)]
    struct Trace {
        #[serde(default)]
        value: Option<String>,
    }
    let read: Trace = serde_json::from_slice(cell).map_err(|_| Bad::new("trace_id", "is neither a text nor the API's object", cell))?;
    name("trace_id", read.value.unwrap_or_default().as_bytes(), reading)
}
