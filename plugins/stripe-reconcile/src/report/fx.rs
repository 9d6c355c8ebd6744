//! What exchange rates made of the same money: a charge and its refund are converted at the rates of their own days.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::class::Class;
use crate::kind::Family;
use crate::rows::{Key, Row};
use crate::settle::{Context, Settled};
use crate::store::Name;

/// One pair of currencies.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct FxLine {
    /// What was charged in.
    pub left_currency: String,
    /// What it was settled in.
    pub right_currency: String,
    /// How many movements.
    pub rows: u64,
    /// What was charged, less what was refunded.
    pub left_total: i128,
    /// What that became.
    pub right_total: i128,
    /// What refunds cost less than at the rate of their charge; negative when they cost more. In the settlement currency.
    pub realised: i128,
    /// Refunds whose charge is not among the rows: nothing is said of them in `realised`.
    pub refunds_without_charge: u64,
}

/// By the currency charged and the currency settled.
pub(crate) fn fx(context: &Context<'_>, settled: &Settled) -> Vec<FxLine> {
    let book = context.book;
    let mut lines: BTreeMap<(String, String), FxLine> = BTreeMap::new();
    let key = |left: &Row, right: &Row| (book.currency(left.currency).to_owned(), book.currency(right.currency).to_owned());
    let mut charges: BTreeMap<Name, (Row, Row)> = BTreeMap::new();
    let mut refunds = Vec::new();
    for (_, finding) in settled.findings.all.iter().filter(|(_, finding)| finding.class == Class::FxDifference) {
        let (left_table, right_table) = context.tables(finding.leg);
        let sides = (settled.findings.rows(finding.left), settled.findings.rows(finding.right));
        let ([left], [right]) = (&*sides.0, &*sides.1) else { continue };
        let (left, right) = (left_table.row(*left), right_table.row(*right));
        let line = lines.entry(key(&left, &right)).or_default();
        line.rows += 1;
        line.left_total += i128::from(left.amount);
        line.right_total += i128::from(right.amount);
        match right.kind().family() {
            Family::Payment => {
                for name in payments(&left, &right) {
                    charges.insert(name, (left, right));
                }
            }
            Family::Refund => refunds.push((left, right)),
            _ => {}
        }
    }
    for (left, right) in refunds {
        let line = lines.entry(key(&left, &right)).or_default();
        let charge = payments(&left, &right).find_map(|name| charges.get(&name));
        match charge.and_then(|(charged, settled)| at_rate_of(charged.amount, settled.amount, left.amount)) {
            Some(expected) => line.realised += i128::from(right.amount) - expected,
            None => line.refunds_without_charge += 1,
        }
    }
    let named = lines.into_iter().map(|((left_currency, right_currency), line)| FxLine { left_currency, right_currency, ..line });
    named.collect()
}

/// What a charge and its refunds have in common.
fn payments(left: &Row, right: &Row) -> impl Iterator<Item = Name> {
    [right.id(Key::Payment), left.id(Key::Payment)].into_iter().filter(|name| name.is_some())
}

/// `amount` in the proportion that `charged` became `settled`, halves away from zero.
fn at_rate_of(charged: i64, settled: i64, amount: i64) -> Option<i128> {
    let (charged, product) = (i128::from(charged), i128::from(settled) * i128::from(amount));
    let (quotient, rest) = (product.checked_div(charged)?, product.checked_rem(charged)?);
    let away = if (product < 0) == (charged < 0) { 1 } else { -1 };
    Some(if rest.abs() >= charged.abs() - rest.abs() { quotient + away } else { quotient })
}

#[cfg(test)]
mod tests {
    use super::at_rate_of;

    #[test]
    fn a_refund_at_the_rate_of_its_charge() {
        assert_eq!(at_rate_of(6000, 5280, -6000), Some(-5280));
        assert_eq!(at_rate_of(6000, 5280, -1), Some(-1));
        assert_eq!(at_rate_of(0, 5280, -1), None);
    }
}
