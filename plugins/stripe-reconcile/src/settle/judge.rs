//! What two rows are to each other, once it is known that they belong together.

use super::Context;
use super::compare::Comparison;
use crate::class::{Class, Leg, Outcome, Rule};
use crate::kind::{Family, Kind};
use crate::rows::{Book, Extra, Flags, Row, Status, Table};

impl Comparison<'_> {
    pub(super) fn settle_pair(&mut self, left: u32, right: u32, rule: Rule) {
        let (lefts, rights) = (self.left.table, self.right.table);
        if let (Some(l), Some(r)) = (lefts.rows.get(left), rights.rows.get(right)) {
            self.settle_rows((left, l), (right, r), rule);
        }
    }

    pub(super) fn settle_rows(&mut self, left: (u32, &Row), right: (u32, &Row), rule: Rule) {
        let class = self.judge(left.1, right.1);
        // A loss that the books have taken is nothing that anybody could still do something about.
        if class == Class::DisputeLost && left.1.status == Status::Lost {
            self.report(&[left.0], &[right.0], class, Outcome::Info, rule);
        } else {
            self.report_pair(left, right, class, rule);
        }
    }

    fn judge(&self, l: &Row, r: &Row) -> Class {
        if let Some(class) = judge_status(l, r) {
            return class;
        }
        if r.flags.has(Flags::NET_WRONG) && self.leg == Leg::ChargeBt {
            return Class::NetMismatch;
        }
        if l.currency != r.currency {
            let explained = explains_currency(self.context.book, l, r, &self.right.table.extra(r));
            return if explained { Class::FxDifference } else { Class::CurrencyMismatch };
        }
        let class = self.judge_values(l, r);
        if class == Class::Matched && r.kind().family() == Family::Dispute { dispute(l, r) } else { class }
    }

    fn judge_values(&self, l: &Row, r: &Row) -> Class {
        let context = self.context;
        let difference = i128::from(r.amount) - i128::from(l.amount);
        if difference != 0 {
            let tolerated = context.book.currencies.get(l.currency).and_then(|currency| context.options.tolerance_minor.get(&currency));
            return match difference.unsigned_abs() {
                size if tolerated.is_some_and(|most| size <= u128::from(*most)) => Class::MatchedWithinTolerance,
                1 => Class::Rounding,
                // Of a refund of 500 where the ledger has 400, Stripe has more.
                _ if (r.amount.unsigned_abs()) > l.amount.unsigned_abs() => Class::AmountOver,
                _ => Class::AmountUnder,
            };
        }
        let fees_known = l.flags.has(Flags::FEE_KNOWN) && r.flags.has(Flags::FEE_KNOWN);
        if fees_known && self.leg != Leg::BtPayout {
            if l.fee != r.fee {
                return Class::FeeMismatch;
            }
            if self.left.table.net(l) != self.right.table.net(r) {
                return Class::NetMismatch;
            }
        }
        if matches!(self.leg, Leg::OrderCharge | Leg::ChargeBt) { judge_days(context, l, r) } else { Class::Matched }
    }
}

/// Days are compared when a tolerance for them is declared: an id is better evidence than a date, and ledgers learn of things late.
fn judge_days(context: &Context<'_>, l: &Row, r: &Row) -> Class {
    let Some(most) = context.options.tolerance_days else { return Class::Matched };
    if l.created == 0 || r.created == 0 {
        return Class::Matched;
    }
    match context.options.zone.day(l.created).abs_diff(context.options.zone.day(r.created)) {
        0 => Class::Matched,
        days if days <= most => Class::MatchedWithinTolerance,
        _ => Class::DateMismatch,
    }
}

/// Goods out and no cash, or cash and nothing sold: before anything else.
fn judge_status(l: &Row, r: &Row) -> Option<Class> {
    let failed = |row: &Row| row.status == Status::Failed || row.kind() == Kind::ChargeFailure;
    let decided = |row: &Row| matches!(row.status, Status::Won | Status::Lost);
    match (failed(l), failed(r)) {
        (false, false) if decided(l) && decided(r) && l.status != r.status => Some(Class::StatusMismatch),
        (false, false) => None,
        (true, true) => Some(Class::NotPaid),
        _ => Some(Class::StatusMismatch),
    }
}

fn dispute(l: &Row, r: &Row) -> Class {
    let says = |status| l.status == status || r.status == status;
    if says(Status::Lost) {
        Class::DisputeLost
    } else if says(Status::Won) || r.kind() == Kind::DisputeReversal {
        Class::DisputeWon
    } else {
        Class::DisputeOpen
    }
}

/// Whether the other currency is explained: by what the customer was charged, by a rate, or by both where both are said.
fn explains_currency(book: &Book, l: &Row, r: &Row, extra: &Extra) -> bool {
    let presented = extra.presentment.map(|(amount, currency)| currency == l.currency && amount.unsigned_abs() == l.amount.unsigned_abs());
    let converted = extra.rate.map(|rate| {
        let decimals = book.decimals(l.currency).zip(book.decimals(r.currency));
        let expected = decimals.and_then(|(from, to)| rate.convert(l.amount, from, to));
        expected.is_some_and(|expected| expected.abs_diff(r.amount) <= 1)
    });
    let same_way = (l.amount < 0) == (r.amount < 0);
    same_way && presented.or(converted).is_some() && presented.unwrap_or(true) && converted.unwrap_or(true)
}

/// The sum of rows of one currency, or nothing when they are of several.
pub(super) fn sum(table: &Table, rows: &[u32]) -> Option<(u8, i128)> {
    let first = table.row(*rows.first()?).currency;
    rows.iter().try_fold((first, 0i128), |(currency, sum), at| {
        let row = table.row(*at);
        (row.currency == currency).then(|| (currency, sum + i128::from(row.amount)))
    })
}
