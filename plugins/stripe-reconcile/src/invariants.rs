//! What has to hold whatever the ledger says.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kind::{Family, Kind};
use crate::request::Options;
use crate::rows::{Book, Flags, Key, Row};
use crate::settle::{Context, compare_rows};
use crate::store::Name;

/// So many ids are named with an invariant that does not hold.
const NAMED_MAX: usize = 20;

/// What was checked and where it did not hold.
#[derive(Debug, Serialize)]
pub struct Invariants {
    /// `net = amount − fee`, and the fee is the sum of its details where they are given.
    pub net_is_amount_less_fee: Check,
    /// Refunds of a payment are at most what was captured of it.
    pub refunds_within_captured: Check,
    /// Start + activity + payouts = end, where the balances are given.
    pub roll_forward: Vec<RollForward>,
}

/// One invariant over many rows.
#[derive(Debug, Default, Serialize)]
pub struct Check {
    /// How many were looked at.
    pub checked: u64,
    /// How many do not hold.
    pub violations: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// The balance of one currency through the period.
#[derive(Debug, Serialize)]
pub struct RollForward {
    /// Which currency.
    pub currency: String,
    /// What was there at the start.
    pub start: i64,
    /// The nets of everything but payouts.
    pub activity: i128,
    /// What went to the bank, and what came back.
    pub payouts: i128,
    /// Start + activity + payouts.
    pub expected_end: i128,
    /// What was there at the end.
    pub end: i64,
    /// End less expected end.
    pub difference: i128,
}

impl Invariants {
    /// Whether all of them hold.
    #[must_use]
    pub fn hold(&self) -> bool {
        let none = |check: &Check| check.violations == 0;
        none(&self.net_is_amount_less_fee)
            && none(&self.refunds_within_captured)
            && self.roll_forward.iter().all(|roll| roll.difference == 0)
    }
}

/// Checks all of them.
pub(crate) fn check(context: &Context<'_>) -> Invariants {
    Invariants {
        net_is_amount_less_fee: nets(context),
        refunds_within_captured: refunds(context),
        roll_forward: context
            .options
            .balances
            .iter()
            .map(|(currency, balance)| {
                let (activity, payouts) = movements(context, currency.code());
                let expected_end = i128::from(balance.start) + activity + payouts;
                RollForward {
                    currency: currency.code().to_owned(),
                    start: balance.start,
                    activity,
                    payouts,
                    expected_end,
                    end: balance.end,
                    difference: i128::from(balance.end) - expected_end,
                }
            })
            .collect(),
    }
}

fn counted<'a>(context: &'a Context<'_>) -> impl Iterator<Item = (u32, &'a Row)> {
    let excluded = |row: &Row| context.excluded.get(usize::from(row.scope)).copied().flatten().is_some();
    let rows = context.book.stripe.rows.iter();
    rows.filter(move |(at, row)| !excluded(row) && !context.repeats.all.has(*at) && !row.flags.has(Flags::CARRIED))
}

fn nets(context: &Context<'_>) -> Check {
    let book = context.book;
    let mut check = Check::default();
    let stripe = &book.stripe;
    if !stripe.has_flag(Flags::NET_WRONG | Flags::CARRIED) && context.excluded.iter().all(Option::is_none) {
        // Then there is nothing to look for: all but the repeats are counted.
        let repeated = context.repeats.all.ones().filter(|at| stripe.row(*at).flags.has(Flags::FEE_KNOWN)).count() as u64;
        check.checked = stripe.fees_known().saturating_sub(repeated);
        return check;
    }
    let mut wrong = Vec::new();
    for (at, row) in counted(context).filter(|(_, row)| row.flags.has(Flags::FEE_KNOWN)) {
        check.checked += 1;
        if row.flags.has(Flags::NET_WRONG) {
            wrong.push(at);
        }
    }
    check.violations = wrong.len() as u64;
    wrong.sort_unstable_by(|a, b| compare_rows(book, &book.stripe, *a, *b));
    check.examples =
        wrong.iter().take(NAMED_MAX).map(|at| book.names.text(book.stripe.row(*at).id(Key::BalanceTransaction)).to_owned()).collect();
    check
}

/// What is left of a payment after its refunds.
#[derive(Default)]
struct Captured {
    left: i128,
    /// Without the charge among the rows nothing can be said.
    charge_known: bool,
    /// A refund in another currency than it was charged uses the rate of its own day and may be larger.
    converted: bool,
}

fn refunds(context: &Context<'_>) -> Check {
    let names = &context.book.names;
    if !context.book.stripe.has_kind(&[Kind::Refund, Kind::RefundFailure]) {
        return Check::default();
    }
    let mut payments: BTreeMap<(Name, u8), Captured> = BTreeMap::new();
    for (_, row) in counted(context).filter(|(_, row)| row.kind().family() == Family::Refund && row.id(Key::Payment).is_some()) {
        let payment = payments.entry((row.id(Key::Payment), row.currency)).or_default();
        payment.left += i128::from(row.amount);
        payment.converted |= row.extra != 0;
    }
    for (_, row) in counted(context).filter(|(_, row)| row.kind().family() == Family::Payment) {
        if let Some(payment) = payments.get_mut(&(row.id(Key::Payment), row.currency)) {
            payment.left += i128::from(row.amount);
            payment.charge_known |= row.kind() == Kind::Charge;
        }
    }
    let mut wrong: Vec<&str> = Vec::new();
    let mut check = Check::default();
    for ((name, _), payment) in payments.iter().filter(|(_, payment)| payment.charge_known && !payment.converted) {
        check.checked += 1;
        if payment.left < 0 {
            wrong.push(names.text(*name));
        }
    }
    wrong.sort_unstable();
    check.violations = wrong.len() as u64;
    check.examples = wrong.into_iter().take(NAMED_MAX).map(str::to_owned).collect();
    check
}

/// Activity by the day it was created, payouts by the day they take effect.
fn movements(context: &Context<'_>, currency: &str) -> (i128, i128) {
    let Context { book, options, .. } = context;
    let inside = |moment: u32| moment == 0 || is_inside(options, moment);
    let of_currency = |row: &Row| book.currency(row.currency) == currency && is_payments(book, row);
    let is_payout = |row: &Row| row.kind().family() == Family::Payout;
    let activity = counted(context).filter(|(_, row)| of_currency(row) && !is_payout(row) && inside(row.created));
    let activity = activity.map(|(_, row)| book.stripe.net(row)).sum();
    let payouts = if context.payouts_derived {
        let own = counted(context).filter(|(_, row)| of_currency(row) && is_payout(row) && inside(row.created));
        own.map(|(_, row)| book.stripe.net(row)).sum()
    } else {
        let rows = book.payouts.rows.iter().map(|(_, row)| row);
        let effective = |row: &Row| if row.available == 0 { row.created } else { row.available };
        let listed = rows.filter(|row| book.currency(row.currency) == currency && !row.flags.has(Flags::CARRIED) && inside(effective(row)));
        // A failed payout leaves and comes back.
        listed.filter(|row| row.status != crate::rows::Status::Failed).map(|row| -i128::from(row.amount)).sum()
    };
    (activity, payouts)
}

fn is_inside(options: &Options, moment: u32) -> bool {
    options.period.is_none_or(|(from, to)| (from..to).contains(&moment))
}

/// Only the payments balance rolls into payouts.
fn is_payments(book: &Book, row: &Row) -> bool {
    book.balances.get(row.balance).is_none_or(|name| !name.is_some())
}
