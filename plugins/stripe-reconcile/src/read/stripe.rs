//! Balance transactions: the API's lists as our own export has them, and Stripe's itemised reports.

use std::io::BufRead;

use taskwarden_money::{Currency, Rate};

use super::cells::{Common, MoneyColumn, id, moment, name, status, utc_moment};
use super::ledger::by_prefix;
use super::{Bad, Columned, Input, ReadError, Reading, each_row};
use crate::kind::Kind;
use crate::rows::{Extra, Flags, KindByte, Row, Status};
use crate::text::{ABSENT, Columns, HeaderError, Memo, Record};

struct Layout {
    common: Common,
    amount: MoneyColumn,
    fee: MoneyColumn,
    net: MoneyColumn,
    id: usize,
    category: usize,
    bt_type: usize,
    source: usize,
    payment: usize,
    charge: usize,
    order: usize,
    payout: usize,
    balance: usize,
    status: usize,
    created: Moments,
    available: Moments,
    rate: usize,
    fee_details: usize,
    presentment: MoneyColumn,
    presentment_currency: usize,
    known_status: Memo<Status>,
}

/// A moment in UTC, or else in the report's time zone.
struct Moments {
    utc: usize,
    local: usize,
    name: &'static str,
}

impl Moments {
    #[inline(always)]
    fn read(&self, record: Record<'_>, reading: &Reading<'_>) -> Result<u32, Bad> {
        if self.utc == ABSENT { moment(self.name, record.cell(self.local), reading) } else { utc_moment(self.name, record.cell(self.utc)) }
    }
}

/// Reads the input `stripe` and answers with the number of records.
pub(crate) fn read_stripe(from: impl BufRead, reading: &mut Reading<'_>) -> Result<u64, ReadError> {
    each_row(from, Input::Stripe, reading, |columns, reading| Layout::find(columns, &reading.options.order_metadata), read_row)
}

impl Columned for Layout {
    fn keys(&self) -> Vec<usize> {
        vec![self.id, self.source, self.payment, self.charge, self.order, self.payout]
    }
}

impl Layout {
    fn find(columns: &Columns, order_metadata: &str) -> Result<Self, HeaderError> {
        let amount = MoneyColumn::need(columns, "amount", &["amount", "amount_minor"], &["gross", "amount_major"])?;
        let money = |name, names: &[&str]| MoneyColumn::find(columns, name, names, &[]).in_major_units(amount.is_major());
        let metadata = |of: &str| format!("{of}[{}]", order_metadata.to_ascii_lowercase());
        Ok(Self {
            common: Common::find(columns)?,
            amount,
            fee: money("fee", &["fee", "fee_minor"]),
            net: money("net", &["net", "net_minor"]),
            id: columns.need(&["balance_transaction_id", "id"])?,
            category: columns.find(&["reporting_category"]),
            bt_type: columns.find(&["type"]),
            source: columns.find(&["source_id", "source"]),
            payment: columns.find(&["payment_intent_id", "payment_intent"]),
            charge: columns.find(&["charge_id", "charge"]),
            order: columns.find(&[&metadata("payment_metadata"), &metadata("metadata"), order_metadata, "order_id"]),
            payout: columns.find(&["automatic_payout_id", "payout_id", "payout"]),
            balance: columns.find(&["balance_type"]),
            status: columns.find(&["source_status", "status"]),
            created: Moments {
                utc: columns.find(&["created_utc"]),
                local: columns.find(&["created", "created_at", "created_ms", "created_at_ms"]),
                name: "created",
            },
            available: Moments {
                utc: columns.find(&["available_on_utc"]),
                local: columns.find(&["available_on", "available_on_ms", "available_on_at_ms", "available_at_ms"]),
                name: "available_on",
            },
            rate: columns.find(&["exchange_rate"]),
            fee_details: columns.find(&["fee_details"]),
            presentment: money("customer_facing_amount", &["customer_facing_amount", "presentment_amount"]),
            presentment_currency: columns.find(&["customer_facing_currency", "presentment_currency"]),
            known_status: Memo::default(),
        })
    }
}

fn read_row(layout: &Layout, record: Record<'_>, reading: &mut Reading<'_>) -> Result<(), Bad> {
    let (currency, currency_number) = layout.common.currency(record, reading)?;
    let separator = reading.options.separator;
    let amount = layout.amount.read(record, currency, separator)?;
    let fee = layout.fee.read_if_any(record, currency, separator)?;
    let net = layout.net.read_if_any(record, currency, separator)?;
    let own = record.id(layout.id);
    if own.is_empty() {
        return Err(Bad::new("balance_transaction_id", "is empty", b""));
    }
    let source = record.id(layout.source);
    let kind = kind(layout, record, source.text, amount);
    let mut payment = record.id(layout.payment);
    if payment.is_empty() {
        let charge = record.id(layout.charge);
        payment = if charge.is_empty() && kind == Kind::Charge { source } else { charge };
    }
    let source_name = id("source", source, reading)?;
    let ids = [
        id("balance_transaction_id", own, reading)?,
        source_name,
        // Often the same cell, which need not be looked up twice.
        if std::ptr::eq(payment.text, source.text) { source_name } else { id("payment_intent", payment, reading)? },
        id("order_id", record.id(layout.order), reading)?,
    ];
    let balance = record.cell(layout.balance);
    let balance = name("balance_type", if balance == b"payments" { b"" } else { balance }, reading)?;
    let mut row = Row {
        amount,
        ids,
        payout: id("payout", record.id(layout.payout), reading)?,
        created: layout.created.read(record, reading)?,
        available: layout.available.read(record, reading)?,
        currency: currency_number,
        balance: reading.book.balances.add(balance).ok_or_else(|| Bad::new("balance_type", "is the 257th", record.cell(layout.balance)))?,
        scope: layout.common.scope(record, reading)?,
        kind: KindByte(kind),
        status: layout.known_status.get(record.cell(layout.status), || status(record.cell(layout.status)))?,
        ..Row::default()
    };
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
    let mut extra = Extra::default();
    if net.is_some_and(|net| i128::from(net) != row.net()) {
        row.flags.set(Flags::NET_WRONG);
        extra.net = net;
    }
    let details = record.cell(layout.fee_details);
    if !details.is_empty() && fee_details(details)? != i128::from(row.fee) {
        row.flags.set(Flags::NET_WRONG);
    }
    let rate = record.cell(layout.rate);
    if !rate.is_empty() {
        extra.rate = Some(Rate::parse(rate).map_err(|error| Bad::new("exchange_rate", error, rate))?);
    }
    let presentment_currency = record.cell(layout.presentment_currency);
    if !presentment_currency.is_empty() && !presentment_currency.eq_ignore_ascii_case(currency.code().as_bytes()) {
        let column = "customer_facing_currency";
        let other = Currency::parse(presentment_currency).map_err(|error| Bad::new(column, error, presentment_currency))?;
        let number = reading.book.currencies.add(other).ok_or_else(|| Bad::new(column, "is the 257th currency", presentment_currency))?;
        extra.presentment = layout.presentment.read_if_any(record, other, separator)?.map(|amount| (amount, number));
    }
    reading.book.stripe.push(row, extra).map(|_| ()).ok_or_else(|| Bad::new("", "is one row too many for 32 bits", b""))
}

fn kind(layout: &Layout, record: Record<'_>, source: &[u8], amount: i64) -> Kind {
    let (category, bt_type) = (record.cell(layout.category), record.cell(layout.bt_type));
    if category.is_empty() && bt_type.is_empty() && layout.category == ABSENT && layout.bt_type == ABSENT {
        return by_prefix(source, amount).unwrap_or(Kind::Unknown);
    }
    Kind::of_stripe(category, bt_type, source, amount)
}

/// The sum of the API's `fee_details`, given as JSON.
fn fee_details(json: &[u8]) -> Result<i128, Bad> {
    #[derive(serde::Deserialize)]
    struct Detail {
        amount: i64,
    }
    let details: Vec<Detail> =
        serde_json::from_slice(json).map_err(|_| Bad::new("fee_details", "is not a JSON list of objects with an amount", json))?;
    Ok(details.iter().map(|detail| i128::from(detail.amount)).sum())
}
