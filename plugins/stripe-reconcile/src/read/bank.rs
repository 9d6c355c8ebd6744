//! What the bank has: deposits are positive, debits negative.

use std::io::BufRead;

use super::cells::{Common, MoneyColumn, moment, name};
use super::payouts::trace;
use super::{Bad, Columned, Input, ReadError, Reading, each_row};
use crate::kind::Kind;
use crate::rows::{Extra, Flags, KindByte, Row};
use crate::store::Name;
use crate::text::{Columns, HeaderError, Record};

struct Layout {
    common: Common,
    amount: MoneyColumn,
    id: usize,
    date: usize,
    trace: usize,
    reference: usize,
    description: usize,
}

/// Reads the input `bank` and answers with the number of records.
pub(crate) fn read_bank(from: impl BufRead, reading: &mut Reading<'_>) -> Result<u64, ReadError> {
    each_row(from, Input::Bank, reading, |columns, _| Layout::find(columns), read_row)
}

impl Columned for Layout {}

impl Layout {
    fn find(columns: &Columns) -> Result<Self, HeaderError> {
        Ok(Self {
            common: Common::find(columns)?,
            amount: MoneyColumn::need(columns, "amount", &["amount", "amount_minor"], &["amount_major"])?,
            id: columns.find(&["id", "transaction_id"]),
            date: columns.need(&["date", "booked_on", "booking_date", "value_date", "created"])?,
            trace: columns.find(&["trace_id"]),
            reference: columns.find(&["reference"]),
            description: columns.find(&["description", "text"]),
        })
    }
}

fn read_row(layout: &Layout, record: Record<'_>, reading: &mut Reading<'_>) -> Result<(), Bad> {
    let (currency, currency_number) = layout.common.currency(record, reading)?;
    let amount = layout.amount.read(record, currency, reading.options.separator)?;
    let (reference, description) = (record.cell(layout.reference), record.cell(layout.description));
    // A reference counts as a trace when a payout has that trace; other references are just words.
    let known = reading.book.names.known(reference).unwrap_or_default();
    let trace_id = trace(record.cell(layout.trace), reading)?.or(known);
    // A payout's id may stand anywhere in the text.
    let payout = [reference, description].into_iter().find_map(payout_id).unwrap_or_default();
    let says_stripe = [reference, description].into_iter().any(|text| text.to_ascii_lowercase().windows(6).any(|part| part == b"stripe"));
    let mut row = Row {
        amount,
        ids: [Name::NONE, name("reference", payout, reading)?, trace_id, name("id", record.cell(layout.id), reading)?],
        created: moment("date", record.cell(layout.date), reading)?,
        currency: currency_number,
        scope: layout.common.scope(record, reading)?,
        kind: KindByte(Kind::Payout),
        ..Row::default()
    };
    if says_stripe || !payout.is_empty() {
        row.flags.set(Flags::SAYS_STRIPE);
    }
    reading.book.bank.push(row, Extra::default()).map(|_| ()).ok_or_else(|| Bad::new("", "is one row too many for 32 bits", b""))
}

fn payout_id(text: &[u8]) -> Option<&[u8]> {
    let at = text.windows(3).position(|part| part == b"po_")?;
    let id = text.get(at..)?;
    let length = id.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(id.len());
    id.get(..length)
}
