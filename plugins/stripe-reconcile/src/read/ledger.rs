//! The ledger: orders, and what our books say of charges, refunds, disputes and payouts.

use std::io::BufRead;

use taskwarden_money::{Currency, Separator};

use super::cells::{Common, MoneyColumn, id, moment, status, utc_moment};
use super::{Bad, Columned, Input, ReadError, Reading, each_row};
use crate::kind::Kind;
use crate::rows::{Extra, Flags, KindByte, Row, Status};
use crate::store::Name;
use crate::text::{ABSENT, Columns, HeaderError, Memo, Record};

struct Layout {
    common: Common,
    amount: MoneyColumn,
    fee: MoneyColumn,
    net: MoneyColumn,
    id: usize,
    order: usize,
    payment: usize,
    charge: usize,
    source: usize,
    balance_transaction: usize,
    kind: usize,
    status: usize,
    created: usize,
    created_utc: usize,
    known_status: Memo<Status>,
    /// The host's own table of Stripe's objects, where this is one.
    objects: Option<Objects>,
}

/// What only the table of Stripe's objects has.
struct Objects {
    kind: usize,
    status: usize,
    captured: MoneyColumn,
}

impl Objects {
    fn find(columns: &Columns) -> Option<Self> {
        let captured = MoneyColumn::find(columns, "amount_captured", &["amount_captured"], &[]);
        let (kind, status) = (columns.find(&["kind"]), columns.find(&["status"]));
        (columns.has("amount_captured") && columns.has("amount_refunded") && kind != ABSENT).then_some(Self { kind, status, captured })
    }

    /// Whether it asks for money, or tells of it, and moves none: the payment, the charge and the refund beside it do.
    fn moves_nothing(&self, record: Record<'_>) -> bool {
        const KINDS: [&[u8]; 5] =
            [b"checkout.session", b"invoice", b"invoice_payment", b"radar.early_fraud_warning", b"reporting.report_run"];
        KINDS.contains(&record.cell(self.kind))
    }

    /// Whether it is a charge that was authorised and of which nothing was captured.
    fn is_held(&self, record: Record<'_>, currency: Currency, separator: Separator) -> Result<bool, Bad> {
        let is_charge = record.cell(self.kind) == b"charge" && record.cell(self.status) == b"succeeded";
        Ok(is_charge && self.captured.read_if_any(record, currency, separator)? == Some(0))
    }
}

/// Reads the input `ledger` and answers with the number of records.
pub(crate) fn read_ledger(from: impl BufRead, reading: &mut Reading<'_>) -> Result<u64, ReadError> {
    each_row(from, Input::Ledger, reading, |columns, _| Layout::find(columns), read_row)
}

impl Columned for Layout {
    fn keys(&self) -> Vec<usize> {
        vec![self.balance_transaction, self.source, self.charge, self.payment, self.order, self.id]
    }
}

impl Layout {
    fn find(columns: &Columns) -> Result<Self, HeaderError> {
        let amount = MoneyColumn::need(columns, "amount", &["amount", "amount_minor"], &["amount_major"])?;
        let money = |name, names: &[&str]| MoneyColumn::find(columns, name, names, &[]).in_major_units(amount.is_major());
        let layout = Self {
            common: Common::find(columns)?,
            amount,
            fee: money("fee", &["fee", "fee_minor"]),
            net: money("net", &["net", "net_minor"]),
            id: columns.find(&["id", "object_id"]),
            order: columns.find(&["order_id", "order"]),
            payment: columns.find(&["payment_intent", "payment_intent_id"]),
            charge: columns.find(&["charge", "charge_id"]),
            source: columns.find(&["source", "source_id"]),
            balance_transaction: columns.find(&["balance_transaction", "balance_transaction_id"]),
            kind: columns.find(&["kind", "type", "object"]),
            status: columns.find(&["status"]),
            created: columns.find(&["created", "created_at", "created_ms", "created_at_ms", "date"]),
            created_utc: columns.find(&["created_utc"]),
            known_status: Memo::default(),
            objects: Objects::find(columns),
        };
        let keys = [layout.id, layout.order, layout.payment, layout.charge, layout.source, layout.balance_transaction];
        if keys.iter().all(|column| *column == ABSENT) {
            return Err(HeaderError::Missing(&["order_id", "payment_intent", "charge", "source", "balance_transaction", "id"]));
        }
        Ok(layout)
    }
}

/// Whether an id is one of Stripe's objects that move money.
fn is_source(id: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 9] = [b"ch_", b"py_", b"re_", b"pyr_", b"dp_", b"du_", b"po_", b"tr_", b"trr_"];
    PREFIXES.iter().any(|prefix| id.starts_with(prefix))
}

fn read_row(layout: &Layout, record: Record<'_>, reading: &mut Reading<'_>) -> Result<(), Bad> {
    if layout.objects.as_ref().is_some_and(|objects| objects.moves_nothing(record)) {
        return read_without_movement(layout, record, reading);
    }
    let (currency, currency_number) = layout.common.currency(record, reading)?;
    let separator = reading.options.separator;
    let amount = layout.amount.read(record, currency, separator)?;
    let own = record.id(layout.id);
    let charge = record.id(layout.charge);
    let mut source = record.id(layout.source);
    if source.is_empty() && is_source(own.text) {
        source = own;
    }
    let kind = kind(record.cell(layout.kind), if source.is_empty() { charge.text } else { source.text }, amount)?;
    if source.is_empty() && matches!(kind, Kind::Charge | Kind::Order) {
        source = charge;
    }
    let mut payment = record.id(layout.payment);
    if payment.is_empty() && own.text.starts_with(b"pi_") {
        payment = own;
    }
    if payment.is_empty() {
        payment = if charge.is_empty() && kind == Kind::Charge { source } else { charge };
    }
    let mut order = record.id(layout.order);
    if layout.order == ABSENT && !is_source(own.text) && !own.text.starts_with(b"pi_") {
        order = own;
    }
    // The table of Stripe's objects has an id for each, also where it belongs to nothing else.
    if layout.objects.is_some() && [source, payment, order].iter().all(|id| id.is_empty()) {
        source = own;
    }
    let source_name = id("source", source, reading)?;
    let ids = [
        id("balance_transaction", record.id(layout.balance_transaction), reading)?,
        source_name,
        // Often the same cell, which need not be looked up twice.
        if std::ptr::eq(payment.text, source.text) { source_name } else { id("payment_intent", payment, reading)? },
        id("order_id", order, reading)?,
    ];
    if ids.iter().all(|id| !id.is_some()) {
        return Err(Bad::new("", "has no id to join by", b""));
    }
    let amount = signed(kind, amount).ok_or_else(|| Bad::new("amount", "does not fit into 64 bits", layout.amount.cell(record)))?;
    let fee = layout.fee.read_if_any(record, currency, separator)?;
    let net = layout.net.read_if_any(record, currency, separator)?;
    let created = if layout.created_utc == ABSENT {
        moment("created", record.cell(layout.created), reading)?
    } else {
        utc_moment("created_utc", record.cell(layout.created_utc))?
    };
    let mut row = Row {
        amount,
        ids,
        payout: Name::NONE,
        created,
        currency: currency_number,
        scope: layout.common.scope(record, reading)?,
        kind: KindByte(kind),
        status: layout.known_status.get(record.cell(layout.status), || status(record.cell(layout.status)))?,
        ..Row::default()
    };
    if let Some(objects) = &layout.objects
        && objects.is_held(record, currency, separator)?
    {
        row.status = Status::Failed;
    }
    let mut extra = Extra::default();
    row.fee = match (fee, net) {
        (Some(fee), _) => fee,
        (None, Some(net)) => {
            amount.checked_sub(net).ok_or_else(|| Bad::new("net", "does not fit into 64 bits", layout.net.cell(record)))?
        }
        (None, None) => 0,
    };
    if fee.or(net).is_some() {
        row.flags.set(Flags::FEE_KNOWN);
    }
    if net.is_some_and(|net| i128::from(net) != row.net()) {
        row.flags.set(Flags::NET_WRONG);
        extra.net = net;
    }
    push(row, extra, reading)
}

/// An object that moves no money: it is counted, and nothing is expected for it. Some have no currency, which is one of its own (ISO 4217).
fn read_without_movement(layout: &Layout, record: Record<'_>, reading: &mut Reading<'_>) -> Result<(), Bad> {
    const NONE: &[u8] = b"xxx";
    let currency = layout.common.currency_or(record, NONE, reading)?;
    let row = Row {
        ids: [Name::NONE, id("id", record.id(layout.id), reading)?, Name::NONE, Name::NONE],
        created: moment("created", record.cell(layout.created), reading)?,
        currency,
        scope: layout.common.scope(record, reading)?,
        kind: KindByte(Kind::OwnLine),
        ..Row::default()
    };
    push(row, Extra::default(), reading)
}

fn push(row: Row, extra: Extra, reading: &mut Reading<'_>) -> Result<(), Bad> {
    reading.book.ledger.push(row, extra).map(|_| ()).ok_or_else(|| Bad::new("", "is one row too many for 32 bits", b""))
}

fn kind(word: &[u8], source: &[u8], amount: i64) -> Result<Kind, Bad> {
    if word.is_empty() {
        return Ok(by_prefix(source, amount).unwrap_or(Kind::Order));
    }
    match Kind::of_ledger(word) {
        Some(kind) => Ok(kind),
        None => Kind::of_ledger(&word.to_ascii_lowercase()).ok_or_else(|| Bad::new("kind", "is no kind that is known", word)),
    }
}

/// What an object is by its id alone.
pub(super) fn by_prefix(source: &[u8], amount: i64) -> Option<Kind> {
    let (prefix, _) = source.split_at_checked(source.iter().position(|byte| *byte == b'_')?)?;
    Some(match prefix {
        b"ch" | b"py" => Kind::Charge,
        b"re" | b"pyr" => Kind::Refund,
        b"dp" | b"du" if amount > 0 => Kind::DisputeReversal,
        b"dp" | b"du" => Kind::Dispute,
        b"po" => Kind::Payout,
        b"tr" | b"trr" => Kind::Transfer,
        _ => return None,
    })
}

/// As the balance feels it. Refunds and disputes may be written with or without the minus; a payout is written as on the payout object,
/// positive when money goes to the bank.
fn signed(kind: Kind, amount: i64) -> Option<i64> {
    match kind {
        Kind::Refund | Kind::Dispute if amount > 0 => amount.checked_neg(),
        Kind::Payout => amount.checked_neg(),
        _ => Some(amount),
    }
}
