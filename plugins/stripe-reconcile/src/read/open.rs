//! The open items of the run before: its `breaks.csv`. What is still open there takes part again, so that its partner can come late.

use std::io::BufRead;

use super::cells::{Common, MoneyColumn, moment, name, status};
use super::{Bad, Columned, Input, ReadError, Reading, each_row};
use crate::class::{Class, Leg};
use crate::kind::Kind;
use crate::rows::{Flags, KindByte, Row};
use crate::store::Name;
use crate::text::{Columns, HeaderError, Record, parse_date};

/// One item that was open.
pub(crate) struct OpenItem {
    /// Its stable id.
    pub(crate) id: Name,
    /// The day it was first reported, as it was written.
    pub(crate) first_seen: Name,
    /// The row itself and whether it was on the left side, when there was no partner.
    pub(crate) row: Option<(Leg, bool, Row)>,
}

struct Layout {
    id: usize,
    first_seen: usize,
    leg: usize,
    class: usize,
    left: MoneyColumn,
    right: MoneyColumn,
    left_common: Common,
    kind: usize,
    status: usize,
    created: usize,
    order: usize,
    payment: usize,
    left_source: usize,
    right_source: usize,
    balance_transaction: usize,
}

/// Reads the input `open` and answers with its items.
pub(crate) fn read_open(from: impl BufRead, reading: &mut Reading<'_>) -> Result<Vec<OpenItem>, ReadError> {
    let mut items = Vec::new();
    each_row(
        from,
        Input::Open,
        reading,
        |columns, _| Layout::find(columns),
        |layout, record, reading| {
            items.push(read_item(layout, record, reading)?);
            Ok(())
        },
    )?;
    Ok(items)
}

impl Columned for Layout {}

impl Layout {
    fn find(columns: &Columns) -> Result<Self, HeaderError> {
        Ok(Self {
            id: columns.need(&["id"])?,
            first_seen: columns.need(&["first_seen"])?,
            leg: columns.need(&["leg"])?,
            class: columns.need(&["class"])?,
            left: MoneyColumn::need(columns, "left_amount", &["left_amount"], &[])?,
            right: MoneyColumn::need(columns, "right_amount", &["right_amount"], &[])?,
            left_common: Common::find(columns)?,
            kind: columns.need(&["kind"])?,
            status: columns.need(&["status"])?,
            created: columns.need(&["created"])?,
            order: columns.need(&["order_id"])?,
            payment: columns.need(&["payment_intent"])?,
            left_source: columns.need(&["left_source"])?,
            right_source: columns.need(&["right_source"])?,
            balance_transaction: columns.need(&["balance_transaction"])?,
        })
    }
}

fn read_item(layout: &Layout, record: Record<'_>, reading: &mut Reading<'_>) -> Result<OpenItem, Bad> {
    let first_seen = record.cell(layout.first_seen);
    if parse_date(first_seen).is_none() {
        return Err(Bad::new("first_seen", "is no date", first_seen));
    }
    let leg_name = record.cell(layout.leg);
    let leg =
        Leg::ALL.into_iter().find(|leg| leg.name().as_bytes() == leg_name).ok_or_else(|| Bad::new("leg", "is not known", leg_name))?;
    let class_name = record.cell(layout.class);
    let class = Class::ALL.iter().copied().find(|class| class.name().as_bytes() == class_name);
    let class = class.ok_or_else(|| Bad::new("class", "is not known", class_name))?;
    let row = read_row(layout, leg, class, record, reading)?;
    Ok(OpenItem { id: name("id", record.cell(layout.id), reading)?, first_seen: name("first_seen", first_seen, reading)?, row })
}

/// Only a row that waits for a partner is carried. What both sides have is in both inputs, or it is over.
fn read_row(
    layout: &Layout,
    leg: Leg,
    class: Class,
    record: Record<'_>,
    reading: &mut Reading<'_>,
) -> Result<Option<(Leg, bool, Row)>, Bad> {
    let one_sided = layout.left.cell(record).is_empty() != layout.right.cell(record).is_empty();
    let waits = matches!(
        class,
        Class::TimingInTransit
            | Class::MissingInLedger
            | Class::MissingInStripe
            | Class::RefundUnrecorded
            | Class::DisputeOpen
            | Class::PayoutNotAtBank
            | Class::Ambiguous
    );
    if !one_sided || !waits || leg == Leg::BtPayout {
        return Ok(None);
    }
    let is_left = !layout.left.cell(record).is_empty();
    let (currency, currency_number) = layout.left_common.currency(record, reading)?;
    let amount = if is_left { layout.left } else { layout.right }.read(record, currency, reading.options.separator)?;
    let kind_name = record.cell(layout.kind);
    let kind = Kind::by_name(kind_name).ok_or_else(|| Bad::new("kind", "is no kind that is known", kind_name))?;
    let created = moment("created", record.cell(layout.created), reading)?;
    let mut row = Row {
        amount,
        ids: [
            name("balance_transaction", record.cell(layout.balance_transaction), reading)?,
            name("source", record.cell(if is_left { layout.left_source } else { layout.right_source }), reading)?,
            name("payment_intent", record.cell(layout.payment), reading)?,
            name("order_id", record.cell(layout.order), reading)?,
        ],
        created,
        available: if leg == Leg::PayoutBank { created } else { 0 },
        currency: currency_number,
        scope: reading.book.scopes.add(crate::rows::Scope::default()).unwrap_or_default(),
        kind: KindByte(kind),
        status: status(record.cell(layout.status))?,
        ..Row::default()
    };
    row.flags.set(Flags::CARRIED);
    if leg == Leg::PayoutBank && !is_left {
        row.flags.set(Flags::SAYS_STRIPE);
    }
    Ok(Some((leg, is_left, row)))
}
